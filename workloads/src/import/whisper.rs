//! Whisper: an encoder of audio frames behind two convolutions, and a decoder.

use banksia_input::InputError;
use serde_json::json;

use super::build::{LAYER, all, block};
use super::classic;
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Embed, Encoder, HeadSpec, Mixer, Model, Norm, Stage};

/// The family.
pub(super) const FAMILY: Family = Family {
    model_types: &["whisper"],
    architectures: &["WhisperForConditionalGeneration", "WhisperModel"],
    read,
    graph: "encoder of audio frames and decoder; the convolutions before the encoder are counted, not run",
    refuses: "",
};

fn read(reader: &Reader<'_>) -> Result<Model, InputError> {
    reader.only("is_encoder_decoder", &[json!(true)], "leaves the encoder out")?;
    for key in [
        "apply_spec_augment",
        "median_filter_width",
        "scale_embedding",
        "use_weighted_layer_sum",
        "classifier_proj_size",
        "begin_suppress_tokens",
        "num_hidden_layers",
        "attention_ffn_dim",
        "is_multilingual",
    ] {
        // Of training, of other tasks, and of sampling.
        reader.get(key);
    }
    for key in reader.keys_with_prefix("mask_") {
        reader.get(&key);
    }
    let width = reader.size("width", &["d_model", "hidden_size"])?;
    let vocab = reader.size("vocab", &["vocab_size"])?;
    let frames = reader.size_or("position_rows", &["max_source_positions"], 1500)?;
    let positions = reader.size_or("max_positions", &["max_target_positions"], 448)?;
    let bins = reader.size_or("num_mel_bins", &["num_mel_bins"], 80)?;
    let activation = reader.activation("activation_function", ActivationKind::Gelu)?;
    let norm = Norm::LayerNorm;
    // Keys have no biases; the products of queries and values have.
    let attention = |heads: u64| Ok(classic::attention(heads, reader.head_dim(width, heads)?, true));
    let encoder_heads = reader.size("heads", &["encoder_attention_heads"])?;
    let encoder_ffn = classic::ffn(reader.size("inner", &["encoder_ffn_dim"])?, activation, true);
    let seen = AttentionSpec { causal: false, ..attention(encoder_heads)? };
    let encoder_layers = reader.layers(&["encoder_layers"], 4)?;
    let decoder_heads = reader.size("heads", &["decoder_attention_heads"])?;
    let decoder_ffn = classic::ffn(reader.size("inner", &["decoder_ffn_dim"])?, activation, true);
    let own = attention(decoder_heads)?;
    let cross = AttentionSpec { cross: true, causal: false, ..own.clone() };
    let decoder_layers = reader.layers(&["decoder_layers"], 4)?;
    let encoder = Encoder {
        width,
        embed: Embed {
            position_rows: frames,
            // Two convolutions of three taps, with biases.
            other_parameters: width.saturating_mul(bins.saturating_add(width).saturating_mul(3).saturating_add(2)),
            ..Embed::of(0)
        },
        pattern: all(LAYER, encoder_layers),
        blocks: vec![block(LAYER, classic::pre(norm, seen, encoder_ffn))],
        final_norm: Some(norm),
    };
    let stages = vec![
        Stage::pre(norm, Mixer::Attention(own)),
        Stage::pre(norm, Mixer::Attention(cross)),
        Stage::pre(norm, Mixer::FeedForward(decoder_ffn)),
    ];
    let head = HeadSpec { tied: reader.flag("tie_word_embeddings", true)?, ..HeadSpec::of(norm, vocab) };
    let embed = Embed { position_rows: positions, ..Embed::of(vocab) };
    Ok(Model {
        pattern: all(LAYER, decoder_layers),
        blocks: vec![block(LAYER, stages)],
        encoder: Some(encoder),
        ..reader.model(width, positions, embed, head)?
    })
}
