//! `latency_energy.csv`: operators of PyTorch over buffers that rotate through several times L2, and decode steps.

use std::ops::RangeInclusive;
use std::sync::Arc;

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::{Dtype, Kernel, Tensor};
use banksia_hw::gpu::sampling::{Detail, LaunchTotals, simulate_steps, sustained};
use banksia_hw::gpu::{CacheState, EnergyParts, Gpu, GpuSpec};
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_input::Source;
use banksia_mappers::gpu::GpuMapper;
use banksia_mappers::gpu::attention::{Attention, flash2};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::layers;
use banksia_mappers::gpu::select::{self, Found, dirty_share};
use banksia_mappers::{Mapper, Problem};
use banksia_workloads::{Generation, Model};
use serde_json::Value as Json;

use super::rows::{self, Row, SIDE, number};
use crate::gpus::Devices;
use crate::value::Value;

/// Caches when a case starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Operands come from memory; L2 holds what launches before left.
    Rotating,
    /// L2 is empty.
    Flushed,
}

pub(super) struct Case {
    pub(super) outcome: LaunchTotals,
    steps: Vec<(Kernel, CacheState)>,
}

fn get(args: &Json, key: &str, allowed: &RangeInclusive<u64>) -> Result<u64, String> {
    let value = args.get(key).ok_or_else(|| format!("argument {key} is missing"))?;
    value.as_u64().filter(|n| allowed.contains(n)).ok_or_else(|| {
        format!("argument {key} is {value}: must be a whole number of {} to {}", allowed.start(), allowed.end())
    })
}

fn dtype(args: &Json) -> Dtype {
    match args.get("dtype").and_then(Json::as_str) {
        Some("fp8") => Dtype::Fp8,
        Some("fp16") => Dtype::Fp16,
        _ => Dtype::Bf16,
    }
}

pub(super) fn case(gpu: &mut Gpu, op: &str, args: &str, taken: Taken, detail: Detail) -> Result<Case, String> {
    let args: Json = serde_json::from_str(args).map_err(|e| format!("args are not JSON: {e}"))?;
    let within = |key: &str, most: u32| get(&args, key, &(1..=u64::from(most))).map(|n| n as u32);
    let u = |key: &str| within(key, *SIDE.end());
    let kernels = match op {
        "gemm" | "bmm" => {
            let g = Gemm {
                batch: if op == "bmm" { u("b")? } else { 1 },
                ..Gemm::new(u("m")?, u("n")?, u("k")?, dtype(&args))
            };
            rows::product(&g, gpu.spec())?;
            // As below; C is not among what rotates: 64 products of 512x512x64 take 14.0 us and 7.3 to 7.8 mJ with one C on two H200 and
            // 15.1 us and 7.9 to 8.4 mJ with several, 32 of 128x128x64 by 32 sets of operands 2.5 us with one C and 3.2 to 3.5 with as many
            // (`device_batched.csv`).
            let operands =
                g.compulsory_bytes() - f64::from(g.m) * f64::from(g.n) * f64::from(g.batch) * f64::from(g.out_bytes);
            let small = taken == Taken::Rotating && 32.0 * operands <= gpu.spec().l2.bytes as f64;
            let found = Found { a: small, b: small, c: taken == Taken::Rotating };
            let (mut plan, outcome) =
                select::gemm(&mut Simulation::new(gpu, detail), &g, found, 2).map_err(|e| e.to_string())?;
            if taken == Taken::Rotating {
                return Ok(Case { outcome, steps: plan.steps });
            }
            // Flushed before each launch of a case.
            plan.steps.iter_mut().for_each(|(_, cache)| *cache = CacheState::Empty);
            let outcome = simulate_steps(gpu, &plan.steps, detail, f64::INFINITY).map_err(|e| e.to_string())?;
            return Ok(Case { outcome, steps: plan.steps });
        }
        "attn_prefill" => {
            let a = Attention {
                batch: u("b")?,
                heads: u("h")?,
                kv_heads: u("hk")?,
                queries: u("s")?,
                keys: u("s")?,
                head_dim: u("d")?,
                causal: get(&args, "causal", &(0..=1))? != 0,
                window: 0,
                dtype: Dtype::Bf16,
                kv_bytes: 2,
                ..Attention::default()
            };
            rows::attention(&a, gpu.spec())?;
            vec![flash2(&a, gpu.spec())]
        }
        "gpt_decode" => {
            let outcome = gpt_decode(gpu.spec(), &args, detail)?;
            return Ok(Case { outcome, steps: Vec::new() });
        }
        "copy" => {
            let bytes = get(&args, "bytes", &(2..=1 << 38))?;
            rows::fits(2.0 * bytes as f64, gpu.spec())?;
            vec![layers::copy_bytes(bytes)]
        }
        "gelu" | "add" | "mul" | "softmax" | "layernorm" | "rmsnorm" => {
            let (rows, columns) = (u("rows")?, u("cols")?);
            rows::elements(rows, columns)?;
            let kernel = layers::row_operator(op, rows, columns).ok_or("operator not modelled")?;
            rows::fits(kernel.footprint_bytes() as f64, gpu.spec())?;
            vec![kernel]
        }
        _ => return Err("operator not modelled yet".into()),
    };
    let steps: Vec<(Kernel, CacheState)> = kernels
        .into_iter()
        .map(|k| {
            let written = k.tensors.last().map_or(0, Tensor::bytes) as f64;
            let dirty = dirty_share(k.footprint_bytes() as f64 - written, written);
            let cache = match taken {
                // Small operands come round while L2 still holds them: no more than 32 sets of buffers rotate (launches of
                // small cases are multiples of 32, and their additions take what those of known_programs take in L2).
                Taken::Rotating if 32 * k.footprint_bytes() <= gpu.spec().l2.bytes => {
                    let tensors = (0..k.tensors.len()).map(|t| (t, t + 1 == k.tensors.len())).collect();
                    CacheState::Resident { tensors, dirty }
                }
                Taken::Rotating => CacheState::Foreign { dirty },
                Taken::Flushed => CacheState::Empty,
            };
            (k, cache)
        })
        .collect();
    let outcome = simulate_steps(gpu, &steps, detail, f64::INFINITY).map_err(|e| e.to_string())?;
    Ok(Case { outcome, steps })
}

