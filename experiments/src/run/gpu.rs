//! What a report says of a GPU.

use std::collections::BTreeMap;

use banksia_mappers::gpu::model::{GpuModel, GpuRun};
use banksia_reports::MachineInfo;

use super::{Facts, ratio};

pub(super) fn facts(model: &GpuModel, run: &GpuRun) -> Facts {
    let spec = model.spec();
    let info = MachineInfo {
        name: spec.name.clone(),
        kind: spec.kind.clone(),
        peak_flops_per_s: spec.tensor_peak_flops_per_s(model.dtype()),
        peak_bandwidth_bytes_per_s: spec.dram_peak_bytes_per_s(),
        capacity_bytes: spec.dram.capacity_bytes,
    };
    let outcome = &run.outcome;
    let latency_s = outcome.latency.as_secs_f64();
    let flops: f64 = outcome.operators.iter().map(|o| o.flops).sum();
    let bytes = |channel: &str| -> u64 { outcome.components.iter().filter_map(|c| c.traffic_bytes.get(channel)).sum() };
    let dram = ratio((bytes("dram_read") + bytes("dram_write")) as f64, latency_s);
    let metrics = BTreeMap::from([
        ("achieved_arithmetic_flops_per_s".to_owned(), ratio(flops, latency_s)),
        ("dram_bandwidth_bytes_per_s".to_owned(), dram),
        ("dram_bandwidth_peak_share".to_owned(), ratio(dram, spec.dram_peak_bytes_per_s())),
        ("tensor_utilization".to_owned(), ratio(run.tensor_busy.as_secs_f64(), latency_s)),
        ("average_sm_clock_hz".to_owned(), run.clock_mhz * 1e6),
        ("average_occupancy".to_owned(), run.occupancy),
        ("kernel_launches".to_owned(), run.launches as f64),
        ("launch_gap_share".to_owned(), ratio(run.gap.as_secs_f64(), latency_s)),
    ]);
    Facts { machine: info, metrics }
}
