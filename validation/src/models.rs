//! `models.csv`: whole steps of models on an H200, as `banksia run` runs them.
//!
//! The programs that were measured are plain PyTorch operators and fused row kernels in one CUDA graph (`framework = "compiled"`), replayed: every
//! layer has weights and a cache of its own. A replay follows another, so one step warms L2 up and the next one counts.

use std::sync::Arc;

use banksia_hw::gpu::LaunchCache;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::program::Program;
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_input::Source;
use banksia_mappers::gpu::GpuMapper;
use banksia_mappers::{Mapper, Problem};
use banksia_workloads::model::{
    AttentionSpec, Block, Embed, ExpertsSpec, FeedForwardSpec, HeadSpec, Layers, Mamba2Spec, Mixer, Model, Norm,
    Router, Routing, Stage, Types,
};
use banksia_workloads::{ActivationKind, DataType, Generation};
use serde_json::Value as Json;

use crate::gpus::Devices;
use crate::operators::call::argument;
use crate::rows::{Row, number};
use crate::training;
use crate::value::Value;

/// A step's seconds and joules.
pub(crate) type Taken = (f64, f64);

pub(crate) fn feed_forward(inner: u64) -> Mixer {
    Mixer::FeedForward(FeedForwardSpec { inner, activation: ActivationKind::Silu, gated: true, bias: false })
}

pub(crate) fn attention([heads, kv_heads, head_dim]: [u64; 3]) -> Mixer {
    Mixer::Attention(AttentionSpec { rotary_dim: head_dim, ..AttentionSpec::new(heads, kv_heads, head_dim) })
}

fn experts(experts: u64, top_k: u64, inner: u64, shared_inner: u64) -> Mixer {
    Mixer::Experts(ExpertsSpec {
        experts,
        top_k,
        inner,
        shared_inner,
        shared_gate: false,
        activation: ActivationKind::Silu,
        gated: true,
        bias: false,
        router: Router::Softmax,
        router_bias: false,
        latent_width: 0,
        capacity_percent: 0,
    })
}

fn mamba2(heads: u64, groups: u64) -> Mixer {
    Mixer::Mamba2(Mamba2Spec {
        heads,
        head_dim: 64,
        state: 128,
        groups,
        conv_kernel: 4,
        chunk: 256,
        bias: false,
        conv_bias: true,
        gated_norm: true,
    })
}

/// A model of blocks, each a list of mixers behind RMS norms, in a pattern of their numbers.
pub(crate) fn model(name: &str, width: u64, vocab: u64, blocks: &[Vec<Mixer>], pattern: &[(usize, u32)]) -> Model {
    let block = |(i, mixers): (usize, &Vec<Mixer>)| Block {
        name: format!("block{i}"),
        shared: false,
        stages: mixers.iter().map(|m| Stage::pre(Norm::RmsNorm, m.clone())).collect(),
    };
    Model {
        name: name.to_owned(),
        source: "the program that measured the row".to_owned(),
        width,
        max_positions: 1 << 20,
        types: Types::uniform(DataType::Bf16),
        embed: Embed::of(vocab),
        head: HeadSpec::of(Norm::RmsNorm, vocab),
        pattern: pattern.iter().map(|(b, layers)| Layers { block: format!("block{b}"), layers: *layers }).collect(),
        blocks: blocks.iter().enumerate().map(block).collect(),
        encoder: None,
        // Router weights are drawn by chance, and so are the experts.
        routing: Routing::Uniform { seed: 1 },
    }
}

/// Consecutive equal letters of a pattern as runs.
fn runs(pattern: &str, kinds: &str) -> Result<Vec<(usize, u32)>, String> {
    let mut runs: Vec<(usize, u32)> = Vec::new();
    for letter in pattern.chars() {
        let kind = kinds.find(letter).ok_or_else(|| format!("pattern has `{letter}`: must be of {kinds}"))?;
        match runs.last_mut() {
            Some((last, layers)) if *last == kind => *layers += 1,
            _ => runs.push((kind, 1)),
        }
    }
    Ok(runs)
}

