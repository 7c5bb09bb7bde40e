//! Softmax over rows of single precision: probabilities of a router.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips, VectorWork};

use super::super::PLAIN_REGISTERS;
use super::program::{Grid, Plain, each, load, matrix, part, set_up, store};
use crate::gpu::reduction;

/// Columns up to which a warp has a row or two in registers (`softmax_warp_forward` of PyTorch).
const OF_A_WARP: u64 = 1024;

/// Softmax of rows of numbers of four bytes. Tensors: input, output.
///
/// Up to 1024 columns: a row, or two of up to 128, in the registers of a group of lanes, 128 threads a CTA
/// (`PersistentSoftmax.cuh`); else a CTA of up to 1024 threads a row, which is read three times.
pub fn softmax_rows(rows: u64, columns: u64) -> Kernel {
    let (rows, columns) = (rows.max(1), columns.max(1));
    let row = columns * 4;
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    if columns <= OF_A_WARP {
        let padded = columns.next_power_of_two();
        let lanes = padded.min(32);
        let batch = if padded <= 128 { 2 } else { 1 };
        let per_cta = 128 / lanes * batch;
        let tile = |tensor| Tile {
            row: Expr::work(0, signed(per_cta)),
            byte: Expr::default(),
            rows: per_cta as u32,
            ..part(tensor, 0, 0, row)
        };
        let elements = (padded * per_cta) as f64;
        // Two reductions of shuffles with an operation each, for every row of the group.
        let steps = f64::from(lanes.ilog2()) * 2.0 * batch as f64;
        let shuffles = VectorWork {
            issue: 4.0 * steps * 2.0,
            latency_cycles: steps * 30.0 / batch as f64,
            ..VectorWork::default()
        };
        let ops = vec![
            set_up(4, 50.0),
            load(tile(0), 0),
            Op::Wait(0),
            each(elements, 2.0, 3.0, 1.0, 1.0),
            Op::Vector(shuffles),
            // A division each: a reciprocal with its range checked.
            each(elements, 5.0, 2.0, 1.0, 1.0),
            store(tile(1)),
        ];
        let piece = row.min(1024);
        let tensor = matrix(rows, row, piece);
        let tensor = banksia_hw::gpu::program::Tensor { piece_rows: per_cta.min(8) as u32, ..tensor };
        return Plain {
            name: format!("softmax of {rows}x{columns}"),
            grid: Grid { x: rows.div_ceil(per_cta), y: 1 },
            warps: 4,
            registers: PLAIN_REGISTERS,
            shared_bytes: 0,
            tensors: vec![tensor, tensor],
            arrivals: vec![1],
            ops,
        }
        .kernel();
    }
    let threads = columns.div_ceil(4).next_multiple_of(32).min(1024);
    let chunk = (threads * 4).min(columns);
    let turns = columns.div_ceil(chunk).clamp(1, 1 << 24) as u32;
    let tile = |tensor| {
        let mut tile = part(tensor, 0, 0, chunk * 4);
        tile.byte = tile.byte.plus_loop(0, signed(chunk * 4));
        tile
    };
    let warps = (threads / 32) as u32;
    let n = chunk as f64;
    let pass = |work: Op| [Op::Loop(Trips::Const(turns)), load(tile(0), 0), Op::Wait(0), work];
    let mut ops = vec![set_up(warps, 60.0)];
    for exponential in [0.0, 1.0] {
        ops.extend(pass(each(n, exponential, 2.0, exponential, 0.5)));
        ops.extend([Op::End, Op::Vector(reduction(warps)), Op::Sync, Op::Sync]);
    }
    ops.extend(pass(each(n, 2.0, 2.0, 1.0, 0.5)));
    ops.extend([store(tile(1)), Op::End]);
    let tensor = matrix(rows, row, chunk * 4);
    Plain {
        name: format!("softmax of {rows}x{columns}"),
        grid: Grid { x: rows, y: 1 },
        warps,
        registers: PLAIN_REGISTERS,
        shared_bytes: 1024,
        tensors: vec![tensor, tensor],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}
