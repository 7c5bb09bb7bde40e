//! What kernels over rows are put together from.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, VectorWork, WORK_VARS};

use super::super::{copy, lanes, one_role};

/// Work items of a kernel at most: of more CTAs, several that follow each other are one item.
const MOST_ITEMS: u64 = 1 << 22;

/// A grid of so many CTAs along each of two axes, the first fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Along x.
    pub(crate) x: u64,
    /// Along y.
    pub(crate) y: u64,
}

impl Grid {
    /// Items `[x, y]`; of axes that are too long together, x is cut.
    fn items(self) -> Vec<[i32; WORK_VARS]> {
        let y = self.y.clamp(1, MOST_ITEMS);
        let x = self.x.clamp(1, (MOST_ITEMS / y).max(1));
        (0..y).flat_map(|y| (0..x).map(move |x| [x as i32, y as i32, 0, 0, 0, 0])).collect()
    }
}

/// A kernel whose CTAs all run the same few instructions, once each.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    /// In reports.
    pub(crate) name: String,
    /// CTAs.
    pub(crate) grid: Grid,
    /// Warps of a CTA.
    pub(crate) warps: u32,
    /// Registers of a thread.
    pub(crate) registers: u32,
    /// Shared memory of a CTA.
    pub(crate) shared_bytes: u32,
    /// What it touches.
    pub(crate) tensors: Vec<Tensor>,
    /// Copies that complete a phase of each barrier.
    pub(crate) arrivals: Vec<u32>,
    /// What a CTA does.
    pub(crate) ops: Vec<Op>,
}

impl Plain {
    pub(crate) fn kernel(self) -> Kernel {
        let items = self.grid.items();
        let warps = self.warps.clamp(1, 32);
        Kernel {
            name: self.name,
            threads: warps * 32,
            registers: self.registers,
            shared_bytes: self.shared_bytes,
            cluster: 1,
            grid: u32::try_from(items.len()).unwrap_or(u32::MAX),
            items,
            tensors: self.tensors,
            barriers: self.arrivals.into_iter().map(|n| Barrier { arrivals: n.max(1), credits: 0 }).collect(),
            roles: one_role(warps, self.ops),
            pipelined: false,
        }
    }
}

/// A matrix of `rows` of so many bytes, read in pieces of a CTA's share of a row.
pub(crate) fn matrix(rows: u64, row_bytes: u64, piece_bytes: u64) -> Tensor {
    let piece = piece_bytes.clamp(32, 1 << 16) as u32;
    Tensor::matrix(rows.max(1), row_bytes.max(1), 1, piece.next_power_of_two().min(1 << 16))
}

/// A part of a row: row `x` of the item, from `first` on, `step` bytes further for each `y`.
pub(crate) fn part(tensor: u8, first: u64, step: u64, bytes: u64) -> Tile {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Tile {
        tensor,
        row: Expr::work(0, 1),
        byte: Expr::at(signed(first)).plus_work(1, signed(step)),
        rows: 1,
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
    }
}

/// The same part of the one row of a vector that all rows share.
pub(crate) fn shared_part(tensor: u8, first: u64, step: u64, bytes: u64) -> Tile {
    Tile { row: Expr::default(), ..part(tensor, first, step, bytes) }
}

pub(crate) fn load(tile: Tile, barrier: u8) -> Op {
    copy(tile, Path::Load, barrier)
}

pub(crate) fn load_l1(tile: Tile, barrier: u8) -> Op {
    copy(tile, Path::LoadL1, barrier)
}

pub(crate) fn store(tile: Tile) -> Op {
    Op::Store { tile, reduce: false }
}

/// Work of `n` elements, each with so many FMA, integer, special-function and other instructions of a lane.
pub(crate) fn each(n: f64, fma: f64, alu: f64, sfu: f64, other: f64) -> Op {
    Op::Vector(VectorWork { stall: STALL, ..lanes(n, fma, alu, sfu, other) })
}

/// Cycles that a warp of a kernel over rows waits after an instruction, on average (profiles of PyTorch's norms, softmax and elementwise
/// kernels, `device_profiles.csv`: 2.5 to 4.2).
pub(crate) const STALL: f64 = 2.5;

/// Cycles that a launch's first warps wait for its parameters: they lie in constant memory that no SM has read before, one way to the other half of L2
/// (`latency_cg` of the H200). With them the four kernels of `device_intervals.csv` take 1.9 to 2.2 us for one row, as measured there; without, 1.2 to 1.9.
const PARAMETERS_CYCLES: f64 = 471.0;

/// Instructions of every warp before its first load and between: parameters, indices, addresses, predicates (35 to 60 of them in the
/// kernels' SASS).
pub(crate) fn set_up(warps: u32, instructions: f64) -> Op {
    let issue = instructions * f64::from(warps);
    Op::Vector(VectorWork {
        issue,
        alu: issue * 16.0,
        stall: STALL,
        latency_cycles: PARAMETERS_CYCLES,
        ..VectorWork::default()
    })
}
