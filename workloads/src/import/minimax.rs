//! MiniMax-Text-01: lightning attention, every eighth layer softmax attention, experts; the residual is the normalised input.

use banksia_input::InputError;

use super::build::stack;
use super::family::Family;
use super::moe;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{
    AttentionSpec, Branch, Embed, HeadSpec, LinearAttentionSpec, LinearRule, Mixer, Model, Norm, Stage,
};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["minimax"],
    architectures: &["MiniMaxForCausalLM"],
    read,
    graph: "lightning attention (retention) and softmax attention by `layer_types`, norms before residuals; every layer a mixture",
    refuses: "`sliding_window`",
};

const SIZES: Defaults = Defaults {
    width: 4096,
    layers: 32,
    heads: 32,
    kv_heads: 8,
    head_dim: 0,
    inner: 14336,
    vocab: 32000,
    positions: 131_072,
};

/// Weights of residuals and of what is added, and the chunk in which a library computes.
const SCALES: [&str; 7] = [
    "block_size",
    "full_attn_alpha_factor",
    "full_attn_beta_factor",
    "linear_attn_alpha_factor",
    "linear_attn_beta_factor",
    "mlp_alpha_factor",
    "mlp_beta_factor",
];

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    moe::ignore(reader);
    moe::mark(reader, &SCALES);
    let sizes = Sizes::read(reader, &SIZES)?;
    let window = reader.count("sliding_window")?.unwrap_or(0);
    let binds = window > 0 && window < sizes.positions;
    reader.refuse_unless("sliding_window", !binds, "limits attention to a window, which MiniMax does not")?;
    let experts = Mixer::Experts(moe::gated(
        reader.size_or("experts", &["num_local_experts", "num_experts"], 8)?,
        reader.size_or("top_k", &["num_experts_per_tok"], 2)?,
        sizes.inner,
        reader.activation("hidden_act", ActivationKind::Silu)?,
    ));
    let attention =
        Mixer::Attention(AttentionSpec { rotary_dim: reader.rotary_dim(sizes.head_dim, 1.0)?, ..sizes.attention() });
    let lightning = Branch {
        // Its norm is of all heads at once, with a gain an element.
        other_parameters: sizes.heads.saturating_sub(1).saturating_mul(sizes.head_dim),
        ..Branch::plain(Mixer::LinearAttention(LinearAttentionSpec {
            rule: LinearRule::Retention,
            key_heads: sizes.heads,
            value_heads: sizes.heads,
            key_dim: sizes.head_dim,
            value_dim: sizes.head_dim,
            conv_kernel: 0,
            output_gate: true,
            gate_rank: 0,
            rotary: false,
        }))
    };
    // Each norm's result is the residual too: as if the norm before were the one after.
    let after = |branch| Stage {
        norm: None,
        branches: vec![branch],
        post_norm: Some(Norm::RmsNorm),
        no_residual: false,
        sum_norm: None,
    };
    let (blocks, pattern) = stack(kinds(reader, sizes.layers)?.into_iter().map(|full| {
        let (kind, first) =
            if full { ("full", Branch::plain(attention.clone())) } else { ("lightning", lightning.clone()) };
        (kind, vec![after(first), after(Branch::plain(experts.clone()))])
    }));
    let head = HeadSpec {
        norm: None,
        tied: reader.flag("tie_word_embeddings", false)?,
        ..HeadSpec::of(Norm::RmsNorm, sizes.vocab)
    };
    let embed = Embed { norm: Some(Norm::RmsNorm), ..Embed::of(sizes.vocab) };
    Ok(Model { pattern, blocks, ..reader.model(sizes.width, sizes.positions, embed, head)? })
}

/// Whether each layer is softmax attention.
fn kinds(reader: &Reader<'_>, layers: u32) -> Result<Vec<bool>, InputError> {
    let Some(kinds) = reader.texts("layer_types")? else { return Ok((0..layers).map(|i| i % 2 == 0).collect()) };
    reader.one_a_layer("layer_types", kinds.len(), layers)?;
    super::hybrid::attends(reader, "layer_types", &kinds)
}
