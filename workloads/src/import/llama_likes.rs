//! Decoders that are LLaMA's graph but for a bias, a norm or an activation.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::llama::{LLAMA_SIZES, MISTRAL_SIZES};
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use super::windows::Windows;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Model, Norm, QkNorm};

/// A family of this file.
const fn like(
    model_types: &'static [&'static str],
    architectures: &'static [&'static str],
    read: fn(&Reader<'_>) -> Result<Model, InputError>,
    graph: &'static str,
) -> Family {
    Family { model_types, architectures, read, graph, refuses: "" }
}

/// Yi under its first name.
pub(super) const YI: Family = like(&["Yi"], &["YiForCausalLM"], |r| plain(r, &YI_SIZES, &Flags::NONE), "LLaMA's");
/// InternLM 2 and 2.5.
pub(super) const INTERNLM2: Family = like(
    &["internlm2"],
    &["InternLM2ForCausalLM"],
    |r| plain(r, &INTERNLM2_SIZES, &Flags { all: "bias", ..Flags::NONE }),
    "LLaMA's, all products with or without biases",
);
/// InternLM 1 and 3.
pub(super) const INTERNLM3: Family = like(
    &["internlm3"],
    &["InternLM3ForCausalLM"],
    |r| plain(r, &INTERNLM2_SIZES, &Flags { all: "bias", qkv: "qkv_bias", ..Flags::NONE }),
    "LLaMA's with its biases apart",
);
/// Seed-OSS.
pub(super) const SEED_OSS: Family = like(
    &["seed_oss"],
    &["SeedOssForCausalLM"],
    |r| {
        let flags = Flags {
            qkv: "attention_bias",
            qkv_default: true,
            out: "attention_out_bias",
            ffn: "mlp_bias",
            ..Flags::NONE
        };
        plain(r, &SEED_OSS_SIZES, &flags)
    },
    "LLaMA's with biases on queries, keys and values",
);
/// Helium.
pub(super) const HELIUM: Family = like(
    &["helium"],
    &["HeliumForCausalLM"],
    |r| plain(r, &HELIUM_SIZES, &Flags { qkv: "attention_bias", ffn: "mlp_bias", ..Flags::NONE }),
    "LLaMA's",
);
/// Granite 3: constants multiply embeddings, residuals and logits.
pub(super) const GRANITE: Family = like(
    &["granite"],
    &["GraniteForCausalLM"],
    |r| {
        for key in ["embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"] {
            r.number(key)?;
        }
        plain(r, &LLAMA_SIZES, &Flags { attention: "attention_bias", ffn: "mlp_bias", ..Flags::NONE })
    },
    "LLaMA's with constants that multiply embeddings, residuals and logits",
);
/// ERNIE 4.5, the dense ones.
pub(super) const ERNIE4_5: Family = like(
    &["ernie4_5"],
    &["Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"],
    |r| plain(r, &ERNIE_SIZES, &Flags { all: "use_bias", tied: true, ..Flags::NONE }),
    "LLaMA's, all products with or without biases",
);
/// MiniCPM 1 and 4: constants multiply embeddings, residuals and logits.
pub(super) const MINICPM: Family = Family {
    model_types: &["minicpm"],
    architectures: &["MiniCPMForCausalLM"],
    read: |r| {
        for key in ["scale_emb", "scale_depth", "dim_model_base", "mup_denominator"] {
            r.number(key)?;
        }
        plain(r, &LLAMA_SIZES, &Flags { attention: "attention_bias", tied: true, ..Flags::NONE })
    },
    graph: "LLaMA's with constants that multiply embeddings, residuals and logits",
    refuses: "`sparse_config` (attention to blocks of the context)",
};
/// Arcee's models: a feed-forward layer of two products with a squared ReLU.
pub(super) const ARCEE: Family =
    like(&["arcee"], &["ArceeForCausalLM"], arcee, "LLaMA's with an ungated ReLU2 feed-forward layer");
/// Apertus: the same with another activation, and norms of query and key heads.
pub(super) const APERTUS: Family = like(
    &["apertus"],
    &["ApertusForCausalLM"],
    apertus,
    "an ungated xIELU feed-forward layer, norms of query and key heads",
);
/// Hunyuan's dense models.
pub(super) const HUNYUAN: Family =
    like(&["hunyuan_v1_dense"], &["HunYuanDenseV1ForCausalLM"], hunyuan, "LLaMA's with norms of query and key heads");
/// SmolLM 3: every fourth layer is not rotated.
pub(super) const SMOLLM3: Family =
    like(&["smollm3"], &["SmolLM3ForCausalLM"], smollm3, "LLaMA's, some layers without rotation, some with windows");
