//! Simulated time in whole femtoseconds, and counts of clock cycles.
//!
//! One femtosecond is fine enough that the period of any real clock is a whole number or a small fraction of it, and
//! 2^64 of them are 5.1 hours, longer than any simulated run. Arithmetic that can leave that range says in its name
//! what happens there: `checked_*` returns `None`, `saturating_*` stops at the end of the range. There are no `+`
//! and `-` operators, so that no overflow is silent.
//!
//! A day of serving, or a training run, is longer: [`Elapsed`] counts it in 128 bits. A machine keeps [`Time`] within a
//! step, and moves its epoch at the borders between steps.

use std::fmt;
use std::iter::Sum;

/// A point in simulated time, or a length of it, in femtoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A number of cycles of some clock; which clock, the context says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cycles(pub u64);

/// Why a number is not a time or a clock.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TimeError {
    /// The value is negative, infinite or not a number.
    #[error("{value} {unit} is not a time: it must be finite and not negative")]
    Invalid {
        /// What was given.
        value: f64,
        /// The unit it was given in.
        unit: &'static str,
    },
    /// The value, in femtoseconds, does not fit 64 bits.
    #[error("{value} {unit} is beyond the longest time that can be simulated, {max}", max = Time::MAX)]
    TooLong {
        /// What was given.
        value: f64,
        /// The unit it was given in.
        unit: &'static str,
    },
    /// The frequency or period of a clock is zero, negative, not finite, or needs too many digits.
    #[error("{value} {unit} is not a clock: the period must be between 1 fs and 1 s, with at most 15 digits")]
    BadClock {
        /// What was given.
        value: f64,
        /// The unit it was given in.
        unit: &'static str,
    },
    /// Edge number `cycle` of a clock falls after [`Time::MAX`].
    #[error("cycle {cycle} of the clock is beyond the longest time that can be simulated, {max}", max = Time::MAX)]
    EdgeTooLate {
        /// The cycle asked for.
        cycle: u64,
    },
}

impl Time {
    /// The start of a simulation.
    pub const ZERO: Time = Time(0);
    /// The end of time (about 5.1 hours). As a time to act it means "never", and the engine reports it.
    pub const MAX: Time = Time(u64::MAX);

    /// A time of `fs` femtoseconds.
    #[must_use]
    #[inline]
    pub const fn from_fs(fs: u64) -> Time {
        Time(fs)
    }

    /// A time of `ps` picoseconds, or `None` beyond [`Time::MAX`].
    #[must_use]
    pub const fn from_ps(ps: u64) -> Option<Time> {
        match ps.checked_mul(1_000) {
            Some(fs) => Some(Time(fs)),
            None => None,
        }
    }

    /// A time of `ns` nanoseconds, or `None` beyond [`Time::MAX`].
    #[must_use]
    pub const fn from_ns(ns: u64) -> Option<Time> {
        match ns.checked_mul(1_000_000) {
            Some(fs) => Some(Time(fs)),
            None => None,
        }
    }

    /// `ps` picoseconds, rounded to the nearest femtosecond.
    ///
    /// # Errors
    /// [`TimeError::Invalid`] if negative or not finite, [`TimeError::TooLong`] beyond [`Time::MAX`].
    pub fn from_ps_f64(ps: f64) -> Result<Time, TimeError> {
        from_f64(ps, 1e3, "ps")
    }

    /// `ns` nanoseconds, rounded to the nearest femtosecond. Errors as for [`Time::from_ps_f64`].
    ///
    /// # Errors
    /// [`TimeError::Invalid`] if negative or not finite, [`TimeError::TooLong`] beyond [`Time::MAX`].
    pub fn from_ns_f64(ns: f64) -> Result<Time, TimeError> {
        from_f64(ns, 1e6, "ns")
    }

    /// `us` microseconds, rounded to the nearest femtosecond.
    ///
    /// # Errors
    /// [`TimeError::Invalid`] if negative or not finite, [`TimeError::TooLong`] beyond [`Time::MAX`].
    pub fn from_us_f64(us: f64) -> Result<Time, TimeError> {
        from_f64(us, 1e9, "us")
    }

