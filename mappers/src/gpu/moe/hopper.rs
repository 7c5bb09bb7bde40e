//! Grouped products by warp-specialised kernels for Hopper: CUTLASS's with pointer arrays (`torch._grouped_mm`, TensorRT-LLM, FlashInfer), and DeepGEMM's.
//!
//! CTAs stay and go from tile to tile of all groups. A tile takes rows of one expert only; what of it lies beyond them is brought as zeros and
//! multiplied all the same.

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, VectorWork, WORK_VARS,
};
use banksia_hw::gpu::spec::GpuSpec;

use super::super::gemm::{STEP_LATENCY, epilogue};

/// A product of each expert's rows `[rows_e, k]` with its weights: `n` columns of depth `k`.
#[derive(Debug, Clone, Copy)]
pub struct Grouped<'a> {
    /// Rows of each expert; they lie one after another.
    pub rows: &'a [u32],
    /// Columns.
    pub n: u32,
    /// Depth.
    pub k: u32,
    /// Type that is multiplied.
    pub dtype: Dtype,
    /// Bits of a weight in memory.
    pub weight_bits: u32,
    /// Bytes of an element of the result.
    pub out_bytes: u32,
    /// Weights lie as `[k, n]`; else as `[n, k]`.
    pub by_depth: bool,
    /// Scales of blocks of 128: sums are scaled in single precision in every step.
    pub block_scales: bool,
}

impl Grouped<'_> {
    /// All rows.
    pub fn total(&self) -> u32 {
        u32::try_from(self.rows.iter().map(|&r| u64::from(r)).sum::<u64>()).unwrap_or(u32::MAX)
    }

    /// Bytes of one expert's weights.
    pub fn weight_bytes(&self) -> f64 {
        f64::from(self.n) * f64::from(self.k) * f64::from(self.weight_bits) / 8.0
    }

    /// Experts with rows.
    pub fn used(&self) -> u32 {
        self.rows.iter().filter(|&&r| r > 0).count() as u32
    }

    /// Tiles of so many rows.
    pub fn row_tiles(&self, height: u32) -> u64 {
        self.rows.iter().map(|r| u64::from(r.div_ceil(height.max(1)))).sum()
    }
}

/// A tile of such a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HopperTile {
    /// Rows (of tokens).
    pub tokens: u32,
    /// Columns (of weights).
    pub columns: u32,
    /// Bytes of depth of a step.
    pub depth_bytes: u32,
    /// CTAs of a cluster along rows (they share weights) and along columns (they share rows).
    pub cluster: (u32, u32),
    /// Two warpgroups have a tile each and take turns; else both work on one.
    pub pingpong: bool,
    /// Weights are the first operand: columns come in 64s, and tiles go along columns first. Else rows do.
    pub weights_first: bool,
    /// Descriptors are written anew for every group (CUTLASS's pointer arrays); else one holds for all (DeepGEMM).
    pub descriptors: bool,
}

/// Numbers of a work item: first row of the block (beyond its beginning where it has fewer rows, so that as many lie within), tile of columns, steps for
/// the first and for the second warpgroup, first row of the expert's weights, block of rows.
const ROW: usize = 0;
const COLUMN: usize = 1;
const STEPS: [usize; 2] = [2, 3];
const WEIGHT: usize = 4;
const BLOCK: usize = 5;

pub(super) const FULL: [u8; 2] = [0, 1];
pub(super) const EMPTY: u8 = 2;
const DESCRIPTOR: u8 = 3;
const MULTIPLY: [u8; 2] = [4, 5];
const WRITE: [u8; 2] = [6, 7];

/// A group's descriptors are changed in shared memory, written to memory, fenced and read again before their first use, those of the operands by the
/// warp that copies, that of the result by those that write: tiles of a depth of 128 follow each other at 2.0 us where each is of another group, at
/// 1.18 where all are of one (`device_grouped.csv`, 16 groups of 8448 columns against one of 135168).
pub(super) const NEW_DESCRIPTORS_NS: f64 = 820.0;

/// Before its first tile a CTA copies descriptors to its own memory and reads the groups' sizes, one after the other: what `device_grouped.csv` has for a
/// single tile of the least depth beyond its copies, product and way out.
pub(super) const SETUP_NS: f64 = 1900.0;

/// Cycles of the way out of each 64x32 of a warpgroup's results (`device_cutlass.csv`: see `cutlass.rs`).
pub(super) const PART_CYCLES: f64 = 290.0;

