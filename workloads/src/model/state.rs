//! Recurrent mixers: what a sequence leaves behind is a state of fixed size.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attention::{is_false, is_zero};

/// Mamba (arXiv 2312.00752): a selective state space with a state a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mamba1Spec {
    /// Channels: the inner width.
    pub inner: u64,
    /// Elements of a channel's state.
    pub state: u64,
    /// Taps of the causal convolution.
    pub conv_kernel: u64,
    /// Elements that time steps are projected through.
    pub dt_rank: u64,
    /// The input and output projections add biases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
    /// The convolution adds a bias.
    #[serde(default = "yes")]
    pub conv_bias: bool,
    /// Time steps and the state's input and output vectors are normalised (Jamba).
    #[serde(default, skip_serializing_if = "is_false")]
    pub inner_norms: bool,
    /// Heads that each have parameters of their own for the state's vectors (Zamba); 0 or 1 for one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub heads: u64,
}

/// Mamba-2 (arXiv 2405.21060): state-space duality, a state of `head_dim x state` a head.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mamba2Spec {
    /// Heads.
    pub heads: u64,
    /// Elements of a head.
    pub head_dim: u64,
    /// Elements of the state for each of them.
    pub state: u64,
    /// Groups of heads that share the state's input and output vectors.
    pub groups: u64,
    /// Taps of the causal convolution.
    pub conv_kernel: u64,
    /// Tokens of a chunk in prefill.
    #[serde(default = "chunk")]
    pub chunk: u64,
    /// The projections add biases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
    /// The convolution adds a bias.
    #[serde(default = "yes")]
    pub conv_bias: bool,
    /// The result is normalised after its gate.
    #[serde(default = "yes")]
    pub gated_norm: bool,
}

impl Mamba2Spec {
    /// The inner width.
    pub const fn inner(&self) -> u64 {
        self.heads.saturating_mul(self.head_dim)
    }

    /// Channels of the convolution: the values and the state's input and output vectors.
    pub const fn conv_channels(&self) -> u64 {
        self.inner().saturating_add(self.groups.saturating_mul(self.state).saturating_mul(2))
    }
}

const fn yes() -> bool {
    true
}

const fn chunk() -> u64 {
    256
}

/// How the state of linear attention is updated by a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinearRule {
    /// `S += k v'` (arXiv 2006.16236).
    Plain,
    /// `S = g S + k v'`, g a constant a head (RetNet, arXiv 2307.08621; lightning attention).
    Retention,
    /// The same with g of the token (simple GLA, Mamba-2-like).
    ScalarGate,
    /// `S = diag(g) S + k v'`, g a vector of the token (GLA, arXiv 2312.06635).
    VectorGate,
    /// `S = (I - b k k') S + b k v'` (DeltaNet, arXiv 2406.06484).
    Delta,
    /// The same of a state that decays by a scalar of the token (arXiv 2412.06464; Qwen3-Next).
    GatedDelta,
    /// The same with a vector (Kimi delta attention).
    VectorGatedDelta,
}

/// Linear attention with a state of `key_dim x value_dim` a head.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearAttentionSpec {
    /// How the state is updated.
    pub rule: LinearRule,
    /// Heads of keys and queries.
    pub key_heads: u64,
    /// Heads of values: a multiple of those of keys.
    pub value_heads: u64,
    /// Elements of a key head.
    pub key_dim: u64,
    /// Elements of a value head.
    pub value_dim: u64,
    /// Taps of a causal convolution of queries, keys and values; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub conv_kernel: u64,
    /// The result is multiplied with a gate as wide as the values, after a norm head by head.
    #[serde(default = "yes")]
    pub output_gate: bool,
    /// Elements that the token's decay is projected through; 0 for a projection to one number (or, of a vector, to all) directly.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gate_rank: u64,
    /// Queries and keys are rotated (RetNet).
    #[serde(default, skip_serializing_if = "is_false")]
    pub rotary: bool,
}

/// Time mixing of RWKV.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RwkvSpec {
    /// 4: a decaying average a channel; 5, 6, 7: a state of `head_dim x head_dim` a head.
    pub version: u32,
    /// Channels.
    pub inner: u64,
    /// Elements of a head (versions 5 to 7).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub head_dim: u64,
    /// Elements that token-dependent mixing and decay are projected through (versions 6 and 7).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub low_rank: u64,
    /// Elements of the channel mixing's inner state, if the layer has it here; it is a branch of its own with its own shift.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub channel_mix: u64,
}

/// A gated diagonal recurrence between projections (Griffin's recurrent block, arXiv 2402.19427).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagonalSpec {
    /// Channels of the recurrence.
    pub inner: u64,
    /// Blocks of the block-diagonal gates.
    pub blocks: u64,
    /// Taps of the causal convolution.
    pub conv_kernel: u64,
    /// The projections add biases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
}

/// A gated short convolution (LFM2): `B * x`, a causal convolution, `C *`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShortConvolutionSpec {
    /// Channels.
    pub inner: u64,
    /// Taps.
    pub conv_kernel: u64,
    /// The projections and the convolution add biases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
}
