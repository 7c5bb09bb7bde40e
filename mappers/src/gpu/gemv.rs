//! Products of few rows on the lanes: what cuBLAS launches where neither bulk copies nor wide loads are possible.
//!
//! Grids, threads, registers and shared memory are those of its kernels (`tests/reference/gpu/device_unaligned.csv`); so is what each has
//! under way, which bounds them: the matrix is read from memory once, a turn at a time.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, Trips, WORK_VARS};

use super::gemm::Gemm;
use super::rows::ElementWork;
use super::{copy, one_role, reduction};

/// Which of its kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gemv {
    /// A warp a CTA with four columns, nearly all of them under way (`gemvx::kernel`).
    Warp,
    /// Four warps with eight columns, sixteen elements of a thread under way (`gemv2T_kernel_val`).
    Columns,
    /// The same for a few rows, half as much under way, through shared memory (`gemmSN_TN_kernel`).
    Rows,
}

impl Gemv {
    /// The kernel that is taken for so many rows where elements lie on no more than so many bytes; none: the matrix units are taken.
    ///
    /// One row, whatever the alignment: a warp a CTA up to about two CTAs an SM (between 1024 and 4097 columns on 132 SMs). Two to eight rows
    /// where elements lie on two bytes only (measured for four).
    pub fn of(g: &Gemm, lie_on: u32, sms: u32) -> Option<Self> {
        let columns = g.n.saturating_mul(g.batch);
        match g.m {
            1 if columns.div_ceil(Self::Warp.columns()) <= 4 * sms => Some(Self::Warp),
            1 => Some(Self::Columns),
            2..=8 if lie_on <= 2 => Some(Self::Rows),
            _ => None,
        }
    }

    /// Columns of a CTA.
    pub fn columns(self) -> u32 {
        match self {
            Self::Warp => 4,
            Self::Columns | Self::Rows => 8,
        }
    }

    /// Elements of a column under way.
    pub fn depth(self) -> u32 {
        match self {
            Self::Warp => 4096,
            Self::Columns => 256,
            Self::Rows => 128,
        }
    }

    /// Warps and registers of a thread, and shared memory of a CTA.
    pub(super) fn takes(self) -> (u32, u32, u32) {
        match self {
            Self::Warp => (1, 158, 528),
            Self::Columns => (4, 66, 2560),
            Self::Rows => (4, 89, 6144),
        }
    }

    /// Before the first load, in nanoseconds: what the rows leave at no depth beyond a kernel that loads, adds and stores (parameters of
    /// several hundred bytes, read one after another).
    fn setup_ns(self) -> f64 {
        match self {
            Self::Warp => 2000.0,
            Self::Columns => 1100.0,
            Self::Rows => 1300.0,
        }
    }

    /// Lane operations of an element of the matrix. By how much a turn is longer on an SM with more CTAs says how many instructions a warp has
    /// in it: about a dozen an element in the second kernel, two dozen for four rows in the third.
    fn work(self, rows: f64) -> ElementWork {
        match self {
            Self::Warp => ElementWork { fma: rows, alu: 1.0, sfu: 0.0, other: 0.4, stall: 0.0 },
            Self::Columns => ElementWork { fma: rows, alu: 6.0, sfu: 0.0, other: 6.0, stall: 2.5 },
            Self::Rows => ElementWork { fma: rows, alu: 2.0 + 2.5 * rows, sfu: 0.0, other: 2.5 * rows, stall: 0.5 },
        }
    }
}

/// The kernel: every turn reads so much of its columns and of the rows, converts, multiplies and adds.
pub fn gemv(g: &Gemm, kind: Gemv) -> Kernel {
    let e = g.dtype.bytes();
    let (columns, depth) = (kind.columns(), kind.depth().min(g.k.max(1)));
    let (warps, registers, shared_bytes) = kind.takes();
    let turns = g.k.div_ceil(depth).max(1);
    let groups = g.n.div_ceil(columns);
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity((groups * g.batch) as usize);
    for b in 0..g.batch {
        items.extend((0..groups).map(|c| [c, b * g.m, b * g.n, 0, 0, 0].map(|x: u32| x as i32)));
    }
    let byte = Expr::default().plus_loop(0, i64::from(depth * e));
    let rows = Tile { tensor: 0, row: Expr::work(1, 1), byte, rows: g.m, bytes: depth * e };
    let matrix = Tile {
        tensor: 1,
        row: Expr::work(0, i64::from(columns)).plus_work(2, 1),
        byte,
        rows: columns,
        bytes: depth * e,
    };
    let out = Tile {
        tensor: 2,
        row: Expr::work(1, 1),
        byte: Expr::work(0, i64::from(columns * g.out_bytes)),
        rows: g.m,
        bytes: columns * g.out_bytes,
    };
    let product = Op::Vector(kind.work(f64::from(g.m)).of(f64::from(columns * depth)));
    let turn = [Op::Loop(Trips::Const(turns)), copy(rows, Path::LoadL1, 0), copy(matrix, Path::Load, 0)];
    let mut ops = vec![Op::Setup(kind.setup_ns())];
    ops.extend(turn);
    ops.push(Op::Wait(0));
    if kind == Gemv::Rows {
        ops.push(Op::Sync);
    }
    ops.extend([product, Op::End, Op::Vector(reduction(warps)), Op::Sync, Op::Store { tile: out, reduce: false }]);
    let mut tensors = g.tensors(g.m, columns, (depth * e).min(512));
    tensors[2] = Tensor::matrix(
        u64::from(g.batch) * u64::from(g.m),
        u64::from(g.n) * u64::from(g.out_bytes),
        g.m,
        columns * g.out_bytes,
    );
    Kernel {
        name: format!("gemm {}x{}x{} on lanes, {columns} columns a CTA", g.m, g.n, g.k),
        threads: 32 * warps,
        registers,
        shared_bytes,
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: vec![Barrier { arrivals: 2, credits: 0 }],
        roles: one_role(warps, ops),
        pipelined: false,
    }
}
