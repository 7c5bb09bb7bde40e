//! Refresh management: the controller counts the activations of each bank.

use super::super::super::device::RefreshManagement;

/// The rolling accumulated count of activations (RAA) of each bank.
#[derive(Debug, Clone)]
pub(super) struct Rfm {
    limits: RefreshManagement,
    counts: Vec<u32>,
    /// An RFM of the bank waits, by the first bank of its set.
    pending: Vec<bool>,
}

impl Rfm {
    pub(super) fn new(limits: RefreshManagement, banks: usize) -> Self {
        Self { limits, counts: vec![0; banks], pending: vec![false; banks] }
    }

    /// A row of a bank is opened. Whether the bank needs an RFM now.
    #[inline]
    pub(super) fn activated(&mut self, bank: usize) -> bool {
        self.counts[bank] += 1;
        self.counts[bank] >= self.limits.initial
    }

    /// Whether a bank needs an RFM.
    pub(super) fn needs(&self, bank: usize) -> bool {
        self.counts[bank] >= self.limits.initial
    }

    /// Whether a bank may have no activation.
    #[inline]
    pub(super) fn blocks(&self, bank: usize) -> bool {
        self.counts[bank] >= self.limits.maximum
    }

    /// Whether an RFM of the set that begins with a bank waits.
    pub(super) fn pending(&mut self, first: usize) -> &mut bool {
        &mut self.pending[first]
    }

    /// An RFM of a bank.
    pub(super) fn managed(&mut self, bank: usize) {
        self.counts[bank] = self.counts[bank].saturating_sub(self.limits.initial);
    }

    /// So many refreshes of a bank: of all banks, or of some.
    pub(super) fn refreshed(&mut self, bank: usize, all: bool, times: u64) {
        let credit = if all { self.limits.credit } else { self.limits.credit_some };
        let off = u64::from(credit).saturating_mul(times).min(u64::from(u32::MAX));
        self.counts[bank] = self.counts[bank].saturating_sub(off as u32);
    }
}
