//! How long a unit was busy.

use crate::time::Time;

/// The length of the union of a unit's busy intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// Time covered by at least one interval.
    pub time: Time,
    /// Intervals recorded.
    pub intervals: u64,
    /// End of the latest interval.
    pub until: Time,
    /// Intervals that started before an earlier recorded one. The union is exact while this is 0; each such interval
    /// counts only where it reaches beyond `until`.
    pub out_of_order: u64,
    last_start: Time,
}

impl Busy {
    /// The unit is busy from `start` to `end`; nothing if `end` is not after `start`. Intervals may overlap, and are
    /// recorded in the order of their starts.
    #[inline]
    pub fn record(&mut self, start: Time, end: Time) {
        if end <= start {
            return;
        }
        self.intervals += 1;
        if start < self.last_start {
            self.out_of_order += 1;
        } else {
            self.last_start = start;
        }
        self.time = self.time.saturating_add(end.saturating_sub(start.max(self.until)));
        self.until = self.until.max(end);
    }

    /// Busy time over a run of length `end`; 0 for a run of no length.
    #[must_use]
    pub fn utilization(&self, end: Time) -> f64 {
        if end == Time::ZERO { 0.0 } else { self.time.as_fs() as f64 / end.as_fs() as f64 }
    }

    /// Adds the busy time of another unit: divide the sum's utilization by the number of units for their mean.
    pub fn merge(&mut self, other: &Busy) {
        self.time = self.time.saturating_add(other.time);
        self.intervals += other.intervals;
        self.out_of_order += other.out_of_order;
        self.until = self.until.max(other.until);
        self.last_start = self.last_start.max(other.last_start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_interval_out_of_order_is_counted() {
        let mut busy = Busy::default();
        busy.record(Time::from_fs(10), Time::from_fs(20));
        busy.record(Time::from_fs(0), Time::from_fs(5));
        busy.record(Time::from_fs(15), Time::from_fs(15));
        assert_eq!((busy.time, busy.intervals, busy.out_of_order), (Time::from_fs(10), 2, 1));
        assert!((busy.utilization(Time::from_fs(40)) - 0.25).abs() < 1e-12);
        assert!(busy.utilization(Time::ZERO).abs() < 1e-12);
        busy.merge(&busy.clone());
        assert_eq!((busy.time, busy.intervals), (Time::from_fs(20), 4));
    }

    proptest! {
        #[test]
        fn the_union_is_the_number_of_covered_femtoseconds(
            mut spans in prop::collection::vec((0u64..200, 0u64..40), 0..40),
        ) {
            spans.sort_unstable();
            let mut busy = Busy::default();
            let mut covered = [false; 256];
            for (start, length) in spans {
                busy.record(Time::from_fs(start), Time::from_fs(start + length));
                covered[start as usize..(start + length) as usize].fill(true);
            }
            let count = covered.iter().filter(|c| **c).count() as u64;
            prop_assert_eq!((busy.time, busy.out_of_order), (Time::from_fs(count), 0));
        }
    }
}
