//! The least that a step can take, from the program that a plan makes of it.
//!
//! An instruction by itself, on a machine at rest that does not refresh, takes no longer than among others, but for a row that another left
//! open: that is worth one row cycle at most, and is taken off. A block of commands that goes on for longer than refresh can wait is
//! interrupted: each refresh that falls due in it takes its time, less a row cycle that it may share with the closing of rows. It begins after those that it waits for, and each channel and the vector unit work on
//! one after the other, in the order of the program. Along a chain of such waits these times add up, and the longest chain is a bound. Energy: what each
//! instruction takes by itself, less the opening of a row, and the machine's idle power over the bound of the time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use banksia_hw::program::{Block, ChannelSet, Instruction, Pattern, Program, ProgramOperator, VectorFunction, Work};
use banksia_hw::system::{Machine, RunOptions, System};

use crate::error::Error;

/// The least of one thing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Least {
    /// Seconds.
    pub seconds: f64,
    /// Joules of what is done, without idle power.
    pub joules: f64,
}

/// The bound of a program, by operator along its longest chain.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chain {
    /// Of each operator: seconds on the longest chain, joules of all its instructions.
    pub operators: BTreeMap<String, Least>,
}

impl Chain {
    /// Seconds and joules of all of it.
    pub fn total(&self) -> Least {
        let add = |a: Least, b: &Least| Least { seconds: a.seconds + b.seconds, joules: a.joules + b.joules };
        self.operators.values().fold(Least::default(), add)
    }
}

/// An instruction by itself.
#[derive(Debug, Clone)]
struct Alone {
    least: Least,
    /// Seconds for which each unit works on it: channels, then the vector unit.
    busy: Arc<[f64]>,
}

/// What an instruction does, wherever it does it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Content {
    Instructions(Vec<(String, ChannelSet, u32, u32, u32)>),
    Accesses(Block),
    Pattern(Pattern, ChannelSet, u32),
    Vector(VectorFunction),
}

/// Refresh of a channel as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Refresh {
    interval_s: f64,
    /// What one adds to what it interrupts at least.
    adds_s: f64,
}

impl Refresh {
    /// Of a machine whose channels refresh, all banks at once.
    fn of(machine: &Machine, row_cycle_s: f64) -> Option<Self> {
        let machine = machine.lone_pim_machine()?;
        let device = &machine.device;
        let refresh = device.refresh.filter(|_| machine.file.memory.refresh)?;
        let scope = device.spec(refresh.command).scope.0 as usize;
        if device.levels.get(scope)?.nodes != 1 {
            return None;
        }
        let cycle_s = device.clock_fs as f64 * 1e-15;
        let takes_s = device.timing("nRFC")? * cycle_s * f64::from(device.ticks_per_clock);
        Some(Self { interval_s: refresh.interval as f64 * cycle_s, adds_s: (takes_s - row_cycle_s).max(0.0) })
    }

