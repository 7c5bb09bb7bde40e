//! `histc` of few bins.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, VectorWork};

use super::signed;
use crate::gpu::fused::program::{Grid, Plain, load, matrix, part, set_up, shared_part};
use crate::gpu::{PLAIN_REGISTERS, lanes};

/// Threads of a CTA, an element each (`kernelHistogram1D`).
const THREADS: u64 = 512;
/// Cycles of one turn of the loop in which a lane adds to a number of shared memory: read, add, compare and swap.
const SWAP_CYCLES: f64 = 60.0;

/// Counts of `elements` numbers of four bytes in `bins`, in shared memory and then added up in L2. Tensors: input, counts.
pub fn histogram(elements: u64, bins: u64) -> Kernel {
    let (elements, bins) = (elements.max(1), bins.clamp(1, 4096));
    let input = Tile { row: Expr::default(), byte: Expr::work(0, signed(THREADS * 4)), ..part(0, 0, 0, THREADS * 4) };
    let counts = shared_part(1, 0, 0, bins * 4);
    // Lanes of a warp that hit the same bin take turns: with b bins the fullest has about 32 / b of them and a few more.
    let turns = (32.0 / bins as f64).max(1.0) + 2.0;
    let add =
        VectorWork { latency_cycles: turns * SWAP_CYCLES, ..lanes(THREADS as f64, 4.0, 8.0 + 6.0 * turns, 0.0, 10.0) };
    let ops = vec![
        set_up(16, 60.0),
        Op::Sync,
        load(input, 0),
        Op::Wait(0),
        Op::Vector(add),
        Op::Sync,
        Op::Store { tile: counts, reduce: true },
    ];
    Plain {
        name: format!("histogram of {elements} in {bins}"),
        grid: Grid { x: elements.div_ceil(THREADS), y: 1 },
        warps: (THREADS / 32) as u32,
        registers: PLAIN_REGISTERS + 8,
        shared_bytes: (bins * 4 + 8) as u32,
        tensors: vec![matrix(1, elements * 4, THREADS * 4), matrix(1, bins * 4, 256)],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}
