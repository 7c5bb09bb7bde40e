//! What comes before the first layer and after the last: embedding, final norm, head, loss.

use super::dense::{enter, norm, norm_back};
use super::lists::{Backward, Context, stream, stream_back};
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};

fn tensor(c: &Context<'_>, kind: CommKind, bytes: u64) -> Option<Item> {
    (c.parallel.tp > 1).then_some(Item::Comm(Comm { kind, axis: Axis::Tensor, bytes }, Class::TensorComm))
}

/// Words of the table that a rank has.
pub(super) fn local_vocab(c: &Context<'_>) -> u64 {
    let tp = c.parallel.tp.max(1);
    let rows = c.shape.padded_vocab(tp, c.software.pads_vocabulary) / u64::from(tp);
    if c.parallel.vocabulary { rows / u64::from(c.parallel.pp.max(1)) } else { rows }
}

/// Embedding: rows of the table, summed over ranks that each have some words; positions; dropout.
pub(super) fn embedding(c: &Context<'_>, out: &mut Vec<Item>) {
    let row = 2 * c.tokens() * u64::from(c.shape.hidden);
    out.push(Item::Host(HostWork::Module, 3));
    out.push(stream(row, row, Class::Ends));
    let kind = if c.parallel.sequence { CommKind::ReduceScatter } else { CommKind::AllReduce };
    out.extend(tensor(c, kind, row));
    let own = 2 * c.norm_tokens() * u64::from(c.shape.hidden);
    if c.shape.positions > 0 {
        out.push(stream(2 * own, own, Class::Ends));
    }
    if c.shape.dropout {
        out.push(Item::Host(HostWork::RandomState, 3));
        out.push(stream(own, own + own / 2, Class::Ends));
    }
}

/// Its gradient: a table of zeros, rows added to it, and the sum with that of other micro batches.
pub(super) fn embedding_back(c: &Context<'_>, back: &mut Backward) {
    let row = 2 * c.tokens() * u64::from(c.shape.hidden);
    let table = local_vocab(c) * u64::from(c.shape.hidden);
    if c.parallel.sequence {
        back.input_opt(tensor(c, CommKind::AllGather, row));
    }
    let bytes = u64::from(c.software.gradient_bytes);
    back.weight(stream_back(0, 2 * table, Class::Ends));
    back.weight(stream_back(2 * row, row, Class::Ends));
    back.weight(Item::Run(
        LocalOp::Stream { read: table * (2 + bytes), written: table * bytes },
        Class::Ends,
        HostWork::Gradient,
    ));
    if c.shape.positions > 0 {
        back.weight(stream_back(row, 0, Class::Ends));
    }
}

/// Final norm, logits, and the loss over words that are cut over the tensor-parallel ranks (`cross_entropy.py` of Megatron-LM: to single
/// precision, less the maximum, exponential, sum, quotient).
pub(super) fn head(c: &Context<'_>, out: &mut Vec<Item>) {
    let (tokens, words) = (c.tokens(), local_vocab(c));
    norm(c, out);
    enter(c, out);
    out.push(Item::Host(HostWork::Module, 3));
    out.push(Item::Run(
        LocalOp::product(tokens, words, u64::from(c.shape.hidden), c.wide_dtype()),
        Class::Ends,
        HostWork::Forward,
    ));
    let logits = tokens * words;
    let class = Class::Ends;
    let sum = || tensor(c, CommKind::AllReduce, 4 * tokens);
    out.push(stream(2 * logits, 4 * logits, class));
    out.push(stream(4 * logits, 0, class));
    out.extend(sum());
    out.push(stream(4 * logits, 4 * logits, class));
    out.push(Item::Small(6, class, HostWork::Forward));
    out.extend(sum());
    out.push(stream(4 * logits, 4 * logits, class));
    out.push(stream(4 * logits, 0, class));
    out.extend(sum());
    out.push(stream(4 * logits, 4 * logits, class));
    out.push(Item::Small(4, class, HostWork::Forward));
}

/// Their gradients.
pub(super) fn head_back(c: &Context<'_>, back: &mut Backward) {
    let (tokens, words, h) = (c.tokens(), local_vocab(c), u64::from(c.shape.hidden));
    let logits = tokens * words;
    let class = Class::Ends;
    back.input(Item::Small(6, class, HostWork::Backward));
    back.input(stream_back(4 * logits, 4 * logits, class));
    back.input(stream_back(4 * logits, 2 * logits, class));
    let run = |op| Item::Run(op, class, HostWork::Backward);
    back.input(run(LocalOp::product(tokens, h, words, c.wide_dtype())));
    let kind = if c.parallel.sequence { CommKind::ReduceScatter } else { CommKind::AllReduce };
    back.input_opt(tensor(c, kind, 2 * tokens * h));
    // Its first operand lies by words: where these are no multiple of eight it is loaded as narrowly as the input gradient's.
    let weight = if words.is_multiple_of(8) { [words, h, tokens] } else { [tokens, h, words] };
    back.weight(run(LocalOp::product(weight[0], weight[1], weight[2], c.wide_dtype())));
    let bytes = u64::from(c.software.gradient_bytes);
    back.weight(Item::Run(
        LocalOp::Stream { read: words * h * (2 + bytes), written: words * h * bytes },
        class,
        HostWork::Gradient,
    ));
    norm_back(c, back);
}
