//! LLaMA and Mistral: root-mean-square norms, rotated heads, a gated feed-forward layer, grouped queries.

use banksia_input::InputError;
use serde_json::{Value, json};

use super::family::Family;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Model, Norm};

/// LLaMA, and what is published under its name: Yi, DeepSeek-LLM, Vicuna.
pub(super) const LLAMA: Family = Family {
    model_types: &["llama"],
    // The second is how the first converted checkpoints spell it.
    architectures: &["LlamaForCausalLM", "LLaMAForCausalLM"],
    read: llama,
    graph: "grouped queries, rotary, SwiGLU, RMS norms, biases",
    refuses: "`sliding_window`, `layer_types` with windows, partial rotary, draft heads (EAGLE) behind the same `model_type`",
};

/// Mistral.
pub(super) const MISTRAL: Family = Family {
    model_types: &["mistral"],
    architectures: &["MistralForCausalLM"],
    read: mistral,
    graph: "LLaMA's with a sliding window in every layer",
    refuses: "partial rotary",
};

pub(super) const LLAMA_SIZES: Defaults = Defaults {
    width: 4096,
    layers: 32,
    heads: 32,
    kv_heads: 0,
    head_dim: 0,
    inner: 11008,
    vocab: 32000,
    positions: 2048,
};
pub(super) const MISTRAL_SIZES: Defaults = Defaults { kv_heads: 8, inner: 14336, positions: 131_072, ..LLAMA_SIZES };

fn llama(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &LLAMA_SIZES)?;
    attends_to_all(reader, sizes.positions)?;
    reader.rotates_all()?;
    let bias = reader.flag("attention_bias", false)?;
    let mut ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    ffn.bias = reader.flag("mlp_bias", false)?;
    let attention = AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() };
    sizes.uniform(reader, Norm::RmsNorm, false, pre(Norm::RmsNorm, attention, ffn))
}

fn mistral(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &MISTRAL_SIZES)?;
    reader.rotates_all()?;
    // Its window has no switch; a file that says nothing has the library's.
    let window = match reader.count("sliding_window")? {
        Some(window) => window,
        None if reader.get("sliding_window").is_some() => 0,
        None => 4096,
    };
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, |_| true)?;
    windows.fill(sizes.decoder(reader, Norm::RmsNorm, false)?, |window, _| {
        Ok(pre(Norm::RmsNorm, AttentionSpec { window, ..sizes.attention() }, ffn.clone()))
    })
}

/// No layer may look at a part of the context only.
fn attends_to_all(reader: &Reader<'_>, max_positions: u64) -> Result<(), InputError> {
    let window = reader.count("sliding_window")?;
    let off = !reader.flag("use_sliding_window", true)?;
    let windowed = !off && window.is_some_and(|window| window < max_positions);
    reader.refuse_unless("sliding_window", !windowed, "limits attention to a window, which LLaMA does not")?;
    // The layers that a window would begin or end at.
    reader.get("max_window_layers");
    let full = |kind: &Value| *kind == json!("full_attention");
    let all = match reader.get("layer_types") {
        None | Some(Value::Null) => true,
        Some(Value::Array(kinds)) => kinds.iter().all(full),
        Some(_) => false,
    };
    reader.refuse_unless("layer_types", all, "makes layers of other kinds than full attention")
}
