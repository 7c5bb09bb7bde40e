//! Energy: so much for each issue of a command, so much for each cycle of standing open or closed.
//!
//! The method is the data sheets' own (Micron TN-40-07 for DDR4): a command costs the current that it draws above the
//! background, times the supply voltage, times the cycles for which it flows; the background is IDD3N while any row of
//! the standby level is open and IDD2N otherwise. What the word lines draw from a supply of their own (VPP) is the part `vpp`.
//! Devices without published currents give picojoules instead.
//!
//! **Another clock.** A current holds at the clock that it was given for (`energy.currents_at_ps`). At another:
//! - an activation and a refresh move the same charge in the same nanoseconds: their currents stay, for as many cycles as their
//!   times now take;
//! - a burst moves the same charge for its bits (`with_clock = true`): its current goes with the clock, so that a bit costs what it did;
//! - of what a device draws standing still a part goes with the clock: [`OPEN_CLOCKED`] of IDD3N and IDD3P, [`CLOSED_CLOCKED`] of IDD2N,
//!   which is how the DDR4 grades of one die (DRAMsim3's 8 Gb x8, 1866 to 3200) differ; IDD2P and IDD6, without a clock, stay.
//!
//! What was scaled is marked as assumed.

use std::collections::BTreeMap;

use banksia_input::{InputError, Source};

use super::assumed::{Assumed, assumptions};
use super::device::{Command, Effect};
use super::expr::{Symbols, evaluate};
use super::table::{RawCommandEnergy, RawDevice, entry_path};

/// The share of what a device with an open row draws that goes with its clock.
pub const OPEN_CLOCKED: f64 = 0.5;
/// The same with every row closed.
pub const CLOSED_CLOCKED: f64 = 0.2;

/// The part of the energy that comes from the word lines' supply.
const VPP: &str = "vpp";

/// The energy of one device's channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EnergyModel {
    /// Names of the parts, in the order in which the tables name them; `background` is apart.
    pub parts: Vec<String>,
    /// Energy of one issue, picojoules: `per_issue_pj[command][part]`.
    pub per_issue_pj: Vec<Vec<f64>>,
    /// Parts that the device has, and whose energy its file does not give: `background` where no standby current is given, any part all of
    /// whose entries are zero, and what the file says itself (`energy.unknown`).
    pub unknown: Vec<String>,
    /// Of `power-down` and `self-refresh` what the device has, and whose energy its file does not give: a run that used it knows only a
    /// lower bound.
    pub unknown_asleep: Vec<String>,
    /// Figures that are not this device's own: another's, a guess, or scaled from another clock.
    pub assumed: Vec<Assumed>,
    /// Power of one standby node with some row open, picojoules per cycle.
    pub active_pj_per_cycle: f64,
    /// Power of one standby node with every row closed, picojoules per cycle.
    pub precharged_pj_per_cycle: f64,
    /// Power of one standby node in power-down with some row open, picojoules per cycle.
    pub active_power_down_pj_per_cycle: f64,
    /// Power of one standby node in power-down with every row closed, picojoules per cycle.
    pub precharge_power_down_pj_per_cycle: f64,
    /// Power of one standby node in self-refresh, picojoules per cycle.
    pub self_refresh_pj_per_cycle: f64,
    /// Power of one standby node from the word lines' supply, whatever it does, picojoules per cycle; zero where there is none.
    pub vpp_pj_per_cycle: f64,
}

/// What turns currents into energies.
struct Supplies {
    /// Picojoules of a milliampere in a cycle: of VDD, and of VPP.
    vdd: Option<f64>,
    vpp: Option<f64>,
    /// The clock in units of that of the currents.
    faster: f64,
}

impl EnergyModel {
    pub(crate) fn compile(
        raw: &RawDevice,
        source: &Source,
        symbols: &Symbols,
        commands: &[Command],
        devices: u32,
        clock_ps: f64,
    ) -> Result<Self, InputError> {
        let energy = &raw.energy;
        let volts = |key: &str, v: Option<f64>| v.map(|v| source.check(key, v, 0.01..=20.0)).transpose();
        // mA x V x ps is 1e-15 J, a thousandth of a picojoule.
        let per_ma_cycle = |v: f64| v * clock_ps * 1e-3 * f64::from(devices);
        let given = source.check("energy.currents_at_ps", energy.currents_at_ps.unwrap_or(clock_ps), 1.0..=1e6)?;
        // Clocks are written rounded.
        let faster = if (given / clock_ps - 1.0).abs() < 0.005 { 1.0 } else { given / clock_ps };
        let supplies = Supplies {
            vdd: volts("energy.vdd_v", energy.vdd_v)?.map(per_ma_cycle),
            vpp: volts("energy.vpp_v", energy.vpp_v)?.map(per_ma_cycle),
            faster,
        };
        let mut model = Self { per_issue_pj: vec![Vec::new(); commands.len()], ..Self::default() };
        model.standing(raw, source, symbols, &supplies)?;
        for (i, row) in energy.commands.iter().enumerate() {
            model.row(row, &entry_path("energy.command", i, row.own), source, symbols, commands, &supplies)?;
        }
        if model.vpp_pj_per_cycle > 0.0 && !model.parts.iter().any(|p| p == VPP) {
            model.parts.push(VPP.into());
        }
        for per_part in &mut model.per_issue_pj {
            per_part.resize(model.parts.len(), 0.0);
        }
        model.unknowns(raw, commands);
        model.assumed = assumptions(raw, source, symbols, given, (supplies.faster - 1.0).abs() > 1e-9)?;
        Ok(model)
    }

