//! Operators of a framework as kernels.

use banksia_hw::gpu::program::Kernel;

use super::rows::{ElementWork, Elementwise, RowKernel, elementwise, engine_copy, in_bursts, row_kernel};

/// Elements of a CTA of PyTorch's vectorised elementwise kernels: 128 threads of 8 (counters.csv: grid and block).
const PER_CTA: u32 = 1024;

fn elementwise_of(elements: u64, inputs: u32, work: ElementWork) -> Kernel {
    elementwise(&Elementwise { elements, inputs, element_bytes: 2, per_cta: PER_CTA, threads: 128, work })
}

/// From so many bytes on, a memory copy in a graph is done by copy engines: the framework's copies of 256 MiB and less move
/// 4.1 TB/s, those of 512 MiB and more 2.7, in replays of a graph on an H200.
pub(crate) const ENGINES_FROM: u64 = 512 << 20;

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
        // Two products and two sums in pairs, and the angle's sine and cosine from a table.
        "rotary" => Some(elementwise_of(elements, 2, e(2.0, 3.0, 0.0, 3.0, 2.5))),
        // Exponential, sum, reciprocal and product, between the conversions that the sum of two has.
        "silu" => Some(elementwise_of(elements, 1, e(4.0, 2.0, 2.0, 2.1, 2.5))),
        "relu" => Some(elementwise_of(elements, 1, e(1.0, 2.0, 0.0, 2.1, 2.5))),
        "relu2" => Some(elementwise_of(elements, 1, e(2.0, 2.0, 0.0, 2.1, 2.5))),
        "tanh" | "sigmoid" | "softplus" => Some(elementwise_of(elements, 1, e(3.0, 2.0, 2.0, 2.1, 2.5))),
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
