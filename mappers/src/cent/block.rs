//! One token through one block, and through the embedding's matrices.

use banksia_hw::pim::Instruction;

use super::attention::{append, outputs, rotate, scores, softmax};
use super::place::{Place, Rows};
use super::products::{Matrix, product};
use super::shape::Shape;
use super::vectors::{Spread, access, norm, scale, squares};
use super::writer::Writer;

/// The matrices of a block, in the order of their products.
#[derive(Debug, Clone, Copy)]
struct Matrices {
    qkv: [Matrix; 3],
    output: Matrix,
    up: [Matrix; 2],
    down: Matrix,
}

impl Matrices {
    fn of(shape: &Shape, rows: &Rows) -> Self {
        let one = |row, outputs, inputs| Matrix { row, outputs, inputs, activated: false };
        let keys = shape.head_dim * shape.kv_heads;
        let [q, k, v] = rows.qkv;
        let [gate, up] = rows.up;
        Self {
            qkv: [
                one(q, shape.heads * shape.head_dim, shape.width),
                one(k, keys, shape.width),
                one(v, keys, shape.width),
            ],
            output: one(rows.output, shape.width, shape.width),
            up: [
                Matrix { activated: true, ..one(gate, shape.ffn_width, shape.width) },
                one(up, shape.ffn_width, shape.width),
            ],
            down: one(rows.down, shape.width, shape.ffn_width),
        }
    }
}

/// What comes before the token's keys are appended: the same for every context.
fn before_attention<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows) {
    norm(w, place, shape.width, [rows.input, rows.input_copy, rows.attention_norm], false);
    for matrix in Matrices::of(shape, rows).qkv {
        product(w, place, &matrix);
    }
    rotate(w, place, shape, rows);
}

/// Attention over a context, this token among it.
fn attention<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows, context: u64) {
    append(w, place, shape, rows, context);
    scores(w, place, shape, rows, context);
    softmax(w, place, shape, rows, context);
    outputs(w, place, shape, rows, context);
}

/// What comes after attention.
fn after_attention<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows) {
    let matrices = Matrices::of(shape, rows);
    product(w, place, &matrices.output);
    w.add(shape.width);
    norm(w, place, shape.width, [rows.attended, rows.attended, rows.ffn_norm], true);
    for matrix in matrices.up {
        product(w, place, &matrix);
    }
    gate(w, place, shape, rows);
    product(w, place, &matrices.down);
    w.add(shape.width);
}

/// x * sigmoid(x) * y of the feed-forward layer's inner states, in as many rows as they need.
fn gate<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows) {
    let all = w.all_blocks(place.block_channels);
    let a_row = place.block_banks() / 4 * place.row_elements;
    let whole = shape.ffn_width.min(a_row);
    let [first, second] = rows.inner;
    let parts = if shape.ffn_width > a_row {
        vec![(first, Spread::groups(place, whole)), (second, Spread::groups(place, shape.ffn_width - whole))]
    } else {
        vec![(second, Spread::groups(place, whole))]
    };
    let moved: Vec<(u64, u64, u32)> = parts.iter().map(|(row, s)| (*row, *row, s.columns(place))).collect();
    for position in [0, 1] {
        parts.iter().for_each(|(row, s)| access(w, place, true, position, *row, *s));
    }
    parts.iter().for_each(|(row, s)| w.elementwise(&all, s.columns(place), *row));
    w.move_results(&all, &moved);
    parts.iter().for_each(|(row, s)| access(w, place, true, 0, *row, *s));
    parts.iter().for_each(|(row, s)| w.elementwise(&all, s.columns(place), *row));
    parts.iter().for_each(|(row, s)| access(w, place, false, 2, *row, *s));
    w.wait();
}

/// Parts of a token's work on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What comes before the token's keys are appended: the same for every context.
    BeforeAttention,
    /// Attention over so many tokens, this one among them.
    Attention(u64),
    /// What comes after attention.
    AfterAttention,
    /// The matrix products of a block alone: what a device does that only helps with them.
    Products,
    /// The embedding, the last norm, and the projection on the vocabulary.
    Embedding,
    /// The end of the work.
    End,
}

/// Gives the instructions of a part.
pub fn write<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows, part: Part) {
    match part {
        Part::BeforeAttention => before_attention(w, place, shape, rows),
        Part::Attention(context) => attention(w, place, shape, rows, context),
        Part::AfterAttention => after_attention(w, place, shape, rows),
        Part::Products => products(w, place, shape, rows),
        Part::Embedding => embedding(w, place, shape, rows),
        Part::End => w.end(),
    }
}

/// The matrix products of a block alone: what a device does that only helps with them.
fn products<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows) {
    let matrices = Matrices::of(shape, rows);
    let [q, k, v] = matrices.qkv;
    let [gate, up] = matrices.up;
    for matrix in [q, k, v, matrices.output, gate, up, matrices.down] {
        product(w, place, &matrix);
    }
}

/// What is before the first block and after the last.
fn embedding<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, shape: &Shape, rows: &Rows) {
    let [row, ..] = rows.qkv;
    if place.conventions.one_hot_embedding {
        product(w, place, &Matrix { row, outputs: shape.width, inputs: shape.vocab, activated: false });
        squares(w, place, shape.width, rows.input);
        let groups = Spread::groups(place, shape.width);
        access(w, place, true, 1, rows.input_copy, groups);
        let all = w.all_blocks(place.block_channels);
        scale(w, place, &all, groups, [rows.input_copy, rows.attention_norm]);
    } else {
        let columns = u64::from(place.columns(shape.width));
        let a_row = u64::from(place.columns(place.row_elements));
        (0..columns).for_each(|column| w.access(false, 0, 0, row + column / a_row));
        norm(w, place, shape.width, [rows.input, rows.input_copy, rows.attention_norm], false);
    }
    product(w, place, &Matrix { row: rows.output, outputs: shape.vocab, inputs: shape.width, activated: false });
}
