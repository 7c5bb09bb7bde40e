//! Reductions over rows as PyTorch's `reduce_kernel` does them: sums and the place of the largest.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips, VectorWork};

use super::program::{Grid, Plain, load, matrix, part, set_up, store};
use super::torch::memset;
use crate::gpu::{PLAIN_REGISTERS, lanes};

/// What is found of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The place of the largest (greedy decoding).
    ArgMax,
}

impl Reduction {
    /// Lane operations of an element (FMA, integer, others), and cycles that a warp waits after an instruction.
    ///
    /// Of the largest's place: value and place of 64 bits are kept or taken, after tests for NaN of both, for order and, where equal, for
    /// the lower place, each with a branch: 20 integer instructions and as many others. A CTA of 16 warps alone on an SM takes 17 cycles
    /// for 32 elements, two take 12 (`reduce_kernel` over vocabularies, one H200): 40 instructions, a warp waiting three cycles after each as in the profiles of other row kernels, and its load.
    fn work(self) -> ([f64; 3], f64) {
        match self {
            Self::Sum => ([1.0, 1.5, 1.0], 2.5),
            Self::ArgMax => ([0.0, 20.0, 20.0], 3.0),
        }
    }
}

/// Threads of a CTA at most, for 16 bits.
const MOST_THREADS: u64 = 512;
/// Elements a thread from which a row is shared out among CTAs, and how many each thread then has at least.
const SHARED_OUT_FROM: u64 = 256;
const SHARED_OUT_LEAST: u64 = 16;
/// Elements of a vector that a thread loads at once.
const VECTOR: u64 = 4;

/// A place a thread of a block, in powers of two: PyTorch's `setReduceConfig` with the reduced dimension innermost.
fn block(columns: u64, rows: u64) -> (u64, u64) {
    let power = |n: u64| if n == 0 { 1 } else { 1 << n.ilog2() };
    let (columns, rows) = (power(columns).min(MOST_THREADS), power(rows).min(MOST_THREADS));
    let width = columns.min(32);
    let height = rows.min(MOST_THREADS / width);
    (columns.min(MOST_THREADS / height), height)
}

/// A reduction of rows, `[rows, columns]` of so many bytes each, to one number each. Tensors of the last kernel: input, output; where rows are shared out among CTAs
/// a memory set of their counters comes before.
pub fn reduce_rows(reduction: Reduction, rows: u64, columns: u64, element_bytes: u32, out_bytes: u32) -> Vec<Kernel> {
    let (rows, columns) = (rows.max(1), columns.max(1));
    let (width, height) = block(columns, rows);
    let mut per_thread = columns.div_ceil(width);
    // The block's second dimension shares the row out, too, where threads have enough to do.
    let along = per_thread >= height * SHARED_OUT_LEAST || per_thread >= SHARED_OUT_FROM;
    if along {
        per_thread = per_thread.div_ceil(height);
    }
    let rows_per_cta = if along { 1 } else { height };
    let parts = if along && per_thread >= SHARED_OUT_FROM { per_thread.div_ceil(SHARED_OUT_LEAST) } else { 1 };
    let per_part = columns.div_ceil(parts);
    let threads = width * height;
    // What all of a CTA's threads load at once.
    let reach = if along { threads } else { width };
    let chunk = (reach * VECTOR).min(per_part).max(1);
    let turns = per_part.div_ceil(chunk).clamp(1, 1 << 24) as u32;
    let e = u64::from(element_bytes);
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let input = Tile {
        row: Expr::work(0, signed(rows_per_cta)),
        byte: Expr::work(1, signed(per_part * e)).plus_loop(0, signed(chunk * e)),
        rows: rows_per_cta as u32,
        ..part(0, 0, 0, chunk * e)
    };
    let output = Tile {
        row: Expr::default(),
        byte: Expr::work(0, signed(rows_per_cta * u64::from(out_bytes))),
        ..part(1, 0, 0, rows_per_cta * u64::from(out_bytes))
    };
    let warps = threads.div_ceil(32) as u32;
    let ([fma, alu, other], stall) = reduction.work();
    // Lanes of rows that are shorter than a warp idle.
    let lanes_run = (chunk.div_ceil(VECTOR).next_multiple_of(32.min(reach)) * VECTOR * rows_per_cta) as f64;
    let work = VectorWork { stall, ..lanes(lanes_run.max(32.0), fma, alu, 0.0, other) };
    // Halves of the block through shared memory, then shuffles: a step of each takes a round of the element's instructions.
    let steps = f64::from((threads.max(2)).ilog2());
    let join = VectorWork {
        issue: f64::from(warps) * steps * (alu + fma + other + 6.0),
        latency_cycles: steps * 60.0 + (alu + fma + other) * (1.0 + stall) * steps / 2.0,
        ..VectorWork::default()
    };
    let mut ops = vec![
        set_up(warps, 120.0),
        Op::Loop(Trips::Const(turns)),
        load(input, 0),
        Op::Wait(0),
        Op::Vector(work),
        Op::End,
        Op::Vector(join),
        Op::Sync,
        Op::Sync,
    ];
    let mut kernels = Vec::new();
    if parts > 1 {
        // Partial results go to memory, a counter says who is last, and that CTA reads them all: three trips to L2, one after another, and the
        // join once more. All CTAs are taken to be the last one.
        let partial = |store: bool| {
            let tile = Tile { tensor: 2, row: Expr::default(), ..part(2, 0, 0, parts * 16) };
            if store {
                Op::Store { tile: Tile { byte: Expr::work(1, 16), bytes: 16, ..tile }, reduce: false }
            } else {
                load(tile, 0)
            }
        };
        let counter = Tile { byte: Expr::work(0, 4), ..part(3, 0, 0, 4) };
        ops.extend([
            partial(true),
            Op::StoreWait,
            Op::Store { tile: Tile { row: Expr::default(), ..counter }, reduce: true },
        ]);
        ops.extend([Op::StoreWait, Op::Sync, partial(false), Op::Wait(0), Op::Vector(join), Op::Sync, Op::Sync]);
        kernels.push(memset(rows * 4));
    }
    ops.push(store(output));
    let mut tensors =
        vec![matrix(rows, columns * e, (chunk * e).min(1 << 14)), matrix(1, rows * u64::from(out_bytes), 32)];
    if parts > 1 {
        tensors.extend([matrix(1, parts * 16, 256), matrix(1, rows * 4, 32)]);
    }
    let name = if reduction == Reduction::Sum { "sum" } else { "place of the largest" };
    kernels.push(
        Plain {
            name: format!("{name} of {rows}x{columns}"),
            grid: Grid { x: rows.div_ceil(rows_per_cta), y: parts },
            warps,
            registers: PLAIN_REGISTERS,
            shared_bytes: (threads * 8).max(16) as u32,
            tensors,
            arrivals: vec![1],
            ops,
        }
        .kernel(),
    );
    kernels
}
