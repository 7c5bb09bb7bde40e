//! Dispatch and combine of experts' tokens, against DeepEP's published tables.

use banksia_hw::net::fabric::experts::{Exchange, Exchanged, Way, exchange, exchange_links};
use serde_json::Value as Json;

use super::rows::Row;
use crate::value::Value;

/// DeepSeek-V3's hidden size.
const HIDDEN: f64 = 7168.0;
/// Bytes of a token of combine (BF16), and of dispatch (FP8 with a scale of four bytes for each 128).
const COMBINE: f64 = 2.0 * HIDDEN;
const DISPATCH: f64 = HIDDEN * (1.0 + 4.0 / 128.0);
/// Experts of a token, most nodes of a token, tokens of normal and of low-latency kernels (the pages' settings).
const TOP_K: u32 = 8;
const MOST_NODES: u32 = 4;
const TOKENS: u32 = 4096;
const FEW_TOKENS: u32 = 128;
/// From this revision on, low-latency kernels were measured with peers of the node over NVLink (docs/legacy.md); before, with RDMA only.
const NVLINK_SINCE: &str = "dd758caf45";

pub(super) fn row(row: &Row) -> Value {
    let json: Json = row.get("row_json").and_then(|t| serde_json::from_str(t).ok()).unwrap_or(Json::Null);
    let get = |key: &str| json.get(key).and_then(Json::as_str).unwrap_or_default();
    let revision = row.get("revision").map_or("", String::as_str);
    let predicted = of_table(&json, revision);
    let low_latency = json.get("Latency").is_some();
    // Where dispatch and combine have columns of their own, both are there; else the one that is left is combine's.
    let (op, metric, text) = if low_latency {
        ("combine low-latency", "latency_us", get("Latency"))
    } else if json.get("Combine Bottleneck Bandwidth").is_some() {
        ("combine", "bandwidth_gb_s", get("Combine Bottleneck Bandwidth"))
    } else {
        ("combine", "bandwidth_gb_s", get("Bottleneck bandwidth"))
    };
    let measured = leading(text);
    let ranks = ["Dispatch #EP", "Topo"].map(get).concat();
    Value {
        device: machine(&json).to_owned(),
        op: op.to_owned(),
        metric,
        label: format!("revision={revision} ranks={ranks}"),
        predicted: predicted.and_then(|e| {
            measured.ok_or_else(|| "has no number to compare".to_owned())?;
            Ok(if low_latency { e.seconds * 1e6 } else { e.logical_bytes_per_s * 1e-9 })
        }),
        measured: measured.unwrap_or(0.0),
    }
}

/// The machine of a row.
pub(super) fn device(row: &Row) -> String {
    let json = row.get("row_json").and_then(|t| serde_json::from_str(t).ok()).unwrap_or(Json::Null);
    machine(&json).to_owned()
}

fn machine(json: &Json) -> &'static str {
    if json.get("Arch").and_then(Json::as_str) == Some("SM100") { "b200" } else { "h800" }
}

/// The number that a cell begins with (`158 GB/s (NVLink)`).
fn leading(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

fn of_table(json: &Json, revision: &str) -> Result<Exchanged, String> {
    let get = |key: &str| json.get(key).and_then(Json::as_str);
    let links = exchange_links(machine(json)).map_err(|e| e.to_string())?;
    // `8 x 4` is four nodes of eight.
    let ranks = match (get("Combine #EP").or_else(|| get("Dispatch #EP")), get("Topo")) {
        (Some(n), _) => n.trim().parse::<u32>().map_err(|_| format!("ranks are `{n}`"))?,
        (None, Some(topo)) => {
            let numbers = topo.trim_start_matches("EP").split('x').map(|n| n.trim().parse::<u32>());
            let numbers = numbers.collect::<Result<Vec<u32>, _>>().map_err(|_| format!("topology is `{topo}`"))?;
            numbers
                .iter()
                .try_fold(1u32, |all, n| all.checked_mul(*n))
                .ok_or_else(|| format!("topology is `{topo}`"))?
        }
        (None, None) => return Err("says no number of ranks".to_owned()),
    };
    if !(2..=1 << 16).contains(&ranks) {
        return Err(format!("{ranks} ranks: 2 to 65536 are modelled"));
    }
    let low_latency = get("Latency").is_some();
    let combine = get("Combine #EP").is_some() || get("Combine Bottleneck Bandwidth").is_some();
    let e = Exchange {
        ranks,
        tokens: if low_latency { FEW_TOKENS } else { TOKENS },
        top_k: TOP_K,
        most_nodes: MOST_NODES,
        token_bytes: if combine { COMBINE } else { DISPATCH },
    };
    let way = if low_latency { Way::LowLatency { nvlink: revision.starts_with(NVLINK_SINCE) } } else { Way::Forwarded };
    Ok(exchange(&links, &e, way))
}
