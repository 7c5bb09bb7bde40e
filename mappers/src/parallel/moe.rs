//! The experts of a layer on one rank: routing, dispatch, the experts' products, combination.

use banksia_hw::gpu::program::Dtype;

use super::dense::{norm, norm_back, residual, residual_back};
use super::lists::{Backward, Context, gradients, product, stream, stream_back};
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::settings::{Dispatch, Exchange};
use super::shape::Experts;

/// Sizes of the routed part on one rank. Tokens are those of the rank (cut over tensor-parallel ranks); experts are taken to get equal shares
/// (a capacity factor of one, or a balancing loss).
struct Routed {
    experts: Experts,
    /// Tokens of the rank before dispatch.
    tokens: u64,
    /// Rows of its tokens, one for each of a token's experts.
    routed: u64,
    /// Rows that the rank sends and gets back: fewer than are routed where tokens of a bucket go as one.
    sent: u64,
    /// Rows of each of the rank's experts.
    rows: u64,
    /// Experts of the rank.
    local: u64,
    /// Inner elements of the rank's part of an expert, gate and up together.
    inner: u64,
    ups: u64,
    hidden: u64,
    /// Pieces that rows are cut in.
    pieces: u64,
}

impl Routed {
    fn of(c: &Context<'_>, experts: Experts) -> Self {
        let p = c.parallel;
        let tokens = (c.tokens() / u64::from(p.tp.max(1))).max(1);
        let routed = tokens * u64::from(experts.top_k);
        let sent = (routed * u64::from(p.expert_rows_pct) / 100).max(1);
        let (ep, etp) = (u64::from(p.ep.max(1)), u64::from(p.expert_tensor().max(1)));
        let local = (u64::from(experts.count) / ep).max(1);
        Self {
            experts,
            tokens,
            routed,
            sent,
            rows: (sent * etp / local).max(1),
            local,
            inner: (u64::from(experts.ffn) / etp).max(1),
            ups: if c.shape.gated { 2 } else { 1 },
            hidden: u64::from(c.shape.hidden),
            pieces: if p.ep > 1 { u64::from(p.overlap.expert_pieces.max(1)) } else { 1 },
        }
    }

    /// A piece's share.
    fn piece(&self, whole: u64) -> u64 {
        whole.div_ceil(self.pieces)
    }

    /// Whether tokens go as one for all of a bucket.
    fn is_hashed(&self) -> bool {
        self.sent < self.routed
    }

    fn grouped(&self, [m, n, k]: [u64; 3], dtype: Dtype, host: HostWork) -> Item {
        let op = LocalOp::product(m, n, k, dtype).batched(self.local);
        let op = if host == HostWork::Backward { op.of_gradient() } else { op };
        Item::Run(op, Class::Experts, host)
    }

    /// A piece of the rows to the ranks of their experts, or back.
    fn exchange(&self, c: &Context<'_>, beside: bool) -> Vec<Item> {
        if c.parallel.ep < 2 {
            return Vec::new();
        }
        let bytes = 2 * self.piece(self.sent) * self.hidden;
        let item = |axis| {
            let comm = Comm { kind: CommKind::AllToAll, axis, bytes };
            if beside { Item::Beside(comm, Class::ExpertComm) } else { Item::Comm(comm, Class::ExpertComm) }
        };
        match c.parallel.exchange {
            Exchange::Direct => vec![item(Axis::Expert)],
            // Chunks for the same node lie beside each other before either of the two.
            Exchange::Levels => {
                let aligned = stream(bytes, bytes, Class::Routing);
                vec![aligned, aligned, item(Axis::ExpertNode), item(Axis::ExpertRail)]
            }
        }
    }

    /// Exchanges beside the part that every token passes, where that is wished.
    fn beside_shared(&self, c: &Context<'_>) -> bool {
        c.parallel.overlap.experts && self.experts.shared_ffn > 0
    }

    /// Ranks that share an expert gather their rows, and sum their results.
    fn share(&self, c: &Context<'_>, kind: CommKind) -> Option<Item> {
        let etp = u64::from(c.parallel.expert_tensor().max(1));
        let comm = Comm { kind, axis: Axis::ExpertTensor, bytes: 2 * self.piece(self.sent) * etp * self.hidden };
        (etp > 1).then_some(Item::Comm(comm, Class::ExpertComm))
    }

    /// Pieces in turn: products of one beside the exchanges of its neighbours. `first` has been sent already, and the last is not sent back.
    fn in_pieces(&self, c: &Context<'_>, mut push: impl FnMut(Item), mut work: impl FnMut(&mut dyn FnMut(Item))) {
        for i in 0..self.pieces {
            if i + 1 < self.pieces {
                self.exchange(c, true).into_iter().for_each(&mut push);
            }
            if i > 0 {
                self.exchange(c, true).into_iter().for_each(&mut push);
            }
            work(&mut push);
            if self.pieces > 1 {
                push(Item::Join);
            }
        }
    }

