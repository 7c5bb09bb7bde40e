//! DeepSeek-V2 and V3, Kimi K2, and mixtures of their build with multi-head latent attention; with the indexer of sparse attention
//! DeepSeek-V3.2 and GLM-5.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{
    Embed, ExpertsSpec, FeedForwardSpec, HeadSpec, Indexer, LatentSpec, Mixer, Model, Norm, Router, Stage,
};

/// DeepSeek-V2.
pub(super) const V2: Family = Family {
    model_types: &["deepseek_v2"],
    architectures: &["DeepseekV2ForCausalLM"],
    read: |reader| read(reader, &V2_SIZES, false),
    graph: "latent attention; dense layers first, then experts beside shared ones",
    refuses: "scores of routers other than softmax and sigmoid",
};

/// DeepSeek-V3.
pub(super) const V3: Family = Family {
    model_types: &["deepseek_v3", "kimi_k2"],
    architectures: &["DeepseekV3ForCausalLM"],
    read: |reader| read(reader, &V3_SIZES, false),
    graph: "latent attention; dense layers first, then experts beside shared ones, chosen by biased sigmoids; layers that predict further tokens are left out",
    refuses: "scores of routers other than softmax and sigmoid",
};

/// DeepSeek-V3.2.
pub(super) const V32: Family = Family {
    model_types: &["deepseek_v32"],
    architectures: &["DeepseekV32ForCausalLM"],
    read: |reader| read(reader, &V32_SIZES, true),
    graph: "DeepSeek-V3's, with the indexer of sparse attention",
    refuses: "",
};

/// GLM-5.
pub(super) const GLM_DSA: Family = Family {
    model_types: &["glm_moe_dsa"],
    architectures: &["GlmMoeDsaForCausalLM"],
    read: |reader| read(reader, &GLM_DSA_SIZES, true),
    graph: "DeepSeek-V3.2's; layers may take the indexer's choice of an earlier one",
    refuses: "",
};

/// GLM-4.7-Flash.
pub(super) const GLM_LITE: Family = Family {
    model_types: &["glm4_moe_lite"],
    architectures: &["Glm4MoeLiteForCausalLM"],
    read: |reader| read(reader, &GLM_LITE_SIZES, false),
    graph: "DeepSeek-V3's",
    refuses: "",
};

/// The library's defaults of a family.
struct Defaults {
    width: u64,
    layers: u64,
    heads: u64,
    inner: u64,
    vocab: u64,
    positions: u64,
    /// `q_lora_rank`, `kv_lora_rank`, `qk_nope_head_dim`, `qk_rope_head_dim`, `v_head_dim`.
    ranks: [u64; 5],
    /// `n_routed_experts`, `num_experts_per_tok`, `moe_intermediate_size`, `n_shared_experts`.
    experts: [u64; 4],
    first_dense: u64,
    router: Router,
    /// `index_n_heads`.
    index_heads: u64,
}

const V3_SIZES: Defaults = Defaults {
    width: 7168,
    layers: 61,
    heads: 128,
    inner: 18432,
    vocab: 129_280,
    positions: 4096,
    ranks: [1536, 512, 128, 64, 128],
    experts: [256, 8, 2048, 1],
    first_dense: 3,
    router: Router::SigmoidBiased,
    index_heads: 64,
};
const V2_SIZES: Defaults = Defaults {
    width: 4096,
    layers: 32,
    heads: 32,
    inner: 11008,
    vocab: 102_400,
    positions: 2048,
    ranks: [1536, 512, 128, 64, 128],
    experts: [64, 6, 1407, 2],
    first_dense: 0,
    router: Router::Softmax,
    index_heads: 64,
};
const V32_SIZES: Defaults = Defaults { positions: 163_840, ..V3_SIZES };
const GLM_DSA_SIZES: Defaults = Defaults {
    width: 6144,
    layers: 78,
    heads: 64,
    inner: 12288,
    vocab: 154_880,
    positions: 202_752,
    ranks: [2048, 512, 192, 64, 256],
    index_heads: 32,
    ..V3_SIZES
};
const GLM_LITE_SIZES: Defaults = Defaults {
    width: 2048,
    layers: 47,
    heads: 20,
    inner: 10240,
    vocab: 154_880,
    positions: 202_752,
    ranks: [768, 512, 192, 64, 256],
    experts: [64, 4, 1536, 1],
    first_dense: 1,
    router: Router::SigmoidBiased,
    index_heads: 64,
};

