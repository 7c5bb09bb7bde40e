//! NCCL's choice over several nodes: the least of the times of its own table (`ncclTopoTuneModel`, `ncclTopoGetAlgoTime`), by version. These times
//! only choose; what the choice takes is `kernels`'.

use std::collections::BTreeMap;

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

use crate::net::collective::protocol::Protocol;

use super::group::{Algorithm, Collective};

/// A number by protocol: LL, LL128, Simple.
type ByProtocol = [f64; 3];
/// A number by nodes: one, two, more.
type ByNodes = [f64; 3];

/// Tables of one version of NCCL: `catalog/network/nccl-*.toml`, where each has its source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    /// The version.
    pub name: String,
    /// Where the numbers come from.
    pub source: String,
    /// Whether these tables choose on one node too; else `net::collective` does.
    pub one_node: bool,
    base_us: Latencies,
    nvlink_us: Latencies,
    network_us: NetworkLatencies,
    share: Shares,
    limit: Limits,
    channels: Channels,
    search: Search,
    tree_correction: Correction,
}

/// Latencies by algorithm, us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Latencies {
    tree: ByProtocol,
    ring: ByProtocol,
    nvls_tree: f64,
}

/// Latencies of the network by algorithm, us, and what else acts between nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkLatencies {
    tree: ByProtocol,
    ring: ByProtocol,
    nvls_tree: f64,
    ll_near_factor: f64,
    post_amd: f64,
    post_intel: f64,
    plateau: f64,
    plateau_bytes: f64,
}

/// Shares of the graph's bandwidth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shares {
    ring_ll: f64,
    ring_ll128: f64,
    ring_ll128_lone: f64,
    tree: f64,
    tree_ll: f64,
    tree_ll128_one_node: f64,
    tree_ll128: f64,
    nvls_tree: f64,
}

/// Ceilings by processor and GPU, GB/s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Limits {
    ll_amd_gb_s: [f64; 2],
    ll_intel_gb_s: [f64; 2],
    #[serde(flatten)]
    gpu: BTreeMap<String, GpuLimits>,
}

/// Ceilings of a GPU, GB/s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GpuLimits {
    ll_one_node_gb_s: f64,
    graph_gb_s: f64,
    nvlink_gb_s: f64,
    tree_channel_gb_s: ByNodes,
    ring_ll128_channel_gb_s: ByNodes,
    tree_ll128_channel_gb_s: ByNodes,
}

/// How many channels take part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channels {
    most: u32,
    bytes: ByProtocol,
    ring_ll_by_ranks: bool,
}

/// What the search of the graph tries, GB/s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    network_gb_s: Vec<f64>,
    pcie_gb_s: f64,
}

/// Factors on a tree's bandwidth by power of two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Correction {
    ll: Vec<f64>,
    ll128: Vec<f64>,
    simple: Vec<f64>,
}

/// What NCCL sees of a communicator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Communicator<'a> {
    /// The GPU's name.
    pub gpu: &'a str,
    /// Whether the processors are AMD's.
    pub amd: bool,
    /// Ranks on a node.
    pub ranks_per_node: u32,
    /// Nodes.
    pub nodes: u32,
    /// NICs of a node that its ranks reach.
    pub nics: u32,
    /// Data sheet of one NIC, GB/s.
    pub nic_gb_s: f64,
    /// Whether the switches of a node multicast.
    pub multicast: bool,
}

impl Communicator<'_> {
    fn ranks(&self) -> f64 {
        f64::from(self.ranks_per_node) * f64::from(self.nodes)
    }

    /// The place in tables by nodes.
    fn by_nodes(&self) -> usize {
        (self.nodes.max(1) as usize - 1).min(2)
    }
}

const CATALOG: [(&str, &str); 2] = [
    ("2.10", include_str!("../../../catalog/network/nccl-2.10.toml")),
    ("2.27", include_str!("../../../catalog/network/nccl-2.27.toml")),
];

/// Tables of a version of the catalog.
///
/// # Errors
/// The version is not in the catalog.
pub fn tables(version: &str) -> Result<Tables, InputError> {
    match CATALOG.iter().find(|(v, _)| *v == version) {
        Some((v, text)) => Source::from_text(format!("nccl-{v}.toml"), *text).parse(),
        None => Err(InputError::unknown_name("nccl", "version of NCCL's tables", version, CATALOG.map(|(v, _)| v))),
    }
}

