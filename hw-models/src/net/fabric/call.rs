//! One exchange of a group of ranks, and whose kernels do it.

use banksia_input::InputError;
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::experts::{Exchange, Way, exchange, exchange_links};
use super::group::{Collective, Group};
use crate::net::collective::algorithm::{Algorithm, Op, peer_all_reduce_s};
use crate::net::collective::{Library, time};

/// Whose kernels exchange data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernels {
    /// NCCL's, launched from a graph.
    Nccl,
    /// NCCL's, launched by PyTorch, whose own stream has edges to and from the caller's.
    Torch,
    /// All-reduces of a node's ranks over their peers' memory as far as they are faster and their workspace holds them, else NCCL's.
    Custom,
    /// All-reduces of a node's ranks by PyTorch's kernels over symmetric memory, of one or two shots, whichever is faster; else NCCL's.
    Symmetric,
    /// Tokens to experts and back, once to each rank that has one of a token's experts (DeepEP's normal kernels).
    Experts {
        /// Experts of a token.
        top_k: u32,
    },
    /// The same straight to each expert, without order among ranks (DeepEP's low-latency kernels).
    ExpertsLowLatency {
        /// Experts of a token.
        top_k: u32,
    },
}

/// One exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// What is exchanged.
    pub collective: Collective,
    /// Bytes, counted as [`Collective`] says; of tokens to experts and back, those of one rank's tokens, each once.
    pub bytes: u64,
    /// Who takes part.
    pub group: Group,
    /// By whose kernels.
    pub kernels: Kernels,
}

/// What an exchange takes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Exchanged {
    /// From launch to launch, seconds.
    pub seconds: f64,
    /// Bytes that one rank sends over NVLink.
    pub nvlink_bytes: f64,
    /// Bytes that one rank sends over NICs.
    pub network_bytes: f64,
}

impl Cluster {
    /// What an exchange takes.
    ///
    /// # Errors
    /// The cluster has no room for the group, or no figures for such kernels.
    pub fn call(&self, call: &Call) -> Result<Exchanged, InputError> {
        let (group, node) = (call.group, &self.machine().node);
        let cost = |call: &Call| {
            self.time(call.collective, group, call.bytes).map(|c| Exchanged {
                seconds: c.seconds,
                nvlink_bytes: c.nvlink_bytes,
                network_bytes: c.network_bytes,
            })
        };
        let within = group.nodes == 1 && call.collective == Collective::AllReduce && group.ranks_per_node > 1;
        Ok(match call.kernels {
            Kernels::Torch => {
                let c = cost(call)?;
                Exchanged { seconds: c.seconds + node.torch.graph_us * 1e-6, ..c }
            }
            Kernels::Custom if within => {
                let seconds = time(node, Library::Custom, Op::AllReduce, group.ranks_per_node, call.bytes).latency_s;
                Exchanged { seconds, ..cost(call)? }
            }
            Kernels::Symmetric if within => {
                let of = |way| peer_all_reduce_s(node, way, group.ranks_per_node, call.bytes);
                let c = cost(call)?;
                let seconds = of(Algorithm::OneShot).min(of(Algorithm::TwoShot));
                Exchanged { seconds: seconds.min(c.seconds + node.torch.graph_us * 1e-6), ..c }
            }
            // Kernels over peers' memory are for sums within a node: the others are NCCL's.
            Kernels::Nccl | Kernels::Custom | Kernels::Symmetric => cost(call)?,
            Kernels::Experts { top_k } => self.experts(call, top_k, Way::Forwarded)?,
            Kernels::ExpertsLowLatency { top_k } => self.experts(call, top_k, Way::LowLatency { nvlink: true })?,
        })
    }

    fn experts(&self, call: &Call, top_k: u32, way: Way) -> Result<Exchanged, InputError> {
        // Figures of one generation of links and NICs are those of its GPUs.
        let links = exchange_links(match self.gpu() {
            "h200" => "h100",
            other => other,
        })?;
        let ranks = call.group.ranks_per_node.saturating_mul(call.group.nodes);
        let e = Exchange { ranks, tokens: 1, top_k, most_nodes: call.group.nodes, token_bytes: call.bytes as f64 };
        let done = exchange(&links, &e, way);
        let launch_s = self.machine().node.latency.p2p_launch_us * 1e-6;
        // Kernels of whole batches are measured by bandwidth alone: a launch comes to that.
        let start_s = if way == Way::Forwarded { launch_s } else { 0.0 };
        Ok(Exchanged {
            seconds: done.seconds + start_s,
            nvlink_bytes: done.nvlink_bytes,
            network_bytes: done.network_bytes,
        })
    }
}
