//! Bamba and Falcon-H1: Mamba-2 and attention, one after the other or side by side.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::mamba::HARMLESS;
use super::mamba2_sizes::prefixed;
use super::moe::mark;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, FeedForwardSpec, Mamba2Spec, Mixer, Model, Norm, Stage};

/// Bamba.
pub(super) const BAMBA: Family = Family {
    model_types: &["bamba"],
    architectures: &["BambaForCausalLM"],
    read: bamba,
    graph: "Mamba-2, attention in listed layers with half of each head rotated; a dense layer after each",
    refuses: "",
};

/// Falcon-H1.
pub(super) const FALCON_H1: Family = Family {
    model_types: &["falcon_h1"],
    architectures: &["FalconH1ForCausalLM"],
    read: falcon_h1,
    graph: "attention and Mamba-2 side by side in every layer, then a dense layer",
    refuses: "a bias on one of Mamba-2's projections only",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 32,
    heads: 32,
    kv_heads: 8,
    head_dim: 0,
    inner: 14336,
    vocab: 128_000,
    positions: 262_144,
};
const FALCON_SIZES: Defaults = Defaults { positions: 8192, ..SIZES };

/// Falcon-H1's constants of scale.
const SCALES: [&str; 9] = [
    "attention_in_multiplier",
    "attention_out_multiplier",
    "embedding_multiplier",
    "key_multiplier",
    "lm_head_multiplier",
    "mlp_multipliers",
    "ssm_in_multiplier",
    "ssm_multipliers",
    "ssm_out_multiplier",
];

fn parts(reader: &Reader<'_>, sizes: &Sizes) -> Result<(AttentionSpec, FeedForwardSpec), InputError> {
    mark(reader, &HARMLESS);
    reader.get("z_loss_coefficient");
    let bias = reader.flag("attention_bias", false)?;
    let mut ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    ffn.bias = reader.flag("mlp_bias", false)?;
    Ok((AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() }, ffn))
}

fn bamba(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &SIZES)?;
    let (mut attention, ffn) = parts(reader, &sizes)?;
    attention.rotary_dim = reader.rotary_dim(sizes.head_dim, 0.5)?;
    let mamba = prefixed(reader, sizes.width, None)?;
    let attends = attending(reader, sizes.layers)?;
    let (blocks, pattern) = stack(attends.into_iter().map(|attends| {
        let (kind, first) = if attends {
            ("attention", Mixer::Attention(attention.clone()))
        } else {
            ("mamba2", Mixer::Mamba2(mamba.clone()))
        };
        let second = Mixer::FeedForward(ffn.clone());
        (kind, vec![Stage::pre(Norm::RmsNorm, first), Stage::pre(Norm::RmsNorm, second)])
    }));
    Ok(Model { pattern, blocks, ..sizes.decoder(reader, Norm::RmsNorm, false)? })
}

/// Which layers attend: those that one list numbers, or another names.
fn attending(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let listed = reader.counts("attn_layer_indices")?;
    for key in ["layers_block_type", "layer_types"] {
        let Some(kinds) = reader.texts(key)? else { continue };
        reader.one_a_layer(key, kinds.len(), layers)?;
        return super::hybrid::attends(reader, key, &kinds);
    }
    let listed = listed.unwrap_or_default();
    if let Some(beyond) = listed.iter().find(|i| **i >= u64::from(layers)) {
        return Err(reader.error("attn_layer_indices", format!("has {beyond}, but there are {layers} layers")));
    }
    Ok((0..u64::from(layers)).map(|i| listed.contains(&i)).collect())
}

fn falcon_h1(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &FALCON_SIZES)?;
    mark(reader, &SCALES);
    mark(
        reader,
        &["mamba_norm_before_gate", "attn_layer_indices", "mamba_use_mlp", "layer_types", "layers_block_type"],
    );
    let after = reader.flag("mamba_use_mlp", true)?;
    reader.refuse_unless("mamba_use_mlp", after, "leaves out the dense layer")?;
    reader.rotates_all()?;
    let (attention, ffn) = parts(reader, &sizes)?;
    let inner = match reader.count("mamba_d_ssm")? {
        Some(inner) => Some(inner),
        None if reader.get("mamba_d_ssm").is_some() => None,
        None => Some(1024),
    };
    let mamba = prefixed(reader, sizes.width, inner)?;
    let out_bias = reader.flag("projectors_bias", false)?;
    reader.refuse_unless("projectors_bias", out_bias == mamba.bias, "puts a bias on one projection of Mamba-2 only")?;
    let mamba = Mamba2Spec { gated_norm: reader.flag("mamba_rms_norm", false)?, ..mamba };
    let stages = vec![
        Stage::parallel(Norm::RmsNorm, [Mixer::Attention(attention), Mixer::Mamba2(mamba)]),
        Stage::pre(Norm::RmsNorm, Mixer::FeedForward(ffn)),
    ];
    sizes.uniform(reader, Norm::RmsNorm, false, stages)
}
