//! FlashAttention-3: persistent CTAs of a producer and two or three consumer warpgroups, `wgmma` with the probabilities in
//! registers, the product with one block's values under way while the next block's softmax runs.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Multicast, Op, Path, Role, Tile, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::index::{
    BLOCKS, K, K_FREE, K_FULL, KROW, LEFT, O, O_STORED, OUT, PLAIN, Q, Q_FREE, Q_FULL, QROW, RIGHT, V, V_FREE, V_FULL,
    trips,
};
use super::{Attention, Grid, PAGED, SplitDecode, combine, flash2, split_decode, splits};

/// Which of the library's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flash3 {
    /// Sequences of different lengths, one after another: tiles are found by a scan over the lengths, in order.
    pub varlen: bool,
    /// Keys and values in pages smaller than a block: fetched by `cp.async` and a page table.
    pub paged: bool,
    /// Decode of no more than 64 packed rows by one consumer warpgroup.
    pub one_group: bool,
    /// TensorRT-LLM's kernels of the same structure: 128 queries a tile, heads never packed, each tile found by itself.
    pub unpacked: bool,
}

/// Tile of queries and keys: the library's table by size of head, mask, layout and type.
fn tile(a: &Attention, paged: bool) -> (u32, u32) {
    let local = a.window > 0;
    let masked = a.causal && a.queries > 1 || local || paged;
    if a.dtype.bytes() == 1 {
        return match a.head_dim {
            0..=64 => (192, 160),
            65..=96 => (192, 128),
            97..=128 => (128, if paged { 160 } else { 224 }),
            129..=192 => (128, if paged && local { 128 } else { 160 }),
            _ => (128, if local { 64 } else { 128 }),
        };
    }
    match a.head_dim {
        0..=64 => (192, if masked { 128 } else { 192 }),
        65..=96 => (192, if paged || local { 128 } else { 144 }),
        97..=128 => (128, if masked { 128 } else { 176 }),
        129..=192 if a.values() <= 128 && !paged && !local => (128, 128),
        129..=192 => (128, if paged || local { 96 } else { 112 }),
        _ => (128, if local { 64 } else { 80 }),
    }
}

/// Cycles that a warp of these kernels waits after an instruction, beside waits for matrix units and barriers
/// (`device_profiles.csv`: fixed latencies, dispatch, other warps, short scoreboard, throttles).
///
/// Four more warps that fetch pages take turns with them (`device_attention.csv`: paged against not, turns are 6 % longer
/// with three warpgroups and 15 % with two); a single warpgroup waits for its own latencies only.
fn stall(groups: u32, d: u32, paged: bool) -> f64 {
    match (groups, d) {
        (1, _) => 2.5,
        (3.., _) => {
            if paged {
                4.3
            } else {
                4.0
            }
        }
        (_, 193..) => {
            if paged {
                4.2
            } else {
                3.5
            }
        }
        _ => {
            if paged {
                3.7
            } else {
                3.1
            }
        }
    }
}

/// Instructions of a warpgroup's warps for `per_warp` each, over 64 rows of `elements` each.
fn work(per_warp: f64, elements: f64, stall: f64) -> VectorWork {
    let n = 64.0 * elements;
    VectorWork {
        issue: 4.0 * per_warp,
        // `device_profiles.csv`: of the instructions 42 % go to the FMA lanes, 25 % to the integer lanes.
        fma: 0.42 * 128.0 * per_warp,
        alu: 0.25 * 128.0 * per_warp,
        sfu: n,
        latency_cycles: 60.0,
        stall,
        ..VectorWork::default()
    }
}

/// The program of one consumer warpgroup and of the producer.
struct Program<'a> {
    a: &'a Attention,
    grid: Grid,
    groups: u32,
    own_queries: bool,
    paged: bool,
    split: bool,
    single: bool,
    handover_ns: f64,
}

