//! Clock domains whose edges do not drift.
//!
//! The period is a fraction of a femtosecond count, so the n-th edge is `floor(n * period)` for any n: three cycles of
//! 3 GHz are exactly 1 ns, and so are 3 * 10^15 cycles exactly 10^15 ns. Adding up a rounded period would drift.

use crate::time::{Cycles, Time, TimeError};

/// A clock with a rational period; edge 0 is at time zero.
///
/// Edges are at `floor(n * num / den)` femtoseconds. The period is at least 1 fs, so edges are strictly increasing and
/// cycle number and edge time map back to each other exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// The period in femtoseconds is `num / den`, in lowest terms.
    num: u64,
    den: u64,
}

const FS_PER_SECOND: u64 = 1_000_000_000_000_000;

impl Clock {
    /// A clock of `mhz` megahertz, taken as the decimal number that it prints as: 1593.75 is 159375/100 exactly.
    ///
    /// # Errors
    /// [`TimeError::BadClock`] unless the frequency lies between 1 Hz and 1 PHz and has at most 15 digits.
    pub fn from_mhz(mhz: f64) -> Result<Clock, TimeError> {
        let bad = TimeError::BadClock { value: mhz, unit: "MHz" };
        let (digits, scale) = decimal(mhz).ok_or(bad.clone())?;
        // period = 10^9 fs / (digits / scale)
        Clock::from_fraction(u128::from(scale) * 1_000_000_000, u128::from(digits)).ok_or(bad)
    }

    /// A clock with a period of `ps` picoseconds, taken as the decimal number that it prints as.
    ///
    /// # Errors
    /// [`TimeError::BadClock`] unless the period lies between 1 fs and 1 s and has at most 15 digits.
    pub fn from_period_ps(ps: f64) -> Result<Clock, TimeError> {
        let bad = TimeError::BadClock { value: ps, unit: "ps" };
        let (digits, scale) = decimal(ps).ok_or(bad.clone())?;
        Clock::from_fraction(u128::from(digits) * 1_000, u128::from(scale)).ok_or(bad)
    }

    /// A clock of `cycles / seconds` hertz, for frequencies that no decimal expresses: 1333.33... MHz is
    /// `from_ratio_hz(4_000_000_000, 3)`.
    ///
    /// # Errors
    /// [`TimeError::BadClock`] unless the frequency lies between 1 Hz and 1 PHz.
    pub fn from_ratio_hz(cycles: u64, seconds: u64) -> Result<Clock, TimeError> {
        Clock::from_fraction(u128::from(seconds) * u128::from(FS_PER_SECOND), u128::from(cycles))
            .ok_or(TimeError::BadClock { value: cycles as f64 / seconds as f64, unit: "Hz" })
    }

    fn from_fraction(num: u128, den: u128) -> Option<Clock> {
        if den == 0 || num < den || num > den.checked_mul(u128::from(FS_PER_SECOND))? {
            return None;
        }
        let common = gcd(num, den);
        Some(Clock { num: u64::try_from(num / common).ok()?, den: u64::try_from(den / common).ok()? })
    }

    /// A clock that runs `n` times slower.
    #[must_use]
    pub fn divided_by(self, n: u64) -> Option<Clock> {
        Clock::from_fraction(u128::from(self.num) * u128::from(n), u128::from(self.den))
    }

    /// A clock that runs `n` times faster (a doubled data rate: 2).
    #[must_use]
    pub fn times(self, n: u64) -> Option<Clock> {
        Clock::from_fraction(u128::from(self.num), u128::from(self.den) * u128::from(n))
    }

    /// The time of edge number `cycle`: `floor(cycle * period)`, or [`Time::MAX`], "never", if it lies beyond that.
    /// The engine refuses to schedule "never", so an overflow here does not pass unseen; [`Clock::checked_edge`]
    /// reports it at once.
    #[inline]
    #[must_use]
    pub fn edge(&self, cycle: Cycles) -> Time {
        match mul_div(cycle.0, self.num, self.den) {
            Some(fs) => Time::from_fs(fs),
            None => Time::MAX,
        }
    }

    /// As [`Clock::edge`], with an error in place of "never".
    ///
    /// # Errors
    /// [`TimeError::EdgeTooLate`] if the edge lies beyond [`Time::MAX`].
    pub fn checked_edge(&self, cycle: Cycles) -> Result<Time, TimeError> {
        mul_div(cycle.0, self.num, self.den).map(Time::from_fs).ok_or(TimeError::EdgeTooLate { cycle: cycle.0 })
    }

