//! What training steps of GPTs hold at their most, against `peak_mem_bytes` of the rows that were measured (`tests/reference/gpu/models.csv`, `train`).
#![allow(clippy::unwrap_used)]

use banksia_mappers::gpu::training::memory::footprint;
use banksia_workloads::backward::{Optimizer, Recompute, TrainingSpec};
use banksia_workloads::model::{
    AttentionSpec, Block, Embed, FeedForwardSpec, HeadSpec, Layers, Mixer, Model, Norm, Routing, Stage, Types,
};
use banksia_workloads::{ActivationKind, DataType};

fn gpt(layers: u32, width: u64, heads: u64) -> Model {
    let attention = AttentionSpec { qkv_bias: true, out_bias: true, ..AttentionSpec::new(heads, heads, width / heads) };
    let ffn = FeedForwardSpec { inner: 4 * width, activation: ActivationKind::Gelu, gated: false, bias: true };
    let stages = vec![
        Stage::pre(Norm::LayerNorm, Mixer::Attention(attention)),
        Stage::pre(Norm::LayerNorm, Mixer::FeedForward(ffn)),
    ];
    Model {
        name: "gpt".to_owned(),
        source: String::new(),
        width,
        max_positions: 1 << 20,
        types: Types::uniform(DataType::Bf16),
        embed: Embed::of(50304),
        head: HeadSpec { tied: true, ..HeadSpec::of(Norm::LayerNorm, 50304) },
        pattern: vec![Layers { block: "block".into(), layers }],
        blocks: vec![Block { name: "block".into(), shared: false, stages }],
        encoder: None,
        routing: Routing::Uniform { seed: 1 },
    }
}

/// Bytes at a step's most, less what the process held before (workspaces of 32 MiB, as many as streams had been used).
fn peak(model: &Model, spec: TrainingSpec, workspaces: u64) -> f64 {
    footprint(&model.training(&spec).unwrap(), workspaces * (32 << 20)).peak as f64
}

/// One row of each model and kind; how many workspaces there were is said in `validation/src/training.rs`.
#[test]
fn peaks_are_those_measured() {
    let medium = gpt(24, 1024, 16);
    let (xl, large) = (gpt(48, 1600, 25), gpt(32, 2560, 32));
    let step = Optimizer::AdamW { moments: DataType::Bf16 };
    let again = Recompute::Full;
    let of = TrainingSpec::new;
    for (model, spec, workspaces, measured) in [
        (&medium, of(8, 1024), 14, 10_153_374_720.0),
        (&medium, TrainingSpec { recompute: again, ..of(8, 1024) }, 12, 3_959_411_712.0),
        (&medium, TrainingSpec { optimizer: step, ..of(8, 1024) }, 41, 12_394_043_904.0),
        (&xl, of(8, 1024), 43, 27_557_953_536.0),
        (&xl, TrainingSpec { backward: false, ..of(2, 2048) }, 9, 14_301_765_632.0),
        (&xl, TrainingSpec { optimizer: step, ..of(2, 2048) }, 14, 21_106_621_952.0),
        (&large, TrainingSpec { recompute: again, ..of(2, 2048) }, 13, 11_556_082_688.0),
        (&large, TrainingSpec { backward: false, ..of(8, 1024) }, 8, 28_688_198_656.0),
    ] {
        let error = peak(model, spec, workspaces) / measured - 1.0;
        println!("{} {spec:?}: {:+.2} %", model.width, 100.0 * error);
        assert!(error.abs() < 0.025, "{} {spec:?}: {error}", model.width);
    }
}
