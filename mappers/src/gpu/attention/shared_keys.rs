//! TensorRT-LLM's decode of heads that share keys, by `mma.sync`.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Role, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::flash2::{Block, setup};
use super::index::{BLOCKS, K, K_FULL, KROW, O, OUT, PLAIN, Q, Q_FULL, QROW, RIGHT, V, V_FULL, once, trips};
use super::{Attention, Grid, PAGED};
use crate::gpu::copy;

/// Keys of a part of a sequence at least, waves of CTAs at most, and parts of all sequences at most that there is room for
/// (`decoderXQAConstants.h`).
const KEYS_OF_PART: u32 = 128;
const WAVES: f64 = 8.0;
const ALL_PARTS: u32 = 6000;
/// Heads that share keys at most in one tile (`kernelUtils.cpp`).
const HEADS: u32 = 32;

/// Kernels of TensorRT-LLM for decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// Each head by itself: it also rotates, and writes the cache.
    SingleHeads,
    /// Heads that share keys are rows of a tile, by `mma.sync`.
    SharedKeys,
    /// The same by warpgroups, for keys of eight bits: it also rotates, and writes the cache.
    SharedKeysHopper,
}

/// Which of them is taken. Those for shared keys have up to 32 heads. The one by `mma.sync` is taken for no fewer CTAs than a
/// quarter of the SMs (`mayHavePerfGain`), and not where a window hides keys (`supportConfigHMMA`).
pub fn decode_kernel(a: &Attention, spec: &GpuSpec) -> Decode {
    if a.group() < 2 || a.group() > HEADS {
        return Decode::SingleHeads;
    }
    if spec.tensor.warpgroup && a.kv_bytes < 2 {
        return Decode::SharedKeysHopper;
    }
    let ctas = a.kv_heads.saturating_mul(a.batch).saturating_mul((a.keys / KEYS_OF_PART).max(1));
    let hidden = a.window > 0 && a.keys > a.window;
    if ctas.saturating_mul(4) >= spec.sms() && !hidden { Decode::SharedKeys } else { Decode::SingleHeads }
}

/// Parts of a sequence (`computeMultiBlockCount`): no shorter than 128 keys, no more than the square root of eight times
/// that, no more than eight waves of CTAs.
pub(super) fn parts(a: &Attention, spec: &GpuSpec) -> u32 {
    let most = a.keys / KEYS_OF_PART;
    let most = most.min((f64::from(most) * 8.0).sqrt().round() as u32).max(1);
    let waves = f64::from(a.batch) * f64::from(a.kv_heads) * f64::from(most) / f64::from(spec.sms());
    let parts = if waves > WAVES { (f64::from(most) * WAVES / waves).floor() as u32 } else { most };
    parts.min(ALL_PARTS / a.batch.max(1)).max(1)
}

/// The cache of a measurement that asks for keys only: values are read where the keys are.
pub(crate) fn one_cache(kernel: &mut Kernel) {
    kernel.tensors[usize::from(V)].rows = 1;
    for op in kernel.roles.iter_mut().flat_map(|r| &mut r.ops) {
        if let Op::Copy { tile, .. } = op
            && tile.tensor == V
        {
            tile.tensor = K;
        }
    }
}

/// A tile of each sequence's heads, its keys dealt to so many parts in blocks of `bn`, in turn; some parts may get none. In
/// the last part's item RIGHT and PLAIN count what [`merge`] does.
pub(super) fn deal(a: &Attention, grid: Grid, parts: i32) -> Vec<[i32; WORK_VARS]> {
    let whole = grid.items(a);
    let mut items = Vec::with_capacity(whole.len() * parts as usize);
    for item in whole {
        let first = item[KROW] - (item[BLOCKS] - 1) * grid.bn as i32;
        for p in 0..parts {
            let n = (item[BLOCKS] - p + parts - 1) / parts;
            let out = item[QROW] * parts + p * a.group() as i32;
            let (eights, pairs) = if parts > 1 && p + 1 == parts { ((parts + 7) / 8, (parts + 1) / 2) } else { (0, 0) };
            items.push([item[QROW], first + p * grid.bn as i32, n, eights, pairs, out]);
        }
    }
    items
}

