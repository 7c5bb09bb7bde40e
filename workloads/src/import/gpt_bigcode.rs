//! SantaCoder and StarCoder: GPT-2's graph with one key head for all queries.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::classic;
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, HeadSpec, Model, Norm};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["gpt_bigcode"],
    architectures: &["GPTBigCodeForCausalLM"],
    read,
    graph: "GPT-2's with multi-query attention",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.size("width", &["n_embd", "hidden_size"])?;
    let layers = reader.layers(&["n_layer", "num_hidden_layers"], 12)?;
    let heads = reader.size("heads", &["n_head", "num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let positions = reader.positions("n_positions")?;
    for key in [
        "attention_softmax_in_fp32",
        "scale_attention_softmax_in_fp32",
        "runner_max_sequence_length",
        "inference_runner",
        "validate_runner_input",
        "pad_key_length",
        "pre_allocate_kv_cache",
        "num_key_value_heads",
    ] {
        // How a library computes; the key heads are said by `multi_query`.
        reader.get(key);
    }
    let multi_query = reader.flag("multi_query", true)?;
    let attention = AttentionSpec {
        kv_heads: if multi_query { 1 } else { heads },
        ..classic::attention(heads, reader.head_dim(width, heads)?, true)
    };
    let inner = reader.size_or("inner", &["n_inner"], 4 * width)?;
    let ffn = classic::ffn(inner, reader.activation("activation_function", ActivationKind::Gelu)?, true);
    let embed = Embed { position_rows: positions, ..Embed::of(vocab) };
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", true)?, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, classic::pre(Norm::LayerNorm, attention, ffn))],
        ..reader.model(width, positions, embed, head)?
    })
}
