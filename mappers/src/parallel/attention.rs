//! The core of attention on one rank: scores, softmax, dropout and values, by themselves or as one kernel, over context-parallel ranks.

use super::lists::{Backward, Context, stream, stream_back};
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::settings::{Context as Way, Recompute};

/// Sizes of the core on one rank.
struct Core {
    batch: u64,
    heads: u64,
    kv_heads: u64,
    head_dim: u64,
    queries: u64,
    sequence: u64,
}

impl Core {
    fn of(c: &Context<'_>) -> Self {
        let tp = u64::from(c.parallel.tp.max(1));
        Self {
            batch: u64::from(c.train.micro_batch),
            heads: (u64::from(c.shape.heads) / tp).max(1),
            kv_heads: (u64::from(c.shape.kv_heads) / tp).max(1),
            head_dim: u64::from(c.shape.head_dim),
            queries: u64::from(c.train.sequence) / u64::from(c.parallel.cp.max(1)),
            sequence: u64::from(c.train.sequence),
        }
    }

    /// Bytes of all scores in 16 bits.
    fn scores(&self) -> u64 {
        2 * self.batch * self.heads * self.queries * self.sequence
    }

    /// Bytes of the queries, and of keys with values, of the rank.
    fn tensors(&self) -> (u64, u64) {
        let row = 2 * self.batch * self.queries * self.head_dim;
        (row * self.heads, 2 * row * self.kv_heads)
    }

    /// Megatron's fused softmax: half types, rows up to 4,096, four rows of different heads a block (`fused_softmax.py`,
    /// `is_kernel_available`).
    fn softmax_is_fused(&self) -> bool {
        let per_block = if self.sequence > 128 { 4 } else { 8 };
        (16..=4096).contains(&self.sequence)
            && self.sequence.is_multiple_of(4)
            && (self.batch * self.heads).is_multiple_of(per_block)
    }

    fn product(&self, m: u64, n: u64, k: u64, c: &Context<'_>, host: HostWork) -> Item {
        let op = LocalOp::product(m, n, k, c.wide_dtype()).batched(self.batch * self.heads);
        Item::Run(op, Class::Attention, host)
    }

    fn flash(
        &self,
        c: &Context<'_>,
        [queries, keys]: [u64; 2],
        split_heads: u64,
        causal: bool,
        backward: bool,
    ) -> Item {
        let small = |v: u64| u32::try_from(v.max(1)).unwrap_or(u32::MAX);
        let op = LocalOp::Attention {
            batch: small(self.batch),
            heads: small(self.heads / split_heads),
            kv_heads: small(self.kv_heads / split_heads),
            queries: small(queries),
            keys: small(keys),
            head_dim: small(self.head_dim),
            causal,
            backward,
            dtype: c.wide_dtype(),
        };
        let host = if backward { HostWork::Backward } else { HostWork::Forward };
        Item::Run(op, Class::Attention, host)
    }

    /// A ring of so many ranks, each with `1 / split` of its heads and the tokens of `split` ranks. Each rank has one piece from either end of the sequence, so that all have as much of the mask: its own
    /// tokens, then halves of the others' (Megatron-Core, Transformer Engine). Keys and values of the next are under way meanwhile; backward their gradients go round too.
    fn ring(&self, c: &Context<'_>, ranks: u64, split: u64, backward: bool, out: &mut Vec<Item>) {
        let (q, kv) = self.tensors();
        let queries = self.queries * split;
        let sent = if backward { 2 * kv } else { kv };
        for step in 0..ranks {
            if step + 1 < ranks {
                let send = Comm { kind: CommKind::Send, axis: Axis::Context, bytes: sent };
                out.push(Item::Beside(send, Class::ContextComm));
            }
            let keys = if step == 0 { queries } else { queries.div_ceil(2) };
            out.push(self.flash(c, [queries, keys], split.min(self.kv_heads), step == 0, backward));
            out.push(Item::Join);
            if !backward && step > 0 {
                // Results are rescaled and added.
                out.push(stream(2 * q, q, Class::Attention));
            }
        }
    }

