//! A model on a GPU and a PIM device.

use banksia_hw::program::LaunchMode;
use banksia_workloads::{Generation, Model};

use super::capacity::{Cached, Reserved};
use super::half::Half;
use super::place::Places;
use super::site::Site;
use super::weights::{Copies, Weights};
use crate::gpu::model::GpuModel;
use crate::pim::{PimAttention, PimOperators};

/// A model on a GPU and a PIM device, ready to be lowered step by step.
#[derive(Debug, Clone)]
pub(super) struct Hybrid {
    pub(super) model: Model,
    pub(super) generation: Generation,
    pub(super) launch: LaunchMode,
    pub(super) site: Site,
    /// Kernels of the whole batch: the prompt's, and decode's where it is not cut.
    pub(super) whole: GpuModel,
    /// Kernels of parts of the batch; parts of equal size have the same.
    pub(super) parts: Vec<GpuModel>,
    pub(super) halves: Vec<Half>,
    /// Attention of decode runs on the GPU, where keys and values stay.
    pub(super) on_gpu: bool,
    /// What is in the banks, by layers that have alike attention.
    pub(super) cached: Vec<(Cached, PimAttention)>,
    pub(super) reserved: Reserved,
    /// Which device runs what.
    pub(super) places: Places,
    /// What the banks have beside keys and values, where they have more.
    pub(super) operators: Option<PimOperators>,
    pub(super) weights: Weights,
    pub(super) copies: Copies,
}