impl Program<'_> {
    /// Softmax of a block: instructions of a warp (`device_profiles.csv`: full, causal and windowed kernels of sizes 64,
    /// 128 and 256): 5.5 for each of its lane's scores, 1.5 for each accumulator that is rescaled, 20 besides; a mask
    /// adds 2.2 a score on one side, 3 on both.
    fn softmax(&self, first: bool, mask: f64) -> Op {
        let scores = f64::from(self.grid.bn) / 2.0;
        let (_, dv) = self.a.padded(3);
        let rescale = if first { 0.0 } else { 0.75 * f64::from(dv) };
        let shared = self.through_shared();
        // A warp stores its 16 rows of probabilities by `stmatrix`, then a fence and a barrier.
        let store = if shared { f64::from(self.grid.bn) / 16.0 + 20.0 } else { 0.0 };
        let per_warp = (5.5 + mask + self.a.more_a_score()) * scores + rescale + store + 20.0;
        Op::Vector(VectorWork {
            shared_bytes: if shared { f64::from(64 * self.grid.bn * self.a.dtype.bytes()) } else { 0.0 },
            code_bytes: (per_warp * 16.0) as u32,
            ..work(per_warp, f64::from(self.grid.bn), self.stall())
        })
    }

    /// Whether probabilities go to their product through shared memory, for want of registers (`MmaPV_is_RS` of the library's table).
    fn through_shared(&self) -> bool {
        let plain = !self.a.causal && self.a.window == 0 && !self.paged;
        self.a.dtype.bytes() > 1
            && match self.a.padded(3).0 {
                64 => plain && self.grid.bn == 192,
                96 => true,
                _ => false,
            }
    }

    fn turn(&self, mask: f64) -> Vec<Op> {
        let (bn, dtype) = (self.grid.bn, self.a.dtype);
        let (d, dv) = self.a.padded(3);
        vec![
            Op::Wait(K_FULL),
            Op::Mma { dtype, m: 64, n: bn, k: d, sync: false },
            Op::Wait(V_FULL),
            Op::MmaQueued { dtype, m: 64, n: dv, k: bn },
            Op::MmaWait(1),
            Op::Arrive(K_FREE),
            self.softmax(false, mask),
            Op::MmaWait(0),
            Op::Arrive(V_FREE),
        ]
    }

    fn consumer(&self, group: u32) -> Vec<Op> {
        let (bn, dtype) = (self.grid.bn, self.a.dtype);
        let (d, dv) = self.a.padded(3);
        let local = self.a.window > 0;
        let right = if local { 3.0 } else { 2.2 };
        let mut ops = vec![Op::Setup(SETUP_NS)];
        if self.own_queries {
            ops.push(Op::Vector(VectorWork { sfu: 0.0, ..work(self.rows(), 0.0, self.stall()) }));
        }
        if self.own_queries && group == 0 {
            ops.push(Op::Copy { tile: self.q(Q), path: Path::Async, multicast: Multicast::NONE, barrier: Q_FULL });
        }
        ops.extend([
            Op::Wait(Q_FULL),
            Op::Wait(K_FULL),
            Op::Mma { dtype, m: 64, n: bn, k: d, sync: false },
            Op::MmaWait(0),
            Op::Arrive(K_FREE),
            self.softmax(true, right),
        ]);
        let mut sections = vec![(RIGHT, right), (PLAIN, 0.0)];
        if local && !self.split {
            sections.push((LEFT, 3.0));
        }
        for (var, mask) in sections {
            ops.push(Op::Loop(trips(var, 0)));
            ops.extend(self.turn(mask));
            ops.push(Op::End);
        }
        ops.extend([Op::Arrive(Q_FREE), Op::Wait(V_FULL), Op::Mma { dtype, m: 64, n: dv, k: bn, sync: false }]);
        ops.extend([Op::MmaWait(0), Op::Arrive(V_FREE), Op::Vector(self.epilogue())]);
        if group == 0 {
            ops.extend([Op::Store { tile: self.q(O), reduce: false }, Op::Arrive(O_STORED)]);
        }
        ops.push(self.next());
        ops
    }

    fn q(&self, tensor: u8) -> Tile {
        let e = if tensor != Q && self.split {
            4
        } else if tensor != Q {
            2
        } else {
            self.a.dtype.bytes()
        };
        let mut tile = self.grid.q_tile(self.a, tensor, e);
        if tensor != Q && self.split {
            tile.row = Expr::work(OUT, 1);
        }
        tile
    }

    /// What a tile takes beside its blocks (`device_profiles.csv`: about 470 instructions a warp for head
    /// sizes of 64 and 128; rows of packed heads are fetched and stored by the consumers' threads, 120 instructions more
    /// for a third of a tile).
    fn epilogue(&self) -> VectorWork {
        let d = f64::from(self.a.padded(3).1);
        // The score of no key joins each row's sum: a load, an exponential, a sum.
        let sink = if self.a.sinks { 10.0 } else { 0.0 };
        let per_warp = 390.0 + 0.6 * d + self.rows() + sink;
        let bytes = 64.0 * d * 2.0;
        VectorWork {
            sfu: 0.0,
            shared_bytes: 2.0 * bytes,
            code_bytes: (per_warp * 16.0) as u32,
            ..work(per_warp, 0.0, self.stall())
        }
    }

    fn stall(&self) -> f64 {
        stall(self.groups, self.a.head_dim, self.paged)
    }

    /// Instructions of a warp for the queries, or the output, of packed heads: an address for each row that is there.
    fn rows(&self) -> f64 {
        let rows = self.grid.bm.min(self.a.queries * self.a.group());
        if self.own_queries { 180.0 * f64::from(rows) / f64::from(self.grid.bm) } else { 0.0 }
    }

    fn next(&self) -> Op {
        if self.single { Op::Next } else { Op::NextFree }
    }

    fn producer(&self) -> Vec<Op> {
        let path = if self.paged { Path::Async } else { Path::Bulk };
        let kv = |tensor: u8, barrier, at| {
            let tile = self.grid.kv_tile(self.a, tensor, at);
            Op::Copy { tile, path, multicast: Multicast::NONE, barrier }
        };
        // Page numbers and rows of a block: a load, and some instructions for each 16 bytes that a thread copies.
        let pages = |ops: &mut Vec<Op>| {
            if self.paged {
                let elements = (self.a.head_dim + self.a.values()) / 2;
                let bytes = f64::from(self.grid.bn * elements * self.a.kv_bytes);
                ops.push(Op::Vector(VectorWork { issue: PAGED * bytes / 512.0, stall: 2.0, ..VectorWork::default() }));
            }
        };
        let mut ops = vec![Op::Setup(SETUP_NS)];
        if self.handover_ns > 0.0 {
            ops.push(Op::Delay(self.handover_ns));
        }
        ops.push(Op::Wait(K_FREE));
        pages(&mut ops);
        ops.push(kv(K, K_FULL, 0));
        if !self.own_queries {
            ops.push(Op::Wait(Q_FREE));
            ops.push(Op::Copy { tile: self.q(Q), path: Path::Bulk, multicast: Multicast::NONE, barrier: Q_FULL });
        }
        // The last tile's output lies in the values' place until it is stored.
        ops.extend([Op::Wait(O_STORED), Op::Wait(V_FREE)]);
        pages(&mut ops);
        ops.extend([kv(V, V_FULL, 0), Op::Loop(trips(BLOCKS, -1)), Op::Wait(K_FREE)]);
        pages(&mut ops);
        ops.extend([kv(K, K_FULL, 1), Op::Wait(V_FREE)]);
        pages(&mut ops);
        ops.extend([kv(V, V_FULL, 1), Op::End, self.next()]);
        ops
    }
}

