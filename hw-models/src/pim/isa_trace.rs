//! Instruction traces and the instruction set that they are written in.

use std::io::{BufRead, Read};

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

/// The lines of a trace that are not the device's instructions.
const HOST_LINES: &str = "`R|W MEM CHANNEL BANK ROW`, `R|W GPR REGISTER` and `W CFR REGISTER VALUE`";

/// The longest line, in bytes: longer than any instruction can be.
const LONGEST: usize = 1 << 16;

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

/// A number, decimal or with `0x`.
fn number(word: &str) -> Option<u128> {
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// A mask of channels: a number, in hexadecimal of any length.
fn mask(word: &str) -> Option<ChannelSet> {
    let bits = |value: u128, first: u32| {
        (0..128).filter(|i| value >> i & 1 == 1).fold(ChannelSet::EMPTY, |all, i| all.or(&ChannelSet::one(first + i)))
    };
    let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) else {
        return number(word).map(|value| bits(value, 0));
    };
    // A sign would be taken for a part of a number.
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut all = ChannelSet::EMPTY;
    for (i, part) in digits.as_bytes().rchunks(32).enumerate() {
        let value = u128::from_str_radix(std::str::from_utf8(part).ok()?, 16).ok()?;
        all = all.or(&bits(value, 128 * i as u32));
    }
    Some(all)
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
    host: [Option<usize>; 3],
    columns: u32,
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

    /// Reads a trace; `take` gets each instruction in order, up to and with the one that ends it.
    ///
    /// # Errors
    /// A line cannot be read, or names or asks for what the device does not have; or there is no instruction.
    pub fn read(
        &self,
        name: &str,
        input: &mut dyn BufRead,
        mut take: impl FnMut(&Instruction),
    ) -> Result<(), InputError> {
        let mut line = Vec::new();
        let mut number = 0;
        let mut instructions = 0u64;
        loop {
            line.clear();
            number += 1;
            let fail = |problem: String| InputError::new(name, problem).at_line(number);
            let read = Read::take(&mut *input, LONGEST as u64 + 1).read_until(b'\n', &mut line);
            if read.map_err(|e| fail(format!("cannot be read: {e}")))? == 0 {
                break;
            }
            if line.len() > LONGEST {
                return Err(fail("is longer than any instruction can be".into()));
            }
            let text = std::str::from_utf8(&line).map_err(|_| fail("is not UTF-8 text".into()))?;
            let text = text.split('#').next().unwrap_or_default();
            let words: Vec<&str> = text.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let instruction = self.parse(name, number, &words)?;
            take(&instruction);
            instructions += 1;
            if self.instructions[instruction.kind].ends {
                break;
            }
        }
        if instructions == 0 {
            let help = format!("an instruction is a line `{} NAME OPERAND...`", self.prefix);
            return Err(InputError::new(name, "has no instruction").help(help));
        }
        Ok(())
    }

    fn parse(&self, file: &str, line: usize, words: &[&str]) -> Result<Instruction, InputError> {
        let fail = |problem: String| InputError::new(file, problem).at_line(line);
        if words[0] != self.prefix {
            if matches!(words[0], "R" | "W") {
                return self.parse_host(file, line, words);
            }
            let problem = format!("begins with `{}`: an instruction begins with `{}`", words[0], self.prefix);
            return Err(fail(problem).help(format!("write `{} NAME OPERAND...`, or {HOST_LINES}", self.prefix)));
        }
        let Some(name) = words.get(1) else { return Err(fail("names no instruction".into())) };
        let kind = self.instructions.iter().position(|k| k.name == *name).ok_or_else(|| {
            let known = self.instructions.iter().map(|k| k.name.as_str()).filter(|n| !n.contains(' '));
            InputError::unknown_name(file, "instruction", name, known).at_line(line)
        })?;
        let spec = &self.instructions[kind];
        if words.len() - 2 != spec.operands.len() {
            let given = words.len() - 2;
            return Err(fail(format!("gives {name} {given} operands: it takes {:?}", spec.operands).to_lowercase()));
        }
        let mut out =
            Instruction { kind, columns: 1, channels: self.all_channels(), bank: 0, row: spec.fixed_row.unwrap_or(0) };
        for (operand, word) in spec.operands.iter().zip(&words[2..]) {
            if *operand == Operand::Channels {
                let mask = mask(word).ok_or_else(|| fail(format!("has `{word}` where a number should stand")))?;
                if mask.is_empty() || !mask.within(&self.all_channels()) {
                    return Err(fail(format!("has channels {word}: a mask of {} channels", self.channels)));
                }
                out.channels = mask;
                continue;
            }
            let value = number(word);
            let value = value.ok_or_else(|| fail(format!("has `{word}` where a number should stand")))?;
            let within = |what: &str, least: u128, most: u128| {
                if (least..=most).contains(&value) {
                    Ok(value as u32)
                } else {
                    Err(fail(format!("has {what} {value}: must be from {least} to {most}")))
                }
            };
            match operand {
                Operand::Columns => out.columns = within("columns", 1, u128::from(self.columns))?,
                Operand::Bank => out.bank = within("bank", 0, u128::from(self.banks) - 1)?,
                Operand::Row => out.row = within("row", 0, u128::from(self.rows) - 1)?,
                Operand::Register | Operand::Channels => {}
            }
        }
        Ok(out)
    }

    /// A line of the host's own: `R|W GPR|CFR ...`, which takes a cycle of its time, or `R|W MEM CHANNEL BANK ROW`, an ordinary access.
    fn parse_host(&self, file: &str, line: usize, words: &[&str]) -> Result<Instruction, InputError> {
        let fail = |problem: String| {
            InputError::new(file, problem).at_line(line).help(format!("the host's own lines are {HOST_LINES}"))
        };
        let write = words[0] == "W";
        let base = Instruction { kind: 0, columns: 1, channels: ChannelSet::one(0), bank: 0, row: 0 };
        match words.get(1) {
            Some(&("GPR" | "CFR")) => {
                let kind = self.host[0].ok_or_else(|| fail("has no use for host registers".into()))?;
                Ok(Instruction { kind, ..base })
            }
            Some(&"MEM") => {
                let kind = self.host[1 + usize::from(write)]
                    .ok_or_else(|| fail("is an access, and the device has no read and write for it".into()))?;
                let &[channel, bank, row] = &words[2..] else {
                    return Err(fail(format!(
                        "gives MEM {} operands: it takes channel, bank and row",
                        words.len() - 2
                    )));
                };
                let within = |what: &str, word: &str, count: u32| {
                    number(word)
                        .and_then(|n| u32::try_from(n).ok())
                        .filter(|n| *n < count)
                        .ok_or_else(|| fail(format!("has {what} `{word}`: must be from 0 to {}", count - 1)))
                };
                let channel = within("channel", channel, self.channels)?;
                let (bank, row) = (within("bank", bank, self.banks)?, within("row", row, self.rows)?);
                Ok(Instruction { kind, channels: ChannelSet::one(channel), bank, row, ..base })
            }
            Some(other) => Err(fail(format!("has `{other}` where GPR, CFR or MEM should stand"))),
            None => Err(fail(format!("ends after `{}`", words[0]))),
        }
    }

    /// A source for a trace in memory, for tests and generators.
    pub fn read_source(&self, source: &Source, take: impl FnMut(&Instruction)) -> Result<(), InputError> {
        self.read(source.name(), &mut source.text().as_bytes(), take)
    }
}
