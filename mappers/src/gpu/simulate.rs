//! Running kernels with adjustable detail.

use banksia_hw::gpu::program::{Kernel, Op};
use banksia_hw::gpu::{CacheState, EnergyParts, Gpu, GpuError, KernelResult, RunOptions};

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
    // Where items differ in length (causal attention), a wave is not like the next; many of them are, on average.
    let varied = varied(kernel);
    // L2 must have turned over before the rate is taken.
    let bytes = kernel.footprint_bytes() as f64 / f64::from(waves);
    let turnover = (1.2 * gpu.spec().l2.bytes as f64 / bytes.max(1.0)).ceil();
    let few = (detail.waves.max(2) / 2).max(turnover.min(1e6) as u32).max(if varied { 12 } else { 1 });
    let many = few + if varied { few } else { (detail.waves / 2).max(1) };
    if waves <= many {
        return gpu.run(kernel, &options);
    }
    let run = |gpu: &mut Gpu, waves: u32| {
        gpu.run(kernel, &RunOptions { items: Some((waves * lanes) as usize), ..options.clone() })
    };
    let a = run(gpu, few)?;
    let b = run(gpu, many)?;
    // Traffic and work go with items.
    let items = (kernel.items.len() as f64 / f64::from(lanes) - f64::from(many)) / f64::from(many - few);
    // Equal items come in whole waves: the last takes as long as the others, however full.
    let more = if varied { items } else { f64::from(waves - many) / f64::from(many - few) };
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
    r.work.issued_lanes = sum(a.work.issued_lanes, b.work.issued_lanes);
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

/// What a sequence of launches takes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// One after another, as in a CUDA graph.
    pub latency_s: f64,
    /// Energy by cause.
    pub energy: EnergyParts,
    /// Bytes read from device memory.
    pub dram_read_bytes: f64,
    /// Bytes written to it.
    pub dram_write_bytes: f64,
    /// Bytes that L2's slices moved.
    pub l2_bytes: f64,
    /// Multiply-adds of the matrix units.
    pub tensor_fma: f64,
    /// Average clock, by time.
    pub clock_mhz: f64,
    /// Warps resident on SMs, of the most, by time.
    pub occupancy: f64,
    /// Launches.
    pub kernels: u32,
}

impl Outcome {
    /// Adds other launches.
    pub fn join(&mut self, o: &Outcome) {
        let t = self.latency_s + o.latency_s;
        let mean = |x: f64, y: f64| if t > 0.0 { (x * self.latency_s + y * o.latency_s) / t } else { y };
        self.clock_mhz = mean(self.clock_mhz, o.clock_mhz);
        self.occupancy = mean(self.occupancy, o.occupancy);
        self.latency_s = t;
        self.energy.idle_j += o.energy.idle_j;
        self.energy.tensor_j += o.energy.tensor_j;
        self.energy.vector_j += o.energy.vector_j;
        self.energy.shared_j += o.energy.shared_j;
        self.energy.l2_j += o.energy.l2_j;
        self.energy.dram_j += o.energy.dram_j;
        self.dram_read_bytes += o.dram_read_bytes;
        self.dram_write_bytes += o.dram_write_bytes;
        self.l2_bytes += o.l2_bytes;
        self.tensor_fma += o.tensor_fma;
        self.kernels += o.kernels;
    }

    /// Adds a launch.
    pub fn add(&mut self, r: &KernelResult) {
        let t = self.latency_s + r.latency_s;
        let mean = |x: f64, y: f64, a: f64| if t > 0.0 { (x * a + y * r.latency_s) / t } else { y };
        self.clock_mhz = mean(self.clock_mhz, r.clock_mhz, self.latency_s);
        self.occupancy = mean(self.occupancy, r.occupancy, self.latency_s);
        self.latency_s = t;
        self.energy.idle_j += r.energy.idle_j;
        self.energy.tensor_j += r.energy.tensor_j;
        self.energy.vector_j += r.energy.vector_j;
        self.energy.shared_j += r.energy.shared_j;
        self.energy.l2_j += r.energy.l2_j;
        self.energy.dram_j += r.energy.dram_j;
        self.dram_read_bytes += r.traffic.dram_read_bytes as f64;
        self.dram_write_bytes += r.traffic.dram_write_bytes as f64;
        self.l2_bytes += (r.traffic.l2_read_bytes + r.traffic.l2_write_bytes) as f64;
        self.tensor_fma += r.work.tensor_fma;
        self.kernels += 1;
    }
}

/// Runs launches one after another.
///
/// # Errors
/// The machine cannot run one of them.
pub fn simulate_steps(
    gpu: &mut Gpu,
    steps: &[(Kernel, CacheState)],
    detail: Detail,
    clock_limit_mhz: f64,
) -> Result<Outcome, GpuError> {
    let mut outcome = Outcome::default();
    for (kernel, cache) in steps {
        outcome.add(&simulate_at(gpu, kernel, cache, detail, clock_limit_mhz)?);
    }
    Ok(outcome)
}

/// Launches over and over for seconds: the clock settles where the power limit is kept. Energy is of one round.
///
/// # Errors
/// The machine cannot run one of them.
pub fn sustained(
    gpu: &mut Gpu,
    steps: &[(Kernel, CacheState)],
    detail: Detail,
    first: &Outcome,
) -> Result<Outcome, GpuError> {
    let p = gpu.spec().power.clone();
    let power = |o: &Outcome| o.energy.total_j() / o.latency_s;
    if power(first) <= p.limit_w {
        return Ok(*first);
    }
    // Power falls with about the cube of the clock where nothing else binds; two corrections settle it.
    let mut at = *first;
    let mut clock = first.clock_mhz;
    for _ in 0..3 {
        let dynamic = (power(&at) - p.active_idle_w).max(1.0);
        clock = (clock * ((p.limit_w - p.active_idle_w) / dynamic).powf(0.4))
            .clamp(p.min_clock_mhz, gpu.spec().sm_clock_mhz);
        at = simulate_steps(gpu, steps, detail, clock)?;
        if (power(&at) / p.limit_w - 1.0).abs() < 0.02 {
            break;
        }
    }
    Ok(at)
}