    /// What standing still costs.
    fn standing(
        &mut self,
        raw: &RawDevice,
        source: &Source,
        symbols: &Symbols,
        supplies: &Supplies,
    ) -> Result<(), InputError> {
        let energy = &raw.energy;
        let clocked = |share: f64| 1.0 - share + share * supplies.faster;
        let (open, closed) = (clocked(OPEN_CLOCKED), clocked(CLOSED_CLOCKED));
        let standing = [
            ("active_standby_ma", &energy.active_standby_ma, open, &mut self.active_pj_per_cycle),
            ("precharge_standby_ma", &energy.precharge_standby_ma, closed, &mut self.precharged_pj_per_cycle),
            ("active_power_down_ma", &energy.active_power_down_ma, open, &mut self.active_power_down_pj_per_cycle),
            (
                "precharge_power_down_ma",
                &energy.precharge_power_down_ma,
                1.0,
                &mut self.precharge_power_down_pj_per_cycle,
            ),
            ("self_refresh_ma", &energy.self_refresh_ma, 1.0, &mut self.self_refresh_pj_per_cycle),
        ];
        for (field, text, scale, power) in standing {
            if let Some(text) = text {
                let key = format!("energy.{field}");
                *power = value(source, &key, text, symbols)? * scale * supplies.vdd(source, &key)?;
            }
        }
        if let Some(text) = &energy.standby_vpp_ma {
            let key = "energy.standby_vpp_ma";
            self.vpp_pj_per_cycle = value(source, key, text, symbols)? * supplies.vpp(source, key)?;
        }
        Ok(())
    }

    /// One row: what each issue of its commands costs.
    fn row(
        &mut self,
        row: &RawCommandEnergy,
        entry: &str,
        source: &Source,
        symbols: &Symbols,
        commands: &[Command],
        supplies: &Supplies,
    ) -> Result<(), InputError> {
        let key = |field: &str| format!("{entry}.{field}");
        let of = |field: &str, text: &str| value(source, &key(field), text, symbols);
        let scale = if row.with_clock { supplies.faster } else { 1.0 };
        let pj = match (&row.pj, &row.current_ma, &row.current_vpp_ma, &row.cycles) {
            (Some(pj), None, None, None) => of("pj", pj)?,
            (None, Some(current), None, Some(cycles)) => {
                of("current_ma", current)? * of("cycles", cycles)? * scale * supplies.vdd(source, &key("current_ma"))?
            }
            (None, None, Some(current), Some(cycles)) => {
                let unit = supplies.vpp(source, &key("current_vpp_ma"))?;
                of("current_vpp_ma", current)? * of("cycles", cycles)? * scale * unit
            }
            _ => {
                let problem = "needs either `pj`, or `current_ma` (or `current_vpp_ma`) and `cycles`";
                return Err(source.error(entry, problem));
            }
        };
        let part = self.parts.iter().position(|p| *p == row.part).unwrap_or_else(|| {
            self.parts.push(row.part.clone());
            self.parts.len() - 1
        });
        for name in row.commands.split_whitespace() {
            let c = commands.iter().position(|c| c.name == name).ok_or_else(|| {
                source.unknown_name(&key("commands"), "command", name, commands.iter().map(|c| c.name.as_str()))
            })?;
            let per_part = &mut self.per_issue_pj[c];
            if per_part.len() <= part {
                per_part.resize(part + 1, 0.0);
            }
            per_part[part] += pj;
        }
        Ok(())
    }

    /// What no figure is given for.
    fn unknowns(&mut self, raw: &RawDevice, commands: &[Command]) {
        let energy = &raw.energy;
        for (p, part) in self.parts.iter().enumerate() {
            let standing = part == VPP && self.vpp_pj_per_cycle > 0.0;
            if !standing && self.per_issue_pj.iter().all(|pj| pj[p] == 0.0) {
                self.unknown.push(part.clone());
            }
        }
        if energy.active_standby_ma.is_none() && energy.precharge_standby_ma.is_none() {
            self.unknown.push("background".into());
        }
        for part in &energy.unknown {
            if !self.unknown.contains(part) {
                self.unknown.push(part.clone());
            }
        }
        let has = |effect| commands.iter().any(|c| c.effect == effect);
        if has(Effect::PowerDown) && energy.precharge_power_down_ma.is_none() {
            self.unknown_asleep.push("power-down".into());
        }
        if has(Effect::SelfRefresh) && energy.self_refresh_ma.is_none() {
            self.unknown_asleep.push("self-refresh".into());
        }
    }

