//! Gemma 1 to 3: heads wider than their share of the model, a GELU gate; windows and norms on both sides from the second on.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::llama_likes::HEAD_NORM;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Mixer, Model, Norm, Stage};

/// The first.
pub(super) const GEMMA: Family = Family {
    model_types: &["gemma"],
    architectures: &["GemmaForCausalLM"],
    read: first,
    graph: "LLaMA's with heads of 256, GeGLU, tied head",
    refuses: "`use_bidirectional_attention`",
};
/// The second.
pub(super) const GEMMA2: Family = Family {
    model_types: &["gemma2"],
    architectures: &["Gemma2ForCausalLM"],
    read: |reader| later(reader, &GEMMA2_SIZES, false),
    graph: "sandwich norms, soft caps of scores and logits, windows in every second layer",
    refuses: "`use_bidirectional_attention`",
};
/// The text part of the third.
pub(super) const GEMMA3: Family = Family {
    model_types: &["gemma3_text"],
    architectures: &["Gemma3ForCausalLM"],
    read: |reader| later(reader, &GEMMA3_SIZES, true),
    graph: "sandwich norms, norms of query and key heads, windows in five of six layers",
    refuses: "`use_bidirectional_attention`",
};

const GEMMA_SIZES: Defaults = Defaults {
    width: 3072,
    layers: 28,
    heads: 16,
    kv_heads: 16,
    head_dim: 256,
    inner: 24576,
    vocab: 256_000,
    positions: 8192,
};
const GEMMA2_SIZES: Defaults = Defaults { width: 2304, layers: 26, heads: 8, kv_heads: 4, inner: 9216, ..GEMMA_SIZES };
const GEMMA3_SIZES: Defaults = Defaults { vocab: 262_208, positions: 131_072, ..GEMMA2_SIZES };

fn activation(reader: &Reader<'_>) -> Result<ActivationKind, InputError> {
    let old = reader.activation("hidden_act", ActivationKind::Gelu)?;
    reader.activation("hidden_activation", old)
}

fn causal(reader: &Reader<'_>) -> Result<(), InputError> {
    let what = "makes attention see what follows";
    reader.only("use_bidirectional_attention", &[json!(false)], what)
}

fn first(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    causal(reader)?;
    let sizes = Sizes::read(reader, &GEMMA_SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() };
    let ffn = sizes.gated(activation(reader)?);
    sizes.uniform(reader, Norm::RmsNorm, true, pre(Norm::RmsNorm, attention, ffn))
}

fn later(reader: &Reader<'_>, defaults: &Defaults, third: bool) -> Result<Model, InputError> {
    reader.rotates_all()?;
    causal(reader)?;
    reader.number("query_pre_attn_scalar")?;
    reader.number("rope_local_base_freq")?;
    let sizes = Sizes::read(reader, defaults)?;
    let bias = reader.flag("attention_bias", false)?;
    let ffn = sizes.gated(activation(reader)?);
    // Null is no cap; a file that says nothing has the library's.
    let cap = |key: &str| Ok(reader.number(key)?.is_some() || (!third && reader.get(key).is_none()));
    let (scores, logits) = (cap("attn_logit_softcapping")?, cap("final_logit_softcapping")?);
    let window = reader.count("sliding_window")?.unwrap_or(4096);
    let period =
        reader.size_or("period", &["sliding_window_pattern", "_sliding_window_pattern"], if third { 6 } else { 2 })?;
    let rule = |layer: u32| !(u64::from(layer) + 1).is_multiple_of(period);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, rule)?;
    let mut model = sizes.decoder(reader, Norm::RmsNorm, true)?;
    model.head.soft_cap = logits;
    windows.fill(model, |window, _| {
        let attention = AttentionSpec {
            window,
            soft_cap: scores,
            qk_norm: if third { HEAD_NORM } else { None },
            qkv_bias: bias,
            out_bias: bias,
            ..sizes.attention()
        };
        Ok(vec![
            Stage::sandwich(Norm::RmsNorm, Mixer::Attention(attention)),
            Stage::sandwich(Norm::RmsNorm, Mixer::FeedForward(ffn.clone())),
        ])
    })
}
