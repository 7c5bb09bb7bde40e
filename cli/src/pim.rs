//! `banksia pim`: instructions of a PIM device.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use banksia_hw::dram::{Device, catalog};
use banksia_hw::pim::{HostKernel, IsaMachine, IsaOutcome, IsaSet, parse_shape};
use banksia_input::InputError;
use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::CliError;
use crate::args::Format;
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
    /// Issue refreshes.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub refresh: Switch,
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
}

/// Runs it and gives what is to be printed.
///
/// # Errors
/// Bad input.
pub fn output(args: &PimArgs) -> Result<String, CliError> {
    let device = load(&args.device)?;
    let refresh = args.refresh == Switch::On;
    let (outcome, channels) = if catalog::resolved(&args.device)?.kernel.is_some() {
        host_kernel(args, &device, refresh)?
    } else {
        instructions(args, &device, refresh)?
    };
    let ticks = u64::from(device.ticks_per_clock);
    let clock_fs = device.clock_fs * ticks;
    let standing = outcome.standby_nodes.saturating_mul(outcome.cycles);
    let energy_j =
        device.energy.joules(&outcome.counts, outcome.active_cycles, standing.saturating_sub(outcome.active_cycles));
    let issued = || device.commands.iter().zip(&outcome.counts);
    let report = PimReport {
        device: device.name.clone(),
        channels,
        cycles: outcome.cycles.div_ceil(ticks),
        clock_ps: clock_fs as f64 / 1000.0,
        latency_s: outcome.cycles as f64 * device.clock_fs as f64 * 1e-15,
        refresh,
        commands: issued().filter(|(_, n)| **n > 0).map(|(c, n)| (c.name.clone(), *n)).collect(),
        macs: issued().map(|(c, n)| u64::from(c.macs) * n).sum(),
        energy_total_j: energy_j.values().sum(),
        energy_j: device.energy.known(&energy_j),
    };
    match args.format {
        Format::Json => serde_json::to_string_pretty(&report)
            .map(|text| text + "\n")
            .map_err(|e| CliError::Failed(format!("the report cannot be written as JSON: {e}"))),
        Format::Table => Ok(table(&report)),
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
    let mut machine = IsaMachine::new(device.clone(), set.clone(), refresh)?;
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
    let mut kernel = HostKernel::new(&args.device, device)?;
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
    row("time", format!("{} cycles of {} ps = {:.3} us", r.cycles, r.clock_ps, r.latency_s * 1e6));
    row("refresh", if r.refresh { "on" } else { "off" }.into());
    row("MACs", format!("{} ({:.2} G/s)", r.macs, r.macs as f64 / r.latency_s.max(1e-15) / 1e9));
    let commands: Vec<String> = r.commands.iter().map(|(c, n)| format!("{c} {n}")).collect();
    row("commands", commands.join(", "));
    row("energy", energy_row(&r.energy_j));
    out
}
