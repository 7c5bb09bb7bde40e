//! Times of operators from the GPU machine: a library's choice of kernel for products, attention kernels, streams as kernels of their bytes.

use std::sync::Arc;

use banksia_hw::gpu::estimate::{Judge, Simulation};
use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, VectorWork, WORK_VARS};
use banksia_hw::gpu::sampling::{Detail, LaunchTotals};
use banksia_hw::gpu::{CacheState, Cached, EnergyParts, Gpu, GpuError, LaunchCache};

use crate::gpu::attention::{Attention, Flash3, flash2, flash3};
use crate::gpu::gemm::Gemm;
use crate::gpu::libraries::Library;
use crate::gpu::select::{self, Effort, Found};
use crate::gpu::training::attention;

use super::error::ParallelError;
use super::op::LocalOp;
use super::times::{OpCost, OperatorTimes};

/// Share of L2's other lines that earlier kernels have left dirty: about as many bytes are written as are read between two kernels of a step.
const DIRTY: f64 = 0.3;

/// Attention's backward kernel where it is FlashAttention-3's, which is no program of its own yet: operations are 2.5 times those of the forward pass, at a rate that is
/// so much of the forward's (FlashAttention-3 on an H100: forward alone against forward and backward in `flash_attention_2_3_tflops.csv`).
const BACKWARD_RATE: f64 = 0.8;

/// Sizes of L2 that a stream is run over: beyond, its time grows in proportion to its bytes.
const IN_L2S: u64 = 8;

/// Of products of more than a millisecond two kernels are simulated, and none that ties with them: most of a step's time to simulate would go there, for up to 3 % of such a product's time
/// (`mappers/tests/gpu_estimate.rs`).
const EFFORT: Effort = Effort { ties_below_s: 1e-3, ..Effort::DEFAULT };

/// A GPU that is asked for operators.
pub struct Engine<'a> {
    gpu: &'a mut Gpu,
    detail: Detail,
    cached: Cached,
    /// Streams that have been run, by bytes read and written: parts of long ones are often the same.
    streams: Vec<((u64, u64), LaunchTotals)>,
}

impl<'a> Engine<'a> {
    /// A device's machine, and how finely it runs kernels.
    pub fn new(gpu: &'a mut Gpu, detail: Detail) -> Self {
        Self { gpu, detail, cached: Cached::default(), streams: Vec::new() }
    }

    /// The same, with what others have worked out.
    #[must_use]
    pub fn remembering(self, cache: &Arc<dyn LaunchCache>) -> Self {
        Self { cached: Cached::new(cache, self.gpu.spec()), ..self }
    }

    fn totals(&mut self, op: &LocalOp) -> Result<LaunchTotals, GpuError> {
        let l2 = self.gpu.spec().l2.bytes;
        match *op {
            LocalOp::Product { m, n, k, batch, dtype, out_bytes, accumulate, promoted } => {
                let g = Gemm { batch, out_bytes, block_scales: promoted, ..Gemm::new(m, n, k, dtype) };
                // The kernel before has written the input, or part of it, where L2 holds it; weights have been gone for a step.
                let input = u64::from(m) * u64::from(k) * u64::from(batch) * u64::from(dtype.bits()) / 8;
                let found = Found { a: input < l2 / 2, b: false, c: false };
                let mut judge = Simulation::new(self.gpu, self.detail);
                let (_, mut totals) = select::gemm_of(&mut judge, Library::Cublas, &g, found, EFFORT)?;
                if accumulate {
                    // The epilogue reads what it adds to. Its stream beside the product's: what a kernel of so many bytes takes less its launch.
                    let read = u64::from(m) * u64::from(n) * u64::from(batch) * u64::from(out_bytes);
                    let more = self.stream(read, 0)?;
                    totals.energy.dram_j += more.energy.dram_j;
                    let spare = totals.latency_s * (1.0 - totals.tensor_busy);
                    let visible = (more.latency_s - spare).max(0.1 * more.latency_s);
                    totals.tensor_busy *= totals.latency_s / (totals.latency_s + visible);
                    totals.latency_s += visible;
                }
                Ok(totals)
            }
            LocalOp::Attention { batch, heads, kv_heads, queries, keys, head_dim, causal, backward, dtype } => {
                let a = Attention {
                    batch,
                    heads,
                    kv_heads,
                    queries,
                    keys,
                    head_dim,
                    causal,
                    dtype,
                    kv_bytes: dtype.bytes(),
                    ..Attention::default()
                };
                let spec = self.gpu.spec();
                let kernel = if spec.tensor.warpgroup {
                    flash3(&a, spec, Flash3 { varlen: false, paged: false, one_group: false, unpacked: false })
                } else {
                    flash2(&a, spec)
                };
                if backward && !spec.tensor.warpgroup {
                    // FlashAttention-2's own three kernels.
                    let kernels = attention::backward(&a, spec);
                    return self.together([kernels.products, kernels.main, kernels.convert]);
                }
                let mut totals = self.run(&kernel, CacheState::Foreign { dirty: DIRTY })?;
                if backward {
                    let more = 2.5 / BACKWARD_RATE;
                    totals.latency_s *= more;
                    // At the forward kernel's power: as many instructions and bytes for each operation.
                    totals.energy = EnergyParts::combine([&totals.energy], |[part]| part * more);
                }
                Ok(totals)
            }
            LocalOp::Stream { read, written } => {
                let mut totals = self.stream(read, written)?;
                // What a kernel has stored last is still in L2 when it ends, and its writing back is the next kernel's time.
                let beyond = (read + written).saturating_sub(l2) as f64;
                totals.latency_s = totals.latency_s.max(beyond / self.gpu.spec().dram_peak_bytes_per_s());
                Ok(totals)
            }
        }
    }

