//! Configurations of every family: parameters as published, or as the library itself counts them.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use banksia_workloads::model::Reach;
use banksia_workloads::{DataType, Model, Parts, import_hf_file, import_table, import_wrappers};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/hf").join(name)
}

/// File and parameters: those that `transformers` 5.24.0 makes of it (all parameters of the class for language models, built without
/// storage), or, where another source stands beside it, those.
const PARAMETERS: [(&str, u64); 52] = [
    ("albert-base-v1.json", 11_221_680),
    ("apertus.json", 6_979_596_352),
    ("arcee.json", 4_022_766_080),
    ("bert.json", 109_514_298),
    ("biogpt.json", 346_763_264),
    ("bloom.json", 16_156_544),
    // The checkpoint's elements (model page).
    ("chatglm3-6b.json", 6_243_584_000),
    ("codegen.json", 6_050_882_784),
    ("cohere.json", 34_980_831_232),
    ("ctrl.json", 1_637_964_550),
    ("ernie4_5.json", 360_748_032),
    ("exaone4.json", 9_429_069_824),
    ("falcon-40b.json", 41_303_293_952),
    ("falcon.json", 6_921_720_704),
    ("gemma.json", 8_537_680_896),
    ("gemma2.json", 2_614_341_888),
    ("gemma3_text.json", 2_628_658_432),
    // The checkpoint's elements (model page).
    ("glm-4-9b-chat.json", 9_399_951_360),
    ("gpt_bigcode.json", 111_446_784),
    ("gpt_neo.json", 1_315_575_808),
    ("gptj.json", 6_050_882_784),
    ("granite.json", 6_738_415_616),
    ("helium.json", 2_172_643_840),
    ("hunyuan_v1_dense.json", 8_859_684_864),
    // "8B" (model page), by hand.
    ("minicpm4-8b.json", 8_185_253_888),
    ("ministral.json", 7_241_732_096),
    ("mpt-7b.json", 6_649_286_656),
    ("mpt.json", 1_311_213_568),
    // The checkpoint's elements (model page): 49.9B.
    ("nemotron-super-49b.json", 49_867_145_216),
    ("nemotron.json", 17_642_041_344),
    ("olmo.json", 6_888_095_744),
    ("olmo2.json", 6_888_624_128),
    ("openai-gpt.json", 116_534_784),
    ("persimmon.json", 9_397_175_296),
    ("phi-4.json", 14_659_507_200),
    ("phi.json", 1_418_270_720),
    ("phi3.json", 3_821_079_552),
    // The checkpoints' elements (model pages): 7.72B, 72.3B.
    ("qwen-7b-chat.json", 7_721_324_544),
    ("qwen-72b-chat.json", 72_287_920_128),
    ("qwen2.5-7b.json", 7_615_616_512),
    ("qwen2.json", 12_049_846_272),
    ("qwen3-0.6b.json", 596_049_920),
    ("qwen3-32b-fp8.json", 32_762_123_264),
    ("qwen3.json", 12_049_461_248),
    ("seed_oss.json", 28_921_040_896),
    ("smollm3.json", 3_075_098_624),
    ("stablelm.json", 2_795_443_200),
    ("starcoder2.json", 3_030_371_328),
    ("t5.json", 60_506_624),
    ("xglm.json", 564_463_616),
    // Keys have no biases there: 4 + 2 x 4 layers of 384 numbers more here.
    ("whisper.json", WHISPER + 12 * 384),
    ("baichuan-one-layer.json", 615_782_400),
];

/// Whisper's library count.
const WHISPER: u64 = 37_760_640;

/// The same of language models alone.
const TEXT: [(&str, u64); 9] = [
    // "3.88B" without the tower.
    ("gemma-3.json", 3_880_263_168),
    // InternLM2-1.8B (model page).
    ("internvl2-2b.json", 1_889_146_880),
    ("qwen2-audio.json", 7_115_771_904 + 639_107_072),
    ("qwen2-vl-2b-awq.json", 1_543_714_304),
    ("qwen2.5-omni-7b.json", 7_070_619_136 + 544_997_376),
    ("qwen2.5-vl-3b.json", 3_085_938_688),
    ("qwen3-vl-4b.json", 4_022_468_096),
    // Sheared-LLaMA-2.7B, which it was made from (model page).
    ("vila1.5-3b.json", 2_701_560_320),
    // The layers that text passes: 6 of 8 here.
    ("mllama-few-layers.json", 1_755_915_264),
];

