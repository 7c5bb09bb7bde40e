//! How frameworks take the sub-kernels of gated delta networks and Kimi delta attention.

use banksia_hw::gpu::sampling::Detail;

use super::super::rows::Row;
use super::value;
use crate::gpus::Devices;
use crate::value::Value;

pub(crate) fn gdn(row: &Row, _devices: &mut Devices, _detail: Detail) -> Vec<Value> {
    vec![value(row, "gdn", Err("not modelled yet".into()), &[])]
}

pub(crate) fn kda(row: &Row, _devices: &mut Devices, _detail: Detail) -> Vec<Value> {
    vec![value(row, "kda", Err("not modelled yet".into()), &[])]
}