    /// The first cycle whose edge is not before `time`.
    #[inline]
    #[must_use]
    pub fn cycle_at_or_after(&self, time: Time) -> Cycles {
        // floor(n*num/den) >= t  <=>  n*num >= t*den, as t is an integer.
        let t = time.as_fs();
        match t.checked_mul(self.den).and_then(|p| p.checked_add(self.num - 1)) {
            Some(p) => Cycles(p / self.num),
            // The quotient is at most t, as num >= den.
            None => Cycles((u128::from(t) * u128::from(self.den)).div_ceil(u128::from(self.num)) as u64),
        }
    }

    /// The last cycle whose edge is not after `time`: the cycle that `time` falls in.
    #[inline]
    #[must_use]
    pub fn cycle_at_or_before(&self, time: Time) -> Cycles {
        // floor(n*num/den) <= t  <=>  n*num < (t+1)*den
        let t = time.as_fs();
        match t.checked_add(1).and_then(|t1| t1.checked_mul(self.den)) {
            Some(p) => Cycles((p - 1) / self.num),
            // The quotient is at most t, as num >= den.
            None => Cycles((((u128::from(t) + 1) * u128::from(self.den) - 1) / u128::from(self.num)) as u64),
        }
    }

    /// The first edge strictly after `time`, or [`Time::MAX`].
    #[inline]
    #[must_use]
    pub fn next_edge_after(&self, time: Time) -> Time {
        self.edge(Cycles(self.cycle_at_or_before(time).0.saturating_add(1)))
    }

    /// The first edge at or after `time`, or [`Time::MAX`]: where something that arrives at `time` is first seen.
    #[inline]
    #[must_use]
    pub fn edge_at_or_after(&self, time: Time) -> Time {
        self.edge(self.cycle_at_or_after(time))
    }

    /// The first cycle of `other` whose edge is not before edge `cycle` of this clock, or `None` if that edge lies
    /// beyond [`Time::MAX`].
    #[must_use]
    pub fn convert(&self, cycle: Cycles, other: &Clock) -> Option<Cycles> {
        self.checked_edge(cycle).ok().map(|t| other.cycle_at_or_after(t))
    }

    /// The period in femtoseconds as a fraction in lowest terms, `(numerator, denominator)`.
    #[must_use]
    pub const fn period_fs(&self) -> (u64, u64) {
        (self.num, self.den)
    }

    /// The period in picoseconds, to the nearest `f64`; for reports.
    #[must_use]
    pub fn period_ps_f64(&self) -> f64 {
        self.num as f64 / self.den as f64 / 1e3
    }

    /// The frequency in megahertz, to the nearest `f64`; for reports.
    #[must_use]
    pub fn mhz(&self) -> f64 {
        1e9 * self.den as f64 / self.num as f64
    }
}

