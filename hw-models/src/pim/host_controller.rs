//! How a host's memory controller serves the accesses of a PIM kernel.
//!
//! The rules are those of the public simulator of Samsung's HBM-PIM (SAITPublic/PIMSimulator, `CommandQueue.cpp`, `MemoryController.cpp`,
//! `Rank.cpp`); nothing but they and the device's timing rows decides how long a kernel takes:
//! - One access a cycle enters a queue of 64. An access with a barrier is served when it is the oldest, and nothing behind it before it.
//! - Each cycle one command: of a refresh that is due; else of the oldest access that is ready; else an activation for the oldest access
//!   whose bank is closed (not for one with a barrier before it is the oldest); else a precharge of a bank whose row nothing up to the
//!   next barrier wants, in turn over the banks.
//! - A refresh that is due closes open rows as they may be closed, and goes out when none is open; until then accesses go on.
//! - The all-bank modes begin when the reserved row is open in the banks that enter them, and end when the other is closed in the banks that
//!   leave them. In between the host activates no other banks than those two.
//!
//! One rule is not followed: there a refresh goes out the cycle after the last precharge; here it waits tRP, as the standard asks.

use std::collections::VecDeque;

use std::sync::Arc;

use super::tally::{PimCommand, Tally};
use super::units::Units;
use crate::dram::device::{Refresh as DeviceRefresh, Roles};
use crate::dram::{Channel, CommandId, Cycle, Device, NO_ROW};
use crate::program::HostAccess;

/// The banks whose activation of the reserved row enters the all-bank modes.
pub(super) const ENTER_BANKS: [u32; 4] = [0, 1, 8, 9];
/// The banks whose closing of the reserved row leaves them; also the only ones that are addressed in between.
pub(super) const ALL_BANK: [u32; 2] = [0, 1];

/// Accesses in the queue.
const QUEUE: usize = 64;

/// What a command is for, in the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Closing a bank before the refresh.
    Drain(u32),
    Refresh,
    /// The access at this place of the queue.
    Access(usize),
    /// An activation for it.
    Activate(usize),
    /// So many banks on from the one closed last.
    Close(u32),
}

/// A pseudo-channel's controller at work.
#[derive(Clone)]
pub(super) struct HostController {
    device: Arc<Device>,
    units: Units,
    roles: Roles,
    channel: Channel,
    /// What was issued, by what it did.
    tally: Tally,
    /// A read in PIM mode multiplies.
    multiplies: bool,
    /// What is in the queue, with the first cycle in which it is there.
    queue: VecDeque<(Cycle, HostAccess)>,
    /// Accesses of the list in hand that have entered the queue, and of all of it.
    entered: usize,
    all: usize,
    now: Cycle,
    /// When all data has been moved.
    done: Cycle,
    refresh: Option<DeviceRefresh>,
    refresh_due: Cycle,
    /// Refreshes since the last access, and how many of them leave no hope of another.
    refreshes: Cycle,
    patience: Cycle,
    all_bank: bool,
    /// Which of the banks that change the mode have done so, as bits.
    entering: u8,
    leaving: u8,
    closed_last: u32,
}

impl HostController {
    /// A controller at rest. The first refresh falls due half an interval after the start: there are two ranks, and theirs are staggered.
    pub(super) fn new(device: &Arc<Device>, units: Units, roles: Roles, refresh: Option<DeviceRefresh>) -> Self {
        // An access waits no longer than a few of the longest waits, and as many refreshes fall into these.
        let longest = device.timing.iter().map(|r| r.cycles).max().unwrap_or(0);
        Self {
            units,
            roles,
            all: 0,
            refreshes: 0,
            patience: refresh.map_or(Cycle::MAX, |r| 64 + 8 * longest / r.interval),
            // The published simulator's controller, kernel for kernel: with the rows that it keeps.
            channel: Channel::new(Arc::new(device.reference_rows())),
            device: Arc::clone(device),
            queue: VecDeque::with_capacity(QUEUE),
            entered: 0,
            now: 1,
            done: 0,
            refresh,
            refresh_due: refresh.map_or(Cycle::MAX, |r| r.interval / 2),
            all_bank: false,
            entering: 0,
            leaving: 0,
            closed_last: 0,
            tally: Tally::new(device),
            multiplies: true,
        }
    }

