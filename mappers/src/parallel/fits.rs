//! Whether what ranks keep fits in their devices' memory, and what would make it.

use banksia_hw::gpu::GpuSpec;

use super::error::ParallelError;
use super::lists::Context;
use super::report::RankReport;
use super::settings::{Recompute, Zero};

/// Bytes of a device that a step can use: less the context of CUDA, NCCL's buffers and the allocator's gaps, assumed 5 % and 1 GiB.
pub(super) fn usable_bytes(gpu: &GpuSpec) -> f64 {
    0.95 * gpu.dram.capacity_bytes as f64 - f64::from(1 << 30)
}

/// Refuses what does not fit, with what would make it.
pub(super) fn refuse(c: &Context<'_>, gpu: &GpuSpec, ranks: &[RankReport]) -> Result<(), ParallelError> {
    let usable = usable_bytes(gpu);
    let Some(rank) = ranks.iter().max_by(|a, b| a.total_bytes.total_cmp(&b.total_bytes)) else { return Ok(()) };
    if rank.total_bytes <= usable {
        return Ok(());
    }
    let m = &rank.memory_bytes;
    let gib = |b: f64| b / f64::from(1 << 30);
    let states = m.weights + m.gradients + m.optimizer;
    let remedy = if m.activations > states {
        match c.train.recompute {
            Recompute::None => "use train.recompute = \"selective\" or \"full\", or a smaller train.micro_batch",
            Recompute::Selective => {
                "use train.recompute = \"full\", or parallel.sequence = true, or a smaller train.micro_batch"
            }
            Recompute::Full => "use more parallel.tp or parallel.cp, or a smaller train.micro_batch",
        }
    } else if c.parallel.zero == Zero::None && c.parallel.dp > 1 {
        "use parallel.zero = \"optimizer\", or more parallel.tp or parallel.pp"
    } else {
        "use more parallel.tp or parallel.pp, or parallel.zero = \"weights\""
    };
    let problem = format!(
        "needs {:.1} GiB on a rank of stage {} (weights {:.1}, gradients {:.1}, optimiser {:.1}, activations {:.1}, for a while {:.1}), and a {} has {:.1} to use",
        gib(rank.total_bytes),
        rank.stage,
        gib(m.weights),
        gib(m.gradients),
        gib(m.optimizer),
        gib(m.activations),
        gib(m.transient),
        gpu.name,
        gib(usable),
    );
    Err(ParallelError::new("parallel", problem).help(remedy))
}
