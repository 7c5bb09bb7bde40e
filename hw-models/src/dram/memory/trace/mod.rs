//! Request traces: this project's own text, and those of other simulators; plain or compressed with gzip.

mod access;
mod cut;
mod dramsim3;
mod dramsys;
mod format;
mod gem5;
mod gem5_text;
mod plain;
mod ramulator;

pub use format::TraceFormat;

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

use banksia_input::InputError;
use flate2::read::MultiGzDecoder;

use super::super::controller::Request;
use super::RequestSource;
use access::{after_0x, done, hexadecimal, next, number, shown, words};
use cut::Cutter;
use format::Unit;
use plain::{has_cycle, plain_line};

/// Reads a trace of requests. A file that begins as gzip files do is decompressed; its format is told by its first request, or named.
///
/// The own format has lines `[CYCLE] R|W INDEX|0xADDRESS`; `#` begins a comment. INDEX counts transactions of the access size; 0xADDRESS is
/// a byte address. CYCLE is the earliest cycle of the command clock in which the request is offered; a line without comes with the one before.
///
/// Requests of other tools' formats are cut into transactions of the access size, those beyond the memory wrap and are counted, and
/// a time becomes the first cycle of the command clock that does not begin before it.
pub struct TraceReader {
    name: String,
    input: Box<dyn BufRead + Send>,
    access_bytes: u64,
    /// Transactions of the memory, and the latest arrival that it can count.
    transactions: u64,
    latest: u64,
    /// The clock of the trace, where it was given, in femtoseconds.
    trace_clock_fs: Option<u64>,
    /// The format, once it is known.
    format: Option<TraceFormat>,
    /// The format is known and can be read.
    ready: bool,
    /// The header of a packet trace has been read.
    opened: bool,
    line: usize,
    sequence: u64,
    /// The arrival of the line before.
    last: u64,
    timed: bool,
    /// What other tools' requests become.
    cutter: Cutter,
    /// What was read: of it, the bytes `rest` are not yet parsed.
    buffer: Vec<u8>,
    rest: Range<usize>,
    ended: bool,
}

impl std::fmt::Debug for TraceReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceReader").field("name", &self.name).field("line", &self.line).finish_non_exhaustive()
    }
}

/// Bytes read at a time.
const BLOCK: usize = 1 << 18;

/// The longest line, in bytes: longer than any request can be.
const LONGEST: usize = 1 << 16;

/// The latest cycle that any memory can count.
const LATEST: u64 = 1 << 60;

