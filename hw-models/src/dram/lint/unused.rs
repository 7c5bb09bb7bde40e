//! Numbers that nothing uses: a name that is mistaken would be without effect, and without a word.

use std::collections::BTreeSet;

use banksia_input::{InputError, Source};

use crate::dram::table::RawDevice;

/// What is read by its name from outside the tables: the burst (against the pins), and PIM-GPT's buffer.
const BY_NAME: [&str; 3] = ["nBL", "nBL_min", "global_buffer_bytes"];

/// Refuses a timing or current of a user's file (`own`) that no expression of the device (`merged`, with its bases) uses, unless the
/// file itself lists it under `unused`.
///
/// # Errors
/// There is one: the error names the line, and the name that was meant.
pub fn check_names(source: &Source, own: &RawDevice, merged: &RawDevice) -> Result<(), InputError> {
    let used = used(merged);
    let lost = |name: &str| !used.contains(name) && !own.unused.iter().any(|u| u == name);
    let timings = || used.iter().filter(|n| is_timing(n)).copied();
    let refuse = |key: String, what: &str, name: &str, known: Vec<String>| {
        let help = source.unknown_name(&key, what, name, known.iter().map(String::as_str)).help;
        let problem = format!("is a {what} that no row, command or energy of this device uses: `{name}`");
        Err(InputError { help, ..source.error(&key, problem) })
    };
    for (table, name) in own
        .timing_cycles
        .keys()
        .map(|n| ("timing_cycles", n))
        .chain(own.timing_expressions.keys().map(|n| ("timing_expressions", n)))
    {
        if lost(name) {
            return refuse(format!("{table}.{name}"), "timing", name, timings().map(str::to_owned).collect());
        }
    }
    for name in own.timing_ns.keys() {
        let stem = name.strip_prefix('t').unwrap_or(name);
        if lost(&format!("n{stem}")) && !own.unused.contains(name) {
            let known = timings().map(|n| format!("t{}", &n[1..])).collect();
            return refuse(format!("timing_ns.{name}"), "timing", name, known);
        }
    }
    for name in own.currents_ma.keys() {
        if lost(name) {
            let known = used.iter().filter(|n| n.starts_with('I')).map(|n| (*n).to_owned()).collect();
            return refuse(format!("currents_ma.{name}"), "current", name, known);
        }
    }
    Ok(())
}

/// Parameters that nothing uses. Of a file whose base has not been merged in nothing can be said.
pub(super) fn parameters(raw: &RawDevice, out: &mut Vec<String>) {
    if raw.base.is_some() {
        return;
    }
    let used = used(raw);
    for name in raw.parameters.keys() {
        if !used.contains(name.as_str()) && !raw.unused.contains(name) {
            out.push(format!("`parameters.{name}` is used by no expression of the device"));
        }
    }
}

fn is_timing(name: &str) -> bool {
    name.starts_with('n') && name[1..].starts_with(|c: char| c.is_ascii_uppercase())
}

/// Every name in every expression of a device.
fn used(raw: &RawDevice) -> BTreeSet<&str> {
    let mut out = BTreeSet::from(BY_NAME);
    for text in expressions(raw) {
        out.extend(text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()));
    }
    out
}

fn expressions(raw: &RawDevice) -> Vec<&str> {
    let mut out: Vec<&str> = raw.timing_expressions.values().map(String::as_str).collect();
    for c in &raw.commands {
        out.push(&c.latency);
        out.extend([&c.pin_bytes, &c.internal_bytes, &c.macs].into_iter().flatten().map(String::as_str));
    }
    out.extend(raw.constraints.iter().map(|r| r.cycles.as_str()));
    if let Some(r) = &raw.refresh {
        out.push(&r.interval);
        out.extend([&r.bank_interval, &r.same_bank_interval].into_iter().flatten().map(String::as_str));
    }
    let c = &raw.controller;
    out.extend(
        [&c.activate_deadline, &c.sync_read_keeps, &c.sync_write_keeps].into_iter().flatten().map(String::as_str),
    );
    let e = &raw.energy;
    let standing = [
        &e.active_standby_ma,
        &e.precharge_standby_ma,
        &e.active_power_down_ma,
        &e.precharge_power_down_ma,
        &e.self_refresh_ma,
        &e.standby_vpp_ma,
    ];
    out.extend(standing.into_iter().flatten().map(String::as_str));
    for row in &e.commands {
        let texts = [&row.current_ma, &row.current_vpp_ma, &row.cycles, &row.pj];
        out.extend(texts.into_iter().flatten().map(String::as_str));
    }
    out
}
