//! Configurations of real models, as files: published parameters, or a refusal that says why.

use std::path::{Path, PathBuf};

use banksia_workloads::model::Reach;
use banksia_workloads::{DataType, Model, Parts, import_hf_file, load_model};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/hf").join(name)
}

/// File, name, elements of the released checkpoint, bytes of the KV cache per token, longest context.
const IMPORTED: [(&str, &str, u64, u64, u64); 7] = [
    ("gpt2.json", "gpt2", 124_439_808, 2 * 2 * 12 * 768, 1024),
    ("opt-125m.json", "opt-125m", 125_239_296, 2 * 2 * 12 * 768, 2048),
    ("gpt-neox-20b.json", "gpt-neox-20b", 20_554_567_680, 2 * 2 * 44 * 6144, 2048),
    ("llama-7b.json", "llama-7b", 6_738_415_616, 2 * 2 * 32 * 4096, 2048),
    ("llama-3-8b.json", "llama-3-8b", 8_030_261_248, 2 * 2 * 32 * 8 * 128, 8192),
    ("mistral-7b-v0.1.json", "mistral-7b-v0.1", 7_241_732_096, 2 * 2 * 32 * 8 * 128, 131_072),
    ("mistral-7b-v0.3.json", "mistralai/Mistral-7B-Instruct-v0.3", 7_248_023_552, 2 * 2 * 32 * 8 * 128, 32768),
];

/// File, and what is said of it.
const REFUSED: [(&str, &[&str]); 3] = [
    ("santacoder.json", &["santacoder.json:4: `architectures` has \"GPT2LMHeadCustomModel\"", "auto_map"]),
    ("llama-3-8b-eagle3.json", &["`architectures` has \"LlamaForCausalLMEagle3\"", "draft_vocab_size"]),
    ("gemma-3.json", &["`vision_config` describes a part of `gemma3` that is not a language model", "--text-only"]),
];

