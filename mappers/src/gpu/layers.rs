//! Operators of a framework as kernels, and a decoder step as the launches of its operators.

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::{CacheState, Gpu, GpuError};

use super::gemm::Gemm;
use super::rows::{ElementWork, Elementwise, RowKernel, elementwise, engine_copy, in_bursts, row_kernel};
use super::select::{self, Found};
use banksia_hw::gpu::sampling::{Detail, LaunchTotals, simulate, simulate_steps};

/// Elements of a CTA of PyTorch's vectorised elementwise kernels: 128 threads of 8 (counters.csv: grid and block).
const PER_CTA: u32 = 1024;

fn elementwise_of(elements: u64, inputs: u32, work: ElementWork) -> Kernel {
    elementwise(&Elementwise { elements, inputs, element_bytes: 2, per_cta: PER_CTA, threads: 128, work })
}

/// From so many bytes on, a memory copy in a graph is done by copy engines: the framework's copies of 256 MiB and less move
/// 4.1 TB/s, those of 512 MiB and more 2.7, in replays of a graph on an H200.
const ENGINES_FROM: u64 = 512 << 20;

/// A copy of so many bytes on the device.
pub fn copy_bytes(bytes: u64) -> Kernel {
    if bytes >= ENGINES_FROM {
        return engine_copy(bytes);
    }
    elementwise_of(bytes / 2, 1, ElementWork { fma: 0.0, alu: 1.0, sfu: 0.0, other: 1.0, stall: 2.5 })
}

/// PyTorch's kernel for an operator over `rows` x `columns` of 16-bit numbers, if it is one of those modelled.
///
/// Lane operations per element and per row, and the cycles that an instruction waits for those before it (fixed latencies,
/// branches, shared memory), are those of the kernels' profiles (`tests/reference/gpu/device_profiles.csv`): they are part of
/// the program, as its tile is.
pub fn row_operator(op: &str, rows: u32, columns: u32) -> Option<Kernel> {
    let elements = u64::from(rows) * u64::from(columns);
    let e = |fma, alu, sfu, other, stall| ElementWork { fma, alu, sfu, other, stall };
    let norm = |row_issue, weights, reduce_work, last_work| {
        row_kernel(&RowKernel {
            rows,
            columns,
            padded: columns,
            element_bytes: 2,
            rows_per_cta: 1,
            threads: 128,
            registers: 32,
            // Four elements a thread and turn.
            chunk: 512,
            passes: 2,
            keeps: false,
            weights,
            across_warps: true,
            row_issue,
            turn_latency_cycles: 0.0,
            reduce_work,
            last_work,
        })
    };
    match op {
        // Its compares and selects are in bursts. The profile: schedulers issue in 72 % of the cycles though ten warps of each
        // compute on average and no pipe is busier than 62 %; while they issue 6.4 more warps are ready, and 4.0 wait for a pipe.
        "gelu" => Some(in_bursts(elementwise_of(elements, 1, e(14.5, 13.0, 1.0, 1.6, 2.5)))),
        "add" | "mul" => {
            // Both inputs' vectors stay in registers: 34 and 40 of a thread, 48 warps of an SM (counters.csv).
            let kernel = elementwise_of(elements, 2, e(3.25, 2.0, 0.0, 2.1, 2.5));
            Some(Kernel { registers: 40, ..kernel })
        }
        // Welford's running mean and variance, then scale and shift. Instructions of a row are those that counters.csv has at
        // no column, less the reduction's.
        "layernorm" => Some(norm(1103.0, 2, e(9.0, 5.2, 1.0, 4.3, 3.8), e(4.7, 2.7, 0.0, 2.6, 3.8))),
        // Of `l1tex__t_bytes` in counters.csv, seven times the row's bytes, four are the scale's: its kernel loads 16 bits a lane.
        "rmsnorm" => Some(norm(442.0, 1, e(3.1, 1.5, 0.0, 1.2, 3.6), e(3.1, 1.5, 0.0, 1.35, 3.6))),
        "softmax" if columns <= 2048 => Some(row_kernel(&RowKernel {
            // A warp keeps a row in registers, padded to a power of two.
            rows,
            columns,
            padded: columns.next_power_of_two().max(32),
            element_bytes: 2,
            rows_per_cta: 4,
            threads: 128,
            registers: if columns > 1024 { 80 } else { 48 },
            // Each load of 32 elements is predicated by its column. Of seven predicate registers one says whether there is a
            // row: compiled, the loads of six steps are under way before the first is waited for (five to six in SASS).
            chunk: 6 * 32,
            passes: 3,
            keeps: true,
            weights: 0,
            across_warps: false,
            row_issue: 335.0,
            turn_latency_cycles: 0.0,
            reduce_work: e(3.6, 2.1, 0.75, 3.2, 4.2),
            last_work: e(3.6, 2.1, 0.75, 3.2, 4.2),
        })),
        "softmax" => Some(row_kernel(&RowKernel {
            rows,
            columns,
            padded: columns,
            element_bytes: 2,
            rows_per_cta: 1,
            threads: 1024,
            registers: 32,
            chunk: 8192,
            passes: 3,
            keeps: true,
            weights: 0,
            across_warps: true,
            row_issue: 5490.0,
            turn_latency_cycles: 0.0,
            reduce_work: e(5.7, 3.0, 1.3, 2.2, 3.9),
            last_work: e(5.7, 3.0, 1.3, 2.2, 3.9),
        })),
        _ => None,
    }
}

