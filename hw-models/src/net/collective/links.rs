//! The links of a node and what drives them, as data: `catalog/fabric/*.toml`.

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

/// GPUs of one node, all to all over switches. The files say where each number comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fabric {
    /// The catalog's name (`h100`), that of the GPU.
    pub name: String,
    /// Where the numbers come from.
    pub source: String,
    /// GPUs of a node.
    pub max_gpus: u32,
    /// The links of one GPU.
    pub link: Link,
    /// What a kernel costs before and between its bytes.
    pub latency: Latency,
    /// What the SMs of a kernel move.
    pub sm: SmRates,
    /// NCCL's constants for this generation.
    pub nccl: Nccl,
    /// Kernels of a framework that read their peers' memory themselves.
    pub custom: Custom,
    /// PyTorch's kernels over symmetric memory.
    pub symmetric: Symmetric,
    /// What PyTorch adds to each collective.
    pub torch: Torch,
}

/// Links of a GPU, taken together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Of the data sheet, in one direction, GB/s.
    pub bandwidth_gb_s: f64,
    /// Share of it that stores of SMs reach (headers, acknowledgements).
    pub efficiency: f64,
    /// Share of the data sheet's that stores reach while nothing but acknowledgements comes back.
    pub one_way_efficiency: f64,
    /// Share of `efficiency` which is left to flows between all pairs at once.
    pub all_to_all_share: f64,
}

/// Times that do not depend on bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// From launch to launch, with nothing to send, us.
    pub launch_us: f64,
    /// The same for a kernel of sends and receives, us.
    pub p2p_launch_us: f64,
    /// What every further peer adds, us.
    pub p2p_peer_us: f64,
    /// Least time of sends and receives of the protocol Simple beyond their launch, us.
    pub p2p_simple_us: f64,
    /// A store to a peer that polls for it, and what the peer does before it stores on, us.
    pub hop_us: f64,
    /// A hop of LL128, whose lines are exchanged between the threads of a warp, us.
    pub ll128_hop_us: f64,
    /// A slice of Simple: fence, counter, poll, us.
    pub slice_us: f64,
    /// What a kernel of the protocol Simple takes beyond `launch_us`, us.
    pub simple_us: f64,
    /// A round over the switch with multicast: stores, barriers, us.
    pub nvls_us: f64,
}

/// Rates of the SMs that a collective holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmRates {
    /// Bytes between one SM and L2, GB/s: 64 a cycle.
    pub port_gb_s: f64,
    /// Share of it that LL reaches, whose threads wait for a line before they store on.
    pub ll_port_share: f64,
    /// Bytes read and bytes written, together, that all channels move, GB/s.
    pub move_gb_s: f64,
    /// The same for sends and receives.
    pub p2p_move_gb_s: f64,
}

/// NCCL's constants (`src/graph/tuning.cc`, `src/include/device.h`, `src/graph/topo.h`), version 2.27 to 2.29.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nccl {
    /// Channels of a ring, each a CTA.
    pub channels: u32,
    /// Channels of multicast; none without it.
    pub nvls_channels: u32,
    /// Bandwidth of the links by its topology search, GB/s.
    pub graph_gb_s: f64,
    /// Bandwidths of a head of multicast that the search tries (`sm90SpeedArrayIntra`, `sm100SpeedArrayIntra`), GB/s, largest first.
    pub nvls_head_gb_s: Vec<f64>,
    /// `llMaxBws` of one node, GB/s.
    pub ll_max_gb_s: f64,
    /// `perChMaxRingLL128Bws`, GB/s.
    pub ll128_channel_gb_s: f64,
    /// `perChMaxTreeBws`, GB/s.
    pub tree_channel_gb_s: f64,
    /// `perChMaxTreeLL128Bws`, GB/s.
    pub tree_ll128_channel_gb_s: f64,
    /// `nvlsEfficiency`.
    pub nvls_efficiency: f64,
    /// Least bytes of a channel before another takes part (`MinTrafficPerChannel`).
    pub channel_bytes: f64,
    /// Most bytes to a peer that sends and receives move by LL (`NCCL_P2P_LL_THRESHOLD`).
    pub p2p_ll_bytes: f64,
}

/// An all-reduce whose ranks read each other's memory (TensorRT-LLM's one-shot kernel).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// Launch, flags to all peers and back, us.
    pub launch_us: f64,
    /// What a peer's flag adds, us.
    pub peer_us: f64,
    /// Loads from peers, GB/s.
    pub load_gb_s: f64,
    /// Most bytes that it takes; NCCL takes more.
    pub max_bytes: f64,
}

/// PyTorch's all-reduces over symmetric memory, without multicast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symmetric {
    /// Most CTAs, and threads of a CTA.
    pub max_ctas: u32,
    /// Likewise.
    pub threads: u32,
    /// From launch to launch, without barriers and loads, us.
    pub launch_us: f64,
    /// A flag to all peers and from all, us.
    pub barrier_us: f64,
    /// A load of a peer's memory: request, memory, answer, us.
    pub load_us: f64,
}

