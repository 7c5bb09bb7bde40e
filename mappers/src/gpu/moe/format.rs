//! In which numbers the weights and activations of a mixture are.

use banksia_hw::gpu::program::{Dtype, VectorWork};

/// Numbers of weights, and of what they are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Both in 16 bits.
    Bf16,
    /// Both in 8 bits, a scale for a tensor.
    Fp8,
    /// Both in 8 bits, a scale for 128 of a row and for 128 x 128 weights.
    Fp8Block,
    /// Weights of 4 bits, a scale of 16 bits for so many of them; activations of 16 bits.
    Weights4 {
        /// Weights that share a scale.
        group: u32,
    },
    /// Weights of 4 bits with 8-bit scales of 32 (MXFP4), activations of 16 bits.
    Mxfp4,
    /// The same with activations of 8 bits.
    Mxfp4Fp8,
    /// Weights of 4 bits with scales of 128, activations of 8 bits.
    Weights4Fp8,
    /// Both of 4 bits with 8-bit scales of 16.
    Nvfp4,
}

impl Format {
    /// What the matrix units multiply.
    pub fn multiplied(self) -> Dtype {
        match self {
            Self::Bf16 | Self::Weights4 { .. } | Self::Mxfp4 => Dtype::Bf16,
            Self::Fp8 | Self::Fp8Block | Self::Mxfp4Fp8 | Self::Weights4Fp8 | Self::Nvfp4 => Dtype::Fp8,
        }
    }

    /// Bits of a weight in memory, without its share of a scale.
    pub fn weight_bits(self) -> u32 {
        match self {
            Self::Bf16 => 16,
            Self::Fp8 | Self::Fp8Block => 8,
            Self::Weights4 { .. } | Self::Mxfp4 | Self::Mxfp4Fp8 | Self::Weights4Fp8 | Self::Nvfp4 => 4,
        }
    }

    /// Activations are converted to 8 bits before a product.
    pub fn quantises(self) -> bool {
        self.multiplied() == Dtype::Fp8
    }
}

/// Lane operations that turn so many weights of four bits into what is multiplied: a mask and a shift-or (`lop3`) for two, a subtraction and a product
/// with the scale for two (`vllm`'s `dequant.h`, CUTLASS's mixed-input conversion).
pub fn dequantise(weights: f64) -> VectorWork {
    let (alu, fma) = (weights * 0.75, weights);
    VectorWork { issue: (alu + fma) / 32.0 * 1.1, fma, alu, latency_cycles: 20.0, ..VectorWork::default() }
}
