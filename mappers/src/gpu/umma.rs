//! Products by `tcgen05.mma`, as libraries for Blackwell write them: one warp copies in bulk, one thread issues, sums lie in a memory of their
//! own, and four warps take a tile out while the next is multiplied.
//!
//! The structure is that of CUTLASS's `sm100_mma_warpspecialized` collectives (BSD-3; tutorial `blackwell`, example 70) and of PTX ISA 8.7: an
//! instruction has 128 rows of one CTA, or 256 of two CTAs on neighbouring SMs of which each has half of the rows and half of the other
//! operand; up to 256 columns; 32 bytes of depth. No kernel of a Blackwell chip has been measured for this project.

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Multicast, Op, Path, Role, Tensor, Tile, Trips, WORK_VARS,
};
use banksia_hw::gpu::spec::GpuSpec;

use super::gemm::{AROW, BROW, Gemm, K0, NK, PM, PN, STAGING, epilogue, part, sharing};
use super::raster::Raster;

/// Rows of an instruction, all of one CTA.
pub const HEIGHT: u32 = 128;
/// Bytes of depth of a step: a row of the layout that operands are read in (`SWIZZLE_128B`).
const DEPTH_BYTES: u32 = 128;
/// Elements with one scale, and bytes of it (NVFP4; MXFP4 has 32).
const SCALED: u32 = 16;
/// Scales lie in blocks of 128 rows, each in one piece (`tcgen05.cp` of 32x128b, four times).
const SCALE_PIECE: u32 = 2048;

/// A tile of such a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umma {
    /// Columns; a CTA has [`HEIGHT`] rows.
    pub bn: u32,
    /// Two CTAs, one above the other, multiply together: each copies half of the columns' operand.
    pub pair: bool,
    /// CTAs of a cluster along rows and along columns; two or more along rows where they are pairs.
    pub cluster: (u32, u32),
    /// Buffers.
    pub stages: u32,
    /// Parts of the depth, written apart and summed by a second kernel.
    pub split: u32,
    /// Order of tiles.
    pub raster: Raster,
    /// CTAs launched at most: one an SM.
    pub grid: u32,
}

/// Barriers: full and empty buffers, the descriptor, sums that are complete and their places that are free.
const FULL: u8 = 0;
const EMPTY: u8 = 1;
const DESCRIPTOR: u8 = 2;
const SUMMED: u8 = 3;
const TAKEN: u8 = 4;

impl Umma {
    /// Elements of depth of a step.
    pub fn depth(dtype: Dtype) -> u32 {
        dtype.elements_in(DEPTH_BYTES)
    }

    /// Columns whose operand a CTA copies.
    fn own_columns(&self) -> u32 {
        if self.pair { (self.bn / 2).max(1) } else { self.bn }
    }

    /// Bytes of a buffer.
    pub fn step_bytes(&self, g: &Gemm) -> u32 {
        let rows = HEIGHT + self.own_columns();
        let scales = if g.dtype == Dtype::Fp4 { rows * Self::depth(g.dtype) / SCALED } else { 0 };
        rows * DEPTH_BYTES + scales
    }

    /// Shared memory of a CTA: buffers, part of C on its way out, barriers.
    pub fn shared_bytes(&self, g: &Gemm) -> u32 {
        self.stages * self.step_bytes(g) + STAGING + 1024
    }

    /// Tiles whose sums there is room for.
    fn places(&self, spec: &GpuSpec) -> u32 {
        (spec.tensor.memory_bytes / (HEIGHT * 4 * self.bn.next_multiple_of(32)).max(1)).clamp(1, 2)
    }
}

