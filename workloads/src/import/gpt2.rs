//! GPT-2: learned positions, biases everywhere, tied embeddings.

use banksia_input::InputError;
use serde_json::json;

use super::build::{LAYER, all, block};
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, FeedForwardSpec, HeadSpec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["gpt2"],
    // Without its head the model is the same, since the head's table is the embedding's.
    architectures: &["GPT2LMHeadModel", "GPT2Model"],
    read,
    graph: "learned positions, biases, tied head",
    refuses: "multi-query variants behind the same `model_type`",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.only(
        "attention_head_type",
        &[json!("multihead")],
        "shares keys and values between heads, which plain GPT-2 does not",
    )?;
    let width = reader.sized("width", &["n_embd", "hidden_size"], 768)?;
    let layers = reader.layers(&["n_layer", "num_hidden_layers"], 12)?;
    let heads = reader.sized("heads", &["n_head", "num_attention_heads"], 12)?;
    let vocab = reader.sized("vocab", &["vocab_size"], 50257)?;
    let positions = reader.positions("n_positions")?;
    let attention = AttentionSpec {
        qkv_bias: true,
        out_bias: true,
        ..AttentionSpec::new(heads, heads, reader.head_dim(width, heads)?)
    };
    let ffn = FeedForwardSpec {
        inner: reader.size_or("inner", &["n_inner"], 4 * width)?,
        activation: reader.activation("activation_function", ActivationKind::Gelu)?,
        gated: false,
        bias: true,
    };
    let embed = Embed { position_rows: positions, ..Embed::of(vocab) };
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", true)?, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(
            LAYER,
            vec![
                Stage::pre(Norm::LayerNorm, Mixer::Attention(attention)),
                Stage::pre(Norm::LayerNorm, Mixer::FeedForward(ffn)),
            ],
        )],
        ..reader.model(width, positions, embed, head)?
    })
}
