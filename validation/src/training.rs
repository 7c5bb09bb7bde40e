//! `train` rows of `models.csv`: steps of GPTs that a host launches operator by operator, forward, with gradients, and with an update.
//!
//! The program that was measured (`zoo.py`) is plain PyTorch: layer norms, products with biases, FlashAttention-2, GELU; a table that is the vocabulary's too; parameters, gradients
//! and moments in bfloat16; labels that are the tokens themselves.

use std::sync::{Arc, OnceLock};

use banksia_experiments::cache::Cache;
use banksia_experiments::training_step;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::{GpuSpec, LaunchCache};
use banksia_hw::system::RunOptions;
use banksia_mappers::gpu::training::TrainingPlan;
use banksia_workloads::backward::{Optimizer, Recompute, TrainingSpec};
use banksia_workloads::model::{
    AttentionSpec, Block, Embed, FeedForwardSpec, HeadSpec, Layers, Mixer, Model, Norm, Routing, Stage, Types,
};
use banksia_workloads::{ActivationKind, DataType};
use serde_json::Value as Json;

use crate::gpus::Devices;
use crate::operators::call::argument;

/// What a row is held to: seconds of a step, joules, and bytes at their most.
pub(crate) struct Taken {
    pub(crate) latency_s: f64,
    pub(crate) energy_j: f64,
    pub(crate) peak_bytes: f64,
}

/// A GPT of layer norms and biases without positions, whose vocabulary is its table.
fn gpt(args: &Json) -> Result<Model, String> {
    let within = |key: &str, most: u64| argument(args, key, most).map(|n| n.max(1));
    let (layers, width) = (within("layers", 1 << 12)?, within("d", 1 << 16)?);
    let (heads, vocab) = (within("h", 1 << 12)?, within("V", 1 << 20)?);
    if !width.is_multiple_of(heads) {
        return Err(format!("a width of {width} is not a multiple of {heads} heads"));
    }
    let attention = AttentionSpec { qkv_bias: true, out_bias: true, ..AttentionSpec::new(heads, heads, width / heads) };
    let ffn = FeedForwardSpec { inner: 4 * width, activation: ActivationKind::Gelu, gated: false, bias: true };
    let stages = vec![
        Stage::pre(Norm::LayerNorm, Mixer::Attention(attention)),
        Stage::pre(Norm::LayerNorm, Mixer::FeedForward(ffn)),
    ];
    let name = args.get("model").and_then(Json::as_str).unwrap_or("gpt").to_owned();
    Ok(Model {
        name,
        source: "the program that measured the row".to_owned(),
        width,
        max_positions: 1 << 20,
        types: Types::uniform(DataType::Bf16),
        embed: Embed::of(vocab),
        head: HeadSpec { tied: true, ..HeadSpec::of(Norm::LayerNorm, vocab) },
        pattern: vec![Layers { block: "block".into(), layers: layers as u32 }],
        blocks: vec![Block { name: "block".into(), shared: false, stages }],
        encoder: None,
        routing: Routing::Uniform { seed: 1 },
    })
}

fn training(args: &Json) -> Result<TrainingSpec, String> {
    let base = TrainingSpec::new(argument(args, "b", 1 << 12)?.max(1), argument(args, "s", 1 << 20)?.max(1));
    let recompute = if argument(args, "recompute", 1)? == 1 { Recompute::Full } else { Recompute::None };
    let base = TrainingSpec { recompute, ..base };
    match args.get("mode").and_then(Json::as_str) {
        Some("forward") => Ok(TrainingSpec { backward: false, ..base }),
        Some("backward") => Ok(base),
        Some("step") => Ok(TrainingSpec { optimizer: Optimizer::AdamW { moments: DataType::Bf16 }, ..base }),
        other => Err(format!("mode {other:?} is not one of forward, backward, step")),
    }
}

/// Results of launches that rows share: those of one model run the same kernels. No result changes by it.
fn known() -> Arc<dyn LaunchCache> {
    static KNOWN: OnceLock<Arc<dyn LaunchCache>> = OnceLock::new();
    Arc::clone(KNOWN.get_or_init(Cache::in_memory))
}

