//! How frameworks' collectors take a mixture of experts (the three `collect_moe.py` of `ai-dynamo/aiconfigurator`).

use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::spec::GpuSpec;
use banksia_mappers::gpu::frameworks::Framework;
use banksia_mappers::gpu::launch::{Item, Operand};
use banksia_mappers::gpu::moe::routing::{Distribution, typical};
use banksia_mappers::gpu::moe::{Format, MoeCall, MoeMemory, pieces, triton, trtllm};

use super::super::rows::{self, Row, device_of, whole};
use super::{REPLAY_GAP_S, framework, value, version};
use crate::gpus::Devices;
use crate::replay;
use crate::value::Value;

const KEYS: [&str; 11] = [
    "framework",
    "kernel_source",
    "dtype",
    "num_tokens",
    "hidden_size",
    "inter_size",
    "topk",
    "num_experts",
    "moe_tp_size",
    "moe_ep_size",
    "distribution",
];

/// Forwards of a graph, each with scores of its own.
const FORWARDS: f64 = 5.0;

fn format(dtype: &str) -> Result<Format, String> {
    Ok(match dtype {
        "bfloat16" | "float16" => Format::Bf16,
        "fp8" => Format::Fp8,
        "fp8_block" => Format::Fp8Block,
        "int4_wo" => Format::Weights4 { group: 128 },
        "w4a16_mxfp4" => Format::Mxfp4,
        "w4a8_mxfp4_mxfp8" => Format::Mxfp4Fp8,
        "w4afp8" => Format::Weights4Fp8,
        "nvfp4" => Format::Nvfp4,
        other => return Err(format!("type {other} is not modelled")),
    })
}

/// Sizes of Nemotron-3's experts (Nano; Super and Ultra have 22 of 512 experts), which have no gate.
fn nemotron(hidden: u32, inter: u32, top_k: u32) -> bool {
    top_k == 22 || (hidden, inter) == (2688, 1856)
}

/// Collectors that leave the gate out where a model has none: SGLang's from 0.5.14 on, vLLM's from 0.19; before, all experts had one. TensorRT-LLM's rows
/// say so.
fn knows_no_gate(framework: Framework, row: &Row) -> bool {
    match framework {
        Framework::Sglang => row
            .get("version")
            .is_some_and(|v| v.split('.').nth(2).and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n >= 14)),
        Framework::Vllm => version(row).is_some_and(|v| v >= (0, 19)),
        Framework::Trtllm | Framework::Torch => false,
    }
}

/// What a row is launched as, and how many forwards a replay of its graph has.
fn items(row: &Row, spec: &GpuSpec) -> Result<(Vec<Item>, f64), String> {
    let text = |k: &str| row.get(k).map_or("", String::as_str);
    let framework = framework(row)?;
    let format = format(text("dtype"))?;
    if !spec.tensor.fma_per_cycle.contains_key(&format.multiplied()) {
        return Err(format!("{} does not multiply {}", spec.name, format.multiplied()));
    }
    let tokens = whole(row, "num_tokens", 1..=1 << 20)?;
    let (hidden, inter) = (whole(row, "hidden_size", 1..=1 << 20)?, whole(row, "inter_size", 1..=1 << 20)?);
    let (top_k, experts) = (whole(row, "topk", 1..=1 << 12)?, whole(row, "num_experts", 1..=1 << 14)?);
    let (tp, ep) = (whole(row, "moe_tp_size", 1..=1 << 14)?, whole(row, "moe_ep_size", 1..=1 << 14)?);
    if top_k > experts || !experts.is_multiple_of(ep) || !inter.is_multiple_of(tp) {
        return Err(format!(
            "{experts} experts, {top_k} a token, inner size {inter}: {ep} and {tp} ranks do not share them"
        ));
    }
    let distribution: Distribution = text("distribution").parse()?;
    let source = text("kernel_source");
    let gated = !(source.contains("nongated") || (nemotron(hidden, inter, top_k) && knows_no_gate(framework, row)));
    let mut call =
        MoeCall { tokens, hidden, inter: inter / tp, experts, top_k, rows: Vec::new(), format, gated, routed: false };
    let local = u64::from(experts / ep);
    let weights = local * u64::from(call.first_columns() + call.inter) * u64::from(hidden);
    let activations =
        u64::from(tokens) * u64::from(top_k) * u64::from(call.first_columns() + 2 * hidden + call.inter) * 2;
    rows::fits((weights * u64::from(format.weight_bits()) / 8 + activations) as f64, spec)?;
    let memory = MoeMemory::of("moe");
    let routing = typical(distribution, tokens, top_k, experts, ep);
    call.rows = routing.rows().to_vec();
    let forwards =
        if distribution == Distribution::Balanced && framework != Framework::Sglang { 1.0 } else { FORWARDS };
    let mut items = Vec::new();
    match framework {
        Framework::Sglang => {
            if ep > 1 {
                // Only tokens that chose an expert of the first rank are in hand; choices of other ranks go to its first expert with weight 0.
                let pairs = routing.local_tokens.saturating_mul(top_k);
                let away = pairs.saturating_sub(call.pairs());
                call.rows[0] = call.rows[0].saturating_add(away);
                call.tokens = routing.local_tokens;
                call.routed = true;
                let clamp = pieces::elementwise("clamp", u64::from(pairs) * 4);
                items.push(Item::kernel(clamp, [Operand::shared("chosen"), Operand::shared("choices")]));
            } else {
                call.rows = routing.counts.clone();
                for (name, bytes) in [("weights", top_k * 4), ("choices", top_k * 4), ("scores", experts * 4)] {
                    let copy = pieces::elementwise("copy", u64::from(tokens) * u64::from(bytes));
                    items.push(Item::kernel(copy, [Operand::shared(format!("new {name}")), Operand::shared(name)]));
                }
            }
            items.extend(triton::mixture(triton::Host::Sglang, &call, spec, &memory)?);
        }
        Framework::Vllm => {
            let later = version(row).is_some_and(|v| v >= (0, 19));
            let host = if later { triton::Host::VllmLater } else { triton::Host::Vllm };
            items.extend(triton::mixture(host, &call, spec, &memory)?);
        }
        Framework::Trtllm => items.extend(trtllm::mixture(&call, spec, &memory)?),
        Framework::Torch => return Err("PyTorch has no fused mixture".into()),
    }
    Ok((items, forwards))
}

fn predict(row: &Row, devices: &mut Devices, detail: Detail) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let (items, forwards) = items(row, gpu.spec())?;
    let launches = replay::resolve(gpu, items, detail)?;
    // All forwards have the same weights.
    let time = replay::latency_s(gpu.spec(), &launches, 1, detail)?;
    Ok((time + REPLAY_GAP_S / forwards) * 1e6)
}

pub(crate) fn moe(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let dtype = row.get("dtype").map_or("", String::as_str);
    let op = if dtype == "bfloat16" { "moe".to_owned() } else { format!("moe {dtype}") };
    vec![value(row, &op, predict(row, devices, detail), &KEYS)]
}
