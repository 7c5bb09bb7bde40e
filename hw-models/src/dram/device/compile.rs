//! From a device's table to its dense arrays: units, names and ranges are checked here.

use banksia_input::{InputError, Source};

use super::{Command, CommandId, Device, Level, LevelId, Refresh, Ring, TimingRow, Update};
use crate::dram::Cycle;
use crate::dram::energy::EnergyModel;
use crate::dram::expr::{Symbols, evaluate_integer};
use crate::dram::table::{RawCommand, RawConstraint, RawData, RawDevice, RawEffect, RawNeeds, entry_path};

/// The most bytes of one channel: those of a machine's 128 channels together still count in 64 bits.
const MAX_CHANNEL_BYTES: u64 = 1 << 56;

/// Row buffers of a bank, at most.
const MOST_ROW_BUFFERS: u8 = 4;

/// A table on its way to a [`Device`].
pub(in crate::dram) struct Compiler<'a> {
    pub(in crate::dram) raw: &'a RawDevice,
    pub(in crate::dram) source: &'a Source,
    symbols: Symbols,
    ticks: u32,
}

impl Device {
    /// Resolves and compiles a table whose base has already been merged in. `source` is the file for errors.
    ///
    /// # Errors
    /// Something is missing, out of range, of the wrong unit, or names what does not exist.
    pub fn compile(raw: &RawDevice, source: &Source) -> Result<Self, InputError> {
        Compiler::new(raw, source).device()
    }
}

impl<'a> Compiler<'a> {
    pub(in crate::dram) fn new(raw: &'a RawDevice, source: &'a Source) -> Self {
        Self { raw, source, symbols: Symbols::new(), ticks: 1 }
    }

    fn need<T: Copy>(&self, key: &str, value: Option<T>) -> Result<T, InputError> {
        value.ok_or_else(|| {
            self.source.error(key, "is missing, here and in the base").help("every DRAM device needs this key")
        })
    }

