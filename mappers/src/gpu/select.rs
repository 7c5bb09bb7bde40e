//! Which kernel a library would launch: a search over legal tiles, first by an estimate, then by simulation.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;
use banksia_hw::gpu::{CacheState, Gpu, GpuError};

use super::cutlass::collective;
use super::gemm::{Gemm, STAGING, STEP_LATENCY, specialised, split_reduce};
use super::libraries::{Candidate, Library, candidates, clustered_tiles, swapped};
use super::multistage::multistage;
use super::raster::by_gpc;
use super::rows::{ElementWork, Elementwise, elementwise};
use banksia_hw::gpu::sampling::{Detail, LaunchTotals, simulate_steps};

/// Kernels launched one after another, each with what L2 holds when it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Kernels and caches, in order.
    pub steps: Vec<(Kernel, CacheState)>,
}

/// What a product finds in L2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// A.
    pub a: bool,
    /// B.
    pub b: bool,
    /// The launch before wrote the same C.
    pub c: bool,
}

impl Found {
    /// None.
    pub const COLD: Self = Self { a: false, b: false, c: false };
}

/// Cache of a product: what is found, C if the launch before has left it, and lines of earlier launches, some of them dirty.
fn cache(found: Found, swap: bool, written: bool, dirty: f64) -> CacheState {
    let (a, b) = if swap { (found.b, found.a) } else { (found.a, found.b) };
    let mut tensors = Vec::new();
    if written {
        tensors.push((2, true));
    }
    if b {
        tensors.push((1, false));
    }
    if a {
        tensors.push((0, false));
    }
    CacheState::Resident { tensors, dirty }
}

/// Share of L2 that earlier launches of the same kind left dirty.
pub fn dirty_share(read_bytes: f64, written_bytes: f64) -> f64 {
    written_bytes / (read_bytes + written_bytes).max(1.0)
}

