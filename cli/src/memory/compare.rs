//! Several devices under the same requests, side by side.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use banksia_hw::dram::memory::MemoryReport;
use banksia_hw::dram::{Device, shared_assumptions};
use banksia_input::InputError;

use crate::CliError;
use crate::args::Format;
use crate::memory::{Done, MemoryArgs, json, simulate};

/// Runs every device and gives what is to be printed: a line a device, or a list of reports. What the devices share without a source
/// of their own is warned of, because it does not tell them apart.
pub(crate) fn output(args: &MemoryArgs) -> Result<String, CliError> {
    let written = [("--commands", &args.commands), ("--completions", &args.completions), ("--curve", &args.curve)];
    if let Some((key, _)) = written.iter().find(|(_, path)| path.is_some()) {
        let problem = format!("is for one device, and --device names several: {}", args.device);
        return Err(InputError::new("command line", problem).key(*key).help("run the devices one by one").into());
    }
    let mut runs: Vec<(Arc<Device>, MemoryReport)> = Vec::new();
    for name in args.device.split(',').map(str::trim) {
        if name.is_empty() {
            let problem = format!("has an empty name in `{}`", args.device);
            return Err(InputError::new("command line", problem).key("--device").into());
        }
        let one = MemoryArgs { device: name.into(), ..args.clone() };
        if let Done::Report(run) = simulate(&one)? {
            runs.push(*run);
        }
    }
    let devices: Vec<&Device> = runs.iter().map(|(device, _)| &**device).collect();
    for shared in shared_assumptions(&devices) {
        // A warning that nobody can read is no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "warning: {} have one figure for {} ({} = {}), which at least one of them only assumes: it does not tell them apart",
            shared.devices.join(", "),
            shared.part,
            shared.figure,
            shared.value
        );
    }
    if args.format == Format::Json {
        let reports: Result<Vec<String>, CliError> =
            runs.iter().map(|(device, r)| json(r, &device.energy.known(&r.energy_j))).collect();
        return Ok(format!("[{}]\n", reports?.join(",").trim_end()));
    }
    Ok(table(&runs))
}

fn table(runs: &[(Arc<Device>, MemoryReport)]) -> String {
    let mut out = String::new();
    let width = runs.iter().map(|(d, _)| d.name.len()).max().unwrap_or(0).max(6);
    let _ = writeln!(
        out,
        "{:<width$}  {:>9}  {:>7}  {:>9}  {:>9}  {:>9}  {:>11}  bound by",
        "device", "GB/s", "of peak", "read ns", "p99 ns", "W", "pJ/bit"
    );
    for (device, r) in runs {
        let or_none = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
        let p99 = r.read_latency_percentiles_cycles.map(|p| p.p99 * r.clock_ps / 1000.0);
        let bits = r.requests as f64 * f64::from(device.access_bytes) * 8.0;
        let least = if r.energy_unknown.is_empty() { "" } else { ">= " };
        let _ = writeln!(
            out,
            "{:<width$}  {:>9.3}  {:>5.1} %  {:>9}  {:>9}  {:>9}  {:>11}  {}",
            device.name,
            r.bandwidth_bytes_per_s / 1e9,
            100.0 * r.bandwidth_bytes_per_s / r.peak_bandwidth_bytes_per_s,
            or_none(r.read_latency_avg_ns),
            or_none(p99),
            format!("{least}{:.3}", r.average_power_w),
            format!("{least}{:.2}", r.energy_total_j * 1e12 / bits.max(1.0)),
            r.bound_by
        );
    }
    out
}