/// Stores a part. A counter in memory says who is last: that CTA looks at the maxima of eight parts at a time, then adds two
/// parts at a time, the next two under way.
pub(super) fn merge(a: &Attention, spec: &GpuSpec, out: Tile, parts: i32) -> Vec<Op> {
    let mut ops = vec![Op::Store { tile: out, reduce: false }];
    if parts > 1 {
        let rows = a.group().next_multiple_of(16);
        let counter = Tile { rows: 1, bytes: 32, ..out };
        ops.extend([Op::StoreWait, Op::Store { tile: counter, reduce: true }, Op::StoreWait, Op::Sync]);
        let pair = |at: i64| {
            let rows = 2 * i64::from(a.group());
            let mut row = Expr::work(OUT, 1).plus_loop(0, rows);
            row.base = (1 - i64::from(parts)) * i64::from(a.group()) + at * rows;
            copy(Tile { row, rows: rows as u32, ..out }, Path::AsyncRows, V_FULL)
        };
        // Of 16 rows each lane of a warp has 32 values: conversion, scale, sum, and the rows' scales.
        let add = Block::counted(0.0, 0.0, 0.0, 4.0, a.head_dim, spec).beside(140.0 * f64::from(rows) / 16.0);
        ops.extend([Op::Loop(trips(RIGHT, 0)), copy(counter, Path::Load, V_FULL), Op::Wait(V_FULL), Op::End]);
        ops.extend([Op::Loop(once(PLAIN, 0)), pair(0), Op::End, Op::Loop(trips(PLAIN, 0))]);
        ops.extend([Op::Loop(Trips::ExceptLast(1)), pair(1), Op::End, Op::Wait(V_FULL), Op::Vector(add), Op::End]);
        ops.extend([Op::Loop(once(PLAIN, 0)), Op::Store { tile: out, reduce: false }, Op::End]);
    }
    ops
}

/// Where a part's rows go.
pub(super) fn output(a: &Attention, grid: Grid, parts: i32) -> Tile {
    let mut out = grid.q_tile(a, O, 2);
    out.rows = a.group();
    if parts > 1 {
        out.row = Expr::work(OUT, 1);
    }
    out
}

/// Before the first block: the sequence's length is read, then a page's number.
pub(super) fn numbers(a: &Attention, spec: &GpuSpec, grid: Grid, barrier: u8) -> Vec<Op> {
    let number = copy(Tile { rows: 1, bytes: 32, ..grid.q_tile(a, Q, 2) }, Path::LoadL1, barrier);
    vec![setup(spec), number, Op::Wait(barrier), number, Op::Wait(barrier)]
}

/// Decode of heads that share keys: four warps multiply queries and keys and take the softmax of 64 keys each, four others
/// multiply with the values. Keys and values of 256 are under way.
pub fn grouped_decode(a: &Attention, spec: &GpuSpec, keys_only: bool) -> Kernel {
    const X_FULL: u8 = 3;
    const X_FREE: u8 = 4;
    let a = &Attention { causal: false, ..*a };
    let d = a.head_dim;
    let (bm, bn, warps) = (a.group().next_multiple_of(16), 256, 4);
    let grid = Grid { bm, bn, packed: true, longest_first: 0 };
    let parts = parts(a, spec) as i32;
    let items = deal(a, grid, parts);
    // A warp has 64 keys: 9.4 instructions a score, `ldmatrix` of its keys, 40 besides (`Block`); of 64 of the values' columns,
    // `ldmatrix` of values and probabilities, 2 an accumulator, 40 besides.
    let (rows, keys) = (f64::from(bm), f64::from(bn / warps));
    let products = rows * keys * f64::from(d) / 2048.0;
    let read = keys * f64::from(d * 2) / 512.0;
    let convert = if a.kv_bytes < 2 { 2.0 * keys * f64::from(d) / 32.0 } else { 0.0 };
    let pages = PAGED * keys * f64::from(d * a.kv_bytes) / 512.0;
    let (scored, summed) = (9.4 * rows * keys / 32.0 + read + 40.0, 1.25 * read + 2.0 * rows * keys / 32.0 + 40.0);
    let block = |others: f64, scores: f64| {
        let bytes = f64::from(bn * d * a.kv_bytes);
        match Block::counted(products, others + convert + pages, scores, f64::from(warps), d, spec).work(0.0) {
            Op::Vector(v) => Op::Vector(VectorWork { shared_bytes: bytes, ..v }),
            op => op,
        }
    };
    let (softmax, rescale) = (block(scored, f64::from(bm * bn)), block(summed, 0.0));
    let beside = Block::counted(products, summed, 0.0, f64::from(warps), d, spec).beside(900.0);
    let mma = |n, k| Op::Mma { dtype: a.wide(), m: bm, n, k, sync: true };
    let tile = |tensor: u8, next: bool| {
        let mut row = Expr::work(KROW, 1).plus_loop(0, i64::from(bn) * i64::from(parts));
        row.base = if next { i64::from(bn) * i64::from(parts) } else { 0 };
        Tile { tensor, row, byte: Expr::default(), rows: bn.min(a.keys), bytes: d * a.kv_bytes }
    };
    let next =
        |tensor: u8| [Op::Loop(Trips::ExceptLast(1)), copy(tile(tensor, true), Path::AsyncRows, tensor), Op::End];
    let first = |tensor: u8| {
        let mut ops = numbers(a, spec, grid, tensor);
        ops.extend([Op::Loop(once(BLOCKS, 0)), copy(tile(tensor, false), Path::AsyncRows, tensor), Op::End]);
        ops
    };
    let mut scores = first(K);
    scores.extend([copy(grid.q_tile(a, Q, 2), Path::AsyncRows, Q_FULL), Op::Wait(Q_FULL), Op::Loop(trips(BLOCKS, 0))]);
    scores.extend([Op::Wait(K_FULL), mma(bn, d), Op::MmaWait(0)]);
    scores.extend(next(K));
    scores.extend([softmax, Op::Wait(X_FREE), Op::Arrive(X_FULL), Op::End]);
    let mut values = first(V);
    values.extend([Op::Loop(trips(BLOCKS, 0)), Op::Wait(V_FULL), Op::Wait(X_FULL), mma(d, bn), Op::MmaWait(0)]);
    values.extend(next(V));
    values.extend([rescale, Op::Arrive(X_FREE), Op::End, Op::Vector(beside)]);
    values.extend(merge(a, spec, output(a, grid, parts), parts));
    let mut tensors = a.tensors(bm, bn.min(a.keys));
    tensors[usize::from(O)].rows *= parts as u64;
    let full = Barrier { arrivals: 1, credits: 0 };
    let mut kernel = Kernel {
        name: format!("decode {}x{} heads, {} keys in {parts}", a.batch, a.kv_heads, a.keys),
        threads: 256,
        registers: 255,
        shared_bytes: ((2 * bn * a.kv_bytes + bm * 4) * d).min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: vec![full, full, full, full, Barrier { arrivals: 1, credits: 1 }],
        roles: vec![Role { warps, ops: scores }, Role { warps, ops: values }],
        pipelined: false,
    };
    if keys_only {
        one_cache(&mut kernel);
    }
    kernel
}