/// Words that the measured step ranks.
const VOCABULARY: u32 = 50257;

/// What the measured step leaves out: it works on a cache that stays as it is, and ranks words without choosing one.
const NOT_MEASURED: [&str; 2] = ["kv append", "argmax"];

/// One decode step of a GPT in plain operators: the program that `banksia run` runs of such a model, less what was not measured.
fn gpt_decode(spec: &GpuSpec, args: &Json, detail: Detail) -> Result<LaunchTotals, String> {
    let u = |key: &str, most: u32| get(args, key, &(1..=u64::from(most))).map(|n| n as u32);
    let (batch, width, heads) = (u("b", 1 << 16)?, u("d", 1 << 16)?, u("h", 1 << 10)?);
    let (keys, layers) = (u("kv", *SIDE.end())?, u("layers", 1 << 12)?);
    // Weights and cache in the device's memory, results within what is simulated.
    let (b, d, l) = (f64::from(batch), f64::from(width), f64::from(layers));
    let weights = d * (12.0 * d * l + f64::from(VOCABULARY));
    rows::fits(2.0 * (weights + 2.0 * b * f64::from(keys) * d * l), spec)?;
    rows::elements(batch, (4 * width).max(VOCABULARY))?;
    rows::elements(batch * heads, keys)?;
    let head = if width.is_multiple_of(heads) { width / heads } else { 64 };
    let text = format!(
        "name = \"gpt\"\nlayers = {layers}\nwidth = {width}\nheads = {heads}\nhead_dim = {head}\nvocab = {VOCABULARY}\nmax_positions = {keys}"
    );
    let model = Model::from_toml("gpt_decode", &text).map_err(|e| e.to_string())?;
    let generation = Generation {
        context_tokens: u64::from(keys) - 1,
        prompt_tokens: 0,
        generated_tokens: 1,
        batch: u64::from(batch),
        embedding: false,
        ..Generation::default()
    };
    let source = Source::from_text("gpt_decode", "[mapping]\nattention = \"plain\"\n");
    let machine = Machine::of_gpu(spec);
    let problem = Problem { model: &model, generation: &generation, machine: &machine, source: &source };
    let mut plan = GpuMapper.plan(&problem).map_err(|e| e.to_string())?;
    let mut system = System::new(&machine, RunOptions { detail, ..RunOptions::default() });
    let program = plan.lower(0, &mut system).map_err(|e| e.to_string())?;
    system.run(&Arc::new(program.without(&NOT_MEASURED))).map_err(|e| e.to_string())?;
    let outcome = system.finish();
    let joules: f64 = outcome.components.iter().flat_map(|c| c.energy_j.values()).sum();
    Ok(LaunchTotals {
        latency_s: outcome.latency.as_secs_f64(),
        energy: EnergyParts { idle_j: joules, ..EnergyParts::default() },
        ..LaunchTotals::default()
    })
}

pub(super) fn row(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let op = row.get("op").cloned().unwrap_or_default();
    if op == "idle" {
        return Vec::new();
    }
    let args = row.get("args").cloned().unwrap_or_default();
    let (latency, energy) =
        match devices.get("h200").and_then(|gpu| Ok((case(gpu, &op, &args, Taken::Rotating, detail)?, gpu))) {
            Ok((case, gpu)) => {
                let energy = if case.steps.is_empty() {
                    Ok(case.outcome.energy.total_j())
                } else {
                    sustained(gpu, &case.steps, detail, &case.outcome)
                        .map(|o| o.energy.total_j())
                        .map_err(|e| e.to_string())
                };
                (Ok(case.outcome.latency_s * 1e6), energy)
            }
            Err(e) => (Err(e.clone()), Err(e)),
        };
    let value = |metric, column: &str, predicted| Value {
        device: "h200".into(),
        op: op.clone(),
        metric,
        label: format!("{op} {args}"),
        measured: number(row, column).unwrap_or(f64::NAN),
        predicted,
    };
    vec![value("latency", "latency_us", latency), value("energy", "energy_j", energy)]
}
