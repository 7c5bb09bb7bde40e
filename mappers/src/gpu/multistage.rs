//! Products whose warps both copy (`cp.async`) and multiply: Triton's, and those of libraries before Hopper.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::{GpuSpec, SmSpec};

use super::gemm::{AROW, BROW, Gemm, K0, NK, PM, PN, part};
use super::raster::Raster;
use super::{copy, one_role};

/// Who wrote the kernel: what its CTAs do beside their steps, and in which order they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Triton's compiler: the whole tile is converted and stored at once.
    Triton,
    /// CUTLASS, and cuBLAS before Hopper: C leaves in passes through shared memory.
    Cutlass,
}

/// Instructions of a warp outside of the steps of depth, and what it waits for meanwhile.
///
/// Instructions executed and cycles by reason of stall of 11 kernels of cuBLAS and 15 of Triton, at two depths, whose difference is what a
/// step takes (`device_multistage_profile.csv`); the counts follow these sums within 5 to 15 %.
struct Frame {
    /// Instructions before the first copy, whatever the tile.
    setup: f64,
    /// More for each 16-byte copy of a thread in a step: an address and a predicate (Triton's come with each stage's copies).
    per_copy: f64,
    /// After the last step, for each sum that a thread holds.
    per_sum: f64,
    /// Cycles a warp waits after an instruction: fixed latencies, shared memory, barriers.
    stall: f64,
    /// Bytes of shared memory passed by a sum on its way out, both ways.
    shared_per_sum: f64,
    /// Sums of a thread that leave together.
    sums_a_pass: u32,
}

const TRITON: Frame =
    Frame { setup: 143.0, per_copy: 0.0, per_sum: 1.9, stall: 1.8, shared_per_sum: 4.0, sums_a_pass: u32::MAX };

const CUTLASS: Frame =
    Frame { setup: 510.0, per_copy: 5.6, per_sum: 5.5, stall: 2.0, shared_per_sum: 8.0, sums_a_pass: 16 };

/// A tile of a multistage kernel: all warps copy (`cp.async`) and multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multistage {
    /// Rows of a tile.
    pub bm: u32,
    /// Columns.
    pub bn: u32,
    /// Depth of a step.
    pub bk: u32,
    /// Buffers in shared memory; 1 means no overlap.
    pub stages: u32,
    /// Warps.
    pub warps: u32,
    /// Row tiles of a group; CTAs run through a group's rows first, then its columns.
    pub group: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Shared memory of a CTA.
    pub shared_bytes: u32,
    /// Parts of the depth: CUTLASS's are summed by a second kernel, Triton's in L2 by reductions.
    pub split: u32,
    /// Whose kernel it is.
    pub writer: Writer,
    /// Bytes that a lane copies at once: 16, or fewer where operands or result do not lie on as many.
    pub copy_bytes: u32,
}

impl Multistage {
    /// Cycles of a CTA outside of its steps, without what its loads and stores take.
    pub(crate) fn frame_cycles(&self, g: &Gemm, sm: &SmSpec) -> f64 {
        let frame = self.frame();
        let sums = f64::from(self.bm * self.bn) / f64::from(32 * self.warps);
        let chain = (frame.setup + frame.per_copy * self.copies(g) + frame.per_sum * sums) * (1.0 + frame.stall);
        chain.max(f64::from(self.bm * self.bn) * frame.shared_per_sum / sm.shared_bytes_per_cycle)
    }

    /// Copies of a thread in a step.
    fn copies(&self, g: &Gemm) -> f64 {
        f64::from((self.bm + self.bn) * g.dtype.bytes_of(self.bk)) / (512.0 * f64::from(self.warps))
    }

