//! How frameworks take the sub-kernels of gated delta networks and Kimi delta attention.

use banksia_hw::gpu::GpuSpec;
use banksia_hw::gpu::sampling::Detail;
use banksia_mappers::gpu::frameworks::Framework;
use banksia_mappers::gpu::launch::Item;
use banksia_mappers::gpu::linear::{
    Convolution, LinearCall, Names, Rule, Source, chunk, convolution, convolution_along, convolution_update,
    fused_prefill, recurrent,
};

use super::super::rows::{Row, device_of, fits, whole};
use super::{REPLAY_GAP_S, framework, throttled_share, value};
use crate::gpus::Devices;
use crate::replay;
use crate::value::Value;

const KEYS: [&str; 9] = [
    "kernel_source",
    "framework",
    "phase",
    "batch_size",
    "seq_len",
    "num_k_heads",
    "num_v_heads",
    "head_k_dim",
    "head_v_dim",
];

pub(crate) fn gdn(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    vec![value(row, "gdn", predicted(row, devices, detail, Rule::GatedDelta), &KEYS)]
}

pub(crate) fn kda(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    vec![value(row, "kda", predicted(row, devices, detail, Rule::Kda), &KEYS)]
}

/// Eager calls and replays before the clock starts, and replays after (`benchmark_with_power` as `collect_gdn.py` and `collect_kda.py` call it).
const WARM_CALLS: f64 = 3.0;
const TIMED_REPLAYS: f64 = 10.0;

fn predicted(row: &Row, devices: &mut Devices, detail: Detail, rule: Rule) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let framework = framework(row)?;
    let items = items(row, framework, rule, gpu.spec())?;
    let launches = replay::resolve(gpu, items, detail)?;
    let mut time = replay::latency_s(gpu.spec(), &launches, 1, detail)?;
    // Ten calls a graph; one with TensorRT-LLM and for Kimi delta attention.
    let calls = if framework == Framework::Trtllm || rule == Rule::Kda { 1.0 } else { 10.0 };
    let share = throttled_share(time, WARM_CALLS + WARM_CALLS * calls, TIMED_REPLAYS * calls);
    if share > 0.0 {
        let (slow, _) = replay::sustained(gpu.spec(), &launches, 1, detail)?;
        time += share * (slow - time);
    }
    Ok((time + REPLAY_GAP_S / calls) * 1e6)
}

/// A row's sizes.
struct Sizes {
    batch: u32,
    tokens: u32,
    key_heads: u32,
    heads: u32,
    key_dim: u32,
    value_dim: u32,
    taps: u32,
}

impl Sizes {
    fn of(row: &Row) -> Result<Self, String> {
        Ok(Self {
            batch: whole(row, "batch_size", 1..=1 << 16)?,
            tokens: whole(row, "seq_len", 1..=1 << 20)?,
            key_heads: whole(row, "num_k_heads", 1..=4096)?,
            heads: whole(row, "num_v_heads", 1..=4096)?,
            key_dim: whole(row, "head_k_dim", 1..=1024)?,
            value_dim: whole(row, "head_v_dim", 1..=1024)?,
            taps: whole(row, "d_conv", 2..=8)?,
        })
    }

    fn call(&self, rule: Rule) -> LinearCall {
        LinearCall {
            key_heads: self.key_heads,
            ..LinearCall::new(rule, self.batch, self.tokens, self.heads, self.key_dim, self.value_dim)
        }
    }

    fn convolution(&self, channels: u32) -> Convolution {
        Convolution {
            batch: self.batch,
            tokens: self.tokens,
            channels,
            width: self.taps,
            bytes: 2,
            weight_bytes: 2,
            tokens_first: false,
            cta_channels: 256,
        }
    }

    fn bytes(&self) -> f64 {
        let per_token = f64::from(2 * self.key_heads * self.key_dim) + f64::from(2 * self.heads * self.value_dim);
        let states = f64::from(self.heads) * f64::from(self.key_dim) * f64::from(self.value_dim);
        2.0 * per_token * f64::from(self.batch) * f64::from(self.tokens) + 4.0 * states * f64::from(self.batch)
    }
}

fn items(row: &Row, framework: Framework, rule: Rule, spec: &GpuSpec) -> Result<Vec<Item>, String> {
    let sizes = Sizes::of(row)?;
    fits(sizes.bytes(), spec)?;
    let text = |key: &str| row.get(key).map_or("", String::as_str);
    let (kernel, trtllm) = (text("kernel_source"), framework == Framework::Trtllm);
    let names = Names::of("linear");
    let source = match framework {
        Framework::Sglang => Source::Sglang,
        Framework::Trtllm => Source::Trtllm,
        Framework::Vllm | Framework::Torch | Framework::Compiled => Source::Vllm,
    };
    let (keys, values) = (sizes.key_heads * sizes.key_dim, sizes.heads * sizes.value_dim);
    // TensorRT-LLM's collector convolves the keys only, the others all three.
    let packed = if trtllm { keys } else { 2 * keys + values };
    let conv = Convolution {
        tokens_first: framework == Framework::Vllm,
        // Kimi's weights are fp32.
        weight_bytes: if rule == Rule::Kda { 4 } else { 2 },
        cta_channels: if trtllm { 64 } else { 256 },
        ..sizes.convolution(packed)
    };
    match kernel {
        "causal_conv1d_fn" if trtllm => convolution_along(&conv, spec, &names),
        "causal_conv1d_fn" => convolution(&conv, spec, &names),
        "causal_conv1d_fn_qkv3" => {
            let mut all = Vec::new();
            for (name, channels) in [("q", keys), ("k", keys), ("v", values)] {
                all.extend(convolution(&Convolution { channels, ..conv }, spec, &Names::of(name))?);
            }
            Ok(all)
        }
        "causal_conv1d_update" => convolution_update(&conv, spec, &names),
        "chunk_gated_delta_rule_flashinfer" => fused_prefill(&sizes.call(rule), spec, &names),
        "chunk_gated_delta_rule" | "chunk_gated_delta_rule_triton" | "chunk_kda" | "chunk_kda_with_fused_gate" => {
            // TensorRT-LLM's collector gives no state and asks for none.
            let call = LinearCall { carries_state: !trtllm, ..sizes.call(rule) };
            chunk(source, &call, spec, &names)
        }
        // A state of 16 bits is read, one of fp32 written.
        "fused_recurrent_gated_delta_rule" if trtllm => {
            recurrent(source, &LinearCall { state_bytes: (2, 4), ..sizes.call(rule) }, spec, &names)
        }
        "fused_recurrent_gated_delta_rule"
        | "fused_recurrent_gated_delta_rule_packed_"
        | "fused_recurrent_gated_delta_rule_packed_decode"
        | "fused_recurrent_kda_packed_decode"
        | "fused_kda_decode"
        | "kda_fused_decode" => recurrent(source, &sizes.call(rule), spec, &names),
        "fused_recurrent_kda" | "fused_sigmoid_gating_delta_rule_update" => {
            recurrent(source, &LinearCall { keeps_all_states: true, ..sizes.call(rule) }, spec, &names)
        }
        _ => Err(format!("kernel {kernel} is not modelled")),
    }
}
