//! A machine of nodes, as data: `catalog/network/*.toml`.

use banksia_input::schema::of_file;
use banksia_input::{InputError, Source};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::net::collective::links::{Fabric, fabric};

use super::nccl::{Tables, tables};

/// Makers of processors, by which NCCL has figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Processor {
    /// AMD's.
    Amd,
    /// Intel's.
    Intel,
}

/// A cluster: nodes that are alike, and the network between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClusterFile")]
pub struct MachineFile {
    /// The catalog's name.
    pub name: String,
    /// Where the numbers come from.
    pub source: String,
    /// The GPU, by its links in `catalog/fabric`.
    pub gpu: String,
    /// The links of a node in `catalog/fabric`, where they are not the GPU's own: a rack of one NVLink domain.
    #[serde(default)]
    pub node: Option<String>,
    /// GPUs of a node.
    pub gpus_per_node: u32,
    /// Version of NCCL's tables.
    pub nccl: String,
    /// Whose processors the nodes have.
    pub processor: Processor,
    /// NICs of a node.
    pub nic: Nic,
    /// Hops between nodes.
    pub hop: Hop,
    /// What a launch costs.
    pub launch: LaunchCost,
    /// Energy of bits moved.
    #[serde(default)]
    pub energy: LinkEnergy,
}

/// Energy of a bit moved from one GPU to another, picojoules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClusterEnergy")]
pub struct LinkEnergy {
    /// Within a node: up to the switch and down from it.
    pub nvlink_pj_per_bit: f64,
    /// Between nodes: NIC, cable, switch, cable, NIC.
    pub network_pj_per_bit: f64,
}

impl Default for LinkEnergy {
    /// Assumed, as in the topologies of the catalog (`catalog/network/topology`): 8 pJ a bit and link of NVLink of an A100's rate, 40 of a
    /// NIC's with optics.
    fn default() -> Self {
        Self { nvlink_pj_per_bit: 16.0, network_pj_per_bit: 80.0 }
    }
}

/// NICs of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClusterNic")]
pub struct Nic {
    /// How many that carry GPUs' data.
    pub per_node: u32,
    /// Of the data sheet, in one direction, Gbit/s.
    pub bandwidth_gbit_s: f64,
    /// Share of it that large messages reach.
    pub efficiency: f64,
    /// To post one send, us.
    pub post_us: f64,
}

/// A hop between nodes, by protocol, us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClusterHop")]
pub struct Hop {
    /// LL.
    pub ll_us: f64,
    /// LL128.
    pub ll128_us: f64,
    /// Simple.
    pub simple_us: f64,
    /// Mean of what a hop of LL is late by; the latest of several channels is later.
    pub ll_jitter_us: f64,
}

/// What a launch costs, us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClusterLaunch")]
pub struct LaunchCost {
    /// Every channel beyond the first.
    pub channel_us: f64,
    /// Every GPU of one process.
    pub gpu_us: f64,
    /// A copy within one GPU.
    pub copy_us: f64,
    /// Bytes read and written by a copy within one GPU, GB/s.
    pub copy_gb_s: f64,
}

/// The schema of a cluster's file.
pub fn schema() -> Schema {
    of_file::<MachineFile>("Banksia: a cluster of nodes")
}

/// A machine: its file, the links of one node, NCCL's tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its file.
    pub file: MachineFile,
    /// The links of one node.
    pub node: Fabric,
    /// NCCL's tables.
    pub nccl: Tables,
}

/// The machines of the catalog.
pub const CATALOG: [(&str, &str); 7] = [
    ("a100-selene", include_str!("../../../catalog/network/a100-selene.toml")),
    ("azure-nd-a100-v4", include_str!("../../../catalog/network/azure-nd-a100-v4.toml")),
    ("vtrain-a100", include_str!("../../../catalog/network/vtrain-a100.toml")),
    ("h100-eos", include_str!("../../../catalog/network/h100-eos.toml")),
    ("h200", include_str!("../../../catalog/network/h200.toml")),
    ("b200", include_str!("../../../catalog/network/b200.toml")),
    ("gb200-nvl72", include_str!("../../../catalog/network/gb200-nvl72.toml")),
];

/// Largest figure of a machine file that is taken, in its key's unit.
const MOST: f64 = 1e6;

impl Machine {
    /// A machine from a file.
    ///
    /// # Errors
    /// A key is missing or unknown, or a number cannot be.
    pub fn from_source(source: &Source) -> Result<Self, InputError> {
        let file: MachineFile = source.parse()?;
        let (key, links) = file.node.as_deref().map_or(("gpu", file.gpu.as_str()), |node| ("node", node));
        let node = fabric(links).map_err(|e| with_help(source.error(key, e.problem), e.help))?;
        let nccl = tables(&file.nccl).map_err(|e| with_help(source.error("nccl", e.problem), e.help))?;
        if !nccl.knows(&file.gpu) {
            return Err(source
                .error("nccl", format!("has no figures for the {}", file.gpu))
                .help("use a later version"));
        }
        source.check("gpus_per_node", file.gpus_per_node, 1..=node.max_gpus)?;
        source.check("nic.per_node", file.nic.per_node, 1..=64)?;
        source.check("nic.bandwidth_gbit_s", file.nic.bandwidth_gbit_s, 1e-3..=MOST)?;
        source.check("nic.efficiency", file.nic.efficiency, 1e-3..=1.0)?;
        source.check("launch.copy_gb_s", file.launch.copy_gb_s, 1e-3..=MOST)?;
        for (key, value) in [
            ("nic.post_us", file.nic.post_us),
            ("hop.ll_us", file.hop.ll_us),
            ("hop.ll128_us", file.hop.ll128_us),
            ("hop.simple_us", file.hop.simple_us),
            ("hop.ll_jitter_us", file.hop.ll_jitter_us),
            ("launch.channel_us", file.launch.channel_us),
            ("launch.gpu_us", file.launch.gpu_us),
            ("launch.copy_us", file.launch.copy_us),
            ("energy.nvlink_pj_per_bit", file.energy.nvlink_pj_per_bit),
            ("energy.network_pj_per_bit", file.energy.network_pj_per_bit),
        ] {
            source.check(key, value, 0.0..=MOST)?;
        }
        Ok(Self { file, node, nccl })
    }

    /// Bytes a second that one NIC reaches, in one direction.
    pub fn nic_bytes_per_s(&self) -> f64 {
        self.file.nic.bandwidth_gbit_s * self.file.nic.efficiency * 1e9 / 8.0
    }

    /// NICs that so many ranks of a node reach.
    pub fn nics_of(&self, ranks: u32) -> u32 {
        (ranks * self.file.nic.per_node).div_ceil(self.file.gpus_per_node).clamp(1, self.file.nic.per_node)
    }

    /// Bytes a second out of a node that each of `concurrent` groups of so many ranks there gets: its NICs', or its share of all.
    pub fn group_bytes_per_s(&self, ranks: u32, concurrent: u32) -> f64 {
        let all = f64::from(self.file.nic.per_node) / f64::from(concurrent.max(1));
        f64::from(self.nics_of(ranks)).min(all) * self.nic_bytes_per_s()
    }
}

fn with_help(error: InputError, help: Option<String>) -> InputError {
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}
