//! FlashAttention-2: four or eight warps that copy by `cp.async` and multiply by `mma.sync`, one query tile a CTA. Blocks of
//! keys are worked on from the last to the first.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::index::{BLOCKS, K, K_FULL, KROW, O, OUT, Q, Q_FULL, QROW, V, V_FULL, WHOLE, once, trips};
use super::{Attention, Grid, PAGED};
use crate::gpu::{copy, one_role};

/// Cycles that a warp of `flash_fwd_kernel` waits after an instruction other than `mma` (`device_flash2.csv`: fixed
/// latencies, dispatch, short scoreboard, full pipes and queues).
fn stall(head_dim: u32) -> f64 {
    if head_dim > 64 { 1.65 } else { 1.4 }
}

/// Before the first copy: misses of constants and of instructions, 831.6 cycles of a warp (0.42 us of an H200; `device_profiles.csv`: the joining
/// kernel, which has no more to do than that).
pub(crate) fn setup(spec: &GpuSpec) -> Op {
    Op::Setup(831.6 * 1e3 / spec.sm_clock_mhz)
}

/// Share of all instructions on the FMA lanes and on the integer lanes (`device_profiles.csv`: 37 to 42 %, 26 %).
const FMA: f64 = 0.38;
const ALU: f64 = 0.26;

/// Instructions of a warp for its part of a block: `mma`, one for 2048 multiply-adds, and all others (`device_profiles.csv`:
/// 1220 in all for 128 x 64 of head size 128, 1684 for 128 x 128 of 64): 9.4 a score, 2 an accumulator, one `ldmatrix` for
/// 512 bytes, 40 besides.
pub(crate) struct Block {
    products: f64,
    others: f64,
    scores: f64,
    warps: f64,
    stall: f64,
}

impl Block {
    /// A block of so many rows and keys, of keys and values of such sizes.
    pub(super) fn of(bm: u32, bn: u32, (d, dv): (u32, u32), warps: u32, spec: &GpuSpec) -> Self {
        let (m, n, warps) = (f64::from(bm), f64::from(bn), f64::from(warps));
        let (k, v) = (f64::from(d), f64::from(dv));
        let lanes = 32.0 * warps;
        let products = m * n * (k + v) / 2048.0 / warps;
        let others = 9.4 * m * n / lanes + 2.0 * m * v / lanes + n * (k + v) * 2.0 / 512.0 + 40.0;
        Self::counted(products, others, m * n, warps, d, spec)
    }

    /// A block of so many products and other instructions a warp.
    pub(crate) fn counted(products: f64, others: f64, scores: f64, warps: f64, d: u32, spec: &GpuSpec) -> Self {
        // The profiles are of 32 FMA lanes a scheduler. Half as many take a warp's instruction for two cycles, and the next
        // waits where it is of the same kind.
        let twice = (128.0 / spec.sm.fma_lanes - 1.0).max(0.0);
        let same = (FMA * (others + products) / others).powi(2);
        Self { products, others, scores, warps, stall: stall(d) + twice * same }
    }

    /// Lane work of a block on all warps, and so many instructions of each warp more. The matrix instructions take their
    /// time elsewhere, but their place in the code here.
    pub(crate) fn work(&self, more: f64) -> Op {
        let others = self.others + more;
        Op::Vector(VectorWork { sfu: self.scores, latency_cycles: 150.0, ..self.lanes(others, self.products) })
    }

    /// Work of so many instructions of each warp beside the blocks.
    pub(crate) fn beside(&self, per_warp: f64) -> VectorWork {
        self.lanes(per_warp, 0.0)
    }

    fn lanes(&self, others: f64, products: f64) -> VectorWork {
        let all = 32.0 * self.warps * (others + products);
        VectorWork {
            issue: self.warps * others,
            fma: FMA * all,
            alu: ALU * all,
            stall: self.stall,
            code_bytes: (16.0 * (others + products)) as u32,
            ..VectorWork::default()
        }
    }
}

/// Words that a thread of the compiled kernel keeps in local memory for want of registers: written in each block and beside
/// the blocks (`device_flash2.csv`; sizes of 96 and 256 have none). They are read back from L1, but every write goes to L2.
fn spilled(head_dim: u32) -> (u32, u32) {
    match head_dim {
        33..=64 => (6, 22),
        97..=128 => (14, 15),
        _ => (0, 0),
    }
}

/// Prefill.
pub fn flash2(a: &Attention, spec: &GpuSpec) -> Kernel {
    of_tile(a, spec, tile(a, spec))
}

/// The same as PyTorch compiles it: of heads beyond 192, two CTAs of 64 rows are taken before one of 128 where they fit an SM.
pub(super) fn flash2_of_torch(a: &Attention, spec: &GpuSpec) -> Kernel {
    let (d, dv) = a.padded(2);
    let two = u64::from(spec.sm.shared_memory_bytes) >= 4 * u64::from(d) * (64 + 128);
    let tile = if (193..=256).contains(&d) && two { fitting(d, dv, (64, 64, 4), spec) } else { tile(a, spec) };
    of_tile(a, spec, tile)
}

