//! Gradients of grouped products: `torch._grouped_mm` of two matrices of tokens, whose depth is each expert's rows (CUTLASS's pointer arrays for Hopper).
//!
//! CTAs stay and go from tile to tile of all experts' weights; a tile takes as many steps as its expert has rows. Both operands lie along tokens, so that they come in
//! boxes of 64 columns, which the matrix units read transposed.

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, VectorWork, WORK_VARS,
};
use banksia_hw::gpu::spec::GpuSpec;

use super::super::gemm::{STEP_LATENCY, epilogue};
use super::hopper::{BESIDE_BUFFERS, EMPTY, FULL, NEW_DESCRIPTORS_NS, PART, PART_CYCLES, SETUP_NS, boxes_of};

/// Numbers of a work item: the expert's first row, tile of columns, steps for the first and for the second warpgroup, tile of rows, first row of the tile's result.
const FIRST: usize = 0;
const COLUMN: usize = 1;
const STEPS: [usize; 2] = [2, 3];
const TILE: usize = 4;
const OUT: usize = 5;

const MULTIPLY: [u8; 2] = [4, 5];
const WRITE: [u8; 2] = [6, 7];

/// Rows and columns of a tile, elements of depth of a step, and whether two warpgroups have a tile each: by the sides of a weight, as
/// `dispatch_bf16_grouped_kernel_on_tile_size` has it (`GroupMM.cu`).
fn tile(m: u32, n: u32) -> (u32, u32, u32, bool) {
    if m <= 128 || n <= 128 { (64, 128, 128, true) } else { (128, 256, 64, false) }
}

/// CTAs of a cluster, one below the other: they share the gradient's columns.
const CLUSTER: u32 = 2;

fn items(rows: &[u32], m: u32, n: u32, grid: usize) -> (Vec<[i32; WORK_VARS]>, f64) {
    let (bm, bn, bk, pingpong) = tile(m, n);
    let (tall, wide) = (m.div_ceil(bm).next_multiple_of(CLUSTER), n.div_ceil(bn));
    let mut items: Vec<[i32; WORK_VARS]> = Vec::new();
    let mut groups = Vec::new();
    let mut first = 0u32;
    for (e, &own) in rows.iter().enumerate() {
        // An expert without rows has zeros written: a step is what its way through the pipeline costs.
        let steps = own.div_ceil(bk).max(1);
        for c in 0..wide {
            for r in 0..tall {
                let out = (e as u32).saturating_mul(m).saturating_add((r * bm).min(m.saturating_sub(1)));
                items.push([first, c, steps, 0, r, out].map(|x| x as i32));
                groups.push(e);
            }
        }
        first = first.saturating_add(own);
    }
    let mut turn = vec![usize::MAX; grid.max(1)];
    let mut new = 0u64;
    for (i, (item, &group)) in items.iter_mut().zip(&groups).enumerate() {
        let cta = i % grid.max(1);
        new += u64::from(turn[cta] != group);
        turn[cta] = group;
        if pingpong && (i / grid.max(1)) % 2 == 1 {
            item.swap(STEPS[0], STEPS[1]);
        }
    }
    let share = new as f64 / items.len().max(1) as f64;
    (items, share)
}

/// Work items at most, as of other kernels.
const MOST_ITEMS: u64 = 1 << 22;

