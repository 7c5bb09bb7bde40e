//! A model in the banks of a machine.

use banksia_workloads::{Generation, GptConfig, Graph};

use super::attention::PimAttention;
use super::banks::Banks;
use super::layout::Layout;
use crate::pim_gpt::functions::Functions;

/// A model laid out in the banks.
#[derive(Debug, Clone)]
pub struct Pim {
    pub(super) model: GptConfig,
    pub(super) generation: Generation,
    pub(super) banks: Banks,
    pub(super) layout: Layout,
    pub(super) attention: PimAttention,
    pub(super) functions: Functions,
    /// The step of one token of every sequence, with and without what follows the last layer.
    pub(super) last_token: Graph,
    pub(super) inner_token: Graph,
    pub(super) activations: u64,
    pub(super) peak_macs_per_s: f64,
    pub(super) peak_bytes_per_s: f64,
}
