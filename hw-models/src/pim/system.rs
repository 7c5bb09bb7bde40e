//! A PIM machine runs programs: channels and a vector unit take instructions as their dependencies complete.
//!
//! ```text
//!   Program ----> channel group {0,1,2}: next instruction, DRAM state --- free --> next
//!                 channel group {3}: ...                              \-- done (+ link) --> dependents
//!            \--> vector unit: first ready, first served; waits for SRAM ---- done --> dependents
//! ```
//!
//! The link lies between the vector unit, which keeps the books of dependencies, and the channels: an instruction's completion
//! on a channel is known one link latency later, and an instruction reaches its channels one link latency after the last of
//! its dependencies is known. What need only follow an earlier instruction on the same channels has the program's order for
//! that, and waits for neither.
//!
//! Each channel takes its instructions in program order, the next as soon as the command bus is free and its dependencies
//! are complete. Channels that have done the same so far are simulated once, as a group; a group is split when an
//! instruction is for some of its channels only, and groups are merged when their states have become the same again. That
//! is exact, and stepping (`exact_stepping`) does without it.

use std::collections::HashMap;

use banksia_sim::{Cycles, EventQueue, Time};

use super::account::{Account, ChannelTotals};
use super::channel::PimChannel;
use super::config::PimMachine;
use super::courses::Courses;
use super::pattern::CompiledPattern;
use crate::dram::Cycle;
use crate::outcome::{Outcome, Span};
use crate::program::{ChannelSet, Pattern, Program, ProgramError, Work};

/// How to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Step every command of every channel; the result is the same, bit for bit.
    pub exact_stepping: bool,
    /// The step (from 0) whose spans are recorded.
    pub timeline_step: Option<u64>,
}

/// A run that could not be finished.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// A program that this machine cannot run.
    #[error("step {step}: {error}")]
    Program {
        /// Which step.
        step: u64,
        /// What is wrong with it.
        error: ProgramError,
    },
    /// Simulated time would exceed what 64-bit femtoseconds hold.
    #[error("step {step}: simulated time passes {limit}, the most that can be counted: run fewer tokens")]
    TooLong {
        /// Which step.
        step: u64,
        /// The limit.
        limit: Time,
    },
    /// Instructions wait for one another and none can proceed.
    #[error("step {step}: deadlock at {time}: {}", waits.join("; "))]
    Deadlock {
        /// Which step.
        step: u64,
        /// When.
        time: Time,
        /// Who waits for what.
        waits: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A group's command bus is free.
    Free(u32),
    /// An instruction whose dependencies are complete has crossed the link to its channels.
    Arrived { instruction: u32 },
    /// An instruction is complete on some channels.
    PimDone { instruction: u32, channels: u32 },
    /// The vector unit has finished.
    VectorDone { instruction: u32 },
}

/// What a PIM instruction does.
#[derive(Debug, Clone, Copy)]
struct PimWork {
    channels: ChannelSet,
    pattern: u32,
    row: u32,
    iterations: u32,
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
    next: usize,
    busy: bool,
}

/// A machine in the middle of a run.
pub struct PimSystem<'m> {
    machine: &'m PimMachine,
    options: RunOptions,
    queue: EventQueue<Event>,
    now: Time,
    step: u64,
    groups: Vec<Group>,
    vector_busy: bool,
    sram_free: u64,
    /// Every pattern met so far, resolved, with what has been learnt of it.
    known: Vec<(CompiledPattern, Courses)>,
    known_by_pattern: HashMap<Pattern, u32>,
    account: Account<'m>,
    spans: Vec<Span>,
    // Of the step in hand; kept between steps for their memory.
    /// Index in `known` of each of the program's patterns.
    patterns: Vec<u32>,
    vector_cycles: Vec<u64>,
    pim_list: Vec<u32>,
    waiting_on: Vec<u32>,
    dependents: Vec<u32>,
    dependents_first: Vec<u32>,
    channels_left: Vec<u32>,
    ready: Vec<bool>,
    sram_waiters: std::collections::BTreeSet<u32>,
    vector_queue: std::collections::VecDeque<u32>,
    unfinished: usize,
}

