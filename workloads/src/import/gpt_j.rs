//! GPT-J and CodeGen: attention and feed-forward side by side under one norm, a part of each head rotated.

use banksia_input::InputError;
use serde_json::json;

use super::build::{LAYER, all, block};
use super::classic;
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, HeadSpec, Model, Norm};

/// Both families.
pub(super) const FAMILY: Family = Family {
    model_types: &["gptj", "codegen"],
    architectures: &["GPTJForCausalLM", "CodeGenForCausalLM"],
    read,
    graph: "parallel attention and feed-forward under one norm, partial rotary, biases of feed-forward and head",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.size("width", &["n_embd", "hidden_size"])?;
    let layers = reader.layers(&["n_layer", "num_hidden_layers"], 28)?;
    let heads = reader.size("heads", &["n_head", "num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let head_dim = reader.head_dim(width, heads)?;
    reader.only("rotary", &[json!(true)], "has other positions")?;
    // Null rotates all of the width.
    let rotary = match reader.maybe_size("rotary_dim", &["rotary_dim"])? {
        Some(rotated) => rotated,
        None if reader.get("rotary_dim").is_some() => head_dim,
        None => 64,
    };
    let attention = AttentionSpec { rotary_dim: rotary, ..classic::attention(heads, head_dim, false) };
    let inner = reader.size_or("inner", &["n_inner"], 4 * width)?;
    let ffn = classic::ffn(inner, reader.activation("activation_function", ActivationKind::Gelu)?, true);
    let head = HeadSpec {
        tied: reader.flag("tie_word_embeddings", false)?,
        bias: true,
        ..HeadSpec::of(Norm::LayerNorm, vocab)
    };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, classic::parallel(Norm::LayerNorm, attention, ffn))],
        ..reader.model(width, reader.positions("n_positions")?, Embed::of(vocab), head)?
    })
}