fn of_tile(a: &Attention, spec: &GpuSpec, (bm, bn, warps): (u32, u32, u32)) -> Kernel {
    let d = a.padded(2).0;
    let name = format!("flash-2 prefill {}x{} heads, {} queries", a.batch, a.heads, a.queries);
    Tiled { spilled: spilled(d), queries_again: false, ..Tiled::new(bm, bn, warps) }.kernel(a, spec, name)
}

/// Rows, keys and warps of a tile, by head size and shared memory (`run_mha_fwd_hdim*`). No such kernel has heads beyond 256: what a
/// compiler of tiles takes there is as much as fits.
fn tile(a: &Attention, spec: &GpuSpec) -> (u32, u32, u32) {
    let (d, dv) = a.padded(2);
    // Devices with less than 100 KB for a CTA have tiles of their own (`is_sm8x`).
    let small = spec.sm.shared_memory_per_cta_bytes < 150_000;
    match d {
        0..=64 => (128, 128, 4),
        65..=128 if small && a.causal => (64, 64, 4),
        97..=128 if small => (128, 32, 4),
        65..=128 => (128, 64, 4),
        129..=256 if small => fitting(d, dv, (64, 64, if d > 192 { 4 } else { 8 }), spec),
        129..=256 => (128, 64, 8),
        _ => fitting(d, dv, (64, 64, 8), spec),
    }
}

/// A tile with fewer keys, then fewer rows, until it fits.
fn fitting(d: u32, dv: u32, (mut bm, mut bn, warps): (u32, u32, u32), spec: &GpuSpec) -> (u32, u32, u32) {
    let room = spec.sm.shared_memory_per_cta_bytes;
    let bytes = |bm: u32, bn: u32| {
        (bm.saturating_mul(d)).saturating_add(bn.saturating_mul(d.saturating_add(dv))).saturating_mul(2)
    };
    while bytes(bm, bn).saturating_add(1024) > room && bm > 16 {
        if bn > 16 { bn /= 2 } else { bm /= 2 }
    }
    (bm, bn, warps.min(bm / 16).max(1))
}

/// The same with the tiles of the kernels that split keys: pages of keys go through these even where nothing is split.
pub fn flash2_paged(a: &Attention, spec: &GpuSpec) -> Kernel {
    if a.head_dim > 256 {
        return flash2(a, spec);
    }
    let bn = match a.head_dim {
        0..=64 => 256,
        65..=128 => 128,
        _ => 64,
    };
    let name = format!("flash-2 paged prefill {}x{} heads, {} queries", a.batch, a.heads, a.queries);
    Tiled { paged: true, ..Tiled::new(64, bn, 4) }.kernel(a, spec, name)
}

/// Rows of a tile that are there.
#[derive(Clone, Copy)]
enum Rows {
    /// All of them.
    Whole,
    /// So many.
    Short(u32),
    /// So many in an item of the last queries, all in the others.
    LastShort(u32),
}

impl Rows {
    /// An op on what is there of a tile, in two parts where items differ.
    fn each(self, tile: Tile, op: impl Fn(Tile) -> Op) -> Vec<Op> {
        match self {
            Self::Whole => vec![op(tile)],
            Self::Short(rows) => vec![op(Tile { rows, ..tile })],
            Self::LastShort(rows) => {
                let mut rest = Tile { rows: tile.rows - rows, ..tile };
                rest.row.base += i64::from(rows);
                vec![op(Tile { rows, ..tile }), Op::Loop(once(WHOLE, 0)), op(rest), Op::End]
            }
        }
    }

    /// Waits for copies of [`Self::each`].
    fn wait(self, barrier: u8) -> Vec<Op> {
        let mut ops = vec![Op::Wait(barrier)];
        if matches!(self, Self::LastShort(_)) {
            ops.extend([Op::Loop(once(WHOLE, 0)), Op::Wait(barrier), Op::End]);
        }
        ops
    }
}

/// A kernel's tiles.
pub(super) struct Tiled {
    pub(super) bm: u32,
    pub(super) bn: u32,
    pub(super) warps: u32,
    pub(super) packed: bool,
    /// Keys and values lie in pages.
    pub(super) paged: bool,
    pub(super) spilled: (u32, u32),
    /// Values are waited for before the softmax, and the next keys asked for after that.
    pub(super) values_first: bool,
    /// Warps read the fragments of their queries again for every block (they do in all kernels of four warps; the times of
    /// version 2 on the chip, `device_attention.csv`, are met without).
    pub(super) queries_again: bool,
    /// Queries move on into registers, and values take their place in shared memory.
    pub(super) queries_in_registers: bool,
    /// Parts of each tile's keys.
    pub(super) parts: u32,
    /// Persistent CTAs take the next tile from a counter, this long.
    pub(super) handover_cycles: Option<f64>,
}

