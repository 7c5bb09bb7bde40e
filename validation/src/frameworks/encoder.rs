//! How frameworks take attention without a mask.

use banksia_hw::gpu::sampling::Detail;

use super::super::rows::Row;
use super::value;
use crate::gpus::Devices;
use crate::value::Value;

pub(crate) fn encoder(row: &Row, _devices: &mut Devices, _detail: Detail) -> Vec<Value> {
    vec![value(row, "encoder_attention", Err("not modelled yet".into()), &[])]
}
