//! Commands and completions as CSV, in the columns of the reference files.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use super::super::controller::{AddressMap, Completion, Issued, Recorder};
use super::super::device::Device;

/// Writes lines into buffers; a run moves them to their files from time to time.
#[derive(Debug)]
pub struct Lines {
    device: Arc<Device>,
    map: AddressMap,
    channel: u32,
    wants: (bool, bool),
    /// Lines of commands.
    pub commands: String,
    /// Lines of completions.
    pub completions: String,
}

impl Lines {
    /// For one channel; `wants` says whether commands and completions are kept.
    pub fn new(device: Arc<Device>, map: AddressMap, channel: u32, wants: (bool, bool)) -> Self {
        Self { device, map, channel, wants, commands: String::new(), completions: String::new() }
    }

    /// The columns of the commands.
    pub fn commands_header(device: &Device) -> String {
        let name = |level: &str| match level {
            "bankgroup" => "BankGroup".to_owned(),
            "pseudochannel" => "PseudoChannel".to_owned(),
            other => {
                let mut letters = other.chars();
                letters.next().map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect())
            }
        };
        let levels: Vec<String> = device.levels.iter().map(|l| name(&l.name)).collect();
        format!("clock,command,{},Row,Column\n", levels.join(","))
    }

    /// The columns of the completions.
    pub fn completions_header() -> &'static str {
        "seq,op,index,sent_cycle,done_cycle\n"
    }
}

/// A tick in cycles of the command clock: whole, or with a half.
fn cycles(out: &mut String, ticks: u64, ticks_per_clock: u32) {
    let per = u64::from(ticks_per_clock);
    let half = if ticks.is_multiple_of(per) { "" } else { ".5" };
    let _ = write!(out, "{}{half}", ticks / per);
}

impl Recorder for Lines {
    const COMMANDS: bool = true;
    const COMPLETIONS: bool = true;

    fn keeps_commands(&self) -> bool {
        self.wants.0
    }

    fn command(&mut self, issued: Issued) {
        if !self.wants.0 {
            return;
        }
        let out = &mut self.commands;
        let spec = self.device.spec(issued.command);
        cycles(out, issued.clock, self.device.ticks_per_clock);
        let _ = write!(out, ",{},{}", spec.name, self.channel);
        for (i, level) in self.device.levels.iter().enumerate().skip(1) {
            // A command that takes some of the nodes only is shown at the first.
            let across = spec.across.is_some_and(|a| usize::from(a.0) == i) && spec.across_nodes == level.per_parent;
            if i <= usize::from(spec.scope.0) && !across {
                let _ = write!(out, ",{}", issued.bank / level.banks % level.per_parent);
            } else {
                out.push_str(",-1");
            }
        }
        match issued.index {
            Some(index) => {
                let place = self.map.place(index);
                let _ = writeln!(out, ",{},{}", place.row, place.column);
            }
            None => out.push_str(",-1,-1\n"),
        }
    }

    fn completion(&mut self, c: Completion) {
        if !self.wants.1 {
            return;
        }
        let out = &mut self.completions;
        let _ = write!(out, "{},{},{},", c.sequence, if c.write { 'W' } else { 'R' }, c.index);
        cycles(out, c.sent, self.device.ticks_per_clock);
        out.push(',');
        cycles(out, c.done, self.device.ticks_per_clock);
        out.push('\n');
    }
}

/// Where a run's lines go.
#[derive(Default)]
pub struct CsvSink<'a> {
    /// The commands' file.
    pub commands: Option<&'a mut dyn Write>,
    /// The completions' file.
    pub completions: Option<&'a mut dyn Write>,
}

impl std::fmt::Debug for CsvSink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CsvSink {{ commands: {}, completions: {} }}", self.commands.is_some(), self.completions.is_some())
    }
}

impl CsvSink<'_> {
    pub(super) fn header(&mut self, device: &Device) -> std::io::Result<()> {
        if let Some(file) = &mut self.commands {
            file.write_all(Lines::commands_header(device).as_bytes())?;
        }
        if let Some(file) = &mut self.completions {
            file.write_all(Lines::completions_header().as_bytes())?;
        }
        Ok(())
    }

    /// Moves a channel's lines to the files.
    pub(super) fn take(&mut self, lines: &mut Lines) -> std::io::Result<()> {
        if let Some(file) = &mut self.commands {
            file.write_all(lines.commands.as_bytes())?;
        }
        if let Some(file) = &mut self.completions {
            file.write_all(lines.completions.as_bytes())?;
        }
        lines.commands.clear();
        lines.completions.clear();
        Ok(())
    }
}