impl Tiled {
    pub(super) fn new(bm: u32, bn: u32, warps: u32) -> Self {
        Self {
            bm,
            bn,
            warps,
            packed: false,
            paged: false,
            spilled: (0, 0),
            values_first: false,
            queries_again: warps < 8,
            queries_in_registers: false,
            parts: 1,
            handover_cycles: None,
        }
    }

    /// Items of so many parts each: the last part of a tile comes first, as its last block does. With a `single` tile of
    /// queries [`WHOLE`] says whether a part's last block is.
    fn split(&self, items: &[[i32; WORK_VARS]], rows: i32, single: bool) -> Vec<[i32; WORK_VARS]> {
        let mut all = Vec::with_capacity(items.len() * self.parts as usize);
        for item in items {
            let per = (item[BLOCKS] as u32).div_ceil(self.parts) as i32;
            for p in 0..self.parts as i32 {
                let blocks = per.min(item[BLOCKS] - p * per);
                if blocks > 0 {
                    let mut part = *item;
                    part[KROW] -= p * per * self.bn as i32;
                    part[BLOCKS] = blocks;
                    part[OUT] = item[QROW] * self.parts as i32 + p * rows;
                    if single {
                        part[WHOLE] = i32::from(p > 0);
                    }
                    all.push(part);
                }
            }
        }
        all
    }

    pub(super) fn kernel(&self, a: &Attention, spec: &GpuSpec, name: String) -> Kernel {
        let (bm, bn) = (self.bm, self.bn);
        let (d, dv) = a.padded(2);
        let grid = Grid { bm, bn, packed: self.packed, longest_first: 0 };
        let rows = a.queries * if self.packed { a.group() } else { 1 };
        let mut items = grid.items(a);
        let tiles = rows.div_ceil(bm) as usize;
        for (i, item) in items.iter_mut().enumerate() {
            item[WHOLE] = i32::from(i % tiles + 1 < tiles);
        }
        let spills = |words: u32| Op::Store {
            tile: Tile {
                tensor: O,
                row: Expr::default(),
                byte: Expr::default(),
                rows: 1,
                bytes: 128 * self.warps * words,
            },
            reduce: false,
        };
        let (in_block, beside) = self.spilled;
        let mut tensors = a.tensors(bm.min(rows), bn.min(a.keys));
        let mut output = O;
        if beside > 0 {
            // Each CTA rewrites its own place over and over, which never leaves L2. One place stands for all.
            let bytes = 128 * self.warps * in_block.max(beside);
            tensors.insert(usize::from(O), Tensor::matrix(1, u64::from(bytes), 1, bytes));
            output += 1;
        }
        let mut out = grid.q_tile(a, output, if self.parts > 1 { 4 } else { 2 });
        if self.parts > 1 {
            items = self.split(&items, bm.min(rows) as i32, tiles == 1);
            out.row = Expr::work(OUT, 1);
            tensors[usize::from(output)].rows *= u64::from(self.parts);
            tensors[usize::from(output)].row_bytes *= 2;
        }
        let q_rows = if rows < bm || rows.is_multiple_of(bm) { Rows::Whole } else { Rows::LastShort(rows % bm) };
        let mut ops = vec![setup(spec)];
        let block = Block::of(bm, bn, (d, dv), self.warps, spec);
        // Rows of packed heads: an address for each that is there, as in FlashAttention-3 for Hopper (`device_profiles.csv`).
        let addresses = if self.packed { 180.0 * f64::from(rows.min(bm)) / f64::from(bm) } else { 0.0 };
        if self.packed {
            ops.push(Op::Vector(block.beside(addresses)));
        }
        ops.extend(q_rows.each(grid.q_tile(a, Q, a.dtype.bytes()), |t| copy(t, Path::AsyncRows, Q_FULL)));
        ops.extend(self.blocks(a, spec, grid, q_rows, (in_block > 0).then(|| spills(in_block))));
        // `device_profiles.csv`: 817 and 1070 instructions a warp beside the blocks.
        let last = block.beside(900.0 + addresses);
        ops.push(Op::Vector(VectorWork { shared_bytes: 2.0 * f64::from(bm * dv) * 2.0, ..last }));
        if beside > 0 {
            ops.push(spills(beside));
        }
        ops.extend(q_rows.each(out, |tile| Op::Store { tile, reduce: false }));
        let mut grid = items.len() as u32;
        if let Some(cycles) = self.handover_cycles {
            grid = grid.min(spec.sms());
            ops.extend([Op::Delay(cycles * 1e3 / spec.sm_clock_mhz), Op::NextFree]);
        }
        Kernel {
            name,
            threads: 32 * self.warps,
            registers: 255,
            shared_bytes: {
                let (queries, values) = (bm * d, bn * dv);
                let both = if self.queries_in_registers { queries.max(values) } else { queries + values };
                (both + bn * d) * 2 + 1024
            },
            cluster: 1,
            grid,
            items,
            tensors,
            barriers: vec![Barrier { arrivals: 1, credits: 0 }; 3],
            roles: one_role(self.warps, ops),
            pipelined: false,
        }
    }

