//! The best candidate of a class.

use super::super::Cycle;
use super::timing::NEVER;

/// The best candidate of a class: the earliest tick at which it may issue, and of those ready at once the oldest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Best {
    pub at: Cycle,
    pub age: Cycle,
    pub slot: usize,
    pub bank: usize,
}

/// No candidate.
pub(super) const NOTHING: Best = Best { at: NEVER, age: Cycle::MAX, slot: 0, bank: usize::MAX };

impl Best {
    #[inline(always)]
    pub(super) fn precedes(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }

    /// Its place among others: the less the better.
    #[inline(always)]
    pub(super) const fn rank(&self) -> u128 {
        (self.at as u128) << 64 | self.age as u128
    }
}
