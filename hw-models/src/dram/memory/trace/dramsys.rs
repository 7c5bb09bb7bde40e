//! DRAMSys's traces (`.stl`): `CYCLE: [(LENGTH)] read|write 0xADDRESS [0xDATA]`.
//!
//! After "Trace Files" in `configs/README.md` of DRAMSys (tukl-msd/DRAMSys, commit 2107966) and its `StlPlayer.cpp`. The cycle is that of the
//! bus master's clock (`clkMhz` of its configuration), the length is in bytes, and the data is not looked at: timing has no use for it.

use super::access::{Access, Parsed, decimal, hex_address, next, shown, words};

/// Whether a line's first two words can begin a request: `31: read`, `31: (128)`, and without the colon, which its player does not ask for.
pub(super) fn begins(first: &[u8], second: Option<&[u8]>) -> bool {
    let cycle = first.strip_suffix(b":").unwrap_or(first);
    let digits = !cycle.is_empty() && cycle.iter().all(u8::is_ascii_digit);
    let then = second.is_some_and(|w| matches!(w, b"read" | b"write") || w.starts_with(b"("));
    digits && (first.ends_with(b":") || then)
}

/// The request of a line.
pub(super) fn parse(line: &[u8]) -> Parsed {
    let mut words = words(line);
    let Some(first) = words.next() else { return Ok([None; 2]) };
    let time = decimal("cycle", first.strip_suffix(b":").unwrap_or(first))?;
    let mut word = next("read or write", &mut words)?;
    let mut bytes = None;
    if let Some(length) = word.strip_prefix(b"(") {
        let digits = length.strip_suffix(b")");
        let digits = digits.ok_or_else(|| format!("has the length `{}`, which `)` does not end", shown(word)))?;
        bytes = Some(decimal("length", digits)?);
        word = next("read or write", &mut words)?;
    }
    let write = match word {
        b"read" => false,
        b"write" => true,
        other => return Err(format!("has `{}` where read or write should stand", shown(other))),
    };
    let address = hex_address(next("the address", &mut words)?)?;
    Ok([Some(Access { write, address, bytes, time }), None])
}
