//! A machine runs programs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use banksia_sim::{ComponentId, Elapsed, Engine, Model, Time, Wait, Wakes};

use super::beside::Beside;
use super::executor::{Books, Executor, RunError, RunOptions, Share};
use super::fabric::Fabric;
use super::link::Link;
use super::machine::{Device, Machine};
use super::order::Order;
use crate::gpu::GpuExecutor;
use crate::gpu::LaunchCache;
use crate::gpu::estimate::Judge;
use crate::outcome::{OperatorOutcome, Outcome, StepOutcome};
use crate::pim::PimSystem;
use crate::program::{Program, ProgramError, Work};

/// What the run has of an operator, beside the books of devices.
#[derive(Debug, Clone, Default)]
struct OperatorTotals {
    name: String,
    count: u64,
    latency: Elapsed,
    flops: f64,
    pim_flops: f64,
}

/// A machine in the middle of a run.
pub struct System {
    names: Vec<String>,
    executors: Vec<Box<dyn Executor>>,
    /// How many devices each stands for.
    copies: Vec<u32>,
    options: RunOptions,
    step: u64,
    /// From the epoch.
    now: Time,
    epoch: Elapsed,
    operators: Vec<OperatorTotals>,
    by_name: BTreeMap<String, usize>,
    map: Vec<usize>,
    frontier: Time,
    steps: Vec<StepOutcome>,
    energy_until_now: f64,
    joint: Joint,
    beside: Beside,
    done: Vec<(Time, u32)>,
}

/// Who waits for whom across devices, and who may use the memory that they share.
#[derive(Debug, Default)]
struct Joint {
    /// Dependents of each instruction: `dependents[first[i]..first[i + 1]]`.
    first: Vec<u32>,
    dependents: Vec<u32>,
    waiting_on: Vec<u32>,
    next_at: Vec<Option<Time>>,
    /// Devices that share a memory, by bit, and what changing over takes.
    sharing: Vec<bool>,
    switch: Time,
    /// The device that has the memory, how many of its instructions use it, and from when on it may.
    holder: Option<usize>,
    using: u32,
    usable: Time,
    /// Instructions that wait for the memory, in program order.
    queue: BTreeSet<u32>,
    /// What channels of devices that share it are at.
    order: Order,
    switches: u64,
    failed: Option<RunError>,
}

impl System {
    /// A machine at time zero.
    pub fn new(machine: &Machine, options: RunOptions) -> Self {
        let mut names = Vec::new();
        let mut executors: Vec<Box<dyn Executor>> = Vec::new();
        for (name, device) in &machine.devices {
            names.push(name.clone());
            executors.push(match device {
                Device::Pim(pim) => Box::new(PimSystem::new(Arc::clone(pim), options)),
                Device::Gpu(spec) => Box::new(GpuExecutor::new(spec, options)),
            });
        }
        for link in &machine.links {
            names.push(link.name.clone());
            executors.push(Box::new(Link::new(link.clone(), options.timeline_step)));
        }
        let mut copies: Vec<u32> = (0..machine.devices.len()).map(|d| machine.copies_of(d)).collect();
        if let Some(spec) = &machine.fabric {
            names.push("fabric".to_owned());
            let roles = machine.devices.iter().map(|(name, _)| name.clone()).zip(copies.iter().copied()).collect();
            executors.push(Box::new(Fabric::new(Arc::clone(spec), roles, options.timeline_step)));
        }
        copies.resize(executors.len(), 1);
        let mut joint = Joint { sharing: vec![false; executors.len()], ..Joint::default() };
        if let Some(exclusive) = &machine.exclusive {
            joint.switch = exclusive.switch;
            exclusive.devices.iter().for_each(|d| joint.sharing[*d] = true);
        }
        Self {
            names,
            executors,
            copies,
            options,
            step: 0,
            now: Time::ZERO,
            epoch: Elapsed::ZERO,
            operators: Vec::new(),
            by_name: BTreeMap::new(),
            map: Vec::new(),
            frontier: Time::ZERO,
            steps: Vec::new(),
            energy_until_now: 0.0,
            beside: Beside::new(machine.devices.len() + machine.links.len(), &machine.shared),
            joint,
            done: Vec::new(),
        }
    }

