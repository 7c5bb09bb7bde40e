//! Llama 4's language model: chunked attention with rotary positions and full attention without, experts beside a shared one.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, ExpertsSpec, FeedForwardSpec, Mixer, Model, Norm, QkNorm, Router};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["llama4_text"],
    architectures: &["Llama4ForCausalLM"],
    read,
    graph: "layers with rotary positions see a chunk, the others everything; experts beside a shared one, in all layers or some",
    refuses: "",
};

const SIZES: Defaults = Defaults {
    width: 5120,
    layers: 48,
    heads: 40,
    kv_heads: 8,
    head_dim: 128,
    inner: 8192,
    vocab: 202_048,
    positions: 131_072,
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &SIZES)?;
    // The temperature of layers without positions: a factor of their queries.
    moe::mark(reader, &["attn_temperature_tuning", "attn_scale", "floor_scale"]);
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let experts = Mixer::Experts(ExpertsSpec {
        shared_inner: sizes.inner,
        router: Router::Sigmoid,
        ..moe::gated(
            reader.size_or("experts", &["num_local_experts"], 16)?,
            reader.size_or("top_k", &["num_experts_per_tok"], 1)?,
            sizes.inner,
            activation,
        )
    });
    let dense = reader.size_or("dense_inner", &["intermediate_size_mlp"], 16384)?;
    let dense = Mixer::FeedForward(FeedForwardSpec { inner: dense, activation, gated: true, bias: false });
    let sparse = sparse(reader, sizes.layers)?;
    let seen = seen(reader, &sizes)?;
    let normed = reader.flag("use_qk_norm", true)?;
    let bias = reader.flag("attention_bias", false)?;
    let (blocks, pattern) = stack(sparse.into_iter().zip(seen).map(|(sparse, (rotary, chunk))| {
        let attention = AttentionSpec {
            rotary_dim: if rotary { sizes.attention().rotary_dim } else { 0 },
            window: chunk,
            chunked: chunk > 0,
            // By their root mean square, without gains: as much to read and to write as the mean and the variance.
            qk_norm: (normed && rotary).then_some(QkNorm {
                norm: Norm::LayerNormPlain,
                whole: false,
                per_head_gain: false,
            }),
            qkv_bias: bias,
            out_bias: bias,
            ..sizes.attention()
        };
        let kind = match (chunk > 0, sparse) {
            (true, true) => "chunked_sparse",
            (true, false) => "chunked_dense",
            (false, true) => "full_sparse",
            (false, false) => "full_dense",
        };
        (kind, moe::layer(Norm::RmsNorm, attention, if sparse { experts.clone() } else { dense.clone() }))
    }));
    Ok(Model { pattern, blocks, ..sizes.decoder(reader, Norm::RmsNorm, false)? })
}

/// Which layers are mixtures.
fn sparse(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let step = reader.count("interleave_moe_layer_step")?.unwrap_or(1).max(1);
    let listed = reader.counts("moe_layers")?;
    Ok((0..u64::from(layers))
        .map(|i| listed.as_ref().map_or((i + 1).is_multiple_of(step), |list| list.contains(&i)))
        .collect())
}

/// Whether each layer rotates, and the chunk that it sees; 0 for everything.
fn seen(reader: &Reader<'_>, sizes: &Sizes) -> Result<Vec<(bool, u64)>, InputError> {
    let interval = reader.count("no_rope_layer_interval")?.unwrap_or(4).max(1);
    let chunk = match reader.count("attention_chunk_size")? {
        Some(chunk) => chunk,
        None if reader.get("attention_chunk_size").is_some() => 0,
        None => 8192,
    };
    let chunk = if chunk < sizes.positions { chunk } else { 0 };
    // The list says 1 of layers that do have positions.
    let rotary = match reader.counts("no_rope_layers")?.filter(|list| !list.is_empty()) {
        Some(list) => {
            reader.one_a_layer("no_rope_layers", list.len(), sizes.layers)?;
            list.into_iter().map(|flag| flag != 0).collect()
        }
        None => (0..u64::from(sizes.layers)).map(|i| !(i + 1).is_multiple_of(interval)).collect::<Vec<_>>(),
    };
    let Some(kinds) = reader.texts("layer_types")? else {
        return Ok(rotary.into_iter().map(|rotary| (rotary, if rotary { chunk } else { 0 })).collect());
    };
    reader.one_a_layer("layer_types", kinds.len(), sizes.layers)?;
    let of = |(rotary, kind)| match kind {
        "full_attention" => Ok((rotary, 0)),
        "chunked_attention" => Ok((rotary, chunk)),
        other => {
            let error = reader.error("layer_types", format!("has `{other}`, which is not known"));
            Err(error.help("known: full_attention, chunked_attention"))
        }
    };
    rotary.into_iter().zip(kinds).map(of).collect()
}
