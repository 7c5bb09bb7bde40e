//! Qwen: LLaMA's graph with biases on queries, keys and values (1, 2, 2.5) or a norm of their heads (3).

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Model, Norm, QkNorm};

/// The first.
pub(super) const QWEN: Family = Family {
    model_types: &["qwen"],
    architectures: &["QWenLMHeadModel"],
    read: first,
    graph: "LLaMA's with biases on queries, keys and values",
    refuses: "`no_bias` = false",
};

/// The second, 1.5 and 2.5 among them; the text parts of Qwen2-VL and Qwen2.5-VL.
pub(super) const QWEN2: Family = Family {
    model_types: &["qwen2", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text"],
    architectures: &["Qwen2ForCausalLM"],
    read: second,
    graph: "LLaMA's with biases on queries, keys and values; windows from `max_window_layers` on or by `layer_types`",
    refuses: "",
};

/// The third, and the text part of Qwen3-VL.
pub(super) const QWEN3: Family = Family {
    model_types: &["qwen3", "qwen3_vl_text", "qwen3_asr_text"],
    architectures: &["Qwen3ForCausalLM"],
    read: third,
    graph: "LLaMA's with a norm of query and key heads; windows as Qwen2's",
    refuses: "",
};

const QWEN2_SIZES: Defaults = Defaults { kv_heads: 32, inner: 22016, vocab: 151_936, positions: 32768, ..LLAMA_SIZES };
const QWEN3_SIZES: Defaults = Defaults { head_dim: 128, ..QWEN2_SIZES };

fn first(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.only("no_bias", &[json!(true)], "puts biases on all products, which no published Qwen has")?;
    reader.only("apply_residual_connection_post_layernorm", &[json!(false)], "adds what is normalised already")?;
    reader.only("pos_emb", &[json!("rotary")], "has other positions")?;
    reader.only("activation", &[json!("swiglu")], "has another feed-forward layer")?;
    for flag in
        ["bf16", "fp16", "fp32", "params_dtype", "onnx_safe", "use_dynamic_ntk", "use_logn_attn", "bias_dropout_fusion"]
    {
        // Of training and of rotation; a logarithm of the position multiplies queries.
        reader.get(flag);
    }
    for flag in ["use_cache_quantization", "use_cache_kernel", "softmax_in_fp32"] {
        reader.only(flag, &[json!(false)], "changes how the cache is kept")?;
    }
    let width = reader.size("width", &["hidden_size", "n_embd"])?;
    let heads = reader.size("heads", &["num_attention_heads", "n_head"])?;
    let head_dim = reader.size_or("head_dim", &["kv_channels"], 128)?;
    // Both halves of the gated layer, of which a file of the first converter gives the one.
    let inner = match reader.maybe_size("inner", &["intermediate_size"])? {
        Some(both) => both / 2,
        None => reader.size("inner", &["ffn_hidden_size"])? / 2,
    };
    reader.get("ffn_hidden_size");
    reader.get("ffn_inter_padding_size");
    reader.get("padded_vocab_size");
    let sizes = Sizes {
        width,
        layers: reader.layers(&["num_hidden_layers", "n_layer"], 32)?,
        heads,
        kv_heads: heads,
        head_dim,
        inner,
        vocab: reader.size("vocab", &["vocab_size"])?,
        positions: match reader.maybe_size("max_positions", &["max_position_embeddings"])? {
            Some(given) => given,
            None => reader.positions_or("n_positions", 8192)?,
        },
    };
    let attention =
        AttentionSpec { qkv_bias: true, rotary_dim: reader.rotary_dim(head_dim, 1.0)?, ..sizes.attention() };
    sizes.uniform(reader, Norm::RmsNorm, false, pre(Norm::RmsNorm, attention, sizes.gated(ActivationKind::Silu)))
}

fn second(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &QWEN2_SIZES)?;
    let attention = AttentionSpec { qkv_bias: true, ..sizes.attention() };
    windowed(reader, &sizes, &attention)
}

fn third(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &QWEN3_SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        qk_norm: Some(QkNorm { norm: Norm::RmsNorm, whole: false, per_head_gain: false }),
        ..sizes.attention()
    };
    windowed(reader, &sizes, &attention)
}

/// Layers from `max_window_layers` on see a window, where it is switched on.
fn windowed(reader: &Reader<'_>, sizes: &Sizes, attention: &AttentionSpec) -> Result<Model, InputError> {
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let first = reader.count("max_window_layers")?.unwrap_or(28);
    let window = if reader.flag("use_sliding_window", false)? { window } else { 0 };
    let rule = |layer: u32| window > 0 && u64::from(layer) >= first;
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, rule)?;
    windows.fill(sizes.decoder(reader, Norm::RmsNorm, false)?, |window, _| {
        Ok(pre(Norm::RmsNorm, AttentionSpec { window, ..attention.clone() }, ffn.clone()))
    })
}
