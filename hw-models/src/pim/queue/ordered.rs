//! A channel whose pseudo-channels take their commands each in its own order, in groups that no refresh parts.
//!
//! As Pimba's public controller has it (casys-kaist/pimba, commit d9ab7e2, `csrc/controllers`, `csrc/dram_specs`): one command a cycle, of the pseudo-channels
//! whose next command is ready the one that came first; a group begins when all of it can be done before a refresh falls due.

use std::sync::Arc;

use super::lane::Lane;
use crate::dram::{Channel, CommandId, Cycle, Device, NO_ROW};

/// A request in such a channel's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OrderedEntry {
    /// The command.
    pub command: CommandId,
    /// Its pseudo-channel.
    pub node: u32,
    /// Cycles that the group which it begins takes; 0 where it begins none.
    pub group: u32,
}

/// When a group may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// When it ends before the next multiple of the refresh interval; the refresh itself takes no time. As the public controller.
    ClearOfInterval,
    /// When it ends before the refresh falls due; otherwise the refresh comes first, and takes its time.
    BetweenRefreshes,
}

/// Such a channel.
#[derive(Clone)]
pub struct OrderedChannel {
    device: Arc<Device>,
    channel: Channel,
    queue: Vec<OrderedEntry>,
    entries: usize,
    groups: Groups,
    interval: Cycle,
    refresh: CommandId,
    /// When each pseudo-channel's refresh falls due.
    due: Vec<Cycle>,
    changed: bool,
}

impl std::fmt::Debug for OrderedChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrderedChannel")
            .field("device", &self.device.name)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl OrderedChannel {
    /// A channel at rest, whose queue holds so many requests; `None` where the device has no refresh to keep clear of.
    #[must_use]
    pub fn new(device: &Arc<Device>, entries: usize, groups: Groups) -> Option<Self> {
        let refresh = device.refresh?;
        let nodes = device.levels.get(usize::from(device.spec(refresh.command).scope.0))?.nodes;
        Some(Self {
            device: device.clone(),
            channel: Channel::new(device.clone()),
            queue: Vec::with_capacity(entries),
            entries,
            groups,
            interval: refresh.interval.max(1),
            refresh: refresh.command,
            due: vec![refresh.interval; nodes as usize],
            changed: false,
        })
    }

    /// What a pseudo-channel does next for a request, and the first cycle from `now` on at which it may.
    fn next_of(&self, entry: OrderedEntry, now: Cycle) -> (CommandId, Cycle) {
        let at = self.channel.earliest(entry.command, entry.node).max(now);
        let group = Cycle::from(entry.group);
        match self.groups {
            _ if group == 0 => (entry.command, at),
            Groups::ClearOfInterval if at % self.interval + group < self.interval => (entry.command, at),
            Groups::ClearOfInterval => (entry.command, (at / self.interval + 1) * self.interval),
            Groups::BetweenRefreshes if at + group <= self.due[entry.node as usize] => (entry.command, at),
            Groups::BetweenRefreshes => (self.refresh, self.channel.earliest(self.refresh, entry.node).max(now)),
        }
    }

    /// The first request of each pseudo-channel, by place in the queue.
    fn heads(&self) -> impl Iterator<Item = (usize, OrderedEntry)> {
        let nodes = self.due.len().min(64);
        let mut seen = 0_u64;
        self.queue
            .iter()
            .enumerate()
            .filter(move |(_, entry)| {
                let bit = 1_u64 << (entry.node % 64);
                let first = seen & bit == 0;
                seen |= bit;
                first
            })
            .take(nodes)
            .map(|(at, entry)| (at, *entry))
    }
}

impl Lane for OrderedChannel {
    type Entry = OrderedEntry;

    fn has_room(&self) -> bool {
        self.queue.len() < self.entries
    }

    fn push(&mut self, entry: OrderedEntry) {
        self.queue.push(entry);
    }

    fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    fn cycle(&mut self, now: Cycle) {
        let ready =
            self.heads().map(|(at, entry)| (at, entry, self.next_of(entry, now))).find(|(_, _, next)| next.1 <= now);
        self.changed = ready.is_some();
        if let Some((at, entry, (command, _))) = ready {
            self.channel.issue(command, entry.node, NO_ROW, now);
            if command == self.refresh {
                self.due[entry.node as usize] += self.interval;
            } else {
                self.queue.remove(at);
            }
        }
    }

    fn next(&self, now: Cycle) -> Cycle {
        if self.changed {
            return now + 1;
        }
        self.heads().map(|(_, entry)| self.next_of(entry, now + 1).1).min().unwrap_or(Cycle::MAX)
    }

    fn counts(&self) -> &[u64] {
        self.channel.counts()
    }

    fn active_cycles(&self, now: Cycle) -> Cycle {
        self.channel.active_cycles(now)
    }
}
