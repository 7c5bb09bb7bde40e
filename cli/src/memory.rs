//! `banksia memory`: requests through a memory controller.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banksia_hw::dram::controller::{ControllerConfig, RefreshPolicy};
use banksia_hw::dram::lint::lint;
use banksia_hw::dram::memory::{
    CsvSink, Generator, MemoryOptions, MemoryReport, RequestSource, TraceReader, Traffic, run, run_logged,
};
use banksia_hw::dram::{Device, catalog};
use banksia_input::InputError;
use clap::{Args, ValueEnum};

use crate::CliError;
use crate::args::Format;

/// A memory and what is asked of it.
#[derive(Debug, Args)]
pub struct MemoryArgs {
    /// The device: a name from `banksia list hardware`, or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    pub device: String,
    /// The requests: lines `[CYCLE] R|W INDEX` or `[CYCLE] R|W 0xADDRESS`, plain or gzip.
    #[arg(long, value_name = "FILE", required_unless_present = "generate", conflicts_with = "generate")]
    pub trace: Option<PathBuf>,
    /// Make the requests: stream, random, mix, chase or strided.
    #[arg(long, value_name = "TRAFFIC")]
    pub generate: Option<String>,
    /// How many to make.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub requests: u64,
    /// The share of writes among them [default: a third for `mix`, none for the others].
    #[arg(long, value_name = "SHARE")]
    pub write_share: Option<f64>,
    /// Transactions from one to the next, for `strided`.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub stride: u64,
    /// Mean cycles between arrivals of made requests [default: as fast as they are accepted].
    #[arg(long, value_name = "CYCLES")]
    pub interval: Option<f64>,
    /// Seed of the made requests.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The controller's policies: `default`, `reference`, or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "default")]
    pub controller: String,
    /// Channels, each one of the device.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub channels: u32,
    /// At most so many requests in a channel at a time [default: as many as its queues hold; 1 for `chase`].
    #[arg(long, value_name = "N")]
    pub outstanding: Option<usize>,
    /// Issue refreshes.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub refresh: Switch,
    /// Write every command and its clock.
    #[arg(long, value_name = "FILE.csv")]
    pub commands: Option<PathBuf>,
    /// Write when each request was accepted and done.
    #[arg(long, value_name = "FILE.csv")]
    pub completions: Option<PathBuf>,
    /// Offer the made requests at rates up to the peak, and write bandwidth and latency of each (for `banksia plot bandwidth`).
    #[arg(long, value_name = "FILE.csv", requires = "generate", conflicts_with_all = ["commands", "completions", "interval"])]
    pub curve: Option<PathBuf>,
    /// Step every tick instead of skipping ahead. The result is the same.
    #[arg(long)]
    pub exact_stepping: bool,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Runs it and gives what is to be printed.
///
/// # Errors
/// Bad input, or a file that cannot be written.
pub fn output(args: &MemoryArgs) -> Result<String, CliError> {
    let device = catalog::load(&args.device)?;
    let options = options(args)?;
    if args.device.ends_with(".toml") {
        for finding in lint(&catalog::resolved(&args.device)?, &device) {
            eprintln!("warning: {}: {finding}", args.device);
        }
    }
    if let Some(path) = &args.curve {
        return curve(args, &device, &options, path);
    }
    let report = if args.commands.is_some() || args.completions.is_some() {
        let mut source = source(args, &device, args.interval)?;
        let mut commands = args.commands.as_deref().map(create).transpose()?;
        let mut completions = args.completions.as_deref().map(create).transpose()?;
        let sink = CsvSink {
            commands: commands.as_mut().map(|f| f as &mut dyn Write),
            completions: completions.as_mut().map(|f| f as &mut dyn Write),
        };
        let report = run_logged(&device, &mut *source, &options, sink)?;
        for file in [&mut commands, &mut completions].into_iter().flatten() {
            file.flush().map_err(|e| CliError::Failed(format!("a CSV file cannot be written: {e}")))?;
        }
        report
    } else {
        run(&device, &mut *source(args, &device, args.interval)?, &options)?
    };
    if report.requests == 0 {
        let name = args.trace.as_deref().map_or_else(|| "--requests".into(), |p| p.display().to_string());
        return Err(InputError::new(name, "has no request").into());
    }
    match args.format {
        Format::Json => json(&report, &device.energy.known(&report.energy_j)),
        Format::Table => Ok(table(&report, &device)),
    }
}

fn options(args: &MemoryArgs) -> Result<MemoryOptions, CliError> {
    let fail = |key: &str, problem: String| CliError::from(InputError::new("command line", problem).key(key));
    if args.channels == 0 || args.channels > 1024 || !args.channels.is_power_of_two() {
        return Err(fail("--channels", format!("is {}: must be a power of two up to 1024", args.channels)));
    }
    if args.outstanding == Some(0) {
        return Err(fail("--outstanding", "is 0: must be at least 1".into()));
    }
    if args.write_share.is_some_and(|s| !(0.0..=1.0).contains(&s)) {
        return Err(fail("--write-share", "must be from 0 to 1".into()));
    }
    if args.interval.is_some_and(|i| !(0.0..=1e9).contains(&i)) {
        return Err(fail("--interval", "must be from 0 to 1e9 cycles".into()));
    }
    let mut controller = ControllerConfig::load(&args.controller)?;
    if args.refresh == Switch::Off {
        controller.refresh = RefreshPolicy::Off;
        controller.postpone = 0;
    }
    let chase = args.generate.as_deref() == Some("chase");
    let outstanding = args.outstanding.or(chase.then_some(1));
    Ok(MemoryOptions { channels: args.channels, controller, outstanding, exact_stepping: args.exact_stepping })
}

fn create(path: &Path) -> Result<BufWriter<File>, CliError> {
    let file =
        File::create(path).map_err(|e| CliError::Failed(format!("{} cannot be written: {e}", path.display())))?;
    Ok(BufWriter::with_capacity(1 << 16, file))
}

fn source(args: &MemoryArgs, device: &Arc<Device>, interval: Option<f64>) -> Result<Box<dyn RequestSource>, CliError> {
    if let Some(path) = &args.trace {
        return Ok(Box::new(TraceReader::open(path, device.access_bytes)?));
    }
    let traffic: Traffic = args.generate.as_deref().unwrap_or_default().parse()?;
    let span = device.capacity_bytes() / u64::from(device.access_bytes) * u64::from(args.channels);
    let mut generator = Generator::new(traffic, args.requests, span, args.seed).stride(args.stride);
    if let Some(share) = args.write_share {
        generator = generator.write_share(share);
    }
    Ok(Box::new(generator.interval(interval.unwrap_or(0.0))))
}

/// Shares of the peak at which a bandwidth-latency curve is taken.
const LOADS: [f64; 14] = [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];

fn curve(args: &MemoryArgs, device: &Arc<Device>, options: &MemoryOptions, path: &Path) -> Result<String, CliError> {
    let mut csv = String::from("device,traffic,offered_bytes_per_s,bandwidth_bytes_per_s,latency_ns\n");
    let peak = device.pin_bandwidth() * f64::from(args.channels);
    let clock_s = device.clock_fs as f64 * f64::from(device.ticks_per_clock) * 1e-15;
    let traffic = args.generate.as_deref().unwrap_or_default();
    for load in LOADS {
        let interval = f64::from(device.access_bytes) / (load * peak) / clock_s;
        let report = run(device, &mut *source(args, device, Some(interval))?, options)?;
        let _ = writeln!(
            csv,
            "{},{traffic},{},{},{}",
            device.name,
            load * peak,
            report.bandwidth_bytes_per_s,
            report.read_latency_avg_ns
        );
    }
    std::fs::write(path, &csv).map_err(|e| CliError::Failed(format!("{} cannot be written: {e}", path.display())))?;
    Ok(csv)
}

/// A report as JSON, `null` for the energy of a part that the device's file does not give.
fn json(report: &MemoryReport, energy_j: &BTreeMap<String, Option<f64>>) -> Result<String, CliError> {
    let mut text = serde_json::to_string_pretty(report)
        .map_err(|e| CliError::Failed(format!("the report cannot be written as JSON: {e}")))?;
    // In the text, since a JSON value would not keep the order of the keys.
    for (part, _) in energy_j.iter().filter(|(_, j)| j.is_none()) {
        text = text.replacen(&format!("\n    \"{part}\": 0.0"), &format!("\n    \"{part}\": null"), 1);
    }
    Ok(text + "\n")
}

/// Energies for a table: the sum of the parts that are known, and each part.
pub(crate) fn energy_row(energy_j: &BTreeMap<String, Option<f64>>) -> String {
    let total: f64 = energy_j.values().flatten().sum();
    let part = |(part, j): (&String, &Option<f64>)| match j {
        Some(j) => format!("{part} {:.3} uJ", j * 1e6),
        None => format!("{part} unknown"),
    };
    let parts: Vec<String> = energy_j.iter().map(part).collect();
    format!("{:.3} uJ: {}", total * 1e6, parts.join(", "))
}

fn table(r: &MemoryReport, device: &Device) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<24}{value}");
    };
    let share = |n: u64| format!("{n} ({:.1} %)", 100.0 * n as f64 / r.requests.max(1) as f64);
    row("device", format!("{}, {} channel(s) of {} banks", r.device, r.channels, device.banks));
    row("requests", format!("{} ({} reads, {} writes)", r.requests, r.reads, r.writes));
    row("time", format!("{} cycles of {} ps = {:.3} us", r.cycles, r.clock_ps, r.latency_s * 1e6));
    let (got, peak) = (r.bandwidth_bytes_per_s / 1e9, r.peak_bandwidth_bytes_per_s / 1e9);
    row("bandwidth", format!("{got:.3} GB/s of {peak:.3} GB/s ({:.1} %)", 100.0 * got / peak));
    row(
        "read latency",
        format!(
            "{:.2} cycles = {:.1} ns ({:.2} queued, {:.2} in the device; at most {})",
            r.read_latency_avg_cycles,
            r.read_latency_avg_ns,
            r.read_queueing_avg_cycles,
            r.read_device_avg_cycles,
            r.read_latency_max_cycles
        ),
    );
    row("row hits", share(r.row_hits));
    row("row misses", share(r.row_misses));
    row("row conflicts", share(r.row_conflicts));
    if r.forwarded_reads + r.absorbed_writes > 0 {
        row(
            "from the write queue",
            format!("{} reads forwarded, {} writes merged", r.forwarded_reads, r.absorbed_writes),
        );
    }
    let commands: Vec<String> = r.commands.iter().map(|(c, n)| format!("{c} {n}")).collect();
    row("commands", commands.join(", "));
    row("energy", energy_row(&device.energy.known(&r.energy_j)));
    out
}
