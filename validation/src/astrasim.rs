//! Collectives of ASTRA-sim's analytical backends, over our fabric with its algorithms and endpoints.
//!
//! Its unit of bandwidth is 2^30 bytes a second, its local memory's 10^9. Its double binary trees are not reproduced: those of this version have a
//! fault that a later one mends.

use banksia_hw::net::fabric::alpha_beta::{AlphaBeta, Block, Dimension, Passing};
use banksia_hw::net::fabric::cluster::Collective;

use super::rows::{Row, number, whole};
use crate::value::Value;

/// The name of the suite.
pub(super) const SUITE: &str = "astrasim";

pub(super) fn row(row: &Row) -> Value {
    let get = |key: &str| row.get(key).map_or("", String::as_str);
    let measured = number(row, "finish_cycles_max");
    let label = ["topology", "npus", "algorithm", "bytes", "dataset_splits", "active_chunks"];
    Value {
        device: device(row),
        op: format!(
            "{} {}",
            get("collective"),
            if get("kind") == "collective_nd" { "of dimensions" } else { get("algorithm") }
        ),
        metric: "latency_ns",
        label: label.map(|key| format!("{key}={}", get(key))).join(" "),
        predicted: predict(row).and_then(|ns| measured.clone().map(|_| ns)),
        measured: measured.unwrap_or(0.0),
    }
}

/// The backend of a row.
pub(super) fn device(row: &Row) -> String {
    format!("congestion-{}", row.get("backend").map_or("", String::as_str))
}

/// Nanoseconds.
fn predict(row: &Row) -> Result<f64, String> {
    let get = |key: &str| row.get(key).map(String::as_str).ok_or_else(|| format!("no column {key}"));
    if get("npus_finished")? == "0" {
        return Err("did not finish there".to_owned());
    }
    let split = |key: &str| Ok::<Vec<&str>, String>(get(key)?.split('x').collect());
    let blocks = split("topology")?;
    let of = |key: &str| {
        let list = split(key)?;
        if list.len() == blocks.len() {
            Ok(list)
        } else {
            Err(format!("column {key} is not of {} dimensions", blocks.len()))
        }
    };
    let (ranks, passings, bandwidths, latencies) =
        (of("npus")?, of("algorithm")?, of("bandwidth_GBs")?, of("latency_ns")?);
    let figure = |text: &str, key: &str| {
        let number: f64 = text.parse().map_err(|_| format!("column {key} is not a number"))?;
        if number > 0.0 && number < 1e9 { Ok(number) } else { Err(format!("column {key} is {number}")) }
    };
    let mut dimensions = Vec::with_capacity(blocks.len());
    for d in 0..blocks.len() {
        dimensions.push(Dimension {
            block: match blocks[d] {
                "Ring" => Block::Ring,
                "FullyConnected" => Block::FullyConnected,
                "Switch" => Block::Switch,
                other => return Err(format!("topology {other} is not known")),
            },
            passing: match passings[d] {
                "ring" => Passing::Ring,
                "direct" => Passing::Direct,
                "halvingDoubling" => Passing::HalvingDoubling,
                "doubleBinaryTree" => return Err("its double binary trees are not reproduced".to_owned()),
                other => return Err(format!("algorithm {other} is not known")),
            },
            ranks: ranks[d].parse().ok().filter(|n| (1..=1024).contains(n)).ok_or("column npus is not 1 to 1024")?,
            bytes_per_s: figure(bandwidths[d], "bandwidth_GBs")? * f64::from(1 << 30),
            latency_s: figure(latencies[d], "latency_ns")? * 1e-9,
        });
    }
    let system = AlphaBeta {
        dimensions,
        congestion: match get("backend")? {
            "aware" => true,
            "unaware" => false,
            other => return Err(format!("backend {other} is not known")),
        },
        endpoint_s: f64::from(whole(row, "endpoint_delay", 0..=1_000_000)?) * 1e-9,
        memory_bytes_per_s: figure(get("local_mem_bw")?, "local_mem_bw")? * 1e9,
        chunks: whole(row, "dataset_splits", 1..=1024)?,
        at_once: whole(row, "active_chunks", 1..=1024)?,
        by_levels: get("collective_optimization")? == "localBWAware",
    };
    let collective = match get("collective")? {
        "all_reduce" => Collective::AllReduce,
        "all_gather" => Collective::AllGather,
        "reduce_scatter" => Collective::ReduceScatter,
        "all_to_all" => Collective::AllToAll,
        other => return Err(format!("collective {other} is not known")),
    };
    Ok(system.seconds(collective, number(row, "bytes")?)? * 1e9)
}