    /// The turns over an item's blocks. Those with a mask, and without one the first, are code of their own; lengths that are
    /// not whole tiles take one more of them.
    fn blocks(&self, a: &Attention, spec: &GpuSpec, grid: Grid, q_rows: Rows, spills: Option<Op>) -> Vec<Op> {
        let (bm, bn) = (self.bm, self.bn);
        let (d, dv) = a.padded(2);
        let even = a.queries.is_multiple_of(bm) && a.keys.is_multiple_of(bn);
        let queries = if self.packed { (bm / a.group()).max(1) } else { bm };
        let own_code = if a.causal { queries.div_ceil(bn) + u32::from(!even) } else { 1 };
        let block = Block::of(bm, bn, (d, dv), self.warps, spec);
        // `device_profiles.csv`: 290 and 375 instructions for 64 and 128 scores a lane.
        let scores = f64::from(bm * bn) / (32.0 * f64::from(self.warps));
        let mask = if a.causal || !even { 205.0 + 1.33 * scores } else { 0.0 };
        // Page numbers and rows of keys and values: three instructions for each 512 bytes, as in FlashAttention-3.
        let bytes = f64::from(bn * (a.head_dim + a.values()) * a.kv_bytes);
        let pages = if self.paged { PAGED * bytes / 512.0 / f64::from(self.warps) } else { 0.0 };
        // Fragments of K and V are read once by each of the warps.
        let fragments = f64::from(self.warps * bn * d * a.dtype.bytes());
        let of_values = f64::from(self.warps * bn * dv * a.dtype.bytes());
        let reads = Op::Vector(VectorWork { shared_bytes: of_values, ..VectorWork::default() });
        let more = a.more_a_score() * scores;
        let again = if self.queries_again { f64::from(bm * d * a.dtype.bytes()) } else { 0.0 };
        let scores_read = Op::Vector(VectorWork { shared_bytes: fragments + again, ..VectorWork::default() });
        let mma = |n, k| Op::Mma { dtype: a.dtype, m: bm, n, k, sync: true };
        let kv = |tensor, at| grid.kv_tile(a, tensor, at);
        let k_rows = match a.keys % bn {
            0 => Rows::Whole,
            _ if a.keys < bn => Rows::Whole,
            rest if a.causal || self.parts > 1 => Rows::LastShort(rest),
            rest => Rows::Short(rest),
        };
        let turn = |at: u32, masked: bool| {
            let (first, at) = (at == 0, i64::from(at));
            let these = if first { k_rows } else { Rows::Whole };
            let next = if masked { once(BLOCKS, -1 - at as i32) } else { Trips::ExceptLast(1) };
            let values = these.each(kv(V, at), |t| copy(t, Path::AsyncRows, V_FULL));
            let mut ops = Vec::new();
            if self.values_first {
                ops.extend(these.wait(K_FULL));
                ops.push(Op::Sync);
                ops.extend(values);
            } else {
                ops.extend(values);
                ops.extend(these.wait(K_FULL));
                ops.push(Op::Sync);
            }
            ops.extend([mma(bn, d), scores_read, Op::MmaWait(0)]);
            if self.values_first {
                ops.extend(these.wait(V_FULL));
                ops.push(Op::Sync);
            }
            ops.extend([Op::Loop(next), copy(kv(K, at + 1), Path::AsyncRows, K_FULL), Op::End]);
            ops.push(block.work(pages + more + if masked { mask } else { 0.0 }));
            ops.extend(spills);
            if !self.values_first {
                ops.extend(these.wait(V_FULL));
                ops.push(Op::Sync);
            }
            ops.extend([mma(dv, bn), reads, Op::MmaWait(0)]);
            ops
        };
        let mut ops = k_rows.each(kv(K, 0), |t| copy(t, Path::AsyncRows, K_FULL));
        ops.extend(q_rows.wait(Q_FULL));
        ops.extend(turn(0, true));
        for at in 1..own_code {
            ops.push(Op::Loop(once(BLOCKS, -(at as i32))));
            ops.extend(turn(at, true));
            ops.push(Op::End);
        }
        ops.push(Op::Loop(trips(BLOCKS, -(own_code as i32))));
        ops.extend(turn(own_code, false));
        ops.push(Op::End);
        ops
    }
}
