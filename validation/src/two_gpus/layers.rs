//! Four Llama layers of which each of two GPUs has half of the heads and of the inner width, in plain PyTorch operators, with and without the two
//! all-reduces of a layer.

use std::cmp::Ordering;

use banksia_hw::gpu::GpuSpec;
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::net::collective::algorithm::Op;
use banksia_mappers::gpu::attention::Attention;
use banksia_mappers::gpu::frameworks::{self, AttentionCall, Framework};
use banksia_mappers::gpu::fused::{Cost, Pointwise, Way, pointwise};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::launch::{Item, Operand};
use banksia_mappers::gpu::layers::row_operator;

use super::arguments::argument;
use super::collective::{in_graph_s, links};
use crate::gpus::Devices;
use crate::{replay, rows};

/// GPUs that share the layers.
const RANKS: u32 = 2;
/// Replays of one call before the median one: the first, two to warm up, three of the seven that are timed; and when the power controller has acted.
const REPLAYS_BEFORE: f64 = 6.0;
const CONTROLLER_S: f64 = 25e-3;

/// A model's width, heads, heads of keys, size of a head, inner width.
fn model(name: &str) -> Result<[u32; 5], String> {
    match name {
        "llama3_8b" => Ok([4096, 32, 8, 128, 14336]),
        "llama3_70b" => Ok([8192, 64, 8, 128, 28672]),
        _ => Err(format!("model {name} is not modelled")),
    }
}

/// Whether the power controller acts before the replay that counts.
pub(super) fn lasts(burst_s: f64) -> bool {
    REPLAYS_BEFORE * burst_s > CONTROLLER_S
}

fn shared(name: &str) -> Operand {
    Operand::shared(name)
}

/// What one layer launches on a GPU.
fn layer(name: &str, batch: u32, queries: u32, keys: u32, spec: &GpuSpec) -> Result<Vec<Item>, String> {
    let [width, heads, kv_heads, head_dim, inner] = model(name)?;
    let (heads, kv_heads, inner) = (heads / RANKS, (kv_heads / RANKS).max(1), inner / RANKS);
    let tokens = batch.checked_mul(queries).ok_or("more tokens than are modelled")?;
    rows::elements(tokens, 2 * inner)?;
    let row = |name: &str, operands: Vec<Operand>| {
        row_operator(name, tokens, width).map(|k| Item::kernel(k, operands)).ok_or(format!("{name} is not modelled"))
    };
    let product = |n: u32, k: u32, input: &str, weight: &str, output: &str| {
        let gemm = Gemm::new(tokens, n, k, Dtype::Bf16);
        rows::product(&gemm, spec)?;
        Ok::<_, String>(Item::product(gemm, shared(input), Operand::own(weight), shared(output)))
    };
    // Halves of a row, of one row contiguous, of more not.
    let way = if tokens == 1 { Way::Vector } else { Way::Strided };
    let elements = u64::from(tokens) * u64::from(inner);
    let halves = |name: &str, inputs: usize, cost: Cost| {
        pointwise(name, &Pointwise { elements, inputs: vec![2.0; inputs], out_bytes: 2, way, cost })
    };
    let a = Attention {
        batch,
        heads,
        kv_heads,
        queries,
        keys: if queries > 1 { queries } else { keys },
        head_dim,
        causal: queries > 1,
        ..Attention::default()
    };
    rows::attention(&a, spec)?;
    // Single tokens read a cache, prompts their own keys and values.
    let cache = |name: &str| if queries > 1 { shared("qkv") } else { Operand::own(name) };
    // Where nothing else is asked for, PyTorch 2.11 takes cuDNN's kernel by warpgroups on Hopper (`cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma`
    // in traces of its models); it is taken for FlashAttention-3's.
    let kernels = frameworks::attention(Framework::Torch, &AttentionCall::new(a, queries > 1), spec);
    let reads = kernels.iter().position(frameworks::reads_cache).unwrap_or(0);
    let last = kernels.len().saturating_sub(1);
    let attention = kernels.into_iter().enumerate().map(|(i, k)| {
        let out = shared(if i == last { "attention" } else { "parts" });
        let rest = k.tensors.len();
        let operands = match i.cmp(&reads) {
            Ordering::Less => vec![shared("scratch"); rest],
            Ordering::Equal => {
                let spilled = rest.saturating_sub(4);
                let mut all = vec![shared("qkv"), cache("k"), cache("v")];
                all.extend(std::iter::repeat_n(shared("scratch"), spilled));
                all.push(out);
                all
            }
            Ordering::Greater => {
                let mut all = vec![shared("parts"); rest.saturating_sub(1)];
                all.push(out);
                all
            }
        };
        Item::kernel(k, operands)
    });
    let norm = || row("rmsnorm", vec![shared("x"), Operand::own("gain"), shared("normed")]);
    let add = || row("add", vec![shared("x"), shared("y"), shared("x")]);
    let mut items = vec![norm()?, product((heads + 2 * kv_heads) * head_dim, width, "normed", "w_qkv", "qkv")?];
    items.extend(attention);
    items.extend([product(width, heads * head_dim, "attention", "w_out", "y")?, add()?, norm()?]);
    items.extend([
        product(2 * inner, width, "normed", "w_up", "up")?,
        Item::kernel(halves("silu", 1, Cost::SILU), ["up", "activated"].map(shared)),
        Item::kernel(halves("product", 2, Cost::BINARY), ["activated", "up", "gated"].map(shared)),
        product(width, inner, "gated", "w_down", "y")?,
        add()?,
    ]);
    Ok(items)
}

pub(super) fn microseconds(name: &str, args: &str, devices: &mut Devices, detail: Detail) -> Result<f64, String> {
    let get = |key, most| argument(args, key, most).map(|n| n.max(1) as u32);
    let (layers, batch) = (get("layers", 1 << 10)?, get("b", 1 << 16)?);
    let (queries, keys) = (get("q", 1 << 20)?, get("kv", 1 << 20)?);
    let gpu = devices.get("h200")?;
    let items = layer(name, batch, queries, keys, gpu.spec())?;
    let launches = replay::resolve(gpu, items, detail)?;
    let spec = gpu.spec().clone();
    let copies = f64::from(layers);
    let burst_s = copies * replay::latency_s(&spec, &launches, layers, detail)?;
    let layers_s =
        if lasts(burst_s) { copies * replay::sustained(&spec, &launches, layers, detail)?.0 } else { burst_s };
    let mut all_s = layers_s + replay::START_S;
    if argument(args, "comm", 1)? == 1 {
        let [width, ..] = model(name)?;
        let bytes = 2 * u64::from(batch) * u64::from(queries) * u64::from(width);
        all_s += 2.0 * copies * in_graph_s(&links()?, Op::AllReduce, bytes);
    }
    Ok(all_s * 1e6)
}
