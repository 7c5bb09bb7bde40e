//! `latency_energy.csv`: operators of PyTorch over buffers that rotate through several times L2, and decode steps.

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::{Dtype, Kernel, Tensor};
use banksia_hw::gpu::sampling::{Detail, LaunchTotals, simulate_steps, sustained};
use banksia_hw::gpu::{CacheState, Gpu};
use banksia_mappers::gpu::attention::{Attention, flash2};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::layers::{self, DecodeStep};
use banksia_mappers::gpu::select::{self, Found, dirty_share};
use serde_json::Value as Json;

use super::{Devices, Row, Value, number};

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

fn get(args: &Json, key: &str) -> Result<u32, String> {
    args.get(key)
        .and_then(Json::as_u64)
        .and_then(|v| u32::try_from(v).ok())
        .ok_or_else(|| format!("argument {key} is missing or too large"))
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
    let u = |key: &str| get(&args, key);
    let kernels = match op {
        "gemm" | "bmm" => {
            let g = Gemm {
                batch: if op == "bmm" { u("b")? } else { 1 },
                ..Gemm::new(u("m")?, u("n")?, u("k")?, dtype(&args))
            };
            // As below; C is not among what rotates: 64 products of 512x512x64 take 14.0 us and 7.3 to 7.8 mJ with one C on two H200 and
            // 15.1 us and 7.9 to 8.4 mJ with several, 32 of 128x128x64 by 32 sets of operands 2.5 us with one C and 3.2 to 3.5 with as many
            // (`device_batched.csv`).
            let operands =
                g.compulsory_bytes() - f64::from(g.m) * f64::from(g.n) * f64::from(g.batch) * f64::from(g.out_bytes);
            let small = taken == Taken::Rotating && 32.0 * operands <= gpu.spec().l2.bytes as f64;
            let found = Found { a: small, b: small, c: taken == Taken::Rotating };
            let (mut plan, outcome) =
                select::gemm(&mut Simulation { gpu, detail }, &g, found, 2).map_err(|e| e.to_string())?;
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
                causal: u("causal")? != 0,
                window: 0,
                dtype: Dtype::Bf16,
                kv_bytes: 2,
            };
            vec![flash2(&a, gpu.spec())]
        }
        "gpt_decode" => {
            let step = DecodeStep {
                batch: u("b")?,
                width: u("d")?,
                heads: u("h")?,
                keys: u("kv")?,
                layers: u("layers")?,
                vocabulary: 50257,
            };
            let outcome = layers::decode_step(gpu, &step, detail).map_err(|e| e.to_string())?;
            return Ok(Case { outcome, steps: Vec::new() });
        }
        "copy" => {
            let bytes = args.get("bytes").and_then(Json::as_u64).ok_or("argument bytes is missing")?;
            vec![layers::copy_bytes(bytes)]
        }
        "gelu" | "add" | "mul" | "softmax" | "layernorm" | "rmsnorm" => {
            vec![layers::row_operator(op, u("rows")?, u("cols")?).ok_or("operator not modelled")?]
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
