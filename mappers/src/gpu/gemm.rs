//! Matrix products `C[m,n] = A[m,k] B[n,k]^T`, operands with k contiguous.

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, VectorWork, WORK_VARS,
};

use super::raster::Raster;
use super::{copy, one_role};

/// A product, or a batch of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gemm {
    /// Rows of C.
    pub m: u32,
    /// Columns of C.
    pub n: u32,
    /// Depth.
    pub k: u32,
    /// Products.
    pub batch: u32,
    /// Type of A and B.
    pub dtype: Dtype,
    /// Bytes of an element of C.
    pub out_bytes: u32,
    /// Operands have a scale for each block of 128 elements of depth: the sums of each block are scaled and added to others in single precision.
    pub block_scales: bool,
}

impl Gemm {
    /// One product with operands and result of one 16-bit type, or narrower operands and a 16-bit result.
    pub fn new(m: u32, n: u32, k: u32, dtype: Dtype) -> Self {
        Self { m, n, k, batch: 1, dtype, out_bytes: dtype.bytes().max(2), block_scales: false }
    }

    /// Multiply-adds.
    pub fn fma(&self) -> f64 {
        f64::from(self.m) * f64::from(self.n) * f64::from(self.k) * f64::from(self.batch)
    }

    /// Bytes of A, B and C, each once.
    pub fn compulsory_bytes(&self) -> f64 {
        let (m, n, k) = (f64::from(self.m), f64::from(self.n), f64::from(self.k));
        f64::from(self.batch) * ((m + n) * k * f64::from(self.dtype.bits()) / 8.0 + m * n * f64::from(self.out_bytes))
    }

    /// Whether clusters are filled up with CTAs beyond the matrix, or need none; in a batch those would have tiles of the next product.
    pub(super) fn fills(&self, bm: u32, bn: u32, cluster: (u32, u32)) -> bool {
        let (rows, columns) = (self.m.div_ceil(bm), self.n.div_ceil(bn));
        self.batch == 1 || (rows.is_multiple_of(cluster.0) && columns.is_multiple_of(cluster.1))
    }

    /// The tensors, A and B in the pieces that CTAs of a cluster copy of their tiles.
    pub(super) fn tensors_by_parts(
        &self,
        (bm, bn): (u32, u32),
        (along_rows, along_columns): (Multicast, Multicast),
        piece_bytes: u32,
    ) -> Vec<Tensor> {
        let part = |side: u32, by: Multicast| (side / u32::from(by.ctas)).max(1);
        let mut tensors = self.tensors(part(bm, along_columns), part(bn, along_rows), piece_bytes);
        tensors[2] = self.tensors(bm, bn, piece_bytes)[2];
        tensors
    }

    pub(super) fn tensors(&self, bm: u32, bn: u32, piece_bytes: u32) -> Vec<Tensor> {
        let depth = (u64::from(self.k) * u64::from(self.dtype.bits())).div_ceil(8);
        let b = u64::from(self.batch);
        vec![
            Tensor::matrix(b * u64::from(self.m), depth, bm, piece_bytes),
            Tensor::matrix(b * u64::from(self.n), depth, bn, piece_bytes),
            Tensor::matrix(
                b * u64::from(self.m),
                u64::from(self.n) * u64::from(self.out_bytes),
                bm,
                (bn * self.out_bytes).min(128),
            ),
        ]
    }
}

/// Steps of depth of part `s` of `split`: first and count.
pub(super) fn part(steps: u32, split: u32, s: u32) -> (u32, u32) {
    let (base, extra) = (steps / split, steps % split);
    (s * base + s.min(extra), base + u32::from(s < extra))
}

pub(super) const PM: usize = 0;
pub(super) const PN: usize = 1;
pub(super) const K0: usize = 2;
pub(super) const NK: usize = 3;
pub(super) const AROW: usize = 4;
pub(super) const BROW: usize = 5;

/// Conversion, layout change through shared memory, and stores of a tile of C by `warps` warps.
pub(crate) fn epilogue(bm: u32, bn: u32, out_bytes: u32) -> VectorWork {
    let n = f64::from(bm) * f64::from(bn);
    let bytes = n * f64::from(out_bytes);
    // Half a conversion an element, a 16-byte store to shared memory, a load from it and a store to memory.
    VectorWork {
        issue: n * 0.75 / 32.0 + 3.0 * bytes / 512.0,
        alu: n * 0.75,
        shared_bytes: 2.0 * bytes,
        latency_cycles: 120.0,
        ..VectorWork::default()
    }
}

/// Bytes of C that a warp-specialised kernel has on their way out at once: what cuBLAS 13's `nvjet` kernels have of shared memory beside their
/// buffers, from 64x8 to 320x128 (`device_products.csv`).
pub(crate) const STAGING: u32 = 16384;

