//! A model on a GPU, and the options of its mapping.

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::gpu::GpuSpec;
use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::program::LaunchMode;
use banksia_workloads::shard::Shard;
use banksia_workloads::{Generation, Model, Phase, Step, StepGraph};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::frameworks::Framework;
use super::super::launch::Launch;
use super::part::{PartKey, Work};
use crate::space::{Knob, of_values};

/// Which kernels compute attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttentionKernels {
    /// One fused kernel: FlashAttention-3 in prefill where the device has `wgmma`, else -2; split-KV in decode.
    #[default]
    Flash,
    /// Batched product, softmax, batched product. Keys lie in caches of a multiple of eight tokens, so that rows are aligned.
    Plain,
}

/// The options of the mapping, as the table `[mapping]` writes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct GpuOptions {
    /// How kernels are launched.
    #[serde(default)]
    pub launch: LaunchMode,
    /// Which kernels compute attention.
    #[serde(default)]
    pub attention: AttentionKernels,
    /// Whose kernels compute attention, and what they fuse.
    #[serde(default)]
    pub framework: Framework,
}

/// What can be chosen.
pub(super) fn space() -> Vec<Knob> {
    let [launch, attention] = launches();
    let framework = Knob::whole(
        "framework",
        "whose kernels compute attention, and what they fuse",
        of_values(Framework::ALL.map(Framework::name)),
    );
    vec![framework, launch, attention]
}

/// How kernels are launched, and which compute attention.
pub(crate) fn launches() -> [Knob; 2] {
    let launch =
        Knob::whole("launch", "kernels as a graph, or one by one from the host", of_values(["graph", "eager"]));
    let attention = Knob::whole(
        "attention",
        "attention as one fused kernel, or as two products and a softmax",
        of_values(["flash", "plain"]),
    );
    [launch, attention]
}

/// A model on a GPU, ready to be lowered step by step.
#[derive(Debug, Clone)]
pub struct GpuModel {
    pub(super) model: Model,
    pub(super) generation: Generation,
    pub(super) spec: Arc<GpuSpec>,
    pub(super) options: GpuOptions,
    pub(super) dtype: Dtype,
    /// What each part of a step is launched as.
    pub(super) chosen: HashMap<PartKey, Arc<[Launch]>>,
    /// Kernels of each kind of work, and whether a product's first operand is its second.
    pub(super) kernels: HashMap<(Phase, Work), Chosen>,
    pub(super) activations: u64,
    /// What it has of a model that several ranks share; the model is then of the rank's sizes.
    pub(super) shard: Option<Arc<Shard>>,
}

impl GpuModel {
    /// The graph of a step, with the collectives where the model is shared.
    pub(crate) fn graph(&self, step: &Step) -> StepGraph {
        match &self.shard {
            Some(shard) => shard.graph(step, &self.generation),
            None => self.model.graph(step, &self.generation),
        }
    }
}

/// Kernels, and whether a product's operands are swapped.
pub(super) type Chosen = (Arc<[Arc<Kernel>]>, bool);
