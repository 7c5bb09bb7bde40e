//! Collectives by themselves, from a graph or one by one from the host.

use banksia_hw::net::collective::algorithm::{Algorithm, Op, peer_all_reduce_s};
use banksia_hw::net::collective::links::{Fabric, fabric};
use banksia_hw::net::collective::{Library, time};

const RANKS: u32 = 2;
/// Most bytes of a buffer.
const MOST_BYTES: u64 = 1 << 40;

/// The links of the machine that was measured.
pub(super) fn links() -> Result<Fabric, String> {
    fabric("h200").map_err(|e| e.to_string().lines().next().unwrap_or_default().to_owned())
}

pub(super) fn operator(name: &str) -> Result<Op, String> {
    Ok(match name {
        "all_reduce" => Op::AllReduce,
        "all_gather" => Op::AllGather,
        "reduce_scatter" => Op::ReduceScatter,
        "all_to_all" => Op::AllToAll,
        "broadcast" => Op::Broadcast,
        "reduce" => Op::Reduce,
        "send_recv" => Op::SendRecv,
        "exchange" => Op::Exchange,
        other => return Err(format!("collective {other} is not modelled")),
    })
}

/// Seconds of a collective of PyTorch in a graph.
pub(super) fn in_graph_s(f: &Fabric, op: Op, bytes: u64) -> f64 {
    time(f, Library::Nccl, op, RANKS, bytes).latency_s + f.torch.graph_us * 1e-6
}

pub(super) fn microseconds(op: &str, bytes: &str, mode: &str) -> Result<f64, String> {
    let f = links()?;
    let bytes: u64 = bytes.parse().map_err(|_| format!("{bytes} is not a number of bytes"))?;
    if !(1..=MOST_BYTES).contains(&bytes) {
        return Err(format!("{bytes} bytes: 1 to {MOST_BYTES} are modelled"));
    }
    // Kernels over symmetric memory are launched like any other.
    match op {
        "symm_one_shot_all_reduce" => return Ok(peer_all_reduce_s(&f, Algorithm::OneShot, RANKS, bytes) * 1e6),
        "symm_two_shot_all_reduce" => return Ok(peer_all_reduce_s(&f, Algorithm::TwoShot, RANKS, bytes) * 1e6),
        _ => {}
    }
    let op = operator(op)?;
    match mode {
        "graph" => Ok(in_graph_s(&f, op, bytes) * 1e6),
        // The host launches one after the other, and is behind or ahead of the GPU.
        "stream" => {
            let batch = if op == Op::Exchange { f.torch.batch_us } else { 0.0 };
            let kernel = time(&f, Library::Nccl, op, RANKS, bytes).latency_s * 1e6;
            Ok(kernel.max(f.torch.call_us + batch))
        }
        _ => Err(format!("mode {mode} is not one of graph, stream")),
    }
}
