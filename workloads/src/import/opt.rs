//! OPT: GPT-3's graph, with two more rows of positions.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::reader::Reader;
use crate::config::GptFile;
use crate::op::ActivationKind;

/// The family.
pub(super) const FAMILY: Family = Family {
    model_type: "opt",
    // Without its head the model is the same, since the head's table is the embedding's.
    architectures: &["OPTForCausalLM", "OPTModel"],
    read,
};

fn read(reader: &Reader<'_>) -> Result<GptFile, InputError> {
    let width = reader.size("width", &["hidden_size"])?;
    reader.only("do_layer_norm_before", &[json!(true)], "puts the norm after the residual")?;
    let projected = reader.integer("word_embed_proj_dim")?.unwrap_or(width);
    reader.refuse_unless(
        "word_embed_proj_dim",
        projected == width,
        "makes the embedding narrower than the hidden state, with projections between",
    )?;
    reader.only("_remove_final_layer_norm", &[json!(false)], "leaves the final norm out")?;
    reader.only("layer_norm_elementwise_affine", &[json!(true)], "makes norms without gain and shift")?;
    reader.only("learned_embeddings", &[json!(true)], "computes its positions instead of learning them")?;
    reader.only("scale_embeddings", &[json!(false)], "scales the embedding")?;
    let max_positions = reader.positions("max_position_embeddings")?;
    Ok(GptFile {
        layers: reader.size("layers", &["num_hidden_layers"])?,
        heads: reader.size("heads", &["num_attention_heads"])?,
        ffn_width: Some(reader.size("ffn_width", &["ffn_dim"])?),
        // OPT's positions start at 2.
        position_rows: max_positions.checked_add(2),
        activation: reader.activation("activation_function", ActivationKind::Relu)?,
        bias: reader.flag("enable_bias", true)?,
        tied_embeddings: reader.flag("tie_word_embeddings", true)?,
        max_positions,
        width,
        ..reader.base()?
    })
}
