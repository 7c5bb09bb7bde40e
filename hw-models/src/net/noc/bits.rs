//! Sets of small numbers as words of bits.

/// Words that hold `n` bits.
pub(super) fn words(n: usize) -> usize {
    n.div_ceil(64)
}

pub(super) fn set(words: &mut [u64], bit: usize) {
    words[bit / 64] |= 1 << (bit % 64);
}

pub(super) fn clear(words: &mut [u64], bit: usize) {
    words[bit / 64] &= !(1 << (bit % 64));
}

pub(super) fn get(words: &[u64], bit: usize) -> bool {
    words[bit / 64] >> (bit % 64) & 1 == 1
}

/// The lowest bit at or above `from`.
pub(super) fn next(words: &[u64], from: usize) -> Option<usize> {
    let mut index = from / 64;
    let mut word = words.get(index)? & (u64::MAX << (from % 64));
    while word == 0 {
        index += 1;
        word = *words.get(index)?;
    }
    Some(index * 64 + word.trailing_zeros() as usize)
}

/// The bits in ascending order.
pub(super) fn each(words: &[u64]) -> Bits<'_> {
    Bits { words, from: 0 }
}

/// An iterator over the bits of a set.
#[derive(Debug, Clone)]
pub(super) struct Bits<'a> {
    words: &'a [u64],
    from: usize,
}

impl Iterator for Bits<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = next(self.words, self.from)?;
        self.from = bit + 1;
        Some(bit)
    }
}
