//! `sort` of rows with their places.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tensor, Tile, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::radix::{Onesweep, onesweep};
use super::{item, signed};
use crate::gpu::fused::program::{Grid, Plain, load, part, set_up, store};
use crate::gpu::fused::{Cost, Pointwise, Way, fill, memcpy, pointwise, strided_copy};
use crate::gpu::launch::{Item, Operand};

/// Rows that are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortCall {
    /// Rows.
    pub rows: u64,
    /// Columns.
    pub columns: u64,
    /// Bytes of a number: 4 (single precision) or 8 (whole numbers of 64 bits).
    pub key_bytes: u32,
}

/// Memory of a sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortNames {
    /// What is sorted.
    pub input: Operand,
    /// The same in order.
    pub keys: Operand,
    /// Its places, 64 bits.
    pub indices: Operand,
}

/// Columns that CTAs sort by themselves, in registers and shared memory (`should_use_small_sort`).
const SMALL: u64 = 4096;
/// Rows below which longer ones are sorted all together, row numbers last (`segmented_sort_pairs_by_full_sort`).
const TOGETHER: u64 = 128;

/// A sort as PyTorch launches it.
pub fn sort(call: &SortCall, names: &SortNames, spec: &GpuSpec) -> Vec<Item> {
    let call = SortCall { rows: call.rows.max(1), columns: call.columns.max(1), key_bytes: call.key_bytes.clamp(1, 8) };
    let elements = call.rows.saturating_mul(call.columns);
    let bytes = elements.saturating_mul(u64::from(call.key_bytes));
    let copy = |n| item(memcpy(n), [names.input.clone(), names.keys.clone()]);
    let in_place = [names.keys.clone(), names.indices.clone()];
    if call.columns <= SMALL {
        let mut items = vec![copy(bytes), item(fill(call.columns, 8), [Operand::shared("places")])];
        let places = [Operand::shared("places"), names.indices.clone()];
        if call.rows == 1 {
            items.push(item(memcpy(elements * 8), places));
            items.push(copy(bytes));
        } else {
            items.push(item(strided_copy(elements, 8), places));
        }
        let kernel = if call.columns <= 32 {
            bitonic(call.rows, call.columns, call.key_bytes, spec)
        } else {
            in_block(&call, spec)
        };
        items.push(item(kernel, in_place));
        return items;
    }
    let key_bytes = u64::from(call.key_bytes);
    let mut items = vec![copy(bytes)];
    if call.rows == 1 || call.columns >= 1_000_000 || call.rows >= TOGETHER {
        // Each row by itself, one after another; from 128 rows on of segments in the same kernels.
        items.push(item(fill(call.columns, 8), [names.indices.clone()]));
        let rows = if call.rows >= TOGETHER { 1 } else { call.rows };
        let of_each = if rows == 1 { elements } else { call.columns };
        for _ in 0..rows.min(TOGETHER) {
            items.extend(onesweep(
                &Onesweep { elements: of_each, key_bytes, value_bytes: 8, bits: key_bytes * 8 },
                &in_place,
                spec,
            ));
        }
        return items;
    }
    // Places and row numbers in pairs of four bytes; sorted by key, then by row; then taken apart.
    let pairs = Operand::shared("pairs");
    items.push(item(fill(elements, 8), [pairs.clone()]));
    let by_key = Onesweep { elements, key_bytes, value_bytes: 8, bits: key_bytes * 8 };
    items.extend(onesweep(&by_key, &[names.keys.clone(), pairs.clone()], spec));
    let row_bits = u64::from(call.rows.next_power_of_two().ilog2()).max(1);
    let by_row = Onesweep { elements, key_bytes: 8, value_bytes: 0, bits: row_bits };
    items.extend(onesweep(&by_row, &[pairs.clone(), pairs.clone()], spec));
    let apart = Pointwise {
        elements,
        inputs: vec![8.0, f64::from(call.key_bytes)],
        out_bytes: 8 + call.key_bytes,
        way: Way::Convert,
        cost: Cost { alu: 12.0, ..Cost::COPY },
    };
    items.push(item(pointwise("keys and places", &apart), [pairs, names.input.clone(), names.indices.clone()]));
    items
}

/// Threads of a row of up to 32 numbers, and rows of a CTA at most (`bitonicSortKVInPlace`).
const OF_A_ROW: u64 = 16;
const ROWS_AT_MOST: u64 = 16;
/// CTAs of an SM below which a CTA takes fewer rows. (Launches: 2 rows a CTA of 2048, 5 of 4096, 10 of 8192 with 132 SMs.)
const CTAS_OF_AN_SM: u64 = 6;

