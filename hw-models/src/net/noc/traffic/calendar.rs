//! Sources by the cycle of their next packet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::bits;

/// Cycles of the ring.
const RING: u64 = 1024;

/// Sources of the next cycles in a ring, others in a heap.
#[derive(Debug)]
pub(super) struct Calendar {
    ring: Vec<Vec<u32>>,
    /// Places of the ring that have something.
    taken: Vec<u64>,
    far: BinaryHeap<Reverse<(u64, u32)>>,
    /// The first cycle that was not taken.
    from: u64,
}

impl Calendar {
    pub(super) fn new() -> Calendar {
        let ring = vec![Vec::new(); RING as usize];
        Calendar { ring, taken: vec![0; bits::words(RING as usize)], far: BinaryHeap::new(), from: 0 }
    }

    /// The first cycle that was not taken.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    pub(super) fn put(&mut self, at: u64, source: u32) {
        if at < self.from + RING {
            let place = (at % RING) as usize;
            self.ring[place].push(source);
            bits::set(&mut self.taken, place);
        } else {
            self.far.push(Reverse((at, source)));
        }
    }

    /// The next cycle of the ring that has a source.
    fn near(&self) -> Option<u64> {
        let start = (self.from % RING) as usize;
        let place = bits::next(&self.taken, start).or_else(|| bits::next(&self.taken, 0))?;
        Some(self.from + (place as u64 + RING - start as u64) % RING)
    }

    /// Takes the sources of all cycles up to `now`.
    pub(super) fn take(&mut self, now: u64, mut take: impl FnMut(u32)) {
        while let Some(at) = self.near().filter(|at| *at <= now) {
            let place = (at % RING) as usize;
            bits::clear(&mut self.taken, place);
            self.ring[place].drain(..).for_each(&mut take);
            self.from = at + 1;
        }
        self.from = self.from.max(now + 1);
        while let Some(Reverse((at, source))) = self.far.peek().copied().filter(|f| f.0.0 < self.from + RING) {
            self.far.pop();
            if at < self.from {
                take(source);
            } else {
                self.put(at, source);
            }
        }
    }

    /// The next cycle that has a source.
    pub(super) fn next(&self) -> Option<u64> {
        self.near().or_else(|| self.far.peek().map(|f| f.0.0))
    }
}
