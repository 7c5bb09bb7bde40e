//! Attention kernels: prefill in the manner of FlashAttention-2 and -3, decode with the cache split over CTAs.

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Op, Path, Role, Tensor, Tile, Trips, VectorWork, WORK_VARS,
};
use banksia_hw::gpu::spec::GpuSpec;

use super::rows::{ElementWork, Elementwise, elementwise};
use super::{copy, lanes, one_role};

/// One attention over a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Sequences.
    pub batch: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Queries of a sequence.
    pub queries: u32,
    /// Keys of a sequence.
    pub keys: u32,
    /// Size of a head.
    pub head_dim: u32,
    /// Queries see no later keys.
    pub causal: bool,
    /// Keys that a query sees at most; 0 for all.
    pub window: u32,
    /// Type of the products.
    pub dtype: Dtype,
    /// Bytes of an element of keys and values in memory.
    pub kv_bytes: u32,
}

impl Attention {
    fn tensors(&self, bm: u32, bn: u32) -> Vec<Tensor> {
        let row = |rows: u64, piece: u32, bytes: u32| {
            Tensor::matrix(rows, u64::from(self.head_dim * bytes), piece, (self.head_dim * bytes).min(256))
        };
        let q = u64::from(self.batch) * u64::from(self.heads) * u64::from(self.queries);
        let k = u64::from(self.batch) * u64::from(self.kv_heads) * u64::from(self.keys);
        vec![row(q, bm, 2), row(k, bn, self.kv_bytes), row(k, bn, self.kv_bytes), row(q, bm, 2)]
    }

    /// First and number of blocks of `bn` keys that queries `from..to` see.
    fn blocks(&self, from: u32, to: u32, bn: u32) -> (u32, u32) {
        let offset = self.keys.saturating_sub(self.queries);
        let last = if self.causal { (to + offset).min(self.keys) } else { self.keys };
        let first = if self.window > 0 { (from + offset).saturating_sub(self.window) } else { 0 };
        let b0 = first / bn;
        (b0, last.div_ceil(bn).saturating_sub(b0).max(1))
    }

    /// Multiply-adds that are not masked away.
    pub fn fma(&self) -> f64 {
        let offset = f64::from(self.keys.saturating_sub(self.queries));
        let q = f64::from(self.queries);
        let pairs = if self.causal { q * offset + q * (q + 1.0) / 2.0 } else { q * f64::from(self.keys) };
        2.0 * f64::from(self.batch) * f64::from(self.heads) * f64::from(self.head_dim) * pairs
    }
}

const QROW: usize = 0;
const KROW: usize = 1;
const BLOCKS: usize = 2;

/// Work items: a query tile of a head each; FlashAttention-3 takes the longest first where causal, -2 does not.
fn items(a: &Attention, bm: u32, bn: u32, longest_first: bool) -> Vec<[i32; WORK_VARS]> {
    let tiles = a.queries.div_ceil(bm);
    let mut items = Vec::with_capacity((tiles * a.batch * a.heads) as usize);
    let group = (a.heads / a.kv_heads.max(1)).max(1);
    for b in 0..a.batch {
        for h in 0..a.heads {
            for t in 0..tiles {
                let t = if longest_first { tiles - 1 - t } else { t };
                let (b0, n) = a.blocks(t * bm, ((t + 1) * bm).min(a.queries), bn);
                let q = (b * a.heads + h) * a.queries + t * bm;
                let k = (b * a.kv_heads + h / group) * a.keys + b0 * bn;
                items.push([q as i32, k as i32, n as i32, 0, 0, 0]);
            }
        }
    }
    items
}

fn q_tile(a: &Attention, tensor: u8, bm: u32) -> Tile {
    Tile { tensor, row: Expr::work(QROW, 1), byte: Expr::default(), rows: bm.min(a.queries), bytes: a.head_dim * 2 }
}

fn kv_tile(a: &Attention, tensor: u8, bn: u32, ahead: i64) -> Tile {
    Tile {
        tensor,
        row: Expr::work(KROW, 1).plus_loop(0, i64::from(bn)),
        byte: Expr::default(),
        rows: bn.min(a.keys),
        bytes: a.head_dim * a.kv_bytes,
    }
    .shifted(ahead * i64::from(bn))
}

trait Shifted {
    fn shifted(self, rows: i64) -> Self;
}

impl Shifted for Tile {
    fn shifted(mut self, rows: i64) -> Self {
        self.row.base += rows;
        self
    }
}