#[test]
fn parameters_are_the_published_ones() {
    for (parts, table) in [(Parts::Whole, PARAMETERS.as_slice()), (Parts::TextOnly, TEXT.as_slice())] {
        for (file, parameters) in table {
            let model = import_hf_file(&reference(file), None, parts).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(model.parameters(), *parameters, "{file}");
            let again =
                Model::from_toml("again.toml", &model.to_toml().unwrap()).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert_eq!(again, model, "{file}");
            assert_eq!(model.source.contains("the language model alone"), parts == Parts::TextOnly, "{file}");
        }
    }
    for (file, _) in TEXT {
        let error = import_hf_file(&reference(file), None, Parts::Whole).unwrap_err().to_string();
        assert!(error.contains("that is not a language model") && error.contains("--text-only"), "{error}");
    }
}

#[test]
fn windows_and_caches_follow_the_layers() {
    let load = |file| import_hf_file(&reference(file), None, Parts::Whole).unwrap();
    // 13 of 26 layers see 4096 tokens; 4 key heads of 256, of 2 bytes.
    let token = 2 * 4 * 256 * 2;
    assert_eq!(load("gemma2.json").kv_bytes(8192), 13 * token * (4096 + 8192));
    // Every sixth layer sees all.
    assert_eq!(load("gemma3_text.json").kv_bytes(8192), token * (22 * 4096 + 4 * 8192));
    let neo = load("gpt_neo.json");
    assert_eq!(neo.kv_bytes(2048), 12 * 2 * 2048 * 2 * (256 + 2048));
    assert!(neo.blocks.iter().all(|block| block.stages.len() == 2));
    // Left-out attention caches nothing: 49 of 80 layers have it.
    assert_eq!(load("nemotron-super-49b.json").kv_bytes_per_token(), 49 * 2 * 8 * 128 * 2);
    let static_fp8 = load("qwen3-32b-fp8.json").types;
    assert_eq!((static_fp8.weights.dtype, static_fp8.cache), (DataType::Fp8, DataType::Fp8));
    let awq = import_hf_file(&reference("qwen2-vl-2b-awq.json"), None, Parts::TextOnly).unwrap().types;
    assert_eq!((awq.weights.dtype, awq.weights.group, awq.weights.zero_points), (DataType::Int4, 128, true));
    assert_eq!((awq.weights.reach, awq.operands()), (Reach::Layers, awq.activations));
}

#[test]
fn the_page_lists_what_imports() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models.md")).unwrap();
    assert!(page.contains(&import_table()), "docs/models.md should have\n{}", import_table());
    assert!(page.contains(&import_wrappers()), "docs/models.md should have\n{}", import_wrappers());
}

/// A plain LLaMA with a quantised checkpoint's table: its types, or what is said against it.
fn quantised(config: &str) -> Result<banksia_workloads::model::Types, String> {
    let text = std::fs::read_to_string(reference("llama-7b.json")).unwrap();
    let text = text.replacen('{', &format!("{{\"quantization_config\": {config},"), 1);
    banksia_workloads::import_hf(&text).map(|model| model.types).map_err(|error| error.to_string())
}