fn build(p: &Program<'_>, spec: &GpuSpec, name: String, items: Vec<[i32; WORK_VARS]>, grid: u32) -> Kernel {
    let (a, groups) = (p.a, p.groups);
    let (d, dv) = a.padded(3);
    let mut roles: Vec<Role> = (0..groups).map(|g| Role { warps: 4, ops: p.consumer(g) }).collect();
    roles.push(Role { warps: if p.paged { 4 } else { 1 }, ops: p.producer() });
    let free = Barrier { arrivals: groups, credits: 2 };
    let full = Barrier { arrivals: 1, credits: 0 };
    let stored = Barrier { arrivals: 1, credits: 1 };
    let e = a.dtype.bytes();
    let mut tensors = a.tensors(p.grid.bm.min(a.queries * a.group()), p.grid.bn.min(a.keys));
    if p.split {
        tensors[usize::from(O)].rows =
            tensors[usize::from(O)].rows.max(items.iter().map(|i| i[OUT] as u64).max().unwrap_or(0) + 64);
        tensors[usize::from(O)].row_bytes = u64::from(a.values()) * 4;
    }
    Kernel {
        name,
        threads: 128 * (groups + 1),
        registers: (65536 / (128 * (groups + 1)) / 8 * 8).min(255),
        shared_bytes: (((p.grid.bm + 2 * p.grid.bn) * d + 2 * p.grid.bn * dv) * e + 2048)
            .min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid,
        items,
        tensors,
        barriers: vec![full, full, full, free, free, Barrier { arrivals: groups, credits: 1 }, stored],
        roles,
        pipelined: true,
    }
}

/// From a CTA's start to its first copy, beside what every pipelined kernel does: parameters and code that are not in the
/// SM's caches yet (`device_profiles.csv`: 850 cycles of a warp in misses of constants, about as many in misses of
/// instructions), scheduler, registers' reallocation. `device_attention.csv`: decode of 128 keys.
const SETUP_NS: f64 = 2000.0;

/// Latency of the scan over lengths that gives a varlen CTA its next tile (`device_attention.csv`: varlen less plain,
/// 0.45 us a tile of one block).
const HANDOVER_NS: f64 = 450.0;

/// Sizes of heads that the library has no kernels for; kernels of version 2's structure take their place.
fn beyond(a: &Attention) -> bool {
    a.head_dim.max(a.values()) > 256
}