impl TraceReader {
    /// Opens a trace of transactions of `access_bytes`.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn open(path: &Path, access_bytes: u32) -> Result<Self, InputError> {
        let name = path.display().to_string();
        let fail = |e: std::io::Error| InputError::new(&name, format!("cannot be read: {e}"));
        let mut file = File::open(path).map_err(fail)?;
        let mut magic = [0; 2];
        let mut read = 0;
        while read < 2 {
            match file.read(&mut magic[read..]).map_err(fail)? {
                0 => break,
                n => read += n,
            }
        }
        let whole = std::io::Cursor::new(magic[..read].to_vec()).chain(file);
        let input: Box<dyn BufRead + Send> = if magic == [0x1f, 0x8b] {
            Box::new(BufReader::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, whole))))
        } else {
            Box::new(BufReader::new(whole))
        };
        Ok(Self::new(name, input, access_bytes))
    }

    /// A trace from anything that can be read; `name` is for errors.
    pub fn new(name: impl Into<String>, input: Box<dyn BufRead + Send>, access_bytes: u32) -> Self {
        Self {
            name: name.into(),
            input,
            access_bytes: u64::from(access_bytes),
            transactions: u64::MAX,
            latest: LATEST,
            trace_clock_fs: None,
            format: None,
            ready: false,
            opened: false,
            line: 0,
            sequence: 0,
            last: 0,
            timed: false,
            cutter: Cutter::new(u64::from(access_bytes)),
            buffer: vec![0; BLOCK],
            rest: 0..0,
            ended: false,
        }
    }

    /// Refuses requests beyond a memory of so many transactions, and arrivals after the cycle `latest`.
    #[must_use]
    pub fn within(mut self, transactions: u64, latest: u64) -> Self {
        self.transactions = transactions;
        self.cutter.transactions = transactions;
        self.latest = latest.min(LATEST);
        self
    }

    /// Reads the trace as of this format; without, its first request shows which it is.
    #[must_use]
    pub fn format(mut self, format: Option<TraceFormat>) -> Self {
        self.format = format;
        self
    }

    /// The memory's command clock, and that of the trace where it is another, in femtoseconds. Without the first, a time counts cycles.
    #[must_use]
    pub fn clock(mut self, clock_fs: u64, trace_clock_fs: Option<u64>) -> Self {
        self.cutter.clock_fs = Some(clock_fs.max(1));
        self.trace_clock_fs = trace_clock_fs;
        self
    }

    fn error(&self, problem: impl Into<String>) -> InputError {
        let format = self.format.unwrap_or(TraceFormat::Banksia);
        // A packet trace has no lines.
        let error = match format {
            TraceFormat::Gem5 if self.opened => {
                InputError::new(&self.name, format!("packet {}: {}", self.line, problem.into()))
            }
            TraceFormat::Gem5 => InputError::new(&self.name, problem),
            _ => InputError::new(&self.name, problem).at_line(self.line),
        };
        error.help(format.help())
    }

    /// The request of a line of the own format, or `None` for a blank or comment.
    fn parse(&self, line: &[u8]) -> Result<Option<(bool, u64, u64)>, InputError> {
        let mut words = words(line);
        let Some(first) = words.next() else { return Ok(None) };
        let (arrival, kind) = if has_cycle(first) {
            let cycle = number(first).ok_or_else(|| self.error(format!("has the cycle `{}`", shown(first))))?;
            (cycle, words.next().ok_or_else(|| self.error("ends after the cycle"))?)
        } else {
            (self.last, first)
        };
        let write = match kind {
            b"R" | b"r" => false,
            b"W" | b"w" => true,
            other => return Err(self.error(format!("has `{}` where R or W should stand", shown(other)))),
        };
        let place = next("an index or address", &mut words).map_err(|e| self.error(e))?;
        let index = match after_0x(place) {
            Some(digits) => hexadecimal(digits).map(|address| address / self.access_bytes),
            None => number(place),
        };
        let index = index.ok_or_else(|| self.error(format!("has the address `{}`", shown(place))))?;
        done(&mut words).map_err(|e| self.error(e))?;
        self.in_time(arrival)?;
        // Without a bound every index is one.
        if self.transactions < u64::MAX && index >= self.transactions {
            let (most, bytes) = (self.transactions - 1, u128::from(self.transactions) * u128::from(self.access_bytes));
            let problem = format!("has the address `{}`, which lies beyond the memory's {bytes} bytes", shown(place));
            let help = format!("the last index is {most}, the last address {:#x}; or give --channels", bytes - 1);
            return Err(self.error(problem).help(help));
        }
        Ok(Some((write, index, arrival)))
    }

    fn in_time(&self, arrival: u64) -> Result<(), InputError> {
        if arrival > self.latest {
            return Err(
                self.error(format!("has the cycle {arrival}: this memory's clock is followed to {}", self.latest))
            );
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8], into: &mut Vec<Request>) -> Result<(), InputError> {
        self.line += 1;
        if let Some((write, index, arrival)) = self.parse(line)? {
            into.push(Request { write, index, arrival, sequence: self.sequence });
            self.sequence += 1;
            self.timed |= has_cycle(line.trim_ascii_start());
            self.last = arrival;
        }
        Ok(())
    }

    /// Takes requests of the own format from what was read, until there are `until` or no whole line is left.
    fn take_lines(&mut self, text: &[u8], into: &mut Vec<Request>, until: usize) -> Result<(), InputError> {
        let mut rest = &text[self.rest.clone()];
        while into.len() < until {
            let plain = rest.first_chunk().and_then(|line| plain_line(line, self.last));
            if let Some((write, index, arrival, length)) =
                plain.filter(|(_, index, arrival, _)| *index < self.transactions && *arrival <= self.latest)
            {
                self.line += 1;
                into.push(Request { write, index, arrival, sequence: self.sequence });
                self.sequence += 1;
                self.timed |= has_cycle(rest);
                self.last = arrival;
                rest = &rest[length..];
                continue;
            }
            let Some(end) = rest.iter().position(|b| *b == b'\n') else { break };
            self.take(&rest[..end], into)?;
            rest = &rest[end + 1..];
        }
        self.rest.start = self.rest.end - rest.len();
        Ok(())
    }

    /// Reads on behind what is not yet parsed.
    fn read_on(&mut self) -> Result<(), InputError> {
        let left = self.rest.len();
        if left > LONGEST {
            self.line += 1;
            return Err(self.error("is longer than any request can be"));
        }
        self.buffer.copy_within(self.rest.clone(), 0);
        self.rest = 0..left;
        loop {
            match self.input.read(&mut self.buffer[left..]) {
                Ok(read) => {
                    self.rest.end += read;
                    self.ended = read == 0;
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    let problem = format!("cannot be read: {e}");
                    return Err(InputError::new(&self.name, problem).at_line(self.line + 1));
                }
            }
        }
    }

    /// Learns the format: it was named, or the first request shows it. What is skipped to see it is not read again.
    fn recognise(&mut self) -> Result<TraceFormat, InputError> {
        let named = self.format.is_some();
        let format = loop {
            if let Some(format) = self.format {
                break format;
            }
            let text = &self.buffer[self.rest.clone()];
            if text.starts_with(gem5::MAGIC) {
                break TraceFormat::Gem5;
            }
            match text.iter().position(|b| *b == b'\n') {
                Some(end) => {
                    if let Some(format) = TraceFormat::of_line(&text[..end]) {
                        break format;
                    }
                    self.line += 1;
                    self.rest.start += end + 1;
                }
                None if self.ended => break TraceFormat::of_line(text).unwrap_or(TraceFormat::Banksia),
                None => self.read_on()?,
            }
        };
        self.check(format, named)?;
        self.format = Some(format);
        self.ready = true;
        Ok(format)
    }

    /// Refuses what a format cannot say, and sets the rate of its time.
    fn check(&mut self, format: TraceFormat, named: bool) -> Result<(), InputError> {
        let refuse = |problem: &str, help: &str| Err(InputError::new(&self.name, problem).help(help));
        let path = self.name.strip_suffix(".gz").unwrap_or(&self.name);
        match format {
            TraceFormat::Ramulator2Vector => {
                return refuse(
                    "is a trace of address vectors (Ramulator 2's ReadWriteTrace), which name a bank, a row and a column past any address map",
                    "requests here have addresses, which the controller's map cuts: write `LD ADDRESS`, or `R INDEX`",
                );
            }
            TraceFormat::RamulatorCore if !named => {
                return refuse(
                    "is a trace of a core's instructions (Ramulator's CPU mode): when its requests come depends on a core, and there is none here",
                    "with --trace-format ramulator-cpu its reads and write-backs are offered in order as fast as they are accepted, and the \
                     instructions between them take no time",
                );
            }
            TraceFormat::Dramsys if path.ends_with(".rstl") && !named => {
                return refuse(
                    "is a relative trace of DRAMSys: each time counts from the end of the transaction before, which is not known in advance",
                    "use an absolute one (.stl); or, with --trace-format dramsys, its times are taken as absolute",
                );
            }
            _ => {}
        }
        let fail = |problem: &str| Err(InputError::new("command line", problem).key("--trace-clock-ps"));
        match (format, format.unit(), self.trace_clock_fs) {
            (TraceFormat::Banksia, _, Some(_)) => {
                fail("is for traces of other tools: the cycles of the own format are those of this memory's clock")
            }
            (_, Unit::None, Some(_)) => {
                fail(&format!("is given, and a trace of format `{}` has no times", format.name()))
            }
            (_, Unit::PerSecond(ticks), None) => {
                self.cutter.set_ticks(ticks);
                Ok(())
            }
            (_, _, Some(fs)) => {
                self.cutter.set_clock(fs);
                Ok(())
            }
            (_, _, None) => Ok(()),
        }
    }

    /// Takes requests of another tool's format from what was read, until there are `until` or no whole line or message is left.
    fn take_others(
        &mut self,
        text: &[u8],
        format: TraceFormat,
        into: &mut Vec<Request>,
        until: usize,
    ) -> Result<(), InputError> {
        loop {
            while into.len() < until {
                let Some((write, index, arrival)) = self.cutter.give() else { break };
                into.push(Request { write, index, arrival, sequence: self.sequence });
                self.sequence += 1;
            }
            if into.len() >= until {
                return Ok(());
            }
            let rest = &text[self.rest.clone()];
            let (parsed, length) = if let Some(parse) = format.line() {
                let end = rest.iter().position(|b| *b == b'\n');
                let end = if end.is_none() && self.ended && !rest.is_empty() { Some(rest.len()) } else { end };
                let Some(end) = end else { return Ok(()) };
                self.line += 1;
                (parse(&rest[..end]), (end + 1).min(rest.len()))
            } else {
                let Some((parsed, length)) = self.message(rest)? else { return Ok(()) };
                (parsed, length)
            };
            let found = parsed.map_err(|e| self.error(e))?;
            self.rest.start += length;
            for access in found.into_iter().flatten() {
                let arrival = self.cutter.arrival(access.time);
                self.in_time(arrival)?;
                self.cutter.take(&access, arrival).map_err(|e| self.error(e))?;
                self.timed |= format.unit() != Unit::None;
            }
        }
    }

    /// The request of the next message of a packet trace, and its bytes; none where it is not all there.
    fn message(&mut self, rest: &[u8]) -> Result<Option<(access::Parsed, usize)>, InputError> {
        let magic = if self.opened { 0 } else { gem5::MAGIC.len() };
        let begins = rest.starts_with(gem5::MAGIC) || gem5::MAGIC.starts_with(rest) && !self.ended;
        if !self.opened && !begins {
            return Err(self.error("does not begin with the bytes `gem5`, as a packet trace does"));
        }
        let body = rest.get(magic..).unwrap_or_default();
        let part = || if self.opened { format!("packet {}", self.line + 1) } else { "the header".into() };
        let fail = |problem: String| InputError::new(&self.name, problem).help(TraceFormat::Gem5.help());
        let message = gem5::message(body, LONGEST - 16).map_err(|e| fail(format!("{} {e}", part())))?;
        let Some((message, length)) = message else {
            if self.ended && !(self.opened && body.is_empty()) {
                return Err(fail(format!("ends within {}", part())));
            }
            return Ok(None);
        };
        if self.opened {
            self.line += 1;
            return Ok(Some((gem5::packet(message), length)));
        }
        let ticks = gem5::ticks_per_second(message).map_err(|e| self.error(e))?;
        self.opened = true;
        self.line = 0;
        if self.trace_clock_fs.is_none() {
            self.cutter.set_ticks(ticks);
        }
        Ok(Some((Ok([None; 2]), magic + length)))
    }
}

impl RequestSource for TraceReader {
    fn fill(&mut self, into: &mut Vec<Request>, most: usize) -> Result<bool, InputError> {
        let until = into.len() + most;
        let format = match self.format {
            Some(format) if self.ready => format,
            _ => self.recognise()?,
        };
        loop {
            let text = std::mem::take(&mut self.buffer);
            let taken = match format {
                TraceFormat::Banksia => self.take_lines(&text, into, until),
                other => self.take_others(&text, other, into, until),
            };
            self.buffer = text;
            taken?;
            if into.len() >= until {
                return Ok(true);
            }
            if self.ended {
                let rest = self.buffer[std::mem::take(&mut self.rest)].to_vec();
                if !rest.is_empty() {
                    self.take(&rest, into)?;
                }
                return Ok(false);
            }
            self.read_on()?;
        }
    }

    fn timed(&self) -> bool {
        self.timed
    }

    fn wrapped(&self) -> u64 {
        self.cutter.wrapped
    }
}
