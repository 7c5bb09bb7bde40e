//! What a plan of a model on ranks holds.

use banksia_hw::system::Machine;
use banksia_workloads::Generation;

use super::layout::Layout;
use super::ranks::{ClusterOptions, Ranks};
use crate::gpu::model::GpuModel;

/// A model on ranks, ready to be lowered step by step.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// Of all sequences, and of those of one part of a replica's batch.
    pub(super) generation: Generation,
    pub(super) own: Generation,
    pub(super) ranks: Ranks,
    pub(super) options: ClusterOptions,
    pub(super) layout: Layout,
    /// Elements of the hidden state.
    pub(super) width: u64,
    /// Experts of a token.
    pub(super) top_k: u32,
    /// By role.
    pub(super) models: Vec<GpuModel>,
    pub(super) machine: Machine,
}
