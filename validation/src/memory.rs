//! The memory suite: the reference controller against another simulator's cycles, latencies and traces.

use banksia_hw::dram::controller::{Controller, ControllerConfig, ControllerOptions, Keep, RefreshPolicy, Request};
use banksia_hw::dram::memory::{RequestSource, TraceReader};
use banksia_hw::dram::{Device, catalog};
use banksia_input::InputError;

use super::rows::{Row, number, whole};
use crate::value::Value;

pub(super) const ORACLE: &str = include_str!("../../tests/reference/dram/oracle.csv");

/// The traces that the oracle's rows name.
const TRACES: &[(&str, &str)] = &[
    ("burst4k", include_str!("../../tests/reference/dram/traces/burst4k.txt")),
    ("chase2k", include_str!("../../tests/reference/dram/traces/chase2k.txt")),
    ("hot5k", include_str!("../../tests/reference/dram/traces/hot5k.txt")),
    ("mix1k", include_str!("../../tests/reference/dram/traces/mix1k.txt")),
    ("mix5k", include_str!("../../tests/reference/dram/traces/mix5k.txt")),
    ("rand5k", include_str!("../../tests/reference/dram/traces/rand5k.txt")),
    ("rowstride1k", include_str!("../../tests/reference/dram/traces/rowstride1k.txt")),
    ("seq5k", include_str!("../../tests/reference/dram/traces/seq5k.txt")),
    ("sparse2k", include_str!("../../tests/reference/dram/traces/sparse2k.txt")),
    ("stride5k", include_str!("../../tests/reference/dram/traces/stride5k.txt")),
    ("write5k", include_str!("../../tests/reference/dram/traces/write5k.txt")),
];

/// Cycles of a row's run, and the sum of its reads' latencies.
pub(super) fn row(row: &Row) -> Vec<Value> {
    let simulated = simulate(row);
    let value = |metric: &'static str, simulated: Result<u64, String>| {
        let measured = number(row, metric);
        let predicted = measured.clone().and(simulated).map(|n| n as f64);
        Value {
            device: device(row),
            op: "requests".into(),
            metric,
            label: label(row),
            measured: measured.unwrap_or(f64::NAN),
            predicted,
        }
    };
    let (cycles, latency) = match simulated {
        Ok((cycles, latency)) => (Ok(cycles), Ok(latency)),
        Err(reason) => (Err(reason.clone()), Err(reason)),
    };
    let values = [value("cycles", cycles), value("read_latency_sum", latency)];
    // Traces of writes alone have no read latency to compare.
    let compared = |v: &Value| v.predicted.as_ref().is_err() || v.measured > 0.0 || v.predicted != Ok(0.0);
    values.into_iter().filter(compared).collect()
}

/// The device of a row.
pub(super) fn device(row: &Row) -> String {
    device_name(row.get("device").map_or("", String::as_str))
}

fn label(row: &Row) -> String {
    let get = |key: &str| row.get(key).map_or("", String::as_str);
    format!("{} outstanding={} refresh={}", get("trace"), get("outstanding"), get("refresh"))
}

/// The catalog's name of a device of the oracle.
fn device_name(name: &str) -> String {
    match name {
        "GDDR6_14000_1350mV_double" => "gddr6-14000-1350mv".into(),
        "HBM1_2Gbps" => "hbm1-2000".into(),
        other => other.to_lowercase().replace('_', "-"),
    }
}

/// Ticks of the run, and the sum of the reads' latencies.
fn simulate(row: &Row) -> Result<(u64, u64), String> {
    let get = |key: &str| row.get(key).map(String::as_str).ok_or_else(|| format!("no column `{key}`"));
    let plain = |e: InputError| e.to_string();
    let device = catalog::load(&device_name(get("device")?)).map_err(plain)?;
    let name = get("trace")?;
    let (_, text) = TRACES.iter().find(|(n, _)| *n == name).ok_or_else(|| format!("no trace `{name}`"))?;
    // 0 stands for as many as the queues hold.
    let outstanding = whole(row, "outstanding", 0..=u32::MAX)? as usize;
    let mut config = ControllerConfig::reference();
    match get("refresh")? {
        "on" => {}
        "off" => config.refresh = RefreshPolicy::Off,
        other => return Err(format!("refresh is `{other}`, not on or off")),
    }
    let options = ControllerOptions {
        config,
        channels: 1,
        outstanding: Some(outstanding).filter(|n| *n > 0),
        exact_stepping: false,
    };
    let requests = requests(name, text, &device)?;
    let mut controller = Controller::new(&device, &options, Keep::default()).map_err(|e| e.to_string())?;
    controller.advance(&requests, true);
    if let Some(stall) = controller.stalled() {
        return Err(stall.to_string());
    }
    let stats = controller.statistics();
    Ok((stats.ticks, stats.read_latency))
}

/// The requests of a trace, their arrivals in ticks.
fn requests(name: &str, text: &'static str, device: &Device) -> Result<Vec<Request>, String> {
    let mut reader = TraceReader::new(name, Box::new(text.as_bytes()), device.access_bytes);
    let mut requests = Vec::with_capacity(text.len() / 8);
    while reader.fill(&mut requests, 1 << 16).map_err(|e| e.to_string())? {}
    for request in &mut requests {
        request.arrival *= u64::from(device.ticks_per_clock);
    }
    Ok(requests)
}
