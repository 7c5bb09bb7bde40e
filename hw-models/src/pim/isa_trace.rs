//! The instruction set that a device's traces are written in.

use banksia_input::{InputError, Source};

use super::isa_gemv::IsaGemv;
use crate::dram::table::{RawInstruction, RawIsa};
use crate::dram::{CommandId, Device, Effect, Needs, catalog};
use crate::program::ChannelSet;

/// A kind of instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstructionKind {
    /// Its name.
    pub name: String,
    /// Its operands, in order.
    pub operands: Vec<Operand>,
    /// The command that it is unrolled into.
    pub command: Option<CommandId>,
    /// See [`RawInstruction::registers`].
    pub registers: bool,
    /// See [`RawInstruction::blocks`].
    pub blocks: bool,
    /// See [`RawInstruction::waits`].
    pub waits: bool,
    /// See [`RawInstruction::ends`].
    pub ends: bool,
    /// See [`RawInstruction::fixed_row`].
    pub fixed_row: Option<u32>,
}

/// An operand of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// How many columns.
    Columns,
    /// A mask of channels.
    Channels,
    /// A bank.
    Bank,
    /// A row.
    Row,
    /// A host register, which takes no time.
    Register,
}

/// Why an instruction cannot be unrolled into a command, if it cannot: a row must be opened for it by one command, at all of its banks.
fn unusable(device: &Device, command: CommandId) -> Option<String> {
    let spec = device.spec(command);
    let name = &spec.name;
    match spec.needs {
        Needs::Any if spec.across.is_some() => {
            Some(format!("names `{name}`, which acts across bank groups: an instruction's command acts in one place"))
        }
        Needs::Any => None,
        Needs::Closed | Needs::Opening => {
            Some(format!("names `{name}`, which itself opens rows: an instruction's rows are opened as it needs them"))
        }
        Needs::Open if spec.across.is_some() => {
            Some(format!("names `{name}`, which acts across bank groups, and its rows are opened in one"))
        }
        Needs::Open => {
            let opener = spec.open_with.map(|c| device.spec(c));
            let opens =
                opener.is_some_and(|o| o.effect == Effect::Open && o.needs == Needs::Closed && o.across.is_none());
            let closes = spec.close_with.is_some_and(|c| device.spec(c).across.is_none());
            (!opens || !closes).then(|| {
                let opener = opener.map_or("nothing", |o| o.name.as_str());
                format!(
                    "names `{name}`, whose row `{opener}` does not open from closed in one command, or nothing closes"
                )
            })
        }
    }
}

/// A device's instruction set.
#[derive(Debug, Clone)]
pub struct IsaSet {
    /// The word before every instruction.
    pub prefix: String,
    /// Channels of the machine.
    pub channels: u32,
    /// The command between register accesses and the rest.
    pub mode_change: Option<CommandId>,
    /// Commands that a channel takes in ahead.
    pub queue: usize,
    /// The matrix-vector product, where the device has one.
    pub(super) gemv: Option<IsaGemv>,
    /// The instructions.
    pub instructions: Vec<InstructionKind>,
    /// The host's own kinds, after the device's: access to its registers, and a read and a write of the banks.
    pub(super) host: [Option<usize>; 3],
    pub(super) columns: u32,
    pub(super) banks: u32,
    pub(super) rows: u32,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Which.
    pub kind: usize,
    /// How many columns; 1 where it is no operand.
    pub columns: u32,
    /// The channels that it is for.
    pub channels: ChannelSet,
    /// The bank, where it is for one.
    pub bank: u32,
    /// The row, where it uses one.
    pub row: u32,
    /// The first column of the row.
    pub column: u32,
}

impl IsaSet {
    /// Channels at most.
    pub const MOST_CHANNELS: u32 = 65_536;

    /// The instruction set of a device in the catalog or a file.
    ///
    /// # Errors
    /// The device has none, or it names what does not exist.
    pub fn load(name: &str, device: &Device) -> Result<Self, InputError> {
        Self::of(&catalog::open(name, None)?, device)
    }

    /// As [`IsaSet::load`], of a device file that has been opened.
    ///
    /// # Errors
    /// As there.
    pub fn of(source: &Source, device: &Device) -> Result<Self, InputError> {
        let name = &device.name;
        let raw = catalog::resolved_source(source)?;
        let fail = |problem: String| InputError::new(format!("device {name}"), problem);
        let Some(isa) = &raw.isa else {
            return Err(fail("has no instruction set of its own".into()).key("isa"));
        };
        Self::compile(isa, &raw.instructions, device).map_err(|(key, problem)| match key.starts_with("isa.") {
            true => source.error(&key, problem),
            // Instructions are counted over the bases' too, which this file does not show.
            false => fail(problem).key(key),
        })
    }

