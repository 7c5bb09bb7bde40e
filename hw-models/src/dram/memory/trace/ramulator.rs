//! Ramulator's traces: of memory requests (`0xADDRESS R|W`, Ramulator 1; `LD|ST ADDRESS`, Ramulator 2) and of a core's instructions
//! (`BUBBLES READ [WRITE]`, both). None has a time: requests are offered as fast as they are accepted.
//!
//! After `Trace::get_request` in Ramulator 1's `src/Processor.cpp` and the usage modes of its README (CMU-SAFARI/ramulator), and
//! `loadstore_trace.cpp` and `simpleO3.cpp` of Ramulator 2.1 (CMU-SAFARI/ramulator2, commit c5b1c3a).

use super::access::{Access, Parsed, decimal, done, either, hex_address, next, shown, words};

fn access(write: bool, address: u64) -> Option<Access> {
    Some(Access { write, address, bytes: None, time: 0 })
}

/// The request of a line of Ramulator 1: without R or W it is a read.
pub(super) fn parse_memory(line: &[u8]) -> Parsed {
    let mut words = words(line);
    let Some(address) = words.next() else { return Ok([None; 2]) };
    let address = hex_address(address)?;
    let write = match words.next() {
        None | Some(b"R") => false,
        Some(b"W") => true,
        Some(other) => return Err(format!("has `{}` where R or W should stand", shown(other))),
    };
    done(&mut words)?;
    Ok([access(write, address), None])
}

/// The request of a line of Ramulator 2.
pub(super) fn parse_load_store(line: &[u8]) -> Parsed {
    let mut words = words(line);
    let write = match words.next() {
        None => return Ok([None; 2]),
        Some(b"LD") => false,
        Some(b"ST") => true,
        Some(other) => return Err(format!("has `{}` where LD or ST should stand", shown(other))),
    };
    let address = either("address", next("the address", &mut words)?)?;
    done(&mut words)?;
    Ok([access(write, address), None])
}

/// The read, and the write-back, of a line of a core's trace. The instructions between them take no time here.
pub(super) fn parse_core(line: &[u8]) -> Parsed {
    let mut words = words(line);
    let Some(bubbles) = words.next() else { return Ok([None; 2]) };
    decimal("count of instructions", bubbles)?;
    let read = either("address", next("the address of a read", &mut words)?)?;
    let write = words.next().map(|w| either("address", w)).transpose()?;
    done(&mut words)?;
    Ok([access(false, read), write.and_then(|w| access(true, w))])
}