impl<'m> PimSystem<'m> {
    /// A machine at time zero.
    pub fn new(machine: &'m PimMachine, options: RunOptions) -> Self {
        let channel = PimChannel::new(machine.device.clone(), machine.file.memory.refresh, options.exact_stepping);
        let group = |members| Group {
            members,
            channel: channel.clone(),
            busy_cycles: 0,
            booked: ChannelTotals::default(),
            next: 0,
            busy: false,
        };
        let groups = if options.exact_stepping {
            (0..machine.channels()).map(|c| group(ChannelSet::one(c))).collect()
        } else {
            vec![group(ChannelSet::first(machine.channels()))]
        };
        Self {
            machine,
            options,
            queue: EventQueue::new(),
            now: Time::ZERO,
            step: 0,
            groups,
            vector_busy: false,
            sram_free: machine.vector_unit.sram_bytes,
            account: Account::new(machine),
            spans: Vec::new(),
            patterns: Vec::new(),
            known: Vec::new(),
            known_by_pattern: HashMap::new(),
            vector_cycles: Vec::new(),
            pim_list: Vec::new(),
            waiting_on: Vec::new(),
            dependents: Vec::new(),
            dependents_first: Vec::new(),
            channels_left: Vec::new(),
            ready: Vec::new(),
            sram_waiters: std::collections::BTreeSet::new(),
            vector_queue: std::collections::VecDeque::new(),
            unfinished: 0,
        }
    }

    /// Runs one program after all before it are complete.
    ///
    /// # Errors
    /// The program does not fit the machine, deadlocks, or runs past the end of countable time.
    pub fn run(&mut self, program: &Program) -> Result<(), RunError> {
        self.load(program).map_err(|error| RunError::Program { step: self.step, error })?;
        let start = self.now;
        self.account.begin_step(program);
        for i in 0..program.instructions.len() as u32 {
            if self.waiting_on[i as usize] == 0 {
                self.dependencies_met(program, i)?;
            }
        }
        self.start_all(program)?;
        while let Some((time, event)) = self.queue.pop() {
            self.now = time;
            match event {
                Event::Free(group) => {
                    self.groups[group as usize].busy = false;
                    self.start_groups(program)?;
                }
                Event::Arrived { instruction } => {
                    self.ready[instruction as usize] = true;
                    self.start_groups(program)?;
                }
                Event::PimDone { instruction, channels } => {
                    let left = &mut self.channels_left[instruction as usize];
                    *left -= channels;
                    if *left == 0 {
                        self.complete(program, instruction)?;
                    }
                }
                Event::VectorDone { instruction } => {
                    self.vector_busy = false;
                    self.complete(program, instruction)?;
                }
            }
        }
        if self.unfinished > 0 {
            return Err(self.deadlock(program));
        }
        let end_cycle = self.memory_cycle(self.now);
        for group in &mut self.groups {
            group.channel.idle_until(end_cycle);
        }
        self.account.end_step(program, start, self.now, end_cycle, &mut self.groups);
        self.step += 1;
        Ok(())
    }

    /// The time that the steps so far took.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What the run measured.
    pub fn finish(mut self) -> Outcome {
        let end_cycle = self.memory_cycle(self.now);
        for group in &mut self.groups {
            self.account.flush(group, end_cycle);
        }
        let mut outcome = self.account.outcome(self.now, end_cycle);
        outcome.spans = self.spans;
        outcome
    }