/// One decode step of a GPT in plain operators, each a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeStep {
    /// Sequences.
    pub batch: u32,
    /// Width of the model.
    pub width: u32,
    /// Heads.
    pub heads: u32,
    /// Keys of each sequence.
    pub keys: u32,
    /// Layers.
    pub layers: u32,
    /// Words that the last product ranks.
    pub vocabulary: u32,
}

/// Simulates a step: one layer, repeated, and the last product. Activations are found in L2, weights and the cache of
/// keys and values are not.
///
/// # Errors
/// The machine cannot run one of the kernels.
pub fn decode_step(gpu: &mut Gpu, s: &DecodeStep, detail: Detail) -> Result<LaunchTotals, GpuError> {
    let head = if s.width.is_multiple_of(s.heads.max(1)) { s.width / s.heads.max(1) } else { 64 };
    let inner = head * s.heads;
    let mut layer = LaunchTotals::default();
    let product = |gpu: &mut Gpu, sum: &mut LaunchTotals, n: u32, k: u32, times: u32| -> Result<(), GpuError> {
        let found = Found { a: true, b: false, c: false };
        let (_, o) = select::gemm(&mut Simulation { gpu, detail }, &Gemm::new(s.batch, n, k, Dtype::Bf16), found, 2)?;
        (0..times).for_each(|_| sum.join(&o));
        Ok(())
    };
    let warm = |k: Kernel| {
        let tensors = (0..k.tensors.len()).map(|t| (t, t + 1 == k.tensors.len())).collect();
        (k, CacheState::Resident { tensors, dirty: 0.1 })
    };
    let mut small = Vec::new();
    for _ in 0..2 {
        small.extend(row_operator("layernorm", s.batch, s.width).map(warm));
        small.push(warm(elementwise_of(
            u64::from(s.batch * s.width),
            2,
            ElementWork { fma: 3.25, alu: 2.0, sfu: 0.0, other: 2.1, stall: 2.5 },
        )));
    }
    small.extend(row_operator("gelu", s.batch, 4 * s.width).map(warm));
    small.extend(row_operator("softmax", s.batch * s.heads, s.keys).map(warm));
    layer.join(&simulate_steps(gpu, &small, detail, f64::INFINITY)?);
    product(gpu, &mut layer, 3 * inner, s.width, 1)?;
    product(gpu, &mut layer, s.width, inner, 1)?;
    product(gpu, &mut layer, 4 * s.width, s.width, 1)?;
    product(gpu, &mut layer, s.width, 4 * s.width, 1)?;
    for (n, k) in [(s.keys, head), (head, s.keys)] {
        let g = Gemm { batch: s.batch * s.heads, ..Gemm::new(1, n, k, Dtype::Bf16) };
        let (_, o) = select::gemm(&mut Simulation { gpu, detail }, &g, Found { a: true, b: false, c: false }, 1)?;
        layer.join(&o);
    }
    let mut step = LaunchTotals::default();
    (0..s.layers).for_each(|_| step.join(&layer));
    product(gpu, &mut step, s.vocabulary, s.width, 1)?;
    if let Some(k) = row_operator("layernorm", s.batch, s.width) {
        let (k, cache) = warm(k);
        step.add(&simulate(gpu, &k, &cache, detail)?);
    }
    Ok(step)
}