/// Shared memory beside the buffers: part of the result on its way out, barriers, descriptors (206848 and 215040 bytes with four buffers of 48 KB in
/// `operators_kernels.jsonl`).
pub(super) const BESIDE_BUFFERS: u32 = 10240;

/// Numbers of a row that leave together.
pub(super) const PART: u32 = 32;

/// Bytes of a row that a bulk copy takes at most, as shared memory is laid out for the matrix units.
const BOX_BYTES: u32 = 128;

/// Buffers of a tile: what shared memory holds.
fn stages(g: &Grouped<'_>, t: &HopperTile, spec: &GpuSpec) -> u32 {
    let step = u64::from(t.tokens) * u64::from(t.depth_bytes) + weight_step_bytes(g, t);
    let room = u64::from(spec.sm.shared_memory_per_cta_bytes.saturating_sub(BESIDE_BUFFERS));
    (room / step.max(1)).clamp(2, 16) as u32
}

/// Elements of depth of a step.
fn depth(g: &Grouped<'_>, t: &HopperTile) -> u32 {
    (t.depth_bytes / g.dtype.bytes()).max(1)
}

fn weight_step_bytes(g: &Grouped<'_>, t: &HopperTile) -> u64 {
    u64::from(t.columns) * u64::from(depth(g, t)) * u64::from(g.weight_bits) / 8
}

/// Work items in the order of CTAs, clusters whole, and the share of them at which a CTA comes to another group.
fn items(g: &Grouped<'_>, t: &HopperTile, steps: u32, grid: usize) -> (Vec<[i32; WORK_VARS]>, f64) {
    let columns = g.n.div_ceil(t.columns);
    let (along_rows, along_columns) = t.cluster;
    let mut items: Vec<[i32; WORK_VARS]> = Vec::new();
    let mut groups: Vec<u32> = Vec::new();
    let mut first = 0u32;
    for (e, &rows) in g.rows.iter().enumerate() {
        let weight = (e as u32).saturating_mul(if g.by_depth { g.k } else { g.n });
        let blocks = rows.div_ceil(t.tokens);
        let (rc, cc) = (blocks.div_ceil(along_rows), columns.div_ceil(along_columns));
        let (outer, inner) = if t.weights_first { (rc, cc) } else { (cc, rc) };
        for o in 0..outer {
            for i in 0..inner {
                let (cr, ccol) = if t.weights_first { (o, i) } else { (i, o) };
                for a in 0..along_rows {
                    for b in 0..along_columns {
                        let (r, c) = (cr * along_rows + a, ccol * along_columns + b);
                        let have = rows.saturating_sub(r.saturating_mul(t.tokens)).min(t.tokens);
                        let block = if have > 0 { first + r } else { 0 };
                        items.push([t.tokens - have, c, steps, 0, weight, block].map(|x| x as i32));
                        groups.push(e as u32);
                    }
                }
            }
        }
        first = first.saturating_add(blocks);
    }
    let mut turn = vec![u32::MAX; grid.max(1)];
    let mut new = 0u64;
    for (i, (item, &group)) in items.iter_mut().zip(&groups).enumerate() {
        let cta = i % grid.max(1);
        new += u64::from(turn[cta] != group);
        turn[cta] = group;
        if t.pingpong && (i / grid.max(1)) % 2 == 1 {
            item.swap(STEPS[0], STEPS[1]);
        }
    }
    let share = new as f64 / items.len().max(1) as f64;
    (items, share)
}

/// A copy in boxes of no more than 128 bytes of a row.
pub(super) fn boxes_of(whole: Tile) -> Vec<Tile> {
    let mut boxes = Vec::new();
    let mut first = 0;
    while first < whole.bytes {
        let mut part = whole;
        part.byte.base += i64::from(first);
        part.bytes = BOX_BYTES.min(whole.bytes - first);
        boxes.push(part);
        first += BOX_BYTES;
    }
    boxes
}