    pub(in crate::dram) fn device(mut self) -> Result<Device, InputError> {
        let raw = self.raw;
        let src = self.source;
        if raw.source.trim().is_empty() {
            return Err(src.error("source", "is empty").help("say where the numbers come from"));
        }
        let clock_ps = src.check("clock_ps", self.need("clock_ps", raw.clock_ps)?, 1.0..=1e6)?;
        self.ticks = src.check("ticks_per_clock", raw.ticks_per_clock.unwrap_or(1), 1..=2)?;
        let levels = self.levels()?;
        let banks = levels.last().map_or(0, |l| l.nodes);
        let org = &raw.organization;
        let key = |k: &str| format!("organization.{k}");
        let rows = src.check(&key("rows"), self.need(&key("rows"), org.rows)?, 1..=1 << 26)?;
        let columns = src.check(&key("columns"), self.need(&key("columns"), org.columns)?, 1..=1 << 20)?;
        let access_bytes =
            src.check(&key("access_bytes"), self.need(&key("access_bytes"), org.access_bytes)?, 1..=4096)?;
        let data_pins = src.check(&key("data_pins"), self.need(&key("data_pins"), org.data_pins)?, 1..=65536)?;
        let ecc_pins = src.check(&key("ecc_pins"), org.ecc_pins.unwrap_or(0), 0..=data_pins)?;
        self.check_beats(&levels, access_bytes, data_pins)?;
        let pin_gbps = src.check(&key("pin_gbps"), self.need(&key("pin_gbps"), org.pin_gbps)?, 1e-3..=1e3)?;
        let bytes = u128::from(banks) * u128::from(rows) * u128::from(columns) * u128::from(access_bytes);
        if bytes > u128::from(MAX_CHANNEL_BYTES) {
            let problem = format!("makes a channel of {bytes} bytes: at most {MAX_CHANNEL_BYTES}");
            return Err(src
                .error(&key("rows"), problem)
                .help("check rows, columns, access_bytes and the counts of the levels"));
        }
        let devices = src.check(&key("devices"), org.devices.unwrap_or(1), 1..=1024)?;

        self.symbols.insert("clock_ps".into(), clock_ps);
        self.symbols.insert("access_bytes".into(), f64::from(access_bytes));
        self.symbols.insert("data_pins".into(), f64::from(data_pins));
        self.symbols.insert("pin_gbps".into(), pin_gbps);
        self.symbols.insert("banks".into(), f64::from(banks));
        self.symbols.insert("rows".into(), f64::from(rows));
        self.symbols.insert("row_bytes".into(), f64::from(columns) * f64::from(access_bytes));
        for level in &levels {
            self.symbols.insert(format!("banks_per_{}", level.name), f64::from(level.banks));
        }
        if let Some(kernel) = &raw.kernel {
            for (name, count) in [("blocks", kernel.blocks), ("lanes", kernel.lanes)] {
                if let Some(n) = count {
                    let n = src.check(&format!("kernel.{name}"), n, 1..=65_536)?;
                    self.symbols.insert(format!("kernel_{name}"), f64::from(n));
                }
            }
        }
        self.timings(clock_ps)?;

        let commands = self.commands(&levels, access_bytes)?;
        let timing = self.rows(&levels, &commands)?;
        let refresh = raw.refresh.as_ref().map(|r| self.refresh(r, &levels, &commands, &timing)).transpose()?;
        let standby_name = org.standby_level.clone().unwrap_or_else(|| "channel".into());
        let standby = self.level_named("organization.standby_level", &standby_name, &levels)?;
        let roles = self.roles(&levels, &commands)?;
        let row_hammer = self.row_hammer(&levels, &commands, roles.as_ref())?;
        let defaults = self.controller_defaults(&commands)?;
        let mut energy = EnergyModel::compile(raw, src, &self.symbols, &commands, devices, clock_ps)?;
        energy.per_tick(self.ticks);

        let symbols = self.symbols.iter().map(|(k, v)| (k.clone(), *v)).collect();
        let used = commands.iter().fold(1, |all, c| all | c.row_buffers);
        let mut device = Device {
            row_buffers: u8::BITS - used.leading_zeros(),
            name: raw.name.clone(),
            description: raw.description.clone(),
            source: raw.source.clone(),
            clock_fs: (clock_ps * 1000.0 / f64::from(self.ticks)).round() as u64,
            ticks_per_clock: self.ticks,
            banks,
            rows,
            columns,
            access_bytes,
            data_pins,
            ecc_pins,
            pin_gbps,
            commands,
            timing,
            refresh,
            roles,
            row_hammer,
            defaults,
            standby,
            energy,
            symbols,
            updates: Vec::new(),
            update_ranges: Vec::new(),
            rings: Vec::new(),
            ring_slots: 0,
            level_base: Vec::new(),
            node_at: Vec::new(),
            ready_nodes: 0,
            levels,
        };
        device.flatten();
        Ok(device)
    }

