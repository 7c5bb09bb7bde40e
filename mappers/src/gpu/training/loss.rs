//! Cross entropy as PyTorch has it: the logarithm of softmax over whole rows, the mean of the targets' by one CTA, and the way back.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips};

use crate::gpu::fused::program::{Grid, Plain, each, load, load_l1, matrix, part, set_up, store};
use crate::gpu::reduction;

/// A pass over a row by all threads of its CTA, eight elements of 16 bits each a turn.
struct Row {
    chunk: u64,
    turns: u32,
    elements: f64,
}

impl Row {
    fn of(columns: u64, threads: u64) -> Self {
        let row_bytes = 2 * columns.max(1);
        let chunk = (threads * 16).min(row_bytes);
        let turns = row_bytes.div_ceil(chunk).max(1);
        Self { chunk, turns: turns.min(1 << 24) as u32, elements: columns as f64 / turns as f64 }
    }

    fn tile(&self, tensor: u8) -> Tile {
        Tile { byte: Expr::default().plus_loop(0, self.chunk as i64), ..part(tensor, 0, 0, self.chunk) }
    }

    fn begin(&self) -> Op {
        Op::Loop(Trips::Const(self.turns))
    }
}

/// `cunn_SoftMaxForward`: 1024 threads a row, which they read three times: for the largest, for the sum of exponentials, for the result. Tensors: input, output.
pub fn log_softmax(rows: u64, columns: u64) -> Kernel {
    let r = Row::of(columns, 1024);
    let pass = |work: Op, then: Option<Op>| {
        [r.begin(), load_l1(r.tile(0), 0), Op::Wait(0), work].into_iter().chain(then).chain([Op::End])
    };
    let join = [Op::Vector(reduction(32)), Op::Sync, Op::Sync];
    let mut ops = vec![set_up(32, 60.0)];
    ops.extend(pass(each(r.elements, 0.0, 2.0, 0.0, 1.0), None));
    ops.extend(join);
    ops.extend(pass(each(r.elements, 2.5, 1.5, 1.0, 1.0), None));
    ops.extend(join);
    ops.extend(pass(each(r.elements, 1.5, 2.0, 0.0, 1.0), Some(store(r.tile(1)))));
    let whole = matrix(rows, 2 * columns, r.chunk);
    Plain {
        name: format!("log softmax {rows}x{columns}"),
        grid: Grid { x: rows, y: 1 },
        warps: 32,
        registers: 32,
        shared_bytes: 128,
        tensors: vec![whole, whole],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}

/// `cunn_SoftMaxBackward`: 512 threads a row; the sum of gradients, then the result. Tensors: gradient, logarithms, output.
pub fn log_softmax_gradient(rows: u64, columns: u64) -> Kernel {
    let r = Row::of(columns, 512);
    let mut ops = vec![set_up(16, 60.0), r.begin(), load_l1(r.tile(0), 0), Op::Wait(0)];
    ops.extend([each(r.elements, 1.0, 1.5, 0.0, 1.0), Op::End, Op::Vector(reduction(16)), Op::Sync, Op::Sync]);
    ops.extend([r.begin(), load_l1(r.tile(0), 1), load_l1(r.tile(1), 1), Op::Wait(1)]);
    ops.extend([each(r.elements, 2.5, 3.0, 1.0, 1.5), store(r.tile(2)), Op::End]);
    let whole = matrix(rows, 2 * columns, r.chunk);
    Plain {
        name: format!("log softmax gradient {rows}x{columns}"),
        grid: Grid { x: rows, y: 1 },
        warps: 16,
        registers: 32,
        shared_bytes: 64,
        tensors: vec![whole, whole, whole],
        arrivals: vec![1, 2],
        ops,
    }
    .kernel()
}

/// Threads of the one CTA of the loss over targets: `nll_loss` takes 256 for up to 4096 rows and 512 beyond.
const fn threads(rows: u64) -> u64 {
    if rows <= 4096 { 256 } else { 512 }
}

/// `nll_loss_forward_reduce_cuda_kernel_2d`: one CTA goes through all rows, a target and then its logarithm a thread and turn; and its way back, which stores
/// instead (`gradient`). Tensors: logarithms or their gradients, targets.
pub fn targets(rows: u64, columns: u64, gradient: bool) -> Kernel {
    let threads = threads(rows);
    let turns = rows.div_ceil(threads).max(1);
    let target = Tile {
        row: Expr::default(),
        byte: Expr::default().plus_loop(0, (8 * threads) as i64),
        ..part(1, 0, 0, 8 * threads)
    };
    // A sector of each row.
    let picked = Tile {
        tensor: 0,
        row: Expr::default().plus_loop(0, threads as i64),
        byte: Expr::at(columns as i64),
        rows: threads as u32,
        bytes: 32,
    };
    let n = threads as f64;
    let mut ops = vec![set_up((threads / 32) as u32, 60.0), Op::Loop(Trips::Const(turns.min(1 << 24) as u32))];
    ops.extend([load(target, 0), Op::Wait(0)]);
    if gradient {
        ops.extend([each(n, 1.0, 12.0, 0.0, 8.0), store(picked)]);
    } else {
        ops.extend([load(picked, 1), Op::Wait(1), each(n, 2.0, 12.0, 0.0, 8.0)]);
    }
    ops.extend([Op::End, Op::Vector(reduction((threads / 32) as u32)), Op::Sync]);
    Plain {
        name: format!("{} of {rows} targets", if gradient { "gradient" } else { "mean" }),
        grid: Grid { x: 1, y: 1 },
        warps: (threads / 32) as u32,
        registers: 32,
        shared_bytes: 4096,
        tensors: vec![matrix(rows, 2 * columns, 32), matrix(1, 8 * rows, 256)],
        arrivals: vec![1, 1],
        ops,
    }
    .kernel()
}
