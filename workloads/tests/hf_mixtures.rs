//! Configurations of mixtures of experts, state-space models and hybrids: the library's own counts, or a refusal that says why.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use banksia_workloads::model::{Mixer, Reach, Router, Types};
use banksia_workloads::{DataType, Model, Parts, import_hf_file};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/hf/mixtures").join(name)
}

/// File, and the parameters of the classes of transformers 5.24.0 made of it (tests/reference/hf/mixtures/README.md): of language models alone
/// where the file has towers too. The library fails on `dbrx-small.json`, which is counted by hand; it has no head for two files, whose
/// vocabulary projections are added.
const COUNTED: [(&str, u64); 61] = [
    ("mixtral-one-layer.json", 848_320_512),
    ("mixtral-8x7b-mha.json", 47_508_099_072),
    ("mixtral-8x7b.json", 46_702_792_704),
    ("phi-moe.json", 41_872_793_600),
    ("qwen1.5-moe-a2.7b.json", 14_315_784_192),
    ("qwen3-235b-a22b.json", 235_093_634_560),
    ("qwen3-30b-a3b.json", 30_532_122_624),
    ("qwen3-moe-one-layer.json", 1_245_452_544),
    ("qwen3-moe-15b.json", 15_350_731_776),
    ("olmoe.json", 13_361_612_800),
    ("dbrx-small.json", 2_459_207_680),
    ("dbrx.json", 131_596_523_520),
    ("gpt-oss-120b.json", 116_829_156_672),
    ("gpt-oss-bf16.json", 116_829_156_672),
    ("granite-hybrid.json", 38_601_064_448),
    ("llama4-scout-text.json", 107_769_861_120),
    ("deepseek-v2-two-layers.json", 1_034_805_760),
    ("deepseek-v3.json", 671_026_404_352),
    ("kimi-k2.json", 1_026_408_209_408),
    ("deepseek-v3-bf16.json", 671_026_404_352),
    ("deepseek-v3.2.json", 671_877_929_216),
    ("glm-5.1.json", 743_911_199_232),
    ("glm-4.5.json", 352_797_814_784),
    ("minimax.json", 47_373_946_880),
    ("mimo-v2-flash.json", 308_778_768_832),
    ("gemma-4-26b-a4b.json", 25_233_141_760),
    ("step-3.7-flash.json", 195_844_496_640),
    ("jamba.json", 51_570_323_328),
    ("jamba-four-layers.json", 895_707_928),
    ("mamba.json", 159_308_544),
    ("mamba2.json", 7_285_403_648),
    ("bamba.json", 9_992_765_440),
    ("zamba.json", 7_232_490_496),
    ("zamba2.json", 2_481_848_336),
    ("nemotron-3-nano.json", 31_577_937_344),
    ("nemotron-3-ultra.json", 549_308_968_960),
    ("falcon-h1.json", 8_514_961_408),
    ("qwen3-next.json", 79_674_391_296),
    ("qwen3.5-27b.json", 26_895_998_464),
    ("qwen3.5-35b-a3b.json", 34_660_610_688),
    ("qwen3-vl-235b-a22b.json", 235_093_634_560),
    ("qwen3.5-122b-a10b-nvfp4.json", 122_111_526_912),
    ("recurrent-gemma.json", 2_010_263_040),
    ("rwkv.json", 7_392_649_216),
    ("lfm2.json", 2_705_497_600),
    ("minimax-m2.5-nvfp4.json", 228_689_748_992),
    ("falcon-mamba.json", 159_308_544),
    ("granite-moe.json", 37_039_116_288),
    ("glm4-moe-lite.json", 29_943_390_976),
    ("hunyuan-moe.json", 43_488_907_264),
    ("ernie-4.5-moe.json", 21_825_437_888),
    ("granite-moe-shared.json", 37_240_442_880),
    ("qwen3.5-moe-text.json", 34_660_610_688),
    ("deepseek-v2-default.json", 38_612_307_968),
    ("bamba-attention.json", 9_808_584_064),
    ("falcon-h1-normed.json", 11_334_942_720),
    ("granite-hybrid-dense.json", 3_392_194_560),
    ("zamba2-two-blocks.json", 2_697_604_000),
    ("llama4-interleaved.json", 62_469_411_840),
    ("qwen2-moe-every-second.json", 8_085_743_616),
    ("lfm2-convolutions.json", 2_862_904_320),
];

