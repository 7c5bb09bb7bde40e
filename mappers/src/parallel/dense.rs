//! The parts of a dense layer on one rank: attention, and the feed-forward layer.

use banksia_hw::gpu::program::Dtype;

use super::attention::{core_backward, core_forward};
use super::lists::{Backward, Context, gradients, product, stream, stream_back};
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item};

/// Before a product whose weights are cut by columns: sequence parallelism gathers the tokens.
pub(super) fn enter(c: &Context<'_>, out: &mut Vec<Item>) {
    if c.parallel.tp > 1 && c.parallel.sequence {
        let bytes = 2 * c.tokens() * u64::from(c.shape.hidden);
        let gather = Comm { kind: CommKind::AllGather, axis: Axis::Tensor, bytes };
        out.push(tensor(c, gather));
    }
}

/// After a product whose weights are cut by rows: the ranks' parts are summed.
pub(super) fn leave(c: &Context<'_>, out: &mut Vec<Item>) {
    if c.parallel.tp > 1 {
        let bytes = 2 * c.tokens() * u64::from(c.shape.hidden);
        let kind = if c.parallel.sequence { CommKind::ReduceScatter } else { CommKind::AllReduce };
        out.push(tensor(c, Comm { kind, axis: Axis::Tensor, bytes }));
    }
}

/// A collective of the tensor-parallel ranks that either stands by itself or goes in pieces beside its product.
fn tensor(c: &Context<'_>, comm: Comm) -> Item {
    let in_pieces = c.parallel.overlap.tensor && c.parallel.sequence;
    if in_pieces { Item::Beside(comm, Class::TensorComm) } else { Item::Comm(comm, Class::TensorComm) }
}

/// Closes pieces that went beside a product.
fn pieces(c: &Context<'_>, out: &mut Vec<Item>) {
    if c.parallel.tp > 1 && c.parallel.overlap.tensor && c.parallel.sequence {
        out.push(Item::Join);
    }
}

/// A product of a forward pass; where collectives go in pieces beside it, as many products of fewer rows as there are ranks (Transformer Engine's
/// `ring_exchange`).
fn in_pieces(c: &Context<'_>, out: &mut Vec<Item>, class: Class, [n, k]: [u64; 2]) {
    let tp = u64::from(c.parallel.tp.max(1));
    let pieces = if c.parallel.overlap.tensor && c.parallel.sequence { tp } else { 1 };
    out.extend((0..pieces).map(|_| product(class, [c.tokens() / pieces, n, k], c.layer_dtype())));
}

/// A product between a gather before it and nothing after.
fn column_product(c: &Context<'_>, out: &mut Vec<Item>, class: Class, size: [u64; 2]) {
    enter(c, out);
    in_pieces(c, out, class, size);
    pieces(c, out);
}

/// A product whose result is summed over ranks: in pieces, the sum of one goes beside the product of the next.
fn row_product(c: &Context<'_>, out: &mut Vec<Item>, class: Class, size: [u64; 2]) {
    if c.parallel.overlap.tensor && c.parallel.sequence {
        leave(c, out);
        in_pieces(c, out, class, size);
        pieces(c, out);
    } else {
        out.push(product(class, [c.tokens(), size[0], size[1]], c.layer_dtype()));
        leave(c, out);
    }
}

/// Norm of the hidden state.
pub(super) fn norm(c: &Context<'_>, out: &mut Vec<Item>) {
    let bytes = 2 * c.norm_tokens() * u64::from(c.shape.hidden);
    out.push(stream(bytes, bytes, Class::Rows));
}

/// Bias, dropout and residual, after a part.
pub(super) fn residual(c: &Context<'_>, out: &mut Vec<Item>) {
    let elements = c.norm_tokens() * u64::from(c.shape.hidden);
    let mask = if c.shape.dropout { elements } else { 0 };
    out.push(stream(4 * elements, 2 * elements + mask, Class::Rows));
}

/// Backward of [`residual`]: dropout's mask, and the bias's gradient.
pub(super) fn residual_back(c: &Context<'_>, back: &mut Backward) {
    let elements = c.norm_tokens() * u64::from(c.shape.hidden);
    if c.shape.dropout {
        back.input(stream_back(3 * elements, 2 * elements, Class::Rows));
    }
    if c.shape.bias {
        back.input(stream_back(2 * elements, 0, Class::Rows));
        back.weight(Item::Host(HostWork::Gradient, 1));
    }
}

/// Backward of a norm (two kernels: of its input, of its gains), and the sum with the residual's gradient.
pub(super) fn norm_back(c: &Context<'_>, back: &mut Backward) {
    let bytes = 2 * c.norm_tokens() * u64::from(c.shape.hidden);
    back.input(stream_back(2 * bytes, bytes, Class::Rows));
    back.input(stream_back(2 * bytes, 0, Class::Rows));
    back.input(stream_back(2 * bytes, bytes, Class::Rows));
    back.weight(Item::Host(HostWork::Gradient, if c.shape.rms_norm { 1 } else { 2 }));
}

