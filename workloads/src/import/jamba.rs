//! Jamba: Mamba with norms inside, some layers of attention without positions, experts in some layers.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Mamba1Spec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["jamba"],
    architectures: &["JambaForCausalLM"],
    read,
    graph: "Mamba with norms inside, attention without positions every so many layers, experts every so many",
    refuses: "`sliding_window`",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 32,
    heads: 32,
    kv_heads: 8,
    head_dim: 0,
    inner: 14336,
    vocab: 65536,
    positions: 262_144,
};

/// What a library computes with, and how many logits it gives back.
const HARMLESS: [&str; 5] =
    ["use_mamba_kernels", "use_mambapy", "use_associative_scan", "num_logits_to_keep", "calc_logits_for_entire_prompt"];

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    moe::mark(reader, &HARMLESS);
    let sizes = Sizes::read(reader, &SIZES)?;
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let binds = window > 0 && window < sizes.positions;
    reader.refuse_unless("sliding_window", !binds, "limits attention to a window, which Jamba does not")?;
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let attention = Mixer::Attention(AttentionSpec { rotary_dim: 0, ..sizes.attention() });
    let mamba = Mixer::Mamba(mamba(reader, sizes.width)?);
    let experts = reader.size_or("experts", &["num_experts", "num_local_experts"], 16)?;
    let top_k = reader.size_or("top_k", &["num_experts_per_tok"], 2)?;
    let dense = Mixer::FeedForward(sizes.gated(activation));
    let sparse = Mixer::Experts(moe::gated(experts, top_k, sizes.inner, activation));
    let attends = every(reader, "attn_layer_period", "attn_layer_offset", [8, 4])?;
    let mixes = every(reader, "expert_layer_period", "expert_layer_offset", [2, 1])?;
    let (blocks, pattern) = stack((0..u64::from(sizes.layers)).map(|i| {
        let first = if attends(i) { attention.clone() } else { mamba.clone() };
        let second = if mixes(i) && experts > 1 { sparse.clone() } else { dense.clone() };
        let kind = match (attends(i), mixes(i) && experts > 1) {
            (true, true) => "attention_sparse",
            (true, false) => "attention_dense",
            (false, true) => "mamba_sparse",
            (false, false) => "mamba_dense",
        };
        (kind, vec![Stage::pre(Norm::RmsNorm, first), Stage::pre(Norm::RmsNorm, second)])
    }));
    Ok(Model { pattern, blocks, ..sizes.decoder(reader, Norm::RmsNorm, false)? })
}

/// Whether a layer is one of every so many, from an offset.
fn every(
    reader: &Reader<'_>,
    period: &str,
    offset: &str,
    defaults: [u64; 2],
) -> Result<impl Fn(u64) -> bool + use<>, InputError> {
    let [every, from] = defaults;
    let every = reader.count(period)?.unwrap_or(every).max(1);
    let from = reader.count(offset)?.unwrap_or(from);
    reader.refuse_unless(offset, from < every, "is as large as its period")?;
    Ok(move |i: u64| i % every == from)
}

fn mamba(reader: &Reader<'_>, width: u64) -> Result<Mamba1Spec, InputError> {
    let expand = reader.size_or("expand", &["mamba_expand"], 2)?;
    let normed = reader.flag("mamba_inner_layernorms", true)?;
    Ok(Mamba1Spec {
        inner: width.saturating_mul(expand),
        state: reader.size_or("state", &["mamba_d_state"], 16)?,
        conv_kernel: reader.size_or("conv_kernel", &["mamba_d_conv"], 4)?,
        dt_rank: reader.size_or_auto("dt_rank", "mamba_dt_rank", width.div_ceil(16))?,
        bias: reader.flag("mamba_proj_bias", false)?,
        conv_bias: reader.flag("mamba_conv_bias", true)?,
        inner_norms: normed,
        heads: 0,
    })
}