#[cfg(test)]
mod tests {
    use super::*;
    use banksia_hw::gpu::device;

    fn decode(batch: u32, heads: u32, kv_heads: u32, keys: u32) -> Attention {
        let (queries, head_dim, causal, window) = (1, 128, true, 0);
        Attention { batch, heads, kv_heads, queries, keys, head_dim, causal, window, ..Attention::default() }
    }

    /// By hand, for 108 SMs: 128 keys a part; the root of eight times as many; eight waves; 6000 parts of all.
    #[test]
    fn parts_follow_the_rule() {
        let spec = device("a100").expect("a100");
        for (batch, kv_heads, keys, expected) in [
            (1, 1, 255, 1),
            (4, 4, 1024, 8),
            (1, 1, 16384, 32),
            (32, 8, 32768, 3),
            (64, 2, 32768, 6),
            (2048, 1, 4096, 1),
            (1500, 1, 65536, 1),
        ] {
            assert_eq!(
                parts(&decode(batch, 4 * kv_heads, kv_heads, keys), &spec),
                expected,
                "{batch} {kv_heads} {keys}"
            );
        }
    }

    #[test]
    fn kernels_follow_heads_keys_and_devices() {
        let (a100, h200) = (device("a100").expect("a100"), device("h200").expect("h200"));
        let eight_bits = |a: Attention| Attention { kv_bytes: 1, ..a };
        for (a, spec, expected) in [
            (decode(64, 8, 8, 1024), &a100, Decode::SingleHeads),
            (decode(64, 48, 1, 1024), &a100, Decode::SingleHeads),
            (decode(1, 8, 2, 128), &a100, Decode::SingleHeads),
            (decode(64, 32, 8, 128), &a100, Decode::SharedKeys),
            (Attention { window: 128, ..decode(64, 32, 8, 4096) }, &a100, Decode::SingleHeads),
            (decode(64, 32, 8, 128), &h200, Decode::SharedKeys),
            (eight_bits(decode(1, 32, 8, 128)), &h200, Decode::SharedKeysHopper),
            (eight_bits(decode(64, 8, 8, 128)), &h200, Decode::SingleHeads),
        ] {
            assert_eq!(decode_kernel(&a, spec), expected, "{a:?}");
        }
    }

    /// Every block of a sequence is in exactly one part, and the last part's item merges.
    #[test]
    fn parts_share_out_the_blocks() {
        for (keys, parts) in [(1, 1), (1000, 3), (1000, 8), (70_000, 45)] {
            let a = decode(2, 8, 2, keys);
            let grid = Grid { bm: 16, bn: 256, packed: true, longest_first: 0 };
            let items = deal(&a, grid, parts);
            assert_eq!(items.len(), 4 * parts as usize);
            for of_sequence in items.chunks(parts as usize) {
                let blocks: i32 = of_sequence.iter().map(|i| i[BLOCKS]).sum();
                assert_eq!(blocks, keys.div_ceil(256) as i32);
                let merges: Vec<bool> = of_sequence.iter().map(|i| i[PLAIN] > 0).collect();
                assert!(merges.iter().enumerate().all(|(p, &m)| m == (parts > 1 && p + 1 == parts as usize)));
            }
        }
    }
}
