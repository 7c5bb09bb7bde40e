//! Tokens to experts and back (DeepEP's dispatch and combine): bytes by link from where tokens go, and the slower of the links.
//!
//! A token is sent once to every node that has one of its experts, to the GPU at its sender's place there (its rail), and from there over NVLink to
//! every GPU that has one; its results come back the same way, summed in each node first. Low-latency kernels send every token straight to each
//! of its experts.

use std::collections::BTreeMap;

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

/// Links of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeLinks {
    /// GPUs of a node.
    pub gpus_per_node: u32,
    /// What a GPU's kernel moves to and from peers over NVLink, in one direction, GB/s.
    pub nvlink_gb_s: f64,
    /// What a GPU's NIC reaches, GB/s.
    pub nic_gb_s: f64,
    /// Low-latency kernels, beyond their bytes: launch, posts, flags, sums; us.
    pub low_latency_us: f64,
}

/// The file of the machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct File {
    name: String,
    source: String,
    #[serde(flatten)]
    machines: BTreeMap<String, ExchangeLinks>,
}

/// Links of a machine of the catalog (`h800`, `h100`, `b200`).
///
/// # Errors
/// The name is not in the catalog.
pub fn exchange_links(name: &str) -> Result<ExchangeLinks, InputError> {
    let file: File = Source::from_text("deepep.toml", include_str!("../../../catalog/network/deepep.toml")).parse()?;
    file.machines.get(name).copied().ok_or_else(|| {
        InputError::unknown_name(name, "machine of expert exchanges", name, file.machines.keys().map(String::as_str))
    })
}

/// One exchange of tokens between ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchange {
    /// Ranks.
    pub ranks: u32,
    /// Tokens of a rank.
    pub tokens: u32,
    /// Experts of a token, each of which lies on any rank that it may with the same chance.
    pub top_k: u32,
    /// Most nodes that a token's experts lie on (group-limited gating).
    pub most_nodes: u32,
    /// Bytes of a token.
    pub token_bytes: f64,
}

/// How an exchange is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Once to each node, then over NVLink.
    Forwarded,
    /// Straight to each expert: over NVLink within the node if `nvlink`, else all over NICs.
    LowLatency {
        /// Whether peers of the node are reached over NVLink.
        nvlink: bool,
    },
}

/// What an exchange takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchanged {
    /// Seconds.
    pub seconds: f64,
    /// Bytes that a rank sends over its NIC.
    pub network_bytes: f64,
    /// Bytes that a rank's kernel moves to GPUs of its node, itself included.
    pub nvlink_bytes: f64,
    /// Bytes a second as DeepEP counts them: what a rank sends to nodes, its own included; within one node, to GPUs, itself included.
    pub logical_bytes_per_s: f64,
}

/// How many of so many bins hold something after so many draws, in the mean.
fn occupied(bins: f64, draws: f64) -> f64 {
    bins * (1.0 - (1.0 - 1.0 / bins).powf(draws))
}

/// One direction of an exchange (dispatch and combine differ in `token_bytes` only).
pub fn exchange(links: &ExchangeLinks, e: &Exchange, way: Way) -> Exchanged {
    let local = f64::from(links.gpus_per_node.min(e.ranks).max(1));
    let nodes = f64::from(e.ranks.div_ceil(links.gpus_per_node.max(1)).max(1));
    let all = f64::from(e.tokens) * e.token_bytes;
    let draws = f64::from(e.top_k);
    match way {
        Way::Forwarded => {
            let reach = nodes.min(f64::from(e.most_nodes.max(1)));
            let (to_nodes, to_gpus) = (occupied(reach, draws), occupied(reach * local, draws));
            let network_bytes = all * to_nodes * (nodes - 1.0) / nodes;
            let nvlink_bytes = all * to_gpus;
            let seconds = (network_bytes / (links.nic_gb_s * 1e9)).max(nvlink_bytes / (links.nvlink_gb_s * 1e9));
            let logical = all * if nodes > 1.0 { to_nodes } else { to_gpus };
            Exchanged { seconds, network_bytes, nvlink_bytes, logical_bytes_per_s: logical / seconds }
        }
        Way::LowLatency { nvlink } => {
            let ranks = f64::from(e.ranks.max(1));
            let copies = all * draws;
            // What stays on the rank is not sent.
            let over_nics = copies * (ranks - if nvlink { local } else { 1.0 }) / ranks;
            let over_nvlink = if nvlink { copies * local / ranks } else { 0.0 };
            let flow = (over_nics / (links.nic_gb_s * 1e9)).max(over_nvlink / (links.nvlink_gb_s * 1e9));
            let seconds = links.low_latency_us * 1e-6 + flow;
            Exchanged {
                seconds,
                network_bytes: over_nics,
                nvlink_bytes: over_nvlink,
                logical_bytes_per_s: copies / seconds,
            }
        }
    }
}
