//! What frameworks launch: kernels of one attention, kernels before a product of eight bits, and whose products they call.
//!
//! One definition for the models that are run and for the rows that these are held to. How a framework's operators are *measured*
//! (copies of operands, replays, warm caches) is not here.

mod call;
mod sglang;
mod torch;
mod trtllm;
mod vllm;

use std::fmt;
use std::str::FromStr;

use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::gpu::spec::GpuSpec;
use banksia_input::InputError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use call::AttentionCall;

use super::gemm::Gemm;
use super::libraries::Library;
use super::quantise;

/// Who launches the kernels of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Framework {
    /// PyTorch: FlashAttention over contiguous caches, cuBLAS.
    #[default]
    Torch,
    /// PyTorch with FlashAttention-2 of its own, products that share an input as one, and operators on rows fused as `torch.compile` fuses them.
    Compiled,
    /// vLLM: FlashAttention over pages; CUTLASS for products of eight bits.
    Vllm,
    /// SGLang: FlashAttention-3 on all devices; its own kernel library for products of eight bits.
    Sglang,
    /// TensorRT-LLM: attention kernels of its own in decode; cuBLAS.
    Trtllm,
}

impl Framework {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Torch, Self::Compiled, Self::Vllm, Self::Sglang, Self::Trtllm];

    /// The name as files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Compiled => "compiled",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Trtllm => "trtllm",
        }
    }

    /// Whether the launches of [`attention`] write new keys and values into the cache; with PyTorch that is an operator by itself.
    pub fn writes_cache(self) -> bool {
        !matches!(self, Self::Torch | Self::Compiled)
    }

    /// Whether Python calls the operators where they are not a graph; TensorRT-LLM's engine is compiled code.
    pub fn is_python(self) -> bool {
        self != Self::Trtllm
    }

    /// Whether sums, norms, gates and rotations are fused into kernels of rows, and products of the same input are one.
    pub fn fuses_rows(self) -> bool {
        self != Self::Torch
    }

    /// Whether the launches of [`attention`] rotate queries and keys.
    pub fn rotates(self) -> bool {
        self == Self::Trtllm
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Framework {
    type Err = InputError;

    /// # Errors
    /// The name is not one of a framework's; the help lists these.
    fn from_str(name: &str) -> Result<Self, InputError> {
        Self::ALL
            .into_iter()
            .find(|f| f.name() == name)
            .ok_or_else(|| InputError::unknown_name("mapping.framework", "framework", name, Self::ALL.map(Self::name)))
    }
}

/// All launches of one attention, in order. Those over the cache of keys and values are the ones that [`reads_cache`] names.
pub fn attention(framework: Framework, call: &AttentionCall, spec: &GpuSpec) -> Vec<Kernel> {
    match framework {
        Framework::Torch | Framework::Compiled => torch::attention(call, spec),
        Framework::Vllm => vllm::attention(call, spec),
        Framework::Sglang => sglang::attention(call, spec),
        Framework::Trtllm => trtllm::attention(call, spec),
    }
}

/// Whether a launch of [`attention`] is the one that reads queries, keys and values (tensors 0 to 2) and writes their result; the others
/// prepare it, or join its parts.
pub fn reads_cache(kernel: &Kernel) -> bool {
    kernel.tensors.len() > 3
}

/// Whose kernels a framework calls for a product of a type; `block_scales` says that operands have a scale for each block of 128.
pub fn library(framework: Framework, dtype: Dtype, block_scales: bool) -> Library {
    match (framework, dtype) {
        (_, Dtype::Fp8) if block_scales => Library::DeepGemm,
        (Framework::Vllm, Dtype::Fp8) => Library::Vllm,
        (Framework::Sglang, Dtype::Fp8) => Library::Sglang,
        _ => Library::Cublas,
    }
}

/// The launches that convert the 16-bit input of a product of eight or four bits; none for another type.
///
/// Scales of blocks take one launch (those of sixteen elements, too: `scaled_fp4_quant`, with a scale of the whole tensor that is known). With one scale for all, TensorRT-LLM finds the maximum first; vLLM's is known (`activation_scheme` is
/// `static`); SGLang and PyTorch's own (`torchao`, by rows) have a scale a row.
pub fn quantisation(framework: Framework, g: &Gemm, spec: &GpuSpec) -> Vec<Kernel> {
    let elements = u64::from(g.m) * u64::from(g.k);
    match framework {
        _ if g.dtype == Dtype::Fp4 => vec![quantise::by_sixteen(elements)],
        _ if g.dtype != Dtype::Fp8 => Vec::new(),
        _ if g.block_scales => vec![quantise::by_group(elements)],
        Framework::Trtllm => quantise::whole_by_element(elements).to_vec(),
        Framework::Vllm => vec![quantise::with_scale(g.m, g.k)],
        Framework::Sglang | Framework::Torch | Framework::Compiled => vec![quantise::by_row(g.m, g.k, spec.sms())],
    }
}

#[cfg(test)]
mod tests {
    use super::super::attention::Attention;
    use super::*;

    #[test]
    fn names_go_both_ways_and_another_is_refused_with_those_that_are_known() {
        for f in Framework::ALL {
            assert_eq!(f.name().parse::<Framework>().ok(), Some(f));
        }
        let error = "vlm".parse::<Framework>().map_err(|e| e.to_string());
        assert!(error.is_err_and(|e| e.contains("mapping.framework") && e.contains("vllm") && e.contains("torch")));
    }

    /// Every attention has one launch over the cache, on every device and in every type that it multiplies.
    #[test]
    fn every_framework_has_kernels_for_every_device() {
        for name in ["v100", "t4", "a100", "h100", "h200", "b200", "l40s", "a10g", "rtx-pro-6000"] {
            let spec = banksia_hw::gpu::device(name).unwrap_or_else(|e| panic!("{e}"));
            for framework in Framework::ALL {
                for (queries, keys, batch) in [(1, 9, 1), (1, 3000, 4), (300, 300, 2), (7, 1000, 1)] {
                    let a = Attention {
                        batch,
                        heads: 8,
                        kv_heads: 2,
                        queries,
                        keys,
                        head_dim: 128,
                        causal: true,
                        window: 0,
                        dtype: Dtype::Fp16,
                        kv_bytes: 2,
                        ..Attention::default()
                    };
                    for prefill in [false, true] {
                        let kernels = attention(framework, &AttentionCall::new(a, prefill), &spec);
                        assert_eq!(kernels.iter().filter(|k| reads_cache(k)).count(), 1, "{name} {framework} {a:?}");
                        for k in &kernels {
                            assert_eq!(k.check(), Ok(()), "{name} {framework} {}", k.name);
                        }
                    }
                }
            }
        }
    }
}
