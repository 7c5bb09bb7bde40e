//! Running kernels with adjustable detail.

mod depth;

use serde::{Deserialize, Serialize};

use super::program::{Kernel, Op, Trips};
use super::spec::PowerSpec;
use super::{CacheState, EnergyParts, Gpu, GpuError, KernelResult, LaunchOptions, Progress, Traffic, Work};

/// How finely a kernel is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Detail {
    /// Bytes of a memory request: 128 follows every line.
    pub grain_bytes: u32,
    /// Kernels of more waves than this are run for so many, and continued at the rate of the second half of them.
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

/// Runs a kernel that the same launch has just preceded, on the same operands: L2 holds what that left. Kernels of which only a part is
/// run start from `guess`: they are so large that little of it matters.
///
/// # Errors
/// The machine cannot run it.
pub fn replayed(gpu: &mut Gpu, kernel: &Kernel, guess: &CacheState, detail: Detail) -> Result<KernelResult, GpuError> {
    let first = simulate(gpu, kernel, guess, detail)?;
    let finest = Detail { waves: u32::MAX, ..detail };
    if !first.continued {
        return simulate(gpu, kernel, &CacheState::Left, finest);
    }
    Ok(first)
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
    let mut options = LaunchOptions {
        grain_bytes: detail.grain_bytes,
        cache: cache.clone(),
        clock_limit_mhz,
        ..LaunchOptions::default()
    };
    let slots = gpu.occupancy(kernel)? * gpu.spec().sms();
    let lanes = slots.min(kernel.grid).max(1);
    let waves = (kernel.items.len() as u32).div_ceil(lanes);
    if detail.waves == u32::MAX {
        return gpu.run(kernel, &options);
    }
    // Where items differ in length (causal attention), a wave is not like the next; many of them are, on average.
    let (varied, longest) = lengths(kernel);
    // L2 must have turned over before the rate is taken.
    let bytes = kernel.footprint_bytes() as f64 / f64::from(waves);
    let turnover = (1.2 * gpu.spec().l2.bytes as f64 / bytes.max(1.0)).ceil();
    // A wave of long items shows what several of short ones do.
    let half = (detail.waves.max(2) / 2).min(STEPS_SHOWN.div_ceil(longest.max(1)));
    let few = half.max(turnover.min(1e6) as u32).max(if varied { 12 } else { 1 });
    let many = few + if varied { few } else { half };
    // The last wave has the memory to itself; where waves are short, some more keep it busy.
    let beyond = (STEPS_BEYOND / longest.max(1)).min(half);
    let run = many + beyond;
    if !varied && let Some(result) = depth::run(gpu, kernel, &options, lanes, run.min(waves) * longest) {
        return result;
    }
    if waves <= run {
        return gpu.run(kernel, &options);
    }
    options.items = Some((run * lanes) as usize);
    options.marks = Some(((few * lanes) as usize, (many * lanes) as usize));
    let result = gpu.run(kernel, &options)?;
    let Some(marks) = result.progress else { return Ok(result) };
    let per = f64::from(many - few);
    let items = kernel.items.len() as f64 / f64::from(lanes);
    let rest = if varied {
        let times = (items - f64::from(run)) / per;
        Rest { waves: times, items: times, each: None }
    } else {
        // Equal items come in whole waves: the last takes as long as the others, however full. What they move and do goes
        // with their number.
        let each = (items / f64::from(run), per / f64::from(run));
        Rest { waves: f64::from(waves - run) / per, items: (items - f64::from(run)) / per, each: Some(each) }
    };
    Ok(continued(&result, &marks, rest))
}

/// What of a kernel is not run, in units of what is run after the mark.
#[derive(Debug, Clone, Copy)]
struct Rest {
    waves: f64,
    items: f64,
    /// For equal items: all of them over those run, and those run after the mark over those run.
    each: Option<(f64, f64)>,
}

/// Turns of an item's loops that show the rate at which it goes on.
const STEPS_SHOWN: u32 = 192;
/// And those that keep memory busy after them.
const STEPS_BEYOND: u32 = 64;

/// Whether a loop's count differs between items by more than a quarter, and the largest count of all loops.
fn lengths(kernel: &Kernel) -> (bool, u32) {
    let (mut varied, mut longest) = (false, 1);
    for op in kernel.roles.iter().flat_map(|r| &r.ops) {
        match op {
            Op::Loop(Trips::Work(var, _)) => {
                // Items of nothing (CTAs beyond an edge) are spread over all waves alike.
                let counts = kernel.items.iter().map(|i| i[usize::from(*var)]).filter(|n| *n > 0);
                let (low, high) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
                varied |= i64::from(high) * 3 > i64::from(low) * 4;
                longest = longest.max(high.max(0) as u32);
            }
            Op::Loop(Trips::Const(n)) => longest = longest.max(*n),
            _ => {}
        }
    }
    (varied, longest)
}