    /// Takes results of launches from a cache, and puts them there: no result changes.
    pub fn remember(&mut self, cache: &Arc<dyn LaunchCache>) {
        self.executors.iter_mut().for_each(|e| e.remember(cache));
    }

    /// Who judges the kernels of a device, where it runs any.
    pub fn judge(&mut self, device: usize) -> Option<Box<dyn Judge + '_>> {
        self.executors.get_mut(device)?.judge()
    }

    /// Runs one program after all before it are complete.
    ///
    /// # Errors
    /// The program does not fit the machine, deadlocks, or takes longer than can be counted.
    pub fn run(&mut self, program: &Arc<Program>) -> Result<(), RunError> {
        let step = self.step;
        program.validate().map_err(|error| RunError::Program { step, error })?;
        self.move_epoch();
        let start = self.now;
        self.begin_step(program);
        self.frontier = start;
        let result = if self.executors.len() == 1 { self.run_alone(program) } else { self.run_jointly(program) };
        result?;
        let unfinished: usize = self.executors.iter().map(|e| e.unfinished()).sum();
        if unfinished > 0 {
            let waits = self.executors.iter().flat_map(|e| e.waits()).take(8).collect();
            return Err(RunError::Deadlock { step, time: self.frontier, waits });
        }
        self.now = self.frontier.max(start);
        let now = self.now;
        let of = |(e, copies): (&mut Box<dyn Executor>, &u32)| e.end_step(now) * f64::from(*copies);
        let energy: f64 = self.executors.iter_mut().zip(&self.copies).map(of).sum();
        self.steps.push(StepOutcome {
            phase: program.phase.clone(),
            context_tokens: program.context_tokens,
            start: self.epoch.plus(start),
            latency: self.now.saturating_sub(start),
            energy_j: energy - self.energy_until_now,
        });
        self.energy_until_now = energy;
        self.step += 1;
        Ok(())
    }

    /// The time that the steps so far took.
    pub fn elapsed(&self) -> Elapsed {
        self.epoch.plus(self.now)
    }

    /// What the run measured.
    pub fn finish(mut self) -> Outcome {
        let now = self.now;
        let of = |(e, copies): (&mut Box<dyn Executor>, &u32)| e.books(now).times(*copies);
        let books: Vec<Books> = self.executors.iter_mut().zip(&self.copies).map(of).collect();
        let mut outcome = Outcome { latency: self.elapsed(), steps: self.steps, ..Outcome::default() };
        for totals in self.operators {
            let mut operator = OperatorOutcome {
                name: totals.name,
                count: totals.count,
                latency: totals.latency,
                flops: totals.flops,
                pim_flops: totals.pim_flops,
                ..OperatorOutcome::default()
            };
            for own in books.iter().flat_map(|b| &b.operators).filter(|o| o.name == operator.name) {
                operator.busy = operator.busy.and(own.busy);
                for (part, joules) in &own.energy_j {
                    *operator.energy_j.entry(part.clone()).or_insert(0.0) += joules;
                }
                for (channel, bytes) in &own.traffic_bytes {
                    *operator.traffic_bytes.entry(channel.clone()).or_insert(0) += bytes;
                }
            }
            outcome.operators.push(operator);
        }
        let several = self.executors.len() > 1;
        for (name, mut b) in self.names.iter().zip(books) {
            if several {
                for component in &mut b.components {
                    if component.name != *name {
                        component.name = format!("{name} {}", component.name);
                    }
                }
                for span in &mut b.spans {
                    span.lane = format!("{name} {}", span.lane);
                }
            }
            outcome.components.append(&mut b.components);
            for (command, count) in b.commands {
                *outcome.commands.entry(command).or_insert(0) += count;
            }
            for (what, count) in b.counts {
                *outcome.counts.entry(what).or_insert(0) += count;
            }
            outcome.spans.append(&mut b.spans);
            outcome.worked_out.extend(b.worked_out);
        }
        for (name, executor) in self.names.iter().zip(&self.executors) {
            for (metric, value) in executor.metrics(&outcome) {
                let key = if several { format!("{name}.{metric}") } else { metric };
                outcome.metrics.insert(key, value);
            }
        }
        if several {
            outcome.metrics.extend(self.joint.metrics(&outcome, &self.names));
            if self.beside.is_used() {
                outcome.metrics.insert("memory_wait_s".into(), self.beside.waited().as_secs_f64());
            }
        }
        outcome
    }

    fn begin_step(&mut self, program: &Program) {
        self.map.clear();
        for operator in &program.operators {
            let index = *self.by_name.entry(operator.name.clone()).or_insert_with(|| {
                self.operators.push(OperatorTotals { name: operator.name.clone(), ..OperatorTotals::default() });
                self.operators.len() - 1
            });
            let totals = &mut self.operators[index];
            totals.count = totals.count.saturating_add(operator.count);
            totals.flops += operator.flops;
            totals.pim_flops += operator.pim_flops;
            self.map.push(index);
        }
    }

    /// The advances of the frontier of completed work are their instructions' operators'.
    fn book(&mut self, program: &Program) {
        for (time, instruction) in self.done.drain(..) {
            if time > self.frontier {
                let operator = program.instructions[instruction as usize].operator;
                self.operators[self.map[operator as usize]].latency.add(time.saturating_sub(self.frontier));
                self.frontier = time;
            }
        }
    }

    fn run_alone(&mut self, program: &Arc<Program>) -> Result<(), RunError> {
        if let Some(i) = program.instructions.iter().position(|i| i.on != 0) {
            return Err(self.no_device(program, i));
        }
        let device = &mut self.executors[0];
        device.load(program, Share::Alone, self.now)?;
        device.advance(Time::MAX, &mut self.done)?;
        self.book(program);
        Ok(())
    }

    fn no_device(&self, program: &Program, instruction: usize) -> RunError {
        let error = ProgramError::Index {
            instruction,
            what: "device",
            index: u64::from(program.instructions[instruction].on),
            len: self.executors.len(),
        };
        RunError::Program { step: self.step, error }
    }

    fn run_jointly(&mut self, program: &Arc<Program>) -> Result<(), RunError> {
        let mut shares: Vec<Vec<u32>> = vec![Vec::new(); self.executors.len()];
        for (i, instruction) in program.instructions.iter().enumerate() {
            match shares.get_mut(instruction.on as usize) {
                Some(share) => share.push(i as u32),
                None => return Err(self.no_device(program, i)),
            }
        }
        for (executor, share) in self.executors.iter_mut().zip(&shares) {
            executor.load(program, Share::Of(share), self.now)?;
        }
        self.joint.load(program, self.executors.len() + 1);
        let mut engine = Engine::new();
        let mut devices = Devices { system: self, program: Arc::clone(program) };
        devices.release_ready();
        let ran = engine.run(&mut devices);
        let time = engine.now();
        if let Some(error) = self.joint.failed.take() {
            return Err(error);
        }
        match ran {
            Ok(()) => Ok(()),
            Err(banksia_sim::RunError::Deadlock(deadlock)) => {
                let mut waits: Vec<String> = deadlock.blocked.iter().map(ToString::to_string).collect();
                waits.extend(self.executors.iter().flat_map(|e| e.waits()));
                waits.truncate(8);
                Err(RunError::Deadlock { step: self.step, time, waits })
            }
            Err(other) => Err(RunError::TooLong { step: self.step, limit: Time::MAX, what: other.to_string() }),
        }
    }

    /// Moves the epoch to a multiple of what all devices allow, once time since the last has grown long.
    fn move_epoch(&mut self) {
        if self.now <= self.options.epoch_after {
            return;
        }
        let lcm = |a: u64, b: Option<Time>| {
            let b = b?.as_fs().max(1);
            let (mut x, mut y) = (a, b);
            while y != 0 {
                (x, y) = (y, x % y);
            }
            (a / x).checked_mul(b)
        };
        let granule = self.executors.iter().try_fold(1, |all, e| lcm(all, e.granule()));
        let Some(granule) = granule.filter(|g| *g <= self.now.as_fs()) else { return };
        let by = Time::from_fs(self.now.as_fs() / granule * granule);
        self.executors.iter_mut().for_each(|e| e.move_epoch(by));
        self.joint.usable = self.joint.usable.saturating_sub(by);
        self.now = self.now.saturating_sub(by);
        self.epoch.add(by);
    }
}