#[test]
fn published_models_import_to_the_parameter() {
    for (file, name, parameters, kv_bytes, positions) in IMPORTED {
        let model = load_model(&reference(file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(model.name, name);
        assert_eq!((model.parameters(), model.kv_bytes_per_token()), (parameters, kv_bytes), "{file}");
        assert_eq!((model.max_positions, model.types.activations), (positions, DataType::Bf16), "{file}");
        assert_eq!(Model::from_toml("again.toml", &model.to_toml().unwrap()).unwrap(), model);
    }
}

#[test]
fn other_graphs_and_types_are_refused_by_name() {
    for (file, fragments) in REFUSED {
        let error = load_model(&reference(file)).expect_err(file).to_string();
        for fragment in fragments {
            assert!(error.contains(fragment), "{file}: expected `{fragment}` in\n{error}");
        }
        assert!(!error.contains("did you mean"), "{file}: {error}");
    }
}

/// A folder of its own, which goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("banksia-hf-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_name_is_given_or_the_files_or_its_folders() {
    let folder = Folder::new("names");
    let text = std::fs::read_to_string(reference("llama-7b.json")).unwrap();
    let named = text.replacen('{', "{\"_name_or_path\": \"/data/Llama-7B/\",", 1);
    for (file, text, given, name) in [
        ("my-llama/config.json", &text, None, "my-llama"),
        ("my-llama/Config.JSON", &text, None, "my-llama"),
        ("models--org--Llama/snapshots/0a1b/config.json", &text, None, "org/Llama"),
        ("my-llama/other.json", &text, None, "other"),
        ("my-llama/config.json", &named, None, "Llama-7B"),
        ("my-llama/config.json", &named, Some("mine"), "mine"),
    ] {
        let path = folder.write(file, text);
        assert_eq!(import_hf_file(&path, given, Parts::Whole).unwrap().name, name, "{file}");
    }
    let error = import_hf_file(&folder.write("x.json", &text), Some(" "), Parts::Whole).unwrap_err();
    assert_eq!(error.key.as_deref(), Some("name"));
    assert!(load_model(&folder.0.join("none.json")).unwrap_err().to_string().contains("none.json: cannot be read"));
    let toml = folder.write("m.toml", &load_model(&reference("gpt2.json")).unwrap().to_toml().unwrap());
    assert_eq!(load_model(&toml).unwrap().name, "gpt2");
}

#[test]
fn what_lies_beside_a_file_is_read() {
    let text = std::fs::read_to_string(reference("llama-7b.json")).unwrap();
    let quantised = std::fs::read_to_string(reference("llama-3.1-70b-fp8/hf_quant_config.json")).unwrap();
    let none = "{\"quantization\": {\"quant_algo\": null, \"kv_cache_quant_algo\": null}}";
    let cache = "{\"quantization\":\n {\"quant_algo\": null, \"kv_cache_quant_algo\": \"FP8\"}}";
    for (config, beside, content, says) in [
        ("config.json", "hf_quant_config.json", none, ""),
        ("config.json", "hf_quant_config.json", "{}", "`quantization` is missing"),
        ("config.json", "hf_quant_config.json", "[", "is not JSON"),
        (
            "config.json",
            "hf_quant_config.json",
            "{\"quantization\": {\"quant_algo\": 3}}",
            "`quantization.quant_algo` is 3",
        ),
        (
            "config.json",
            "hf_quant_config.json",
            "{\"quantization\":\n {\"quant_algo\": \"MIXED_PRECISION\"}}",
            "hf_quant_config.json:2: `quantization.quant_algo` is `MIXED_PRECISION`",
        ),
        ("config.json", "quantize_config.json", "{\"bits\": 3}", "`bits` is 3: 4 and 8 can be expressed"),
        ("config.json", "quant_config.json", "{\"group_size\": 4}", "`bits` is missing"),
        ("config.json", "generation_config.json", "{", ""),
    ] {
        let folder = Folder::new("beside");
        folder.write(beside, content);
        let message = match load_model(&folder.write(config, &text)) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(message.contains(says) && message.is_empty() == says.is_empty(), "{config} by {beside}: {message}");
    }
    for (config, beside, content, weights, cache) in [
        ("config.json", "hf_quant_config.json", quantised.as_str(), DataType::Fp8, DataType::Fp8),
        ("config.json", "hf_quant_config.json", cache, DataType::Bf16, DataType::Fp8),
        ("config.json", "quantize_config.json", "{\"bits\": 4, \"group_size\": 64}", DataType::Int4, DataType::Bf16),
        ("config.json", "quant_config.json", "{\"w_bit\": 4, \"q_group_size\": 64}", DataType::Int4, DataType::Bf16),
        ("a_config.json", "a_hf_quant_config.json", &quantised, DataType::Fp8, DataType::Fp8),
        ("a.json", "a.hf_quant_config.json", &quantised, DataType::Fp8, DataType::Fp8),
        ("b.json", "hf_quant_config.json", &quantised, DataType::Fp8, DataType::Fp8),
        ("b_config.json", "a_hf_quant_config.json", &quantised, DataType::Bf16, DataType::Bf16),
    ] {
        let folder = Folder::new("types");
        folder.write(beside, content);
        let types = load_model(&folder.write(config, &text)).unwrap_or_else(|e| panic!("{e}")).types;
        assert_eq!((types.weights.dtype, types.cache), (weights, cache), "{config} by {beside}");
        assert_eq!((types.weights.reach, types.activations), (Reach::Layers, DataType::Bf16));
    }
}

/// 70,553,706,496 parameters (the model's page); all but the two tables and the norms in 8 bits.
#[test]
fn an_fp8_checkpoint_is_half_as_large() {
    let model = load_model(&reference("llama-3.1-70b-fp8/config.json")).unwrap();
    assert_eq!((model.parameters(), model.kv_bytes_per_token()), (70_553_706_496, 80 * 2 * 8 * 128));
    assert_eq!((model.types.weights.dtype, model.types.operands()), (DataType::Fp8, DataType::Fp8));
    assert_eq!(Model::from_toml("again.toml", &model.to_toml().unwrap()).unwrap(), model);
}
