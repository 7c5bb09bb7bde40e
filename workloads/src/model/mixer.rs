//! What a layer is made of: operators that mix tokens or channels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attention::{AttentionSpec, LatentSpec};
use super::experts::ExpertsSpec;
use super::state::{DiagonalSpec, LinearAttentionSpec, Mamba1Spec, Mamba2Spec, RwkvSpec, ShortConvolutionSpec};
use crate::activation::ActivationKind;

/// A feed-forward layer: `width -> inner -> width`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedForwardSpec {
    /// Elements of the inner state.
    pub inner: u64,
    /// Its non-linearity.
    #[serde(default = "silu")]
    pub activation: ActivationKind,
    /// The activated gate projection is multiplied with the up projection (SwiGLU, GeGLU).
    #[serde(default)]
    pub gated: bool,
    /// Its products add biases.
    #[serde(default)]
    pub bias: bool,
}

fn silu() -> ActivationKind {
    ActivationKind::Silu
}

/// An operator of a layer, from a hidden state `[tokens, width]` to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Mixer {
    /// Softmax attention with any number of key heads: MHA, GQA, MQA; over a window, over an encoder.
    Attention(AttentionSpec),
    /// Multi-head latent attention.
    LatentAttention(LatentSpec),
    /// A feed-forward layer.
    FeedForward(FeedForwardSpec),
    /// A mixture of experts.
    Experts(ExpertsSpec),
    /// Selective state space with a diagonal state a channel.
    Mamba(Mamba1Spec),
    /// State-space duality.
    Mamba2(Mamba2Spec),
    /// Linear attention of any kind: gated, retention, delta rules.
    LinearAttention(LinearAttentionSpec),
    /// Time mixing of RWKV.
    Rwkv(RwkvSpec),
    /// A gated diagonal recurrence: RG-LRU.
    Diagonal(DiagonalSpec),
    /// A gated short convolution.
    ShortConvolution(ShortConvolutionSpec),
}

impl Mixer {
    /// What it is in words: begins the names of its operators.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Attention(a) if a.cross => "cross_attention",
            Self::Attention(_) | Self::LatentAttention(_) => "attention",
            Self::FeedForward(_) => "ffn",
            Self::Experts(_) => "moe",
            Self::Mamba(_) => "mamba",
            Self::Mamba2(_) => "mamba2",
            Self::LinearAttention(_) => "linear_attention",
            Self::Rwkv(_) => "time_mix",
            Self::Diagonal(_) => "recurrent",
            Self::ShortConvolution(_) => "short_conv",
        }
    }
}