    fn load(&mut self, program: &Program) -> Result<(), ProgramError> {
        program.validate()?;
        let device = &self.machine.device;
        self.patterns.clear();
        for (i, pattern) in program.patterns.iter().enumerate() {
            let index = match self.known_by_pattern.get(pattern) {
                Some(index) => *index,
                None => {
                    self.known.push((CompiledPattern::new(i, pattern, device)?, Courses::default()));
                    let index = self.known.len() as u32 - 1;
                    self.known_by_pattern.insert(pattern.clone(), index);
                    index
                }
            };
            self.patterns.push(index);
        }
        let unit = &self.machine.vector_unit;
        self.vector_cycles.clear();
        self.vector_cycles.extend(program.functions.iter().map(|f| unit.cycles(f)));
        let n = program.instructions.len();
        self.pim_list.clear();
        self.waiting_on.clear();
        self.channels_left.clear();
        self.ready.clear();
        self.ready.resize(n, false);
        self.dependents_first.clear();
        self.dependents_first.resize(n + 1, 0);
        let all = ChannelSet::first(self.machine.channels());
        for (i, instruction) in program.instructions.iter().enumerate() {
            self.check_instruction(program, i)?;
            let channels = match instruction.work {
                Work::Pim { channels, pattern, row, iterations } => {
                    let place = || format!("instruction {i}");
                    let range = |what, value, limit| Err(ProgramError::Range { place: place(), what, value, limit });
                    if channels.is_empty() {
                        return Err(ProgramError::NoChannel { instruction: i });
                    }
                    if !channels.without(all).is_empty() {
                        let highest = u64::from(127 - channels.0.leading_zeros().min(127));
                        return range("channel", highest, u64::from(self.machine.channels()));
                    }
                    let rows = u64::from(row)
                        + self.known[self.patterns[pattern as usize] as usize].0.rows_reached(iterations);
                    if rows > u64::from(device.rows) {
                        return range("row", rows - 1, u64::from(device.rows));
                    }
                    self.pim_list.push(i as u32);
                    channels.len()
                }
                Work::Vector { .. } => 0,
            };
            self.channels_left.push(channels);
            self.waiting_on.push(instruction.dependencies);
            for dependency in program.dependencies_of(i) {
                self.dependents_first[*dependency as usize + 1] += 1;
            }
        }
        for i in 0..n {
            self.dependents_first[i + 1] += self.dependents_first[i];
        }
        self.dependents.clear();
        self.dependents.resize(program.dependencies.len(), 0);
        let mut fill = self.dependents_first.clone();
        for i in 0..n {
            for dependency in program.dependencies_of(i) {
                let slot = &mut fill[*dependency as usize];
                self.dependents[*slot as usize] = i as u32;
                *slot += 1;
            }
        }
        for group in &mut self.groups {
            group.next = 0;
        }
        self.unfinished = n;
        Ok(())
    }

    fn check_instruction(&self, program: &Program, i: usize) -> Result<(), ProgramError> {
        let instruction = &program.instructions[i];
        let capacity = self.machine.vector_unit.sram_bytes;
        if instruction.acquire_bytes > capacity {
            let operator = program.operators[instruction.operator as usize].name.clone();
            return Err(ProgramError::Capacity { operator, needs: instruction.acquire_bytes, capacity });
        }
        Ok(())
    }

    /// Every dependency of an instruction is complete: it needs its SRAM next.
    fn dependencies_met(&mut self, program: &Program, instruction: u32) -> Result<(), RunError> {
        let bytes = program.instructions[instruction as usize].acquire_bytes;
        if bytes == 0 {
            return self.make_ready(program, instruction);
        }
        self.sram_waiters.insert(instruction);
        self.serve_sram(program)
    }

    /// Those who wait are served in program order, so that none waits for ever: as many as fit, from the first.
    fn serve_sram(&mut self, program: &Program) -> Result<(), RunError> {
        while let Some(first) = self.sram_waiters.first().copied() {
            let bytes = program.instructions[first as usize].acquire_bytes;
            if bytes > self.sram_free {
                break;
            }
            self.sram_waiters.remove(&first);
            self.sram_free -= bytes;
            self.make_ready(program, first)?;
        }
        Ok(())
    }

    fn make_ready(&mut self, program: &Program, instruction: u32) -> Result<(), RunError> {
        match program.instructions[instruction as usize].work {
            Work::Vector { .. } => {
                self.ready[instruction as usize] = true;
                self.vector_queue.push_back(instruction);
            }
            Work::Pim { .. } => {
                let at = self.over_link(self.now)?;
                self.queue.push(at, Event::Arrived { instruction });
            }
        }
        Ok(())
    }

