//! Mixtures of experts: how rows are spread over experts, the grouped products, and what frameworks launch around them.

pub mod call;
pub mod copying;
pub mod cutlass2;
pub mod format;
pub mod gradient;
pub mod hopper;
pub mod pieces;
pub mod routing;
pub mod torch;
pub mod triton;
pub mod trtllm;

pub use call::{MoeCall, MoeMemory};
pub use format::Format;
pub use torch::{grouped_input_gradient, grouped_mm, grouped_weight_gradient};

use banksia_hw::gpu::spec::GpuSpec;

use super::frameworks::Framework;
use super::launch::Item;

/// The launches of a framework's fused mixture; PyTorch has none: its products are [`grouped_mm`] between operators of their own.
///
/// # Errors
/// Sizes or numbers that the framework's kernels do not take.
pub fn mixture(framework: Framework, call: &MoeCall, spec: &GpuSpec, memory: &MoeMemory) -> Result<Vec<Item>, String> {
    match framework {
        Framework::Torch | Framework::Compiled => {
            Err("PyTorch has no fused mixture: its products are grouped_mm".into())
        }
        Framework::Vllm => triton::mixture(triton::Host::VllmLater, call, spec, memory),
        Framework::Sglang => triton::mixture(triton::Host::Sglang, call, spec, memory),
        Framework::Trtllm => trtllm::mixture(call, spec, memory),
    }
}
