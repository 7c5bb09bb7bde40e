//! Element-wise non-linearities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An element-wise non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActivationKind {
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, as GPT-2 computes it (Hendrycks and Gimpel, arXiv 1606.08415).
    Gelu,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `max(x, 0)^2`.
    Relu2,
    /// `tanh(x)`: caps of scores and logits.
    Tanh,
    /// `1 / (1 + exp(-x))`: gates.
    Sigmoid,
    /// `log(1 + exp(x))`: time steps.
    Softplus,
}
