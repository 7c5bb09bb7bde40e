//! What a training framework does that a model's equations do not say: which kernels are fused, what overlaps, what its host thread takes.

use serde::{Deserialize, Serialize};

use super::op::HostWork;

/// A framework, and the machine's host that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Software {
    /// Attention as one kernel; else scores, softmax, dropout and values one after another.
    pub flash_attention: bool,
    /// Scale, mask and softmax are one kernel where its limits are kept (Megatron's fused kernels).
    pub fused_softmax: bool,
    /// Weight gradients are added to a single-precision buffer by the product itself (Megatron's `gradient_accumulation_fusion`).
    pub fused_gradients: bool,
    /// The vocabulary is filled up to a multiple of 128 words a tensor-parallel rank. Where it is not, and the words are no multiple of eight, no
    /// wide loads fit the head's products.
    pub pads_vocabulary: bool,
    /// Bytes of an element of the gradients that data-parallel ranks reduce.
    pub gradient_bytes: u32,
    /// All tensor-parallel ranks of a stage send their part of its output, which is gathered beyond (arXiv 2104.04473, section 4.1).
    pub scatter_gather: bool,
    /// The host waits for the device after each exchange between stages (Megatron-LM's `torch.cuda.synchronize()` in `p2p_communication.py`).
    pub synchronous_sends: bool,
    /// Kernels are replayed from graphs: the host takes nothing for each.
    pub graphs: bool,
    /// What the host takes.
    pub host: HostCosts,
}

/// Times of the thread that starts kernels, us.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostCosts {
    /// An operator called from Python.
    pub forward_us: f64,
    /// An operator called by the autograd engine.
    pub backward_us: f64,
    /// Handing over a parameter's gradient.
    pub gradient_us: f64,
    /// Entering a module.
    pub module_us: f64,
    /// Saving, setting or restoring a random state.
    pub random_state_us: f64,
    /// Calling a collective.
    pub collective_us: f64,
    /// Checkpointing a layer, or beginning to compute it again.
    pub checkpoint_us: f64,
    /// An exchange with a neighbouring stage.
    pub exchange_us: f64,
    /// A micro batch: the data's next batch, masks, the loss.
    pub micro_batch_us: f64,
    /// A step: scheduler, loss scale, counters, logs.
    pub step_us: f64,
    /// From kernel to kernel on the device, where the host is ahead.
    pub gap_us: f64,
}

impl HostCosts {
    /// Seconds of a piece of host work.
    pub fn seconds(&self, work: HostWork) -> f64 {
        1e-6 * match work {
            HostWork::None => 0.0,
            HostWork::Forward => self.forward_us,
            HostWork::Backward => self.backward_us,
            HostWork::Gradient => self.gradient_us,
            HostWork::Module => self.module_us,
            HostWork::RandomState => self.random_state_us,
            HostWork::Collective => self.collective_us,
            HostWork::Checkpoint => self.checkpoint_us,
        }
    }
}

/// PyTorch in Python on the EPYC 7742 of a DGX A100. Assumed: found once on the rows of one token batch in `vtrain_a100_single_node.csv`, where
/// the device idles (3.1 ms for the forward, repeated and backward pass of a layer).
pub const EPYC_7742: HostCosts = HostCosts {
    forward_us: 30.8,
    backward_us: 22.4,
    gradient_us: 16.8,
    module_us: 35.0,
    random_state_us: 28.0,
    collective_us: 42.0,
    checkpoint_us: 168.0,
    exchange_us: 200.0,
    micro_batch_us: 1500.0,
    step_us: 2000.0,
    gap_us: 1.0,
};

impl Software {
    /// Megatron-LM of 2021 (arXiv 2104.04473): fused softmax, bias + GELU and bias + dropout + add; no FlashAttention.
    pub const MEGATRON_2021: Self = Self {
        flash_attention: false,
        fused_softmax: true,
        fused_gradients: false,
        pads_vocabulary: true,
        gradient_bytes: 4,
        scatter_gather: true,
        synchronous_sends: true,
        graphs: false,
        host: EPYC_7742,
    };
    /// Megatron-LM of 2022 (arXiv 2205.05198): gradients added by the products.
    pub const MEGATRON_2022: Self = Self { fused_gradients: true, ..Self::MEGATRON_2021 };
    /// Megatron-DeepSpeed as vTrain measured it (MICRO'24).
    pub const MEGATRON_DEEPSPEED: Self = Self { gradient_bytes: 2, scatter_gather: false, ..Self::MEGATRON_2021 };
    /// Megatron-Core and Transformer Engine of 2024: FlashAttention, sends that nothing waits for.
    pub const MEGATRON_CORE: Self = Self {
        flash_attention: true,
        fused_gradients: true,
        scatter_gather: false,
        synchronous_sends: false,
        ..Self::MEGATRON_2021
    };
}