/// Phi-3 and Phi-4: LLaMA's with products fused.
pub(super) const PHI3: Family =
    like(&["phi3"], &["Phi3ForCausalLM"], phi3, "LLaMA's with a window in every layer, partial rotary");
/// Ministral: Mistral's with a kind for each layer.
pub(super) const MINISTRAL: Family = like(
    &["ministral", "ministral3"],
    &["MinistralForCausalLM", "Ministral3ForCausalLM"],
    ministral,
    "Mistral's with windows by `layer_types`",
);

const YI_SIZES: Defaults = Defaults { kv_heads: 4, vocab: 64000, positions: 4096, ..LLAMA_SIZES };
const INTERNLM2_SIZES: Defaults = Defaults { vocab: 103_168, ..LLAMA_SIZES };
const SEED_OSS_SIZES: Defaults = Defaults {
    width: 4096,
    layers: 64,
    heads: 80,
    kv_heads: 8,
    head_dim: 128,
    inner: 27648,
    vocab: 155_136,
    positions: 524_288,
};
const HELIUM_SIZES: Defaults = Defaults {
    width: 2560,
    layers: 24,
    heads: 20,
    kv_heads: 20,
    head_dim: 128,
    inner: 7040,
    vocab: 48000,
    positions: 4096,
};
const ERNIE_SIZES: Defaults = Defaults {
    width: 1024,
    layers: 18,
    heads: 16,
    kv_heads: 2,
    head_dim: 128,
    inner: 3072,
    vocab: 103_424,
    positions: 131_072,
};
const ARCEE_SIZES: Defaults = Defaults { width: 2560, inner: 18432, positions: 4096, ..LLAMA_SIZES };
const APERTUS_SIZES: Defaults = Defaults { inner: 14336, vocab: 131_072, positions: 65536, ..LLAMA_SIZES };
const HUNYUAN_SIZES: Defaults = Defaults { vocab: 290_943, ..LLAMA_SIZES };
const SMOLLM3_SIZES: Defaults = Defaults {
    width: 2048,
    layers: 36,
    heads: 16,
    kv_heads: 4,
    head_dim: 0,
    inner: 11008,
    vocab: 128_256,
    positions: 32768,
};
const PHI3_SIZES: Defaults = Defaults { width: 3072, inner: 8192, vocab: 32064, positions: 4096, ..LLAMA_SIZES };

/// The keys of a family that switch biases on; empty for products that never have one.
struct Flags {
    /// Of all products.
    all: &'static str,
    /// Of all products of attention.
    attention: &'static str,
    /// Of queries, keys and values.
    qkv: &'static str,
    /// What the library takes for that if the file does not say.
    qkv_default: bool,
    /// Of the output projection.
    out: &'static str,
    /// Of the feed-forward layer.
    ffn: &'static str,
    /// What the library takes for a tied head if the file does not say.
    tied: bool,
}

impl Flags {
    const NONE: Self = Self { all: "", attention: "", qkv: "", qkv_default: false, out: "", ffn: "", tied: false };
}

/// LLaMA's graph with biases.
fn plain(reader: &Reader<'_>, defaults: &Defaults, flags: &Flags) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, defaults)?;
    let on = |key: &str, default: bool| if key.is_empty() { Ok(false) } else { reader.flag(key, default) };
    let all = on(flags.all, false)?;
    let attention_bias = all || on(flags.attention, false)?;
    let attention = AttentionSpec {
        qkv_bias: attention_bias || on(flags.qkv, flags.qkv_default)?,
        out_bias: attention_bias || on(flags.out, false)?,
        ..sizes.attention()
    };
    let mut ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    ffn.bias = all || on(flags.ffn, false)?;
    sizes.uniform(reader, Norm::RmsNorm, flags.tied, pre(Norm::RmsNorm, attention, ffn))
}

fn arcee(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &ARCEE_SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() };
    let activation = reader.activation("hidden_act", ActivationKind::Relu2)?;
    let ffn = sizes.plain(activation, reader.flag("mlp_bias", false)?);
    sizes.uniform(reader, Norm::RmsNorm, false, pre(Norm::RmsNorm, attention, ffn))
}

/// Norms of single heads with common gains.
pub(super) const HEAD_NORM: Option<QkNorm> = Some(QkNorm { norm: Norm::RmsNorm, whole: false, per_head_gain: false });

