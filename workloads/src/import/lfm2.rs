//! LFM2: gated short convolutions, some layers of attention with norms of heads, a dense layer or experts after each.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe::{self, mark};
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{
    AttentionSpec, ExpertsSpec, FeedForwardSpec, Mixer, Model, Norm, QkNorm, Router, ShortConvolutionSpec, Stage,
};

/// LFM2.
pub(super) const LFM2: Family = Family {
    model_types: &["lfm2"],
    architectures: &["Lfm2ForCausalLM"],
    read: dense,
    graph: "gated short convolutions, attention by `layer_types` or `full_attn_idxs` with norms of heads; a dense layer after each",
    refuses: "",
};

/// LFM2's mixtures.
pub(super) const LFM2_MOE: Family = Family {
    model_types: &["lfm2_moe"],
    architectures: &["Lfm2MoeForCausalLM"],
    read: mixture,
    graph: "LFM2's; dense layers first, then experts, chosen by biased sigmoids",
    refuses: "",
};

const SIZES: Defaults = Defaults {
    width: 2560,
    layers: 32,
    heads: 32,
    kv_heads: 8,
    head_dim: 0,
    inner: 12288,
    vocab: 65536,
    positions: 128_000,
};
const MOE_SIZES: Defaults = Defaults { width: 2048, inner: 7168, ..SIZES };

/// Other spellings of sizes that are read, initial values, constants.
const HARMLESS: [&str; 11] = [
    "block_dim",
    "block_mlp_init_scale",
    "block_norm_eps",
    "block_out_init_scale",
    "block_use_xavier_init",
    "conv_dim",
    "conv_dim_out",
    "conv_use_xavier_init",
    "num_heads",
    "theta",
    "use_pos_enc",
];

fn dense(reader: &Reader<'_>) -> Result<Model, InputError> {
    let mut sizes = Sizes::read_without_inner(reader, &SIZES)?;
    // The older name holds where a file has both.
    let given = reader.count("intermediate_size")?;
    sizes.inner = reader.count("block_ff_dim")?.or(given).unwrap_or(SIZES.inner);
    reader.rename("inner", if reader.get("block_ff_dim").is_some() { "block_ff_dim" } else { "intermediate_size" });
    let swiglu = reader.flag("block_use_swiglu", true)?;
    reader.refuse_unless("block_use_swiglu", swiglu, "makes feed-forward layers without gates")?;
    let adjusts = reader.flag("block_auto_adjust_ff_dim", true)?;
    let factor = reader.number("block_ffn_dim_multiplier")?;
    let multiple = reader.size_or("multiple", &["block_multiple_of"], 256)?;
    if adjusts {
        sizes.inner = sizes.inner.saturating_mul(2) / 3;
        if factor.is_some() || reader.get("block_ffn_dim_multiplier").is_none() {
            let scaled = sizes.inner as f64 * factor.unwrap_or(1.0);
            let fits = (1.0..=f64::from(1u32 << 31)).contains(&scaled);
            reader.refuse_unless("block_ffn_dim_multiplier", fits, "makes no inner width")?;
            sizes.inner = (scaled as u64).div_ceil(multiple).saturating_mul(multiple);
        }
    }
    let ffn = Mixer::FeedForward(sizes.gated(ActivationKind::Silu));
    layers(reader, &sizes, |_| ffn.clone())
}

fn mixture(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    let sizes = Sizes::read(reader, &MOE_SIZES)?;
    let dense: FeedForwardSpec = sizes.gated(ActivationKind::Silu);
    let first = reader.count("num_dense_layers")?.unwrap_or(2);
    let biased = reader.flag("use_expert_bias", true)?;
    let spec = ExpertsSpec {
        router: if biased { Router::SigmoidBiased } else { Router::Sigmoid },
        ..moe::gated(
            reader.size_or("experts", &["num_experts"], 32)?,
            reader.size_or("top_k", &["num_experts_per_tok"], 4)?,
            reader.size_or("expert_inner", &["moe_intermediate_size"], 1792)?,
            ActivationKind::Silu,
        )
    };
    layers(reader, &sizes, |i| if i < first { Mixer::FeedForward(dense.clone()) } else { Mixer::Experts(spec.clone()) })
}

fn layers(reader: &Reader<'_>, sizes: &Sizes, second: impl Fn(u64) -> Mixer) -> Result<Model, InputError> {
    mark(reader, &HARMLESS);
    reader.rotates_all()?;
    let attention = Mixer::Attention(AttentionSpec {
        qk_norm: Some(QkNorm { norm: Norm::RmsNorm, whole: false, per_head_gain: false }),
        ..sizes.attention()
    });
    let convolution = Mixer::ShortConvolution(ShortConvolutionSpec {
        inner: sizes.width,
        conv_kernel: reader.size_or("conv_kernel", &["conv_L_cache"], 3)?,
        bias: reader.flag("conv_bias", false)?,
    });
    let attends = attends(reader, sizes.layers)?;
    let (blocks, pattern) = stack((0u64..).zip(attends).map(|(i, attends)| {
        let (kind, first) = if attends { ("attention", &attention) } else { ("conv", &convolution) };
        (kind, vec![Stage::pre(Norm::RmsNorm, first.clone()), Stage::pre(Norm::RmsNorm, second(i))])
    }));
    let mut model = sizes.decoder(reader, Norm::RmsNorm, true)?;
    model.head.tied = reader.flag("tie_embedding", model.head.tied)?;
    Ok(Model { pattern, blocks, ..model })
}

/// Whether each layer attends.
fn attends(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let listed = reader.counts("full_attn_idxs")?;
    let key = "layer_types";
    if let Some(kinds) = reader.texts(key)? {
        reader.one_a_layer(key, kinds.len(), layers)?;
        let of = |kind: &str| match kind {
            "full_attention" => Ok(true),
            "conv" => Ok(false),
            other => {
                let error = reader.error(key, format!("has `{other}`, which is not known"));
                Err(error.help("known: full_attention, conv"))
            }
        };
        return kinds.into_iter().map(of).collect();
    }
    Ok((0..u64::from(layers)).map(|i| listed.as_ref().is_none_or(|list| list.contains(&i))).collect())
}
