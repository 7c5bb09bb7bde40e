//! PyTorch's caching allocator: what a process has allocated at its most, block by block.
//!
//! Sizes are rounded up to 512 bytes. Blocks of up to 1 MiB are cut out of segments of 2 MiB, others out of segments of 20 MiB or, from 10 MiB on, of their own size rounded up
//! to 2 MiB. The smallest free block that is large enough is taken, and cut where what is left over is large enough: at least 512 bytes of small ones, more than 1 MiB of large
//! ones. So a tensor of 25 MiB counts as 26 (`c10/cuda/CUDACachingAllocator.cpp`, PyTorch 2.11).

use std::collections::{BTreeMap, BTreeSet};

const ROUND: u64 = 512;
const SMALL: u64 = 1 << 20;
const SMALL_SEGMENT: u64 = 2 << 20;
const LARGE_FROM: u64 = 10 << 20;
const LARGE_SEGMENT: u64 = 20 << 20;
const ROUND_LARGE: u64 = 2 << 20;

#[derive(Debug, Clone, Copy)]
struct Block {
    size: u64,
    free: bool,
    small: bool,
}

/// A block that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held(u64);

/// The allocator of one device and stream.
#[derive(Debug, Clone, Default)]
pub struct Allocator {
    /// By address. Segments are apart, so that blocks of two never touch.
    blocks: BTreeMap<u64, Block>,
    /// Free blocks of both pools, by size, then address.
    free: [BTreeSet<(u64, u64)>; 2],
    /// Where the next segment begins.
    end: u64,
    allocated: u64,
    peak: u64,
    reserved: u64,
}

impl Allocator {
    /// Bytes in use at most so far, as `torch.cuda.max_memory_allocated` counts them.
    pub const fn peak(&self) -> u64 {
        self.peak
    }

    /// Bytes in use.
    pub const fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Bytes of all segments, in use or not.
    pub const fn reserved(&self) -> u64 {
        self.reserved
    }

    /// A block for so many bytes; none for nothing.
    pub fn allocate(&mut self, bytes: u64) -> Option<Held> {
        if bytes == 0 {
            return None;
        }
        let size = bytes.checked_next_multiple_of(ROUND)?;
        let small = size <= SMALL;
        let pool = usize::from(!small);
        let found = self.free[pool].range((size, 0)..).next().copied();
        let (whole, at) = match found {
            Some(block) => {
                self.free[pool].remove(&block);
                block
            }
            None => self.segment(size, small),
        };
        let rest = whole - size;
        let cut = if small { rest >= ROUND } else { rest > SMALL };
        let own = if cut { size } else { whole };
        self.blocks.insert(at, Block { size: own, free: false, small });
        if cut {
            self.blocks.insert(at + own, Block { size: rest, free: true, small });
            self.free[pool].insert((rest, at + own));
        }
        self.allocated += own;
        self.peak = self.peak.max(self.allocated);
        Some(Held(at))
    }

    fn segment(&mut self, size: u64, small: bool) -> (u64, u64) {
        let whole = match (small, size) {
            (true, _) => SMALL_SEGMENT,
            (false, ..LARGE_FROM) => LARGE_SEGMENT,
            (false, _) => size.next_multiple_of(ROUND_LARGE),
        };
        let at = self.end;
        self.end = self.end.saturating_add(whole).saturating_add(ROUND);
        self.reserved = self.reserved.saturating_add(whole);
        (whole, at)
    }

    /// Gives a block back; it joins free neighbours.
    pub fn free(&mut self, held: Held) {
        let Held(mut at) = held;
        let Some(block) = self.blocks.get(&at).copied().filter(|b| !b.free) else { return };
        self.allocated -= block.size;
        let pool = usize::from(!block.small);
        let mut size = block.size;
        if let Some((&before, b)) = self.blocks.range(..at).next_back()
            && b.free
            && before + b.size == at
        {
            self.free[pool].remove(&(b.size, before));
            size += b.size;
            self.blocks.remove(&at);
            at = before;
        }
        if let Some(after) = self.blocks.get(&(at + size)).copied().filter(|b| b.free) {
            self.free[pool].remove(&(after.size, at + size));
            self.blocks.remove(&(at + size));
            size += after.size;
        }
        self.blocks.insert(at, Block { size, free: true, small: block.small });
        self.free[pool].insert((size, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_and_left_over_megabytes_stay_with_their_block() {
        let mut a = Allocator::default();
        let small = a.allocate(1).unwrap_or(Held(u64::MAX));
        assert_eq!(a.allocated(), 512);
        a.free(small);
        assert_eq!((a.allocated(), a.reserved()), (0, 2 << 20));
        // 25 MiB of a segment of 26: the last MiB is not cut off. 24.5 MiB leave more, which is.
        let _ = a.allocate(25 << 20);
        assert_eq!(a.allocated(), 26 << 20);
        let _ = a.allocate((24 << 20) + (1 << 19));
        assert_eq!(a.allocated(), (26 << 20) + (24 << 20) + (1 << 19));
    }

    #[test]
    fn what_was_given_back_is_taken_again_whole() {
        let mut a = Allocator::default();
        let all: Vec<Held> = [3, 5, 7].iter().filter_map(|mib| a.allocate(mib << 20)).collect();
        let reserved = a.reserved();
        all.into_iter().for_each(|h| a.free(h));
        assert_eq!(a.allocated(), 0);
        let _ = a.allocate((20 << 20) - 512);
        assert_eq!(a.reserved(), reserved);
    }
}