    fn frame(&self) -> &'static Frame {
        match self.writer {
            Writer::Triton => &TRITON,
            Writer::Cutlass => &CUTLASS,
        }
    }

    /// Work items in the order of CTAs. CUTLASS deals columns of tiles out by eight (by four, two or one where there are fewer
    /// than six, three or two), rows after that, parts of the depth last; CTAs beyond the last column find nothing to do.
    fn items(&self, g: &Gemm, split: u32, steps: u32) -> Vec<[i32; WORK_VARS]> {
        let (rows, columns) = (g.m.div_ceil(self.bm), g.n.div_ceil(self.bn));
        let mut items = Vec::with_capacity((rows * columns * g.batch * split) as usize);
        let item = |r: u32, c: u32, b: u32, (k0, nk)| [r, c, k0, nk, b * g.m, b * g.n].map(|x: u32| x as i32);
        for b in 0..g.batch {
            match self.writer {
                Writer::Triton => {
                    for (r, c) in Raster::rows(self.group).clusters(rows, columns) {
                        items.extend((0..split).map(|s| item(r, c, b, part(steps, split, s))));
                    }
                }
                Writer::Cutlass => {
                    let together = match columns {
                        0 | 1 => 1,
                        2 => 2,
                        3..=5 => 4,
                        _ => 8,
                    };
                    for s in 0..split {
                        for first in (0..columns).step_by(together as usize) {
                            for r in 0..rows {
                                items.extend((first..first + together).map(|c| {
                                    let depth = if c < columns { part(steps, split, s) } else { (0, 0) };
                                    item(r, c.min(columns), b, depth)
                                }));
                            }
                        }
                    }
                }
            }
        }
        items
    }
}

/// Wavefronts that registers take to be stored in the layout that `wgmma` reads, over those of their bytes.
const STORE_CONFLICTS: f64 = 1.5;

/// The kernel. With `split > 1` CUTLASS writes C as a workspace of `split` matrices of single precision; Triton adds in L2.
///
/// With 64 rows or more and whole warpgroups, on a device that has them, products go by `wgmma` and two steps overlap;
/// otherwise by `mma.sync`, with operands read from shared memory by every warp that needs them.
pub fn multistage(g: &Gemm, t: &Multistage, spec: &GpuSpec) -> Kernel {
    // Bytes of a row of a step.
    let row = g.dtype.bytes_of(t.bk);
    let cutlass = t.writer == Writer::Cutlass;
    let warpgroup = spec.tensor.warpgroup && !cutlass && t.copy_bytes >= 16 && t.bm >= 64 && t.warps.is_multiple_of(4);
    let steps = g.k.div_ceil(t.bk);
    let split = t.split.clamp(1, steps.max(1));
    let items = t.items(g, split, steps);
    let step_bytes = i64::from(row);
    // CTAs beyond the last column do nothing: all of a CUTLASS kernel is in a loop that runs once or not at all.
    let loops = usize::from(cutlass);
    let tile = |tensor, p, first, height: u32, ahead: i64| Tile {
        tensor,
        row: Expr::work(p, i64::from(height)).plus_work(first, 1),
        byte: Expr::at(ahead * step_bytes).plus_work(K0, step_bytes).plus_loop(loops, step_bytes),
        rows: height,
        bytes: row,
    };
    let by = match (t.stages, warpgroup) {
        (..=1, _) => Path::Load,
        (_, true) => Path::Async,
        (_, false) => Path::AsyncRows,
    };
    let load = |ops: &mut Vec<Op>, ahead: i64| {
        ops.push(copy(tile(0, PM, AROW, t.bm, ahead), by, 0));
        ops.push(copy(tile(1, PN, BROW, t.bn, ahead), by, 0));
    };
    let (overhead, work) = step_work(g, t, warpgroup, spec);
    let (dtype, m, n, k) = (g.dtype, t.bm, t.bn, t.bk);
    let product = if warpgroup {
        Op::Mma { dtype, m, n, k, sync: false }
    } else {
        Op::MmaAmong { dtype, m, n, k, others: work.issue }
    };
    // What is read of shared memory meanwhile.
    let fragments = VectorWork { issue: 0.0, alu: 0.0, ..work };
    let nk = Trips::Work(NK as u8, 0);
    let mut ops = Vec::new();
    if cutlass {
        ops.push(Op::Loop(Trips::Once(NK as u8, 0)));
    }
    ops.push(Op::Vector(set_up(g, t)));
    if t.stages <= 1 {
        // Through registers: loads, stores to shared memory, products, one after the other.
        let bytes = f64::from((t.bm + t.bn) * row);
        let conflicts = if warpgroup { STORE_CONFLICTS } else { 1.0 };
        let keep = VectorWork { issue: bytes / 512.0, shared_bytes: bytes * conflicts, ..VectorWork::default() };
        ops.push(Op::Loop(nk));
        load(&mut ops, 0);
        ops.extend([Op::Vector(overhead), Op::Wait(0), Op::Sync, Op::Vector(keep), Op::Sync]);
        ops.push(product);
        if !warpgroup {
            ops.push(Op::Vector(fragments));
        }
        ops.push(Op::MmaWait(0));
    } else {
        for s in 0..t.stages - 1 {
            if t.writer == Writer::Triton {
                ops.push(Op::Vector(first_copies(g, t)));
            }
            load(&mut ops, i64::from(s));
        }
        ops.extend([Op::Loop(nk), Op::Wait(0), Op::Sync]);
        let ahead = i64::from(t.stages) - 1;
        if warpgroup {
            // Kernels whose warpgroups have 256 columns each are compiled with a wait after every instruction: nothing overlaps a warpgroup's
            // own products.
            let pending = if t.bn >= 256 && t.warps >= 8 { 0 } else { 1 };
            ops.extend([product, Op::MmaWait(pending), Op::Sync]);
            // Copies go out one after the other among their instructions.
            let first = f64::from(t.bm) / f64::from(t.bm + t.bn);
            let [a, b] =
                [(0, PM, AROW, t.bm), (1, PN, BROW, t.bn)].map(|(i, p, r, n)| copy(tile(i, p, r, n, ahead), by, 0));
            let parts = [first, 1.0 - first].map(|part| Op::Vector(share(&work, part)));
            ops.extend([parts[0], a, parts[1], b]);
        } else {
            // Copies go out among the products, into the buffer of the step before.
            ops.push(product);
            load(&mut ops, ahead);
            ops.extend([Op::Vector(fragments), Op::MmaWait(0)]);
        }
    }
    ops.extend([Op::End, Op::MmaWait(0)]);
    // Parts of the depth that are summed by a second kernel leave in single precision.
    let out = Gemm { out_bytes: if cutlass && split > 1 { 4 } else { g.out_bytes }, ..*g };
    leave(&out, t, split, &mut ops);
    if cutlass {
        ops.push(Op::End);
    }
    let mut tensors = g.tensors(t.bm, t.bn, row.min(128));
    tensors[2] = out.tensors(t.bm, t.bn, 128)[2];
    // Steps beyond the last are not copied: their columns lie outside A and B, or belong to another part's range and
    // arrive in vain, as they do where a library masks them.
    Kernel {
        name: format!("gemm {}x{}x{} multistage {}x{}x{} split {split}", g.m, g.n, g.k, t.bm, t.bn, t.bk),
        threads: 32 * t.warps,
        registers: t.registers,
        shared_bytes: t.shared_bytes,
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: vec![Barrier { arrivals: 2, credits: 0 }],
        roles: one_role(t.warps, ops),
        pipelined: false,
    }
}

