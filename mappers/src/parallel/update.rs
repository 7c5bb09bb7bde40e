//! After the last backward pass: gradients are summed over replicas, checked, and the weights updated.

use super::lists::Context;
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::settings::{Optimizer, Precision, Zero};

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
    let (read, written) = match c.train.optimizer {
        Optimizer::Adam => (16, 12),
        Optimizer::Adam8bit => (10, 6),
        Optimizer::Sgd => (12, 8),
        Optimizer::Frozen => (0, 0),
    };
    items.push(run(read * own, written * own));
    items.push(run(4 * own, 2 * own));
    items.push(run(0, u64::from(c.software.gradient_bytes) * all));
    items.push(Item::Small(8, class, HostWork::Forward));
    items
}