/// A run that goes on at the rate between its marks.
fn continued(run: &KernelResult, [first, second]: &[Progress; 2], rest: Rest) -> KernelResult {
    let span = (second.at_s - first.at_s).max(0.0) * rest.waves;
    let (ta, tb, all) = (&first.traffic, &second.traffic, &run.traffic);
    // At the first mark, copies for later items were under way already, at the end none are: equal items say how much.
    let moved = tb.crossbar_read_bytes.saturating_sub(ta.crossbar_read_bytes) as f64;
    let ahead = rest.each.map_or(1.0, |(_, after)| all.crossbar_read_bytes as f64 * after / moved.max(1.0));
    let more = |[x, y, z]: [f64; 3]| z + (y - x).max(0.0) * rest.items * ahead;
    let sum = |v: [f64; 3]| rest.each.map_or_else(|| more(v), |(whole, _)| v[2] * whole);
    let (moved, sent) = (Traffic::combine([ta, tb, all], more), Traffic::combine([ta, tb, all], sum));
    let parts = [&first.energy, &second.energy, &run.energy];
    let (caused, spent) = (EnergyParts::combine(parts, more), EnergyParts::combine(parts, sum));
    let latency_s = run.latency_s + span;
    KernelResult {
        progress: None,
        span_s: run.span_s + span,
        latency_s,
        traffic: Traffic {
            crossbar_read_bytes: sent.crossbar_read_bytes,
            crossbar_write_bytes: sent.crossbar_write_bytes,
            l2_write_bytes: sent.l2_write_bytes,
            // What was simulated.
            transactions: all.transactions,
            ..moved
        },
        continued: true,
        work: Work::combine([&first.work, &second.work, &run.work], sum),
        energy: EnergyParts {
            idle_j: run.energy.idle_j * latency_s / run.latency_s,
            l2_j: caused.l2_j,
            dram_j: caused.dram_j,
            ..spent
        },
        ..*run
    }
}

/// What a sequence of launches takes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LaunchTotals {
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
    /// Share of the matrix units' time, by time.
    pub tensor_busy: f64,
    /// Warps resident on SMs, of the most, by time.
    pub occupancy: f64,
    /// Launches.
    pub kernels: u32,
}

impl LaunchTotals {
    /// Adds other launches.
    pub fn join(&mut self, o: &LaunchTotals) {
        let t = self.latency_s + o.latency_s;
        let mean = |x: f64, y: f64| if t > 0.0 { (x * self.latency_s + y * o.latency_s) / t } else { y };
        self.clock_mhz = mean(self.clock_mhz, o.clock_mhz);
        self.tensor_busy = mean(self.tensor_busy, o.tensor_busy);
        self.occupancy = mean(self.occupancy, o.occupancy);
        self.latency_s = t;
        self.energy = EnergyParts::combine([&self.energy, &o.energy], |[x, y]| x + y);
        self.dram_read_bytes += o.dram_read_bytes;
        self.dram_write_bytes += o.dram_write_bytes;
        self.l2_bytes += o.l2_bytes;
        self.tensor_fma += o.tensor_fma;
        self.kernels += o.kernels;
    }

    /// Adds a launch.
    pub fn add(&mut self, r: &KernelResult) {
        self.join(&LaunchTotals {
            latency_s: r.latency_s,
            energy: r.energy,
            dram_read_bytes: r.traffic.dram_read_bytes as f64,
            dram_write_bytes: r.traffic.dram_write_bytes as f64,
            l2_bytes: (r.traffic.l2_read_bytes + r.traffic.l2_write_bytes) as f64,
            tensor_fma: r.work.tensor_fma,
            clock_mhz: r.clock_mhz,
            tensor_busy: r.tensor_busy,
            occupancy: r.occupancy,
            kernels: 1,
        });
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
) -> Result<LaunchTotals, GpuError> {
    let mut outcome = LaunchTotals::default();
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
    first: &LaunchTotals,
) -> Result<LaunchTotals, GpuError> {
    let p = gpu.spec().power.clone();
    let power = |o: &LaunchTotals| o.energy.total_j() / o.latency_s;
    if power(first) <= p.limit_w {
        return Ok(*first);
    }
    let mut at = *first;
    for _ in 0..3 {
        at = simulate_steps(gpu, steps, detail, settled_clock(&p, gpu.spec().sm_clock_mhz, &at))?;
        if (power(&at) / p.limit_w - 1.0).abs() < 0.03 {
            break;
        }
    }
    Ok(at)
}

/// The clock at which launches would be at the power limit, going by what they did at another: time with the matrix units
/// busy goes with the clock, the rest does not; switching energy goes with its square, that of memory does not.
fn settled_clock(p: &PowerSpec, highest_mhz: f64, at: &LaunchTotals) -> f64 {
    let fixed = at.energy.dram_j;
    let switching = at.energy.total_j() - at.energy.idle_j - fixed;
    let power = |mhz: f64| {
        let f = mhz / at.clock_mhz;
        let seconds = at.latency_s * (at.tensor_busy / f + 1.0 - at.tensor_busy);
        p.active_idle_w + (switching * f * f + fixed) / seconds
    };
    let (mut low, mut high) = (p.min_clock_mhz, highest_mhz);
    for _ in 0..30 {
        let middle = 0.5 * (low + high);
        if power(middle) > p.limit_w { high = middle } else { low = middle }
    }
    low
}
