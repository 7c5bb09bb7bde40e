//! Grouped products whose warps copy and multiply: `fused_moe_kernel` of SGLang and vLLM (Triton), CUTLASS's grouped kernels before Hopper, Marlin's.
//!
//! The steps are those of [`multistage`](super::super::multistage); a CTA has one tile of one expert's rows, and CTAs beyond the padded rows end at once.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tensor, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::super::gemm::Gemm;
use super::super::multistage::{Multistage, Writer, multistage};
use super::format::dequantise;
use super::hopper::Grouped;

/// A tile of such a kernel, and what it works on beside its products.
#[derive(Debug, Clone, Copy)]
pub struct CopyingTile {
    /// Rows, columns, depth, buffers, warps, registers, shared memory, order.
    pub tile: Multistage,
    /// Rows of tokens that are gathered; a row serves several experts. None: rows lie in the order of experts.
    pub gathered_from: Option<u32>,
    /// CTAs beyond those that have rows, for each tile of columns: the grid is sized before the counts are known.
    pub idle_rows: u32,
    /// CTAs that stay, and take tile after tile: so many; none: a CTA a tile.
    pub stay: Option<u32>,
}

/// Work items' numbers: first row of the block (beyond its beginning where it has fewer rows, so that as many lie within), tile of columns, block of the
/// input, steps, block of the result, first row of weights.
const ROW: usize = 0;
const INPUT: usize = 2;
const NK: usize = 3;
const RESULT: usize = 4;

/// Most work items that CTAs without rows add.
const MOST_IDLE: u64 = 1 << 18;

/// Bytes that a lane copies at once: Triton takes sixteen where rows are known to be a multiple of sixteen numbers, one number else; CUTLASS what they
/// lie on.
fn copy_bytes(g: &Grouped<'_>, t: &Multistage) -> u32 {
    let e = g.dtype.bytes();
    match t.writer {
        Writer::Triton if !g.k.is_multiple_of(16) => e,
        Writer::Triton => t.copy_bytes,
        Writer::Cutlass => (1 << (u64::from(g.k) * u64::from(e)).trailing_zeros().min(4)).min(t.copy_bytes),
    }
}

/// The kernel; no expert has rows: none.
pub fn copying(g: &Grouped<'_>, t: &CopyingTile, spec: &GpuSpec) -> Option<Kernel> {
    let total = g.total();
    if total == 0 || g.n == 0 || g.k == 0 {
        return None;
    }
    // One tile, whose rows are any.
    let gemm = Gemm { m: total, n: g.n, k: g.k, batch: 1, dtype: g.dtype, out_bytes: g.out_bytes, block_scales: false };
    let tile = Multistage { split: 1, copy_bytes: copy_bytes(g, &t.tile), ..t.tile };
    let one = Gemm { m: 1, n: tile.bn, ..gemm };
    let mut kernel = multistage(&one, &tile, spec);
    let wrapped = kernel.roles[0].ops.first().is_some_and(|op| matches!(op, Op::Loop(Trips::Once(..))));
    let ops = std::mem::take(&mut kernel.roles[0].ops);
    let mut out = Vec::with_capacity(ops.len() + 8);
    if !wrapped {
        out.push(Op::Loop(Trips::Once(NK as u8, 0)));
    }
    let row_bytes = i64::from(g.k) * i64::from(g.dtype.bytes());
    let ahead = f64::from(g.weight_bits) / f64::from(8 * g.dtype.bytes());
    let sums = f64::from(tile.bm * tile.bn);
    for op in ops {
        let op = if wrapped { op } else { deeper(op) };
        match op {
            Op::Copy { tile: x, path, multicast, barrier } if x.tensor == 0 => {
                let byte = Expr { work: [0; WORK_VARS], ..x.byte }.plus_work(INPUT, row_bytes);
                out.push(Op::Copy { tile: Tile { row: Expr::work(ROW, 1), byte, ..x }, path, multicast, barrier });
            }
            Op::Copy { tile: x, path, multicast, barrier } => {
                let scale = |v: i64| (v as f64 * ahead) as i64;
                let byte = Expr { base: scale(x.byte.base), work: [0; WORK_VARS], loops: x.byte.loops.map(scale) };
                let bytes = ((f64::from(x.bytes) * ahead) as u32).max(1);
                out.push(Op::Copy { tile: Tile { byte, bytes, ..x }, path, multicast, barrier });
            }
            Op::Store { tile: x, reduce } => {
                let row = Expr { work: [0; WORK_VARS], ..x.row }.plus_work(ROW, 1);
                let byte = x.byte.plus_work(RESULT, i64::from(g.n) * i64::from(g.out_bytes));
                out.push(Op::Store { tile: Tile { row, byte, ..x }, reduce });
            }
            Op::Mma { .. } | Op::MmaAmong { .. } => {
                if ahead < 1.0 {
                    out.push(Op::Vector(dequantise(f64::from(tile.bn * tile.bk))));
                }
                out.push(op);
                if g.block_scales {
                    // The sums of a step are waited for, scaled and added: two scales, a product and an addition.
                    let scale = VectorWork {
                        issue: sums * 2.2 / 32.0,
                        fma: sums * 2.0,
                        latency_cycles: 60.0,
                        ..VectorWork::default()
                    };
                    out.extend([Op::MmaWait(0), Op::Vector(scale)]);
                }
            }
            other => out.push(other),
        }
    }
    if !wrapped {
        out.push(Op::End);
    }
    if t.stay.is_some() {
        out.push(Op::Next);
    }
    kernel.roles[0].ops = out;
    kernel.items = items(g, t);
    let tiles = kernel.items.len() as u32;
    kernel.grid = t.stay.map_or(tiles, |n| n.clamp(1, tiles));
    // Rows of a block are those of the matrix, and its blocks lie side by side: what is beyond a block's rows is beyond the matrix.
    let piece = |bytes: u32| bytes.next_power_of_two().min(128);
    let blocks = g.row_tiles(tile.bm);
    let bm = u64::from(tile.bm);
    let inputs = u64::from(input_blocks(g, t));
    kernel.tensors = vec![
        Tensor::matrix(bm, inputs * row_bytes as u64, tile.bm, piece(tile.bk * g.dtype.bytes())),
        Tensor::matrix(
            g.rows.len() as u64 * u64::from(g.n),
            (u64::from(g.k) * u64::from(g.weight_bits) / 8).max(1),
            tile.bn,
            piece(tile.bk * g.weight_bits / 8),
        ),
        Tensor::matrix(bm, blocks * u64::from(g.n) * u64::from(g.out_bytes), tile.bm, piece(tile.bn * g.out_bytes)),
    ];
    kernel.name = format!("grouped {total}x{}x{} copying {}x{}x{}", g.n, g.k, tile.bm, tile.bn, tile.bk);
    Some(kernel)
}

