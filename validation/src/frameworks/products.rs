//! How frameworks' collectors take a product.

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::{Detail, simulate_steps, sustained};
use banksia_hw::gpu::{CacheState, Gpu};
use banksia_mappers::gpu::frameworks::{self, Framework};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::select::{self, Found};

use super::super::rows::{self, Row, SIDE, device_of, whole};
use super::{REPLAY_GAP_S, framework, throttled_share, value, version};
use crate::gpus::Devices;
use crate::value::Value;

/// Eager rounds and replays before the clock starts, and replays after (`benchmark_with_power`).
const WARM_ROUNDS: f64 = 6.0;
const TIMED_ROUNDS: f64 = 6.0;

/// How a collector takes a product: a graph with a launch for each of some copies of its operands (the three `collect_gemm.py`).
#[derive(Debug, Clone, Copy)]
struct Taken {
    framework: Framework,
    /// Copies of the weights, which take turns.
    copies: u32,
    /// Activations are copied as well; else all launches read the same.
    activations: bool,
}

impl Taken {
    /// vLLM: six layers and one input. SGLang: six pairs. TensorRT-LLM: five layers, from version 1.3 on no more than exceed L2, and one input.
    fn of(row: &Row, weights: u64, l2: u64) -> Result<Self, String> {
        let framework = framework(row)?;
        Ok(match framework {
            Framework::Sglang => Self { framework, copies: 6, activations: true },
            Framework::Trtllm => {
                let exceed = l2.div_ceil(weights.max(1)).clamp(1, 5) as u32;
                let copies = if version(row).is_some_and(|v| v < (1, 3)) { 5 } else { exceed };
                Self { framework, copies, activations: false }
            }
            Framework::Vllm | Framework::Torch | Framework::Compiled => {
                Self { framework, copies: 6, activations: false }
            }
        })
    }
}

pub(crate) fn gemm(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let dtype = row.get("dtype").cloned().unwrap_or_default();
    let predicted = predict(row, devices, &dtype, detail);
    let op = if dtype == "bfloat16" { "gemm".to_owned() } else { format!("gemm {dtype}") };
    vec![value(row, &op, predicted, &["m", "n", "k", "dtype", "framework"])]
}

fn predict(row: &Row, devices: &mut Devices, dtype: &str, detail: Detail) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let (m, n, k) = (whole(row, "m", SIDE)?, whole(row, "n", SIDE)?, whole(row, "k", SIDE)?);
    let kind = match dtype {
        "bfloat16" => Dtype::Bf16,
        "float16" => Dtype::Fp16,
        "fp8" | "fp8_block" => Dtype::Fp8,
        "nvfp4" | "mxfp4" => Dtype::Fp4,
        _ => return Err(format!("type {dtype} is not modelled")),
    };
    let g = Gemm { block_scales: dtype == "fp8_block", ..Gemm::new(m, n, k, kind) };
    rows::product(&g, gpu.spec())?;
    let bytes = |rows: u32| (u64::from(rows) * u64::from(k) * u64::from(kind.bits())).div_ceil(8);
    let (weights, activations) = (bytes(n), bytes(m));
    let l2 = gpu.spec().l2.bytes;
    let taken = Taken::of(row, weights, l2)?;
    // Converted before the product.
    let narrow = kind.bits() <= 8;
    // What takes turns stays in L2 where all of it fits; both halves of L2 hold what all SMs read.
    let copies = u64::from(taken.copies);
    // The 16-bit input of the quantisation and what it writes.
    let input = activations + if narrow { 2 * u64::from(m) * u64::from(k) } else { 0 };
    let turns = copies * (weights + if taken.activations { input } else { 0 });
    let stays = turns < l2 / 2;
    // Activations that are the same for all stay; half of their lines take a place in either half of L2. What the quantisation has just
    // written is there, too.
    let halves = if gpu.spec().l2.partitions == 2 { activations / 2 } else { 0 };
    let fits = activations + halves < l2;
    let found = Found { a: if taken.activations && !narrow { stays } else { fits }, b: stays, c: true };
    let library = frameworks::library(taken.framework, kind, g.block_scales);
    let (plan, outcome) =
        select::gemm_of(&mut Simulation::new(gpu, detail), library, &g, found, select::Effort::DEFAULT)
            .map_err(|e| e.to_string())?;
    let mut time = outcome.latency_s;
    let launches = f64::from(taken.copies);
    let share = throttled_share(time, WARM_ROUNDS * launches, TIMED_ROUNDS * launches);
    if share > 0.0 {
        let slow = sustained(gpu, &plan.steps, detail, &outcome).map_err(|e| e.to_string())?;
        time += share * (slow.latency_s - outcome.latency_s);
    }
    time += REPLAY_GAP_S / launches;
    if narrow {
        let found = if taken.activations { stays } else { fits };
        time += quantisation(gpu, taken, &g, found, detail)?;
    }
    Ok(time * 1e6)
}

/// The quantisation of the input, before a product of eight bits.
fn quantisation(gpu: &mut Gpu, taken: Taken, g: &Gemm, found: bool, detail: Detail) -> Result<f64, String> {
    let kernels = frameworks::quantisation(taken.framework, g, gpu.spec());
    let cache = if found {
        CacheState::Resident { tensors: vec![(0, false)], dirty: 0.3 }
    } else {
        CacheState::Foreign { dirty: 0.3 }
    };
    let steps: Vec<_> = kernels.into_iter().map(|k| (k, cache.clone())).collect();
    Ok(simulate_steps(gpu, &steps, detail, f64::INFINITY).map_err(|e| e.to_string())?.latency_s)
}
