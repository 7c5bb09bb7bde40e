//! Refreshes: each takes energy and time, and whatever their kind, a tREFI of them refreshes every bank once and takes the same energy.

use crate::dram::Cycle;
use crate::dram::device::{CommandId, Device, Effect};
use crate::dram::table::RawDevice;

/// How far intervals, rounded to clocks, and energies may lie from one another.
const ROUNDING: f64 = 0.02;

/// Looks a device's refresh commands over.
pub(super) fn refreshes(raw: &RawDevice, device: &Device, out: &mut Vec<String>) {
    for (i, spec) in device.commands.iter().enumerate() {
        if spec.effect != Effect::Refresh {
            continue;
        }
        let id = CommandId(i as u8);
        // One that a base brings, and that nothing in this device issues, costs nothing.
        let own = raw.commands.get(i).is_some_and(|c| c.own.is_some());
        if energy(device, id) <= 0.0 && (own || issued(raw, &spec.name)) {
            out.push(format!("{} refreshes, and takes no energy", spec.name));
        }
        blocks(device, id, out);
    }
    let Some(all) = device.refresh else { return };
    let Some(roles) = device.roles else { return };
    let rank = device.levels[device.spec(all.command).scope.0 as usize].banks;
    // A refresh of the same bank of every bank group is one of fine granularity: each refreshes half as many rows.
    for (kind, halves) in [(roles.refresh_bank, 1.0), (roles.refresh_same_bank, 2.0)] {
        let Some((command, interval)) = kind else { continue };
        let name = &device.spec(command).name;
        let issues = all.interval as f64 / interval as f64;
        let times = issues * f64::from(device.spread(command).0) / f64::from(rank);
        if (times / halves - 1.0).abs() > ROUNDING {
            out.push(format!("{name} refreshes each bank {times:.2} times in tREFI: must be {halves}"));
        }
        let (ours, theirs) = (issues * energy(device, command), energy(device, all.command));
        if (ours / theirs - 1.0).abs() > ROUNDING {
            let all = &device.spec(all.command).name;
            out.push(format!("a tREFI of {name} takes {ours:.0} pJ, and one of {all} {theirs:.0}"));
        }
    }
}

/// Whether a controller or an instruction issues a refresh command.
fn issued(raw: &RawDevice, name: &str) -> bool {
    let named = raw.refresh.as_ref().is_some_and(|r| {
        let others = [&r.bank_command, &r.same_bank_command];
        r.command == name || others.iter().any(|c| c.as_deref() == Some(name))
    });
    named || raw.instructions.iter().any(|i| i.command.as_deref() == Some(name))
}

/// Energy of one issue, picojoules.
fn energy(device: &Device, command: CommandId) -> f64 {
    device.energy.per_issue_pj[command.0 as usize].iter().sum()
}

/// Whether a refresh keeps its banks from activations and from other refreshes for as long as it takes.
fn blocks(device: &Device, refresh: CommandId, out: &mut Vec<String>) {
    let spec = device.spec(refresh);
    let name = &spec.name;
    if spec.latency == 0 {
        out.push(format!("{name} refreshes, and takes no time"));
    }
    let openers =
        device.commands.iter().enumerate().filter(|(_, c)| matches!(c.effect, Effect::Open | Effect::OpenFirst));
    // The second half of an activation waits for its first.
    let second = device.roles.and_then(|r| r.activate_second).map(|(c, _)| c);
    let others = device.commands.iter().enumerate().filter(|(_, c)| c.effect == Effect::Refresh);
    for (to, later) in openers.chain(others).map(|(i, c)| (CommandId(i as u8), c)).filter(|(id, _)| Some(*id) != second)
    {
        // At the level of the larger of both: a row there holds for every bank that both act on.
        let meet = spec.scope.min(later.scope);
        let rows = device
            .timing
            .iter()
            .filter(|r| r.from == refresh && r.to == to && !r.sibling && r.window == 1 && r.level <= meet);
        // Rows count from the first cycle on the bus, refreshes from the last.
        let waits = rows.map(|r| r.cycles + later.bus_cycles).max().unwrap_or(0);
        let blocked: Cycle = waits.saturating_sub(spec.bus_cycles);
        if blocked < spec.latency {
            let (later, latency) = (&later.name, spec.latency);
            out.push(format!("{name} takes {latency} ticks, and keeps {later} from its banks for {blocked}"));
        }
    }
}