/// The models of `zoo.py`.
fn zoo(args: &Json) -> Result<Model, String> {
    let name = args.get("model").and_then(Json::as_str).ok_or("argument model is missing")?;
    let layers = |default: u64| match args.get("layers") {
        None => Ok(default as u32),
        Some(_) => argument(args, "layers", 1 << 12).map(|n| n as u32),
    };
    let dense = |l: u64, width, heads, inner, vocab| {
        layers(l).map(|l| model(name, width, vocab, &[vec![attention(heads), feed_forward(inner)]], &[(0, l)]))
    };
    let mixture = |l: u64, width, heads, mixture: Mixer, vocab| {
        layers(l).map(|l| model(name, width, vocab, &[vec![attention(heads), mixture]], &[(0, l)]))
    };
    match name {
        "llama3_8b" => dense(32, 4096, [32, 8, 128], 14336, 128256),
        "llama2_7b" => dense(32, 4096, [32, 32, 128], 11008, 32000),
        "llama32_1b" => dense(16, 2048, [32, 8, 64], 8192, 128256),
        "qwen25_14b" => dense(48, 5120, [40, 8, 128], 13824, 152064),
        "mixtral_8x7b" => mixture(16, 4096, [32, 8, 128], experts(8, 2, 14336, 0), 32000),
        "qwen3_30b_a3b" => mixture(48, 2048, [32, 4, 128], experts(128, 8, 768, 0), 151936),
        "deepseek_moe_16b" => {
            let shared = args.get("shared").map_or(Ok(2816), |_| argument(args, "shared", 1 << 20))?;
            mixture(27, 2048, [16, 16, 128], experts(64, 6, 1408, shared), 102400)
        }
        "mamba2_2.7b" => layers(64).map(|l| model(name, 2560, 50288, &[vec![mamba2(80, 1)]], &[(0, l)])),
        "mamba2_hybrid_8b" => {
            let pattern = args.get("pattern").and_then(Json::as_str).ok_or("argument pattern is missing")?;
            let blocks = [vec![mamba2(128, 8)], vec![attention([32, 8, 128])], vec![feed_forward(16384)]];
            Ok(model(name, 4096, 256_000, &blocks, &runs(pattern, "M*-")?))
        }
        _ => Err(format!("model {name} is not modelled")),
    }
}

/// BERT: attention without a mask and a feed-forward layer, norms behind them, no embedding and no vocabulary.
fn bert(args: &Json) -> Result<Model, String> {
    let name = args.get("model").and_then(Json::as_str).ok_or("argument model is missing")?;
    let (layers, width, heads, inner) = match name {
        "bert_large" => (24, 1024, 16, 4096),
        "bert_base" => (12, 768, 12, 3072),
        _ => return Err(format!("model {name} is not modelled")),
    };
    let own = AttentionSpec { causal: false, ..AttentionSpec::new(heads, heads, width / heads) };
    let ffn = FeedForwardSpec { inner, activation: ActivationKind::Gelu, gated: false, bias: false };
    let stages = vec![
        Stage::post(Norm::LayerNorm, Mixer::Attention(own)),
        Stage::post(Norm::LayerNorm, Mixer::FeedForward(ffn)),
    ];
    let base = model(name, width, 0, &[], &[(0, layers)]);
    Ok(Model {
        blocks: vec![Block { name: "block0".into(), shared: false, stages }],
        head: HeadSpec { norm: None, ..HeadSpec::of(Norm::LayerNorm, 0) },
        ..base
    })
}

/// How the model is used: one step.
fn generation(op: &str, args: &Json) -> Result<Generation, String> {
    let tokens = |key| argument(args, key, 1 << 20);
    let batch = tokens("b")?.max(1);
    if op == "encoder" {
        let prompt_tokens = tokens("s")?.max(1);
        return Ok(Generation { batch, prompt_tokens, lm_head: false, embedding: false, ..Generation::default() });
    }
    let (new, context) = (tokens("q")?.max(1), tokens("kv")?.max(1));
    let base = Generation { batch, ..Generation::default() };
    Ok(match args.get("phase").and_then(Json::as_str) {
        Some("decode") => Generation { context_tokens: context.saturating_sub(1).max(1), prompt_tokens: 0, ..base },
        Some("prefill") => Generation { prompt_tokens: new, context_tokens: context.saturating_sub(new), ..base },
        other => return Err(format!("phase {other:?} is not one of decode, prefill")),
    })
}

/// Replays before the median one of a row: three to warm up, four of the nine that are timed (`common.py`).
const REPLAYS_BEFORE: f64 = 7.0;
/// Time after which the power controller has acted (see `frameworks`).
const CONTROLLER_S: f64 = 25e-3;