/// A prefill kernel in the manner of FlashAttention-2: four or eight warps, `mma.sync`, keys and values by `cp.async`.
pub fn flash2(a: &Attention, spec: &GpuSpec) -> Kernel {
    let d = a.head_dim;
    // The tiles of the published kernels, by head size.
    let (bm, bn, warps) = match d {
        0..=64 => (128, 128, 4),
        65..=128 => (128, 64, 4),
        _ => (if spec.sm.shared_memory_per_cta_bytes > 150_000 { 128 } else { 64 }, 64, if d > 128 { 8 } else { 4 }),
    };
    let n = f64::from(bm) * f64::from(bn);
    // Instructions of flash_fwd_kernel per score, from counters.csv: 19.2 in all, of which 4 multiply; 7.5 FMA, 1.06 exp2.
    let rest = f64::from(d) / 128.0;
    let softmax = VectorWork { latency_cycles: 200.0, ..lanes(n, 5.5 + 2.0 * rest, 3.0, 1.06, 1.6) };
    // Fragments of K and V are read once by each of the warps, those of Q stay in registers.
    let e = f64::from(a.dtype.bytes());
    let fragments = f64::from(warps) * f64::from(bn) * f64::from(d) * e;
    let reads = VectorWork { issue: fragments / 512.0, shared_bytes: fragments, ..VectorWork::default() };
    let mma = |m, n, k| Op::Mma { dtype: a.dtype, m, n, k, sync: true };
    let mut ops = vec![copy(q_tile(a, 0, bm), Path::Async, 0), copy(kv_tile(a, 1, bn, 0), Path::Async, 1), Op::Wait(0)];
    ops.extend([
        Op::Loop(Trips::Work(BLOCKS as u8, 0)),
        copy(kv_tile(a, 2, bn, 0), Path::Async, 2),
        Op::Wait(1),
        Op::Sync,
        mma(bm, bn, d),
        Op::Vector(reads),
        Op::MmaWait(0),
        copy(kv_tile(a, 1, bn, 1), Path::Async, 1),
        Op::Vector(softmax),
        Op::Wait(2),
        Op::Sync,
        mma(bm, d, bn),
        Op::Vector(reads),
        Op::MmaWait(0),
        Op::End,
        Op::Vector(super::gemm::epilogue(bm.min(a.queries.max(16)), d, 2)),
        Op::Store { tile: q_tile(a, 3, bm), reduce: false },
    ]);
    let items = items(a, bm, bn, false);
    Kernel {
        name: format!("flash-2 prefill {}x{} heads, {} queries", a.batch, a.heads, a.queries),
        threads: 32 * warps,
        registers: 255,
        shared_bytes: (bm + 2 * bn) * d * 2 + 1024,
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors: a.tensors(bm.min(a.queries), bn.min(a.keys)),
        barriers: vec![Barrier { arrivals: 1, credits: 0 }; 3],
        roles: one_role(warps, ops),
        pipelined: false,
    }
}

/// Softmax of a tile on a warpgroup in the three phases that depend on each other: maximum, exponentials, and sum,
/// conversion and rescaling of the accumulators. A mask compares each element's place.
fn softmax3(rows: f64, bn: f64, d: f64, masked: bool) -> [VectorWork; 3] {
    let n = rows * bn;
    let mask = if masked { 1.0 } else { 0.0 };
    [
        VectorWork { latency_cycles: 80.0, ..lanes(n, 0.0, 1.0 + mask, 0.0, 0.1) },
        VectorWork { latency_cycles: 40.0, ..lanes(n, 1.0, 0.0, 1.0, 0.1) },
        VectorWork { latency_cycles: 40.0, ..lanes(n, 1.0 + d / bn, 0.5, 0.0, 0.5) },
    ]
}

