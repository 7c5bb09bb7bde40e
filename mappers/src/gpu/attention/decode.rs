//! Decode by `mma.sync`: each CTA streams a part of one key/value head's cache past the queries of the heads that share it.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::flash2::{Block, setup};
use super::index::{BLOCKS, K, K_FULL, KROW, O, OUT, PLAIN, Q, Q_FULL, QROW, V, V_FULL, once, trips};
use super::launches::{copied, rearranged};
use super::{Attention, Grid, PAGED};
use crate::gpu::rows::{ElementWork, Elementwise, elementwise};
use crate::gpu::{copy, lanes, one_role};

/// Parts of the keys that decode is split into so that CTAs fill `lanes`: the fewest within 85 % of the best filling; one
/// where the tiles alone nearly fill them or keys are few (FlashAttention's rule).
pub fn splits(tiles: u32, lanes: u32, blocks: u32) -> u32 {
    if blocks <= 4 { 1 } else { fewest_parts(tiles, lanes, blocks, |_| true) }
}

/// The rule, among numbers of parts that are eligible.
fn fewest_parts(tiles: u32, lanes: u32, blocks: u32, eligible: impl Fn(&u32) -> bool) -> u32 {
    if f64::from(tiles) >= 0.8 * f64::from(lanes) {
        return 1;
    }
    let fill = |s: u32| {
        let waves = f64::from(tiles * s) / f64::from(lanes);
        waves / waves.ceil()
    };
    let most = 128.min(lanes).min(blocks).max(1);
    let best = (1..=most).filter(&eligible).map(fill).fold(0.0, f64::max);
    (1..=most).filter(&eligible).find(|&s| fill(s) >= 0.85 * best).unwrap_or(1)
}

/// FlashAttention-2's rule: the same over twice the SMs, however few the blocks, among numbers of parts that differ in
/// blocks a part.
pub(super) fn splits2(tiles: u32, sms: u32, blocks: u32) -> u32 {
    fewest_parts(tiles, 2 * sms, blocks, |&s| s == 1 || blocks.div_ceil(s) != blocks.div_ceil(s - 1))
}

/// Decode by FlashAttention-2's kernels that split keys, over pages, as vLLM calls them before Hopper: heads that share keys
/// are first copied to be rows of a tile, and their results copied back; keys are split only then.
pub fn decode2(a: &Attention, spec: &GpuSpec) -> Vec<Kernel> {
    let keys = match a.head_dim {
        0..=64 => 256,
        65..=128 => 128,
        _ => 64,
    };
    let group = a.group();
    let tiles = a.batch * a.kv_heads * group.div_ceil(64);
    let parts = if group > 1 { splits2(tiles, spec.sms(), a.keys.div_ceil(keys)) } else { 1 };
    let layout = SplitDecode { rows: 64, keys, stages: 1, per_sm: 2, packed: true };
    let mut kernels = split(a, spec, layout, parts);
    if group > 1 {
        let rows = u64::from(a.batch) * u64::from(a.heads);
        let moved = a.batch > 1 && a.kv_heads > 1;
        let elements = rows * u64::from(a.head_dim);
        if moved {
            kernels.insert(0, rearranged(spec, elements, 2));
        }
        // Into the output that the framework has given: rearranged, or as it is.
        kernels.push(if a.kv_heads > 1 { rearranged(spec, elements, 2) } else { copied(spec, elements) });
        if moved {
            // The sums of the rows.
            kernels.push(rearranged(spec, rows, 4));
        }
    }
    kernels
}