/// A cheap time of a candidate, in seconds: waves of whole tiles, each step bound by matrix units or by what L2 delivers,
/// the whole by memory, and the fixed costs.
fn estimate(spec: &GpuSpec, g: &Gemm, c: &Candidate, found: Found) -> f64 {
    let (s, bm, bn, bk, split, cluster, stages, warps, lanes) = match c {
        Candidate::Specialised { tile: t, swap, .. } => (
            if *swap { swapped(g) } else { *g },
            t.bm,
            t.bn,
            t.bk,
            t.split,
            t.cluster,
            t.stages,
            8,
            f64::from(spec.sms()),
        ),
        Candidate::Collective { tile: t, swap } => {
            let s = if *swap { swapped(g) } else { *g };
            (s, t.bm, t.bn, t.bk, 1, t.cluster, 4, 8, f64::from(spec.sms()))
        }
        Candidate::Multistage(t) => {
            let by_registers = spec.sm.registers / (t.registers * t.warps * 32).max(1);
            let per_sm = (spec.sm.shared_memory_bytes / (t.shared_bytes + 1024)).min(by_registers).clamp(1, 16);
            (*g, t.bm, t.bn, t.bk, t.split, (1, 1), t.stages, t.warps, f64::from(spec.sms() * per_sm))
        }
    };
    let e = f64::from(s.dtype.bytes());
    let clock = spec.power.tensor_clock_mhz.min(spec.sm_clock_mhz) * 1e6;
    let rate = spec.tensor.fma_per_cycle.get(&s.dtype).copied().unwrap_or(1.0);
    let (m, n, k) = (f64::from(bm), f64::from(bn), f64::from(bk));
    let per_sm = lanes / f64::from(spec.sms());
    let mma = if spec.tensor.warpgroup && !matches!(c, Candidate::Multistage(..)) {
        (m / 64.0).ceil() * (k * e / 32.0) * (64.0 * n * (32.0 / e) / rate).max(spec.tensor.min_instruction_cycles)
            + (STEP_LATENCY - 64.0 * n * (32.0 / e) / rate).max(0.0)
    } else {
        let shared = (m * f64::from((warps / (bm / 16).clamp(1, warps)).max(2)) + n * 2.0) * k * e
            / spec.sm.shared_bytes_per_cycle;
        (m * n * k / (rate * spec.tensor.sync_share)).max(shared + (m + n) * k * e / spec.sm.async_rows_bytes_per_cycle)
    } * per_sm;
    let tiles = f64::from(clustered_tiles(&s, bm, bn, cluster)) * f64::from(split);
    let active = tiles.min(lanes);
    let waves = (tiles / lanes).ceil();
    // In a batch, clusters share where tiles fill them.
    let share = if s.fills(bm, bn, cluster) { cluster } else { (1, 1) };
    let step_bytes = (m / f64::from(share.1) + n / f64::from(share.0)) * k * e;
    let l2 = f64::from(spec.l2.slices) * spec.l2.slice_bytes_per_cycle * spec.l2.clock_mhz * 1e6;
    // Every byte passes 1.5 slices where L2 has halves; requests that meet at a GPC save some of that.
    let delivered = active * step_bytes * 1.2 / l2;
    // What is shared arrives at every SM all the same.
    let received = (m + n) * k * e * per_sm / (spec.crossbar.sm_bytes_per_cycle * clock);
    // What is under way hides the latency of L2, or of memory where operands come from there.
    let latency = (spec.l2.far_latency_ns + if found.b { 0.0 } else { spec.dram.latency_ns }) * 1e-9;
    let latency_bound = latency / f64::from(stages.saturating_sub(1).max(1)) * per_sm;
    // Bounds that lie close together disturb each other.
    let (mma, busiest) = (mma / clock, (mma / clock).max(delivered).max(received));
    let step = busiest.max(latency_bound) + 0.25 * (mma + delivered + received - busiest);
    let steps = (f64::from(s.k) / k / f64::from(split)).ceil();
    let missing = (if found.a { 0.0 } else { f64::from(g.m) } + if found.b { 0.0 } else { f64::from(g.n) })
        * f64::from(g.k)
        * e
        * f64::from(g.batch);
    // Too few CTAs cannot keep memory busy: each has its buffers under way.
    let in_flight = active * f64::from(stages.saturating_sub(1)) * step_bytes;
    let dram = (0.92 * spec.dram_peak_bytes_per_s()).min(in_flight / (latency + 0.3e-6));
    // A tile leaves part by part, each after the one before; further CTAs of an SM work meanwhile.
    let left = m * n * (if split > 1 { 4.0 } else { f64::from(s.out_bytes) });
    let parts = (left / f64::from(STAGING)).ceil();
    let epilogue = left / (spec.crossbar.sm_write_bytes_per_cycle * clock)
        + parts * (spec.l2.near_latency_ns * 1e-9 + 150.0 / clock);
    let frame = match c {
        Candidate::Specialised { .. } | Candidate::Collective { .. } => epilogue,
        Candidate::Multistage(t) => (spec.launch.cta_turnaround_cycles + t.frame_cycles(&s, &spec.sm)) / clock,
    };
    let tile = steps * step + frame;
    let mut time = (waves * tile).max(missing / dram) + epilogue + latency;
    if split > 1 {
        let workspace = f64::from(split) * f64::from(s.m) * f64::from(s.n) * f64::from(s.batch) * 4.0;
        time += spec.launch.graph_gap_us * 1e-6 + 1.2e-6 + 2.0 * workspace / (0.5 * l2);
    }
    time
}

fn plan(spec: &GpuSpec, g: &Gemm, c: &Candidate, found: Found) -> Plan {
    let written = f64::from(g.m) * f64::from(g.n) * f64::from(g.batch) * f64::from(g.out_bytes);
    let read = g.compulsory_bytes() - written;
    // Launches over and over write the same memory (an allocator gives what is free back at once): where L2 holds it beside what
    // is read, and the copies of half of that in its other half, it is written there, and nothing else is dirty.
    let copies = if spec.l2.partitions == 2 { 1.5 } else { 1.0 };
    let stays = found.c && copies * read + written <= spec.l2.bytes as f64;
    let dirty = if stays { 0.0 } else { dirty_share(read, written) };
    let (kernel, swap, split) = match c {
        Candidate::Specialised { tile, swap, counter } => {
            let s = if *swap { swapped(g) } else { *g };
            let mut kernel = specialised(&s, tile);
            if *counter {
                by_gpc(&mut kernel.items, kernel.grid, kernel.cluster, spec);
            }
            (kernel, *swap, tile.split.min(s.k.div_ceil(tile.bk)))
        }
        Candidate::Collective { tile, swap } => {
            let s = if *swap { swapped(g) } else { *g };
            (collective(&s, tile, spec.sm.shared_memory_per_cta_bytes), *swap, 1)
        }
        Candidate::Multistage(t) => (multistage(g, t, spec), false, t.split.min(g.k.div_ceil(t.bk))),
    };
    let mut steps = Vec::new();
    let counts = matches!(c, Candidate::Specialised { counter: true, .. });
    if counts && kernel.items.len() > kernel.grid as usize {
        steps.push((tile_counter(), CacheState::Resident { tensors: vec![(0, true)], dirty }));
    }
    steps.push((kernel, cache(found, swap, stays && split == 1, dirty)));
    if split > 1 {
        let reduce = split_reduce(g, split);
        steps.push((reduce, CacheState::Resident { tensors: vec![(0, true), (1, stays)], dirty }));
    }
    Plan { steps }
}