    fn timings(&mut self, clock_ps: f64) -> Result<(), InputError> {
        for (name, value) in &self.raw.parameters {
            let key = format!("parameters.{name}");
            self.source.check(&key, *value, -1e12..=1e12)?;
            self.symbols.insert(name.clone(), *value);
        }
        for (name, value) in &self.raw.currents_ma {
            self.source.check(&format!("currents_ma.{name}"), *value, 0.0..=1e5)?;
            self.symbols.insert(name.clone(), *value);
        }
        for (name, value) in &self.raw.timing_cycles {
            let key = format!("timing_cycles.{name}");
            if !name.starts_with('n') {
                return Err(self
                    .source
                    .error(&key, "must begin with `n`: a timing in cycles")
                    .help("write `nRCD` under [timing_cycles], or `tRCD` under [timing_ns]"));
            }
            self.source.check(&key, *value, 0..=1_000_000_000)?;
            self.symbols.insert(name.clone(), *value as f64);
        }
        for (name, value) in &self.raw.timing_ns {
            let key = format!("timing_ns.{name}");
            let Some(stem) = name.strip_prefix('t') else {
                return Err(self
                    .source
                    .error(&key, "must begin with `t`: a timing in nanoseconds")
                    .help("write `tRCD` under [timing_ns], or `nRCD` under [timing_cycles]"));
            };
            let cycles_name = format!("n{stem}");
            if self.raw.timing_cycles.contains_key(&cycles_name) {
                return Err(self.source.error(&key, format!("is given again as `{cycles_name}` in cycles")));
            }
            self.source.check(&key, *value, 0.0..=1e9)?;
            self.symbols.insert(cycles_name, (value * 1000.0 / clock_ps - 1e-6).ceil().max(0.0));
        }
        // Computed timings may use one another in any order; as many passes as there are of them settle every chain.
        let mut pending: Vec<(&String, &String)> = self.raw.timing_expressions.iter().collect();
        while !pending.is_empty() {
            let before = pending.len();
            let mut first_problem = None;
            pending.retain(|(name, text)| match evaluate_integer(text, &self.symbols) {
                Ok(value) => {
                    self.symbols.insert((*name).clone(), value as f64);
                    false
                }
                Err(problem) => {
                    first_problem.get_or_insert(((*name).clone(), problem));
                    true
                }
            });
            if pending.len() == before
                && let Some((name, problem)) = first_problem
            {
                return Err(self.source.error(&format!("timing_expressions.{name}"), problem));
            }
        }
        for name in self.raw.timing_expressions.keys() {
            let value = self.symbols[name];
            self.source.check(&format!("timing_expressions.{name}"), value, 0.0..=1e9)?;
        }
        Ok(())
    }

    fn level_named(&self, key: &str, name: &str, levels: &[Level]) -> Result<LevelId, InputError> {
        levels
            .iter()
            .position(|l| l.name == name)
            .map(|i| LevelId(i as u8))
            .ok_or_else(|| self.source.unknown_name(key, "level", name, levels.iter().map(|l| l.name.as_str())))
    }

    fn integer(&self, key: &str, text: &str, max: i64) -> Result<i64, InputError> {
        let value = evaluate_integer(text, &self.symbols).map_err(|p| self.source.error(key, p))?;
        self.source.check(key, value, 0..=max)
    }

    /// A time written in cycles of the command clock (whole, or half where a clock has two ticks), in ticks.
    pub(in crate::dram) fn ticks(&self, key: &str, text: &str, max: i64) -> Result<i64, InputError> {
        let scaled = format!("{} * ({text})", self.ticks);
        let value = evaluate_integer(&scaled, &self.symbols).map_err(|p| self.source.error(key, p))?;
        self.source.check(key, value, 0..=max)
    }

