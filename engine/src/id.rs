//! Identities, derived from what a thing is, never from a global counter.
//!
//! Deleting an unrelated input must not rename later operations: the shrinker depends on it.

use serde::{Deserialize, Serialize};

macro_rules! index_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u16);

        impl $name {
            /// Gives the identity as an index into a table.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index_id!(
    /// A job's slot. A job keeps its slot, by name, across reloads.
    JobId
);
index_id!(
    /// A watch's slot.
    WatchId
);
index_id!(
    /// A lock's slot.
    LockId
);

/// What a run executes: the job itself or its health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// The job's own process.
    Main,
    /// One execution of the job's health check.
    Check,
}

/// One execution of a job or of its health check.
///
/// Every effect and every result about a process names its run, so that a late result of an earlier
/// run never changes a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    /// The job.
    pub job: JobId,
    /// The job itself or its check.
    pub kind: RunKind,
    /// Counts the runs of this kind in this slot, from 1.
    pub nth: u32,
}

impl RunId {
    /// Packs the identity into 64 bits, for keys and hashes.
    pub const fn pack(self) -> u64 {
        let kind = match self.kind {
            RunKind::Main => 0,
            RunKind::Check => 1,
        };
        ((self.job.0 as u64) << 48) | (kind << 40) | self.nth as u64
    }
}

/// A control request that expects an answer; chosen by the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);
