//! `streams.csv`: two kernels of PyTorch on two streams of one H200, each alone and both at once, from a CUDA graph that forks and joins.

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::{CacheState, Gpu, LaunchOptions, Together};
use banksia_mappers::gpu::attention::{Attention, torch_sdpa};
use banksia_mappers::gpu::gemm::Gemm;
use banksia_mappers::gpu::launch::{self, Item, Launch, Operand};
use banksia_mappers::gpu::layers;
use banksia_mappers::gpu::streams::Streams;

use crate::gpus::Devices;
use crate::rows::{self, Row, SIDE, number};
use crate::value::Value;

/// A graph that forks to a second stream and joins again: what its edges between streams take beyond those of one (assumed: rows of
/// `streams.csv` whose second kernel leaves no room for the first, over the sums of both).
pub(crate) const FORK_S: f64 = 1.0e-6;
const JOIN_S: f64 = 1.0e-6;

/// Numbers between crosses.
fn sizes<const N: usize>(text: &str) -> Result<[u32; N], String> {
    let all: Result<Vec<u32>, _> = text.split('x').map(str::parse).collect();
    let all: Option<[u32; N]> = all.ok().and_then(|v| v.try_into().ok());
    all.filter(|v| v.iter().all(|n| SIDE.contains(n)))
        .ok_or_else(|| format!("`{text}` is not {N} sizes between crosses"))
}

/// A product of activations with weights, by cuBLAS.
pub(crate) fn product(gpu: &mut Gpu, [m, n, k]: [u32; 3], detail: Detail) -> Result<Vec<Launch>, String> {
    let gemm = Gemm::new(m, n, k, Dtype::Bf16);
    rows::product(&gemm, gpu.spec())?;
    let item = Item::product(gemm, Operand::own("x"), Operand::own("w"), Operand::own("z"));
    launch::resolve(vec![item], &mut Simulation::new(gpu, detail)).map_err(|e| e.to_string())
}

/// Attention of PyTorch.
pub(crate) fn attention(a: &Attention, gpu: &Gpu) -> Result<Vec<Launch>, String> {
    rows::attention(a, gpu.spec())?;
    let kernels = torch_sdpa(a, gpu.spec());
    let result = if kernels.len() > 1 { "parts" } else { "out" };
    let launches = kernels.into_iter().map(|k| match k.tensors.len() {
        0..=3 => Launch::new(k, ["sums", "parts", "out"].map(Operand::shared)),
        n => {
            // What spills lies between the values and the result.
            let spilled = (4..n).map(|_| Operand::shared("scratch"));
            let operands = ["q", "k", "v"].map(Operand::own).into_iter().chain(spilled);
            Launch::new(k, operands.chain([Operand::shared(result)]))
        }
    });
    Ok(launches.collect())
}

/// The launches of one side of a row.
fn launches(name: &str, gpu: &mut Gpu, detail: Detail) -> Result<Vec<Launch>, String> {
    let (op, size) = name.split_once(' ').ok_or_else(|| format!("`{name}` is not an operator and its size"))?;
    let heads = |[batch, heads, keys]: [u32; 3], queries: u32, causal: bool| Attention {
        batch,
        heads,
        kv_heads: heads,
        queries,
        keys,
        head_dim: 128,
        causal,
        ..Attention::default()
    };
    match op {
        "gemm" => product(gpu, sizes(size)?, detail),
        "copy" => {
            let mib =
                size.strip_suffix("MiB").and_then(|n| n.parse::<u64>().ok()).filter(|n| (1..=1 << 16).contains(n));
            let bytes = mib.ok_or_else(|| format!("`{size}` is not a number of MiB"))? << 20;
            rows::fits(2.0 * bytes as f64, gpu.spec())?;
            Ok(vec![Launch::new(layers::copy_bytes(bytes), [Operand::own("x"), Operand::own("y")])])
        }
        "flash" => {
            let [b, h, s] = sizes(size)?;
            attention(&heads([b, h, s], s, true), gpu)
        }
        "decode" => attention(&heads(sizes(size)?, 1, false), gpu),
        _ => Err(format!("operator {op} is not modelled")),
    }
}

/// Launches of streams, replayed over the same memory: one replay to warm L2 up, one that counts.
pub(crate) fn replayed(gpu: &mut Gpu, streams: &Streams, options: &LaunchOptions) -> Result<Together, String> {
    streams.run(gpu, options).map_err(|e| e.to_string())?;
    let again = LaunchOptions { cache: CacheState::Left, ..options.clone() };
    streams.run(gpu, &again).map_err(|e| e.to_string())
}

/// Microseconds of a alone, of b alone, and of both.
fn predict(row: &Row, devices: &mut Devices, detail: Detail) -> Result<[f64; 3], String> {
    let get = |key: &str| row.get(key).map(String::as_str).ok_or_else(|| format!("no column {key}"));
    let gpu = devices.get("h200")?;
    let sides = [launches(get("a")?, gpu, detail)?, launches(get("b")?, gpu, detail)?];
    let gap_s = gpu.spec().launch.graph_gap_us * 1e-6;
    let options = LaunchOptions { grain_bytes: detail.grain_bytes, ..LaunchOptions::default() };
    let mut us = [0.0; 3];
    for (us, side) in us.iter_mut().zip(&sides) {
        let mut alone = Streams::default();
        alone.chain(side, "", &[], 0.0, gap_s);
        *us = (replayed(gpu, &alone, &options)?.span_s + gap_s) * 1e6;
    }
    // The second side is captured first; the first follows it on the stream that forked.
    let mut both = Streams::default();
    both.chain(&sides[1], "b.", &[], 0.0, gap_s);
    both.chain(&sides[0], "a.", &[], FORK_S, gap_s);
    us[2] = (replayed(gpu, &both, &options)?.span_s + gap_s + JOIN_S) * 1e6;
    Ok(us)
}

pub(super) fn row(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let get = |key: &str| row.get(key).cloned().unwrap_or_default();
    let (a, b) = (get("a"), get("b"));
    let predicted = predict(row, devices, detail);
    let kind = |name: &str| name.split(' ').next().unwrap_or_default().to_owned();
    let value = |i: usize, op: String, metric, column: &str, label: String| Value {
        device: "h200".into(),
        op,
        metric,
        label,
        measured: number(row, column).unwrap_or(f64::NAN),
        predicted: predicted.as_ref().map(|us| us[i]).map_err(Clone::clone),
    };
    vec![
        value(0, kind(&a), "a_us", "a_us", a.clone()),
        value(1, kind(&b), "b_us", "b_us", b.clone()),
        value(2, "both".into(), "both_us", "both_us", format!("{a} beside {b}")),
    ]
}
