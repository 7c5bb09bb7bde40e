//! The least that a step can take, from the program that a plan makes of it.
//!
//! An instruction by itself, on a machine at rest that does not refresh, takes no longer than among others, but for a row that another left
//! open: that is worth one row cycle at most, and is taken off where another instruction of the program uses its rows. A block finds the rows
//! open and the mode set that the one before it leaves: it is run after itself too, and the less counts. A block of commands is
//! interrupted: each refresh that falls due in it adds what it adds at least where it does (`Interrupted`).
//! An instruction begins after those that it waits for, and each channel works on one after the other, in the order of the program; the vector unit
//! takes what is ready first. Along a chain of such waits these times add up, and the longest chain is a bound; so is all that the vector unit has to do.
//! Energy: what each instruction takes by itself, less the opening of a row, and the machine's idle power over the bound of the time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use banksia_hw::pim::{Drive, PimMachine};

use banksia_hw::program::{
    Block, ChannelSet, HostAccess, Instruction, Pattern, Program, ProgramOperator, VectorFunction, Work,
};
use banksia_hw::system::{Machine, RunOptions, System};

use super::interrupted::{Command, Interrupted, loads};
use super::path::{Dues, Link, Refreshed, Unit};
use super::queue::Queue;
use crate::error::Error;

/// The least of one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Least {
    /// Seconds.
    pub seconds: f64,
    /// Joules of what is done, without idle power.
    pub joules: f64,
}

impl Least {
    /// What is below both.
    pub(super) fn lesser(self, other: Self) -> Self {
        Self { seconds: self.seconds.min(other.seconds), joules: self.joules.min(other.joules) }
    }
}

/// The bound of a program, by operator along its longest chain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chain {
    /// Of each operator: seconds on the longest chain, joules of all its instructions.
    pub operators: BTreeMap<String, Least>,
    /// The longest chain, step by step.
    pub(super) links: Vec<Link>,
}

impl Chain {
    /// Seconds and joules of all of it.
    pub fn total(&self) -> Least {
        let add = |a: Least, b: &Least| Least { seconds: a.seconds + b.seconds, joules: a.joules + b.joules };
        self.operators.values().fold(Least::default(), add)
    }
}

/// An instruction by itself, without refresh.
#[derive(Debug, Clone)]
struct Alone {
    least: Least,
    /// Seconds for which each channel works on it.
    busy: Arc<[f64]>,
    /// What it may take less where a row that it needs is open, and where none is.
    open_s: f64,
    closed_s: f64,
    refreshed: Refreshed,
}

impl Alone {
    fn new(least: Least, busy: &[f64]) -> Self {
        Self { least, busy: busy.into(), open_s: 0.0, closed_s: 0.0, refreshed: Refreshed::Never }
    }

    /// It may take less after itself than on a machine at rest.
    fn least_of_two(&mut self, again: f64) {
        self.least.seconds = self.least.seconds.min(again);
        self.busy = self.busy.iter().map(|b| b.min(again)).collect();
    }

    /// As a step of a chain that takes so many seconds.
    fn step(&self, seconds: f64) -> Unit {
        Unit { seconds, refreshed: self.refreshed.clone() }
    }
}

/// What an instruction does, wherever it does it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Content {
    Instructions(Vec<Command>),
    /// A block of accesses, and whether it may find rows of its own open.
    Accesses(Block, bool),
    Pattern(Pattern, ChannelSet, u32),
    Vector(VectorFunction),
}

/// Refresh of a machine whose channels refresh, all banks at once.
fn dues(machine: &Machine, row_cycle_s: f64) -> Option<Dues> {
    let machine: &PimMachine = machine.lone_pim_machine()?;
    let device = &machine.device;
    let refresh = device.refresh.filter(|_| machine.file.memory.refresh)?;
    let scope = device.spec(refresh.command).scope.0 as usize;
    if device.levels.get(scope)?.nodes != 1 {
        return None;
    }
    let cycle_s = device.clock_fs as f64 * 1e-15;
    let takes_s = device.timing("nRFC")? * cycle_s * f64::from(device.ticks_per_clock);
    let interval_s = refresh.interval as f64 * cycle_s;
    Some(match machine.drive {
        // Every access needs an open row, and none opens while a refresh goes on. The first falls due half an interval after the start.
        Drive::Accesses(_) => {
            Dues { first_s: interval_s / 2.0, interval_s, adds_s: takes_s, waits_s: 2.0 * row_cycle_s }
        }
        // Reads of results, and what is written to registers before the next row is needed, go on beside it: a row cycle. It goes out between two instructions.
        _ => {
            let adds_s = (takes_s - row_cycle_s).max(0.0);
            Dues { first_s: interval_s, interval_s, adds_s, waits_s: 4.0 * row_cycle_s }
        }
    })
}

