//! `[parallel]` of an experiment that generates: how a model is spread over ranks.

use banksia_hw::net::fabric::call::Kernels;
use banksia_hw::program::LaunchMode;
use banksia_input::{InputError, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gpu::frameworks::Framework;
use crate::gpu::model::{AttentionKernels, GpuOptions};
use crate::space::{Knob, of_values};

/// How a model is spread over the ranks of a cluster. Every number is a count of ranks of that kind; there are `tp * pp * dp` of them, and the
/// ranks of experts lie among the `tp * dp` of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ranks {
    /// Tensor parallel: ranks that a layer's heads, columns and rows, and the vocabulary, are divided over (Megatron-LM, arXiv 1909.08053).
    #[schemars(range(min = 1))]
    pub tp: i64,
    /// Sequence parallel: in prefill, what stands between the products is divided over the tensor-parallel ranks by tokens (arXiv 2205.05198).
    pub sequence: bool,
    /// Pipeline parallel: stages of consecutive layers.
    #[schemars(range(min = 1))]
    pub pp: i64,
    /// Parts of a replica's batch that are in the pipeline at once. As many as there are stages where it is left out, or the most below
    /// that which divide the batch.
    #[schemars(range(min = 1))]
    pub micro_batches: Option<i64>,
    /// Data parallel: replicas, each with an equal part of the batch.
    #[schemars(range(min = 1))]
    pub dp: i64,
    /// Expert parallel: ranks that a layer's experts are divided over. A divisor of `tp`, whose ranks all see the same tokens; or `tp * dp`,
    /// whose replicas send tokens to the ranks of their experts and back (attention data parallel).
    #[schemars(range(min = 1))]
    pub ep: i64,
    /// Which experts a rank has.
    pub placement: Placement,
    /// Copies of experts beside one of each: those with most rows are on several ranks, which share their rows (redundant experts of DeepSeek-V3, arXiv 2412.19437,
    /// section 3.4). A multiple of `ep`, so that all ranks have as many.
    #[schemars(range(min = 0))]
    pub redundant_experts: i64,
    /// Whose kernels carry tokens to their experts, where replicas exchange them.
    pub exchange: Exchange,
    /// Which sums a layer's parts wait for.
    pub residual: Residual,
    /// Every rank is simulated by itself, where those that do the same are otherwise simulated once: as slow as there are ranks, and to
    /// check that the result is the same.
    pub unfolded: bool,
}

/// `[parallel]` of an experiment.
///
/// # Errors
/// It cannot be read.
pub(super) fn written(source: &Source) -> Result<Ranks, InputError> {
    #[derive(Default, Deserialize)]
    struct Outer {
        #[serde(default)]
        parallel: Ranks,
    }
    Ok(source.parse::<Outer>()?.parallel)
}

impl Default for Ranks {
    fn default() -> Self {
        Self {
            tp: 1,
            sequence: false,
            pp: 1,
            micro_batches: None,
            dp: 1,
            ep: 1,
            placement: Placement::default(),
            redundant_experts: 0,
            exchange: Exchange::default(),
            residual: Residual::default(),
            unfolded: false,
        }
    }
}

/// Which experts a rank has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Consecutive ones.
    #[default]
    Contiguous,
    /// The next rank the next expert, in turn.
    RoundRobin,
    /// The expert with most rows to the rank that has fewest so far, and has room: what a balancer of known loads does.
    Balanced,
}

/// Which sums over tensor-parallel ranks a layer's parts wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Residual {
    /// Each part for the sum of the one before.
    #[default]
    Standard,
    /// Each part for the sum of the one before that: the last goes beside it (Ladder-residual, arXiv 2501.06589; a model is trained for it).
    Ladder,
}

/// Whose kernels carry tokens to their experts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// DeepEP's: normal kernels for prompts, low-latency ones for single tokens.
    #[default]
    Deepep,
    /// All-to-alls of NCCL.
    Nccl,
    /// The same in two levels: within nodes, then between them among ranks of the same place (the hierarchical all-to-all of DeepSpeed-MoE, arXiv
    /// 2201.05596; Tutel's 2DH, arXiv 2206.03382).
    Levels,
}

/// Whose kernels sum over tensor-parallel ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AllReduce {
    /// NCCL's, launched from the framework's own graph.
    Nccl,
    /// NCCL's, launched by PyTorch's `ProcessGroupNCCL`.
    Torch,
    /// A kernel over peers' memory as far as it is faster, else NCCL's.
    Custom,
    /// PyTorch's kernels over symmetric memory, of one or two shots, as far as they are faster.
    Symmetric,
}

impl AllReduce {
    /// What a framework takes where nothing is said.
    pub const fn of(framework: Framework) -> Self {
        match framework {
            Framework::Torch | Framework::Compiled => Self::Torch,
            Framework::Vllm | Framework::Sglang | Framework::Trtllm => Self::Custom,
        }
    }

    pub(super) const fn kernels(self) -> Kernels {
        match self {
            Self::Nccl => Kernels::Nccl,
            Self::Torch => Kernels::Torch,
            Self::Custom => Kernels::Custom,
            Self::Symmetric => Kernels::Symmetric,
        }
    }

    /// Of collectives that are no all-reduce.
    pub(super) const fn others(self) -> Kernels {
        match self {
            Self::Torch | Self::Symmetric => Kernels::Torch,
            Self::Nccl | Self::Custom => Kernels::Nccl,
        }
    }
}

/// The options of the mapping, as the table `[mapping]` writes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) struct ClusterOptions {
    /// How kernels are launched.
    #[serde(default)]
    pub(super) launch: LaunchMode,
    /// Which kernels compute attention.
    #[serde(default)]
    pub(super) attention: AttentionKernels,
    /// Whose kernels compute attention, and what they fuse.
    #[serde(default)]
    pub(super) framework: Framework,
    /// Whose kernels sum over tensor-parallel ranks; the framework's where it is left out.
    pub(super) all_reduce: Option<AllReduce>,
}

impl ClusterOptions {
    pub(super) const fn of_gpu(self) -> GpuOptions {
        GpuOptions { launch: self.launch, attention: self.attention, framework: self.framework }
    }

    pub(super) fn sums(self) -> AllReduce {
        self.all_reduce.unwrap_or_else(|| AllReduce::of(self.framework))
    }
}

/// What can sum over ranks.
pub(super) fn all_reduces() -> Knob {
    let values = of_values(["torch", "nccl", "custom", "symmetric"]);
    let knob = Knob::whole("all_reduce", "whose kernels sum over tensor-parallel ranks", values);
    Knob { default: None, ..knob }
}
