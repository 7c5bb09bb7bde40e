//! Products by CUTLASS's warp-specialised kernels for Hopper (3.x), as serving frameworks compile them for eight bits.

use banksia_hw::gpu::program::{
    Barrier, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, VectorWork, WORK_VARS,
};

use super::gemm::{Gemm, STEP_LATENCY, sharing};
use super::raster::Raster;

/// A tile of such a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collective {
    /// Rows of a tile.
    pub bm: u32,
    /// Columns.
    pub bn: u32,
    /// Depth of a step.
    pub bk: u32,
    /// CTAs of a cluster along rows (they share B) and along columns (they share A).
    pub cluster: (u32, u32),
    /// Two warpgroups have a tile each and take turns (`KernelTmaWarpSpecializedPingpong`) in CTAs that stay; else one warpgroup has the
    /// only tile of its CTA (`KernelTmaWarpSpecialized`).
    pub pingpong: bool,
    /// CTAs that stay.
    pub grid: u32,
}

/// Numbers of a work item: two tiles, each with its row, column and steps (none, where there is no second).
const TILES: [[usize; 3]; 2] = [[0, 1, 2], [3, 4, 5]];

/// Barriers: full buffers of either warpgroup, empty ones, the descriptor; whose turn it is to multiply, and to write.
const FULL: [u8; 2] = [0, 1];
const EMPTY: u8 = 2;
const DESCRIPTOR: u8 = 3;
const MULTIPLY: [u8; 2] = [4, 5];
const WRITE: [u8; 2] = [6, 7];

/// Rows and columns that leave together.
const PART: (u32, u32) = (64, 32);
/// Buffers of those, and scales.
const EPILOGUE_BYTES: u32 = 9216;

/// A tile's way out, in cycles for each part, and in nanoseconds before the first: the scales of its rows and columns come from L2.
///
/// Tiles of small depth follow each other at 0.68 us (64x64), 1.1 (64x128) and 1.68 us (128x128) where both warpgroups of an SM write
/// (`device_cutlass.csv`, k = 128, 264 tiles to 528), and at 1.25 us (128x128) without scales.
const PART_CYCLES: f64 = 290.0;
const SCALES_NS: f64 = 360.0;

impl Collective {
    /// Buffers: what shared memory holds beside the way out.
    fn stages(&self, g: &Gemm, shared: u32) -> u32 {
        let step = (self.bm + self.bn) * self.bk * g.dtype.bytes();
        (shared.saturating_sub(EPILOGUE_BYTES + 1024) / step).clamp(2, 16)
    }
}

