//! GPT-NeoX and Pythia: attention and feed-forward side by side, a share of each head rotated.

use banksia_input::InputError;
use serde_json::json;

use super::family::Family;
use super::reader::Reader;
use crate::config::{GptFile, Positions};
use crate::op::ActivationKind;

/// The family.
pub(super) const FAMILY: Family = Family { model_type: "gpt_neox", architectures: &["GPTNeoXForCausalLM"], read };

fn read(reader: &Reader<'_>) -> Result<GptFile, InputError> {
    let width = reader.size("width", &["hidden_size"])?;
    let heads = reader.size("heads", &["num_attention_heads"])?;
    reader.only(
        "attention_bias",
        &[json!(true)],
        "leaves out the biases of attention but not of the feed-forward layer",
    )?;
    // One number under three names, in the order of the library's versions.
    let mut share: Option<(&str, f64)> = None;
    for key in ["rotary_pct", "partial_rotary_factor", "rope_parameters.partial_rotary_factor"] {
        let Some(value) = reader.share(key)? else { continue };
        match share {
            Some((first, other)) if other.total_cmp(&value).is_ne() => {
                return Err(reader.error(key, format!("is {value}, but `{first}` is {other}")));
            }
            Some(_) => {}
            None => {
                share = Some((key, value));
                reader.rename("rotary_dim", key);
            }
        }
    }
    let share = share.map_or(0.25, |(_, value)| value);
    let head_dim = if heads > 0 { width / heads } else { 0 };
    // Hugging Face truncates too; both numbers are far below 2^52, so that the product is exact enough.
    let rotary_dim = (head_dim.clamp(0, 1 << 30) as f64 * share) as i64;
    Ok(GptFile {
        layers: reader.size("layers", &["num_hidden_layers"])?,
        max_positions: reader.positions("max_position_embeddings")?,
        ffn_width: Some(reader.size("ffn_width", &["intermediate_size"])?),
        activation: reader.activation("hidden_act", ActivationKind::Gelu)?,
        tied_embeddings: reader.flag("tie_word_embeddings", false)?,
        positions: if rotary_dim > 0 { Positions::Rotary } else { Positions::None },
        rotary_dim: (rotary_dim > 0).then_some(rotary_dim),
        parallel_block: reader.flag("use_parallel_residual", true)?,
        width,
        heads,
        ..reader.base()?
    })
}
