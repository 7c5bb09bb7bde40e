//! Something over time, in equal bins of which there are never more than a fixed number.

use super::ShapeMismatch;
use crate::time::Time;

/// Busy time, or any amount that flows at an even rate, by bins of time. When the run outgrows the bins, neighbours
/// are added together and the bins become twice as wide, so memory is bounded and nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bins {
    /// The amount in each bin: weight times femtoseconds.
    pub amounts: Vec<u128>,
    /// The width of a bin.
    pub width: Time,
    first_width: Time,
    limit: usize,
}

impl Bins {
    /// At most `limit` bins (an even number, at least 2; others are rounded up), at first `width` wide (at least 1 fs).
    #[must_use]
    pub fn new(limit: usize, width: Time) -> Bins {
        let width = width.max(Time::from_fs(1));
        Bins { amounts: Vec::new(), width, first_width: width, limit: limit.max(2).next_multiple_of(2) }
    }

    /// Adds `weight` for every femtosecond from `start` to `end`.
    pub fn record(&mut self, start: Time, end: Time, weight: u64) {
        if end <= start {
            return;
        }
        let (start, end) = (start.as_fs(), end.as_fs());
        while (end - 1) / self.width.as_fs() >= self.limit as u64 {
            self.double();
        }
        let width = self.width.as_fs();
        let (first, last) = ((start / width) as usize, ((end - 1) / width) as usize);
        if self.amounts.len() <= last {
            self.amounts.resize(last + 1, 0);
        }
        for (i, amount) in self.amounts.iter_mut().enumerate().take(last + 1).skip(first) {
            let from = (i as u64 * width).max(start);
            let to = (i as u64 * width).saturating_add(width).min(end);
            *amount += u128::from(to - from) * u128::from(weight);
        }
    }

    fn double(&mut self) {
        let half = self.amounts.len().div_ceil(2);
        for i in 0..half {
            self.amounts[i] = self.amounts[2 * i] + self.amounts.get(2 * i + 1).copied().unwrap_or(0);
        }
        self.amounts.truncate(half);
        self.width = self.width.saturating_mul(2);
    }

    /// The mean weight in each bin of a run that ended at `end` (the last bin is shorter if the run ends within it):
    /// utilization from 0 to 1, if what was recorded was busy time of weight 1 that does not overlap.
    #[must_use]
    pub fn means(&self, end: Time) -> Vec<f64> {
        let width = self.width.as_fs();
        let bin = |(i, amount): (usize, &u128)| {
            let length = end.as_fs().saturating_sub(i as u64 * width).min(width);
            if length == 0 { 0.0 } else { *amount as f64 / length as f64 }
        };
        self.amounts.iter().enumerate().map(bin).collect()
    }

    /// Adds another's amounts, bin by bin, at the wider of the two widths.
    ///
    /// # Errors
    /// [`ShapeMismatch`] if the two were not made alike.
    pub fn merge(&mut self, other: &Bins) -> Result<(), ShapeMismatch> {
        if (self.first_width, self.limit) != (other.first_width, other.limit) {
            return Err(ShapeMismatch);
        }
        let mut other = other.clone();
        while self.width < other.width {
            self.double();
        }
        while other.width < self.width {
            other.double();
        }
        if self.amounts.len() < other.amounts.len() {
            self.amounts.resize(other.amounts.len(), 0);
        }
        for (a, b) in self.amounts.iter_mut().zip(&other.amounts) {
            *a += b;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn means_are_utilization() {
        let mut bins = Bins::new(4, Time::from_fs(10));
        bins.record(Time::from_fs(5), Time::from_fs(25), 1);
        let means = bins.means(Time::from_fs(25));
        assert_eq!(means.len(), 3);
        assert!((means[0] - 0.5).abs() < 1e-12 && (means[1] - 1.0).abs() < 1e-12 && (means[2] - 1.0).abs() < 1e-12);
        bins.record(Time::from_fs(u64::MAX - 1), Time::MAX, 1);
        assert!(bins.amounts.len() <= 4);
        assert!(bins.merge(&Bins::new(4, Time::from_fs(11))).is_err());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_memory_is_bounded(
            spans in prop::collection::vec((0u64..5000, 0u64..900, 0u64..9), 0..40),
            limit in 1usize..20,
            width in 1u64..50,
            cut in 0usize..40,
        ) {
            let mut whole = Bins::new(limit, Time::from_fs(width));
            let mut parts = [whole.clone(), whole.clone()];
            let mut naive = vec![0u128; 6000];
            for (i, &(start, length, weight)) in spans.iter().enumerate() {
                let (s, e) = (Time::from_fs(start), Time::from_fs(start + length));
                whole.record(s, e, weight);
                parts[usize::from(i >= cut)].record(s, e, weight);
                for slot in &mut naive[start as usize..(start + length) as usize] {
                    *slot += u128::from(weight);
                }
            }
            prop_assert!(whole.amounts.len() <= limit.max(2) + 1);
            for (i, amount) in whole.amounts.iter().enumerate() {
                let w = whole.width.as_fs() as usize;
                let expected: u128 = naive.iter().skip(i * w).take(w).sum();
                prop_assert_eq!(*amount, expected);
            }
            prop_assert_eq!(whole.amounts.iter().sum::<u128>(), naive.iter().sum::<u128>());
            let [mut merged, second] = parts;
            merged.merge(&second).unwrap();
            prop_assert_eq!(merged, whole);
        }
    }
}