/// The kernel; no expert has rows: none.
pub fn hopper(g: &Grouped<'_>, t: &HopperTile, spec: &GpuSpec) -> Option<Kernel> {
    let total = g.total();
    if total == 0 || g.n == 0 || g.k == 0 {
        return None;
    }
    let e = g.dtype.bytes();
    let bk = depth(g, t);
    let steps = g.k.div_ceil(bk);
    let ctas = t.cluster.0 * t.cluster.1;
    let slots = spec.cluster_slots(ctas).max(ctas) / ctas * ctas;
    let of_columns = u64::from(g.n.div_ceil(t.columns).div_ceil(t.cluster.1) * t.cluster.1);
    let all = g.rows.iter().map(|r| u64::from(r.div_ceil(t.tokens).div_ceil(t.cluster.0) * t.cluster.0)).sum::<u64>();
    let grid = (all * of_columns).min(u64::from(slots)) as usize;
    let (items, new) = items(g, t, steps, grid);
    let new_ns = NEW_DESCRIPTORS_NS * new;
    let stages = stages(g, t, spec);
    let consumers = if t.pingpong { 2 } else { 1 };
    let weight_depth_bytes = (bk * g.weight_bits / 8).max(1);
    let (share_weights, share_rows) = (
        Multicast { ctas: t.cluster.0 as u8, apart: t.cluster.1 as u8 },
        Multicast { ctas: t.cluster.1 as u8, apart: 1 },
    );
    let tokens = Tile {
        tensor: 0,
        row: Expr::work(ROW, 1),
        byte: Expr::work(BLOCK, i64::from(g.k) * i64::from(e)).plus_loop(0, i64::from(bk * e)),
        rows: t.tokens,
        bytes: bk * e,
    };
    let column_bytes = (t.columns * g.weight_bits / 8).max(1);
    let weights = if g.by_depth {
        Tile {
            tensor: 1,
            row: Expr::work(WEIGHT, 1).plus_loop(0, i64::from(bk)),
            byte: Expr::work(COLUMN, i64::from(column_bytes)),
            rows: bk,
            bytes: column_bytes,
        }
    } else {
        Tile {
            tensor: 1,
            row: Expr::work(WEIGHT, 1).plus_work(COLUMN, i64::from(t.columns)),
            byte: Expr::default().plus_loop(0, i64::from(weight_depth_bytes)),
            rows: t.columns,
            bytes: weight_depth_bytes,
        }
    };
    // Weights whose rows run along columns come in boxes of 128 bytes.
    let boxes = boxes_of(weights);
    let descriptor = Tile { tensor: 3, row: Expr::default(), byte: Expr::default(), rows: 1, bytes: 128 };
    let bulk = |tile, multicast, barrier| Op::Copy { tile, path: Path::Bulk, multicast, barrier };
    let mut producer = Vec::new();
    if t.descriptors {
        producer.push(Op::Setup(SETUP_NS));
        producer.push(Op::Delay(new_ns));
    } else {
        producer.extend([bulk(descriptor, Multicast::NONE, DESCRIPTOR), Op::Wait(DESCRIPTOR)]);
    }
    for i in 0..consumers {
        producer.extend([Op::Loop(Trips::Work(STEPS[i] as u8, 0)), Op::Wait(EMPTY), bulk(tokens, share_rows, FULL[i])]);
        producer.extend(boxes.iter().map(|&b| bulk(b, share_weights, FULL[i])));
        producer.push(Op::End);
    }
    producer.push(Op::Next);
    let warps = if t.pingpong { 4 } else { 8 };
    let mut roles: Vec<Role> = (0..consumers).map(|i| Role { warps, ops: consumer(g, t, i, bk, new_ns) }).collect();
    roles.push(Role { warps: 1, ops: producer });
    let part = |side: u32, ctas: u32| (side / ctas.max(1)).max(1);
    let experts = g.rows.len() as u64;
    let (weight_rows, weight_row_bytes) = if g.by_depth {
        (experts * u64::from(g.k), u64::from(g.n) * u64::from(g.weight_bits) / 8)
    } else {
        (experts * u64::from(g.n), u64::from(g.k) * u64::from(g.weight_bits) / 8)
    };
    let blocks = g.row_tiles(t.tokens);
    let tensors = vec![
        // Rows of a block are those of the matrix, and its blocks lie side by side: what is beyond a block's rows is beyond the matrix.
        Tensor::matrix(
            u64::from(t.tokens),
            blocks * u64::from(g.k) * u64::from(e),
            part(t.tokens, t.cluster.1),
            (bk * e).next_power_of_two().min(128),
        ),
        Tensor::matrix(
            weight_rows,
            weight_row_bytes.max(1),
            part(weights.rows, t.cluster.0),
            weights.bytes.next_power_of_two().min(128),
        ),
        Tensor::matrix(u64::from(t.tokens), blocks * u64::from(g.n) * u64::from(g.out_bytes), t.tokens, 128),
        Tensor::stream(128),
    ];
    let full = 1 + boxes.len() as u32;
    let barrier = |arrivals, credits| Barrier { arrivals, credits };
    let mut barriers =
        vec![barrier(full, 0), barrier(full, 0), barrier(1, stages.saturating_sub(1).max(1)), barrier(1, 0)];
    barriers.extend([barrier(1, 1), barrier(1, 0), barrier(1, 1), barrier(1, 0)]);
    Some(Kernel {
        name: format!(
            "grouped {total}x{}x{} {} {}x{}x{bk} stages {stages} cluster {}x{}",
            g.n,
            g.k,
            if t.pingpong { "pingpong" } else { "cooperative" },
            t.tokens,
            t.columns,
            t.cluster.0,
            t.cluster.1
        ),
        threads: 384,
        registers: 168,
        shared_bytes: (stages as u64 * (u64::from(t.tokens * t.depth_bytes) + weight_step_bytes(g, t))) as u32
            + BESIDE_BUFFERS.min(9216),
        cluster: ctas,
        grid: grid as u32,
        items,
        tensors,
        barriers,
        roles,
        pipelined: true,
    })
}

