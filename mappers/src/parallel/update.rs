//! After the last backward pass: gradients are summed over replicas, checked, and the weights updated.

use super::lists::Context;
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::settings::{Optimizer, Precision, Zero};
use super::shape::Shape;

/// Parameters of a rank: outside of routed experts, and in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Local {
    /// Outside of routed experts: replicated over data- and context-parallel ranks.
    pub dense: u64,
    /// In routed experts.
    pub routed: u64,
}

/// Parameters of a rank that has so many layers, and the ends.
pub(super) fn local(c: &Context<'_>, layers: u32, embedding: bool, head: bool) -> Local {
    let p = c.parallel;
    let s = c.shape;
    let (dense, routed) = s.layer_parameters();
    let h = u64::from(s.hidden);
    let tp = u64::from(p.tp.max(1));
    // Norms are on every tensor-parallel rank.
    let norms = 2 * h * if s.rms_norm { 1 } else { 2 };
    let layer = (dense - norms) / tp + norms;
    let table = super::ends::local_vocab(c) * h;
    let ends = if embedding { table + u64::from(s.positions) * h } else { 0 }
        + if head && (!s.tied || p.pp > 1) { table } else { 0 };
    let experts = routed / (u64::from(p.ep.max(1)) * u64::from(p.expert_tensor().max(1)));
    Local { dense: u64::from(layers) * layer + ends, routed: u64::from(layers) * experts }
}

/// Collectives over gradients: all-reduced, or scattered to where they are needed.
pub(super) fn reduce(c: &Context<'_>, local: Local, beside: bool) -> Vec<Item> {
    let bytes = u64::from(c.software.gradient_bytes);
    let kind = if c.parallel.zero == Zero::None { CommKind::AllReduce } else { CommKind::ReduceScatter };
    [(Axis::Data, local.dense), (Axis::ExpertData, local.routed)]
        .into_iter()
        .filter(|(_, parameters)| *parameters > 0)
        .map(|(axis, parameters)| {
            let comm = Comm { kind, axis, bytes: parameters * bytes };
            if beside { Item::BesideReplicas(comm, Class::DataComm) } else { Item::Comm(comm, Class::DataComm) }
        })
        .collect()
}

/// Weights gathered from the ranks that have updated them, or that keep them.
pub(super) fn gather(c: &Context<'_>, local: Local, beside: bool) -> Vec<Item> {
    let bytes = if c.train.precision == Precision::Fp8 { 1 } else { 2 };
    [(Axis::Data, local.dense), (Axis::ExpertData, local.routed)]
        .into_iter()
        .filter(|(_, parameters)| *parameters > 0)
        .map(|(axis, parameters)| {
            let comm = Comm { kind: CommKind::AllGather, axis, bytes: parameters * bytes };
            if beside { Item::BesideReplicas(comm, Class::DataComm) } else { Item::Comm(comm, Class::DataComm) }
        })
        .collect()
}

/// Parameters whose states a rank keeps.
pub(super) fn owned(c: &Context<'_>, local: Local) -> u64 {
    if c.parallel.zero == Zero::None {
        return local.dense + local.routed;
    }
    let replicas = u64::from((c.parallel.dp * c.parallel.cp).max(1));
    local.dense.div_ceil(replicas) + local.routed.div_ceil(u64::from(c.parallel.expert_data()))
}

/// The update on the device: gradients copied to single precision where they are not, checked for infinities (IEEE half), their norm taken;
/// weights and moments read and written; weights copied to 16 bits; gradients set to zero. Gradients are taken not to be clipped, as in most steps.
pub(super) fn step(c: &Context<'_>, local: Local) -> Vec<Item> {
    let all = local.dense + local.routed;
    let own = owned(c, local);
    let class = Class::Optimizer;
    let run = |read: u64, written: u64| Item::Run(LocalOp::Stream { read, written }, class, HostWork::Forward);
    let mut items = Vec::new();
    if c.train.optimizer == Optimizer::Frozen {
        return items;
    }
    if c.software.gradient_bytes == 2 {
        // Divided by the loss scale and checked on the way.
        items.push(run(2 * own, 4 * own));
    } else if c.train.precision == Precision::Fp16 {
        items.push(run(4 * own, 4 * own));
    }
    items.push(run(4 * own, 0));
    items.extend(states(c, own).into_iter().map(|o| match o {
        Moved::Bytes(read, written) => run(read, written),
        Moved::Product(op) => Item::Run(op, class, HostWork::Forward),
    }));
    if c.train.precision == Precision::Bf16Pure {
        // Weights are updated as they are.
        items.push(run(0, 2 * all));
        items.push(Item::Small(8, class, HostWork::Forward));
        return items;
    }
    items.push(run(4 * own, 2 * own));
    items.push(run(0, u64::from(c.software.gradient_bytes) * all));
    items.push(Item::Small(8, class, HostWork::Forward));
    items
}

/// A part of an update: bytes read and written, or a product.
enum Moved {
    Bytes(u64, u64),
    Product(LocalOp),
}

