//! Which kernel a library would launch: a search over legal tiles, first by an estimate, then by simulation.

use banksia_hw::gpu::estimate::{Judge, MatrixPath, TiledProduct};
use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::sampling::LaunchTotals;
use banksia_hw::gpu::spec::GpuSpec;
use banksia_hw::gpu::{CacheState, GpuError, occupancy};

use super::cutlass::collective;
use super::gemm::{Gemm, STAGING, STEP_LATENCY, specialised, split_reduce};
use super::gemv::gemv;
use super::libraries::{Candidate, Library, candidates, clustered_tiles, swapped};
use super::multistage::multistage;
use super::raster::by_gpc;
use super::rows::{ElementWork, Elementwise, elementwise};
use super::umma::{HEIGHT, Umma, umma};

/// Kernels launched one after another, each with what L2 holds when it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Kernels and caches, in order.
    pub steps: Vec<(Kernel, CacheState)>,
    /// The kernel's first operand is the product's second.
    pub swapped: bool,
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

/// A candidate as the machine's estimate sees it.
fn tiled(spec: &GpuSpec, g: &Gemm, c: &Candidate, found: Found) -> TiledProduct {
    let (s, [bm, bn, bk], split, cluster, stages, warps, ctas_per_sm, path) = match c {
        Candidate::Specialised { tile: t, swap, .. } => {
            let s = if *swap { swapped(g) } else { *g };
            (s, [t.bm, t.bn, t.bk], t.split, t.cluster, t.stages, 8, 1, GROUPS)
        }
        Candidate::Collective { tile: t, swap } => {
            let s = if *swap { swapped(g) } else { *g };
            (s, [t.bm, t.bn, t.bk], 1, t.cluster, 4, 8, 1, GROUPS)
        }
        Candidate::Umma { tile: t, swap } => {
            let s = if *swap { swapped(g) } else { *g };
            let path = MatrixPath::Groups { step_latency_cycles: 0.0 };
            (s, [HEIGHT, t.bn, Umma::depth(s.dtype)], t.split, t.cluster, t.stages, 8, 1, path)
        }
        Candidate::Multistage(t) => {
            let by_registers = spec.sm.registers / (t.registers * t.warps * 32).max(1);
            let per_sm = (spec.sm.shared_memory_bytes / (t.shared_bytes + 1024)).min(by_registers).clamp(1, 16);
            let path = MatrixPath::Synchronous { frame_cycles: t.frame_cycles(g, &spec.sm) };
            (*g, [t.bm, t.bn, t.bk], t.split, (1, 1), t.stages, t.warps, per_sm, path)
        }
        Candidate::Lanes(kind) => {
            let (warps, registers, shared_bytes) = kind.takes();
            let by_registers = spec.sm.registers / (registers.next_multiple_of(8) * warps * 32);
            let per_sm = (spec.sm.shared_memory_bytes / (shared_bytes + 1024)).min(by_registers).clamp(1, 16);
            let path = MatrixPath::Synchronous { frame_cycles: 0.0 };
            (*g, [g.m, kind.columns(), kind.depth()], 1, (1, 1), 2, warps, per_sm, path)
        }
    };
    let e = f64::from(s.dtype.bits()) / 8.0;
    TiledProduct {
        tile: [bm, bn, bk],
        depth: s.k,
        results: f64::from(s.m) * f64::from(s.n) * f64::from(s.batch),
        dtype: s.dtype,
        out_bytes: s.out_bytes,
        split,
        // In a batch, clusters share where tiles fill them.
        sharing: if s.fills(bm, bn, cluster) { cluster } else { (1, 1) },
        stages,
        warps,
        ctas_per_sm: f64::from(ctas_per_sm),
        tiles: f64::from(clustered_tiles(&s, bm, bn, cluster)) * f64::from(split),
        path,
        staging_bytes: f64::from(STAGING),
        missing_bytes: (if found.a { 0.0 } else { f64::from(g.m) } + if found.b { 0.0 } else { f64::from(g.n) })
            * f64::from(g.k)
            * e
            * f64::from(g.batch),
        from_memory: !found.b,
    }
}

const GROUPS: MatrixPath = MatrixPath::Groups { step_latency_cycles: STEP_LATENCY };

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
        Candidate::Umma { tile, swap } => {
            let s = if *swap { swapped(g) } else { *g };
            (umma(&s, tile, spec), *swap, tile.split.min(s.k.div_ceil(Umma::depth(s.dtype))))
        }
        Candidate::Multistage(t) => (multistage(g, t, spec), false, t.split.min(g.k.div_ceil(t.bk))),
        Candidate::Lanes(kind) => (gemv(g, *kind), false, 1),
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
    Plan { steps, swapped: swap }
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