/// What follows from other keys, and constants of rotation.
const HARMLESS: [&str; 10] = [
    "head_dim",
    "index_share_for_mtp_iteration",
    "indexer_rope_interleave",
    "mlp_bias",
    "num_key_value_heads",
    "qk_head_dim",
    "rope_interleave",
    "index_topk_freq",
    "index_skip_topk_offset",
    "index_topk_pattern",
];

fn read(reader: &Reader<'_>, d: &Defaults, sparse_attention: bool) -> Result<Model, InputError> {
    moe::ignore(reader);
    moe::mark(reader, &HARMLESS);
    let bias = reader.flag("mlp_bias", false)?;
    reader.refuse_unless("mlp_bias", !bias, "adds biases to dense layers and not to experts")?;
    let width = reader.sized("width", &["hidden_size"], d.width)?;
    let layers = reader.layers(&["num_hidden_layers"], d.layers)?;
    let vocab = reader.sized("vocab", &["vocab_size"], d.vocab)?;
    let positions = reader.positions_or("max_position_embeddings", d.positions)?;
    let latent = latent(reader, d)?;
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let dense = Mixer::FeedForward(FeedForwardSpec {
        inner: reader.sized("inner", &["intermediate_size"], d.inner)?,
        activation,
        gated: true,
        bias: false,
    });
    let experts = experts(reader, d, activation)?;
    let sparse = moe::sparse_layers(reader, layers, d.first_dense)?;
    let index =
        if sparse_attention { indexers(reader, layers, d.index_heads)? } else { full_attention(reader, layers)? };
    let norm = Norm::RmsNorm;
    let (blocks, pattern) = stack(sparse.into_iter().zip(index).map(|(sparse, indexer)| {
        let attention = Mixer::LatentAttention(LatentSpec { indexer, ..latent.clone() });
        let (kind, mixer) = if sparse { ("sparse", experts.clone()) } else { ("dense", dense.clone()) };
        (kind, vec![Stage::pre(norm, attention), Stage::pre(norm, mixer)])
    }));
    let head = HeadSpec {
        tied: reader.flag("tie_word_embeddings", false)?,
        extra_prediction_layers: further(reader)?,
        ..HeadSpec::of(norm, vocab)
    };
    Ok(Model { pattern, blocks, ..reader.model(width, positions, Embed::of(vocab), head)? })
}

/// Layers that predict further tokens, which a plain step does not run.
pub(super) fn further(reader: &Reader<'_>) -> Result<u64, InputError> {
    let old = reader.count("num_nextn_predict_layers")?;
    Ok(old.or(reader.count("num_mtp_layers")?).unwrap_or(0))
}

fn latent(reader: &Reader<'_>, d: &Defaults) -> Result<LatentSpec, InputError> {
    let [query, kv, nope, rope, value] = d.ranks;
    let query_rank = match reader.count("q_lora_rank")? {
        Some(rank) => rank,
        // Null is no default: queries are projected directly.
        None if reader.get("q_lora_rank").is_some() => 0,
        None => query,
    };
    Ok(LatentSpec {
        heads: reader.sized("heads", &["num_attention_heads"], d.heads)?,
        query_rank,
        kv_rank: reader.size_or("kv_rank", &["kv_lora_rank"], kv)?,
        nope_dim: reader.size_or("nope_dim", &["qk_nope_head_dim"], nope)?,
        rope_dim: reader.size_or("rope_dim", &["qk_rope_head_dim"], rope)?,
        value_dim: reader.size_or("value_dim", &["v_head_dim"], value)?,
        bias: reader.flag("attention_bias", false)?,
        indexer: None,
    })
}

