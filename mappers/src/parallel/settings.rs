//! The `[parallel]` and `[train]` tables: how a model is spread over devices, and what a step of it is.

use serde::{Deserialize, Serialize};

pub(super) use crate::offload::Offload;

/// How a model is spread over devices. Every number is a count of ranks of that kind; the devices are `tp * cp * pp * dp` of them, and expert
/// ranks lie within `tp * cp * dp` (folding, arXiv 2504.14960).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parallel {
    /// Tensor parallel: ranks that a layer's weights and heads are cut over (Megatron-LM, arXiv 1909.08053).
    pub tp: u32,
    /// Sequence parallel: norms and dropout are cut over the tensor-parallel ranks by tokens (arXiv 2205.05198).
    pub sequence: bool,
    /// Pipeline parallel: stages.
    pub pp: u32,
    /// Virtual stages of a pipeline stage: chunks of layers that it interleaves (arXiv 2104.04473).
    pub virtual_stages: u32,
    /// Order in which a stage runs its micro batches.
    pub schedule: Schedule,
    /// Data parallel: replicas of the model.
    pub dp: u32,
    /// What data-parallel ranks share out among themselves (ZeRO, arXiv 1910.02054).
    pub zero: Zero,
    /// Groups of replicas that take steps of their own, and whose parameters are brought together now and then (`train.local_steps`): local SGD,
    /// SlowMo, CO2 (arXiv 2401.16265). The devices are as many times more; ZeRO shares out within a group.
    pub outer: u32,
    /// Expert parallel: ranks that the experts are cut over.
    pub ep: u32,
    /// Tensor parallel within an expert; 0 for as much as `tp`.
    pub expert_tp: u32,
    /// How tokens are put in the order of their experts, and back.
    pub dispatch: Dispatch,
    /// How rows go to the ranks of their experts, and back.
    pub exchange: Exchange,
    /// Rows that are sent to experts, per cent of those that are routed: less than 100 where tokens of a bucket of locality-sensitive hashing are
    /// sent as one, their mean, and get its result with what they differ from it (LSH-MoE, arXiv 2411.08446).
    pub expert_rows_pct: u32,
    /// Context parallel: ranks that a sequence is cut over.
    pub cp: u32,
    /// How attention sees the keys of other ranks' tokens.
    pub context: Context,
    /// Of `context = "hybrid"`: ranks that trade tokens for heads; the other factor of `cp` is the ring.
    pub ulysses: u32,
    /// The vocabulary's layers are spread over all pipeline stages (arXiv 2411.05288).
    pub vocabulary: bool,
    /// The embedding and the head each count as one layer when layers are shared out over stages.
    pub ends_count: bool,
    /// What runs beside computation.
    pub overlap: Overlap,
}

impl Default for Parallel {
    fn default() -> Self {
        Self {
            tp: 1,
            sequence: false,
            pp: 1,
            virtual_stages: 1,
            schedule: Schedule::OneForwardOneBackward,
            dp: 1,
            zero: Zero::None,
            outer: 1,
            ep: 1,
            expert_tp: 0,
            dispatch: Dispatch::Sparse,
            exchange: Exchange::Direct,
            expert_rows_pct: 100,
            cp: 1,
            context: Context::Ring,
            ulysses: 1,
            vocabulary: false,
            ends_count: false,
            overlap: Overlap::default(),
        }
    }
}

impl Parallel {
    /// Devices of a replica of the model.
    pub fn model_ranks(&self) -> u32 {
        self.tp * self.cp * self.pp
    }

    /// Devices of replicas that take the same steps.
    pub fn inner_ranks(&self) -> u32 {
        self.model_ranks() * self.dp
    }

    /// All devices.
    pub fn ranks(&self) -> u32 {
        self.inner_ranks() * self.outer
    }

    /// Tensor parallel within an expert.
    pub fn expert_tensor(&self) -> u32 {
        if self.expert_tp == 0 { self.tp } else { self.expert_tp }
    }