    /// `s` seconds, rounded to the nearest femtosecond.
    ///
    /// # Errors
    /// [`TimeError::Invalid`] if negative or not finite, [`TimeError::TooLong`] beyond [`Time::MAX`].
    pub fn from_secs_f64(s: f64) -> Result<Time, TimeError> {
        from_f64(s, 1e15, "s")
    }

    /// Femtoseconds, exactly.
    #[must_use]
    #[inline]
    pub const fn as_fs(self) -> u64 {
        self.0
    }

    /// Picoseconds, to the nearest `f64`.
    #[must_use]
    pub fn as_ps_f64(self) -> f64 {
        self.0 as f64 / 1e3
    }

    /// Nanoseconds, to the nearest `f64`.
    #[must_use]
    pub fn as_ns_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Seconds, to the nearest `f64`.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e15
    }

    /// `self + other`, or `None` beyond [`Time::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Time) -> Option<Time> {
        match self.0.checked_add(other.0) {
            Some(fs) => Some(Time(fs)),
            None => None,
        }
    }

    /// `self - other`, or `None` if `other` is later.
    #[must_use]
    pub const fn checked_sub(self, other: Time) -> Option<Time> {
        match self.0.checked_sub(other.0) {
            Some(fs) => Some(Time(fs)),
            None => None,
        }
    }

    /// `n` times this length, or `None` beyond [`Time::MAX`].
    #[must_use]
    pub const fn checked_mul(self, n: u64) -> Option<Time> {
        match self.0.checked_mul(n) {
            Some(fs) => Some(Time(fs)),
            None => None,
        }
    }

    /// `self + other`, or [`Time::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Time) -> Time {
        Time(self.0.saturating_add(other.0))
    }

    /// `self - other`, or [`Time::ZERO`].
    #[must_use]
    pub const fn saturating_sub(self, other: Time) -> Time {
        Time(self.0.saturating_sub(other.0))
    }

    /// `n` times this length, or [`Time::MAX`].
    #[must_use]
    pub const fn saturating_mul(self, n: u64) -> Time {
        Time(self.0.saturating_mul(n))
    }
}

fn from_f64(value: f64, fs_per_unit: f64, unit: &'static str) -> Result<Time, TimeError> {
    if !value.is_finite() || value < 0.0 {
        return Err(TimeError::Invalid { value, unit });
    }
    let fs = (value * fs_per_unit).round();
    // 2^64 is exact as f64; everything below it converts without loss of range.
    if fs >= 18_446_744_073_709_551_616.0 {
        return Err(TimeError::TooLong { value, unit });
    }
    Ok(Time(fs as u64))
}

/// A length of simulated time of any size (to 10^16 years), in femtoseconds: sums over a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Elapsed(u128);

impl Elapsed {
    /// None.
    pub const ZERO: Elapsed = Elapsed(0);

    /// Adds a length of time.
    #[inline]
    pub fn add(&mut self, time: Time) {
        self.0 = self.0.saturating_add(u128::from(time.0));
    }

    /// Adds `n` times a length of time.
    #[inline]
    pub fn add_times(&mut self, time: Time, n: u64) {
        self.0 = self.0.saturating_add(u128::from(time.0) * u128::from(n));
    }

    /// The sum of this and a length of time.
    #[must_use]
    pub fn plus(mut self, time: Time) -> Elapsed {
        self.add(time);
        self
    }

    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Elapsed) -> Elapsed {
        Elapsed(self.0.saturating_add(other.0))
    }

    /// This less the other, or none.
    #[must_use]
    pub fn saturating_sub(self, other: Elapsed) -> Elapsed {
        Elapsed(self.0.saturating_sub(other.0))
    }

    /// Femtoseconds, exactly.
    #[must_use]
    pub const fn as_fs(self) -> u128 {
        self.0
    }

    /// Seconds, to the nearest `f64`.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e15
    }
}

impl From<Time> for Elapsed {
    fn from(time: Time) -> Elapsed {
        Elapsed(u128::from(time.0))
    }
}

impl Sum for Time {
    /// The sum, stopping at [`Time::MAX`].
    fn sum<I: Iterator<Item = Time>>(iter: I) -> Time {
        iter.fold(Time::ZERO, Time::saturating_add)
    }
}

