//! Collectives between the GPUs of one node, as NCCL and TensorRT-LLM run them.
//!
//! [`time`] asks the [`tuner`] which algorithm and protocol the library takes, and the [`algorithm`] how long its kernel is at work: its
//! launch, the steps of its pipeline over [`links`], what its SMs move for each byte of a step. `docs/collectives.md` has the mechanisms, the
//! sources of all numbers and the errors.

pub mod algorithm;
pub mod links;
pub mod protocol;
pub mod tuner;

use algorithm::{Algorithm, Op};
use links::Fabric;
use protocol::Protocol;

/// Whose kernels run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Library {
    /// NCCL, by its tuner.
    Nccl,
    /// TensorRT-LLM's all-reduce over its peers' memory, up to the bytes of its workspace, else NCCL.
    Custom,
}

/// What ran, and how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// From launch to launch, seconds.
    pub latency_s: f64,
    /// What was chosen.
    pub algorithm: Algorithm,
    /// What was chosen.
    pub protocol: Protocol,
}

/// One collective of `bytes` (the whole buffer, as nccl-tests count) over `ranks` GPUs, launched from a graph.
pub fn time(fabric: &Fabric, library: Library, op: Op, ranks: u32, bytes: u64) -> Outcome {
    let (way, how) = tuner::choose(fabric, op, ranks, bytes);
    let latency_s = algorithm::seconds(fabric, op, way, how, ranks, bytes);
    let outcome = Outcome { latency_s, algorithm: way, protocol: how };
    if library == Library::Custom && op == Op::AllReduce && bytes as f64 <= fabric.custom.max_bytes {
        let latency_s = algorithm::one_shot_seconds(fabric, ranks, bytes);
        if latency_s < outcome.latency_s {
            return Outcome { latency_s, algorithm: Algorithm::OneShot, protocol: Protocol::Simple };
        }
    }
    outcome
}
