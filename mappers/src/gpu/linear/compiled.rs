//! Kernels as Triton compiles them: instructions of a warp, and a builder of tile programs.

use banksia_hw::gpu::program::{Barrier, Dtype, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork, WORK_VARS};
use banksia_hw::gpu::spec::GpuSpec;

use super::{CHUNK, LinearCall};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::{copy, one_role};

/// Instructions of compiled code between two points of a kernel, as counted on a device (`device_linear.csv`): they are a part of the
/// program, as its tiles are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Code {
    /// Warp instructions of each warp, matrix instructions among them.
    pub(super) count: f64,
    /// Shares on the FMA lanes, the integer lanes and the special functions.
    pub(super) mix: (f64, f64, f64),
    /// Cycles that a warp waits after an instruction for what is not memory: fixed latencies, shared memory, other warps.
    pub(super) stall: f64,
    /// Wavefronts (128 bytes) through shared memory by loads and stores of a CTA.
    pub(super) wavefronts: f64,
}

/// Multiply-adds of an `mma.sync` (m16n8k16 of 16 bits; half as many in tf32).
const MMA: f64 = 2048.0;
/// Cycles that a scheduler's warps issue nothing else for one of them (`tensor.sync_issue_cycles`).
const MMA_CYCLES: f64 = 6.1;

impl Code {
    pub(super) const fn new(count: f64, mix: (f64, f64, f64), stall: f64, wavefronts: f64) -> Self {
        Self { count, mix, stall, wavefronts }
    }

    /// A share of it.
    pub(super) fn part(self, share: f64) -> Self {
        Self { count: self.count * share, wavefronts: self.wavefronts * share, ..self }
    }

    /// With so many instructions of a warp instead.
    pub(super) fn counting(self, count: f64) -> Self {
        let share = if self.count > 0.0 { count / self.count } else { 1.0 };
        Self { count, wavefronts: self.wavefronts * share, ..self }
    }

    /// As lane work of so many warps.
    pub(super) fn work(self, warps: u32) -> Op {
        let all = self.count * f64::from(warps);
        let lanes = 32.0 * all;
        Op::Vector(VectorWork {
            issue: all,
            fma: self.mix.0 * lanes,
            alu: self.mix.1 * lanes,
            sfu: self.mix.2 * lanes,
            shared_bytes: 128.0 * self.wavefronts,
            stall: self.stall,
            ..VectorWork::default()
        })
    }

    /// The same beside so many multiply-adds of a CTA by `mma.sync`, which take their time in the matrix units: the profile has their
    /// instructions, and what waits for them, among the others'.
    pub(super) fn beside(self, warps: u32, fma: f64) -> Op {
        let products = (fma / MMA / f64::from(warps)).min(0.9 * self.count);
        let others = self.count - products;
        let cycles = self.count * (1.0 + self.stall) - products * MMA_CYCLES;
        let stall = (cycles / others - 1.0).max(0.0);
        Self { count: others, stall, ..self }.work(warps)
    }
}

/// A kernel that is being written: its tensors with their memory, and its ops.
pub(super) struct Program {
    name: String,
    warps: u32,
    registers: u32,
    shared_bytes: u32,
    items: Vec<[i32; WORK_VARS]>,
    tensors: Vec<Tensor>,
    operands: Vec<Operand>,
    ops: Vec<Op>,
    sets_up: bool,
    /// SMs, and their clock.
    lanes: u32,
    clock_mhz: f64,
    /// Copies that count on each barrier in one phase.
    arrivals: [u32; 4],
}

/// A load, which way, and the barrier that it counts on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load(pub(super) Tile, pub(super) Path, pub(super) u8);

impl Program {
    pub(super) fn new(name: String, warps: u32, registers: u32, shared_bytes: u32, spec: &GpuSpec) -> Self {
        Self {
            name,
            warps,
            // What a kernel is compiled to on a chip that has less: the largest that fits.
            registers: registers.min(255),
            shared_bytes: shared_bytes.min(spec.sm.shared_memory_per_cta_bytes),
            items: Vec::new(),
            tensors: Vec::new(),
            operands: Vec::new(),
            ops: Vec::new(),
            sets_up: true,
            lanes: spec.sms(),
            clock_mhz: spec.sm_clock_mhz,
            arrivals: [1; 4],
        }
    }

    /// A matrix in some memory, read in boxes of so many rows and bytes.
    pub(super) fn matrix(&mut self, operand: Operand, rows: u64, row_bytes: u64, piece: (u32, u32)) -> u8 {
        let (piece_rows, piece_bytes) = piece;
        self.tensors.push(Tensor::matrix(
            rows.max(1),
            row_bytes.max(1),
            piece_rows.max(1),
            piece_bytes.next_power_of_two(),
        ));
        self.operands.push(operand);
        (self.tensors.len() - 1) as u8
    }

    /// Code and constants that the launch before has left in the caches, as replays of short kernels do.
    pub(super) fn warm(mut self) -> Self {
        self.sets_up = false;
        self
    }

    pub(super) fn items(&mut self, items: Vec<[i32; WORK_VARS]>) {
        self.items = items;
    }

    pub(super) fn code(&mut self, code: Code) {
        self.ops.push(code.work(self.warps));
    }

    /// Copies that are waited for together: they are one phase of their barrier.
    pub(super) fn loads(&mut self, loads: &[Load]) {
        for barrier in 0..self.arrivals.len() {
            let n = loads.iter().filter(|l| usize::from(l.2) == barrier).count() as u32;
            if n > 0 {
                self.arrivals[barrier] = n;
            }
        }
        self.ops.extend(loads.iter().map(|&Load(tile, path, barrier)| copy(tile, path, barrier)));
    }