/// Prefill.
pub fn flash3(a: &Attention, spec: &GpuSpec, kind: Flash3) -> Kernel {
    if beyond(a) {
        return flash2(a, spec);
    }
    let (mut bm, bn) = tile(a, kind.paged);
    if kind.unpacked {
        bm = 128;
    }
    let group = a.group();
    // The library packs where lengths are not known or fetches are its own, and where it fills tiles better.
    let filled = |rows: u32| f64::from(rows) / f64::from(rows.next_multiple_of(bm));
    let packed = !kind.unpacked
        && group > 1
        && (kind.varlen || kind.paged || filled(a.queries) < 0.9 * filled(a.queries * group));
    let dynamic = a.causal || a.window > 0 || kind.varlen;
    // Heads whose keys and values fit 32 MB come together, to the next lower power of two.
    let head_bytes = u64::from(a.keys) * u64::from((a.head_dim + a.values()) * a.kv_bytes);
    let mut section = ((32 << 20) / head_bytes.max(1)).clamp(1, 1 << 30) as u32;
    section = 1 << section.ilog2();
    let section = section * if packed { 1 } else { group };
    let grid = Grid {
        bm,
        bn,
        packed,
        longest_first: if kind.varlen || kind.unpacked {
            1
        } else if dynamic {
            section
        } else {
            0
        },
    };
    let items = grid.items(a);
    let ctas = (items.len() as u32).min(spec.sms());
    let p = Program {
        a,
        grid,
        groups: bm / 64,
        own_queries: packed,
        paged: kind.paged,
        split: false,
        single: !dynamic,
        handover_ns: if kind.varlen || kind.unpacked { HANDOVER_NS } else { 0.0 },
    };
    build(&p, spec, format!("flash-3 {}x{} heads, {} queries", a.batch, a.heads, a.queries), items, ctas)
}

/// Decode: query heads that share keys are rows of one tile, keys are split so that CTAs fill the SMs, and a second
/// kernel joins the parts.
pub fn decode3(a: &Attention, spec: &GpuSpec, kind: Flash3, split: bool) -> Vec<Kernel> {
    if beyond(a) {
        return split_decode(a, spec, SplitDecode { rows: 64, keys: 64, stages: 1, per_sm: 1, packed: true });
    }
    let a = &Attention { causal: a.causal && a.queries > 1, ..*a };
    let (mut bm, bn) = tile(a, kind.paged);
    let group = a.group();
    if kind.one_group && a.queries * group <= 64 {
        bm = 64;
    }
    let grid = Grid { bm, bn, packed: true, longest_first: 0 };
    let whole = grid.items(a);
    let most = whole.iter().map(|i| i[BLOCKS]).max().unwrap_or(1) as u32;
    let tiles = whole.len() as u32;
    let parts = match (split, kind.varlen) {
        (false, _) => 1,
        (true, false) => splits(tiles, spec.sms(), most),
        (true, true) => {
            // The parts are found on the device, from a bound for a single sequence and the work of all of them.
            let bound = splits(tiles / a.batch.max(1), spec.sms(), most);
            let per_sm = (f64::from(most) * f64::from(tiles) * 1.1 / f64::from(spec.sms())).ceil();
            ((f64::from(most) / per_sm).ceil() as u32).clamp(1, bound)
        }
    };
    let joins = split && if kind.varlen { splits(tiles / a.batch.max(1), spec.sms(), most) > 1 } else { parts > 1 };
    let rows = (a.queries * group) as i32;
    let mut items = Vec::with_capacity((tiles * parts) as usize);
    for item in whole {
        let n = item[BLOCKS];
        let per = (n as u32).div_ceil(parts) as i32;
        for s in 0..parts as i32 {
            let blocks = per.min(n - s * per);
            if blocks > 0 {
                let left = if parts > 1 { item[QROW] * parts as i32 + s * rows } else { item[LEFT] };
                // Only the last part meets a mask.
                let last = item[KROW] - (n - s * per - blocks) * bn as i32;
                items.push([item[QROW], last, blocks, 0, blocks - 1, left]);
            }
        }
    }
    if parts == 1 {
        items.iter_mut().for_each(|i| i[LEFT] = 0);
    }
    // Parts of sequences of one length are CTAs of their own; others are items of persistent ones.
    let persistent = kind.varlen || parts == 1;
    let ctas = if persistent { (items.len() as u32).min(spec.sms()) } else { items.len() as u32 };
    let p = Program {
        a,
        grid,
        groups: bm / 64,
        own_queries: true,
        paged: kind.paged,
        split: parts > 1,
        single: !kind.varlen,
        handover_ns: if kind.varlen || kind.unpacked { HANDOVER_NS } else { 0.0 },
    };
    let name = format!("flash-3 decode {}x{} heads, {} keys in {parts}", a.batch, a.kv_heads, a.keys);
    let mut kernels = vec![build(&p, spec, name, items, ctas)];
    if joins {
        kernels.push(combine(a, spec, parts));
    }
    kernels
}