/// What a warpgroup, or both, do with the tiles that are theirs.
fn consumer(g: &Grouped<'_>, t: &HopperTile, i: usize, bk: u32, new_ns: f64) -> Vec<Op> {
    let (m, n) = if t.weights_first { (t.columns.max(64), t.tokens) } else { (t.tokens.max(64), t.columns) };
    let mut ops = vec![Op::Loop(Trips::Once(STEPS[i] as u8, 0))];
    if t.pingpong {
        ops.push(Op::Wait(MULTIPLY[i]));
    }
    ops.push(Op::Loop(Trips::Work(STEPS[i] as u8, 0)));
    ops.push(Op::Wait(FULL[i]));
    let turn = VectorWork { latency_cycles: STEP_LATENCY, ..VectorWork::default() };
    ops.push(Op::Vector(turn));
    if g.weight_bits < 8 * g.dtype.bytes() {
        ops.push(Op::Vector(super::format::dequantise(f64::from(t.columns) * f64::from(bk))));
    }
    ops.push(Op::Mma { dtype: g.dtype, m, n, k: bk, sync: false });
    if g.block_scales {
        let sums = f64::from(m) * f64::from(n);
        let promotion = VectorWork { issue: sums / 32.0, fma: sums, latency_cycles: 30.0, ..VectorWork::default() };
        ops.push(Op::Vector(promotion));
    }
    ops.extend([Op::MmaWait(1), Op::Arrive(EMPTY), Op::End]);
    if t.pingpong {
        ops.push(Op::Arrive(MULTIPLY[1 - i]));
    }
    ops.push(Op::MmaWait(0));
    if t.pingpong {
        ops.push(Op::Wait(WRITE[i]));
    }
    if t.descriptors {
        ops.push(Op::Delay(new_ns));
    }
    // Both warpgroups have their halves, of columns where weights come first, of rows else.
    let width = PART.min(t.columns);
    let bytes = width * g.out_bytes;
    let tile = Tile {
        tensor: 2,
        row: Expr::work(ROW, 1),
        byte: Expr::work(BLOCK, i64::from(g.n) * i64::from(g.out_bytes))
            .plus_work(COLUMN, i64::from(t.columns * g.out_bytes))
            .plus_loop(1, i64::from(bytes)),
        rows: t.tokens,
        bytes,
    };
    let groups = if t.pingpong { 1.0 } else { 2.0 };
    let turns = t.columns.div_ceil(width);
    let parts = f64::from(m.div_ceil(64) * n.div_ceil(PART)) / groups / f64::from(turns);
    let work = VectorWork { latency_cycles: PART_CYCLES * parts, ..epilogue(t.tokens, width, g.out_bytes) };
    ops.extend([Op::Loop(Trips::Const(turns)), Op::Vector(work), Op::Store { tile, reduce: false }, Op::End]);
    // The buffer of what leaves is free when all of it has gone.
    ops.push(Op::StoreWait);
    if t.pingpong {
        ops.push(Op::Arrive(WRITE[1 - i]));
    }
    ops.extend([Op::End, Op::Next]);
    ops
}
