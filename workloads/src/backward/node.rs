//! Operators of a training step, and the tensors that they read and write.

use serde::{Deserialize, Serialize};

use crate::activation::ActivationKind;
use crate::op::Op;
use crate::tensor::DataType;

/// An attention as one operator, from queries, keys and values to what is summed up; it saves the logarithm of each row's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: u64,
    /// Key heads.
    pub kv_heads: u64,
    /// Elements of a head of queries and keys.
    pub head_dim: u64,
    /// Elements of a head of values.
    pub value_dim: u64,
    /// Keys of a sequence.
    pub context: u64,
    /// A token sees only itself and those before it.
    pub causal: bool,
    /// A token sees so many tokens at most; 0 for all.
    pub window: u64,
}

/// What a node of a training step computes. Gradients are named after the operator of the forward pass whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "pass")]
#[non_exhaustive]
pub enum TrainOp {
    /// An operator of the forward pass.
    Forward {
        /// Which.
        of: Op,
    },
    /// Attention, forward.
    Attention(AttentionShape),
    /// Gradients of queries, keys and values, from those of the result; scores are computed again (arXiv 2307.08691, algorithm 2).
    AttentionGradient(AttentionShape),
    /// `dX = dY W`: `[b, t, out_features]` to `[b, t, in_features]`.
    InputGradient {
        /// Columns of the weight.
        in_features: u64,
        /// Rows of the weight.
        out_features: u64,
    },
    /// `dW = dYᵀ X`: `[out_features, in_features]`.
    WeightGradient {
        /// Columns of the weight.
        in_features: u64,
        /// Rows of the weight.
        out_features: u64,
    },
    /// The sum of a gradient over all tokens: that of a bias, or of the rows of a table of positions.
    BiasGradient {
        /// Elements of a token.
        width: u64,
    },
    /// The gradient of a norm's input.
    NormInputGradient {
        /// Elements that were normalised together.
        width: u64,
        /// A mean was taken off (layer norm).
        mean: bool,
    },
    /// Gradients of a norm's gain and shift: sums over all tokens.
    NormParameterGradient {
        /// Elements that were normalised together.
        width: u64,
        /// A mean was taken off.
        mean: bool,
        /// There is a shift.
        shift: bool,
    },
    /// The gradient of an activation's input.
    ActivationGradient {
        /// Which.
        kind: ActivationKind,
        /// Elements of a token.
        width: u64,
    },
    /// Gradients of both factors of a gated product.
    GatedMulGradient {
        /// Elements of a token.
        width: u64,
    },
    /// Rotation back.
    RotaryGradient {
        /// Query heads.
        heads: u64,
        /// Key heads.
        kv_heads: u64,
        /// Elements of a head.
        head_dim: u64,
        /// Elements of a head that are rotated.
        rotary_dim: u64,
    },
    /// Adds each token's gradient to its row of the table: `[vocab, width]`.
    EmbeddingGradient {
        /// Rows of the table.
        vocab: u64,
        /// Elements of a row.
        width: u64,
    },
    /// The logarithm of softmax over the vocabulary, and the mean of the targets' (cross entropy).
    CrossEntropy {
        /// Logits of a token.
        vocab: u64,
    },
    /// The gradient of the logits.
    CrossEntropyGradient {
        /// Logits of a token.
        vocab: u64,
    },
    /// The sum of two gradients of one activation.
    Accumulate {
        /// Elements of a token.
        width: u64,
    },
    /// A further gradient of a parameter is added to what is there.
    AccumulateParameter {
        /// Elements.
        elements: u64,
    },
    /// Gradients of the parts of a tensor are put together: queries, keys and values.
    JoinGradients {
        /// Parts.
        parts: u64,
        /// Elements of a token of the whole.
        width: u64,
    },
    /// As [`Self::InputGradient`], of products that each head has of its own.
    HeadInputGradient {
        /// Heads.
        heads: u64,
        /// Columns of a head's weight.
        in_features: u64,
        /// Rows of it.
        out_features: u64,
    },
    /// As [`Self::WeightGradient`], of products that each head has of its own.
    HeadWeightGradient {
        /// Heads.
        heads: u64,
        /// Columns of a head's weight.
        in_features: u64,
        /// Rows of it.
        out_features: u64,
    },
    /// As [`Self::InputGradient`], by experts.
    ExpertInputGradient {
        /// Experts.
        experts: u64,
        /// Columns of an expert's weight.
        in_features: u64,
        /// Rows of it.
        out_features: u64,
    },
    /// As [`Self::WeightGradient`], by experts.
    ExpertWeightGradient {
        /// Experts.
        experts: u64,
        /// Columns of an expert's weight.
        in_features: u64,
        /// Rows of it.
        out_features: u64,
    },
    /// Sums the gradients of a token's copies: the way back of a dispatch.
    DispatchGradient {
        /// Experts of a token.
        top_k: u64,
        /// Elements of a token.
        width: u64,
    },
    /// Spreads a token's gradient over its experts, weighted, and takes that of the weights: the way back of a combination.
    CombineGradient {
        /// Experts of a token.
        top_k: u64,
        /// Elements of a token.
        width: u64,
    },
    /// The gradient of the logits that experts were chosen by.
    RouteGradient {
        /// Experts.
        experts: u64,
        /// Experts of a token.
        top_k: u64,
    },
    /// Gradients of a causal convolution: of its input and of its taps.
    ConvGradient {
        /// Channels.
        channels: u64,
        /// Taps.
        kernel: u64,
        /// SiLU followed.
        silu: bool,
    },
    /// Gradients of a gated norm: of both inputs, and of the gain.
    GatedNormGradient {
        /// Elements.
        width: u64,
        /// Elements normalised together.
        group: u64,
    },
    /// Gradients of a recurrence or of linear attention, in chunks: of its inputs. Its states are computed again.
    RecurrenceGradient {
        /// The operator of the forward pass.
        of: Op,
    },
    /// Parameters, moments and gradients to parameters and moments.
    Update {
        /// Parameters.
        parameters: u64,
    },
}

