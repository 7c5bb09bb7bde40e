//! The tags of the SMs' L1 caches.

use super::super::units::{Bits, hash};

/// Tags of all L1s; a block may lie in four places that its hash gives. Random replacement in one set of all ways would
/// need a search, and does as well.
#[derive(Debug, Clone, Default)]
pub(super) struct L1 {
    tags: Vec<u32>,
    ways: u64,
}

impl L1 {
    pub(super) fn reset(&mut self, bytes: u64, grain: u64) {
        self.ways = (bytes / grain).max(1);
        self.tags.clear();
    }

    /// Whether a block is there; from now on it is.
    pub(super) fn lookup(&mut self, sms: usize, sm: usize, block: u64, bits: &mut Bits) -> bool {
        let ways = self.ways as usize;
        if self.tags.is_empty() {
            self.tags.resize(sms * ways, 0);
        }
        let h = hash(block);
        let tag = block as u32 + 1;
        let tags = &mut self.tags[sm * ways..(sm + 1) * ways];
        let place = |i: u64| ((h >> (i * 12)) % ways as u64) as usize;
        if (0..4).any(|i| tags[place(i)] == tag) {
            return true;
        }
        let chosen = (bits.next() >> 30) % 4;
        let free = (0..4).find(|&i| tags[place(i)] == 0);
        tags[place(free.unwrap_or(chosen))] = tag;
        false
    }
}
