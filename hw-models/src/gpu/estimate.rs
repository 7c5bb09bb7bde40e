//! The machine's own estimate of a tiled product: what a roofline of its units says, before anything is run.
//!
//! A library that chooses among hundreds of tiles cannot run them all. This is the cheap time that a search ranks them by:
//! waves of whole tiles, each step bound by matrix units or by what L2 delivers, the whole by device memory, and fixed costs.
//! `mappers/tests/gpu_estimate.rs` holds it to what the machine takes.

use super::cache::Cached;
use super::program::Dtype;
use super::sampling::{Detail, LaunchTotals, simulate_steps};
use super::spec::GpuSpec;
use super::{CacheState, Gpu, GpuError, program::Kernel};

/// Which instructions multiply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MatrixPath {
    /// `wgmma`: warpgroups, operands in shared memory; cycles of a step beside its instructions.
    Groups {
        /// Cycles of a step that narrow tiles cannot hide.
        step_latency_cycles: f64,
    },
    /// `mma.sync`: operands are loaded to registers; cycles of a CTA outside of its steps.
    Synchronous {
        /// Set-up, addresses and epilogue of a CTA.
        frame_cycles: f64,
    },
}

/// A product `[m,k] x [n,k]` cut into tiles, as far as a cheap time depends on it. Sizes are those of the tile's own order (operands may have
/// been swapped).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TiledProduct {
    /// Rows and columns of a tile, and depth of a step, in elements.
    pub tile: [u32; 3],
    /// Depth of the product, in elements.
    pub depth: u32,
    /// Elements of the result, over the batch.
    pub results: f64,
    /// Type of the operands.
    pub dtype: Dtype,
    /// Bytes of an element of the result.
    pub out_bytes: u32,
    /// Parts that the depth is cut into.
    pub split: u32,
    /// CTAs of a cluster along rows and along columns that share operands; one each where they do not.
    pub sharing: (u32, u32),
    /// Shared-memory buffers.
    pub stages: u32,
    /// Warps of a CTA.
    pub warps: u32,
    /// CTAs that one SM runs at once.
    pub ctas_per_sm: f64,
    /// Tiles of all products and parts, those that fill clusters up included.
    pub tiles: f64,
    /// The instructions.
    pub path: MatrixPath,
    /// Bytes of the result that are on their way out at once.
    pub staging_bytes: f64,
    /// Bytes of operands that come from device memory.
    pub missing_bytes: f64,
    /// Whether the second operand comes from device memory.
    pub from_memory: bool,
}

/// Share of the shorter of steps and memory that is not hidden behind the longer: of the ranking of 72 products on an A100 and an H100, 0.05 to
/// 0.3 leave the two best 1 to 2 % above the best of eight, none 2.8 %.
const DISTURBED: f64 = 0.15;

/// Bytes of one row of memory that neighbouring addresses fill.
const MEMORY_PIECE: f64 = 512.0;

/// What parts of the depth take beside their steps and bytes: the second launch (1.4 to 1.7 us without its gap, as the machine runs it), and the
/// first one's copies, which all come at once and which nothing hides (0.8 to 1.2 us more on an H200 for products of 1 to 4 MB).
const PARTS_S: f64 = 2.4e-6;

