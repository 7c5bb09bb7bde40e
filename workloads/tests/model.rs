//! Models of blocks and a pattern: what they count, and that their TOML says all of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use banksia_workloads::{Model, zoo};

/// A decoder of one plain block counts as its sizes say, and comes back as them.
#[test]
fn a_plain_decoder_is_one_block() {
    for name in zoo::names() {
        let gpt = zoo::load(name).unwrap();
        let model = Model::from(&gpt);
        assert_eq!(model.parameters(), gpt.parameters(), "{name}");
        assert_eq!(model.kv_bytes_per_token(), gpt.kv_bytes_per_token(), "{name}");
        assert_eq!(model.as_gpt().as_ref(), Some(&gpt), "{name}");
    }
}

/// What is written as TOML reads back as the same model.
#[test]
fn a_models_toml_reads_back() {
    for text in [HYBRID, LATENT] {
        let model = Model::from_toml("model.toml", text).unwrap_or_else(|e| panic!("{e}"));
        let written = model.to_toml().unwrap();
        assert_eq!(Model::from_toml("written.toml", &written).unwrap_or_else(|e| panic!("{e}\n{written}")), model);
        assert_eq!(model.as_gpt(), None);
    }
}

const HYBRID: &str = r#"
name = "hybrid"
width = 64
max_positions = 1024
types = { weights = { dtype = "bf16" }, activations = "bf16", cache = "fp8" }
embed = { vocab = 100 }
head = { norm = "rms_norm", vocab = 100 }
pattern = [{ block = "m", layers = 3 }, { block = "a", layers = 1 }, { block = "m", layers = 2 }]

[[blocks]]
name = "m"
[[blocks.stages]]
norm = "rms_norm"
branches = [{ mixer = { kind = "mamba2", heads = 4, head_dim = 32, state = 16, groups = 1, conv_kernel = 4 } }]

[[blocks]]
name = "a"
[[blocks.stages]]
norm = "rms_norm"
branches = [{ mixer = { kind = "attention", heads = 4, kv_heads = 2, head_dim = 16, rotary_dim = 16, window = 128 } }]
[[blocks.stages]]
norm = "rms_norm"
branches = [{ mixer = { kind = "experts", experts = 8, top_k = 2, inner = 96, activation = "silu" } }]
"#;

const LATENT: &str = r#"
name = "latent"
width = 64
max_positions = 1024
types = { weights = { dtype = "int4", group = 32, scale = "f16" }, activations = "bf16", cache = "bf16" }
embed = { vocab = 100 }
head = { norm = "rms_norm", vocab = 100 }
pattern = [{ block = "l", layers = 3 }]
routing = { distribution = "zipf", exponent = 1.2 }

[[blocks]]
name = "l"
[[blocks.stages]]
norm = "rms_norm"
[[blocks.stages.branches]]
mixer = { kind = "latent_attention", heads = 4, kv_rank = 32, nope_dim = 16, rope_dim = 8, value_dim = 16 }
[[blocks.stages]]
norm = "rms_norm"
branches = [{ mixer = { kind = "feed_forward", inner = 96, gated = true } }]
"#;
