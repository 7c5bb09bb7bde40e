//! A PIM channel: runs patterns of commands in order, opens and closes the rows that they need, and refreshes.

use std::sync::Arc;

use super::courses::{Course, Courses};
use super::pattern::{CompiledPattern, CompiledStep, Opener};
use crate::dram::channel::{CourseTotals, RelativeState};
use crate::dram::{Channel, CommandId, CommandLog, Cycle, Device, NO_ROW, NoLog};

/// When an instruction's commands issued and completed, in the channel's cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockTiming {
    /// The first cycle after its last command: the next instruction may issue from here on.
    pub free: Cycle,
    /// When the last of its effects is complete.
    pub done: Cycle,
}

/// Refresh of a channel: every node of the command's scope, every interval.
#[derive(Debug, Clone)]
struct RefreshState {
    command: CommandId,
    close: CommandId,
    nodes: u32,
    close_per_node: u32,
    interval: Cycle,
    due: Cycle,
}

/// A channel that runs patterns.
///
/// Commands issue in order, each at the first cycle that the timing rows, the command bus and the one before allow.
/// Refresh falls due every tREFI. An idle channel refreshes when it is due; a busy one at the end of the iteration that it
/// is in, which postpones it by less than one tREFI, within the eight that JEDEC standards allow, and never in the middle of
/// an accumulation.
///
/// Unless stepping is asked for, an iteration that begins in a state (relative to time and row) in which the same pattern has
/// begun before is not stepped: it takes the same course again ([`Courses`]).
#[derive(Debug, Clone)]
pub struct PimChannel<L = NoLog> {
    channel: Channel<L>,
    refresh: Option<RefreshState>,
    stepping: bool,
    accesses: u64,
    misses: u64,
    stepped: u64,
    state: RelativeState,
    counts_before: Vec<u64>,
}

impl PimChannel<NoLog> {
    /// A channel with every bank closed, whose first refresh falls due after one interval.
    pub fn new(device: Arc<Device>, refresh: bool, stepping: bool) -> Self {
        Self::with_log(device, refresh, stepping, NoLog)
    }
}

impl<L: CommandLog> PimChannel<L> {
    /// As [`PimChannel::new`], telling a log of every command; a log that listens hears each command, so nothing is skipped.
    pub fn with_log(device: Arc<Device>, refresh: bool, stepping: bool, log: L) -> Self {
        let refresh = device.refresh.filter(|_| refresh).and_then(|r| {
            let spec = device.spec(r.command);
            let close = spec.close_with?;
            let nodes = device.levels[spec.scope.0 as usize].nodes;
            let close_nodes = device.levels[device.spec(close).scope.0 as usize].nodes;
            Some(RefreshState {
                command: r.command,
                close,
                nodes,
                close_per_node: (close_nodes / nodes).max(1),
                interval: r.interval,
                due: r.interval,
            })
        });
        Self {
            channel: Channel::with_log(device, log),
            refresh,
            stepping: stepping || L::ENABLED,
            accesses: 0,
            misses: 0,
            stepped: 0,
            state: RelativeState::default(),
            counts_before: Vec::new(),
        }
    }

    /// The DRAM channel underneath.
    pub fn dram(&self) -> &Channel<L> {
        &self.channel
    }

    /// Accesses of one bank to a column, a bank of an all-bank command counting as one.
    pub fn accesses(&self) -> u64 {
        self.accesses
    }

    /// Those among them for which the row had to be opened.
    pub fn misses(&self) -> u64 {
        self.misses
    }

    /// Commands that were worked out one by one (runs within a row count one), for the simulator's own speed.
    pub fn stepped(&self) -> u64 {
        self.stepped
    }

    /// Runs a pattern from a row on, some times, from a cycle on.
    pub fn run(&mut self, pattern: &CompiledPattern, row: u32, iterations: u32, start: Cycle) -> BlockTiming {
        self.run_knowing(&mut Courses::default(), pattern, row, iterations, start)
    }

    /// As [`PimChannel::run`], with what is known of the pattern from before; adds to it.
    pub fn run_knowing(
        &mut self,
        known: &mut Courses,
        pattern: &CompiledPattern,
        row: u32,
        iterations: u32,
        start: Cycle,
    ) -> BlockTiming {
        self.idle_until(start);
        let mut cursor = self.channel.bus_ready().max(start);
        let mut done = cursor;
        let mut i = 0;
        // The known start that the present state is; and, where the state has not been written out, the course that ends in it.
        let mut here: Option<u32> = None;
        let mut unwritten: Option<u32> = None;
        while i < iterations {
            let at = row + i * pattern.rows;
            if self.refresh.as_ref().is_some_and(|r| r.due <= cursor) {
                self.write_out(known, &mut unwritten, cursor, at);
                cursor = self.do_refresh(cursor);
                here = None;
                continue;
            }
            if self.stepping {
                cursor = self.iterate(pattern, at, cursor, &mut done);
                i += 1;
                continue;
            }
            if here.is_none() && unwritten.is_none() {
                self.channel.relative_state(cursor, at, &mut self.state);
                here = known.start(&self.state);
            }
            if let Some(course) = here.and_then(|h| known.course(h)) {
                // Where it leaves the state as it found it, it goes on until refresh falls due, looked for at each start.
                let until_refresh = match &self.refresh {
                    Some(r) if course.period > 0 => r.due.saturating_sub(cursor).div_ceil(course.period),
                    _ => u64::MAX,
                };
                let times = if course.next == here { until_refresh.min(u64::from(iterations - i)) } else { 1 };
                self.channel.take_course(&CourseTotals {
                    begins: cursor,
                    period: course.period,
                    times,
                    counts: &course.counts,
                    active_cycles: course.active,
                });
                self.accesses += course.accesses * times;
                self.misses += course.misses * times;
                cursor += course.period * times;
                done = done.max(cursor + course.done_after_end);
                i += times as u32;
                unwritten = here;
                here = course.next;
                if here.is_none() {
                    // The state it ends in was not yet known as a start; it may be by now, or there is no room for it.
                    let at = row + i * pattern.rows;
                    self.write_out(known, &mut unwritten, cursor, at);
                }
                continue;
            }
            self.write_out(known, &mut unwritten, cursor, at);
            let Some(start_here) = here else {
                cursor = self.iterate(pattern, at, cursor, &mut done);
                i += 1;
                continue;
            };
            self.counts_before.clear();
            self.counts_before.extend_from_slice(self.channel.counts());
            let (accesses, misses) = (self.accesses, self.misses);
            let (begun, active) = (cursor, self.channel.active_cycles(cursor));
            let mut iteration_done = cursor;
            cursor = self.iterate(pattern, at, cursor, &mut iteration_done);
            done = done.max(iteration_done);
            i += 1;
            self.channel.relative_state(cursor, at.wrapping_add(pattern.rows), &mut self.state);
            let next = known.start(&self.state);
            let counts = self.channel.counts().iter().zip(&self.counts_before).map(|(now, was)| now - was).collect();
            known.learn(
                start_here,
                Course {
                    end: self.state.clone(),
                    next,
                    period: cursor - begun,
                    counts,
                    active: self.channel.active_cycles(cursor) - active,
                    accesses: self.accesses - accesses,
                    misses: self.misses - misses,
                    done_after_end: iteration_done.saturating_sub(cursor),
                },
            );
            here = next;
        }
        self.write_out(known, &mut unwritten, cursor, row.wrapping_add(iterations.wrapping_mul(pattern.rows)));
        BlockTiming { free: cursor, done }
    }

