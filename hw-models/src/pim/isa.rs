//! PIM devices with an instruction set: a trace of instructions, unrolled into commands on every channel.
//!
//! The set is data: the device's `[isa]` table and its `[[instruction]]` rows say what the operands are, which command an
//! instruction is unrolled into, and whether it accesses registers, blocks, waits or ends. What the commands do and how far
//! apart they must be stands in the device's tables as for any DRAM.

use std::collections::VecDeque;
use std::sync::Arc;

use banksia_input::InputError;

use super::isa_access::QUEUE;
use super::isa_lane::{Access, Lane, ready};
use super::isa_merge::{Did, Merger};
use super::isa_trace::{Instruction, IsaSet};
use super::isa_unroll::{Unroll, node_for};
use super::outcome::{ChannelsOutcome, IsaOutcome};
use super::tally::Tally;
use crate::dram::{Channel, CommandId, Cycle, Device, NO_ROW, Needs};
use crate::program::ChannelSet;

/// A machine of channels that run a device's instructions.
#[derive(Clone)]
pub struct IsaMachine {
    device: Arc<Device>,
    set: Arc<IsaSet>,
    lanes: Vec<Lane>,
    /// The lane of each channel.
    lane_of: Vec<u32>,
    /// Lanes that have become alike are put together.
    merger: Option<Merger>,
    refresh: bool,
    /// The first cycle at which a channel may get the next instruction.
    host: Cycle,
    end: Cycle,
    /// When the block in hand began: until when each channel is at work is counted from there.
    block: Option<Cycle>,
    /// Refreshes so far, over all channels: how many, and the sum of their cycles.
    refreshes: (u64, u64),
}