/// Joins the parts of a split decode: a CTA takes eight rows of 128, reads the parts' scales and then the parts.
pub fn combine(a: &Attention, spec: &GpuSpec, parts: u32) -> Kernel {
    let rows = a.batch * a.heads * a.queries;
    let d = a.values();
    let mut k = elementwise(&Elementwise {
        elements: u64::from(rows) * u64::from(d),
        inputs: 1,
        element_bytes: 4,
        per_cta: 8 * d,
        threads: 256,
        work: ElementWork { fma: 0.0, alu: 0.0, sfu: 0.0, other: 0.0, stall: 2.0 },
    });
    k.name = format!("join {parts} parts of {rows} rows");
    // `device_profiles.csv`: 416 instructions a warp for 32 parts at most, of which one part takes a load and two FMA for
    // each four elements.
    let n = f64::from(8 * d);
    let join = VectorWork {
        latency_cycles: 300.0,
        stall: 2.0,
        issue: 8.0 * 300.0 + f64::from(parts) * n / 32.0 * 1.5,
        ..lanes(n, f64::from(parts), 0.0, 0.0, 0.0)
    };
    let tile = |b: i64| Tile {
        tensor: 0,
        row: Expr::default(),
        byte: Expr::work(0, i64::from(8 * d * 4 * parts)).plus_loop(0, b),
        rows: 1,
        bytes: 8 * d * 4,
    };
    let scales = Tile { bytes: 8 * parts * 4, ..tile(0) };
    k.tensors[0].row_bytes *= u64::from(parts);
    k.roles[0].ops = vec![
        setup(spec),
        copy(Tile { bytes: 32, ..scales }, Path::Load, 0),
        Op::Wait(0),
        copy(scales, Path::Load, 0),
        Op::Wait(0),
        Op::Sync,
        Op::Loop(Trips::Const(parts)),
        copy(tile(i64::from(8 * d * 4)), Path::Load, 0),
        Op::End,
        Op::Vector(join),
        Op::Sync,
        Op::Store {
            tile: Tile {
                tensor: 1,
                row: Expr::default(),
                byte: Expr::work(0, i64::from(8 * d * 2)),
                rows: 1,
                bytes: 8 * d * 2,
            },
            reduce: false,
        },
    ];
    let arrived = k.roles[0].ops.len() - 3;
    for _ in 0..parts {
        k.roles[0].ops.insert(arrived, Op::Wait(0));
    }
    k
}

/// How a split decode is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitDecode {
    /// Rows of a tile.
    pub rows: u32,
    /// Keys of a block.
    pub keys: u32,
    /// Blocks of keys and of values in shared memory.
    pub stages: u32,
    /// CTAs that the split should fill, for each SM.
    pub per_sm: u32,
    /// Query heads that share keys are rows of one tile; otherwise each head reads its keys by itself.
    pub packed: bool,
}

/// Decode with keys split over CTAs; a second kernel joins the parts.
pub fn split_decode(a: &Attention, spec: &GpuSpec, s: SplitDecode) -> Vec<Kernel> {
    let tiles = a.batch * a.kv_heads * if s.packed { 1 } else { a.group() };
    let blocks = a.keys.div_ceil(s.keys);
    let parts = splits(tiles, s.per_sm * spec.sms(), blocks);
    split(a, spec, s, parts)
}

/// Shared memory of a tile: queries, and so many blocks of keys and of values.
fn shared_bytes(kv_bytes: u32, d: u32, dv: u32, stages: u32, (bm, bn): (u32, u32)) -> u32 {
    (stages * bn).saturating_mul(kv_bytes).saturating_mul(d + dv).saturating_add((bm * 2).saturating_mul(d))
}

/// A split's tile, with fewer keys and then fewer rows where heads are beyond those that kernels are compiled for.
fn fitting(d: u32, dv: u32, s: SplitDecode, spec: &GpuSpec) -> (u32, u32) {
    let (mut bm, mut bn) = (s.rows, s.keys);
    if d > 256 {
        while shared_bytes(2, d, dv, s.stages, (bm, bn)) > spec.sm.shared_memory_per_cta_bytes && bm.max(bn) > 16 {
            if bn > 16 { bn /= 2 } else { bm /= 2 }
        }
    }
    (bm, bn)
}

