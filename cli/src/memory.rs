//! `banksia memory`: requests through a memory controller.

pub(crate) mod compare;
pub(crate) mod output_file;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banksia_hw::dram::controller::{ControllerConfig, RefreshPolicy};
use banksia_hw::dram::lint::{check_pins, lint};
use banksia_hw::dram::memory::{
    CsvSink, Generator, MemoryError, MemoryOptions, MemoryReport, Percentiles, RequestSource, TraceReader, Traffic,
    run, run_logged,
};
use banksia_hw::dram::{Device, catalog};
use banksia_input::{InputError, Source};
use clap::{Args, ValueEnum};

use banksia_reports::units::{count, percent, quantity};

use crate::CliError;
use crate::args::Format;
use crate::progress::Progress;
use output_file::{OutputFile, check_apart};

/// A memory and what is asked of it.
#[derive(Debug, Clone, Args)]
pub struct MemoryArgs {
    /// The device: a name from `banksia list hardware`, or a TOML file; several with commas between them are compared.
    #[arg(long, value_name = "NAME|FILE")]
    pub device: String,
    /// The requests: lines `[CYCLE] R|W INDEX` or `[CYCLE] R|W 0xADDRESS`, or a trace of DRAMsim3, DRAMSys, Ramulator or gem5; plain or gzip.
    #[arg(long, value_name = "FILE", required_unless_present = "generate", conflicts_with = "generate")]
    pub trace: Option<PathBuf>,
    /// The trace's format: banksia, dramsim3, dramsys, ramulator, ramulator2, ramulator-cpu, gem5 or gem5-text [default: as its first request shows].
    #[arg(long, value_name = "NAME", requires = "trace", conflicts_with = "generate")]
    pub trace_format: Option<String>,
    /// The clock that the trace's times count, in ps [default: this memory's; a gem5 trace says it].
    #[arg(long, value_name = "PS", requires = "trace", conflicts_with = "generate")]
    pub trace_clock_ps: Option<f64>,
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
    let (device, report) = match simulate(args)? {
        Done::Report(run) => *run,
        Done::Curve(csv) => return Ok(csv),
    };
    match args.format {
        Format::Json => json(&report, &device.energy.known(&report.energy_j)),
        Format::Table => Ok(table(&report, &device)),
    }
}

/// What a run gave.
pub(crate) enum Done {
    Report(Box<(Arc<Device>, MemoryReport)>),
    /// The lines of `--curve`.
    Curve(String),
}

/// Runs one device.
pub(crate) fn simulate(args: &MemoryArgs) -> Result<Done, CliError> {
    let device = load(&args.device)?;
    let options = options(args, &device)?;
    let outputs = [
        ("--commands", args.commands.as_deref()),
        ("--completions", args.completions.as_deref()),
        ("--curve", args.curve.as_deref()),
    ];
    let outputs: Vec<(&str, &Path)> = outputs.into_iter().filter_map(|(key, path)| Some((key, path?))).collect();
    check_apart(&inputs(args), &outputs)?;
    if let Some(path) = &args.curve {
        return curve(args, &device, &options, path).map(Done::Curve);
    }
    let mut source = source(args, &device, &options, args.interval)?;
    let create = |key, path: &Option<PathBuf>| path.as_deref().map(|p| OutputFile::create(key, p)).transpose();
    let mut commands = create("--commands", &args.commands)?;
    let mut completions = create("--completions", &args.completions)?;
    let report = if commands.is_some() || completions.is_some() {
        let sink = CsvSink {
            commands: commands.as_mut().map(OutputFile::writer),
            completions: completions.as_mut().map(OutputFile::writer),
        };
        run_logged(&device, &mut *source, &options, sink)
    } else {
        run(&device, &mut *source, &options)
    };
    let report = report.map_err(|e| named(e, args))?;
    if report.requests == 0 {
        let name = args.trace.as_deref().map_or_else(|| "--requests".into(), |p| p.display().to_string());
        return Err(InputError::new(name, "has no request").into());
    }
    if report.wrapped_requests > 0 {
        let _ = writeln!(
            std::io::stderr(),
            "warning: {} request(s) lie beyond the memory's capacity and were wrapped into it",
            report.wrapped_requests
        );
    }
    [commands, completions].into_iter().flatten().try_for_each(OutputFile::finish)?;
    Ok(Done::Report(Box::new((device, report))))
}

