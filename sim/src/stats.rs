//! Statistics as plain fields: whole numbers, updated in place, merged by adding.

mod bins;
mod busy;
mod histogram;

pub use bins::Bins;
pub use busy::Busy;
pub use histogram::{Histogram, ShapeMismatch};

use crate::time::Time;

/// A count of something. Stops at the largest number, which no run reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter(pub u64);

impl Counter {
    /// Counts one more.
    #[inline]
    pub fn increment(&mut self) {
        self.add(1);
    }

    /// Counts `n` more.
    #[inline]
    pub fn add(&mut self, n: u64) {
        self.0 = self.0.saturating_add(n);
    }

    /// Adds another's count.
    pub fn merge(&mut self, other: &Counter) {
        self.add(other.0);
    }
}

/// A level (of a queue, of requests under way) integrated over time; zero before the first [`TimeWeighted::set`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeWeighted {
    /// The level now.
    pub level: u64,
    /// The highest level so far.
    pub max: u64,
    /// Level times femtoseconds, up to `since`.
    pub integral: u128,
    /// When the level was last set.
    pub since: Time,
}

impl TimeWeighted {
    /// The level is `level` from `now` on. A `now` before the last one counts as the last one.
    #[inline]
    pub fn set(&mut self, now: Time, level: u64) {
        let held = now.saturating_sub(self.since).as_fs();
        self.integral = self.integral.saturating_add(u128::from(self.level) * u128::from(held));
        self.since = self.since.max(now);
        self.level = level;
        self.max = self.max.max(level);
    }

    /// The mean level from time zero to `end`, which must not be before the last change; 0 for a run of no length.
    #[must_use]
    pub fn mean(&self, end: Time) -> f64 {
        let mut last = *self;
        last.set(end, self.level);
        if end == Time::ZERO { 0.0 } else { last.integral as f64 / end.as_fs() as f64 }
    }

    /// Adds another's level to this one, as if one had been kept of the sum; `max` becomes an upper bound of the
    /// highest sum, since the two need not have been highest together.
    pub fn merge(&mut self, other: &TimeWeighted) {
        let mut other = *other;
        let now = self.since.max(other.since);
        self.set(now, self.level);
        other.set(now, other.level);
        self.level = self.level.saturating_add(other.level);
        self.max = self.max.saturating_add(other.max);
        self.integral = self.integral.saturating_add(other.integral);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_level_is_weighted_by_how_long_it_held() {
        let mut level = TimeWeighted::default();
        let t = Time::from_fs;
        level.set(t(10), 4);
        level.set(t(30), 1);
        assert_eq!((level.integral, level.max, level.level), (80, 4, 1));
        assert!((level.mean(t(100)) - 1.5).abs() < 1e-12);
        assert!(TimeWeighted::default().mean(Time::ZERO).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn merging_levels_is_the_integral_of_the_sum(
            a in prop::collection::vec((0u64..100, 0u64..50), 1..20),
            b in prop::collection::vec((0u64..100, 0u64..50), 1..20),
        ) {
            let build = |steps: &[(u64, u64)]| {
                let (mut w, mut now) = (TimeWeighted::default(), 0);
                for (dt, level) in steps {
                    now += dt;
                    w.set(Time::from_fs(now), *level);
                }
                (w, now)
            };
            let ((mut x, end_x), (y, end_y)) = (build(&a), build(&b));
            let end = Time::from_fs(end_x.max(end_y) + 7);
            let expected = x.mean(end) + y.mean(end);
            x.merge(&y);
            prop_assert!((x.mean(end) - expected).abs() <= 1e-9 * expected);
        }
    }
}