/// Cycles of a step beside its matrix instructions: polling the buffer's barrier, the fence before the first instruction, releasing
/// the buffer before. Wide tiles hide them behind their last instruction. A step of 64x8 and 8x64 tiles takes 86 ns, of which four
/// instructions of the least length are 80 cycles (`device_products.csv`, k from 1024 to 2560).
pub(crate) const STEP_LATENCY: f64 = 80.0;

/// A tile of a warp-specialised kernel: one warp copies (bulk), two warpgroups multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Specialised {
    /// Rows of a tile.
    pub bm: u32,
    /// Columns.
    pub bn: u32,
    /// Depth of a step.
    pub bk: u32,
    /// Buffers.
    pub stages: u32,
    /// CTAs of a cluster along rows (they share B) and along columns (they share A).
    pub cluster: (u32, u32),
    /// Parts of the depth, written apart and summed by a second kernel.
    pub split: u32,
    /// Order of tiles.
    pub raster: Raster,
    /// CTAs launched at most (one an SM, or two).
    pub grid: u32,
}

impl Specialised {
    /// Shared memory of a CTA: buffers, part of C on its way out, barriers.
    pub fn shared_bytes(&self, g: &Gemm) -> u32 {
        self.stages * (self.bm + self.bn) * self.bk * g.dtype.bytes() + STAGING + 512
    }
}

/// A persistent warp-specialised kernel, as libraries for Hopper write them. With `split > 1` C is a workspace of
/// `split` matrices of single precision.
pub fn specialised(g: &Gemm, t: &Specialised) -> Kernel {
    let e = g.dtype.bytes();
    let (rows, columns) = (g.m.div_ceil(t.bm), g.n.div_ceil(t.bn));
    let steps = g.k.div_ceil(t.bk);
    let split = t.split.clamp(1, steps.max(1));
    // CTAs of a cluster that have no tile copy their parts all the same; in a batch they would copy the next product's.
    let whole = g.fills(t.bm, t.bn, t.cluster);
    let (along_rows, along_columns) = if whole { sharing(t.cluster) } else { (Multicast::NONE, Multicast::NONE) };
    let mut items: Vec<[i32; WORK_VARS]> =
        Vec::with_capacity(rows as usize * columns as usize * (g.batch * split) as usize);
    for b in 0..g.batch {
        for s in 0..split {
            let (k0, nk) = part(steps, split, s);
            for (r, c) in t.raster.tiles(rows, columns, t.cluster, whole) {
                items.push([r, c, k0, nk, b * g.m, b * g.n].map(|x| x as i32));
            }
        }
    }
    let step_bytes = i64::from(t.bk * e);
    let tile = |tensor, p, first, height: u32| Tile {
        tensor,
        row: Expr::work(p, i64::from(height)).plus_work(first, 1),
        byte: Expr::default().plus_work(K0, step_bytes).plus_loop(0, step_bytes),
        rows: height,
        bytes: t.bk * e,
    };
    let nk = Trips::Work(NK as u8, 0);
    let bulk = |tile, multicast| Op::Copy { tile, path: Path::Bulk, multicast, barrier: 0 };
    // The copy engine reads its descriptor first, once a launch: nothing keeps it in L2.
    let descriptor = Tile { tensor: 3, row: Expr::default(), byte: Expr::default(), rows: 1, bytes: 128 };
    let producer = vec![
        Op::Copy { tile: descriptor, path: Path::Bulk, multicast: Multicast::NONE, barrier: 2 },
        Op::Wait(2),
        Op::Loop(nk),
        Op::Wait(1),
        bulk(tile(0, PM, AROW, t.bm), along_columns),
        bulk(tile(1, PN, BROW, t.bn), along_rows),
        Op::End,
        Op::Next,
    ];
    let out = Gemm { out_bytes: if split > 1 { 4 } else { g.out_bytes }, ..*g };
    // Both warpgroups work on one tile, half of its rows each (or all of them, where it has only 64), in step.
    let product = Op::Mma { dtype: g.dtype, m: t.bm.max(64), n: t.bn, k: t.bk, sync: false };
    let turn = VectorWork { latency_cycles: STEP_LATENCY, ..VectorWork::default() };
    let mut consumer = vec![Op::Loop(nk), Op::Wait(0), Op::Vector(turn), product];
    if g.block_scales {
        // One multiply-add a sum and step (DeepGEMM's promotion): that of one warpgroup runs beside the other's products.
        let sums = f64::from(t.bm) * f64::from(t.bn);
        let promotion = VectorWork { issue: sums / 32.0, fma: sums, latency_cycles: 30.0, ..VectorWork::default() };
        consumer.push(Op::Vector(promotion));
    }
    consumer.extend([Op::MmaWait(1), Op::Arrive(1), Op::End, Op::MmaWait(0)]);
    leave_in_parts(&out, t, &mut consumer);
    consumer.push(Op::Next);
    let mut tensors = g.tensors_by_parts((t.bm, t.bn), (along_rows, along_columns), (t.bk * e).min(128));
    tensors[2] = out.tensors(t.bm, t.bn, 128)[2];
    tensors.push(Tensor::stream(128));
    let grid = t.grid.max(1).min(items.len() as u32);
    Kernel {
        name: format!(
            "gemm {}x{}x{} specialised {}x{}x{} stages {} cluster {}x{} split {split}",
            g.m, g.n, g.k, t.bm, t.bn, t.bk, t.stages, t.cluster.0, t.cluster.1
        ),
        threads: 384,
        registers: 168,
        shared_bytes: t.shared_bytes(g),
        cluster: t.cluster.0 * t.cluster.1,
        grid,
        items,
        tensors,
        // The step before the one that a consumer waits for is released when the next has been issued: one buffer is
        // held back by that.
        barriers: vec![
            Barrier { arrivals: 2, credits: 0 },
            Barrier { arrivals: 1, credits: t.stages.saturating_sub(1).max(1) },
            Barrier { arrivals: 1, credits: 0 },
        ],
        roles: vec![Role { warps: 8, ops: consumer }, Role { warps: 1, ops: producer }],
        pipelined: true,
    }
}

