//! Channels that have done the same so far, and what they have done.

use super::channel::PimChannel;
use crate::dram::Cycle;
use crate::program::ChannelSet;

/// What a channel has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ChannelTotals {
    pub(super) counts: Vec<u64>,
    pub(super) active: Cycle,
    pub(super) busy: Cycle,
    pub(super) accesses: u64,
    pub(super) misses: u64,
}

impl ChannelTotals {
    pub(super) fn of(channel: &PimChannel, busy: Cycle, now: Cycle) -> Self {
        Self {
            counts: channel.dram().counts().to_vec(),
            active: channel.dram().active_cycles(now),
            busy,
            accesses: channel.accesses(),
            misses: channel.misses(),
        }
    }

    pub(super) fn add_difference(&mut self, now: &Self, before: &Self) {
        self.counts.resize(now.counts.len(), 0);
        for (i, total) in self.counts.iter_mut().enumerate() {
            *total += now.counts[i] - before.counts.get(i).copied().unwrap_or(0);
        }
        self.active += now.active - before.active;
        self.busy += now.busy - before.busy;
        self.accesses += now.accesses - before.accesses;
        self.misses += now.misses - before.misses;
    }
}

/// Channels that have done the same so far; one without members has been merged into another.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub members: ChannelSet,
    pub channel: PimChannel,
    pub busy_cycles: Cycle,
    /// What has been booked to its channels.
    pub booked: ChannelTotals,
    /// Position in the step's list of PIM instructions from which to look for the next.
    pub next: usize,
    pub busy: bool,
}
