//! Linear attention: chunks for prompts, recurrences for tokens, and the short convolutions before them.
//!
//! Kernels are those of flash-linear-attention (`fla-org/flash-linear-attention`, Triton) and of what vLLM, SGLang and TensorRT-LLM took over from
//! it. Grids, tiles, stages and layouts are those of the public source; registers, shared memory, instructions of a warp and what it waits for
//! are those of the compiled kernels (`tests/reference/gpu/device_linear.csv`).

mod chunk;
mod compiled;
mod convolution;
mod fused;
mod gates;
mod gradient;
mod kda;
mod output;
mod recurrent;
mod state;
mod wy;

pub use chunk::chunk;
pub use convolution::{Convolution, convolution, convolution_along, convolution_update};
pub use fused::fused_prefill;
pub use gradient::{Gradients, chunk_gradient};
pub use recurrent::recurrent;

use banksia_hw::gpu::program::Op;
use banksia_hw::gpu::spec::GpuSpec;

use crate::gpu::launch::Operand;

/// Tokens of a chunk in all of these kernels.
pub(crate) const CHUNK: u32 = 64;
/// Work items of a launch.
const MOST_ITEMS: u64 = 1 << 22;

/// What a state forgets, and how keys write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Gated linear attention: a gate for each key channel.
    Gla,
    /// Retention: a constant decay a head.
    Retention,
    /// A scalar gate a head (simple GLA; with a constant one, lightning attention).
    SimpleGla,
    /// The delta rule.
    Delta,
    /// The delta rule with a scalar gate a head.
    GatedDelta,
    /// The delta rule with a gate for each key channel (Kimi delta attention).
    Kda,
    /// An elementwise gated recurrence (HGRN, RG-LRU): a state of one number a channel; heads and key size give the channels.
    Hgrn,
}

impl Rule {
    /// Values are corrected by what the state holds before they are written.
    pub fn corrects(self) -> bool {
        matches!(self, Self::Delta | Self::GatedDelta | Self::Kda)
    }

    /// A scalar gate of each head is read.
    pub fn scalar_gate(self) -> bool {
        matches!(self, Self::SimpleGla | Self::GatedDelta)
    }

    /// A gate of each key channel is read.
    pub fn vector_gate(self) -> bool {
        matches!(self, Self::Gla | Self::Kda)
    }
}

/// Whose kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// flash-linear-attention itself, equal lengths.
    Fla,
    /// SGLang's copy: packed sequences, states of fp32 updated in place, queries and keys normalised first.
    Sglang,
    /// vLLM's copy: as SGLang's, but queries and keys come normalised.
    Vllm,
    /// TensorRT-LLM's copy of an older version: products of keys and the triangular solve are two kernels.
    Trtllm,
}

/// A call, of sequences of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearCall {
    /// The rule.
    pub rule: Rule,
    /// Sequences.
    pub batch: u32,
    /// Tokens of each.
    pub tokens: u32,
    /// Heads of queries and keys.
    pub key_heads: u32,
    /// Heads of values, a multiple of those of keys: each has a state of `key_dim` x `value_dim` numbers.
    pub heads: u32,
    /// Elements of a query and of a key.
    pub key_dim: u32,
    /// Elements of a value.
    pub value_dim: u32,
    /// A state is read before the first token, and written after the last.
    pub carries_state: bool,
    /// Bytes of a number of the state where it is read, and where it is written.
    pub state_bytes: (u32, u32),
    /// Tokens that are checked at once (speculation): the state after each is written.
    pub keeps_all_states: bool,
}

impl LinearCall {
    /// With heads of one kind, and a state of fp32 that is carried.
    pub fn new(rule: Rule, batch: u32, tokens: u32, heads: u32, key_dim: u32, value_dim: u32) -> Self {
        Self {
            rule,
            batch,
            tokens,
            key_heads: heads,
            heads,
            key_dim,
            value_dim,
            carries_state: true,
            state_bytes: (4, 4),
            keeps_all_states: false,
        }
    }

    /// Chunks of a sequence.
    pub(crate) fn chunks(&self) -> u32 {
        self.tokens.div_ceil(CHUNK)
    }

    /// Tokens of all sequences.
    pub(crate) fn rows(&self) -> u64 {
        u64::from(self.batch) * u64::from(self.tokens)
    }

    /// Value heads that share a head of keys.
    pub(crate) fn group(&self) -> u32 {
        (self.heads / self.key_heads.max(1)).max(1)
    }

    /// Refuses what the kernels cannot do.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sizes = [self.batch, self.tokens, self.key_heads, self.heads, self.key_dim, self.value_dim];
        if sizes.contains(&0) {
            return Err("linear attention of no sequences, tokens, heads or channels".into());
        }
        if !self.heads.is_multiple_of(self.key_heads) {
            return Err(format!("{} value heads do not share {} key heads evenly", self.heads, self.key_heads));
        }
        if self.key_dim > 1024 || self.value_dim > 1024 {
            return Err(format!("heads of {} x {}: at most 1024 x 1024 are modelled", self.key_dim, self.value_dim));
        }
        // Rows of the states that chunks leave are the largest coordinates.
        let chunks = u64::from(self.batch) * u64::from(self.chunks()) * u64::from(self.heads);
        let rows = chunks.saturating_mul(u64::from(self.key_dim.max(CHUNK)));
        if rows.max(self.rows()) > i32::MAX as u64 {
            return Err(format!("{rows} rows of states: at most {} are modelled", i32::MAX));
        }
        Ok(())
    }
}

/// So many work items, if they are not too many.
pub(crate) fn countable(items: u64) -> Result<(), String> {
    if items <= MOST_ITEMS { Ok(()) } else { Err(format!("{items} CTAs: at most {MOST_ITEMS} are simulated")) }
}

/// The memory of a call's operands. What kernels hand to each other is scratch that begins with `scratch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Queries `[batch, tokens, key_heads, key_dim]`.
    pub q: Operand,
    /// Keys, likewise.
    pub k: Operand,
    /// Values `[batch, tokens, heads, value_dim]`.
    pub v: Operand,
    /// Gates: a number a head, or one a key channel.
    pub gate: Operand,
    /// How strongly keys write: a number a head.
    pub beta: Operand,
    /// States `[batch, heads, key_dim, value_dim]`.
    pub state: Operand,
    /// Results, as the values.
    pub output: Operand,
    /// Before the names of what is handed on.
    pub scratch: String,
}

impl Names {
    /// Operands named after an operator; the state is a layer's own.
    pub fn of(operator: &str) -> Self {
        let shared = |name: &str| Operand::shared(format!("{operator}.{name}"));
        Self {
            q: shared("q"),
            k: shared("k"),
            v: shared("v"),
            gate: shared("gate"),
            beta: shared("beta"),
            state: Operand::own(format!("{operator}.state")),
            output: shared("output"),
            scratch: operator.to_owned(),
        }
    }

    /// What a kernel hands to a later one.
    pub(crate) fn between(&self, name: &str) -> Operand {
        Operand::shared(format!("{}.{name}", self.scratch))
    }
}

/// Before the first copy: misses of constants and of instructions, cycles of a warp (`device_profiles.csv`: FlashAttention's joining kernel, which
/// has no more to do than that).
pub(crate) const SETUP_CYCLES: f64 = 831.6;

/// The same, as an op.
pub(crate) fn setup(spec: &GpuSpec) -> Op {
    Op::Setup(SETUP_CYCLES * 1e3 / spec.sm_clock_mhz)
}
