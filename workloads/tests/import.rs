//! The import of Hugging Face's files: what is read, and what is refused.

use banksia_workloads::{DataType, Model, import_hf, zoo};
use proptest::prelude::*;

const GPT2: &str = r#"{"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024,
  "n_ctx": 1024, "vocab_size": 50257, "activation_function": "gelu_new", "resid_pdrop": 0.1}"#;
const OPT: &str = r#"{"model_type": "opt", "num_hidden_layers": 24, "hidden_size": 2048, "num_attention_heads": 32,
  "ffn_dim": 8192, "max_position_embeddings": 2048, "vocab_size": 50272, "activation_function": "relu",
  "word_embed_proj_dim": 2048, "do_layer_norm_before": true, "torch_dtype": "float16"}"#;
const NEOX: &str = r#"{"model_type": "gpt_neox", "num_hidden_layers": 24, "hidden_size": 2048, "num_attention_heads": 16,
  "intermediate_size": 8192, "max_position_embeddings": 2048, "vocab_size": 50304, "hidden_act": "gelu",
  "rotary_pct": 0.25, "use_parallel_residual": true, "tie_word_embeddings": false, "torch_dtype": "float16"}"#;
const LLAMA: &str = r#"{"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
  "num_key_value_heads": 32, "intermediate_size": 11008, "max_position_embeddings": 4096, "vocab_size": 32000,
  "hidden_act": "silu", "tie_word_embeddings": false, "rope_scaling": null, "torch_dtype": "bfloat16"}"#;
const MISTRAL: &str = r#"{"model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
  "num_key_value_heads": 8, "intermediate_size": 14336, "max_position_embeddings": 32768, "vocab_size": 32768,
  "hidden_act": "silu", "sliding_window": null, "torch_dtype": "bfloat16"}"#;

#[test]
fn imports_equal_the_zoo() {
    for (json, name) in [(GPT2, "gpt2-small"), (OPT, "opt-1.3b"), (NEOX, "pythia-1.4b"), (LLAMA, "llama2-7b")] {
        let expected = zoo::load(name).unwrap();
        let imported = import_hf(json).unwrap();
        let named = Model { name: expected.name.clone(), source: expected.source.clone(), ..imported };
        assert_eq!(named, expected);
    }
    // Newer files keep the rotated share in a table.
    let newer = NEOX.replace("\"rotary_pct\": 0.25", "\"rope_parameters\": {\"partial_rotary_factor\": 0.5}");
    assert_eq!(import_hf(&newer).unwrap().as_gpt().unwrap().rotary_dim, 64);
    // Mistral-7B-v0.3: 7,248,023,552 elements (its model page); grouped queries share 8 key heads.
    let mistral = import_hf(MISTRAL).unwrap();
    assert_eq!(mistral.parameters(), 7_248_023_552);
    assert_eq!(mistral.kv_bytes_per_token(), 2 * 2 * 32 * 8 * 128);
    assert_eq!(mistral.types.activations, DataType::Bf16);
}

#[test]
fn what_cannot_be_imported_faithfully_is_refused() {
    let cases: [(&str, &str, &str, &str); 11] = [
        (GPT2, "\"gpt2\"", "\"made_up\"", "config.json:1: `model_type` is `made_up`, a family that is not imported"),
        (GPT2, "\"n_layer\": 12, ", "", "`n_layer` is missing"),
        (GPT2, "\"n_layer\": 12", "\"n_layer\": 0", "config.json:1: `n_layer` is 0: must be from 1 to 65536"),
        (GPT2, "\"n_layer\": 12", "\"n_layer\": \"x\"", "`n_layer` is \"x\": must be an integer"),
        (GPT2, "50257", "-4", "config.json:2: `vocab_size` is -4: must be from 1 to"),
        (GPT2, "\"n_head\": 12", "\"n_head\": 7", "`n_head` is 7, which does not divide the width of 768"),
        (GPT2, "gelu_new", "quick_gelu", "`activation_function` is `quick_gelu`"),
        (GPT2, "\"n_ctx\": 1024", "\"quantization_config\": {}", "`quantization_config` describes quantised weights"),
        (GPT2, "{\"model_type\"", "{{\"model_type\"", "is not JSON"),
        (NEOX, "0.25", "1.5", "`rotary_pct` is not a share from 0 to 1"),
        (LLAMA, "bfloat16", "complex64", "`torch_dtype` is `complex64`"),
    ];
    for (json, from, to, message) in cases {
        assert!(json.contains(from));
        let error = import_hf(&json.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(message), "expected `{message}`, got: {error}");
    }
    assert!(import_hf("[]").unwrap_err().to_string().contains("is not a JSON object"));
}

