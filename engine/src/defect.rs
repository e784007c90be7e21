//! Deliberate defects that tests switch on, to show that they would see them. Never in production:
//! without the `defects` feature none can be switched on, and the checks fold to nothing.

use crate::engine::Engine;

/// The defects that are switched on.
#[cfg(feature = "defects")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defects(u128);

/// One deliberate defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Defect {
    /// A late result of an earlier run counts for the present one.
    StaleResultCounts,
}

impl Engine {
    /// Switches a defect on.
    #[cfg(feature = "defects")]
    pub fn plant(&mut self, defect: Defect) {
        self.defects.0 |= 1 << defect as u8;
    }

    #[cfg(feature = "defects")]
    pub(crate) fn planted(&self, defect: Defect) -> bool {
        self.defects.0 & 1 << defect as u8 != 0
    }

    #[cfg(not(feature = "defects"))]
    #[inline(always)]
    pub(crate) const fn planted(&self, _defect: Defect) -> bool {
        false
    }
}
