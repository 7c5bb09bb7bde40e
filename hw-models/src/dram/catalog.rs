//! The DRAM devices embedded in the binary, and device files given by path.

use std::path::Path;
use std::sync::Arc;

use banksia_input::{InputError, Source};

use super::device::Device;
use super::embedded::{EMBEDDED, RENAMED};
use super::lint::check_names;
use super::table::{RawDevice, RawIsa, RawKernel, RawRowHammer, Reclocked};

/// What the names of embedded sources begin with.
const CATALOG: &str = "catalog:";
/// How deep files may build on one another.
const MAX_DEPTH: usize = 8;

/// The names of the embedded devices (a base without an organisation is none).
pub fn names() -> Vec<&'static str> {
    EMBEDDED.iter().filter(|(_, text)| is_device(text)).map(|(name, _)| *name).collect()
}

/// Whether an embedded file has a clock, or builds on one that has: a base of a standard has none.
fn is_device(text: &str) -> bool {
    let base = text.lines().find_map(|l| l.strip_prefix("base = \"")?.strip_suffix('"'));
    let below = || EMBEDDED.iter().find(|(name, _)| Some(*name) == base);
    text.contains("\nclock_ps = ") || below().is_some_and(|(_, text)| is_device(text))
}

/// The device of a name in the catalog, or of a TOML file where the name is a path (it ends in `.toml`).
///
/// # Errors
/// There is no such device, or its file cannot be used.
pub fn load(name: &str) -> Result<Arc<Device>, InputError> {
    load_from(name, None)
}

/// As [`load`]; a relative path is taken from the folder of `beside` where that is given.
///
/// # Errors
/// There is no such device, or its file cannot be used.
pub fn load_from(name: &str, beside: Option<&Path>) -> Result<Arc<Device>, InputError> {
    let source = open(name, beside)?;
    load_source(&source)
}

/// The device of a source that is already in memory.
///
/// # Errors
/// The source cannot be used.
pub fn load_source(source: &Source) -> Result<Arc<Device>, InputError> {
    let raw = resolve(source)?;
    let device = Device::compile(&raw, source)?;
    if !source.name().starts_with(CATALOG) {
        check_names(source, &parse(source)?, &raw)?;
    }
    Ok(Arc::new(device))
}

/// The table of a name or path with its bases merged in: what `banksia show hardware` prints.
///
/// # Errors
/// There is no such device, or its file cannot be parsed.
pub fn resolved(name: &str) -> Result<RawDevice, InputError> {
    resolve(&open(name, None)?)
}

/// As [`resolved`], of a file that has been opened.
///
/// # Errors
/// As there.
pub fn resolved_source(source: &Source) -> Result<RawDevice, InputError> {
    resolve(source)
}

/// The file of a device, before its bases are merged in: a name in the catalog, or a path that ends in `.toml`.
///
/// # Errors
/// There is no such device, or its file cannot be read.
pub fn open(name: &str, beside: Option<&Path>) -> Result<Source, InputError> {
    if let Some(path) = crate::machines::as_path(name, beside) {
        return Source::read(&path);
    }
    let new = RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new);
    EMBEDDED
        .iter()
        .find(|(n, _)| *n == new)
        .map(|(n, text)| Source::from_text(format!("{CATALOG}{n}"), *text))
        .ok_or_else(|| InputError::unknown_name("catalog", "DRAM device", name, names()))
}

/// A base that is a file is found beside the file that names it.
fn resolve(source: &Source) -> Result<RawDevice, InputError> {
    let mut raw = parse(source)?;
    for (i, command) in raw.commands.iter_mut().enumerate() {
        command.own = Some(i);
    }
    for (i, row) in raw.constraints.iter_mut().enumerate() {
        row.own = Some(i);
    }
    for (i, row) in raw.energy.commands.iter_mut().enumerate() {
        row.own = Some(i);
    }
    let mut folder = source.name().to_owned();
    let mut seen = vec![raw.name.clone()];
    while let Some(base) = raw.base.take() {
        if seen.len() >= MAX_DEPTH || seen.contains(&base) {
            let problem = format!("goes round or too deep: {} -> {base}", seen.join(" -> "));
            return Err(source.error("base", problem).help("a device builds on another that does not build on it"));
        }
        let next = open(&base, Some(Path::new(&folder))).map_err(|e| {
            let problem = format!("names `{base}`, which cannot be used: {}: {}", e.file, e.problem);
            InputError { help: e.help.clone(), ..source.error("base", problem) }
        })?;
        let mut below = parse(&next)?;
        let name = std::mem::take(&mut below.name);
        raw.note_clock(&below, &name);
        raw = raw.over(below);
        raw.bases.push(name);
        folder = next.name().to_owned();
        seen.push(base);
    }
    Ok(raw)
}

