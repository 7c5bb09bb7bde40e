//! The tags of one half of L2: sets of ways, least recently used.
//!
//! Everything is dense and of numbers. Blocks that are read together are neighbours: a run of hits that leaves out none of its
//! neighbours sets the moment of a *unit* of blocks, in place of each block's. A way keeps the moment at which its block came, or one
//! at which it was seen to be used; when a block must go, the unit of the way with the earliest moment is asked whether there was a
//! later one, until there was none. Neighbouring blocks lie in neighbouring sets. A set comes into being when its first block comes:
//! what the cache held before the kernel, and the kernel never touches, costs nothing.

use super::super::units::{Draws, hash};

/// Ways of a set, in blocks of the grain's size.
const WAYS: usize = 16;
/// Neighbouring blocks that lie in neighbouring sets, and whose bits are one word.
pub(super) const NEIGHBOURS: u64 = 64;
/// A block of no tensor of this kernel.
pub(super) const FOREIGN: u32 = u32::MAX;

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
    /// A moment at which each was used, perhaps not the last, times sixteen, plus which it is: the least of them names the way to look
    /// at. A free one never was, and counts as the youngest.
    used: [i32; WAYS],
    block: [u32; WAYS],
}

impl Ways {
    fn all(used: i32, block: u32) -> Self {
        let mut ways = Self { used: [used; WAYS], block: [block; WAYS] };
        if used != NEVER {
            ways.used.iter_mut().zip(0..).for_each(|(u, way)| *u |= way);
        }
        ways
    }
}

/// From one moment to the next, and the last.
const MOMENT: i32 = WAYS as i32;
const LAST: i32 = (NEVER / MOMENT - 2) * MOMENT;
const NEVER: i32 = i32::MAX;

/// A set. Of masks, bit w is of way w.
#[derive(Debug, Clone, Copy, Default)]
struct Set {
    /// Bytes that it holds.
    filled: u32,
    /// The kernel in which it was last used.
    kernel: u32,
    /// Of the draws that make its foreign blocks dirty, the first.
    draw: u32,
    /// Blocks of which all bytes are dirty, where they are not counted.
    dirty: u32,
    /// Blocks whose bytes are counted in [`Part`]; the others are of the grain's size and all there.
    counted: u32,
}

/// What is there of a block that is not simply whole, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    size: u32,
    valid: u32,
    dirty: u32,
}

/// One half of L2. A set has 16 ways or, once one has held many small blocks, 32.
#[derive(Debug, Clone, Default)]
pub(super) struct Tags {
    /// Of each block: all of it is there; or some of it.
    whole: Vec<u64>,
    partly: Vec<u64>,
    /// Of each unit of blocks: the last moment at which all that were there of it were used, times sixteen.
    units: Vec<i32>,
    /// Of each unit: when what was last fetched of it is there.
    due: Vec<u64>,
    /// Blocks of a unit, as a power of two.
    shift: u32,
    /// The first 16 ways of each set; then, where sets hold small blocks, 16 more of each.
    ways: Vec<Ways>,
    sets: Vec<Set>,
    /// Of each way, in the order of `ways`.
    parts: Vec<Part>,
    count: usize,
    grain: u64,
    /// The number for a foreign block in a way: of a unit that is never used.
    foreign: u32,
    /// The present moment, times sixteen.
    now: i32,
    kernel: u32,
    /// Sets have 32 ways.
    wide: bool,
    /// Sets that come into being are full of foreign blocks, a share of them dirty (of 65535).
    others: Option<u64>,
    /// By how much dirty bytes have grown by writes so far.
    pub(super) dirtied: u64,
}