    /// Turns powers per cycle of the command clock into powers per tick.
    pub(crate) fn per_tick(&mut self, ticks_per_clock: u32) {
        let ticks = f64::from(ticks_per_clock);
        for power in [
            &mut self.active_pj_per_cycle,
            &mut self.precharged_pj_per_cycle,
            &mut self.active_power_down_pj_per_cycle,
            &mut self.precharge_power_down_pj_per_cycle,
            &mut self.self_refresh_pj_per_cycle,
            &mut self.vpp_pj_per_cycle,
        ] {
            *power /= ticks;
        }
    }

    /// Energy of some issues of each command and some cycles of standing, in joules by part. `counts[command]` are issues;
    /// the cycles are summed over standby nodes.
    pub fn joules(&self, counts: &[u64], active_cycles: u64, precharged_cycles: u64) -> BTreeMap<String, f64> {
        let mut parts: BTreeMap<String, f64> = BTreeMap::new();
        for (p, name) in self.parts.iter().enumerate() {
            let pj: f64 = counts.iter().zip(&self.per_issue_pj).map(|(n, pj)| *n as f64 * pj[p]).sum();
            parts.insert(name.clone(), pj * 1e-12);
        }
        let background =
            active_cycles as f64 * self.active_pj_per_cycle + precharged_cycles as f64 * self.precharged_pj_per_cycle;
        parts.insert("background".into(), background * 1e-12);
        if let Some(vpp) = parts.get_mut(VPP) {
            *vpp += (active_cycles + precharged_cycles) as f64 * self.vpp_pj_per_cycle * 1e-12;
        }
        parts
    }

    /// Adds the energy of cycles asleep, summed over standby nodes, to the parts of a run's [`EnergyModel::joules`]: in power-down with
    /// some row open, in power-down with every row closed, and in self-refresh.
    pub fn add_asleep(&self, parts: &mut BTreeMap<String, f64>, active: u64, precharged: u64, self_refresh: u64) {
        let pj = active as f64 * self.active_power_down_pj_per_cycle
            + precharged as f64 * self.precharge_power_down_pj_per_cycle
            + self_refresh as f64 * self.self_refresh_pj_per_cycle;
        *parts.entry("background".into()).or_insert(0.0) += pj * 1e-12;
        if let Some(vpp) = parts.get_mut(VPP) {
            *vpp += (active + precharged + self_refresh) as f64 * self.vpp_pj_per_cycle * 1e-12;
        }
    }

    /// The parts that a run knows nothing of, which was so many cycles in power-down and in self-refresh: where there is one, its total is a
    /// lower bound.
    pub fn unknown_in(&self, power_down: u64, self_refresh: u64) -> Vec<String> {
        let asleep = |part: &String| match part.as_str() {
            "power-down" => power_down > 0,
            _ => self_refresh > 0,
        };
        self.unknown.iter().cloned().chain(self.unknown_asleep.iter().filter(|p| asleep(p)).cloned()).collect()
    }

    /// Energy by part for a report: `None` where the device's file does not say what a part takes. Where any is `None`, a sum of the
    /// others is a lower bound.
    pub fn known(&self, joules: &BTreeMap<String, f64>) -> BTreeMap<String, Option<f64>> {
        let known = |part: &String, j: f64| Some(j).filter(|j| *j != 0.0 || !self.unknown.contains(part));
        let mut parts: BTreeMap<_, _> = joules.iter().map(|(part, j)| (part.clone(), known(part, *j))).collect();
        for part in &self.unknown {
            parts.entry(part.clone()).or_insert(None);
        }
        parts
    }
}

impl Supplies {
    fn vdd(&self, source: &Source, key: &str) -> Result<f64, InputError> {
        self.vdd.ok_or_else(|| source.error(key, "is a current, and `energy.vdd_v` is missing"))
    }

    fn vpp(&self, source: &Source, key: &str) -> Result<f64, InputError> {
        self.vpp.ok_or_else(|| source.error(key, "is a current of the word lines, and `energy.vpp_v` is missing"))
    }
}

fn value(source: &Source, key: &str, text: &str, symbols: &Symbols) -> Result<f64, InputError> {
    let value = evaluate(text, symbols).map_err(|p| source.error(key, p))?;
    source.check(key, value, 0.0..=1e15)
}
