//! `train` rows of `models.csv`: steps of GPTs that a host launches operator by operator, forward, with gradients, and with an update.
//!
//! The program that was measured (`zoo.py`) is plain PyTorch: layer norms, products with biases, FlashAttention-2, GELU; a table that is the vocabulary's too; parameters, gradients
//! and moments in bfloat16; labels that are the tokens themselves.

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::gpu::sampling::Detail;
use banksia_hw::outcome::Outcome;
use banksia_hw::program::Program;
use banksia_hw::system::{Machine, RunOptions, System};
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

/// Seconds of each operator once, by label, joules, and seconds in all: of the last of so many steps.
fn steps(machine: &Machine, programs: &[Arc<Program>], options: &RunOptions, count: usize) -> Result<Outcome, String> {
    let mut system = System::new(machine, options.clone());
    for _ in 0..count {
        for program in programs {
            system.run(program).map_err(|e| e.to_string())?;
        }
    }
    Ok(system.finish())
}

fn joules(outcome: &Outcome) -> f64 {
    outcome.components.iter().flat_map(|c| c.energy_j.values()).sum()
}

/// Device seconds of each operator once, of the second of two steps.
fn second(
    machine: &Machine,
    programs: &[Arc<Program>],
    options: &RunOptions,
) -> Result<(HashMap<String, f64>, f64), String> {
    let one = steps(machine, programs, options, 1)?;
    let two = steps(machine, programs, options, 2)?;
    let mut by_label = HashMap::new();
    for operator in &two.operators {
        let before = one.operators.iter().find(|o| o.name == operator.name);
        let (s, n) = before.map_or((0.0, 0), |o| (o.latency.as_secs_f64(), o.count));
        let count = operator.count.saturating_sub(n).max(1) as f64;
        by_label.insert(operator.name.clone(), (operator.latency.as_secs_f64() - s) / count);
    }
    Ok((by_label, joules(&two) - joules(&one)))
}

/// Steps before the median one of a row, and the time after which the power controller has acted (see `models`).
const STEPS_BEFORE: f64 = 7.0;
const CONTROLLER_S: f64 = 25e-3;

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

/// The device seconds of each operator once, of a row; for people who look for what a step's time is made of.
pub(crate) fn taken(args: &Json, devices: &mut Devices, detail: Detail) -> Result<Taken, String> {
    let (model, training) = (gpt(args)?, training(args)?);
    let spec = Arc::new(devices.get("h200")?.spec().clone());
    let machine = Machine::of_gpu(&spec);
    let mut plan = TrainingPlan::new(&model, &training, &spec).map_err(|e| e.to_string())?;
    let options = RunOptions { detail, ..RunOptions::default() };
    let mut system = System::new(&machine, options.clone());
    let programs: Vec<Arc<Program>> = {
        let mut judge = system.judge(0).ok_or("the machine has no judge of kernels")?;
        plan.programs(0, judge.as_mut()).map_err(|e| e.to_string())?.into_iter().map(Arc::new).collect()
    };
    let (lasting, energy_j) = second(&machine, &programs, &options)?;
    let (burst, _) = second(&machine, &programs, &RunOptions { settle: false, ..options })?;
    if std::env::var_os("BANKSIA_TRAIN").is_some() {
        let mut all: Vec<_> = burst.iter().collect();
        all.sort_by(|a, b| b.1.total_cmp(a.1));
        for (name, s) in all {
            eprintln!("{:9.1} {:9.1} {name}", s * 1e6, lasting.get(name).copied().unwrap_or(0.0) * 1e6);
        }
    }
    let (burst_s, lasting_s) = (plan.from_host(&burst), plan.from_host(&lasting));
    let latency_s = if STEPS_BEFORE * burst_s > CONTROLLER_S { lasting_s } else { burst_s };
    let before = workspaces(args, &training) * WORKSPACE;
    Ok(Taken { latency_s, energy_j, peak_bytes: plan.footprint(before).peak as f64 })
}