/// One file. Two commands of one name in it would be a mistake; in a base, the same name is replaced.
fn parse(source: &Source) -> Result<RawDevice, InputError> {
    let raw: RawDevice = source.parse()?;
    for (i, command) in raw.commands.iter().enumerate() {
        if let Some(first) = raw.commands[..i].iter().position(|other| other.name == command.name) {
            let problem = format!("`{}` is already a command: command[{first}]", command.name);
            return Err(source.error(&format!("command[{i}].name"), problem).help("give it another name"));
        }
    }
    for (i, instruction) in raw.instructions.iter().enumerate() {
        if let Some(first) = raw.instructions[..i].iter().position(|other| other.name == instruction.name) {
            let problem = format!("`{}` is already an instruction: instruction[{first}]", instruction.name);
            return Err(source.error(&format!("instruction[{i}].name"), problem).help("give it another name"));
        }
    }
    Ok(raw)
}

/// Counts of clocks, which a new clock leaves what they are.
const CLOCKS: [&str; 8] = ["nBL", "nBL_min", "nBL_max", "nCCDS", "nCCDS_WR", "nCS", "nPPD", "nCAS"];

/// Currents of which a part goes with the clock.
const WITH_CLOCK: [&str; 5] = ["IDD2N", "IDD3N", "IDD3P", "IDD4R", "IDD4W"];

/// A table that both files may have, key by key.
fn merged<T>(ours: Option<T>, base: Option<T>, over: impl FnOnce(T, T) -> T) -> Option<T> {
    match (ours, base) {
        (Some(ours), Some(base)) => Some(over(ours, base)),
        (ours, base) => ours.or(base),
    }
}

impl RawDevice {
    /// Notes what this file's clock makes of the timings that a base gives in cycles of a slower one.
    fn note_clock(&mut self, base: &Self, name: &str) {
        let (Some(new), Some(old)) = (self.clock_ps, base.clock_ps) else { return };
        if new >= old * 0.9995 {
            return;
        }
        for (timing, cycles) in &base.timing_cycles {
            let ns = format!("t{}", timing.strip_prefix('n').unwrap_or(timing));
            let own = self.timing_cycles.contains_key(timing)
                || self.timing_expressions.contains_key(timing)
                || self.timing_ns.contains_key(&ns);
            if !own && !CLOCKS.contains(&timing.as_str()) {
                let (base, name) = (name.to_owned(), timing.clone());
                self.reclocked.push(Reclocked { base, clock_ps: old, name, cycles: *cycles });
            }
        }
    }