/// The device of a name or a file. What a file has of contradictions is warned of; what would move more than the pins carry is
/// refused.
///
/// # Errors
/// There is no such device, or it cannot be used.
pub(crate) fn load(name: &str) -> Result<Arc<Device>, CliError> {
    let device = catalog::load(name)?;
    if is_file(name) {
        check_pins(&catalog::open(name, None)?, &device)?;
        for finding in lint(&catalog::resolved(name)?, &device) {
            // A warning that nobody can read is no reason to stop.
            let _ = writeln!(std::io::stderr(), "warning: {name}: {finding}");
        }
    }
    Ok(device)
}

/// Whether a name is that of a file, and not of the catalog.
fn is_file(name: &str) -> bool {
    name.ends_with(".toml")
}

/// The files that a run reads, each with its option.
fn inputs(args: &MemoryArgs) -> Vec<(&'static str, &Path)> {
    let file = |name: &'_ str| is_file(name);
    let mut inputs = Vec::new();
    inputs.extend(args.trace.as_deref().map(|p| ("--trace", p)));
    inputs.extend(Some(("--device", Path::new(&args.device))).filter(|_| file(&args.device)));
    inputs.extend(Some(("--controller", Path::new(&args.controller))).filter(|_| file(&args.controller)));
    inputs
}

/// The same error, with the user's own file and its line for what a device of that file cannot do.
fn named(error: MemoryError, args: &MemoryArgs) -> CliError {
    match error {
        MemoryError::Input(e) if e.file.starts_with("device ") && is_file(&args.device) => {
            match (catalog::open(&args.device, None), &e.key) {
                (Ok(source), Some(key)) => InputError { help: e.help, ..source.error(key, e.problem) }.into(),
                _ => InputError { file: args.device.clone(), ..e }.into(),
            }
        }
        // What a controller's file says is wrong on this device is said of that file, and of its line.
        MemoryError::Input(e) if e.file == "controller" && is_file(&args.controller) => {
            match (Source::read(args.controller.as_ref()), &e.key) {
                (Ok(source), Some(key)) => InputError { help: e.help, ..source.error(key, e.problem) }.into(),
                _ => InputError { file: args.controller.clone(), ..e }.into(),
            }
        }
        other => other.into(),
    }
}

