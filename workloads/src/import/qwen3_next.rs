//! Qwen3-Next and Qwen3.5: gated delta rule, every fourth layer gated attention, experts beside a gated shared one or a dense layer.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe::{self, mark};
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use super::{hybrid, qwen_moe};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, LinearAttentionSpec, LinearRule, Mixer, Model, Norm, QkNorm, Stage};

/// Qwen3-Next.
pub(super) const QWEN3_NEXT: Family = Family {
    model_types: &["qwen3_next"],
    architectures: &["Qwen3NextForCausalLM"],
    read: |reader| read(reader, &NEXT_SIZES, Some([512, 10, 512])),
    graph: "gated delta rule, gated attention every fourth layer with a quarter of each head rotated; experts beside a gated shared one",
    refuses: "",
};

/// The language model of Qwen3.5.
pub(super) const QWEN3_5: Family = Family {
    model_types: &["qwen3_5_text"],
    architectures: &["Qwen3_5ForCausalLM"],
    read: |reader| read(reader, &DENSE_SIZES, None),
    graph: "Qwen3-Next's with a dense layer",
    refuses: "",
};

/// The language model of Qwen3.5's mixtures.
pub(super) const QWEN3_5_MOE: Family = Family {
    model_types: &["qwen3_5_moe_text"],
    architectures: &["Qwen3_5MoeForCausalLM"],
    read: |reader| read(reader, &MOE_SIZES, Some([256, 8, 512])),
    graph: "Qwen3-Next's",
    refuses: "",
};

const NEXT_SIZES: Defaults = Defaults {
    width: 2048,
    layers: 48,
    heads: 16,
    kv_heads: 2,
    head_dim: 256,
    inner: 5632,
    vocab: 151_936,
    positions: 32768,
};
const DENSE_SIZES: Defaults =
    Defaults { width: 4096, layers: 32, kv_heads: 4, inner: 12288, vocab: 248_320, ..NEXT_SIZES };
const MOE_SIZES: Defaults = Defaults { layers: 40, vocab: 248_320, ..NEXT_SIZES };

/// Layers that predict further tokens, the type of states, which is the library's, and what these models leave unused.
const HARMLESS: [&str; 4] =
    ["mtp_use_dedicated_embeddings", "mamba_ssm_dtype", "num_nextn_predict_layers", "output_gate_type"];

fn read(reader: &Reader<'_>, defaults: &Defaults, experts: Option<[u64; 3]>) -> Result<Model, InputError> {
    moe::ignore(reader);
    mark(reader, &HARMLESS);
    let sizes = match experts {
        None => Sizes::read(reader, defaults)?,
        Some(_) => Sizes::read_without_inner(reader, defaults)?,
    };
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let dense = Mixer::FeedForward(sizes.gated(activation));
    let experts = match experts {
        None => None,
        Some(defaults) => {
            let shared = reader.count("shared_expert_intermediate_size")?.unwrap_or(512);
            let spec = qwen_moe::experts(reader, defaults)?;
            Some(Mixer::Experts(ExpertsSpec { shared_inner: shared, shared_gate: shared > 0, ..spec }))
        }
    };
    let sparse = qwen_moe::sparse(reader, sizes.layers)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = Mixer::Attention(AttentionSpec {
        rotary_dim: reader.rotary_dim(sizes.head_dim, 0.25)?,
        output_gate: reader.flag("attn_output_gate", true)?,
        qk_norm: Some(QkNorm { norm: Norm::RmsNorm, whole: false, per_head_gain: false }),
        qkv_bias: bias,
        out_bias: bias,
        ..sizes.attention()
    });
    let linear = Mixer::LinearAttention(linear(reader)?);
    let attends = attends(reader, sizes.layers)?;
    let (blocks, pattern) = stack(attends.into_iter().zip(sparse).map(|(attends, sparse)| {
        let first = if attends { &attention } else { &linear };
        let second = experts.as_ref().filter(|_| sparse).unwrap_or(&dense);
        let kind = if attends { "attention" } else { "delta" };
        (kind, vec![Stage::pre(Norm::RmsNorm, first.clone()), Stage::pre(Norm::RmsNorm, second.clone())])
    }));
    let mut model = sizes.decoder(reader, Norm::RmsNorm, false)?;
    model.head.extra_prediction_layers = reader.count("mtp_num_hidden_layers")?.unwrap_or(0);
    Ok(Model { pattern, blocks, ..model })
}

fn linear(reader: &Reader<'_>) -> Result<LinearAttentionSpec, InputError> {
    Ok(LinearAttentionSpec {
        rule: LinearRule::GatedDelta,
        key_heads: reader.size_or("key_heads", &["linear_num_key_heads"], 16)?,
        value_heads: reader.size_or("value_heads", &["linear_num_value_heads"], 32)?,
        key_dim: reader.size_or("key_dim", &["linear_key_head_dim"], 128)?,
        value_dim: reader.size_or("value_dim", &["linear_value_head_dim"], 128)?,
        conv_kernel: reader.size_or("conv_kernel", &["linear_conv_kernel_dim"], 4)?,
        output_gate: true,
        gate_rank: 0,
        rotary: false,
    })
}

/// Whether each layer attends.
fn attends(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let interval = reader.count("full_attention_interval")?.unwrap_or(4).max(1);
    let Some(kinds) = reader.texts("layer_types")? else {
        return Ok((0..u64::from(layers)).map(|i| (i + 1).is_multiple_of(interval)).collect());
    };
    reader.one_a_layer("layer_types", kinds.len(), layers)?;
    hybrid::attends(reader, "layer_types", &kinds)
}
