//! Conversion of 16-bit activations to 8 bits, as serving frameworks launch it before an 8-bit product.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, Trips};

use super::{PLAIN_REGISTERS, copy, lanes, one_role, reduction};

/// Lane operations an element: of a maximum of magnitudes, and of scaling, clamping and converting (two elements to a
/// conversion). Counted by hand from the arithmetic.
const MAXIMUM: (f64, f64) = (0.0, 2.0);
const CONVERSION: (f64, f64) = (1.0, 2.5);

/// Elements that a thread has under way at once: four vectors of sixteen bytes (assumed unrolling).
const AHEAD: u32 = 32;

/// One scale for all: a launch goes through each row for the maximum, a second converts, a CTA a row each (`dynamic_scaled_fp8_quant` of
/// vLLM, and the same in TensorRT-LLM).
pub fn whole(rows: u32, columns: u32) -> [Kernel; 2] {
    let threads = columns.div_ceil(8).next_multiple_of(32).clamp(32, 256);
    // As many elements in each turn as a whole number of turns allows.
    let turns = columns.div_ceil(threads * AHEAD).max(1);
    let chunk = columns.div_ceil(turns).next_multiple_of(16);
    let n = f64::from(chunk);
    let turn = |work| [Op::Loop(Trips::Const(turns)), copy(tile(0, chunk * 2), Path::Load, 0), Op::Wait(0), work];
    let mut first = turn(Op::Vector(lanes(n, MAXIMUM.0, MAXIMUM.1, 0.0, 0.3))).to_vec();
    let scale = Tile { row: Expr::default(), byte: Expr::default(), rows: 1, bytes: 4, tensor: 1 };
    first.extend([Op::End, Op::Vector(reduction(threads / 32)), Op::Sync, Op::Store { tile: scale, reduce: true }]);
    let mut second = turn(Op::Vector(lanes(n, CONVERSION.0, CONVERSION.1, 0.0, 0.6))).to_vec();
    second.extend([Op::Store { tile: tile(1, chunk), reduce: false }, Op::End]);
    [("maximum", first), ("conversion", second)]
        .map(|(what, ops)| kernel(format!("quantise {rows}x{columns}: {what}"), rows, columns, threads, chunk, ops))
}

/// A scale for each group of neighbouring elements: one pass, the group stays in registers.
pub fn by_group(elements: u64) -> Kernel {
    let per_cta = 8192u32;
    let ctas = elements.div_ceil(u64::from(per_cta)).clamp(1, u64::from(u32::MAX)) as u32;
    let n = f64::from(per_cta);
    let (fma, alu) = (MAXIMUM.0 + CONVERSION.0, MAXIMUM.1 + CONVERSION.1);
    let ops = vec![
        copy(tile(0, per_cta * 2), Path::Load, 0),
        Op::Wait(0),
        Op::Vector(lanes(n, fma, alu, 0.0, 0.9)),
        Op::Store { tile: tile(1, per_cta), reduce: false },
    ];
    kernel(format!("quantise groups {elements}"), ctas, per_cta, 256, per_cta, ops)
}

fn tile(tensor: u8, bytes: u32) -> Tile {
    let byte = Expr::default().plus_loop(0, i64::from(bytes));
    Tile { tensor, row: Expr::work(0, 1), byte, rows: 1, bytes }
}

fn kernel(name: String, rows: u32, columns: u32, threads: u32, chunk: u32, ops: Vec<Op>) -> Kernel {
    let matrix =
        |bytes: u32| Tensor::matrix(u64::from(rows), u64::from(columns * bytes), 1, (chunk * bytes).clamp(32, 1 << 16));
    Kernel {
        name,
        threads,
        registers: PLAIN_REGISTERS,
        shared_bytes: 1024,
        cluster: 1,
        grid: rows.max(1),
        items: (0..rows.max(1)).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect(),
        tensors: vec![matrix(2), matrix(1)],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: one_role(threads / 32, ops),
        pipelined: false,
    }
}
