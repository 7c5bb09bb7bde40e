//! TensorRT-LLM's decode of heads that share keys of eight bits, on Hopper.

use banksia_hw::gpu::program::{Barrier, Dtype, Expr, Kernel, Op, Path, Role, Tile, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::flash2::setup;
use super::index::{BLOCKS, K, K_FREE, K_FULL, KROW, Q, Q_FULL, V, V_FREE, V_FULL, trips};
use super::shared_keys::{deal, merge, numbers, output, parts};
use super::{Attention, Grid};
use crate::gpu::copy;

/// Keys of a tile.
const KEYS: u32 = 64;

/// Cycles that a warp waits after an instruction, as with a warpgroup of FlashAttention-3 that is by itself.
const STALL: f64 = 2.5;

/// Before a role's first access, beside what [`setup`] has: misses of the instructions of a kernel of this size, as many
/// cycles as those of its constants (`device_profiles.csv`: FlashAttention-3).
const CODE: f64 = 850.0;

/// A warpgroup multiplies 64 keys by the queries, so that keys are the product's rows, and takes the softmax; another
/// multiplies with the values; four warps fetch, convert and rotate (`mha_sm90.cu`). Two tiles of keys and of values are under
/// way, in one CTA or two on an SM.
pub fn grouped_decode_hopper(a: &Attention, spec: &GpuSpec) -> Kernel {
    const X_FULL: u8 = 5;
    const X_FREE: u8 = 6;
    let a = &Attention { causal: false, ..*a };
    let d = a.head_dim;
    let heads = a.group().next_multiple_of(8);
    let grid = Grid { bm: heads, bn: KEYS, packed: true, longest_first: 0 };
    let window = if a.window > 0 { a.keys.min(a.window) } else { a.keys };
    // Parts without a tile end at once.
    let parts = (parts(a, spec) as i32).min(window.div_ceil(KEYS) as i32);
    let items = deal(a, grid, parts);
    let work = |per_warp: f64, sfu: f64| VectorWork {
        issue: 4.0 * per_warp,
        fma: 0.3 * 128.0 * per_warp,
        alu: 0.3 * 128.0 * per_warp,
        sfu,
        latency_cycles: 60.0,
        stall: STALL,
        ..VectorWork::default()
    };
    // Instructions of a warp, as the source has them. Scores: 10 each (scale, maximum, exponential, sum, conversion, store),
    // and a maximum over the warpgroup in shared memory (100).
    let scores_of_lane = f64::from(KEYS * heads) / 128.0;
    let softmax = Op::Vector(work(100.0 + 10.0 * scores_of_lane, f64::from(KEYS * heads)));
    // Values are turned for the product: for each 512 bytes an `ldmatrix` and eight shuffles of bytes; accumulators are
    // rescaled (2 each).
    let turned = 9.0 * f64::from(KEYS * d * a.kv_bytes) / 512.0 / 4.0;
    let accumulators = f64::from(d * heads) / 128.0;
    let rescale = Op::Vector(VectorWork {
        shared_bytes: f64::from(KEYS * d * a.kv_bytes),
        ..work(60.0 + turned + 2.0 * accumulators, 0.0)
    });
    let kv = |tensor: u8, barrier: u8| {
        let step = i64::from(KEYS) * i64::from(parts);
        let row = Expr::work(KROW, 1).plus_loop(0, step);
        let tile = Tile { tensor, row, byte: Expr::default(), rows: KEYS.min(a.keys), bytes: d * a.kv_bytes };
        copy(tile, Path::Bulk, barrier)
    };
    let dtype = if a.kv_bytes < 2 { Dtype::Fp8 } else { a.dtype };
    let mma = |m, k| Op::Mma { dtype, m, n: heads, k, sync: false };
    // The token's own key is read, rotated and written before its tile is fetched, which nothing hides if that is the first.
    let code = Op::Setup(CODE * 1e3 / spec.sm_clock_mhz);
    let mut fetch = [vec![code], numbers(a, spec, grid, K_FULL)].concat();
    if window <= KEYS {
        let own = Tile { rows: 1, ..grid.q_tile(a, Q, 2) };
        fetch.extend([copy(own, Path::Load, K_FULL), Op::Wait(K_FULL), Op::Vector(work(80.0, 0.0))]);
    }
    fetch.extend([Op::Loop(trips(BLOCKS, 0)), Op::Wait(K_FREE), kv(K, K_FULL)]);
    fetch.extend([Op::Wait(V_FREE), kv(V, V_FULL), Op::End]);
    // Queries come by loads, with the angles of their position; they are rotated and converted.
    let mut scores =
        vec![code, setup(spec), copy(Tile { rows: 1, bytes: 32, ..grid.q_tile(a, Q, 2) }, Path::LoadL1, Q_FULL)];
    scores.extend([Op::Wait(Q_FULL), copy(grid.q_tile(a, Q, 2), Path::Load, Q_FULL), Op::Wait(Q_FULL)]);
    scores.extend([Op::Vector(work(150.0, 0.0)), Op::Sync, Op::Loop(trips(BLOCKS, 0)), Op::Wait(K_FULL)]);
    scores.extend([mma(KEYS, d), Op::MmaWait(0), Op::Arrive(K_FREE), softmax]);
    scores.extend([Op::Wait(X_FREE), Op::Arrive(X_FULL), Op::End]);
    let mut values = vec![code, setup(spec), Op::Loop(trips(BLOCKS, 0)), Op::Wait(V_FULL), Op::Wait(X_FULL), rescale];
    values.extend([mma(d, KEYS), Op::MmaWait(0), Op::Arrive(V_FREE), Op::Arrive(X_FREE), Op::End]);
    values.push(Op::Vector(work(150.0 + 4.0 * accumulators, 0.0)));
    values.extend(merge(a, spec, output(a, grid, parts), parts));
    let mut tensors = a.tensors(heads, KEYS.min(a.keys));
    if let Some(o) = tensors.last_mut() {
        o.rows *= parts as u64;
    }
    let (full, free) = (Barrier { arrivals: 1, credits: 0 }, Barrier { arrivals: 1, credits: 2 });
    Kernel {
        name: format!("decode {}x{} heads, {} keys of eight bits in {parts}", a.batch, a.kv_heads, a.keys),
        threads: 384,
        registers: if d * heads <= 2048 { 80 } else { 168 },
        shared_bytes: (4 * KEYS * a.kv_bytes * d + 4 * heads * d).min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: vec![full, full, full, free, free, full, free],
        roles: [fetch, scores, values].map(|ops| Role { warps: 4, ops }).to_vec(),
        pipelined: true,
    }
}
