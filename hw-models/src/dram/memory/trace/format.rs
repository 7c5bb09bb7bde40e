//! The formats of traces: their names, and how a trace shows which it is.

use std::str::FromStr;

use banksia_input::InputError;

use super::access::{Parsed, after_0x, number, words};
use super::{dramsim3, dramsys, gem5, gem5_text, ramulator};

/// A format of request traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceFormat {
    /// `[CYCLE] R|W INDEX|0xADDRESS`.
    Banksia,
    /// `0xADDRESS READ|WRITE CYCLE`.
    Dramsim3,
    /// `CYCLE: [(LENGTH)] read|write 0xADDRESS [DATA]`.
    Dramsys,
    /// `0xADDRESS R|W`.
    Ramulator,
    /// `LD|ST ADDRESS`.
    Ramulator2,
    /// `R|W CHANNEL,...,ROW,COLUMN`, which is recognised in order to be refused.
    Ramulator2Vector,
    /// `BUBBLES READ [WRITE]`.
    RamulatorCore,
    /// Protobuf messages.
    Gem5,
    /// `r|w,ADDRESS,SIZE[,FLAGS],TICK`.
    Gem5Text,
}

/// What a format counts time in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// It has no time.
    None,
    /// Cycles of a clock that it does not give.
    Cycles,
    /// So many in a second.
    PerSecond(u64),
}

use TraceFormat::{Banksia, Dramsim3, Dramsys, Gem5, Gem5Text, Ramulator, Ramulator2, Ramulator2Vector, RamulatorCore};

impl TraceFormat {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Banksia, Dramsim3, Dramsys, Ramulator, Ramulator2, Ramulator2Vector, RamulatorCore, Gem5, Gem5Text];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Banksia => "banksia",
            Dramsim3 => "dramsim3",
            Dramsys => "dramsys",
            Ramulator => "ramulator",
            Ramulator2 => "ramulator2",
            Ramulator2Vector => "ramulator2-vector",
            RamulatorCore => "ramulator-cpu",
            Gem5 => "gem5",
            Gem5Text => "gem5-text",
        }
    }

    /// How a request is written.
    pub(super) fn example(self) -> &'static str {
        match self {
            Banksia => "a request is `R 1234`, `W 0x1f40`, or with an arrival cycle `100 R 1234`",
            Dramsim3 => "a request is `0x2000d5c0 READ 30`",
            Dramsys => "a request is `31: read 0x400140`, or with a length in bytes `81: (128) write 0x400180`",
            Ramulator => "a request is `0x12345680 R`",
            Ramulator2 => "a request is `LD 0x12340` or `ST 4096`",
            Ramulator2Vector => "a request is `R 0,1,2,100,32`",
            RamulatorCore => "a line is `3 20734016`, or with a write-back `8 20841280 20841280`",
            Gem5 => "a packet trace is the bytes `gem5`, a header and packets, as gem5's probes write them",
            Gem5Text => "a request is `r,128,64,4000` or `w,232123,64,0,500000`: command, address, size, flags, tick",
        }
    }

    /// What it is about, and that there are others.
    pub(super) fn help(self) -> String {
        let others: Vec<&str> = Self::ALL.iter().filter(|f| **f != self).map(|f| f.name()).collect();
        format!("{}; this was read as `{}`: --trace-format has also {}", self.example(), self.name(), others.join(", "))
    }

    /// What it counts time in.
    pub(super) fn unit(self) -> Unit {
        match self {
            Ramulator | Ramulator2 | Ramulator2Vector | RamulatorCore => Unit::None,
            Banksia | Dramsim3 | Dramsys => Unit::Cycles,
            Gem5 | Gem5Text => Unit::PerSecond(gem5::TICKS_PER_SECOND),
        }
    }

    /// The parser of its lines, where it is text of another tool's.
    pub(super) fn line(self) -> Option<fn(&[u8]) -> Parsed> {
        match self {
            Dramsim3 => Some(dramsim3::parse),
            Dramsys => Some(dramsys::parse),
            Ramulator => Some(ramulator::parse_memory),
            Ramulator2 => Some(ramulator::parse_load_store),
            RamulatorCore => Some(ramulator::parse_core),
            Gem5Text => Some(gem5_text::parse),
            Banksia | Gem5 | Ramulator2Vector => None,
        }
    }

    /// The format that the first line with a request shows; `None` for a blank or a comment. What is like none is taken for Banksia's own,
    /// whose reader says what is wrong with it.
    pub(super) fn of_line(line: &[u8]) -> Option<Self> {
        if gem5_text::begins(line) {
            return Some(Gem5Text);
        }
        let mut words = words(line);
        let first = words.next()?;
        let second = words.next();
        let hex = after_0x(first).is_some();
        let any_number = |w: &[u8]| after_0x(w).is_some() || number(w).is_some();
        Some(match (first, second) {
            (_, then) if first.ends_with(b":") && dramsys::begins(first, then) => Dramsys,
            (_, Some(op))
                if dramsim3::operation(op).is_some() && (hex || words.next().is_some_and(|w| number(w).is_some())) =>
            {
                Dramsim3
            }
            (_, then) if dramsys::begins(first, then) => Dramsys,
            (b"LD" | b"ST", _) => Ramulator2,
            (b"R" | b"W", Some(vector)) if vector.contains(&b',') => Ramulator2Vector,
            (_, None | Some(b"R" | b"W")) if hex => Ramulator,
            (_, Some(then)) if number(first).is_some() && any_number(then) => RamulatorCore,
            _ => Banksia,
        })
    }
}

impl FromStr for TraceFormat {
    type Err = InputError;

    fn from_str(name: &str) -> Result<Self, InputError> {
        Self::ALL.into_iter().find(|f| f.name() == name).ok_or_else(|| {
            InputError::unknown_name("command line", "format of traces", name, Self::ALL.iter().map(|f| f.name()))
                .key("--trace-format")
        })
    }
}
