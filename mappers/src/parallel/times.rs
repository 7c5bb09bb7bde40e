//! Who says how long things take: operators on a device, collectives between devices. Both are asked through a trait, so that better models
//! can be put in their place.

use std::collections::HashMap;

use super::error::ParallelError;
use super::op::{CommKind, LocalOp};

/// What an operator takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OpCost {
    /// Seconds at the boost clock.
    pub seconds: f64,
    /// Joules of switching, which go with the square of the clock.
    pub joules: f64,
    /// Joules of device memory, which do not.
    pub memory_joules: f64,
    /// Share of the time in which matrix units are busy, which follows the clock.
    pub tensor_busy: f64,
}

/// Times of operators on a device.
pub trait OperatorTimes {
    /// What an operator takes.
    ///
    /// # Errors
    /// The device cannot run it.
    fn cost(&mut self, op: &LocalOp) -> Result<OpCost, ParallelError>;

    /// Seconds of an operator; not a number where the device cannot run it.
    fn seconds(&mut self, op: &LocalOp) -> f64 {
        self.cost(op).map_or(f64::NAN, |c| c.seconds)
    }
}

/// Who takes part in a collective, as the machine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placed {
    /// Ranks of a group on each of its nodes.
    pub ranks_per_node: u32,
    /// Nodes of a group.
    pub nodes: u32,
    /// Groups on the same nodes that do the same at once.
    pub concurrent: u32,
}

impl Placed {
    /// Ranks of a group.
    pub fn ranks(&self) -> u32 {
        self.ranks_per_node * self.nodes
    }
}

/// What a collective takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CommCost {
    /// Seconds.
    pub seconds: f64,
    /// Bytes that a rank sends within its node.
    pub node_bytes: f64,
    /// Bytes that a rank sends to other nodes.
    pub network_bytes: f64,
    /// SMs that its kernel holds.
    pub sms: u32,
}

/// Times of collectives between devices.
pub trait CollectiveTimes {
    /// Devices of a node.
    fn gpus_per_node(&self) -> u32;

    /// What a collective takes. `bytes` is the whole buffer, as nccl-tests count.
    ///
    /// # Errors
    /// The machine has no such group.
    fn cost(&self, kind: CommKind, placed: Placed, bytes: u64) -> Result<CommCost, ParallelError>;
}

/// Remembers operators by content.
pub struct Remembered<T> {
    inner: T,
    known: HashMap<LocalOp, OpCost>,
}

impl<T: OperatorTimes> Remembered<T> {
    /// Nothing known yet.
    pub fn new(inner: T) -> Self {
        Self { inner, known: HashMap::new() }
    }

    /// Operators known.
    pub fn known(&self) -> &HashMap<LocalOp, OpCost> {
        &self.known
    }

    /// Takes what is known from elsewhere.
    pub fn learn(&mut self, op: LocalOp, cost: OpCost) {
        self.known.insert(op, cost);
    }
}

impl<T: OperatorTimes> OperatorTimes for Remembered<T> {
    fn cost(&mut self, op: &LocalOp) -> Result<OpCost, ParallelError> {
        if let Some(cost) = self.known.get(op) {
            return Ok(*cost);
        }
        let cost = self.inner.cost(op)?;
        self.known.insert(*op, cost);
        Ok(cost)
    }
}
