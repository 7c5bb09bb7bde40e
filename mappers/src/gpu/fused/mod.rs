//! Row operators that a framework fuses: sums with norms, rotations, gates; and those that PyTorch launches one by one between them.
//!
//! Matrices are of 16 bits unless a function says otherwise; tensors of a kernel are in the order that its function gives.

mod norms;
pub(crate) mod program;
mod reduce;
mod rotation;
mod softmax;
mod torch;

pub use norms::{Norm, NormCall, norm};
pub use reduce::{Reduction, reduce_rows};
pub use rotation::{Rotation, gated, rotary};
pub use softmax::softmax_rows;
pub use torch::{Cost, Pointwise, Way, by_chance, convert, fill, gather_rows, memcpy, memset, pointwise, strided_copy};

/// Who wrote a fused row kernel: how its rows lie over CTAs and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowWriter {
    /// Triton: a CTA holds a whole row, padded to a power of two, in registers.
    Triton,
    /// CUDA of vLLM, which SGLang and TensorRT-LLM resemble: up to 1024 threads a row of few, 256 of many, vectors of 16 bytes.
    Cuda,
}
