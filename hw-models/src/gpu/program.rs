//! Kernels as tile programs: what a mapper writes and the machine runs.
//!
//! A kernel is a grid of CTAs. Each CTA runs a few *roles* (all its warps as one, or a producer and consumers), each a
//! short list of [`Op`]s with counted loops. Coordinates are affine in the CTA's work item and in the loop counters.
//! Asynchronous work (copies, matrix steps) completes later; barriers carry the completion times. A barrier is a queue
//! of phases: phase k of a `full` barrier is the arrival of tile k, phase k of an `empty` barrier the release of the
//! buffer that tile k will use (its first `credits` phases are free from the start).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Numbers in a work item.
pub const WORK_VARS: usize = 6;
/// Nested loops of a role.
pub const LOOP_DEPTH: usize = 2;
/// Barriers of a CTA.
pub const MAX_BARRIERS: usize = 8;
/// Roles of a CTA.
pub const MAX_ROLES: usize = 4;
/// Phases that may be complete and not yet waited for.
pub const MAX_CREDITS: u32 = 16;

/// Element types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE single precision, on the FMA lanes.
    Fp32,
    /// 19-bit format of the matrix units, stored in 32.
    Tf32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    Fp16,
    /// Either 8-bit floating-point format.
    Fp8,
    /// 8-bit integer.
    Int8,
    /// Either 4-bit floating-point format with scales of blocks (NVFP4, MXFP4): two elements lie in a byte.
    Fp4,
}

impl Dtype {
    /// How many there are, and all of them in order.
    pub(crate) const COUNT: usize = 7;
    pub(crate) const ALL: [Self; Self::COUNT] =
        [Self::Fp32, Self::Tf32, Self::Bf16, Self::Fp16, Self::Fp8, Self::Int8, Self::Fp4];

    /// Bits of an element in memory.
    pub fn bits(self) -> u32 {
        match self {
            Dtype::Fp32 | Dtype::Tf32 => 32,
            Dtype::Bf16 | Dtype::Fp16 => 16,
            Dtype::Fp8 | Dtype::Int8 => 8,
            Dtype::Fp4 => 4,
        }
    }

    /// Bytes of one element by itself: a whole number, so that elements of four bits take no less than one of eight. Rows of elements take
    /// [`bytes_of`](Self::bytes_of) them.
    pub fn bytes(self) -> u32 {
        self.bits().div_ceil(8)
    }

    /// Bytes of so many neighbouring elements.
    pub fn bytes_of(self, elements: u32) -> u32 {
        match self {
            Dtype::Fp4 => elements.div_ceil(2),
            _ => elements.saturating_mul(self.bytes()),
        }
    }

    /// Elements in so many bytes.
    pub fn elements_in(self, bytes: u32) -> u32 {
        match self {
            Dtype::Fp4 => bytes.saturating_mul(2),
            _ => bytes / self.bytes(),
        }
    }

    /// The name as TOML and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Fp32 => "fp32",
            Dtype::Tf32 => "tf32",
            Dtype::Bf16 => "bf16",
            Dtype::Fp16 => "fp16",
            Dtype::Fp8 => "fp8",
            Dtype::Int8 => "int8",
            Dtype::Fp4 => "fp4",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A coordinate: `base + sum(work[i] * item[i]) + sum(loops[j] * counter[j])`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Expr {
    /// The constant.
    pub base: i64,
    /// Coefficients of the work item's numbers.
    pub work: [i64; WORK_VARS],
    /// Coefficients of the loop counters, outermost first.
    pub loops: [i64; LOOP_DEPTH],
}

impl Expr {
    /// A constant.
    pub fn at(base: i64) -> Self {
        Self { base, ..Self::default() }
    }

    /// `scale * item[var]`.
    pub fn work(var: usize, scale: i64) -> Self {
        Self::default().plus_work(var, scale)
    }

    /// With `scale * item[var]` added.
    #[must_use]
    pub fn plus_work(mut self, var: usize, scale: i64) -> Self {
        self.work[var] += scale;
        self
    }

    /// With `scale * counter[depth]` added.
    #[must_use]
    pub fn plus_loop(mut self, depth: usize, scale: i64) -> Self {
        self.loops[depth] += scale;
        self
    }

