//! GLM-4.5 and 4.6: grouped queries of which a half is rotated, dense layers first, then experts beside a shared one.

use banksia_input::InputError;

use super::build::stack;
use super::deepseek::further;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, Mixer, Model, Norm, QkNorm, Router};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["glm4_moe"],
    architectures: &["Glm4MoeForCausalLM"],
    read,
    graph: "half of each head rotated, biases of queries, keys and values, norms of heads; dense layers first, then experts beside a shared one",
    refuses: "",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 46,
    heads: 96,
    kv_heads: 8,
    head_dim: 0,
    inner: 10944,
    vocab: 151_552,
    positions: 131_072,
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    let sizes = Sizes::read(reader, &SIZES)?;
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let inner = reader.size_or("expert_inner", &["moe_intermediate_size"], 1408)?;
    let shared = reader.count("n_shared_experts")?.unwrap_or(1);
    let experts = Mixer::Experts(ExpertsSpec {
        shared_inner: inner.saturating_mul(shared),
        router: moe::router(reader, Router::SigmoidBiased)?,
        ..moe::gated(
            reader.size_or("experts", &["n_routed_experts", "num_local_experts"], 128)?,
            reader.size_or("top_k", &["num_experts_per_tok"], 8)?,
            inner,
            activation,
        )
    });
    let normed = reader.flag("use_qk_norm", false)?;
    let attention = AttentionSpec {
        rotary_dim: reader.rotary_dim(sizes.head_dim, 0.5)?,
        qkv_bias: reader.flag("attention_bias", false)?,
        qk_norm: normed.then_some(QkNorm { norm: Norm::RmsNorm, whole: false, per_head_gain: false }),
        ..sizes.attention()
    };
    let dense = Mixer::FeedForward(sizes.gated(activation));
    let sparse = moe::sparse_layers(reader, sizes.layers, 1)?;
    let (blocks, pattern) = stack(sparse.into_iter().map(|sparse| {
        let (kind, mixer) = if sparse { ("sparse", experts.clone()) } else { ("dense", dense.clone()) };
        (kind, moe::layer(Norm::RmsNorm, attention.clone(), mixer))
    }));
    let mut model = sizes.decoder(reader, Norm::RmsNorm, false)?;
    model.head.extra_prediction_layers = further(reader)?;
    Ok(Model { pattern, blocks, ..model })
}
