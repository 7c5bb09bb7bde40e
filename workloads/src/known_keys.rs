//! Keys that other tools have, and what is said to a user who writes them here.

use banksia_input::InputError;

/// Keys that are called otherwise here: theirs, and what to write instead.
const CALLED_OTHERWISE: &[(&[&str], &str)] = &[
    (
        &["n_layer", "n_layers", "num_layers", "num_hidden_layers", "depth"],
        "it is called `layers` here, a key of the model",
    ),
    (
        &["hidden_size", "hidden_dim", "d_model", "n_embd", "dim", "embedding_dim", "model_dim"],
        "it is called `width` here, a key of the model",
    ),
    (
        &["n_head", "n_heads", "num_heads", "num_attention_heads", "attention_heads"],
        "it is called `heads` here, a key of the model",
    ),
    (
        &["n_kv_heads", "num_kv_heads", "num_key_value_heads", "n_head_kv", "num_query_groups"],
        "it is called `kv_heads` here, a key of the model",
    ),
    (&["head_size", "head_width", "d_head", "kv_channels"], "it is called `head_dim` here, a key of the model"),
    (
        &["intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner", "d_ff", "inter_size", "hidden_features"],
        "it is called `ffn_width` here, a key of the model",
    ),
    (&["vocab_size", "n_vocab", "vocabulary", "vocabulary_size"], "it is called `vocab` here, a key of the model"),
    (
        &["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "max_model_len"],
        "it is called `max_positions` here, a key of the model",
    ),
    (
        &["tie_word_embeddings", "tie_embeddings", "tied", "share_embeddings"],
        "it is called `tied_embeddings` here, a key of the model",
    ),
    (
        &["torch_dtype", "data_type", "precision", "weight_dtype", "weights_dtype"],
        "it is called `dtype` here, a key of the model: one type for weights, activations and KV cache",
    ),
    (&["hidden_act", "activation_function"], "it is called `activation` here, a key of the model"),
    (
        &["use_bias", "attention_bias"],
        "it is called `bias` here, a key of the model: of all the layers' linear operators",
    ),
    (&["use_parallel_residual", "parallel_residual"], "it is called `parallel_block` here, a key of the model"),
    (
        &["batch_size", "max_batch_size", "max_num_seqs", "num_seqs", "sequences", "concurrency"],
        "it is called `batch` here, a key of the generation: sequences that run together from the first step to the last",
    ),
    (
        &[
            "input_len",
            "input_length",
            "input_tokens",
            "prompt_len",
            "prompt_length",
            "isl",
            "prefill_tokens",
            "seq_len",
        ],
        "it is called `prompt_tokens` here, a key of the generation",
    ),
    (
        &[
            "output_len",
            "output_length",
            "output_tokens",
            "max_new_tokens",
            "max_tokens",
            "osl",
            "decode_tokens",
            "new_tokens",
            "gen_len",
        ],
        "it is called `generated_tokens` here, a key of the generation",
    ),
    (
        &["past_tokens", "past_len", "past_length", "context_len", "context_length", "prefix_tokens", "cached_tokens"],
        "it is called `context_tokens` here, a key of the generation: tokens in the cache before the first step",
    ),
];

/// What is not modelled: the keys by which other tools know it, and what can be done instead.
const NOT_MODELLED: &[(&[&str], &str)] = &[
    (
        &["tensor_parallel", "tensor_parallel_size", "tensor_model_parallel_size", "tp", "tp_size"],
        "tensor parallelism is not modelled: a model runs on one machine",
    ),
    (
        &["pipeline_parallel", "pipeline_parallel_size", "pipeline_model_parallel_size", "pp", "pp_size"],
        "pipeline parallelism is not modelled: a model runs on one machine",
    ),
    (
        &[
            "data_parallel",
            "data_parallel_size",
            "dp",
            "dp_size",
            "world_size",
            "num_gpus",
            "n_gpus",
            "gpus",
            "devices",
        ],
        "several devices are not modelled: a model runs on one machine",
    ),
    (
        &["expert_parallel", "expert_parallel_size", "enable_expert_parallel", "ep", "ep_size"],
        "expert parallelism is not modelled: a model runs on one machine",
    ),
    (
        &["context_parallel", "context_parallel_size", "sequence_parallel", "cp", "cp_size"],
        "sequence parallelism is not modelled: a model runs on one machine",
    ),
    (
        &["kv_cache_dtype", "kv_dtype", "cache_dtype", "activation_dtype", "act_dtype"],
        "a type of its own for a part of the model is not modelled: `dtype`, a key of the model, is that of weights, activations and KV cache",
    ),
    (
        &[
            "quantization",
            "quantization_config",
            "quant",
            "quant_algo",
            "weight_bits",
            "w_bit",
            "load_in_4bit",
            "load_in_8bit",
        ],
        "quantisation by layer is not modelled: `dtype`, a key of the model, is the type of the whole model",
    ),
    (
        &["sliding_window", "attention_window", "window_size", "layer_types"],
        "attention to a window is not modelled: every layer attends to the whole context",
    ),
    (
        &[
            "num_experts",
            "num_local_experts",
            "n_routed_experts",
            "n_experts",
            "experts",
            "num_experts_per_tok",
            "moe_intermediate_size",
            "router",
        ],
        "mixtures of experts are not modelled in this table: every layer has one feed-forward part",
    ),
    (
        &[
            "speculative",
            "speculative_config",
            "speculative_model",
            "num_speculative_tokens",
            "draft_model",
            "draft_vocab_size",
        ],
        "speculative decoding is not modelled: each step gives one token of each sequence",
    ),
    (
        &["chunked_prefill", "enable_chunked_prefill", "prefill_chunk", "prefill_chunk_size", "max_num_batched_tokens"],
        "chunked prefill is not modelled: the prompt is one step; one chunk over its past is `prompt_tokens` with `context_tokens`",
    ),
    (
        &["prefix_caching", "enable_prefix_caching", "page_size", "block_size", "paged"],
        "paging of the KV cache is not modelled; tokens that are cached before the first step are `context_tokens`",
    ),
    (
        &["request_rate", "arrival_rate", "requests", "num_requests", "num_prompts", "trace", "scheduler"],
        "requests that come and go are not modelled in this table: all sequences have one length",
    ),
    (
        &["beam_width", "num_beams", "best_of"],
        "beam search is not modelled; beams that share nothing are sequences: use `batch`",
    ),
    (
        &["temperature", "top_k", "top_p", "sampling", "repetition_penalty"],
        "sampling is not modelled: the likeliest token is chosen; `lm_head = false` leaves the choice out",
    ),
    (&["lora", "lora_rank", "max_lora_rank", "adapters"], "adapters are not modelled"),
    (&["encoder_layers", "cross_attention", "is_encoder_decoder"], "encoders are not modelled in this table"),
    (&["training", "backward", "optimizer", "gradient_accumulation"], "training is not modelled in this table"),
];

/// What to say of a key of other tools that no table of a workload has: what it is called here, or that what it stands for
/// is not modelled. `None` for a key that is not known at all, or that may be a slip of the pen.
pub fn not_modelled(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let tables = CALLED_OTHERWISE.iter().chain(NOT_MODELLED);
    tables.into_iter().find(|(keys, _)| keys.contains(&key.as_str())).map(|(_, help)| *help)
}

/// The error with better help, if it is about an unknown key that [`not_modelled`] knows; any other error as it is.
pub fn explain_key(error: InputError) -> InputError {
    // The words are those of the reader of files, whatever the table.
    let known = (error.problem == "is not a key of this table")
        .then(|| error.key.as_deref().and_then(|key| not_modelled(key.rsplit('.').next().unwrap_or(key))))
        .flatten();
    match known {
        Some(help) => error.help(help),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::GptConfig;

    #[test]
    fn no_key_is_explained_twice_or_is_one_of_ours() {
        let all = || CALLED_OTHERWISE.iter().chain(NOT_MODELLED).flat_map(|(keys, _)| keys.iter());
        assert_eq!(all().count(), all().collect::<BTreeSet<_>>().len());
        let ours = "name layers width heads kv_heads head_dim ffn_width vocab max_positions position_rows tied_embeddings \
                    dtype activation gated bias norm positions rotary_dim parallel_block source context_tokens \
                    prompt_tokens generated_tokens batch lm_head embedding ignore_position_limit";
        assert!(ours.split_whitespace().all(|key| not_modelled(key).is_none()));
        assert!(all().all(|key| *key == key.to_ascii_lowercase()));
    }

    #[test]
    fn a_model_with_keys_of_other_tools_is_told_ours() {
        let text = "name = \"m\"\nlayers = 2\nwidth = 64\nheads = 4\nvocab = 100\nmax_positions = 32\n";
        for (line, says) in [
            ("hidden_size = 64", "`hidden_size` is not a key of this table\n  help: it is called `width` here"),
            ("KV-cache-dtype = \"fp8\"", "is not modelled: `dtype`, a key of the model"),
            ("tensor_parallel = 2", "tensor parallelism is not modelled"),
            ("widht = 64", "did you mean `width`?"),
        ] {
            let error = GptConfig::from_toml("m.toml", &format!("{text}{line}\n")).unwrap_err().to_string();
            assert!(error.contains(says) && error.starts_with("m.toml:7: "), "{error}");
        }
    }
}