pub(super) fn split(a: &Attention, spec: &GpuSpec, s: SplitDecode, parts: u32) -> Vec<Kernel> {
    let a = &Attention { causal: a.causal && a.queries > 1, ..*a };
    let (d, dv) = a.padded(2);
    let (bm, bn) = fitting(d, dv, s, spec);
    let grid = Grid { bm, bn, packed: s.packed, longest_first: 0 };
    let whole = grid.items(a);
    let most = whole.iter().map(|i| i[BLOCKS]).max().unwrap_or(1) as u32;
    let parts = parts.min(most).max(1);
    let per = most.div_ceil(parts);
    let parts = most.div_ceil(per);
    let rows = (a.queries * if s.packed { a.group() } else { 1 }).min(bm) as i32;
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(whole.len() * parts as usize);
    for item in whole {
        for p in 0..parts as i32 {
            let (all, from) = (item[BLOCKS], p * per as i32);
            let n = (per as i32).min(all - from);
            if n > 0 {
                let k = item[KROW] - (all - from - n) * bn as i32;
                items.push([item[QROW], k, n, 0, n, item[QROW] * parts as i32 + p * rows]);
            }
        }
    }
    let warps = 4;
    let e = f64::from(a.kv_bytes.max(1));
    // Warps share the keys where the rows are few, so each fragment is read once; otherwise each warp reads all.
    let readers = if bm > 16 { f64::from(warps) } else { 1.0 };
    let read = |d: u32| VectorWork { shared_bytes: readers * f64::from(bn * d) * e, ..VectorWork::default() };
    let block = Block::of(bm, bn, (d, dv), warps, spec);
    let more = a.more_a_score() * f64::from(bm * bn) / 32.0 / f64::from(warps);
    // Each lane converts its share of eight-bit keys and values in pairs: a conversion and a shuffle of bytes.
    let convert = if a.kv_bytes < 2 { f64::from(bn * (d + dv)) / 32.0 / f64::from(warps) } else { 0.0 };
    // A cache lies in pages.
    let pages = PAGED * f64::from(bn * (a.head_dim + a.values()) * a.kv_bytes) / 512.0 / f64::from(warps);
    let mma = |n, k| Op::Mma { dtype: a.wide(), m: bm, n, k, sync: true };
    let q = |tensor: u8, bytes| grid.q_tile(a, tensor, bytes);
    let stages = s.stages.max(1);
    let kv = |tensor, at| copy(grid.kv_tile(a, tensor, i64::from(at)), Path::AsyncRows, tensor);
    let mut ops = vec![setup(spec), copy(q(Q, 2), Path::AsyncRows, Q_FULL)];
    ops.extend([kv(K, 0), kv(V, 0)]);
    for at in 1..stages {
        ops.extend([Op::Loop(once(PLAIN, -(at as i32))), kv(K, at), kv(V, at), Op::End]);
    }
    let next = Op::Loop(Trips::ExceptLast(stages));
    let mut out = q(O, if parts > 1 { 4 } else { 2 });
    if parts > 1 {
        out.row = Expr::work(OUT, 1);
    }
    ops.extend([
        Op::Wait(Q_FULL),
        Op::Loop(trips(PLAIN, 0)),
        Op::Wait(K_FULL),
        Op::Sync,
        mma(bn, d),
        Op::Vector(read(d)),
        Op::MmaWait(0),
        next,
        kv(K, stages),
        Op::End,
        block.work(convert + pages + more),
        Op::Wait(V_FULL),
        Op::Sync,
        mma(dv, bn),
        Op::Vector(read(dv)),
        Op::MmaWait(0),
        next,
        kv(V, stages),
        Op::End,
        Op::End,
        Op::Vector(block.beside(900.0)),
        Op::Store { tile: out, reduce: false },
    ]);
    let mut tensors = a.tensors(bm, bn.min(a.keys));
    if parts > 1 {
        tensors[usize::from(O)].rows *= u64::from(parts);
        tensors[usize::from(O)].row_bytes = u64::from(a.values()) * 4;
    }
    let mut kernels = vec![Kernel {
        name: format!("decode {}x{} heads, {} keys in {parts}", a.batch, a.kv_heads, a.keys),
        threads: 128,
        registers: 168,
        shared_bytes: shared_bytes(a.kv_bytes, d, dv, s.stages, (bm, bn)).min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: vec![Barrier { arrivals: 1, credits: 0 }; 3],
        roles: one_role(warps, ops),
        pipelined: false,
    }];
    if parts > 1 {
        kernels.push(combine(a, spec, parts));
    }
    kernels
}