/// Work of the lanes in a step: what copies need, and all of it.
fn step_work(g: &Gemm, t: &Multistage, warpgroup: bool, spec: &GpuSpec) -> (VectorWork, VectorWork) {
    let row = g.dtype.bytes_of(t.bk);
    let (a, b) = (f64::from(t.bm * row), f64::from(t.bn * row));
    // A cp.async of a warp moves 512 bytes and needs an address and a predicate: instructions executed of a warp and step beside its products
    // (`device_multistage_profile.csv`: 78 to 215 with `wgmma`; with `mma.sync` 93 to 130 for 8 to 16 copies).
    let warps = f64::from(t.warps);
    let copies = (a + b) / 512.0;
    let issue = if warpgroup { COPY_INSTRUCTIONS * copies + 30.0 * warps } else { 5.0 * copies + 12.0 * warps };
    // A narrow copy takes a request for each of its parts, where sixteen bytes would take one; each passes tags and data path.
    let requests = f64::from(16 / t.copy_bytes.clamp(1, 16));
    let narrow = (requests - 1.0) * 2.0 * (a + b);
    let issue = issue * requests;
    let overhead = VectorWork { issue, alu: issue * 16.0, shared_bytes: narrow, ..VectorWork::default() };
    if warpgroup {
        let work = VectorWork { latency_cycles: turn(g, t, issue / warps, spec), spread: 1.0, ..overhead };
        return (overhead, work);
    }
    // Warps share a tile as rows of 16 first; each reads its rows of A and columns of B (ldmatrix, 512 bytes).
    let by_rows = (t.bm / 16).clamp(1, t.warps);
    let by_rows = if by_rows > 2 && t.warps >= 4 && t.bn >= 32 { by_rows.min(t.warps / 2) } else { by_rows };
    let shared = a * f64::from(t.warps / by_rows) + b * f64::from(by_rows);
    // A fragment is loaded, then multiplied; the loads of the next overlap, those of the first do not.
    let work =
        VectorWork { issue: issue + shared / 512.0, shared_bytes: shared + narrow, latency_cycles: 70.0, ..overhead };
    (overhead, work)
}

