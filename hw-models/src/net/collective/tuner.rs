//! NCCL's choice of algorithm and protocol: the least of the times that its own table predicts (`ncclTopoTuneModel`,
//! `ncclTopoGetAlgoTime`). These times only choose; what the choice takes is [`super::algorithm`]'s.

use super::algorithm::{Algorithm, Op};
use super::links::Fabric;
use super::protocol::Protocol;

/// `baseLatencies` of tree and ring by protocol, us.
const TREE_BASE_US: [f64; 3] = [6.8, 14.0, 8.4];
const RING_BASE_US: [f64; 3] = [6.6, 14.0, 8.4];
/// `hwLatencies` over NVLink, us.
const TREE_HOP_US: [f64; 3] = [0.6, 1.25, 4.0];
const RING_HOP_US: [f64; 3] = [0.6, 1.9, 3.4];
const NVLS_US: f64 = 25.0;

/// `treeCorrectionFactor`: by protocol and power of two from 64 bytes on.
const TREE_CORRECTION: [[f64; 22]; 3] = [
    [1., 1., 1., 1., 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1., 1., 1.],
    [1., 1., 1., 1., 1., 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6, 0.6, 0.5, 0.6, 0.6, 0.7, 0.7, 0.8, 0.9, 0.9, 1.],
    [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.7, 0.8, 0.9],
];

/// What NCCL takes for so many bytes.
pub fn choose(fabric: &Fabric, op: Op, ranks: u32, bytes: u64) -> (Algorithm, Protocol) {
    if op.is_point_to_point() {
        let parts = if op == Op::AllToAll { f64::from(ranks.max(1)) } else { 1.0 };
        let to_peer = bytes as f64 / parts;
        let how = if to_peer <= fabric.nccl.p2p_ll_bytes { Protocol::Ll } else { Protocol::Simple };
        return (Algorithm::PointToPoint, how);
    }
    let mut best = (f64::INFINITY, Algorithm::Ring, Protocol::Ll);
    for way in [Algorithm::Tree, Algorithm::Ring, Algorithm::Nvls] {
        for how in Protocol::ALL {
            if let Some(us) = predicted_us(fabric, op, way, how, ranks, bytes)
                && us < best.0
            {
                best = (us, way, how);
            }
        }
    }
    (best.1, best.2)
}

/// What NCCL's table says, in microseconds; none where it has no such kernel.
pub fn predicted_us(f: &Fabric, op: Op, way: Algorithm, how: Protocol, ranks: u32, bytes: u64) -> Option<f64> {
    let (n, c, p) = (f64::from(ranks), &f.nccl, how.index());
    let channels = f64::from(c.channels);
    let steps = f64::from(op.steps(ranks));
    let (latency, gb_s) = match way {
        Algorithm::Ring => {
            let bus = match how {
                Protocol::Ll => c.ll_max_gb_s.min(c.graph_gb_s * 0.5),
                Protocol::Ll128 => (c.graph_gb_s * 0.92).min(channels * c.ll128_channel_gb_s),
                Protocol::Simple => c.graph_gb_s,
            };
            // A chain from or to a root is one hop after the other in all channels alike.
            let hops = if matches!(op, Op::Broadcast | Op::Reduce) { 1.0 } else { steps };
            (RING_BASE_US[p] + hops * RING_HOP_US[p], bus * n / steps)
        }
        Algorithm::Tree if op == Op::AllReduce => {
            let most = (c.graph_gb_s * 0.92).min(channels * c.tree_channel_gb_s);
            let bus = match how {
                Protocol::Ll => (most / 3.8).min(c.ll_max_gb_s),
                Protocol::Ll128 => (most * 7.0 / 9.0).min(channels * c.tree_ll128_channel_gb_s),
                Protocol::Simple => most,
            };
            let size = (bytes / 64).max(1).ilog2() as usize;
            let correction = TREE_CORRECTION[p].get(size).copied().unwrap_or(1.0);
            (TREE_BASE_US[p] + 2.0 * (n - 1.0) * TREE_HOP_US[p], bus * 0.5 * correction)
        }
        // To or from a root there is no such kernel.
        Algorithm::Nvls
            if f.multicast() && ranks > 2 && how == Protocol::Simple && !matches!(op, Op::Broadcast | Op::Reduce) =>
        {
            // A head for each rank; the search takes the first speed at which all of them fit.
            let head = c.nvls_head_gb_s.iter().copied().find(|speed| speed * n <= c.graph_gb_s)?;
            let one = head * c.nvls_efficiency * (n - 1.0);
            match op {
                Op::AllReduce => (NVLS_US, 2.0 * one * n / steps),
                _ => (NVLS_US, one * (n - 1.0) / n),
            }
        }
        _ => return None,
    };
    Some(latency + bytes as f64 / (1e3 * gb_s))
}
