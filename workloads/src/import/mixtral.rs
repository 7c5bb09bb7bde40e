//! Mixtral, and mixtures that differ from it in norms and biases: Phi-3.5-MoE, OLMoE.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, Mixer, Model, Norm, QkNorm};

/// Mixtral.
pub(super) const MIXTRAL: Family = Family {
    model_types: &["mixtral"],
    architectures: &["MixtralForCausalLM"],
    read: mixtral,
    graph: "grouped queries, rotary; every layer a mixture of gated experts; sliding window",
    refuses: "layers without experts (`moe_frequency`), partial rotary",
};

/// Phi-3.5-MoE.
pub(super) const PHIMOE: Family = Family {
    model_types: &["phimoe"],
    // The second is what its own code is called.
    architectures: &["PhimoeForCausalLM", "PhiMoEForCausalLM"],
    read: phimoe,
    graph: "Mixtral's with layer norms and biases",
    refuses: "partial rotary",
};

/// OLMoE.
pub(super) const OLMOE: Family = Family {
    model_types: &["olmoe"],
    architectures: &["OlmoeForCausalLM"],
    read: olmoe,
    graph: "a mixture in every layer, norms of all queries and keys",
    refuses: "partial rotary",
};

const MIXTRAL_SIZES: Defaults = Defaults {
    width: 4096,
    layers: 32,
    heads: 32,
    kv_heads: 8,
    head_dim: 0,
    inner: 14336,
    vocab: 32000,
    positions: 131_072,
};
const PHIMOE_SIZES: Defaults = Defaults { inner: 6400, vocab: 32064, ..MIXTRAL_SIZES };
const OLMOE_SIZES: Defaults = Defaults {
    width: 2048,
    layers: 16,
    heads: 16,
    kv_heads: 0,
    head_dim: 0,
    inner: 2048,
    vocab: 50304,
    positions: 4096,
};

fn experts(reader: &Reader<'_>, sizes: &Sizes, [experts, top_k]: [u64; 2]) -> Result<ExpertsSpec, InputError> {
    moe::ignore(reader);
    reader.rotates_all()?;
    let experts = reader.size_or("experts", &["num_local_experts", "num_experts"], experts)?;
    let top_k = reader.size_or("top_k", &["num_experts_per_tok"], top_k)?;
    Ok(moe::gated(experts, top_k, sizes.inner, reader.activation("hidden_act", ActivationKind::Silu)?))
}

fn mixtral(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &MIXTRAL_SIZES)?;
    reader.only("moe_frequency", &[json!(1)], "makes some layers dense, which Mixtral's are not")?;
    let experts = experts(reader, &sizes, [8, 2])?;
    windowed(reader, &sizes, Norm::RmsNorm, &sizes.attention(), &experts)
}

fn phimoe(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &PHIMOE_SIZES)?;
    let experts = experts(reader, &sizes, [16, 2])?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() };
    let mut model = windowed(reader, &sizes, Norm::LayerNorm, &attention, &experts)?;
    model.head.bias = reader.flag("lm_head_bias", false)?;
    Ok(model)
}

fn olmoe(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &OLMOE_SIZES)?;
    let experts = experts(reader, &sizes, [64, 8])?;
    // A clamp of what the projections give.
    reader.get("clip_qkv");
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec {
        qk_norm: Some(QkNorm { norm: Norm::RmsNorm, whole: true, per_head_gain: false }),
        qkv_bias: bias,
        out_bias: bias,
        ..sizes.attention()
    };
    let stages = moe::layer(Norm::RmsNorm, attention, Mixer::Experts(experts));
    sizes.uniform(reader, Norm::RmsNorm, false, stages)
}

/// Layers that all see a window, if the file has one.
fn windowed(
    reader: &Reader<'_>,
    sizes: &Sizes,
    norm: Norm,
    attention: &AttentionSpec,
    experts: &ExpertsSpec,
) -> Result<Model, InputError> {
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, |_| true)?;
    windows.fill(sizes.decoder(reader, norm, false)?, |window, _| {
        let attention = AttentionSpec { window, ..attention.clone() };
        Ok(moe::layer(norm, attention, Mixer::Experts(experts.clone())))
    })
}
