//! The experts of a layer on one rank: routing, dispatch, the experts' products, combination.

use banksia_hw::gpu::program::Dtype;

use super::dense::{norm, norm_back, residual, residual_back};
use super::lists::{Backward, Context, gradients, product, stream, stream_back};
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::shape::Experts;

/// Sizes of the routed part on one rank. Tokens are those of the rank (cut over tensor-parallel ranks); experts are taken to get equal shares
/// (a capacity factor of one, or a balancing loss).
struct Routed {
    experts: Experts,
    /// Tokens of the rank before dispatch.
    tokens: u64,
    /// Rows that the rank sends and gets back.
    sent: u64,
    /// Rows of each of the rank's experts.
    rows: u64,
    /// Experts of the rank.
    local: u64,
    /// Inner elements of the rank's part of an expert, gate and up together.
    inner: u64,
    ups: u64,
    hidden: u64,
}

impl Routed {
    fn of(c: &Context<'_>, experts: Experts) -> Self {
        let p = c.parallel;
        let tokens = (c.tokens() / u64::from(p.tp.max(1))).max(1);
        let sent = tokens * u64::from(experts.top_k);
        let (ep, etp) = (u64::from(p.ep.max(1)), u64::from(p.expert_tensor().max(1)));
        let local = (u64::from(experts.count) / ep).max(1);
        Self {
            experts,
            tokens,
            sent,
            rows: (sent * etp / local).max(1),
            local,
            inner: (u64::from(experts.ffn) / etp).max(1),
            ups: if c.shape.gated { 2 } else { 1 },
            hidden: u64::from(c.shape.hidden),
        }
    }

    fn grouped(&self, [m, n, k]: [u64; 3], dtype: Dtype, host: HostWork) -> Item {
        let op = LocalOp::product(m, n, k, dtype).batched(self.local);
        let op = if host == HostWork::Backward { op.of_gradient() } else { op };
        Item::Run(op, Class::Experts, host)
    }

    /// Rows to the ranks of their experts, or back.
    fn exchange(&self, c: &Context<'_>) -> Vec<Item> {
        let mut items = Vec::new();
        if c.parallel.ep > 1 {
            let comm = Comm { kind: CommKind::AllToAll, axis: Axis::Expert, bytes: 2 * self.sent * self.hidden };
            let beside = c.parallel.overlap.experts && self.experts.shared_ffn > 0;
            items.push(if beside {
                Item::Beside(comm, Class::ExpertComm)
            } else {
                Item::Comm(comm, Class::ExpertComm)
            });
        }
        items
    }

    /// Ranks that share an expert gather their rows, and sum their results.
    fn share(&self, c: &Context<'_>, kind: CommKind) -> Option<Item> {
        let etp = u64::from(c.parallel.expert_tensor().max(1));
        let comm = Comm { kind, axis: Axis::ExpertTensor, bytes: 2 * self.sent * etp * self.hidden };
        (etp > 1).then_some(Item::Comm(comm, Class::ExpertComm))
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
    out.push(stream(r.tokens * row, r.sent * row, Class::Routing));
    out.extend(r.exchange(c));
    r.shared(c, out);
    out.push(Item::Join);
    out.extend(r.share(c, CommKind::AllGather));
    // Rows of each expert together.
    let all = r.rows * r.local;
    out.push(stream(all * row, all * row, Class::Routing));
    out.push(r.grouped([r.rows, r.inner * r.ups, r.hidden], dtype, HostWork::Forward));
    out.push(stream(2 * all * r.inner * r.ups, 2 * all * r.inner, Class::Rows));
    out.push(r.grouped([r.rows, r.hidden, r.inner], dtype, HostWork::Forward));
    out.push(stream(all * row, all * row, Class::Routing));
    out.extend(r.share(c, CommKind::ReduceScatter));
    out.extend(r.exchange(c));
    out.push(Item::Join);
    out.push(stream(r.sent * row, r.tokens * row, Class::Routing));
    residual(c, out);
}

/// The experts' part, backward.
pub(super) fn experts_back(c: &Context<'_>, experts: Experts, back: &mut Backward) {
    let r = Routed::of(c, experts);
    let (row, dtype) = (2 * r.hidden, c.layer_dtype());
    let all = r.rows * r.local;
    residual_back(c, back);
    back.input(stream_back(r.tokens * row + r.sent * row, r.sent * row, Class::Routing));
    for item in r.exchange(c) {
        back.input(item);
    }
    back.input(Item::Join);
    back.input_opt(r.share(c, CommKind::AllGather));
    back.input(stream_back(all * row, all * row, Class::Routing));
    back.input(r.grouped([r.rows, r.inner, r.hidden], dtype, HostWork::Backward));
    back.weight(r.grouped([r.hidden, r.inner, r.rows], dtype, HostWork::Backward));
    back.input(stream_back(2 * all * r.inner * (r.ups + 1), 2 * all * r.inner * r.ups, Class::Rows));
    back.input(r.grouped([r.rows, r.hidden, r.inner * r.ups], dtype, HostWork::Backward));
    back.weight(r.grouped([r.inner * r.ups, r.hidden, r.rows], dtype, HostWork::Backward));
    back.weight(Item::Host(HostWork::Gradient, 2 * u32::try_from(r.local).unwrap_or(1)));
    back.input(stream_back(all * row, all * row, Class::Routing));
    back.input_opt(r.share(c, CommKind::ReduceScatter));
    for item in r.exchange(c) {
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
    back.input(stream_back(r.sent * row, r.tokens * row, Class::Routing));
    back.input(Item::Small(8, Class::Routing, HostWork::Backward));
    gradients(back, Class::Routing, [r.tokens, u64::from(r.experts.count), r.hidden], c.wide_dtype(), c.software, &[]);
    norm_back(c, back);
}
