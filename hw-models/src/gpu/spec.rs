//! A GPU as data: what a catalog file or a user's TOML says, checked.

use std::collections::BTreeMap;

use banksia_input::{InputError, Source};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::dram_timings::DramTimings;
use super::program::Dtype;

/// A GPU. Every key carries its unit; `docs/gpu.md` says how each was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuSpec {
    /// The machine's name (`h200`).
    pub name: String,
    /// Always `gpu`.
    #[schemars(extend("const" = "gpu"))]
    pub kind: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Where the numbers come from.
    #[serde(default)]
    pub source: String,
    /// Clock of the SMs, MHz, when nothing limits it.
    pub sm_clock_mhz: f64,
    /// SMs of each GPC, in the order in which CTAs are placed.
    pub sms_per_gpc: Vec<u32>,
    /// One SM.
    pub sm: SmSpec,
    /// Matrix units of one SM.
    pub tensor: TensorSpec,
    /// L1 data cache of one SM.
    pub l1: L1Spec,
    /// The shared cache.
    pub l2: L2Spec,
    /// Between SMs and L2.
    pub crossbar: CrossbarSpec,
    /// Device memory.
    pub dram: DramSpec,
    /// Starting kernels and CTAs.
    pub launch: LaunchSpec,
    /// Energy and clocks.
    pub power: PowerSpec,
}

/// Limits and rates of one streaming multiprocessor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmSpec {
    /// Resident threads.
    pub max_threads: u32,
    /// Resident CTAs.
    pub max_ctas: u32,
    /// 32-bit registers.
    pub registers: u32,
    /// Shared memory of the SM.
    pub shared_memory_bytes: u32,
    /// Most shared memory one CTA may take.
    pub shared_memory_per_cta_bytes: u32,
    /// Shared memory the system takes of each resident CTA.
    pub shared_memory_reserved_bytes: u32,
    /// Warp instructions issued each cycle by the four sub-partitions.
    pub issue_per_cycle: f64,
    /// Single-precision FMA lanes.
    pub fma_lanes: f64,
    /// Special-function lanes (exp2, rsqrt, sine).
    pub sfu_lanes: f64,
    /// Integer and logic lanes.
    pub alu_lanes: f64,
    /// What they reach beside as many FMA.
    pub alu_lanes_beside_fma: f64,
    /// Shared-memory bytes a cycle.
    pub shared_bytes_per_cycle: f64,
    /// Bytes a cycle that `cp.async` copies into rows that `ldmatrix` reads.
    pub async_rows_bytes_per_cycle: f64,
    /// Zeros that `cp.async` writes for what lies beyond a matrix, in the layout that `wgmma` reads, in bytes a cycle.
    pub async_zero_bytes_per_cycle: f64,
    /// Bytes of `cp.async` that the unit has accepted and not yet begun, before warps must wait to issue more.
    pub async_queue_bytes: u32,
    /// By how many cycles a step of depth is longer or shorter in one CTA than in another that runs the same program and came to its SM in the same
    /// order (standard deviation): where an SM has one CTA, two, three, and four or more. Warps that share an SM settle into an order of their own.
    pub step_spread_cycles: [f64; 4],
    /// By how much it is longer where three CTAs share an SM, in the order in which they came: warps that came first go first.
    pub step_order_of_three_cycles: [f64; 3],
    /// The same for four; more are as the fourth.
    pub step_order_of_four_cycles: [f64; 4],
    /// Cost of a CTA barrier without warps.
    pub barrier_base_cycles: f64,
    /// What each warp adds to it.
    pub barrier_cycles_per_warp: f64,
    /// Latency of a dependent arithmetic instruction.
    pub arithmetic_latency_cycles: f64,
    /// Latency of a shared-memory load.
    pub shared_latency_cycles: f64,
    /// The SM's first instruction cache: code in it arrives as fast as it is issued.
    pub instruction_cache_bytes: u32,
    /// The next one.
    pub instruction_second_cache_bytes: u32,
    /// Cycles of an instruction that comes from there.
    pub instruction_second_cache_cycles: f64,
    /// Cycles of an instruction that comes from L2.
    pub instruction_l2_cycles: f64,
}

