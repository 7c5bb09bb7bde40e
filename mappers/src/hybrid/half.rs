//! Parts of a batch that take turns.

use std::ops::Range;

/// Sequences that go through a decode step together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) sequences: Range<u64>,
    /// Ends the names of the buffers of its activations.
    pub(super) suffix: &'static str,
}

impl Half {
    /// How many sequences.
    pub(super) fn batch(&self) -> u64 {
        self.sequences.end.saturating_sub(self.sequences.start)
    }
}

/// The sequences of a batch in one or two parts, of which the first is the larger.
pub(super) fn halves(batch: u64, parts: u64) -> Vec<Half> {
    if parts < 2 {
        return vec![Half { sequences: 0..batch, suffix: "" }];
    }
    let first = batch.div_ceil(2);
    vec![Half { sequences: 0..first, suffix: ".half0" }, Half { sequences: first..batch, suffix: ".half1" }]
}

/// The sizes of a step's parts, and how many have each.
pub(super) fn batches(halves: &[Half], cut: bool, batch: u64) -> Vec<(u64, usize)> {
    if !cut {
        return vec![(batch, 1)];
    }
    let mut sizes: Vec<u64> = halves.iter().map(Half::batch).collect();
    sizes.dedup();
    sizes.into_iter().map(|size| (size, halves.iter().filter(|h| h.batch() == size).count())).collect()
}

#[cfg(test)]
mod tests {
    use super::halves;

    #[test]
    fn halves_are_the_batch() {
        for batch in 1..40 {
            for parts in 1..=batch.min(2) {
                let halves = halves(batch, parts);
                assert_eq!(halves.len() as u64, parts);
                assert_eq!(halves[0].sequences.start, 0);
                assert!(halves.windows(2).all(|w| w[0].sequences.end == w[1].sequences.start));
                assert_eq!(halves.last().map(|h| h.sequences.end), Some(batch));
                assert!(halves.iter().all(|h| !h.sequences.is_empty()));
            }
        }
    }
}