impl Tables {
    /// Whether it knows the GPU.
    pub fn knows(&self, gpu: &str) -> bool {
        self.limit.gpu.contains_key(gpu)
    }

    /// Algorithm and protocol of the least time for an all-reduce, all-gather, reduce-scatter, broadcast or reduce.
    pub fn choose(&self, comm: &Communicator<'_>, op: Collective, bytes: u64) -> (Algorithm, Protocol) {
        let mut best = (f64::INFINITY, Algorithm::Ring, Protocol::Simple);
        for way in [Algorithm::Tree, Algorithm::Ring, Algorithm::NvlsTree] {
            for how in Protocol::ALL {
                if let Some(us) = self.predicted_us(comm, op, way, how, bytes)
                    && us < best.0
                {
                    best = (us, way, how);
                }
            }
        }
        (best.1, best.2)
    }

    /// Channels of a communicator: one or two a NIC of its graph, each found once and doubled.
    pub fn most_channels(&self, comm: &Communicator<'_>) -> u32 {
        if comm.nodes == 1 { self.channels.most } else { (2 * comm.nics).clamp(2, self.channels.most) }
    }

    /// Channels that a collective of so many bytes gets (`getAlgoInfo`): as many as have a thread's least bytes for all their threads.
    pub fn used_channels(&self, comm: &Communicator<'_>, way: Algorithm, how: Protocol, bytes: u64) -> u32 {
        let mut each = self.channels.bytes[how.index()];
        if way == Algorithm::Ring && how == Protocol::Ll && self.channels.ring_ll_by_ranks {
            each *= comm.ranks();
        }
        ((bytes as f64 / each) as u32).clamp(1, self.most_channels(comm))
    }

    /// Factor on a tree's bandwidth (`treeCorrectionFactor`).
    pub fn tree_correction(&self, how: Protocol, bytes: u64) -> f64 {
        let list = match how {
            Protocol::Ll => &self.tree_correction.ll,
            Protocol::Ll128 => &self.tree_correction.ll128,
            Protocol::Simple => &self.tree_correction.simple,
        };
        list.get((bytes / 64).max(1).ilog2() as usize).copied().unwrap_or(1.0)
    }

    /// Bytes of data of a channel's chunk in trees between nodes (`computeColl`): halved as long as the work is too little to fill all levels.
    pub fn tree_chunk(&self, comm: &Communicator<'_>, how: Protocol, channels: u32, bytes: u64) -> f64 {
        let each = bytes as f64 / f64::from(channels.max(1));
        let (ranks, levels) = (f64::from(comm.ranks_per_node), f64::from(comm.nodes.ilog2()));
        let mut chunk = how.step_bytes();
        match how {
            Protocol::Ll => chunk,
            Protocol::Ll128 => {
                // Counted with flags: 15 of 16 bytes are data.
                chunk *= 16.0 / 15.0;
                let steps = 1.0 + levels + 0.1 * ranks;
                for (fills, least) in [(64.0, 131_072.0), (16.0, 32_768.0)] {
                    while each / chunk < steps * fills / ranks && chunk > least {
                        chunk /= 2.0;
                    }
                }
                chunk * 15.0 / 16.0
            }
            Protocol::Simple => {
                let depth = ranks - 1.0 + levels;
                for (fills, least) in [(8.0, 131_072.0), (4.0, 65_536.0), (1.0, 32_768.0)] {
                    while each / chunk < depth * fills && chunk > least {
                        chunk /= 2.0;
                    }
                }
                chunk
            }
        }
    }