/// A prefill kernel in the manner of FlashAttention-3: a producer warp and two or three consumer warpgroups.
pub fn flash3(a: &Attention, spec: &GpuSpec) -> Kernel {
    let d = a.head_dim;
    // The tiles of the published kernels, by head size and mask.
    let masked = a.causal || a.window > 0;
    let (bm, bn) = match d {
        0..=64 => (192, if masked { 128 } else { 192 }),
        65..=128 => (128, if masked { 128 } else { 176 }),
        129..=192 => (128, if masked { 96 } else { 112 }),
        _ => (128, if masked { 64 } else { 80 }),
    };
    let bn = if a.dtype.bytes() == 1 && d >= 128 { bn.max(128) } else { bn };
    let groups = bm / 64;
    let phases = softmax3(64.0, f64::from(bn), f64::from(d), masked);
    let (mut producer, mut consumer) = (Vec::new(), Vec::new());
    let bulk = |tile, barrier| Op::Copy { tile, path: Path::Bulk, multicast: 1, barrier };
    producer.extend([
        bulk(q_tile(a, 0, bm), 0),
        Op::Loop(Trips::Work(BLOCKS as u8, 0)),
        Op::Wait(3),
        bulk(kv_tile(a, 1, bn, 0), 1),
        Op::Wait(4),
        bulk(kv_tile(a, 2, bn, 0), 2),
        Op::End,
        Op::Next,
    ]);
    let mma = |n, k| Op::Mma { dtype: a.dtype, m: 64, n, k, sync: false };
    consumer.extend([
        Op::Wait(0),
        Op::Loop(Trips::Work(BLOCKS as u8, 0)),
        Op::Wait(1),
        mma(bn, d),
        Op::MmaWait(0),
        Op::Arrive(3),
        Op::Vector(phases[0]),
        Op::Vector(phases[1]),
        Op::Vector(phases[2]),
        Op::Wait(2),
        mma(d, bn),
        Op::MmaWait(1),
        Op::End,
        Op::MmaWait(0),
        Op::Vector(super::gemm::epilogue(64, d, 2)),
    ]);
    // The values of a block are free when the product with them is done: one turn later.
    let release = consumer.iter().position(|op| matches!(op, Op::MmaWait(1))).unwrap_or(0);
    consumer.insert(release + 1, Op::Arrive(4));
    let mut first = consumer.clone();
    first.push(Op::Store { tile: q_tile(a, 3, bm), reduce: false });
    first.push(Op::Next);
    consumer.push(Op::Next);
    let mut roles = vec![Role { warps: 4, ops: first }];
    roles.extend((1..groups).map(|_| Role { warps: 4, ops: consumer.clone() }));
    roles.push(Role { warps: 1, ops: producer });
    let items = items(a, bm, bn, a.causal);
    let e = a.dtype.bytes();
    let free = Barrier { arrivals: groups, credits: 2 };
    let full = Barrier { arrivals: 1, credits: 0 };
    Kernel {
        name: format!("flash-3 prefill {}x{} heads, {} queries", a.batch, a.heads, a.queries),
        threads: 128 * (groups + 1),
        registers: 65536 / (128 * (groups + 1)) / 8 * 8,
        shared_bytes: ((bm * 2 + 4 * bn * e) * d).min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: (items.len() as u32).min(spec.sms()),
        items,
        tensors: a.tensors(bm.min(a.queries), bn.min(a.keys)),
        barriers: vec![full, full, full, free, free],
        roles,
        pipelined: true,
    }
}

/// Parts of the keys that decode is split into, so that CTAs fill the SMs (FlashAttention's rule: the fewest parts within
/// 85 % of the best filling).
pub fn decode_splits(tiles: u32, lanes: u32, blocks: u32) -> u32 {
    if f64::from(tiles) >= 0.8 * f64::from(lanes) {
        return 1;
    }
    let fill = |s: u32| {
        let waves = f64::from(tiles * s) / f64::from(lanes);
        waves / waves.ceil()
    };
    let most = 128.min(lanes).min(blocks).max(1);
    let best = (1..=most).map(fill).fold(0.0, f64::max);
    (1..=most).find(|&s| fill(s) >= 0.85 * best).unwrap_or(1)
}

