//! Phi 1 to 2, StableLM, Persimmon, StarCoder 2: layer norms, biases, a share of each head rotated.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Mixer, Model, Norm, QkNorm, Stage};

/// Phi 1, 1.5, 2.
pub(super) const PHI: Family = Family {
    model_types: &["phi"],
    architectures: &["PhiForCausalLM"],
    read: phi,
    graph: "parallel attention and feed-forward under one norm, partial rotary, biases, the head's too",
    refuses: "",
};
/// StableLM.
pub(super) const STABLELM: Family = Family {
    model_types: &["stablelm", "stablelm_epoch"],
    architectures: &["StableLmForCausalLM", "StableLMEpochForCausalLM"],
    read: stablelm,
    graph: "layer norms, partial rotary, SwiGLU, biases on queries, keys and values, norms of heads, parallel blocks",
    refuses: "",
};
/// Persimmon.
pub(super) const PERSIMMON: Family = Family {
    model_types: &["persimmon"],
    architectures: &["PersimmonForCausalLM"],
    read: persimmon,
    graph: "layer norms, partial rotary, an ungated ReLU2 feed-forward layer, norms of query and key heads",
    refuses: "",
};
/// StarCoder 2.
pub(super) const STARCODER2: Family = Family {
    model_types: &["starcoder2"],
    architectures: &["Starcoder2ForCausalLM"],
    read: starcoder2,
    graph: "layer norms, rotary, grouped queries, an ungated GELU feed-forward layer, biases, a window in every layer",
    refuses: "",
};

const PHI_SIZES: Defaults = Defaults { width: 2048, layers: 24, inner: 8192, vocab: 51200, ..LLAMA_SIZES };
const STABLELM_SIZES: Defaults =
    Defaults { width: 2560, inner: 6912, vocab: 50304, kv_heads: 32, positions: 4096, ..LLAMA_SIZES };
const PERSIMMON_SIZES: Defaults =
    Defaults { layers: 36, heads: 64, inner: 16384, vocab: 262_144, positions: 16384, ..LLAMA_SIZES };
const STARCODER2_SIZES: Defaults = Defaults {
    width: 3072,
    layers: 30,
    heads: 24,
    kv_heads: 2,
    head_dim: 0,
    inner: 12288,
    vocab: 49152,
    positions: 4096,
};

/// Norms of single heads, with gain and shift.
const SHIFTED: QkNorm = QkNorm { norm: Norm::LayerNorm, whole: false, per_head_gain: false };

fn phi(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &PHI_SIZES)?;
    let attention = AttentionSpec {
        qkv_bias: true,
        out_bias: true,
        rotary_dim: reader.rotary_dim(sizes.head_dim, 0.5)?,
        qk_norm: reader.flag("qk_layernorm", false)?.then_some(SHIFTED),
        ..sizes.attention()
    };
    let ffn = sizes.plain(reader.activation("hidden_act", ActivationKind::Gelu)?, true);
    let stage = Stage::parallel(Norm::LayerNorm, [Mixer::Attention(attention), Mixer::FeedForward(ffn)]);
    let mut model = sizes.uniform(reader, Norm::LayerNorm, false, vec![stage])?;
    model.head.bias = true;
    Ok(model)
}

fn stablelm(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &STABLELM_SIZES)?;
    let heads_norm = QkNorm { norm: Norm::LayerNormNoShift, whole: false, per_head_gain: true };
    let attention = AttentionSpec {
        qkv_bias: reader.flag("use_qkv_bias", false)?,
        rotary_dim: reader.rotary_dim(sizes.head_dim, 0.25)?,
        qk_norm: reader.flag("qk_layernorm", false)?.then_some(heads_norm),
        ..sizes.attention()
    };
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let stages = if reader.flag("use_parallel_residual", false)? {
        vec![Stage::parallel(Norm::LayerNorm, [Mixer::Attention(attention), Mixer::FeedForward(ffn)])]
    } else {
        pre(Norm::LayerNorm, attention, ffn)
    };
    sizes.uniform(reader, Norm::LayerNorm, false, stages)
}

fn persimmon(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &PERSIMMON_SIZES)?;
    let attention = AttentionSpec {
        qkv_bias: true,
        out_bias: true,
        rotary_dim: reader.rotary_dim(sizes.head_dim, 0.5)?,
        qk_norm: reader.flag("qk_layernorm", true)?.then_some(SHIFTED),
        ..sizes.attention()
    };
    let ffn = sizes.plain(reader.activation("hidden_act", ActivationKind::Relu2)?, true);
    sizes.uniform(reader, Norm::LayerNorm, false, pre(Norm::LayerNorm, attention, ffn))
}

fn starcoder2(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    reader.only("norm_type", &[json!("layer_norm")], "has another norm")?;
    reader.only("mlp_type", &[json!("default")], "has another feed-forward layer")?;
    let sizes = Sizes::read(reader, &STARCODER2_SIZES)?;
    let bias = reader.flag("use_bias", true)?;
    let ffn = sizes.plain(reader.activation("hidden_act", ActivationKind::Gelu)?, bias);
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, |_| window > 0)?;
    windows.fill(sizes.decoder(reader, Norm::LayerNorm, true)?, |window, _| {
        let attention = AttentionSpec { window, qkv_bias: bias, out_bias: bias, ..sizes.attention() };
        Ok(pre(Norm::LayerNorm, attention, ffn.clone()))
    })
}
