//! Cumulative sums.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tensor, Tile, Trips, VectorWork};

use super::{signed, turns};
use crate::gpu::fused::fill;
use crate::gpu::fused::program::{Grid, Plain, load, matrix, part, set_up, store};
use crate::gpu::{PLAIN_REGISTERS, lanes};

/// Cumulative sums along rows of numbers of four bytes. Tensors of each: input, output (of the first kernel of a single row: its states).
pub fn cumulative_sum(rows: u64, columns: u64) -> Vec<Kernel> {
    if rows <= 1 { device_scan(columns) } else { vec![inner(rows, columns)] }
}

/// Threads of a CTA of CUB's scan, and elements of a thread.
const CUB: (u64, u64) = (128, 15);

/// One row, by CUB: states are set, then tiles of 1920 elements are summed, each after it has seen the one before.
fn device_scan(columns: u64) -> Vec<Kernel> {
    let columns = columns.max(1);
    let tile = CUB.0 * CUB.1;
    let tiles = columns.div_ceil(tile);
    let bytes = tile * 4;
    let of = |tensor| Tile { row: Expr::default(), byte: Expr::work(0, signed(bytes)), ..part(tensor, 0, 0, bytes) };
    let state = Tile { row: Expr::default(), byte: Expr::work(0, 16), ..part(2, 0, 0, 16) };
    let n = tile.min(columns) as f64;
    let sums = VectorWork { stall: 3.0, latency_cycles: 500.0, shared_bytes: n * 16.0, ..lanes(n, 3.0, 2.0, 0.0, 4.0) };
    let mut ops = vec![set_up(4, 40.0), load(of(0), 0), Op::Wait(0), Op::Vector(sums), Op::Sync, Op::Sync];
    if tiles > 1 {
        ops.extend([store(state), Op::StoreWait, load(state, 0), Op::Wait(0), Op::Sync]);
    }
    ops.push(store(of(1)));
    let row = matrix(1, columns * 4, bytes);
    let scan = Plain {
        name: format!("scan of {columns}"),
        grid: Grid { x: tiles, y: 1 },
        warps: (CUB.0 / 32) as u32,
        registers: 48,
        shared_bytes: 7696,
        tensors: vec![row, row, matrix(1, tiles * 16, 64)],
        arrivals: vec![1],
        ops,
    };
    vec![fill(tiles + 32, 8), scan.kernel()]
}

/// Threads along a row, and rows of a CTA: 512 threads in the ratio of rows to columns (`get_log_num_threads_x_inner_scan`).
fn block(rows: u64, columns: u64) -> (u64, u64) {
    let log = |n: u64| i64::from(n.max(1).next_power_of_two().ilog2());
    let along = ((9 + log(columns) - log(rows)).div_euclid(2)).clamp(4, 9);
    (1 << along, 512 >> along)
}

/// Wavefronts of shared memory of a level of the tree, on average: two reads and a write of each warp that has work, at distances of powers of two. Rows of up to 32
/// threads lie in the same banks and keep all warps at work; in longer ones fewer warps have work at a level as more of their lanes meet.
fn wavefronts(along: u64) -> f64 {
    let levels = along.ilog2() + 1;
    let of = |level: u32| {
        let (warps, lanes) = if along <= 32 {
            (16.0, 2.0)
        } else {
            let threads = (along >> level).max(1);
            (threads.div_ceil(32) as f64, threads.min(1 << (level + 1).min(5)) as f64)
        };
        3.0 * warps * lanes
    };
    (0..levels).map(of).sum::<f64>() / f64::from(levels)
}

/// Many rows: a CTA goes along its rows, two elements a thread and turn, and sums each turn by a tree up and a tree down in shared memory,
/// with a barrier after every level (`tensor_kernel_scan_innermost_dim`).
fn inner(rows: u64, columns: u64) -> Kernel {
    let (rows, columns) = (rows.max(1), columns.max(1));
    let (along, together) = block(rows, columns);
    let chunk = along * 2;
    let tile = |tensor| Tile {
        row: Expr::work(0, signed(together)),
        byte: Expr::default().plus_loop(0, signed(chunk * 4)),
        rows: together as u32,
        ..part(tensor, 0, 0, chunk * 4)
    };
    // Levels up and down; every level is a barrier, a pair of reads of shared memory, a sum and a write.
    let levels = 2 * (u64::from(along.ilog2()) + 1);
    let level = VectorWork {
        issue: 16.0 * 14.5,
        alu: 16.0 * 8.0 * 32.0,
        shared_bytes: 128.0 * wavefronts(along),
        latency_cycles: 29.0 + 20.0,
        ..VectorWork::default()
    };
    let ops = vec![
        set_up(16, 60.0),
        Op::Loop(Trips::Const(turns(columns.div_ceil(chunk)))),
        load(tile(0), 0),
        Op::Wait(0),
        Op::Sync,
        Op::Loop(Trips::Const(turns(levels))),
        Op::Vector(level),
        Op::Sync,
        Op::End,
        store(tile(1)),
        Op::Sync,
        Op::End,
    ];
    let piece = (chunk * 4).clamp(32, 1 << 12) as u32;
    let tensor = Tensor::matrix(rows, columns * 4, together as u32, piece);
    Plain {
        name: format!("cumulative sums of {rows}x{columns}"),
        grid: Grid { x: rows.div_ceil(together), y: 1 },
        warps: 16,
        registers: PLAIN_REGISTERS,
        shared_bytes: 4096,
        tensors: vec![tensor, tensor],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}