/// Decode: each CTA streams a part of one key/value head's cache past the queries of the heads that share it. A second
/// kernel joins the parts.
pub fn decode(a: &Attention, spec: &GpuSpec) -> Vec<Kernel> {
    let d = a.head_dim;
    let group = (a.heads / a.kv_heads.max(1)).max(1);
    let bm = (group * a.queries).next_multiple_of(16).clamp(16, 64);
    let tall = (group * a.queries).div_ceil(64).max(1);
    let keys = if a.window > 0 { a.keys.min(a.window) } else { a.keys };
    let bn = if d > 128 { 64 } else { 128 };
    let blocks = keys.div_ceil(bn).max(1);
    let tiles = a.batch * a.kv_heads * tall;
    let splits = decode_splits(tiles, spec.sms(), blocks);
    let per = blocks.div_ceil(splits);
    let mut items = Vec::with_capacity((tiles * splits) as usize);
    for b in 0..a.batch {
        for h in 0..a.kv_heads {
            for _ in 0..tall {
                for s in 0..splits {
                    let first = s * per;
                    let n = per.min(blocks.saturating_sub(first));
                    if n > 0 || s == 0 {
                        let k = (b * a.kv_heads + h) * a.keys + (a.keys - keys) + first * bn;
                        let q = (b * a.heads + h * group) * a.queries;
                        items.push([q as i32, k as i32, n as i32, s as i32, 0, 0]);
                    }
                }
            }
        }
    }
    let sync = !spec.tensor.warpgroup || bm < 64;
    let n = f64::from(bm) * f64::from(bn);
    let e = f64::from(a.kv_bytes.max(1));
    // Keys and values pass shared memory once for each of the four warps' rows.
    let reads = VectorWork {
        shared_bytes: f64::from(bn) * f64::from(d) * e,
        // Conversion of a narrower cache.
        ..if a.kv_bytes < 2 { lanes(f64::from(bn * d), 0.0, 0.75, 0.0, 0.25) } else { VectorWork::default() }
    };
    let mma = |n, k| Op::Mma { dtype: Dtype::Bf16, m: bm, n, k, sync };
    let mut ops = vec![copy(q_tile(&Attention { queries: a.queries * group, ..*a }, 0, bm), Path::Async, 0)];
    let path = if spec.tensor.warpgroup { Path::Bulk } else { Path::Async };
    // Two blocks of keys and values are under way ahead of the one in work.
    let room = spec.sm.shared_memory_per_cta_bytes / (2 * bn * d * a.kv_bytes.max(1));
    let ahead = i64::from(room.clamp(2, 4) - 1);
    for s in 0..ahead {
        ops.extend([copy(kv_tile(a, 1, bn, s), path, 1), copy(kv_tile(a, 2, bn, s), path, 2)]);
    }
    ops.extend([
        Op::Wait(0),
        Op::Loop(Trips::Work(BLOCKS as u8, 0)),
        Op::Wait(1),
        Op::Sync,
        mma(bn, d),
        Op::Vector(reads),
        Op::MmaWait(0),
        Op::Vector(VectorWork { latency_cycles: 150.0, ..lanes(n, 3.0, 2.0, 1.0, 1.0) }),
        Op::Wait(2),
        Op::Sync,
        mma(d, bn),
        Op::Vector(reads),
        Op::MmaWait(0),
        copy(kv_tile(a, 1, bn, ahead), path, 1),
        copy(kv_tile(a, 2, bn, ahead), path, 2),
        Op::End,
        Op::Vector(super::gemm::epilogue(group * a.queries, d, 4)),
        Op::Store { tile: q_tile(&Attention { queries: a.queries * group, ..*a }, 3, bm), reduce: false },
    ]);
    let mut kernels = vec![Kernel {
        name: format!("decode {}x{} heads, {} keys in {splits}", a.batch, a.kv_heads, a.keys),
        threads: 128,
        registers: 168,
        shared_bytes: ((2 * (ahead as u32 + 1) * bn * a.kv_bytes + bm * 2) * d)
            .min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors: a.tensors(bm, bn.min(a.keys)),
        barriers: vec![Barrier { arrivals: 1, credits: 0 }; 3],
        roles: one_role(4, ops),
        pipelined: spec.tensor.warpgroup,
    }];
    if splits > 1 {
        let out = u64::from(a.batch * a.heads * a.queries) * u64::from(d);
        kernels.push(elementwise(&Elementwise {
            elements: out,
            inputs: splits.min(8),
            element_bytes: 4,
            per_cta: 512.max(d),
            threads: 128,
            work: ElementWork { fma: f64::from(splits), alu: 2.0, sfu: 1.0, other: 2.0, stall: 2.5 },
        }));
    }
    kernels
}

/// A small kernel that frameworks launch beside attention (cache writes, schedules): three dependent loads and a store.
pub fn auxiliary(elements: u64) -> Kernel {
    let mut k = elementwise(&Elementwise {
        elements: elements.max(1),
        inputs: 1,
        element_bytes: 2,
        per_cta: 1024,
        threads: 128,
        work: ElementWork { fma: 0.0, alu: 4.0, sfu: 0.0, other: 2.0, stall: 2.5 },
    });
    k.name = "auxiliary".into();
    let ops = &mut k.roles[0].ops;
    let load = ops[0];
    for _ in 0..2 {
        ops.splice(0..0, [load, Op::Wait(0)]);
    }
    k
}
