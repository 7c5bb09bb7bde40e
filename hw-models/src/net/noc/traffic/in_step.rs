//! Sources that all ask in each cycle whether they make a packet, and draw for that from one sequence.
//!
//! Those that send nothing ask once a cycle, in order; those that send do not, and ask for the cycles they missed when they are done. So
//! the trials of a cycle are counted, not made one by one: most often none of them succeeds.

use super::super::bits;
use super::super::random::{Sequence, Trials};

/// Up to which cycle each source has asked.
#[derive(Debug)]
pub(super) struct InStep {
    trials: Trials,
    sources: usize,
    /// The next cycle of all sources but those that are late.
    next: u64,
    late: Vec<u64>,
    /// The next cycle of those that are.
    late_next: Vec<u64>,
}

impl InStep {
    pub(super) fn new(probability: f64, sources: usize) -> InStep {
        InStep {
            trials: Trials::new(probability),
            sources,
            next: 0,
            late: vec![0; bits::words(sources)],
            late_next: vec![0; sources],
        }
    }

    /// Whether a source has not asked for the cycles before `cycle`, and for that one.
    pub(super) fn is_behind(&self, cycle: u64) -> bool {
        self.next <= cycle || bits::each(&self.late).any(|source| self.late_next[source] <= cycle)
    }

    /// The first cycle from `now` on in which a source may make a packet, or has to catch up.
    pub(super) fn busy(&self, now: u64) -> u64 {
        if self.late.iter().any(|w| *w != 0) {
            return now;
        }
        now.max(self.next + self.trials.known_to_fail() / self.sources.max(1) as u64)
    }

    /// Each source that sends nothing, which are the bits of `idle`, asks for the cycles up to `now` that it has not asked for, until it
    /// makes a packet: `make` is told the source and the cycle. Cycles that are passed over are those before [`InStep::busy`].
    pub(super) fn ask(
        &mut self,
        now: u64,
        idle: &[u64],
        sequence: &mut Sequence,
        mut make: impl FnMut(usize, u64, &mut Sequence),
    ) {
        if now > self.next {
            self.trials.pass((now - self.next) * self.sources as u64);
            self.next = now;
        }
        for (word, &idle) in idle.iter().enumerate() {
            let sources = (self.sources - word * 64).min(64) as u32;
            let late = self.late[word];
            let mut fall_behind = u64::MAX >> (64 - sources) & !idle & !late;
            self.late[word] |= fall_behind;
            while fall_behind != 0 {
                self.late_next[word * 64 + take(&mut fall_behind)] = now;
            }
            let mut left = idle;
            while left != 0 {
                // Sources that ask once, up to the first that is late.
                let waits = left & late;
                let once = left & waits.wrapping_sub(1) & !waits;
                if once != 0 {
                    let Some(failed) = self.trials.first(u64::from(once.count_ones()), sequence) else {
                        left &= !once;
                        continue;
                    };
                    let mut asked = once;
                    (0..failed).for_each(|_| asked &= asked - 1);
                    let source = asked.trailing_zeros();
                    left &= u64::MAX << source << 1;
                    make(word * 64 + source as usize, now, sequence);
                    continue;
                }
                let bit = take(&mut left);
                let source = word * 64 + bit;
                let from = self.late_next[source];
                let made = self.trials.first(now + 1 - from, sequence).map(|failed| from + failed);
                self.late_next[source] = made.map_or(now + 1, |at| at + 1);
                if self.late_next[source] > now {
                    self.late[word] &= !(1 << bit);
                }
                if let Some(at) = made {
                    make(source, at, sequence);
                }
            }
        }
        self.next = now + 1;
    }
}

/// The lowest bit, which is taken out.
fn take(word: &mut u64) -> usize {
    let bit = word.trailing_zeros() as usize;
    *word &= *word - 1;
    bit
}
