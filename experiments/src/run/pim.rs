//! What a report says of a PIM machine.

use std::collections::BTreeMap;

use banksia_hw::outcome::Outcome;
use banksia_hw::pim::PimMachine;
use banksia_reports::MachineInfo;

use super::{Facts, ratio};

pub(super) fn facts(machine: &PimMachine, outcome: &Outcome) -> Facts {
    let device = &machine.device;
    let channels = f64::from(machine.channels());
    let mac = device.commands.iter().filter(|c| c.macs > 0).max_by_key(|c| c.macs);
    let mac_gap = mac.and_then(|m| {
        let id = device.command(&m.name)?;
        device.timing.iter().filter(|r| r.from == id && r.to == id && r.window == 1).map(|r| r.cycles).max()
    });
    let clock_s = device.clock_fs as f64 * 1e-15;
    let macs_per_s = mac.map_or(0.0, |m| f64::from(m.macs) / (mac_gap.unwrap_or(1) as f64 * clock_s)) * channels;
    let bank_rate =
        mac.map_or(0.0, |m| f64::from(m.internal_bytes) / (mac_gap.unwrap_or(1) as f64 * clock_s)) * channels;
    let info = MachineInfo {
        name: machine.file.name.clone(),
        kind: machine.file.kind.clone(),
        peak_flops_per_s: 2.0 * macs_per_s,
        peak_bandwidth_bytes_per_s: bank_rate,
        capacity_bytes: machine.capacity_bytes(),
    };
    Facts { machine: info, metrics: metrics(machine, outcome) }
}

fn metrics(machine: &PimMachine, outcome: &Outcome) -> BTreeMap<String, f64> {
    let latency_s = outcome.latency.as_secs_f64();
    let bytes = |channel: &str| -> f64 {
        let all = outcome.components.iter().filter_map(|c| c.traffic_bytes.get(channel));
        all.sum::<u64>() as f64
    };
    let pins = bytes("pins_read") + bytes("pins_write");
    let pin_peak = machine.device.pin_bandwidth() * f64::from(machine.channels());
    let useful_macs: f64 = outcome.operators.iter().map(|o| o.pim_flops / 2.0).sum();
    let refresh = machine
        .device
        .refresh
        .map_or(0, |r| outcome.commands.get(&machine.device.spec(r.command).name).copied().unwrap_or(0));
    BTreeMap::from([
        ("row_hit_rate".to_owned(), 1.0 - ratio(outcome.misses as f64, outcome.accesses as f64)),
        ("mac_utilization".to_owned(), ratio(useful_macs, outcome.mac_slots as f64)),
        ("bank_bandwidth_bytes_per_s".to_owned(), ratio(bytes("bank_internal"), latency_s)),
        ("pin_bandwidth_bytes_per_s".to_owned(), ratio(pins, latency_s)),
        ("pin_utilization".to_owned(), ratio(pins, latency_s * pin_peak)),
        ("refreshes_per_channel".to_owned(), refresh as f64 / f64::from(machine.channels())),
        ("refresh_enabled".to_owned(), f64::from(u8::from(machine.file.memory.refresh))),
    ])
}
