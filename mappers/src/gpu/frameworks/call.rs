//! What a framework is asked for, and what several of them share.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::super::attention::{Attention, SplitDecode, split_decode};

/// One attention as a framework is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionCall {
    /// Sizes and types.
    pub attention: Attention,
    /// Of prompts; else one new token a sequence. One query a sequence is decode in any case: libraries pack the heads that share keys.
    pub prefill: bool,
    /// By the framework's kernels in Triton, in place of its first choice.
    pub triton: bool,
    /// The cache has keys only, and values are read where they are: measurements of TensorRT-LLM before 1.3 (`docs/gpu.md`).
    pub keys_only: bool,
}

impl AttentionCall {
    /// An attention over a cache with keys and values, by the framework's first choice of kernels.
    pub fn new(attention: Attention, prefill: bool) -> Self {
        Self { attention, prefill, triton: false, keys_only: false }
    }

    /// Whether it is of prompts, by more than one query a sequence.
    pub(super) fn of_prompt(&self) -> bool {
        self.prefill && self.attention.queries > 1
    }
}

/// Decode of kernels written in Triton: 64 or 128 keys a block, two CTAs an SM.
pub(super) fn triton_decode(a: &Attention, spec: &GpuSpec) -> Vec<Kernel> {
    let keys = if a.head_dim > 128 { 64 } else { 128 };
    split_decode(a, spec, SplitDecode { rows: 64, keys, stages: 1, per_sm: 2, packed: true })
}

/// The same attention in 16 bits: kernels without a path of eight.
pub(super) fn in_16_bits(a: &Attention) -> Attention {
    Attention { dtype: a.wide(), kv_bytes: 2, ..*a }
}