/// Bounds programs of one PIM machine.
#[derive(Debug)]
pub struct Bounder {
    /// Without refresh.
    machine: Machine,
    known: HashMap<Content, Alone>,
    /// A row cycle.
    row_cycle_s: f64,
    /// Of the machine as it is, where it refreshes.
    dues: Option<Dues>,
    interrupted: Option<Interrupted>,
    /// The least power that the machine takes at rest.
    idle_w: f64,
}

impl Bounder {
    /// For a machine that has one PIM device and nothing else, as it is, and `still` without refresh; `None` for others.
    pub fn new(machine: &Machine, still: &Machine) -> Option<Self> {
        let device = &still.lone_pim_machine()?.device;
        let cycles = device.timing("nRC").or_else(|| Some(device.timing("nRAS")? + device.timing("nRP")?));
        // A device without these names rows otherwise: a tenth of a microsecond is more than any row cycle.
        let row_cycle_s =
            cycles.map_or(1e-7, |n| n * device.clock_fs as f64 * f64::from(device.ticks_per_clock) * 1e-15);
        let dues = dues(machine, row_cycle_s);
        let interrupted = dues.and(machine.lone_pim_machine()).zip(still.lone_pim_machine());
        Some(Self {
            machine: still.clone(),
            known: HashMap::new(),
            row_cycle_s,
            dues,
            interrupted: interrupted.map(|(machine, still)| Interrupted::new(machine, still)),
            idle_w: f64::INFINITY,
        })
    }

    /// When refresh falls due, where the machine refreshes.
    pub(super) fn dues(&self) -> Option<&Dues> {
        self.dues.as_ref()
    }

    /// The least power that the machine takes while nothing is done, of what has been bounded so far.
    pub fn idle_w(&self) -> f64 {
        if self.idle_w.is_finite() { self.idle_w } else { 0.0 }
    }

    /// Bounds a program.
    ///
    /// # Errors
    /// An instruction cannot be run by itself.
    pub fn bound(&mut self, program: &Program) -> Result<Chain, Error> {
        let mut own: Vec<Alone> = Vec::with_capacity(program.instructions.len());
        let mut local: HashMap<(u8, u32, u32, u32), Alone> = HashMap::new();
        let finds_open = finds_open(program);
        for (instruction, finds_open) in program.instructions.iter().zip(finds_open) {
            let key = match instruction.work {
                Work::Pim { channels, pattern, iterations, .. } => (0, channels, pattern, iterations),
                Work::Block { block } => (1, block, 0, 0),
                Work::Vector { function } => (2, function, 0, 0),
                Work::Kernel { .. } | Work::Transfer { .. } | Work::Collective { .. } => (3, 0, 0, 0),
            };
            let alone = match local.get(&key) {
                Some(alone) => alone.clone(),
                None => {
                    let alone = self.alone(program, instruction, finds_open)?;
                    local.insert(key, alone.clone());
                    alone
                }
            };
            own.push(alone);
        }
        let shared = shares_rows(program);
        let queue = Queue::new(program);
        // The longest chain that ends with each instruction, and the one before it there.
        let mut ends: Vec<End> = Vec::with_capacity(own.len());
        // Until when each unit works, and on what.
        let mut units: Vec<(f64, Option<usize>)> = Vec::new();
        let refreshed = |alone: &Alone, seconds: f64| match &self.dues {
            Some(dues) => seconds + dues.adds_at_least(&alone.step(seconds)),
            None => seconds,
        };
        for (place, alone) in own.iter().enumerate() {
            let waited = program
                .dependencies_of(place)
                .iter()
                .chain(queue.before(place))
                .filter_map(|i| Some((ends.get(*i as usize)?.at, *i as usize)))
                .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
            let ready = waited.map_or(0.0, |w| w.0);
            let less = if shared.get(place).is_none_or(|s| *s) { alone.open_s } else { alone.closed_s };
            let seconds = (alone.least.seconds - less).max(0.0);
            let mut end = End { at: ready + refreshed(alone, seconds), own: seconds, before: waited.map(|w| w.1) };
            units.resize(units.len().max(alone.busy.len()), (0.0, None));
            for (unit, busy) in units.iter_mut().zip(alone.busy.iter()) {
                let busy = (busy - alone.open_s).max(0.0);
                if busy <= 0.0 {
                    continue;
                }
                let at = unit.0 + refreshed(alone, busy);
                if unit.0 > ready && at > end.at {
                    end = End { at, own: busy, before: unit.1 };
                }
                *unit = (unit.0.max(ready) + refreshed(alone, busy), Some(place));
            }
            ends.push(end);
        }
        let mut chain = Chain::default();
        for (place, alone) in own.iter().enumerate() {
            chain.operators.entry(operator(program, place).to_owned()).or_default().joules += alone.least.joules;
        }
        let last = (0..ends.len()).max_by(|a, b| ends[*a].at.total_cmp(&ends[*b].at).then(b.cmp(a)));
        let vector = || {
            let all = program.instructions.iter().zip(&own).enumerate();
            all.filter(|(_, (i, _))| matches!(i.work, Work::Vector { .. }))
                .map(|(place, (_, a))| (place, a.least.seconds))
        };
        if vector().map(|v| v.1).sum::<f64>() > last.and_then(|l| ends.get(l)).map_or(0.0, |e| e.at) {
            for (place, seconds) in vector() {
                let name = operator(program, place);
                chain.operators.entry(name.to_owned()).or_default().seconds += seconds;
                chain.links.push(Link { operator: name.to_owned(), unit: Unit::going_on(seconds) });
            }
            return Ok(chain);
        }
        let mut at = last;
        while let Some(i) = at {
            let (Some(end), Some(alone)) = (ends.get(i), own.get(i)) else { break };
            if i < program.instructions.len() {
                let name = operator(program, i);
                chain.operators.entry(name.to_owned()).or_default().seconds += refreshed(alone, end.own);
                chain.links.push(Link { operator: name.to_owned(), unit: alone.step(end.own) });
            }
            at = end.before;
        }
        chain.links.reverse();
        Ok(chain)
    }

