//! How frameworks take multi-head latent attention.

use banksia_hw::gpu::sampling::Detail;

use super::super::rows::Row;
use super::value;
use crate::gpus::Devices;
use crate::value::Value;

pub(crate) fn context_mla(row: &Row, _devices: &mut Devices, _detail: Detail) -> Vec<Value> {
    vec![value(row, "context_mla", Err("not modelled yet".into()), &[])]
}

pub(crate) fn generation_mla(row: &Row, _devices: &mut Devices, _detail: Detail) -> Vec<Value> {
    vec![value(row, "generation_mla", Err("not modelled yet".into()), &[])]
}

pub(crate) fn mla_bmm(row: &Row, _devices: &mut Devices, _detail: Detail) -> Vec<Value> {
    vec![value(row, "mla_bmm", Err("not modelled yet".into()), &[])]
}