/// The kernel, on SMs with so much shared memory for a CTA; without a batch.
pub fn collective(g: &Gemm, t: &Collective, shared: u32) -> Kernel {
    let e = g.dtype.bytes();
    let (rows, columns) = (g.m.div_ceil(t.bm), g.n.div_ceil(t.bn));
    let steps = g.k.div_ceil(t.bk) as i32;
    // The scheduler runs along the rows of tiles where those are fewer than the columns.
    let group = if columns > rows { rows.div_ceil(t.cluster.0) } else { 1 };
    let tiles = Raster::rows(group).tiles(rows, columns, t.cluster, true);
    let consumers = if t.pingpong { 2 } else { 1 };
    let grid = if t.pingpong { (t.grid.max(1) as usize).min(tiles.len()) } else { tiles.len() };
    // A CTA's tiles lie `grid` apart; with two warpgroups every other one is the second's.
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(tiles.len());
    for first in (0..tiles.len()).step_by(consumers * grid) {
        for i in first..(first + grid).min(tiles.len()) {
            let (r, c) = tiles[i];
            let second = tiles.get(i + grid).filter(|_| t.pingpong);
            let (r2, c2, steps2) = second.map_or((0, 0, 0), |&(r, c)| (r, c, steps));
            items.push([r as i32, c as i32, steps, r2 as i32, c2 as i32, steps2]);
        }
    }
    let stages = t.stages(g, shared);
    let step_bytes = i64::from(t.bk * e);
    let (share_b, share_a) = sharing(t.cluster);
    let copy = |tensor, p, height: u32, multicast, barrier| Op::Copy {
        tile: Tile {
            tensor,
            row: Expr::work(p, i64::from(height)),
            byte: Expr::default().plus_loop(0, step_bytes),
            rows: height,
            bytes: t.bk * e,
        },
        path: Path::Bulk,
        multicast,
        barrier,
    };
    let descriptor = Tile { tensor: 3, row: Expr::default(), byte: Expr::default(), rows: 1, bytes: 128 };
    let mut producer = vec![
        Op::Copy { tile: descriptor, path: Path::Bulk, multicast: Multicast::NONE, barrier: DESCRIPTOR },
        Op::Wait(DESCRIPTOR),
    ];
    for (of, full) in TILES.into_iter().zip(FULL).take(consumers) {
        producer.extend([
            Op::Loop(Trips::Work(of[2] as u8, 0)),
            Op::Wait(EMPTY),
            copy(0, of[0], t.bm, share_a, full),
            copy(1, of[1], t.bn, share_b, full),
            Op::End,
        ]);
    }
    producer.push(Op::Next);
    let mut roles: Vec<Role> = (0..consumers).map(|i| Role { warps: 4, ops: consumer(g, t, i) }).collect();
    roles.push(Role { warps: 1, ops: producer });
    let mut tensors = g.tensors_by_parts((t.bm, t.bn), (share_b, share_a), (t.bk * e).min(128));
    tensors.push(Tensor::stream(128));
    let barrier = |arrivals, credits| Barrier { arrivals, credits };
    let mut barriers = vec![barrier(2, 0), barrier(2, 0), barrier(1, stages.saturating_sub(1).max(1)), barrier(1, 0)];
    barriers.extend([barrier(1, 1), barrier(1, 0), barrier(1, 1), barrier(1, 0)]);
    Kernel {
        name: format!(
            "gemm {}x{}x{} {} {}x{}x{} stages {stages} cluster {}x{}",
            g.m,
            g.n,
            g.k,
            if t.pingpong { "pingpong" } else { "one tile" },
            t.bm,
            t.bn,
            t.bk,
            t.cluster.0,
            t.cluster.1
        ),
        threads: 128 * (1 + consumers as u32),
        registers: 168,
        shared_bytes: stages * (t.bm + t.bn) * t.bk * e + EPILOGUE_BYTES + 1024,
        cluster: t.cluster.0 * t.cluster.1,
        grid: grid as u32,
        items,
        tensors,
        barriers,
        roles,
        pipelined: true,
    }
}

/// What warpgroup `i` does with its tile of each work item: both multiply in turns, and write in turns.
fn consumer(g: &Gemm, t: &Collective, i: usize) -> Vec<Op> {
    let [row, column, steps] = TILES[i];
    let turn = VectorWork { latency_cycles: STEP_LATENCY, ..VectorWork::default() };
    let mut ops = Vec::new();
    let take = |ops: &mut Vec<Op>, turns: [u8; 2]| {
        if t.pingpong {
            ops.push(Op::Wait(turns[i]));
        }
    };
    let pass = |ops: &mut Vec<Op>, turns: [u8; 2]| {
        if t.pingpong {
            ops.push(Op::Arrive(turns[1 - i]));
        }
    };
    take(&mut ops, MULTIPLY);
    ops.extend([
        Op::Loop(Trips::Work(steps as u8, 0)),
        Op::Wait(FULL[i]),
        Op::Vector(turn),
        Op::Mma { dtype: g.dtype, m: t.bm.max(64), n: t.bn, k: t.bk, sync: false },
        Op::MmaWait(1),
        Op::Arrive(EMPTY),
        Op::End,
    ]);
    pass(&mut ops, MULTIPLY);
    ops.push(Op::MmaWait(0));
    take(&mut ops, WRITE);
    // There may be no second tile.
    ops.extend([Op::Loop(Trips::Once(steps as u8, 0)), Op::Delay(SCALES_NS)]);
    let width = PART.1.min(t.bn);
    let parts = f64::from(t.bm.div_ceil(PART.0));
    let n = f64::from(t.bm * width);
    let bytes = width * g.out_bytes;
    let work = VectorWork {
        issue: n * 3.0 / 32.0,
        fma: n * 2.0,
        alu: n * 0.5,
        shared_bytes: 2.0 * f64::from(t.bm * bytes),
        latency_cycles: PART_CYCLES * parts,
        ..VectorWork::default()
    };
    let tile = Tile {
        tensor: 2,
        row: Expr::work(row, i64::from(t.bm)),
        byte: Expr::default().plus_work(column, i64::from(t.bn * g.out_bytes)).plus_loop(1, i64::from(bytes)),
        rows: t.bm,
        bytes,
    };
    ops.extend([Op::Loop(Trips::Const(t.bn.div_ceil(width))), Op::Vector(work), Op::Store { tile, reduce: false }]);
    ops.extend([Op::End, Op::End]);
    pass(&mut ops, WRITE);
    ops.push(Op::Next);
    ops
}