impl Joint {
    fn load(&mut self, program: &Program, devices: usize) {
        let n = program.instructions.len();
        self.first.clear();
        self.first.resize(n + 1, 0);
        self.waiting_on.clear();
        for (i, instruction) in program.instructions.iter().enumerate() {
            self.waiting_on.push(instruction.dependencies);
            for dependency in program.dependencies_of(i) {
                self.first[*dependency as usize + 1] += 1;
            }
        }
        for i in 0..n {
            self.first[i + 1] += self.first[i];
        }
        self.dependents.clear();
        self.dependents.resize(program.dependencies.len(), 0);
        let mut fill = self.first.clone();
        for i in 0..n {
            for dependency in program.dependencies_of(i) {
                let slot = &mut fill[*dependency as usize];
                self.dependents[*slot as usize] = i as u32;
                *slot += 1;
            }
        }
        self.next_at.clear();
        self.next_at.resize(devices, None);
        self.queue.clear();
        self.order.load(program, &self.sharing);
        self.using = 0;
    }

    /// Whether an instruction works on the memory that its device shares.
    fn shares(&self, program: &Program, instruction: u32) -> bool {
        let entry = &program.instructions[instruction as usize];
        self.sharing[entry.on as usize]
            && matches!(entry.work, Work::Kernel { .. } | Work::Pim { .. } | Work::Block { .. })
    }

