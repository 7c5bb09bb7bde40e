//! Attention of one token over a cache: keys over all banks of all devices, values over banks of a device by element of a head.

use banksia_hw::pim::Instruction;

use super::place::{Place, Rows};
use super::shape::Shape;
use super::vectors::{Spread, access};
use super::writer::Writer;

/// Rotary positions of queries and keys: written to banks of a group, multiplied, and read.
pub fn rotate<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows) {
    let all = w.all_blocks(place.block_channels);
    let groups = Spread::groups(place, shape.width);
    let key_width = shape.width / shape.queries_per_kv();
    // Cosine and sine parts: twice the elements.
    let parts = [
        (rows.queries, groups.of_each(groups.each * 2), shape.width),
        (rows.keys, groups.of_each(groups.each / shape.queries_per_kv() * 2), key_width),
    ];
    for (row, spread, _) in parts {
        access(w, place, true, 1, row, spread);
    }
    for (row, spread, width) in parts {
        let columns = if place.conventions.rotary_in_one_row { place.columns(width) } else { spread.columns(place) };
        w.elementwise(&all, columns, row);
    }
    for (row, spread, _) in parts {
        access(w, place, place.conventions.rotary_written_back, 2, row, spread);
    }
}

/// The token's keys and values go to the caches.
pub fn append<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows, context: u64) {
    let token = context - 1;
    let bank = token % place.key_banks();
    // On whichever device it lies, that device writes as much.
    let (channel, bank) = (bank / place.banks % place.channels, bank % place.banks);
    let key_rows = shape.head_dim * shape.kv_heads / place.row_elements;
    for row in 0..key_rows {
        for _ in 0..place.columns(place.row_elements) {
            for block in 0..place.blocks() {
                let row = rows.key_cache + token / place.key_banks() * key_rows + row;
                w.access(true, channel + block * place.block_channels, bank, row);
            }
        }
    }
    let row = if place.conventions.values_of_first_block {
        token.saturating_sub(1) / place.row_elements
    } else {
        token / place.row_elements
    };
    let blocks = if place.conventions.values_of_first_block { 1 } else { place.blocks() };
    let values = Values::of(place, shape);
    for head in 0..values.heads {
        for part in 0..values.parts {
            for channel in 0..place.block_channels {
                if channel * values.heads + head >= shape.kv_heads {
                    break;
                }
                for block in 0..blocks {
                    let row = rows.value_cache + values.row(head, part) + row;
                    w.write_banks(channel + block * place.block_channels, row);
                }
            }
        }
    }
}

/// Cached values in the banks: an element of a head in each, tokens along rows.
#[derive(Debug, Clone, Copy)]
struct Values {
    /// Heads of a channel.
    heads: u64,
    /// Parts of a head: a head has so many elements for each bank.
    parts: u64,
    /// Rows of an element.
    rows: u64,
}

impl Values {
    fn of(place: &Place, shape: &Shape) -> Self {
        Self {
            heads: shape.kv_heads.div_ceil(place.block_channels),
            parts: shape.head_dim / place.banks,
            rows: place.context.div_ceil(place.row_elements),
        }
    }

    /// The first row of a part of a head, from the first of the cache on.
    fn row(&self, head: u64, part: u64) -> u64 {
        self.rows * (self.parts * head + part)
    }
}

/// Queries times keys.
pub fn scores<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows, context: u64) {
    let key_rows = (shape.head_dim * shape.kv_heads).div_ceil(place.row_elements);
    let heads_a_row = place.row_elements / shape.head_dim;
    let columns = place.columns(shape.head_dim);
    let all_channels = place.key_banks() / place.banks;
    let rounds = context.div_ceil(place.key_banks());
    for row in 0..key_rows {
        for round in 0..rounds {
            let left = (context - place.key_banks() * round).min(place.key_banks()).div_ceil(place.banks);
            let channels = if all_channels > place.channels { w.mask(place.channels) } else { w.all_blocks(left) };
            for _ in 0..shape.queries_per_kv() {
                w.load(&channels, place.columns(place.row_elements));
                for _ in 0..heads_a_row {
                    w.bias(&channels);
                    w.multiply(&channels, columns, rows.key_cache + round * key_rows + row);
                    w.read(&channels);
                }
            }
        }
    }
}

/// Softmax: twice, scores are written, multiplied element by element by a scalar, and read.
pub fn softmax<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows, context: u64) {
    let all = w.all_blocks(place.block_channels);
    let score_rows = context.div_ceil(place.row_elements);
    let heads = shape.heads.div_ceil(place.block_channels * 4);
    let length = |row: u64| place.columns(place.row_elements.min(context - row * place.row_elements));
    for _ in 0..2 {
        for position in [0, 1] {
            score_access(w, place, shape, rows.scores, context, (true, position));
        }
        for head in 0..heads {
            for row in 0..score_rows {
                w.elementwise(&all, length(row), rows.scores + head * score_rows + row);
            }
        }
        score_access(w, place, shape, rows.scores, context, (false, 2));
        w.wait();
    }
}

/// Scores of every head by accesses: a bank group has some heads, and each head its rows.
fn score_access<F: FnMut(&Instruction)>(
    w: &mut Writer<'_, F>,
    place: &Place,
    shape: &Shape,
    first_row: u64,
    context: u64,
    (write, position): (bool, u64),
) {
    let score_rows = context.div_ceil(place.row_elements);
    let heads = shape.heads.div_ceil(place.block_channels * 4);
    for row in 0..score_rows {
        let columns = place.columns(place.row_elements.min(context - row * place.row_elements));
        for head in 0..heads {
            for _ in 0..columns {
                for group in 0..place.block_banks() / 4 {
                    if group * heads + head >= shape.heads {
                        break;
                    }
                    let bank = group * 4 + position;
                    for block in 0..place.blocks() {
                        let channel = bank / place.banks + block * place.block_channels;
                        w.access(write, channel, bank % place.banks, first_row + head * score_rows + row);
                    }
                }
            }
        }
    }
}

/// Probabilities times values.
pub fn outputs<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows, context: u64) {
    let all = w.all_blocks(place.block_channels);
    let values = Values::of(place, shape);
    let value_rows = context.div_ceil(place.row_elements);
    for head in 0..values.heads {
        for _ in 0..shape.queries_per_kv() {
            for row in 0..value_rows {
                let columns = place.columns(place.row_elements.min(context - row * place.row_elements));
                w.load(&all, columns);
                for part in 0..values.parts {
                    w.bias(&all);
                    w.multiply(&all, columns, rows.value_cache + values.row(head, part) + row);
                    w.read(&all);
                }
            }
        }
    }
}
