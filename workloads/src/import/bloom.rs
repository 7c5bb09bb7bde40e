//! BLOOM: slopes of distance in place of positions, a norm of the embedding, biases.

use banksia_input::InputError;
use serde_json::json;

use super::build::{LAYER, all, block};
use super::classic;
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, HeadSpec, Model, Norm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["bloom"],
    // Without its head the model is the same, since the head's table is the embedding's.
    architectures: &["BloomForCausalLM", "BloomModel"],
    read,
    graph: "ALiBi, a norm of the embedding, biases, tied head",
    refuses: "`apply_residual_connection_post_layernorm`",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.only("apply_residual_connection_post_layernorm", &[json!(false)], "adds what is normalised already")?;
    for key in [
        "bias_dropout_fusion",
        "masked_softmax_fusion",
        "slow_but_exact",
        "skip_bias_add",
        "skip_bias_add_qkv",
        "attention_softmax_in_fp32",
        "offset_alibi",
        "unk_token_id",
    ] {
        // How a library computes.
        reader.get(key);
    }
    let width = reader.size("width", &["hidden_size", "n_embed", "n_embd"])?;
    let layers = reader.layers(&["n_layer", "num_hidden_layers"], 2)?;
    let heads = reader.size("heads", &["n_head", "num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let attention = AttentionSpec { alibi: true, ..classic::attention(heads, reader.head_dim(width, heads)?, true) };
    let inner = reader.size_or("inner", &["n_inner"], 4 * width)?;
    let embed = Embed { norm: Some(Norm::LayerNorm), ..Embed::of(vocab) };
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", true)?, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    let stages = classic::pre(Norm::LayerNorm, attention, classic::ffn(inner, ActivationKind::Gelu, true));
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, stages)],
        // No table bounds the context; it was trained on so many.
        ..reader.model(width, reader.positions_or("seq_length", 2048)?, embed, head)?
    })
}