/// Seconds and joules of a step in a loop that lasts: the second of two, whose caches and clock are those that the first left. Results of launches are shared
/// through `known`.
pub(crate) fn lasting(
    machine: &Machine,
    program: &Arc<Program>,
    detail: Detail,
    known: Option<&Arc<dyn LaunchCache>>,
) -> Result<Taken, String> {
    let run = |times: u32| -> Result<Taken, String> {
        let mut system = System::new(machine, RunOptions { detail, ..RunOptions::default() });
        known.into_iter().for_each(|known| system.remember(known));
        for _ in 0..times {
            system.run(program).map_err(|e| e.to_string())?;
        }
        let outcome = system.finish();
        let joules: f64 = outcome.components.iter().flat_map(|c| c.energy_j.values()).sum();
        Ok((outcome.latency.as_secs_f64(), joules))
    };
    let (first, both) = (run(1)?, run(2)?);
    Ok((both.0 - first.0, both.1 - first.1))
}

/// Seconds and joules of a step: of the median replay, and in a loop that lasts.
fn step(op: &str, args: &str, devices: &mut Devices, detail: Detail) -> Result<(f64, Taken), String> {
    let args: Json = serde_json::from_str(&args.replace('\'', "\"")).map_err(|e| format!("args are not JSON: {e}"))?;
    let model = match op {
        "model" => zoo(&args)?,
        "encoder" => bert(&args)?,
        "vision" | "diffusion" => return Err("vision and diffusion models are not modelled yet".into()),
        _ => return Err("operator not modelled".into()),
    };
    let generation = generation(op, &args)?;
    let spec = devices.get("h200")?.spec().clone();
    let machine = Machine::of_gpu(&spec);
    // The encoders' programs have no fused rows.
    let framework = if op == "encoder" { "torch" } else { "compiled" };
    let source = Source::from_text("models.csv", format!("[mapping]\nframework = \"{framework}\"\n"));
    let problem = Problem { model: &model, generation: &generation, machine: &machine, source: &source };
    let mut plan = GpuMapper.plan(&problem).map_err(|e| e.to_string())?;
    let mut system = System::new(&machine, RunOptions { detail, settle: false, ..RunOptions::default() });
    let program = Arc::new(plan.lower(0, &mut system).map_err(|e| e.to_string())?);
    let mut at = [0.0; 2];
    for at in &mut at {
        system.run(&program).map_err(|e| e.to_string())?;
        *at = system.elapsed().as_secs_f64();
    }
    let lasting = lasting(&machine, &program, detail, None)?;
    let burst_s = at[1] - at[0];
    let median_s = if REPLAYS_BEFORE * burst_s > CONTROLLER_S { lasting.0 } else { burst_s };
    Ok((median_s, lasting))
}

pub(super) fn row(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let get = |key: &str| row.get(key).cloned().unwrap_or_default();
    let (op, args) = (get("op"), get("args"));
    if op == "train" {
        return training_row(row, &args, devices, detail);
    }
    let step = step(&op, &args, devices, detail);
    let value = |metric, column: &str, predicted| Value {
        device: "h200".into(),
        op: op.clone(),
        metric,
        label: args.clone(),
        measured: number(row, column).unwrap_or(f64::NAN),
        predicted,
    };
    let energy = step.clone().map(|(_, (_, joules))| joules);
    vec![value("latency", "latency_us", step.map(|(s, _)| s * 1e6)), value("energy", "energy_j", energy)]
}

/// A training step's time, energy and memory.
fn training_row(row: &Row, args: &str, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let parsed: Result<Json, String> =
        serde_json::from_str(&args.replace('\'', "\"")).map_err(|e| format!("args are not JSON: {e}"));
    let taken = parsed.and_then(|args| training::taken(&args, devices, detail));
    let value = |metric, column: &str, predicted| Value {
        device: "h200".into(),
        op: "train".into(),
        metric,
        label: args.to_owned(),
        measured: number(row, column).unwrap_or(f64::NAN),
        predicted,
    };
    let of = |get: fn(&training::Taken) -> f64| taken.as_ref().map(get).map_err(Clone::clone);
    vec![
        value("latency", "latency_us", of(|t| t.latency_s * 1e6)),
        value("energy", "energy_j", of(|t| t.energy_j)),
        value("peak_memory", "peak_mem_bytes", of(|t| t.peak_bytes)),
    ]
}
