//! T5: an encoder and a decoder with learned biases of distance.

use banksia_input::InputError;
use serde_json::json;

use super::build::{LAYER, all, block};
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, Encoder, FeedForwardSpec, HeadSpec, Mixer, Model, Norm, Stage};

/// T5 and mT5.
pub(super) const FAMILY: Family = Family {
    model_types: &["t5", "mt5"],
    architectures: &["T5ForConditionalGeneration", "T5WithLMHeadModel", "MT5ForConditionalGeneration"],
    read,
    graph: "encoder and decoder, biases by distance, RMS norms, gated or plain feed-forward",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.only("is_encoder_decoder", &[json!(true)], "leaves the encoder out")?;
    reader.get("relative_attention_max_distance");
    // A constant before a tied head.
    reader.get("scale_decoder_outputs");
    let multilingual = reader.text("model_type")? == Some("mt5");
    let width = reader.size("width", &["d_model", "hidden_size"])?;
    let layers = reader.layers(&["num_layers", "num_hidden_layers"], 6)?;
    let decoder_layers = match reader.maybe_size("layers", &["num_decoder_layers"])? {
        Some(given) => u32::try_from(given).unwrap_or(u32::MAX),
        None => layers,
    };
    let heads = reader.size("heads", &["num_heads", "num_attention_heads"])?;
    let head_dim = reader.size_or("head_dim", &["d_kv", "head_dim"], 64)?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let buckets = reader.size_or("relative_buckets", &["relative_attention_num_buckets"], 32)?;
    let (gated, activation) = feed_forward(reader, multilingual)?;
    let inner = reader.size("inner", &["d_ff"])?;
    let ffn = || Mixer::FeedForward(FeedForwardSpec { inner, activation, gated, bias: false });
    let attention = AttentionSpec { relative_buckets: buckets, ..AttentionSpec::new(heads, heads, head_dim) };
    let norm = Norm::RmsNorm;
    let seen = AttentionSpec { causal: false, ..attention.clone() };
    let cross = AttentionSpec { cross: true, causal: false, relative_buckets: 0, ..attention.clone() };
    let encoder = Encoder {
        width,
        embed: Embed::of(vocab),
        pattern: all(LAYER, layers),
        blocks: vec![block(LAYER, vec![Stage::pre(norm, Mixer::Attention(seen)), Stage::pre(norm, ffn())])],
        final_norm: Some(norm),
    };
    let stages = vec![
        Stage::pre(norm, Mixer::Attention(attention)),
        Stage::pre(norm, Mixer::Attention(cross)),
        Stage::pre(norm, ffn()),
    ];
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", !multilingual)?, ..HeadSpec::of(norm, vocab) };
    let embed = Embed { shared: true, ..Embed::of(vocab) };
    Ok(Model {
        pattern: all(LAYER, decoder_layers),
        blocks: vec![block(LAYER, stages)],
        encoder: Some(encoder),
        // No table bounds the context; it was trained on so many.
        ..reader.model(width, reader.positions_or("n_positions", 512)?, embed, head)?
    })
}

/// `feed_forward_proj`: an activation, or `gated-` and an activation.
fn feed_forward(reader: &Reader<'_>, multilingual: bool) -> Result<(bool, ActivationKind), InputError> {
    // Derived from it by the library.
    reader.get("is_gated_act");
    reader.get("dense_act_fn");
    let default = if multilingual { "gated-gelu" } else { "relu" };
    let text = reader.text("feed_forward_proj")?.unwrap_or(default);
    let (gated, name) = match text.strip_prefix("gated-") {
        Some(name) => (true, name),
        None => (false, text),
    };
    match name {
        "relu" => Ok((gated, ActivationKind::Relu)),
        "gelu" | "gelu_new" => Ok((gated, ActivationKind::Gelu)),
        "silu" | "swish" => Ok((gated, ActivationKind::Silu)),
        _ => {
            let error = reader.error("feed_forward_proj", format!("is `{text}`, which is not known"));
            Err(error.help("known: relu, gelu, silu, gated-gelu, gated-silu"))
        }
    }
}