    /// When what leaves one end of the link at `time` is at the other.
    fn over_link(&self, time: Time) -> Result<Time, RunError> {
        time.checked_add(self.machine.link_latency).ok_or(RunError::TooLong { step: self.step, limit: Time::MAX })
    }

    fn complete(&mut self, program: &Program, instruction: u32) -> Result<(), RunError> {
        self.unfinished -= 1;
        let entry = &program.instructions[instruction as usize];
        self.account.completed(entry.operator, self.now);
        if entry.release_bytes > 0 {
            self.sram_free =
                self.sram_free.saturating_add(entry.release_bytes).min(self.machine.vector_unit.sram_bytes);
            self.serve_sram(program)?;
        }
        let range = self.dependents_first[instruction as usize]..self.dependents_first[instruction as usize + 1];
        for d in range {
            let dependent = self.dependents[d as usize];
            self.waiting_on[dependent as usize] -= 1;
            if self.waiting_on[dependent as usize] == 0 {
                self.dependencies_met(program, dependent)?;
            }
        }
        self.start_all(program)
    }

    fn start_all(&mut self, program: &Program) -> Result<(), RunError> {
        self.start_vector(program)?;
        self.start_groups(program)
    }

    fn start_vector(&mut self, program: &Program) -> Result<(), RunError> {
        if self.vector_busy {
            return Ok(());
        }
        let Some(instruction) = self.vector_queue.pop_front() else { return Ok(()) };
        let entry = &program.instructions[instruction as usize];
        let Work::Vector { function } = entry.work else { return Ok(()) };
        let cycles = self.vector_cycles[function as usize];
        let clock = &self.machine.vector_clock;
        let first = clock.cycle_at_or_after(self.now).0;
        let done = self.edge(clock, first.saturating_add(cycles))?;
        self.account.vector(
            entry.operator,
            &program.functions[function as usize],
            cycles,
            done.saturating_sub(self.now),
        );
        if self.options.timeline_step == Some(self.step) {
            self.spans.push(Span {
                group: "vector unit",
                lane: "ASIC".into(),
                operator: program.operators[entry.operator as usize].name.clone(),
                start: self.now,
                end: done,
                details: vec![("cycles", cycles.to_string())],
            });
        }
        self.vector_busy = true;
        self.queue.push(done, Event::VectorDone { instruction });
        Ok(())
    }

    fn start_groups(&mut self, program: &Program) -> Result<(), RunError> {
        let mut g = 0;
        // Splitting a group may add one at the end, which this loop then reaches; one that takes an earlier place is idle
        // until its own next instruction, and is started by hand.
        while g < self.groups.len() {
            if !self.groups[g].busy && !self.groups[g].members.is_empty() {
                self.start_group(program, g)?;
            }
            g += 1;
        }
        Ok(())
    }

    /// The next instruction of an idle group, if it is ready.
    fn next_of(&mut self, program: &Program, g: usize) -> Option<(u32, PimWork)> {
        let group = &mut self.groups[g];
        loop {
            let instruction = *self.pim_list.get(group.next)?;
            if let Work::Pim { channels, pattern, row, iterations } = program.instructions[instruction as usize].work
                && !channels.and(group.members).is_empty()
            {
                let work = PimWork { channels, pattern, row, iterations };
                return self.ready[instruction as usize].then_some((instruction, work));
            }
            group.next += 1;
        }
    }