/// What PyTorch's `ProcessGroupNCCL` adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Torch {
    /// To a collective in a CUDA graph, over one that nccl-tests capture: its own stream's edges to and from the caller's, us.
    pub graph_us: f64,
    /// The host's part of a call outside of a graph: dispatch, events, NCCL's enqueue, launch, us.
    pub call_us: f64,
    /// The same of another operation of a batch of sends and receives, with its wait, us.
    pub batch_us: f64,
}

/// The fabrics of the catalog.
pub const CATALOG: [(&str, &str); 5] = [
    ("a100", include_str!("../../../catalog/fabric/a100.toml")),
    ("h100", include_str!("../../../catalog/fabric/h100.toml")),
    ("h200", include_str!("../../../catalog/fabric/h200.toml")),
    ("b200", include_str!("../../../catalog/fabric/b200.toml")),
    ("gb200-nvl72", include_str!("../../../catalog/fabric/gb200-nvl72.toml")),
];

/// A fabric of the catalog.
///
/// # Errors
/// The name is not in the catalog.
pub fn fabric(name: &str) -> Result<Fabric, InputError> {
    match CATALOG.iter().find(|(n, _)| *n == name) {
        Some((n, text)) => Fabric::from_source(&Source::from_text(format!("{n}.toml"), *text)),
        None => {
            let names: Vec<&str> = CATALOG.iter().map(|(n, _)| *n).collect();
            let problem = "is not a GPU whose links are in the catalog";
            Err(InputError::new(name, problem).help(format!("known: {}", names.join(", "))))
        }
    }
}

impl Fabric {
    /// A fabric from a file.
    ///
    /// # Errors
    /// A key is missing or unknown, or a number cannot be.
    pub fn from_source(source: &Source) -> Result<Self, InputError> {
        let f: Self = source.parse()?;
        let positive = [
            ("link.bandwidth_gb_s", f.link.bandwidth_gb_s),
            ("link.efficiency", f.link.efficiency),
            ("link.all_to_all_share", f.link.all_to_all_share),
            ("link.one_way_efficiency", f.link.one_way_efficiency),
            ("symmetric.max_ctas", f64::from(f.symmetric.max_ctas)),
            ("symmetric.threads", f64::from(f.symmetric.threads)),
            ("custom.load_gb_s", f.custom.load_gb_s),
            ("sm.port_gb_s", f.sm.port_gb_s),
            ("sm.ll_port_share", f.sm.ll_port_share),
            ("sm.move_gb_s", f.sm.move_gb_s),
            ("sm.p2p_move_gb_s", f.sm.p2p_move_gb_s),
            ("nccl.graph_gb_s", f.nccl.graph_gb_s),
            ("nccl.ll_max_gb_s", f.nccl.ll_max_gb_s),
            ("nccl.ll128_channel_gb_s", f.nccl.ll128_channel_gb_s),
            ("nccl.tree_channel_gb_s", f.nccl.tree_channel_gb_s),
            ("nccl.tree_ll128_channel_gb_s", f.nccl.tree_ll128_channel_gb_s),
            ("nccl.channel_bytes", f.nccl.channel_bytes),
            ("nccl.channels", f64::from(f.nccl.channels)),
        ];
        for (key, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(source.error(key, format!("is {value}: must be above zero")));
            }
        }
        let times = [
            ("latency.launch_us", f.latency.launch_us),
            ("latency.p2p_launch_us", f.latency.p2p_launch_us),
            ("latency.p2p_peer_us", f.latency.p2p_peer_us),
            ("latency.p2p_simple_us", f.latency.p2p_simple_us),
            ("latency.hop_us", f.latency.hop_us),
            ("latency.ll128_hop_us", f.latency.ll128_hop_us),
            ("latency.slice_us", f.latency.slice_us),
            ("latency.simple_us", f.latency.simple_us),
            ("latency.nvls_us", f.latency.nvls_us),
            ("custom.launch_us", f.custom.launch_us),
            ("custom.peer_us", f.custom.peer_us),
            ("symmetric.launch_us", f.symmetric.launch_us),
            ("symmetric.barrier_us", f.symmetric.barrier_us),
            ("symmetric.load_us", f.symmetric.load_us),
            ("torch.graph_us", f.torch.graph_us),
            ("torch.call_us", f.torch.call_us),
            ("torch.batch_us", f.torch.batch_us),
        ];
        for (key, value) in times {
            if !(value.is_finite() && value >= 0.0) {
                return Err(source.error(key, format!("is {value}: must not be below zero")));
            }
        }
        if f.link.efficiency > 1.0
            || f.link.one_way_efficiency > 1.0
            || f.link.all_to_all_share > 1.0
            || !(0.0..=1.0).contains(&f.nccl.nvls_efficiency)
        {
            return Err(source.error("link.efficiency", "is a share: at most one"));
        }
        Ok(f)
    }

    /// Bytes a second that reach a peer, in one direction.
    pub fn wire_bytes_per_s(&self) -> f64 {
        self.link.bandwidth_gb_s * 1e9 * self.link.efficiency
    }

    /// The same while no data come back.
    pub fn one_way_bytes_per_s(&self) -> f64 {
        self.link.bandwidth_gb_s * 1e9 * self.link.one_way_efficiency
    }

    /// Whether its switches reduce and multicast (NVLink SHARP).
    pub fn multicast(&self) -> bool {
        self.nccl.nvls_channels > 1 && self.nccl.nvls_efficiency > 0.0
    }
}
