//! Attention on Blackwell's matrix units: FlashAttention-4 and the kernels of TensorRT-LLM (`trtllm-gen`, which vLLM and SGLang call through
//! FlashInfer there), whose structure is taken to be alike.
//!
//! Two tiles of 128 queries take turns at the matrix units; their scores and sums lie in tensor memory, a thread has a row. The sources are the
//! published kernel (`flash_fwd_sm100.py` of FlashAttention, BSD-3) for prefill, and for decode the launch rules of FlashInfer's
//! `fmhaKernels.cuh` (Apache-2.0); the kernels of decode are not public. No kernel of a Blackwell chip has been measured for this project:
//! instructions are counted by hand, what a kernel takes beside its blocks is as FlashAttention-3's.

use banksia_hw::gpu::program::{Barrier, Dtype, Expr, Kernel, Multicast, Op, Path, Role, Tile, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::flash2::setup;
use super::index::{
    BLOCKS, K, K_FREE, K_FULL, KROW, LEFT, O, PLAIN, Q, Q_FREE, Q_FULL, RIGHT, V, V_FREE, V_FULL, trips,
};
use super::shared_keys::{deal, merge, numbers, output};
use super::{Attention, Grid};
use crate::gpu::copy;

/// Rows of a tile: those of an instruction.
const ROWS: u32 = 128;
/// Keys of a block.
const KEYS: u32 = 128;

/// Instructions of a warp for each of a lane's scores: half a maximum (of three), half a scale and difference (of pairs), an exponential, half a
/// conversion, half a sum (of pairs); and for a sixth of them a polynomial in place of the exponential (six, of pairs): FlashAttention-4
/// computes 10 to 25 % of its exponentials so. A mask adds one.
const SCORE: f64 = 0.5 + 0.5 + 1.0 + 0.5 + 0.5 + POLYNOMIAL * (3.0 - 1.0);
const MASK: f64 = 1.0;
const POLYNOMIAL: f64 = 1.0 / 6.0;
/// Moving scores out of tensor memory and probabilities back: an instruction for each 32 of a lane, and bounds, turns and barriers.
const BESIDE: f64 = 60.0;
/// Cycles that a warp waits after an instruction, as a warpgroup of FlashAttention-3 that is by itself: chains of a row are a thread's own.
const STALL: f64 = 2.5;
/// From a CTA's start to its first copy, as FlashAttention-3's (`SETUP_NS` there).
const SETUP_NS: f64 = 2000.0;

/// Lane work of the four warps that have a tile.
fn work(per_warp: f64, sfu: f64) -> VectorWork {
    VectorWork {
        issue: 4.0 * per_warp,
        fma: 0.42 * 128.0 * per_warp,
        alu: 0.25 * 128.0 * per_warp,
        sfu,
        latency_cycles: 60.0,
        stall: STALL,
        ..VectorWork::default()
    }
}

fn softmax(keys: u32, mask: f64) -> Op {
    let scores = f64::from(keys);
    let exponentials = f64::from(ROWS) * scores * (1.0 - POLYNOMIAL);
    Op::Vector(work((SCORE + mask) * scores + BESIDE, exponentials))
}

/// Type of the products: keys of eight bits are multiplied by queries of eight.
fn kind(a: &Attention) -> Dtype {
    if a.kv_bytes < 2 { Dtype::Fp8 } else { a.dtype }
}

/// Prefill.
pub fn flash4(a: &Attention, spec: &GpuSpec) -> Kernel {
    let (d, dtype) = (a.head_dim, kind(a));
    // Two tiles' scores and sums have 512 columns of tensor memory: not with heads of more than 128.
    let groups: u32 = if d <= 128 && a.queries > ROWS { 2 } else { 1 };
    let bn = if d > 128 && a.kv_bytes > 1 { KEYS / 2 } else { KEYS };
    let grid = Grid { bm: ROWS * groups, bn, packed: false, longest_first: 1 };
    let items = grid.items(a);
    let kv = |tensor: u8, barrier, at| Op::Copy {
        tile: grid.kv_tile(a, tensor, at),
        path: Path::Bulk,
        multicast: Multicast::NONE,
        barrier,
    };
    let q = |tensor, bytes| grid.q_tile(a, tensor, bytes);
    let scores = Op::Mma { dtype, m: ROWS, n: bn, k: d, sync: false };
    let turn = |mask: f64| {
        vec![
            Op::Wait(K_FULL),
            scores,
            Op::Wait(V_FULL),
            Op::MmaQueued { dtype, m: ROWS, n: d, k: bn },
            Op::MmaWait(1),
            Op::Arrive(K_FREE),
            softmax(bn, mask),
            Op::MmaWait(0),
            Op::Arrive(V_FREE),
        ]
    };
    let consumer = |group: u32| {
        let mut ops = vec![Op::Setup(SETUP_NS), Op::Wait(Q_FULL), Op::Wait(K_FULL), scores, Op::MmaWait(0)];
        ops.extend([Op::Arrive(K_FREE), softmax(bn, MASK)]);
        for (number, mask) in [(RIGHT, MASK), (PLAIN, 0.0), (LEFT, MASK)] {
            if number == LEFT && a.window == 0 {
                continue;
            }
            ops.push(Op::Loop(trips(number, 0)));
            ops.extend(turn(mask));
            ops.push(Op::End);
        }
        ops.extend([Op::Arrive(Q_FREE), Op::Wait(V_FULL), Op::Mma { dtype, m: ROWS, n: d, k: bn, sync: false }]);
        // Sums out of tensor memory, scaled, converted, through shared memory.
        let leave = VectorWork { shared_bytes: 2.0 * f64::from(ROWS * d * 2), ..work(390.0 + 1.2 * f64::from(d), 0.0) };
        ops.extend([Op::MmaWait(0), Op::Arrive(V_FREE), Op::Vector(leave)]);
        if group == 0 {
            ops.push(Op::Store { tile: q(O, 2), reduce: false });
        }
        ops.push(Op::NextFree);
        ops
    };
    let producer = vec![
        Op::Setup(SETUP_NS),
        Op::Wait(Q_FREE),
        Op::Copy { tile: q(Q, dtype.bytes()), path: Path::Bulk, multicast: Multicast::NONE, barrier: Q_FULL },
        Op::Wait(K_FREE),
        kv(K, K_FULL, 0),
        Op::Wait(V_FREE),
        kv(V, V_FULL, 0),
        Op::Loop(trips(BLOCKS, -1)),
        Op::Wait(K_FREE),
        kv(K, K_FULL, 1),
        Op::Wait(V_FREE),
        kv(V, V_FULL, 1),
        Op::End,
        Op::NextFree,
    ];
    let mut roles: Vec<Role> = (0..groups).map(|g| Role { warps: 4, ops: consumer(g) }).collect();
    roles.push(Role { warps: 1, ops: producer });
    let free = Barrier { arrivals: groups, credits: 2 };
    let full = Barrier { arrivals: 1, credits: 0 };
    Kernel {
        name: format!("flash-4 {}x{} heads, {} queries", a.batch, a.heads, a.queries),
        threads: 512,
        registers: 128,
        shared_bytes: ((grid.bm + 4 * bn) * d * dtype.bytes() + 2048).min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: (items.len() as u32).min(spec.sms()),
        items,
        tensors: a.tensors(grid.bm.min(a.queries), bn.min(a.keys)),
        barriers: vec![full, full, full, free, free, Barrier { arrivals: groups, credits: 1 }],
        roles,
        pipelined: true,
    }
}

/// Keys that a CTA has at least where several share a sequence: two tiles.
const KEYS_OF_PART: u32 = 2 * KEYS;

/// Parts of a sequence: no more CTAs than SMs, each with two tiles of keys (`computeNumCtas`).
fn parts(a: &Attention, keys: u32, spec: &GpuSpec) -> u32 {
    let tiles = a.batch.saturating_mul(a.kv_heads).max(1);
    (spec.sms() / tiles).clamp(1, keys.div_ceil(KEYS_OF_PART).max(1))
}

/// Decode: keys are the rows of the products, the heads that share them the columns; the last CTA of a sequence joins its parts.
pub fn decode4(a: &Attention, spec: &GpuSpec) -> Kernel {
    const X_FULL: u8 = 5;
    const X_FREE: u8 = 6;
    let a = &Attention { causal: false, ..*a };
    let (d, dtype) = (a.head_dim, kind(a));
    let rows = (a.group().saturating_mul(a.queries)).clamp(1, 128);
    let heads = rows.next_multiple_of(8);
    let grid = Grid { bm: heads, bn: KEYS, packed: true, longest_first: 0 };
    let window = if a.window > 0 { a.keys.min(a.window) } else { a.keys };
    let parts = parts(a, window, spec) as i32;
    let items: Vec<[i32; WORK_VARS]> = deal(a, grid, parts);
    // Instructions of a warp as the kernel for Hopper has them (`shared_keys_hopper.rs`): 10 a score, 100 for the maximum over a warpgroup.
    let lane = f64::from(KEYS * heads) / 128.0;
    let softmax = Op::Vector(work(100.0 + 10.0 * lane, f64::from(KEYS * heads)));
    let accumulators = f64::from(d * heads) / 128.0;
    let rescale = Op::Vector(work(60.0 + 2.0 * accumulators, 0.0));
    let stages = (160 * 1024 / (2 * KEYS * a.kv_bytes * d).max(1)).clamp(1, 8);
    let kv = |tensor: u8, barrier: u8| {
        let step = i64::from(KEYS) * i64::from(parts);
        let row = Expr::work(KROW, 1).plus_loop(0, step);
        let tile = Tile { tensor, row, byte: Expr::default(), rows: KEYS.min(a.keys), bytes: d * a.kv_bytes };
        copy(tile, Path::Bulk, barrier)
    };
    let mut fetch = numbers(a, spec, grid, K_FULL);
    fetch.extend([Op::Loop(trips(BLOCKS, 0)), Op::Wait(K_FREE), kv(K, K_FULL)]);
    fetch.extend([Op::Wait(V_FREE), kv(V, V_FULL), Op::End]);
    let mut scores = vec![setup(spec), copy(grid.q_tile(a, Q, 2), Path::Bulk, Q_FULL), Op::Wait(Q_FULL)];
    scores.extend([Op::Loop(trips(BLOCKS, 0)), Op::Wait(K_FULL)]);
    scores.extend([Op::Mma { dtype, m: KEYS, n: heads, k: d, sync: false }, Op::MmaWait(0), Op::Arrive(K_FREE)]);
    scores.extend([softmax, Op::Wait(X_FREE), Op::Arrive(X_FULL), Op::End]);
    let mut values = vec![setup(spec), Op::Loop(trips(BLOCKS, 0)), Op::Wait(V_FULL), Op::Wait(X_FULL), rescale];
    values.extend([Op::Mma { dtype, m: d.next_multiple_of(ROWS), n: heads, k: KEYS, sync: false }, Op::MmaWait(0)]);
    values.extend([Op::Arrive(V_FREE), Op::Arrive(X_FREE), Op::End]);
    values.push(Op::Vector(work(150.0 + 4.0 * accumulators, 0.0)));
    values.extend(merge(a, spec, output(a, grid, parts), parts));
    let mut tensors = a.tensors(heads, KEYS.min(a.keys));
    tensors[usize::from(O)].rows *= parts as u64;
    let (full, free) = (Barrier { arrivals: 1, credits: 0 }, Barrier { arrivals: 1, credits: stages });
    let two = Barrier { arrivals: 1, credits: 2 };
    Kernel {
        name: format!("decode {}x{} heads, {} keys by tcgen05 in {parts}", a.batch, a.kv_heads, a.keys),
        threads: 384,
        registers: 168,
        shared_bytes: ((2 * stages * KEYS * a.kv_bytes + 4 * heads) * d).min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: vec![full, full, full, free, free, full, two],
        roles: vec![Role { warps: 1, ops: fetch }, Role { warps: 4, ops: scores }, Role { warps: 4, ops: values }],
        pipelined: true,
    }
}

/// Prefill of more than one query, decode of one.
pub fn attention4(a: &Attention, prompt: bool, spec: &GpuSpec) -> Kernel {
    if prompt { flash4(a, spec) } else { decode4(a, spec) }
}
