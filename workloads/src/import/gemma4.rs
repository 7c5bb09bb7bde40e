//! Gemma 4's language model: windows and full attention of different heads, experts beside a dense layer.

use banksia_input::InputError;
use serde_json::json;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Branch, FeedForwardSpec, Mixer, Model, Norm, QkNorm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["gemma4_text"],
    architectures: &["Gemma4ForCausalLM"],
    read,
    graph: "windows and full attention with heads of their own, keys that are values, sandwich norms; experts beside a dense layer; last layers with an earlier cache",
    refuses: "embeddings of each layer (`hidden_size_per_layer_input`), attention to both sides",
};

const SIZES: Defaults = Defaults {
    width: 2304,
    layers: 30,
    heads: 8,
    kv_heads: 4,
    head_dim: 256,
    inner: 9216,
    vocab: 262_144,
    positions: 131_072,
};
const NORM: Norm = Norm::RmsNorm;

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let own = reader.count("hidden_size_per_layer_input")?.unwrap_or(256);
    reader.refuse_unless("hidden_size_per_layer_input", own == 0, "gives each layer an embedding of its own")?;
    reader.get("vocab_size_per_layer_input");
    reader.only("use_bidirectional_attention", &[json!("vision"), json!(false)], "lets tokens see those after them")?;
    let sizes = Sizes::read(reader, &SIZES)?;
    let activation = reader.activation("hidden_activation", ActivationKind::Gelu)?;
    let shared_caches = reader.count("num_kv_shared_layers")?.unwrap_or(0);
    let own_caches = u64::from(sizes.layers).saturating_sub(shared_caches);
    let wide = reader.flag("use_double_wide_mlp", false)?;
    let experts = experts(reader, &sizes, activation)?;
    let (full, sliding) = attentions(reader, &sizes)?;
    let window = reader.count("sliding_window")?.unwrap_or(512);
    let last = sizes.layers.saturating_sub(1);
    let rule = |i: u32| !(i + 1).is_multiple_of(6) && i != last;
    let mut windows = Windows::read(reader, sizes.layers, window, sizes.positions, rule)?;
    // The library makes the last layer one of full attention.
    if let Some(last) = windows.sliding.last_mut() {
        *last = false;
    }
    let layers = (0u64..).zip(&windows.sliding).map(|(i, windowed)| {
        let shares = i >= own_caches;
        let (kind, mut attention) = if *windowed { ("sliding", sliding.clone()) } else { ("full", full.clone()) };
        attention.window = if *windowed { windows.window } else { 0 };
        attention.shares_cache = shares;
        let inner = if shares && wide { sizes.inner.saturating_mul(2) } else { sizes.inner };
        let dense = FeedForwardSpec { inner, ..sizes.gated(activation) };
        (kind, vec![Stage::sandwich(NORM, Mixer::Attention(attention)), feed_forward(dense, experts.as_ref())])
    });
    let (blocks, pattern) = stack(layers);
    let mut model = sizes.decoder(reader, NORM, true)?;
    model.head.soft_cap = reader.number("final_logit_softcapping")?.is_some_and(|cap| cap > 0.0);
    Ok(Model { pattern, blocks, ..model })
}

fn experts(reader: &Reader<'_>, sizes: &Sizes, activation: ActivationKind) -> Result<Option<Branch>, InputError> {
    let keys = ["num_experts", "top_k_experts", "moe_intermediate_size"];
    if !reader.flag("enable_moe_block", false)? {
        // Without the switch they are nobody's.
        moe::mark(reader, &keys);
        return Ok(None);
    }
    let [experts, top_k, inner] = keys;
    let experts = reader.size("experts", &[experts])?;
    let spec = moe::gated(experts, reader.size("top_k", &[top_k])?, reader.size("expert_inner", &[inner])?, activation);
    Ok(Some(Branch {
        norm: Some(NORM),
        out_norm: Some(NORM),
        // The router's scales of its input and of experts.
        other_parameters: sizes.width.saturating_add(experts),
        ..Branch::plain(Mixer::Experts(spec))
    }))
}

/// `x + norm(norm(dense(norm(x))) + norm(experts(norm(x))))`, or the usual sandwich.
fn feed_forward(dense: FeedForwardSpec, experts: Option<&Branch>) -> Stage {
    let Some(experts) = experts else { return Stage::sandwich(NORM, Mixer::FeedForward(dense)) };
    let dense = Branch { norm: Some(NORM), out_norm: Some(NORM), ..Branch::plain(Mixer::FeedForward(dense)) };
    Stage {
        norm: None,
        branches: vec![dense, experts.clone()],
        sum_norm: Some(NORM),
        post_norm: None,
        no_residual: false,
    }
}

/// Full attention, and that of windows.
fn attentions(reader: &Reader<'_>, sizes: &Sizes) -> Result<(AttentionSpec, AttentionSpec), InputError> {
    let bias = reader.flag("attention_bias", false)?;
    let sliding = AttentionSpec {
        qk_norm: Some(QkNorm { norm: NORM, whole: false, per_head_gain: false }),
        qkv_bias: bias,
        out_bias: bias,
        ..sizes.attention()
    };
    let head_dim = reader.size_or("head_dim", &["global_head_dim"], 512)?;
    let values_are_keys = reader.flag("attention_k_eq_v", false)?;
    let global = reader.maybe_size("kv_heads", &["num_global_key_value_heads"])?;
    // The number holds only where values are keys.
    let kv_heads = global.filter(|_| values_are_keys).unwrap_or(sizes.kv_heads);
    let share = reader.share("rope_parameters.full_attention.partial_rotary_factor")?.unwrap_or(0.25);
    let rotated = (head_dim as f64 * share) as u64;
    let full =
        AttentionSpec { kv_heads, head_dim, rotary_dim: rotated - rotated % 2, values_are_keys, ..sliding.clone() };
    Ok((full, sliding))
}