/// The kernel. With `split > 1` C is a workspace of `split` matrices of single precision.
pub fn umma(g: &Gemm, t: &Umma, spec: &GpuSpec) -> Kernel {
    let bk = Umma::depth(g.dtype);
    let (rows, columns) = (g.m.div_ceil(HEIGHT), g.n.div_ceil(t.bn));
    let steps = g.k.div_ceil(bk);
    let split = t.split.clamp(1, steps.max(1));
    let whole = g.fills(HEIGHT, t.bn, t.cluster);
    let half = t.own_columns();
    let mut items: Vec<[i32; WORK_VARS]> = Vec::new();
    for b in 0..g.batch {
        for s in 0..split {
            let (k0, nk) = part(steps, split, s);
            for (r, c) in t.raster.tiles(rows, columns, t.cluster, whole) {
                let second = if t.pair { r % 2 * half } else { 0 };
                items.push([r, c, k0, nk, b * g.m, b * g.n + second].map(|x| x as i32));
            }
        }
    }
    // CTAs of a cluster share what is the same for them: with pairs, every other one along rows has the same half.
    let (mut along_rows, along_columns) = if whole { sharing(t.cluster) } else { (Multicast::NONE, Multicast::NONE) };
    if t.pair {
        let pairs = along_rows.ctas / 2;
        along_rows = if pairs > 1 { Multicast { ctas: pairs, apart: along_rows.apart * 2 } } else { Multicast::NONE };
    }
    let step = i64::from(DEPTH_BYTES);
    let operand = |tensor, p, side: u32, first, height: u32| Tile {
        tensor,
        row: Expr::work(p, i64::from(side)).plus_work(first, 1),
        byte: Expr::default().plus_work(K0, step).plus_loop(0, step),
        rows: height,
        bytes: DEPTH_BYTES,
    };
    let nk = Trips::Work(NK as u8, 0);
    let bulk = |tile, multicast, barrier| Op::Copy { tile, path: Path::Bulk, multicast, barrier };
    let descriptor = Tile { tensor: 3, row: Expr::default(), byte: Expr::default(), rows: 1, bytes: 128 };
    let mut producer = vec![
        bulk(descriptor, Multicast::NONE, DESCRIPTOR),
        Op::Wait(DESCRIPTOR),
        Op::Loop(nk),
        Op::Wait(EMPTY),
        bulk(operand(0, PM, HEIGHT, AROW, HEIGHT), along_columns, FULL),
        bulk(operand(1, PN, t.bn, BROW, half), along_rows, FULL),
    ];
    let scaled = g.dtype == Dtype::Fp4;
    let scales = |side: u32| side * bk / SCALED;
    if scaled {
        let of = |tensor, p, side: u32| {
            let bytes = i64::from(scales(side));
            let byte = Expr::default().plus_work(K0, bytes).plus_loop(0, bytes);
            Tile { tensor, row: Expr::work(p, 1), byte, rows: 1, bytes: scales(side) }
        };
        producer.extend([bulk(of(4, PM, HEIGHT), along_columns, FULL), bulk(of(5, PN, t.bn), along_rows, FULL)]);
    }
    producer.extend([Op::End, Op::Next]);
    // One thread issues and goes on; a step's buffer is released when its products are done, while the next ones run.
    let product = Op::MmaQueued { dtype: g.dtype, m: HEIGHT, n: t.bn, k: bk };
    let multiply = vec![
        Op::Wait(TAKEN),
        Op::Loop(nk),
        Op::Wait(FULL),
        product,
        Op::MmaWait(1),
        Op::Arrive(EMPTY),
        Op::End,
        Op::MmaWait(0),
        Op::Arrive(SUMMED),
        Op::Next,
    ];
    let out = Gemm { out_bytes: if split > 1 { 4 } else { g.out_bytes }, ..*g };
    let mut leave = vec![Op::Wait(SUMMED)];
    leave_in_parts(&out, t, &mut leave);
    leave.push(Op::Next);
    let piece = |ctas: Multicast, side: u32| (side / u32::from(ctas.ctas)).max(1);
    let mut tensors = g.tensors(piece(along_columns, HEIGHT), piece(along_rows, half), DEPTH_BYTES);
    tensors[2] = out.tensors(HEIGHT, t.bn, 128)[2];
    tensors.push(Tensor::stream(128));
    if scaled {
        let block = |tiles: u32, side: u32| {
            let row = u64::from(steps) * u64::from(scales(side));
            Tensor::matrix(
                u64::from(tiles) * u64::from(g.batch),
                row,
                1,
                scales(side).next_power_of_two().min(SCALE_PIECE),
            )
        };
        tensors.extend([block(rows, HEIGHT), block(columns, t.bn)]);
    }
    let grid = t.grid.max(1).min(items.len() as u32);
    let arrivals = if scaled { 4 } else { 2 };
    let barrier = |arrivals, credits| Barrier { arrivals, credits };
    Kernel {
        name: format!(
            "gemm {}x{}x{} umma {}x{}x{bk} stages {} cluster {}x{} split {split}",
            g.m,
            g.n,
            g.k,
            if t.pair { 2 * HEIGHT } else { HEIGHT },
            t.bn,
            t.stages,
            t.cluster.0,
            t.cluster.1
        ),
        threads: 192,
        registers: 168,
        shared_bytes: t.shared_bytes(g),
        cluster: t.cluster.0 * t.cluster.1,
        grid,
        items,
        tensors,
        barriers: vec![
            barrier(arrivals, 0),
            barrier(1, t.stages.saturating_sub(1).clamp(1, 16)),
            barrier(1, 0),
            barrier(1, 0),
            barrier(1, t.places(spec)),
        ],
        roles: vec![Role { warps: 4, ops: leave }, Role { warps: 1, ops: multiply }, Role { warps: 1, ops: producer }],
        pipelined: true,
    }
}

/// A tile of C leaves through a buffer, part by part; its place among the sums is free when the last part has been read.
fn leave_in_parts(out: &Gemm, t: &Umma, ops: &mut Vec<Op>) {
    let row_bytes = t.bn * out.out_bytes;
    let part = (STAGING / HEIGHT).next_multiple_of(32).min(row_bytes);
    let tile = |byte: Expr, bytes: u32| Tile {
        tensor: 2,
        row: Expr::work(PM, i64::from(HEIGHT)).plus_work(AROW, 1),
        byte: byte.plus_work(PN, i64::from(row_bytes)),
        rows: HEIGHT,
        bytes,
    };
    let leave = |ops: &mut Vec<Op>, byte: Expr, bytes: u32| {
        let work = epilogue(HEIGHT, bytes / out.out_bytes, out.out_bytes);
        ops.extend([Op::StoreWait, Op::Vector(work), Op::Store { tile: tile(byte, bytes), reduce: false }]);
    };
    let whole = row_bytes / part;
    let rest = row_bytes % part;
    if whole > 0 {
        ops.push(Op::Loop(Trips::Const(whole)));
        leave(ops, Expr::default().plus_loop(0, i64::from(part)), part);
        ops.push(Op::End);
    }
    if rest > 0 {
        leave(ops, Expr::at(i64::from(whole * part)), rest);
    }
    ops.push(Op::Arrive(TAKEN));
}
