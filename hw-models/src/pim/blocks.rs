//! Channels that run blocks of a PIM device's own instructions, or of a host's accesses.

use std::sync::Arc;

use super::config::PimMachine;
use super::drive::Drive;
use super::group::ChannelTotals;
use super::hbm_pim::HostKernel;
use super::host_controller::HostController;
use super::isa::IsaMachine;
use super::isa_trace::{Instruction, IsaSet};
use crate::dram::{Cycle, Device, Effect, Needs};
use crate::program::{Block, ChannelSet, PimInstruction, Program, ProgramError};

/// A block that has been checked against the machine.
#[derive(Debug, Clone)]
pub(super) enum Checked {
    Instructions(Vec<Instruction>),
    Accesses(Arc<Block>),
}

/// What a block did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockRun {
    /// The first cycle in which the host can begin another.
    pub(super) free: Cycle,
    /// The first cycle in which everything is done.
    pub(super) done: Cycle,
    /// Cycles that channels were at work, summed over them.
    pub(super) busy: Cycle,
    /// Issues of each command, over all channels.
    pub(super) counts: Vec<u64>,
}

#[derive(Clone)]
enum Unit {
    Instructions(Box<IsaMachine>),
    Accesses { controller: Box<HostController>, busy: Cycle, busy_until: Cycle },
}

/// A block of a program by itself, on a machine at rest.
pub struct BlockAlone {
    unit: BlockUnit,
    block: Checked,
}

/// When a block that was run by itself was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// The first cycle in which everything is done.
    pub done: Cycle,
    /// Refreshes until then, over all channels: how many, and the sum of their cycles after the block's beginning (wrapping). Of two runs that differ in when the one
    /// refresh of each channel falls due and in neither of these, the channels were refreshed in the same places.
    pub refreshes: (u64, u64),
}

impl BlockAlone {
    /// # Errors
    /// Patterns of commands drive the machine's channels, or they cannot run the block.
    pub fn new(machine: &PimMachine, program: &Program, block: u32) -> Result<Self, String> {
        let unit = BlockUnit::new(machine, false).ok_or("its channels are not driven by blocks")?;
        let block = unit.check(program, block)?;
        Ok(Self { unit, block })
    }

    /// Runs it from a cycle on; a refresh that falls due before goes out when it does.
    ///
    /// # Errors
    /// It can never be done, in words.
    pub fn run(&self, start: Cycle) -> Result<Ran, String> {
        let mut unit = self.unit.clone();
        let done = unit.run(&self.block, start)?.done;
        let (count, sum) = match &unit.unit {
            Unit::Instructions(isa) => isa.refreshes(),
            Unit::Accesses { .. } => (0, 0),
        };
        Ok(Ran { done, refreshes: (count, sum.wrapping_sub(count.wrapping_mul(start))) })
    }
}

/// The channels of a machine that runs blocks, and the host that drives them: it hands blocks over one after the other.
#[derive(Clone)]
pub(super) struct BlockUnit {
    device: Arc<Device>,
    channels: u32,
    refresh: bool,
    unit: Unit,
}

impl BlockUnit {
    /// The channels at rest; `None` where patterns drive them.
    pub(super) fn new(machine: &PimMachine, stepping: bool) -> Option<Self> {
        let refresh = machine.file.memory.refresh;
        let unit = match &machine.drive {
            Drive::Patterns => return None,
            Drive::Instructions(isa) if stepping => Unit::Instructions(Box::new(isa.clone().stepping())),
            Drive::Instructions(isa) => Unit::Instructions(Box::new(isa.clone().merging())),
            Drive::Accesses(kernel) => {
                Unit::Accesses { controller: Box::new(kernel.controller(refresh)), busy: 0, busy_until: 0 }
            }
        };
        Some(Self { device: Arc::clone(&machine.device), channels: machine.channels(), refresh, unit })
    }

    /// Checks the program's block that an instruction runs.
    ///
    /// # Errors
    /// It is not for such channels, or names or asks for what they do not have.
    pub(super) fn check(&self, program: &Program, block: u32) -> Result<Checked, String> {
        let block = &program.blocks[block as usize];
        match (&**block, &self.unit) {
            (Block::Instructions(list), Unit::Instructions(isa)) => {
                let all = ChannelSet::first(self.channels);
                let checked = list.iter().map(|one| check_instruction(isa.set(), &self.device, program, &all, one));
                Ok(Checked::Instructions(checked.collect::<Result<_, _>>()?))
            }
            (Block::Accesses(list), Unit::Accesses { .. }) => {
                let d = &self.device;
                let outside =
                    |a: &&crate::program::HostAccess| a.bank >= d.banks || a.row >= d.rows || a.column >= d.columns;
                match list.iter().find(outside) {
                    Some(a) => Err(format!(
                        "accesses bank {} row {} column {}: {} has {} banks of {} rows of {} columns",
                        a.bank, a.row, a.column, d.name, d.banks, d.rows, d.columns
                    )),
                    None => Ok(Checked::Accesses(Arc::clone(block))),
                }
            }
            (Block::Instructions(_), Unit::Accesses { .. }) => {
                Err("is of instructions, and the host drives these channels by accesses".into())
            }
            (Block::Accesses(_), Unit::Instructions(_)) => {
                Err("is of accesses, and these channels have instructions of their own".into())
            }
        }
    }

