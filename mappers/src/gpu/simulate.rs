//! Running kernels with adjustable detail.

use banksia_hw::gpu::machine::RunOptions;
use banksia_hw::gpu::program::{Kernel, Op};
use banksia_hw::gpu::{CacheState, EnergyParts, Gpu, GpuError, KernelResult};

/// How finely a kernel is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detail {
    /// Bytes of a memory request: 128 follows every line.
    pub grain_bytes: u32,
    /// Kernels of more waves than this are run for half of them and for all of them, and continued at the rate between.
    pub waves: u32,
}

impl Detail {
    /// Every line of every wave.
    pub const FINEST: Self = Self { grain_bytes: 128, waves: u32::MAX };
    /// What commands use by themselves.
    pub const DEFAULT: Self = Self { grain_bytes: 16384, waves: 6 };
}

impl Default for Detail {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Runs a kernel.
///
/// # Errors
/// The machine cannot run it.
pub fn simulate(gpu: &mut Gpu, kernel: &Kernel, cache: &CacheState, detail: Detail) -> Result<KernelResult, GpuError> {
    simulate_at(gpu, kernel, cache, detail, f64::INFINITY)
}

/// The same with the SM clock held at or under a limit.
///
/// # Errors
/// The machine cannot run it.
pub fn simulate_at(
    gpu: &mut Gpu,
    kernel: &Kernel,
    cache: &CacheState,
    detail: Detail,
    clock_limit_mhz: f64,
) -> Result<KernelResult, GpuError> {
    let options = RunOptions { grain_bytes: detail.grain_bytes, cache: cache.clone(), clock_limit_mhz, items: None };
    let slots = gpu.occupancy(kernel)? * gpu.spec().sms();
    let lanes = slots.min(kernel.grid).max(1);
    let waves = (kernel.items.len() as u32).div_ceil(lanes);
    if waves <= detail.waves.max(2) {
        return gpu.run(kernel, &options);
    }
    // Items of very different length (causal attention) are not sampled: their waves differ.
    if varied(kernel) {
        return gpu.run(kernel, &options);
    }
    // L2 must have turned over before the rate is taken.
    let bytes = kernel.footprint_bytes() as f64 / f64::from(waves);
    let turnover = (1.2 * gpu.spec().l2.bytes as f64 / bytes.max(1.0)).ceil();
    let few = (detail.waves.max(2) / 2).max(turnover.min(1e6) as u32);
    let many = few + (detail.waves / 2).max(1);
    if waves <= many {
        return gpu.run(kernel, &options);
    }
    let run = |gpu: &mut Gpu, waves: u32| {
        gpu.run(kernel, &RunOptions { items: Some((waves * lanes) as usize), ..options.clone() })
    };
    let a = run(gpu, few)?;
    let b = run(gpu, many)?;
    // Whole waves: the last one takes as long as the others, however full.
    let more = f64::from(waves - many) / f64::from(many - few);
    // Traffic and work go with items.
    let items = (kernel.items.len() as f64 / f64::from(lanes) - f64::from(many)) / f64::from(many - few);
    Ok(continued(&a, &b, more, items))
}

/// Whether a loop's count differs between items by more than a quarter.
fn varied(kernel: &Kernel) -> bool {
    kernel.roles.iter().flat_map(|r| &r.ops).any(|op| match op {
        Op::Loop(banksia_hw::gpu::program::Trips::Work(var, _)) => {
            let counts = kernel.items.iter().map(|i| i[usize::from(*var)]);
            let (low, high) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
            i64::from(high) * 3 > i64::from(low) * 4
        }
        _ => false,
    })
}

fn continued(a: &KernelResult, b: &KernelResult, waves: f64, items: f64) -> KernelResult {
    let time = |x: f64, y: f64| y + (y - x).max(0.0) * waves;
    let sum = |x: f64, y: f64| y + (y - x).max(0.0) * items;
    let bytes = |x: u64, y: u64| sum(x as f64, y as f64).round() as u64;
    let mut r = *b;
    r.span_s = time(a.span_s, b.span_s);
    r.latency_s = time(a.latency_s, b.latency_s);
    r.half_s = r.span_s / 2.0;
    let (ta, tb) = (&a.traffic, &b.traffic);
    r.traffic.crossbar_read_bytes = bytes(ta.crossbar_read_bytes, tb.crossbar_read_bytes);
    r.traffic.crossbar_write_bytes = bytes(ta.crossbar_write_bytes, tb.crossbar_write_bytes);
    r.traffic.l2_read_bytes = bytes(ta.l2_read_bytes, tb.l2_read_bytes);
    r.traffic.l2_write_bytes = bytes(ta.l2_write_bytes, tb.l2_write_bytes);
    r.traffic.dram_read_bytes = bytes(ta.dram_read_bytes, tb.dram_read_bytes);
    r.traffic.dram_write_bytes = bytes(ta.dram_write_bytes, tb.dram_write_bytes);
    r.traffic.l1_hit_bytes = bytes(ta.l1_hit_bytes, tb.l1_hit_bytes);
    r.work.tensor_weighted_fma = sum(a.work.tensor_weighted_fma, b.work.tensor_weighted_fma);
    r.work.tensor_sync_weighted_fma = sum(a.work.tensor_sync_weighted_fma, b.work.tensor_sync_weighted_fma);
    r.work.tensor_fma = sum(a.work.tensor_fma, b.work.tensor_fma);
    r.work.vector_ops = sum(a.work.vector_ops, b.work.vector_ops);
    r.work.sfu_ops = sum(a.work.sfu_ops, b.work.sfu_ops);
    r.work.shared_bytes = sum(a.work.shared_bytes, b.work.shared_bytes);
    r.energy = EnergyParts {
        idle_j: time(a.energy.idle_j, b.energy.idle_j),
        tensor_j: sum(a.energy.tensor_j, b.energy.tensor_j),
        vector_j: sum(a.energy.vector_j, b.energy.vector_j),
        shared_j: sum(a.energy.shared_j, b.energy.shared_j),
        l2_j: sum(a.energy.l2_j, b.energy.l2_j),
        dram_j: sum(a.energy.dram_j, b.energy.dram_j),
    };
    r
}
