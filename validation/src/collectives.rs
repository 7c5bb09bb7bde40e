//! Collectives between the GPUs of one node, against NCCL's and TensorRT-LLM's kernels as nccl-tests time them.

use banksia_hw::net::collective::algorithm::Op;
use banksia_hw::net::collective::{Library, links, time};

use super::rows::{Row, device_of, number, whole};
use crate::value::Value;

/// Most bytes of a collective that is modelled.
const MOST_BYTES: f64 = (1_u64 << 40) as f64;

pub(super) fn row(row: &Row) -> Value {
    let get = |key: &str| row.get(key).map_or("", String::as_str);
    let library = get("library").split('-').next().unwrap_or_default();
    let label = ["library", "num_gpus", "bytes"].map(|key| format!("{key}={}", get(key))).join(" ");
    let measured = number(row, "latency_us");
    let op = if library == "nccl" { get("collective").to_owned() } else { format!("{} {library}", get("collective")) };
    Value {
        device: device_of(get("gpu")).to_owned(),
        op,
        metric: "latency_us",
        label,
        predicted: measured.clone().and_then(|_| predict(row, library)),
        measured: measured.unwrap_or(0.0),
    }
}

/// Microseconds.
fn predict(row: &Row, library: &str) -> Result<f64, String> {
    let get = |key: &str| row.get(key).map(String::as_str).ok_or_else(|| format!("no column {key}"));
    let plain = |e: banksia_input::InputError| e.to_string().lines().next().unwrap_or_default().to_owned();
    let fabric = links::fabric(device_of(get("gpu")?)).map_err(plain)?;
    let op = match get("collective")? {
        "all_reduce" => Op::AllReduce,
        "all_gather" => Op::AllGather,
        "reduce_scatter" => Op::ReduceScatter,
        "alltoall" => Op::AllToAll,
        other => return Err(format!("collective {other} is not modelled")),
    };
    let library = match library {
        "nccl" => Library::Nccl,
        "trtllm" => Library::Custom,
        other => return Err(format!("library {other} is not modelled")),
    };
    let ranks = whole(row, "num_gpus", 2..=fabric.max_gpus)?;
    let bytes = number(row, "bytes")?;
    if !(1.0..=MOST_BYTES).contains(&bytes) || bytes.fract() != 0.0 {
        return Err(format!("column bytes is {bytes}: must be a whole number of 1 to {MOST_BYTES}"));
    }
    Ok(time(&fabric, library, op, ranks, bytes as u64).latency_s * 1e6)
}