/// Who shares a cluster's copies of B, its CTAs along rows, and of A, those along columns; its CTAs are numbered row by row.
pub(crate) fn sharing((rows, columns): (u32, u32)) -> (Multicast, Multicast) {
    (Multicast { ctas: rows as u8, apart: columns as u8 }, Multicast { ctas: columns as u8, apart: 1 })
}

/// A tile of C leaves through a buffer, part by part: the next is written when the one before has gone.
fn leave_in_parts(out: &Gemm, t: &Specialised, ops: &mut Vec<Op>) {
    let row_bytes = t.bn * out.out_bytes;
    let part = (STAGING / t.bm.max(1)).next_multiple_of(32).min(row_bytes);
    let leave = |ops: &mut Vec<Op>, byte: Expr, bytes: u32| {
        let tile = Tile {
            tensor: 2,
            row: Expr::work(PM, i64::from(t.bm)).plus_work(AROW, 1),
            byte: byte.plus_work(PN, i64::from(row_bytes)),
            rows: t.bm,
            bytes,
        };
        let work = epilogue(t.bm, bytes / out.out_bytes, out.out_bytes);
        ops.extend([Op::StoreWait, Op::Vector(work), Op::Store { tile, reduce: false }]);
    };
    ops.push(Op::Loop(Trips::Const(row_bytes / part)));
    leave(ops, Expr::default().plus_loop(0, i64::from(part)), part);
    ops.push(Op::End);
    if !row_bytes.is_multiple_of(part) {
        leave(ops, Expr::at(i64::from(row_bytes / part * part)), row_bytes % part);
    }
}

/// What the second kernel of a split product does before it loads: 1.41 to 1.6 us for ten CTAs, where a kernel that loads, adds and
/// stores takes 0.81 (`device_products.csv`, `device_issue.csv`): parameters of its many epilogues, one after another.
const REDUCTION_SETUP_NS: f64 = 650.0;

/// The second kernel of a split product: sums `split` workspaces of single precision into C.
pub fn split_reduce(g: &Gemm, split: u32) -> Kernel {
    let per_cta = 1024u32;
    let elements = u64::from(g.m) * u64::from(g.n) * u64::from(g.batch);
    let items: Vec<[i32; WORK_VARS]> =
        (0..elements.div_ceil(u64::from(per_cta))).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect();
    let read = Tile {
        tensor: 0,
        row: Expr::default().plus_loop(0, 1),
        byte: Expr::work(0, i64::from(per_cta * 4)),
        rows: 1,
        bytes: per_cta * 4,
    };
    let write = Tile {
        tensor: 1,
        row: Expr::default(),
        byte: Expr::work(0, i64::from(per_cta * g.out_bytes)),
        rows: 1,
        bytes: per_cta * g.out_bytes,
    };
    let n = f64::from(per_cta);
    let ops = vec![
        Op::Setup(REDUCTION_SETUP_NS),
        Op::Loop(Trips::Const(split)),
        copy(read, Path::Load, 0),
        Op::End,
        Op::Wait(0),
        Op::Vector(super::lanes(n, f64::from(split), 0.5, 0.0, 0.5)),
        Op::Store { tile: write, reduce: false },
    ];
    Kernel {
        name: format!("split reduction of {split}"),
        threads: 512,
        registers: super::PLAIN_REGISTERS,
        shared_bytes: 1024,
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors: vec![
            Tensor { rows: u64::from(split), row_bytes: elements * 4, piece_bytes: 4096, piece_rows: 1 },
            Tensor { rows: 1, row_bytes: elements * u64::from(g.out_bytes), piece_bytes: 4096, piece_rows: 1 },
        ],
        barriers: vec![Barrier { arrivals: split, credits: 0 }],
        roles: one_role(16, ops),
        pipelined: false,
    }
}
