//! LLaMA and Mistral: root-mean-square norms, rotated heads, a gated feed-forward layer, grouped queries.

use banksia_input::InputError;
use serde_json::{Value, json};

use super::family::Family;
use super::reader::Reader;
use crate::config::{GptFile, Positions};
use crate::model::Norm;
use crate::op::ActivationKind;

/// The families.
pub(super) const LLAMA: Family = Family {
    model_type: "llama",
    // The second is how the first converted checkpoints spell it.
    architectures: &["LlamaForCausalLM", "LLaMAForCausalLM"],
    read: |reader| read(reader, false),
};
pub(super) const MISTRAL: Family =
    Family { model_type: "mistral", architectures: &["MistralForCausalLM"], read: |reader| read(reader, true) };

fn read(reader: &Reader<'_>, mistral: bool) -> Result<GptFile, InputError> {
    let max_positions = reader.positions("max_position_embeddings")?;
    let bias = reader.flag("attention_bias", false)?;
    let ffn_bias = reader.flag("mlp_bias", false)?;
    reader.refuse_unless(
        if bias { "attention_bias" } else { "mlp_bias" },
        bias == ffn_bias,
        "puts biases on attention or the feed-forward layer only",
    )?;
    attends_to_all(reader, mistral, max_positions)?;
    for key in [
        "partial_rotary_factor",
        "rotary_pct",
        "rope_parameters.partial_rotary_factor",
        "rope_scaling.partial_rotary_factor",
    ] {
        let whole = reader.share(key)?.is_none_or(|share| share >= 1.0);
        reader.refuse_unless(key, whole, "rotates a part of each head, which these families do not")?;
    }
    let kv_heads = match reader.optional_size("kv_heads", "num_key_value_heads")? {
        // The library's default is not the number of heads.
        None if mistral => return Err(reader.missing("num_key_value_heads")),
        given => given,
    };
    Ok(GptFile {
        layers: reader.size("layers", &["num_hidden_layers"])?,
        width: reader.size("width", &["hidden_size"])?,
        heads: reader.size("heads", &["num_attention_heads"])?,
        kv_heads,
        head_dim: reader.optional_size("head_dim", "head_dim")?,
        ffn_width: Some(reader.size("ffn_width", &["intermediate_size"])?),
        activation: reader.activation("hidden_act", ActivationKind::Silu)?,
        gated: true,
        bias,
        norm: Norm::RmsNorm,
        positions: Positions::Rotary,
        tied_embeddings: reader.flag("tie_word_embeddings", false)?,
        max_positions,
        ..reader.base()?
    })
}

/// No layer may look at a part of the context only.
fn attends_to_all(reader: &Reader<'_>, mistral: bool, max_positions: i64) -> Result<(), InputError> {
    let window = reader.integer("sliding_window")?;
    // Mistral's window has no switch.
    let off = !reader.flag("use_sliding_window", true)? && !mistral;
    let windowed = !off && window.is_some_and(|window| window < max_positions);
    reader.refuse_unless("sliding_window", !windowed, "limits attention to a window")?;
    // The layers that a window would begin or end at.
    reader.get("max_window_layers");
    let full = |kind: &Value| *kind == json!("full_attention");
    let all = match reader.get("layer_types") {
        None | Some(Value::Null) => true,
        Some(Value::Array(kinds)) => kinds.iter().all(full),
        Some(_) => false,
    };
    reader.refuse_unless("layer_types", all, "makes layers of other kinds than full attention")
}
