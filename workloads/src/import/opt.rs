//! OPT: GPT-3's graph, with two more rows of positions; OPT-350m has a narrow embedding and norms after the residual.

use banksia_input::InputError;
use serde_json::json;

use super::build::{LAYER, all, block};
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, FeedForwardSpec, HeadSpec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["opt"],
    // Without its head the model is the same, since the head's table is the embedding's.
    architectures: &["OPTForCausalLM", "OPTModel"],
    read,
    graph: "learned positions, biases, tied head; norms before or after the residual, an embedding of another width (OPT-350m)",
    refuses: "`learned_embeddings`, `scale_embeddings` (Galactica-like variants)",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.sized("width", &["hidden_size"], 768)?;
    let layers = reader.layers(&["num_hidden_layers"], 12)?;
    let heads = reader.sized("heads", &["num_attention_heads"], 12)?;
    let vocab = reader.sized("vocab", &["vocab_size"], 50272)?;
    let projected = reader.size_or("embed_width", &["word_embed_proj_dim"], width)?;
    reader.only("learned_embeddings", &[json!(true)], "computes its positions instead of learning them")?;
    reader.only("scale_embeddings", &[json!(false)], "scales the embedding")?;
    let positions = reader.positions("max_position_embeddings")?;
    let bias = reader.flag("enable_bias", true)?;
    let affine = reader.flag("layer_norm_elementwise_affine", true)?;
    let norm = if affine { Norm::LayerNorm } else { Norm::LayerNormPlain };
    let attention = Mixer::Attention(AttentionSpec {
        qkv_bias: bias,
        out_bias: bias,
        ..AttentionSpec::new(heads, heads, reader.head_dim(width, heads)?)
    });
    let ffn = Mixer::FeedForward(FeedForwardSpec {
        inner: reader.sized("inner", &["ffn_dim"], 3072)?,
        activation: reader.activation("activation_function", ActivationKind::Relu)?,
        gated: false,
        bias,
    });
    let before = reader.flag("do_layer_norm_before", true)?;
    let stage = if before { Stage::pre } else { Stage::post };
    // With norms after the residuals, the last layer has normalised already.
    let last = before && !reader.flag("_remove_final_layer_norm", false)?;
    let embed = Embed {
        width: if projected == width { 0 } else { projected },
        // OPT's positions start at 2.
        position_rows: positions.saturating_add(2),
        ..Embed::of(vocab)
    };
    let head = HeadSpec {
        norm: last.then_some(norm),
        tied: reader.flag("tie_word_embeddings", true)?,
        ..HeadSpec::of(norm, vocab)
    };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, vec![stage(norm, attention), stage(norm, ffn)])],
        ..reader.model(width, positions, embed, head)?
    })
}
