//! What cannot be right in a device, though every number of it is a number.

mod floors;
mod refreshes;
mod unused;

use banksia_input::{InputError, Source};

pub use unused::check_names;

use super::device::{CommandId, Device, Effect};
use super::table::RawDevice;

/// Something that a device of this kind cannot have, in words that name the timings at fault.
pub type Finding = String;

/// Looks a resolved device over. An empty list means that nothing contradicts the standards' own relations.
pub fn lint(raw: &RawDevice, device: &Device) -> Vec<Finding> {
    let mut out = Vec::new();
    relations(device, &mut out);
    data_rate(device, &mut out);
    missing_rows(device, &mut out);
    refreshes::refreshes(raw, device, &mut out);
    units(raw, &mut out);
    unused::parameters(raw, &mut out);
    floors::floors(raw, device, &mut out);
    reclocked(raw, &mut out);
    if raw.source.trim().len() < 12 {
        out.push("`source` does not say where the numbers come from".into());
    }
    if device.energy.parts.is_empty() {
        out.push("no command has an energy".into());
    }
    if let Some(refresh) = device.refresh {
        let busy = device.spec(refresh.command).latency;
        if busy >= refresh.interval {
            out.push(format!("a refresh takes {busy} cycles, of the {} between two", refresh.interval));
        }
    }
    out
}

/// Timings that stand in a fixed relation in every standard.
fn relations(device: &Device, out: &mut Vec<Finding>) {
    let t = |name: &str| device.timing(name);
    for (long, short) in [
        ("nRRDL", "nRRDS"),
        ("nCCDL", "nCCDS"),
        ("nWTRL", "nWTRS"),
        ("nCCDL_WR", "nCCDS_WR"),
        ("nRFC", "nRFCpb"),
        ("nRFCab", "nRFCpb"),
        ("nFAW", "nRRDS"),
        ("nFAW", "nRRD"),
        ("nREFI", "nREFIpb"),
        ("nRAS", "nRCDRD"),
        ("nRAS", "nRCD"),
    ] {
        // Where rows are counted, a row is restored before its first column can be read: the precharge takes the rest.
        let counts = long == "nRAS" && device.row_hammer.is_some_and(|o| o.counting.is_some());
        if let (Some(l), Some(s)) = (t(long), t(short))
            && l < s
            && !counts
        {
            out.push(format!("{long} is {l}, less than {short}, {s}"));
        }
    }
    if let (Some(rc), Some(ras), Some(rp)) = (t("nRC"), t("nRAS"), t("nRP"))
        && (rc - ras - rp).abs() > f64::max(1.0, 0.04 * rc)
    {
        out.push(format!("nRC is {rc}, and nRAS + nRP is {}: more than rounding apart", ras + rp));
    }
}

/// Refuses a device whose accesses move more than its pins carry: a burst that is over sooner than the pins need for its bytes, or
/// reads or writes that follow one another sooner. What it would be given for bandwidth lies above its peak. `source` is its file.
///
/// # Errors
/// The device is such a one.
pub fn check_pins(source: &Source, device: &Device) -> Result<(), InputError> {
    let carry_ps = carry_ps(device);
    let tick_ps = device.clock_fs as f64 / 1000.0;
    let help = "check the burst, access_bytes, data_pins and pin_gbps against one another";
    if let Some((name, burst_ps)) = burst_ps(device).filter(|(_, ps)| *ps < carry_ps * 0.995) {
        let problem = format!(
            "lasts {burst_ps} ps, and the pins need {carry_ps:.0} ps for the {} bytes of a burst",
            device.access_bytes
        );
        return Err(source.error(&format!("timing_cycles.{name}"), problem).help(help));
    }
    let Some(roles) = device.roles else { return Ok(()) };
    for command in [roles.read, roles.write] {
        let apart = closest(device, command);
        if apart as f64 * tick_ps < carry_ps * 0.995 {
            let problem = format!(
                "let `{0}` follow `{0}` after {1} ps, and the pins need {carry_ps:.0} ps for the {2} bytes of an access",
                device.spec(command).name,
                (apart as f64 * tick_ps).round(),
                device.access_bytes
            );
            return Err(source.error("constraints", problem).help(help));
        }
    }
    Ok(())
}