/// `floor(a * b / c)`, with 64-bit arithmetic while it suffices: a 128-bit division costs ten times as much.
#[inline]
fn mul_div(a: u64, b: u64, c: u64) -> Option<u64> {
    match a.checked_mul(b) {
        Some(p) if c == 1 => Some(p),
        Some(p) => Some(p / c),
        None => u64::try_from(u128::from(a) * u128::from(b) / u128::from(c)).ok(),
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The shortest decimal that reads back as `x`, as `(digits, scale)` with `x = digits / scale`; `None` if `x` is not
/// positive and finite or has more than 15 digits or decimal places, which no data sheet has.
fn decimal(x: f64) -> Option<(u64, u64)> {
    if !x.is_finite() || x <= 0.0 {
        return None;
    }
    let text = x.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let places = u32::try_from(fraction.len()).ok().filter(|&p| p <= 15)?;
    let digits: u64 = format!("{whole}{fraction}").parse().ok()?;
    // Trailing zeros of a whole number are not digits to be lost.
    (digits < 1_000_000_000_000_000 || fraction.is_empty()).then_some((digits, 10u64.pow(places)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_gigahertz_does_not_drift() {
        let clock = Clock::from_mhz(3000.0).unwrap();
        assert_eq!(clock.period_fs(), (1_000_000, 3));
        assert_eq!(clock.edge(Cycles(1)), Time::from_fs(333_333));
        assert_eq!(clock.edge(Cycles(3)), Time::from_fs(1_000_000));
        assert_eq!(clock.edge(Cycles(3_000_000_000_000)), Time::from_secs_f64(1000.0).unwrap());
    }

    #[test]
    fn decimals_are_what_was_written() {
        assert_eq!(Clock::from_mhz(1593.75).unwrap(), Clock::from_ratio_hz(1_593_750_000, 1).unwrap());
        assert_eq!(Clock::from_mhz(1200.0).unwrap(), Clock::from_mhz(2400.0).unwrap().divided_by(2).unwrap());
        assert_eq!(Clock::from_mhz(1200.0).unwrap().times(2).unwrap(), Clock::from_mhz(2400.0).unwrap());
        assert_eq!(Clock::from_period_ps(0.833).unwrap().period_fs(), (833, 1));
        assert_eq!(Clock::from_period_ps(833.3).unwrap().period_fs(), (833_300, 1));
        assert_eq!(Clock::from_period_ps(625.0).unwrap(), Clock::from_mhz(1600.0).unwrap());
        assert_eq!(Clock::from_ratio_hz(4_000_000_000, 3).unwrap().period_fs(), (750_000, 1));
    }

    #[test]
    fn bad_clocks_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300, 2e9, 1e-7] {
            assert!(Clock::from_mhz(bad).is_err(), "{bad} MHz");
        }
        for bad in [0.0, -5.0, 0.0005, f64::NAN, 1e13] {
            assert!(Clock::from_period_ps(bad).is_err(), "{bad} ps");
        }
        assert!(Clock::from_ratio_hz(0, 1).is_err());
        assert!(Clock::from_ratio_hz(1, 0).is_err());
        assert_eq!(Clock::from_mhz(1.0).unwrap().divided_by(0), None);
        assert_eq!(Clock::from_mhz(1.0).unwrap().times(0), None);
    }

    #[test]
    fn overflow_is_reported() {
        let clock = Clock::from_mhz(1.0).unwrap();
        assert_eq!(clock.edge(Cycles(u64::MAX)), Time::MAX);
        assert_eq!(clock.checked_edge(Cycles(u64::MAX)), Err(TimeError::EdgeTooLate { cycle: u64::MAX }));
        assert_eq!(clock.convert(Cycles(u64::MAX), &clock), None);
        assert_eq!(clock.next_edge_after(Time::MAX), Time::MAX);
    }

    fn any_clock() -> impl Strategy<Value = Clock> {
        prop_oneof![
            (1u64..100_000_000).prop_map(|khz| Clock::from_mhz(khz as f64 / 1000.0).unwrap()),
            (1u64..2_000_000).prop_map(|fs| Clock::from_period_ps(fs as f64 / 1000.0).unwrap()),
            (1_000_000u64..10_000_000_000, 1u64..1000).prop_map(|(n, d)| Clock::from_ratio_hz(n, d).unwrap()),
        ]
    }

    fn any_magnitude() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..64).prop_map(|(n, shift)| n >> shift)
    }

    proptest! {
        #[test]
        fn the_nth_edge_is_the_closed_form(clock in any_clock(), n in any_magnitude()) {
            let (num, den) = clock.period_fs();
            let exact = u128::from(n) * u128::from(num) / u128::from(den);
            match u64::try_from(exact) {
                Ok(fs) => prop_assert_eq!(clock.checked_edge(Cycles(n)), Ok(Time::from_fs(fs))),
                Err(_) => prop_assert!(clock.checked_edge(Cycles(n)).is_err()),
            }
        }

        #[test]
        fn cycle_to_edge_and_back_is_exact(clock in any_clock(), n in any_magnitude()) {
            if let Ok(edge) = clock.checked_edge(Cycles(n)) {
                prop_assert_eq!(clock.cycle_at_or_after(edge), Cycles(n));
                prop_assert_eq!(clock.cycle_at_or_before(edge), Cycles(n));
                prop_assert_eq!(clock.edge_at_or_after(edge), edge);
                prop_assert_eq!(clock.convert(Cycles(n), &clock), Some(Cycles(n)));
            }
        }

        #[test]
        fn a_time_lies_between_its_edges(clock in any_clock(), fs in any_magnitude()) {
            let t = Time::from_fs(fs);
            let (before, after) = (clock.cycle_at_or_before(t), clock.cycle_at_or_after(t));
            prop_assert!(clock.checked_edge(before).unwrap() <= t);
            prop_assert!(clock.edge(Cycles(before.0 + 1)) > t || t == Time::MAX);
            prop_assert!(clock.edge(after) >= t);
            prop_assert!(after.0 == 0 || clock.checked_edge(Cycles(after.0 - 1)).unwrap() < t);
            prop_assert!(clock.next_edge_after(t) > t || t == Time::MAX);
        }

        #[test]
        fn a_faster_clock_counts_the_same_edges(clock in any_clock(), k in 1u64..16, n in 0u64..1 << 30) {
            if let Some(slow) = clock.divided_by(k) {
                prop_assert_eq!(slow.edge(Cycles(n)), clock.edge(Cycles(n * k)));
            }
        }
    }
}