/// Matrix units of one SM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Multiply-adds a cycle by type, dense, through the fastest path.
    #[schemars(schema_with = "rates")]
    pub fma_per_cycle: BTreeMap<Dtype, f64>,
    /// Speed-up of 2:4 structured sparsity.
    pub sparse_factor: f64,
    /// An asynchronous path with operands in shared memory exists: `wgmma`, or `tcgen05.mma` where there is a memory for its sums.
    pub warpgroup: bool,
    /// Memory of an SM that the asynchronous path keeps its sums in (`tcgen05`); 0 where they are in registers. One thread issues, and other
    /// warps take a tile's sums out while the next tile is multiplied.
    #[serde(default)]
    pub memory_bytes: u32,
    /// Share of `fma_per_cycle` that the synchronous path (`mma.sync`) reaches.
    pub sync_share: f64,
    /// Cycles for which an `mma.sync` of m16n8k16 in 16 bits holds the issue slots of its scheduler.
    pub sync_issue_cycles: f64,
    /// Cycles of a scheduler's issue for each other instruction between such products, on average.
    pub sync_beside_cycles: f64,
    /// Shortest time that one m64nNk16 instruction holds the units, whatever N: operand A is read from shared memory.
    pub min_instruction_cycles: f64,
    /// From the last issue to results in registers.
    pub drain_cycles: f64,
}

/// A rate for each type of elements.
fn rates(_: &mut SchemaGenerator) -> Schema {
    let rate = json_schema!({ "type": "number", "description": "Multiply-adds a cycle of operands of this type." });
    let rates: BTreeMap<&str, Schema> = Dtype::ALL.iter().map(|dtype| (dtype.name(), rate.clone())).collect();
    json_schema!({ "type": "object", "properties": rates, "additionalProperties": false })
}

/// L1 of one SM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct L1Spec {
    /// Capacity shared with shared memory.
    pub bytes: u32,
    /// Bytes a cycle on hits.
    pub bytes_per_cycle: f64,
    /// Latency of a hit.
    pub latency_cycles: f64,
}

/// The L2 cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct L2Spec {
    /// Capacity that data reach.
    pub bytes: u64,
    /// Its own clock.
    pub clock_mhz: f64,
    /// Slices over all partitions.
    pub slices: u32,
    /// Bytes a slice moves each L2 cycle.
    pub slice_bytes_per_cycle: f64,
    /// 1, or 2 halves, each of which caches for its own SMs; a line at home in the other half passes both on its way in.
    pub partitions: u32,
    /// Bytes of a line.
    pub line_bytes: u32,
    /// Bytes of a sector.
    pub sector_bytes: u32,
    /// Load-to-use latency of a hit in the SM's own half, in nanoseconds at the full SM clock.
    pub near_latency_ns: f64,
    /// The same for a line that only its home in the other half has: its own half asks that one.
    pub far_latency_ns: f64,
}

/// The crossbar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrossbarSpec {
    /// Bytes a cycle into one SM.
    pub sm_bytes_per_cycle: f64,
    /// Bytes a cycle out of one SM.
    pub sm_write_bytes_per_cycle: f64,
    /// Bytes a cycle from L2 into one GPC, each once, however many of its SMs have asked for it together.
    pub gpc_entry_bytes_per_cycle: f64,
    /// Bytes a cycle delivered to the SMs of one GPC.
    pub gpc_bytes_per_cycle: f64,
    /// Requests of one GPC for one line are one when the second comes before L2 has the line, and for so long after.
    pub merge_window_ns: f64,
    /// Requests that one answer serves at most.
    pub merge_requests: u32,
}

/// Device memory, by channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DramSpec {
    /// `hbm3e`, `hbm3`, `hbm2e`, `hbm2`, `gddr7`, `gddr6`.
    pub standard: String,
    /// The catalog's DRAM device that gives organisation and timings; its nanoseconds hold at the data rate given here.
    pub device: String,
    /// What was read from it.
    #[serde(skip)]
    pub timings: DramTimings,
    /// Capacity.
    pub capacity_bytes: u64,
    /// Pseudo-channels that accesses are spread over.
    pub channels: u32,
    /// Pins of one pseudo-channel.
    pub channel_bits: u32,
    /// All banks of a channel are refreshed together, even where the device could refresh them one by one.
    pub refresh_all_banks: bool,
    /// Transfers a second of one pin, in 10^6.
    pub megatransfers_per_s: f64,
    /// From an L2 miss in a line's home to data back there, unloaded, with the activation of a row.
    pub latency_ns: f64,
    /// Accesses that a channel's queue holds: how far its controller looks for one whose bank is ready.
    pub queue_accesses: u32,
    /// Writes a channel gathers before it turns.
    pub write_batch_bytes: u32,
}

