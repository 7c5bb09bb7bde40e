//! `banksia pim`: instructions of a PIM device.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use banksia_hw::dram::{Device, catalog};
use banksia_hw::pim::tally::{command_lines, commands_header};
use banksia_hw::pim::{EnergyPlaces, HostKernel, IsaMachine, IsaOutcome, IsaSet, parse_shape};
use banksia_input::InputError;
use clap::{ArgGroup, Args};
use serde::Serialize;

use banksia_reports::units::{count, quantity};

use crate::CliError;
use crate::args::Format;
use crate::memory::output_file::{OutputFile, check_apart};
use crate::memory::{Switch, energy_row, load};

/// A PIM device and what it runs.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("work").required(true))]
pub struct PimArgs {
    /// The device: a name from `banksia list hardware`, or a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    pub device: String,
    /// Instructions, one a line, as the device's `isa` table has them.
    #[arg(long, value_name = "FILE", group = "work")]
    pub trace: Option<PathBuf>,
    /// A matrix-vector product in the device's published mapping.
    #[arg(long, value_name = "OUTxIN", group = "work")]
    pub gemv: Option<String>,
    /// A sum of two vectors, on a device that the host drives by accesses.
    #[arg(long, value_name = "ELEMENTS", group = "work")]
    pub add: Option<u64>,
    /// Channels, each one of the device [default: as many as the device's table says].
    #[arg(long, value_name = "N")]
    pub channels: Option<u32>,
    /// Issue refreshes.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub refresh: Switch,
    /// Write every command and its clock, channel after channel.
    #[arg(long, value_name = "FILE.csv")]
    pub commands: Option<PathBuf>,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What was run, and what it took.
#[derive(Debug, Serialize)]
struct PimReport {
    device: String,
    channels: u32,
    cycles: u64,
    clock_ps: f64,
    latency_s: f64,
    refresh: bool,
    commands: BTreeMap<String, u64>,
    macs: u64,
    energy_j: BTreeMap<String, Option<f64>>,
    energy_total_j: f64,
    /// Parts whose energy the device's file does not give: the total is at least what is said.
    energy_unknown: Vec<String>,
    average_power_w: f64,
    energy_by_channel_j: Vec<f64>,
    energy_by_bank_j: Vec<f64>,
    energy_outside_banks_j: f64,
}

/// Runs it and gives what is to be printed.
///
/// # Errors
/// Bad input.
pub fn output(args: &PimArgs) -> Result<String, CliError> {
    let device = load(&args.device)?;
    let refresh = args.refresh == Switch::On;
    let file = |name: &str| Path::new(name).extension().is_some_and(|e| e == "toml");
    let inputs = [
        ("--trace", args.trace.as_deref()),
        ("--device", Some(Path::new(&args.device)).filter(|_| file(&args.device))),
    ];
    let inputs: Vec<(&str, &Path)> = inputs.into_iter().filter_map(|(key, path)| Some((key, path?))).collect();
    let outputs: Vec<(&str, &Path)> = args.commands.iter().map(|path| ("--commands", path.as_path())).collect();
    check_apart(&inputs, &outputs)?;
    let mut commands = args.commands.as_deref().map(|p| OutputFile::create("--commands", p)).transpose()?;
    let (outcome, channels) = if catalog::resolved(&args.device)?.kernel.is_some() {
        host_kernel(args, &device, refresh)?
    } else {
        instructions(args, &device, refresh)?
    };
    if let Some(file) = &mut commands {
        write_commands(&device, &outcome, file)
            .map_err(|e| CliError::Failed(format!("the file of --commands cannot be written: {e}")))?;
    }
    commands.into_iter().try_for_each(OutputFile::finish)?;
    let ticks = u64::from(device.ticks_per_clock);
    let clock_fs = device.clock_fs * ticks;
    let standing = outcome.standby_nodes.saturating_mul(outcome.cycles);
    let energy_j =
        device.energy.joules(&outcome.counts, outcome.active_cycles, standing.saturating_sub(outcome.active_cycles));
    let issued = || device.commands.iter().zip(&outcome.counts);
    let energy_total_j: f64 = energy_j.values().sum();
    let macs = outcome.macs(&device);
    let mut energy_j = device.energy.known(&energy_j);
    // What was not done costs nothing, whatever it would cost.
    if let Some(units) = energy_j.get_mut("mac_units").filter(|_| macs == 0) {
        units.get_or_insert(0.0);
    }
    let latency_s = outcome.cycles as f64 * device.clock_fs as f64 * 1e-15;
    let places = outcome.energy_places(&device);
    let EnergyPlaces { by_channel_j, by_bank_j, outside_banks_j } = places;
    let report = PimReport {
        device: device.name.clone(),
        channels,
        cycles: outcome.cycles.div_ceil(ticks),
        clock_ps: clock_fs as f64 / 1000.0,
        latency_s,
        refresh,
        commands: issued().filter(|(_, n)| **n > 0).map(|(c, n)| (c.name.clone(), *n)).collect(),
        macs,
        energy_total_j,
        energy_unknown: energy_j.iter().filter(|(_, j)| j.is_none()).map(|(part, _)| part.clone()).collect(),
        energy_j,
        average_power_w: if latency_s > 0.0 { energy_total_j / latency_s } else { 0.0 },
        energy_by_channel_j: by_channel_j,
        energy_by_bank_j: by_bank_j,
        energy_outside_banks_j: outside_banks_j,
    };
    match args.format {
        Format::Json => serde_json::to_string_pretty(&report)
            .map(|text| text + "\n")
            .map_err(|e| CliError::Failed(format!("the report cannot be written as JSON: {e}"))),
        Format::Table => Ok(table(&report)),
    }
}

/// Writes the commands of every channel, one channel after the other.
fn write_commands(device: &Device, outcome: &IsaOutcome, file: &mut OutputFile) -> std::io::Result<()> {
    const AT_ONCE: usize = 1 << 12;
    file.writer().write_all(commands_header(device).as_bytes())?;
    let mut channels: Vec<_> =
        outcome.channels.iter().flat_map(|c| c.members.iter().map(move |channel| (channel, &c.commands))).collect();
    channels.sort_unstable_by_key(|(channel, _)| *channel);
    let mut lines = String::new();
    for (channel, commands) in channels {
        for part in commands.chunks(AT_ONCE) {
            lines.clear();
            command_lines(device, channel, part, &mut lines);
            file.writer().write_all(lines.as_bytes())?;
        }
    }
    Ok(())
}

/// The channels that are asked for.
///
/// # Errors
/// There cannot be so many.
fn channels(args: &PimArgs, own: u32, most: u32) -> Result<u32, InputError> {
    match args.channels {
        Some(n) if (1..=most).contains(&n) => Ok(n),
        Some(n) => Err(InputError::new("command line", format!("is {n}: must be from 1 to {most}")).key("--channels")),
        None => Ok(own),
    }
}

/// Instructions of a device that has a set of its own.
fn instructions(args: &PimArgs, device: &Arc<Device>, refresh: bool) -> Result<(IsaOutcome, u32), CliError> {
    if args.add.is_some() {
        return Err(InputError::new("command line", "is for a device that the host drives by accesses")
            .key("--add")
            .into());
    }
    let set = IsaSet::load(&args.device, device)?;
    let n = channels(args, set.channels, IsaSet::MOST_CHANNELS)?;
    let set = set.with_channels(n);
    let mut machine = IsaMachine::new(device.clone(), set.clone(), refresh)?;
    if args.commands.is_some() {
        machine = machine.keeping_commands();
    }
    if let Some(path) = &args.trace {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|e| InputError::new(&name, format!("cannot be read: {e}")))?;
        set.read(&name, &mut BufReader::new(file), |i| machine.run(i))?;
    } else if let Some(shape) = &args.gemv {
        let (outputs, inputs) = parse_shape(shape)?;
        set.gemv(outputs, inputs, |i| machine.run(i))?;
    }
    Ok((machine.finish(), set.channels))
}

