//! Kernels of deep items, run for some of their depth: products of 20,000 and more.
//!
//! Every CTA of such a kernel goes through the same loop hundreds of times. What one wave does and takes is linear in the turns
//! once the pipeline is full and L2 has turned over: two runs of one wave, of so many turns and of twice as many, say how much
//! belongs to an item and how much to a turn.

use super::super::launch::DIRTY_UNITS;
use super::super::program::{Kernel, Op, Trips};
use super::super::{CacheState, EnergyParts, Gpu, GpuError, KernelResult, LaunchOptions, Traffic, Work};

/// Turns of the shorter run, at least.
const TURNS: u32 = 128;
/// Share of dirty lines in L2 from which their writing back matters to the rate.
const DIRTY: f64 = 0.05;

/// The one variable that all loops of a kernel count to, and its value, if it is the same for all items but for one turn.
fn depth(kernel: &Kernel) -> Option<(usize, u32)> {
    let mut found = None;
    for op in kernel.roles.iter().flat_map(|r| &r.ops) {
        match op {
            Op::Loop(Trips::Work(var, 0)) if found.is_none_or(|v| v == *var) => found = Some(*var),
            Op::Loop(Trips::Const(n)) if *n <= TURNS => {}
            // A CTA beyond an edge does nothing at all.
            Op::Loop(Trips::Once(..)) => {}
            Op::Loop(_) => return None,
            _ => {}
        }
    }
    let var = usize::from(found?);
    let counts = kernel.items.iter().map(|i| i[var]).filter(|n| *n > 0);
    let (low, high) = (counts.clone().min()?, counts.max()?);
    (high - low <= 1).then_some((var, high as u32))
}

/// Runs a kernel for some of its depth, if that is less work than `turns` turns of its loop.
pub(super) fn run(
    gpu: &mut Gpu,
    kernel: &Kernel,
    options: &LaunchOptions,
    lanes: u32,
    turns: u32,
) -> Option<Result<KernelResult, GpuError>> {
    let (var, deep) = depth(kernel)?;
    let working = kernel.items.iter().filter(|i| i[var] > 0).count();
    let waves = (working as u32).div_ceil(lanes);
    let dirty = match options.cache {
        CacheState::Empty | CacheState::Left => 0.0,
        CacheState::Foreign { dirty } | CacheState::Resident { dirty, .. } => dirty,
        CacheState::Held(ref start) => f64::from(start.others_dirty) / DIRTY_UNITS as f64,
    };
    // Later waves find nothing of what earlier ones left when a turn's bytes, so many times, fill L2.
    let turnover = if waves > 1 || dirty > DIRTY {
        let turn = kernel.footprint_bytes() as f64 / f64::from(waves) / f64::from(deep);
        (1.2 * gpu.spec().l2.bytes as f64 / turn.max(1.0)).ceil()
    } else {
        0.0
    };
    let short = TURNS.max(turnover.min(1e6) as u32);
    if 3 * u64::from(short) * 3 > u64::from(turns) * 2 {
        return None;
    }
    let some = (lanes as usize).min(working);
    let items = kernel.items.iter().filter(|i| i[var] > 0).take(some).copied().collect();
    let part = Kernel { items, grid: kernel.grid.min(some as u32), ..kernel.clone() };
    let runs = gpu.run_both(&part, options, var, [short, 2 * short]);
    Some(runs.map(|[a, b]| {
        let items = working as f64 / some as f64;
        whole(&a, &b, f64::from(waves), items, f64::from(deep) / f64::from(short))
    }))
}

/// From one wave of so many turns and one of twice as many to all `waves`, and all `items` in units of a wave, of `depth` times
/// as many turns.
fn whole(a: &KernelResult, b: &KernelResult, waves: f64, items: f64, depth: f64) -> KernelResult {
    let grow = |x: f64, y: f64, times: f64| times * ((2.0 * x - y).max(0.0) + (y - x).max(0.0) * depth);
    let time = |x: f64, y: f64| grow(x, y, waves);
    let sum = |[x, y]: [f64; 2]| grow(x, y, items);
    let span_s = time(a.span_s, b.span_s);
    let latency_s = span_s + (b.latency_s - b.span_s);
    let energy = EnergyParts::combine([&a.energy, &b.energy], sum);
    KernelResult {
        span_s,
        latency_s,
        // Transactions are those simulated.
        traffic: Traffic {
            transactions: a.traffic.transactions + b.traffic.transactions,
            ..Traffic::combine([&a.traffic, &b.traffic], sum)
        },
        continued: true,
        work: Work::combine([&a.work, &b.work], sum),
        energy: EnergyParts { idle_j: b.energy.idle_j * latency_s / b.latency_s, ..energy },
        steps: a.steps + b.steps,
        ..*b
    }
}