/// Starting kernels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LaunchSpec {
    /// Between two dependent kernels of a CUDA graph: drain, flush, front end.
    pub graph_gap_us: f64,
    /// What a host takes that launches kernels one by one, from compiled code.
    pub stream_gap_us: f64,
    /// What a host takes for a call of an operator in Python, with what the framework does before it launches the kernel.
    pub python_us: f64,
    /// Between two kernels of a stream beyond those of a graph, where the host is ahead.
    pub dispatch_gap_us: f64,
    /// Between two CTAs that the scheduler places.
    pub cta_interval_ns: f64,
    /// CTAs without a cluster go to one GPC after another, as clusters do; otherwise each GPC gets its share, neighbours together.
    pub spread_ctas: bool,
    /// SMs of the first GPC that take clusters of two at most: those that are left of incomplete groups.
    pub pair_sms: u32,
    /// From placing a CTA to its first instruction, and from its last to its slot's reuse.
    pub cta_turnaround_cycles: f64,
    /// Shared-memory barriers set up, dynamic shared memory mapped: before a pipelined kernel's first copy.
    pub pipeline_setup_ns: f64,
    /// A cluster's launch and its barriers, on top of that.
    pub cluster_setup_ns: f64,
    /// First use of memory by an SM after a kernel's start: its own translation miss.
    pub translation_miss_cycles: f64,
    /// Translation misses of the SMs of one GPC are served one every so many cycles.
    pub translation_interval_cycles: f64,
    /// Bytes that L2's slices move for a launch itself: its parameters and code, and its CTAs' start.
    pub front_end_l2_bytes: u64,
    /// Stores made visible at a kernel's end.
    pub flush_ns: f64,
}

/// Energies at their reference clocks, and what limits the clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerSpec {
    /// Chip with clocks up and nothing running.
    pub active_idle_w: f64,
    /// The limit that the slow controller keeps.
    pub limit_w: f64,
    /// SM clock at which the energies were measured.
    pub reference_clock_mhz: f64,
    /// Lowest clock the controller goes to.
    pub min_clock_mhz: f64,
    /// One bf16 multiply-add of the warpgroup path; other types by operand bytes.
    pub tensor_pj_per_fma: f64,
    /// One bf16 multiply-add of the synchronous path, operand fetch included.
    pub tensor_sync_pj_per_fma: f64,
    /// One lane of any instruction: fetch, issue, registers, and a unit whose operands do not change.
    pub issue_pj_per_lane: f64,
    /// What data that change add to a lane operation of the FMA and integer lanes.
    pub vector_pj_per_op: f64,
    /// The same of the special functions.
    pub sfu_pj_per_op: f64,
    /// Shared memory.
    pub shared_pj_per_byte: f64,
    /// L2 slices, per byte they move.
    pub l2_pj_per_byte: f64,
    /// Crossbar, per byte delivered to an SM.
    pub crossbar_pj_per_byte: f64,
    /// Device memory, per byte.
    pub dram_pj_per_byte: f64,
    /// SM clock while matrix units are in use.
    pub tensor_clock_mhz: f64,
    /// What full use of the warpgroup path takes off that.
    pub tensor_droop_mhz: f64,
    /// What full use of the synchronous path (`mma.sync`) takes off instead.
    pub tensor_sync_droop_mhz: f64,
    /// What each TB/s into the SMs takes off, while the matrix units are fully used.
    pub tensor_droop_mhz_per_tb_s: f64,
}

