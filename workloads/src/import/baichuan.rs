//! Baichuan: LLaMA's graph; the large ones have slopes of distance in place of rotation.

use banksia_input::InputError;

use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Model, Norm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["baichuan"],
    // The first 7B spells itself with a capital C.
    architectures: &["BaichuanForCausalLM", "BaiChuanForCausalLM"],
    read,
    graph: "LLaMA's; ALiBi where the width is not 4096 (13B)",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let own = reader.positions_or("max_position_embeddings", 0)?;
    let positions = if own > 0 { own } else { reader.size_or("max_positions", &["model_max_length"], 4096)? };
    let width = reader.size("width", &["hidden_size"])?;
    let heads = reader.size("heads", &["num_attention_heads"])?;
    let head_dim = reader.head_dim(width, heads)?;
    let defaults: Defaults = LLAMA_SIZES;
    let sizes = Sizes {
        width,
        layers: reader.layers(&["num_hidden_layers"], defaults.layers)?,
        heads,
        kv_heads: heads,
        head_dim,
        inner: reader.size("inner", &["intermediate_size"])?,
        vocab: reader.size("vocab", &["vocab_size"])?,
        positions,
    };
    // Both sizes have one model_type. Their code tells them apart; a file does by its width, or by the name of its longest context.
    let first = reader.list("architectures")?.is_some_and(|names| names.iter().any(|n| n == "BaiChuanForCausalLM"));
    let rotated = first || width == 4096 || own > 0;
    let attention =
        if rotated { sizes.attention() } else { AttentionSpec { rotary_dim: 0, alibi: true, ..sizes.attention() } };
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    reader.get("z_loss_weight");
    sizes.uniform(reader, Norm::RmsNorm, false, pre(Norm::RmsNorm, attention, ffn))
}
