//! A program's patterns, resolved against a device.

use crate::dram::{CommandId, Device, Effect, NO_ROW, Needs};
use crate::program::{Pattern, PatternStep, ProgramError};

/// A pattern whose commands are indices and whose bounds have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledPattern {
    pub(crate) steps: Vec<CompiledStep>,
    /// Rows from one iteration to the next.
    pub(crate) rows: u32,
    /// Rows that one iteration reaches over, from its first.
    pub(crate) reach: u32,
}

/// A step, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompiledStep {
    pub command: CommandId,
    pub first_node: u32,
    pub nodes: u32,
    pub count: u32,
    /// The row from the iteration's first, or [`NO_ROW`].
    pub row: u32,
    /// Banks of one node.
    pub banks: u32,
    /// What opens the row; present when `row` is a row.
    pub opener: Option<Opener>,
}

/// How a row gets open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opener {
    pub open: CommandId,
    pub open_banks: u32,
    pub close: CommandId,
    pub close_banks: u32,
}

impl CompiledPattern {
    /// Resolves the `index`-th pattern of a program.
    ///
    /// # Errors
    /// A command does not exist on the device or cannot be used so, or a node or column is out of range.
    pub fn new(index: usize, pattern: &Pattern, device: &Device) -> Result<Self, ProgramError> {
        let place = || format!("pattern {index}");
        let mut steps = Vec::with_capacity(pattern.steps.len());
        for step in &pattern.steps {
            steps.push(compile_step(index, step, device)?);
        }
        let reach = pattern.steps.iter().filter_map(|s| s.row).max().map_or(0, |r| r.saturating_add(1));
        if reach > device.rows {
            let (value, limit) = (u64::from(reach), u64::from(device.rows));
            return Err(ProgramError::Range { place: place(), what: "row", value, limit });
        }
        Ok(Self { steps, rows: pattern.rows, reach })
    }

    /// Rows reached by some iterations.
    pub fn rows_reached(&self, iterations: u32) -> u64 {
        u64::from(self.rows) * u64::from(iterations.saturating_sub(1)) + u64::from(self.reach)
    }
}

fn compile_step(index: usize, step: &PatternStep, device: &Device) -> Result<CompiledStep, ProgramError> {
    let named = |name: &str| {
        device.command(name).ok_or_else(|| ProgramError::Command {
            pattern: index,
            command: name.to_owned(),
            device: device.name.clone(),
        })
    };
    let range = |what, value: u64, limit: u64| {
        if value <= limit {
            Ok(())
        } else {
            Err(ProgramError::Range { place: format!("pattern {index}"), what, value, limit })
        }
    };
    if step.count == 0 || step.nodes == 0 {
        let place = format!("pattern {index}: {}", step.command);
        return Err(ProgramError::Range {
            place,
            what: "a count or node count of",
            value: 0,
            limit: u64::from(u32::MAX),
        });
    }
    let command = named(&step.command)?;
    let spec = device.spec(command);
    let level = &device.levels[spec.scope.0 as usize];
    range("node", u64::from(step.first_node) + u64::from(step.nodes), u64::from(level.nodes))?;
    let banks_of = |c: CommandId| device.levels[device.spec(c).scope.0 as usize].banks;
    // A step that needs an open row must name one, and only such a step may. Rows are opened as steps need them; a row that
    // will not be needed again may be closed early.
    let wants_row = spec.needs == Needs::Open;
    let closes = spec.effect == Effect::Close && step.count == 1;
    if wants_row != step.row.is_some() || spec.needs == Needs::Closed || !(spec.effect == Effect::None || closes) {
        return Err(ProgramError::Command {
            pattern: index,
            command: format!(
                "{} (as an access {} a row)",
                step.command,
                if step.row.is_some() { "with" } else { "without" }
            ),
            device: device.name.clone(),
        });
    }
    let opener = if wants_row {
        range("column", u64::from(step.column) + u64::from(step.count), u64::from(device.columns))?;
        let open = match &step.open_with {
            Some(name) => named(name)?,
            None => spec.open_with.ok_or_else(|| ProgramError::Command {
                pattern: index,
                command: format!("to open a row for {}", step.command),
                device: device.name.clone(),
            })?,
        };
        let opener = device.spec(open);
        let close = opener.close_with.filter(|_| opener.effect == Effect::Open && opener.scope <= spec.scope);
        let Some(close) = close else {
            return Err(ProgramError::Command {
                pattern: index,
                command: format!("{} (to open a row for {})", opener.name, step.command),
                device: device.name.clone(),
            });
        };
        Some(Opener { open, open_banks: banks_of(open), close, close_banks: banks_of(close) })
    } else {
        None
    };
    Ok(CompiledStep {
        command,
        first_node: step.first_node,
        nodes: step.nodes,
        count: step.count,
        row: step.row.unwrap_or(NO_ROW),
        banks: level.banks,
        opener,
    })
}
