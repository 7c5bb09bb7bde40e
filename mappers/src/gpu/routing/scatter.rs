//! `index_add`: rows added to rows of another matrix, by atomic additions in L2.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::{signed, turns};
use crate::gpu::fused::program::{Grid, Plain, load, load_l1, matrix, part, set_up, shared_part};
use crate::gpu::{PLAIN_REGISTERS, lanes};

/// Rows of 16-bit numbers added to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexAdd {
    /// Rows that are added.
    pub rows: u64,
    /// Columns.
    pub columns: u64,
    /// Rows that they are added to.
    pub into: u64,
}

/// Indices that are taken one after another (`indexFuncSmallIndex`).
const FEW: u64 = 16;
const THREADS: u64 = 128;
/// Cycles for which an addition holds its slice: 103 G of them a second on distinct words (`atomic_add` in `microbenchmarks_steady.csv`), 60 a cycle of 128 slices.
const SLICE_CYCLES: f64 = 2.0;
/// Bytes that the machine's slices move for a byte that is added: read and written, twice each for the turn of the bus, and half again on the way to the other half.
const MOVED: f64 = 6.0;

/// `y.index_add_(0, index, x)`. Tensors: x, index (64 bits), y (read, added to and written in L2).
///
/// A lane adds one number of 16 bits, as a pair of which the other half is zero, and each addition takes its slice by itself, as those of single words do: lanes of a warp do not share one.
pub fn index_add(call: &IndexAdd, spec: &GpuSpec) -> Kernel {
    let (rows, columns, into) = (call.rows.max(1), call.columns.max(1), call.into.max(1));
    let few = rows <= FEW;
    let row = columns * 2;
    let piece = (THREADS * 2).min(row);
    let chunks = row.div_ceil(piece);
    // A slice's cycles as bytes: so many times a lane's two.
    let times = (SLICE_CYCLES * spec.l2.slice_bytes_per_cycle / MOVED / 2.0).floor().clamp(1.0, 64.0) as u32;
    let add = |tile: Tile| {
        // The additions of a CTA.
        [Op::Loop(Trips::Const(times)), Op::Store { tile, reduce: true }, Op::End]
    };
    let index = lanes(THREADS as f64, 6.0, 12.0, 0.0, 8.0);
    let work = Op::Vector(VectorWork { stall: 2.5, ..index });
    let tensors = vec![matrix(rows, row, piece), matrix(1, rows * 8, 256), matrix(into, row, piece)];
    let (ops, ctas, name) = if few {
        let along = |tensor| Tile { byte: Expr::work(0, signed(piece)), ..part(tensor, 0, 0, piece) };
        let from = Tile { row: Expr::default().plus_loop(0, 1), ..along(0) };
        let to = Tile { row: Expr::default().plus_loop(0, 1), ..along(2) };
        let place = Tile { byte: Expr::default().plus_loop(0, 8), ..shared_part(1, 0, 0, 8) };
        let mut ops = vec![set_up(4, 40.0), Op::Loop(Trips::Const(turns(rows)))];
        ops.extend([load_l1(place, 0), Op::Wait(0), work, load(from, 0), Op::Wait(0)]);
        ops.extend(add(to));
        ops.push(Op::End);
        (ops, chunks.min(u64::from(spec.sms()) * 8), "few")
    } else {
        // Item: row of x, chunk of it, row of y.
        let from = part(0, 0, piece, piece);
        let to = Tile { row: Expr::work(2, 1), ..part(2, 0, piece, piece) };
        let place = Tile { byte: Expr::work(0, 8), ..shared_part(1, 0, 0, 8) };
        let mut ops = vec![work, load_l1(place, 0), Op::Wait(0), load(from, 0), Op::Wait(0)];
        ops.extend(add(to));
        ops.push(Op::Next);
        (ops, rows.saturating_mul(chunks), "many")
    };
    let mut kernel = Plain {
        name: format!("addition of {rows} rows ({name}) of {columns}"),
        grid: if few { Grid { x: ctas, y: 1 } } else { Grid { x: chunks, y: rows } },
        warps: (THREADS / 32) as u32,
        registers: PLAIN_REGISTERS,
        shared_bytes: 0,
        tensors,
        arrivals: vec![1],
        ops,
    }
    .kernel();
    if !few {
        for item in &mut kernel.items {
            let row = u64::from(item[1].unsigned_abs());
            // Which rows is by chance.
            let to = (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % into;
            *item = [item[1], item[0], i32::try_from(to).unwrap_or(i32::MAX), 0, 0, 0];
        }
        // Eight CTAs an SM go through all of it (`indexFuncLargeIndex`).
        kernel.grid = kernel.grid.min(spec.sms() * 8).max(1);
    }
    kernel
}
