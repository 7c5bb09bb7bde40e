//! Energy: so much for each issue of a command, so much for each cycle of standing open or closed.
//!
//! The method is the data sheets' own (Micron TN-40-07 for DDR4): a command costs the current that it draws above the
//! background, times the supply voltage, times the cycles for which it flows; the background is IDD3N while any row of
//! the standby level is open and IDD2N otherwise. Devices without published currents give picojoules instead.

use std::collections::BTreeMap;

use banksia_input::{InputError, Source};

use super::device::Command;
use super::expr::{Symbols, evaluate};
use super::table::{RawDevice, entry_path};

/// The energy of one device's channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EnergyModel {
    /// Names of the parts, in the order in which the tables name them; `background` is apart.
    pub parts: Vec<String>,
    /// Energy of one issue, picojoules: `per_issue_pj[command][part]`.
    pub per_issue_pj: Vec<Vec<f64>>,
    /// Parts that the device has, and whose energy its file does not give: `background` where no standby current is given, and any part all of
    /// whose entries are zero.
    pub unknown: Vec<String>,
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
        let value = |key: &str, text: &str| -> Result<f64, InputError> {
            let value = evaluate(text, symbols).map_err(|p| source.error(key, p))?;
            source.check(key, value, 0.0..=1e15)
        };
        // mA x V x ps is 1e-15 J, a thousandth of a picojoule.
        let vdd = energy.vdd_v.map(|v| source.check("energy.vdd_v", v, 0.01..=20.0)).transpose()?;
        let pj_per_ma_cycle = vdd.map(|v| v * clock_ps * 1e-3 * f64::from(devices));
        let needs_vdd =
            |key: &str| pj_per_ma_cycle.ok_or_else(|| source.error(key, "is a current, and `energy.vdd_v` is missing"));
        let mut model = Self { per_issue_pj: vec![Vec::new(); commands.len()], ..Self::default() };
        let standing = [
            ("active_standby_ma", &energy.active_standby_ma, &mut model.active_pj_per_cycle),
            ("precharge_standby_ma", &energy.precharge_standby_ma, &mut model.precharged_pj_per_cycle),
            ("active_power_down_ma", &energy.active_power_down_ma, &mut model.active_power_down_pj_per_cycle),
            ("precharge_power_down_ma", &energy.precharge_power_down_ma, &mut model.precharge_power_down_pj_per_cycle),
            ("self_refresh_ma", &energy.self_refresh_ma, &mut model.self_refresh_pj_per_cycle),
        ];
        for (field, text, power) in standing {
            if let Some(text) = text {
                let key = format!("energy.{field}");
                *power = value(&key, text)? * needs_vdd(&key)?;
            }
        }
        for (i, row) in energy.commands.iter().enumerate() {
            let entry = entry_path("energy.command", i, row.own);
            let key = |field: &str| format!("{entry}.{field}");
            let pj = match (&row.pj, &row.current_ma, &row.cycles) {
                (Some(pj), None, None) => value(&key("pj"), pj)?,
                (None, Some(current), Some(cycles)) => {
                    value(&key("current_ma"), current)?
                        * value(&key("cycles"), cycles)?
                        * needs_vdd(&key("current_ma"))?
                }
                _ => {
                    return Err(source.error(&entry, "needs either `pj`, or `current_ma` and `cycles`"));
                }
            };
            let part = model.parts.iter().position(|p| *p == row.part).unwrap_or_else(|| {
                model.parts.push(row.part.clone());
                model.parts.len() - 1
            });
            for name in row.commands.split_whitespace() {
                let c = commands.iter().position(|c| c.name == name).ok_or_else(|| {
                    source.unknown_name(&key("commands"), "command", name, commands.iter().map(|c| c.name.as_str()))
                })?;
                let per_part = &mut model.per_issue_pj[c];
                if per_part.len() <= part {
                    per_part.resize(part + 1, 0.0);
                }
                per_part[part] += pj;
            }
        }
        for per_part in &mut model.per_issue_pj {
            per_part.resize(model.parts.len(), 0.0);
        }
        for (p, part) in model.parts.iter().enumerate() {
            if model.per_issue_pj.iter().all(|pj| pj[p] == 0.0) {
                model.unknown.push(part.clone());
            }
        }
        if energy.active_standby_ma.is_none() && energy.precharge_standby_ma.is_none() {
            model.unknown.push("background".into());
        }
        Ok(model)
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
        parts
    }
    /// Energy by part for a report: `None` where the device's file does not say what a part takes.
    pub fn known(&self, joules: &BTreeMap<String, f64>) -> BTreeMap<String, Option<f64>> {
        let known = |part: &String, j: f64| Some(j).filter(|j| *j != 0.0 || !self.unknown.contains(part));
        joules.iter().map(|(part, j)| (part.clone(), known(part, *j))).collect()
    }
}
