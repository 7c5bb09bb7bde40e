//! What a configuration's keys may do to a graph.

use serde_json::Value;

use super::reader::Reader;
use banksia_input::InputError;

/// Keys that change no operator and no shape of a decoder, whatever their value: settings of training, of sampling, of
/// the tokenizer, of rotation, and of how a library computes.
const HARMLESS: [&str; 108] = [
    // Whose file it is.
    "_name_or_path",
    "_from_model_config",
    "model_dtype",
    "_commit_hash",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "model_name",
    "license",
    // Training.
    "initializer_range",
    "initializer_factor",
    "init_std",
    "gradient_checkpointing",
    "selective_checkpoint_enabled",
    "sequence_parallel_enabled",
    "pretraining_tp",
    // Heads of other tasks, which `architectures` would name.
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "task_specific_params",
    "summary_activation",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    // Constants inside an operator.
    "layer_norm_epsilon",
    "layer_norm_eps",
    "layernorm_epsilon",
    "norm_eps",
    "norm_epsilon",
    "rms_norm_eps",
    "scale_attn_by_inverse_layer_idx",
    "scale_attn_weights",
    "reorder_and_upcast_attn",
    "attention_softmax_in_fp32",
    "scale_attention_softmax_in_fp32",
    "rope_theta",
    "rope_base",
    "rope_scaling",
    "rope_parameters",
    "rope_type",
    "rotary_emb_base",
    "original_max_position_embeddings",
    // How a library computes, and what it gives back.
    "use_cache",
    "output_past",
    "output_router_logits",
    "cache_implementation",
    "use_bfloat16",
    "torchscript",
    "tf_legacy_loss",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_flash_attn_2_enabled",
    "attn_implementation",
    "use_flash_attn",
    "use_flash_attention",
    "use_flash_attention_2",
    "chunk_size_feed_forward",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "return_dict",
    "return_dict_in_generate",
    "is_decoder",
    "tie_encoder_decoder",
    // Lengths besides the longest context, which the family reads.
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_sequence_length",
    "max_seq_length",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    // Sampling.
    "max_length",
    "min_length",
    "max_new_tokens",
    "min_new_tokens",
    "max_time",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "diversity_penalty",
    "length_penalty",
    "repetition_penalty",
    "penalty_alpha",
    "exponential_decay_length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "remove_invalid_values",
    "renormalize_logits",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "bad_words_ids",
    "force_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_decoder_ids",
    // The tokenizer.
    "prefix",
    "vocab_file",
    "eos_token_ids",
];

/// Keys whose `false` takes away something that decoders have; any other key that is not known is harmless when false.
const FALSE_TAKES_AWAY: [&str; 14] = [
    "affine",
    "bias",
    "causal",
    "elementwise_affine",
    "embedding",
    "gain",
    "is_causal",
    "norm_affine",
    "positional",
    "rope",
    "rotary",
    "scale",
    "use_lm_head",
    "use_norm",
];

fn harmless(key: &str) -> bool {
    HARMLESS.contains(&key)
        || key.contains("dropout")
        || key.ends_with("_pdrop")
        || key.ends_with("_token_id")
        || key.ends_with("_token_ids")
        || key.ends_with("layerdrop")
        || key.starts_with("tokenizer_")
}

/// Whether a value says that what its key names is not there, in a model with or without biases.
fn absent(key: &str, value: &Value, biased: bool) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(false) => {
            let takes_away = |word: &str| key == word || key.ends_with(&format!("_{word}"));
            !FALSE_TAKES_AWAY.iter().any(|word| takes_away(word) && (biased || *word != "bias"))
        }
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        _ => false,
    }
}

/// Keys that the family has not read, are not known to change no shape, and do not say that what they name is not there.
pub(super) fn unknown<'r>(reader: &'r Reader<'_>, biased: bool) -> impl Iterator<Item = (&'r str, &'r Value)> {
    reader.unread().into_iter().filter(move |(key, value)| !harmless(key) && !absent(key, value, biased))
}

/// There must be no [`unknown`] keys.
pub(super) fn check(reader: &Reader<'_>, family: &str, biased: bool) -> Result<(), InputError> {
    let Some((key, _)) = unknown(reader, biased).next() else { return Ok(()) };
    let problem = format!("is not known to the importer of `{family}`, which cannot say whether it changes the graph");
    let help = "take it out of the file if it changes no operator and no shape, or write the model's sizes as TOML";
    Err(reader.error(key, problem).help(help))
}

/// What no model may say, unless its family has read it.
pub(super) fn check_common(reader: &Reader<'_>) -> Result<(), InputError> {
    for (key, what) in [
        ("auto_map", "names code of the model's own, which may compute anything"),
        ("is_encoder_decoder", "adds an encoder"),
        ("add_cross_attention", "adds cross attention to an encoder"),
        ("cross_attention_hidden_size", "adds cross attention to an encoder"),
        ("pruned_heads", "takes heads out of some layers"),
    ] {
        if !reader.was_read(key) {
            let empty = reader.get(key).is_none_or(|value| absent(key, value, false));
            reader.refuse_unless(key, empty, what)?;
        }
    }
    Ok(())
}