fn experts(reader: &Reader<'_>, d: &Defaults, activation: ActivationKind) -> Result<Mixer, InputError> {
    let [experts, top_k, inner, shared] = d.experts;
    let inner = reader.size_or("expert_inner", &["moe_intermediate_size"], inner)?;
    let shared = match reader.count("n_shared_experts")? {
        Some(shared) => shared,
        None if reader.get("n_shared_experts").is_some() => 0,
        None => shared,
    };
    let experts = reader.size_or("experts", &["n_routed_experts", "num_experts", "num_local_experts"], experts)?;
    let top_k = reader.size_or("top_k", &["num_experts_per_tok"], top_k)?;
    Ok(Mixer::Experts(ExpertsSpec {
        shared_inner: inner.saturating_mul(shared),
        router: moe::router(reader, d.router)?,
        ..moe::gated(experts, top_k, inner, activation)
    }))
}

/// All layers attend to everything.
fn full_attention(reader: &Reader<'_>, layers: u32) -> Result<Vec<Option<Indexer>>, InputError> {
    if let Some(kinds) = reader.texts("layer_types")? {
        reader.one_a_layer("layer_types", kinds.len(), layers)?;
        let full = kinds.iter().all(|kind| *kind == "full_attention");
        reader.refuse_unless("layer_types", full, "makes layers of other kinds than full attention")?;
    }
    Ok((0..layers).map(|_| None).collect())
}

/// The indexer of each layer: its own, or what an earlier one chose.
fn indexers(reader: &Reader<'_>, layers: u32, heads: u64) -> Result<Vec<Option<Indexer>>, InputError> {
    if let Some(kinds) = reader.texts("layer_types")? {
        reader.one_a_layer("layer_types", kinds.len(), layers)?;
        let known = kinds.iter().all(|kind| matches!(*kind, "deepseek_sparse_attention" | "indexed_attention"));
        reader.refuse_unless("layer_types", known, "makes layers of other kinds than indexed attention")?;
    }
    let own = Indexer {
        heads: reader.size_or("index_heads", &["index_n_heads"], heads)?,
        head_dim: reader.size_or("index_dim", &["index_head_dim"], 128)?,
        top_k: reader.size_or("index_top_k", &["index_topk"], 2048)?,
        shared: false,
    };
    let shared = shared_indexers(reader, layers)?;
    Ok(shared.into_iter().map(|shared| Some(Indexer { shared, ..own })).collect())
}

fn shared_indexers(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let kinds: Vec<String> = match (reader.get("indexer_types").is_some(), reader.get("index_topk_pattern")) {
        (false, Some(serde_json::Value::String(letters))) => letters.chars().map(String::from).collect(),
        (false, pattern) if pattern.is_none_or(serde_json::Value::is_null) => {
            let every = reader.count("index_topk_freq")?.unwrap_or(1).max(1);
            let offset = reader.count("index_skip_topk_offset")?.unwrap_or(2);
            let full = |i: u64| (i + 1).saturating_sub(offset).is_multiple_of(every);
            return Ok((0..u64::from(layers)).map(|i| !full(i)).collect());
        }
        (given, _) => {
            let key = if given { "indexer_types" } else { "index_topk_pattern" };
            let kinds = reader.texts(key)?;
            match kinds {
                Some(kinds) => kinds.into_iter().map(str::to_owned).collect(),
                None => return Ok((0..layers).map(|_| false).collect()),
            }
        }
    };
    let key = if reader.get("indexer_types").is_some() { "indexer_types" } else { "index_topk_pattern" };
    reader.one_a_layer(key, kinds.len(), layers)?;
    kinds
        .iter()
        .map(|kind| match kind.as_str() {
            "full" | "F" => Ok(false),
            "shared" | "S" => Ok(true),
            other => {
                let error = reader.error(key, format!("has `{other}`, which is not known"));
                Err(error.help("known: full, shared"))
            }
        })
        .collect()
}