    /// Attention as one kernel, over context-parallel ranks.
    fn pass(&self, c: &Context<'_>, backward: bool, out: &mut Vec<Item>) {
        let cp = u64::from(c.parallel.cp.max(1));
        let (q, kv) = self.tensors();
        if cp == 1 {
            out.push(self.flash(c, [self.sequence, self.sequence], 1, true, backward));
            return;
        }
        let comm = |kind, bytes| Comm { kind, axis: Axis::Context, bytes };
        match c.parallel.context {
            Way::Ring => self.ring(c, cp, 1, backward, out),
            Way::Hybrid => {
                let heads = u64::from(c.parallel.ulysses.max(1)).min(cp);
                if heads == 1 {
                    self.ring(c, cp, 1, backward, out);
                    return;
                }
                // Tokens of a group's ranks against heads, then the ring of groups with what a rank has then.
                let bytes = if backward { q + kv + q } else { q + kv };
                out.push(Item::Comm(comm(CommKind::AllToAll, bytes), Class::ContextComm));
                self.ring(c, cp / heads, heads, backward, out);
                out.push(Item::Comm(comm(CommKind::AllToAll, if backward { q + kv } else { q }), Class::ContextComm));
            }
            Way::TokenRing => {
                // Queries go one way; results, with a sum a row, the other, beside the next products. A rank sends both at once: the longer one is waited for.
                let sums = 4 * self.batch * self.heads * self.queries;
                let there = if backward { 3 * q + sums } else { q };
                let back = if backward { q } else { q + sums };
                for step in 0..cp {
                    if step + 1 < cp {
                        out.push(Item::Beside(comm(CommKind::Send, there.max(back)), Class::ContextComm));
                    }
                    let queries = if step == 0 { self.queries } else { self.queries.div_ceil(2) };
                    out.push(self.flash(c, [queries, self.queries], 1, step == 0, backward));
                    out.push(Item::Join);
                    if !backward && step > 0 {
                        out.push(stream(2 * q, q, Class::Attention));
                    }
                }
            }
            Way::Ulysses => {
                let bytes = q + kv + q;
                out.push(Item::Comm(
                    comm(CommKind::AllToAll, if backward { bytes } else { q + kv }),
                    Class::ContextComm,
                ));
                out.push(self.flash(c, [self.sequence, self.sequence], cp.min(self.kv_heads), true, backward));
                out.push(Item::Comm(comm(CommKind::AllToAll, if backward { q + kv } else { q }), Class::ContextComm));
            }
            Way::AllGather => {
                out.push(Item::Comm(comm(CommKind::AllGather, kv * cp), Class::ContextComm));
                out.push(self.flash(c, [self.queries, self.sequence / 2], 1, false, backward));
                if backward {
                    out.push(Item::Comm(comm(CommKind::ReduceScatter, kv * cp), Class::ContextComm));
                }
            }
        }
    }
}

fn rotation(c: &Context<'_>, core: &Core, back: bool) -> Option<Item> {
    let (q, kv) = core.tensors();
    let bytes = q + kv / 2;
    let of = if back { stream_back } else { stream };
    c.shape.rotary.then(|| of(bytes, bytes, Class::Rows))
}

/// Forward.
pub(super) fn core_forward(c: &Context<'_>, out: &mut Vec<Item>) {
    let core = Core::of(c);
    out.extend(rotation(c, &core, false));
    inner_forward(c, &core, out);
}

fn inner_forward(c: &Context<'_>, core: &Core, out: &mut Vec<Item>) {
    if c.software.flash_attention {
        core.pass(c, false, out);
        return;
    }
    let (scores, (q, _)) = (core.scores(), core.tensors());
    let class = Class::Attention;
    out.push(core.product(core.queries, core.sequence, core.head_dim, c, HostWork::Forward));
    if c.software.fused_softmax && core.softmax_is_fused() {
        // It reads no score above the diagonal, and writes zeros there.
        out.push(stream(scores / 2, scores, class));
    } else {
        // To single precision, scale, mask, softmax, back.
        for (read, written) in [(1, 2), (2, 2), (2, 2), (2, 2), (2, 1)] {
            out.push(stream(read * scores, written * scores, class));
        }
        out.push(Item::Small(4, class, HostWork::Forward));
    }
    if c.shape.dropout {
        out.push(Item::Host(HostWork::RandomState, if c.parallel.tp > 1 { 3 } else { 1 }));
        out.push(stream(scores, scores + scores / 2, class));
    }
    out.push(core.product(core.queries, core.head_dim, core.sequence, c, HostWork::Forward));
    // Heads back beside each other.
    out.push(stream(q, q, class));
}

/// Backward, with what selective recomputation computes again.
pub(super) fn core_backward(c: &Context<'_>, back: &mut Backward) {
    let core = Core::of(c);
    let mut items = Vec::new();
    if c.train.recompute == Recompute::Selective {
        items.push(Item::Host(HostWork::Checkpoint, 1));
        inner_forward(c, &core, &mut items);
    }
    let class = Class::Attention;
    if c.software.flash_attention {
        core.pass(c, true, &mut items);
    } else {
        let (scores, (q, kv)) = (core.scores(), core.tensors());
        items.push(stream_back(q, q, class));
        // Values: of the probabilities, of the values.
        items.push(core.product(core.queries, core.sequence, core.head_dim, c, HostWork::Backward));
        items.push(core.product(core.sequence, core.head_dim, core.queries, c, HostWork::Backward));
        if c.shape.dropout {
            items.push(stream_back(scores + scores / 2, scores, class));
        }
        if c.software.fused_softmax && core.softmax_is_fused() {
            items.push(stream_back(scores, scores, class));
        } else {
            for (read, written) in [(1, 2), (4, 2), (2, 2), (2, 2), (2, 1)] {
                items.push(stream_back(read * scores, written * scores, class));
            }
            items.push(Item::Small(3, class, HostWork::Backward));
        }
        // Scores: of the queries, of the keys; and the three gradients side by side.
        items.push(core.product(core.queries, core.head_dim, core.sequence, c, HostWork::Backward));
        items.push(core.product(core.sequence, core.head_dim, core.queries, c, HostWork::Backward));
        items.push(stream_back(q + kv, q + kv, class));
    }
    items.extend(rotation(c, &core, true));
    for item in items {
        back.input(item);
    }
}
