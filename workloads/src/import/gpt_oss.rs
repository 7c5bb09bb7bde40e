//! gpt-oss: attention sinks, windows in every other layer, biases everywhere, experts in MXFP4.

use banksia_input::InputError;

use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, Mixer, Model, Norm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["gpt_oss"],
    architectures: &["GptOssForCausalLM"],
    read,
    graph: "attention sinks, windows in every other layer, biases; every layer a mixture",
    refuses: "partial rotary",
};

const SIZES: Defaults = Defaults {
    width: 2880,
    layers: 36,
    heads: 64,
    kv_heads: 8,
    head_dim: 64,
    inner: 2880,
    vocab: 201_088,
    positions: 131_072,
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &SIZES)?;
    moe::ignore(reader);
    reader.rotates_all()?;
    reader.get("initial_context_length");
    let experts = ExpertsSpec {
        bias: true,
        router_bias: true,
        ..moe::gated(
            reader.size_or("experts", &["num_local_experts", "num_experts"], 128)?,
            reader.size_or("top_k", &["num_experts_per_tok", "experts_per_token"], 4)?,
            sizes.inner,
            reader.activation("hidden_act", ActivationKind::Silu)?,
        )
    };
    let bias = reader.flag("attention_bias", true)?;
    let window = match reader.count("sliding_window")? {
        Some(window) => window,
        None if reader.get("sliding_window").is_some() => 0,
        None => 128,
    };
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, |i| i % 2 == 0)?;
    windows.fill(sizes.decoder(reader, Norm::RmsNorm, false)?, |window, _| {
        let attention = AttentionSpec { window, sinks: true, qkv_bias: bias, out_bias: bias, ..sizes.attention() };
        Ok(moe::layer(Norm::RmsNorm, attention, Mixer::Experts(experts.clone())))
    })
}