    pub(crate) fn eval(&self, item: &[i32; WORK_VARS], counters: [u32; LOOP_DEPTH]) -> i64 {
        let mut v = self.base;
        for (c, x) in self.work.iter().zip(item) {
            v += c * i64::from(*x);
        }
        for (c, x) in self.loops.iter().zip(counters) {
            v += c * i64::from(x);
        }
        v
    }
}

/// How often a loop runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trips {
    /// Always so often.
    Const(u32),
    /// As the work item's number says (negative counts as none), plus a constant.
    Work(u8, i32),
    /// Once if the work item's number plus a constant is positive, else not at all.
    Once(u8, i32),
    /// Once, except in the last so many turns of the loop around it: what runs ahead of the turns stops in time.
    ExceptLast(u32),
}

/// The way of a copy from memory to the SM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Bulk copy engine into shared memory: one instruction, no registers.
    Bulk,
    /// `cp.async` by all warps through the load/store unit into shared memory, in the layout that `wgmma` reads.
    Async,
    /// The same in rows of fragments, as `ldmatrix` reads them: the data path takes it with fewer conflicts.
    AsyncRows,
    /// Loads into registers, past L1.
    Load,
    /// Loads into registers that look into L1 first and leave their lines there.
    LoadL1,
}

/// CTAs of a cluster that share a copy: each reads a part of its rows, and all receive all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multicast {
    /// How many share it.
    pub ctas: u8,
    /// How far apart they are among the cluster's CTAs.
    pub apart: u8,
}

impl Multicast {
    /// A CTA's own copy.
    pub const NONE: Self = Self { ctas: 1, apart: 1 };

    /// Of the rows of a copy, which the CTA reads that is so many among its cluster's: first and count.
    pub(crate) fn part(self, member: u8, rows: u32) -> (u32, u32) {
        if self.ctas <= 1 {
            return (0, rows);
        }
        let (ctas, i) = (u32::from(self.ctas), u32::from(member / self.apart.max(1) % self.ctas));
        let first = rows * i / ctas;
        (first, rows * (i + 1) / ctas - first)
    }
}

/// A box of a matrix in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tile {
    /// Index into [`Kernel::tensors`].
    pub tensor: u8,
    /// First row.
    pub row: Expr,
    /// First byte within the row.
    pub byte: Expr,
    /// Rows; what lies beyond the matrix is not touched.
    pub rows: u32,
    /// Bytes of each row; likewise.
    pub bytes: u32,
}

/// Work of the lanes between two points of a role, summed over its warps.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct VectorWork {
    /// Warp instructions issued, of all kinds.
    pub issue: f64,
    /// Lane operations of the FMA lanes.
    pub fma: f64,
    /// Lane operations of the integer and logic lanes.
    pub alu: f64,
    /// Lane operations of the special-function lanes.
    pub sfu: f64,
    /// Bytes through shared memory.
    pub shared_bytes: f64,
    /// Cycles that the chain of dependences takes at least.
    pub latency_cycles: f64,
    /// Cycles that a warp waits after an instruction, on average, for the fixed latencies of what it depends on.
    pub stall: f64,
    /// What share of the difference between CTAs in a step of depth falls on it (`step_spread_cycles` and `step_order_of_three_cycles` of
    /// [`SmSpec`](super::spec::SmSpec)); 0 for none. It takes no time at least, however early its CTA is.
    pub spread: f64,
    /// Straight-line code, bytes of a warp's instructions; 0 for code that is small or runs so often that it is always held.
    pub code_bytes: u32,
}