/// The kernel; none where nothing is multiplied, or there are more tiles than are simulated. Tensors: input `[rows, m]`, gradient of the result `[rows, n]`, result `[experts, m, n]`.
pub fn weights(rows: &[u32], m: u32, n: u32, spec: &GpuSpec) -> Option<Kernel> {
    let total: u64 = rows.iter().map(|r| u64::from(*r)).sum();
    let (bm, bn, bk, pingpong) = tile(m, n);
    let tiles = u64::from(m.div_ceil(bm).next_multiple_of(CLUSTER)) * u64::from(n.div_ceil(bn)) * rows.len() as u64;
    if total == 0 || m == 0 || n == 0 || tiles > MOST_ITEMS {
        return None;
    }
    let slots = spec.cluster_slots(CLUSTER).max(CLUSTER) / CLUSTER * CLUSTER;
    let grid = tiles.min(u64::from(slots)) as usize;
    let (items, new) = items(rows, m, n, grid);
    let new_ns = NEW_DESCRIPTORS_NS * new;
    let step_bytes = (bm + bn) * bk * 2;
    let stages = (spec.sm.shared_memory_per_cta_bytes.saturating_sub(BESIDE_BUFFERS) / step_bytes).clamp(2, 16);
    let depth = Expr::work(FIRST, 1).plus_loop(0, i64::from(bk));
    let input = Tile { tensor: 0, row: depth, byte: Expr::work(TILE, i64::from(bm * 2)), rows: bk, bytes: bm * 2 };
    let gradient = Tile { tensor: 1, row: depth, byte: Expr::work(COLUMN, i64::from(bn * 2)), rows: bk, bytes: bn * 2 };
    let shared = Multicast { ctas: CLUSTER as u8, apart: 1 };
    let (own, other) = (boxes_of(input), boxes_of(gradient));
    let consumers = if pingpong { 2 } else { 1 };
    let mut producer = vec![Op::Setup(SETUP_NS), Op::Delay(new_ns)];
    let bulk = |tile, multicast, barrier| Op::Copy { tile, path: Path::Bulk, multicast, barrier };
    for i in 0..consumers {
        producer.extend([Op::Loop(Trips::Work(STEPS[i] as u8, 0)), Op::Wait(EMPTY)]);
        producer.extend(own.iter().map(|&b| bulk(b, Multicast::NONE, FULL[i])));
        producer.extend(other.iter().map(|&b| bulk(b, shared, FULL[i])));
        producer.push(Op::End);
    }
    producer.push(Op::Next);
    let warps = if pingpong { 4 } else { 8 };
    let mut roles: Vec<Role> =
        (0..consumers).map(|i| Role { warps, ops: consumer((bm, bn, bk), n, pingpong, i, new_ns) }).collect();
    roles.push(Role { warps: 1, ops: producer });
    let full = (own.len() + other.len()) as u32;
    let barrier = |arrivals, credits| Barrier { arrivals, credits };
    let mut barriers =
        vec![barrier(full, 0), barrier(full, 0), barrier(1, stages.saturating_sub(1).max(1)), barrier(1, 0)];
    barriers.extend([barrier(1, 1), barrier(1, 0), barrier(1, 1), barrier(1, 0)]);
    let half = bk / CLUSTER;
    Some(Kernel {
        name: format!("grouped weight gradient {}x{m}x{n} of {total} rows {bm}x{bn}x{bk} stages {stages}", rows.len()),
        threads: 384,
        registers: 168,
        shared_bytes: stages * step_bytes + BESIDE_BUFFERS.min(9216),
        cluster: CLUSTER,
        grid: grid as u32,
        items,
        tensors: vec![
            Tensor::matrix(total, u64::from(m) * 2, bk, 128),
            Tensor::matrix(total, u64::from(n) * 2, half.max(1), 128),
            Tensor::matrix(rows.len() as u64 * u64::from(m), u64::from(n) * 2, bm, 128),
        ],
        barriers,
        roles,
        pipelined: true,
    })
}

/// What a warpgroup, or both, do with the tiles that are theirs.
fn consumer((bm, bn, bk): (u32, u32, u32), n: u32, pingpong: bool, i: usize, new_ns: f64) -> Vec<Op> {
    let mut ops = vec![Op::Loop(Trips::Once(STEPS[i] as u8, 0))];
    if pingpong {
        ops.push(Op::Wait(MULTIPLY[i]));
    }
    let turn = VectorWork { latency_cycles: STEP_LATENCY, ..VectorWork::default() };
    ops.extend([Op::Loop(Trips::Work(STEPS[i] as u8, 0)), Op::Wait(FULL[i]), Op::Vector(turn)]);
    ops.push(Op::Mma { dtype: Dtype::Bf16, m: bm.max(64), n: bn, k: bk, sync: false });
    ops.extend([Op::MmaWait(1), Op::Arrive(EMPTY), Op::End]);
    if pingpong {
        ops.push(Op::Arrive(MULTIPLY[1 - i]));
    }
    ops.push(Op::MmaWait(0));
    if pingpong {
        ops.push(Op::Wait(WRITE[i]));
    }
    ops.push(Op::Delay(new_ns));
    let width = PART.min(n.max(1));
    let part = Tile {
        tensor: 2,
        row: Expr::work(OUT, 1),
        byte: Expr::work(COLUMN, i64::from(bn * 2)).plus_loop(1, i64::from(width * 2)),
        rows: bm,
        bytes: width * 2,
    };
    let turns = bn.div_ceil(width);
    let groups = if pingpong { 1.0 } else { 2.0 };
    let parts = f64::from(bm.div_ceil(64)) / groups;
    let work = VectorWork { latency_cycles: PART_CYCLES * parts, ..epilogue(bm, width, 2) };
    ops.extend([Op::Loop(Trips::Const(turns)), Op::Vector(work), Op::Store { tile: part, reduce: false }, Op::End]);
    ops.push(Op::StoreWait);
    if pingpong {
        ops.push(Op::Arrive(WRITE[1 - i]));
    }
    ops.extend([Op::End, Op::Next]);
    ops
}
