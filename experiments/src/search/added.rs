//! What refreshes add to a block at least, by the cycle of it in which they fall due.
//!
//! When a block begins is known from below only, and one that begins later meets a refresh sooner in its own time. So of each cycle the least is taken over all that lie before
//! it, each with its distance on top: whatever delays a block, it ends no sooner than that says, since the delay itself is paid.

/// What a refresh adds to a block at least.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Added {
    /// Cycles before the block's beginning from which on it counts.
    before: usize,
    /// By the cycle in which it falls due, from there on: cycles.
    cycles: Vec<u32>,
    /// Over all refreshes of the block, whenever it begins: cycles.
    least: u64,
}

impl Added {
    /// Of what is added in each cycle by itself.
    pub(super) fn new(before: usize, alone: &[u32], interval: u64) -> Self {
        // One that fell due long ago adds nothing: from there on it takes what lies between.
        let mut cycles = Vec::with_capacity(alone.len());
        let mut least = 0;
        for own in alone {
            least = (*own).min(least + 1);
            cycles.push(least);
        }
        let mut added = Self { before, cycles, least: 0 };
        let length = alone.len().saturating_sub(before) as f64;
        let of = |first: u64| added.over(first as f64, interval as f64, length).0 as u64;
        added.least = (0..interval).map(of).min().unwrap_or(0);
        added
    }

    /// Of a block of so many cycles, the first refresh of which falls due so many after its beginning, before it if less than 0: cycles that refreshes add, and how
    /// many of them fell due.
    pub(super) fn over(&self, first: f64, interval: f64, length: f64) -> (f64, f64) {
        let (mut added, mut count, mut due) = (0.0, 0.0, first);
        while due < length {
            let at = due.floor() + self.before as f64;
            if at >= 0.0 {
                let cycles = f64::from(self.cycles.get(at as usize).copied().unwrap_or(0));
                added += cycles;
                due -= cycles;
            }
            due += interval;
            count += 1.0;
        }
        (added, count)
    }

    /// Cycles that refreshes add whenever the block begins.
    pub(super) fn least(&self) -> u64 {
        self.least
    }
}