/// Instructions of a warp for each of its copies: an address of 64 bits, a predicate, the copy.
const COPY_INSTRUCTIONS: f64 = 6.2;
/// Cycles of an instruction of a step beside its products: it waits for the one before, and for the registers of addresses that copies have yet
/// to read (stalls of `device_multistage_profile.csv`: `wait` and `long_scoreboard`).
const STEP_CYCLES: f64 = 2.7;
/// Share of their pace that these instructions keep beside the products of the same warp (`dispatch_stall` of `device_copies.csv`): 0.38 to 0.45 where a scheduler has
/// one warp; with two, the products of a step and its other instructions take as long as both.
const BESIDE_PRODUCTS: f64 = 0.4;

/// Cycles from the beginning of a step's last product to the next step's first: what a warp executes in between, less what it could beside its
/// products.
fn turn(g: &Gemm, t: &Multistage, instructions: f64, spec: &GpuSpec) -> f64 {
    let depth = f64::from(g.dtype.elements_in(32));
    let rate = spec.tensor.fma_per_cycle.get(&g.dtype).copied().unwrap_or(1.0);
    let last = (64.0 * f64::from(t.bn) * depth / rate).max(spec.tensor.min_instruction_cycles);
    let products = (f64::from(t.bm) / 64.0).ceil() * (f64::from(t.bk) / depth).ceil() * last;
    let beside = if t.warps > 4 { 0.0 } else { BESIDE_PRODUCTS * products };
    // Wavefronts of a warp's copy by the bytes of a row of the tile (`tag_wavefronts` of `device_copies.csv`).
    let row = g.dtype.bytes_of(t.bk);
    let wavefronts = match row {
        ..=64 => 5.3,
        65..=128 => 2.2,
        _ => 7.1,
    };
    let copies = f64::from(t.warps) * t.copies(g) * wavefronts;
    ((instructions * STEP_CYCLES).max(copies) + last - beside).max(0.0)
}

/// A share of some work.
fn share(w: &VectorWork, part: f64) -> VectorWork {
    VectorWork {
        issue: w.issue * part,
        alu: w.alu * part,
        shared_bytes: w.shared_bytes * part,
        latency_cycles: w.latency_cycles * part,
        spread: w.spread * part,
        ..*w
    }
}

/// What comes before the first copy.
fn set_up(g: &Gemm, t: &Multistage) -> VectorWork {
    let frame = t.frame();
    let warps = f64::from(t.warps);
    let issue = warps * (frame.setup + frame.per_copy * t.copies(g));
    VectorWork { issue, alu: issue * 24.0, stall: frame.stall, ..VectorWork::default() }
}

/// Instructions of a stage's copies before the first step.
fn first_copies(g: &Gemm, t: &Multistage) -> VectorWork {
    let issue = COPY_INSTRUCTIONS * f64::from(t.warps) * t.copies(g);
    VectorWork { issue, alu: issue * 24.0, stall: STEP_CYCLES - 1.0, ..VectorWork::default() }
}

/// C on its way out.
fn leave(out: &Gemm, t: &Multistage, split: u32, ops: &mut Vec<Op>) {
    let frame = t.frame();
    let sums = t.bm * t.bn / (32 * t.warps);
    let passes = (sums / frame.sums_a_pass).clamp(1, t.bm / 8);
    let rows = t.bm / passes;
    let n = f64::from(rows * t.bn);
    let issue = n / 32.0 * frame.per_sum;
    let work = VectorWork {
        issue,
        alu: issue * 16.0,
        shared_bytes: n * frame.shared_per_sum,
        stall: frame.stall,
        ..VectorWork::default()
    };
    let store = |row: Expr| {
        let tile = Tile {
            tensor: 2,
            row: row.plus_work(PM, i64::from(t.bm)).plus_work(AROW, 1),
            byte: Expr::work(PN, i64::from(t.bn * out.out_bytes)),
            rows,
            bytes: t.bn * out.out_bytes,
        };
        Op::Store { tile, reduce: t.writer == Writer::Triton && split > 1 }
    };
    if passes == 1 {
        ops.extend([Op::Vector(work), store(Expr::default())]);
    } else {
        let depth = usize::from(t.writer == Writer::Cutlass);
        let row = Expr::default().plus_loop(depth, i64::from(rows));
        ops.extend([Op::Loop(Trips::Const(passes)), Op::Vector(work), store(row), Op::End]);
    }
}
