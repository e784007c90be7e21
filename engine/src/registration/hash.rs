//! What is known of one service in Consul, as hashes.

use super::{Catalog, Flight};
use crate::canonical;
use crate::config::CheckStatus;
use crate::random::mix;
use crate::time::Time;

impl Catalog {
    pub(crate) fn fingerprint(&self) -> u64 {
        let flight = match self.in_flight {
            None => 0,
            Some(Flight::Register) => 1,
            Some(Flight::Report { version }) => 2 | u64::from(version) << 8,
            Some(Flight::Deregister) => 3,
        };
        let wanted = match self.wanted {
            None => 0,
            Some(CheckStatus::Passing) => 1,
            Some(CheckStatus::Warning) => 2,
            Some(CheckStatus::Critical) => 3,
        };
        let flags = (self.actual as u64) | wanted << 2 | u64::from(self.is_backing_off) << 4;
        let versions = u64::from(self.wanted_version) | u64::from(self.reported_version) << 32;
        let counts = u64::from(self.nth) | u64::from(self.attempt) << 32;
        mix(mix(flags ^ self.until.0.rotate_left(8) ^ flight.rotate_left(16), versions), counts)
    }

    /// Gives a hash that leaves out names of requests and counts deadlines from `now`.
    pub(crate) fn canonical(&self, now: Time) -> u64 {
        let Catalog {
            actual,
            registered,
            in_flight,
            nth: _,
            attempt,
            is_backing_off,
            wanted,
            output: _,
            wanted_version,
            reported_version,
            until,
        } = self;
        let flight = match in_flight {
            None => 0,
            Some(Flight::Register) => 1,
            Some(Flight::Report { version }) => 2 + u64::from(version == wanted_version),
            Some(Flight::Deregister) => 4,
        };
        let wanted = match wanted {
            None => 0,
            Some(CheckStatus::Passing) => 1,
            Some(CheckStatus::Warning) => 2,
            Some(CheckStatus::Critical) => 3,
        };
        let flags = (*actual as u64)
            | wanted << 2
            | u64::from(*is_backing_off) << 4
            | u64::from(registered.is_some()) << 5
            | u64::from(wanted_version == reported_version) << 6
            | u64::from((*attempt).min(canonical::STEPS_TOLD_APART)) << 8
            | flight << 16;
        mix(flags, canonical::ahead(*until, now))
    }
}