    /// A block of so many seconds without refresh, with it: the first falls due at any time in it, and the last may wait until it ends.
    fn within(self, seconds: f64) -> f64 {
        seconds + ((seconds / self.interval_s).floor() - 2.0).max(0.0) * self.adds_s
    }
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
    refresh: Option<Refresh>,
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
        let refresh = Refresh::of(machine, row_cycle_s);
        Some(Self { machine: still.clone(), known: HashMap::new(), row_cycle_s, refresh, idle_w: f64::INFINITY })
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
        for instruction in &program.instructions {
            let key = match instruction.work {
                Work::Pim { channels, pattern, iterations, .. } => (0, channels, pattern, iterations),
                Work::Block { block } => (1, block, 0, 0),
                Work::Vector { function } => (2, function, 0, 0),
                Work::Kernel { .. } | Work::Transfer { .. } | Work::Collective { .. } => (3, 0, 0, 0),
            };
            let alone = match local.get(&key) {
                Some(alone) => alone.clone(),
                None => {
                    let alone = self.alone(program, instruction)?;
                    local.insert(key, alone.clone());
                    alone
                }
            };
            own.push(alone);
        }
        // The longest chain that ends with each instruction, and the one before it there.
        let mut ends: Vec<End> = Vec::with_capacity(own.len());
        // Until when each unit works, and on what.
        let mut units: Vec<(f64, Option<usize>)> = Vec::new();
        for (place, (instruction, alone)) in program.instructions.iter().zip(&own).enumerate() {
            let from = instruction.first_dependency as usize;
            let after = program.dependencies.get(from..from + instruction.dependencies as usize).unwrap_or_default();
            let waited = after
                .iter()
                .filter_map(|i| Some((ends.get(*i as usize)?.at, *i as usize)))
                .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
            let ready = waited.map_or(0.0, |w| w.0);
            let mut end =
                End { at: ready + alone.least.seconds, own: alone.least.seconds, before: waited.map(|w| w.1) };
            units.resize(units.len().max(alone.busy.len()), (0.0, None));
            for (unit, busy) in units.iter_mut().zip(alone.busy.iter()).filter(|(_, busy)| **busy > 0.0) {
                if unit.0 > ready && unit.0 + busy > end.at {
                    end = End { at: unit.0 + busy, own: *busy, before: unit.1 };
                }
                *unit = (unit.0.max(ready) + busy, Some(place));
            }
            ends.push(end);
        }
        let mut chain = Chain::default();
        let name = |i: &Instruction| program.operators.get(i.operator as usize).map_or("", |o| o.name.as_str());
        for (instruction, alone) in program.instructions.iter().zip(&own) {
            chain.operators.entry(name(instruction).to_owned()).or_default().joules += alone.least.joules;
        }
        let last = (0..ends.len()).max_by(|a, b| ends[*a].at.total_cmp(&ends[*b].at).then(b.cmp(a)));
        let mut at = last;
        while let Some(i) = at {
            let Some(end) = ends.get(i) else { break };
            if let Some(instruction) = program.instructions.get(i) {
                chain.operators.entry(name(instruction).to_owned()).or_default().seconds += end.own;
            }
            at = end.before;
        }
        Ok(chain)
    }

    /// An instruction on the machine at rest.
    fn alone(&mut self, program: &Program, instruction: &Instruction) -> Result<Alone, Error> {
        let Some(content) = content(program, instruction) else {
            return Ok(Alone { least: Least::default(), busy: Arc::default() });
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
        let slack = if of_memory { self.row_cycle_s } else { 0.0 };
        let joules = if of_memory { without + opened } else { done };
        // Refreshes are counted where commands follow one another by themselves: patterns may put theirs off to the end of an iteration.
        let refresh = self.refresh.filter(|_| matches!(instruction.work, Work::Block { .. }));
        let interrupted = |seconds: f64| {
            let least = (seconds - slack).max(0.0);
            refresh.map_or(least, |r| r.within(least))
        };
        let busy = outcome.components.iter().map(|c| interrupted(c.busy.as_secs_f64()));
        let busy: Arc<[f64]> = match of_memory {
            true => busy.collect(),
            false => outcome.components.iter().map(|c| c.busy.as_secs_f64()).collect(),
        };
        let seconds = if of_memory { interrupted(seconds) } else { seconds };
        let alone = Alone { least: Least { seconds, joules }, busy };
        self.known.insert(content, alone.clone());
        Ok(alone)
    }
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
        Content::Accesses(Block::Accesses(list)) => different(&mut list.iter().map(|a| a.row + 1)),
        Content::Pattern(pattern, _, iterations) => pattern.rows.saturating_mul(*iterations) as usize,
        Content::Accesses(_) | Content::Vector(_) => 1,
    };
    rows.max(1) as f64
}

/// What an instruction does, rows counted from its first; `None` for what is not bounded here.
fn content(program: &Program, instruction: &Instruction) -> Option<Content> {
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
                Content::Accesses(Block::Accesses(list))
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