impl GpuSpec {
    /// Reads and checks a device file.
    ///
    /// # Errors
    /// Not TOML, an unknown or missing key, or a value outside its range.
    pub fn from_source(source: &Source) -> Result<Self, InputError> {
        let mut spec: Self = source.parse()?;
        if spec.kind != "gpu" {
            return Err(source.error("kind", format!("is `{}`", spec.kind)).help("a GPU's file is of kind `gpu`"));
        }
        let positive = [
            ("sm_clock_mhz", spec.sm_clock_mhz),
            ("sm.issue_per_cycle", spec.sm.issue_per_cycle),
            ("sm.fma_lanes", spec.sm.fma_lanes),
            ("sm.sfu_lanes", spec.sm.sfu_lanes),
            ("sm.alu_lanes", spec.sm.alu_lanes),
            ("sm.alu_lanes_beside_fma", spec.sm.alu_lanes_beside_fma),
            ("sm.shared_bytes_per_cycle", spec.sm.shared_bytes_per_cycle),
            ("sm.async_rows_bytes_per_cycle", spec.sm.async_rows_bytes_per_cycle),
            ("sm.async_zero_bytes_per_cycle", spec.sm.async_zero_bytes_per_cycle),
            ("tensor.sync_share", spec.tensor.sync_share),
            ("tensor.sparse_factor", spec.tensor.sparse_factor),
            ("l1.bytes_per_cycle", spec.l1.bytes_per_cycle),
            ("l2.clock_mhz", spec.l2.clock_mhz),
            ("l2.slice_bytes_per_cycle", spec.l2.slice_bytes_per_cycle),
            ("crossbar.sm_bytes_per_cycle", spec.crossbar.sm_bytes_per_cycle),
            ("crossbar.sm_write_bytes_per_cycle", spec.crossbar.sm_write_bytes_per_cycle),
            ("crossbar.gpc_entry_bytes_per_cycle", spec.crossbar.gpc_entry_bytes_per_cycle),
            ("crossbar.gpc_bytes_per_cycle", spec.crossbar.gpc_bytes_per_cycle),
            ("dram.megatransfers_per_s", spec.dram.megatransfers_per_s),
            ("power.limit_w", spec.power.limit_w),
            ("power.reference_clock_mhz", spec.power.reference_clock_mhz),
            ("power.min_clock_mhz", spec.power.min_clock_mhz),
            ("power.tensor_clock_mhz", spec.power.tensor_clock_mhz),
        ];
        for (key, value) in positive {
            source.check(key, value, 1e-3..=1e9)?;
        }
        let not_negative = [
            ("l2.near_latency_ns", spec.l2.near_latency_ns),
            ("l2.far_latency_ns", spec.l2.far_latency_ns),
            ("dram.latency_ns", spec.dram.latency_ns),
            ("tensor.min_instruction_cycles", spec.tensor.min_instruction_cycles),
            ("tensor.drain_cycles", spec.tensor.drain_cycles),
            ("tensor.sync_issue_cycles", spec.tensor.sync_issue_cycles),
            ("tensor.sync_beside_cycles", spec.tensor.sync_beside_cycles),
            ("sm.instruction_second_cache_cycles", spec.sm.instruction_second_cache_cycles),
            ("sm.instruction_l2_cycles", spec.sm.instruction_l2_cycles),
            ("power.active_idle_w", spec.power.active_idle_w),
            ("power.tensor_droop_mhz", spec.power.tensor_droop_mhz),
            ("power.tensor_sync_droop_mhz", spec.power.tensor_sync_droop_mhz),
        ];
        for (key, value) in not_negative {
            source.check(key, value, 0.0..=1e9)?;
        }
        // Far above any machine, and low enough that sums of many stay finite.
        let moderate = [
            ("launch.cta_interval_ns", spec.launch.cta_interval_ns),
            ("launch.cta_turnaround_cycles", spec.launch.cta_turnaround_cycles),
            ("launch.pipeline_setup_ns", spec.launch.pipeline_setup_ns),
            ("launch.cluster_setup_ns", spec.launch.cluster_setup_ns),
            ("launch.translation_miss_cycles", spec.launch.translation_miss_cycles),
            ("launch.translation_interval_cycles", spec.launch.translation_interval_cycles),
            ("launch.flush_ns", spec.launch.flush_ns),
            ("launch.graph_gap_us", spec.launch.graph_gap_us),
            ("launch.stream_gap_us", spec.launch.stream_gap_us),
            ("launch.python_us", spec.launch.python_us),
            ("launch.dispatch_gap_us", spec.launch.dispatch_gap_us),
            ("sm.barrier_base_cycles", spec.sm.barrier_base_cycles),
            ("sm.barrier_cycles_per_warp", spec.sm.barrier_cycles_per_warp),
            ("sm.arithmetic_latency_cycles", spec.sm.arithmetic_latency_cycles),
            ("sm.shared_latency_cycles", spec.sm.shared_latency_cycles),
            ("l1.latency_cycles", spec.l1.latency_cycles),
            ("crossbar.merge_window_ns", spec.crossbar.merge_window_ns),
            ("power.tensor_pj_per_fma", spec.power.tensor_pj_per_fma),
            ("power.tensor_sync_pj_per_fma", spec.power.tensor_sync_pj_per_fma),
            ("power.issue_pj_per_lane", spec.power.issue_pj_per_lane),
            ("power.vector_pj_per_op", spec.power.vector_pj_per_op),
            ("power.sfu_pj_per_op", spec.power.sfu_pj_per_op),
            ("power.shared_pj_per_byte", spec.power.shared_pj_per_byte),
            ("power.l2_pj_per_byte", spec.power.l2_pj_per_byte),
            ("power.crossbar_pj_per_byte", spec.power.crossbar_pj_per_byte),
            ("power.dram_pj_per_byte", spec.power.dram_pj_per_byte),
            ("power.tensor_droop_mhz_per_tb_s", spec.power.tensor_droop_mhz_per_tb_s),
        ];
        for spread in spec.sm.step_spread_cycles {
            source.check("sm.step_spread_cycles", spread, 0.0..=1e6)?;
        }
        for late in spec.sm.step_order_of_three_cycles {
            source.check("sm.step_order_of_three_cycles", late, -1e6..=1e6)?;
        }
        for late in spec.sm.step_order_of_four_cycles {
            source.check("sm.step_order_of_four_cycles", late, -1e6..=1e6)?;
        }
        for (key, value) in moderate {
            source.check(key, value, 0.0..=1e6)?;
        }
        spec.check_power(source)?;
        source.check("launch.front_end_l2_bytes", spec.launch.front_end_l2_bytes, 0..=1 << 40)?;
        source.check("tensor.memory_bytes", spec.tensor.memory_bytes, 0..=1 << 24)?;
        if spec.tensor.memory_bytes > 0 && !spec.tensor.warpgroup {
            let problem = "is not 0, and there is no asynchronous path to use it";
            return Err(source.error("tensor.memory_bytes", problem).help("set tensor.warpgroup = true"));
        }
        source.check("l2.partitions", spec.l2.partitions, 1..=2)?;
        source.check("l2.slices", spec.l2.slices, 1..=1024)?;
        source.check("l2.bytes", spec.l2.bytes, 1 << 16..=1 << 34)?;
        source.check("l2.line_bytes", spec.l2.line_bytes, 32..=4096)?;
        source.check("l2.sector_bytes", spec.l2.sector_bytes, 16..=spec.l2.line_bytes)?;
        source.check("dram.channels", spec.dram.channels, 1..=1024)?;
        source.check("dram.write_batch_bytes", spec.dram.write_batch_bytes, 64..=1 << 20)?;
        source.check("dram.channel_bits", spec.dram.channel_bits, 8..=1024)?;
        source.check("dram.queue_accesses", spec.dram.queue_accesses, 1..=65536)?;
        let folder = std::path::Path::new(source.written_in("dram.device"));
        let device = crate::dram::catalog::load_from(&spec.dram.device, Some(folder)).map_err(|e| {
            source.error("dram.device", format!("is `{}`, which cannot be used: {}", spec.dram.device, e.problem))
        })?;
        spec.dram.timings = DramTimings::of(&device, spec.dram.refresh_all_banks)
            .ok_or_else(|| source.error("dram.device", "lacks the commands that a memory controller needs"))?;
        if spec.dram.timings.pins != spec.dram.channel_bits {
            let problem = format!("must be {}, the pins of a pseudo-channel of its device", spec.dram.timings.pins);
            return Err(source.error("dram.channel_bits", problem));
        }
        source.check("sm.max_threads", spec.sm.max_threads, 32..=65536)?;
        source.check("sm.max_ctas", spec.sm.max_ctas, 1..=1024)?;
        source.check("sm.registers", spec.sm.registers, 1024..=1 << 24)?;
        if spec.sms_per_gpc.is_empty() || spec.sms_per_gpc.iter().any(|&n| n == 0 || n > 1024) {
            return Err(source.error("sms_per_gpc", "must list at least one GPC of 1 to 1024 SMs"));
        }
        if spec.sms_per_gpc.len() > 32 {
            return Err(source.error("sms_per_gpc", "lists more than 32 GPCs"));
        }
        for (dtype, rate) in &spec.tensor.fma_per_cycle {
            source.check(&format!("tensor.fma_per_cycle.{}", dtype.name()), *rate, 1.0..=1e6)?;
        }
        if spec.tensor.fma_per_cycle.is_empty() {
            return Err(source.error("tensor.fma_per_cycle", "names no type"));
        }
        Ok(spec)
    }