/// The device while it works on gradients. Labels are the tokens themselves and the vocabulary is the table, so that the loss of the measured program is zero but for rounding, and
/// so are its gradients: their products do not toggle the matrix units. On zeros these run at 1796 MHz without droop (1775 with bulk copies of 8.7 TB/s beside), and take 291 W less 122
/// at 4.613e14 multiply-adds a second; lanes take no more than their instructions do (`device_measurements.csv`, `device_power.csv`).
fn on_zeros(spec: &GpuSpec) -> GpuSpec {
    let mut quiet = spec.clone();
    let power = &mut quiet.power;
    let clock = power.reference_clock_mhz / 1796.0;
    let zeros = (291.2 - 122.0) / 4.613e14 * 1e12 * clock * clock;
    power.tensor_sync_pj_per_fma *= zeros / power.tensor_pj_per_fma;
    power.tensor_pj_per_fma = zeros;
    power.vector_pj_per_op = 0.0;
    power.tensor_droop_mhz = 0.0;
    power.tensor_sync_droop_mhz = 0.0;
    power.tensor_droop_mhz_per_tb_s = (1796.0 - 1775.0) / 8.7;
    quiet
}

/// A workspace of cuBLAS for each stream that a process has multiplied on: 32 MiB on Hopper (`getChosenWorkspaceSize`, PyTorch 2.11).
const WORKSPACE: u64 = 32 << 20;

/// Workspaces that the process held when it came to a row. Every row is measured on a stream of its own (`common.py`), and `zoo.py` shuffles its rows in a fixed order, so the
/// number grows from row to row; where it stood when a process began with a row is found on the open rows: a property of how they were taken.
fn workspaces(args: &Json, spec: &TrainingSpec) -> u64 {
    let model = args.get("model").and_then(Json::as_str).unwrap_or_default();
    let mode = match (spec.backward, spec.optimizer) {
        (false, _) => "forward",
        (true, Optimizer::None) => "backward",
        _ => "step",
    };
    let key = (model, spec.micro_batch, mode, spec.recompute == Recompute::Full);
    let place = ORDER.iter().position(|o| *o == key).unwrap_or(0) as u64;
    match place {
        0..=3 => 13 + place,
        4..=16 => 37 + (place - 4),
        _ => 8 + (place - 17),
    }
}

/// The order in which `zoo.py` takes its training rows: model, sequences, mode, recomputation.
const ORDER: [(&str, u64, &str, bool); 24] = [
    ("gpt2_medium", 2, "step", false),
    ("gpt2_xl", 2, "step", false),
    ("gpt3_2_7b", 8, "backward", false),
    ("gpt3_2_7b", 8, "backward", true),
    ("gpt2_xl", 8, "backward", true),
    ("gpt2_xl", 2, "backward", true),
    ("gpt2_medium", 2, "backward", false),
    ("gpt3_2_7b", 2, "step", false),
    ("gpt2_medium", 8, "step", false),
    ("gpt2_medium", 2, "backward", true),
    ("gpt2_xl", 8, "backward", false),
    ("gpt2_medium", 2, "forward", false),
    ("gpt2_medium", 8, "forward", false),
    ("gpt2_xl", 8, "forward", false),
    ("gpt3_2_7b", 2, "forward", false),
    ("gpt2_xl", 8, "step", false),
    ("gpt3_2_7b", 8, "step", false),
    ("gpt3_2_7b", 8, "forward", false),
    ("gpt2_xl", 2, "forward", false),
    ("gpt2_xl", 2, "backward", false),
    ("gpt3_2_7b", 2, "backward", false),
    ("gpt2_medium", 8, "backward", true),
    ("gpt3_2_7b", 2, "backward", true),
    ("gpt2_medium", 8, "backward", false),
];

/// Time, energy and memory of a row.
pub(crate) fn taken(args: &Json, devices: &mut Devices, detail: Detail) -> Result<Taken, String> {
    let (model, training) = (gpt(args)?, training(args)?);
    let spec = Arc::new(devices.get("h200")?.spec().clone());
    let mut plan = TrainingPlan::new(&model, &training, &spec).map_err(|e| e.to_string())?;
    let quiet = Arc::new(on_zeros(&spec));
    let options = RunOptions { detail, settle: false, ..RunOptions::default() };
    let step = training_step::run(&mut plan, &spec, Some(&quiet), options, &known()).map_err(|e| e.to_string())?;
    let before = workspaces(args, &training) * WORKSPACE;
    let (latency_s, energy_j) = (step.latency_s, step.energy_j);
    Ok(Taken { latency_s, energy_j, peak_bytes: plan.footprint(before).peak as f64 })
}
