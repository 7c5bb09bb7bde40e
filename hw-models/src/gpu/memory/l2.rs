//! The tags of one half of L2: sets of ways, least recently used.
//!
//! Everything is dense and of numbers. What a set is asked when a block must go lies in two neighbouring lines of the host's
//! cache: when each way was last used, and what it holds. Neighbouring blocks lie in neighbouring sets. A set comes into being
//! when its first block comes: what the cache held before the kernel, and the kernel never touches, costs nothing.

use super::super::units::{Draws, hash};

/// Ways of a set, in blocks of the grain's size.
const WAYS: usize = 16;
/// Neighbouring blocks that lie in neighbouring sets.
const NEIGHBOURS: u64 = 64;
/// A block of no tensor of this kernel.
pub(super) const FOREIGN: u32 = (1 << KIND) - 1;

/// What a way holds: a block, and above these bits its kind.
const KIND: u32 = 28;
/// Bytes of it are counted in [`Part`].
const PARTIAL: u32 = 0;
/// A block of the grain's size, all of it there, none or all of it dirty.
const CLEAN: u32 = 1 << KIND;
const DIRTY: u32 = 2 << KIND;

/// A block that had to go, and its bytes that must be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Victim {
    pub block: u32,
    pub dirty: u32,
}

/// A block of a run that is not there: which one, and its set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absent {
    pub i: u32,
    pub set: u32,
}

/// A block that is used, and its set: its size, and the bytes of it that are asked for, or written and then dirty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub block: u64,
    pub set: usize,
    pub size: u64,
    pub bytes: u64,
    pub dirty: bool,
}

/// Sixteen ways.
#[derive(Debug, Clone, Copy)]
#[repr(align(128))]
struct Ways {
    /// When each was last used, times sixteen, plus which it is: the least of them names the oldest way. A free one never was,
    /// and counts as the youngest.
    used: [i32; WAYS],
    held: [u32; WAYS],
}

impl Ways {
    #[inline]
    fn touch(&mut self, way: usize, now: i32) {
        self.used[way] = now | way as i32;
    }
}

const NEVER: i32 = i32::MAX;
/// From one moment to the next, and the last.
const MOMENT: i32 = WAYS as i32;
const LAST: i32 = (NEVER / MOMENT - 2) * MOMENT;
const FREE: Ways = Ways { used: [NEVER; WAYS], held: [0; WAYS] };

/// A set.
#[derive(Debug, Clone, Copy, Default)]
struct Set {
    /// Bytes that it holds.
    filled: u32,
    /// The kernel in which it was last used.
    kernel: u32,
    /// Of the draws that make its foreign blocks dirty, the first.
    draw: u32,
}

/// What is there of a block that is not simply whole, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    size: u32,
    valid: u32,
    dirty: u32,
}

/// One half of L2. A *place* is the number of sixteen ways times sixteen, plus the way.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// Of each block: twice its place plus two, plus one if all of it is there; 0 if none is.
    tags: Vec<u32>,
    /// The ways of each set; then, where sets hold small blocks, sixteen more of each.
    ways: Vec<Ways>,
    sets: Vec<Set>,
    parts: Vec<Part>,
    count: usize,
    grain: u64,
    /// The present moment, times sixteen.
    now: i32,
    kernel: u32,
    /// Sets have 32 ways.
    wide: bool,
    /// Sets that come into being are full of foreign blocks, a share of them dirty (of 65535).
    foreign: Option<u64>,
}

impl Tags {
    /// An empty cache for so many blocks.
    pub(super) fn reset(&mut self, blocks: u64, capacity: u64, grain: u64) {
        self.grain = grain;
        self.count = (capacity / (WAYS as u64 * grain)).max(1) as usize;
        self.tags.clear();
        self.tags.resize(blocks as usize, 0);
        self.kernel = self.kernel.wrapping_add(1);
        if self.kernel == 0 {
            self.sets.clear();
            self.kernel = 1;
        }
        if self.sets.len() < self.count {
            self.sets.resize(self.count, Set::default());
        }
        self.hold(self.count);
        self.now = 0;
        self.wide = false;
        self.foreign = None;
    }

    /// Room for so many times sixteen ways, whatever they hold.
    fn hold(&mut self, n: usize) {
        if self.ways.len() < n {
            self.ways.resize(n, FREE);
        }
    }