/// What was refused while a model was one plain block.
#[test]
fn what_blocks_express_is_imported() {
    // OPT-350m: norms after the residual, and an embedding of half the width; none of its layers' norms is left out.
    let narrow = OPT.replace("proj_dim\": 2048", "proj_dim\": 512").replace("before\": true", "before\": false");
    let model = import_hf(&narrow).unwrap();
    let plain = import_hf(OPT).unwrap();
    assert_eq!(plain.parameters() - model.parameters(), 50272 * (2048 - 512) - 2 * 2048 * 512 + 2 * 2048);
    assert!(model.head.norm.is_none() && model.as_gpt().is_none());
    let windowed = import_hf(&MISTRAL.replace("window\": null", "window\": 4096")).unwrap();
    assert_eq!(windowed.parameters(), 7_248_023_552);
    assert_eq!(windowed.kv_bytes(8192), u128::from(4096 * windowed.kv_bytes_per_token()));
    for (json, line, more) in [
        // Biases of attention: queries, keys, values, output; of the feed-forward layer.
        (LLAMA, "\"attention_bias\": true", 32 * 4 * 4096),
        (LLAMA, "\"mlp_bias\": true", 32 * (2 * 11008 + 4096)),
        (NEOX, "\"attention_bias\": false", 24 * 4 * 2048),
    ] {
        let base = import_hf(json).unwrap().parameters();
        let with = import_hf(&json.replacen('{', &format!("{{{line}, "), 1)).unwrap().parameters();
        assert_eq!(with.abs_diff(base), more, "{line}");
    }
}

/// The error of a text with one piece replaced.
fn refused(json: &str, from: &str, to: &str) -> String {
    assert!(json.contains(from), "{from}");
    match import_hf(&json.replacen(from, to, 1)) {
        Ok(model) => format!("accepted as {} of {} parameters", model.name, model.parameters()),
        Err(error) => error.to_string(),
    }
}

