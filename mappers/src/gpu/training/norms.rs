//! Gradients of norms as PyTorch computes them: a CTA a row for the input, and a CTA 32 columns for gain and shift.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use crate::gpu::fused::program::{Grid, Plain, each, load, load_l1, matrix, part, set_up, shared_part, store};
use crate::gpu::reduction;

/// Instructions of a row beside those of its elements: two block sums, one after the other, and set-up (assumed; the forward pass, with one, has 1103, `counters.csv`).
const ROW_ISSUE: f64 = 800.0;

/// The gradient of a norm's input (`layer_norm_grad_input_kernel_vectorized`): 128 threads a row, which they read twice: once for two sums, once
/// for the result. Tensors: gradient, input, gain, mean and deviation, output.
pub fn input_gradient(rows: u64, columns: u64, mean: bool) -> Kernel {
    let row_bytes = 2 * columns.max(1);
    let chunk = (128 * 8 * 2).min(row_bytes);
    let turns = row_bytes.div_ceil(chunk).max(1);
    let x = |tensor| Tile { byte: Expr::default().plus_loop(0, chunk as i64), ..part(tensor, 0, 0, chunk) };
    let gain = Tile { row: Expr::default(), ..x(2) };
    let n = columns as f64 / turns as f64;
    let loop_over = Op::Loop(Trips::Const(turns.min(1 << 24) as u32));
    let (sums, last) = if mean { (4.0, 4.0) } else { (3.0, 3.5) };
    let beside = VectorWork { issue: ROW_ISSUE, alu: ROW_ISSUE * 8.0, fma: ROW_ISSUE * 14.0, ..VectorWork::default() };
    let ops = vec![
        set_up(4, 60.0),
        Op::Vector(beside),
        load_l1(shared_part(3, 0, 0, 8), 1),
        Op::Wait(1),
        loop_over,
        load_l1(x(0), 0),
        load_l1(x(1), 0),
        load_l1(gain, 0),
        Op::Wait(0),
        each(n, sums, 3.5, 0.0, 3.0),
        Op::End,
        Op::Vector(reduction(4)),
        Op::Sync,
        Op::Sync,
        loop_over,
        load_l1(x(0), 0),
        load_l1(x(1), 0),
        load_l1(gain, 0),
        Op::Wait(0),
        each(n, last, 3.5, 0.0, 3.0),
        store(x(4)),
        Op::End,
    ];
    let whole = matrix(rows, row_bytes, chunk);
    Plain {
        name: format!("norm input gradient {rows}x{columns}"),
        grid: Grid { x: rows, y: 1 },
        warps: 4,
        registers: 40,
        shared_bytes: 64,
        tensors: vec![whole, whole, matrix(1, row_bytes, chunk), matrix(1, 8 * rows, 256), whole],
        arrivals: vec![3, 1],
        ops,
    }
    .kernel()
}

/// Rows that a CTA of `GammaBetaBackwardCUDAKernelTemplate` takes at once: eight for each of its 32 warps.
const ROWS: u64 = 256;