/// Attention, forward.
pub(super) fn attention(c: &Context<'_>, out: &mut Vec<Item>) {
    let s = c.shape;
    out.push(Item::Host(HostWork::Module, 7));
    norm(c, out);
    column_product(c, out, Class::Qkv, [c.per_tp(s.query_width() + 2 * s.kv_width()), u64::from(s.hidden)]);
    core_forward(c, out);
    if c.layer_dtype() == Dtype::Fp8 {
        // The result is cast for the next product, and transposed for its weight gradient; norms and activations write theirs so.
        let bytes = 2 * c.tokens() * c.per_tp(s.query_width());
        out.push(stream(bytes, bytes, Class::Rows));
    }
    row_product(c, out, Class::Projection, [u64::from(s.hidden), c.per_tp(s.query_width())]);
    residual(c, out);
}

/// The feed-forward layer, forward.
pub(super) fn feed_forward(c: &Context<'_>, out: &mut Vec<Item>) {
    let s = c.shape;
    let inner = c.per_tp(u64::from(s.ffn));
    let ups = if s.gated { 2 } else { 1 };
    out.push(Item::Host(HostWork::Module, 4));
    norm(c, out);
    column_product(c, out, Class::FfnIn, [inner * ups, u64::from(s.hidden)]);
    out.push(stream(2 * c.tokens() * inner * ups, 2 * c.tokens() * inner, Class::Rows));
    row_product(c, out, Class::FfnOut, [u64::from(s.hidden), inner]);
    residual(c, out);
}

/// The collective after the input gradient of a column product, beside its weight gradient where that is on.
fn input_sum(c: &Context<'_>) -> Vec<Item> {
    let mut sum = Vec::new();
    if c.parallel.tp > 1 {
        let bytes = 2 * c.tokens() * u64::from(c.shape.hidden);
        let kind = if c.parallel.sequence { CommKind::ReduceScatter } else { CommKind::AllReduce };
        let comm = Comm { kind, axis: Axis::Tensor, bytes };
        let beside = c.parallel.overlap.tensor_gradients || c.parallel.overlap.tensor;
        sum.push(if beside { Item::Beside(comm, Class::TensorComm) } else { Item::Comm(comm, Class::TensorComm) });
    }
    sum
}

/// Sequence parallelism keeps a rank's own tokens of a column product's input, and gathers them again for its weight gradient, beside the
/// input gradient.
fn gather_again(c: &Context<'_>, back: &mut Backward) {
    if c.parallel.tp > 1 && c.parallel.sequence {
        let bytes = 2 * c.tokens() * u64::from(c.shape.hidden);
        back.together(Item::Beside(Comm { kind: CommKind::AllGather, axis: Axis::Tensor, bytes }, Class::TensorComm));
        back.weight.push(Item::Comm(Comm { kind: CommKind::AllGather, axis: Axis::Tensor, bytes }, Class::TensorComm));
    }
    if c.layer_dtype() == Dtype::Fp8 {
        // Hopper's products of eight bits have both operands with the depth contiguous: the kept input is transposed for the weight gradient.
        let elements = c.tokens() * u64::from(c.shape.hidden);
        back.weight(stream_back(elements, elements, Class::Rows));
    }
}

/// The gradient of a part's output, gathered where tokens are cut.
fn enter_back(c: &Context<'_>, back: &mut Backward) {
    let mut items = Vec::new();
    enter(c, &mut items);
    for item in items {
        back.input(item);
    }
}

/// Attention, backward.
pub(super) fn attention_back(c: &Context<'_>, back: &mut Backward) {
    let s = c.shape;
    let (h, tokens) = (u64::from(s.hidden), c.tokens());
    residual_back(c, back);
    enter_back(c, back);
    gradients(back, Class::Projection, [tokens, h, c.per_tp(s.query_width())], c.layer_dtype(), c.software, &[]);
    close_pieces(c, back);
    core_backward(c, back);
    let width = c.per_tp(s.query_width() + 2 * s.kv_width());
    if s.bias {
        back.input(stream_back(2 * tokens * width, 0, Class::Rows));
        back.weight(Item::Host(HostWork::Gradient, 1));
    }
    gather_again(c, back);
    gradients(back, Class::Qkv, [tokens, width, h], c.layer_dtype(), c.software, &input_sum(c));
    norm_back(c, back);
}

/// Computation goes on when pieces beside it are done.
fn close_pieces(c: &Context<'_>, back: &mut Backward) {
    if c.parallel.tp > 1 && c.parallel.overlap.tensor && c.parallel.sequence {
        back.input(Item::Join);
    }
}

/// The feed-forward layer, backward.
pub(super) fn feed_forward_back(c: &Context<'_>, back: &mut Backward) {
    let s = c.shape;
    let (h, tokens) = (u64::from(s.hidden), c.tokens());
    let inner = c.per_tp(u64::from(s.ffn));
    let ups = if s.gated { 2 } else { 1 };
    residual_back(c, back);
    enter_back(c, back);
    gradients(back, Class::FfnOut, [tokens, h, inner], c.layer_dtype(), c.software, &[]);
    close_pieces(c, back);
    back.input(stream_back(2 * tokens * inner * (ups + 1), 2 * tokens * inner * ups, Class::Rows));
    if s.bias {
        back.input(stream_back(2 * tokens * inner * ups, 0, Class::Rows));
        back.weight(Item::Host(HostWork::Gradient, 1));
    }
    gather_again(c, back);
    gradients(back, Class::FfnIn, [tokens, inner * ups, h], c.layer_dtype(), c.software, &input_sum(c));
    norm_back(c, back);
}
