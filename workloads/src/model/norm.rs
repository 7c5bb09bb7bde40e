//! What normalises a hidden state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A normalisation over the last dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Mean and variance, with gain and shift.
    LayerNorm,
    /// Mean and variance, with gain alone (Cohere, MPT without biases).
    LayerNormNoShift,
    /// Mean and variance, without parameters (OLMo).
    LayerNormPlain,
    /// Root mean square, with gain.
    RmsNorm,
}

impl Norm {
    /// Parameters of a norm over so many elements.
    pub const fn parameters(self, width: u64) -> u64 {
        match self {
            Self::LayerNorm => width.saturating_mul(2),
            Self::LayerNormNoShift | Self::RmsNorm => width,
            Self::LayerNormPlain => 0,
        }
    }
}