    /// A new moment for what is used next.
    #[inline]
    pub(super) fn tick(&mut self) {
        self.now += MOMENT;
        if self.now > LAST {
            self.begin_anew();
        }
    }

    /// Counts moments from the first again, so that ways keep their order.
    #[cold]
    fn begin_anew(&mut self) {
        for set in 0..self.count {
            if self.sets[set].kernel != self.kernel {
                continue;
            }
            let mut banks = [self.ways[set].used, FREE.used];
            if self.wide {
                banks[1] = self.ways[self.count + set].used;
            }
            let all = banks;
            for used in banks.as_flattened_mut().iter_mut().filter(|u| **u != NEVER) {
                let older = |&&o: &&i32| o / MOMENT < *used / MOMENT;
                *used = all.as_flattened().iter().filter(older).count() as i32 * MOMENT + MOMENT + *used % MOMENT;
            }
            self.ways[set].used = banks[0];
            if self.wide {
                self.ways[self.count + set].used = banks[1];
            }
        }
        self.now = (2 * WAYS as i32 + 2) * MOMENT;
    }

    #[inline]
    fn touch(&mut self, place: usize) {
        self.ways[place / WAYS].touch(place % WAYS, self.now);
    }

    /// Uses a block if all of it is there.
    #[inline]
    pub(super) fn hit(&mut self, block: u64) -> bool {
        let tag = self.tags[block as usize];
        if tag & 1 == 0 {
            return false;
        }
        self.touch((tag as usize >> 1) - 1);
        true
    }

    /// Uses those of neighbouring blocks that are there as a whole; the places of the others among them go to `absent`.
    #[inline]
    pub(super) fn hit_all(&mut self, first: u64, count: u64, absent: &mut Vec<Absent>) {
        let tags = &self.tags[first as usize..(first + count) as usize];
        for (i, &tag) in (0u32..).zip(tags) {
            if tag & 1 == 0 {
                absent.push(Absent { i, set: 0 });
            } else {
                let place = (tag as usize >> 1) - 1;
                self.ways[place / WAYS].touch(place % WAYS, self.now);
            }
        }
    }

    /// The sets of blocks of a run that begins at `first`.
    pub(super) fn find_sets(&self, first: u64, absent: &mut [Absent]) {
        let (mut group, mut start) = (u64::MAX, 0);
        for a in absent {
            let block = first + u64::from(a.i);
            if block / NEIGHBOURS != group {
                group = block / NEIGHBOURS;
                start = self.start(group);
            }
            a.set = self.wrap(start + block % NEIGHBOURS) as u32;
        }
    }

    /// Reads what will be asked of sets, so that the host fetches it all at once instead of set by set.
    pub(super) fn fetch(&self, absent: &[Absent]) {
        let mut all = 0;
        for a in absent {
            let ways = &self.ways[a.set as usize];
            all ^= ways.used[0] as u32 ^ ways.held[0];
        }
        std::hint::black_box(all);
    }

    fn start(&self, group: u64) -> u64 {
        ((hash(group ^ 0x5bd1) & 0xffff_ffff) * self.count as u64) >> 32
    }

    fn wrap(&self, set: u64) -> usize {
        let sets = self.count as u64;
        (if set < sets { set } else { set % sets }) as usize
    }

    /// The set of a block.
    pub(super) fn set(&self, block: u64) -> usize {
        self.wrap(self.start(block / NEIGHBOURS) + block % NEIGHBOURS)
    }

    /// Uses a block, in a new place if it has none, and adds up to so many bytes of what is not there, or writes so many; how
    /// many those are. What was used longest ago in its set goes.
    #[inline]
    pub(super) fn take(&mut self, wanted: Wanted, draws: &Draws, gone: impl FnMut(Victim)) -> u64 {
        let Wanted { block, set, size, bytes, dirty } = wanted;
        let tag = self.tags[block as usize] as usize;
        if tag == 0 {
            let place = self.vacate(set, size, draws, gone);
            let valid = bytes.min(size);
            let whole = size == self.grain && valid == size;
            let kind = if !whole {
                self.set_part(
                    place,
                    Part { size: size as u32, valid: valid as u32, dirty: if dirty { valid as u32 } else { 0 } },
                );
                PARTIAL
            } else if dirty {
                DIRTY
            } else {
                CLEAN
            };
            let ways = &mut self.ways[place / WAYS];
            ways.used[place % WAYS] = self.now.max(MOMENT) | (place % WAYS) as i32;
            ways.held[place % WAYS] = block as u32 | kind;
            self.tags[block as usize] = (place as u32 + 1) << 1 | u32::from(valid == size);
            return valid;
        }
        let place = (tag >> 1) - 1;
        self.touch(place);
        let mut part = self.part(place);
        let bytes = if dirty { bytes } else { bytes.min(u64::from(part.size - part.valid)) };
        part.valid = part.valid.saturating_add(bytes as u32).min(part.size);
        if dirty {
            part.dirty = part.dirty.saturating_add(bytes as u32).min(part.size);
        }
        if part.valid == part.size {
            self.tags[block as usize] |= 1;
        }
        self.ways[place / WAYS].held[place % WAYS] = block as u32 | PARTIAL;
        self.set_part(place, part);
        bytes
    }