/// A cheap time of a tiled product, in seconds.
pub fn product_seconds(spec: &GpuSpec, p: &TiledProduct) -> f64 {
    let e = f64::from(p.dtype.bits()) / 8.0;
    let clock = spec.power.tensor_clock_mhz.min(spec.sm_clock_mhz) * 1e6;
    let rate = spec.tensor.fma_per_cycle.get(&p.dtype).copied().unwrap_or(1.0);
    let [bm, _, _] = p.tile;
    let [m, n, k] = p.tile.map(f64::from);
    let lanes = f64::from(spec.sms()) * p.ctas_per_sm;
    let per_sm = p.ctas_per_sm;
    let mma = match p.path {
        MatrixPath::Groups { step_latency_cycles } if spec.tensor.warpgroup => {
            (m / 64.0).ceil() * (k * e / 32.0) * (64.0 * n * (32.0 / e) / rate).max(spec.tensor.min_instruction_cycles)
                + (step_latency_cycles - 64.0 * n * (32.0 / e) / rate).max(0.0)
        }
        _ => {
            let shared = (m * f64::from((p.warps / (bm / 16).clamp(1, p.warps)).max(2)) + n * 2.0) * k * e
                / spec.sm.shared_bytes_per_cycle;
            (m * n * k / (rate * spec.tensor.sync_share))
                .max(shared + (m + n) * k * e / spec.sm.async_rows_bytes_per_cycle)
        }
    } * per_sm;
    let active = p.tiles.min(lanes);
    let waves = (p.tiles / lanes).ceil();
    let step_bytes = (m / f64::from(p.sharing.1) + n / f64::from(p.sharing.0)) * k * e;
    let l2 = f64::from(spec.l2.slices) * spec.l2.slice_bytes_per_cycle * spec.l2.clock_mhz * 1e6;
    // Every byte passes 1.5 slices where L2 has halves; requests that meet at a GPC save some of that.
    let delivered = active * step_bytes * 1.2 / l2;
    // What is shared arrives at every SM all the same.
    let received = (m + n) * k * e * per_sm / (spec.crossbar.sm_bytes_per_cycle * clock);
    // What is under way hides the latency of L2, or of memory where operands come from there.
    let latency = (spec.l2.far_latency_ns + if p.from_memory { spec.dram.latency_ns } else { 0.0 }) * 1e-9;
    let latency_bound = latency / f64::from(p.stages.saturating_sub(1).max(1)) * per_sm;
    // Bounds that lie close together disturb each other.
    let (mma, busiest) = (mma / clock, (mma / clock).max(delivered).max(received));
    let step = busiest.max(latency_bound) + 0.25 * (mma + delivered + received - busiest);
    let steps = (f64::from(p.depth) / k / f64::from(p.split)).ceil();
    // Too few CTAs cannot keep memory busy: each has its buffers under way.
    let in_flight = active * f64::from(p.stages.saturating_sub(1).max(1)) * step_bytes;
    // Every step reads a piece of each of its rows, and they lie in different rows of the memory: short pieces are bound by its activations.
    // Where a step has the whole depth, the rows are neighbours.
    let piece = if p.depth > p.tile[2] { (k * e).min(MEMORY_PIECE) } else { MEMORY_PIECE };
    let activations = f64::from(spec.dram.channels) * piece / (spec.dram.timings.activate_fs.max(1) as f64 * 1e-15);
    let dram = (0.92 * spec.dram_peak_bytes_per_s().min(activations)).min(in_flight / (latency + 0.3e-6));
    // A tile leaves part by part, each after the one before; further CTAs of an SM work meanwhile.
    let left = m * n * (if p.split > 1 { 4.0 } else { f64::from(p.out_bytes) });
    let parts = (left / p.staging_bytes).ceil();
    let epilogue = left / (spec.crossbar.sm_write_bytes_per_cycle * clock)
        + parts * (spec.l2.near_latency_ns * 1e-9 + 150.0 / clock);
    let frame = match p.path {
        MatrixPath::Groups { .. } => epilogue,
        MatrixPath::Synchronous { frame_cycles } => (spec.launch.cta_turnaround_cycles + frame_cycles) / clock,
    };
    let tile = steps * step + frame;
    // So do the steps and the memory as a whole: where memory is busiest, tiles with time to spare leave it fewer gaps.
    let (steps, memory) = (waves * tile, p.missing_bytes / dram);
    let mut time = steps.max(memory) + DISTURBED * steps.min(memory) + epilogue + latency;
    if p.split > 1 {
        let workspace = f64::from(p.split) * p.results * 4.0;
        time += spec.launch.graph_gap_us * 1e-6 + PARTS_S + 2.0 * workspace / (0.5 * l2);
    }
    time
}

/// Who says how long launches take: what a search for kernels asks, without owning a machine.
pub trait Judge {
    /// The device.
    fn spec(&self) -> &GpuSpec;

    /// What launches one after another take.
    ///
    /// # Errors
    /// The device cannot run one of them.
    fn judge(&mut self, steps: &[(Kernel, CacheState)]) -> Result<LaunchTotals, GpuError>;

    /// The cheap time of a tiled product, in seconds.
    fn estimate(&self, product: &TiledProduct) -> f64 {
        product_seconds(self.spec(), product)
    }
}

/// The machine itself as a judge, at some detail.
pub struct Simulation<'a> {
    /// The machine.
    pub gpu: &'a mut Gpu,
    /// How finely it runs what it judges.
    pub detail: Detail,
    /// What is known of launches.
    pub(super) cached: Cached,
}

impl<'a> Simulation<'a> {
    /// A machine that judges, and remembers nothing.
    pub fn new(gpu: &'a mut Gpu, detail: Detail) -> Self {
        Self { gpu, detail, cached: Cached::default() }
    }
}

impl Judge for Simulation<'_> {
    fn spec(&self) -> &GpuSpec {
        self.gpu.spec()
    }

    fn judge(&mut self, steps: &[(Kernel, CacheState)]) -> Result<LaunchTotals, GpuError> {
        let gpu = &mut *self.gpu;
        let detail = self.detail;
        self.cached.or("steps", &(steps, detail), || simulate_steps(gpu, steps, detail, f64::INFINITY))
    }
}