/// One instruction of a role.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Runs the ops up to the matching [`Op::End`] so often.
    Loop(Trips),
    /// Ends the innermost loop.
    End,
    /// Persistent CTAs: goes on to the CTA's next work item, from the role's start, or ends the role.
    Next,
    /// The same with a counter in memory that CTAs take their items from: the next item that nobody has begun.
    NextFree,
    /// Starts a copy to the SM; its arrival counts once on `barrier`.
    Copy {
        /// What is copied.
        tile: Tile,
        /// By which engine.
        path: Path,
        /// CTAs of the cluster that share it. The others' parts are taken to come when the CTA's own does.
        multicast: Multicast,
        /// Where its arrival counts.
        barrier: u8,
    },
    /// Waits for the role's next phase of a barrier.
    Wait(u8),
    /// Counts once on a barrier, now.
    Arrive(u8),
    /// CTA barrier among the role's warps.
    Sync,
    /// Issues a matrix product of a `m x k` and a `k x n` tile from shared memory or registers; one group.
    Mma {
        /// Type of the operands.
        dtype: Dtype,
        /// Rows.
        m: u32,
        /// Columns.
        n: u32,
        /// Depth.
        k: u32,
        /// Through `mma.sync`; otherwise by warpgroups.
        sync: bool,
    },
    /// A product through `mma.sync` with other instructions between its own: loads of fragments, addresses, copies.
    MmaAmong {
        /// Type of the operands.
        dtype: Dtype,
        /// Rows.
        m: u32,
        /// Columns.
        n: u32,
        /// Depth.
        k: u32,
        /// Other warp instructions, over all warps.
        others: f64,
    },
    /// The same by warpgroups, queued behind the role's last product while the warps go on: its left operand is in registers
    /// (FlashAttention-3: of a turn's two products its warps wait for the first only).
    MmaQueued {
        /// Type of the operands.
        dtype: Dtype,
        /// Rows.
        m: u32,
        /// Columns.
        n: u32,
        /// Depth.
        k: u32,
    },
    /// Waits until at most so many groups are under way.
    MmaWait(u8),
    /// Lane work.
    Vector(VectorWork),
    /// Writes a tile to memory; the role goes on at once.
    Store {
        /// What is written.
        tile: Tile,
        /// Adds to what is there, in L2.
        reduce: bool,
    },
    /// Writes a tile to the same place of a peer's memory, over the links; the role goes on when its stores have left the SM. The peer does the same: its tile
    /// arrives here when this one does there, is written to L2, and counts once on `barrier`.
    PeerStore {
        /// What is written, there and here.
        tile: Tile,
        /// Where the peer's arrival counts.
        barrier: u8,
    },
    /// Waits until the role's stores so far are in L2, or in the peer's.
    StoreWait,
    /// Nothing, for so many nanoseconds.
    Delay(f64),
    /// The same before the CTA's first work item only: a kernel's set-up.
    Setup(f64),
}

/// One role of a CTA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its warps.
    pub warps: u32,
    /// What they do.
    pub ops: Vec<Op>,
}

/// A matrix in memory, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tensor {
    /// Rows.
    pub rows: u64,
    /// Bytes of a row.
    pub row_bytes: u64,
    /// Bytes of the pieces in which rows are read (a power of two); the machine tracks the cache in blocks of this width.
    pub piece_bytes: u32,
    /// Rows that are usually read together: no block is taller.
    pub piece_rows: u32,
}

impl Tensor {
    /// A matrix read in boxes of `piece_rows` rows of `piece_bytes`.
    pub fn matrix(rows: u64, row_bytes: u64, piece_rows: u32, piece_bytes: u32) -> Self {
        Self { rows, row_bytes, piece_bytes: piece_bytes.clamp(32, 1 << 16), piece_rows: piece_rows.max(1) }
    }

    /// A vector of bytes, read front to back.
    pub fn stream(bytes: u64) -> Self {
        Self { rows: 1, row_bytes: bytes, piece_bytes: 1 << 16, piece_rows: 1 }
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.rows.saturating_mul(self.row_bytes)
    }
}

/// A barrier of each CTA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// Arrivals that complete a phase.
    pub arrivals: u32,
    /// Phases complete from the start.
    pub credits: u32,
}

/// A kernel launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its name in reports.
    pub name: String,
    /// Threads of a CTA.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Shared memory of a CTA.
    pub shared_bytes: u32,
    /// CTAs of a cluster.
    pub cluster: u32,
    /// CTAs launched; at most the work items. CTA c takes items c, c + grid, c + 2 grid, ... where it has [`Op::Next`],
    /// and after its first what is left where it has [`Op::NextFree`].
    pub grid: u32,
    /// Work items, in order.
    pub items: Vec<[i32; WORK_VARS]>,
    /// The matrices it touches.
    pub tensors: Vec<Tensor>,
    /// The barriers of each CTA.
    pub barriers: Vec<Barrier>,
    /// The roles of each CTA.
    pub roles: Vec<Role>,
    /// Sets up shared-memory barriers and asynchronous copies (see [`super::spec::LaunchSpec::pipeline_setup_ns`]).
    pub pipelined: bool,
}