/// The least ticks from a command at one bank to the same at any other on the same pins, or at the same bank.
fn closest(device: &Device, command: CommandId) -> u64 {
    let rows: Vec<_> = device
        .timing
        .iter()
        .filter(|r| r.from == command && r.to == command && r.window == 1)
        .map(|r| (&device.levels[r.level.0 as usize], r.cycles, r.sibling))
        .collect();
    let pins = device.levels.iter().find(|l| l.name == "pseudochannel").map_or(device.banks, |l| l.banks);
    // Two banks stand to one another as the first does to the first of another node of some level.
    let others = device.levels.iter().map(|l| l.banks).filter(|b| *b < pins).chain([0]);
    others
        .map(|other| {
            let waits = rows.iter().filter(|(level, _, sibling)| {
                let node = other / level.banks;
                if *sibling { node > 0 && node < level.per_parent } else { node == 0 }
            });
            waits.map(|(_, cycles, _)| *cycles).max().unwrap_or(0).max(device.spec(command).bus_cycles)
        })
        .min()
        .unwrap_or(0)
}

/// Picoseconds that the pins need for an access. Pseudo-channels have their pins each.
fn carry_ps(device: &Device) -> f64 {
    let parts = device.levels.iter().find(|l| l.name == "pseudochannel").map_or(1, |l| l.per_parent);
    let pins = f64::from(device.data_pins) / f64::from(parts);
    f64::from(device.access_bytes) * 8.0 / (pins * device.pin_gbps) * 1000.0
}

/// The name of the burst's timing and its picoseconds, where the device names one.
fn burst_ps(device: &Device) -> Option<(&'static str, f64)> {
    let (name, cycles) = ["nBL", "nBL_min"].into_iter().find_map(|n| Some((n, device.timing(n)?)))?;
    Some((name, cycles * device.clock_fs as f64 / 1000.0 * f64::from(device.ticks_per_clock)))
}

/// The pins carry an access in the cycles of a burst.
fn data_rate(device: &Device, out: &mut Vec<Finding>) {
    let Some((name, burst_ps)) = burst_ps(device) else { return };
    let (burst, carry_ps) = (device.timing(name).unwrap_or(0.0), carry_ps(device));
    if burst_ps < carry_ps * 0.995 {
        out.push(format!(
            "a burst lasts {burst_ps} ps, and the pins need {carry_ps:.0} ps for its {} bytes",
            device.access_bytes
        ));
    }
    if burst_ps > carry_ps * 1.005 && burst > 1.0 && (burst - 1.0) * burst_ps / burst >= carry_ps * 0.995 {
        out.push(format!("a burst lasts {burst_ps} ps, and the pins need only {carry_ps:.0} ps"));
    }
}

/// Pairs of commands between which every DRAM waits.
fn missing_rows(device: &Device, out: &mut Vec<Finding>) {
    let Some(roles) = device.roles else { return };
    let has = |from, to| device.timing.iter().any(|r| r.from == from && r.to == to);
    let name = |c| &device.spec(c).name;
    let mut need = vec![
        (roles.activate, roles.activate),
        (roles.activate, roles.read),
        (roles.activate, roles.write),
        (roles.activate, roles.precharge),
        (roles.precharge, roles.activate),
        (roles.read, roles.precharge),
        (roles.write, roles.precharge),
        (roles.read, roles.write),
        (roles.write, roles.read),
    ];
    if let Some(refresh) = device.refresh {
        need.extend([(refresh.command, roles.activate), (roles.precharge_all, refresh.command)]);
    }
    for (from, to) in need {
        if !has(from, to) {
            out.push(format!("no row between {} and {}", name(from), name(to)));
        }
    }
    if device.refresh.is_none() && device.commands.iter().any(|c| c.effect == Effect::Refresh) {
        out.push("has a refresh command, and no [refresh] that issues it".into());
    }
}

/// A new clock over a base that gives its timings in cycles.
fn reclocked(raw: &RawDevice, out: &mut Vec<Finding>) {
    let (Some(first), Some(clock)) = (raw.reclocked.first(), raw.clock_ps) else { return };
    let shorter: Vec<String> = raw
        .reclocked
        .iter()
        .map(|r| {
            let ns = |ps: f64| r.cycles as f64 * ps / 1000.0;
            format!("{} {:.2} ns to {:.2}", r.name, ns(r.clock_ps), ns(clock))
        })
        .collect();
    out.push(format!(
        "a clock of {clock} ps over `{}`, which gives its timings in cycles of {} ps, shortens {}: give them again, in [timing_ns]",
        first.base,
        first.clock_ps,
        shorter.join(", ")
    ));
}

/// A quantity's unit is in its key.
fn units(raw: &RawDevice, out: &mut Vec<Finding>) {
    const UNITS: [&str; 14] = [
        "_pj_per_bit",
        "_pj",
        "_mw",
        "_ns",
        "_ps",
        "_ma",
        "_v",
        "_bytes",
        "_bits",
        "_share",
        "_per_refresh",
        "_per_retention",
        "rows",
        "_lanes",
    ];
    for key in raw.parameters.keys() {
        if !UNITS.iter().any(|u| key.ends_with(u)) {
            out.push(format!("`parameters.{key}` does not end in its unit"));
        }
    }
}
