//! Request traces: text, one request a line, plain or compressed with gzip.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

use banksia_input::InputError;
use flate2::read::MultiGzDecoder;

use super::super::controller::Request;
use super::RequestSource;

/// Reads `[CYCLE] R|W INDEX|0xADDRESS` lines; `#` begins a comment. A file that begins as gzip files do is decompressed.
///
/// INDEX counts transactions of the access size; 0xADDRESS is a byte address. CYCLE is the earliest cycle of the command
/// clock in which the request is offered.
pub struct TraceReader {
    name: String,
    input: Box<dyn BufRead + Send>,
    access_bytes: u64,
    /// Transactions of the memory, and the latest arrival that it can count.
    transactions: u64,
    latest: u64,
    line: usize,
    sequence: u64,
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

/// Bytes in which a line in the plainest form ends.
const PLAIN: usize = 48;

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
            line: 0,
            sequence: 0,
            buffer: vec![0; BLOCK],
            rest: 0..0,
            ended: false,
        }
    }

    /// Refuses requests beyond a memory of so many transactions, and arrivals after the cycle `latest`.
    #[must_use]
    pub fn within(mut self, transactions: u64, latest: u64) -> Self {
        self.transactions = transactions;
        self.latest = latest.min(LATEST);
        self
    }

    fn error(&self, problem: impl Into<String>) -> InputError {
        InputError::new(&self.name, problem)
            .at_line(self.line)
            .help("a request is `R 1234`, `W 0x1f40`, or with an arrival cycle `100 R 1234`")
    }

    /// The request of a line, or `None` for a blank or comment.
    fn parse(&self, line: &[u8]) -> Result<Option<(bool, u64, u64)>, InputError> {
        let line = line.split(|b| *b == b'#').next().unwrap_or(line);
        let mut words = line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
        let Some(first) = words.next() else { return Ok(None) };
        let shown = |w: &[u8]| String::from_utf8_lossy(&w[..w.len().min(40)]).into_owned();
        let (arrival, kind) = if first[0].is_ascii_digit() {
            let cycle = number(first).ok_or_else(|| self.error(format!("has the cycle `{}`", shown(first))))?;
            (cycle, words.next().ok_or_else(|| self.error("ends after the cycle"))?)
        } else {
            (0, first)
        };
        let write = match kind {
            b"R" | b"r" => false,
            b"W" | b"w" => true,
            other => return Err(self.error(format!("has `{}` where R or W should stand", shown(other)))),
        };
        let place = words.next().ok_or_else(|| self.error("ends where an index or address should stand"))?;
        let index = match place.strip_prefix(b"0x").or_else(|| place.strip_prefix(b"0X")) {
            Some(digits) => hexadecimal(digits).map(|address| address / self.access_bytes),
            None => number(place),
        };
        let index = index.ok_or_else(|| self.error(format!("has the address `{}`", shown(place))))?;
        if let Some(more) = words.next() {
            return Err(self.error(format!("goes on with `{}` after the request", shown(more))));
        }
        if arrival > self.latest {
            return Err(
                self.error(format!("has the cycle {arrival}: this memory's clock is followed to {}", self.latest))
            );
        }
        // Without a bound every index is one.
        if self.transactions < u64::MAX && index >= self.transactions {
            let (most, bytes) = (self.transactions - 1, u128::from(self.transactions) * u128::from(self.access_bytes));
            let problem = format!("has the address `{}`, which lies beyond the memory's {bytes} bytes", shown(place));
            let help = format!("the last index is {most}, the last address {:#x}; or give --channels", bytes - 1);
            return Err(self.error(problem).help(help));
        }
        Ok(Some((write, index, arrival)))
    }

    fn take(&mut self, line: &[u8], into: &mut Vec<Request>) -> Result<(), InputError> {
        self.line += 1;
        if let Some((write, index, arrival)) = self.parse(line)? {
            into.push(Request { write, index, arrival, sequence: self.sequence });
            self.sequence += 1;
        }
        Ok(())
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| Some(n << 4 | u64::from((*b as char).to_digit(16)?)))
}

/// The decimal number of at most fifteen digits at `at`, and how many digits it has; eight digits at a time.
#[inline(always)]
fn digits(text: &[u8; PLAIN], at: usize) -> Option<(u64, usize)> {
    const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    // The digits at the front of eight bytes: their value and how many.
    let eight = |at: usize| -> Option<(u64, usize)> {
        let bytes = u64::from_le_bytes(*text.get(at..)?.first_chunk()?) ^ 0x3030_3030_3030_3030;
        // The high bit of each byte that is no digit; carries only reach bytes behind the first of these.
        let others = (bytes | bytes.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080;
        let count = (others.trailing_zeros() / 8) as usize;
        if count == 0 {
            return Some((0, 0));
        }
        let pairs = (bytes << (64 - 8 * count)).wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
        let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
        Some((fours.wrapping_mul(10_000 << 32 | 1) >> 32, count))
    };
    let (high, count) = eight(at)?;
    if count < 8 {
        return (count > 0).then_some((high, count));
    }
    let (low, more) = eight(at + 8)?;
    Some((high * POWERS.get(more)? + low, 8 + more))
}

/// A line of the plainest form, `[CYCLE ]R|W INDEX`: write, index, arrival, and the bytes of the line with its end.
#[inline(always)]
fn plain_line(text: &[u8; PLAIN]) -> Option<(bool, u64, u64, usize)> {
    let (arrival, at) = match text[0] {
        b'0'..=b'9' => {
            let (arrival, count) = digits(text, 0)?;
            (text[count] == b' ').then_some((arrival, count + 1))?
        }
        _ => (0, 0),
    };
    let write = match text[at] {
        b'R' | b'r' => false,
        b'W' | b'w' => true,
        _ => return None,
    };
    let (index, count) = if text[at + 1] == b' ' { digits(text, at + 2)? } else { return None };
    let end = at + 2 + count;
    (text[end] == b'\n').then_some((write, index, arrival, end + 1))
}

impl TraceReader {
    /// Takes requests from what was read, until there are `until` or no whole line is left.
    fn take_lines(&mut self, text: &[u8], into: &mut Vec<Request>, until: usize) -> Result<(), InputError> {
        let mut rest = &text[self.rest.clone()];
        while into.len() < until {
            let plain = rest.first_chunk().and_then(plain_line);
            if let Some((write, index, arrival, length)) =
                plain.filter(|(_, index, arrival, _)| *index < self.transactions && *arrival <= self.latest)
            {
                self.line += 1;
                into.push(Request { write, index, arrival, sequence: self.sequence });
                self.sequence += 1;
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
}

impl RequestSource for TraceReader {
    fn fill(&mut self, into: &mut Vec<Request>, most: usize) -> Result<bool, InputError> {
        let until = into.len() + most;
        loop {
            let text = std::mem::take(&mut self.buffer);
            let taken = self.take_lines(&text, into, until);
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
}
