//! Times of collectives from a machine of nodes (`banksia_hw::net::fabric`).

use std::cell::RefCell;
use std::collections::HashMap;

use banksia_hw::net::fabric::cluster::{Cluster, Collective, Group};

use super::error::ParallelError;
use super::op::CommKind;
use super::times::{CollectiveTimes, CommCost, Placed};

/// A cluster that remembers what it was asked.
#[derive(Debug)]
pub struct ClusterTimes {
    cluster: Cluster,
    known: RefCell<HashMap<(CommKind, Placed, u64), CommCost>>,
}

impl ClusterTimes {
    /// Of a machine.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, known: RefCell::new(HashMap::new()) }
    }
}

impl CollectiveTimes for ClusterTimes {
    fn gpus_per_node(&self) -> u32 {
        self.cluster.gpus_per_node()
    }

    fn cost(&self, kind: CommKind, placed: Placed, bytes: u64) -> Result<CommCost, ParallelError> {
        if let Some(known) = self.known.borrow().get(&(kind, placed, bytes)) {
            return Ok(*known);
        }
        let op = match kind {
            CommKind::AllReduce => Collective::AllReduce,
            CommKind::AllGather => Collective::AllGather,
            CommKind::ReduceScatter => Collective::ReduceScatter,
            CommKind::AllToAll => Collective::AllToAll,
            CommKind::Send => Collective::SendRecv,
        };
        let group = Group { ranks_per_node: placed.ranks_per_node, nodes: placed.nodes, concurrent: placed.concurrent };
        let cost = self.cluster.time(op, group, bytes).map_err(|e| ParallelError::new("parallel", e.to_string()))?;
        let cost = CommCost {
            seconds: cost.seconds,
            node_bytes: cost.nvlink_bytes,
            network_bytes: cost.network_bytes,
            sms: cost.sms,
        };
        self.known.borrow_mut().insert((kind, placed, bytes), cost);
        Ok(cost)
    }
}