    /// An instruction on the machine at rest.
    fn alone(&mut self, program: &Program, instruction: &Instruction, finds_open: bool) -> Result<Alone, Error> {
        let Some(content) = content(program, instruction, finds_open) else {
            return Ok(Alone::new(Least::default(), &[]));
        };
        if let Some(alone) = self.known.get(&content) {
            return Ok(alone.clone());
        }
        let mut system = System::new(&self.machine, RunOptions::default());
        system.run(&Arc::new(one(program, instruction)))?;
        let outcome = system.finish();
        let seconds = outcome.latency.as_secs_f64();
        let parts = |of: &BTreeMap<String, f64>, opening: bool| {
            of.iter().filter(|(cause, _)| opening || cause.as_str() != "activate").map(|(_, j)| *j).sum::<f64>()
        };
        let all: f64 = outcome.components.iter().map(|c| parts(&c.energy_j, true)).sum();
        let done: f64 = outcome.operators.iter().map(|o| parts(&o.energy_j, true)).sum();
        let without: f64 = outcome.operators.iter().map(|o| parts(&o.energy_j, false)).sum();
        if seconds > 0.0 {
            self.idle_w = self.idle_w.min((all - done).max(0.0) / seconds);
        }
        let of_memory = !matches!(instruction.work, Work::Vector { .. });
        // Of the rows that it opens one may be open already.
        let opened = (done - without) * (1.0 - 1.0 / rows(&content));
        let joules = if of_memory { without + opened } else { done };
        // The vector unit takes what is ready first, whatever the order of the program.
        let channels = if of_memory { outcome.components.as_slice() } else { &[] };
        let busy: Vec<f64> = channels.iter().map(|c| c.busy.as_secs_f64()).collect();
        let mut alone = Alone::new(Least { seconds, joules }, &busy);
        match &content {
            Content::Vector(_) => {}
            // Patterns may put refreshes off to the end of an iteration.
            Content::Pattern(..) => (alone.open_s, alone.closed_s) = (self.row_cycle_s, self.row_cycle_s),
            Content::Accesses(block, finds_open) => {
                alone.least_of_two(self.again(program, instruction)?);
                // Clocks' edges may lie otherwise. Kernels close all rows; a state that is read and then written finds its rows open.
                (alone.open_s, alone.closed_s) = (0.1 * self.row_cycle_s, 0.1 * self.row_cycle_s);
                if *finds_open {
                    alone.least_of_two(self.streamed(program, instruction, block)?);
                    (alone.open_s, alone.closed_s) = (self.row_cycle_s, self.row_cycle_s);
                }
                alone.refreshed = self.dues.as_ref().map_or(Refreshed::Never, |d| d.whole(0.0));
            }
            Content::Instructions(list) => {
                alone.least_of_two(self.again(program, instruction)?);
                let seconds = alone.least.seconds;
                (alone.open_s, alone.closed_s) = (self.row_cycle_s, 0.05 * self.row_cycle_s);
                if let (Some(dues), Some(loads), Some(known)) = (&self.dues, loads(list), &mut self.interrupted) {
                    let found = known.of(&one(program, instruction), list, dues, seconds);
                    let found = found.map_err(|problem| Error::Failed(format!("a block {problem}")))?;
                    // One that may cost nothing for each load.
                    alone.refreshed = found.unwrap_or_else(|| dues.whole(loads.len() as f64));
                }
            }
        }
        self.known.insert(content, alone.clone());
        Ok(alone)
    }

