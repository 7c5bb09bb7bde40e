//! `topk` of rows of single precision.

use banksia_hw::gpu::program::{Expr, Op, Tile, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::sort::bitonic;
use super::{item, signed, turns};
use crate::gpu::fused::fill;
use crate::gpu::fused::program::{Grid, Plain, load_l1, matrix, part, set_up, shared_part, store};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::{PLAIN_REGISTERS, lanes};

/// The largest `k` of each row, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopK {
    /// Rows.
    pub rows: u64,
    /// Columns.
    pub columns: u64,
    /// How many.
    pub k: u64,
}

/// Memory of a top-k.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopKNames {
    /// Rows of single precision.
    pub input: Operand,
    /// The largest, single precision.
    pub values: Operand,
    /// Their columns, 64 bits.
    pub indices: Operand,
}

/// Digits of two bits that a radix selection of 32-bit keys goes through.
const DIGITS: u32 = 16;
/// Instructions of a warp for a digit and an element of each thread: four ballots with their counts, tests and the load (1255 instructions of
/// a warp with an element a thread, in the counters of 8192 rows of 64: a quarter of them is the gathering).
const PER_DIGIT: f64 = 42.0;
/// Instructions of a warp for a digit whatever the row: the digit's counts of all warps, which of them holds the k-th.
const OF_DIGIT: f64 = 18.0;
/// Instructions of a warp to gather an element: its test, a prefix sum over the CTA by ballots, its store.
const PER_GATHER: f64 = 130.0;

/// Share of its instructions that tests and logic are: little else is done.
const LOGIC: f64 = 0.62;

/// PyTorch's choice between one CTA a row and several (`should_use_multiblock`, pull request 74267).
fn multiblock(rows: u64, columns: u64) -> bool {
    match rows {
        0..=20 => columns >= 20_000,
        21..=40 => columns >= 10_000,
        41..=80 => columns >= 8000,
        81..200 => columns >= 5000,
        200..800 => columns >= 3000,
        800..=4000 => columns >= 800,
        _ => columns >= 400,
    }
}

/// Top-k as PyTorch launches it: a radix selection by one CTA a row, or by several in eight launches for each of four digits, and a sort of what was found.
pub fn topk(call: &TopK, names: &TopKNames, spec: &GpuSpec) -> Vec<Item> {
    let call = TopK { rows: call.rows.max(1), columns: call.columns.max(1), k: call.k.clamp(1, call.columns.max(1)) };
    let mut items =
        if multiblock(call.rows, call.columns) { by_digits(&call, names, spec) } else { vec![by_rows(&call, names)] };
    if call.k <= 32 {
        let sorted = bitonic(call.rows, call.k, 4, spec);
        items.push(item(sorted, [names.values.clone(), names.indices.clone()]));
    } else {
        // More than fit a warp: sorted like a matrix of keys and values.
        let sort = super::SortCall { rows: call.rows, columns: call.k, key_bytes: 4 };
        let names = super::SortNames {
            input: names.values.clone(),
            keys: names.values.clone(),
            indices: names.indices.clone(),
        };
        items.extend(super::sort(&sort, &names, spec));
    }
    items
}

/// `sbtopk::gatherTopK`: a CTA a row, a thread an element, up to 1024.
fn by_rows(call: &TopK, names: &TopKNames) -> Item {
    let threads = call.columns.next_multiple_of(32).min(1024);
    let warps = (threads / 32) as u32;
    let w = f64::from(warps);
    let chunk = threads.min(call.columns);
    let rounds = turns(call.columns.div_ceil(chunk));
    let row = call.columns * 4;
    let input = {
        let mut tile = part(0, 0, 0, chunk * 4);
        tile.byte = tile.byte.plus_loop(1, signed(chunk * 4));
        tile
    };
    let work = |instructions: f64, latency: f64| {
        Op::Vector(VectorWork {
            issue: instructions * w,
            alu: instructions * w * 32.0 * LOGIC,
            latency_cycles: latency,
            stall: 3.0,
            ..VectorWork::default()
        })
    };
    let mut ops = vec![set_up(warps, 60.0), Op::Loop(Trips::Const(DIGITS)), Op::Loop(Trips::Const(rounds))];
    // All of the row is read again for each digit; L1 has it.
    ops.extend([load_l1(input, 0), Op::Wait(0), work(PER_DIGIT, 0.0), Op::End]);
    // Counts of the warps are added in shared memory, read by all, and zeroed: three barriers.
    ops.extend([work(OF_DIGIT, 2.0 * 29.0 + 40.0), Op::Sync, Op::Sync, Op::Sync, Op::End]);
    // Twice: what is larger than the k-th, and what equals it.
    ops.extend([Op::Loop(Trips::Const(2)), Op::Loop(Trips::Const(rounds))]);
    ops.extend([load_l1(input, 0), Op::Wait(0), work(PER_GATHER, 4.0 * 29.0), Op::Sync, Op::Sync, Op::End, Op::End]);
    ops.extend([store(part(1, 0, 0, call.k * 4)), store(part(2, 0, 0, call.k * 8))]);
    let kernel = Plain {
        name: format!("top {} of {}x{}", call.k, call.rows, call.columns),
        grid: Grid { x: call.rows, y: 1 },
        warps,
        registers: PLAIN_REGISTERS,
        shared_bytes: 128,
        tensors: vec![
            matrix(call.rows, row, chunk * 4),
            matrix(call.rows, call.k * 4, call.k * 4),
            matrix(call.rows, call.k * 8, call.k * 8),
        ],
        arrivals: vec![1],
        ops,
    };
    item(kernel.kernel(), [names.input.clone(), names.values.clone(), names.indices.clone()])
}

