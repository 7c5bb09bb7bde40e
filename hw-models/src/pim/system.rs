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

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use banksia_sim::{Cycles, EventQueue, Time};

use super::account::Account;
use super::blocks::{BlockUnit, Checked, refused};
use super::channel::PimChannel;
use super::config::PimMachine;
use super::courses::Courses;
use super::drive::Drive;
use super::group::Group;
use super::metrics;
use super::pattern::CompiledPattern;
use crate::dram::Cycle;
use crate::outcome::{Outcome, Span};
use crate::program::{ChannelSet, Pattern, Program, ProgramError, Work};
use crate::system::{Books, Executor, RunError, RunOptions, Share};

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A group's command bus is free.
    Free(u32),
    /// An instruction whose dependencies are complete has crossed the link to its channels.
    Arrived { instruction: u32 },
    /// An instruction is complete on some channels.
    PimDone { instruction: u32, channels: u32 },
    /// The host can hand the next block over.
    BlockFree,
    /// The vector unit has finished.
    VectorDone { instruction: u32 },
}

/// What a PIM instruction does.
#[derive(Debug, Clone, Copy)]
struct PimWork {
    channels: u32,
    pattern: u32,
    row: u32,
    iterations: u32,
}

/// A machine in the middle of a run.
pub struct PimSystem {
    machine: Arc<PimMachine>,
    program: Arc<Program>,
    options: RunOptions,
    queue: EventQueue<Event>,
    now: Time,
    step: u64,
    groups: Vec<Group>,
    /// What runs blocks, where that drives the channels.
    unit: Option<BlockUnit>,
    block_busy: bool,
    vector_busy: bool,
    sram_free: u64,
    /// Every pattern met so far, resolved, with what has been learnt of it.
    known: Vec<(CompiledPattern, Courses)>,
    known_by_pattern: HashMap<Pattern, u32>,
    account: Account,
    spans: Vec<Span>,
    /// Of blocks that may not be over: from when until when, and for how long of it the pins of each channel are in use.
    pins: std::collections::VecDeque<(Time, Time, Time)>,
    /// The memory's cycle at the epoch.
    epoch_cycle: Cycle,
    /// Instructions completed and not yet told.
    done: Vec<(Time, u32)>,
    // Of the step in hand; kept between steps for their memory.
    /// Index in `known` of each of the program's patterns.
    patterns: Vec<u32>,
    vector_cycles: Vec<u64>,
    pim_list: Vec<u32>,
    /// Instructions of blocks, in order, and how many have begun; the program's blocks, checked.
    block_list: Vec<u32>,
    blocks_begun: usize,
    blocks: Vec<Option<Checked>>,
    waiting_on: Vec<u32>,
    dependents: Vec<u32>,
    dependents_first: Vec<u32>,
    channels_left: Vec<u32>,
    ready: Vec<bool>,
    sram_waiters: std::collections::BTreeSet<u32>,
    vector_queue: std::collections::VecDeque<u32>,
    unfinished: usize,
}

