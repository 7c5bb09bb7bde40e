//! TensorRT-LLM's two decode kernels: one for heads that share keys, by `mma.sync`, and one that takes each head by itself on
//! the lanes.

use banksia_hw::gpu::program::{Barrier, Dtype, Expr, Kernel, Op, Path, Role, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::flash2::{Block, setup};
use super::index::{BLOCKS, K, K_FULL, KROW, O, OUT, PLAIN, Q, Q_FULL, QROW, RIGHT, V, V_FULL, once, trips};
use super::{Attention, Grid, PAGED};
use crate::gpu::{copy, lanes};

/// Keys of a part of a sequence at least, waves of CTAs at most, and parts of all sequences at most that there is room for
/// (`decoderXQAConstants.h`).
const KEYS_OF_PART: u32 = 128;
const WAVES: f64 = 8.0;
const ALL_PARTS: u32 = 6000;
/// Heads that share keys at most in one tile (`kernelUtils.cpp`).
const HEADS: u32 = 32;

/// Whether the kernel for shared keys is taken: there are up to 32 heads and no fewer CTAs than a quarter of the SMs
/// (`mayHavePerfGain`); otherwise each head is by itself.
pub fn shares_keys(a: &Attention, spec: &GpuSpec) -> bool {
    let ctas = a.kv_heads * a.batch * (a.keys / KEYS_OF_PART).max(1);
    a.group() > 1 && a.group() <= HEADS && 4 * ctas >= spec.sms()
}

/// Parts of a sequence (`computeMultiBlockCount`): no shorter than 128 keys, no more than the square root of eight times
/// that, no more than eight waves of CTAs.
fn parts(a: &Attention, spec: &GpuSpec) -> u32 {
    let most = a.keys / KEYS_OF_PART;
    let most = most.min((f64::from(most) * 8.0).sqrt().round() as u32).max(1);
    let waves = f64::from(a.batch * a.kv_heads * most) / f64::from(spec.sms());
    let parts = if waves > WAVES { (f64::from(most) * WAVES / waves).floor() as u32 } else { most };
    parts.min(ALL_PARTS / a.batch.max(1)).max(1)
}

/// The cache of a measurement that asks for keys only: values are read where the keys are.
fn one_cache(kernel: &mut Kernel) {
    kernel.tensors[usize::from(V)].rows = 1;
    for op in kernel.roles.iter_mut().flat_map(|r| &mut r.ops) {
        if let Op::Copy { tile, .. } = op
            && tile.tensor == V
        {
            tile.tensor = K;
        }
    }
}

/// Where results go: rows of so many parts, in so many bytes an element; a counter in memory says who is last, and that CTA
/// reads the parts back.
fn finish(ops: &mut Vec<Op>, out: Tile, parts: u32) {
    ops.push(Op::Store { tile: out, reduce: false });
    if parts > 1 {
        let own = Tile { rows: 1, bytes: 32, ..out };
        ops.extend([Op::StoreWait, Op::Store { tile: own, reduce: true }, Op::StoreWait]);
        ops.extend([copy(out, Path::Load, Q_FULL), Op::Wait(Q_FULL)]);
    }
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
    let whole = grid.items(a);
    // Blocks of a sequence are dealt to its parts in turn; some parts may get none.
    let parts = parts(a, spec) as i32;
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(whole.len() * parts as usize);
    for item in whole {
        let first = item[KROW] - (item[BLOCKS] - 1) * bn as i32;
        for p in 0..parts {
            let n = (item[BLOCKS] - p + parts - 1) / parts;
            let out = item[QROW] * parts + p * a.group() as i32;
            let (eights, pairs) = if parts > 1 && p + 1 == parts { ((parts + 7) / 8, (parts + 1) / 2) } else { (0, 0) };
            items.push([item[QROW], first + p * bn as i32, n, eights, pairs, out]);
        }
    }
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
    let mma = |n, k| Op::Mma { dtype: Dtype::Bf16, m: bm, n, k, sync: true };
    let tile = |tensor: u8, next: bool| {
        let mut row = Expr::work(KROW, 1).plus_loop(0, i64::from(bn) * i64::from(parts));
        row.base = if next { i64::from(bn) * i64::from(parts) } else { 0 };
        Tile { tensor, row, byte: Expr::default(), rows: bn.min(a.keys), bytes: d * a.kv_bytes }
    };
    let next = |tensor: u8| {
        [
            Op::Loop(Trips::ExceptLast(1)),
            copy(tile(tensor, true), Path::Async, tensor),
            Op::End,
        ]
    };
    let mut out = grid.q_tile(a, O, 2);
    out.rows = a.group();
    if parts > 1 {
        out.row = Expr::work(OUT, 1);
    }
    // The sequence's length, then a page's number, then the first block.
    let first = |tensor: u8| {
        let number = copy(Tile { rows: 1, bytes: 32, ..grid.q_tile(a, Q, 2) }, Path::LoadL1, tensor);
        [
            [setup(spec), number, Op::Wait(tensor), number, Op::Wait(tensor)].as_slice(),
            &[Op::Loop(once(BLOCKS, 0)), copy(tile(tensor, false), Path::Async, tensor), Op::End],
        ]
        .concat()
    };
    let mut scores = first(K);
    scores.extend([copy(grid.q_tile(a, Q, 2), Path::Async, Q_FULL), Op::Wait(Q_FULL), Op::Loop(trips(BLOCKS, 0))]);
    scores.extend([Op::Wait(K_FULL), mma(bn, d), Op::MmaWait(0)]);
    scores.extend(next(K));
    scores.extend([softmax, Op::Wait(X_FREE), Op::Arrive(X_FULL), Op::End]);
    let mut values = first(V);
    values.extend([Op::Loop(trips(BLOCKS, 0)), Op::Wait(V_FULL), Op::Wait(X_FULL), mma(d, bn), Op::MmaWait(0)]);
    values.extend(next(V));
    values.extend([rescale, Op::Arrive(X_FREE), Op::End, Op::Vector(beside)]);
    values.push(Op::Store { tile: out, reduce: false });
    if parts > 1 {
        // A counter in memory says who is last. That CTA looks at the maxima of eight parts at a time, then at two parts at a
        // time, one ahead.
        let counter = Tile { rows: 1, bytes: 32, ..out };
        values.extend([Op::StoreWait, Op::Store { tile: counter, reduce: true }, Op::StoreWait, Op::Sync]);
        let pair = |at: i64| {
            let rows = 2 * i64::from(a.group());
            let mut row = Expr::work(OUT, 1).plus_loop(0, rows);
            row.base = (1 - i64::from(parts)) * i64::from(a.group()) + at * rows;
            copy(Tile { row, rows: rows as u32, ..out }, Path::Async, V_FULL)
        };
        let merge = Block::counted(0.0, 0.0, 0.0, f64::from(warps), d, spec).beside(140.0 * rows / 16.0);
        values.extend([Op::Loop(trips(RIGHT, 0)), copy(counter, Path::Load, V_FULL), Op::Wait(V_FULL), Op::End]);
        values.extend([Op::Loop(once(PLAIN, 0)), pair(0), Op::End, Op::Loop(trips(PLAIN, 0))]);
        values.extend([Op::Loop(Trips::ExceptLast(1)), pair(1), Op::End, Op::Wait(V_FULL), Op::Vector(merge), Op::End]);
        values.extend([Op::Loop(once(PLAIN, 0)), Op::Store { tile: out, reduce: false }, Op::End]);
    }
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

/// Instructions of a warp for each 512 bytes of keys, all, on the FMA lanes and on the integer lanes, as the source has them:
/// two loads (a page's number, 16 bytes a lane), the page's and the row's address (20), eight conversions, eight products and
/// seven sums, four steps over the 16 lanes of a key (8), scale, bounds, slope, maximum and score (10), two branches.
const KEYS: (f64, f64, f64) = (65.0, 25.0, 26.0);
/// The same for values: loads, addresses, the score and its conversion, bounds (6), eight conversions, eight FMA.
const VALUES: (f64, f64, f64) = (46.0, 8.0, 30.0);
/// Cycles that a warp waits after an instruction: chains over few values, as in norms and softmax (`docs/gpu.md`).
const STALL: f64 = 4.0;

/// A turn of so many warps over so many vectors of 512 bytes each: so much of it as there are keys for.
fn lane_work(warps: f64, vectors: f64, active: f64, (all, fma, alu): (f64, f64, f64)) -> Op {
    let n = warps * vectors * active;
    Op::Vector(VectorWork {
        issue: n * all,
        fma: 32.0 * n * fma,
        alu: 32.0 * n * alu,
        latency_cycles: vectors * all * STALL,
        stall: STALL,
        ..VectorWork::default()
    })
}

/// Decode of each head by itself: 256 to 1024 threads take 16 bytes of a key a lane, four at a time, then all scores lie in
/// shared memory, and the values follow, eight at a time (`decoderMaskedMultiheadAttentionLaunch.h` and `Template.h`).
/// The kernel rotates, and writes the cache.
pub fn head_decode(a: &Attention, spec: &GpuSpec, keys_only: bool) -> Kernel {
    const STEP: u8 = 4;
    let (d, sms) = (a.head_dim, spec.sms());
    let (all, s) = (a.batch * a.heads, a.keys);
    // 64 registers a thread: 1024 threads of an SM.
    let factor = (4 * sms).div_ceil(all).min(4);
    let score_bytes = 6;
    let fits = |threads: u32, keys: u32| {
        (65536 / (64 * threads)).min(spec.sm.shared_memory_bytes / (keys * score_bytes + 2048)).max(1)
    };
    let threads = match factor {
        0 | 1 => 256,
        2 | 3 => 512,
        _ => 1024,
    };
    // Parts: one wave of CTAs, and as many as have room for their scores.
    let lanes_of_key = d * a.kv_bytes / 16;
    let turn = (threads / lanes_of_key.max(1)).max(1);
    let room = (s * score_bytes).div_ceil(spec.sm.shared_memory_per_cta_bytes - 2048);
    let wave = (sms * fits(threads, 1)).div_ceil(all).min(sms.div_ceil(all)).min(s.div_ceil(8 * turn));
    let parts = wave.max(room).max(1);
    let keys = s.div_ceil(parts);
    let parts = s.div_ceil(keys);
    let group = a.group();
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity((all * parts) as usize);
    let (k_turn, v_turn) = (4 * turn, 8 * turn);
    for p in 0..parts {
        let own = keys.min(s - p * keys);
        for head in 0..all {
            let first = head / group * s + p * keys;
            items.push(
                [head, first, own / k_turn, own / v_turn, 0, p * all + head].map(|x: u32| x as i32),
            );
        }
    }
    // Groups of warps that do not wait for each other's loads.
    let groups = (threads / 256).min(4);
    let warps = threads / 32 / groups;
    let part = |tensor: u8, group: u32, rows: u32, from: u32, step: u32| {
        let rows_of_group = rows.div_ceil(groups);
        let mut row = Expr::work(KROW, 1).plus_loop(0, i64::from(step));
        row.base = i64::from(from + group * rows_of_group);
        Tile { tensor, row, byte: Expr::default(), rows: rows_of_group, bytes: d * a.kv_bytes }
    };
    let head_row = |tensor: u8, var: usize| Tile {
        tensor,
        row: Expr::work(var, 1),
        byte: Expr::default(),
        rows: 1,
        bytes: d * 2,
    };
    let step = |warps: f64, instructions: f64| {
        Op::Vector(VectorWork { issue: warps * instructions, stall: STALL, ..lanes(0.0, 0.0, 0.0, 0.0, 0.0) })
    };
    let chain = |instructions: f64| {
        Op::Vector(VectorWork { issue: instructions, latency_cycles: STALL * instructions, ..VectorWork::default() })
    };
    let full = Barrier { arrivals: 1, credits: 0 };
    let mut roles = Vec::new();
    for g in 0..groups {
        let w = f64::from(warps);
        let bar = g as u8;
        let phase = |ops: &mut Vec<Op>, tensor: u8, rows: u32, turns: usize, work: (f64, f64, f64)| {
            let rest = keys % rows;
            let vectors = f64::from(rows / turn) ;
            // A page's number before the data.
            let page = copy(Tile { bytes: 32, ..head_row(Q, QROW) }, Path::LoadL1, bar);
            let one = |part: Tile, active: f64| {
                [page, Op::Wait(bar), copy(part, Path::Load, bar), Op::Wait(bar), lane_work(w, vectors, active, work)]
            };
            if rest > 0 {
                // A warp has two keys at a time; those whose first keys are not there do nothing.
                let active = (f64::from(rest) / f64::from(turn)).min(1.0);
                ops.extend(one(part(tensor, g, rest, 0, 0), active));
            }
            ops.push(Op::Loop(trips(turns, 0)));
            ops.extend(one(part(tensor, g, rows, rest, rows), 1.0));
            ops.push(Op::End);
        };
        let mut ops = vec![setup(spec)];
        // The length, then query, key and value of the token, are read one after the other. The first warp rotates them: four
        // pairs a lane, sine and cosine of each (80), through shared memory (both of it twice).
        ops.extend([copy(head_row(Q, QROW), Path::Load, bar), Op::Wait(bar)]);
        ops.extend([copy(head_row(Q, QROW), Path::Load, bar), Op::Wait(bar), chain(600.0), Op::Sync, Op::Sync]);
        phase(&mut ops, K, k_turn, BLOCKS, KEYS);
        // Maximum, exponentials and their sum, over all warps.
        ops.extend([Op::Arrive(STEP), Op::Wait(STEP), step(w, 40.0)]);
        ops.push(step(w, 30.0 * f64::from(keys.div_ceil(threads))));
        ops.extend([Op::Sync, step(w, 40.0), Op::Sync]);
        phase(&mut ops, V, v_turn, RIGHT, VALUES);
        // Sums over the groups of lanes, by halves.
        ops.extend([Op::Arrive(STEP), Op::Wait(STEP)]);
        for _ in 0..turn.ilog2() {
            // Eight values a lane are written, read and added by half of the lanes.
            ops.extend([chain(40.0), Op::Sync]);
        }
        if g == 0 {
            finish(&mut ops, head_row(O, OUT), parts);
        }
        roles.push(Role { warps, ops });
    }
    let mut tensors = a.tensors(1, k_turn.min(s));
    tensors[usize::from(O)].rows *= u64::from(parts);
    let mut kernel = Kernel {
        name: format!("decode {}x{} heads one by one, {} keys in {parts}", a.batch, a.heads, a.keys),
        threads,
        registers: 64,
        shared_bytes: (keys * score_bytes + 2048).min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: vec![full, full, full, full, Barrier { arrivals: groups, credits: 0 }],
        roles,
        pipelined: false,
    };
    if keys_only {
        one_cache(&mut kernel);
    }
    kernel
}