fn apertus(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &APERTUS_SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let attention = AttentionSpec { qkv_bias: bias, out_bias: bias, qk_norm: HEAD_NORM, ..sizes.attention() };
    // xIELU (arXiv 2411.13010) is one exponential and a few multiplications an element, as SiLU is, with two learned numbers.
    let xielu = reader.text("hidden_act")?.is_none_or(|name| name == "xielu");
    let activation =
        if xielu { ActivationKind::Silu } else { reader.activation("hidden_act", ActivationKind::Silu)? };
    let mut stages = pre(Norm::RmsNorm, attention, sizes.plain(activation, false));
    if let (true, Some(branch)) = (xielu, stages.last_mut().and_then(|stage| stage.branches.first_mut())) {
        branch.other_parameters = 2;
    }
    sizes.uniform(reader, Norm::RmsNorm, false, stages)
}

fn hunyuan(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &HUNYUAN_SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    for (key, value) in [("use_qk_norm", true), ("use_cla", false), ("mlp_bias", false), ("use_mla", false)] {
        reader.only(key, &[json!(value)], "makes another graph than the library's HunYuanDenseV1")?;
    }
    let attention = AttentionSpec { qkv_bias: bias, out_bias: bias, qk_norm: HEAD_NORM, ..sizes.attention() };
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    sizes.uniform(reader, Norm::RmsNorm, false, pre(Norm::RmsNorm, attention, ffn))
}

fn phi3(reader: &Reader<'_>) -> Result<Model, InputError> {
    let sizes = Sizes::read(reader, &PHI3_SIZES)?;
    for key in ["embd_pdrop", "resid_pdrop"] {
        reader.get(key);
    }
    reader.only("attention_bias", &[json!(false)], "adds biases, which Phi-3 does not have")?;
    let rotary_dim = reader.rotary_dim(sizes.head_dim, 1.0)?;
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, |_| window > 0)?;
    windows.fill(sizes.decoder(reader, Norm::RmsNorm, false)?, |window, _| {
        Ok(pre(Norm::RmsNorm, AttentionSpec { rotary_dim, window, ..sizes.attention() }, ffn.clone()))
    })
}

fn ministral(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let third = reader.text("model_type")? == Some("ministral3");
    let defaults = if third {
        Defaults { layers: 34, head_dim: 128, vocab: 131_072, positions: 262_144, ..MISTRAL_SIZES }
    } else {
        MISTRAL_SIZES
    };
    let sizes = Sizes::read(reader, &defaults)?;
    let given = reader.count("sliding_window")?;
    let absent = reader.get("sliding_window").is_none() && !third;
    let window = given.unwrap_or(if absent { 4096 } else { 0 });
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, |_| window > 0)?;
    windows.fill(sizes.decoder(reader, Norm::RmsNorm, false)?, |window, _| {
        Ok(pre(Norm::RmsNorm, AttentionSpec { window, ..sizes.attention() }, ffn.clone()))
    })
}

fn smollm3(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let sizes = Sizes::read(reader, &SMOLLM3_SIZES)?;
    let bias = reader.flag("attention_bias", false)?;
    let mut ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    ffn.bias = reader.flag("mlp_bias", false)?;
    let interval = reader.size_or("interval", &["no_rope_layer_interval"], 4)?;
    let rotated: Vec<bool> = match reader.counts("no_rope_layers")? {
        // In spite of its name, 1 says that a layer is rotated.
        Some(list) => {
            reader.one_a_layer("no_rope_layers", list.len(), sizes.layers)?;
            list.into_iter().map(|rotated| rotated != 0).collect()
        }
        None => (1..=u64::from(sizes.layers)).map(|layer| !layer.is_multiple_of(interval)).collect(),
    };
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let window = if reader.flag("use_sliding_window", false)? { window } else { 0 };
    let rule = |layer: u32| window > 0 && rotated.get(layer as usize).is_some_and(|rotated| !rotated);
    let windows = Windows::read(reader, sizes.layers, window, sizes.positions, rule)?;
    reader.get("max_window_layers");
    let (blocks, pattern) = super::build::stack(windows.sliding.iter().zip(&rotated).map(|(sliding, rotated)| {
        let mut attention = AttentionSpec { qkv_bias: bias, out_bias: bias, ..sizes.attention() };
        attention.window = if *sliding { windows.window } else { 0 };
        if !rotated {
            attention.rotary_dim = 0;
        }
        (if *rotated { "rotated" } else { "unrotated" }, pre(Norm::RmsNorm, attention, ffn.clone()))
    }));
    Ok(Model { pattern, blocks, ..sizes.decoder(reader, Norm::RmsNorm, true)? })
}