    /// How much devices worked at once, and how much they could have.
    fn metrics(&self, outcome: &Outcome, names: &[String]) -> BTreeMap<String, f64> {
        let latency = outcome.latency.as_secs_f64();
        // The busiest component of each device says for how long the device worked.
        let busy: Vec<f64> = names
            .iter()
            .map(|name| {
                let own = outcome.components.iter().filter(|c| {
                    c.name == *name || c.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(' '))
                });
                let works = own.filter(|c| c.kind != "leakage and clocks");
                works.map(|c| c.busy.as_secs_f64()).fold(0.0, f64::max)
            })
            .collect();
        let (sum, longest) = (busy.iter().sum::<f64>(), busy.iter().copied().fold(0.0, f64::max));
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let mut metrics: BTreeMap<String, f64> =
            names.iter().zip(&busy).map(|(n, b)| (format!("{n}.busy_share"), ratio(*b, latency))).collect();
        metrics.insert("overlap_gain".into(), ratio(sum, latency).max(ratio(sum, sum)));
        metrics.insert("overlap_gain_limit".into(), ratio(sum, longest));
        if self.sharing.contains(&true) {
            metrics.insert("memory_mode_switches".into(), self.switches as f64);
        }
        metrics
    }
}

/// The devices of a system as components of an engine.
struct Devices<'a> {
    system: &'a mut System,
    program: Arc<Program>,
}

impl Devices<'_> {
    fn fail(&mut self, error: RunError) {
        self.system.joint.failed.get_or_insert(error);
        self.system.joint.next_at.fill(None);
    }

    fn look(&mut self, device: usize) {
        self.system.joint.next_at[device] = self.system.executors[device].next();
    }

    /// Instructions that wait for nothing.
    fn release_ready(&mut self) {
        let now = self.system.now;
        let mut touched = Wakes::new();
        for i in 0..self.program.instructions.len() as u32 {
            if self.system.joint.waiting_on[i as usize] == 0 {
                self.ready(i, now, &mut touched);
            }
        }
        self.grant(now, &mut touched);
    }

    /// What an instruction depends on is there: it may need the memory next.
    fn ready(&mut self, instruction: u32, at: Time, wakes: &mut Wakes) {
        if self.system.joint.shares(&self.program, instruction) {
            if self.system.joint.order.is_next(instruction) {
                self.system.joint.queue.insert(instruction);
            }
        } else {
            self.release(instruction, at, wakes);
        }
    }

    fn release(&mut self, instruction: u32, at: Time, wakes: &mut Wakes) {
        let device = self.program.instructions[instruction as usize].on as usize;
        if let Err(error) = self.system.executors[device].release(instruction, at) {
            self.fail(error);
        }
        self.look(device);
        wakes.touch(ComponentId(device as u32));
    }

    /// Gives the shared memory to those who wait for it: to its holder's, until the first who waits is another's and the holder's are done.
    fn grant(&mut self, now: Time, wakes: &mut Wakes) {
        loop {
            let joint = &mut self.system.joint;
            let Some(&first) = joint.queue.first() else { return };
            let device = self.program.instructions[first as usize].on as usize;
            if joint.holder != Some(device) {
                if joint.using > 0 {
                    return;
                }
                if joint.holder.is_some() {
                    joint.switches += 1;
                    joint.usable = now.saturating_add(joint.switch);
                }
                joint.holder = Some(device);
            }
            joint.queue.remove(&first);
            joint.using += 1;
            let (order, queue) = (&mut joint.order, &mut joint.queue);
            order.after(first, |next| {
                queue.insert(next);
            });
            let at = joint.usable.max(now);
            self.release(first, at, wakes);
        }
    }
}

