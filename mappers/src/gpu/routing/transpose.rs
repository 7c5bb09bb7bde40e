//! `x.t().contiguous()`.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tensor, Tile, Trips, VectorWork};

use super::signed;
use crate::gpu::fused::program::{Grid, Plain, load, matrix, part, set_up, store};
use crate::gpu::{PLAIN_REGISTERS, lanes};

/// Elements of a CTA, and of one of its four turns.
const PER_CTA: u64 = 512;
const PER_TURN: u64 = 128;
/// Bytes that a slice of L2 moves in a cycle, however few of them are wanted: 157 G sectors of 32 bytes a second by chance (`random_sectors` in `microbenchmarks.csv`),
/// of 218 G cycles of 128 slices, where half of the lines pass two halves.
const SECTOR: u64 = 64;

/// The transposed copy of `[rows, columns]` of elements of so many bytes. Tensors: input, output `[columns, rows]`.
///
/// PyTorch's strided copy goes along the output: every element that it reads lies in a row of its own, and takes a cycle of a slice.
pub fn transpose_copy(rows: u64, columns: u64, element_bytes: u32) -> Kernel {
    let (rows, columns, e) = (rows.max(1), columns.max(1), u64::from(element_bytes.max(1)));
    let per_sector = (SECTOR / e).max(1);
    let down = rows.div_ceil(PER_CTA);
    // Item: part of a column of the input, column.
    let from = Tile {
        tensor: 0,
        row: Expr::work(0, signed(PER_CTA)).plus_loop(0, signed(PER_TURN)),
        byte: Expr::work(2, signed(SECTOR)),
        rows: PER_TURN as u32,
        bytes: SECTOR as u32,
    };
    let to = Tile {
        row: Expr::work(1, 1),
        byte: Expr::work(0, signed(PER_CTA * e)).plus_loop(0, signed(PER_TURN * e)),
        ..part(1, 0, 0, PER_TURN * e)
    };
    let places = VectorWork { stall: 2.5, ..lanes(PER_TURN as f64, 8.0, 10.0, 0.0, 4.0) };
    let ops = vec![
        set_up(4, 25.0),
        Op::Loop(Trips::Const((PER_CTA / PER_TURN) as u32)),
        Op::Vector(places),
        load(from, 0),
        Op::Wait(0),
        store(to),
        Op::End,
    ];
    let mut kernel = Plain {
        name: format!("transposed copy of {rows}x{columns}"),
        grid: Grid { x: down, y: columns },
        warps: 4,
        registers: PLAIN_REGISTERS,
        shared_bytes: 0,
        tensors: vec![
            Tensor::matrix(rows, columns * e, PER_TURN as u32, SECTOR as u32),
            matrix(columns, rows * e, PER_TURN * e),
        ],
        arrivals: vec![1],
        ops,
    }
    .kernel();
    for item in &mut kernel.items {
        item[2] = i32::try_from(u64::from(item[1].unsigned_abs()) / per_sector).unwrap_or(i32::MAX);
    }
    kernel
}
