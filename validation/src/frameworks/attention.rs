//! How frameworks' collectors take an attention.

use banksia_hw::gpu::Gpu;
use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::sampling::{Detail, simulate_steps, sustained};
use banksia_hw::gpu::spec::GpuSpec;
use banksia_mappers::gpu::attention::{Attention, replayed};
use banksia_mappers::gpu::frameworks::{self, AttentionCall, Framework};

use super::super::rows::{self, Row, device_of, whole};
use super::{REPLAY_GAP_S, framework, throttled_share, value, version};
use crate::gpus::Devices;
use crate::value::Value;

fn call(row: &Row, prefill: bool, spec: &GpuSpec) -> Result<(Framework, AttentionCall), String> {
    let text = |k: &str| row.get(k).cloned().unwrap_or_default();
    let (kind, cache) = {
        let d = text("dtype");
        let (a, b) = d.split_once('/').unwrap_or((d.as_str(), "kv_bfloat16"));
        (a.to_owned(), b.to_owned())
    };
    let dtype = match kind.as_str() {
        "bfloat16" => Dtype::Bf16,
        "float16" => Dtype::Fp16,
        "fp8" => Dtype::Fp8,
        _ => return Err(format!("type {kind} is not modelled")),
    };
    let kv_heads = whole(row, "num_key_value_heads", 0..=4096)?;
    let heads = whole(row, "num_heads", 1..=4096)?;
    let length = if prefill { whole(row, "isl", 1..=1 << 18)? } else { whole(row, "step", 0..=1 << 24)? + 1 };
    let attention = Attention {
        batch: whole(row, "batch_size", 1..=1 << 16)?,
        heads,
        kv_heads: if kv_heads == 0 { heads } else { kv_heads },
        queries: if prefill { length } else { 1 },
        keys: length,
        head_dim: whole(row, "head_dim", 8..=4096)?,
        causal: true,
        window: whole(row, "window_size", 0..=1 << 24)?,
        dtype,
        kv_bytes: if cache == "kv_fp8" { 1 } else { 2 },
        ..Attention::default()
    };
    rows::attention(&attention, spec)?;
    let framework = framework(row)?;
    let keys_only = framework == Framework::Trtllm && version(row).is_some_and(|v| v < (1, 3));
    let triton = text("kernel_source") == "triton";
    Ok((framework, AttentionCall { triton, keys_only, ..AttentionCall::new(attention, prefill) }))
}

fn launch(gpu: &mut Gpu, framework: Framework, call: &AttentionCall, detail: Detail) -> Result<f64, String> {
    let kernels = frameworks::attention(framework, call, gpu.spec());
    replays(gpu, kernels, framework, detail)
}

/// Microseconds of one replay of a graph of kernels on the same operands, as the frameworks' collectors take it.
pub(super) fn replays(
    gpu: &mut Gpu,
    kernels: Vec<Kernel>,
    framework: Framework,
    detail: Detail,
) -> Result<f64, String> {
    let steps = replayed(kernels);
    let outcome = simulate_steps(gpu, &steps, detail, f64::INFINITY).map_err(|e| e.to_string())?;
    // One forward a graph: three eager ones and three replays beforehand (`collect_attn.py` of the three frameworks).
    let share = throttled_share(outcome.latency_s, 6.0, if framework == Framework::Sglang { 20.0 } else { 6.0 });
    let mut time = outcome.latency_s + REPLAY_GAP_S;
    if share > 0.0 {
        let slow = sustained(gpu, &steps, detail, &outcome).map_err(|e| e.to_string())?;
        time += share * (slow.latency_s - outcome.latency_s);
    }
    Ok(time * 1e6)
}

const ATTENTION_KEYS: [&str; 9] =
    ["batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim", "window_size", "dtype", "framework"];

fn predicted(row: &Row, devices: &mut Devices, prefill: bool, detail: Detail) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let (framework, call) = call(row, prefill, gpu.spec())?;
    launch(gpu, framework, &call, detail)
}

pub(crate) fn context(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    vec![value(row, "context-attention", predicted(row, devices, true, detail), &ATTENTION_KEYS)]
}

pub(crate) fn generation(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    vec![value(row, "generation-attention", predicted(row, devices, false, detail), &ATTENTION_KEYS)]
}