    /// The channel as it is.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether a read in PIM mode multiplies and adds, as it does at first.
    pub(super) fn set_multiplies(&mut self, multiplies: bool) {
        self.multiplies = multiplies;
    }

    /// Keeps every command from here on.
    pub(super) fn keep_commands(&mut self) {
        self.tally.keep_commands();
    }

    /// What was issued, by what it did.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Nothing comes before a cycle: refreshes go out as they fall due.
    ///
    /// # Errors
    /// A refresh can never go out, in words.
    pub(super) fn idle_until(&mut self, cycle: Cycle) -> Result<(), String> {
        while self.refresh_due <= cycle {
            self.now = self.now.max(self.refresh_due);
            let Some((at, step)) = self.next() else { return Err(self.stuck()) };
            self.issue(at, step);
            self.now = at + 1;
            self.refreshes = 0;
        }
        Ok(())
    }

    /// Serves every access, the first of which enters the queue in the cycle after `start`. Returns the cycle in which all are done.
    ///
    /// # Errors
    /// An access can never be served, in words that say which.
    pub(super) fn serve(&mut self, accesses: &[HostAccess], start: Cycle) -> Result<Cycle, String> {
        self.now = self.now.max(start + 1);
        (self.entered, self.all) = (0, accesses.len());
        loop {
            while self.queue.len() < QUEUE && self.entered < accesses.len() {
                self.entered += 1;
                self.queue.push_back((start + self.entered as Cycle, accesses[self.entered - 1]));
            }
            if self.queue.is_empty() {
                return Ok(self.done);
            }
            let next = self.next();
            if self.refreshes > self.patience {
                return Err(self.stuck());
            }
            let Some((at, step)) = next else {
                // Only a refresh, which closes every row, can change that.
                if self.refresh.is_none() {
                    return Err(self.stuck());
                }
                self.now = self.refresh_due;
                continue;
            };
            // A refresh that falls due before then comes first.
            if self.now < self.refresh_due && self.refresh_due <= at {
                self.now = self.refresh_due;
                continue;
            }
            self.issue(at, step);
            self.now = at + 1;
        }
    }

    /// What can never be served, in words.
    fn stuck(&self) -> String {
        let Some((_, a)) = self.queue.front() else { return "cannot make progress".into() };
        let place = self.entered - self.queue.len() + 1;
        let (what, mode) =
            (if a.write { "write" } else { "read" }, if self.all_bank { "all-bank" } else { "single-bank" });
        let why = if self.refreshes > self.patience {
            format!("{} refreshes came, and none left it its turn", self.refreshes)
        } else {
            "no command on the way to it may issue".to_owned()
        };
        format!(
            "cannot make progress: access {place} of {}, a {what} of bank {} row {} column {}, waits in {mode} mode at cycle {}, and {why}",
            self.all, a.bank, a.row, a.column, self.now
        )
    }

    /// The next command and its cycle.
    fn next(&self) -> Option<(Cycle, Step)> {
        let (channel, roles) = (&self.channel, &self.roles);
        let mut best: Option<(Cycle, Step)> = None;
        let mut offer = |at: Cycle, step: Step| {
            let found = (at.max(self.now), step);
            if best.is_none_or(|b| found < b) {
                best = Some(found);
            }
        };
        if let Some(refresh) = self.refresh.filter(|_| self.refresh_due <= self.now) {
            let mut open = false;
            for bank in (0..self.device.banks).filter(|b| channel.open_row(*b) != NO_ROW) {
                open = true;
                offer(channel.earliest(roles.precharge, bank), Step::Drain(bank));
            }
            if !open {
                // Whatever else could go out before is for banks that must stay closed.
                return Some((channel.earliest(refresh.command, 0).max(self.now), Step::Refresh));
            }
        }
        let group = self.queue.iter().position(|(_, a)| a.barrier).map_or(self.queue.len(), |i| i + 1);
        for (i, (there, a)) in self.queue.iter().enumerate().take(group) {
            if i > 0 && a.barrier {
                continue;
            }
            let row = channel.open_row(a.bank);
            if row == a.row {
                offer(channel.earliest(self.command(a), a.bank).max(*there), Step::Access(i));
            } else if row == NO_ROW && (!self.all_bank || ALL_BANK.contains(&a.bank)) {
                offer(channel.earliest(roles.activate, a.bank).max(*there), Step::Activate(i));
            }
        }
        let banks = self.device.banks;
        for bank in 0..banks {
            let row = channel.open_row(bank);
            if row != NO_ROW && !self.queue.iter().take(group).any(|(_, a)| a.bank == bank && a.row == row) {
                let turn = (bank + banks - self.closed_last) % banks;
                offer(channel.earliest(roles.precharge, bank), Step::Close(turn));
            }
        }
        best
    }