    /// Tokens of the rank to their places, one for each expert.
    fn encode(&self, c: &Context<'_>, out: &mut Vec<Item>) {
        let row = 2 * self.hidden;
        if c.parallel.dispatch == Dispatch::Dense {
            mask(self.tokens * self.routed, out);
            out.push(product(Class::Routing, [self.routed, self.hidden, self.tokens], c.wide_dtype()));
        } else {
            out.push(stream(self.tokens * row, self.routed * row, Class::Routing));
        }
        if self.is_hashed() {
            // Buckets of a token by rotations and the longest axis of each; sorted; means of buckets; what each token differs from its own.
            out.push(product(Class::Routing, [self.tokens, HASHES * HASH_WIDTH, self.hidden], c.wide_dtype()));
            out.push(stream(2 * self.tokens * HASHES * HASH_WIDTH, 8 * self.tokens * HASHES, Class::Routing));
            out.push(Item::Small(6, Class::Routing, HostWork::Forward));
            out.push(stream(self.routed * row, self.sent * row, Class::Routing));
            out.push(stream(self.routed * row, self.routed * row, Class::Routing));
        }
    }

    /// Results of a token's experts, weighted and summed.
    fn decode(&self, c: &Context<'_>, out: &mut Vec<Item>) {
        let row = 2 * self.hidden;
        if self.is_hashed() {
            out.push(stream((self.sent + self.routed) * row, self.routed * row, Class::Routing));
        }
        if c.parallel.dispatch == Dispatch::Dense {
            out.push(product(Class::Routing, [self.tokens, self.hidden, self.routed], c.wide_dtype()));
        } else {
            out.push(stream(self.routed * row, self.tokens * row, Class::Routing));
        }
    }

    /// Gradients of the results of a token's experts, and of their weights.
    fn decode_back(&self, c: &Context<'_>, back: &mut Backward) {
        let row = 2 * self.hidden;
        if c.parallel.dispatch == Dispatch::Dense {
            back.input(back_product([self.tokens, self.routed, self.hidden], c));
            back.input(back_product([self.routed, self.hidden, self.tokens], c));
            // The mask's gradient to single precision, and to the router's.
            let mask = self.tokens * self.routed;
            back.input(stream_back(2 * mask, 4 * mask, Class::Routing));
            back.input(stream_back(8 * mask, 0, Class::Routing));
        } else {
            back.input(stream_back(self.tokens * row + self.routed * row, self.routed * row, Class::Routing));
        }
        if self.is_hashed() {
            back.input(stream_back(self.routed * row, self.sent * row, Class::Routing));
        }
    }

    /// Gradients of the tokens.
    fn encode_back(&self, c: &Context<'_>, back: &mut Backward) {
        let row = 2 * self.hidden;
        if self.is_hashed() {
            back.input(stream_back((self.sent + self.routed) * row, self.routed * row, Class::Routing));
        }
        if c.parallel.dispatch == Dispatch::Dense {
            back.input(back_product([self.tokens, self.hidden, self.routed], c));
        } else {
            back.input(stream_back(self.routed * row, self.tokens * row, Class::Routing));
        }
    }

    /// The part that every token passes.
    fn shared(&self, c: &Context<'_>, out: &mut Vec<Item>) {
        let inner = u64::from(self.experts.shared_ffn);
        if inner == 0 {
            return;
        }
        let inner = c.per_tp(inner).max(1);
        out.push(product(Class::SharedExpert, [c.tokens(), inner * self.ups, self.hidden], c.layer_dtype()));
        out.push(stream(2 * c.tokens() * inner * self.ups, 2 * c.tokens() * inner, Class::Rows));
        out.push(product(Class::SharedExpert, [c.tokens(), self.hidden, inner], c.layer_dtype()));
    }
}

/// Hash functions of a token, and elements that each rotates it to (LSH-MoE, arXiv 2411.08446, has cross-polytope hashing; both numbers are assumed: their
/// product is small beside an expert's).
const HASHES: u64 = 6;
const HASH_WIDTH: u64 = 64;

fn back_product(sizes: [u64; 3], c: &Context<'_>) -> Item {
    let [m, n, k] = sizes;
    Item::Run(LocalOp::product(m, n, k, c.wide_dtype()), Class::Routing, HostWork::Backward)
}

/// The mask of so many elements, as GShard's gate makes it (arXiv 2006.16668, algorithm 1; fairseq `top2gate.py`): weights of the first and of the second expert in
/// single precision, their sum, whether it is more than nothing, and both in 16 bits.
fn mask(elements: u64, out: &mut Vec<Item>) {
    for (read, written) in [(0, 4), (0, 4), (8, 4), (4, 1), (1, 2), (4, 2)] {
        out.push(stream(read * elements, written * elements, Class::Routing));
    }
}

