//! Where a transaction lies: its index cut into channel, bank, row and column, with bits of it XORed in.
//!
//! A map is cut out of bits by shifts and masks. Where a field's size is no power of two, the index is first taken apart by
//! division into one that gives each field whole bits ([`radix`]), and the same shifts and masks follow.

mod compile;
mod invert;
mod radix;

use radix::Radix;

/// Where a transaction lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The channel.
    pub channel: u32,
    /// The bank, counted over the channel.
    pub bank: u32,
    /// The row.
    pub row: u32,
    /// The column access within the row.
    pub column: u32,
}

const CHANNEL: usize = 0;
const BANK: usize = 1;
const ROW: usize = 2;
const COLUMN: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Piece {
    from: u32,
    mask: u64,
    to: u32,
}

impl Piece {
    #[inline(always)]
    fn of(&self, index: u64) -> u64 {
        ((index >> (self.from & 63)) & self.mask) << (self.to & 63)
    }
}

/// A map compiled for a device and a number of channels.
#[derive(Debug, Clone)]
pub struct AddressMap {
    /// Pieces of channel, bank, row and column.
    pieces: [Vec<Piece>; 4],
    /// The bank's pieces where they are at most four, filled up, and the row's where it is one: most maps.
    short: Option<([Piece; 4], Piece)>,
    /// Target, bit of it, and the bits of the index that are XORed into it.
    xor: Vec<(usize, u32, u64)>,
    rows: u64,
    /// The row is the top of the index, and of no power of two.
    rows_wrap: bool,
    /// Division, where some other size is no power of two.
    radix: Option<Box<Radix>>,
    /// Transactions over all channels.
    transactions: u64,
    /// For each bit of the index in whole bits, the bits of the targets (target, bit) whose XOR it is.
    inverse: Vec<u64>,
    /// Where each target begins in the word that `inverse` takes.
    starts: [u32; 4],
}

impl AddressMap {
    /// Where a transaction index lies. What is beyond the capacity is dropped.
    #[inline]
    pub fn place(&self, index: u64) -> Place {
        let (bank, row) = self.bank_and_row(index);
        let index = self.whole_bits(index);
        Place { channel: self.part(CHANNEL, index) as u32, bank, row, column: self.part(COLUMN, index) as u32 }
    }

    /// The channel of a transaction index.
    #[inline]
    pub fn channel(&self, index: u64) -> u32 {
        self.part(CHANNEL, self.whole_bits(index)) as u32
    }

    /// The transactions that the channels hold together.
    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    /// The bank and the row of a transaction index.
    #[inline(always)]
    pub(super) fn bank_and_row(&self, index: u64) -> (u32, u32) {
        let (bank, mut row) = match &self.short {
            Some((bank, row)) => (bank.iter().fold(0, |b, p| b | p.of(index)), row.of(index)),
            None => self.long_bank_and_row(index),
        };
        if self.rows_wrap {
            row %= self.rows;
        }
        (bank as u32, row as u32)
    }

    fn long_bank_and_row(&self, index: u64) -> (u64, u64) {
        let index = self.whole_bits(index);
        let bank = self.part(BANK, index);
        (self.radix.as_ref().map_or(bank, |r| r.bank(bank)), self.part(ROW, index))
    }

    #[inline(always)]
    fn whole_bits(&self, index: u64) -> u64 {
        self.radix.as_ref().map_or(index, |r| r.spread(index))
    }

    #[inline(always)]
    fn part(&self, target: usize, index: u64) -> u64 {
        let mut out = 0;
        for p in &self.pieces[target & 3] {
            out |= p.of(index);
        }
        if !self.xor.is_empty() {
            for (t, bit, mask) in &self.xor {
                if *t == target {
                    out ^= u64::from((index & mask).count_ones() & 1) << bit;
                }
            }
        }
        out
    }
}
