//! How vectors are packed into the rows of the banks, and the command patterns that walk over them.
//!
//! Items of equal length lie one after the other in the columns of a bank, over row boundaries, so that no column is
//! wasted and nearly every access finds its row open. What repeats after some items is a pattern; a walk over many items
//! is iterations of it, and a shorter pattern for the rest.

use banksia_hw::program::{Pattern, PatternStep};

use super::geometry::Geometry;

/// A walk over packed items: `(pattern, first row from the region's, iterations)`.
pub(crate) type Walk = Vec<(Pattern, u32, u32)>;

/// Columns of a row, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The row, counted from the region's first.
    pub row: u32,
    /// The first column.
    pub column: u32,
    /// How many.
    pub columns: u32,
}

/// Turns the pieces of one access into steps, told whether the next access needs another row.
pub(crate) type Steps<'a> = dyn Fn(&mut Vec<PatternStep>, &[Piece], bool) + 'a;

/// One access to some columns of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    /// The first column within the item.
    pub offset: u32,
    /// How many.
    pub columns: u32,
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The least common multiple, at least 1.
pub(crate) fn lcm(a: u64, b: u64) -> u64 {
    (a / gcd(a, b).max(1)).saturating_mul(b).max(1)
}

/// After how many items of `stride` columns packing begins a row again.
pub(crate) fn period_items(stride: u32, row_columns: u32) -> u32 {
    row_columns / gcd(u64::from(stride), u64::from(row_columns)).max(1) as u32
}

/// The pieces of `columns` columns from column `first` of a region, by row.
pub(crate) fn pieces(first: u64, columns: u32, row_columns: u32) -> impl Iterator<Item = Piece> {
    let (mut at, end) = (first, first + u64::from(columns));
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let row = at / u64::from(row_columns);
            let until = end.min((row + 1) * u64::from(row_columns));
            let column = (at % u64::from(row_columns)) as u32;
            let piece = Piece { row: row as u32, column, columns: (until - at) as u32 };
            at = until;
            piece
        })
    })
}

/// Walks over items `from..to` of `stride` columns each, doing the accesses of each; `steps` turns one access's pieces,
/// rows counted from the iteration's first, into steps, and is told whether the next access needs another row.
pub(crate) fn walk(
    geometry: &Geometry,
    stride: u32,
    (from, to): (u32, u32),
    accesses: &[Access],
    steps: &Steps<'_>,
) -> Walk {
    let row_columns = geometry.columns;
    let period_items = period_items(stride, row_columns);
    let period_rows = (u64::from(period_items) * u64::from(stride) / u64::from(row_columns)) as u32;
    let pattern = |first: u32, count: u32, rows: u32| {
        // Rows are counted from the row in which the first item begins.
        let base = u64::from(first) * u64::from(stride) / u64::from(row_columns) * u64::from(row_columns);
        let place = |item: u32, a: &Access| {
            let column = u64::from(item) * u64::from(stride) + u64::from(a.offset) - base;
            pieces(column, a.columns, row_columns).collect::<Vec<_>>()
        };
        let all: Vec<Vec<Piece>> = (first..first + count)
            .flat_map(|i| accesses.iter().map(move |a| (i, a)))
            .map(|(i, a)| place(i, a))
            .collect();
        let mut out = Vec::new();
        for (i, here) in all.iter().enumerate() {
            let row = here.last().map(|p| p.row);
            let next = all.get(i + 1).and_then(|n| n.first()).map(|p| p.row);
            // After the last access of a pattern comes the next iteration, `rows` further on.
            let next = next.or_else(|| all.first().and_then(|n| n.first()).map(|p| p.row + rows));
            steps(&mut out, here, row != next);
        }
        Pattern { steps: out, rows }
    };
    let mut walk = Walk::new();
    let mut at = from;
    while at < to {
        let row = (u64::from(at) * u64::from(stride) / u64::from(row_columns)) as u32;
        if at % period_items == 0 && to - at >= period_items {
            let iterations = (to - at) / period_items;
            walk.push((pattern(at, period_items, period_rows), row, iterations));
            at += iterations * period_items;
        } else {
            // Up to where the repetition begins, or what is left after it.
            let until = to.min((at / period_items + 1) * period_items);
            walk.push((pattern(at, until - at, period_rows), row, 1));
            at = until;
        }
    }
    walk
}

/// Steps that multiply-accumulate the pieces in every bank and read the sums, closing a row that is not needed next so
/// that its precharge overlaps the read.
pub(crate) fn mac_and_read(geometry: &Geometry) -> impl Fn(&mut Vec<PatternStep>, &[Piece], bool) + '_ {
    move |out, pieces, closes| {
        for piece in pieces {
            out.push(access(&geometry.mac, *piece));
        }
        if closes {
            out.push(step(&geometry.close_all, 1, None));
        }
        out.push(step(&geometry.read_result, 1, None));
    }
}

/// Steps that write one column in every bank.
pub(crate) fn write_every_bank(geometry: &Geometry) -> impl Fn(&mut Vec<PatternStep>, &[Piece], bool) + '_ {
    move |out, pieces, _| {
        for piece in pieces {
            let mut write = access(&geometry.write, *piece);
            write.nodes = geometry.banks;
            write.open_with = Some(geometry.open_all.clone());
            out.push(write);
        }
    }
}

/// A step of one command at node 0.
pub(crate) fn step(command: &str, count: u32, row: Option<u32>) -> PatternStep {
    PatternStep { command: command.to_owned(), first_node: 0, nodes: 1, count, row, column: 0, open_with: None }
}

/// A step of a command that accesses a piece.
pub(crate) fn access(command: &str, piece: Piece) -> PatternStep {
    PatternStep { column: piece.column, ..step(command, piece.columns, Some(piece.row)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pim_gpt::geometry::tests::geometry;
    use proptest::prelude::*;

    proptest! {
        /// A walk touches each access's columns once, in order, wherever it starts and whatever the stride.
        #[test]
        fn a_walk_covers_each_item_once(stride in 1u32..200, from in 0u32..150, count in 1u32..200, offset in 0u32..64, columns in 1u32..64) {
            let geometry = geometry();
            prop_assume!(offset + columns <= stride);
            let accesses = [Access { offset, columns }];
            let walk = walk(&geometry, stride, (from, from + count), &accesses, &mac_and_read(&geometry));
            let mut rows = Vec::new();
            let mut reads = 0;
            for (pattern, first, iterations) in &walk {
                for i in 0..*iterations {
                    for s in &pattern.steps {
                        match s.row {
                            Some(row) => rows.push(Piece { row: first + i * pattern.rows + row, column: s.column, columns: s.count }),
                            None => reads += u32::from(s.command == geometry.read_result),
                        }
                    }
                }
            }
            let expected: Vec<Piece> = (from..from + count)
                .flat_map(|i| pieces(u64::from(i) * u64::from(stride) + u64::from(offset), columns, geometry.columns))
                .collect();
            prop_assert_eq!(rows, expected);
            prop_assert_eq!(reads, count);
        }
    }
}
