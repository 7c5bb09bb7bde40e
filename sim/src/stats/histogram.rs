//! Histograms of whole numbers.

/// Counts of values in bins, equally wide or growing with the value; both exact in count, sum, minimum and maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Counts by bin; bins after the last one needed are not there.
    pub bins: Vec<u64>,
    /// Values recorded.
    pub count: u64,
    /// Their sum.
    pub sum: u128,
    /// The least of them; `u64::MAX` if there are none.
    pub min: u64,
    /// The greatest of them.
    pub max: u64,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Bins of this width; the last of them, by number, takes all values beyond it.
    Linear { width: u64, bins: usize },
    /// 2^`precision` bins in every octave; values below 2^`precision` have a bin each.
    Log2 { precision: u32 },
}

/// Two statistics that were not made alike cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("statistics of different shape cannot be merged")]
pub struct ShapeMismatch;

impl Histogram {
    /// `bins` bins of `width` each, the last of which also takes everything beyond (both at least 1).
    #[must_use]
    pub fn linear(width: u64, bins: usize) -> Histogram {
        Histogram::new(Shape::Linear { width: width.max(1), bins: bins.max(1) })
    }

    /// 2^`precision` bins in every octave (at most 2^10), so that a quantile is off by less than one part in
    /// 2^`precision`. Covers all 64 bits with at most 65 * 2^`precision` bins.
    #[must_use]
    pub fn log2(precision: u32) -> Histogram {
        Histogram::new(Shape::Log2 { precision: precision.min(10) })
    }

    fn new(shape: Shape) -> Histogram {
        Histogram { bins: Vec::new(), count: 0, sum: 0, min: u64::MAX, max: 0, shape }
    }

    /// Counts `value`.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `value` `n` times.
    #[inline]
    pub fn record_n(&mut self, value: u64, n: u64) {
        if n == 0 {
            return;
        }
        let bin = self.bin_of(value);
        if bin >= self.bins.len() {
            self.bins.resize(bin + 1, 0);
        }
        self.bins[bin] += n;
        self.count += n;
        self.sum += u128::from(value) * u128::from(n);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    #[inline]
    fn bin_of(&self, value: u64) -> usize {
        match self.shape {
            Shape::Linear { width, bins } => usize::try_from(value / width).unwrap_or(usize::MAX).min(bins - 1),
            Shape::Log2 { precision } => {
                let octave = value.checked_ilog2().unwrap_or(0).saturating_sub(precision);
                // Below 2^precision the octave is 0 and the value its own bin; above, the leading bit is added to
                // the octave's number, so that bins go on without a gap.
                ((octave as usize) << precision) + (value >> octave) as usize
            }
        }
    }

    /// The greatest value that falls in `bin`.
    #[must_use]
    pub fn upper_bound(&self, bin: usize) -> u64 {
        match self.shape {
            Shape::Linear { bins, .. } if bin + 1 >= bins => u64::MAX,
            Shape::Linear { width, .. } => (bin as u64 + 1).saturating_mul(width) - 1,
            Shape::Log2 { precision } => {
                let octave = (bin >> precision).saturating_sub(1);
                let lead = (bin - (octave << precision)) as u128;
                u64::try_from(((lead + 1) << octave.min(64)) - 1).unwrap_or(u64::MAX)
            }
        }
    }

    /// The mean; 0 if empty.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The least value that a share `q` (0 to 1) of all values do not exceed, rounded up within its bin but never
    /// beyond the extremes; `None` if empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bin, n) in self.bins.iter().enumerate() {
            seen += n;
            if seen >= rank {
                return Some(self.upper_bound(bin).clamp(self.min, self.max));
            }
        }
        None
    }

    /// Adds another's values.
    ///
    /// # Errors
    /// [`ShapeMismatch`] if the two were not made alike.
    pub fn merge(&mut self, other: &Histogram) -> Result<(), ShapeMismatch> {
        if self.shape != other.shape {
            return Err(ShapeMismatch);
        }
        if self.bins.len() < other.bins.len() {
            self.bins.resize(other.bins.len(), 0);
        }
        for (a, b) in self.bins.iter_mut().zip(&other.bins) {
            *a += b;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_and_extreme() {
        let mut h = Histogram::log2(3);
        assert_eq!(h.quantile(0.5), None);
        h.record(u64::MAX);
        h.record(0);
        assert_eq!((h.quantile(0.0), h.quantile(1.0)), (Some(0), Some(u64::MAX)));
        assert!(h.bins.len() <= 65 * 8);
        let mut h = Histogram::linear(10, 3);
        h.record_n(1_000, 5);
        assert_eq!((h.bins.as_slice(), h.quantile(0.5)), ([0, 0, 5].as_slice(), Some(1_000)));
        assert_eq!(h.merge(&Histogram::log2(3)), Err(ShapeMismatch));
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_bin_of_exact(
            values in prop::collection::vec((any::<u64>(), 0u32..64).prop_map(|(v, s)| v >> s), 1..200),
            precision in 0u32..8,
            q in 0.0f64..=1.0,
            cut in 0usize..200,
        ) {
            let mut whole = Histogram::log2(precision);
            let mut parts = [whole.clone(), whole.clone()];
            for (i, &v) in values.iter().enumerate() {
                whole.record(v);
                parts[usize::from(i >= cut)].record(v);
                let bin = whole.bin_of(v);
                prop_assert!(v <= whole.upper_bound(bin) && (bin == 0 || v > whole.upper_bound(bin - 1)));
            }
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
            let (exact, found) = (sorted[rank - 1], whole.quantile(q).unwrap());
            prop_assert!(found >= exact && found - exact <= exact >> precision);
            prop_assert_eq!(whole.sum, values.iter().map(|&v| u128::from(v)).sum::<u128>());
            let [mut merged, second] = parts;
            merged.merge(&second).unwrap();
            prop_assert_eq!(merged, whole);
        }
    }
}