/// What is wrong with a kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kernel {kernel}: {problem}")]
pub struct KernelError {
    /// Its name.
    pub kernel: String,
    /// What is wrong.
    pub problem: String,
}

impl Kernel {
    /// Checks that the program refers to nothing that is not there, and that its loops nest.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), KernelError> {
        let fail = |problem: String| Err(KernelError { kernel: self.name.clone(), problem });
        if self.roles.is_empty() || self.roles.len() > MAX_ROLES {
            return fail(format!("has {} roles; 1 to {MAX_ROLES} are possible", self.roles.len()));
        }
        if self.barriers.len() > MAX_BARRIERS {
            return fail(format!("has {} barriers; at most {MAX_BARRIERS} are possible", self.barriers.len()));
        }
        if self.grid == 0 || self.grid as usize > self.items.len() {
            return fail(format!("launches {} CTAs for {} work items", self.grid, self.items.len()));
        }
        if self.threads == 0 || self.threads > 1024 {
            return fail(format!("has {} threads a CTA; 1 to 1024 are possible", self.threads));
        }
        if let Some(b) = self.barriers.iter().find(|b| b.arrivals == 0 || b.credits > MAX_CREDITS) {
            return fail(format!("has a barrier of {} arrivals and {} credits", b.arrivals, b.credits));
        }
        for role in &self.roles {
            if role.warps == 0 || role.warps > 32 {
                return fail(format!("has a role of {} warps", role.warps));
            }
            let mut depth = 0;
            for op in &role.ops {
                match *op {
                    Op::Loop(trips) => {
                        depth += 1;
                        if depth > LOOP_DEPTH {
                            return fail(format!("nests more than {LOOP_DEPTH} loops"));
                        }
                        match trips {
                            Trips::Work(var, _) | Trips::Once(var, _) if usize::from(var) >= WORK_VARS => {
                                return fail(format!("a loop runs as number {var} of the work item says"));
                            }
                            Trips::ExceptLast(_) if depth < 2 => {
                                return fail("runs except in the last turns of a loop that is not there".into());
                            }
                            _ => {}
                        }
                    }
                    Op::End => {
                        if depth == 0 {
                            return fail("ends a loop that was not begun".into());
                        }
                        depth -= 1;
                    }
                    Op::Next | Op::NextFree if depth > 0 => return fail("goes to its next item inside a loop".into()),
                    Op::Copy { tile, barrier, multicast, .. } => {
                        let Multicast { ctas, apart } = multicast;
                        let reach = u32::from(ctas) * u32::from(apart);
                        let among = ctas == 1 || (reach > 0 && reach <= self.cluster && self.cluster < 256);
                        if usize::from(barrier) >= self.barriers.len() || !among {
                            return fail(format!(
                                "copies to barrier {barrier} for {ctas} CTAs, {apart} apart, of a cluster of {}",
                                self.cluster
                            ));
                        }
                        self.check_tile(&tile)?;
                    }
                    Op::PeerStore { barrier: b, .. } if usize::from(b) >= self.barriers.len() => {
                        return fail(format!("a peer's bytes arrive at barrier {b} of {}", self.barriers.len()));
                    }
                    Op::Store { tile, .. } | Op::PeerStore { tile, .. } => self.check_tile(&tile)?,
                    Op::Wait(b) | Op::Arrive(b) if usize::from(b) >= self.barriers.len() => {
                        return fail(format!("uses barrier {b} of {}", self.barriers.len()));
                    }
                    Op::MmaWait(n) if n > 3 => return fail(format!("leaves {n} matrix groups under way; at most 3")),
                    _ => {}
                }
            }
            if depth != 0 {
                return fail("begins a loop that does not end".into());
            }
        }
        Ok(())
    }

    fn check_tile(&self, tile: &Tile) -> Result<(), KernelError> {
        if usize::from(tile.tensor) >= self.tensors.len() {
            return Err(KernelError {
                kernel: self.name.clone(),
                problem: format!("uses tensor {} of {}", tile.tensor, self.tensors.len()),
            });
        }
        Ok(())
    }

    /// The sum of all tensors' sizes.
    pub fn footprint_bytes(&self) -> u64 {
        self.tensors.iter().map(Tensor::bytes).sum()
    }
}