/// A kernel of a device that the host drives by accesses.
fn host_kernel(args: &PimArgs, device: &Arc<Device>, refresh: bool) -> Result<(IsaOutcome, u32), CliError> {
    let kernel = HostKernel::new(&args.device, device)?;
    let n = channels(args, kernel.channels(), HostKernel::MOST_CHANNELS)?;
    let mut kernel = kernel.with_channels(n);
    if args.commands.is_some() {
        kernel = kernel.keeping_commands();
    }
    if let Some(shape) = &args.gemv {
        let (outputs, inputs) = parse_shape(shape)?;
        kernel.gemv(outputs, inputs)?;
    } else if let Some(elements) = args.add {
        kernel.add(elements)?;
    } else {
        let problem = format!("has no instructions: {} is driven by accesses", device.name);
        let help = "give --gemv OUTxIN or --add ELEMENTS";
        return Err(InputError::new("command line", problem).key("--trace").help(help).into());
    }
    Ok((kernel.execute(refresh)?, kernel.channels()))
}

fn table(r: &PimReport) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<12}{value}");
    };
    row("device", format!("{}, {} channels", r.device, r.channels));
    row("time", format!("{} cycles of {} ps = {}", count(r.cycles), r.clock_ps, quantity(r.latency_s, "s")));
    row("refresh", if r.refresh { "on" } else { "off" }.into());
    row("MACs", format!("{} ({})", count(r.macs), quantity(r.macs as f64 / r.latency_s.max(1e-15), "/s")));
    let commands: Vec<String> = r.commands.iter().map(|(c, n)| format!("{c} {}", count(*n))).collect();
    row("commands", commands.join(", "));
    row("energy", energy_row(&r.energy_j));
    let at_least = if r.energy_unknown.is_empty() { "" } else { "at least " };
    row("power", format!("{at_least}{} on the average", quantity(r.average_power_w, "W")));
    row("by channel", spread(&r.energy_by_channel_j));
    row(
        "by bank",
        format!("{}; {} outside the banks", spread(&r.energy_by_bank_j), quantity(r.energy_outside_banks_j, "J")),
    );
    out
}

/// The least and the most of some energies, and where these are.
fn spread(joules: &[f64]) -> String {
    let end = |most: bool| {
        let better = |j: f64, than: f64| if most { j > than } else { j < than };
        let keep = |best: Option<(usize, f64)>, (i, j): (usize, &f64)| match best {
            Some((_, than)) if !better(*j, than) => best,
            _ => Some((i, *j)),
        };
        joules.iter().enumerate().fold(None, keep).unwrap_or_default()
    };
    let ((least, low), (most, high)) = (end(false), end(true));
    let (lowest, highest) = (quantity(low, "J"), quantity(high, "J"));
    if lowest == highest {
        return format!("{lowest} each");
    }
    format!("{lowest} ({least}) to {highest} ({most})")
}