    /// Replicas of an expert's weights.
    pub fn expert_data(&self) -> u32 {
        (self.tp * self.cp * self.dp / (self.ep * self.expert_tensor()).max(1)).max(1)
    }
}

/// Order of the micro batches of a pipeline stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// All forward passes, then all backward passes (arXiv 1811.06965).
    Gpipe,
    /// One forward, one backward after a warm-up (PipeDream-flush, arXiv 2006.09503).
    #[serde(rename = "1f1b")]
    OneForwardOneBackward,
    /// The same over virtual stages (arXiv 2104.04473). `1f1b` of several virtual stages is this.
    Interleaved,
    /// Gradients of weights after those of inputs, in no more memory than 1F1B (arXiv 2401.10241).
    ZbH1,
    /// The same with so many more micro batches in flight that no bubble is left.
    ZbH2,
    /// The order that a greedy search finds within the memory of 1F1B (arXiv 2401.10241, ZB-1p).
    #[serde(rename = "zb-1p")]
    Zb1p,
    /// The same within twice that memory (ZB-2p).
    #[serde(rename = "zb-2p")]
    Zb2p,
    /// Two chunks a stage, placed as a V (arXiv 2405.15362, ZB-V), in the memory of 1F1B.
    ZbV,
}

impl Schedule {
    /// Whether gradients of weights are tasks of their own.
    pub const fn splits_backward(self) -> bool {
        matches!(self, Self::ZbH1 | Self::ZbH2 | Self::Zb1p | Self::Zb2p | Self::ZbV)
    }
}

/// What data-parallel ranks share out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Zero {
    /// Nothing: gradients are all-reduced, every rank updates all weights.
    #[default]
    None,
    /// Optimiser states (ZeRO-1, Megatron's distributed optimiser).
    Optimizer,
    /// Gradients too (ZeRO-2).
    Gradients,
    /// Weights too: gathered before each use (ZeRO-3, FSDP).
    Weights,
}

/// How attention sees the keys of other context-parallel ranks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// Keys and values go round a ring beside the products with them (arXiv 2310.01889).
    #[default]
    Ring,
    /// Queries go round in place of keys and values, and results come back the other way: both directions of the links are used (TokenRing, arXiv 2412.20501).
    TokenRing,
    /// An all-to-all trades tokens for heads (DeepSpeed-Ulysses, arXiv 2309.14509).
    Ulysses,
    /// Heads are traded among `ulysses` ranks, and keys and values go round a ring of the others (USP, arXiv 2405.07719).
    Hybrid,
    /// Keys and values are gathered before attention (Llama 3, arXiv 2407.21783).
    AllGather,
}

/// How tokens are put in the order of their experts, and back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dispatch {
    /// Rows are copied to where their experts find them (Tutel's fast encode and decode, Megatron-Core's permutation).
    #[default]
    Sparse,
    /// Products with a mask of tokens by places of all experts, most of which is zeros (GShard, arXiv 2006.16668; Fairseq).
    Dense,
}

/// How rows go to the ranks of their experts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exchange {
    /// Each rank to each.
    #[default]
    Direct,
    /// Within the node first, then from node to node among ranks of the same place: fewer, longer messages (Tutel's 2DH, arXiv 2206.03382).
    Levels,
}

/// When the parameters of groups that take steps of their own are brought together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OuterSum {
    /// The next step waits for the sum (local SGD, arXiv 1805.09767; SlowMo, arXiv 1910.00643).
    #[default]
    Waits,
    /// It runs beside the next `local_steps` steps, which begin with what there is (CO2, arXiv 2401.16265).
    Delayed,
}

