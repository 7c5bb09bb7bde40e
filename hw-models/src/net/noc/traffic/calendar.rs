//! Sources by the cycle of their next packet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::bits;

/// Cycles of the ring.
const RING: u64 = 1024;

/// No source.
const NONE: u32 = u32::MAX;

/// Sources of the next cycles in a ring, others in a heap. A source is in it once at most.
#[derive(Debug)]
pub(super) struct Calendar {
    /// The first source of each cycle of the ring, and the one after each source.
    first: Vec<u32>,
    after: Vec<u32>,
    /// Places of the ring that have something.
    taken: Vec<u64>,
    far: BinaryHeap<Reverse<(u64, u32)>>,
    /// The first cycle that was not taken.
    from: u64,
}

impl Calendar {
    pub(super) fn new(sources: usize) -> Calendar {
        let taken = vec![0; bits::words(RING as usize)];
        Calendar {
            first: vec![NONE; RING as usize],
            after: vec![NONE; sources],
            taken,
            far: BinaryHeap::new(),
            from: 0,
        }
    }

    /// The first cycle that was not taken.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    pub(super) fn put(&mut self, at: u64, source: u32) {
        if at < self.from + RING {
            let place = (at % RING) as usize;
            self.after[source as usize] = std::mem::replace(&mut self.first[place], source);
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
            let mut source = std::mem::replace(&mut self.first[place], NONE);
            while source != NONE {
                take(source);
                source = self.after[source as usize];
            }
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
