//! Gradients of norms as PyTorch computes them: a CTA a row for the input, and a CTA 32 columns for gain and shift.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips, VectorWork};

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
