//! GPT-2: learned positions, biases everywhere, tied embeddings.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::reader::Reader;
use crate::config::GptFile;
use crate::op::ActivationKind;

/// The family.
pub(super) const FAMILY: Family = Family {
    model_type: "gpt2",
    // Without its head the model is the same, since the head's table is the embedding's.
    architectures: &["GPT2LMHeadModel", "GPT2Model"],
    read,
};

fn read(reader: &Reader<'_>) -> Result<GptFile, InputError> {
    reader.only(
        "attention_head_type",
        &[json!("multihead")],
        "shares keys and values between heads, which plain GPT-2 does not",
    )?;
    let width = reader.size("width", &["n_embd", "hidden_size"])?;
    Ok(GptFile {
        ffn_width: reader.optional_size("ffn_width", "n_inner")?,
        activation: reader.activation("activation_function", ActivationKind::Gelu)?,
        tied_embeddings: reader.flag("tie_word_embeddings", true)?,
        layers: reader.size("layers", &["n_layer", "num_hidden_layers"])?,
        heads: reader.size("heads", &["n_head", "num_attention_heads"])?,
        max_positions: reader.positions("n_positions")?,
        width,
        ..reader.base()?
    })
}
