//! The reader's own format in its plainest form, `[CYCLE ]R|W INDEX`, which most lines of large traces have.

/// Bytes in which a line in the plainest form ends.
pub(super) const PLAIN: usize = 48;

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

/// A line of the plainest form, `[CYCLE ]R|W INDEX`: write, index, arrival (`last` where it has none), and the bytes of the line with its end.
#[inline(always)]
pub(super) fn plain_line(text: &[u8; PLAIN], last: u64) -> Option<(bool, u64, u64, usize)> {
    let (arrival, at) = match text[0] {
        b'0'..=b'9' => {
            let (arrival, count) = digits(text, 0)?;
            (text[count] == b' ').then_some((arrival, count + 1))?
        }
        _ => (last, 0),
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

/// Whether a line begins with a cycle.
#[inline(always)]
pub(super) fn has_cycle(line: &[u8]) -> bool {
    line.first().is_some_and(u8::is_ascii_digit)
}
