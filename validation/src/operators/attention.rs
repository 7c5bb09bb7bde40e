//! Attention of PyTorch: FlashAttention-2, forward.

use banksia_hw::gpu::GpuSpec;
use serde_json::Value as Json;

use super::Call;

pub(super) fn call(_args: &Json, _spec: &GpuSpec) -> Result<Call, String> {
    Err("operator not modelled yet".into())
}
