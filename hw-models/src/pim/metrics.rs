//! Rates and shares of a PIM machine.

use std::collections::BTreeMap;

use super::{Drive, HostKernel, PimMachine};
use crate::dram::device::Command;
use crate::outcome::Outcome;

/// The command that multiplies most, and the cycles between two of it.
fn mac(machine: &PimMachine) -> Option<(&Command, u64)> {
    let device = &machine.device;
    let mac = device.commands.iter().filter(|c| c.macs > 0).max_by_key(|c| c.macs)?;
    let id = device.command(&mac.name)?;
    let gap = device.timing.iter().filter(|r| r.from == id && r.to == id && r.window == 1).map(|r| r.cycles).max();
    Some((mac, gap.unwrap_or(1)))
}

fn rate(machine: &PimMachine, of: impl Fn(&Command) -> u32, of_blocks: impl Fn(&HostKernel) -> u64) -> f64 {
    let device = &machine.device;
    let clock_s = device.clock_fs as f64 * 1e-15;
    let a_channel = match &machine.drive {
        // A read multiplies in every block at once, as often as one bank can be read.
        Drive::Accesses(kernel) => {
            let read = device.roles.map(|r| r.read);
            let gaps = device.timing.iter().filter(|r| Some(r.from) == read && Some(r.to) == read && r.window == 1);
            of_blocks(kernel) as f64 / (gaps.map(|r| r.cycles).max().unwrap_or(1) as f64 * clock_s)
        }
        _ => mac(machine).map_or(0.0, |(m, gap)| f64::from(of(m)) / (gap as f64 * clock_s)),
    };
    a_channel * f64::from(machine.channels())
}

/// Multiply-accumulates a second, of all units of all channels together.
pub fn peak_macs_per_s(machine: &PimMachine) -> f64 {
    rate(machine, |c| c.macs, HostKernel::macs_of_read)
}

/// Bytes a second that banks deliver to their units, of all channels together.
pub fn peak_bandwidth_bytes_per_s(machine: &PimMachine) -> f64 {
    rate(machine, |c| c.internal_bytes, HostKernel::bytes_of_read)
}

pub(super) fn metrics(machine: &PimMachine, outcome: &Outcome) -> BTreeMap<String, f64> {
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    let latency_s = outcome.latency.as_secs_f64();
    let bytes = |channel: &str| outcome.traffic(channel) as f64;
    let pins = bytes("pins_read") + bytes("pins_write");
    let pin_peak = machine.device.pin_bandwidth() * f64::from(machine.channels());
    let useful_macs: f64 = outcome.operators.iter().map(|o| o.pim_flops / 2.0).sum();
    let refresh = machine
        .device
        .refresh
        .map_or(0, |r| outcome.commands.get(&machine.device.spec(r.command).name).copied().unwrap_or(0));
    let (accesses, misses) = (outcome.count("accesses") as f64, outcome.count("row_misses") as f64);
    let mut metrics = BTreeMap::from([
        ("row_hit_rate".to_owned(), 1.0 - ratio(misses, accesses)),
        ("mac_utilization".to_owned(), ratio(useful_macs, outcome.count("mac_slots") as f64)),
        ("bank_bandwidth_bytes_per_s".to_owned(), ratio(bytes("bank_internal"), latency_s)),
        ("pin_bandwidth_bytes_per_s".to_owned(), ratio(pins, latency_s)),
        ("pin_utilization".to_owned(), ratio(pins, latency_s * pin_peak)),
        ("refreshes_per_channel".to_owned(), refresh as f64 / f64::from(machine.channels())),
        ("refresh_enabled".to_owned(), f64::from(u8::from(machine.file.memory.refresh))),
    ]);
    // Parts of the energy that the device's file does not give: the whole is at least what is said.
    let unknown = machine.device.energy.unknown.len();
    if unknown > 0 {
        metrics.insert("energy_unknown_parts".to_owned(), unknown as f64);
    }
    metrics
}
