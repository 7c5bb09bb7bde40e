//! Hunyuan-A13B: norms of heads, every layer a mixture beside a shared expert.

use banksia_input::InputError;
use serde_json::Value;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, Mixer, Model, Norm, QkNorm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["hunyuan_v1_moe"],
    architectures: &["HunYuanMoEV1ForCausalLM"],
    read,
    graph: "norms of heads; every layer a mixture beside a shared expert, with sizes by layer",
    refuses: "caches shared between layers (`use_cla`)",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 32,
    heads: 32,
    kv_heads: 0,
    head_dim: 0,
    inner: 11008,
    vocab: 290_943,
    positions: 2048,
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    reader.rotates_all()?;
    let cla = reader.flag("use_cla", false)?;
    reader.refuse_unless("use_cla", !cla, "lets layers share caches")?;
    // What was decided when it was trained, and what the switches above leave unused.
    let unused = [
        "cla_share_factor",
        "moe_drop_tokens",
        "moe_random_routing_dropped_token",
        "moe_layer_num_skipped",
        "group_limited_greedy",
        "capacity_factor",
        "use_mixed_mlp_moe",
        "norm_type",
        "org_vocab_size",
        "anyres_pooling_size",
    ];
    moe::mark(reader, &unused);
    let skipped = reader.count("moe_layer_num_skipped")?.unwrap_or(0);
    reader.refuse_unless("moe_layer_num_skipped", skipped == 0, "makes the first layers dense")?;
    let sizes = Sizes::read(reader, &SIZES)?;
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let normed = reader.flag("use_qk_norm", true)?;
    let bias = reader.flag("attention_bias", false)?;
    let mlp_bias = reader.flag("mlp_bias", false)?;
    reader.refuse_unless("mlp_bias", !mlp_bias, "adds biases to experts")?;
    reader.get("attention_head_dim");
    let attention = AttentionSpec {
        qk_norm: normed.then_some(QkNorm { norm: Norm::RmsNorm, whole: false, per_head_gain: false }),
        qkv_bias: bias,
        out_bias: bias,
        ..sizes.attention()
    };
    let experts = by_layer(reader, "num_experts", 1, sizes.layers)?;
    let top_k = by_layer(reader, "moe_topk", 1, sizes.layers)?;
    let inner = by_layer(reader, "moe_intermediate_size", sizes.inner, sizes.layers)?;
    let shared = by_layer(reader, "num_shared_expert", 1, sizes.layers)?;
    let (blocks, pattern) = stack((0..).map_while(|i: usize| {
        let inner = *inner.get(i)?;
        let spec = ExpertsSpec {
            shared_inner: sizes.inner.saturating_mul(*shared.get(i)?),
            ..moe::gated(*experts.get(i)?, *top_k.get(i)?, inner, activation)
        };
        Some(("layer", moe::layer(Norm::RmsNorm, attention.clone(), Mixer::Experts(spec))))
    }));
    Ok(Model { pattern, blocks, ..sizes.decoder(reader, Norm::RmsNorm, false)? })
}

/// A number of all layers, or a list with one of each.
fn by_layer(reader: &Reader<'_>, key: &str, default: u64, layers: u32) -> Result<Vec<u64>, InputError> {
    let one = match reader.get(key) {
        Some(Value::Array(_)) => {
            let list = reader.counts(key)?.unwrap_or_default();
            reader.one_a_layer(key, list.len(), layers)?;
            return Ok(list);
        }
        _ => reader.count(key)?.unwrap_or(default),
    };
    Ok((0..layers).map(|_| one).collect())
}