impl Tags {
    /// An empty cache for so many blocks, of which 2^shift are usually used together.
    pub(super) fn reset(&mut self, blocks: u64, capacity: u64, grain: u64, shift: u32) {
        self.grain = grain;
        self.count = (capacity / (WAYS as u64 * grain)).max(1) as usize;
        let words = blocks.div_ceil(NEIGHBOURS) as usize;
        for bits in [&mut self.whole, &mut self.partly] {
            bits.clear();
            bits.resize(words, 0);
        }
        let units = blocks.div_ceil(1 << shift);
        self.shift = shift;
        self.units.clear();
        self.units.resize(units as usize + 1, 0);
        self.due.clear();
        self.due.resize(units as usize + 1, 0);
        self.foreign = (units << shift) as u32;
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
        self.others = None;
    }

    /// Room for so many times sixteen ways, whatever they hold.
    fn hold(&mut self, n: usize) {
        if self.ways.len() < n {
            self.ways.resize(n, Ways::all(NEVER, 0));
        }
    }

    /// Keeps what it holds for another launch: all of it has come.
    pub(super) fn restart(&mut self) {
        self.due.fill(0);
    }

    /// When all of a run that was asked for before is there.
    #[inline]
    pub(super) fn due(&self, first: u64, count: u64) -> u64 {
        let units = &self.due[(first >> self.shift) as usize..=((first + count - 1) >> self.shift) as usize];
        units.iter().copied().fold(0, u64::max)
    }

    /// Blocks of a run have been asked for and will be there at `at`.
    pub(super) fn expect(&mut self, first: u64, absent: &[Absent], at: u64) {
        for a in absent {
            self.due[((first + u64::from(a.i)) >> self.shift) as usize] = at;
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
            let banks = [Some(set), self.wide.then_some(self.count + set)];
            let places = || banks.iter().flatten().flat_map(|&n| (0..WAYS).map(move |way| (n, way)));
            let held = |&(n, way): &(usize, usize)| self.ways[n].used[way] != NEVER;
            let moment = |(n, way): (usize, usize)| {
                self.ways[n].used[way].max(self.units[self.ways[n].block[way] as usize >> self.shift]) / MOMENT
            };
            let moments: Vec<_> = places().filter(held).map(|place| (place, moment(place))).collect();
            for &((n, way), moment) in &moments {
                let older = moments.iter().filter(|&&(_, other)| other < moment).count() as i32;
                self.ways[n].used[way] = ((older + 1) * MOMENT) | way as i32;
            }
        }
        self.units.fill(0);
        self.now = (2 * WAYS as i32 + 2) * MOMENT;
    }

    /// Uses a block of a set if all of it is there.
    #[inline]
    pub(super) fn hit(&mut self, block: u64, set: usize) -> bool {
        let whole = self.whole[(block / NEIGHBOURS) as usize] >> (block % NEIGHBOURS) & 1 != 0;
        if whole {
            self.touch(block, set);
        }
        whole
    }

    fn touch(&mut self, block: u64, set: usize) {
        if let Some(place) = self.find(block, set) {
            self.ways[place / WAYS].used[place % WAYS] = self.now | (place % WAYS) as i32;
        }
    }

    /// Uses those of neighbouring blocks that are there as a whole; the places of the others among them go to `absent`.
    #[inline]
    pub(super) fn hit_all(&mut self, first: u64, count: u64, absent: &mut Vec<Absent>) {
        let end = first + count;
        let mut at = first;
        while at < end {
            let word = at / NEIGHBOURS;
            let to = end.min((word + 1) * NEIGHBOURS);
            let bits = |from: u64, to: u64| (!0 >> (NEIGHBOURS - (to - from))) << (from % NEIGHBOURS);
            let asked = bits(at, to);
            let whole = self.whole[word as usize];
            let partly = self.partly[word as usize];
            let (u0, u1) = ((at >> self.shift) as usize, ((to - 1) >> self.shift) as usize);
            let beside = if (at | to) & ((1 << self.shift) - 1) == 0 {
                partly & asked
            } else {
                (whole & !asked | partly) & bits((u0 as u64) << self.shift, (u1 as u64 + 1) << self.shift)
            };
            if beside != 0 {
                self.hit_some(word, asked & whole, beside);
            } else if u0 == u1 {
                // What is asked for and is not there comes at this moment, too.
                self.units[u0] = self.now;
            } else {
                self.units[u0..=u1].fill(self.now);
            }
            let mut rest = asked & !whole;
            while rest != 0 {
                let block = word * NEIGHBOURS + u64::from(rest.trailing_zeros());
                absent.push(Absent { i: (block - first) as u32, set: 0 });
                rest &= rest - 1;
            }
            at = to;
        }
    }

