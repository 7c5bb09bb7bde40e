//! Reads instruction traces, as people write them here and as the public AiM simulator has them in its own files.
//!
//! That simulator's files (arkhadem/aim_simulator: `test/*.trace` and, before, `test/*.csv` and `example_AiM.csv`; its reader is `aim_trace.cpp`)
//! separate words by blanks or commas, may put `ISR_` before an instruction's name, and in the oldest form give every instruction the same eight
//! numbers, -1 where it has no use for one. All of these are read, of any device that has instructions.

use std::io::{BufRead, BufReader, Read};

use banksia_input::{InputError, Source};
use flate2::bufread::MultiGzDecoder;

use super::isa_trace::{Instruction, IsaSet, Operand};
use crate::program::ChannelSet;

/// The lines of a trace that are not the device's instructions.
const HOST_LINES: &str = "`R|W MEM CHANNEL BANK ROW`, `R|W GPR REGISTER` and `W CFR REGISTER VALUE`";

/// The longest line, in bytes: longer than any instruction can be.
const LONGEST: usize = 1 << 16;

/// What the AiM simulator may write before an instruction's name.
const ISR: &str = "ISR_";

/// The numbers of its full form: columns, two registers, channels, bank, row, first column, thread.
const FULL: usize = 8;

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

/// Each operand and the word that gives it; in the full form, and where a number of columns comes before operands that name none, that too.
/// `None` if there are too few words or too many.
fn operands<'a>(wanted: &[Operand], words: &[&'a str]) -> Option<Vec<(Operand, &'a str)>> {
    // What lies in a row may be accessed in several columns; what does not counts channels there, which the mask says.
    let counted = !wanted.contains(&Operand::Columns) && wanted.contains(&Operand::Row);
    if words.len() == wanted.len() {
        return Some(wanted.iter().copied().zip(words.iter().copied()).collect());
    }
    if counted && words.len() == wanted.len() + 1 {
        let mut all = vec![(Operand::Columns, words[0])];
        all.extend(wanted.iter().copied().zip(words[1..].iter().copied()));
        return Some(all);
    }
    let &[columns, first, second, channels, bank, row, ..] = words else { return None };
    if words.len() != FULL {
        return None;
    }
    let mut registers = [first, second].into_iter();
    let mut all: Vec<_> = counted.then_some((Operand::Columns, columns)).into_iter().collect();
    for operand in wanted {
        let word = match operand {
            Operand::Columns => columns,
            Operand::Channels => channels,
            Operand::Bank => bank,
            Operand::Row => row,
            Operand::Register => registers.next()?,
        };
        all.push((*operand, word));
    }
    Some(all)
}

impl IsaSet {
    /// Reads a trace, plain or gzip; `take` gets each instruction in order, up to and with the one that ends it.
    ///
    /// # Errors
    /// A line cannot be read, or names or asks for what the device does not have; or there is no instruction.
    pub fn read(&self, name: &str, input: &mut dyn BufRead, take: impl FnMut(&Instruction)) -> Result<(), InputError> {
        let begin = input.fill_buf().map_err(|e| InputError::new(name, format!("cannot be read: {e}")))?;
        if begin.starts_with(&[0x1f, 0x8b]) {
            self.read_text(name, &mut BufReader::new(MultiGzDecoder::new(input)), take)
        } else {
            self.read_text(name, input, take)
        }
    }

    fn read_text(
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
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let text = text.split('#').next().unwrap_or_default();
            let words: Vec<&str> =
                text.split(|c: char| c == ',' || c.is_whitespace()).filter(|w| !w.is_empty()).collect();
            if words.is_empty() {
                continue;
            }
            let (instruction, times) = self.parse(name, number, &words)?;
            (0..times).for_each(|_| take(&instruction));
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

    /// An instruction, and how many times it is given: an access of one column may come with a number of them.
    fn parse(&self, file: &str, line: usize, words: &[&str]) -> Result<(Instruction, u32), InputError> {
        let fail = |problem: String| InputError::new(file, problem).at_line(line);
        // `ISR_` alone says as well that it is an instruction.
        let words = match words {
            [prefix, rest @ ..] if *prefix == self.prefix => rest,
            [name, ..] if name.starts_with(ISR) => words,
            [other, ..] => {
                if matches!(*other, "R" | "W") {
                    return Ok((self.parse_host(file, line, words)?, 1));
                }
                let problem = format!("begins with `{other}`: an instruction begins with `{}`", self.prefix);
                return Err(fail(problem).help(format!("write `{} NAME OPERAND...`, or {HOST_LINES}", self.prefix)));
            }
            [] => words,
        };
        let Some((name, given)) = words.split_first() else { return Err(fail("names no instruction".into())) };
        let kind = |name: &str| self.instructions.iter().position(|k| k.name == name);
        let kind = kind(name).or_else(|| name.strip_prefix(ISR).and_then(kind)).ok_or_else(|| {
            let known = self.instructions.iter().map(|k| k.name.as_str()).filter(|n| !n.contains(' '));
            InputError::unknown_name(file, "instruction", name, known).at_line(line)
        })?;
        let spec = &self.instructions[kind];
        let given = operands(&spec.operands, given).ok_or_else(|| {
            fail(format!("gives {name} {} operands: it takes {:?}", given.len(), spec.operands).to_lowercase())
        })?;
        let mut out = Instruction {
            kind,
            columns: 1,
            channels: self.all_channels(),
            bank: 0,
            row: spec.fixed_row.unwrap_or(0),
            column: 0,
        };
        for (operand, word) in given {
            if operand == Operand::Channels {
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
        let times = if spec.operands.contains(&Operand::Columns) { 1 } else { std::mem::replace(&mut out.columns, 1) };
        Ok((out, times))
    }

    /// A line of the host's own: `R|W GPR|CFR ...`, which takes a cycle of its time, or `R|W MEM CHANNEL BANK ROW`, an ordinary access.
    fn parse_host(&self, file: &str, line: usize, words: &[&str]) -> Result<Instruction, InputError> {
        let fail = |problem: String| {
            InputError::new(file, problem).at_line(line).help(format!("the host's own lines are {HOST_LINES}"))
        };
        let write = words[0] == "W";
        let base = Instruction { kind: 0, columns: 1, channels: ChannelSet::one(0), bank: 0, row: 0, column: 0 };
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
