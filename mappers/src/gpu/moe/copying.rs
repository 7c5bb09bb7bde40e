//! Grouped products whose warps copy and multiply: `fused_moe_kernel` of SGLang and vLLM (Triton), CUTLASS's grouped kernels before Hopper, Marlin's.
//!
//! The steps are those of [`multistage`](super::super::multistage); a CTA has one tile of one expert's rows, and CTAs beyond the padded rows end at once.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tensor, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::super::gemm::Gemm;
use super::super::multistage::{Multistage, multistage};
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

/// Work items' numbers, as `multistage` has them: row of the input, tile of columns, first step, steps, row of the result, first row of weights.
const INPUT: usize = 0;
const K0: usize = 2;
const NK: usize = 3;
const RESULT: usize = 4;

/// Most work items that CTAs without rows add.
const MOST_IDLE: u64 = 1 << 18;

/// The kernel; no expert has rows: none.
pub fn copying(g: &Grouped<'_>, t: &CopyingTile, spec: &GpuSpec) -> Option<Kernel> {
    let total = g.total();
    if total == 0 || g.n == 0 || g.k == 0 {
        return None;
    }
    // One tile, whose rows are any.
    let gemm = Gemm { m: total, n: g.n, k: g.k, batch: 1, dtype: g.dtype, out_bytes: g.out_bytes, block_scales: false };
    let tile = Multistage { split: 1, ..t.tile };
    let one = Gemm { m: 1, n: tile.bn, ..gemm };
    let mut kernel = multistage(&one, &tile, spec);
    let wrapped = kernel.roles[0].ops.first().is_some_and(|op| matches!(op, Op::Loop(Trips::Once(..))));
    let ops = std::mem::take(&mut kernel.roles[0].ops);
    let mut out = Vec::with_capacity(ops.len() + 8);
    if !wrapped {
        out.push(Op::Loop(Trips::Once(NK as u8, 0)));
    }
    let ahead = f64::from(g.weight_bits) / f64::from(8 * g.dtype.bytes());
    let sums = f64::from(tile.bm * tile.bn);
    for op in ops {
        let op = if wrapped { op } else { deeper(op) };
        match op {
            Op::Copy { tile: x, path, multicast, barrier } if x.tensor == 0 => {
                let row = Expr::work(INPUT, 1);
                out.push(Op::Copy { tile: Tile { row, ..x }, path, multicast, barrier });
            }
            Op::Copy { tile: x, path, multicast, barrier } if ahead < 1.0 => {
                let scale = |v: i64| (v as f64 * ahead) as i64;
                let byte =
                    Expr { base: scale(x.byte.base), work: x.byte.work.map(scale), loops: x.byte.loops.map(scale) };
                let bytes = ((f64::from(x.bytes) * ahead) as u32).max(1);
                out.push(Op::Copy { tile: Tile { byte, bytes, ..x }, path, multicast, barrier });
            }
            Op::Store { tile: x, reduce } => {
                let row = Expr { work: [0; WORK_VARS], ..x.row }.plus_work(RESULT, 1);
                out.push(Op::Store { tile: Tile { row, ..x }, reduce });
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
    let input_rows = t.gathered_from.unwrap_or(total).max(1);
    let e = u64::from(g.dtype.bytes());
    let piece = |bytes: u32| bytes.next_power_of_two().min(128);
    kernel.tensors = vec![
        Tensor::matrix(u64::from(input_rows), u64::from(g.k) * e, tile.bm, piece(tile.bk * g.dtype.bytes())),
        Tensor::matrix(
            g.rows.len() as u64 * u64::from(g.n),
            (u64::from(g.k) * u64::from(g.weight_bits) / 8).max(1),
            tile.bn,
            piece(tile.bk * g.weight_bits / 8),
        ),
        Tensor::matrix(
            u64::from(total),
            u64::from(g.n) * u64::from(g.out_bytes),
            tile.bm,
            piece(tile.bn * g.out_bytes),
        ),
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

fn items(g: &Grouped<'_>, t: &CopyingTile) -> Vec<[i32; WORK_VARS]> {
    let (bm, bn) = (t.tile.bm, t.tile.bn);
    let total = g.total();
    let input_rows = t.gathered_from.unwrap_or(total).max(1);
    let steps = g.k.div_ceil(t.tile.bk);
    let columns = g.n.div_ceil(bn);
    // Row tiles of all experts: where rows begin, how many there are, whose weights.
    let mut tiles: Vec<(u32, u32, u32)> = Vec::new();
    let mut first = 0u32;
    for (e, &rows) in g.rows.iter().enumerate() {
        for r in 0..rows.div_ceil(bm) {
            tiles.push((first + r * bm, (rows - r * bm).min(bm), e as u32));
        }
        first = first.saturating_add(rows);
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
                let Some(&(row, have, expert)) = tiles.get(r as usize) else {
                    items.push([0; WORK_VARS]);
                    continue;
                };
                // What is not full lies over the end of its matrix, so that as many rows are there as it has.
                let place = |rows: u32, at: u32| if have < bm { rows.saturating_sub(have) } else { at % rows.max(1) };
                let input = if t.gathered_from.is_some() {
                    place(input_rows, row % (input_rows.saturating_sub(bm) + 1))
                } else {
                    place(total, row)
                };
                let item = [input, c, 0, steps, place(total, row), expert.saturating_mul(g.n)];
                items.push(item.map(|x| x as i32));
            }
        }
    }
    debug_assert!(items.iter().all(|i| i[K0] == 0));
    items
}
