//! MiMo-V2-Flash: windows with sinks and more key heads in most layers, values narrower than keys, experts.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, Mixer, Model, Norm, Router};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["mimo_v2_flash"],
    architectures: &["MiMoV2FlashForCausalLM"],
    read,
    graph: "windows with sinks and heads of their own, values narrower than keys; dense layers first, then experts",
    refuses: "",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 48,
    heads: 64,
    kv_heads: 4,
    head_dim: 192,
    inner: 16384,
    vocab: 152_576,
    positions: 131_072,
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    let sizes = Sizes::read(reader, &SIZES)?;
    // A factor of values; the chunk that a kernel works in; the base of windows' rotation.
    moe::mark(reader, &["attention_value_scale", "attention_chunk_size", "swa_rope_theta"]);
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let inner = reader.size_or("expert_inner", &["moe_intermediate_size"], 2048)?;
    let shared = reader.count("n_shared_experts")?.unwrap_or(0);
    let experts = Mixer::Experts(ExpertsSpec {
        shared_inner: inner.saturating_mul(shared),
        router: moe::router(reader, Router::SigmoidBiased)?,
        ..moe::gated(
            reader.size_or("experts", &["n_routed_experts", "num_local_experts"], 256)?,
            reader.size_or("top_k", &["num_experts_per_tok"], 8)?,
            inner,
            activation,
        )
    });
    let dense = Mixer::FeedForward(sizes.gated(activation));
    let (full, sliding) = (full(reader, &sizes)?, sliding(reader, &sizes)?);
    let sparse = moe::sparse_layers(reader, sizes.layers, 1)?;
    let windows = windows(reader, sizes.layers)?;
    let (blocks, pattern) = stack(windows.into_iter().zip(sparse).map(|(windowed, sparse)| {
        let (kind, attention) = match (windowed, sparse) {
            (true, true) => ("sliding_sparse", &sliding),
            (true, false) => ("sliding_dense", &sliding),
            (false, true) => ("full_sparse", &full),
            (false, false) => ("full_dense", &full),
        };
        let mixer = if sparse { experts.clone() } else { dense.clone() };
        (kind, moe::layer(Norm::RmsNorm, attention.clone(), mixer))
    }));
    Ok(Model { pattern, blocks, ..sizes.decoder(reader, Norm::RmsNorm, false)? })
}

fn full(reader: &Reader<'_>, sizes: &Sizes) -> Result<AttentionSpec, InputError> {
    Ok(AttentionSpec {
        value_dim: reader.size_or("value_dim", &["v_head_dim"], 128)?,
        rotary_dim: rotary(reader, "full_attention", sizes.head_dim)?,
        sinks: reader.flag("add_full_attention_sink_bias", false)?,
        qkv_bias: reader.flag("attention_bias", false)?,
        ..sizes.attention()
    })
}

/// Layers with a window have twice the key heads, where the file does not say how many.
fn sliding(reader: &Reader<'_>, sizes: &Sizes) -> Result<AttentionSpec, InputError> {
    let head_dim = reader.size_or("head_dim", &["swa_head_dim"], sizes.head_dim)?;
    let values = reader.size_or("value_dim", &["v_head_dim"], 128)?;
    // The library's window counts the query, the published one does not.
    let window = match reader.count("sliding_window_size")? {
        Some(window) => window.saturating_add(1),
        None => reader.count("sliding_window")?.unwrap_or(129),
    };
    reader.get("sliding_window");
    Ok(AttentionSpec {
        value_dim: reader.size_or("value_dim", &["swa_v_head_dim"], values)?,
        rotary_dim: rotary(reader, "sliding_attention", head_dim)?,
        window: if window < sizes.positions { window } else { 0 },
        sinks: reader.flag("add_swa_attention_sink_bias", true)?,
        qkv_bias: reader.flag("attention_bias", false)?,
        ..AttentionSpec::new(
            reader.size_or("heads", &["swa_num_attention_heads"], sizes.heads)?,
            reader.size_or("kv_heads", &["swa_num_key_value_heads"], sizes.kv_heads.saturating_mul(2))?,
            head_dim,
        )
    })
}

/// Elements of a head that are rotated: the share may be a kind of layers' own.
fn rotary(reader: &Reader<'_>, kind: &str, head_dim: u64) -> Result<u64, InputError> {
    let own = reader.share(&format!("rope_parameters.{kind}.partial_rotary_factor"))?;
    reader.rotary_dim(head_dim, own.unwrap_or(0.334))
}

/// Whether each layer has a window.
fn windows(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    if let Some(kinds) = reader.texts("layer_types")? {
        reader.one_a_layer("layer_types", kinds.len(), layers)?;
        let known = kinds.iter().all(|kind| matches!(*kind, "full_attention" | "sliding_attention"));
        reader.refuse_unless("layer_types", known, "makes layers of other kinds than attention")?;
        return Ok(kinds.into_iter().map(|kind| kind == "sliding_attention").collect());
    }
    if let Some(pattern) = reader.counts("hybrid_layer_pattern")? {
        reader.one_a_layer("hybrid_layer_pattern", pattern.len(), layers)?;
        return Ok(pattern.into_iter().map(|flag| flag != 0).collect());
    }
    Ok((0..layers).map(|i| i != 0 && (i + 1) % 6 != 0).collect())
}