/// `model_type` is the parent's where a variant has another graph.
#[test]
fn a_variant_is_refused_by_its_architecture_or_by_its_keys() {
    for (json, own) in [
        (GPT2, "GPT2LMHeadModel"),
        (OPT, "OPTForCausalLM"),
        (NEOX, "GPTNeoXForCausalLM"),
        (LLAMA, "LlamaForCausalLM"),
        (LLAMA, "LLaMAForCausalLM"),
        (MISTRAL, "MistralForCausalLM"),
    ] {
        let with = |value: &str| json.replacen('{', &format!("{{\"architectures\": {value},\n"), 1);
        let plain = import_hf(json).unwrap();
        for fine in [format!("[\"{own}\"]"), "null".into(), "[]".into()] {
            assert_eq!(import_hf(&with(&fine)).unwrap(), plain, "{fine}");
        }
        for other in
            [format!("[\"{own}Eagle3\"]"), format!("[\"{own}\", \"X\"]"), "[\"BertModel\"]".into(), "[1]".into()]
        {
            let error = import_hf(&with(&other)).unwrap_err().to_string();
            assert!(error.starts_with("config.json:1: `architectures` has "), "{error}");
            assert!(error.contains(own) && !error.contains("did you mean"), "{error}");
        }
        let error = import_hf(&with("\"LlamaForCausalLM\"")).unwrap_err().to_string();
        assert!(error.contains("`architectures` is \"LlamaForCausalLM\": must be a list of names"), "{error}");

        // Any key that may change the graph, and that is not said to be off.
        for key in
            ["draft_vocab_size", "num_experts", "multi_query", "embedding_multiplier", "text_config", "no_rope_layers"]
        {
            for value in ["32000", "true", "\"x\"", "[1]", "{\"a\": 1}", "0.5"] {
                let line = format!("{{\"{key}\": {value}, ");
                let error = refused(json, "{", &line);
                assert!(
                    error.starts_with(&format!("config.json:1: `{key}` is not known to the importer of `")),
                    "{error}"
                );
            }
            for value in ["null", "false", "[]", "{}"] {
                assert_eq!(import_hf(&json.replacen('{', &format!("{{\"{key}\": {value}, "), 1)).unwrap(), plain);
            }
        }
        for line in ["\"use_rope\": false", "\"is_causal\": false", "\"norm_affine\": false"] {
            let error = refused(json, "{", &format!("{{{line}, "));
            assert!(error.contains("is not known to the importer of"), "{line}: {error}");
        }
        // What training, sampling and tokenizers write.
        for line in [
            "\"attn_dropout\": 0.5",
            "\"resid_pdrop\": 0.1",
            "\"sep_token_id\": 7",
            "\"initializer_range\": 0.02",
            "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0}",
            "\"use_cache\": true",
            "\"transformers_version\": \"9\"",
            "\"pretraining_tp\": 2",
            "\"id2label\": {\"0\": \"A\"}",
            "\"temperature\": 0.7",
            "\"is_encoder_decoder\": false",
            "\"pruned_heads\": {}",
            "\"auto_map\": null",
        ] {
            assert_eq!(import_hf(&json.replacen('{', &format!("{{{line}, "), 1)).unwrap(), plain, "{line}");
        }
        for (line, says) in [
            ("\"pruned_heads\": {\"1\": [0]}", "`pruned_heads` takes heads out"),
            ("\"is_encoder_decoder\": true", "`is_encoder_decoder` adds an encoder"),
            ("\"add_cross_attention\": true", "`add_cross_attention` adds cross attention"),
            ("\"auto_map\": {\"AutoConfig\": \"x\"}", "`auto_map` names code of the model's own"),
            ("\"quantization_config\": {}", "`quantization_config` describes quantised weights"),
            ("\"compression_config\": {}", "`compression_config` describes quantised weights"),
        ] {
            let error = refused(json, "{", &format!("{{{line}, "));
            assert!(error.contains(says), "{line}: {error}");
        }
    }
    let error = refused(GPT2, "{", "{\"attention_head_type\": \"multiquery\", ");
    assert!(error.contains("`attention_head_type` shares keys and values"), "{error}");
    let error = refused(NEOX, "{", "{\"bias\": false, ");
    assert!(error.contains("`bias` is not known"), "{error}");
    assert!(import_hf(&LLAMA.replacen('{', "{\"qkv_bias\": false, ", 1)).is_ok(), "there are none");
}

#[test]
fn windows_and_partial_rotations_are_refused_only_where_they_bind() {
    for (json, line, says) in [
        (LLAMA, "\"sliding_window\": 512", "`sliding_window` limits attention"),
        (LLAMA, "\"sliding_window\": 512, \"use_sliding_window\": false, \"max_window_layers\": 3", ""),
        (LLAMA, "\"sliding_window\": 4096", ""),
        (LLAMA, "\"layer_types\": [\"full_attention\", \"full_attention\"]", ""),
        (
            LLAMA,
            "\"layer_types\": [\"full_attention\", \"sliding_attention\"]",
            "`layer_types` makes layers of other kinds",
        ),
        (LLAMA, "\"partial_rotary_factor\": 0.5", "`partial_rotary_factor` rotates a part"),
        (
            LLAMA,
            "\"rope_parameters\": {\"partial_rotary_factor\": 0.5}",
            "`rope_parameters.partial_rotary_factor` rotates",
        ),
        (LLAMA, "\"partial_rotary_factor\": 1.0", ""),
        (LLAMA, "\"attention_bias\": true, \"mlp_bias\": true", ""),
        (NEOX, "\"partial_rotary_factor\": 0.25", ""),
        (NEOX, "\"partial_rotary_factor\": 0.5", "`partial_rotary_factor` is 0.5, but `rotary_pct` is 0.25"),
        (GPT2, "\"hidden_size\": 768", ""),
        (GPT2, "\"hidden_size\": 512", "`hidden_size` is 512, but `n_embd` is 768: they are names of one size"),
    ] {
        let result = import_hf(&json.replacen('{', &format!("{{{line}, "), 1)).map(|_| ());
        let message = result.map_or_else(|e| e.to_string(), |()| String::new());
        assert!(message.contains(says) && message.is_empty() == says.is_empty(), "{line}: {message}");
    }
}