    /// Clocks and powers that fit one another: energy scales with the square of the clock over the one that it was measured at.
    fn check_power(&self, source: &Source) -> Result<(), InputError> {
        let p = &self.power;
        source.check("power.min_clock_mhz", p.min_clock_mhz, 1e-3..=self.sm_clock_mhz)?;
        source.check(
            "power.tensor_clock_mhz",
            p.tensor_clock_mhz,
            p.min_clock_mhz..=self.sm_clock_mhz.max(p.tensor_clock_mhz),
        )?;
        source.check(
            "power.reference_clock_mhz",
            p.reference_clock_mhz,
            self.sm_clock_mhz / 10.0..=self.sm_clock_mhz * 10.0,
        )?;
        if p.limit_w <= p.active_idle_w {
            let problem = format!("is {}: no more than the {} W that the idle chip takes", p.limit_w, p.active_idle_w);
            return Err(source.error("power.limit_w", problem).help("give a limit above power.active_idle_w"));
        }
        Ok(())
    }

    /// Streaming multiprocessors.
    pub fn sms(&self) -> u32 {
        self.sms_per_gpc.iter().sum()
    }

    /// Peak of the device memory's pins, bytes a second.
    pub fn dram_peak_bytes_per_s(&self) -> f64 {
        f64::from(self.dram.channels) * f64::from(self.dram.channel_bits) / 8.0 * self.dram.megatransfers_per_s * 1e6
    }

