//! The embedded models of more than one plain block, against published parameters.
#![allow(clippy::unwrap_used, clippy::panic)]

use banksia_workloads::{Model, zoo};

/// Name, and elements of the released checkpoint, or the library's count of its configuration where both are the same.
const RELEASED: [(&str, u64); 19] = [
    ("llama3.2-1b", 1_235_814_400),
    ("llama3.1-8b", 8_030_261_248),
    ("llama3.1-70b", 70_553_706_496),
    ("qwen2.5-14b", 14_770_033_664),
    ("gemma2-9b", 9_241_705_984),
    ("mixtral-8x7b", 46_702_792_704),
    ("qwen3-30b-a3b", 30_532_122_624),
    ("deepseek-moe-16b", 16_375_728_128),
    // With the biases that correct the router's choice in 58 layers, which the library's count of 671,026,404,352 leaves out.
    ("deepseek-v3", 671_026_404_352 + 58 * 256),
    ("gpt-oss-20b", 20_914_757_184),
    ("mamba-2.8b", 2_768_345_600),
    ("mamba2-2.7b", 2_702_599_680),
    ("jamba", 51_570_323_328),
    ("nemotron-h-8b", 8_100_852_736),
    ("qwen3-next-80b-a3b", 79_674_391_296),
    ("rwkv", 7_392_649_216),
    ("recurrentgemma-2b", 2_682_862_080),
    // Without the layer that predicts the next sentence: the masked-language model.
    ("bert-large", 335_174_458),
    ("t5-large", 737_668_096),
];

#[test]
fn released_checkpoints_match() {
    let mut wrong = String::new();
    for (name, parameters) in RELEASED {
        let found = zoo::load(name).unwrap_or_else(|e| panic!("{e}")).parameters();
        if found != parameters {
            wrong.push_str(&format!("{name}: {found} parameters, not {parameters}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // Falcon-H1-7B: 7.59 billion (arXiv 2507.22448, table 1).
    let falcon = zoo::load("falcon-h1").unwrap().parameters() as f64;
    assert!((falcon / 7.59e9 - 1.0).abs() < 0.01, "{falcon}");
}

#[test]
fn every_embedded_model_has_its_name_a_source_and_reads_back() {
    for name in zoo::names() {
        let model = zoo::load(name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(model.name, name);
        assert!(!model.source.is_empty(), "{name}");
        assert_eq!(Model::from_toml("again.toml", &model.to_toml().unwrap()).unwrap(), model, "{name}");
    }
    let error = zoo::gpt("mixtral-8x7b").unwrap_err().to_string();
    assert!(error.contains("models/mixtral-8x7b.toml: is not a decoder of one plain block"), "{error}");
}