    /// Seconds of a block's accesses where nothing holds them up but the bus: all in one row of their banks, none waiting for another.
    fn streamed(&self, program: &Program, instruction: &Instruction, block: &Block) -> Result<f64, Error> {
        let Block::Accesses(list) = block else { return Ok(0.0) };
        let row = list.first().map_or(0, |a| a.row);
        let list = list.iter().map(|a| HostAccess { row, barrier: false, ..*a }).collect();
        let program = Program { blocks: vec![Arc::new(Block::Accesses(list))], ..one(program, instruction) };
        let mut system = System::new(&self.machine, RunOptions::default());
        system.run(&Arc::new(program))?;
        Ok(system.finish().latency.as_secs_f64())
    }

    /// Seconds of a block after the same block.
    fn again(&self, program: &Program, instruction: &Instruction) -> Result<f64, Error> {
        let mut twice = one(program, instruction);
        let first = twice.instructions.first().copied();
        twice.dependencies = vec![0];
        twice.instructions.extend(first.map(|f| Instruction { first_dependency: 0, dependencies: 1, ..f }));
        let seconds = |program: Program| -> Result<f64, Error> {
            let mut system = System::new(&self.machine, RunOptions::default());
            system.run(&Arc::new(program))?;
            Ok(system.finish().latency.as_secs_f64())
        };
        Ok(seconds(twice)? - seconds(one(program, instruction))?)
    }
}

/// The operator of an instruction; reads of the results of a product are that product's.
fn operator(program: &Program, place: usize) -> &str {
    let name = |place: usize| {
        let instruction = program.instructions.get(place)?;
        Some(program.operators.get(instruction.operator as usize)?.name.as_str())
    };
    let own = name(place).unwrap_or_default();
    if own != "read results" {
        return own;
    }
    program.dependencies_of(place).first().and_then(|i| name(*i as usize)).unwrap_or(own)
}

/// Of each instruction whether it moves data alone, one way, in rows in which another moves data the other way, as states are read and written again. What drives
/// the units does both.
fn finds_open(program: &Program) -> Vec<bool> {
    let moves = |instruction: &Instruction| -> Option<(bool, BTreeSet<u32>)> {
        let Work::Block { block } = instruction.work else { return None };
        let Block::Accesses(list) = &**program.blocks.get(block as usize)? else { return None };
        let write = list.first()?.write;
        list.iter().all(|a| a.write == write).then(|| (write, list.iter().map(|a| a.row).collect()))
    };
    let all: Vec<Option<(bool, BTreeSet<u32>)>> = program.instructions.iter().map(moves).collect();
    let mut users: BTreeSet<(bool, u32)> = BTreeSet::new();
    for (write, rows) in all.iter().flatten() {
        users.extend(rows.iter().map(|row| (*write, *row)));
    }
    let finds = |(write, rows): &(bool, BTreeSet<u32>)| rows.iter().any(|row| users.contains(&(!write, *row)));
    all.iter().map(|moved| moved.as_ref().is_some_and(finds)).collect()
}