    fn start_group(&mut self, program: &Program, g: usize) -> Result<(), RunError> {
        let Some((instruction, work)) = self.next_of(program, g) else { return Ok(()) };
        let clock = &self.machine.memory_clock;
        let start = clock.cycle_at_or_after(self.now).0;
        // A refresh that has fallen due belongs to the time before, and to no operator.
        self.groups[g].channel.idle_until(start);
        self.merge_into(g, start);
        let group = &mut self.groups[g];
        let rest = group.members.without(work.channels);
        let mut split = None;
        if !rest.is_empty() {
            let mut other = group.clone();
            group.members = group.members.and(work.channels);
            other.members = rest;
            other.next += 1;
            split = Some(self.add_group(other));
        }
        let group = &mut self.groups[g];
        let members = group.members;
        let (pattern, courses) = &mut self.known[self.patterns[work.pattern as usize] as usize];
        self.account.before(&group.channel);
        let timing = group.channel.run_knowing(courses, pattern, work.row, work.iterations, start);
        group.next += 1;
        group.busy = true;
        group.busy_cycles += timing.free - start;
        let operator = program.instructions[instruction as usize].operator;
        let free = self.edge(clock, timing.free)?;
        let done = self.edge(clock, timing.done.max(timing.free))?;
        self.account.after(operator, &self.groups[g].channel, members.len(), done.saturating_sub(self.now));
        if self.options.timeline_step == Some(self.step) {
            for channel in members.iter() {
                self.spans.push(Span {
                    group: "PIM channels",
                    lane: format!("channel {channel}"),
                    operator: program.operators[operator as usize].name.clone(),
                    start: self.now,
                    end: free,
                    details: vec![("first row", work.row.to_string()), ("iterations", work.iterations.to_string())],
                });
            }
        }
        let done = self.over_link(done)?;
        self.queue.push(free, Event::Free(g as u32));
        self.queue.push(done, Event::PimDone { instruction, channels: members.len() });
        match split {
            Some(other) if other < g => self.start_group(program, other),
            _ => Ok(()),
        }
    }

    /// Puts a group into the place of one that was merged away, or at the end.
    fn add_group(&mut self, group: Group) -> usize {
        match self.groups.iter().position(|g| g.members.is_empty()) {
            Some(place) => {
                self.groups[place] = group;
                place
            }
            None => {
                self.groups.push(group);
                self.groups.len() - 1
            }
        }
    }

    /// Merges into an idle group every other idle one that is at the same instruction and, from `now` on, will do the same.
    fn merge_into(&mut self, g: usize, now: Cycle) {
        if self.options.exact_stepping {
            return;
        }
        for other in 0..self.groups.len() {
            let (a, b) = (&self.groups[g], &self.groups[other]);
            if other == g || b.busy || b.members.is_empty() || a.next != b.next {
                continue;
            }
            let (low, high) = self.groups.split_at_mut(g.max(other));
            let (a, b) = if g < other { (&mut low[g], &mut high[0]) } else { (&mut high[0], &mut low[other]) };
            // Refreshes that fell due before now close rows before now: they come first, or the books would run backwards.
            a.channel.idle_until(now);
            b.channel.idle_until(now);
            if a.channel.behaves_like(&mut b.channel, now) {
                self.account.flush(a, now);
                self.account.flush(b, now);
                a.members = a.members.or(b.members);
                b.members = ChannelSet::EMPTY;
            }
        }
    }

    fn memory_cycle(&self, time: Time) -> Cycle {
        self.machine.memory_clock.cycle_at_or_after(time).0
    }

    fn edge(&self, clock: &banksia_sim::Clock, cycle: u64) -> Result<Time, RunError> {
        clock.checked_edge(Cycles(cycle)).map_err(|_| RunError::TooLong { step: self.step, limit: Time::MAX })
    }

    fn deadlock(&self, program: &Program) -> RunError {
        let name = |i: u32| {
            let operator = program.instructions[i as usize].operator as usize;
            format!("instruction {i} ({})", program.operators[operator].name)
        };
        let mut waits: Vec<String> = self
            .sram_waiters
            .iter()
            .map(|i| {
                let bytes = program.instructions[*i as usize].acquire_bytes;
                format!("{} waits for {bytes} bytes of SRAM, of which {} are free", name(*i), self.sram_free)
            })
            .collect();
        for i in 0..program.instructions.len() as u32 {
            if self.waiting_on[i as usize] > 0 && waits.len() < 8 {
                let on = program.dependencies_of(i as usize).iter().filter(|d| !self.ready[**d as usize]);
                let on: Vec<String> = on.map(|d| name(*d)).collect();
                if !on.is_empty() {
                    waits.push(format!("{} waits for {}", name(i), on.join(", ")));
                }
            }
        }
        RunError::Deadlock { step: self.step, time: self.now, waits }
    }
}