    /// This file's entries written over a base's.
    fn over(self, base: Self) -> Self {
        let mut out = base;
        out.name = self.name;
        out.source = self.source;
        if !self.description.is_empty() {
            out.description = self.description;
        }
        out.preset_of = self.preset_of.or(out.preset_of);
        out.unused.extend(self.unused);
        out.bases = self.bases;
        out.reclocked = self.reclocked;
        // Currents hold at the clock that they were given for, which is that of the file that gives them.
        out.energy.currents_at_ps = self.energy.currents_at_ps.or_else(|| {
            let given = WITH_CLOCK.iter().any(|c| self.currents_ma.contains_key(*c)) || out.currents_ma.is_empty();
            out.energy.currents_at_ps.or(out.clock_ps).filter(|_| !given)
        });
        out.clock_ps = self.clock_ps.or(out.clock_ps);
        out.ticks_per_clock = self.ticks_per_clock.or(out.ticks_per_clock);
        let (org, ours) = (&mut out.organization, self.organization);
        if !ours.levels.is_empty() {
            org.levels = ours.levels;
        }
        org.count.extend(ours.count);
        org.rows = ours.rows.or(org.rows);
        org.columns = ours.columns.or(org.columns);
        org.access_bytes = ours.access_bytes.or(org.access_bytes);
        org.data_pins = ours.data_pins.or(org.data_pins);
        org.ecc_pins = ours.ecc_pins.or(org.ecc_pins);
        org.pin_gbps = ours.pin_gbps.or(org.pin_gbps);
        org.devices = ours.devices.or(org.devices);
        org.standby_level = ours.standby_level.or(org.standby_level.take());
        // A timing given in another form replaces the base's.
        for name in self.timing_cycles.keys().chain(self.timing_expressions.keys()) {
            let stem = name.strip_prefix('n').unwrap_or(name);
            out.timing_cycles.remove(name);
            out.timing_expressions.remove(name);
            out.timing_ns.remove(&format!("t{stem}"));
        }
        for name in self.timing_ns.keys() {
            let cycles = format!("n{}", name.strip_prefix('t').unwrap_or(name));
            out.timing_cycles.remove(&cycles);
            out.timing_expressions.remove(&cycles);
        }
        out.timing_cycles.extend(self.timing_cycles);
        out.timing_ns.extend(self.timing_ns);
        out.timing_expressions.extend(self.timing_expressions);
        // A figure that this file gives itself is no longer the base's assumption, but where it says so again.
        let given = |figure: &String| self.currents_ma.contains_key(figure) || self.parameters.contains_key(figure);
        out.energy.assumed.retain(|a| !given(&a.figure));
        for assumed in self.energy.assumed {
            out.energy.assumed.retain(|a| (&a.part, &a.figure) != (&assumed.part, &assumed.figure));
            out.energy.assumed.push(assumed);
        }
        out.currents_ma.extend(self.currents_ma);
        out.parameters.extend(self.parameters);
        for command in self.commands {
            match out.commands.iter_mut().find(|c| c.name == command.name) {
                Some(same) => *same = command,
                None => out.commands.push(command),
            }
        }
        out.constraints.extend(self.constraints);
        out.refresh = self.refresh.or(out.refresh);
        out.row_hammer = merged(self.row_hammer, out.row_hammer, RawRowHammer::over);
        out.isa = merged(self.isa, out.isa, RawIsa::over);
        out.kernel = merged(self.kernel, out.kernel, RawKernel::over);
        for instruction in self.instructions {
            match out.instructions.iter_mut().find(|i| i.name == instruction.name) {
                Some(same) => *same = instruction,
                None => out.instructions.push(instruction),
            }
        }
        let (ours, base) = (self.controller, &mut out.controller);
        let fields = [
            (ours.activate, &mut base.activate),
            (ours.activate_second, &mut base.activate_second),
            (ours.activate_deadline, &mut base.activate_deadline),
            (ours.precharge, &mut base.precharge),
            (ours.precharge_all, &mut base.precharge_all),
            (ours.read, &mut base.read),
            (ours.write, &mut base.write),
            (ours.read_precharge, &mut base.read_precharge),
            (ours.write_precharge, &mut base.write_precharge),
            (ours.sync_read, &mut base.sync_read),
            (ours.sync_write, &mut base.sync_write),
            (ours.sync_read_keeps, &mut base.sync_read_keeps),
            (ours.sync_write_keeps, &mut base.sync_write_keeps),
            (ours.power_down, &mut base.power_down),
            (ours.self_refresh, &mut base.self_refresh),
            (ours.power_up, &mut base.power_up),
            (ours.self_refresh_exit, &mut base.self_refresh_exit),
        ];
        for (given, kept) in fields {
            if given.is_some() {
                *kept = given;
            }
        }
        out.energy.vdd_v = self.energy.vdd_v.or(out.energy.vdd_v);
        out.energy.active_standby_ma = self.energy.active_standby_ma.or(out.energy.active_standby_ma);
        out.energy.precharge_standby_ma = self.energy.precharge_standby_ma.or(out.energy.precharge_standby_ma);
        out.energy.active_power_down_ma = self.energy.active_power_down_ma.or(out.energy.active_power_down_ma);
        out.energy.precharge_power_down_ma = self.energy.precharge_power_down_ma.or(out.energy.precharge_power_down_ma);
        out.energy.self_refresh_ma = self.energy.self_refresh_ma.or(out.energy.self_refresh_ma);
        out.energy.vpp_v = self.energy.vpp_v.or(out.energy.vpp_v);
        out.energy.standby_vpp_ma = self.energy.standby_vpp_ma.or(out.energy.standby_vpp_ma);
        out.energy.unknown.extend(self.energy.unknown);
        out.energy.commands.extend(self.energy.commands);
        out.base = self.base.or(out.base);
        out
    }
}