    /// Runs a block from a cycle on.
    ///
    /// # Errors
    /// It can never be done, in words.
    pub(super) fn run(&mut self, block: &Checked, start: Cycle) -> Result<BlockRun, String> {
        let before = self.counts();
        let (free, done, busy) = match (&mut self.unit, block) {
            (Unit::Instructions(isa), Checked::Instructions(list)) => {
                let was = isa.busy();
                let (free, done) = isa.run_block(list, start);
                (free, done, isa.busy() - was)
            }
            (Unit::Accesses { controller, busy, busy_until }, Checked::Accesses(list)) => {
                let Block::Accesses(list) = &**list else {
                    return Ok(BlockRun { free: start, done: start, busy: 0, counts: before });
                };
                controller.idle_until(start)?;
                let done = controller.serve(list, start)?.max(start);
                let more = done - start.max(*busy_until).min(done);
                *busy += more;
                *busy_until = done;
                (done, done, more * u64::from(self.channels))
            }
            // Blocks were checked against the unit.
            _ => (start, start, 0),
        };
        let mut counts = self.counts();
        for (now, before) in counts.iter_mut().zip(before) {
            *now -= before;
        }
        Ok(BlockRun { free, done, busy, counts })
    }

    fn counts(&self) -> Vec<u64> {
        match &self.unit {
            Unit::Instructions(isa) => isa.counts(),
            Unit::Accesses { controller, .. } => {
                controller.tally().counts().iter().map(|n| n * u64::from(self.channels)).collect()
            }
        }
    }

    /// Nothing is begun before a cycle.
    pub(super) fn idle_until(&mut self, cycle: Cycle) {
        match &mut self.unit {
            Unit::Instructions(isa) => isa.idle_until(cycle),
            // A refresh that cannot go out is told of by the next block.
            Unit::Accesses { controller, .. } if self.refresh => {
                let _ = controller.idle_until(cycle);
            }
            Unit::Accesses { .. } => {}
        }
    }

    /// What each channel has done until a cycle.
    pub(super) fn totals(&self, now: Cycle, mut book: impl FnMut(u32, ChannelTotals)) {
        match &self.unit {
            Unit::Instructions(isa) => isa.did(now, |channel, did| {
                book(channel, totals(&self.device, did.counts, did.active, did.busy));
            }),
            Unit::Accesses { controller, busy, .. } => {
                let channel = controller.channel();
                let mut totals = totals(&self.device, channel.counts().to_vec(), channel.active_cycles(now), *busy);
                // Accesses and misses are those of the bus; the rest is what they do.
                totals.counts = controller.tally().counts().to_vec();
                for channel in 0..self.channels {
                    book(channel, totals.clone());
                }
            }
        }
    }
}

/// A command that needs an open row is an access, one that opens a row a miss.
fn totals(device: &Device, counts: Vec<u64>, active: Cycle, busy: Cycle) -> ChannelTotals {
    let of = |is: &dyn Fn(&crate::dram::device::Command) -> bool| {
        device.commands.iter().zip(&counts).filter(|(c, _)| is(c)).map(|(_, n)| *n).sum()
    };
    ChannelTotals {
        accesses: of(&|c| c.needs == Needs::Open),
        misses: of(&|c| c.effect == Effect::Open),
        active,
        busy,
        counts,
    }
}

fn check_instruction(
    set: &IsaSet,
    device: &Device,
    program: &Program,
    all: &ChannelSet,
    one: &PimInstruction,
) -> Result<Instruction, String> {
    let name = &one.name;
    let Some(kind) = set.kind(name) else {
        let known: Vec<&str> = set.instructions.iter().map(|k| k.name.as_str()).collect();
        return Err(format!("has the instruction `{name}`: {} has {}", device.name, known.join(", ")));
    };
    let within = |what: &str, value: u32, least: u32, most: u32| match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(format!("has `{name}` of {what} {value}: must be from {least} to {most}")),
    };
    let channels = &program.channel_sets[one.channels as usize];
    if channels.is_empty() || !channels.within(all) {
        let highest = channels.highest().map_or("none".to_owned(), |c| c.to_string());
        return Err(format!("has `{name}` for channels up to {highest}: the machine has {}", all.len()));
    }
    let columns = within("columns", one.columns, 1, device.columns)?;
    Ok(Instruction {
        kind,
        columns,
        column: within("first column", one.column, 0, device.columns - columns)?,
        channels: channels.clone(),
        bank: within("bank", one.bank, 0, device.banks - 1)?,
        row: within("row", one.row, 0, device.rows - 1)?,
    })
}

impl HostKernel {
    /// A controller of the kernel's device at rest.
    fn controller(&self, refresh: bool) -> HostController {
        HostController::new(&self.device, self.units, self.roles, self.device.refresh.filter(|_| refresh))
    }
}

/// The error of a block that cannot run.
pub(super) fn refused(instruction: usize, problem: &str) -> ProgramError {
    ProgramError::Code { instruction, problem: format!("its block {problem}") }
}