impl TrainOp {
    /// Its name without parameters, as serialised.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Forward { of } => of.kind(),
            Self::Attention(_) => "attention",
            Self::AttentionGradient(_) => "attention_gradient",
            Self::InputGradient { .. } => "input_gradient",
            Self::WeightGradient { .. } => "weight_gradient",
            Self::BiasGradient { .. } => "bias_gradient",
            Self::NormInputGradient { .. } => "norm_input_gradient",
            Self::NormParameterGradient { .. } => "norm_parameter_gradient",
            Self::ActivationGradient { .. } => "activation_gradient",
            Self::GatedMulGradient { .. } => "gated_mul_gradient",
            Self::RotaryGradient { .. } => "rotary_gradient",
            Self::EmbeddingGradient { .. } => "embedding_gradient",
            Self::CrossEntropy { .. } => "cross_entropy",
            Self::CrossEntropyGradient { .. } => "cross_entropy_gradient",
            Self::Accumulate { .. } => "accumulate",
            Self::AccumulateParameter { .. } => "accumulate_parameter",
            Self::JoinGradients { .. } => "join_gradients",
            Self::HeadInputGradient { .. } => "head_input_gradient",
            Self::HeadWeightGradient { .. } => "head_weight_gradient",
            Self::ExpertInputGradient { .. } => "expert_input_gradient",
            Self::ExpertWeightGradient { .. } => "expert_weight_gradient",
            Self::DispatchGradient { .. } => "dispatch_gradient",
            Self::CombineGradient { .. } => "combine_gradient",
            Self::RouteGradient { .. } => "route_gradient",
            Self::ConvGradient { .. } => "conv_gradient",
            Self::GatedNormGradient { .. } => "gated_norm_gradient",
            Self::RecurrenceGradient { .. } => "recurrence_gradient",
            Self::Update { .. } => "update",
        }
    }
}

/// What a tensor of a training step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A parameter, of a layer or of the whole model.
    Parameter,
    /// Of the forward pass.
    Activation,
    /// Of an activation.
    Gradient,
    /// Of a parameter: it stays until that is updated.
    ParameterGradient,
    /// Indices, tables: there before the step.
    Outside,
}

/// A tensor of a training step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Value {
    /// Unique in a layer: `attention_norm`, `d_qkv`. [`HIDDEN`] and [`NEXT_HIDDEN`] are what layers hand on.
    pub name: String,
    /// Elements.
    pub elements: u64,
    /// Their type.
    pub dtype: DataType,
    /// What it is.
    pub role: Role,
}

/// The hidden state that a layer reads.
pub const HIDDEN: &str = "hidden";
/// The hidden state that a layer writes: the next one's [`HIDDEN`].
pub const NEXT_HIDDEN: &str = "next_hidden";
/// The gradient of [`HIDDEN`], and the one of [`NEXT_HIDDEN`].
pub const HIDDEN_GRADIENT: &str = "d_hidden";
/// See [`HIDDEN_GRADIENT`].
pub const NEXT_HIDDEN_GRADIENT: &str = "d_next_hidden";

impl Value {
    /// Bytes when densely packed.
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes(self.elements)
    }
}

/// One operator of a training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainNode {
    /// What it is in words, the same in every layer.
    pub label: String,
    /// What it computes.
    pub op: TrainOp,
    /// Sequences.
    pub batch: u64,
    /// Tokens of each.
    pub tokens: u64,
    /// Rows of each expert; empty where there are none.
    pub load: Vec<u64>,
    /// What it reads. Of a gradient: what the forward pass must keep for it is here, and nothing else of the forward pass.
    pub reads: Vec<Value>,
    /// What it writes.
    pub writes: Vec<Value>,
    /// What it needs while it runs only.
    pub scratch: Vec<Value>,
}

impl TrainNode {
    /// Tokens of all sequences.
    pub const fn rows(&self) -> u64 {
        self.batch.saturating_mul(self.tokens)
    }
}
