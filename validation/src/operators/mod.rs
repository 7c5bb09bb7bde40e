//! `operators.csv`: operators of PyTorch, mamba-ssm and fla on an H200, from a CUDA graph, one file a family.

mod attention;
pub(crate) mod call;
mod grouped;
mod linear_attention;
mod low_bit;
mod routing;
mod ssm;
mod training;

use banksia_hw::gpu::Gpu;
use banksia_hw::gpu::sampling::Detail;
use serde_json::Value as Json;

use call::Call;

use crate::gpus::Devices;
use crate::replay;
use crate::rows::{Row, number};
use crate::value::Value;

/// Why a row is left out that a later capability will cover.
fn later(op: &str) -> Option<&'static str> {
    match op {
        "conv2d" | "conv3d" | "avg_pool2d" | "group_norm" | "fft_conv" => {
            Some("vision and diffusion operators are not modelled yet")
        }
        _ => None,
    }
}

/// Whether a row is of an operator with its gradients, launched from the host.
fn has_gradients(args: &Json) -> bool {
    args.get("bwd").and_then(Json::as_u64) == Some(1)
}

fn call(op: &str, args: &Json, gpu: &Gpu) -> Result<Call, String> {
    if let Some(reason) = later(op) {
        return Err(reason.to_owned());
    }
    let spec = gpu.spec();
    match op {
        "grouped_gemm" => grouped::call(args, spec),
        "grouped_forward" | "grouped_input_gradient" | "grouped_weight_gradient" => grouped::training(op, args, spec),
        "moe_route" | "topk" | "sort" | "cumsum" | "index_add" | "transpose_copy" => routing::call(op, args, spec),
        "ssd" | "ssm_state_update" | "causal_conv1d" => ssm::call(op, args, spec),
        "linear_attention" => linear_attention::call(args, spec),
        "attention" if has_gradients(args) => training::attention(args, spec),
        "attention" => attention::call(args, spec),
        "adamw" | "sgd" | "cross_entropy" => training::call(op, args, spec),
        "gemm_w4a16" | "gemm_int8" | "gemm_24" => low_bit::call(op, args, spec),
        _ => Err("operator not modelled".into()),
    }
}

/// Seconds of a call, of which a row has so many one after another.
fn latency_s(gpu: &mut Gpu, op: &str, args: &str, calls: f64, detail: Detail) -> Result<f64, String> {
    let args: Json = serde_json::from_str(&args.replace('\'', "\"")).map_err(|e| format!("args are not JSON: {e}"))?;
    if matches!(op, "copy_h2d" | "copy_d2h") {
        return training::copy_s(&args);
    }
    let Call { items, copies } = call(op, &args, gpu)?;
    let launches = replay::resolve(gpu, items, detail)?;
    if has_gradients(&args) && op != "attention" {
        return training::launched_s(gpu, &launches, detail);
    }
    let start_s = if has_gradients(&args) { training::HOST_START_S } else { replay::START_S };
    Ok(replay::latency_s(gpu.spec(), &launches, copies, detail)? + start_s / calls)
}

pub(super) fn row(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let get = |key: &str| row.get(key).cloned().unwrap_or_default();
    let (op, args) = (get("op"), get("args"));
    let calls = number(row, "launches").unwrap_or(1.0).max(1.0);
    let predicted = devices.get("h200").and_then(|gpu| latency_s(gpu, &op, &args, calls, detail));
    let predicted = predicted.map(|s| s * 1e6);
    let label = format!("{op} {args}");
    let measured = number(row, "latency_us").unwrap_or(f64::NAN);
    vec![Value { device: "h200".into(), op, metric: "latency", label, measured, predicted }]
}
