//! Attention without a mask and without a cache, as frameworks launch it for encoders.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::spec::GpuSpec;

use super::{Attention, Flash3, auxiliary, decode3, flash2, flash3, prepare_varlen, torch_sdpa};
use crate::gpu::frameworks::Framework;

/// Sequences lie one after another, with a table of where they begin. On Hopper FlashAttention-3, in SGLang without splitting keys, in vLLM with
/// as many parts as its rule gives; before, version 2 in vLLM, and a kernel of its structure in Triton in SGLang. TensorRT-LLM takes its own
/// kernels, after those that find where sequences begin and bring queries, keys and values into place. PyTorch has its own choice.
pub fn encoder(framework: Framework, a: &Attention, spec: &GpuSpec) -> Vec<Kernel> {
    let hopper = spec.tensor.warpgroup;
    let varlen = Flash3 { varlen: true, ..Flash3::default() };
    match framework {
        Framework::Torch | Framework::Compiled => torch_sdpa(a, spec),
        Framework::Vllm | Framework::Sglang if hopper => {
            let mut kernels = vec![prepare_varlen(spec, a.batch)];
            if framework == Framework::Vllm {
                kernels.extend(unsplit_or(decode3(a, spec, varlen, true), a, spec, varlen));
            } else {
                kernels.push(flash3(a, spec, varlen));
            }
            kernels
        }
        Framework::Vllm | Framework::Sglang => vec![flash2(a, spec)],
        Framework::Trtllm => {
            let mut kernels: Vec<Kernel> = (0..2).map(|_| auxiliary(spec, 1024)).collect();
            kernels.push(if hopper {
                flash3(a, spec, Flash3 { unpacked: true, ..Flash3::default() })
            } else {
                flash2(a, spec)
            });
            kernels
        }
    }
}

/// The kernels that split keys where they do, else those of prompts.
fn unsplit_or(split: Vec<Kernel>, a: &Attention, spec: &GpuSpec, varlen: Flash3) -> Vec<Kernel> {
    if split.len() > 1 { split } else { vec![flash3(a, spec, varlen)] }
}
