//! A model laid out in the banks of a PIM machine.

use banksia_workloads::{Generation, Graph, Model};

use super::accepts::Owners;
use super::functions::Functions;
use super::geometry::Geometry;
use super::layout::Layout;

/// A model laid out on a PIM machine, ready to be lowered step by step.
#[derive(Debug, Clone)]
pub struct PimGpt {
    pub(super) model: Model,
    pub(super) owners: Owners,
    pub(super) generation: Generation,
    pub(super) geometry: Geometry,
    pub(super) layout: Layout,
    pub(super) functions: Functions,
    pub(super) sram_bytes: u64,
    /// A tile's sums take one of so many parts of it at most.
    pub(super) tile_part: u64,
    /// The whole step of one token, with and without what follows the last layer.
    pub(super) last_token: Graph,
    pub(super) inner_token: Graph,
    /// Operators differ from one context to the next in it alone.
    pub(super) moves: bool,
    pub(super) peak_macs_per_s: f64,
    pub(super) peak_bytes_per_s: f64,
}
