//! FlashAttention-2: four or eight warps that copy by `cp.async` and multiply by `mma.sync`, one query tile a CTA.

use banksia_hw::gpu::program::{Barrier, Kernel, Op, Path, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::index::{BLOCKS, K, K_FULL, LEFT, O, PLAIN, Q, Q_FULL, RIGHT, V, V_FULL, trips};
use super::{Attention, Grid};
use crate::gpu::{copy, one_role};

/// Cycles that a warp of `flash_fwd_kernel` waits after an instruction, with two CTAs an SM (`device_profiles.csv`: fixed
/// latencies 1.34, short scoreboard 0.36, dispatch 0.21).
pub(super) const STALL: f64 = 1.9;

/// Before the first copy: misses of constants and of instructions, 820 cycles of a warp (`device_profiles.csv`: the joining
/// kernel, which has no more to do than that).
pub(super) const SETUP_NS: f64 = 420.0;

/// Instructions of a warp for its part of a block, matrix instructions among them (`device_profiles.csv`: 1220 for 128 x 64
/// of head size 128, 1684 for 128 x 128 of 64): 9.4 a score, 2 an accumulator, 40 besides, one `mma` for 2048 multiply-adds,
/// one `ldmatrix` for 512 bytes.
pub(super) fn block_instructions(bm: u32, bn: u32, d: u32, warps: u32) -> f64 {
    let (m, n, k) = (f64::from(bm), f64::from(bn), f64::from(d));
    let lanes = 32.0 * f64::from(warps);
    let products = 2.0 * m * n * k / 2048.0 / f64::from(warps);
    9.4 * m * n / lanes + 2.0 * m * k / lanes + 40.0 + products + 2.0 * n * k * 2.0 / 512.0
}

/// Lane work of a block on all warps; its code is a section of its own where it is one of the unrolled first turns.
pub(super) fn block_work(per_warp: f64, scores: f64, warps: u32, unrolled: bool) -> VectorWork {
    let w = f64::from(warps);
    VectorWork {
        issue: w * per_warp,
        // `device_profiles.csv`: 37 to 42 % of the instructions on the FMA lanes, 26 % on the integer lanes.
        fma: 0.38 * 32.0 * w * per_warp,
        alu: 0.26 * 32.0 * w * per_warp,
        sfu: scores,
        latency_cycles: 150.0,
        stall: STALL,
        code_bytes: if unrolled { (16.0 * per_warp) as u32 } else { 0 },
        ..VectorWork::default()
    }
}

/// Prefill. Lengths that are not whole tiles take one more masked turn, unrolled like the others.
pub fn flash2(a: &Attention, spec: &GpuSpec) -> Kernel {
    let d = a.head_dim;
    // The tiles of the published kernels, by head size.
    let (bm, bn, warps) = match d {
        0..=64 => (128, 128, 4),
        65..=128 => (128, 64, 4),
        _ => (if spec.sm.shared_memory_per_cta_bytes > 150_000 { 128 } else { 64 }, 64, if d > 128 { 8 } else { 4 }),
    };
    tiled(a, bm, bn, warps, false, format!("flash-2 prefill {}x{} heads, {} queries", a.batch, a.heads, a.queries))
}

/// The same with the tiles of the kernels that split keys: pages of keys go through these even where nothing is split.
pub fn flash2_paged(a: &Attention) -> Kernel {
    let bn = match a.head_dim {
        0..=64 => 256,
        65..=128 => 128,
        _ => 64,
    };
    tiled(a, 64, bn, 4, false, format!("flash-2 paged prefill {}x{} heads, {} queries", a.batch, a.heads, a.queries))
}

/// The same with the query heads that share keys as rows of one tile, as FlashInfer has it.
pub fn flash2_packed(a: &Attention) -> Kernel {
    let rows = if a.queries * a.group() > 64 { 128 } else { 64 };
    tiled(a, rows, 64, 4, true, format!("flash-2 packed prefill {}x{} heads, {} queries", a.batch, a.heads, a.queries))
}

fn tiled(a: &Attention, bm: u32, bn: u32, warps: u32, packed: bool, name: String) -> Kernel {
    let d = a.head_dim;
    let grid = Grid { bm, bn, packed, longest_first: 0 };
    let even = a.queries.is_multiple_of(bm) && a.keys.is_multiple_of(bn);
    // Turns with a mask are straight-line code before the loop.
    let masked = if a.causal { bm.div_ceil(bn) + u32::from(!even) } else { 1 } as i32;
    let mut items = grid.items(a);
    for item in &mut items {
        let n = item[BLOCKS];
        item[RIGHT] = i32::from(masked > 1 && n > 1);
        item[LEFT] = (masked - 2).min(n - 2).max(0);
        item[PLAIN] = (n - masked).max(0);
    }
    let scores = f64::from(bm) * f64::from(bn);
    let per_warp = block_instructions(bm, bn, d, warps);
    // `device_profiles.csv`: 290 and 375 instructions for 64 and 128 scores a lane.
    let mask = if a.causal || !even { 205.0 + 1.33 * scores / (32.0 * f64::from(warps)) } else { 0.0 };
    // Fragments of K and V are read once by each of the warps, those of Q stay in registers.
    let e = f64::from(a.dtype.bytes());
    let fragments = f64::from(warps) * f64::from(bn) * f64::from(d) * e;
    let reads = VectorWork { shared_bytes: fragments, ..VectorWork::default() };
    let mma = |m, n, k| Op::Mma { dtype: a.dtype, m, n, k, sync: true };
    let q = |tensor| grid.q_tile(a, tensor, if tensor != Q { 2 } else { a.dtype.bytes() });
    let turn = |at: i64, masked: bool| {
        let kv = |tensor, ahead| copy(grid.kv_tile(a, tensor, at + ahead), Path::Async, tensor);
        let extra = if masked { mask } else { 0.0 };
        [
            kv(V, 0),
            Op::Wait(K_FULL),
            Op::Sync,
            mma(bm, bn, d),
            Op::Vector(reads),
            Op::MmaWait(0),
            kv(K, 1),
            Op::Vector(block_work(per_warp + extra, scores, warps, masked)),
            Op::Wait(V_FULL),
            Op::Sync,
            mma(bm, d, bn),
            Op::Vector(reads),
            Op::MmaWait(0),
        ]
    };
    let mut ops = vec![
        Op::Setup(SETUP_NS),
        copy(q(Q), Path::Async, Q_FULL),
        copy(grid.kv_tile(a, K, 0), Path::Async, K_FULL),
        Op::Wait(Q_FULL),
    ];
    ops.extend(turn(0, true));
    ops.push(Op::Loop(trips(RIGHT, 0)));
    ops.extend(turn(1, true));
    ops.extend([Op::End, Op::Loop(trips(LEFT, 0))]);
    ops.extend(turn(2, true));
    ops.extend([Op::End, Op::Loop(trips(PLAIN, 0))]);
    ops.extend(turn(i64::from(masked), false));
    // `device_profiles.csv`: 817 and 1070 instructions a warp beside the blocks.
    let rest = VectorWork { shared_bytes: 2.0 * f64::from(bm * d) * 2.0, ..block_work(900.0, 0.0, warps, true) };
    ops.extend([Op::End, Op::Vector(rest), Op::Store { tile: q(O), reduce: false }]);
    Kernel {
        name,
        threads: 32 * warps,
        registers: 255,
        shared_bytes: (bm + 2 * bn) * d * 2 + 1024,
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors: a.tensors(bm.min(a.queries * if packed { a.group() } else { 1 }), bn.min(a.keys)),
        barriers: vec![Barrier { arrivals: 1, credits: 0 }; 3],
        roles: one_role(warps, ops),
        pipelined: false,
    }
}