    fn part(&self, place: usize) -> Part {
        let grain = self.grain as u32;
        match self.ways[place / WAYS].held[place % WAYS] >> KIND << KIND {
            PARTIAL => self.parts[place],
            CLEAN => Part { size: grain, valid: grain, dirty: 0 },
            _ => Part { size: grain, valid: grain, dirty: grain },
        }
    }

    fn set_part(&mut self, place: usize, part: Part) {
        if self.parts.len() <= place {
            self.parts.resize(self.ways.len() * WAYS, Part::default());
        }
        self.parts[place] = part;
    }

    /// A free place in a set for a block.
    #[inline]
    fn vacate(&mut self, set: usize, size: u64, draws: &Draws, mut gone: impl FnMut(Victim)) -> usize {
        if self.sets[set].kernel != self.kernel {
            self.begin(set, draws);
        }
        let most = WAYS as u64 * self.grain.max(size);
        let mut filled = u64::from(self.sets[set].filled);
        let mut vacant = None;
        loop {
            if (filled == 0 || filled + size <= most)
                && let Some(place) = vacant.or_else(|| self.free_place(set))
            {
                self.sets[set].filled = (filled + size) as u32;
                return place;
            }
            let place = self.oldest(set);
            let part = self.part(place);
            let ways = &mut self.ways[place / WAYS];
            ways.used[place % WAYS] = NEVER;
            let block = ways.held[place % WAYS] & FOREIGN;
            if block != FOREIGN {
                self.tags[block as usize] = 0;
            }
            if part.dirty > 0 {
                gone(Victim { block, dirty: part.dirty });
            }
            filled -= u64::from(part.size);
            vacant = Some(place);
        }
    }

    /// A set's state before its first block of this kernel.
    fn begin(&mut self, set: usize, draws: &Draws) {
        let s = &mut self.sets[set];
        s.kernel = self.kernel;
        s.filled = 0;
        self.ways[set] = FREE;
        if let Some(share) = self.foreign {
            s.filled = (WAYS as u64 * self.grain) as u32;
            let ways = &mut self.ways[set];
            for (i, (used, held)) in ways.used.iter_mut().zip(&mut ways.held).enumerate() {
                *used = MOMENT | i as i32;
                *held = foreign(share, draws.get(s.draw as usize + i));
            }
        }
    }

    /// The first free place of a set.
    fn free_place(&mut self, set: usize) -> Option<usize> {
        let first = |ways: &Ways| ways.used.iter().position(|&u| u == NEVER);
        if let Some(way) = first(&self.ways[set]) {
            return Some(set * WAYS + way);
        }
        if !self.wide {
            self.wide = true;
            self.hold(2 * self.count);
            self.ways[self.count..2 * self.count].fill(FREE);
        }
        let more = self.count + set;
        first(&self.ways[more]).map(|way| more * WAYS + way)
    }

    /// The place of a set that was used longest ago, the first of several.
    #[inline]
    fn oldest(&self, set: usize) -> usize {
        let first = oldest(&self.ways[set].used);
        if self.wide {
            let more = self.count + set;
            let other = oldest(&self.ways[more].used);
            if other / MOMENT < first / MOMENT {
                return more * WAYS + (other % MOMENT) as usize;
            }
        }
        set * WAYS + (first % MOMENT) as usize
    }

