//! FlashAttention-3 over a latent cache: 64 rows of heads and queries a tile, 64 tokens a block. A warpgroup multiplies queries and keys, takes
//! the softmax and multiplies with half of the values; another multiplies with the other half; a third, or one of its warps, fetches.

use banksia_hw::gpu::program::{Barrier, Kernel, Multicast, Op, Path, Role, Tile, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::{LatentCall, values_are_keys};
use crate::gpu::attention::index::{BLOCKS, K, O, OUT, Q, QROW, trips};
use crate::gpu::attention::{Attention, Grid, combine, splits};
use crate::gpu::{attention, copy};
use banksia_hw::gpu::program::Expr;

/// Rows of a tile and tokens of a block (`tile_size_fwd_sm90`: sizes 64 and 512).
const TILE: u32 = 64;

/// Cycles that a warp waits after an instruction: a warpgroup by itself waits for its own latencies only (as in decode by one warpgroup).
pub(super) const STALL: f64 = 2.5;

/// From a CTA's start to its first copy, and from one tile to the next, as with the library's other kernels.
const SETUP_NS: f64 = 2000.0;
const HANDOVER_NS: f64 = 450.0;

const Q_FULL: u8 = 0;
const KV_FULL: u8 = 1;
const P_FULL: u8 = 2;
const KV_FREE: u8 = 3;
const P_FREE: u8 = 4;
const STORED: u8 = 5;

/// Instructions of four warps, of each so many.
pub(super) fn work(per_warp: f64, sfu: f64, shared_bytes: f64) -> VectorWork {
    VectorWork {
        issue: 4.0 * per_warp,
        fma: 0.42 * 128.0 * per_warp,
        alu: 0.25 * 128.0 * per_warp,
        sfu,
        shared_bytes,
        latency_cycles: 60.0,
        stall: STALL,
        ..VectorWork::default()
    }
}

/// Softmax of 64 x 64 scores by a warpgroup: 5.5 instructions for each of a lane's scores and 20 besides (`device_profiles.csv`: kernels of
/// sizes 64 to 256), so many more for a mask, and the probabilities to shared memory; its half of the accumulators is rescaled, 1.5 each.
pub(super) fn softmax(latent: u32, dtype_bytes: u32, mask: f64) -> Op {
    let scores = f64::from(TILE * TILE) / 128.0;
    let rescale = 1.5 * f64::from(TILE * (latent / 2)) / 128.0;
    let store = scores / 8.0 + 20.0;
    Op::Vector(work(
        (5.5 + mask) * scores + rescale + store + 20.0,
        f64::from(TILE * TILE),
        f64::from(TILE * TILE * dtype_bytes),
    ))
}

/// The other warpgroup rescales its half.
pub(super) fn rescale(latent: u32) -> Op {
    Op::Vector(work(1.5 * f64::from(TILE * (latent / 2)) / 128.0 + 30.0, 0.0, 0.0))
}

/// A half of the result through shared memory, normalised.
pub(super) fn epilogue(latent: u32, bytes: u32) -> Op {
    let half = f64::from(TILE * (latent / 2));
    Op::Vector(work(390.0 + 3.0 * half / 128.0, 0.0, 2.0 * half * f64::from(bytes)))
}

/// The kernels: one over the cache, and where keys may be split one that joins the parts. `pages` of at least 64 tokens are fetched in bulk,
/// smaller ones row by row with `cp.async`.
pub fn latent3(call: &LatentCall, spec: &GpuSpec, bulk: bool) -> Vec<Kernel> {
    let a = &Attention { kv_bytes: 2, ..call.absorbed() };
    let prompt = call.queries > 1;
    let grid = Grid { bm: TILE, bn: TILE, packed: true, longest_first: u32::from(prompt) };
    let whole = grid.items(a);
    let most = whole.iter().map(|i| i[BLOCKS]).max().unwrap_or(1).max(1) as u32;
    let tiles = u32::try_from(whole.len()).unwrap_or(u32::MAX);
    // As in the library's decode: a bound from one sequence, and the parts themselves from the work of all.
    let bound = splits(tiles / a.batch.max(1), spec.sms(), most);
    let per_sm = (f64::from(most) * f64::from(tiles) * 1.1 / f64::from(spec.sms())).ceil();
    let parts = ((f64::from(most) / per_sm).ceil() as u32).clamp(1, bound.max(1));
    let rows = call.heads.saturating_mul(call.queries).min(TILE) as i32;
    let mut items = Vec::with_capacity(whole.len() * parts as usize);
    for item in whole {
        let n = item[BLOCKS];
        let per = (n as u32).div_ceil(parts).max(1) as i32;
        for p in 0..parts as i32 {
            let blocks = per.min(n - p * per);
            if blocks > 0 {
                let mut part = item;
                part[1] -= p * per * TILE as i32;
                part[BLOCKS] = blocks;
                part[OUT] = item[QROW].saturating_mul(parts as i32).saturating_add(p * rows);
                items.push(part);
            }
        }
    }
    let split = parts > 1;
    let (half, width) = (a.value_dim / 2, a.head_dim);
    let dtype = a.dtype;
    let out_bytes = if split { 4 } else { 2 };
    let mut out = grid.q_tile(a, O, out_bytes);
    if split {
        out.row = Expr::work(OUT, 1);
    }
    // An address for each row that is there, as with packed heads in the library's other kernels.
    let addresses = Op::Vector(work(180.0 * f64::from(rows) / f64::from(TILE), 0.0, 0.0));
    let mask = if prompt { 2.2 } else { 0.0 };
    let values = |m: u32| Op::Mma { dtype, m, n: half, k: TILE, sync: false };
    let leads = vec![
        Op::Setup(SETUP_NS),
        addresses,
        Op::Copy { tile: grid.q_tile(a, Q, 2), path: Path::Async, multicast: Multicast::NONE, barrier: Q_FULL },
        Op::Wait(Q_FULL),
        Op::Loop(trips(BLOCKS, 0)),
        Op::Wait(KV_FULL),
        Op::Mma { dtype, m: TILE, n: TILE, k: width, sync: false },
        Op::MmaWait(0),
        softmax(a.value_dim, 2, mask),
        Op::Wait(P_FREE),
        Op::Arrive(P_FULL),
        values(TILE),
        Op::MmaWait(0),
        Op::Arrive(KV_FREE),
        Op::End,
        epilogue(a.value_dim, out_bytes),
        addresses,
        Op::Store { tile: out, reduce: false },
        Op::Arrive(STORED),
        Op::NextFree,
    ];
    let follows = vec![
        Op::Setup(SETUP_NS),
        Op::Loop(trips(BLOCKS, 0)),
        Op::Wait(KV_FULL),
        Op::Wait(P_FULL),
        rescale(a.value_dim),
        values(TILE),
        Op::MmaWait(0),
        Op::Arrive(P_FREE),
        Op::Arrive(KV_FREE),
        Op::End,
        epilogue(a.value_dim, out_bytes),
        Op::NextFree,
    ];
    let path = if bulk { Path::Bulk } else { Path::Async };
    let kv = |at: i64| -> Tile { grid.kv_tile(a, K, at) };
    let pages = VectorWork {
        issue: attention::PAGED * f64::from(TILE * width * 2) / 512.0,
        stall: 2.0,
        ..VectorWork::default()
    };
    let fetch = |at: i64| {
        let mut ops = Vec::new();
        if !bulk {
            ops.push(Op::Vector(pages));
        }
        ops.push(copy(kv(at), path, KV_FULL));
        ops
    };
    let mut fetches = vec![Op::Setup(SETUP_NS), Op::Delay(HANDOVER_NS), Op::Wait(STORED), Op::Wait(KV_FREE)];
    fetches.extend(fetch(0));
    fetches.extend([Op::Loop(trips(BLOCKS, -1)), Op::Wait(KV_FREE)]);
    fetches.extend(fetch(1));
    fetches.extend([Op::End, Op::NextFree]);
    let mut tensors = a.tensors(TILE, TILE.min(a.keys));
    values_are_keys(&mut tensors);
    if split {
        tensors[usize::from(O)].rows = tensors[usize::from(O)].rows.saturating_mul(u64::from(parts));
        tensors[usize::from(O)].row_bytes *= 2;
    }
    let (full, both) = (Barrier { arrivals: 1, credits: 0 }, Barrier { arrivals: 2, credits: 2 });
    let free = Barrier { arrivals: 1, credits: 1 };
    let warps = if bulk { 1 } else { 4 };
    let mut kernels = vec![Kernel {
        name: format!("flash-3 latent {}x{} heads, {} keys in {parts}", a.batch, a.heads, a.keys),
        threads: 384,
        registers: 168,
        shared_bytes: (3 * TILE * width * 2 + TILE * TILE * 2 + 2048).min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: u32::try_from(items.len()).unwrap_or(u32::MAX).min(spec.sms()).max(1),
        items,
        tensors,
        barriers: vec![full, full, full, both, free, free],
        roles: vec![Role { warps: 4, ops: leads }, Role { warps: 4, ops: follows }, Role { warps, ops: fetches }],
        pipelined: true,
    }];
    if bound > 1 {
        kernels.push(combine(a, spec, parts));
    }
    kernels
}