impl Model for Devices<'_> {
    /// The executors, and what waits for pins of a memory that several use at once.
    fn components(&self) -> usize {
        self.system.executors.len() + 1
    }

    fn next_action(&self, id: ComponentId) -> Option<Time> {
        self.system.joint.next_at[id.index()]
    }

    fn act(&mut self, id: ComponentId, now: Time, wakes: &mut Wakes) {
        let system = &mut *self.system;
        let (device, memory) = (id.index(), system.executors.len());
        if device == memory {
            while let Some(ended) = system.beside.ended(now) {
                system.done.push(ended);
            }
        } else {
            if let Err(error) = system.executors[device].advance(now, &mut system.done) {
                return self.fail(error);
            }
            if system.beside.is_used() {
                let mut ended = std::mem::take(&mut system.done);
                ended.retain(|(end, i)| !system.beside.put_off(&mut system.executors, device, *i, *end));
                system.done = ended;
                wakes.touch(ComponentId(memory as u32));
            }
            self.look(device);
        }
        self.system.joint.next_at[memory] = self.system.beside.next();
        let done: Vec<(Time, u32)> = self.system.done.clone();
        let program = Arc::clone(&self.program);
        self.system.book(&program);
        for (time, instruction) in done {
            let joint = &mut self.system.joint;
            if joint.shares(&program, instruction) {
                joint.using -= 1;
            }
            let (first, end) = (joint.first[instruction as usize], joint.first[instruction as usize + 1]);
            for d in first..end {
                let dependent = self.system.joint.dependents[d as usize];
                let waiting = &mut self.system.joint.waiting_on[dependent as usize];
                *waiting -= 1;
                if *waiting == 0 {
                    self.ready(dependent, time, wakes);
                }
            }
        }
        self.grant(now, wakes);
    }

    fn waits(&self, id: ComponentId) -> Vec<Wait> {
        let name = |i: u32| {
            let operator = self.program.instructions[i as usize].operator as usize;
            format!("instruction {i} ({})", self.program.operators[operator].name)
        };
        let joint = &self.system.joint;
        let mine = |i: &u32| self.program.instructions[*i as usize].on as usize == id.index();
        let open = (0..joint.waiting_on.len() as u32).filter(|i| joint.waiting_on[*i as usize] > 0).filter(mine);
        let mut waits: Vec<Wait> = open
            .flat_map(|i| self.program.dependencies_of(i as usize).iter().map(move |d| (i, *d)))
            .map(|(i, d)| Wait {
                on: ComponentId(self.program.instructions[d as usize].on),
                what: format!("{} waits for {}", name(i), name(d)),
            })
            .take(4)
            .collect();
        if let (Some(holder), Some(first)) = (joint.holder, joint.queue.iter().find(|i| mine(i))) {
            let what = format!("{} waits for the memory that both use", name(*first));
            waits.push(Wait { on: ComponentId(holder as u32), what });
        }
        waits
    }

    fn name(&self, id: ComponentId) -> String {
        self.system.names.get(id.index()).cloned().unwrap_or_else(|| "the memory".into())
    }
}
