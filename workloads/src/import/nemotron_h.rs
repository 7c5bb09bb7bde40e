//! Nemotron-H and Nemotron 3: layers of one mixer each, of Mamba-2, attention without positions, a dense layer, or experts.

use banksia_input::InputError;

use super::build::stack;
use super::deepseek::further;
use super::family::Family;
use super::mamba::{HARMLESS, silu};
use super::moe::{self, mark};
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{
    AttentionSpec, Embed, ExpertsSpec, FeedForwardSpec, HeadSpec, Mamba2Spec, Mixer, Model, Norm, Router, Stage,
};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["nemotron_h"],
    architectures: &["NemotronHForCausalLM"],
    read,
    graph: "one mixer a layer by pattern: Mamba-2, attention without positions, a dense layer, or experts, which may work on a narrower state",
    refuses: "`sliding_window`",
};

/// A layer's one mixer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mamba,
    Attention,
    Dense,
    Experts,
}

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    mark(reader, &HARMLESS);
    // What a library computes with; rotation, of which these layers have none; layers that predict further tokens.
    mark(
        reader,
        &[
            "mamba_ssm_cache_dtype",
            "moe_shared_expert_overlap",
            "n_shared_experts",
            "partial_rotary_factor",
            "mtp_layers_block_type",
            "mtp_hybrid_override_pattern",
            "time_step_rank",
            "mamba_dt_min",
            "mamba_dt_max",
            "mamba_dt_limit",
            "mamba_dt_init_floor",
            "expand",
            "mamba_expand",
            "is_hybrid_model",
        ],
    );
    silu(reader, "mamba_hidden_act")?;
    let width = reader.sized("width", &["hidden_size"], 4096)?;
    let vocab = reader.sized("vocab", &["vocab_size"], 131_072)?;
    let positions = reader.positions_or("max_position_embeddings", 4096)?;
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let binds = window > 0 && window < positions;
    reader.refuse_unless("sliding_window", !binds, "limits attention to a window, which Nemotron-H does not")?;
    let kinds = kinds(reader)?;
    if let Some(layers) = reader.count("num_hidden_layers")?
        && layers != kinds.len() as u64
    {
        let problem = format!("is {layers}, but the pattern has {} layers", kinds.len());
        return Err(reader.error("num_hidden_layers", problem));
    }
    let has = |kind| kinds.contains(&kind);
    let activation = reader.activation("mlp_hidden_act", ActivationKind::Relu2)?;
    let bias = reader.flag("mlp_bias", false)?;
    reader.refuse_unless("mlp_bias", !(bias && has(Kind::Experts)), "adds biases to latent and shared experts")?;
    let mamba = Mixer::Mamba2(mamba(reader)?);
    let attention = Mixer::Attention(attention(reader)?);
    let dense = Mixer::FeedForward(FeedForwardSpec {
        inner: reader.size_or("inner", &["intermediate_size"], 21504)?,
        activation,
        gated: false,
        bias,
    });
    let experts = Mixer::Experts(experts(reader, activation)?);
    let (blocks, pattern) = stack(kinds.into_iter().map(|kind| {
        let (name, mixer) = match kind {
            Kind::Mamba => ("mamba2", &mamba),
            Kind::Attention => ("attention", &attention),
            Kind::Dense => ("dense", &dense),
            Kind::Experts => ("sparse", &experts),
        };
        (name, vec![Stage::pre(Norm::RmsNorm, mixer.clone())])
    }));
    let head = HeadSpec {
        tied: reader.flag("tie_word_embeddings", false)?,
        extra_prediction_layers: further(reader)?,
        ..HeadSpec::of(Norm::RmsNorm, vocab)
    };
    Ok(Model { pattern, blocks, ..reader.model(width, positions, Embed::of(vocab), head)? })
}

/// The layers, as letters or as names.
fn kinds(reader: &Reader<'_>) -> Result<Vec<Kind>, InputError> {
    let unknown = |key: &str, what: &str| {
        let error = reader.error(key, format!("has `{what}`, which is not known"));
        error.help("known: mamba (M), attention (*), mlp (-), moe (E)")
    };
    let letters = reader.text("hybrid_override_pattern")?;
    for key in ["layers_block_type", "layer_types"] {
        let Some(names) = reader.texts(key)? else { continue };
        let of = |name: &str| match name {
            "mamba" | "linear_attention" => Ok(Kind::Mamba),
            "attention" | "full_attention" => Ok(Kind::Attention),
            "mlp" => Ok(Kind::Dense),
            "moe" => Ok(Kind::Experts),
            other => Err(unknown(key, other)),
        };
        return names.into_iter().map(of).collect();
    }
    let key = "hybrid_override_pattern";
    let letters = letters.ok_or_else(|| reader.missing(key))?;
    letters
        .chars()
        .map(|letter| match letter {
            'M' => Ok(Kind::Mamba),
            '*' => Ok(Kind::Attention),
            '-' => Ok(Kind::Dense),
            'E' => Ok(Kind::Experts),
            other => Err(unknown(key, &other.to_string())),
        })
        .collect()
}

fn mamba(reader: &Reader<'_>) -> Result<Mamba2Spec, InputError> {
    let bias = reader.flag("use_bias", false)?;
    let projections = reader.flag("mamba_proj_bias", bias)?;
    reader.refuse_unless("mamba_proj_bias", projections == bias, "says otherwise than `use_bias`")?;
    Ok(Mamba2Spec {
        heads: reader.size_or("mamba_heads", &["mamba_num_heads"], 128)?,
        head_dim: reader.size_or("mamba_head_dim", &["mamba_head_dim"], 64)?,
        state: reader.size_or("state", &["ssm_state_size"], 128)?,
        groups: reader.size_or("groups", &["n_groups", "mamba_n_groups"], 8)?,
        conv_kernel: reader.size_or("conv_kernel", &["conv_kernel", "mamba_d_conv"], 4)?,
        chunk: reader.size_or("chunk", &["chunk_size", "mamba_chunk_size"], 128)?,
        bias,
        conv_bias: reader.flag("use_conv_bias", true)? && reader.flag("mamba_conv_bias", true)?,
        gated_norm: true,
    })
}

fn attention(reader: &Reader<'_>) -> Result<AttentionSpec, InputError> {
    let heads = reader.sized("heads", &["num_attention_heads"], 32)?;
    let kv_heads = match reader.maybe_size("kv_heads", &["num_key_value_heads"])? {
        Some(given) => given,
        None if reader.get("num_key_value_heads").is_some() => heads,
        None => 8,
    };
    let bias = reader.flag("attention_bias", false)?;
    let head_dim = reader.size_or("head_dim", &["head_dim", "attention_head_dim"], 128)?;
    Ok(AttentionSpec { qkv_bias: bias, out_bias: bias, ..AttentionSpec::new(heads, kv_heads, head_dim) })
}

fn experts(reader: &Reader<'_>, activation: ActivationKind) -> Result<ExpertsSpec, InputError> {
    Ok(ExpertsSpec {
        gated: false,
        router: Router::SigmoidBiased,
        shared_inner: reader.count("moe_shared_expert_intermediate_size")?.unwrap_or(7688),
        latent_width: reader.count("moe_latent_size")?.unwrap_or(0),
        ..moe::gated(
            reader.size_or("experts", &["n_routed_experts", "num_local_experts"], 8)?,
            reader.size_or("top_k", &["num_experts_per_tok"], 2)?,
            reader.size_or("expert_inner", &["moe_intermediate_size"], 7688)?,
            activation,
        )
    })
}
