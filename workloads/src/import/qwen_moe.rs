//! Qwen's mixtures: Qwen1.5-MoE and Qwen2-MoE with shared experts, Qwen3-MoE with norms of heads.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, Mixer, Model, Norm, QkNorm};

/// Qwen2-MoE.
pub(super) const QWEN2_MOE: Family = Family {
    model_types: &["qwen2_moe"],
    architectures: &["Qwen2MoeForCausalLM"],
    read: qwen2,
    graph: "biases of queries, keys and values; experts and a gated shared expert; dense layers by list or step",
    refuses: "`use_sliding_window` without `layer_types`",
};

/// Qwen3-MoE.
pub(super) const QWEN3_MOE: Family = Family {
    model_types: &["qwen3_moe"],
    architectures: &["Qwen3MoeForCausalLM"],
    read: |reader| qwen3(reader, &QWEN3_SIZES, [128, 8, 768]),
    graph: "norms of heads; experts; dense layers by list or step; sliding window",
    refuses: "a shared expert",
};

/// The language model of Qwen3-VL-MoE.
pub(super) const QWEN3_VL_MOE: Family = Family {
    model_types: &["qwen3_vl_moe_text"],
    architectures: &[],
    read: |reader| qwen3(reader, &QWEN3_VL_SIZES, [60, 4, 1408]),
    graph: "Qwen3-MoE's",
    refuses: "a shared expert",
};

const QWEN2_SIZES: Defaults = Defaults {
    width: 2048,
    layers: 24,
    heads: 16,
    kv_heads: 16,
    head_dim: 0,
    inner: 5632,
    vocab: 151_936,
    positions: 32768,
};
const QWEN3_SIZES: Defaults = Defaults { heads: 32, kv_heads: 4, inner: 6144, ..QWEN2_SIZES };
const QWEN3_VL_SIZES: Defaults = Defaults { positions: 128_000, ..QWEN2_SIZES };

/// Experts, of defaults for their number, those of a token, and their width.
pub(super) fn experts(reader: &Reader<'_>, defaults: [u64; 3]) -> Result<ExpertsSpec, InputError> {
    moe::ignore(reader);
    let [experts, top_k, inner] = defaults;
    let experts = reader.size_or("experts", &["num_experts", "num_local_experts"], experts)?;
    let top_k = reader.size_or("top_k", &["num_experts_per_tok"], top_k)?;
    let inner = reader.size_or("expert_inner", &["moe_intermediate_size"], inner)?;
    Ok(moe::gated(experts, top_k, inner, reader.activation("hidden_act", ActivationKind::Silu)?))
}

/// Which layers are mixtures: those of every so many that no list names.
pub(super) fn sparse(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let dense = reader.counts("mlp_only_layers")?.unwrap_or_default();
    let step = reader.count("decoder_sparse_step")?.unwrap_or(1).max(1);
    Ok((0..u64::from(layers)).map(|i| !dense.contains(&i) && (i + 1).is_multiple_of(step)).collect())
}

fn qwen2(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &QWEN2_SIZES)?;
    let mut experts = experts(reader, [60, 4, 1408])?;
    experts.shared_inner = reader.count("shared_expert_intermediate_size")?.unwrap_or(5632);
    experts.shared_gate = experts.shared_inner > 0;
    let attention = AttentionSpec { qkv_bias: reader.flag("qkv_bias", true)?, ..sizes.attention() };
    let windows = windows(reader, &sizes, false)?;
    layers(reader, &sizes, &attention, &experts, &windows)
}

fn qwen3(reader: &Reader<'_>, defaults: &Defaults, experts_of: [u64; 3]) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, defaults)?;
    let experts = experts(reader, experts_of)?;
    let shared = reader.count("shared_expert_intermediate_size")?.unwrap_or(0);
    reader.refuse_unless("shared_expert_intermediate_size", shared == 0, "adds a shared expert to Qwen3-MoE")?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec {
        qk_norm: Some(QkNorm { norm: Norm::RmsNorm, whole: false, per_head_gain: false }),
        qkv_bias: bias,
        out_bias: bias,
        ..sizes.attention()
    };
    let windows = windows(reader, &sizes, true)?;
    layers(reader, &sizes, &attention, &experts, &windows)
}

/// What each layer sees: 0 for everything.
fn windows(reader: &Reader<'_>, sizes: &Sizes, all: bool) -> Result<Vec<u64>, InputError> {
    reader.rotates_all()?;
    let used = reader.flag("use_sliding_window", false)?;
    let window = reader.count("sliding_window")?.unwrap_or(4096);
    let window = if used && window < sizes.positions { window } else { 0 };
    reader.get("max_window_layers");
    let kinds = reader.texts("layer_types")?;
    if let Some(kinds) = &kinds {
        reader.one_a_layer("layer_types", kinds.len(), sizes.layers)?;
        let known = kinds.iter().all(|kind| matches!(*kind, "full_attention" | "sliding_attention"));
        reader.refuse_unless("layer_types", known, "makes layers of other kinds than attention")?;
        return Ok(kinds.iter().map(|kind| if *kind == "sliding_attention" { window } else { 0 }).collect());
    }
    let clear = all || window == 0;
    reader.refuse_unless(
        "use_sliding_window",
        clear,
        "limits some layers to a window, and versions of the library differ in which",
    )?;
    Ok((0..sizes.layers).map(|_| window).collect())
}

fn layers(
    reader: &Reader<'_>,
    sizes: &Sizes,
    attention: &AttentionSpec,
    experts: &ExpertsSpec,
    windows: &[u64],
) -> Result<Model, InputError> {
    let dense = Mixer::FeedForward(sizes.gated(experts.activation));
    let sparse = sparse(reader, sizes.layers)?;
    let (blocks, pattern) = stack(sparse.into_iter().zip(windows).map(|(sparse, window)| {
        let attention = AttentionSpec { window: *window, ..attention.clone() };
        let (kind, mixer) = if sparse { ("sparse", Mixer::Experts(experts.clone())) } else { ("dense", dense.clone()) };
        (kind, moe::layer(Norm::RmsNorm, attention, mixer))
    }));
    Ok(Model { pattern, blocks, ..sizes.decoder(reader, Norm::RmsNorm, false)? })
}