/// Rows of up to 32 keys with their places (64 bits), sorted in place by a bitonic network in shared memory: 16 threads a row.
pub(super) fn bitonic(rows: u64, columns: u64, key_bytes: u32, spec: &GpuSpec) -> Kernel {
    let together = (rows / (u64::from(spec.sms()) * CTAS_OF_AN_SM)).clamp(1, ROWS_AT_MOST);
    let warps = (together * OF_A_ROW).div_ceil(32) as u32;
    let key = u64::from(key_bytes);
    let tile = |tensor, e: u64| Tile {
        row: Expr::work(0, signed(together)),
        rows: together as u32,
        ..part(tensor, 0, 0, columns * e)
    };
    // Fifteen stages of a network of 32, and its loads and stores: 733 instructions of a warp. Each stage reads and writes keys, places and
    // whether they are valid, at distances at which two lanes meet in a bank.
    let stages = 15.0;
    let conflicts = 2.0;
    let w = f64::from(warps);
    let bytes = w * 32.0 * 2.0 * 2.0 * (key as f64 + 9.0) * conflicts;
    let stage = VectorWork {
        issue: w * 733.0 / stages,
        alu: w * 733.0 / stages * 16.0,
        shared_bytes: bytes,
        latency_cycles: 3.0 * 29.0,
        // Each access to shared memory waits for the one before: 8.5 cycles an instruction where a warp is alone.
        stall: 7.0,
        ..VectorWork::default()
    };
    let ops = vec![
        set_up(warps, 60.0),
        load(tile(0, key), 0),
        load(tile(1, 8), 0),
        Op::Wait(0),
        Op::Loop(Trips::Const(stages as u32)),
        Op::Vector(stage),
        Op::Sync,
        Op::End,
        store(tile(0, key)),
        store(tile(1, 8)),
    ];
    let tensor = |e: u64| {
        Tensor::matrix(rows, columns * e, together as u32, (columns * e).next_power_of_two().clamp(32, 512) as u32)
    };
    Plain {
        name: format!("bitonic sort of {rows}x{columns}"),
        grid: Grid { x: rows.div_ceil(together), y: 1 },
        warps,
        registers: 39,
        shared_bytes: 6656,
        tensors: vec![tensor(key), tensor(8)],
        arrivals: vec![2],
        ops,
    }
    .kernel()
}

/// What a CTA sorts, and elements of a thread (`MediumRadixSort` of `SortingRadixSelect`'s neighbours: sizes 4096, 2048, 1024 by 32; 128 by 4).
fn block(columns: u64) -> (u64, u64) {
    match columns {
        0..=128 => (128, 4),
        129..=1024 => (1024, 32),
        1025..=2048 => (2048, 32),
        _ => (4096, 32),
    }
}

/// Instructions of a thread for an element and digit: its digit's counter, its rank, keys and places to and from shared memory.
const PER_ELEMENT: f64 = 32.0;
/// Bits of a digit of a radix sort within a CTA (`BlockRadixSort`).
const DIGIT_BITS: u64 = 4;

/// Rows of up to 4096 keys with their places, each sorted by a CTA in place, digit by digit.
fn in_block(call: &SortCall, spec: &GpuSpec) -> Kernel {
    let (size, per_thread) = block(call.columns);
    let threads = size / per_thread;
    let warps = threads.div_ceil(32) as u32;
    let key = u64::from(call.key_bytes);
    let tile = |tensor, e: u64| part(tensor, 0, 0, call.columns * e);
    let digits = key * 8 / DIGIT_BITS;
    let n = size as f64;
    let digit = VectorWork {
        issue: n / 32.0 * PER_ELEMENT,
        alu: n * PER_ELEMENT * 0.5,
        // Counters, keys and places, each written and read.
        shared_bytes: n * 2.0 * (4.0 + key as f64 + 8.0),
        // A scan of the counters.
        latency_cycles: 400.0,
        stall: 2.0,
        ..VectorWork::default()
    };
    let ops = vec![
        set_up(warps, 100.0),
        load(tile(0, key), 0),
        load(tile(1, 8), 0),
        Op::Wait(0),
        Op::Loop(Trips::Const(digits.max(1) as u32)),
        Op::Vector(digit),
        Op::Sync,
        Op::Sync,
        Op::Sync,
        Op::End,
        store(tile(0, key)),
        store(tile(1, 8)),
    ];
    let piece = |e: u64| (call.columns * e).clamp(32, 1 << 14);
    let tensor = |e: u64| crate::gpu::fused::program::matrix(call.rows, call.columns * e, piece(e));
    // Keys, places and ranks in registers: 220 with 32 of each and keys of eight bytes.
    let registers = (28 + per_thread * ((key + 8) / 4 + 2)).clamp(32, 255) as u32;
    let shared = (size * 8 + threads * 8).min(u64::from(spec.sm.shared_memory_per_cta_bytes)) as u32;
    Plain {
        name: format!("radix sort of rows {}x{}", call.rows, call.columns),
        grid: Grid { x: call.rows, y: 1 },
        warps,
        registers,
        shared_bytes: shared,
        tensors: vec![tensor(key), tensor(8)],
        arrivals: vec![2],
        ops,
    }
    .kernel()
}

/// A whole array of keys of 64 bits sorted by all of these, numbers of 64 bits going along (`cub::DeviceRadixSort`, one sweep a digit). `operands`: keys, numbers;
/// they end up in `sorted_keys` and `sorted_values`.
pub fn sort_pairs(elements: u64, operands: &[Operand; 2], spec: &GpuSpec) -> Vec<Item> {
    onesweep(&Onesweep { elements, key_bytes: 8, value_bytes: 8, bits: 64 }, operands, spec)
}
