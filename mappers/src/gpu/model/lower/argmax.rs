//! The choice of a token, as plain PyTorch makes it.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op as TileOp, Path, Tensor, Tile, Trips};

use crate::gpu::{copy, lanes, one_role, reduction};

/// The index of the largest of each row: a CTA a row, 8192 elements a turn, a comparison and two selections each.
pub(super) fn argmax(rows: u32, columns: u32) -> Kernel {
    const TURN: u32 = 8192;
    let x = Tile {
        tensor: 0,
        row: Expr::work(0, 1),
        byte: Expr::default().plus_loop(0, i64::from(TURN * 2)),
        rows: 1,
        bytes: TURN * 2,
    };
    let y = Tile { tensor: 1, row: Expr::work(0, 1), byte: Expr::default(), rows: 1, bytes: 8 };
    let ops = vec![
        TileOp::Loop(Trips::Const(columns.div_ceil(TURN).max(1))),
        copy(x, Path::Load, 0),
        TileOp::Wait(0),
        TileOp::Vector(lanes(f64::from(columns.min(TURN)), 0.0, 3.0, 0.0, 1.0)),
        TileOp::End,
        TileOp::Vector(reduction(32)),
        TileOp::Sync,
        TileOp::Sync,
        TileOp::Store { tile: y, reduce: false },
    ];
    Kernel {
        name: format!("argmax {rows}x{columns}"),
        threads: 1024,
        registers: 32,
        shared_bytes: 1024,
        cluster: 1,
        grid: rows.max(1),
        items: (0..rows.max(1)).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect(),
        tensors: vec![
            Tensor::matrix(u64::from(rows), u64::from(columns) * 2, 1, TURN * 2),
            Tensor::matrix(u64::from(rows), 8, 1, 32),
        ],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: one_role(32, ops),
        pipelined: false,
    }
}
