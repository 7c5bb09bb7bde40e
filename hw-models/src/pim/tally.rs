//! What a channel has issued: how often each command, at which banks, and, where that is asked for, when.

use std::fmt::Write as _;

use crate::dram::device::Command;
use crate::dram::memory::Lines;
use crate::dram::{CommandId, Cycle, Device, Effect, NO_ROW, Needs};

/// A command of a PIM channel as it went over the command bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PimCommand {
    /// The cycle at which it issued.
    pub cycle: Cycle,
    /// As which it counts: in the all-bank modes of units that accesses drive, the command that says what it does there.
    pub command: CommandId,
    /// The command on the bus, whose scope says what it addresses.
    pub on_bus: CommandId,
    /// The first bank that it addresses.
    pub bank: u32,
    /// The row that it opens or accesses, or [`NO_ROW`].
    pub row: u32,
    /// The column that it accesses, where the program says which.
    pub column: Option<u32>,
}

/// Counts of one channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tally {
    banks: usize,
    counts: Vec<u64>,
    touched: Vec<u64>,
    log: Option<Vec<PimCommand>>,
}

/// Whether a command does something to the banks of its scope; otherwise it is for registers and buffers of the channel.
fn acts_on_banks(command: &Command) -> bool {
    command.needs != Needs::Any
        || matches!(
            command.effect,
            Effect::Open | Effect::OpenFirst | Effect::Close | Effect::AccessAndClose | Effect::Refresh
        )
}

impl Tally {
    pub(super) fn new(device: &Device) -> Self {
        let (commands, banks) = (device.commands.len(), device.banks as usize);
        Self { banks, counts: vec![0; commands], touched: vec![0; commands * banks], log: None }
    }

    /// Keeps every command from here on.
    pub(super) fn keep_commands(&mut self) {
        self.log.get_or_insert_default();
    }

    /// Whether every command is kept.
    pub(super) fn keeps_commands(&self) -> bool {
        self.log.is_some()
    }

    /// So many issues of a command at a node of its scope.
    pub(super) fn add(&mut self, device: &Device, command: CommandId, node: u32, n: u64) {
        self.counts[command.0 as usize] += n;
        if !acts_on_banks(device.spec(command)) {
            return;
        }
        let (nodes, apart) = device.spread(command);
        for i in 0..nodes {
            for bank in device.banks_of(command, node + i * apart) {
                self.touched[command.0 as usize * self.banks + bank as usize] += n;
            }
        }
    }

    /// An issue that counts as a command, and does something to these banks.
    pub(super) fn add_at(&mut self, command: CommandId, banks: impl Iterator<Item = u32>) {
        self.counts[command.0 as usize] += 1;
        for bank in banks {
            self.touched[command.0 as usize * self.banks + bank as usize] += 1;
        }
    }

    /// Notes a command where they are kept.
    pub(super) fn note(&mut self, command: PimCommand) {
        if let Some(log) = &mut self.log {
            log.push(command);
        }
    }

    /// Issues of each command.
    pub(super) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// `touched[command * banks + bank]`: issues of each command that did something to each bank.
    pub(super) fn touched(&self) -> &[u64] {
        &self.touched
    }

    /// The commands kept.
    pub(super) fn into_commands(self) -> Vec<PimCommand> {
        self.log.unwrap_or_default()
    }
}

/// A CSV file's lines of the commands of a channel, in the columns of [`commands_header`]: `-1` where a command addresses no one node
/// of a level, no row or no column.
pub fn command_lines(device: &Device, channel: u32, commands: &[PimCommand], out: &mut String) {
    let ticks = u64::from(device.ticks_per_clock);
    for c in commands {
        let spec = device.spec(c.on_bus);
        let half = if c.cycle.is_multiple_of(ticks) { "" } else { ".5" };
        let _ = write!(out, "{}{half},{},{channel}", c.cycle / ticks, device.spec(c.command).name);
        for (i, level) in device.levels.iter().enumerate().skip(1) {
            let across = spec.across.is_some_and(|a| usize::from(a.0) == i);
            if i <= usize::from(spec.scope.0) && !across {
                let _ = write!(out, ",{}", c.bank / level.banks % level.per_parent);
            } else {
                out.push_str(",-1");
            }
        }
        if c.row == NO_ROW {
            out.push_str(",-1");
        } else {
            let _ = write!(out, ",{}", c.row);
        }
        match c.column {
            Some(column) => {
                let _ = writeln!(out, ",{column}");
            }
            None => out.push_str(",-1\n"),
        }
    }
}

/// The columns of [`command_lines`]: those of `banksia memory --commands`.
pub fn commands_header(device: &Device) -> String {
    Lines::commands_header(device)
}
