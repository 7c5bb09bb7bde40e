//! TensorRT-LLM's decode that takes each head by itself, on the lanes.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Role, Tile, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::Attention;
use super::flash2::setup;
use super::index::{BLOCKS, K, KROW, O, OUT, Q, QROW, RIGHT, V, trips};
use super::shared_keys::one_cache;
use crate::gpu::{copy, lanes};

/// Instructions of a warp for two keys of size 128, all, on the FMA lanes and on the integer lanes, as the source has them:
/// two loads (a page's number, eight elements a lane), the page's and the row's address (20), eight conversions, eight products and
/// seven sums, four steps over the 16 lanes of a key (8), scale, bounds, slope, maximum and score (10), two branches.
const KEYS: (f64, f64, f64) = (65.0, 25.0, 26.0);
/// The same for values: loads, addresses, the score and its conversion, bounds (6), eight conversions, eight FMA.
const VALUES: (f64, f64, f64) = (46.0, 8.0, 30.0);
/// More of them where elements have eight bits, which are converted twice, and scaled.
const EIGHT_BITS: f64 = 10.0;
/// Cycles that a warp waits after an instruction: chains over few values, as in norms and softmax (`docs/gpu.md`).
const STALL: f64 = 4.0;

/// A turn of so many warps over so many vectors of 32 lanes each: so much of it as there are keys for.
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

/// Decode of each head by itself: 256 to 1024 threads take eight elements of a key a lane, four at a time, then all scores lie in
/// shared memory, and the values follow, eight at a time (`decoderMaskedMultiheadAttentionLaunch.h` and `Template.h`).
/// The kernel rotates, and writes the cache.
pub fn head_decode(a: &Attention, spec: &GpuSpec, keys_only: bool) -> Kernel {
    const STEP: u8 = 4;
    let (d, sms) = (a.head_dim, spec.sms());
    let all = a.batch.saturating_mul(a.heads).max(1);
    let s = if a.window > 0 { a.keys.min(a.window) } else { a.keys }.max(1);
    // 64 registers a thread: 1024 threads of an SM.
    let factor = (4 * sms).div_ceil(all).min(4);
    let score_bytes = 6;
    let fits = |threads: u32, keys: u32| {
        (spec.sm.registers / (64 * threads))
            .min(spec.sm.shared_memory_bytes / keys.saturating_mul(score_bytes).saturating_add(2048))
            .max(1)
    };
    let threads = match factor {
        0 | 1 => 256,
        2 | 3 => 512,
        _ => 1024,
    };
    // Parts: one wave of CTAs, and as many as have room for their scores.
    let turn = (threads / (d / 8).max(1)).max(1);
    let room = s.saturating_mul(score_bytes).div_ceil(spec.sm.shared_memory_per_cta_bytes.saturating_sub(2048).max(1));
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
            let first = (head / group + 1) * a.keys - s + p * keys;
            items.push([head, first, own / k_turn, own / v_turn, 0, p * all + head].map(|x: u32| x as i32));
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
    let head_row =
        |tensor: u8, var: usize| Tile { tensor, row: Expr::work(var, 1), byte: Expr::default(), rows: 1, bytes: d * 2 };
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
            let vectors = f64::from(rows / turn);
            let work = if a.kv_bytes < 2 { (work.0 + EIGHT_BITS, work.1, work.2 + EIGHT_BITS) } else { work };
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
            let out = head_row(O, OUT);
            ops.push(Op::Store { tile: out, reduce: false });
            if parts > 1 {
                // A counter in memory says who is last; that CTA reads the parts back.
                let counter = Op::Store { tile: Tile { bytes: 32, ..out }, reduce: true };
                ops.extend([Op::StoreWait, counter, Op::StoreWait, copy(out, Path::Load, bar), Op::Wait(bar)]);
            }
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
