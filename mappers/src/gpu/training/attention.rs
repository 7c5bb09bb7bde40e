//! FlashAttention-2's backward pass as PyTorch compiles it: products of results with their gradients, the loop over queries for each block of keys, and the
//! conversion of the sums of queries' gradients.
//!
//! Tiles are those of `run_mha_bwd_hdim*` (Dao-AILab/flash-attention, version 2): rows, keys, and how eight warps lie over each of the five products.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use crate::gpu::attention::{Attention, Block, setup};
use crate::gpu::fused::program::{Grid, Plain, each, load, matrix, part, set_up, store};
use crate::gpu::{copy, one_role};

/// Warps of a CTA.
const WARPS: u32 = 8;
/// Numbers of a work item: row of the last block of queries, of the block of keys, blocks of queries, row of the gradients of keys.
const QROW: usize = 0;
const KROW: usize = 1;
const BLOCKS: usize = 2;
const OUT: usize = 3;

/// Rows of queries and keys of a tile, and warps along the rows of: scores and their gradients, gradients of keys and values, gradients of queries.
#[derive(Debug, Clone, Copy)]
struct BackwardTile {
    bm: u32,
    bn: u32,
    scores: u32,
    keys: u32,
    queries: u32,
}

/// By size of head, on a device with at least 144 KB of shared memory for a CTA; others have smaller ones.
fn tile(head_dim: u32, spec: &GpuSpec) -> BackwardTile {
    let large = spec.sm.shared_memory_per_cta_bytes >= 144 * 1024;
    let of = |bm, bn, scores, keys, queries| BackwardTile { bm, bn, scores, keys, queries };
    match (head_dim, large) {
        (0..=64, true) => of(128, 128, 4, 4, 4),
        (0..=64, false) | (65..=96, _) => of(64, 128, 2, 4, 4),
        (97..=128, true) => of(64, 128, 2, 4, 2),
        _ => of(64, 64, 4, 2, 2),
    }
}

/// Operands of the backward kernels, in the order of [`backward`]'s launches.
#[derive(Debug, Clone)]
pub struct BackwardKernels {
    /// Tensors: result's gradient, result, products of rows, sums of queries' gradients.
    pub products: Kernel,
    /// Tensors: queries, keys, values, result's gradient, sums of rows, products of rows, sums of queries' gradients, keys' gradient, values' gradient.
    pub main: Kernel,
    /// Tensors: sums of queries' gradients, queries' gradient.
    pub convert: Kernel,
}

/// The backward pass of an attention.
pub fn backward(a: &Attention, spec: &GpuSpec) -> BackwardKernels {
    let t = tile(a.padded(2).0, spec);
    BackwardKernels { products: products(a, t), main: main(a, t, spec), convert: convert(a, t) }
}

/// Rows of queries of all heads.
fn rows(a: &Attention) -> u64 {
    u64::from(a.batch) * u64::from(a.heads) * u64::from(a.queries)
}

fn blocks(a: &Attention, t: BackwardTile) -> u64 {
    u64::from(a.batch) * u64::from(a.heads) * u64::from(a.queries.div_ceil(t.bm))
}

/// `flash_bwd_dot_do_o_kernel`: reads results and their gradients, leaves a product a row, and zeroes the sums of queries' gradients.
fn products(a: &Attention, t: BackwardTile) -> Kernel {
    let (d, bm) = (u64::from(a.head_dim), u64::from(t.bm));
    let wide = u64::from(a.padded(2).0) * 4;
    let block =
        |tensor, bytes: u64| Tile { row: Expr::work(0, i64::from(t.bm)), rows: t.bm, ..part(tensor, 0, 0, bytes) };
    let n = (bm * d) as f64;
    let ops = vec![
        set_up(WARPS, 60.0),
        load(block(0, 2 * d), 0),
        load(block(1, 2 * d), 0),
        Op::Wait(0),
        // Conversions of both, a product and a sum an element; zeros are stored by themselves.
        each(n, 1.0, 1.5, 0.0, 1.0),
        Op::Vector(VectorWork { latency_cycles: 5.0 * 24.0, ..VectorWork::default() }),
        store(Tile {
            row: Expr::default(),
            ..Tile { byte: Expr::work(0, 4 * i64::from(t.bm)), rows: 1, ..block(2, 4 * bm) }
        }),
        store(block(3, wide)),
    ];
    let whole = |row_bytes: u64| Tensor { piece_rows: t.bm, ..matrix(rows(a), row_bytes, row_bytes) };
    Plain {
        name: format!("flash-2 backward products {}x{} heads, {} queries", a.batch, a.heads, a.queries),
        grid: Grid { x: blocks(a, t), y: 1 },
        warps: WARPS,
        registers: 50,
        shared_bytes: 0,
        tensors: vec![whole(2 * d), whole(2 * d), matrix(1, rows(a) * 4, 4 * bm), whole(wide)],
        arrivals: vec![2],
        ops,
    }
    .kernel()
}

