//! How frameworks take multi-head latent attention.

use banksia_hw::gpu::Gpu;
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::spec::GpuSpec;
use banksia_mappers::gpu::frameworks::Framework;
use banksia_mappers::gpu::latent::{
    LatentCall, LatentOperands, absorb, absorbed_prefill, decode, decode_items, expand, items as in_memory, prefill,
};
use banksia_mappers::gpu::launch::Item;

use super::super::rows::{Row, device_of, fits, whole};
use super::{REPLAY_GAP_S, framework, throttled_share, value};
use crate::gpus::Devices;
use crate::replay;
use crate::value::Value;

/// Heads of the model that vLLM's collector configures, whatever of them a row has: what FlashMLA's scheduler is told.
const CONFIGURED_HEADS: u32 = 128;
/// vLLM's collector launches without a graph: where kernels are shorter than the host needs to launch them, it measures the host. So long for
/// each operation that Python and PyTorch dispatch (assumed), and operations of a call: bmm, cat, views, cache and attention, by hand.
const DISPATCH_S: f64 = 11e-6;
const OPERATIONS: f64 = 14.0;
const OPERATIONS_8_BITS: f64 = 18.0;

/// How a collector launches: eager and graph rounds beforehand and rounds that are timed, and what the host needs.
#[derive(Debug, Clone, Copy)]
struct Taken {
    warm: f64,
    timed: f64,
    host_s: f64,
    gap_s: f64,
}

impl Taken {
    /// `collect_mla.py` of the three frameworks.
    fn of(framework: Framework, eight_bits: bool) -> Self {
        let operations = if eight_bits { OPERATIONS_8_BITS } else { OPERATIONS };
        match framework {
            Framework::Sglang => Self { warm: 6.0, timed: 20.0, host_s: 0.0, gap_s: REPLAY_GAP_S },
            Framework::Trtllm => Self { warm: 20.0, timed: 6.0, host_s: 0.0, gap_s: REPLAY_GAP_S },
            Framework::Vllm | Framework::Torch | Framework::Compiled => {
                Self { warm: 3.0, timed: 6.0, host_s: operations * DISPATCH_S, gap_s: 0.0 }
            }
        }
    }
}

fn call(row: &Row, prompt: bool, spec: &GpuSpec) -> Result<(Framework, LatentCall), String> {
    let text = row.get("dtype").map_or("", String::as_str);
    let (dtype, cache) = text.split_once('/').unwrap_or((text, "kv_bfloat16"));
    let dtype = match dtype {
        "bfloat16" => Dtype::Bf16,
        "float16" => Dtype::Fp16,
        _ => return Err(format!("type {dtype} is not modelled")),
    };
    let cache_bytes = match cache {
        "kv_bfloat16" | "kv_float16" => 2,
        "kv_fp8" => 1,
        _ => return Err(format!("a cache of {cache} is not modelled")),
    };
    let framework = framework(row)?;
    let length = if prompt { whole(row, "isl", 1..=1 << 18)? } else { whole(row, "step", 0..=1 << 24)? };
    // vLLM's collector has a sequence of so many tokens, the others of one more.
    let keys = if prompt || framework == Framework::Vllm { length.max(1) } else { length + 1 };
    let call = LatentCall {
        batch: whole(row, "batch_size", 1..=1 << 16)?,
        heads: whole(row, "num_heads", 1..=1024)?,
        queries: if prompt { length } else { 1 },
        keys,
        dtype,
        cache_bytes,
        ..LatentCall::default()
    };
    call.check()?;
    if call.tokens() > 1 << 20 {
        return Err(format!("{} new tokens: at most 2^20 are simulated", call.tokens()));
    }
    let cache = f64::from(call.batch) * f64::from(call.keys) * f64::from(call.width()) * f64::from(cache_bytes);
    let heads = f64::from(call.tokens()) * f64::from(call.heads) * f64::from(2 * (call.width() + call.latent));
    fits(cache + heads, spec)?;
    Ok((framework, call))
}

fn latency_us(gpu: &mut Gpu, items: Vec<Item>, taken: Taken, detail: Detail) -> Result<f64, String> {
    let launches = replay::resolve(gpu, items, detail)?;
    let burst = replay::latency_s(gpu.spec(), &launches, 1, detail)?;
    let share = throttled_share(burst, taken.warm, taken.timed);
    let mut time = burst;
    if share > 0.0 {
        let (slow, _) = replay::sustained(gpu.spec(), &launches, 1, detail)?;
        time += share * (slow - burst).max(0.0);
    }
    Ok((time + taken.gap_s).max(taken.host_s) * 1e6)
}

fn context(row: &Row, devices: &mut Devices, detail: Detail) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let spec = gpu.spec();
    let (framework, call) = call(row, true, spec)?;
    let operands = LatentOperands::default();
    let items = match framework {
        // Its collector has prompts over the cache itself.
        Framework::Sglang => in_memory(absorbed_prefill(&call, spec), &operands),
        // Products are in what vLLM's layer does; TensorRT-LLM's collector makes keys and values beforehand.
        _ => prefill(framework, &call, framework != Framework::Trtllm, &operands, spec)?,
    };
    latency_us(gpu, items, Taken::of(framework, call.cache_bytes < 2), detail)
}

fn generation(row: &Row, devices: &mut Devices, detail: Detail) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let spec = gpu.spec();
    let (framework, call) = call(row, false, spec)?;
    let operands = LatentOperands::default();
    let items = if framework == Framework::Vllm {
        let mut items = absorb(&call, false, &operands, spec);
        items.extend(decode_items(framework, &call, CONFIGURED_HEADS, &operands, spec));
        items.extend(expand(&call, false, &operands, spec));
        items
    } else {
        decode(framework, &call, &operands, spec)?
    };
    latency_us(gpu, items, Taken::of(framework, call.cache_bytes < 2), detail)
}

fn products(row: &Row, devices: &mut Devices, detail: Detail) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let eight_bits = match row.get("dtype").map_or("", String::as_str) {
        "bfloat16" => false,
        "fp8" => true,
        dtype => return Err(format!("type {dtype} is not modelled")),
    };
    let tokens = whole(row, "num_tokens", 1..=1 << 20)?;
    let call = LatentCall { batch: tokens, heads: whole(row, "num_heads", 1..=1024)?, ..LatentCall::default() };
    call.check()?;
    let framework = framework(row)?;
    let operands = LatentOperands::default();
    let items = match row.get("variant").map_or("", String::as_str) {
        "mla_gen_pre" => absorb(&call, eight_bits, &operands, gpu.spec()),
        "mla_gen_post" => expand(&call, eight_bits, &operands, gpu.spec()),
        variant => return Err(format!("variant {variant}: must be mla_gen_pre or mla_gen_post")),
    };
    latency_us(gpu, items, Taken { host_s: 0.0, gap_s: REPLAY_GAP_S, ..Taken::of(framework, eight_bits) }, detail)
}

pub(crate) fn context_mla(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let keys = ["batch_size", "isl", "num_heads", "dtype", "framework"];
    vec![value(row, "context_mla", context(row, devices, detail), &keys)]
}

pub(crate) fn generation_mla(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let keys = ["batch_size", "step", "num_heads", "dtype", "framework"];
    vec![value(row, "generation_mla", generation(row, devices, detail), &keys)]
}

pub(crate) fn mla_bmm(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let keys = ["variant", "num_tokens", "num_heads", "dtype", "framework"];
    vec![value(row, "mla_bmm", products(row, devices, detail), &keys)]
}