/// The launch that zeroes the counter from which a persistent kernel's CTAs draw their further tiles (a memset of 0.8 us before
/// every product of more tiles than CTAs, and before no other, in `device_products.csv`: cuBLAS 13 on an H200).
fn tile_counter() -> Kernel {
    let work = ElementWork { fma: 0.0, alu: 1.0, sfu: 0.0, other: 1.0, stall: 2.5 };
    let mut k =
        elementwise(&Elementwise { elements: 32, inputs: 0, element_bytes: 4, per_cta: 128, threads: 128, work });
    k.name = "tile counter".into();
    k
}

/// The candidates of the best estimates, each with its estimate and what simulation says, in the estimate's order.
///
/// # Errors
/// The machine cannot run one of them.
pub fn ranking(
    gpu: &mut Gpu,
    g: &Gemm,
    found: Found,
    detail: Detail,
    count: usize,
) -> Result<Vec<(f64, Plan, LaunchTotals)>, GpuError> {
    let spec = gpu.spec().clone();
    let mut out = Vec::new();
    for (estimate, c) in ranked(&spec, Library::Cublas, g, found).into_iter().take(count) {
        let p = plan(&spec, g, &c, found);
        let o = simulate_steps(gpu, &p.steps, detail, f64::INFINITY)?;
        out.push((estimate, p, o));
    }
    Ok(out)
}

fn ranked(spec: &GpuSpec, library: Library, g: &Gemm, found: Found) -> Vec<(f64, Candidate)> {
    let mut ranked: Vec<(f64, Candidate)> =
        candidates(spec, library, g).into_iter().map(|c| (estimate(spec, g, &c, found), c)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked
}

/// The best plan of a product on a device, and what it takes: `finalists` candidates of the best estimate are simulated.
///
/// # Errors
/// The machine runs none of them: the type is not one of the device's.
pub fn gemm(
    gpu: &mut Gpu,
    g: &Gemm,
    found: Found,
    detail: Detail,
    finalists: usize,
) -> Result<(Plan, LaunchTotals), GpuError> {
    gemm_of(gpu, Library::Cublas, g, found, detail, finalists)
}

/// The same of another library.
///
/// # Errors
/// The machine runs none of them.
pub fn gemm_of(
    gpu: &mut Gpu,
    library: Library,
    g: &Gemm,
    found: Found,
    detail: Detail,
    finalists: usize,
) -> Result<(Plan, LaunchTotals), GpuError> {
    let spec = gpu.spec().clone();
    let ranked = ranked(&spec, library, g, found);
    let mut best: Option<(Plan, LaunchTotals)> = None;
    let mut failure = None;
    for (_, c) in ranked.iter().take(finalists.max(1)) {
        let p = plan(&spec, g, c, found);
        match simulate_steps(gpu, &p.steps, detail, f64::INFINITY) {
            Ok(outcome) => {
                if best.as_ref().is_none_or(|(_, b)| outcome.latency_s < b.latency_s) {
                    best = Some((p, outcome));
                }
            }
            Err(e) => failure = Some(e),
        }
    }
    match (best, failure) {
        (Some(b), _) => Ok(b),
        (None, Some(e)) => Err(e),
        (None, None) => Err(GpuError::TooLarge {
            kernel: format!("gemm {}x{}x{}", g.m, g.n, g.k),
            problem: "has no legal tile on this device".into(),
        }),
    }
}
