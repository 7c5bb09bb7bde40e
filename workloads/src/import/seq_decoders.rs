//! Decoders of the first years: GPT, CTRL, XGLM, BioGPT.

use banksia_input::InputError;

use super::build::{LAYER, all, block};
use super::classic;
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{Embed, HeadSpec, Model, Norm};

/// The first GPT.
pub(super) const GPT: Family = Family {
    model_types: &["openai-gpt"],
    architectures: &["OpenAIGPTLMHeadModel", "OpenAIGPTModel"],
    read: gpt,
    graph: "norms after the residual, learned positions, biases, tied head",
    refuses: "",
};
/// CTRL.
pub(super) const CTRL: Family = Family {
    model_types: &["ctrl"],
    architectures: &["CTRLLMHeadModel"],
    read: ctrl,
    graph: "computed positions, biases, the head's too, tied head",
    refuses: "",
};
/// XGLM.
pub(super) const XGLM: Family = Family {
    model_types: &["xglm"],
    architectures: &["XGLMForCausalLM"],
    read: xglm,
    graph: "computed positions, biases, tied head",
    refuses: "`add_cross_attention`",
};
/// BioGPT.
pub(super) const BIOGPT: Family = Family {
    model_types: &["biogpt"],
    architectures: &["BioGptForCausalLM"],
    read: biogpt,
    graph: "learned positions, biases, tied head",
    refuses: "",
};

fn gpt(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.size("width", &["n_embd", "hidden_size"])?;
    let layers = reader.layers(&["n_layer", "num_hidden_layers"], 12)?;
    let heads = reader.size("heads", &["n_head", "num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let positions = reader.positions("n_positions")?;
    reader.get("predict_special_tokens");
    let attention = classic::attention(heads, reader.head_dim(width, heads)?, true);
    let ffn = classic::ffn(4 * width, reader.activation("afn", ActivationKind::Gelu)?, true);
    let embed = Embed { position_rows: positions, ..Embed::of(vocab) };
    let tied = reader.flag("tie_word_embeddings", true)?;
    let head = HeadSpec { norm: None, tied, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, classic::post(Norm::LayerNorm, attention, ffn))],
        ..reader.model(width, positions, embed, head)?
    })
}

fn ctrl(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.size("width", &["n_embd", "hidden_size"])?;
    let layers = reader.layers(&["n_layer", "num_hidden_layers"], 48)?;
    let heads = reader.size("heads", &["n_head", "num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let attention = classic::attention(heads, reader.head_dim(width, heads)?, true);
    let ffn = classic::ffn(reader.size_or("inner", &["dff"], 8192)?, ActivationKind::Relu, true);
    let tied = reader.flag("tie_word_embeddings", true)?;
    let head = HeadSpec { tied, bias: true, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, classic::pre(Norm::LayerNorm, attention, ffn))],
        ..reader.model(width, reader.positions_or("n_positions", 256)?, Embed::of(vocab), head)?
    })
}

fn xglm(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.size("width", &["d_model", "hidden_size"])?;
    let layers = reader.layers(&["num_layers", "num_hidden_layers"], 24)?;
    let heads = reader.size("heads", &["attention_heads", "num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    reader.get("scale_embedding");
    let attention = classic::attention(heads, reader.head_dim(width, heads)?, true);
    let inner = reader.size_or("inner", &["ffn_dim"], 4096)?;
    let ffn = classic::ffn(inner, reader.activation("activation_function", ActivationKind::Gelu)?, true);
    let tied = reader.flag("tie_word_embeddings", true)?;
    let head = HeadSpec { tied, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, classic::pre(Norm::LayerNorm, attention, ffn))],
        ..reader.model(width, reader.positions_or("max_position_embeddings", 2048)?, Embed::of(vocab), head)?
    })
}

fn biogpt(reader: &Reader<'_>) -> Result<Model, InputError> {
    let width = reader.size("width", &["hidden_size"])?;
    let layers = reader.layers(&["num_hidden_layers"], 24)?;
    let heads = reader.size("heads", &["num_attention_heads"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let positions = reader.positions("max_position_embeddings")?;
    reader.get("scale_embedding");
    let attention = classic::attention(heads, reader.head_dim(width, heads)?, true);
    let inner = reader.size_or("inner", &["intermediate_size"], 4096)?;
    let ffn = classic::ffn(inner, reader.activation("hidden_act", ActivationKind::Gelu)?, true);
    // Its positions start at 2.
    let embed = Embed { position_rows: positions.saturating_add(2), ..Embed::of(vocab) };
    let tied = reader.flag("tie_word_embeddings", true)?;
    let head = HeadSpec { tied, ..HeadSpec::of(Norm::LayerNorm, vocab) };
    Ok(Model {
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, classic::pre(Norm::LayerNorm, attention, ffn))],
        ..reader.model(width, positions, embed, head)?
    })
}