/// The same within one more loop.
fn deeper(op: Op) -> Op {
    let shift = |e: Expr| Expr { loops: [0, e.loops[0]], ..e };
    let moved = |t: Tile| Tile { row: shift(t.row), byte: shift(t.byte), ..t };
    match op {
        Op::Copy { tile, path, multicast, barrier } => Op::Copy { tile: moved(tile), path, multicast, barrier },
        Op::Store { tile, reduce } => Op::Store { tile: moved(tile), reduce },
        other => other,
    }
}

/// Blocks of rows that the input has: as many as the rows that are gathered from fill, or one for each of the result's.
fn input_blocks(g: &Grouped<'_>, t: &CopyingTile) -> u32 {
    let own = g.row_tiles(t.tile.bm).clamp(1, u64::from(u32::MAX)) as u32;
    t.gathered_from.map_or(own, |rows| rows.div_ceil(t.tile.bm).clamp(1, own))
}

fn items(g: &Grouped<'_>, t: &CopyingTile) -> Vec<[i32; WORK_VARS]> {
    let (bm, bn) = (t.tile.bm, t.tile.bn);
    let inputs = input_blocks(g, t);
    let steps = g.k.div_ceil(t.tile.bk);
    let columns = g.n.div_ceil(bn);
    // Row tiles of all experts: how many rows there are, whose weights.
    let mut tiles: Vec<(u32, u32)> = Vec::new();
    for (e, &rows) in g.rows.iter().enumerate() {
        tiles.extend((0..rows.div_ceil(bm)).map(|r| ((rows - r * bm).min(bm), e as u32)));
    }
    let busy = tiles.len() as u32;
    let idle = u64::from(t.idle_rows).min(MOST_IDLE / u64::from(columns.max(1))) as u32;
    let all = busy + idle;
    let mut items = Vec::with_capacity(all as usize * columns as usize);
    // Groups of row tiles, each through all columns.
    let group = t.tile.group.max(1);
    for band in 0..all.div_ceil(group) {
        let from = band * group;
        let size = group.min(all - from);
        for c in 0..columns {
            for r in from..from + size {
                let Some(&(have, expert)) = tiles.get(r as usize) else {
                    items.push([0; WORK_VARS]);
                    continue;
                };
                items.push([bm - have, c, r % inputs, steps, r, expert.saturating_mul(g.n)].map(|x| x as i32));
            }
        }
    }
    items
}