impl std::fmt::Debug for IsaMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IsaMachine")
            .field("device", &self.device.name)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl IsaMachine {
    /// A machine at rest.
    ///
    /// # Errors
    /// The device has no refresh to issue, or refreshes by a command that needs open rows.
    pub fn new(device: Arc<Device>, set: IsaSet, refresh: bool) -> Result<Self, InputError> {
        let interval = device.refresh.map(|r| r.interval);
        if refresh && interval.is_none() {
            let problem = "has no refresh to issue: give [refresh], or switch refresh off";
            return Err(InputError::new(format!("device {}", device.name), problem));
        }
        if let Some(spec) = device.refresh.map(|r| device.spec(r.command)).filter(|_| refresh)
            && matches!(spec.needs, Needs::Open | Needs::Opening)
        {
            let problem =
                format!("is `{}`, which needs open rows: a refresh goes out when every row is closed", spec.name);
            return Err(InputError::new(format!("device {}", device.name), problem).key("refresh.command"));
        }
        let lanes = vec![Lane {
            members: ChannelSet::first(set.channels),
            channel: Channel::new(device.clone()),
            tally: Tally::new(&device),
            next: 1,
            registers: false,
            pending: 0,
            accesses: Vec::new(),
            writing: false,
            instructed: 0,
            taken: VecDeque::with_capacity(set.queue + 1),
            refresh_due: interval.unwrap_or(0),
            busy: 0,
            busy_until: 0,
        }];
        let lane_of = vec![0; set.channels as usize];
        let set = Arc::new(set);
        Ok(Self { device, set, lanes, lane_of, merger: None, refresh, host: 1, end: 0, block: None, refreshes: (0, 0) })
    }

    /// Puts channels together again that accesses to single ones have set apart, once nothing that comes can tell them apart. The results are the same.
    #[must_use]
    pub fn merging(mut self) -> Self {
        self.merger = Some(Merger::default());
        self
    }

    /// Keeps every command from here on.
    #[must_use]
    pub fn keeping_commands(mut self) -> Self {
        self.lanes.iter_mut().for_each(|l| l.tally.keep_commands());
        self
    }

    /// Simulates every channel by itself, whatever it is told. The results are the same.
    #[must_use]
    pub fn stepping(mut self) -> Self {
        self.lanes = self
            .lanes
            .iter()
            .flat_map(|lane| lane.members.iter().map(|c| Lane { members: ChannelSet::one(c), ..lane.clone() }))
            .collect();
        self.merger = None;
        self.place();
        self
    }

    /// Notes the lane of each channel.
    fn place(&mut self) {
        for (i, lane) in self.lanes.iter().enumerate() {
            for channel in lane.members.iter() {
                self.lane_of[channel as usize] = i as u32;
            }
        }
    }

    /// The places of lanes among which those of some channels are.
    fn lanes_of(&self, channels: &ChannelSet) -> std::ops::Range<usize> {
        let first = channels.highest().filter(|_| channels.len() == 1).and_then(|c| self.lane_of.get(c as usize));
        first.map_or(0..self.lanes.len(), |lane| *lane as usize..*lane as usize + 1)
    }

    /// Parts the channels that an instruction is for from those that it is not for.
    fn part(&mut self, channels: &ChannelSet) {
        for i in self.lanes_of(channels) {
            let lane = &mut self.lanes[i];
            if lane.members.meets(channels) && !lane.members.within(channels) {
                let mut rest = lane.clone();
                rest.members = lane.members.without(channels);
                lane.members = lane.members.and(channels);
                for channel in rest.members.iter() {
                    self.lane_of[channel as usize] = self.lanes.len() as u32;
                }
                self.lanes.push(rest);
            }
        }
    }

    /// Runs an instruction on the channels of its mask.
    pub fn run(&mut self, instruction: &Instruction) {
        let spec = &self.set.instructions[instruction.kind];
        if spec.waits {
            self.serve_all();
            // Done when every channel has nothing pending, a cycle after it was looked at.
            let done = self.lanes.iter().map(|l| l.next.max(self.host).max(l.pending) + 1).max().unwrap_or(0);
            self.end = self.end.max(done);
            self.host = done + 1;
            return;
        }
        let Some(command) = spec.command else {
            self.host += 1;
            return;
        };
        if self.device.roles.is_some_and(|r| command == r.read || command == r.write) {
            self.access(command, instruction);
            return;
        }
        let (registers, blocks) = (spec.registers, spec.blocks);
        let mut answered = 0;
        // The host hands an instruction over in one cycle, and goes on once every channel has taken in all of it.
        let mut handed = self.host;
        self.part(&instruction.channels);
        for channel in self.lanes_of(&instruction.channels) {
            if !self.lanes[channel].members.within(&instruction.channels) {
                continue;
            }
            if self.refresh {
                let now = self.lanes[channel].next.max(self.host);
                self.refresh(channel, now, now);
            }
            let queue = self.set.queue;
            let lane = &mut self.lanes[channel];
            if !lane.accesses.is_empty() {
                // The channel takes an instruction in once no access waits in its queues.
                handed = handed.max(lane.serve_waiting(&self.device, self.set.mode_change));
            }
            lane.next = lane.next.max(self.host);
            let unroll = Unroll { device: &self.device, mode_change: self.set.mode_change, command, registers, queue };
            let last = unroll.run(lane, instruction);
            let done = last + self.device.spec(command).latency;
            lane.pending = lane.pending.max(done);
            lane.instructed = last + 1;
            answered = answered.max(done);
            if lane.taken.len() >= queue && lane.taken[0] >= self.host {
                handed = handed.max(lane.taken[0] + 1);
            }
        }
        // A cycle of its own to see that what waited is gone; and the answer of a blocking one is taken in the next.
        self.host = if handed > self.host { handed + 1 } else { self.host + 1 };
        if blocks {
            self.host = self.host.max(answered + 1);
            if self.merger.as_mut().is_some_and(|m| m.is_due(self.lanes.len())) {
                self.merge();
            }
        }
    }

    /// Puts lanes together that nothing which the host hands over from now on can tell apart.
    fn merge(&mut self) {
        if let Some(merger) = &mut self.merger
            && self.lanes.len() > 1
            && merger.merge(&mut self.lanes, self.host, self.block.unwrap_or(self.host))
        {
            self.place();
        }
    }

    /// Hands an ordinary access to the channels of its mask; it is served when it must have left, and nothing waits for its data.
    fn access(&mut self, command: CommandId, instruction: &Instruction) {
        let write = self.device.roles.is_some_and(|r| command == r.write);
        let mut handed = self.host;
        self.part(&instruction.channels);
        for channel in self.lanes_of(&instruction.channels) {
            if !self.lanes[channel].members.within(&instruction.channels) {
                continue;
            }
            if self.refresh && self.lanes[channel].accesses.is_empty() {
                let now = self.lanes[channel].next.max(self.host);
                self.refresh(channel, now, now);
            }
            let lane = &mut self.lanes[channel];
            let mut from = self.host.max(lane.instructed);
            if lane.waiting(write) == QUEUE {
                from = from.max(lane.serve(&self.device, self.set.mode_change, Some((write, QUEUE - 1))) + 1);
            }
            lane.accesses.push(Access {
                from,
                command,
                write,
                bank: node_for(&self.device, command, instruction.bank),
                row: instruction.row,
                active: false,
            });
            handed = handed.max(from);
        }
        self.host = handed + 1;
    }

    fn serve_all(&mut self) {
        for lane in &mut self.lanes {
            lane.serve(&self.device, self.set.mode_change, None);
        }
    }

    /// Refreshes channels as often as it falls due until a cycle, each time from `from` on at the earliest: one that falls due while a channel waits for
    /// its next instruction is put off until that comes, but no longer than until the next falls due.
    fn refresh(&mut self, channel: usize, until: Cycle, from: Cycle) {
        let Some(refresh) = self.device.refresh else { return };
        let nodes = self.device.levels[self.device.spec(refresh.command).scope.0 as usize].nodes;
        let lane = &mut self.lanes[channel];
        while lane.refresh_due <= lane.next.max(until) {
            let from = from.min(lane.refresh_due.saturating_add(refresh.interval));
            let mut at = lane.next.max(from).max(lane.refresh_due);
            if lane.registers {
                if let Some(change) = self.set.mode_change {
                    at = ready(&lane.channel, &self.device, change, 0, at);
                    lane.issue(&self.device, (change, 0), NO_ROW, None, at);
                    at += 1;
                }
                lane.registers = false;
            }
            for node in 0..nodes {
                if !lane.channel.state_allows(refresh.command, node, NO_ROW) {
                    for (close, node) in closers(&self.device, refresh.command, node) {
                        at = ready(&lane.channel, &self.device, close, node, at);
                        lane.issue(&self.device, (close, node), NO_ROW, None, at);
                        at += 1;
                    }
                }
                at = ready(&lane.channel, &self.device, refresh.command, node, at);
                let members = u64::from(lane.members.len());
                self.refreshes.0 += members;
                self.refreshes.1 = self.refreshes.1.wrapping_add(at * members);
                lane.issue(&self.device, (refresh.command, node), NO_ROW, None, at);
                at += 1;
            }
            lane.next = at;
            lane.refresh_due += refresh.interval;
        }
    }

    /// Ends, and says what was done.
    pub fn finish(mut self) -> IsaOutcome {
        self.serve_all();
        let busy = self.lanes.iter().map(|l| l.pending).max().unwrap_or(0);
        let cycles = self.end.max(busy);
        let standby_nodes = u64::from(self.device.levels[self.device.standby.0 as usize].nodes);
        if let Some(merger) = &self.merger {
            let channels = self.lanes.into_iter().flat_map(|lane| merger.outcomes(lane, cycles)).collect();
            return IsaOutcome::new(cycles, standby_nodes, channels);
        }
        let channels = self.lanes.into_iter().map(|lane| ChannelsOutcome {
            members: lane.members,
            counts: lane.channel.counts().to_vec(),
            active_cycles: lane.channel.active_cycles(cycles),
            touched: lane.tally.touched().to_vec(),
            commands: lane.tally.into_commands(),
        });
        IsaOutcome::new(cycles, standby_nodes, channels.collect())
    }

    /// Issues of each of the device's commands so far, over all channels.
    pub(super) fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.device.commands.len()];
        for lane in &self.lanes {
            for (total, n) in counts.iter_mut().zip(lane.channel.counts()) {
                *total += n * u64::from(lane.members.len());
            }
        }
        if let Some(merger) = &self.merger {
            merger.excess_counts(&mut counts);
        }
        counts
    }

    /// The instruction set, for the machine's channels.
    pub fn set(&self) -> &IsaSet {
        &self.set
    }

    /// Refreshes so far, over all channels: how many, and the sum of their cycles.
    pub(super) fn refreshes(&self) -> (u64, u64) {
        self.refreshes
    }

    /// Cycles at work in blocks, all channels together.
    pub(super) fn busy(&self) -> Cycle {
        let of_lanes = self.lanes.iter().map(|l| l.busy * u64::from(l.members.len())).sum::<Cycle>();
        of_lanes.saturating_add_signed(self.merger.as_ref().map_or(0, Merger::excess_busy))
    }

    /// What each channel has done until a cycle.
    pub(super) fn did(&self, now: Cycle, mut take: impl FnMut(u32, Did)) {
        let none = Merger::default();
        let merger = self.merger.as_ref().unwrap_or(&none);
        for lane in &self.lanes {
            for channel in lane.members.iter() {
                take(channel, merger.did(lane, channel, now));
            }
        }
    }

    /// Nothing comes before a cycle: what is still to be served is, and refreshes go out as they fall due.
    pub(super) fn idle_until(&mut self, cycle: Cycle) {
        self.serve_all();
        if self.refresh {
            for lane in 0..self.lanes.len() {
                self.refresh(lane, cycle, 0);
            }
        }
    }

    /// Runs instructions of which the host hands over the first no sooner than in the cycle after `start`. Returns the last cycle in
    /// which the host is occupied, and that in which everything is done.
    pub(super) fn run_block(&mut self, instructions: &[Instruction], start: Cycle) -> (Cycle, Cycle) {
        self.idle_until(start);
        self.host = self.host.max(start + 1);
        self.block = Some(start);
        self.merge();
        for instruction in instructions {
            self.run(instruction);
        }
        self.serve_all();
        let mut done = self.host - 1;
        for lane in &mut self.lanes {
            if instructions.iter().any(|i| lane.members.meets(&i.channels)) {
                let end = lane.pending.max(start);
                lane.busy += end - lane.busy_until.clamp(start, end);
                lane.busy_until = end;
                done = done.max(end);
            }
        }
        self.block = None;
        (self.host - 1, done)
    }
}

/// What closes the banks below a node of a command, and at which of its own nodes.
fn closers(device: &Device, command: CommandId, node: u32) -> impl Iterator<Item = (CommandId, u32)> {
    let banks = device.banks_of(command, node);
    device.spec(command).close_with.into_iter().flat_map(move |close| {
        let each = device.levels[device.spec(close).scope.0 as usize].banks;
        (banks.start / each..banks.end.div_ceil(each)).map(move |n| (close, n))
    })
}