/// Scores of the router, the best of them, places of tokens: a product of few columns, and kernels of few bytes
/// (`moe/router.py`, `moe_utils.py` of Megatron-Core: softmax, top-k, histogram, sort, scatter).
fn route(c: &Context<'_>, r: &Routed, out: &mut Vec<Item>) {
    out.push(Item::Host(HostWork::Module, 6));
    out.push(product(Class::Routing, [r.tokens, u64::from(r.experts.count), r.hidden], c.wide_dtype()));
    out.push(Item::Small(14, Class::Routing, HostWork::Forward));
}

/// The experts' part, forward.
pub(super) fn experts(c: &Context<'_>, experts: Experts, out: &mut Vec<Item>) {
    let r = Routed::of(c, experts);
    let (row, dtype) = (2 * r.hidden, c.layer_dtype());
    norm(c, out);
    route(c, &r, out);
    r.encode(c, out);
    out.extend(r.exchange(c, r.beside_shared(c)));
    r.shared(c, out);
    out.push(Item::Join);
    // Rows of each expert together.
    let rows = r.piece(r.rows);
    let all = rows * r.local;
    r.in_pieces(
        c,
        |item| out.push(item),
        |push| {
            r.share(c, CommKind::AllGather).into_iter().for_each(&mut *push);
            push(stream(all * row, all * row, Class::Routing));
            push(r.grouped([rows, r.inner * r.ups, r.hidden], dtype, HostWork::Forward));
            push(stream(2 * all * r.inner * r.ups, 2 * all * r.inner, Class::Rows));
            push(r.grouped([rows, r.hidden, r.inner], dtype, HostWork::Forward));
            push(stream(all * row, all * row, Class::Routing));
            r.share(c, CommKind::ReduceScatter).into_iter().for_each(&mut *push);
        },
    );
    out.extend(r.exchange(c, r.beside_shared(c)));
    out.push(Item::Join);
    r.decode(c, out);
    residual(c, out);
}

/// The experts' part, backward.
pub(super) fn experts_back(c: &Context<'_>, experts: Experts, back: &mut Backward) {
    let r = Routed::of(c, experts);
    let (row, dtype) = (2 * r.hidden, c.layer_dtype());
    let rows = r.piece(r.rows);
    let all = rows * r.local;
    residual_back(c, back);
    r.decode_back(c, back);
    for item in r.exchange(c, r.beside_shared(c)) {
        back.input(item);
    }
    back.input(Item::Join);
    for i in 0..r.pieces {
        let neighbours = usize::from(i + 1 < r.pieces) + usize::from(i > 0);
        for _ in 0..neighbours {
            r.exchange(c, true).into_iter().for_each(|item| back.input(item));
        }
        back.input_opt(r.share(c, CommKind::AllGather));
        back.input(stream_back(all * row, all * row, Class::Routing));
        back.input(r.grouped([rows, r.inner, r.hidden], dtype, HostWork::Backward));
        back.weight(r.grouped([r.hidden, r.inner, rows], dtype, HostWork::Backward));
        back.input(stream_back(2 * all * r.inner * (r.ups + 1), 2 * all * r.inner * r.ups, Class::Rows));
        back.input(r.grouped([rows, r.hidden, r.inner * r.ups], dtype, HostWork::Backward));
        back.weight(r.grouped([r.inner * r.ups, r.hidden, rows], dtype, HostWork::Backward));
        if i + 1 == r.pieces {
            back.weight(Item::Host(HostWork::Gradient, 2 * u32::try_from(r.local).unwrap_or(1)));
        }
        back.input(stream_back(all * row, all * row, Class::Routing));
        back.input_opt(r.share(c, CommKind::ReduceScatter));
        if r.pieces > 1 {
            back.input(Item::Join);
        }
    }
    for item in r.exchange(c, r.beside_shared(c)) {
        back.input(item);
    }
    if r.experts.shared_ffn > 0 {
        let inner = c.per_tp(u64::from(r.experts.shared_ffn)).max(1);
        gradients(back, Class::SharedExpert, [c.tokens(), r.hidden, inner], dtype, c.software, &[]);
        let bytes = 2 * c.tokens() * inner;
        back.input(stream_back(bytes * (r.ups + 1), bytes * r.ups, Class::Rows));
        gradients(back, Class::SharedExpert, [c.tokens(), inner * r.ups, r.hidden], dtype, c.software, &[]);
    }
    back.input(Item::Join);
    r.encode_back(c, back);
    back.input(Item::Small(8, Class::Routing, HostWork::Backward));
    gradients(back, Class::Routing, [r.tokens, u64::from(r.experts.count), r.hidden], c.wide_dtype(), c.software, &[]);
    norm_back(c, back);
}
