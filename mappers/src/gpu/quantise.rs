//! Conversion of 16-bit activations to 8 bits, as serving frameworks launch it before an 8-bit product.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork};

use super::{PLAIN_REGISTERS, copy, lanes, one_role, reduction};

/// Lane operations an element of a maximum of magnitudes. Counted by hand from the arithmetic.
const MAXIMUM: (f64, f64) = (0.0, 2.0);
/// Of scaling, clamping, converting and packing: 130 instructions of a warp a turn of sixteen elements a thread are counted, loads, addresses and
/// the store among them, at 1.9 cycles each (Nsight Compute, the kernels of `device_cutlass.csv`).
const CONVERSION: (f64, f64) = (1.0, 4.5);
const CONVERSION_BESIDE: f64 = 2.6;
const CONVERSION_STALL: f64 = 0.9;

/// Elements that a thread has under way at once: one vector.
const AHEAD: u32 = 16;

/// Before a warp converts its first element: it misses the constant cache for parameters and limits one after the other (`imc_miss`: 650 cycles
/// of the only warp that works; kernels of a few rows take 0.5 to 0.7 us longer than their load, conversion and store).
const CONSTANTS_NS: f64 = 450.0;

fn convert(n: f64) -> VectorWork {
    VectorWork { stall: CONVERSION_STALL, ..lanes(n, CONVERSION.0, CONVERSION.1, 0.0, CONVERSION_BESIDE) }
}

/// Columns that `threads` of a row take in a turn, and turns: as many in each as a whole number of turns allows.
fn turns(columns: u32, threads: u32) -> (u32, u32) {
    let turns = columns.div_ceil(threads * AHEAD).max(1);
    (columns.div_ceil(turns).next_multiple_of(16), turns)
}

/// A scale that is known: one launch that converts, 256 threads a row (`static_scaled_fp8_quant` of vLLM).
pub fn with_scale(rows: u32, columns: u32) -> Kernel {
    let threads = 256;
    let (chunk, turns) = turns(columns, threads);
    let ops = vec![
        Op::Setup(CONSTANTS_NS),
        Op::Loop(Trips::Const(turns)),
        copy(tile(0, 1, chunk * 2), Path::Load, 0),
        Op::Wait(0),
        Op::Vector(convert(f64::from(chunk))),
        Op::Store { tile: tile(1, 1, chunk), reduce: false },
        Op::End,
    ];
    kernel(format!("quantise {rows}x{columns}"), rows, columns, threads, chunk, ops)
}

/// A scale for each row: one launch that goes through a row for its maximum and again to convert it, 256 threads a row, or a warp where that
/// leaves two CTAs for each SM at least; rows of less than 2048 stay in shared memory between (`sgl_per_token_quant_fp8` of SGLang).
pub fn by_row(rows: u32, columns: u32, sms: u32) -> Kernel {
    let threads = 256;
    let together = if rows >= sms * 16 { 8 } else { 1 };
    let (chunk, turns) = turns(columns, threads / together);
    let n = f64::from(chunk * together);
    let kept = together > 1 && columns < 2048;
    let keep = |work: VectorWork| VectorWork { shared_bytes: if kept { n * 2.0 } else { 0.0 }, ..work };
    let load = |path| [copy(tile(0, together, chunk * 2), path, 0), Op::Wait(0)];
    let mut ops = vec![Op::Setup(CONSTANTS_NS), Op::Loop(Trips::Const(turns))];
    ops.extend(load(Path::LoadL1));
    ops.extend([Op::Vector(keep(lanes(n, MAXIMUM.0, MAXIMUM.1, 0.0, 1.2))), Op::End]);
    ops.push(Op::Vector(reduction(if together > 1 { 1 } else { threads / 32 })));
    if together == 1 {
        ops.push(Op::Sync);
    }
    ops.push(Op::Loop(Trips::Const(turns)));
    if !kept {
        ops.extend(load(Path::LoadL1));
    }
    ops.extend([Op::Vector(keep(convert(n))), Op::Store { tile: tile(1, together, chunk), reduce: false }, Op::End]);
    let mut k = kernel(format!("quantise rows {rows}x{columns}"), rows, columns, threads, chunk, ops);
    if together > 1 {
        k.items.truncate(rows.div_ceil(together) as usize);
        k.grid = k.items.len() as u32;
        for t in &mut k.tensors {
            t.piece_rows = together;
        }
    }
    k
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
    grouped(elements, 8192)
}

/// To four bits, with a scale of eight bits for each sixteen elements: the same pass writes 9 bytes for 16 elements.
pub fn by_sixteen(elements: u64) -> Kernel {
    grouped(elements, 8192 * 9 / 16)
}

/// Of 8192 elements of a CTA it writes so many bytes.
fn grouped(elements: u64, written: u32) -> Kernel {
    let per_cta = 8192u32;
    let ctas = elements.div_ceil(u64::from(per_cta)).clamp(1, u64::from(u32::MAX)) as u32;
    let n = f64::from(per_cta);
    let mut work = convert(n);
    let maximum = lanes(n, MAXIMUM.0, MAXIMUM.1, 0.0, 0.3);
    work.issue += maximum.issue;
    work.alu += maximum.alu;
    let ops = vec![
        Op::Setup(CONSTANTS_NS),
        copy(tile(0, 1, per_cta * 2), Path::Load, 0),
        Op::Wait(0),
        Op::Vector(work),
        Op::Store { tile: tile(1, 1, written), reduce: false },
    ];
    kernel(format!("quantise groups {elements}"), ctas, per_cta, 256, per_cta, ops)
}

/// Rows of a CTA, and its bytes of a turn.
fn tile(tensor: u8, rows: u32, bytes: u32) -> Tile {
    let byte = Expr::default().plus_loop(0, i64::from(bytes));
    Tile { tensor, row: Expr::work(0, i64::from(rows)), byte, rows, bytes }
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
