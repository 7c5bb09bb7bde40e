//! What is asked of a cluster, and what it answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::collective::protocol::Protocol;

/// What the ranks of a group do together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Collective {
    /// All ranks get the sum of all; `bytes` of the buffer.
    AllReduce,
    /// All ranks get the parts of all; `bytes` of the whole.
    AllGather,
    /// Each rank gets a part of the sum; `bytes` of the whole.
    ReduceScatter,
    /// Each rank sends a part to each; `bytes` that one rank sends, its own part included.
    AllToAll,
    /// All ranks get what one has; `bytes` of it.
    Broadcast,
    /// One rank gets the sum of all; `bytes` of it.
    Reduce,
    /// One rank sends `bytes` to another.
    SendRecv,
}

/// How data are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// From neighbour to neighbour, around all ranks of all nodes.
    Ring,
    /// Chains in the nodes, two binary trees between them.
    Tree,
    /// Reduced and multicast by the switches of a node.
    Nvls,
    /// Reduced and multicast by the switches of a node, trees between nodes.
    NvlsTree,
    /// Sends and receives.
    PointToPoint,
    /// Every rank reads all others' buffers.
    OneShot,
    /// A copy within one GPU.
    Copy,
}

/// Ranks that communicate, and who else does at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Ranks of one group on each of its nodes.
    pub ranks_per_node: u32,
    /// Nodes that the group spans.
    pub nodes: u32,
    /// Groups that do the same at the same time on the same nodes, and share their NICs.
    pub concurrent: u32,
}

/// Who launches the kernels of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Launch {
    /// A process a GPU, from a graph or ahead of the GPU.
    #[default]
    ProcessPerGpu,
    /// One process for all GPUs of the node, one after another (`nccl-tests -g`).
    OneProcess,
}

/// What a collective takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// From launch to launch, seconds.
    pub seconds: f64,
    /// The part that does not depend on the bytes: launch and hops, seconds.
    pub launch_s: f64,
    /// Bytes of data that one rank sends over NVLink.
    pub nvlink_bytes: f64,
    /// Bytes of data that one rank sends over NICs.
    pub network_bytes: f64,
    /// What was chosen.
    pub algorithm: Algorithm,
    /// What was chosen.
    pub protocol: Protocol,
    /// CTAs that the kernel holds, each an SM.
    pub sms: u32,
}
