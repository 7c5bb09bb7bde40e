//! `_weight_int4pack_mm` of PyTorch: 16-bit activations with four-bit weights, converted in registers.

use banksia_hw::gpu::program::{Dtype, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork};

use super::signed;
use crate::gpu::copy;
use crate::gpu::fused::program::{Grid, Plain, set_up};

/// Rows and columns of a CTA, its warps, and depth of a warp's turn: eight tiles of 16 (`tinygemm_m16n8k16_chunk_kernel`,
/// `BLayout_TC_int4<8, group>`, in `aten/src/ATen/native/cuda/int4mm.cu`).
const ROWS: u64 = 16;
const COLUMNS: u64 = 8;
const WARPS: u64 = 8;
const DEPTH: u64 = 128;
/// Instructions of a warp for a tile of 16 x 8 x 16: 783 of a warp at a depth of 4096, by counters.
const PER_TILE: f64 = 24.0;
/// Bytes of a wavefront of L1.
const WAVEFRONT: f64 = 128.0;

/// Activations `[m, k]` in 16 bits with weights `[n, k]` of four bits, a scale and a zero of 16 bits for each group of depth. Tensors: activations, weights (as tiles: `n / 8` rows of `4 k`
/// bytes), scales and zeros `[k / group, n]`, output.
///
/// A CTA has 16 rows and 8 columns, its eight warps share the depth and add up in shared memory. Activations are loaded four bytes a lane straight into the layout of
/// `mma.m16n8k16`: each load touches eight rows, which L1 looks up one after another, and that bounds the kernel.
pub fn tinygemm(m: u64, n: u64, k: u64, group: u64) -> Kernel {
    let (m, n, k, group) = (m.max(1), n.max(1), k.max(1), group.max(1));
    let step = WARPS * DEPTH;
    let turns = u32::try_from(k.div_ceil(step)).unwrap_or(u32::MAX);
    let depth = step.min(k);
    // Item: tile of columns, tile of rows.
    let weights = Tile {
        tensor: 1,
        row: Expr::work(0, 1),
        byte: Expr::default().plus_loop(0, signed(step * COLUMNS / 2)),
        rows: 1,
        bytes: (depth * COLUMNS / 2) as u32,
    };
    let rows = ROWS.min(m);
    let activations = Tile {
        tensor: 0,
        row: Expr::work(1, signed(ROWS)),
        byte: Expr::default().plus_loop(0, signed(step * 2)),
        rows: rows as u32,
        bytes: (depth * 2) as u32,
    };
    let groups = (depth / group).max(1);
    let scales = Tile {
        tensor: 2,
        row: Expr::default().plus_loop(0, signed((step / group).max(1))),
        byte: Expr::work(0, signed(COLUMNS * 4)),
        rows: groups as u32,
        bytes: (COLUMNS * 4) as u32,
    };
    let output = Tile {
        tensor: 3,
        row: Expr::work(1, signed(ROWS)),
        byte: Expr::work(0, signed(COLUMNS * 2)),
        rows: rows as u32,
        bytes: (COLUMNS * 2) as u32,
    };
    let tiles = depth.div_ceil(16) as f64;
    // Two loads of each half of the rows for a tile, each of them a lookup a row; the copy above has the way out of L1 in it once.
    let lookups = 2.0 * rows as f64 * tiles;
    let gather = VectorWork {
        issue: 4.0 * tiles,
        shared_bytes: (lookups * WAVEFRONT - (rows * depth * 2) as f64).max(0.0),
        ..VectorWork::default()
    };
    let convert = VectorWork {
        issue: (PER_TILE - 5.0) * tiles,
        fma: 4.0 * 32.0 * tiles,
        alu: 8.0 * 32.0 * tiles,
        stall: 2.0,
        ..VectorWork::default()
    };
    let product = Op::Mma { dtype: Dtype::Bf16, m: ROWS as u32, n: COLUMNS as u32, k: depth as u32, sync: true };
    let sum =
        VectorWork { issue: 8.0 * 40.0, shared_bytes: 8.0 * 1024.0, latency_cycles: 120.0, ..VectorWork::default() };
    let ops = vec![
        set_up(WARPS as u32, 60.0),
        Op::Loop(Trips::Const(turns.max(1))),
        copy(weights, Path::Load, 0),
        copy(scales, Path::LoadL1, 0),
        copy(activations, Path::LoadL1, 1),
        Op::Wait(1),
        Op::Vector(gather),
        Op::Wait(0),
        Op::Vector(convert),
        product,
        Op::MmaWait(0),
        Op::End,
        Op::Vector(sum),
        Op::Sync,
        Op::Store { tile: output, reduce: false },
    ];
    Plain {
        name: format!("tinygemm {m}x{n}x{k}"),
        grid: Grid { x: n.div_ceil(COLUMNS), y: m.div_ceil(ROWS) },
        warps: WARPS as u32,
        registers: 64,
        shared_bytes: 4096,
        tensors: vec![
            Tensor::matrix(m, k * 2, rows as u32, (depth * 2).next_power_of_two().clamp(32, 2048) as u32),
            Tensor::matrix(n.div_ceil(COLUMNS), (k * COLUMNS / 2).max(1), 1, 4096),
            Tensor::matrix(k.div_ceil(group), n * 4, groups as u32, 32),
            Tensor::matrix(m, n * 2, rows as u32, 32),
        ],
        arrivals: vec![2, 1],
        ops,
    }
    .kernel()
}
