//! Number formats: of weights, of activations, of the cache, of sums.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attention::{is_false, is_zero};
use crate::tensor::DataType;

/// The element types of a model. A type belongs to a tensor: products take weights and activations of different types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Types {
    /// Weights of the layers' products.
    pub weights: WeightFormat,
    /// Activations, embeddings, norms and whatever `weights` does not reach.
    pub activations: DataType,
    /// Operands of products: a narrower type that `activations` are converted to before (fp8, int8, fp4). As they are where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operands: Option<DataType>,
    /// Keys and values, latent vectors.
    pub cache: DataType,
    /// States of recurrences.
    #[serde(default = "f32")]
    pub state: DataType,
    /// Sums of products.
    #[serde(default = "f32")]
    pub accumulators: DataType,
}

const fn f32() -> DataType {
    DataType::F32
}

impl Types {
    /// All of one type, sums and states in 32 bits.
    pub const fn uniform(dtype: DataType) -> Self {
        Self {
            weights: WeightFormat::plain(dtype),
            activations: dtype,
            operands: None,
            cache: dtype,
            state: DataType::F32,
            accumulators: DataType::F32,
        }
    }

    /// What the operands of products are.
    pub fn operands(&self) -> DataType {
        self.operands.unwrap_or(self.activations)
    }
}

/// Which products have weights in the format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Those of layers, except routers; not the vocabulary projection.
    #[default]
    Layers,
    /// Those of experts alone.
    Experts,
    /// Those of feed-forward layers and experts.
    FeedForward,
    /// All, with the vocabulary projection.
    All,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightFormat {
    /// Element type.
    pub dtype: DataType,
    /// Elements along the depth that share a scale; 0 for all of a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub group: u64,
    /// Rows that share a scale; 0 for one, if there are groups, or else for all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub group_rows: u64,
    /// Type of the scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<DataType>,
    /// Groups have zero points too, as wide as an element.
    #[serde(default, skip_serializing_if = "is_false")]
    pub zero_points: bool,
    /// Elements of a group of which `kept` are kept, with their places: 4 of 2:4 sparsity; 0 for dense.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub of: u64,
    /// Elements that are kept of each `of`: 2 of 2:4 sparsity; 0 for dense.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept: u64,
    /// Columns in ten thousand whose products stay in 16 bits (LLM.int8()).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outliers_per_10000: u64,
    /// Rank of a pair of thin matrices beside each product (LoRA); 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub adapter_rank: u64,
    /// Rank of a pair of thin matrices in place of each product; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub low_rank: u64,
    /// Which products have weights of this format.
    #[serde(default)]
    pub reach: Reach,
}

impl WeightFormat {
    /// A type, without scales.
    pub const fn plain(dtype: DataType) -> Self {
        Self {
            dtype,
            group: 0,
            group_rows: 0,
            scale: None,
            zero_points: false,
            of: 0,
            kept: 0,
            outliers_per_10000: 0,
            adapter_rank: 0,
            low_rank: 0,
            reach: Reach::Layers,
        }
    }

    /// Bits of a matrix `[rows, columns]` with scales, zero points and places of kept elements.
    pub fn bits(&self, rows: u64, columns: u64) -> u128 {
        let wide = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let elements = wide(rows, columns);
        let (stored, places) = match (self.kept, self.of) {
            (kept, of) if kept > 0 && of > kept => {
                let kept_elements = (elements * u128::from(kept)).div_ceil(u128::from(of));
                // An index into the group for each that is kept.
                let index = u128::from(u64::BITS - (of - 1).leading_zeros());
                (kept_elements, kept_elements * index)
            }
            _ => (elements, 0),
        };
        let groups = if self.group == 0 && self.group_rows == 0 {
            u128::from(self.scale.is_some())
        } else {
            let along = if self.group == 0 { 1 } else { columns.div_ceil(self.group) };
            wide(rows.div_ceil(self.group_rows.max(1)), along)
        };
        let scale = self.scale.map_or(0, |s| u128::from(s.bits()));
        let zero = if self.zero_points { u128::from(self.dtype.bits()) } else { 0 };
        stored * u128::from(self.dtype.bits()) + places + groups * (scale + zero)
    }

    /// Bytes of a matrix `[rows, columns]`.
    pub fn bytes(&self, rows: u64, columns: u64) -> u64 {
        u64::try_from(self.bits(rows, columns).div_ceil(8)).unwrap_or(u64::MAX)
    }

    /// Whether elements must be converted before matrix units multiply them with operands of a type.
    pub fn converts(&self, operands: DataType) -> bool {
        self.dtype != operands
    }
}
