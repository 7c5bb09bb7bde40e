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
/// vLLM).
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

/// CTAs that TensorRT-LLM launches, whatever the size, and their threads: for the maximum, and to convert.
const SCALAR_CTAS: u32 = 1024;
const SCALAR_THREADS: [u32; 2] = [1024, 256];
/// Loads of a thread under way: the loop for the maximum is unrolled; the one that converts may write what it reads next,
/// as far as its compiler knows.
const SCALAR_AHEAD: [u32; 2] = [4, 1];

/// One scale for all as TensorRT-LLM launched it before its conversion took vectors (`invokeComputeScalesAndQuantizeMatrix` in `cudaFp8Utils.cu`): the scale is zeroed, then 1024
/// CTAs each go through the whole matrix element by element, once for the maximum and once to convert.
pub fn whole_by_element(elements: u64) -> [Kernel; 3] {
    let part = |i: usize| {
        let threads = SCALAR_THREADS[i];
        let grid = u64::from(SCALAR_CTAS);
        let turns = elements.div_ceil(grid * u64::from(threads)).clamp(1, 1 << 24) as u32;
        let ahead = SCALAR_AHEAD[i].min(turns);
        let row = elements.min(grid * u64::from(threads));
        // An element of all threads is a row; a thread's next one is in the next.
        let tile = |tensor: u8, bytes: u32| Tile {
            tensor,
            row: Expr::default().plus_loop(0, i64::from(ahead)),
            byte: Expr::work(0, i64::from(threads * bytes)),
            rows: ahead,
            bytes: threads * bytes,
        };
        let n = f64::from(threads * ahead);
        let (fma, alu) = if i == 0 { MAXIMUM } else { CONVERSION };
        // A load, an address of 64 bits and the loop for each element.
        let mut ops = vec![
            Op::Loop(Trips::Const(turns.div_ceil(ahead))),
            copy(tile(0, 2), Path::Load, 0),
            Op::Wait(0),
            Op::Vector(lanes(n, fma, alu + 3.0, 0.0, 2.0)),
        ];
        if i == 0 {
            let scale = Tile { row: Expr::default(), byte: Expr::default(), rows: 1, bytes: 4, tensor: 1 };
            ops.extend([
                Op::End,
                Op::Vector(reduction(threads / 32)),
                Op::Sync,
                Op::Store { tile: scale, reduce: true },
            ]);
        } else {
            ops.extend([Op::Store { tile: tile(1, 1), reduce: false }, Op::End]);
        }
        let matrix = |bytes: u64| {
            Tensor::matrix(u64::from(turns), row * bytes, ahead, (threads * bytes as u32).clamp(32, 1 << 16))
        };
        let mut k = kernel(format!("quantise {elements} by element: part {i}"), SCALAR_CTAS, 16, threads, 16, ops);
        k.tensors = vec![matrix(2), matrix(1)];
        k
    };
    let mut zero = part(0);
    zero.name = "quantise: scale to zero".into();
    zero.items.truncate(1);
    zero.grid = 1;
    zero.threads = 32;
    let word = Tile { row: Expr::default(), byte: Expr::default(), rows: 1, bytes: 4, tensor: 1 };
    zero.roles = one_role(1, vec![Op::Store { tile: word, reduce: false }]);
    [zero, part(0), part(1)]
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
