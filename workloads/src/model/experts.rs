//! Mixtures of experts: who is routed where.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attention::{is_false, is_zero};
use crate::activation::ActivationKind;

/// A mixture of experts: each token goes to `top_k` of `experts` feed-forward layers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpertsSpec {
    /// Routed experts.
    pub experts: u64,
    /// Experts of a token.
    pub top_k: u64,
    /// Elements of an expert's inner state.
    pub inner: u64,
    /// Elements of the inner state of what every token passes, beside the routed ones: shared experts, or a dense layer; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shared_inner: u64,
    /// The shared part is multiplied with a sigmoid of its own projection to one number (Qwen2-MoE).
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared_gate: bool,
    /// Experts' non-linearity.
    pub activation: ActivationKind,
    /// Experts multiply an activated gate with an up projection.
    #[serde(default = "yes")]
    pub gated: bool,
    /// Experts' products add biases (gpt-oss).
    #[serde(default, skip_serializing_if = "is_false")]
    pub bias: bool,
    /// How the router scores.
    #[serde(default)]
    pub router: Router,
    /// The router adds a bias to its logits.
    #[serde(default, skip_serializing_if = "is_false")]
    pub router_bias: bool,
    /// Elements of the hidden state that experts work on, between two projections of their own (Nemotron 3's latent experts); 0 for the model's width.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub latent_width: u64,
    /// Tokens that an expert takes at most, in per cent of an even share; what is more is dropped. 0 for dropless.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub capacity_percent: u64,
}

const fn yes() -> bool {
    true
}

/// How a router turns logits into experts and weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Router {
    /// Softmax over all experts, then the largest (Mixtral takes the softmax of the largest: as many operations, fewer elements).
    #[default]
    Softmax,
    /// Sigmoid, with a learned bias that corrects the choice (DeepSeek-V3).
    SigmoidBiased,
    /// Sigmoid of the largest (Llama 4).
    Sigmoid,
}

/// Which experts tokens choose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "distribution", deny_unknown_fields)]
pub enum Routing {
    /// All equally often, as near as whole tokens allow.
    #[default]
    Balanced,
    /// Each token chooses by chance, all experts being as likely.
    Uniform {
        /// Of the random stream.
        #[serde(default)]
        seed: u64,
    },
    /// Expert i of a random order has a share in proportion to a power-law sample: `(1 - u)^(-1 / (alpha - 1))`-like weights drawn by chance.
    PowerLaw {
        /// The exponent.
        alpha: f64,
        /// Of the random stream.
        #[serde(default)]
        seed: u64,
    },
    /// The i-th most popular expert has a share in proportion to `1 / i^exponent`.
    Zipf {
        /// The exponent.
        exponent: f64,
        /// Of the random stream.
        #[serde(default)]
        seed: u64,
    },
    /// Shares of experts, in any unit: as many as there are experts.
    Shares {
        /// One an expert.
        shares: Vec<f64>,
        /// Of the random stream.
        #[serde(default)]
        seed: u64,
    },
}