impl PimSystem {
    /// A machine at time zero.
    pub fn new(machine: Arc<PimMachine>, options: RunOptions) -> Self {
        let channel = PimChannel::new(machine.device.clone(), machine.file.memory.refresh, options.stepping);
        let group = |members| Group {
            members,
            channel: channel.clone(),
            busy_cycles: 0,
            booked: super::group::ChannelTotals::default(),
            next: 0,
            busy: false,
        };
        let groups = if !matches!(machine.drive, Drive::Patterns) {
            Vec::new()
        } else if options.stepping {
            (0..machine.channels()).map(|c| group(ChannelSet::one(c))).collect()
        } else {
            vec![group(ChannelSet::first(machine.channels()))]
        };
        Self {
            account: Account::new(Arc::clone(&machine)),
            sram_free: machine.vector_unit.sram_bytes,
            unit: BlockUnit::new(&machine, options.stepping),
            block_busy: false,
            machine,
            program: Arc::default(),
            options,
            queue: EventQueue::new(),
            now: Time::ZERO,
            step: 0,
            groups,
            vector_busy: false,
            spans: Vec::new(),
            pins: std::collections::VecDeque::new(),
            epoch_cycle: 0,
            done: Vec::new(),
            patterns: Vec::new(),
            known: Vec::new(),
            known_by_pattern: HashMap::new(),
            vector_cycles: Vec::new(),
            pim_list: Vec::new(),
            block_list: Vec::new(),
            blocks_begun: 0,
            blocks: Vec::new(),
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

    fn act(&mut self, program: &Program, event: Event) -> Result<(), RunError> {
        match event {
            Event::Free(group) => {
                self.groups[group as usize].busy = false;
                self.start_groups(program)
            }
            Event::Arrived { instruction } => {
                self.ready[instruction as usize] = true;
                self.start_block(program)?;
                self.start_groups(program)
            }
            Event::BlockFree => {
                self.block_busy = false;
                self.start_block(program)
            }
            Event::PimDone { instruction, channels } => {
                let left = &mut self.channels_left[instruction as usize];
                *left -= channels;
                if *left == 0 { self.complete(program, instruction) } else { Ok(()) }
            }
            Event::VectorDone { instruction } => {
                self.vector_busy = false;
                self.complete(program, instruction)
            }
        }
    }

    fn take_up(&mut self, program: &Program, share: Share<'_>) -> Result<(), ProgramError> {
        let device = &self.machine.device;
        self.patterns.clear();
        for (i, pattern) in program.patterns.iter().enumerate() {
            let index = match self.known_by_pattern.get(pattern) {
                Some(index) => *index,
                None => {
                    let compiled = CompiledPattern::new(i, pattern, device)?;
                    // What takes as long is known already: columns say which data.
                    let alike = pattern.without_columns();
                    let index = match self.known_by_pattern.get(&alike) {
                        Some(index) => *index,
                        None => {
                            self.known.push((compiled, Courses::default()));
                            self.known.len() as u32 - 1
                        }
                    };
                    self.known_by_pattern.insert(alike, index);
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
        self.block_list.clear();
        self.blocks_begun = 0;
        self.blocks.clear();
        self.blocks.resize(program.blocks.len(), None);
        self.waiting_on.clear();
        self.channels_left.clear();
        self.ready.clear();
        self.ready.resize(n, false);
        self.dependents_first.clear();
        self.dependents_first.resize(n + 1, 0);
        self.channels_left.resize(n, 0);
        self.waiting_on.resize(n, 0);
        let mut some = Vec::new();
        let mine: &[u32] = match share {
            Share::Of(mine) => mine,
            Share::Alone => {
                some.extend(0..n as u32);
                &some
            }
        };
        let all = ChannelSet::first(self.machine.channels());
        for &index in mine {
            let i = index as usize;
            self.check_instruction(program, i, &all)?;
            let instruction = &program.instructions[i];
            if let Work::Pim { channels, .. } = instruction.work {
                self.pim_list.push(index);
                self.channels_left[i] = program.channel_sets[channels as usize].len();
            }
            if let Work::Block { .. } = instruction.work {
                self.block_list.push(index);
                self.channels_left[i] = 1;
            }
            if let Share::Of(_) = share {
                self.waiting_on[i] = 1;
                continue;
            }
            self.waiting_on[i] = instruction.dependencies;
            for dependency in program.dependencies_of(i) {
                self.dependents_first[*dependency as usize + 1] += 1;
            }
        }
        for i in 0..n {
            self.dependents_first[i + 1] += self.dependents_first[i];
        }
        self.dependents.clear();
        if let Share::Alone = share {
            self.dependents.resize(program.dependencies.len(), 0);
            let mut fill = self.dependents_first.clone();
            for i in 0..n {
                for dependency in program.dependencies_of(i) {
                    let slot = &mut fill[*dependency as usize];
                    self.dependents[*slot as usize] = i as u32;
                    *slot += 1;
                }
            }
        }
        for group in &mut self.groups {
            group.next = 0;
        }
        self.unfinished = mine.len();
        Ok(())
    }

    fn check_instruction(&mut self, program: &Program, i: usize, all: &ChannelSet) -> Result<(), ProgramError> {
        let instruction = &program.instructions[i];
        let capacity = self.machine.vector_unit.sram_bytes;
        if instruction.acquire_bytes > capacity {
            let operator = program.operators[instruction.operator as usize].name.clone();
            return Err(ProgramError::Capacity { operator, needs: instruction.acquire_bytes, capacity });
        }
        let Work::Pim { channels, pattern, row, iterations } = instruction.work else {
            return match instruction.work {
                Work::Vector { .. } | Work::Pim { .. } => Ok(()),
                Work::Kernel { .. } => self.refuse(i, "kernels"),
                Work::Transfer { .. } => self.refuse(i, "transfers"),
                Work::Collective { .. } => self.refuse(i, "collectives"),
                Work::Block { block } => self.check_block(program, i, block),
            };
        };
        if self.unit.is_some() {
            return self.refuse(i, "patterns of commands: its channels are driven by blocks");
        }
        let place = || format!("instruction {i}");
        let range = |what, value, limit| Err(ProgramError::Range { place: place(), what, value, limit });
        let channels = &program.channel_sets[channels as usize];
        if channels.is_empty() {
            return Err(ProgramError::NoChannel { instruction: i });
        }
        if !channels.within(all) {
            return range("channel", u64::from(channels.highest().unwrap_or(0)), u64::from(self.machine.channels()));
        }
        let known = &self.known[self.patterns[pattern as usize] as usize].0;
        let rows = u64::from(row) + known.rows_reached(iterations);
        let limit = u64::from(self.machine.device.rows);
        if rows > limit { range("row", rows - 1, limit) } else { Ok(()) }
    }

    fn check_block(&mut self, program: &Program, i: usize, block: u32) -> Result<(), ProgramError> {
        let Some(unit) = &self.unit else {
            return self.refuse(i, "blocks of instructions: it has no instruction set of its own");
        };
        if self.blocks[block as usize].is_none() {
            let checked = unit.check(program, block).map_err(|problem| refused(i, &problem))?;
            self.blocks[block as usize] = Some(checked);
        }
        Ok(())
    }

    /// The host hands over the next block, if it is ready.
    fn start_block(&mut self, program: &Program) -> Result<(), RunError> {
        if self.block_busy {
            return Ok(());
        }
        let Some(instruction) = self.block_list.get(self.blocks_begun).copied() else { return Ok(()) };
        let entry = &program.instructions[instruction as usize];
        let Work::Block { block } = entry.work else { return Ok(()) };
        let start = self.memory_cycle(self.now);
        let (Some(unit), Some(block)) = (&mut self.unit, &self.blocks[block as usize]) else { return Ok(()) };
        if !self.ready[instruction as usize] {
            return Ok(());
        }
        self.blocks_begun += 1;
        let run = unit
            .run(block, start)
            .map_err(|problem| RunError::Program { step: self.step, error: refused(instruction as usize, &problem) })?;
        self.account.block(entry.operator, &run.counts, self.account.memory_time(run.busy));
        let free = self.memory_edge(run.free.max(start))?;
        let done = self.memory_edge(run.done.max(start))?;
        if self.options.timeline_step == Some(self.step) {
            self.spans.push(Span {
                group: "PIM channels",
                lane: "blocks".into(),
                operator: program.operators[entry.operator as usize].name.clone(),
                start: self.now,
                end: done,
                details: vec![("commands", run.counts.iter().sum::<u64>().to_string())],
            });
        }
        self.block_busy = true;
        self.pins.push_back((self.now, done, self.pins_of_commands(&run.counts)));
        let done = self.over_link(done)?;
        self.queue.push(free, Event::BlockFree);
        self.queue.push(done, Event::PimDone { instruction, channels: 1 });
        Ok(())
    }

    fn refuse(&self, instruction: usize, work: &'static str) -> Result<(), ProgramError> {
        Err(ProgramError::Device { instruction, device: self.machine.file.name.clone(), work })
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
            // Others were refused when the program was taken up.
            _ => {
                let at = self.over_link(self.now)?;
                self.queue.push(at, Event::Arrived { instruction });
            }
        }
        Ok(())
    }

    /// When what leaves one end of the link at `time` is at the other.
    fn over_link(&self, time: Time) -> Result<Time, RunError> {
        time.checked_add(self.machine.link_latency).ok_or_else(|| self.too_long())
    }

    fn complete(&mut self, program: &Program, instruction: u32) -> Result<(), RunError> {
        self.unfinished -= 1;
        let entry = &program.instructions[instruction as usize];
        self.done.push((self.now, instruction));
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
        self.start_block(program)?;
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
        let done = clock.checked_edge(Cycles(first.saturating_add(cycles))).map_err(|_| self.too_long())?;
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
                && program.channel_sets[channels as usize].meets(&group.members)
            {
                let work = PimWork { channels, pattern, row, iterations };
                return self.ready[instruction as usize].then_some((instruction, work));
            }
            group.next += 1;
        }
    }

    fn start_group(&mut self, program: &Program, g: usize) -> Result<(), RunError> {
        let Some((instruction, work)) = self.next_of(program, g) else { return Ok(()) };
        let start = self.memory_cycle(self.now);
        // A refresh that has fallen due belongs to the time before, and to no operator.
        self.groups[g].channel.idle_until(start);
        self.merge_into(g, start);
        let group = &mut self.groups[g];
        let channels = &program.channel_sets[work.channels as usize];
        let mut split = None;
        if !group.members.within(channels) {
            let rest = group.members.without(channels);
            let mut other = group.clone();
            group.members = group.members.and(channels);
            other.members = rest;
            other.next += 1;
            split = Some(self.add_group(other));
        }
        let group = &mut self.groups[g];
        let members = group.members.len();
        let (pattern, courses) = &mut self.known[self.patterns[work.pattern as usize] as usize];
        self.account.before(&group.channel);
        let timing = group.channel.run_knowing(courses, pattern, work.row, work.iterations, start);
        group.next += 1;
        group.busy = true;
        group.busy_cycles += timing.free - start;
        let operator = program.instructions[instruction as usize].operator;
        let free = self.memory_edge(timing.free)?;
        let done = self.memory_edge(timing.done.max(timing.free))?;
        self.account.after(operator, &self.groups[g].channel, members, done.saturating_sub(self.now));
        if self.options.timeline_step == Some(self.step) {
            for channel in self.groups[g].members.iter() {
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
        self.queue.push(done, Event::PimDone { instruction, channels: members });
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
        if self.options.stepping {
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
                a.members = a.members.or(&b.members);
                b.members = ChannelSet::EMPTY;
            }
        }
    }

    fn memory_cycle(&self, time: Time) -> Cycle {
        self.epoch_cycle + self.machine.memory_clock.cycle_at_or_after(time).0
    }

    /// When a cycle of the memory begins. Cycles of a step follow its start.
    fn memory_edge(&self, cycle: Cycle) -> Result<Time, RunError> {
        let clock = &self.machine.memory_clock;
        clock.checked_edge(Cycles(cycle - self.epoch_cycle)).map_err(|_| self.too_long())
    }

    fn too_long(&self) -> RunError {
        RunError::TooLong { step: self.step, limit: Time::MAX, what: "check clocks and sizes".into() }
    }
}

impl Executor for PimSystem {
    fn load(&mut self, program: &Arc<Program>, share: Share<'_>, start: Time) -> Result<(), RunError> {
        let step = self.step;
        self.take_up(program, share).map_err(|error| RunError::Program { step, error })?;
        self.now = start;
        self.program = Arc::clone(program);
        self.account.begin_step(program);
        if let Share::Alone = share {
            for i in 0..program.instructions.len() as u32 {
                if self.waiting_on[i as usize] == 0 {
                    self.dependencies_met(program, i)?;
                }
            }
            self.start_all(program)?;
        }
        Ok(())
    }

    fn release(&mut self, instruction: u32, at: Time) -> Result<(), RunError> {
        let program = Arc::clone(&self.program);
        self.now = self.now.max(at);
        self.waiting_on[instruction as usize] = 0;
        self.dependencies_met(&program, instruction)?;
        self.start_all(&program)
    }

    fn next(&mut self) -> Option<Time> {
        self.queue.peek_time()
    }

    fn advance(&mut self, until: Time, done: &mut Vec<(Time, u32)>) -> Result<(), RunError> {
        let program = Arc::clone(&self.program);
        while until == Time::MAX || self.queue.peek_time().is_some_and(|t| t <= until) {
            let Some((time, event)) = self.queue.pop() else { break };
            self.now = time;
            self.act(&program, event)?;
        }
        done.append(&mut self.done);
        Ok(())
    }

    fn unfinished(&self) -> usize {
        self.unfinished
    }

    fn waits(&self) -> Vec<String> {
        self.who_waits(&self.program)
    }

    fn end_step(&mut self, end: Time) -> f64 {
        self.now = end;
        let end_cycle = self.memory_cycle(end);
        for group in &mut self.groups {
            group.channel.idle_until(end_cycle);
        }
        if let Some(unit) = &mut self.unit {
            unit.idle_until(end_cycle);
        }
        self.book_blocks(end_cycle);
        self.step += 1;
        self.account.end_step(end, end_cycle, &mut self.groups)
    }

    fn granule(&self) -> Option<Time> {
        // So many femtoseconds are whole cycles of both clocks.
        let (a, _) = self.machine.memory_clock.period_fs();
        let (b, _) = self.machine.vector_clock.period_fs();
        let gcd = |mut a: u64, mut b: u64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        (a / gcd(a, b)).checked_mul(b).map(Time::from_fs)
    }

    fn move_epoch(&mut self, by: Time) {
        self.now = self.now.saturating_sub(by);
        self.pins.clear(); // nothing is under way between steps
        self.epoch_cycle += self.machine.memory_clock.cycle_at_or_after(by).0;
        self.account.move_epoch(by);
    }

    fn books(&mut self, end: Time) -> Books {
        let end_cycle = self.memory_cycle(end);
        for group in &mut self.groups {
            self.account.flush(group, end_cycle);
        }
        self.book_blocks(end_cycle);
        let mut books = self.account.books(end, end_cycle);
        books.spans = std::mem::take(&mut self.spans);
        books
    }

    fn metrics(&self, outcome: &Outcome) -> BTreeMap<String, f64> {
        metrics::metrics(&self.machine, outcome)
    }

    fn pins_between(&mut self, from: Time, until: Time) -> Time {
        // Those who ask do so in the order of their ends, and each began no sooner than the one before it ended.
        while self.pins.front().is_some_and(|(_, end, _)| *end <= from) {
            self.pins.pop_front();
        }
        let shares = self.pins.iter().map(|(start, end, pins)| {
            let within = end.as_fs().min(until.as_fs()).saturating_sub(start.as_fs().max(from.as_fs()));
            let length = u128::from(end.as_fs().saturating_sub(start.as_fs()).max(1));
            (u128::from(pins.as_fs()) * u128::from(within) / length) as u64
        });
        Time::from_fs(shares.fold(0, u64::saturating_add))
    }
}

impl PimSystem {
    /// For how long commands hold the pins of a channel, on the average of the channels.
    fn pins_of_commands(&self, counts: &[u64]) -> Time {
        let device = &self.machine.device;
        let bytes: u64 = device.commands.iter().zip(counts).map(|(c, n)| u64::from(c.pin_bytes) * n).sum();
        let rate = device.pin_bandwidth() * f64::from(self.machine.channels());
        Time::from_secs_f64(bytes as f64 / rate).unwrap_or(Time::ZERO)
    }

    fn book_blocks(&mut self, now: Cycle) {
        let Self { unit, account, .. } = self;
        if let Some(unit) = unit {
            unit.totals(now, |channel, totals| account.set(channel, totals));
        }
    }

    fn who_waits(&self, program: &Program) -> Vec<String> {
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
        waits
    }
}