    /// One iteration, command by command (runs of one command as runs, unless stepping).
    fn iterate(&mut self, pattern: &CompiledPattern, row: u32, mut cursor: Cycle, done: &mut Cycle) -> Cycle {
        for step in &pattern.steps {
            cursor = self.step(step, row, cursor, done);
        }
        cursor
    }

    /// Puts the channel into the state in which a known course ends, where that has not been done.
    fn write_out(&mut self, known: &Courses, unwritten: &mut Option<u32>, now: Cycle, row: u32) {
        if let Some(course) = unwritten.take().and_then(|u| known.course(u)) {
            self.channel.restore(&course.end, now, row);
        }
    }

    /// Lets time pass with nothing to do: refreshes that fall due until `cycle` are issued when they are due.
    pub fn idle_until(&mut self, cycle: Cycle) {
        while let Some(due) = self.refresh.as_ref().map(|r| r.due)
            && due <= cycle
        {
            let at = self.channel.bus_ready().max(due);
            self.do_refresh(at);
        }
    }

    /// Whether two channels that take their next instruction at `now` or later will do the same from there on.
    pub(crate) fn behaves_like(&mut self, other: &mut Self, now: Cycle) -> bool {
        let due = |c: &Self| c.refresh.as_ref().map(|r| r.due);
        if due(self) != due(other) {
            return false;
        }
        self.channel.relative_state(now, 0, &mut self.state);
        other.channel.relative_state(now, 0, &mut other.state);
        self.state == other.state
    }

    fn step(&mut self, step: &CompiledStep, first_row: u32, mut cursor: Cycle, done: &mut Cycle) -> Cycle {
        let row = if step.row == NO_ROW { NO_ROW } else { first_row + step.row };
        let spec = self.channel.device().spec(step.command);
        let (latency, slots) = (spec.latency, spec.bus_cycles);
        for node in step.first_node..step.first_node + step.nodes {
            if let Some(opener) = step.opener {
                if !self.channel.state_allows(step.command, node, row) {
                    cursor = self.open(opener, node * step.banks, row, cursor);
                    self.misses += u64::from(step.banks);
                }
                self.accesses += u64::from(step.count) * u64::from(step.banks);
            }
            if self.stepping {
                for _ in 0..step.count {
                    cursor = self.issue(step.command, node, row, cursor);
                }
            } else if step.count > 0 {
                let (_, last) = self.channel.issue_run(step.command, node, row, cursor, u64::from(step.count));
                cursor = last + slots;
                self.stepped += 1;
            }
            // `cursor` is past the last command's slots.
            *done = (*done).max(cursor - slots.min(cursor) + latency);
        }
        cursor
    }

    fn open(&mut self, opener: Opener, bank: u32, row: u32, mut cursor: Cycle) -> Cycle {
        let node = bank / opener.open_banks;
        if !self.channel.state_allows(opener.open, node, NO_ROW) {
            cursor = self.issue(opener.close, node * opener.open_banks / opener.close_banks, NO_ROW, cursor);
        }
        self.issue(opener.open, node, row, cursor)
    }

    fn issue(&mut self, command: CommandId, node: u32, row: u32, cursor: Cycle) -> Cycle {
        let at = self.channel.earliest(command, node).max(cursor);
        self.channel.issue(command, node, row, at);
        self.stepped += 1;
        self.channel.bus_ready()
    }

    fn do_refresh(&mut self, mut cursor: Cycle) -> Cycle {
        let Some(refresh) = &mut self.refresh else { return cursor };
        refresh.due += refresh.interval;
        let RefreshState { command, close, nodes, close_per_node, .. } = *refresh;
        for node in 0..nodes {
            if !self.channel.state_allows(command, node, NO_ROW) {
                for c in node * close_per_node..(node + 1) * close_per_node {
                    cursor = self.issue(close, c, NO_ROW, cursor);
                }
            }
            cursor = self.issue(command, node, NO_ROW, cursor);
        }
        cursor
    }
}