    /// Peak of the matrix units at the full clock, operations a second, multiply and add counted as two; zero for a type
    /// that the device lacks.
    pub fn tensor_peak_flops_per_s(&self, dtype: Dtype) -> f64 {
        let rate = self.tensor.fma_per_cycle.get(&dtype).copied().unwrap_or(0.0);
        2.0 * rate * f64::from(self.sms()) * self.sm_clock_mhz * 1e6
    }
}

/// The devices that are built in, by name.
pub const CATALOG: [(&str, &str); 12] = [
    ("a100", include_str!("../../catalog/gpu/a100.toml")),
    ("a10g", include_str!("../../catalog/gpu/a10g.toml")),
    ("a40", include_str!("../../catalog/gpu/a40.toml")),
    ("a6000", include_str!("../../catalog/gpu/a6000.toml")),
    ("b200", include_str!("../../catalog/gpu/b200.toml")),
    ("h100", include_str!("../../catalog/gpu/h100.toml")),
    ("h200", include_str!("../../catalog/gpu/h200.toml")),
    ("l40s", include_str!("../../catalog/gpu/l40s.toml")),
    ("rtx-4090", include_str!("../../catalog/gpu/rtx-4090.toml")),
    ("rtx-pro-6000", include_str!("../../catalog/gpu/rtx-pro-6000.toml")),
    ("t4", include_str!("../../catalog/gpu/t4.toml")),
    ("v100", include_str!("../../catalog/gpu/v100.toml")),
];

/// The source of a built-in device, by name.
pub fn catalog(name: &str) -> Option<Source> {
    CATALOG.iter().find(|(n, _)| *n == name).map(|(n, text)| Source::from_text(format!("{n}.toml"), *text))
}

/// A built-in device.
///
/// # Errors
/// The name is not in the catalog.
pub fn device(name: &str) -> Result<GpuSpec, InputError> {
    match catalog(name) {
        Some(source) => GpuSpec::from_source(&source),
        None => {
            let names: Vec<&str> = CATALOG.iter().map(|(n, _)| *n).collect();
            Err(InputError::new(name, "is not a GPU of the catalog").help(format!("known: {}", names.join(", "))))
        }
    }
}
