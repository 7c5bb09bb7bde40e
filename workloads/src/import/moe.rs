//! What families of mixtures of experts share.

use banksia_input::InputError;
use serde_json::{Value, json};

use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, Mixer, Norm, Router, Stage};

/// Keys of training, of weights of experts' results, and of where experts lie: they change no operator and no shape.
const HARMLESS: [&str; 22] = [
    "aux_loss_alpha",
    "ep_size",
    "input_jitter_noise",
    "moe_loss_weight",
    "moe_jitter_eps",
    "moe_norm_min",
    "moe_normalize_expert_weights",
    "moe_renormalize",
    "moe_router_scaling_factor",
    "n_group",
    "norm_topk_prob",
    "num_expert_group",
    "output_router_logits",
    "routed_scaling_factor",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "router_z_loss_coef",
    "seq_aux",
    "swiglu_alpha",
    "swiglu_limit",
    "topk_group",
    "topk_method",
];

/// Marks the keys that change no operator of a mixture as read.
pub(super) fn ignore(reader: &Reader<'_>) {
    mark(reader, &HARMLESS);
}

/// Marks keys as read.
pub(super) fn mark(reader: &Reader<'_>, keys: &[&str]) {
    for key in keys {
        reader.get(key);
    }
}

/// Gated experts without biases, all tokens' softmax.
pub(super) const fn gated(experts: u64, top_k: u64, inner: u64, activation: ActivationKind) -> ExpertsSpec {
    ExpertsSpec {
        experts,
        top_k,
        inner,
        shared_inner: 0,
        shared_gate: false,
        activation,
        gated: true,
        bias: false,
        router: Router::Softmax,
        router_bias: false,
        latent_width: 0,
        capacity_percent: 0,
    }
}

/// How the router scores, of a file with `scoring_func`.
pub(super) fn router(reader: &Reader<'_>, default: Router) -> Result<Router, InputError> {
    match reader.text("scoring_func")? {
        None => Ok(default),
        Some("softmax") => Ok(Router::Softmax),
        Some("sigmoid") => Ok(Router::SigmoidBiased),
        Some(other) => {
            let error = reader.error("scoring_func", format!("is `{other}`, which the operator graph cannot express"));
            Err(error.help("known: softmax, sigmoid"))
        }
    }
}

/// `x + attention(norm(x))`, then `x + mixer(norm(x))`.
pub(super) fn layer(norm: Norm, attention: AttentionSpec, mixer: Mixer) -> Vec<Stage> {
    vec![Stage::pre(norm, Mixer::Attention(attention)), Stage::pre(norm, mixer)]
}

/// Which layers are mixtures, where a file lists it by layer, or else says how many dense ones come first.
pub(super) fn sparse_layers(reader: &Reader<'_>, layers: u32, first_dense: u64) -> Result<Vec<bool>, InputError> {
    let first_dense = reader.count("first_k_dense_replace")?.unwrap_or(first_dense);
    let every = match reader.get("moe_layer_freq") {
        Some(Value::Array(_)) => 1,
        _ => reader.count("moe_layer_freq")?.unwrap_or(1).max(1),
    };
    if let Some(kinds) = reader.texts("mlp_layer_types")? {
        reader.one_a_layer("mlp_layer_types", kinds.len(), layers)?;
        return kinds
            .into_iter()
            .map(|kind| match kind {
                "dense" => Ok(false),
                "sparse" => Ok(true),
                other => {
                    let error = reader.error("mlp_layer_types", format!("has `{other}`, which is not known"));
                    Err(error.help("known: dense, sparse"))
                }
            })
            .collect();
    }
    if let Some(Value::Array(list)) = reader.get("moe_layer_freq") {
        reader.one_a_layer("moe_layer_freq", list.len(), layers)?;
        let is = |value: &Value| match value {
            Value::Bool(sparse) => Some(*sparse),
            other if *other == json!(0) => Some(false),
            other if *other == json!(1) => Some(true),
            _ => None,
        };
        let list: Option<Vec<bool>> = list.iter().map(is).collect();
        return list.ok_or_else(|| reader.error("moe_layer_freq", "is a list of other things than 0 and 1"));
    }
    Ok((0..u64::from(layers)).map(|i| i >= first_dense && i.is_multiple_of(every)).collect())
}