    /// Copies, and the wait for them.
    pub(super) fn fetch(&mut self, loads: &[Load]) {
        self.loads(loads);
        if let Some(Load(_, _, barrier)) = loads.first() {
            self.ops.push(Op::Wait(*barrier));
        }
    }

    /// Copies of the next turn: not in the last.
    pub(super) fn ahead(&mut self, loads: &[Load]) {
        self.ops.push(Op::Loop(Trips::ExceptLast(1)));
        self.loads(loads);
        self.ops.push(Op::End);
    }

    pub(super) fn repeat(&mut self, trips: Trips, body: impl FnOnce(&mut Self)) {
        self.ops.push(Op::Loop(trips));
        body(self);
        self.ops.push(Op::End);
    }

    /// Begins a loop, which [`Self::close`] ends.
    pub(super) fn open(&mut self, trips: Trips) {
        self.ops.push(Op::Loop(trips));
    }

    /// Ends the innermost loop.
    pub(super) fn close(&mut self) {
        self.ops.push(Op::End);
    }

    pub(super) fn wait(&mut self, barrier: u8) {
        self.ops.push(Op::Wait(barrier));
    }

    pub(super) fn store(&mut self, tile: Tile) {
        self.ops.push(Op::Store { tile, reduce: false });
    }

    /// A product by `mma.sync`, and the code that it stands among.
    pub(super) fn product(&mut self, dtype: Dtype, m: u32, n: u32, k: u32, code: Code) {
        let scale = if dtype == Dtype::Tf32 { 2.0 } else { 1.0 };
        self.ops.push(Op::Mma { dtype, m, n, k, sync: true });
        self.ops.push(code.beside(self.warps, scale * f64::from(m) * f64::from(n) * f64::from(k)));
        self.ops.push(Op::MmaWait(0));
    }

    /// A product by warpgroups where the device has them and the kernel four warps, and the code after it.
    pub(super) fn group_product(&mut self, spec: &GpuSpec, (m, n, k): (u32, u32, u32), code: Code) {
        if spec.tensor.warpgroup && self.warps >= 4 {
            self.ops.push(Op::Mma { dtype: Dtype::Bf16, m, n, k, sync: false });
            self.ops.push(Op::MmaWait(0));
            self.code(code);
        } else {
            self.product(Dtype::Bf16, m, n, k, code);
        }
    }

    pub(super) fn launch(mut self) -> Item {
        if self.sets_up {
            // Only the first CTAs of an SM miss instructions and constants: their time is spread over all.
            let registers = 65536 / (self.registers.max(16) * 32 * self.warps);
            let shared = (228 << 10) / (self.shared_bytes + 1024);
            let at_once = u64::from(self.lanes) * u64::from(registers.min(shared).clamp(1, 32));
            let share = (at_once as f64 / self.items.len().max(1) as f64).min(1.0);
            self.ops.insert(0, Op::Setup(share * super::SETUP_CYCLES * 1e3 / self.clock_mhz));
        }
        let barriers = self.arrivals.iter().map(|&arrivals| Barrier { arrivals, credits: 0 }).collect();
        let kernel = Kernel {
            name: self.name,
            threads: 32 * self.warps,
            registers: self.registers,
            shared_bytes: self.shared_bytes,
            cluster: 1,
            grid: self.items.len() as u32,
            items: self.items,
            tensors: self.tensors,
            barriers,
            roles: one_role(self.warps, self.ops),
            pipelined: false,
        };
        Item::kernel(kernel, self.operands)
    }
}

/// A box whose first row and first byte are sums of terms of the item.
pub(super) fn tile(tensor: u8, row: Expr, byte: Expr, rows: u32, bytes: u32) -> Tile {
    Tile { tensor, row, byte, rows, bytes }
}

/// A tensor `[batch, tokens, heads, size]` of so many bytes a number, read chunk by chunk in blocks of so many numbers.
pub(super) fn per_token(
    p: &mut Program,
    c: &LinearCall,
    of: &Operand,
    (heads, size, bytes): (u32, u32, u32),
    block: u32,
) -> u8 {
    let row_bytes = u64::from(heads) * u64::from(size) * u64::from(bytes);
    p.matrix(of.clone(), c.rows(), row_bytes, (CHUNK.min(c.tokens), block.min(size.max(8)) * bytes))
}

/// An item for each chunk and head: its first token, the head of keys, the head, the chunk's state (chunk times heads, plus the head), and a
/// block of `blocks`, which comes first in order.
pub(super) fn chunk_items(c: &LinearCall, blocks: u32) -> Result<Vec<[i32; WORK_VARS]>, String> {
    let n = u64::from(c.batch) * u64::from(c.heads) * u64::from(c.chunks()) * u64::from(blocks);
    super::countable(n)?;
    let mut all = Vec::with_capacity(n as usize);
    for b in 0..c.batch {
        for h in 0..c.heads {
            for t in 0..c.chunks() {
                let state = (b * c.chunks() + t) * c.heads + h;
                let row = b * c.tokens + t * CHUNK;
                all.extend((0..blocks).map(|i| [row, h / c.group(), h, state, i, 0].map(|x| x as i32)));
            }
        }
    }
    Ok(all)
}

/// Numbers of [`chunk_items`].
pub(super) const ROW: usize = 0;
/// The head of keys.
pub(super) const KEY_HEAD: usize = 1;
/// The head.
pub(super) const HEAD: usize = 2;
/// The chunk's state.
pub(super) const STATE: usize = 3;
/// The block.
pub(super) const BLOCK: usize = 4;