    /// Uses some of a word's blocks, beside which others of their units are there that are not used, or not yet.
    #[cold]
    fn hit_some(&mut self, word: u64, mut hit: u64, beside: u64) {
        let start = self.start(word);
        let of_unit = !0 >> (NEIGHBOURS - (1 << self.shift));
        while hit != 0 {
            let i = u64::from(hit.trailing_zeros());
            let block = word * NEIGHBOURS + i;
            let unit = of_unit << ((i >> self.shift) << self.shift);
            if beside & unit == 0 {
                self.units[(block >> self.shift) as usize] = self.now;
                hit &= !unit;
            } else {
                self.touch(block, self.wrap(start + i));
                hit &= hit - 1;
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
            all ^= ways.used[0] as u32 ^ ways.block[0];
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
    pub(super) fn take(&mut self, wanted: Wanted, draws: &Draws, mut gone: impl FnMut(Victim)) -> u64 {
        let Wanted { block, set, size, bytes, dirty } = wanted;
        let s = self.sets[set];
        let full = s.kernel == self.kernel && u64::from(s.filled) == WAYS as u64 * self.grain && !self.wide;
        let (word, here) = ((block / NEIGHBOURS) as usize, 1 << (block % NEIGHBOURS));
        if !(full && size == self.grain && bytes >= size && (self.whole[word] | self.partly[word]) & here == 0) {
            return self.take_any(wanted, draws, gone);
        }
        let way = self.oldest(set) % WAYS;
        let bit = 1 << way;
        if s.counted & bit != 0 {
            return self.take_any(wanted, draws, gone);
        }
        // One whole block for another.
        let ways = &mut self.ways[set];
        let held = std::mem::replace(&mut ways.block[way], block as u32);
        ways.used[way] = self.now | way as i32;
        let known = held != self.foreign;
        if known {
            // Only those that are counted can be there partly.
            self.whole[held as usize / NEIGHBOURS as usize] &= !(1 << (u64::from(held) % NEIGHBOURS));
        }
        if s.dirty & bit != 0 {
            gone(Victim { block: if known { held } else { FOREIGN }, dirty: self.grain as u32 });
        }
        self.sets[set].dirty = if dirty { s.dirty | bit } else { s.dirty & !bit };
        self.dirtied += if dirty { size } else { 0 };
        self.whole[word] |= here;
        size
    }

    #[inline(never)]
    fn take_any(&mut self, wanted: Wanted, draws: &Draws, gone: impl FnMut(Victim)) -> u64 {
        let Wanted { block, set, size, bytes, dirty } = wanted;
        if !self.is_here(block) {
            let place = self.vacate(set, size, draws, gone);
            let valid = bytes.min(size);
            self.dirtied += if dirty { valid } else { 0 };
            let whole = size == self.grain && valid == size;
            if !whole {
                let (size, valid) = (size as u32, valid as u32);
                self.set_part(place, Part { size, valid, dirty: if dirty { valid } else { 0 } });
            }
            let bit = self.bit(place);
            let s = &mut self.sets[set];
            s.counted = if whole { s.counted & !bit } else { s.counted | bit };
            s.dirty = if whole && dirty { s.dirty | bit } else { s.dirty & !bit };
            self.put(place, block as u32, self.now);
            self.set_here(block, true, valid == size);
            return valid;
        }
        let Some(place) = self.find(block, set) else { return 0 };
        let mut part = self.part(set, place);
        let bytes = if dirty { bytes } else { bytes.min(u64::from(part.size - part.valid)) };
        part.valid = part.valid.saturating_add(bytes as u32).min(part.size);
        if dirty {
            let before = part.dirty;
            part.dirty = part.dirty.saturating_add(bytes as u32).min(part.size);
            self.dirtied += u64::from(part.dirty - before);
        }
        self.set_here(block, true, part.valid == part.size);
        self.ways[place / WAYS].used[place % WAYS] = self.now | (place % WAYS) as i32;
        let grain = self.grain as u32;
        let bit = self.bit(place);
        let s = &mut self.sets[set];
        if part.size == grain && part.valid == grain && part.dirty == grain {
            // As if it had come whole.
            s.counted &= !bit;
            s.dirty |= bit;
        } else {
            s.counted |= bit;
            self.set_part(place, part);
        }
        bytes
    }

    /// Every block of this kernel that is there, with its bytes and those of them that are dirty.
    pub(super) fn each(&self, mut of: impl FnMut(u32, u32, u32)) {
        for set in 0..self.count {
            if self.sets[set].kernel != self.kernel {
                continue;
            }
            for n in [Some(set), self.wide.then_some(self.count + set)].into_iter().flatten() {
                for way in 0..WAYS {
                    let block = self.ways[n].block[way];
                    if self.ways[n].used[way] == NEVER || block == self.foreign {
                        continue;
                    }
                    let part = self.part(set, n * WAYS + way);
                    of(block, part.valid, part.dirty);
                }
            }
        }
    }

    /// Whether any of a block is there.
    fn is_here(&self, block: u64) -> bool {
        let word = (block / NEIGHBOURS) as usize;
        (self.whole[word] | self.partly[word]) >> (block % NEIGHBOURS) & 1 != 0
    }

    fn set_here(&mut self, block: u64, here: bool, whole: bool) {
        let (word, bit) = ((block / NEIGHBOURS) as usize, 1 << (block % NEIGHBOURS));
        let put = |bits: &mut u64, on| *bits = if on { *bits | bit } else { *bits & !bit };
        put(&mut self.whole[word], here && whole);
        put(&mut self.partly[word], here && !whole);
    }

    fn put(&mut self, place: usize, block: u32, moment: i32) {
        let ways = &mut self.ways[place / WAYS];
        ways.block[place % WAYS] = block;
        ways.used[place % WAYS] = moment | (place % WAYS) as i32;
    }

    /// The place of a block in its set: the number of sixteen ways times sixteen, plus the way.
    fn find(&self, block: u64, set: usize) -> Option<usize> {
        let of = |n: usize| {
            // Side by side, without asking which is the first: there is one at most.
            let same = self.ways[n]
                .block
                .iter()
                .zip(0..)
                .fold(0u32, |all, (&b, way)| all | u32::from(b == block as u32) << way);
            (same != 0).then_some(n * WAYS + same.trailing_zeros() as usize)
        };
        of(set).or_else(|| if self.wide { of(self.count + set) } else { None })
    }

    /// A place's bit in the masks of its set.
    fn bit(&self, place: usize) -> u32 {
        1 << (place % WAYS + if place / WAYS < self.count { 0 } else { WAYS })
    }

    fn part(&self, set: usize, place: usize) -> Part {
        let (s, bit, grain) = (&self.sets[set], self.bit(place), self.grain as u32);
        if s.counted & bit != 0 {
            return self.parts[place];
        }
        Part { size: grain, valid: grain, dirty: if s.dirty & bit != 0 { grain } else { 0 } }
    }

    fn set_part(&mut self, place: usize, part: Part) {
        if self.parts.len() <= place {
            self.parts.resize(self.ways.len() * WAYS, Part::default());
        }
        self.parts[place] = part;
    }

    /// A free place in a set for a block.
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
            let part = self.part(set, place);
            let ways = &mut self.ways[place / WAYS];
            ways.used[place % WAYS] = NEVER;
            let held = std::mem::replace(&mut ways.block[place % WAYS], self.foreign);
            let known = held != self.foreign;
            if known {
                self.set_here(u64::from(held), false, false);
            }
            if part.dirty > 0 {
                gone(Victim { block: if known { held } else { FOREIGN }, dirty: part.dirty });
            }
            filled -= u64::from(part.size);
            vacant = Some(place);
        }
    }

    /// A set's state before its first block of this kernel.
    fn begin(&mut self, set: usize, draws: &Draws) {
        let s = &mut self.sets[set];
        *s = Set { filled: 0, kernel: self.kernel, draw: s.draw, dirty: 0, counted: 0 };
        self.ways[set] = Ways::all(NEVER, self.foreign);
        if let Some(share) = self.others {
            s.filled = (WAYS as u64 * self.grain) as u32;
            self.ways[set] = Ways::all(MOMENT, self.foreign);
            s.dirty = (0..WAYS).map(|i| u32::from(dirty(share, draws.get(s.draw as usize + i))) << i).sum();
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
            self.ways[self.count..2 * self.count].fill(Ways::all(NEVER, self.foreign));
        }
        let more = self.count + set;
        first(&self.ways[more]).map(|way| more * WAYS + way)
    }

    /// The place of a set that was used longest ago, the first of several.
    #[inline]
    fn oldest(&mut self, set: usize) -> usize {
        let first = self.oldest_of(set);
        if self.wide {
            let more = self.count + set;
            let other = self.oldest_of(more);
            if other / MOMENT < first / MOMENT {
                return more * WAYS + (other % MOMENT) as usize;
            }
        }
        set * WAYS + (first % MOMENT) as usize
    }

    /// Of sixteen ways, the moment at which the oldest was used, plus which it is.
    #[inline]
    fn oldest_of(&mut self, n: usize) -> i32 {
        let ways = &mut self.ways[n];
        let first = least(&ways.used);
        let way = (first % MOMENT) as usize;
        if self.units[ways.block[way] as usize >> self.shift] | way as i32 <= first || first == NEVER {
            return first;
        }
        // All at once: the next block to go will mostly find its way right.
        let mut least = [NEVER; 4];
        let all = ways.used.chunks_exact_mut(4).zip(ways.block.chunks_exact(4));
        for (four, (used, blocks)) in (0i32..).zip(all) {
            for (i, ((used, least), &block)) in (0i32..).zip(used.iter_mut().zip(&mut least).zip(blocks)) {
                *used = (self.units[block as usize >> self.shift] | (four * 4 + i)).max(*used);
                *least = (*used).min(*least);
            }
        }
        least[0].min(least[1]).min(least[2].min(least[3]))
    }

    /// Lets a block go: another half has written it.
    pub(super) fn forget(&mut self, block: u64) {
        if !self.is_here(block) {
            return;
        }
        let set = self.set(block);
        let Some(place) = self.find(block, set) else { return };
        let size = self.part(set, place).size;
        self.put(place, self.foreign, NEVER);
        self.sets[set].filled -= size;
        self.set_here(block, false, false);
    }

    /// Fills what is free with foreign blocks, a share of them dirty (of 65535), from a draw on; the draw after the last.
    pub(super) fn fill_foreign(&mut self, share: u64, draws: &mut Draws, from: usize) -> usize {
        self.others = Some(share);
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
                let bit = self.bit(place);
                let s = &mut self.sets[set];
                s.counted &= !bit;
                s.dirty = if dirty(share, draws.get(draw)) { s.dirty | bit } else { s.dirty & !bit };
                s.filled += self.grain as u32;
                self.put(place, self.foreign, MOMENT);
                draw += 1;
            }
        }
        draws.reach(draw);
        draw
    }
}

/// The least of all.
#[inline]
fn least(used: &[i32; WAYS]) -> i32 {
    // Side by side, four at a time.
    let mut least = [NEVER; 4];
    for four in used.chunks_exact(4) {
        for (least, &u) in least.iter_mut().zip(four) {
            *least = u.min(*least);
        }
    }
    least[0].min(least[1]).min(least[2].min(least[3])).max(0)
}

/// Whether a foreign block is dirty.
fn dirty(share: u64, draw: u64) -> bool {
    (draw >> 20) & 0xffff < share
}

#[cfg(test)]
mod tests;