    /// Kernels one after another, each of which reads what the one before has written.
    fn together(&mut self, kernels: [Kernel; 3]) -> Result<LaunchTotals, GpuError> {
        let steps = kernels.map(|kernel| (kernel, CacheState::Foreign { dirty: DIRTY }));
        Simulation::new(self.gpu, self.detail).judge(&steps)
    }

    fn run(&mut self, kernel: &Kernel, cache: CacheState) -> Result<LaunchTotals, GpuError> {
        Simulation::new(self.gpu, self.detail).judge(&[(kernel.clone(), cache)])
    }

    /// A kernel that streams. Of one that is many times L2, a part is run, and half that part: what is beyond takes as much more in proportion.
    fn stream(&mut self, read: u64, written: u64) -> Result<LaunchTotals, GpuError> {
        let bytes = read + written;
        let most = IN_L2S * self.gpu.spec().l2.bytes;
        if bytes <= 2 * most {
            return self.streamed(read, written);
        }
        let mut part = |of: u64| {
            let share = of as f64 / bytes as f64;
            self.streamed((read as f64 * share) as u64, (written as f64 * share) as u64)
        };
        let (half, whole) = (part(most / 2)?, part(most)?);
        let beyond = (bytes - most) as f64 / (most - most / 2) as f64;
        let on = |half: f64, whole: f64| whole + beyond * (whole - half).max(0.0);
        Ok(LaunchTotals {
            latency_s: on(half.latency_s, whole.latency_s),
            energy: EnergyParts::combine([&half.energy, &whole.energy], |[half, whole]| on(half, whole)),
            ..whole
        })
    }

    fn streamed(&mut self, read: u64, written: u64) -> Result<LaunchTotals, GpuError> {
        if let Some((_, known)) = self.streams.iter().find(|(of, _)| *of == (read, written)) {
            return Ok(*known);
        }
        let kernel = stream(read, written);
        let held = read + written <= self.gpu.spec().l2.bytes / 2;
        let cache = if held && read > 0 {
            CacheState::Resident { tensors: vec![(0, true)], dirty: DIRTY }
        } else {
            CacheState::Foreign { dirty: DIRTY }
        };
        let totals = self.run(&kernel, cache)?;
        self.streams.push(((read, written), totals));
        Ok(totals)
    }
}

impl OperatorTimes for Engine<'_> {
    fn cost(&mut self, op: &LocalOp) -> Result<OpCost, ParallelError> {
        let cached = self.cached.clone();
        let totals = cached
            .or("operator of a training step", &(op, self.detail), || self.totals(op))
            .map_err(|e| ParallelError::new("train", format!("has an operator ({op:?}): {e}")))?;
        Ok(OpCost {
            seconds: totals.latency_s,
            joules: (totals.energy.total_j() - totals.energy.idle_j - totals.energy.dram_j).max(0.0),
            memory_joules: totals.energy.dram_j.max(0.0),
            tensor_busy: totals.tensor_busy.clamp(0.0, 1.0),
        })
    }
}

/// A kernel that reads and writes so many bytes: CTAs of 256 threads, 16 bytes a thread and turn, four under way.
fn stream(read: u64, written: u64) -> Kernel {
    /// Bytes of a CTA, read and written together.
    const PER_CTA: u64 = 32 << 10;
    let ctas = (read + written).div_ceil(PER_CTA).clamp(1, 1 << 22);
    let part = |bytes: u64| u32::try_from(bytes.div_ceil(ctas).next_multiple_of(16)).unwrap_or(1 << 20);
    let (r, w) = (part(read), part(written));
    let tile = |tensor: u8, bytes: u32| Tile {
        tensor,
        row: Expr::default(),
        byte: Expr::work(0, i64::from(bytes)),
        rows: 1,
        bytes,
    };
    let mut ops = Vec::new();
    let mut tensors = Vec::new();
    let stream = |bytes: u32| Tensor {
        rows: 1,
        row_bytes: u64::from(bytes) * ctas,
        piece_bytes: bytes.next_power_of_two(),
        piece_rows: 1,
    };
    if read > 0 {
        ops.push(Op::Copy { tile: tile(0, r), path: Path::Load, multicast: Multicast::NONE, barrier: 0 });
        ops.push(Op::Wait(0));
        tensors.push(stream(r));
    }
    // About eight instructions for each 16 bytes of a thread's turn: conversions, arithmetic, addresses.
    let turns = f64::from(r.max(w)) / 16.0;
    ops.push(Op::Vector(VectorWork {
        issue: turns / 32.0 * 24.0,
        fma: turns * 12.0,
        alu: turns * 8.0,
        latency_cycles: 40.0,
        ..VectorWork::default()
    }));
    if written > 0 {
        let index = u8::try_from(tensors.len()).unwrap_or(0);
        ops.push(Op::Store { tile: tile(index, w), reduce: false });
        tensors.push(stream(w));
    }
    let items: Vec<[i32; WORK_VARS]> = (0..ctas).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect();
    Kernel {
        name: format!("stream of {} bytes", read + written),
        threads: 256,
        registers: 32,
        shared_bytes: 0,
        cluster: 1,
        grid: u32::try_from(ctas).unwrap_or(1),
        items,
        tensors,
        barriers: vec![Barrier { arrivals: 1, credits: u32::from(read == 0) }],
        roles: vec![Role { warps: 8, ops }],
        pipelined: false,
    }
}