/// Whether each instruction uses a row that another uses too, so that it may find it open. Loads and reads of results have no row: theirs is 0.
fn shares_rows(program: &Program) -> Vec<bool> {
    let mut users: HashMap<u32, usize> = HashMap::new();
    let mut shared = vec![false; program.instructions.len()];
    for (place, instruction) in program.instructions.iter().enumerate() {
        let Work::Block { block } = instruction.work else { continue };
        let Some(Block::Instructions(list)) = program.blocks.get(block as usize).map(|b| &**b) else { continue };
        let mut last = 0;
        for row in list.iter().map(|i| i.row).filter(|row| *row > 0) {
            if row == last {
                continue;
            }
            last = row;
            let first = *users.entry(row).or_insert(place);
            if first != place {
                shared[first] = true;
                shared[place] = true;
            }
        }
    }
    shared
}

/// When an instruction ends at the earliest, how much of that is its own, and what it came after.
#[derive(Debug, Clone, Copy)]
struct End {
    at: f64,
    own: f64,
    before: Option<usize>,
}

/// How many different rows an instruction works on.
fn rows(content: &Content) -> f64 {
    let different = |rows: &mut dyn Iterator<Item = u32>| rows.filter(|r| *r > 0).collect::<BTreeSet<u32>>().len();
    let rows = match content {
        // Loads and reads of results have no row: theirs is 0.
        Content::Instructions(list) => different(&mut list.iter().map(|i| i.4)),
        Content::Accesses(Block::Accesses(list), _) => different(&mut list.iter().map(|a| a.row + 1)),
        Content::Pattern(pattern, _, iterations) => pattern.rows.saturating_mul(*iterations) as usize,
        Content::Accesses(..) | Content::Vector(_) => 1,
    };
    rows.max(1) as f64
}

/// What an instruction does, rows counted from its first; `None` for what is not bounded here.
fn content(program: &Program, instruction: &Instruction, finds_open: bool) -> Option<Content> {
    Some(match instruction.work {
        Work::Pim { channels, pattern, iterations, .. } => {
            let channels = program.channel_sets.get(channels as usize)?.clone();
            Content::Pattern(program.patterns.get(pattern as usize)?.clone(), channels, iterations)
        }
        Work::Vector { function } => Content::Vector(program.functions.get(function as usize)?.clone()),
        Work::Block { block } => match &**program.blocks.get(block as usize)? {
            Block::Instructions(list) => {
                // Loads and reads of results have no row: theirs is 0.
                let first = list.iter().map(|i| i.row).filter(|r| *r > 0).min().unwrap_or(0);
                let one = |i: &banksia_hw::program::PimInstruction| {
                    let channels = program.channel_sets.get(i.channels as usize)?.clone();
                    let row = if i.row == 0 { 0 } else { i.row - first + 1 };
                    Some((i.name.clone(), channels, i.columns, i.bank, row))
                };
                Content::Instructions(list.iter().map(one).collect::<Option<_>>()?)
            }
            Block::Accesses(list) => {
                let first = list.iter().map(|a| a.row).min().unwrap_or(0);
                let mut list = list.clone();
                for access in &mut list {
                    access.row -= first;
                }
                Content::Accesses(Block::Accesses(list), finds_open)
            }
        },
        Work::Kernel { .. } | Work::Transfer { .. } | Work::Collective { .. } => return None,
    })
}

/// A program of one instruction of another.
fn one(program: &Program, instruction: &Instruction) -> Program {
    let operator = program.operators.get(instruction.operator as usize);
    let alone = Instruction {
        operator: 0,
        first_dependency: 0,
        dependencies: 0,
        acquire_bytes: 0,
        release_bytes: 0,
        ..*instruction
    };
    let (mut patterns, mut blocks, mut functions) = (Vec::new(), Vec::new(), Vec::new());
    let work = match instruction.work {
        Work::Pim { channels, pattern, row, iterations } => {
            patterns.extend(program.patterns.get(pattern as usize).cloned());
            Work::Pim { channels, pattern: 0, row, iterations }
        }
        Work::Block { block } => {
            blocks.extend(program.blocks.get(block as usize).cloned());
            Work::Block { block: 0 }
        }
        Work::Vector { function } => {
            functions.extend(program.functions.get(function as usize).cloned());
            Work::Vector { function: 0 }
        }
        other => other,
    };
    Program {
        version: program.version,
        phase: program.phase.clone(),
        context_tokens: program.context_tokens,
        launch: program.launch,
        operators: vec![ProgramOperator {
            name: operator.map_or_else(String::new, |o| o.name.clone()),
            count: 1,
            ..ProgramOperator::default()
        }],
        channel_sets: program.channel_sets.clone(),
        patterns,
        blocks,
        functions,
        instructions: vec![Instruction { work, ..alone }],
        ..Program::default()
    }
}
