//! The tags of one half of L2: sets of ways, least recently used.
//!
//! The arrays are dense and of numbers. Sets lie in rows of sixteen, way by way: neighbouring blocks, which lie in
//! neighbouring sets and mostly in the same way, are then neighbours in memory.

use super::super::units::{Bits, hash};

/// Ways of a set, in blocks of the grain's size.
const WAYS: u64 = 16;
/// Blocks that a set holds at most, smaller ones included.
const PLACES: usize = 32;
/// Sets of a row.
const ROW: usize = 16;
/// Neighbouring blocks that lie in neighbouring sets.
const NEIGHBOURS: u64 = 64;
/// A block of no tensor of this kernel.
pub(super) const FOREIGN: u32 = u32::MAX;

/// A block that had to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Victim {
    pub block: u32,
    pub dirty: u32,
}

/// What a place holds, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    block: u32,
    size: u32,
    valid: u32,
    dirty: u32,
}

#[derive(Debug, Default)]
pub(super) struct Tags {
    /// Of each block: twice its place plus two, plus one if all of it is there; 0 if none is.
    tags: Vec<u32>,
    /// When each place was last used; 0 is a free place.
    used: Vec<u32>,
    slots: Vec<Slot>,
    /// Bytes held by each set.
    filled: Vec<u32>,
    sets: u64,
    grain: u64,
    now: u32,
    /// Ways that have ever been used.
    ways: usize,
    /// The way of each set that was found to be the oldest, and when it had been used: others only become younger, so
    /// it is the oldest as long as that has not changed.
    oldest: Vec<(u32, u32)>,
    /// The place that has just been vacated, plus one.
    vacant: usize,
}

impl Tags {
    /// An empty cache for so many blocks.
    pub(super) fn reset(&mut self, blocks: u64, capacity: u64, grain: u64) {
        self.grain = grain;
        self.sets = (capacity / (WAYS * grain)).max(1);
        let places = (self.sets as usize).next_multiple_of(ROW) * PLACES;
        let clear = |v: &mut Vec<u32>, n: usize| {
            v.clear();
            v.resize(n, 0);
        };
        clear(&mut self.tags, blocks as usize);
        clear(&mut self.used, places);
        self.slots.clear();
        self.slots.resize(places, Slot::default());
        clear(&mut self.filled, self.sets as usize);
        self.oldest.clear();
        self.oldest.resize(places / PLACES, (0, 0));
        self.now = 0;
        self.ways = 0;
        self.vacant = 0;
    }

    /// A new moment for what is used next.
    #[inline]
    pub(super) fn tick(&mut self) {
        self.now = self.now.saturating_add(1);
    }

    /// Uses a block if all of it is there.
    #[inline]
    pub(super) fn hit(&mut self, block: u64) -> bool {
        let tag = self.tags[block as usize];
        if tag & 1 == 0 {
            return false;
        }
        self.used[(tag as usize >> 1) - 1] = self.now;
        true
    }

    /// Uses a block's place, if it has one.
    pub(super) fn place(&mut self, block: u64) -> Option<usize> {
        let place = (self.tags[block as usize] as usize >> 1).checked_sub(1)?;
        self.used[place] = self.now;
        Some(place)
    }

    fn set(&self, block: u64) -> usize {
        let start = ((hash((block / NEIGHBOURS) ^ 0x5bd1) & 0xffff_ffff) * self.sets) >> 32;
        ((start + block % NEIGHBOURS) % self.sets) as usize
    }