    /// Lets a block go: another half has written it.
    pub(super) fn forget(&mut self, block: u64) {
        let Some(place) = (self.tags[block as usize] as usize >> 1).checked_sub(1) else { return };
        let set = place / WAYS;
        let set = if set >= self.count { set - self.count } else { set };
        let size = self.part(place).size;
        self.ways[place / WAYS].used[place % WAYS] = NEVER;
        self.sets[set].filled -= size;
        self.tags[block as usize] = 0;
    }

    /// Fills what is free with foreign blocks, a share of them dirty (of 65535), from a draw on; the draw after the last.
    pub(super) fn fill_foreign(&mut self, share: u64, draws: &mut Draws, from: usize) -> usize {
        self.foreign = Some(share);
        let mut draw = from;
        for set in 0..self.count {
            if self.sets[set].kernel != self.kernel {
                self.sets[set].draw = draw as u32;
                draw += WAYS;
                continue;
            }
            while u64::from(self.sets[set].filled) + self.grain <= WAYS as u64 * self.grain
                && let Some(place) = self.free_place(set)
            {
                draws.reach(draw + 1);
                let ways = &mut self.ways[place / WAYS];
                ways.used[place % WAYS] = MOMENT | (place % WAYS) as i32;
                ways.held[place % WAYS] = foreign(share, draws.get(draw));
                self.sets[set].filled += self.grain as u32;
                draw += 1;
            }
        }
        draws.reach(draw);
        draw
    }
}

/// What a way with a foreign block holds.
fn foreign(share: u64, draw: u64) -> u32 {
    FOREIGN | if (draw >> 20) & 0xffff < share { DIRTY } else { CLEAN }
}

/// The least of all.
#[inline]
fn oldest(used: &[i32; WAYS]) -> i32 {
    // Side by side, four at a time.
    let mut least = [NEVER; 4];
    for four in used.chunks_exact(4) {
        for (least, &u) in least.iter_mut().zip(four) {
            *least = u.min(*least);
        }
    }
    least[0].min(least[1]).min(least[2].min(least[3])).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 512 blocks of 128 bytes.
    fn empty() -> Tags {
        let mut tags = Tags::default();
        tags.reset(4096, 64 * 1024, 128);
        tags
    }

    fn take(tags: &mut Tags, block: u64, gone: &mut Vec<u32>) {
        tags.tick();
        if !tags.hit(block) {
            let set = tags.set(block);
            tags.take(Wanted { block, set, size: 128, bytes: 128, dirty: true }, &Draws::new(1), |v| {
                gone.push(v.block);
            });
        }
    }

    /// Which block goes follows from the order of use alone, however moments are counted.
    #[test]
    fn counting_moments_anew_changes_nothing() {
        let (mut plain, mut late) = (empty(), empty());
        let mut gone = (Vec::new(), Vec::new());
        let mut bits = super::super::super::units::Bits::new(3);
        for i in 0..20_000 {
            if i % 3000 == 2999 {
                late.now = LAST - MOMENT;
            }
            let block = (bits.next() >> 40) % 1500;
            take(&mut plain, block, &mut gone.0);
            take(&mut late, block, &mut gone.1);
        }
        assert!(gone.0.len() > 1000, "only {} blocks had to go", gone.0.len());
        assert!(gone.0 == gone.1, "other blocks had to go");
        assert!(late.now < LAST / 2, "moments were not counted anew");
    }

    /// Foreign blocks go first, and blocks that were there before them stay.
    #[test]
    fn foreign_blocks_are_the_oldest() {
        let mut tags = empty();
        let mut draws = Draws::new(1);
        let mut gone = Vec::new();
        // More blocks than any set holds: some sets overflow, others have room.
        (0..300).for_each(|block| take(&mut tags, block, &mut gone));
        let held: Vec<u64> = (0..300).filter(|&b| tags.tags[b as usize] > 0).collect();
        assert!(held.len() > 100 && held.len() < 512);
        tags.fill_foreign(1 << 16, &mut draws, 0);
        let set = (0..tags.count).find(|&s| tags.ways[s].held.contains(&(FOREIGN | DIRTY)));
        assert!(set.is_some(), "no set has a foreign block");
        gone.clear();
        let set = set.unwrap_or(0);
        let newcomer = (300..4096).find(|&b| tags.set(b) == set).unwrap_or(0);
        take(&mut tags, newcomer, &mut gone);
        assert_eq!(gone, [FOREIGN]);
        assert!(held.iter().all(|&b| tags.tags[b as usize] > 0), "a block of the kernel went first");
    }
}
