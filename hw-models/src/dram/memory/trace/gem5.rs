//! gem5's packet traces, as its probes write them: the bytes `gem5`, then protobuf messages, each behind its length: a header, and packets.
//!
//! After `src/proto/packet.proto`, `src/proto/protoio.cc`, `util/protolib.py` and the commands of `src/mem/packet.hh` (gem5/gem5, which has had these
//! numbers since 2016). Fields that timing does not need are passed over.

use super::access::{Access, Parsed};

/// The bytes that such a file begins with.
pub(super) const MAGIC: &[u8; 4] = b"gem5";

/// Ticks in a second where the header does not say.
pub(super) const TICKS_PER_SECOND: u64 = 1_000_000_000_000;

/// Reads messages from the front of some bytes.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// A number in seven bits a byte; `None` where the bytes end within it. `Err` if it is longer than 64 bits.
    fn varint(&mut self) -> Result<Option<u64>, ()> {
        let mut value = 0u64;
        for (i, byte) in self.0.iter().enumerate().take(10) {
            let part = u64::from(byte & 0x7f);
            if i == 9 && part > 1 {
                return Err(());
            }
            value |= part << (7 * i);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Ok(Some(value));
            }
        }
        if self.0.len() < 10 { Ok(None) } else { Err(()) }
    }

    fn whole_varint(&mut self) -> Option<u64> {
        self.varint().ok().flatten()
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next field: its number, and its value where it is a number. `None` if the message is cut or garbled.
    fn field(&mut self) -> Option<(u64, Option<u64>)> {
        let key = self.whole_varint()?;
        let value = match key & 7 {
            0 => Some(self.whole_varint()?),
            1 => self.take(8).map(|_| None)?,
            2 => {
                let length = self.whole_varint()?;
                self.take(length).map(|_| None)?
            }
            5 => self.take(4).map(|_| None)?,
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

/// The message at the front of `text` and the bytes that it takes with its length; `None` if it is not all there.
///
/// # Errors
/// Its length is none, or more than `most`.
pub(super) fn message(text: &[u8], most: usize) -> Result<Option<(&[u8], usize)>, String> {
    let mut bytes = Bytes(text);
    let length = bytes.varint().map_err(|()| "has a length of more than 64 bits".to_owned())?;
    let Some(length) = length else { return Ok(None) };
    if length > most as u64 {
        return Err(format!("has {length} bytes, more than any packet"));
    }
    let Some(message) = bytes.take(length) else { return Ok(None) };
    Ok(Some((message, text.len() - bytes.0.len())))
}

/// The ticks in a second that a header gives.
pub(super) fn ticks_per_second(header: &[u8]) -> Result<u64, String> {
    let mut ticks = TICKS_PER_SECOND;
    let mut bytes = Bytes(header);
    while !bytes.0.is_empty() {
        match bytes.field().ok_or("is no header of a packet trace")? {
            (3, Some(value)) => ticks = value,
            (3, None) => return Err("has a header whose tick frequency is no number".into()),
            _ => {}
        }
    }
    if ticks == 0 { Err("has a header with a tick frequency of 0".into()) } else { Ok(ticks) }
}

/// The request of a packet; none for one that moves no data.
pub(super) fn packet(message: &[u8]) -> Parsed {
    let mut fields = [None; 5];
    let mut bytes = Bytes(message);
    while !bytes.0.is_empty() {
        let (number, value) = bytes.field().ok_or("is garbled: its fields do not end where it does")?;
        if let (1..=4, value) = (number, value) {
            fields[number as usize] = Some(value.ok_or("has a tick, command, address or size that is no number")?);
        }
    }
    let [_, Some(time), Some(command), Some(address), Some(size)] = fields else {
        return Err("lacks its tick, command, address or size".into());
    };
    let Some(write) = writes(command)? else { return Ok([None; 2]) };
    Ok([Some(Access { write, address, bytes: Some(size), time }), None])
}

/// Whether a command writes; `None` for one that moves no data to or from a memory (upgrades, evictions of clean lines, responses).
fn writes(command: u64) -> Result<Option<bool>, String> {
    match command {
        // ReadReq, three prefetches, ReadExReq, ReadCleanReq, ReadSharedReq, LoadLockedReq.
        1 | 11 | 12 | 13 | 22 | 24 | 25 | 26 => Ok(Some(false)),
        // WriteReq, WritebackDirty, WritebackClean, WriteClean, WriteLineReq, StoreCondReq.
        4 | 7 | 8 | 9 | 16 | 27 => Ok(Some(true)),
        30 | 32 | 34 => Err(format!(
            "has the command {command}, an atomic operation or a fence by the version of gem5: it cannot be told whether it reads or writes"
        )),
        _ => Ok(None),
    }
}
