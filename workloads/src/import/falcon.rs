//! Falcon: one key head or a few, attention and feed-forward side by side, rotation or slopes of distance.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::classic;
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Branch, Embed, HeadSpec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["falcon", "RefinedWeb", "RefinedWebModel"],
    architectures: &["FalconForCausalLM", "RWForCausalLM"],
    read,
    graph: "multi- and grouped-query attention, parallel blocks with one norm or two, rotary or ALiBi, tied head",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.size("width", &["hidden_size", "n_embed"])?;
    let layers = reader.layers(&["num_hidden_layers", "n_layer"], 32)?;
    let heads = reader.size("heads", &["num_attention_heads", "n_head"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let head_dim = reader.head_dim(width, heads)?;
    let bias = reader.flag("bias", false)?;
    let own = reader.maybe_size("kv_heads", &["num_kv_heads", "n_head_kv"])?;
    // The first 40B says that it is of the new kind by its number of key heads.
    let old_spelling = reader.text("model_type")? == Some("RefinedWeb");
    let new = reader.flag("new_decoder_architecture", old_spelling)?;
    let multi_query = reader.flag("multi_query", true)?;
    let kv_heads = if new || !multi_query { own.unwrap_or(heads) } else { 1 };
    let parallel = reader.flag("parallel_attn", true)?;
    let alibi = reader.flag("alibi", false)?;
    for key in ["apply_residual_connection_post_layernorm", "attention_softmax_in_fp32"] {
        reader.refuse_unless(
            key,
            reader.get(key).is_none_or(|v| v.is_null() || *v == false),
            "adds what is normalised already",
        )?;
    }
    let attention = AttentionSpec {
        kv_heads,
        alibi,
        rotary_dim: if alibi { 0 } else { head_dim - head_dim % 2 },
        ..classic::attention(heads, head_dim, bias)
    };
    let inner = reader.size_or("inner", &["ffn_hidden_size"], 4 * width)?;
    let ffn = classic::ffn(inner, reader.activation("activation", ActivationKind::Gelu)?, bias);
    let norms = reader.count("num_ln_in_parallel_attn")?;
    let norm = Norm::LayerNorm;
    let stages = if new && norms.unwrap_or(2) == 2 {
        let own = |mixer| Branch { norm: Some(norm), ..Branch::plain(mixer) };
        let branches = vec![own(Mixer::Attention(attention)), own(Mixer::FeedForward(ffn))];
        vec![Stage { norm: None, branches, sum_norm: None, post_norm: None, no_residual: false }]
    } else if new || parallel {
        classic::parallel(norm, attention, ffn)
    } else {
        classic::pre(norm, attention, ffn)
    };
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", true)?, ..HeadSpec::of(norm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, stages)],
        ..reader.model(width, reader.positions_or("max_position_embeddings", 2048)?, Embed::of(vocab), head)?
    })
}