/// Gradients of gain and shift: a CTA of 32 warps has 32 columns and goes through all rows, 256 at a time. A few CTAs have the whole matrix to read, so it is the
/// wait for each 256 rows that takes the time. Tensors: gradient, input, means and deviations, results.
pub fn parameter_gradient(rows: u64, columns: u64, shift: bool) -> Kernel {
    let turns = rows.div_ceil(ROWS).max(1);
    let block = |tensor| Tile {
        tensor,
        row: Expr::default().plus_loop(0, ROWS as i64),
        byte: Expr::work(0, 64),
        rows: ROWS as u32,
        bytes: 64,
    };
    let of_rows = Tile { byte: Expr::default().plus_loop(0, (8 * ROWS) as i64), ..shared_part(2, 0, 0, 8 * ROWS) };
    let n = (ROWS * 32) as f64;
    let ops = vec![
        set_up(32, 40.0),
        Op::Loop(Trips::Const(turns.min(1 << 24) as u32)),
        load(of_rows, 0),
        load(block(0), 0),
        load(block(1), 0),
        Op::Wait(0),
        // Two numbers of a row go from lane to lane; a difference, two products, two sums, conversions and places.
        each(n, 4.0, 4.0, 0.0, 6.0),
        Op::End,
        Op::Vector(VectorWork { shared_bytes: 8192.0, ..reduction(32) }),
        Op::Sync,
        Op::Sync,
        store(Tile { row: Expr::default(), byte: Expr::work(0, 64), rows: 2, ..part(3, 0, 0, 64) }),
    ];
    let whole = matrix(rows, 2 * columns.max(1), 64);
    Plain {
        name: format!("norm parameter gradients {rows}x{columns}"),
        grid: Grid { x: columns.div_ceil(32).max(1), y: 1 },
        warps: 32,
        registers: 40,
        shared_bytes: 8448,
        tensors: vec![whole, whole, matrix(1, 8 * rows, 2048), matrix(if shift { 2 } else { 1 }, 2 * columns, 64)],
        arrivals: vec![3],
        ops,
    }
    .kernel()
}

/// Warps of a Triton kernel over a padded row (`min(max(BLOCK_N // 256, 1), 8)`).
fn row_warps(columns: u64) -> u64 {
    (columns.max(1).next_power_of_two() / 256).clamp(1, 8)
}

/// Programs of [`gated_gradient`]: as many as give every SM four warps.
pub fn gated_programs(columns: u64, spec: &GpuSpec) -> u64 {
    u64::from(spec.sms()) * 4u64.div_ceil(row_warps(columns))
}

/// Gradients of a gated RMS norm (`_layer_norm_bwd_kernel` of mamba_ssm): programs go through rows one after the other, a whole row in registers, and leave the gain's sums of their own. Tensors: gradient,
/// input, gate, gain, gradients of input and of gate, sums.
pub fn gated_gradient(rows: u64, columns: u64, spec: &GpuSpec) -> Kernel {
    let (warps, programs) = (row_warps(columns), gated_programs(columns, spec).min(rows.max(1)));
    let (row_bytes, turns) = (2 * columns.max(1), rows.div_ceil(programs).max(1));
    // Lanes beyond the row run along.
    let n = columns.max(1).next_power_of_two() as f64;
    let row = |tensor: u8| Tile {
        tensor,
        row: Expr::work(0, i64::try_from(turns).unwrap_or(i64::MAX)).plus_loop(0, 1),
        byte: Expr::default(),
        rows: 1,
        bytes: u32::try_from(row_bytes).unwrap_or(u32::MAX),
    };
    let w = warps as u32;
    let ops = vec![
        set_up(w, 60.0),
        load_l1(shared_part(3, 0, 0, row_bytes), 1),
        Op::Wait(1),
        Op::Loop(Trips::Const(turns.min(1 << 24) as u32)),
        load(row(0), 0),
        load(row(1), 0),
        load(row(2), 0),
        Op::Wait(0),
        // SiLU of the gate and its derivative, the norm again, two products for sums, gradients of both, the gain's sum; conversions of five numbers.
        each(n, 20.0, 7.5, 2.0, 1.0),
        Op::Vector(reduction(w)),
        Op::Sync,
        store(row(4)),
        store(row(5)),
        Op::End,
        store(Tile { bytes: u32::try_from(2 * row_bytes).unwrap_or(u32::MAX), row: Expr::work(0, 1), ..row(6) }),
    ];
    let whole = matrix(rows, row_bytes, row_bytes);
    Plain {
        name: format!("gated norm gradient {rows}x{columns}"),
        grid: Grid { x: programs, y: 1 },
        warps: w,
        registers: 128,
        shared_bytes: 64,
        tensors: vec![
            whole,
            whole,
            whole,
            matrix(1, row_bytes, row_bytes),
            whole,
            whole,
            matrix(programs, 2 * row_bytes, 2 * row_bytes),
        ],
        arrivals: vec![3, 1],
        ops,
    }
    .kernel()
}
