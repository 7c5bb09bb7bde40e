//! Step-3.5 and 3.7: windows and full attention, a gate a head, dense layers first, then experts beside a shared one.

use banksia_input::InputError;
use serde_json::Value;

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
    model_types: &["step3p5", "step3p7"],
    architectures: &["Step3p5ForCausalLM", "Step3p7FlashForCausalLM", "Step3p7ForCausalLM"],
    read,
    graph: "windows and full attention with heads of their own, a gate a head, norms of heads; dense layers first, then experts beside a shared one",
    refuses: "",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 45,
    heads: 64,
    kv_heads: 8,
    head_dim: 128,
    inner: 11264,
    vocab: 128_815,
    positions: 128_000,
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    let mut sizes = Sizes::read(reader, &SIZES)?;
    if let Some(groups) = reader.maybe_size("kv_heads", &["num_attention_groups"])? {
        sizes.kv_heads = groups;
    }
    // Clamps inside experts, and whether the router works in 32 bits.
    moe::mark(reader, &["swiglu_limits", "swiglu_limits_shared", "need_fp32_gate", "query_pre_attn_scalar"]);
    let activation = reader.activation("hidden_act", ActivationKind::Silu)?;
    let inner = reader.size_or("expert_inner", &["moe_intermediate_size"], 1280)?;
    let shared = reader.count("share_expert_dim")?.or(reader.count("share_expert_dims")?).unwrap_or(1280);
    reader.only("n_shared_experts", &[1.into()], "shares other than one expert")?;
    let biased = reader.flag("use_moe_router_bias", true)?;
    let keys = ["moe_num_experts", "n_routed_experts", "num_local_experts", "num_experts"];
    let experts = Mixer::Experts(ExpertsSpec {
        shared_inner: shared,
        router: match moe::router(reader, Router::SigmoidBiased)? {
            Router::SigmoidBiased if !biased => Router::Sigmoid,
            other => other,
        },
        ..moe::gated(
            reader.size_or("experts", &keys, 288)?,
            reader.size_or("top_k", &["num_experts_per_tok", "moe_top_k"], 8)?,
            inner,
            activation,
        )
    });
    let dense = Mixer::FeedForward(sizes.gated(activation));
    let further = further(reader)?;
    let sparse = sparse(reader, sizes.layers)?;
    let attentions = attentions(reader, &sizes, further)?;
    let (blocks, pattern) = stack(attentions.into_iter().zip(sparse).map(|(attention, sparse)| {
        let kind = match (attention.window > 0, sparse) {
            (true, true) => "sliding_sparse",
            (true, false) => "sliding_dense",
            (false, true) => "full_sparse",
            (false, false) => "full_dense",
        };
        (kind, moe::layer(Norm::RmsNorm, attention, if sparse { experts.clone() } else { dense.clone() }))
    }));
    let mut model = sizes.decoder(reader, Norm::RmsNorm, false)?;
    model.head.extra_prediction_layers = further;
    Ok(Model { pattern, blocks, ..model })
}

/// The attention of each layer; lists may have entries for the layers that predict further tokens.
fn attentions(reader: &Reader<'_>, sizes: &Sizes, further: u64) -> Result<Vec<AttentionSpec>, InputError> {
    let layers = usize::try_from(sizes.layers).unwrap_or(usize::MAX);
    let padded = layers.saturating_add(usize::try_from(further).unwrap_or(usize::MAX));
    let kinds: Vec<bool> = match reader.texts("layer_types")? {
        None => vec![false; layers],
        Some(kinds) => {
            if kinds.len() != padded {
                reader.one_a_layer("layer_types", kinds.len(), sizes.layers)?;
            }
            let known = kinds.iter().all(|kind| matches!(*kind, "full_attention" | "sliding_attention"));
            reader.refuse_unless("layer_types", known, "makes layers of other kinds than attention")?;
            kinds.iter().take(layers).map(|kind| *kind == "sliding_attention").collect()
        }
    };
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let window = if window < sizes.positions { window } else { 0 };
    let heads = match reader.table("attention_other_setting")? {
        Some(table) => {
            moe::mark(&table, &["attention_type"]);
            let heads = table.size_or("heads", &["num_attention_heads"], sizes.heads)?;
            let groups = table.size_or("kv_heads", &["num_attention_groups"], sizes.kv_heads)?;
            table.refuse_unless("num_attention_groups", groups == sizes.kv_heads, "gives windows other key heads")?;
            let dim = table.size_or("head_dim", &["head_dim"], sizes.head_dim)?;
            table.refuse_unless("head_dim", dim == sizes.head_dim, "gives windows other heads")?;
            super::keys::check(&table, "step3p5", false)?;
            heads
        }
        None => sizes.heads,
    };
    let sliding_heads = reader.size_or("heads", &["num_sliding_attention_heads"], heads)?;
    let gate = reader.flag("use_head_wise_attn_gate", true)?;
    let normed = reader.flag("use_qk_norm", true)?;
    let bias = reader.flag("attention_bias", false)?;
    let shares = shares(reader)?;
    let default = reader.rotary_dim(sizes.head_dim, 1.0)?;
    Ok(kinds
        .into_iter()
        .enumerate()
        .map(|(i, windowed)| {
            let share = shares.as_ref().and_then(|list| list.get(i)).copied();
            let rotated = share.map_or(default, |share| (sizes.head_dim as f64 * share) as u64);
            AttentionSpec {
                heads: if windowed { sliding_heads } else { sizes.heads },
                rotary_dim: rotated - rotated % 2,
                window: if windowed { window } else { 0 },
                head_gate: gate,
                qk_norm: normed.then_some(QkNorm { norm: Norm::RmsNorm, whole: false, per_head_gain: false }),
                qkv_bias: bias,
                out_bias: bias,
                ..sizes.attention()
            }
        })
        .collect())
}

/// Shares of heads that are rotated, by layer.
fn shares(reader: &Reader<'_>) -> Result<Option<Vec<f64>>, InputError> {
    let key = "partial_rotary_factors";
    let Some(list) = reader.list(key)? else { return Ok(None) };
    let shares: Option<Vec<f64>> =
        list.iter().map(|value| value.as_f64().filter(|share| (0.0..=1.0).contains(share))).collect();
    shares.map(Some).ok_or_else(|| reader.error(key, "is a list of other things than shares from 0 to 1"))
}

/// Which layers are mixtures: those that a list of numbers names, in text or not, or as in other families.
fn sparse(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let key = "moe_layers_enum";
    let listed = match reader.get(key) {
        None | Some(Value::Null) => return moe::sparse_layers(reader, layers, 3),
        Some(Value::String(text)) => {
            let numbers: Result<Vec<u64>, _> =
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect();
            numbers.map_err(|_| reader.error(key, "is a list of other things than numbers of layers"))?
        }
        Some(_) => reader.counts(key)?.unwrap_or_default(),
    };
    Ok((0..u64::from(layers)).map(|i| listed.contains(&i)).collect())
}
