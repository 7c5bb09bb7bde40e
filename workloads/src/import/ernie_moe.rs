//! ERNIE 4.5's mixtures: dense layers first, then experts beside shared ones.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Branch, ExpertsSpec, FeedForwardSpec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["ernie4_5_moe"],
    architectures: &["Ernie4_5_MoeForCausalLM", "Ernie4_5_MoEForCausalLM"],
    read,
    graph: "grouped queries, rotary; dense layers first, then experts beside shared ones",
    refuses: "biases (`use_bias`)",
};

const SIZES: Defaults = Defaults {
    width: 2560,
    layers: 28,
    heads: 20,
    kv_heads: 4,
    head_dim: 0,
    inner: 12288,
    vocab: 103_424,
    positions: 131_072,
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &SIZES)?;
    let bias = reader.flag("use_bias", false)?;
    reader.refuse_unless("use_bias", !bias, "adds biases to shared experts")?;
    // How the router of training was balanced.
    moe::mark(reader, &["moe_capacity", "moe_gate", "moe_use_aux_free"]);
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let inner = reader.size_or("expert_inner", &["moe_intermediate_size"], 1536)?;
    let shared = reader.count("moe_num_shared_experts")?.unwrap_or(2);
    let experts = reader.size_or("experts", &["moe_num_experts", "num_experts"], 64)?;
    let spec = ExpertsSpec {
        shared_inner: inner.saturating_mul(shared),
        ..moe::gated(experts, reader.size_or("top_k", &["moe_k", "num_experts_per_tok"], 6)?, inner, activation)
    };
    let sparse = Stage {
        norm: Some(Norm::RmsNorm),
        // The bias that corrects the choice.
        branches: vec![Branch { other_parameters: experts, ..Branch::plain(Mixer::Experts(spec)) }],
        post_norm: None,
        no_residual: false,
        sum_norm: None,
    };
    let ffn: FeedForwardSpec = sizes.gated(activation);
    let dense = Stage::pre(Norm::RmsNorm, Mixer::FeedForward(ffn));
    let attention: AttentionSpec = sizes.attention();
    let attention = Stage::pre(Norm::RmsNorm, Mixer::Attention(attention));
    let (blocks, pattern) = stack(mixtures(reader, sizes.layers)?.into_iter().map(|mixture| {
        let (kind, second) = if mixture { ("sparse", &sparse) } else { ("dense", &dense) };
        (kind, vec![attention.clone(), second.clone()])
    }));
    let mut model = sizes.decoder(reader, Norm::RmsNorm, true)?;
    model.head.extra_prediction_layers = super::deepseek::further(reader)?;
    Ok(Model { pattern, blocks, ..model })
}

/// Which layers are mixtures.
fn mixtures(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let every = reader.count("moe_layer_interval")?.unwrap_or(1).max(1);
    let start = reader.count("moe_layer_start_index")?.unwrap_or(1);
    let last = u64::from(layers).saturating_sub(1);
    let end = match reader.integer("moe_layer_end_index")? {
        None | Some(-1) => last,
        Some(end) => u64::try_from(end)
            .map_err(|_| reader.error("moe_layer_end_index", format!("is {end}: must be a layer or -1")))?,
    };
    Ok((0..u64::from(layers)).map(|i| (i + 1).is_multiple_of(every) && i >= start && i <= end).collect())
}
