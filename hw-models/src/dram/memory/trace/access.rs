//! What a line of another tool's trace asks for, and the numbers that such lines are made of.

/// A request as another tool writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) write: bool,
    /// The first byte.
    pub(super) address: u64,
    /// How many bytes; without, one transaction of the memory.
    pub(super) bytes: Option<u64>,
    /// When it comes, in the format's own unit of time; 0 where the format has none.
    pub(super) time: u64,
}

/// The requests of a line, at most two; a blank has none. A problem is a phrase that follows the line's number.
pub(super) type Parsed = Result<[Option<Access>; 2], String>;

/// The words of a line, without the comment behind `#`.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let line = line.split(|b| *b == b'#').next().unwrap_or(line);
    line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty())
}

/// A word for a message: its beginning, as text.
pub(super) fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(&word[..word.len().min(40)]).into_owned()
}

/// A decimal number.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// A hexadecimal number without `0x`.
pub(super) fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |n, b| Some(n << 4 | u64::from((*b as char).to_digit(16)?)))
}

/// What follows `0x`.
pub(super) fn after_0x(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"0x").or_else(|| word.strip_prefix(b"0X"))
}

/// An address in hexadecimal, with `0x` or without.
pub(super) fn hex_address(word: &[u8]) -> Result<u64, String> {
    let address = hexadecimal(after_0x(word).unwrap_or(word));
    address.ok_or_else(|| format!("has the address `{}`, which is no hexadecimal number of 64 bits", shown(word)))
}

/// A number in decimal, or in hexadecimal with `0x`.
pub(super) fn either(what: &str, word: &[u8]) -> Result<u64, String> {
    let value = after_0x(word).map_or_else(|| number(word), hexadecimal);
    value.ok_or_else(|| format!("has the {what} `{}`, which is no number of 64 bits", shown(word)))
}

/// A decimal number.
pub(super) fn decimal(what: &str, word: &[u8]) -> Result<u64, String> {
    number(word).ok_or_else(|| format!("has the {what} `{}`, which is no decimal number of 64 bits", shown(word)))
}

/// The next word, which must be there.
pub(super) fn next<'a>(what: &str, words: &mut impl Iterator<Item = &'a [u8]>) -> Result<&'a [u8], String> {
    words.next().ok_or_else(|| format!("ends where {what} should stand"))
}

/// Nothing may follow the request.
pub(super) fn done<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Result<(), String> {
    words.next().map_or(Ok(()), |more| Err(format!("goes on with `{}` after the request", shown(more))))
}
