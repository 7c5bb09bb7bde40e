//! The language model of Llama 3.2 Vision, whose layers with cross attention are passed by where there are no pictures.

use banksia_input::InputError;

use super::family::Family;
use super::llama::LLAMA_SIZES;
use super::reader::Reader;
use super::sizes::{Defaults, Sizes, pre};
use crate::activation::ActivationKind;
use crate::model::{Model, Norm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["mllama_text_model"],
    architectures: &["MllamaForCausalLM"],
    read,
    graph: "LLaMA's, of the layers that text alone passes",
    refuses: "",
};

const SIZES: Defaults =
    Defaults { layers: 40, kv_heads: 8, inner: 14336, vocab: 128_256, positions: 131_072, ..LLAMA_SIZES };

/// Rows of the token table beyond those of the head: of pictures.
const PICTURES: u64 = 8;

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.rotates_all()?;
    let mut sizes = Sizes::read(reader, &SIZES)?;
    let crossed = reader.counts("cross_attention_layers")?.unwrap_or_else(|| vec![3, 8, 13, 18, 23, 28, 33, 38]);
    let there = (0..u64::from(sizes.layers)).filter(|layer| crossed.contains(layer)).count();
    sizes.layers = sizes.layers.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX));
    let ffn = sizes.gated(reader.activation("hidden_act", ActivationKind::Silu)?);
    let stages = pre(Norm::RmsNorm, sizes.attention(), ffn);
    let mut model = sizes.uniform(reader, Norm::RmsNorm, false, stages)?;
    model.embed.vocab = sizes.vocab.saturating_add(PICTURES);
    Ok(model)
}
