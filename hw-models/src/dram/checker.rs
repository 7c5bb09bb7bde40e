//! An independent judge of a command stream.
//!
//! It reads the device's timing rows as written and keeps, for each row and node, the times of the last commands that the
//! row counts from. It shares no code and no data structure with [`super::Channel`], and is built for plainness, not speed.

use std::collections::{BTreeMap, VecDeque};

use super::channel::LoggedCommand;
use super::device::{Bus, CommandId, Device, Effect, Needs};
use super::{Cycle, NO_ROW, OPENING};

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
    /// Of each row buffer of each bank.
    rows: Vec<Vec<Option<u32>>>,
    /// When the last command of each bus issued, and for how long it holds the bus.
    last: [Option<(Cycle, Cycle)>; 2],
    /// The last command on a rising edge, where a clock has two.
    rising: Option<LoggedCommand>,
    /// Banks that sleep.
    asleep: Vec<bool>,
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
            rows: vec![vec![None; device.row_buffers as usize]; device.banks as usize],
            last: [None; 2],
            rising: None,
            asleep: vec![false; device.banks as usize],
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
        let mut first = self.last[self.device.spec(command).bus as usize].map_or(0, |(cycle, slots)| cycle + slots);
        for (wait, _) in self.waits(command, node) {
            first = first.max(wait);
        }
        while self.edge_problem(command, node, first).is_some() {
            first += 1;
        }
        first
    }

    /// Why the clock edge at a cycle is not for a command, where a clock has two (JESD238: row commands of half a clock may use
    /// the falling edge, and a precharge there must not meet the bank of the command that it is paired with).
    fn edge_problem(&self, command: CommandId, node: u32, cycle: Cycle) -> Option<String> {
        if self.device.ticks_per_clock == 1 || cycle % 2 == 1 {
            return None;
        }
        let spec = self.device.spec(command);
        if !spec.falling_edge {
            return Some("it may not use the falling edge".into());
        }
        let rising = self.rising?;
        let other = self.device.spec(rising.command);
        let banks = |c: CommandId, n: u32| self.device.banks_of(c, n);
        let (ours, theirs) = (banks(command, node), banks(rising.command, rising.node));
        let meet = ours.start < theirs.end && theirs.start < ours.end;
        (rising.cycle + other.bus_cycles == cycle && meet)
            .then(|| format!("it is paired with {} at {} on the same bank", other.name, rising.cycle))
    }

    /// Every row that counts for a command at a node: until when it forbids it, and the row in words.
    fn waits(&self, command: CommandId, node: u32) -> Vec<(Cycle, String)> {
        let (nodes, apart) = self.device.spread(command);
        (0..nodes).flat_map(|i| self.waits_at(command, node + i * apart)).collect()
    }

    fn waits_at(&self, command: CommandId, node: u32) -> Vec<(Cycle, String)> {
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
        if let Some((last, slots)) = self.last[spec.bus as usize]
            && cycle < last + slots
        {
            return Err(fail(format!("the command bus is taken from {last} for {slots} cycles")));
        }
        if let Some(problem) = self.edge_problem(command, node, cycle) {
            return Err(fail(problem));
        }
        if let Some((until, words)) = self.waits(command, node).into_iter().find(|(until, _)| cycle < *until) {
            return Err(fail(format!("{words}: not before {until}")));
        }
        let (nodes, apart) = self.device.spread(command);
        for i in 0..nodes {
            let first = self.first_bank(command, node + i * apart);
            let banks = first..first + self.device.levels[spec.scope.0 as usize].banks;
            for bank in banks {
                self.check_bank(command, bank, row).map_err(fail)?;
            }
        }
        for i in 0..nodes {
            self.apply(command, node + i * apart, row, cycle);
        }
        self.refreshes += u64::from(spec.effect == Effect::Refresh);
        self.last[spec.bus as usize] = Some((cycle, spec.bus_cycles));
        if spec.bus == Bus::Row && cycle % 2 == 1 {
            self.rising = Some(logged);
        }
        Ok(())
    }

    /// Whether one bank is in the state that a command needs.
    fn check_bank(&self, command: CommandId, bank: u32, row: u32) -> Result<(), String> {
        let spec = self.device.spec(command);
        if self.asleep[bank as usize] != (spec.effect == Effect::Wake) {
            return Err(format!("bank {bank} is {}", if self.asleep[bank as usize] { "asleep" } else { "awake" }));
        }
        for (_, &open) in self.rows[bank as usize].iter().enumerate().filter(|(b, _)| spec.row_buffers >> b & 1 == 1) {
            match spec.needs {
                Needs::Any => {}
                Needs::Open if open == Some(row) && row < OPENING => {}
                Needs::Closed if open.is_none() => {}
                Needs::Opening if open == Some(OPENING) => {}
                Needs::Open => return Err(format!("bank {bank} has {open:?} open, and it needs row {row}")),
                Needs::Closed => return Err(format!("bank {bank} has {open:?} open, and it needs it closed")),
                Needs::Opening => return Err(format!("bank {bank} was not given the first half of an activation")),
            }
        }
        if row != NO_ROW && row >= self.device.rows {
            return Err(format!("row {row} is beyond the bank's {}", self.device.rows));
        }
        Ok(())
    }

    fn apply(&mut self, command: CommandId, node: u32, row: u32, cycle: Cycle) {
        let spec = self.device.spec(command);
        let first = self.first_bank(command, node);
        for bank in first..first + self.device.levels[spec.scope.0 as usize].banks {
            let opened = match spec.effect {
                Effect::Open => Some(row),
                Effect::OpenFirst => Some(OPENING),
                Effect::Close | Effect::AccessAndClose => None,
                Effect::PowerDown | Effect::SelfRefresh => {
                    self.asleep[bank as usize] = true;
                    continue;
                }
                Effect::Wake => {
                    self.asleep[bank as usize] = false;
                    continue;
                }
                Effect::None | Effect::Refresh => continue,
            };
            let buffers = self.rows[bank as usize].iter_mut().enumerate();
            buffers.filter(|(b, _)| spec.row_buffers >> b & 1 == 1).for_each(|(_, open)| *open = opened);
        }
        for level in 0..=spec.scope.0 as usize {
            let times = self.history.entry((level, self.node_at(level, first), command)).or_default();
            times.push_front(cycle);
            times.truncate(self.longest_window);
        }
    }

    /// Takes a whole log.
    ///
    /// # Errors
    /// The first violation.
    pub fn accept_all<'c>(&mut self, log: impl IntoIterator<Item = &'c LoggedCommand>) -> Result<(), Violation> {
        log.into_iter().try_for_each(|c| self.accept(*c))
    }
}
