//! The memory suite: the reference controller against another simulator's cycles, latencies and traces.

use std::collections::BTreeMap;

use banksia_hw::dram::controller::{Controller, ControllerConfig, ControllerOptions, Keep, RefreshPolicy, Request};
use banksia_hw::dram::memory::{RequestSource, TraceReader};
use banksia_hw::dram::{Device, catalog};
use banksia_input::InputError;
use banksia_reports::{Pair, Subject};
use rayon::prelude::*;

use super::{Compared, Row, ValidateOptions, check_usable, number, of_device, parse};
use banksia_experiments::Error;

const ORACLE: &str = include_str!("../../tests/reference/dram/oracle.csv");

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

pub(super) fn run(options: &ValidateOptions) -> Result<Vec<Compared>, Error> {
    let (name, text) = match &options.measured {
        Some(path) => {
            let source = banksia_input::Source::read(path)?;
            (path.display().to_string(), source.text().to_owned())
        }
        None => ("memory".to_owned(), ORACLE.to_owned()),
    };
    let mut rows = parse(&name, &text)?;
    of_device(&mut rows, options, device_name)?;
    let values: Vec<_> =
        rows.par_iter().map(|row| (device_name(row.get("device").map_or("", |d| d)), simulate(row))).collect();
    let mut all: BTreeMap<(String, &'static str), Compared> = BTreeMap::new();
    for (row, (device, simulated)) in rows.iter().zip(values) {
        for (metric, column) in [("cycles", "cycles"), ("read_latency_sum", "read_latency_sum")] {
            let entry = all.entry((device.clone(), metric)).or_insert_with(|| Compared {
                subject: Subject {
                    suite: "memory".into(),
                    device: device.clone(),
                    op: "requests".into(),
                    metric: metric.into(),
                },
                pairs: Vec::new(),
                skipped: BTreeMap::new(),
            });
            let reference = number(row, column);
            match (&simulated, reference) {
                (Ok((cycles, latency)), Ok(measured)) => {
                    let predicted = if metric == "cycles" { *cycles } else { *latency } as f64;
                    // Traces of writes alone have no read latency to compare.
                    if measured > 0.0 || predicted > 0.0 {
                        entry.pairs.push(Pair { label: label(row), measured, predicted });
                    }
                }
                (Err(reason), _) => *entry.skipped.entry(reason.clone()).or_insert(0) += 1,
                (_, Err(reason)) => *entry.skipped.entry(reason).or_insert(0) += 1,
            }
        }
    }
    let all: Vec<Compared> = all.into_values().collect();
    check_usable(&all, options, "device, trace, outstanding, refresh, cycles and read_latency_sum")?;
    Ok(all)
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
    let outstanding = super::whole(row, "outstanding")? as usize;
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