#[test]
fn formats_of_checkpoints_become_types() {
    let fp8 = quantised(r#"{"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}"#)
        .unwrap();
    assert_eq!((fp8.weights.dtype, fp8.weights.group, fp8.weights.group_rows), (DataType::Fp8, 128, 128));
    assert_eq!((fp8.operands(), fp8.cache, fp8.weights.scale), (DataType::Fp8, DataType::Bf16, Some(DataType::F32)));
    let gptq =
        quantised(r#"{"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": true, "desc_act": false}"#).unwrap();
    // 4 bits, a scale of 16 and a zero point of 4 to 128 elements.
    assert_eq!(gptq.weights.bits(4096, 4096), 4096 * 4096 * 4 + 4096 * 32 * 20);
    assert_eq!((gptq.operands(), gptq.weights.reach), (DataType::Bf16, Reach::Layers));
    let row = quantised(r#"{"quant_method": "gptq", "bits": 8, "group_size": -1, "lm_head": true}"#).unwrap();
    assert_eq!((row.weights.dtype, row.weights.reach, row.weights.group_rows), (DataType::Int8, Reach::All, 1));
    let nvfp4 = quantised(r#"{"quant_algo": "NVFP4", "group_size": 16, "kv_cache_scheme": {"num_bits": 8, "type": "float"}, "ignore": ["lm_head"]}"#).unwrap();
    assert_eq!(
        (nvfp4.weights.dtype, nvfp4.weights.group, nvfp4.weights.scale),
        (DataType::Fp4, 16, Some(DataType::Fp8))
    );
    assert_eq!((nvfp4.operands(), nvfp4.cache), (DataType::Fp4, DataType::Fp8));
    let nf4 =
        quantised(r#"{"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}"#).unwrap();
    assert_eq!((nf4.weights.dtype, nf4.weights.group), (DataType::Nf4, 64));
    let int8 = quantised(r#"{"quant_method": "bitsandbytes", "load_in_8bit": true}"#).unwrap();
    assert!(int8.weights.outliers_per_10000 > 0 && int8.operands() == DataType::Int8);
    let tensors = |weights: &str| {
        let text = format!(
            r#"{{"quant_method": "compressed-tensors", "config_groups": {{"group_0": {{"targets": ["Linear"], "weights": {weights}, "input_activations": null}}}}, "ignore": ["lm_head"]}}"#
        );
        quantised(&text)
    };
    let w4 = tensors(r#"{"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": false}"#)
        .unwrap();
    assert_eq!((w4.weights.dtype, w4.weights.group, w4.weights.zero_points), (DataType::Int4, 128, true));
    let w8 = tensors(r#"{"num_bits": 8, "type": "float", "strategy": "channel"}"#).unwrap();
    assert_eq!((w8.weights.group_rows, w8.operands()), (1, DataType::Bf16));
    // What is left out decides how far a format reaches.
    let without = |ignored: &str| quantised(&format!(r#"{{"quant_algo": "FP8", "ignore": [{ignored}]}}"#));
    for (ignored, reach) in [
        (r#""lm_head", "model.layers.0.input_layernorm", "re:.*embed_tokens", "visual""#, Reach::Layers),
        // Layers of their own, whatever their numbers.
        (r#""mtp.layers.0*", "model.visual.layers.0.mlp*""#, Reach::Layers),
        (r#""model.layers.*.self_attn""#, Reach::FeedForward),
        (r#""*.self_attn*""#, Reach::FeedForward),
    ] {
        assert_eq!(without(ignored).unwrap().weights.reach, reach, "{ignored}");
    }
    for (table, says) in [
        (
            r#"{"quant_method": "aqlm"}"#,
            "`quantization_config.quant_method` is `aqlm`, a format that cannot be expressed",
        ),
        (r#"{"quant_method": "gptq", "bits": 3, "group_size": 128}"#, "`quantization_config.bits` is 3"),
        (
            r#"{"quant_algo": "FP8", "ignore": ["model.layers.0.mlp"]}"#,
            "leaves out the feed-forward layer of some layers",
        ),
        // Layers 1, and 10 to 19.
        (r#"{"quant_algo": "FP8", "ignore": ["model.layers.1*"]}"#, "leaves out attention of some layers"),
        (
            r#"{"quant_algo": "FP8", "ignore": ["model.layers.0.mlp.down_proj"]}"#,
            "a part of a layer that has no type of its own",
        ),
        (r#"{"quant_algo": "FP8", "ignore": ["model.layers.*.mlp"]}"#, "leaves out other products"),
        (
            r#"{"quant_method": "fp8", "weight_block_size": [128]}"#,
            "`quantization_config.weight_block_size` must be two numbers",
        ),
        (r#"{"quant_method": "fp8", "kv_cache_scheme": "INT2"}"#, "`quantization_config.kv_cache_scheme` is `INT2`"),
        ("3", "`quantization_config` is 3: must be a table"),
    ] {
        let error = quantised(table).unwrap_err();
        assert!(error.contains(says), "{table}: {error}");
    }
}

/// No value of any key of any family's file makes anything but a model or an error with its key.
#[test]
fn no_value_panics() {
    let values = [
        "0",
        "-1",
        "9223372036854775807",
        "2147483648",
        "1e300",
        "true",
        "\"x\"",
        "[]",
        "[1, 2]",
        "{\"a\": 1}",
        "Infinity",
    ];
    let files =
        PARAMETERS.iter().map(|file| (file.0, Parts::Whole)).chain(TEXT.iter().map(|file| (file.0, Parts::TextOnly)));
    let folder = std::env::temp_dir().join(format!("banksia-hf-values-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (at, (file, parts)) in files.enumerate() {
        let text = std::fs::read_to_string(reference(file)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        for (step, key) in keys.iter().enumerate().skip(at % 3).step_by(3) {
            let value = values[(at + step) % values.len()];
            // The last of two keys of a name holds.
            let text = format!(
                "{}, \"{key}\": {value}}}",
                json.to_string().trim_end_matches('}').to_owned() + &closing(&json)
            );
            let path = folder.join("config.json");
            std::fs::write(&path, text).unwrap();
            match import_hf_file(&path, Some("x"), parts) {
                Ok(model) => {
                    assert_eq!(Model::from_toml("x", &model.to_toml().unwrap()).unwrap(), model, "{file}: {key}");
                }
                Err(error) => assert!(error.key.is_some(), "{file}: {key} = {value}: {error}"),
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The closing braces that were trimmed away with the outermost one.
fn closing(json: &serde_json::Value) -> String {
    let text = json.to_string();
    let braces = text.len() - text.trim_end_matches('}').len();
    "}".repeat(braces.saturating_sub(1))
}