    fn commands(&self, levels: &[Level], access_bytes: u32) -> Result<Vec<Command>, InputError> {
        let raw = &self.raw.commands;
        if raw.is_empty() || raw.len() > 64 {
            return Err(self.source.error("command", format!("lists {} commands: must be from 1 to 64", raw.len())));
        }
        let id_of = |key: &str, name: &Option<String>| -> Result<Option<CommandId>, InputError> {
            let Some(name) = name else { return Ok(None) };
            raw.iter()
                .position(|c| c.name == *name)
                .map(|i| Some(CommandId(i as u8)))
                .ok_or_else(|| self.source.unknown_name(key, "command", name, raw.iter().map(|c| c.name.as_str())))
        };
        let mut commands = Vec::with_capacity(raw.len());
        for (i, c) in raw.iter().enumerate() {
            let entry = entry_path("command", i, c.own);
            let key = |field: &str| format!("{entry}.{field}");
            let scope = self.level_named(&key("scope"), &c.scope, levels)?;
            let banks = levels[scope.0 as usize].banks;
            let default_pins = match c.data {
                RawData::Read | RawData::Write => access_bytes,
                RawData::None | RawData::Internal => 0,
            };
            let default_internal = if c.data == RawData::Internal { banks * access_bytes } else { 0 };
            let amount = |field: &str, text: &Option<String>, default: u32| match text {
                Some(text) => self.integer(&key(field), text, i64::from(u32::MAX)).map(|v| v as u32),
                None => Ok(default),
            };
            self.check_open_close(c, &key)?;
            let across = c.across.as_ref().map(|l| self.level_named(&key("across"), l, levels)).transpose()?;
            if across.is_some_and(|a| a >= scope || usize::from(scope.0) + 1 != levels.len()) {
                return Err(self
                    .source
                    .error(&key("across"), "must name a level above the bank, and the scope must be a bank"));
            }
            let nodes = across.map_or(1, |a| levels[a.0 as usize].per_parent);
            let across_nodes = c.across_nodes.unwrap_or(nodes);
            if across_nodes < 1 || !nodes.is_multiple_of(across_nodes) {
                let problem = format!("is {across_nodes}: must divide the {nodes} nodes of `across`");
                return Err(self.source.error(&key("across_nodes"), problem));
            }
            commands.push(Command {
                name: c.name.clone(),
                scope,
                needs: c.needs,
                effect: c.effect,
                data: c.data,
                pin_bytes: amount("pin_bytes", &c.pin_bytes, default_pins)?,
                internal_bytes: amount("internal_bytes", &c.internal_bytes, default_internal)?,
                macs: amount("macs", &c.macs, 0)?,
                latency: self.ticks(&key("latency"), &c.latency, 1_000_000_000)? as Cycle,
                bus_cycles: self.source.check(
                    &key("bus_cycles"),
                    self.ticks(&key("bus_cycles"), &c.bus_cycles.to_string(), 64)?,
                    1..=64,
                )? as Cycle,
                bus: c.bus,
                falling_edge: c.falling_edge,
                across,
                across_nodes,
                row_buffers: self.row_buffers(&key("row_buffers"), c.row_buffers.as_deref())?,
                open_with: id_of(&key("open_with"), &c.open_with)?,
                close_with: id_of(&key("close_with"), &c.close_with)?,
            });
        }
        self.check_openers(levels, &commands)?;
        Ok(commands)
    }

    /// The row buffers that a command acts on, by bit.
    fn row_buffers(&self, key: &str, given: Option<&[u8]>) -> Result<u8, InputError> {
        let Some(given) = given else { return Ok(1) };
        if given.is_empty() {
            return Err(self.source.error(key, "names no row buffer").help("name some, from 0, or leave the key out"));
        }
        let mut mask = 0;
        for buffer in given {
            mask |= 1 << self.source.check(key, *buffer, 0..=MOST_ROW_BUFFERS - 1)?;
        }
        Ok(mask)
    }

    fn check_open_close(&self, c: &RawCommand, key: &dyn Fn(&str) -> String) -> Result<(), InputError> {
        let want = |field: &str, given: &Option<String>| {
            if given.is_some() {
                return Ok(());
            }
            let problem = format!("is missing from command `{}`, which needs its banks {:?}", c.name, c.needs);
            Err(self.source.error(&key(field), problem.to_lowercase().replacen(&c.name.to_lowercase(), &c.name, 1)))
        };
        if c.needs == RawNeeds::Open {
            want("open_with", &c.open_with)?;
        }
        if matches!(c.needs, RawNeeds::Open | RawNeeds::Closed) {
            want("close_with", &c.close_with)?;
        }
        Ok(())
    }

    /// An opener must open, a closer close, and each must reach every bank of the command that it serves.
    fn check_openers(&self, levels: &[Level], commands: &[Command]) -> Result<(), InputError> {
        for (i, c) in commands.iter().enumerate() {
            let uses = [("open_with", c.open_with, RawEffect::Open), ("close_with", c.close_with, RawEffect::Close)];
            for (field, used, effect) in uses {
                let Some(CommandId(u)) = used else { continue };
                let other = &commands[u as usize];
                let key = format!("{}.{field}", entry_path("command", i, self.raw.commands[i].own));
                let begins = effect == RawEffect::Open && other.effect == RawEffect::OpenFirst;
                if other.effect != effect && !begins {
                    let problem = format!("names `{}`, which does not {field} a row", other.name);
                    return Err(self.source.error(&key, problem.replace("_with", "")));
                }
                if other.scope > c.scope {
                    let (theirs, ours) = (&levels[other.scope.0 as usize].name, &levels[c.scope.0 as usize].name);
                    let problem =
                        format!("names `{}`, which acts on a {theirs}; `{}` acts on a {ours}", other.name, c.name);
                    return Err(self.source.error(&key, problem));
                }
            }
        }
        Ok(())
    }

