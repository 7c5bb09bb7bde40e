//! The text that gem5's `util/decode_packet_trace.py` writes and `util/encode_packet_trace.py` reads:
//! `[ID,]r|w,ADDRESS,SIZE[,FLAGS],TICK[,PC]`, all decimal. A tick is a picosecond, gem5's default: the text does not say.

use super::access::{Access, Parsed, decimal, shown};

/// The fields of a line, without the comment behind `#`.
fn fields(line: &[u8]) -> Vec<&[u8]> {
    let line = line.split(|b| *b == b'#').next().unwrap_or(line).trim_ascii();
    if line.is_empty() { Vec::new() } else { line.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect() }
}

/// Whether a line can be of this format: fields with a command in the first place, or in the second behind an identifier.
pub(super) fn begins(line: &[u8]) -> bool {
    let fields = fields(line);
    let command = |i: usize| fields.get(i).is_some_and(|f| matches!(*f, b"r" | b"w" | b"u"));
    fields.len() >= 4 && (command(0) || command(1))
}

/// The request of a line.
pub(super) fn parse(line: &[u8]) -> Parsed {
    let fields = fields(line);
    let rest = match fields[..] {
        [] => return Ok([None; 2]),
        [id, ref rest @ ..] if !id.is_empty() && id.iter().all(u8::is_ascii_digit) => {
            decimal("packet's number", id)?;
            rest
        }
        ref all => all,
    };
    let Some((command, rest)) = rest.split_first() else { return Err("ends where r or w should stand".into()) };
    let write = match *command {
        b"r" => false,
        b"w" => true,
        b"u" => {
            return Err("has the command `u`, for all but ReadReq and WriteReq, which does not say whether it reads or writes: \
                        give the packet trace itself, undecoded"
                .into());
        }
        other => return Err(format!("has `{}` where r or w should stand", shown(other))),
    };
    let tick = match rest.len() {
        3 => 2,
        4 | 5 => 3,
        n => return Err(format!("has {n} fields after the command: they are address, size, flags, tick and PC")),
    };
    let address = decimal("address", rest[0])?;
    let bytes = Some(decimal("size", rest[1])?);
    let time = decimal("tick", rest[tick])?;
    for (what, field) in [("flags", (tick == 3).then(|| rest[2])), ("PC", rest.get(4).copied())] {
        field.map(|f| decimal(what, f)).transpose()?;
    }
    Ok([Some(Access { write, address, bytes, time }), None])
}
