//! Fields whose size is no power of two: an index is taken apart by division, and put together again.

/// A field, or what is left of it, that is cut off by division.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digit {
    /// Where its number stands among the whole bits.
    pub at: u32,
    /// Bits that its number needs.
    pub bits: u32,
    /// How many there are.
    pub size: u64,
}

/// A level's number among the whole bits of the bank, and the banks below one of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LevelBits {
    pub at: u32,
    pub bits: u32,
    pub banks: u64,
}

/// What turns indices into ones that give each field whole bits, and the bank's whole bits into its number.
#[derive(Debug, Clone, Default)]
pub(super) struct Radix {
    /// From the least significant up.
    pub digits: Vec<Digit>,
    /// From the outermost inwards; none where every count is a power of two, and the bank's bits are its number.
    pub levels: Vec<LevelBits>,
}

fn low(bits: u32) -> u64 {
    u64::MAX.checked_shr(64 - bits.min(64)).unwrap_or(0)
}

fn up(value: u64, by: u32) -> u64 {
    value.checked_shl(by).unwrap_or(0)
}

fn down(value: u64, by: u32) -> u64 {
    value.checked_shr(by).unwrap_or(0)
}

impl Radix {
    /// The index with a field in whole bits each: what lies between the digits is taken over, the digits are divided off.
    pub(super) fn spread(&self, index: u64) -> u64 {
        let (mut rest, mut out, mut at) = (index, 0, 0);
        for d in &self.digits {
            let plain = d.at - at;
            out |= up(rest & low(plain), at);
            rest = down(rest, plain);
            out |= up(rest % d.size, d.at);
            rest /= d.size;
            at = d.at + d.bits;
        }
        out | up(rest, at)
    }

    /// What [`Radix::spread`] was given.
    pub(super) fn gather(&self, whole: u64) -> u64 {
        let end = |d: &Digit| d.at + d.bits;
        let mut out = down(whole, self.digits.last().map_or(0, end));
        for (i, d) in self.digits.iter().enumerate().rev() {
            out = out.wrapping_mul(d.size).wrapping_add(down(whole, d.at) & low(d.bits));
            let from = i.checked_sub(1).map_or(0, |below| end(&self.digits[below]));
            let plain = d.at - from;
            out = up(out, plain) | (down(whole, from) & low(plain));
        }
        out
    }

    /// The bank's number from its levels' whole bits.
    pub(super) fn bank(&self, whole: u64) -> u64 {
        if self.levels.is_empty() {
            return whole;
        }
        self.levels.iter().map(|l| (down(whole, l.at) & low(l.bits)) * l.banks).sum()
    }

    /// The whole bits of a bank's number.
    pub(super) fn bank_bits(&self, bank: u64) -> u64 {
        if self.levels.is_empty() {
            return bank;
        }
        let mut rest = bank;
        self.levels.iter().fold(0, |out, l| {
            let node = rest / l.banks;
            rest %= l.banks;
            out | up(node, l.at)
        })
    }
}
