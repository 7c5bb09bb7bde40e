//! MiniMax-M2: softmax attention throughout, of which a part of each head is rotated, norms of all queries and keys, experts.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, Mixer, Model, Norm, QkNorm, Router};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["minimax_m2"],
    architectures: &["MiniMaxM2ForCausalLM"],
    read,
    graph: "part of each head rotated, norms of all queries and keys; every layer a mixture, chosen by biased sigmoids",
    refuses: "`sliding_window`, linear layers in `attn_type_list`, a shared expert",
};

const SIZES: Defaults = Defaults {
    width: 3072,
    layers: 62,
    heads: 48,
    kv_heads: 8,
    head_dim: 128,
    inner: 1536,
    vocab: 200_064,
    positions: 196_608,
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    let sizes = Sizes::read(reader, &SIZES)?;
    if let Some(kinds) = reader.counts("attn_type_list")? {
        reader.one_a_layer("attn_type_list", kinds.len(), sizes.layers)?;
        let full = kinds.iter().all(|kind| *kind == 1);
        reader.refuse_unless("attn_type_list", full, "makes layers of other kinds than softmax attention")?;
    }
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let binds = window > 0 && window < sizes.positions;
    reader.refuse_unless("sliding_window", !binds, "limits attention to a window, which MiniMax-M2 does not")?;
    let shared = reader.count("shared_intermediate_size")?.unwrap_or(0);
    reader.refuse_unless("shared_intermediate_size", shared == 0, "adds a shared expert to MiniMax-M2")?;
    reader.only(
        "qk_norm_type",
        &[json!("per_layer")],
        "normalises queries and keys otherwise than all heads at once",
    )?;
    let normed = reader.flag("use_qk_norm", true)?;
    let biased = reader.flag("use_routing_bias", true)?;
    let router = match moe::router(reader, Router::SigmoidBiased)? {
        Router::SigmoidBiased if !biased => Router::Sigmoid,
        other => other,
    };
    let experts = Mixer::Experts(ExpertsSpec {
        router,
        ..moe::gated(
            reader.size_or("experts", &["num_local_experts", "num_experts"], 256)?,
            reader.size_or("top_k", &["num_experts_per_tok"], 8)?,
            sizes.inner,
            reader.activation("hidden_act", ActivationKind::Silu)?,
        )
    });
    let rotary_dim = match reader.maybe_size("rotary_dim", &["rotary_dim"])? {
        Some(rotary) => {
            let share = reader.rotary_dim(sizes.head_dim, rotary as f64 / sizes.head_dim.max(1) as f64)?;
            if share != rotary - rotary % 2 {
                let problem = format!("is {rotary}, but the share of a head that is rotated makes {share}");
                return Err(reader.error("rotary_dim", problem));
            }
            share
        }
        None => reader.rotary_dim(sizes.head_dim, 1.0)?,
    };
    let attention = AttentionSpec {
        rotary_dim,
        qk_norm: normed.then_some(QkNorm { norm: Norm::RmsNorm, whole: true, per_head_gain: false }),
        ..sizes.attention()
    };
    let mut model = sizes.uniform(reader, Norm::RmsNorm, false, moe::layer(Norm::RmsNorm, attention, experts))?;
    // Modules that predict further tokens.
    let modules = reader.count("num_mtp_modules")?.unwrap_or(0);
    let each = reader.count("mtp_transformer_layers")?.unwrap_or(1);
    if reader.flag("use_mtp", modules > 0)? {
        model.head.extra_prediction_layers = modules.saturating_mul(each);
    }
    Ok(model)
}
