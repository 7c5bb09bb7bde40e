//! Request traces: text, one request a line, plain or compressed with gzip.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
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
    line: usize,
    sequence: u64,
    /// A line that did not end within the buffer.
    partial: Vec<u8>,
}

impl std::fmt::Debug for TraceReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceReader").field("name", &self.name).field("line", &self.line).finish_non_exhaustive()
    }
}

/// Bytes read at a time.
const BLOCK: usize = 1 << 18;

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
            Box::new(BufReader::with_capacity(BLOCK, MultiGzDecoder::new(BufReader::with_capacity(BLOCK, whole))))
        } else {
            Box::new(BufReader::with_capacity(BLOCK, whole))
        };
        Ok(Self::new(name, input, access_bytes))
    }

    /// A trace from anything that can be read; `name` is for errors.
    pub fn new(name: impl Into<String>, input: Box<dyn BufRead + Send>, access_bytes: u32) -> Self {
        Self {
            name: name.into(),
            input,
            access_bytes: u64::from(access_bytes),
            line: 0,
            sequence: 0,
            partial: Vec::new(),
        }
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
        if arrival > 1 << 60 {
            return Err(self.error(format!("has the cycle {arrival}: it is too late")));
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

impl RequestSource for TraceReader {
    fn fill(&mut self, into: &mut Vec<Request>, most: usize) -> Result<bool, InputError> {
        let until = into.len() + most;
        while into.len() < until {
            let name = self.name.clone();
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(e) => return Err(InputError::new(name, format!("cannot be read: {e}")).at_line(self.line + 1)),
            };
            if buffer.is_empty() {
                let rest = std::mem::take(&mut self.partial);
                if !rest.is_empty() {
                    self.take(&rest, into)?;
                }
                return Ok(false);
            }
            let buffer = buffer.to_vec();
            let mut used = 0;
            while into.len() < until {
                let Some(end) = buffer[used..].iter().position(|b| *b == b'\n') else { break };
                if self.partial.is_empty() {
                    self.take(&buffer[used..used + end], into)?;
                } else {
                    let mut line = std::mem::take(&mut self.partial);
                    line.extend_from_slice(&buffer[used..used + end]);
                    self.take(&line, into)?;
                }
                used += end + 1;
            }
            if into.len() < until {
                self.partial.extend_from_slice(&buffer[used..]);
                used = buffer.len();
                if self.partial.len() > 1 << 16 {
                    self.line += 1;
                    return Err(self.error("is longer than any request can be"));
                }
            }
            self.input.consume(used);
        }
        Ok(true)
    }
}