/// Elements of matrices whose projections, or orthogonal factors, are products: as squares of the hidden width, of which the rank has so many.
fn matrices(c: &Context<'_>, own: u64) -> (u64, u64) {
    let h = u64::from(c.shape.hidden.max(1));
    (h, own / h.saturating_mul(h).max(1))
}

/// What an optimiser reads and writes beside the gradients' own conversions.
fn states(c: &Context<'_>, own: u64) -> Vec<Moved> {
    // Weights, gradients and moments of four bytes, or all of two.
    let e = if c.train.precision == Precision::Bf16Pure { 2 } else { 4 };
    match c.train.optimizer {
        Optimizer::Adam => vec![Moved::Bytes(4 * e * own, 3 * e * own)],
        Optimizer::Adam8bit => vec![Moved::Bytes((2 * e + 2) * own, (e + 2) * own)],
        Optimizer::Sgd => vec![Moved::Bytes(3 * e * own, 2 * e * own)],
        Optimizer::Frozen => Vec::new(),
        // Sums of squares by rows and columns, then the update by both: gradients twice, weights once each way.
        Optimizer::Adafactor => vec![Moved::Bytes(e * own, 0), Moved::Bytes(2 * e * own, e * own)],
        Optimizer::LowRank | Optimizer::LowRank8bit => {
            let (h, squares) = matrices(c, own);
            let rank = u64::from(c.train.rank).min(h);
            let low = squares * rank * h;
            let moments = if c.train.optimizer == Optimizer::LowRank8bit { 2 } else { 2 * e };
            let mut all = Vec::new();
            for _ in 0..squares {
                // To the low rank and back.
                all.push(Moved::Product(LocalOp::product(rank, h, h, c.wide_dtype())));
                all.push(Moved::Product(LocalOp::product(h, h, rank, c.wide_dtype())));
            }
            all.extend([Moved::Bytes((e + moments) * low, (e + moments) * low), Moved::Bytes(2 * e * own, e * own)]);
            all
        }
        Optimizer::Muon => {
            let (h, squares) = matrices(c, own);
            let mut all = vec![Moved::Bytes(2 * e * own, (e + 2) * own)];
            for _ in 0..squares {
                for _ in 0..MUON_STEPS {
                    // X X^T, its square, and the new X; sums between them.
                    for _ in 0..3 {
                        all.push(Moved::Product(LocalOp::product(h, h, h, c.wide_dtype())));
                    }
                    all.push(Moved::Bytes(8 * h * h, 4 * h * h));
                }
            }
            all.push(Moved::Bytes((e + 2) * own, e * own));
            all
        }
    }
}

/// Newton-Schulz steps of Muon.
const MUON_STEPS: u32 = 5;

/// Bytes of a parameter's states that its rank keeps: the copy in 32 bits, moments; of a layer, and of the tables at the model's ends.
pub(super) fn state_bytes(c: &Context<'_>) -> [f64; 2] {
    let pure = c.train.precision == Precision::Bf16Pure;
    let (copy, moment) = if pure { (0.0, 2.0) } else { (4.0, 4.0) };
    let h = f64::from(c.shape.hidden.max(1));
    let all = |bytes: f64| [copy + bytes; 2];
    match c.train.optimizer {
        Optimizer::Adam => all(2.0 * moment),
        Optimizer::Adam8bit => all(2.0),
        Optimizer::Sgd | Optimizer::Muon => all(moment),
        // A number a row and a column.
        Optimizer::Adafactor => all(2.0 * moment / h),
        // Tables have Adam's own states.
        Optimizer::LowRank => [copy + moment * low_rank(c.shape, c.train.rank), copy + 2.0 * moment],
        Optimizer::LowRank8bit => [copy + low_rank(c.shape, c.train.rank), copy + 2.0],
        Optimizer::Frozen => [0.0; 2],
    }
}

/// Elements of states in low rank for each of a layer's parameters: of a matrix two moments of `rank` rows as long as its longer side, and the
/// projection from its shorter side (GaLore, arXiv 2403.03507, section 3); of matrices smaller than that, two moments.
fn low_rank(shape: &Shape, rank: u32) -> f64 {
    let (h, q, kv) = (u64::from(shape.hidden), shape.query_width(), shape.kv_width());
    let ups = if shape.gated { 2 } else { 1 };
    let inner = |width: u32, count: u64| [(h, u64::from(width), count * ups), (u64::from(width), h, count)];
    let mut matrices = vec![(h, q, 1), (h, kv, 2), (q, h, 1)];
    match shape.experts {
        None => matrices.extend(inner(shape.ffn, 1)),
        Some(e) => {
            matrices.extend(inner(e.ffn, u64::from(e.count)));
            matrices.extend(inner(e.shared_ffn, 1));
        }
    }
    let (mut parameters, mut states) = (0.0, 0.0);
    for (a, b, count) in matrices {
        let (short, long, count) = (a.min(b) as f64, a.max(b) as f64, count as f64);
        let low = f64::from(rank) * (2.0 * long + short);
        parameters += count * short * long;
        states += count * low.min(2.0 * short * long);
    }
    if parameters > 0.0 { states / parameters } else { 2.0 }
}