    fn command(&self, access: &HostAccess) -> CommandId {
        if access.write { self.roles.write } else { self.roles.read }
    }

    fn issue(&mut self, at: Cycle, step: Step) {
        let (units, roles) = (self.units, self.roles);
        match step {
            Step::Drain(bank) => self.close(bank, at),
            Step::Close(turn) => {
                self.closed_last = (self.closed_last + turn) % self.device.banks;
                self.close(self.closed_last, at);
            }
            Step::Refresh => {
                if let Some(refresh) = self.refresh {
                    self.put((refresh.command, refresh.command), 0, NO_ROW, None, at);
                    self.refresh_due += refresh.interval;
                    self.refreshes += 1;
                }
            }
            Step::Access(i) => {
                let Some((_, a)) = self.queue.remove(i) else { return };
                self.refreshes = 0;
                let command = self.command(&a);
                self.put((command, self.counts_as(&a)), a.bank, a.row, Some(a.column), at);
                // A cycle on the command bus; then the latency; and the cycle in which the host sees that it is done.
                self.done = self.done.max(at + 1 + self.device.spec(command).latency + 1);
            }
            Step::Activate(i) => {
                let a = self.queue[i].1;
                let all = self.all_bank && !units.is_of_registers(a.row);
                let counts_as = if all { units.counted.activate_all } else { roles.activate };
                self.put((roles.activate, counts_as), a.bank, a.row, None, at);
                if !self.all_bank && a.row == units.enter_row {
                    self.all_bank = all_of(&ENTER_BANKS, a.bank, &mut self.entering);
                }
            }
        }
    }

    /// The command that has the energy of an access: what leaves the device or enters it is ordinary data, what goes to a reserved row is
    /// for registers, and in the all-bank modes every block's bank is accessed and nothing goes over the pins.
    fn counts_as(&self, access: &HostAccess) -> CommandId {
        let counted = &self.units.counted;
        match (self.units.is_of_registers(access.row), self.all_bank, access.write) {
            (true, _, true) => counted.write_register,
            (true, _, false) | (false, false, _) => self.command(access),
            (false, true, true) => counted.write_all,
            (false, true, false) if self.multiplies => counted.multiply_all,
            (false, true, false) => counted.read_all,
        }
    }

    /// Puts a command on the bus, and counts it as what it does.
    fn put(&mut self, (on_bus, command): (CommandId, CommandId), bank: u32, row: u32, column: Option<u32>, at: Cycle) {
        self.channel.issue(on_bus, bank, row, at);
        if command == on_bus {
            self.tally.add(&self.device, on_bus, bank, 1);
        } else if command == self.units.counted.write_register {
            self.tally.add_at(command, std::iter::empty());
        } else {
            self.tally.add_at(command, self.units.banks_of_all(self.device.banks, bank));
        }
        self.tally.note(PimCommand { cycle: at, command, on_bus, bank, row, column });
    }

    fn close(&mut self, bank: u32, at: Cycle) {
        let row = self.channel.open_row(bank);
        let close = self.roles.precharge;
        self.put((close, close), bank, NO_ROW, None, at);
        if self.all_bank && row == self.units.leave_row {
            self.all_bank = !all_of(&ALL_BANK, bank, &mut self.leaving);
        }
    }
}

/// Whether every one of the banks has been seen, once this one has.
fn all_of(banks: &[u32], bank: u32, seen: &mut u8) -> bool {
    if let Some(i) = banks.iter().position(|b| *b == bank) {
        *seen |= 1 << i;
    }
    let all = u32::from(*seen).count_ones() as usize == banks.len();
    if all {
        *seen = 0;
    }
    all
}
