//! Tensors: a name, a shape, an element type, and what the tensor is to the model.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// IEEE 754 binary32.
    F32,
    /// The upper half of binary32.
    Bf16,
    /// IEEE 754 binary16.
    F16,
    /// An 8-bit floating-point format (E4M3 or E5M2; the counts do not depend on which).
    Fp8,
    /// 8-bit integer.
    Int8,
    /// 4-bit integer, two to a byte.
    Int4,
    /// The 16 quantiles of a normal distribution (QLoRA, arXiv 2305.14314), two to a byte.
    Nf4,
    /// A 4-bit floating-point format (E2M1), two to a byte: the elements of MXFP4 and NVFP4.
    Fp4,
    /// An 8-bit exponent alone (E8M0): scales of MX formats.
    E8m0,
    /// 32-bit integer: token and position indices. Not a model's `dtype`.
    Int32,
}

impl DataType {
    /// Bits of one element.
    pub const fn bits(self) -> u64 {
        match self {
            Self::F32 | Self::Int32 => 32,
            Self::Bf16 | Self::F16 => 16,
            Self::Fp8 | Self::Int8 | Self::E8m0 => 8,
            Self::Int4 | Self::Nf4 | Self::Fp4 => 4,
        }
    }

    /// Bytes of a densely packed tensor of so many elements, rounded up to a whole byte; `None` where that exceeds `u64`.
    pub fn checked_bytes(self, elements: u64) -> Option<u64> {
        u64::try_from((u128::from(elements) * u128::from(self.bits())).div_ceil(8)).ok()
    }

    /// [`Self::checked_bytes`], saturating at `u64::MAX`.
    pub fn bytes(self, elements: u64) -> u64 {
        self.checked_bytes(elements).unwrap_or(u64::MAX)
    }

    /// The name that TOML uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::Nf4 => "nf4",
            Self::Fp4 => "fp4",
            Self::E8m0 => "e8m0",
            Self::Int32 => "int32",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a tensor is to the model: which tensors persist, and which flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorKind {
    /// A trained parameter: the same at every step.
    Weight,
    /// Produced and consumed within one step.
    Activation,
    /// Keys or values of past tokens: grows by the step's tokens, and persists.
    KvCache,
    /// Comes from outside the graph: token indices, or the hidden state where the embedding does not run.
    Input,
}

/// A tensor: dense, row-major, the last dimension the fastest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tensor {
    /// The name, unique among the tensors of one graph (`layer3.qkv.q`); the edges that carry it repeat it.
    pub name: String,
    /// Extents, slowest first.
    pub shape: Vec<u64>,
    /// Type of the elements.
    pub dtype: DataType,
    /// What the tensor is to the model.
    pub kind: TensorKind,
}

impl Tensor {
    /// A tensor.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<u64>>, dtype: DataType, kind: TensorKind) -> Self {
        Self { name: name.into(), shape: shape.into(), dtype, kind }
    }

    /// The product of the extents; `None` where it exceeds `u64`.
    pub fn checked_elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent))
    }

    /// The product of the extents, saturating at `u64::MAX`.
    pub fn elements(&self) -> u64 {
        self.checked_elements().unwrap_or(u64::MAX)
    }

    /// Bytes when densely packed, saturating at `u64::MAX`.
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes(self.elements())
    }
}
