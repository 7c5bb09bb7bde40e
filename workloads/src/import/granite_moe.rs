//! Granite's mixtures, and Granite 4's hybrids of Mamba-2 and attention.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use super::{mamba2_sizes, moe};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, FeedForwardSpec, Mixer, Model, Norm, Stage};

/// Granite's mixtures.
pub(super) const GRANITE_MOE: Family = Family {
    model_types: &["granitemoe", "granitemoeshared"],
    architectures: &["GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"],
    read: moe_only,
    graph: "grouped queries, rotary; every layer a mixture, with or without a shared expert",
    refuses: "partial rotary",
};

/// Granite 4.
pub(super) const GRANITE_HYBRID: Family = Family {
    model_types: &["granitemoehybrid"],
    architectures: &["GraniteMoeHybridForCausalLM"],
    read: hybrid,
    graph: "Mamba-2 and attention by `layer_types`, with or without rotary; experts beside a shared one, or a dense layer",
    refuses: "",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 32,
    heads: 32,
    kv_heads: 0,
    head_dim: 0,
    inner: 11008,
    vocab: 32000,
    positions: 2048,
};

/// Scales of the embedding, of scores, of residuals and of logits, which are constants of operators that are there.
const SCALES: [&str; 4] = ["attention_multiplier", "embedding_multiplier", "logits_scaling", "residual_multiplier"];

fn read(reader: &Reader<'_>, shared: u64) -> Result<(Sizes, ExpertsSpec), InputError> {
    moe::ignore(reader);
    moe::mark(reader, &SCALES);
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &SIZES)?;
    let experts = reader.count("num_local_experts")?.unwrap_or(8);
    reader.rename("experts", "num_local_experts");
    let top_k = if experts == 0 { 0 } else { reader.size_or("top_k", &["num_experts_per_tok"], 2)? };
    reader.get("num_experts_per_tok");
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let shared_inner = reader.count("shared_intermediate_size")?.unwrap_or(shared);
    Ok((sizes, ExpertsSpec { shared_inner, ..moe::gated(experts, top_k, sizes.inner, activation) }))
}

/// The mixture, or a dense layer in the place of one without experts.
fn mixer(reader: &Reader<'_>, experts: ExpertsSpec) -> Result<Mixer, InputError> {
    if experts.experts > 0 {
        return Ok(Mixer::Experts(experts));
    }
    reader.refuse_unless("shared_intermediate_size", experts.shared_inner > 0, "leaves no feed-forward layer")?;
    Ok(Mixer::FeedForward(FeedForwardSpec {
        inner: experts.shared_inner,
        activation: experts.activation,
        gated: true,
        bias: false,
    }))
}

fn moe_only(reader: &Reader<'_>) -> Result<Model, InputError> {
    let (sizes, experts) = read(reader, 0)?;
    let mixer = mixer(reader, experts)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() };
    sizes.uniform(reader, Norm::RmsNorm, false, moe::layer(Norm::RmsNorm, attention, mixer))
}

fn hybrid(reader: &Reader<'_>) -> Result<Model, InputError> {
    let (sizes, experts) = read(reader, 1024)?;
    let mixer = mixer(reader, experts)?;
    let bias = reader.flag("attention_bias", false)?;
    let rotary = match reader.text("position_embedding_type")? {
        Some("rope") => true,
        None | Some("nope") => false,
        Some(other) => {
            let error = reader.error("position_embedding_type", format!("is `{other}`, which is not known"));
            return Err(error.help("known: rope, nope, null"));
        }
    };
    let mut attention = AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() };
    if !rotary {
        attention.rotary_dim = 0;
    }
    let mamba = mamba2_sizes::prefixed(reader, sizes.width, None)?;
    let kinds = kinds(reader, sizes.layers)?;
    let norm = Norm::RmsNorm;
    let (blocks, pattern) = stack(kinds.into_iter().map(|attends| {
        let (kind, first) = if attends {
            ("attention", Mixer::Attention(attention.clone()))
        } else {
            ("mamba2", Mixer::Mamba2(mamba.clone()))
        };
        (kind, vec![Stage::pre(norm, first), Stage::pre(norm, mixer.clone())])
    }));
    Ok(Model { pattern, blocks, ..sizes.decoder(reader, norm, false)? })
}

/// Whether each layer attends; all are Mamba-2 where the file does not say.
fn kinds(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let key = if reader.get("layer_types").is_some() { "layer_types" } else { "layers_block_type" };
    let Some(kinds) = reader.texts(key)? else { return Ok((0..layers).map(|_| false).collect()) };
    reader.one_a_layer(key, kinds.len(), layers)?;
    super::hybrid::attends(reader, key, &kinds)
}