    fn rows(&self, levels: &[Level], commands: &[Command]) -> Result<Vec<TimingRow>, InputError> {
        let mut out = Vec::new();
        for (i, row) in self.raw.constraints.iter().enumerate() {
            self.row(i, row, levels, commands, &mut out)?;
        }
        Ok(out)
    }

    fn row(
        &self,
        i: usize,
        row: &RawConstraint,
        levels: &[Level],
        commands: &[Command],
        out: &mut Vec<TimingRow>,
    ) -> Result<(), InputError> {
        let entry = entry_path("constraints", i, row.own);
        let key = |field: &str| format!("{entry}.{field}");
        let level = self.level_named(&key("level"), &row.level, levels)?;
        let names = |field: &str, text: &str| -> Result<Vec<CommandId>, InputError> {
            let mut ids = Vec::new();
            for name in text.split_whitespace() {
                let id = commands.iter().position(|c| c.name == name).ok_or_else(|| {
                    let known = commands.iter().map(|c| c.name.as_str());
                    self.source.unknown_name(&key(field), "command", name, known)
                })?;
                if commands[id].scope < level {
                    let scope = &levels[commands[id].scope.0 as usize].name;
                    let problem =
                        format!("lists `{name}`, which acts on a whole {scope}: its rows stand at that level");
                    return Err(self.source.error(&key(field), problem));
                }
                ids.push(CommandId(id as u8));
            }
            if ids.is_empty() { Err(self.source.error(&key(field), "names no command")) } else { Ok(ids) }
        };
        self.source.check(&key("window"), row.window, 1..=64)?;
        let scaled = format!("{} * ({})", self.ticks, row.cycles);
        let cycles = evaluate_integer(&scaled, &self.symbols).map_err(|p| self.source.error(&key("cycles"), p))?;
        self.source.check(&key("cycles"), cycles, -1_000_000_000..=1_000_000_000)?;
        if row.window > 1 && from_spreads(commands, &row.from) {
            return Err(self.source.error(&key("window"), "cannot count commands that act across a level"));
        }
        if row.sibling && row.window > 1 {
            return Err(self.source.error(&key("window"), "cannot be combined with `sibling`"));
        }
        let (from, to) = (names("from", &row.from)?, names("to", &row.to)?);
        for f in &from {
            for t in &to {
                // A command acts from its last cycle on the bus; the engine counts from the first of each.
                let bus = |c: &CommandId| commands[c.0 as usize].bus_cycles as i64;
                let cycles = cycles + bus(f) - bus(t);
                // Two commands never share a slot, so a wait of none or less forbids nothing.
                if cycles <= 0 {
                    continue;
                }
                out.push(TimingRow {
                    level,
                    from: *f,
                    to: *t,
                    cycles: cycles as Cycle,
                    window: row.window,
                    sibling: row.sibling,
                    reference: row.reference,
                });
            }
        }
        Ok(())
    }