/// `flash_bwd_convert_dq_kernel`: sums of 32 bits to gradients of 16, through shared memory.
fn convert(a: &Attention, t: BackwardTile) -> Kernel {
    let (d, wide) = (u64::from(a.head_dim), u64::from(a.padded(2).0) * 4);
    let block =
        |tensor, bytes: u64| Tile { row: Expr::work(0, i64::from(t.bm)), rows: t.bm, ..part(tensor, 0, 0, bytes) };
    let n = f64::from(t.bm) * d as f64;
    let through = VectorWork { shared_bytes: 4.0 * n, latency_cycles: 60.0, ..VectorWork::default() };
    let ops = vec![
        set_up(WARPS, 60.0),
        load(block(0, wide), 0),
        Op::Wait(0),
        each(n, 1.0, 1.0, 0.0, 1.0),
        Op::Vector(through),
        Op::Sync,
        store(block(1, 2 * d)),
    ];
    let whole = |row_bytes: u64| Tensor { piece_rows: t.bm, ..matrix(rows(a), row_bytes, row_bytes) };
    Plain {
        name: format!("flash-2 backward conversion {}x{} heads, {} queries", a.batch, a.heads, a.queries),
        grid: Grid { x: blocks(a, t), y: 1 },
        warps: WARPS,
        registers: 48,
        shared_bytes: t.bm * a.padded(2).0 * 2,
        tensors: vec![whole(wide), whole(2 * d)],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}

/// A CTA a block of keys: its blocks of queries from the last to the first that sees the keys.
fn items(a: &Attention, t: BackwardTile) -> Vec<[i32; WORK_VARS]> {
    let (key_blocks, query_blocks) = (a.keys.div_ceil(t.bn), a.queries.div_ceil(t.bm));
    let offset = a.keys.saturating_sub(a.queries);
    let mut items = Vec::new();
    for head in 0..a.heads {
        for b in 0..a.batch {
            for n in 0..key_blocks {
                let first = if a.causal { (n * t.bn).saturating_sub(offset) / t.bm } else { 0 };
                let last = match a.window {
                    0 => query_blocks,
                    window => (((n + 1) * t.bn + window).saturating_sub(offset)).div_ceil(t.bm).min(query_blocks),
                };
                let blocks = last.saturating_sub(first);
                let q = (b * a.heads + head) * a.queries + last.saturating_sub(1) * t.bm;
                let k = (b * a.kv_heads + head / a.group()) * a.keys + n * t.bn;
                let out = (b * a.heads + head) * a.keys + n * t.bn;
                items.push([q, k, blocks, out, 0, 0].map(|x| x as i32));
            }
        }
    }
    items
}

/// Bytes of fragments that all warps read from shared memory for a product of `m x n x k`, so many warps along `m`.
fn fragments(m: u32, n: u32, k: u32, along_rows: u32) -> f64 {
    let along_columns = (WARPS / along_rows).max(1);
    f64::from(2 * k) * (f64::from(m * along_columns) + f64::from(n * along_rows))
}

/// `flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel`.
fn main(a: &Attention, t: BackwardTile, spec: &GpuSpec) -> Kernel {
    let d = a.padded(2).0;
    let (bm, bn) = (t.bm, t.bn);
    let warps = f64::from(WARPS);
    let lanes = 32.0 * warps;
    let scores = f64::from(bm * bn);
    let product = |m: u32, n: u32, k: u32, along: u32, beside: f64| {
        // One `ldmatrix` of four for 512 bytes.
        let bytes = fragments(m, n, k, along);
        let products = f64::from(m) * f64::from(n) * f64::from(k) / 2048.0 / warps;
        let block = Block::counted(products, bytes / 512.0 / warps + beside, 0.0, warps, d, spec);
        let reads = VectorWork { shared_bytes: bytes, ..VectorWork::default() };
        [Op::Mma { dtype: a.dtype, m, n, k, sync: true }, Op::Vector(reads), block.work(0.0), Op::MmaWait(0)]
    };
    // Of a score: scaled, less its row's sum, its exponential, converted, and left in shared memory.
    let s = scores / lanes;
    let probabilities = Block::counted(0.0, EXPONENTIAL * s + BESIDE, scores, warps, d, spec);
    // Of its gradient: less the row's product, times the probability, converted, and left there.
    let differences = Block::counted(0.0, DIFFERENCE * s + BESIDE, 0.0, warps, d, spec);
    let left = |n: f64| Op::Vector(VectorWork { shared_bytes: 2.0 * n, latency_cycles: 30.0, ..VectorWork::default() });
    // Of a query's gradient: scaled, its address, added in L2.
    let sums = f64::from(bm * d) / lanes;
    let adding = Block::counted(0.0, SUM * sums + BESIDE, 0.0, warps, d, spec);
    let queries = |tensor, bytes: u32| Tile {
        tensor,
        row: Expr::work(QROW, 1).plus_loop(0, -i64::from(bm)),
        byte: Expr::default(),
        rows: bm.min(a.queries),
        bytes,
    };
    let keys = |tensor, row: usize| Tile {
        tensor,
        row: Expr::work(row, 1),
        byte: Expr::default(),
        rows: bn.min(a.keys),
        bytes: 2 * a.head_dim,
    };
    let of_rows = |tensor| Tile {
        row: Expr::default(),
        byte: Expr::work(QROW, 4).plus_loop(0, -4 * i64::from(bm)),
        rows: 1,
        bytes: 4 * bm,
        ..queries(tensor, 0)
    };
    let mut ops = vec![
        setup(spec),
        copy(keys(1, KROW), Path::AsyncRows, 1),
        copy(keys(2, KROW), Path::AsyncRows, 1),
        Op::Wait(1),
        Op::Loop(banksia_hw::gpu::program::Trips::Work(BLOCKS as u8, 0)),
        copy(queries(0, 2 * a.head_dim), Path::AsyncRows, 0),
        copy(queries(3, 2 * a.head_dim), Path::AsyncRows, 0),
        copy(of_rows(4), Path::Load, 0),
        copy(of_rows(5), Path::Load, 0),
        Op::Wait(0),
        Op::Sync,
    ];
    ops.extend(product(bm, bn, d, t.scores, 0.0));
    ops.extend([probabilities.work(0.0), left(scores)]);
    ops.extend(product(bm, bn, d, t.scores, 0.0));
    ops.extend([differences.work(0.0), left(scores), Op::Sync]);
    ops.extend(product(bn, d, bm, t.keys, 0.0));
    ops.push(Op::Sync);
    ops.extend(product(bm, d, bn, t.queries, 0.0));
    ops.extend([adding.work(0.0), Op::Store { tile: queries(6, 4 * d), reduce: true }]);
    ops.extend(product(bn, d, bm, t.keys, 0.0));
    ops.extend([Op::Sync, Op::End]);
    let last = Block::counted(0.0, 900.0, 0.0, warps, d, spec).beside(900.0);
    ops.push(Op::Vector(VectorWork { shared_bytes: 8.0 * f64::from(bn * d), ..last }));
    ops.extend([7, 8].map(|tensor| Op::Store { tile: keys(tensor, OUT), reduce: false }));
    let items = items(a, t);
    let row_bytes = 2 * u64::from(a.head_dim);
    let q = |bytes: u64| Tensor { piece_rows: bm, ..matrix(rows(a), bytes, bytes) };
    let k = |heads: u32| {
        let rows = u64::from(a.batch) * u64::from(heads) * u64::from(a.keys);
        Tensor { piece_rows: bn, ..matrix(rows, row_bytes, row_bytes) }
    };
    let row_numbers = matrix(1, rows(a) * 4, u64::from(4 * bm));
    Kernel {
        name: format!("flash-2 backward {}x{} heads, {} queries", a.batch, a.heads, a.queries),
        threads: 32 * WARPS,
        registers: 255,
        shared_bytes: (3 * bm * d + 2 * bn * d + bm * bn + (bm * bn).max(bm * d)) * 2,
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors: vec![
            q(row_bytes),
            k(a.kv_heads),
            k(a.kv_heads),
            q(row_bytes),
            row_numbers,
            row_numbers,
            q(4 * u64::from(d)),
            k(a.heads),
            k(a.heads),
        ],
        barriers: vec![Barrier { arrivals: 4, credits: 0 }, Barrier { arrivals: 2, credits: 0 }],
        roles: one_role(WARPS, ops),
        pipelined: false,
    }
}

/// Instructions of a lane for a score, its gradient, a sum of a query's gradient (assumed, from the source: conversions and stores to shared memory work on
/// pairs), and of a warp besides for addresses and loops.
const EXPONENTIAL: f64 = 4.0;
const DIFFERENCE: f64 = 3.5;
const SUM: f64 = 2.5;
const BESIDE: f64 = 40.0;
