//! An independent judge of a command stream.
//!
//! It reads the device's timing rows as written and keeps, for each row and node, the times of the last commands that the
//! row counts from. It shares no code and no data structure with [`super::Channel`], and is built for plainness, not speed.

use std::collections::{BTreeMap, VecDeque};

use super::channel::LoggedCommand;
use super::device::{CommandId, Device, Effect, Needs};
use super::{Cycle, NO_ROW};

/// A command that a device would not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cycle {cycle}: {command} at node {node}: {reason}")]
pub struct Violation {
    /// When it issued.
    pub cycle: Cycle,
    /// Its name.
    pub command: String,
    /// Where.
    pub node: u32,
    /// What it breaks.
    pub reason: String,
}

/// Checks commands in the order of their issue.
#[derive(Debug, Clone)]
pub struct Checker<'a> {
    device: &'a Device,
    /// Issue times by (level, node, command), the last few of each, newest first.
    history: BTreeMap<(usize, u32, CommandId), VecDeque<Cycle>>,
    rows: Vec<Option<u32>>,
    last: Option<(Cycle, Cycle)>,
    longest_window: usize,
    refreshes: u64,
}

impl<'a> Checker<'a> {
    /// A judge for a channel with no history.
    pub fn new(device: &'a Device) -> Self {
        let longest_window = device.timing.iter().map(|r| r.window as usize).max().unwrap_or(1);
        Self {
            device,
            history: BTreeMap::new(),
            rows: vec![None; device.banks as usize],
            last: None,
            longest_window,
            refreshes: 0,
        }
    }

    /// Refresh commands seen.
    pub fn refreshes(&self) -> u64 {
        self.refreshes
    }

    /// The first cycle at which the timing rows and the command bus allow a command, by the history so far.
    pub fn first_legal(&self, command: CommandId, node: u32) -> Cycle {
        let mut first = self.last.map_or(0, |(cycle, slots)| cycle + slots);
        for (wait, _) in self.waits(command, node) {
            first = first.max(wait);
        }
        first
    }

    /// Every row that counts for a command at a node: until when it forbids it, and the row in words.
    fn waits(&self, command: CommandId, node: u32) -> Vec<(Cycle, String)> {
        let bank = self.first_bank(command, node);
        let mut out = Vec::new();
        for row in self.device.timing.iter().filter(|r| r.to == command) {
            let level = row.level.0 as usize;
            let here = self.node_at(level, bank);
            let nodes: Vec<u32> = if row.sibling {
                let n = self.device.levels[level].per_parent;
                (here / n * n..here / n * n + n).filter(|s| *s != here).collect()
            } else {
                vec![here]
            };
            for at in nodes {
                if let Some(since) = self.nth_last(row, level, at) {
                    let (from, to) = (&self.device.spec(row.from).name, &self.device.spec(row.to).name);
                    let words = format!(
                        "{from} at {since} then {to}: {} cycles at the same {} (window {})",
                        row.cycles, self.device.levels[level].name, row.window
                    );
                    out.push((since + row.cycles, words));
                }
            }
        }
        out
    }

    /// The time from which a row counts: its `window`-th last `from`. Rows that differ in `from` alone count their commands
    /// together.
    fn nth_last(&self, row: &super::device::TimingRow, level: usize, at: u32) -> Option<Cycle> {
        let alike = self.device.timing.iter().filter(|r| {
            (r.level, r.to, r.cycles, r.window, r.sibling) == (row.level, row.to, row.cycles, row.window, row.sibling)
                && (row.window > 1 || r.from == row.from)
        });
        let mut times: Vec<Cycle> =
            alike.filter_map(|r| self.history.get(&(level, at, r.from))).flatten().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(row.window as usize - 1).copied()
    }

    fn first_bank(&self, command: CommandId, node: u32) -> u32 {
        node * self.device.levels[self.device.spec(command).scope.0 as usize].banks
    }

    fn node_at(&self, level: usize, bank: u32) -> u32 {
        bank / self.device.levels[level].banks
    }

    /// Takes the next command.
    ///
    /// # Errors
    /// The command breaks a timing row, the command bus, or a bank's state.
    pub fn accept(&mut self, logged: LoggedCommand) -> Result<(), Violation> {
        let LoggedCommand { cycle, command, node, row } = logged;
        let spec = self.device.spec(command);
        let fail = |reason: String| Violation { cycle, command: spec.name.clone(), node, reason };
        if let Some((last, slots)) = self.last
            && cycle < last + slots
        {
            return Err(fail(format!("the command bus is taken from {last} for {slots} cycles")));
        }
        if let Some((until, words)) = self.waits(command, node).into_iter().find(|(until, _)| cycle < *until) {
            return Err(fail(format!("{words}: not before {until}")));
        }
        let first = self.first_bank(command, node);
        let banks = first..first + self.device.levels[spec.scope.0 as usize].banks;
        for bank in banks.clone() {
            let open = self.rows[bank as usize];
            match spec.needs {
                Needs::Any => {}
                Needs::Open if open == Some(row) && row != NO_ROW => {}
                Needs::Closed if open.is_none() => {}
                Needs::Open => return Err(fail(format!("bank {bank} has {open:?} open, and it needs row {row}"))),
                Needs::Closed => return Err(fail(format!("bank {bank} has {open:?} open, and it needs it closed"))),
            }
            if row != NO_ROW && row >= self.device.rows {
                return Err(fail(format!("row {row} is beyond the bank's {}", self.device.rows)));
            }
        }
        for bank in banks {
            match spec.effect {
                Effect::Open => self.rows[bank as usize] = Some(row),
                Effect::Close | Effect::AccessAndClose => self.rows[bank as usize] = None,
                Effect::None | Effect::Refresh => {}
            }
        }
        self.refreshes += u64::from(spec.effect == Effect::Refresh);
        self.last = Some((cycle, spec.bus_cycles));
        for level in 0..=spec.scope.0 as usize {
            let times = self.history.entry((level, self.node_at(level, first), command)).or_default();
            times.push_front(cycle);
            times.truncate(self.longest_window);
        }
        Ok(())
    }

    /// Takes a whole log.
    ///
    /// # Errors
    /// The first violation.
    pub fn accept_all<'c>(&mut self, log: impl IntoIterator<Item = &'c LoggedCommand>) -> Result<(), Violation> {
        log.into_iter().try_for_each(|c| self.accept(*c))
    }
}
