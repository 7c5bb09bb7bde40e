//! Where a kernel's tensors lie, and the blocks into which they are cut: the units of L2's tags.
//!
//! A block is a box of a tensor of at most `grain` bytes: some rows of a piece, as wide as a piece or a line. Blocks are
//! numbered so that those of one piece are neighbours: a copy of a piece is a run of block numbers.

use super::super::program::{Tensor, Tile};
use super::super::units::Divisor;
use super::l2::NEIGHBOURS;

/// Tensors begin at multiples of a page.
const PAGE: u64 = 1 << 21;

/// A tensor's place and its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapped {
    pub rows: u64,
    pub row_bytes: u64,
    /// Bytes and rows of a block.
    pub width: u64,
    pub height: u64,
    /// Blocks beside each other, and under each other in one piece.
    pub columns: u64,
    pub per_piece: u64,
    /// Its first block.
    pub base: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Its first byte.
    pub address: u64,
    /// What bulk copies take.
    pub off_lines: OffLines,
    /// Lay in L2 before the kernel, with copies in the halves that read it.
    pub copied: bool,
    by_width: Divisor,
    by_height: Divisor,
    by_piece: Divisor,
}

/// Neighbouring block numbers: of one row of blocks from a column on, or of one column from a row on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub first: u64,
    pub count: u64,
    pub row: u64,
    pub column: u64,
    pub along_row: bool,
}

/// Rows and bytes from and to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub r0: u64,
    pub r1: u64,
    pub b0: u64,
    pub b1: u64,
}

impl Area {
    pub(super) fn bytes(&self) -> u64 {
        (self.r1 - self.r0) * (self.b1 - self.b0)
    }
}

/// The runs of an area.
#[derive(Debug)]
pub(super) struct Runs {
    columns: u64,
    per_piece: u64,
    base: u64,
    along_row: bool,
    /// Rows and columns of blocks, the last included.
    r0: u64,
    r1: u64,
    c0: u64,
    c1: u64,
    /// Row of pieces and column of the next run.
    piece: u64,
    last_piece: u64,
    column: u64,
}

impl Iterator for Runs {
    type Item = Run;

    #[inline]
    fn next(&mut self) -> Option<Run> {
        if self.piece > self.last_piece {
            return None;
        }
        let (top, column) = (self.piece * self.per_piece, self.column);
        let row = self.r0.max(top);
        let first = self.base + (self.piece * self.columns + column) * self.per_piece + (row - top);
        let count =
            if self.along_row { self.c1 - self.c0 + 1 } else { self.r1.min(top + self.per_piece - 1) - row + 1 };
        if self.along_row || column == self.c1 {
            self.column = self.c0;
            self.piece += 1;
        } else {
            self.column += 1;
        }
        Some(Run { first, count, row, column, along_row: self.along_row })
    }
}

/// The blocks of a run: those between the first and the last are equal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    first: (u64, Area),
    second: (u64, Area),
    last: (u64, Area),
    count: u64,
    /// From one to the next.
    down: u64,
    right: u64,
}

impl Blocks {
    /// Bytes of a block, and its part of the area.
    #[inline]
    pub(super) fn get(&self, i: u64) -> (u64, Area) {
        if i + 1 == self.count {
            return self.last;
        }
        if i == 0 {
            return self.first;
        }
        let (size, a) = self.second;
        let (down, right) = ((i - 1) * self.down, (i - 1) * self.right);
        (size, Area { r0: a.r0 + down, r1: a.r1 + down, b0: a.b0 + right, b1: a.b1 + right })
    }
}

/// Bulk copies of rows that do not begin on lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OffLines {
    /// Bytes that arrive for 1024 of the rows: they come in sectors, of two lines a row.
    pub arrive: u64,
    /// And of a request that has met another of its GPC, bytes that L2 is asked for all the same.
    pub again: u64,
}

/// By the largest power of two that divides the rows' pitch, as far as a line (`device_l2.csv`, set `pitch`: received bytes; sectors asked for, less what
/// is written and what one SM asks for two: where four meet, L2 is asked for 1.4, 2.7 and 3.3 times less than they receive).
fn off_lines(row_bytes: u64) -> OffLines {
    let (arrive, again) = match row_bytes.trailing_zeros() {
        7.. => (1024, 0),
        6 => (1030, 70),
        5 => (1100, 170),
        _ => (1233, 630),
    };
    OffLines { arrive, again }
}

impl Mapped {
    /// Bytes of the block in row `r` and column `c` of blocks, less what sticks out of the tensor.
    pub(super) fn block_bytes(&self, r: u64, c: u64) -> u64 {
        let rows = self.height.min(self.rows.saturating_sub(r * self.height)).max(1);
        let bytes = self.width.min(self.row_bytes.saturating_sub(c * self.width)).max(1);
        rows * bytes.next_multiple_of(32)
    }

