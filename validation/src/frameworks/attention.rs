//! What frameworks launch for attention.

use banksia_hw::gpu::Gpu;
use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::sampling::{Detail, simulate_steps, sustained};
use banksia_hw::gpu::spec::GpuSpec;
use banksia_mappers::gpu::attention::{
    Attention, Decode, Flash3, SplitDecode, auxiliary, cache_write, decode_kernel, decode2, decode3, flash2,
    flash2_paged, flash3, flash3_sync, grouped_decode, grouped_decode_hopper, head_decode, prepare_varlen,
    quantise_queries, replayed, split_decode,
};

use super::super::{Devices, Row, Value, device_of, whole};
use super::{REPLAY_GAP_S, throttled_share, value, version};

/// What a framework launches for one attention.
///
/// vLLM writes the new keys and values into the cache and calls FlashAttention over its pages: version 3 on Hopper, with the
/// kernel that prepares variable lengths; version 2 before, whose paged kernels are those that split keys. SGLang calls
/// version 3 everywhere, whose library has kernels for devices before Hopper; its decode on Hopper leaves no time for the
/// cache write. TensorRT-LLM prepares lengths, rotates and writes the cache in kernels of its own, and its attention packs no
/// heads in prefill; in decode it has three kernels, of which two do all of that themselves.
fn launches(s: &Shape, spec: &GpuSpec, prefill: bool) -> Vec<Kernel> {
    let a = &s.attention;
    let hopper = spec.tensor.warpgroup;
    let flash = s.framework != "trtllm";
    // One query a sequence is decode: libraries pack the heads that share keys.
    let prefill = prefill && a.queries > 1;
    let mut kernels = Vec::new();
    // Kernels of TensorRT-LLM that rotate, and write the cache, themselves: 128 elements are rotated, which the one by
    // warpgroups does if a head has so many (`appliesRoPEInXqaKernel`).
    let writes = !flash
        && !prefill
        && match decode_kernel(a, spec) {
            Decode::SingleHeads => true,
            Decode::SharedKeys => false,
            Decode::SharedKeysHopper => a.head_dim >= 128,
        };
    if (s.framework != "sglang" || !hopper || prefill) && !writes {
        kernels.push(cache_write(a, spec, !flash));
    }
    if flash && (hopper || s.framework == "sglang") && s.source != "triton" {
        kernels.push(prepare_varlen(spec, a.batch));
    }
    if !flash && !writes {
        let beside = if prefill { 4 } else { 1 };
        kernels.extend((0..beside).map(|_| auxiliary(spec, 1024)));
    }
    if s.framework == "vllm" && a.kv_bytes < 2 {
        // Eight-bit keys are multiplied by eight-bit queries.
        kernels.push(quantise_queries(a, spec));
    }
    let one_group = s.framework == "vllm";
    let varlen = Flash3 { varlen: true, paged: true, one_group, ..Flash3::default() };
    match (flash, hopper && s.source != "triton", prefill) {
        (true, true, true) => kernels.push(flash3(a, spec, varlen)),
        (true, true, false) => kernels.extend(decode3(a, spec, varlen, true)),
        (false, true, true) if a.window == 0 => {
            kernels.push(flash3(a, spec, Flash3 { unpacked: true, ..Flash3::default() }));
        }
        (true, false, true) if s.framework == "vllm" => kernels.push(flash2_paged(a, spec)),
        (true, false, _) if !hopper && s.framework == "sglang" => kernels.extend(flash3_sync(a, spec)),
        // TensorRT-LLM's windows do not run at the rate of its warp-specialised kernels, nor faster in eight bits.
        (_, _, true) => kernels.push(flash2(&Attention { dtype: Dtype::Bf16, kv_bytes: 2, ..*a }, spec)),
        (true, false, false) if !hopper => kernels.extend(decode2(a, spec)),
        (true, false, false) => {
            let keys = if a.head_dim > 128 { 64 } else { 128 };
            let split = SplitDecode { rows: 64, keys, stages: 1, per_sm: 2, packed: true };
            kernels.extend(split_decode(a, spec, split));
        }
        (false, _, false) => kernels.push(match decode_kernel(a, spec) {
            Decode::SingleHeads => head_decode(a, spec, s.keys_only),
            Decode::SharedKeys => grouped_decode(a, spec, s.keys_only),
            Decode::SharedKeysHopper => grouped_decode_hopper(a, spec),
        }),
    }
    kernels
}

struct Shape {
    attention: Attention,
    source: String,
    framework: String,
    /// The cache has keys only, and the values are read where they are: TensorRT-LLM's rows before 1.3 (`docs/gpu.md`).
    keys_only: bool,
}

fn shape(row: &Row, prefill: bool) -> Result<Shape, String> {
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
    let kv_heads = whole(row, "num_key_value_heads")?;
    let heads = whole(row, "num_heads")?;
    let length = if prefill { whole(row, "isl")? } else { whole(row, "step")? + 1 };
    let attention = Attention {
        batch: whole(row, "batch_size")?,
        heads,
        kv_heads: if kv_heads == 0 { heads } else { kv_heads },
        queries: if prefill { length } else { 1 },
        keys: length,
        head_dim: whole(row, "head_dim")?,
        causal: true,
        window: whole(row, "window_size")?,
        dtype,
        kv_bytes: if cache == "kv_fp8" { 1 } else { 2 },
    };
    if attention.head_dim > 256 {
        return Err("head size over 256 is not modelled".into());
    }
    let framework = text("framework");
    let before_1_3 = version(row).is_some_and(|v| v < (1, 3));
    Ok(Shape { attention, source: text("kernel_source"), keys_only: framework == "trtllm" && before_1_3, framework })
}

fn launch(gpu: &mut Gpu, s: &Shape, prefill: bool, detail: Detail) -> Result<f64, String> {
    let steps = replayed(launches(s, gpu.spec(), prefill));
    let outcome = simulate_steps(gpu, &steps, detail, f64::INFINITY).map_err(|e| e.to_string())?;
    // One forward a graph: three eager ones and three replays beforehand (`collect_attn.py` of the three frameworks).
    let share = throttled_share(outcome.latency_s, 6.0, if s.framework == "sglang" { 20.0 } else { 6.0 });
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
    launch(gpu, &shape(row, prefill)?, prefill, detail)
}

pub(crate) fn context(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    vec![value(row, "context-attention", predicted(row, devices, true, detail), &ATTENTION_KEYS)]
}

pub(crate) fn generation(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    vec![value(row, "generation-attention", predicted(row, devices, false, detail), &ATTENTION_KEYS)]
}