    fn refresh(
        &self,
        raw: &crate::dram::table::RawRefresh,
        levels: &[Level],
        commands: &[Command],
        timing: &[TimingRow],
    ) -> Result<Refresh, InputError> {
        let command = commands.iter().position(|c| c.name == raw.command).ok_or_else(|| {
            self.source.unknown_name(
                "refresh.command",
                "command",
                &raw.command,
                commands.iter().map(|c| c.name.as_str()),
            )
        })?;
        if commands[command].effect != RawEffect::Refresh {
            return Err(self.source.error("refresh.command", format!("`{}` does not refresh", raw.command)));
        }
        let interval = self.ticks("refresh.interval", &raw.interval, 1_000_000_000)?;
        self.source.check("refresh.interval", interval, 1..=1_000_000_000)?;
        // A round refreshes every node of the scope. Where rounds follow one another no faster than they fall due, nothing
        // else would ever run.
        let (id, spec) = (CommandId(command as u8), &commands[command]);
        let nodes = Cycle::from(levels[spec.scope.0 as usize].nodes);
        // Of the rows that physics adds the controllers speak, where refresh is on.
        let own = timing.iter().filter(|r| r.from == id && r.to == id && r.reference);
        let round = own
            .map(|r| {
                let times = if r.level == spec.scope { 1 } else { nodes };
                (r.cycles * times).div_ceil(Cycle::from(r.window))
            })
            .fold(spec.bus_cycles * nodes, Cycle::max);
        if interval as Cycle <= round {
            let problem =
                format!("is {interval} cycles, and refreshing takes {round} of them: nothing else could ever run");
            return Err(self
                .source
                .error("refresh.interval", problem)
                .help("give tREFI in nanoseconds, and tRFC below it"));
        }
        Ok(Refresh { command: id, interval: interval as Cycle })
    }
}

/// Whether a list of names has a command that acts across a level.
fn from_spreads(commands: &[Command], names: &str) -> bool {
    names.split_whitespace().any(|n| commands.iter().any(|c| c.name == n && c.across.is_some()))
}

impl Device {
    /// Turns the timing rows into what one issue of each command sets.
    pub(super) fn flatten(&mut self) {
        self.updates.clear();
        self.update_ranges.clear();
        self.rings.clear();
        self.ring_slots = 0;
        self.level_base.clear();
        let mut base = 0;
        for level in &self.levels {
            self.level_base.push(base);
            base += level.nodes;
        }
        self.ready_nodes = base;
        let levels = || self.levels.iter().zip(&self.level_base);
        self.node_at =
            (0..self.banks).flat_map(|bank| levels().map(move |(level, base)| base + bank / level.banks)).collect();
        for c in 0..self.commands.len() {
            let start = self.updates.len() as u32;
            let rows: Vec<TimingRow> = self.timing.iter().filter(|r| r.from.0 as usize == c).cloned().collect();
            for row in rows {
                let ring = (row.window > 1).then(|| self.ring_for(&row));
                let level = &self.levels[row.level.0 as usize];
                let update = Update {
                    level_base: self.level_base[row.level.0 as usize],
                    banks: level.banks,
                    per_parent: level.per_parent,
                    to: row.to.0,
                    sibling: row.sibling,
                    ring,
                    cycles: row.cycles,
                };
                // Of two rows for the same pair at the same nodes only the longer ever decides.
                let same = self.updates[start as usize..].iter_mut().find(|u| {
                    (u.level_base, u.to, u.sibling, u.ring)
                        == (update.level_base, update.to, update.sibling, update.ring)
                });
                match same {
                    Some(longer) => longer.cycles = longer.cycles.max(update.cycles),
                    None => self.updates.push(update),
                }
            }
            self.update_ranges.push((start, self.updates.len() as u32));
        }
    }

    /// The ring of a windowed row. Rows of one level, window, later command and wait share one ring, because "four
    /// activates of any kind" counts the kinds together.
    fn ring_for(&mut self, row: &TimingRow) -> u32 {
        let mut commands = 0u64;
        for r in &self.timing {
            if (r.level, r.window, r.to, r.cycles) == (row.level, row.window, row.to, row.cycles) {
                commands |= 1 << r.from.0;
            }
        }
        let level = &self.levels[row.level.0 as usize];
        let known =
            self.rings.iter().position(|r| r.window == row.window && r.banks == level.banks && r.commands == commands);
        if let Some(known) = known {
            let ring = &mut self.rings[known];
            ring.longest_wait = ring.longest_wait.max(row.cycles);
            return known as u32;
        }
        self.rings.push(Ring {
            base: self.ring_slots,
            window: row.window,
            banks: level.banks,
            commands,
            longest_wait: row.cycles,
        });
        self.ring_slots += row.window * level.nodes;
        self.rings.len() as u32 - 1
    }
}
