//! All-reduces over one to many nodes, against nccl-tests: logs of Azure's A100 (Echo) and tables of vTrain's node.

use banksia_hw::net::fabric::cluster::{Cluster, Collective, Group, Launch, cluster};

use super::rows::{Row, number, whole};
use crate::value::Value;

/// Most bytes of a collective that is modelled.
const MOST_BYTES: f64 = (1_u64 << 42) as f64;

pub(super) fn row(row: &Row) -> Value {
    let get = |key: &str| row.get(key).map_or("", String::as_str);
    let of_vtrain = row.contains_key("num_gpus");
    let (gpus, time) = if of_vtrain { ("num_gpus", "out_of_place_us") } else { ("gpus", "oop_time_us") };
    let measured = number(row, time);
    Value {
        device: device(row),
        op: format!("{} {}", get("collective"), get(gpus)),
        metric: "latency_us",
        label: [gpus, "bytes"].map(|key| format!("{key}={}", get(key))).join(" "),
        predicted: measured.clone().and_then(|_| predict(row, gpus)),
        measured: measured.unwrap_or(0.0),
    }
}

/// The machine of a row.
pub(super) fn device(row: &Row) -> String {
    let gpu = row.get("gpu").map_or("", String::as_str);
    match gpu {
        "a100" => "vtrain-a100".to_owned(),
        _ if gpu.contains("ND A100 v4") => "azure-nd-a100-v4".to_owned(),
        _ => gpu.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase(),
    }
}

/// Microseconds.
fn predict(row: &Row, gpus: &str) -> Result<f64, String> {
    let plain = |e: banksia_input::InputError| e.to_string().lines().next().unwrap_or_default().to_owned();
    let machine: Cluster = cluster(&device(row)).map_err(plain)?;
    let op = match row.get("collective").map_or("", String::as_str) {
        "all_reduce" => Collective::AllReduce,
        "all_gather" => Collective::AllGather,
        "reduce_scatter" => Collective::ReduceScatter,
        "alltoall" => Collective::AllToAll,
        other => return Err(format!("collective {other} is not among those of this suite")),
    };
    let each = machine.gpus_per_node();
    let ranks = whole(row, gpus, 1..=1 << 16)?;
    if ranks > each && !ranks.is_multiple_of(each) {
        return Err(format!("{ranks} GPUs are not whole nodes of {each}"));
    }
    let bytes = number(row, "bytes")?;
    if !(1.0..=MOST_BYTES).contains(&bytes) || bytes.fract() != 0.0 {
        return Err(format!("column bytes is {bytes}: must be a whole number of 1 to {MOST_BYTES}"));
    }
    // Nodes are counted here: the logs have one name more than there are nodes. One node was run by one process (`-g`), several by one a GPU.
    let (group, launch) = if ranks > each {
        (Group { ranks_per_node: each, nodes: ranks / each, concurrent: 1 }, Launch::ProcessPerGpu)
    } else {
        (Group { ranks_per_node: ranks, nodes: 1, concurrent: 1 }, Launch::OneProcess)
    };
    Ok(machine.time_launched(op, group, bytes as u64, launch).map_err(plain)?.seconds * 1e6)
}