fn options(args: &MemoryArgs, device: &Device) -> Result<MemoryOptions, CliError> {
    let fail = |key: &str, problem: String| CliError::from(InputError::new("command line", problem).key(key));
    if !(1..=1024).contains(&args.channels) {
        return Err(fail("--channels", format!("is {}: must be from 1 to 1024", args.channels)));
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
    let options =
        MemoryOptions { channels: args.channels, controller, outstanding, exact_stepping: args.exact_stepping };
    if let Some(interval) = args.interval.filter(|_| args.generate.is_some()) {
        let (last, latest) = (args.requests.saturating_sub(1), options.latest_arrival(device, args.commands.is_some()));
        if last as f64 * interval > latest as f64 {
            let problem = format!(
                "is {interval}: request {last} would arrive after cycle {latest}, to which the clock is followed"
            );
            return Err(fail("--interval", problem));
        }
    }
    Ok(options)
}

fn source(
    args: &MemoryArgs,
    device: &Arc<Device>,
    options: &MemoryOptions,
    interval: Option<f64>,
) -> Result<Box<dyn RequestSource>, CliError> {
    let span = (device.capacity_bytes() / u64::from(device.access_bytes)).saturating_mul(u64::from(args.channels));
    if let Some(path) = &args.trace {
        let latest = options.latest_arrival(device, args.commands.is_some());
        let format = args.trace_format.as_deref().map(str::parse).transpose()?;
        let clock_fs = device.clock_fs * u64::from(device.ticks_per_clock);
        let reader = TraceReader::open(path, device.access_bytes)?.within(span, latest).format(format);
        return Ok(Box::new(reader.clock(clock_fs, trace_clock_fs(args)?)));
    }
    let traffic: Traffic = args.generate.as_deref().unwrap_or_default().parse()?;
    let mut generator = Generator::new(traffic, args.requests, span, args.seed).stride(args.stride);
    if let Some(share) = args.write_share {
        generator = generator.write_share(share);
    }
    Ok(Box::new(generator.interval(interval.unwrap_or(0.0))))
}

/// The clock that a trace's times count, in femtoseconds.
fn trace_clock_fs(args: &MemoryArgs) -> Result<Option<u64>, InputError> {
    let Some(ps) = args.trace_clock_ps else { return Ok(None) };
    if !(0.001..=1e12).contains(&ps) {
        let problem = format!("is {ps}: must be from 0.001 to 1e12 ps, as 5000 for 200 MHz");
        return Err(InputError::new("command line", problem).key("--trace-clock-ps"));
    }
    Ok(Some((ps * 1000.0).round() as u64))
}

/// Shares of the peak at which a bandwidth-latency curve is taken.
const LOADS: [f64; 14] = [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];

fn curve(args: &MemoryArgs, device: &Arc<Device>, options: &MemoryOptions, path: &Path) -> Result<String, CliError> {
    let mut csv = String::from("device,traffic,offered_bytes_per_s,bandwidth_bytes_per_s,latency_ns\n");
    let peak = device.pin_bandwidth() * f64::from(args.channels);
    let clock_s = device.clock_fs as f64 * f64::from(device.ticks_per_clock) * 1e-15;
    let traffic = args.generate.as_deref().unwrap_or_default();
    let mut file = OutputFile::create("--curve", path)?;
    let progress = Progress::new(LOADS.len() as u64, "loads");
    for load in LOADS {
        let interval = f64::from(device.access_bytes) / (load * peak) / clock_s;
        let report = run(device, &mut *source(args, device, options, Some(interval))?, options);
        let report = report.map_err(|e| named(e, args))?;
        if report.requests == 0 {
            return Err(InputError::new("--requests", "has no request").into());
        }
        let (name, offered, got) = (&device.name, load * peak, report.bandwidth_bytes_per_s);
        // Writes alone have no latency of reads: their field is empty.
        let latency = report.read_latency_avg_ns.map_or_else(String::new, |ns| ns.to_string());
        let _ = writeln!(csv, "{name},{traffic},{offered},{got},{latency}");
        progress.one();
    }
    let written = file.writer().write_all(csv.as_bytes());
    written.map_err(|e| CliError::Failed(format!("{} cannot be written: {e}", path.display())))?;
    file.finish()?;
    Ok(csv)
}

/// A report as JSON, `null` for the energy of a part that the device's file does not give.
pub(crate) fn json(report: &MemoryReport, energy_j: &BTreeMap<String, Option<f64>>) -> Result<String, CliError> {
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
        Some(j) => format!("{part} {}", quantity(*j, "J")),
        None => format!("{part} unknown"),
    };
    let parts: Vec<String> = energy_j.iter().map(part).collect();
    let at_least = if energy_j.values().any(Option::is_none) { "at least " } else { "" };
    format!("{at_least}{}: {}", quantity(total, "J"), parts.join(", "))
}