/// LLaMA-1's files have `max_sequence_length`; other tools write others.
#[test]
fn the_longest_context_has_many_names() {
    let own = "\"max_position_embeddings\": 4096";
    let of = |line: &str| import_hf(&LLAMA.replace(own, line)).map(|model| model.max_positions);
    for key in ["max_sequence_length", "n_ctx", "n_positions", "seq_length", "max_seq_len", "max_seq_length"] {
        assert_eq!(of(&format!("\"{key}\": 2048")).unwrap(), 2048, "{key}");
        assert_eq!(of(&format!("{own}, \"{key}\": 2048")).unwrap(), 4096, "its own key holds");
    }
    assert_eq!(of("\"max_sequence_length\": 2048, \"seq_length\": 2048").unwrap(), 2048);
    let error = of("\"seq_length\": 1024, \"max_sequence_length\": 2048").unwrap_err().to_string();
    assert!(error.contains("`seq_length` is 1024, but `max_sequence_length` is 2048"), "{error}");
    let error = of("\"max_sequence_length\": 0").unwrap_err().to_string();
    assert!(error.contains("`max_sequence_length` is 0: must be from 1"), "{error}");
    assert!(of("\"rope_theta\": 1").unwrap_err().to_string().contains("`max_position_embeddings` is missing"));
}

#[test]
fn pythons_json_is_read_and_keys_have_their_lines() {
    let text =
        LLAMA.replacen('{', "{\"temperature\": Infinity, \"top_p\": NaN, \"suppress_tokens\": [-Infinity],\n", 1);
    assert_eq!(import_hf(&text).unwrap(), import_hf(LLAMA).unwrap());
    let error = refused(&text, "\"num_hidden_layers\": 32", "\n\n\"num_hidden_layers\": Infinity");
    assert!(error.starts_with("config.json:4: `num_hidden_layers` is \"Infinity\": must be an integer"), "{error}");
    // A key of an inner table, or a text, of the same name is not the one that is meant.
    let text =
        "{\"id2label\": {\"n_layer\": \"a\"},\n \"prefix\": \"n_layer\",\n \"n_layer\": 0, \"model_type\": \"gpt2\"";
    let error = refused(GPT2, "{\"model_type\": \"gpt2\", \"n_layer\": 12", text);
    assert!(error.starts_with("config.json:3: `n_layer` is 0"), "{error}");
    assert!(import_hf("{\"a\": Infinit}").unwrap_err().to_string().contains("is not JSON"));
}

#[test]
fn a_model_is_named_as_its_file_names_it() {
    let name = |line: &str| import_hf(&LLAMA.replacen('{', &format!("{{{line} "), 1)).unwrap().name;
    assert_eq!(name("\"_name_or_path\": \"meta-llama/Llama-2-7b-hf\","), "meta-llama/Llama-2-7b-hf");
    assert_eq!(name("\"_name_or_path\": \"/path/to/Llama-2-7b\","), "Llama-2-7b");
    assert_eq!(name("\"_name_or_path\": \"\","), "llama-32x4096");
    assert_eq!(name(""), "llama-32x4096");
}

proptest! {
    /// No text, and no value of any key, makes anything but a model or an error with its file.
    #[test]
    fn no_text_panics(
        text in "[{}\\[\\]\":,a-zNI\\-\\\\ 0-9é\n]{0,80}",
        (which, key, value) in (0usize..5, 0usize..40, "(0|-?[1-9][0-9]{0,19}(\\.5)?|null|true|NaN|-Infinity|\"x/\"|\\[\\]|\\{\"a\": 1\\})"),
    ) {
        if let Err(error) = import_hf(&text) {
            prop_assert!(error.to_string().starts_with("config.json"));
        }
        let json: serde_json::Value = serde_json::from_str([GPT2, OPT, NEOX, LLAMA, MISTRAL][which]).unwrap();
        let mut keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.extend(["architectures", "head_dim", "_name_or_path", "rope_parameters", "layer_types", "sliding_window", "n_inner"]);
        let key = keys[key % keys.len()];
        // The last of two keys of a name holds.
        let text = format!("{}, \"{key}\": {value}}}", json.to_string().trim_end_matches('}'));
        match import_hf(&text) {
            Ok(model) => prop_assert_eq!(Model::from_toml("again.toml", &model.to_toml().unwrap()).unwrap(), model),
            Err(error) => prop_assert!(error.file == "config.json" && error.key.is_some(), "{}", error),
        }
    }
}
