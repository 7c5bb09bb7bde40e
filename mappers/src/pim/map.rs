//! A model in the banks of a machine.

use banksia_workloads::{Generation, Graph, Model};

use super::banks::Banks;
use super::layout::Layout;
use crate::pim_gpt::functions::Functions;

/// A model laid out in the banks.
#[derive(Debug, Clone)]
pub struct Pim {
    pub(super) model: Model,
    pub(super) generation: Generation,
    pub(super) banks: Banks,
    pub(super) layout: Layout,
    /// Sequences of a batch that go through a step together.
    pub(super) wave: u64,
    pub(super) functions: Functions,
    /// The step of one token of every sequence, with and without what follows the last layer.
    pub(super) last_token: Graph,
    pub(super) inner_token: Graph,
    /// Operators differ from one context to the next in it alone.
    pub(super) moves: bool,
    pub(super) activations: u64,
    pub(super) peak_macs_per_s: f64,
    pub(super) peak_bytes_per_s: f64,
}