    /// What its table says, us; none where it has no such kernel.
    pub fn predicted_us(
        &self,
        comm: &Communicator<'_>,
        op: Collective,
        way: Algorithm,
        how: Protocol,
        bytes: u64,
    ) -> Option<f64> {
        let limit = self.limit.gpu.get(comm.gpu)?;
        let (p, at, n) = (how.index(), comm.by_nodes(), comm.ranks());
        let several = comm.nodes > 1;
        let all = op == Collective::AllReduce;
        let channels = f64::from(if several { comm.nics } else { self.channels.most / 2 });
        let speed = self.speed(comm, way, limit.nvlink_gb_s);
        let graph = if several { (channels * speed).min(limit.graph_gb_s) } else { limit.graph_gb_s };
        let ll_most = match (several, comm.amd) {
            (false, _) => limit.ll_one_node_gb_s,
            (true, true) => self.limit.ll_amd_gb_s[at - 1],
            (true, false) => self.limit.ll_intel_gb_s[at - 1],
        };
        let steps = f64::from(comm.ranks_per_node) * f64::from(comm.nodes) - 1.0;
        let steps = if all { 2.0 * steps } else { steps };
        let far = f64::from(comm.nodes - 1) * if all { 2.0 } else { 1.0 };
        let near = f64::from(comm.ranks_per_node - 1);
        let levels = f64::from(comm.nodes.ilog2());
        let (latency, gb_s) = match way {
            Algorithm::Ring => {
                let bus = match how {
                    Protocol::Ll => ll_most.min(graph * self.share.ring_ll),
                    Protocol::Ll128 => {
                        let lone = several && comm.ranks_per_node < 2;
                        let share = if lone { self.share.ring_ll128_lone } else { self.share.ring_ll128 };
                        (graph * share).min(channels * limit.ring_ll128_channel_gb_s[at])
                    }
                    Protocol::Simple => graph,
                };
                let mut latency =
                    self.base_us.ring[p] + (steps - far) * self.near_us(comm, how) + far * self.network_us.ring[p];
                let plateau = self.network_us.plateau_bytes * n;
                if several && all && how == Protocol::Simple && bytes as f64 >= plateau {
                    latency *= self.network_us.plateau;
                }
                (latency, bus * n / steps)
            }
            Algorithm::Tree if all => {
                let most = (graph * self.share.tree).min(channels * limit.tree_channel_gb_s[at]);
                let bus = match how {
                    Protocol::Ll => (most * self.share.tree_ll).min(ll_most),
                    Protocol::Ll128 => {
                        let share = if several { self.share.tree_ll128 } else { self.share.tree_ll128_one_node };
                        (most * share).min(channels * limit.tree_ll128_channel_gb_s[at])
                    }
                    Protocol::Simple => most,
                };
                let slower = if several && how == Protocol::Ll { self.network_us.ll_near_factor } else { 1.0 };
                let hops = near * self.nvlink_us.tree[p] * slower + levels * self.network_us.tree[p];
                (self.base_us.tree[p] + 2.0 * hops, bus * 0.5 * self.tree_correction(how, bytes))
            }
            Algorithm::NvlsTree
                if all && several && comm.multicast && comm.ranks_per_node > 1 && how == Protocol::Simple =>
            {
                let head = if comm.nodes == 2 { speed } else { speed / 2.0 };
                let latency =
                    self.base_us.nvls_tree + self.nvlink_us.nvls_tree + 2.0 * levels * self.network_us.nvls_tree;
                (latency, channels * head * self.share.nvls_tree)
            }
            _ => return None,
        };
        (gb_s > 0.0).then(|| latency + bytes as f64 / (1e3 * gb_s))
    }

    /// A ring's hop in a node, us.
    fn near_us(&self, comm: &Communicator<'_>, how: Protocol) -> f64 {
        let us = self.nvlink_us.ring[how.index()];
        if comm.nodes == 1 {
            return us;
        }
        let post = if comm.amd { self.network_us.post_amd } else { self.network_us.post_intel };
        match how {
            Protocol::Ll => (us * self.network_us.ll_near_factor).max(post),
            Protocol::Ll128 => us.max(post),
            Protocol::Simple => us.max(3.0 * post),
        }
    }

    /// Bandwidth of a channel of the graph: the first speed tried that NIC and PCIe have; trees over two nodes are searched on for more within
    /// the node, up to twice that.
    fn speed(&self, comm: &Communicator<'_>, way: Algorithm, nvlink_gb_s: f64) -> f64 {
        let most = comm.nic_gb_s.min(self.search.pcie_gb_s);
        let tried = &self.search.network_gb_s;
        let speed = tried.iter().copied().find(|s| *s <= most).unwrap_or(most);
        if way != Algorithm::Tree || comm.nodes != 2 {
            return speed;
        }
        let within = nvlink_gb_s / f64::from(comm.nics.max(1));
        tried.iter().copied().find(|s| *s <= within && *s <= 2.0 * speed).unwrap_or(speed).max(speed)
    }
}
