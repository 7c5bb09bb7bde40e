//! One channel and its queue.

use std::sync::Arc;

use super::entry::{BARRIER, Entry};
use super::lane::Lane;
use crate::dram::{Bus, Channel, CommandId, Cycle, Device, Effect, NO_ROW, Needs};

/// What may go next: its place in the queue, the command on the way to it, and whether this can issue now.
#[derive(Debug, Clone, Copy)]
struct Next {
    at: usize,
    command: CommandId,
    ready: bool,
}

/// What a channel's controller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRules {
    /// Requests that it holds.
    pub entries: usize,
    /// Whether it refreshes.
    pub refresh: bool,
    /// A command that closes single banks has a cycle to itself: AttAcc's public controller does not know it for a row command.
    pub closes_alone: bool,
}

/// A channel behind a queue.
#[derive(Clone)]
pub struct QueueChannel {
    device: Arc<Device>,
    channel: Channel,
    queue: Vec<Entry>,
    rules: QueueRules,
    /// When the next refresh falls due, and how many wait.
    due: Cycle,
    waiting: u32,
    /// Whether the last cycle changed anything.
    changed: bool,
}

impl std::fmt::Debug for QueueChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueChannel")
            .field("device", &self.device.name)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl QueueChannel {
    /// A channel at rest.
    #[must_use]
    pub fn new(device: &Arc<Device>, rules: QueueRules) -> Self {
        let due = device.refresh.filter(|_| rules.refresh).map_or(Cycle::MAX, |r| r.interval);
        // This controller shares the command buses out itself, one command of each in a cycle: what it finds ready is not what a bus has room for.
        let mut device = Device::clone(device);
        device.commands.iter_mut().for_each(|command| command.bus_cycles = 0);
        let device = Arc::new(device);
        Self {
            device: device.clone(),
            channel: Channel::new(device),
            queue: Vec::with_capacity(rules.entries),
            rules,
            due,
            waiting: 0,
            changed: false,
        }
    }

    /// The command on the way to a refresh: it, or what closes the rows before it.
    fn toward_refresh(&self) -> Option<CommandId> {
        let refresh = self.device.refresh?.command;
        let open = (0..self.device.banks).any(|b| self.channel.open_row(b) != NO_ROW);
        if open { self.device.spec(refresh).close_with } else { Some(refresh) }
    }

    /// Goes on with the refresh that waits; row commands of the queue wait for it, and column commands do not.
    fn refresh(&mut self, now: Cycle) -> Option<Bus> {
        let command = self.toward_refresh()?;
        if self.channel.earliest(command, 0) <= now {
            self.channel.issue(command, 0, NO_ROW, now);
            self.changed = true;
            if self.device.spec(command).effect == Effect::Refresh {
                self.waiting -= 1;
            }
        }
        Some(Bus::Row)
    }

    /// Issues the best command of the queue, if it is ready and of another bus than the one before it. The bus.
    fn serve(&mut self, now: Cycle, beside: Option<Bus>) -> Option<Bus> {
        let Next { at, command, ready } = self.best(now)?;
        if command == BARRIER {
            // One barrier gives way to another: that is all of the cycle.
            if beside.is_none() {
                self.queue.remove(at);
                self.changed = true;
            }
            return None;
        }
        let spec = self.device.spec(command);
        let (bus, effect) = (spec.bus, spec.effect);
        let alone = self.rules.closes_alone
            && effect == Effect::Close
            && usize::from(spec.scope.0) + 1 == self.device.levels.len();
        if !ready || beside == Some(bus) || (alone && beside.is_some()) {
            return None;
        }
        let entry = self.queue[at];
        let row = if effect == Effect::Close { NO_ROW } else { entry.row };
        self.channel.issue(command, self.node(command, entry.bank), row, now);
        self.changed = true;
        if command == entry.command {
            self.queue.remove(at);
        }
        (!alone).then_some(bus)
    }

    /// The best of the queue: see the module. A barrier in front is done.
    fn best(&mut self, now: Cycle) -> Option<Next> {
        if self.queue.first()?.command == BARRIER {
            self.queue.remove(0);
            self.changed = true;
        }
        let first = *self.queue.first()?;
        if first.command == BARRIER {
            return Some(Next { at: 0, command: BARRIER, ready: true });
        }
        let command = self.needed(first);
        let none = Next { at: 0, command, ready: self.earliest(command, first.bank) <= now };
        if none.ready {
            return Some(none);
        }
        let mut behind = false;
        let mut known = ((command, first.bank), false);
        for (at, entry) in self.queue.iter().enumerate().skip(1) {
            if entry.command == BARRIER {
                behind = true;
                continue;
            }
            let command = self.needed(*entry);
            if behind && !self.is_of_rows(command) {
                continue;
            }
            let place = (command, entry.bank);
            if known.0 != place {
                known = (place, self.earliest(command, entry.bank) <= now);
            }
            if known.1 && (self.hits(*entry, command) || !self.is_wanted(entry.bank)) {
                return Some(Next { at, command, ready: true });
            }
        }
        Some(none)
    }

    /// Whether a request has its row open.
    fn hits(&self, entry: Entry, command: CommandId) -> bool {
        command == entry.command && self.device.spec(command).needs == Needs::Open
    }

    /// Whether some request has its row open in a bank.
    fn is_wanted(&self, bank: u32) -> bool {
        self.queue.iter().any(|e| e.command != BARRIER && e.bank == bank && self.hits(*e, self.needed(*e)))
    }

    fn is_of_rows(&self, command: CommandId) -> bool {
        matches!(self.device.spec(command).effect, Effect::Open | Effect::Close)
    }

    fn needed(&self, entry: Entry) -> CommandId {
        let spec = self.device.spec(entry.command);
        if spec.needs != Needs::Open {
            return entry.command;
        }
        let next = match self.channel.open_row(entry.bank) {
            row if row == entry.row => None,
            NO_ROW => spec.open_with,
            _ => spec.close_with,
        };
        next.unwrap_or(entry.command)
    }

    fn node(&self, command: CommandId, bank: u32) -> u32 {
        bank / self.device.levels[self.device.spec(command).scope.0 as usize].banks
    }

    fn earliest(&self, command: CommandId, bank: u32) -> Cycle {
        self.channel.earliest(command, self.node(command, bank))
    }
}