impl fmt::Display for Time {
    /// Exactly, in the largest unit of which there is at least one: `1.5 ns`, `13.75 us`, `0 fs`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] = [
            (1_000_000_000_000_000, "s"),
            (1_000_000_000_000, "ms"),
            (1_000_000_000, "us"),
            (1_000_000, "ns"),
            (1_000, "ps"),
        ];
        for (scale, unit) in UNITS {
            if self.0 >= scale {
                let (whole, rest) = (self.0 / scale, self.0 % scale);
                if rest == 0 {
                    return write!(f, "{whole} {unit}");
                }
                let digits = scale.ilog10() as usize;
                let fraction = format!("{rest:0digits$}");
                return write!(f, "{whole}.{} {unit}", fraction.trim_end_matches('0'));
            }
        }
        write!(f, "{} fs", self.0)
    }
}

impl Cycles {
    /// No cycles.
    pub const ZERO: Cycles = Cycles(0);

    /// `self + other`, or `None` beyond 64 bits.
    #[must_use]
    pub const fn checked_add(self, other: Cycles) -> Option<Cycles> {
        match self.0.checked_add(other.0) {
            Some(n) => Some(Cycles(n)),
            None => None,
        }
    }

    /// `self - other`, or `None` if `other` is more.
    #[must_use]
    pub const fn checked_sub(self, other: Cycles) -> Option<Cycles> {
        match self.0.checked_sub(other.0) {
            Some(n) => Some(Cycles(n)),
            None => None,
        }
    }

    /// `self + other`, stopping at the largest count.
    #[must_use]
    pub const fn saturating_add(self, other: Cycles) -> Cycles {
        Cycles(self.0.saturating_add(other.0))
    }

    /// `self - other`, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Cycles) -> Cycles {
        Cycles(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Cycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cycles", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seconds_are_femtoseconds_over_ten_to_the_fifteen() {
        for (fs, seconds) in [(0, 0.0), (1, 1e-15), (833_000, 8.33e-10), (1_500_000_000_000_000, 1.5)] {
            let got = Time::from_fs(fs).as_secs_f64();
            assert!((got - seconds).abs() <= 1e-15 * seconds, "{fs}: {got}");
        }
    }

    #[test]
    fn prints_exactly_in_a_readable_unit() {
        let cases = [
            (0, "0 fs"),
            (999, "999 fs"),
            (1_500, "1.5 ps"),
            (13_750_000, "13.75 ns"),
            (1_000_000_000, "1 us"),
            (1_000_000_000_001, "1.000000000001 ms"),
            (u64::MAX, "18446.744073709551615 s"),
        ];
        for (fs, text) in cases {
            assert_eq!(Time::from_fs(fs).to_string(), text);
        }
    }

    #[test]
    fn floats_are_checked() {
        assert_eq!(Time::from_ns_f64(13.75), Ok(Time(13_750_000)));
        assert_eq!(Time::from_secs_f64(1.0), Ok(Time(1_000_000_000_000_000)));
        for bad in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(Time::from_ns_f64(bad), Err(TimeError::Invalid { unit: "ns", .. })), "{bad}");
        }
        assert!(matches!(Time::from_secs_f64(18_446.75), Err(TimeError::TooLong { .. })));
        assert_eq!(Time::from_ns(u64::MAX), None);
        assert_eq!(Time::from_ps(7), Some(Time(7_000)));
    }

    #[test]
    fn overflow_is_never_silent() {
        let one = Time::from_fs(1);
        assert_eq!(Time::MAX.checked_add(one), None);
        assert_eq!(Time::MAX.saturating_add(one), Time::MAX);
        assert_eq!(Time::ZERO.checked_sub(one), None);
        assert_eq!(Time::ZERO.saturating_sub(one), Time::ZERO);
        assert_eq!(Time::MAX.checked_mul(2), None);
        assert_eq!([Time::MAX, one].into_iter().sum::<Time>(), Time::MAX);
        assert_eq!(Cycles(u64::MAX).checked_add(Cycles(1)), None);
        assert_eq!(Cycles(1).checked_sub(Cycles(2)), None);
    }

    proptest! {
        #[test]
        fn picoseconds_round_trip(ps in 0u64..1 << 43) {
            prop_assert_eq!(Time::from_ps_f64(ps as f64).ok(), Time::from_ps(ps));
        }
    }
}