    fn compile(isa: &RawIsa, raw: &[RawInstruction], device: &Device) -> Result<Self, (String, String)> {
        let command = |key: &str, name: &str| {
            device.command(name).ok_or_else(|| (key.to_owned(), format!("names `{name}`, which is no command")))
        };
        let needed = |key: &str, value: Option<u32>| {
            value.ok_or_else(|| (format!("isa.{key}"), "is missing, here and in the base".to_owned()))
        };
        let Some(prefix) = isa.prefix.clone().filter(|p| !p.is_empty()) else {
            let problem = "is missing, here and in the base: the word with which every instruction of a trace begins";
            return Err(("isa.prefix".into(), problem.into()));
        };
        if matches!(&*prefix, "R" | "W") || prefix.contains(|c: char| c.is_whitespace() || c == '#') {
            let problem = format!("is `{prefix}`: must be one word, and not that of the host's own lines, R or W");
            return Err(("isa.prefix".into(), problem));
        }
        let channels = needed("channels", isa.channels)?;
        if channels == 0 || channels > Self::MOST_CHANNELS {
            return Err(("isa.channels".into(), format!("is {channels}: must be from 1 to {}", Self::MOST_CHANNELS)));
        }
        let queue = needed("queue", isa.queue)?;
        if queue == 0 || queue > 65_536 {
            return Err(("isa.queue".into(), format!("is {queue}: must be from 1 to 65536")));
        }
        let mut instructions = Vec::with_capacity(raw.len());
        for (i, r) in raw.iter().enumerate() {
            let key = |field: &str| format!("instruction[{i}].{field}");
            let operand = |name: &String| match name.as_str() {
                "columns" => Ok(Operand::Columns),
                "channels" => Ok(Operand::Channels),
                "bank" => Ok(Operand::Bank),
                "row" => Ok(Operand::Row),
                "register" => Ok(Operand::Register),
                other => Err((
                    key("operands"),
                    format!("has `{other}`: the operands are columns, channels, bank, row and register"),
                )),
            };
            let unrolled = r.command.as_ref().map(|c| command(&key("command"), c)).transpose()?;
            if let Some(problem) = unrolled.and_then(|c| unusable(device, c)) {
                return Err((key("command"), problem));
            }
            if r.fixed_row.is_some_and(|row| row >= device.rows) {
                let problem = format!("is {}: must be from 0 to {}", r.fixed_row.unwrap_or(0), device.rows - 1);
                return Err((key("fixed_row"), problem));
            }
            instructions.push(InstructionKind {
                name: r.name.clone(),
                operands: r.operands.iter().map(operand).collect::<Result<_, _>>()?,
                command: unrolled,
                registers: r.registers,
                blocks: r.blocks,
                waits: r.waits,
                ends: r.ends,
                fixed_row: r.fixed_row,
            });
        }
        let gemv =
            IsaGemv::compile(isa, device, |name| instructions.iter().position(|k: &InstructionKind| k.name == name))?;
        // What the host does besides: a cycle for its own registers, and ordinary accesses.
        let mut host = [None; 3];
        let usable = |c: CommandId| Some(c).filter(|c| unusable(device, *c).is_none());
        let reads_and_writes = device.roles.map_or([None; 2], |r| [usable(r.read), usable(r.write)]);
        let kinds = [("host register", None), ("R MEM", reads_and_writes[0]), ("W MEM", reads_and_writes[1])];
        for (slot, (name, command)) in host.iter_mut().zip(kinds) {
            if command.is_some() || name == "host register" {
                *slot = Some(instructions.len());
                instructions.push(InstructionKind {
                    name: name.into(),
                    operands: Vec::new(),
                    command,
                    registers: false,
                    blocks: false,
                    waits: false,
                    ends: false,
                    fixed_row: None,
                });
            }
        }
        let mode_change = isa.mode_change.as_ref().map(|c| command("isa.mode_change", c)).transpose()?;
        if let Some(c) = mode_change.map(|c| device.spec(c)).filter(|c| c.needs != Needs::Any) {
            let problem = format!("names `{}`, which needs its banks in a state: it must issue in any", c.name);
            return Err(("isa.mode_change".into(), problem));
        }
        Ok(Self {
            host,
            prefix,
            channels,
            mode_change,
            queue: queue as usize,
            gemv,
            instructions,
            columns: device.columns,
            banks: device.banks,
            rows: device.rows,
        })
    }

    /// All channels.
    pub fn all_channels(&self) -> ChannelSet {
        ChannelSet::first(self.channels)
    }

    /// The same set for a machine of so many channels.
    #[must_use]
    pub fn with_channels(self, channels: u32) -> Self {
        Self { channels, ..self }
    }

    /// The instruction of a name, or the host's own.
    pub fn kind(&self, name: &str) -> Option<usize> {
        self.instructions.iter().position(|k| k.name == name)
    }
}
