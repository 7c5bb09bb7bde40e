//! How frameworks take attention without a mask: encoders of images and sound.

use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::gpu::spec::GpuSpec;
use banksia_mappers::gpu::attention::{Attention, encoder as encoder_attention};
use banksia_mappers::gpu::frameworks::Framework;

use super::super::rows::{self, Row, device_of, whole};
use super::{attention::replays, framework, value};
use crate::gpus::Devices;
use crate::value::Value;

fn kernels(row: &Row, spec: &GpuSpec) -> Result<(Framework, Vec<Kernel>), String> {
    let dtype = row.get("dtype").map_or("", String::as_str);
    if dtype != "bfloat16" {
        return Err(format!("type {dtype} is not modelled"));
    }
    let (heads, length) = (whole(row, "num_heads", 1..=4096)?, whole(row, "isl", 1..=1 << 18)?);
    let a = Attention {
        batch: whole(row, "batch_size", 1..=1 << 16)?,
        heads,
        kv_heads: heads,
        queries: length,
        keys: length,
        head_dim: whole(row, "head_dim", 8..=4096)?,
        causal: false,
        ..Attention::default()
    };
    rows::attention(&a, spec)?;
    let framework = framework(row)?;
    Ok((framework, encoder_attention(framework, &a, spec)))
}

fn predicted(row: &Row, devices: &mut Devices, detail: Detail) -> Result<f64, String> {
    let gpu = devices.get(device_of(row.get("gpu").map_or("", String::as_str)))?;
    let (framework, kernels) = kernels(row, gpu.spec())?;
    replays(gpu, kernels, framework, detail)
}

pub(crate) fn encoder(row: &Row, devices: &mut Devices, detail: Detail) -> Vec<Value> {
    let keys = ["batch_size", "isl", "num_heads", "head_dim", "framework"];
    vec![value(row, "encoder_attention", predicted(row, devices, detail), &keys)]
}
