//! MiniCPM 3: multi-head latent attention in a dense decoder.

use banksia_input::InputError;

use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes};
use crate::activation::ActivationKind;
use crate::model::{LatentSpec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["minicpm3"],
    architectures: &["MiniCPM3ForCausalLM"],
    read,
    graph: "multi-head latent attention, SwiGLU, constants that multiply embeddings, residuals and logits",
    refuses: "",
};

const SIZES: Defaults =
    Defaults { width: 2560, layers: 62, heads: 40, inner: 6400, vocab: 73448, positions: 32768, ..LLAMA_SIZES };

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    for key in ["scale_emb", "scale_depth", "dim_model_base", "mup_denominator"] {
        reader.number(key)?;
    }
    // Of the rotated part, or of both; the parts have keys of their own.
    reader.get("head_dim");
    reader.get("qk_head_dim");
    let sizes = Sizes::read(reader, &Defaults { head_dim: 64, ..SIZES })?;
    let latent = LatentSpec {
        heads: sizes.heads,
        query_rank: reader.count("q_lora_rank")?.unwrap_or(768),
        kv_rank: reader.size_or("kv_rank", &["kv_lora_rank"], 256)?,
        nope_dim: reader.size_or("nope_dim", &["qk_nope_head_dim"], 64)?,
        rope_dim: reader.size_or("rope_dim", &["qk_rope_head_dim"], 32)?,
        value_dim: match reader.maybe_size("value_dim", &["v_head_dim"])? {
            Some(given) => given,
            None => reader.head_dim(sizes.width, sizes.heads)?,
        },
        bias: reader.flag("attention_bias", false)?,
        indexer: None,
    };
    let mut ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    ffn.bias = reader.flag("mlp_bias", false)?;
    let stages = vec![
        Stage::pre(Norm::RmsNorm, Mixer::LatentAttention(latent)),
        Stage::pre(Norm::RmsNorm, Mixer::FeedForward(ffn)),
    ];
    sizes.uniform(reader, Norm::RmsNorm, true, stages)
}
