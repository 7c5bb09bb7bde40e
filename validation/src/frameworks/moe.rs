//! How frameworks take a mixture of experts.

use banksia_hw::gpu::sampling::Detail;

use super::super::rows::Row;
use super::value;
use crate::gpus::Devices;
use crate::value::Value;

pub(crate) fn moe(row: &Row, _devices: &mut Devices, _detail: Detail) -> Vec<Value> {
    vec![value(row, "moe", Err("not modelled yet".into()), &[])]
}