/// Threads of a CTA, and registers of a thread by which PyTorch counts how many fit an SM (`mbtopk::get_items_per_thread`).
const THREADS: u64 = 256;
const REGISTERS_COUNTED: u64 = 40;

/// `mbtopk`: four digits of eight bits; each counts all rows' digits by many CTAs, adds the counts up and finds the k-th; then what is larger is counted by CTA, those counts are
/// added up, and it is gathered.
fn by_digits(call: &TopK, names: &TopKNames, spec: &GpuSpec) -> Vec<Item> {
    let per_sm = (u64::from(spec.sm.registers) / (REGISTERS_COUNTED * THREADS)).max(1);
    let lanes_of_all = u64::from(spec.sms()) * per_sm * THREADS;
    let elements = call.rows.saturating_mul(call.columns);
    let per_thread = elements.div_ceil(lanes_of_all.max(1)).clamp(4, 64);
    let per_cta = per_thread * THREADS;
    let parts = call.columns.div_ceil(per_cta);
    let counts = Operand::shared("digit_counts");
    let mut items = vec![item(fill(call.rows * 2, 4), [Operand::shared("wanted")])];
    for _ in 0..4 {
        items.push(pass(call, names, per_thread, parts, false));
        let sum = small("sum of digit counts", call.rows, 256 * parts * 2);
        items.push(item(sum, [counts.clone(), Operand::shared("wanted")]));
        let within = small("counts within the k-th", call.rows, 256 * parts * 2);
        items.push(item(within, [counts.clone(), Operand::shared("within")]));
    }
    let scans = super::cumulative_sum(1, call.rows * parts);
    for scan in scans.iter().chain(&scans) {
        let operands =
            if scan.tensors.len() == 1 { vec![Operand::shared("states")] } else { vec![Operand::shared("within"); 2] };
        items.push(item(scan.clone(), operands));
    }
    items.push(pass(call, names, per_thread, parts, true));
    items
}

/// A pass over all rows: a histogram of a digit in shared memory, or what is larger gathered.
fn pass(call: &TopK, names: &TopKNames, per_thread: u64, parts: u64, gather: bool) -> Item {
    let chunk = (THREADS * 4).min(call.columns);
    let per_cta = (per_thread * THREADS).min(call.columns);
    let input =
        Tile { byte: Expr::work(1, signed(per_cta * 4)).plus_loop(0, signed(chunk * 4)), ..part(0, 0, 0, chunk * 4) };
    let n = chunk as f64;
    // An addition to a counter of shared memory each, of which some of a warp's lanes hit the same; or a prefix sum over the CTA for each 256.
    let work = if gather {
        VectorWork { stall: 3.0, latency_cycles: 4.0 * 250.0, ..lanes(n, 0.0, 20.0, 0.0, 30.0) }
    } else {
        VectorWork { stall: 3.0, shared_bytes: n * 32.0, ..lanes(n, 0.0, 10.0, 0.0, 8.0) }
    };
    let mut ops = vec![set_up(8, 80.0), Op::Sync, Op::Loop(Trips::Const(turns(per_cta.div_ceil(chunk))))];
    ops.extend([load_l1(input, 0), Op::Wait(0), Op::Vector(work), Op::End, Op::Sync]);
    if gather {
        ops.extend([store(part(1, 0, 0, call.k * 4)), store(part(2, 0, 0, call.k * 8))]);
    } else {
        ops.push(store(Tile { byte: Expr::work(1, 512), ..part(1, 0, 0, 512) }));
    }
    let row = call.columns * 4;
    let piece = (chunk * 4).min(1 << 14);
    let mut tensors = vec![matrix(call.rows, row, piece)];
    if gather {
        tensors.extend([matrix(call.rows, call.k * 4, 128), matrix(call.rows, call.k * 8, 256)]);
    } else {
        tensors.push(matrix(call.rows, parts * 512, 512));
    }
    let kernel = Plain {
        name: format!(
            "{} of {}x{}",
            if gather { "gather of the largest" } else { "digit counts" },
            call.rows,
            call.columns
        ),
        grid: Grid { x: call.rows, y: parts },
        warps: 8,
        registers: 40,
        shared_bytes: 1024,
        tensors,
        arrivals: vec![1],
        ops,
    };
    let operands = if gather {
        vec![names.input.clone(), names.values.clone(), names.indices.clone()]
    } else {
        vec![names.input.clone(), Operand::shared("digit_counts")]
    };
    item(kernel.kernel(), operands)
}

/// A CTA of 256 threads a row over a few hundred counts. Tensors: counts, result.
fn small(name: &str, rows: u64, bytes: u64) -> banksia_hw::gpu::program::Kernel {
    let chunk = bytes.clamp(32, 4096);
    let mut tile = part(0, 0, 0, chunk);
    tile.byte = tile.byte.plus_loop(0, signed(chunk));
    let scan = VectorWork { issue: 8.0 * 80.0, latency_cycles: 500.0, ..VectorWork::default() };
    let ops = vec![
        set_up(8, 40.0),
        Op::Loop(Trips::Const(turns(bytes.div_ceil(chunk)))),
        load_l1(tile, 0),
        Op::Wait(0),
        Op::End,
        Op::Vector(scan),
        Op::Sync,
        Op::Sync,
        store(shared_part(1, 0, 0, 32)),
    ];
    Plain {
        name: format!("{name} of {rows} rows"),
        grid: Grid { x: rows, y: 1 },
        warps: 8,
        registers: PLAIN_REGISTERS,
        shared_bytes: 2048,
        tensors: vec![matrix(rows, bytes, chunk), matrix(1, 32, 32)],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}