/// Whether any of a library's kernels for a product fits an SM.
pub(super) fn any_fits(spec: &GpuSpec, g: &Gemm) -> bool {
    candidates(spec, Library::Cublas, g).iter().any(|c| {
        plan(spec, g, c, Found::COLD).steps.iter().all(|(k, _)| k.check().is_ok() && occupancy(spec, k).is_ok())
    })
}

/// The candidates of the best estimates, each with its estimate and what simulation says, in the estimate's order.
///
/// # Errors
/// The machine cannot run one of them.
pub fn ranking(
    judge: &mut dyn Judge,
    g: &Gemm,
    found: Found,
    count: usize,
) -> Result<Vec<(f64, Plan, LaunchTotals)>, GpuError> {
    let spec = judge.spec().clone();
    let mut out = Vec::new();
    for (estimate, c) in ranked(judge, Library::Cublas, g, found).into_iter().take(count) {
        let p = plan(&spec, g, &c, found);
        let o = judge.judge(&p.steps)?;
        out.push((estimate, p, o));
    }
    Ok(out)
}

/// The candidates among which [`gemm`] chooses, with their estimates; nothing is simulated.
pub fn estimates(judge: &dyn Judge, g: &Gemm, found: Found, finalists: usize) -> Vec<(f64, Plan)> {
    let ranked = ranked(judge, Library::Cublas, g, found);
    let chosen = finalists_of(&ranked, Effort { finalists, ..Effort::DEFAULT });
    let of = |c: &Candidate| ranked.iter().find(|(_, r)| std::ptr::eq(r, c)).map_or(f64::NAN, |r| r.0);
    chosen.into_iter().map(|c| (of(c), plan(judge.spec(), g, c, found))).collect()
}

fn ranked(judge: &dyn Judge, library: Library, g: &Gemm, found: Found) -> Vec<(f64, Candidate)> {
    let spec = judge.spec();
    let estimate = |c: &Candidate| judge.estimate(&tiled(spec, g, c, found));
    let mut ranked: Vec<(f64, Candidate)> =
        candidates(spec, library, g).into_iter().map(|c| (estimate(&c), c)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked
}

/// How many kernels of a product are simulated before one is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// So many of the best estimates.
    pub finalists: usize,
    /// And some that tie with the best, where that is shorter than this, in seconds.
    pub ties_below_s: f64,
}

impl Effort {
    /// What commands use by themselves.
    pub const DEFAULT: Self = Self { finalists: 2, ties_below_s: f64::INFINITY };
}

/// Estimates that lie as close as this say nothing about which is less: they leave out what kernels of equal tiles and bytes differ in, and have
/// fixed costs only roughly (`tests/gpu_estimate.rs`).
const TIE: f64 = 0.01;
const TIE_S: f64 = 0.5e-6;
/// Finalists beyond those asked for, where estimates tie: products that take long tie in few, and those of microseconds are soon simulated.
const MORE: usize = 4;

/// The candidates that are simulated: so many of the best estimates, and some more of those that tie with the best. Of kernels that differ
/// in buffers alone the first stands for all.
fn finalists_of(ranked: &[(f64, Candidate)], effort: Effort) -> Vec<&Candidate> {
    let count = effort.finalists.max(1);
    let best = ranked.first().map_or(0.0, |r| r.0);
    let more = if best < effort.ties_below_s { MORE } else { 0 };
    let mut chosen: Vec<&Candidate> = Vec::new();
    for (estimate, c) in ranked {
        let tied = *estimate <= best * (1.0 + TIE) + TIE_S;
        if chosen.len() >= count + more || (chosen.len() >= count && !tied) {
            break;
        }
        if !chosen.iter().any(|other| other.differs_in_buffers_alone(c)) {
            chosen.push(c);
        }
    }
    chosen
}

/// The best plan of a product on a device, and what it takes: `finalists` candidates of the best estimate are simulated, and those that
/// tie with them.
///
/// # Errors
/// The machine runs none of them: the type is not one of the device's.
pub fn gemm(judge: &mut dyn Judge, g: &Gemm, found: Found, finalists: usize) -> Result<(Plan, LaunchTotals), GpuError> {
    gemm_of(judge, Library::Cublas, g, found, Effort { finalists, ..Effort::DEFAULT })
}

/// The same of another library.
///
/// # Errors
/// The machine runs none of them.
pub fn gemm_of(
    judge: &mut dyn Judge,
    library: Library,
    g: &Gemm,
    found: Found,
    effort: Effort,
) -> Result<(Plan, LaunchTotals), GpuError> {
    let spec = judge.spec().clone();
    let ranked = ranked(judge, library, g, found);
    let mut best: Option<(Plan, LaunchTotals)> = None;
    let mut failure = None;
    for c in finalists_of(&ranked, effort) {
        let p = plan(&spec, g, c, found);
        match judge.judge(&p.steps) {
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
