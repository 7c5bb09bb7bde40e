//! Cohere's Command R: attention and feed-forward side by side under one norm without shift.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, FeedForwardSpec, Mixer, Model, Norm, QkNorm, Stage};

/// Command R and R+.
pub(super) const COHERE: Family = Family {
    model_types: &["cohere"],
    architectures: &["CohereForCausalLM"],
    read: first,
    graph: "parallel attention and feed-forward under one norm without shift, norms of single heads, tied head",
    refuses: "",
};
/// Command R7B and A.
pub(super) const COHERE2: Family = Family {
    model_types: &["cohere2"],
    architectures: &["Cohere2ForCausalLM"],
    read: second,
    graph: "Command R's with windows in three of four layers, which alone are rotated",
    refuses: "`use_gated_activation` = false, `use_parallel_block` = false",
};

const SIZES: Defaults =
    Defaults { width: 8192, layers: 40, heads: 64, inner: 22528, vocab: 256_000, positions: 8192, ..LLAMA_SIZES };

fn stages(attention: AttentionSpec, ffn: &FeedForwardSpec) -> Vec<Stage> {
    let mixers = [Mixer::Attention(attention), Mixer::FeedForward(ffn.clone())];
    vec![Stage::parallel(Norm::LayerNormNoShift, mixers)]
}

fn first(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    reader.number("logit_scale")?;
    let sizes = Sizes::read(reader, &SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let norm = QkNorm { norm: Norm::LayerNormNoShift, whole: false, per_head_gain: true };
    let attention = AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        qk_norm: reader.flag("use_qk_norm", false)?.then_some(norm),
        ..sizes.attention()
    };
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    sizes.uniform(reader, Norm::LayerNormNoShift, true, stages(attention, &ffn))
}

fn second(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    reader.number("logit_scale")?;
    for key in ["use_gated_activation", "use_parallel_block"] {
        reader.only(key, &[json!(true)], "makes another block than the library's Cohere2")?;
    }
    reader.only("position_embedding_type", &[json!("rope_gptj")], "has other positions")?;
    for key in
        ["use_embedding_sharing", "use_parallel_embedding", "order_of_interleaved_layers", "layer_switch", "rotary_pct"]
    {
        // The converter's names for what other keys say.
        reader.get(key);
    }
    let sizes = Sizes::read(reader, &SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let window = reader.count("sliding_window")?.unwrap_or(4096);
    let period = match reader.maybe_size("period", &["sliding_window_pattern", "_sliding_window_pattern"])? {
        Some(period) => period,
        None => reader.size_or("period", &["layer_switch"], 4)?,
    };
    let rule = |layer: u32| !(u64::from(layer) + 1).is_multiple_of(period);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, rule)?;
    windows.fill(sizes.decoder(reader, Norm::LayerNormNoShift, true)?, |window, sliding| {
        let mut attention = AttentionSpec { window, qkv_bias: bias, out_bias: bias, ..sizes.attention() };
        if !sliding {
            attention.rotary_dim = 0;
        }
        Ok(stages(attention, &ffn))
    })
}
