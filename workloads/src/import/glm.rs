//! GLM: half of each head is rotated; ChatGLM is the same graph under other names.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Mixer, Model, Norm, Stage};

/// GLM-4 in the library's own names, and its 0414 edition.
pub(super) const GLM: Family = Family {
    model_types: &["glm", "glm4"],
    architectures: &["GlmForCausalLM", "Glm4ForCausalLM"],
    read: glm,
    graph: "LLaMA's with partial rotary and biases on queries, keys and values; sandwich norms (glm4)",
    refuses: "",
};
/// ChatGLM 2 and 3, GLM-4-9B.
pub(super) const CHATGLM: Family = Family {
    model_types: &["chatglm"],
    architectures: &["ChatGLMModel", "ChatGLMForConditionalGeneration"],
    read: chatglm,
    graph: "LLaMA's with partial rotary and biases on queries, keys and values",
    refuses: "the first ChatGLM (`position_encoding_2d`), `apply_residual_connection_post_layernorm`",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 40,
    heads: 32,
    kv_heads: 2,
    head_dim: 128,
    inner: 13696,
    vocab: 151_552,
    positions: 131_072,
};

fn glm(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &SIZES)?;
    let attention = AttentionSpec {
        qkv_bias: reader.flag("attention_bias", true)?,
        rotary_dim: reader.rotary_dim(sizes.head_dim, 0.5)?,
        ..sizes.attention()
    };
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let stages = if reader.text("model_type")? == Some("glm4") {
        vec![
            Stage::sandwich(Norm::RmsNorm, Mixer::Attention(attention)),
            Stage::sandwich(Norm::RmsNorm, Mixer::FeedForward(ffn)),
        ]
    } else {
        pre(Norm::RmsNorm, attention, ffn)
    };
    sizes.uniform(reader, Norm::RmsNorm, false, stages)
}

fn chatglm(reader: &Reader<'_>) -> Result<Model, InputError> {
    let residual = "adds what is normalised already";
    reader.only("apply_residual_connection_post_layernorm", &[json!(false)], residual)?;
    reader.only("prefix_projection", &[json!(false)], "adds a prefix to every layer")?;
    reader.only("pre_seq_len", &[], "adds a prefix to every layer")?;
    reader.only("quantization_bit", &[json!(0)], "quantises weights in a way of its own")?;
    for key in [
        "apply_query_key_layer_scaling",
        "attention_softmax_in_fp32",
        "bias_dropout_fusion",
        "fp32_residual_connection",
        "original_rope",
        "rope_ratio",
        "interleaved_qkv",
    ] {
        // Of precision, of rotation, and of how a library computes.
        reader.get(key);
    }
    let width = reader.size("width", &["hidden_size"])?;
    let heads = reader.size("heads", &["num_attention_heads"])?;
    let grouped = reader.flag("multi_query_attention", false)?;
    let groups = reader.size_or("kv_heads", &["multi_query_group_num"], 1)?;
    let head_dim = match reader.maybe_size("head_dim", &["kv_channels"])? {
        Some(given) => given,
        None => reader.head_dim(width, heads)?,
    };
    let sizes = Sizes {
        width,
        layers: reader.layers(&["num_layers", "num_hidden_layers"], LLAMA_SIZES.layers)?,
        heads,
        kv_heads: if grouped { groups } else { heads },
        head_dim,
        inner: reader.size("inner", &["ffn_hidden_size"])?,
        vocab: reader.size("vocab", &["padded_vocab_size", "vocab_size"])?,
        positions: reader.positions("seq_length")?,
    };
    let bias = reader.flag("add_bias_linear", false)?;
    let attention = AttentionSpec {
        qkv_bias: bias || reader.flag("add_qkv_bias", false)?,
        out_bias: bias,
        // Half of each head, in pairs.
        rotary_dim: head_dim / 4 * 2,
        ..sizes.attention()
    };
    let mut ffn = sizes.gated(ActivationKind::Silu);
    ffn.bias = bias;
    let norm = if reader.flag("rmsnorm", true)? { Norm::RmsNorm } else { Norm::LayerNorm };
    let mut model = sizes.uniform(reader, norm, false, pre(norm, attention, ffn))?;
    if !reader.flag("post_layer_norm", true)? {
        model.head.norm = None;
    }
    model.head.bias = bias;
    Ok(model)
}
