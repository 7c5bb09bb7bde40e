//! What decoders before LLaMA share: layer norms, biases, a feed-forward layer of two products.

use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, FeedForwardSpec, Mixer, Norm, Stage};

/// Multi-head attention without positions, with or without biases.
pub(super) fn attention(heads: u64, head_dim: u64, bias: bool) -> AttentionSpec {
    AttentionSpec { qkv_bias: bias, out_bias: bias, ..AttentionSpec::new(heads, heads, head_dim) }
}

/// A feed-forward layer of two products.
pub(super) fn ffn(inner: u64, activation: ActivationKind, bias: bool) -> FeedForwardSpec {
    FeedForwardSpec { inner, activation, gated: false, bias }
}

/// Norms before, as GPT-2.
pub(super) fn pre(norm: Norm, attention: AttentionSpec, ffn: FeedForwardSpec) -> Vec<Stage> {
    vec![Stage::pre(norm, Mixer::Attention(attention)), Stage::pre(norm, Mixer::FeedForward(ffn))]
}

/// Norms after the sums, as the first transformers.
pub(super) fn post(norm: Norm, attention: AttentionSpec, ffn: FeedForwardSpec) -> Vec<Stage> {
    vec![Stage::post(norm, Mixer::Attention(attention)), Stage::post(norm, Mixer::FeedForward(ffn))]
}

/// Both under one norm, as GPT-J.
pub(super) fn parallel(norm: Norm, attention: AttentionSpec, ffn: FeedForwardSpec) -> Vec<Stage> {
    vec![Stage::parallel(norm, [Mixer::Attention(attention), Mixer::FeedForward(ffn)])]
}