    /// A place for a block that has none, or what must go first.
    pub(super) fn insert(&mut self, block: u64, size: u64) -> Result<usize, Victim> {
        let set = self.set(block);
        let first = set / ROW * ROW * PLACES + set % ROW;
        let filled = u64::from(self.filled[set]);
        let room = filled == 0 || filled + size <= WAYS * self.grain.max(size);
        let vacant = std::mem::take(&mut self.vacant);
        if room && let Some(place) = self.free_place(first, vacant) {
            self.used[place] = self.now.max(1);
            self.slots[place] = Slot { block: block as u32, size: size as u32, valid: 0, dirty: 0 };
            self.filled[set] += size as u32;
            self.tags[block as usize] = (place as u32 + 1) << 1;
            return Ok(place);
        }
        let (way, used) = self.oldest[set];
        if used == 0 || self.used[first + way as usize * ROW] != used {
            self.find_oldest(set / ROW);
        }
        let place = first + self.oldest[set].0 as usize * ROW;
        self.used[place] = 0;
        let Slot { block, size, dirty, .. } = self.slots[place];
        self.filled[set] -= size;
        if block != FOREIGN {
            self.tags[block as usize] = 0;
        }
        self.vacant = place + 1;
        Err(Victim { block, dirty })
    }

    /// A free place of the set whose first is given: the one that is known to be vacant, or the first of all.
    fn free_place(&mut self, first: usize, vacant: usize) -> Option<usize> {
        if vacant > 0 {
            return Some(vacant - 1);
        }
        let way = (0..PLACES).find(|way| self.used[first + way * ROW] == 0)?;
        self.ways = self.ways.max(way + 1);
        Some(first + way * ROW)
    }

    /// Finds the oldest way of each set of a row, side by side.
    fn find_oldest(&mut self, row: usize) {
        let (mut best, mut oldest) = ([u32::MAX; ROW], [0u32; ROW]);
        let places = &self.used[row * ROW * PLACES..][..self.ways * ROW];
        for (way, used) in (0u32..).zip(places.chunks_exact(ROW)) {
            for s in 0..ROW {
                // Free places become the youngest.
                let age = used[s].wrapping_sub(1);
                let older = age < best[s];
                best[s] = if older { age } else { best[s] };
                oldest[s] = if older { way } else { oldest[s] };
            }
        }
        for s in 0..ROW {
            self.oldest[row * ROW + s] = (oldest[s], best[s].wrapping_add(1));
        }
    }

    /// Lets a block go: another half has written it.
    pub(super) fn forget(&mut self, block: u64) {
        let Some(place) = (self.tags[block as usize] as usize >> 1).checked_sub(1) else { return };
        let set = place / (ROW * PLACES) * ROW + place % ROW;
        self.used[place] = 0;
        self.filled[set] -= self.slots[place].size;
        self.tags[block as usize] = 0;
    }

    /// Bytes of a place that are not there.
    pub(super) fn missing(&self, place: usize) -> u64 {
        u64::from(self.slots[place].size - self.slots[place].valid)
    }

    /// Bytes have come to a place, or have been written to it.
    pub(super) fn fill(&mut self, place: usize, bytes: u64, dirty: bool) {
        let slot = &mut self.slots[place];
        slot.valid = slot.valid.saturating_add(bytes as u32).min(slot.size);
        if dirty {
            slot.dirty = slot.dirty.saturating_add(bytes as u32).min(slot.size);
        }
        if slot.valid == slot.size {
            self.tags[slot.block as usize] |= 1;
        }
    }

    /// Fills what is free with foreign blocks, a share of them dirty (of 65535).
    pub(super) fn fill_foreign(&mut self, share: u64, bits: &mut Bits) {
        // Foreign blocks are older than what sets that still had room held.
        self.oldest.fill((0, 0));
        let size = self.grain as u32;
        for (set, filled) in self.filled.iter_mut().enumerate() {
            let first = set / ROW * ROW * PLACES + set % ROW;
            for way in 0..PLACES {
                let place = first + way * ROW;
                if self.used[place] > 0 {
                    continue;
                }
                if u64::from(*filled) + self.grain > WAYS * self.grain {
                    break;
                }
                self.used[place] = 1;
                self.ways = self.ways.max(way + 1);
                let dirty = if (bits.next() >> 20) & 0xffff < share { size } else { 0 };
                self.slots[place] = Slot { block: FOREIGN, size, valid: size, dirty };
                *filled += size;
            }
        }
    }
}
