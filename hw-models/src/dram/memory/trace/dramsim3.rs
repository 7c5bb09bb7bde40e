//! DRAMsim3's traces, and DRAMSim2's of its kinds `k6` and `mase`: `0xADDRESS OPERATION CYCLE`.
//!
//! After `operator>>(istream&, Transaction&)` in DRAMsim3's `src/common.cc` (umd-memsys/DRAMsim3, commit 2981759) and
//! `parseTraceFileLine` in DRAMSim2's `TraceBasedSim.cpp` (umd-memsys/DRAMSim2). Addresses are bytes in hexadecimal; cycles are those of
//! the memory's clock, which both step once for each line's cycle.

use super::access::{Access, Parsed, decimal, done, hex_address, next, shown, words};

/// Whether an operation writes; `None` if it is none. `P_LOCK_WR` reads for a later write in both tools.
pub(super) fn operation(word: &[u8]) -> Option<bool> {
    match word {
        b"READ" | b"read" | b"P_MEM_RD" | b"P_FETCH" | b"P_LOCK_RD" | b"P_LOCK_WR" | b"IFETCH" => Some(false),
        b"WRITE" | b"write" | b"P_MEM_WR" | b"BOFF" => Some(true),
        _ => None,
    }
}

/// The request of a line.
pub(super) fn parse(line: &[u8]) -> Parsed {
    let mut words = words(line);
    let Some(address) = words.next() else { return Ok([None; 2]) };
    let address = hex_address(address)?;
    let word = next("READ or WRITE", &mut words)?;
    let write =
        operation(word).ok_or_else(|| format!("has `{}` where READ, WRITE or P_MEM_RD should stand", shown(word)))?;
    let time = decimal("cycle", next("the cycle", &mut words)?)?;
    done(&mut words)?;
    Ok([Some(Access { write, address, bytes: None, time }), None])
}
