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

use crate::dram::device::{Refresh as DeviceRefresh, Roles};
use crate::dram::table::RawKernel;
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
    units: RawKernel,
    roles: Roles,
    channel: Channel,
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
    /// Reads of data in the all-bank modes: each is of every block's bank, whose unit takes it.
    of_all: u64,
}

impl HostController {
    /// A controller at rest. The first refresh falls due half an interval after the start: there are two ranks, and theirs are staggered.
    pub(super) fn new(device: &Arc<Device>, units: RawKernel, roles: Roles, refresh: Option<DeviceRefresh>) -> Self {
        // An access waits no longer than a few of the longest waits, and as many refreshes fall into these.
        let longest = device.timing.iter().map(|r| r.cycles).max().unwrap_or(0);
        Self {
            units,
            roles,
            all: 0,
            refreshes: 0,
            patience: refresh.map_or(Cycle::MAX, |r| 64 + 8 * longest / r.interval),
            channel: Channel::new(Arc::clone(device)),
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
            of_all: 0,
        }
    }

    /// The channel as it is.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Reads of data in the all-bank modes so far.
    pub(super) fn reads_of_all(&self) -> u64 {
        self.of_all
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
        let (units, roles) = (&self.units, self.roles);
        match step {
            Step::Drain(bank) => self.close(bank, at),
            Step::Close(turn) => {
                self.closed_last = (self.closed_last + turn) % self.device.banks;
                self.close(self.closed_last, at);
            }
            Step::Refresh => {
                if let Some(refresh) = self.refresh {
                    self.channel.issue(refresh.command, 0, NO_ROW, at);
                    self.refresh_due += refresh.interval;
                    self.refreshes += 1;
                }
            }
            Step::Access(i) => {
                let Some((_, a)) = self.queue.remove(i) else { return };
                self.refreshes = 0;
                let kept = [units.register_row, units.enter_row, units.leave_row, units.park_row];
                self.of_all += u64::from(self.all_bank && !a.write && !kept.contains(&a.row));
                let command = self.command(&a);
                self.channel.issue(command, a.bank, a.row, at);
                // A cycle on the command bus; then the latency; and the cycle in which the host sees that it is done.
                self.done = self.done.max(at + 1 + self.device.spec(command).latency + 1);
            }
            Step::Activate(i) => {
                let a = self.queue[i].1;
                self.channel.issue(roles.activate, a.bank, a.row, at);
                if !self.all_bank && a.row == units.enter_row {
                    self.all_bank = all_of(&ENTER_BANKS, a.bank, &mut self.entering);
                }
            }
        }
    }

    fn close(&mut self, bank: u32, at: Cycle) {
        let row = self.channel.open_row(bank);
        self.channel.issue(self.roles.precharge, bank, NO_ROW, at);
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