fn table(r: &MemoryReport, device: &Device) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<24}{value}");
    };
    let share = |n: u64| format!("{} ({})", count(n), percent(n as f64 / r.requests.max(1) as f64));
    row("device", format!("{}, {} channel(s) of {} banks", r.device, r.channels, device.banks));
    row("requests", format!("{} ({} reads, {} writes)", count(r.requests), count(r.reads), count(r.writes)));
    row("time", format!("{} cycles of {} ps = {}", count(r.cycles), r.clock_ps, quantity(r.latency_s, "s")));
    let (got, peak) = (r.bandwidth_bytes_per_s, r.peak_bandwidth_bytes_per_s);
    row("bandwidth", format!("{} of {} ({})", quantity(got, "B/s"), quantity(peak, "B/s"), percent(got / peak)));
    let channels = &r.bandwidth_by_channel_bytes_per_s;
    if let (true, Some(least), Some(most)) =
        (channels.len() > 1, channels.iter().copied().reduce(f64::min), channels.iter().copied().reduce(f64::max))
    {
        row("  of a channel", format!("{} to {}", quantity(least, "B/s"), quantity(most, "B/s")));
    }
    row("bound by", r.bound_by.clone());
    let pins: Vec<String> = r
        .data_pins
        .iter()
        .filter(|(_, share)| **share >= 0.0005)
        .map(|(name, share)| format!("{} {}", name.replace('_', " "), percent(*share)))
        .collect();
    row("  time of the pins", pins.join(", "));
    let latency = match (r.read_latency_avg_cycles, r.read_latency_avg_ns, r.read_latency_max_cycles) {
        (Some(cycles), Some(ns), Some(most)) => {
            let (waited, queued) = (r.read_waiting_avg_cycles, r.read_queueing_avg_cycles.unwrap_or_default());
            let (waited, device) = (waited.unwrap_or_default(), r.read_device_avg_cycles.unwrap_or_default());
            format!(
                "{cycles:.2} cycles = {ns:.1} ns ({waited:.2} until its first command, {:.2} until its access, {device:.2} in the device; at most {most})",
                queued - waited
            )
        }
        _ => "none: no reads".into(),
    };
    row("read latency", latency);
    let spread = |p: &Percentiles| format!("p50 {}, p95 {}, p99 {}, p99.9 {} cycles", p.p50, p.p95, p.p99, p.p999);
    if let Some(p) = &r.read_latency_percentiles_cycles {
        row("  percentiles", spread(p));
    }
    if let Some(mean) = r.read_latency_from_arrival_avg_cycles {
        row("  from arrival", format!("{mean:.2} cycles (the percentiles are of these)"));
    }
    row("row hits", share(r.row_hits));
    row("row misses", share(r.row_misses));
    row("row conflicts", share(r.row_conflicts));
    if r.forwarded_reads + r.absorbed_writes > 0 {
        row(
            "from the write queue",
            format!("{} reads forwarded, {} writes merged", r.forwarded_reads, r.absorbed_writes),
        );
    }
    if let Some(done) = &r.row_hammer {
        let counted = done
            .most_activations_of_a_row
            .map_or_else(String::new, |most| format!(", {} alerts, a row activated at most {most} times", done.alerts));
        row("against RowHammer", format!("{} RFM commands{counted}", done.rfms));
    }
    let commands: Vec<String> = r.commands.iter().map(|(c, n)| format!("{c} {}", count(*n))).collect();
    row("commands", commands.join(", "));
    row("energy", energy_row(&device.energy.known(&r.energy_j)));
    let at_least = if r.energy_unknown.is_empty() { "" } else { "at least " };
    row("average power", format!("{at_least}{}", quantity(r.average_power_w, "W")));
    let mut assumed: Vec<&str> = device.energy.assumed.iter().map(|a| a.part.as_str()).collect();
    assumed.sort_unstable();
    assumed.dedup();
    if !assumed.is_empty() {
        row(
            "  assumed in part",
            format!("{} (`banksia show hardware {}` says from what)", assumed.join(", "), r.device),
        );
    }
    out
}
