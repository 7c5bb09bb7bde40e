//! Operators of training: attention with its gradients, the optimiser's update, cross entropy, copies between a host and the device.

use banksia_hw::gpu::Gpu;
use banksia_hw::gpu::GpuSpec;
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::Detail;
use banksia_mappers::gpu::fused::strided_copy;
use banksia_mappers::gpu::launch::{Item, Launch, Operand};

use banksia_mappers::gpu::training::host::{HostCosts, TRITON_US, timeline};
use banksia_mappers::gpu::training::lower::{Call as Lowered, shape};
use banksia_mappers::gpu::training::{loss, optimizer};
use banksia_workloads::DataType;
use banksia_workloads::backward::{AttentionShape, Role, TrainNode, TrainOp, Value};
use serde_json::Value as Json;

use super::call::{Call, argument};
use crate::{replay, rows};

/// Seconds from the event before a call to its first kernel where calls are launched from the host, the device idle: the context that picks the backend, the operator, its
/// launch. By `latency_us` less `kernel_us` of the three rows of attention with gradients, 49 to 93 us.
pub(super) const HOST_START_S: f64 = 77e-6;

/// Attention forward and backward, as autograd calls it. Operands lie by head, and the kernels want them by token: the result and its gradient are copied first.
pub(super) fn attention(args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    let u = |key: &str, most: u64| argument(args, key, most).map(|n| n.max(1));
    let (batch, tokens) = (u("b", 1 << 16)?, u("l", 1 << 20)?);
    let head_dim = u("d", 4096)?;
    let a = AttentionShape {
        heads: u("h", 4096)?,
        kv_heads: u("hk", 4096)?,
        head_dim,
        value_dim: head_dim,
        context: tokens,
        causal: argument(args, "causal", 1)? == 1,
        window: 0,
    };
    rows::attention(&shape(&a, batch, tokens, Dtype::Bf16), spec)?;
    let elements = |heads: u64| batch * tokens * heads * head_dim;
    let value = |name: &str, elements: u64, dtype: DataType| Value {
        name: name.to_owned(),
        elements,
        dtype,
        role: Role::Activation,
    };
    let half = |name: &str, heads: u64| value(name, elements(heads), DataType::Bf16);
    let node = |op, reads: Vec<Value>, writes: Vec<Value>, scratch: Vec<Value>| TrainNode {
        label: "attention".into(),
        op,
        batch,
        tokens,
        load: Vec::new(),
        reads,
        writes,
        scratch,
    };
    let inputs = || vec![half("q", a.heads), half("k", a.kv_heads), half("v", a.kv_heads)];
    let sums = value("log_sums", batch * a.heads * tokens, DataType::F32);
    let forward = node(TrainOp::Attention(a), inputs(), vec![half("result", a.heads), sums.clone()], Vec::new());
    let reads: Vec<Value> = [half("d_result_by_token", a.heads)]
        .into_iter()
        .chain(inputs())
        .chain([half("result_by_token", a.heads), sums])
        .collect();
    let writes = vec![half("d_q", a.heads), half("d_k", a.kv_heads), half("d_v", a.kv_heads)];
    let scratch = vec![
        value("sums_of_gradients", elements(a.heads), DataType::F32),
        value("products", batch * a.heads * tokens, DataType::F32),
    ];
    let backward = node(TrainOp::AttentionGradient(a), reads, writes, scratch);
    let items =
        |node: &TrainNode| Lowered { node, dtype: Dtype::Bf16, spec, experts: 0 }.items().map_err(|e| e.to_string());
    let mut all = items(&forward)?;
    for name in ["d_result", "result"] {
        let to = Operand::shared(format!("{name}_by_token"));
        all.push(Item::kernel(strided_copy(elements(a.heads), 2), [Operand::shared(name), to]));
    }
    all.extend(items(&backward)?);
    Ok(Call { items: all, copies: 1 })
}

pub(super) fn call(op: &str, args: &Json, spec: &GpuSpec) -> Result<Call, String> {
    match op {
        "adamw" | "sgd" => {
            let n = argument(args, "n", 1 << 32)?.max(1);
            let bytes = if args.get("dtype").and_then(Json::as_str) == Some("bf16") { 2 } else { 4 };
            rows::fits(4.0 * n as f64 * bytes as f64, spec)?;
            if op == "sgd" {
                let items = optimizer::sgd(&[n], bytes).into_iter().enumerate().map(|(i, (kernel, _))| {
                    let own = |what: &str| Operand::shared(format!("{what}{i}"));
                    Item::Kernel(Launch::new(kernel, ["parameters", "gradients", "momentum"].map(own)))
                });
                return Ok(Call { items: items.collect(), copies: 1 });
            }
            let items = optimizer::adamw(&[n], bytes, bytes).into_iter().enumerate().map(|(i, (kernel, _))| {
                let own = |what: &str| Operand::shared(format!("{what}{i}"));
                Item::Kernel(Launch::new(kernel, ["parameters", "gradients", "first", "second"].map(own)))
            });
            Ok(Call { items: items.collect(), copies: 1 })
        }
        _ => {
            let (t, v) = (argument(args, "t", 1 << 20)?.max(1), argument(args, "v", 1 << 20)?.max(1));
            rows::elements(t as u32, v as u32)?;
            let names = [Operand::shared("logits"), Operand::shared("logarithms")];
            let items = vec![
                Item::kernel(loss::log_softmax(t, v), names.clone()),
                Item::kernel(loss::targets(t, v, false), [names[1].clone(), Operand::shared("targets")]),
            ];
            Ok(Call { items, copies: 1 })
        }
    }
}

/// Seconds of a copy between pinned memory of the host and the device.
pub(super) fn copy_s(args: &Json) -> Result<f64, String> {
    let host = banksia_hw::host::host("dgx-h200").map_err(|e| e.to_string())?;
    Ok(host.link.seconds(argument(args, "bytes", 1 << 40)?))
}

/// Seconds of a call whose launches come from a host one by one, an idle device before it: each when the host has come to it, and when the one before has ended.
pub(super) fn launched_s(gpu: &Gpu, launches: &[Launch], detail: Detail) -> Result<f64, String> {
    let seconds = replay::each_s(gpu.spec(), launches, detail)?;
    let host = HostCosts::PYTORCH;
    // PyTorch's own launches are cheap beside Triton's: those that are elementwise, reductions and copies.
    let plain = |name: &str| {
        ["fill", "parts of", "sum", "strided copy", "conversion", "decays of", "memory"]
            .iter()
            .any(|n| name.starts_with(n))
    };
    let calls = launches.iter().zip(seconds).map(|(launch, s)| {
        let us = if plain(&launch.kernel.name) { host.forward_us + host.launch_us } else { TRITON_US };
        (us * 1e-6, s + host.gap_us * 1e-6)
    });
    Ok(timeline(calls, host.reach_us * 1e-6))
}