impl Lane for QueueChannel {
    type Entry = Entry;

    fn has_room(&self) -> bool {
        self.queue.len() < self.rules.entries
    }

    fn push(&mut self, entry: Self::Entry) {
        self.queue.push(entry);
    }

    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.waiting == 0
    }

    fn counts(&self) -> &[u64] {
        self.channel.counts()
    }

    fn active_cycles(&self, now: Cycle) -> Cycle {
        self.channel.active_cycles(now)
    }

    fn cycle(&mut self, now: Cycle) {
        self.changed = false;
        if now >= self.due {
            self.due += self.device.refresh.map_or(Cycle::MAX - now, |r| r.interval);
            self.waiting += 1;
        }
        let first = if self.waiting > 0 { self.refresh(now) } else { self.serve(now, None) };
        if let Some(bus) = first {
            self.serve(now, Some(bus));
        }
    }

    fn next(&self, now: Cycle) -> Cycle {
        if self.changed {
            return now + 1;
        }
        let mut next = self.due;
        if self.waiting > 0
            && let Some(command) = self.toward_refresh()
        {
            next = next.min(self.channel.earliest(command, 0).max(now + 1));
        }
        let mut last = None;
        for entry in self.queue.iter().filter(|e| e.command != BARRIER) {
            let command = self.needed(*entry);
            if last.replace((command, entry.bank)) != Some((command, entry.bank)) {
                let at = self.earliest(command, entry.bank);
                if at > now {
                    next = next.min(at);
                }
            }
        }
        next
    }
}