/// What communication runs beside computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Overlap {
    /// All-reduces of input gradients beside the products of weight gradients.
    pub tensor_gradients: bool,
    /// Gathers and scatters of sequence parallelism in pieces beside the products that need them (user buffers).
    pub tensor: bool,
    /// Gradients are reduced layer by layer beside the last backward pass.
    pub gradients: bool,
    /// Weights of a sharded optimiser are gathered beside the next forward pass.
    pub parameters: bool,
    /// Sends and receives between stages, which no stream waits for.
    pub pipeline: bool,
    /// Dispatch and combination of experts beside the shared part.
    pub experts: bool,
    /// Pieces that the rows of experts are cut in, so that products of one run beside the exchange of others (Tutel, arXiv 2206.03382); 1 for none.
    pub expert_pieces: u32,
}

impl Default for Overlap {
    fn default() -> Self {
        Self {
            tensor_gradients: true,
            tensor: false,
            gradients: false,
            parameters: false,
            pipeline: false,
            experts: false,
            expert_pieces: 1,
        }
    }
}

/// What a training step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Sequences of a micro batch.
    pub micro_batch: u32,
    /// Sequences of a step, over all replicas.
    pub global_batch: u32,
    /// Tokens of a sequence.
    pub sequence: u32,
    /// What is computed again in the backward pass.
    pub recompute: Recompute,
    /// What updates the weights.
    pub optimizer: Optimizer,
    /// Types of products.
    pub precision: Precision,
    /// Attention, residuals and embeddings drop elements by chance (a model's file does not say).
    pub dropout: bool,
    /// Rows that gradients of matrices are projected to; of `optimizer = "low-rank"` and `"low-rank-8bit"`.
    pub rank: u32,
    /// Each layer's weights are updated as soon as its gradients are there, which are then dropped (LOMO, arXiv 2306.09782; GaLore's single-GPU runs).
    pub layerwise: bool,
    /// Where the optimiser's states are, and who updates.
    pub offload: Offload,
    /// Steps of a group of replicas between two sums over the groups (`parallel.outer`).
    pub local_steps: u32,
    /// What waits for that sum.
    pub outer_sum: OuterSum,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            micro_batch: 1,
            global_batch: 1,
            sequence: 2048,
            recompute: Recompute::None,
            optimizer: Optimizer::Adam,
            precision: Precision::Bf16,
            dropout: false,
            rank: 128,
            layerwise: false,
            offload: Offload::None,
            local_steps: 1,
            outer_sum: OuterSum::Waits,
        }
    }
}

/// Activations that are computed again in place of being kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Recompute {
    /// None.
    #[default]
    None,
    /// The core of attention: scores, softmax, dropout, values (arXiv 2205.05198).
    Selective,
    /// Every layer, from its input (arXiv 1604.06174).
    Full,
}

/// What updates the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Adam or AdamW: two moments of four bytes beside weights of four.
    #[default]
    Adam,
    /// The same with moments of one byte (arXiv 2110.02861).
    Adam8bit,
    /// Momentum only.
    Sgd,
    /// Adam on gradients of matrices that are projected to `rank` rows (GaLore, arXiv 2403.03507).
    LowRank,
    /// The same with moments and projections of one byte (8-bit GaLore).
    #[serde(rename = "low-rank-8bit")]
    LowRank8bit,
    /// Second moments as sums of rows and of columns, no first moment (Adafactor, arXiv 1804.04235).
    Adafactor,
    /// Momentum whose matrices are made orthogonal by five Newton-Schulz steps (Muon, 2024); vectors and tables by Adam.
    Muon,
    /// Only adapters of low rank are trained (LoRA): gradients and states of the weights themselves fall away.
    Frozen,
}

/// Types of products.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// bfloat16, sums and updates in single precision.
    #[default]
    Bf16,
    /// IEEE half precision with a loss scale.
    Fp16,
    /// bfloat16 throughout: weights, gradients and moments.
    Bf16Pure,
    /// Eight bits in the layers' products, bfloat16 elsewhere.
    Fp8,
}