/// Parameters that the library holds as buffers or not at all: the biases that correct routers' choices, and the gains of norms inside
/// Falcon-Mamba.
fn uncounted(model: &Model, file: &str) -> u64 {
    model.mixers().fold(0, |sum, (mixer, layers)| {
        let own = match mixer {
            Mixer::Experts(e) if e.router == Router::SigmoidBiased => e.experts,
            Mixer::Mamba(m) if file.starts_with("falcon-mamba") => m.dt_rank + 2 * m.state,
            _ => 0,
        };
        sum + own * u64::from(layers)
    })
}

#[test]
fn parameters_are_the_librarys() {
    let mut wrong = String::new();
    for (file, parameters) in COUNTED {
        match import_hf_file(&reference(file), None, Parts::TextOnly) {
            Ok(model) => {
                let counted = model.parameters() - uncounted(&model, file);
                if counted != parameters {
                    wrong.push_str(&format!("{file}: {counted} parameters, not {parameters}\n"));
                }
            }
            Err(error) => wrong.push_str(&format!("{error}\n")),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_written_reads_back() {
    for (file, _) in COUNTED {
        let model = import_hf_file(&reference(file), None, Parts::TextOnly).unwrap();
        let written = model.to_toml().unwrap();
        assert_eq!(
            Model::from_toml("again.toml", &written).unwrap_or_else(|e| panic!("{e}\n{written}")),
            model,
            "{file}"
        );
    }
}

/// File, active parameters in billions as its model card says them, and bytes of the cache a token.
const ACTIVE: [(&str, f64, u64); 8] = [
    ("mixtral-8x7b.json", 12.9, 2 * 2 * 32 * 8 * 128),
    ("qwen3-235b-a22b.json", 22.2, 2 * 2 * 94 * 4 * 128),
    ("qwen3-30b-a3b.json", 3.3, 2 * 2 * 48 * 4 * 128),
    ("gpt-oss-120b.json", 5.1, 2 * 2 * 36 * 8 * 64),
    // A latent vector of 512 beside 64 rotated elements.
    ("deepseek-v3.json", 37.5, 2 * 61 * 576),
    ("kimi-k2.json", 32.8, 2 * 61 * 576),
    ("jamba.json", 12.1, 2 * 2 * 4 * 8 * 128),
    ("qwen3-next.json", 3.9, 2 * 2 * 12 * 2 * 256),
];

#[test]
fn a_token_uses_its_experts_and_adds_to_the_cache_of_layers_that_attend() {
    for (file, billions, kv_bytes) in ACTIVE {
        let model = import_hf_file(&reference(file), None, Parts::Whole).unwrap();
        let ratio = model.active_parameters() as f64 / (billions * 1e9);
        assert!((0.95..1.15).contains(&ratio), "{file}: {} active, {ratio} of published", model.active_parameters());
        assert_eq!(model.kv_bytes_per_token(), kv_bytes, "{file}");
    }
}

/// Formats reach experts alone, or all of the layers; layers that predict further tokens have numbers of their own.
#[test]
fn quantised_mixtures_have_types_with_a_reach() {
    let types = |file| import_hf_file(&reference(file), None, Parts::TextOnly).unwrap_or_else(|e| panic!("{e}")).types;
    let of = |file| {
        let types: Types = types(file);
        (types.weights.dtype, types.weights.group, types.weights.reach, types.cache)
    };
    assert_eq!(of("gpt-oss-120b.json"), (DataType::Fp4, 32, Reach::Experts, DataType::Bf16));
    assert_eq!(of("gpt-oss-bf16.json"), (DataType::Bf16, 0, Reach::Layers, DataType::Bf16));
    assert_eq!(of("deepseek-v3.json"), (DataType::Fp8, 128, Reach::Layers, DataType::Bf16));
    assert_eq!(of("qwen3.5-122b-a10b-nvfp4.json"), (DataType::Fp4, 16, Reach::Experts, DataType::Fp8));
}

/// File, and what is said of it when all of it is asked for.
const REFUSED: [(&str, &[&str]); 5] = [
    ("deepseek-v4-flash.json", &["`hc_mult` splits the residual into streams"]),
    ("gemma-4-26b-a4b.json", &["`vision_config`", "--text-only"]),
    ("qwen3.5-27b.json", &["`vision_config`", "--text-only"]),
    ("qwen3.5-35b-a3b.json", &["`vision_config`", "--text-only"]),
    ("qwen3-vl-235b-a22b.json", &["`vision_config`", "--text-only"]),
];

#[test]
fn what_cannot_be_expressed_is_refused_by_its_key() {
    for (file, fragments) in REFUSED {
        let error = import_hf_file(&reference(file), None, Parts::Whole).expect_err(file).to_string();
        for fragment in fragments {
            assert!(error.contains(fragment), "{file}: expected `{fragment}` in\n{error}");
        }
    }
    for (file, from, to, says) in [
        ("mixtral-8x7b.json", "\"num_local_experts\": 8", "\"num_local_experts\": 1", "`num_experts_per_tok` is 2"),
        ("mixtral-8x7b.json", "\"use_cache\": true", "\"moe_frequency\": 2", "`moe_frequency` makes some layers dense"),
        ("mixtral-8x7b.json", "\"use_cache\": true", "\"shared_experts\": 2", "`shared_experts` is not known"),
        ("mamba.json", "\"silu\"", "\"relu\"", "`hidden_act` is another activation than SiLU"),
        ("mamba2.json", "\"num_heads\": 128", "\"num_heads\": 127", "`num_heads` is 127: heads of 64 do not make"),
        (
            "jamba.json",
            "\"attn_layer_offset\": 4",
            "\"attn_layer_offset\": 8",
            "`attn_layer_offset` is as large as its period",
        ),
        ("deepseek-v3.json", "\"sigmoid\"", "\"sqrtsoftplus\"", "`scoring_func` is `sqrtsoftplus`"),
        ("nemotron-3-nano.json", "MEMEM*EM", "MEMEMXEM", "`hybrid_override_pattern` has `X`"),
        ("rwkv.json", "\"rwkv\"", "\"rwkv5\"", "`model_type` is `rwkv5`, a family that is not imported"),
        ("dbrx.json", "\"kv_n_heads\": 8", "\"qk_ln\": true", "`attn_config.qk_ln` is not known"),
        ("lfm2.json", "\"conv_L_cache\": 3", "\"conv_L_cache\": 0", "`conv_L_cache` is 0: must be from 1"),
        ("minimax-m2.5-nvfp4.json", "\"per_layer\"", "\"per_head\"", "`qk_norm_type` normalises"),
        (
            "gemma-4-26b-a4b.json",
            "\"hidden_size_per_layer_input\": 0",
            "\"hidden_size_per_layer_input\": 256",
            "`text_config.hidden_size_per_layer_input` gives",
        ),
    ] {
        let text = std::fs::read_to_string(reference(file)).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        let path = std::env::temp_dir().join(format!("banksia-mixtures-{}-{file}", std::process::id()));
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let result = import_hf_file(&path, None, Parts::TextOnly);
        std::fs::remove_file(&path).unwrap();
        let message = result.map_or_else(|e| e.to_string(), |m| format!("accepted, {} parameters", m.parameters()));
        assert!(message.contains(says), "{file}: expected `{says}` in\n{message}");
    }
}
