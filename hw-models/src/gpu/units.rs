//! Units that serve one request after another, in femtoseconds.

/// A unit's next free moment, and how long it worked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Server {
    pub free: u64,
    pub busy: u64,
}

impl Server {
    /// Serves a request that arrives at `now` and takes `time`; when it is done.
    pub(crate) fn serve(&mut self, now: u64, time: u64) -> u64 {
        let done = self.free.max(now).saturating_add(time);
        self.free = done;
        self.busy = self.busy.saturating_add(time);
        done
    }
}

/// Femtoseconds that `bytes` take at a rate kept as femtoseconds for 1024 bytes.
pub(crate) fn transfer(bytes: u64, fs_per_kib: u64) -> u64 {
    (bytes * fs_per_kib) >> 10
}

/// Femtoseconds for 1024 bytes at so many bytes a second.
pub(crate) fn fs_per_kib(bytes_per_s: f64) -> u64 {
    (1024.0 * 1e15 / bytes_per_s).round().clamp(1.0, 1e15) as u64
}

/// A number that others are often divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Divisor {
    by: u64,
    /// 2^64 over it, rounded up; 0 for one.
    inverse: u64,
}

impl Divisor {
    pub(crate) fn new(by: u64) -> Self {
        let by = by.max(1);
        Self { by, inverse: (u64::MAX / by).wrapping_add(1) }
    }

    /// `x` over it, rounded down. The product is exact where both are of 32 bits: it is too large by less than x / 2^64 of the divisor.
    #[inline]
    pub(crate) fn quotient(self, x: u64) -> u64 {
        if (x | self.by) >> 32 == 0 && self.inverse != 0 {
            ((u128::from(x) * u128::from(self.inverse)) >> 64) as u64
        } else {
            x / self.by
        }
    }

    /// What is left of `x`.
    #[inline]
    pub(crate) fn remainder(self, x: u64) -> u64 {
        x - self.quotient(x) * self.by
    }
}

/// A deterministic stream of random bits (xorshift64*), for replacement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bits(u64);

impl Bits {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.value()
    }

    /// The bits last drawn.
    fn value(self) -> u64 {
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// The first draws of a stream, kept: every launch begins with the same.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    start: Bits,
    drawn: Vec<Bits>,
}

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self { start: Bits::new(seed), drawn: Vec::new() }
    }

    /// Draws until there are so many.
    pub(crate) fn reach(&mut self, n: usize) {
        let mut bits = self.after(self.drawn.len());
        while self.drawn.len() < n {
            bits.next();
            self.drawn.push(bits);
        }
    }

    /// One of those reached.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> u64 {
        self.drawn[i].value()
    }

    /// The stream after so many of those reached.
    pub(crate) fn after(&self, n: usize) -> Bits {
        if n == 0 { self.start } else { self.drawn[n - 1] }
    }
}

/// Spreads block numbers over slots, channels and slices.
pub(crate) fn hash(x: u64) -> u64 {
    let mut h = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^= h >> 29;
    h = h.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h ^ (h >> 32)
}

/// Nanoseconds in femtoseconds.
pub(crate) fn ns(x: f64) -> u64 {
    (x * 1e6).round().max(0.0) as u64
}