    /// Row and column of blocks of a block's number.
    pub(super) fn locate(&self, block: u64) -> (u64, u64) {
        let i = block - self.base;
        let piece = i / self.per_piece;
        (piece / self.columns * self.per_piece + i % self.per_piece, piece % self.columns)
    }

    /// The part of a box that lies in the tensor.
    pub(super) fn clip(&self, tile: &Tile, row: i64, byte: i64) -> Option<Area> {
        let r0 = row.max(0) as u64;
        let r1 = self.rows.min(row.saturating_add(i64::from(tile.rows)).max(0) as u64);
        let b0 = byte.max(0) as u64;
        let b1 = self.row_bytes.min(byte.saturating_add(i64::from(tile.bytes)).max(0) as u64);
        (r0 < r1 && b0 < b1).then_some(Area { r0, r1, b0, b1 })
    }

    /// What a block and an area have in common.
    pub(super) fn part(&self, area: &Area, r: u64, c: u64) -> Area {
        Area {
            r0: area.r0.max(r * self.height),
            r1: area.r1.min((r + 1) * self.height),
            b0: area.b0.max(c * self.width),
            b1: area.b1.min((c + 1) * self.width),
        }
    }

    /// The runs of an area's blocks, in order.
    #[inline]
    pub(super) fn runs(&self, area: &Area) -> Runs {
        let (c0, c1) = (self.by_width.quotient(area.b0), self.by_width.quotient(area.b1 - 1));
        let (r0, r1) = (self.by_height.quotient(area.r0), self.by_height.quotient(area.r1 - 1));
        let along_row = self.per_piece == 1;
        let (piece, last_piece) =
            if along_row { (r0, r1) } else { (self.by_piece.quotient(r0), self.by_piece.quotient(r1)) };
        let (columns, per_piece, base) = (self.columns, self.per_piece, self.base);
        Runs { columns, per_piece, base, along_row, r0, r1, c0, c1, piece, last_piece, column: c0 }
    }

    /// Sizes of a run's blocks, and what they have in common with an area.
    pub(super) fn blocks_of(&self, area: &Area, run: &Run) -> Blocks {
        let of = |i: u64| {
            let (r, c) = Self::of_run(run, i);
            (self.block_bytes(r, c), self.part(area, r, c))
        };
        let last = run.count - 1;
        let (down, right) = if run.along_row { (0, self.width) } else { (self.height, 0) };
        Blocks { first: of(0), second: of(last.min(1)), last: of(last), count: run.count, down, right }
    }

    /// The block `i` of a run: its row and column.
    pub(super) fn of_run(run: &Run, i: u64) -> (u64, u64) {
        if run.along_row { (run.row, run.column + i) } else { (run.row + i, run.column) }
    }
}

/// Cuts tensors into blocks; their number, the size of the largest tensor's, and how many are read together, at least, as a power
/// of two: runs of them begin at its multiples.
pub(super) fn map(tensors: &[Tensor], grain: u64, sector: u64, mapped: &mut Vec<Mapped>) -> (u64, u64, u32) {
    mapped.clear();
    let (mut base, mut address) = (0u64, PAGE);
    let (mut most, mut largest) = (0, grain);
    let mut together = NEIGHBOURS;
    for t in tensors {
        let width = u64::from(t.piece_bytes).min(grain).max(sector);
        let pieces = (u64::from(t.piece_rows) * width).div_ceil(grain).max(1);
        let height = u64::from(t.piece_rows).div_ceil(pieces).max(1);
        let per_piece = u64::from(t.piece_rows).div_ceil(height).max(1);
        let columns = t.row_bytes.div_ceil(width).max(1);
        let blocks = t.rows.div_ceil(height).max(1).next_multiple_of(per_piece) * columns;
        mapped.push(Mapped {
            rows: t.rows,
            row_bytes: t.row_bytes,
            width,
            height,
            columns,
            per_piece,
            base,
            blocks,
            address,
            off_lines: off_lines(if t.rows > 1 { t.row_bytes } else { 0 }),
            copied: false,
            by_width: Divisor::new(width),
            by_height: Divisor::new(height),
            by_piece: Divisor::new(per_piece),
        });
        if blocks > 1 {
            let beside = (u64::from(t.piece_bytes) / width).max(1);
            together |= base | if per_piece > 1 { per_piece } else { beside };
        }
        base += blocks;
        address = (address + t.bytes()).next_multiple_of(PAGE);
        if t.bytes() >= most {
            most = t.bytes();
            largest = (width.min(t.row_bytes.max(1)) * height).clamp(sector, grain);
        }
    }
    (base, largest, together.trailing_zeros())
}
