//! OLMo and EXAONE 4: norms without parameters, or of what attention and feed-forward layers return.

use banksia_input::InputError;

use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::llama_likes::HEAD_NORM;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Branch, FeedForwardSpec, Mixer, Model, Norm, QkNorm, Stage};

/// The first.
pub(super) const OLMO: Family = Family {
    model_types: &["olmo"],
    architectures: &["OlmoForCausalLM"],
    read: first,
    graph: "LLaMA's with norms without parameters",
    refuses: "",
};
/// The second and third.
pub(super) const OLMO2: Family = Family {
    model_types: &["olmo2", "olmo3"],
    architectures: &["Olmo2ForCausalLM", "Olmo3ForCausalLM"],
    read: second,
    graph: "norms of results, norms of all queries and keys; windows in three of four layers (OLMo 3)",
    refuses: "",
};
/// EXAONE 4.
pub(super) const EXAONE4: Family = Family {
    model_types: &["exaone4"],
    architectures: &["Exaone4ForCausalLM"],
    read: exaone,
    graph: "norms of results, norms of query and key heads, windows in three of four layers, which alone are rotated",
    refuses: "",
};

const SIZES: Defaults = Defaults { vocab: 50304, ..LLAMA_SIZES };
const EXAONE_SIZES: Defaults = Defaults { inner: 16384, vocab: 102_400, ..LLAMA_SIZES };

/// `x + norm(mixer(x))`.
fn after(mixer: Mixer) -> Stage {
    let branch = Branch { out_norm: Some(Norm::RmsNorm), ..Branch::plain(mixer) };
    Stage { norm: None, branches: vec![branch], sum_norm: None, post_norm: None, no_residual: false }
}

fn stages(attention: AttentionSpec, ffn: &FeedForwardSpec) -> Vec<Stage> {
    vec![after(Mixer::Attention(attention)), after(Mixer::FeedForward(ffn.clone()))]
}

fn first(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    // Clamps queries, keys and values.
    reader.number("clip_qkv")?;
    let sizes = Sizes::read(reader, &SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() };
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    sizes.uniform(reader, Norm::LayerNormPlain, false, pre(Norm::LayerNormPlain, attention, ffn))
}

fn second(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let third = reader.text("model_type")? == Some("olmo3");
    let sizes = Sizes::read(reader, &SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        qk_norm: Some(QkNorm { norm: Norm::RmsNorm, whole: true, per_head_gain: false }),
        ..sizes.attention()
    };
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    if !third {
        return sizes.uniform(reader, Norm::RmsNorm, false, stages(attention, &ffn));
    }
    let window = reader.count("sliding_window")?.unwrap_or(4096);
    let rule = |layer: u32| !(layer + 1).is_multiple_of(4);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, rule)?;
    windows.fill(sizes.decoder(reader, Norm::RmsNorm, false)?, |window, _| {
        Ok(stages(AttentionSpec { window, ..attention.clone() }, &ffn))
    })
}

fn exaone(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &EXAONE_SIZES)?;
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let given = reader.count("sliding_window")?;
    let windowed = given.is_some() || reader.get("sliding_window").is_none();
    let window = given.unwrap_or(if windowed { 4096 } else { 0 });
    // A number, or the kinds of a few layers as letters: local or global.
    let pattern = match reader.get("sliding_window_pattern") {
        Some(serde_json::Value::String(letters)) => letters.clone(),
        _ => {
            let period = reader
                .size_or("period", &["sliding_window_pattern"], 4)
                .or_else(|error| if windowed { Err(error) } else { Ok(1) })?;
            format!("{}G", "L".repeat(usize::try_from(period.min(4096)).unwrap_or(1).saturating_sub(1)))
        }
    };
    let local: Vec<bool> = pattern.bytes().map(|letter| letter == b'L').collect();
    let rule = |layer: u32| windowed && local.get(layer as usize % local.len().max(1)) == Some(&true);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, rule)?;
    windows.fill(sizes.decoder(reader, Norm::RmsNorm, false)?, |window, sliding| {
        let mut attention = AttentionSpec { window, qk_norm: HEAD_NORM, ..sizes.attention() };
        if windowed && !sliding {
            attention.rotary_dim = 0;
        }
        Ok(stages(attention, &ffn))
    })
}
