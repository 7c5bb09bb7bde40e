//! PIM devices with an instruction set: a trace of instructions, unrolled into commands on every channel.
//!
//! The set is data: the device's `[isa]` table and its `[[instruction]]` rows say what the operands are, which command an
//! instruction is unrolled into, and whether it accesses registers, blocks, waits or ends. What the commands do and how far
//! apart they must be stands in the device's tables as for any DRAM.

use std::collections::VecDeque;
use std::sync::Arc;

use banksia_input::InputError;

use super::isa_access::QUEUE;
use super::isa_lane::{Access, Lane, needed, node_of, ready};
use super::isa_trace::{Instruction, IsaSet};
use crate::dram::{Channel, CommandId, Cycle, Device, NO_ROW, Needs};
use crate::program::ChannelSet;

/// What a program of instructions did.
#[derive(Debug, Clone, PartialEq)]
pub struct IsaOutcome {
    /// Cycles until everything was done.
    pub cycles: Cycle,
    /// Issues of each of the device's commands, over all channels.
    pub counts: Vec<u64>,
    /// Cycles with rows open, summed over standby nodes of all channels.
    pub active_cycles: Cycle,
    /// Standby nodes of all channels.
    pub standby_nodes: u64,
}

/// A machine of channels that run a device's instructions.
#[derive(Clone)]
pub struct IsaMachine {
    device: Arc<Device>,
    set: IsaSet,
    lanes: Vec<Lane>,
    refresh: bool,
    /// The first cycle at which a channel may get the next instruction.
    host: Cycle,
    end: Cycle,
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
        Ok(Self { device, set, lanes, refresh, host: 1, end: 0 })
    }

    /// Simulates every channel by itself, whatever it is told. The results are the same.
    #[must_use]
    pub fn stepping(mut self) -> Self {
        self.lanes = self
            .lanes
            .iter()
            .flat_map(|lane| lane.members.iter().map(|c| Lane { members: ChannelSet::one(c), ..lane.clone() }))
            .collect();
        self
    }

    /// Parts the channels that an instruction is for from those that it is not for.
    fn part(&mut self, channels: &ChannelSet) {
        for i in 0..self.lanes.len() {
            let lane = &mut self.lanes[i];
            if lane.members.meets(channels) && !lane.members.within(channels) {
                let mut rest = lane.clone();
                rest.members = lane.members.without(channels);
                lane.members = lane.members.and(channels);
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
        for channel in 0..self.lanes.len() {
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
                handed = handed.max(lane.serve(&self.device, self.set.mode_change, None));
            }
            lane.next = lane.next.max(self.host);
            let last = unroll(lane, &self.device, self.set.mode_change, command, registers, instruction, queue);
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
        }
    }

    /// Hands an ordinary access to the channels of its mask; it is served when it must have left, and nothing waits for its data.
    fn access(&mut self, command: CommandId, instruction: &Instruction) {
        let write = self.device.roles.is_some_and(|r| command == r.write);
        let mut handed = self.host;
        self.part(&instruction.channels);
        for channel in 0..self.lanes.len() {
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
                bank: instruction.bank,
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

    /// Refreshes channels as often as it falls due until a cycle, each time from `from` on at the earliest.
    fn refresh(&mut self, channel: usize, until: Cycle, from: Cycle) {
        let Some(refresh) = self.device.refresh else { return };
        let lane = &mut self.lanes[channel];
        while lane.refresh_due <= lane.next.max(until) {
            let mut at = lane.next.max(from).max(lane.refresh_due);
            if lane.registers {
                if let Some(change) = self.set.mode_change {
                    at = ready(&lane.channel, &self.device, change, 0, at);
                    lane.channel.issue(change, 0, NO_ROW, at);
                    at += 1;
                }
                lane.registers = false;
            }
            let close = self.device.spec(refresh.command).close_with;
            if let Some(close) = close.filter(|_| !lane.channel.state_allows(refresh.command, 0, NO_ROW)) {
                at = ready(&lane.channel, &self.device, close, 0, at);
                lane.channel.issue(close, 0, NO_ROW, at);
            }
            at = ready(&lane.channel, &self.device, refresh.command, 0, at);
            lane.channel.issue(refresh.command, 0, NO_ROW, at);
            lane.next = at + 1;
            lane.refresh_due += refresh.interval;
        }
    }

    /// Ends, and says what was done.
    pub fn finish(mut self) -> IsaOutcome {
        self.serve_all();
        let busy = self.lanes.iter().map(|l| l.pending).max().unwrap_or(0);
        let cycles = self.end.max(busy);
        let all = |of: &dyn Fn(&Lane) -> u64| self.lanes.iter().map(|l| of(l) * u64::from(l.members.len())).sum();
        IsaOutcome {
            cycles,
            counts: self.counts(),
            active_cycles: all(&|l| l.channel.active_cycles(cycles)),
            standby_nodes: all(&|l| l.channel.standby_nodes()),
        }
    }

    /// Issues of each of the device's commands so far, over all channels.
    pub(super) fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.device.commands.len()];
        for lane in &self.lanes {
            for (total, n) in counts.iter_mut().zip(lane.channel.counts()) {
                *total += n * u64::from(lane.members.len());
            }
        }
        counts
    }

    /// The instruction set, for the machine's channels.
    pub fn set(&self) -> &IsaSet {
        &self.set
    }

    /// Channels that have been told the same so far.
    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes
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
        (self.host - 1, done)
    }
}

/// Issues an instruction's commands on a channel, with what must go before them. Returns the cycle of the last.
fn unroll(
    lane: &mut Lane,
    device: &Device,
    mode_change: Option<CommandId>,
    command: CommandId,
    registers: bool,
    instruction: &Instruction,
    queue: usize,
) -> Cycle {
    let spec = device.spec(command);
    let node = if device.levels[spec.scope.0 as usize].nodes > 1 { instruction.bank } else { 0 };
    let row = if spec.needs == Needs::Open { instruction.row } else { NO_ROW };
    let needs_change = mode_change.filter(|_| lane.registers != registers);
    let mut change = needs_change;
    loop {
        let next = needed(&lane.channel, device, command, node, row);
        let at = ready(&lane.channel, device, next, node_of(device, next, command, node), lane.next);
        // The change of mode takes the place of whichever command is ready.
        if let Some(mode) = change.take() {
            lane.channel.issue(mode, 0, NO_ROW, at.max(lane.channel.earliest(mode, 0)));
            lane.registers = registers;
            lane.next = at + 1;
            continue;
        }
        if next == command {
            lane.next = at;
            break;
        }
        let opened = if device.spec(next).needs == Needs::Closed { row } else { NO_ROW };
        lane.channel.issue(next, node_of(device, next, command, node), opened, at);
        lane.next = at + 1;
    }
    let count = u64::from(instruction.columns);
    let (first, last) = lane.channel.issue_run(command, node, row, lane.next, count);
    lane.next = last + 1;
    // Every command of a run is as far from the one before it.
    let gap = if count > 1 { (last - first) / (count - 1) } else { 0 };
    let skipped = count.saturating_sub(queue as u64);
    for i in skipped..count {
        lane.taken.push_back(first + gap * i);
    }
    while lane.taken.len() > queue {
        lane.taken.pop_front();
    }
    last
}
