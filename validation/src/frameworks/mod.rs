//! The files of public serving frameworks (`ai-dynamo/aiconfigurator`): warm replays of a CUDA graph, without flushing L2.

mod attention;
mod encoder;
mod latent;
mod mamba2;
mod moe;
mod products;
mod state;

pub(super) use attention::{context, generation};
pub(super) use encoder::encoder;
pub(super) use latent::{context_mla, generation_mla, mla_bmm};
pub(super) use mamba2::mamba2;
pub(super) use moe::moe;
pub(super) use products::gemm;
pub(super) use state::{gdn, kda};

use banksia_mappers::gpu::frameworks::Framework;

use super::rows::{Row, device_of, number};
use crate::value::Value;

/// Between one replay of a graph and the next, beyond what its kernels take in a long graph: six replays of graphs of six
/// kernels of 1 to 66 us, against graphs of sixty, on one H200 (`device_issue.csv`, `graph_replay_interval`).
const REPLAY_GAP_S: f64 = 1.8e-6;
/// Work that lasts longer meets the power controller (assumed: some of its periods of about 10 ms).
const CONTROLLER_S: f64 = 25e-3;

/// Share of the timed launches that run after the power controller has settled.
fn throttled_share(latency_s: f64, warm: f64, timed: f64) -> f64 {
    1.0 - (CONTROLLER_S / latency_s - warm).clamp(0.0, timed) / timed
}

fn value(row: &Row, op: &str, predicted: Result<f64, String>, keys: &[&str]) -> Value {
    let get = |k: &str| row.get(k).map_or("", String::as_str);
    let label = keys.iter().map(|k| format!("{k}={}", get(k))).collect::<Vec<_>>().join(" ");
    Value {
        device: device_of(get("gpu")).to_owned(),
        op: op.to_owned(),
        metric: "latency",
        label,
        measured: number(row, "latency_us").unwrap_or(f64::NAN),
        predicted,
    }
}

/// The first two numbers of a framework's version.
fn version(row: &Row) -> Option<(u32, u32)> {
    let text = row.get("version").filter(|v| !v.is_empty())?;
    let mut numbers = text.split('.').map(|n| n.parse().unwrap_or(0));
    Some((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
}

/// Who launched what a row measures; vLLM where it does not say.
fn framework(row: &Row) -> Result<Framework, String> {
    match row.get("framework").map_or("", |f| f.trim()) {
        "" => Ok(Framework::Vllm),
        name => name.parse().map_err(|_| format!("framework {name} is not modelled")),
    }
}
