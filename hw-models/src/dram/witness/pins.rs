//! The data pins of a channel or pseudo-channel: one burst at a time.

use super::super::Cycle;
use super::facts::Facts;

/// Bursts that are kept: a command's data comes some clocks after it, so that the bursts of few commands are ever to come.
const KEPT: usize = 16;

/// The ticks in which a command's data is on the pins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Burst {
    pub begin: Cycle,
    pub end: Cycle,
    pub write: bool,
    pub rank: u32,
    pub stack: u32,
}

/// The last bursts, the newest last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pins {
    bursts: [Burst; KEPT],
    next: usize,
}

impl Pins {
    /// Takes a burst; what it meets there is an error.
    pub(super) fn take(&mut self, new: Burst, facts: &Facts) -> Result<(), String> {
        let mut result = Ok(());
        for old in self.bursts {
            if old.end == 0 {
                continue;
            }
            let turned = old.write != new.write;
            let gap = if turned || old.rank != new.rank { facts.clock } else { 0 };
            let (first, second) = if old.begin <= new.begin { (old, new) } else { (new, old) };
            if second.begin < first.end + gap {
                let words = |b: &Burst| if b.write { "a write" } else { "a read" };
                result = Err(format!(
                    "{} holds the pins in ticks {} to {}, and {} in {} to {}{}",
                    words(&old),
                    old.begin,
                    old.end,
                    words(&new),
                    new.begin,
                    new.end,
                    if gap > 0 { ": no clock in between" } else { "" }
                ));
            } else if !turned && !new.write && old.stack != new.stack && second.begin < first.begin + facts.stack_gap {
                result = Err(format!(
                    "reads of two stack ids are {} ticks apart: at least {}",
                    second.begin - first.begin,
                    facts.stack_gap
                ));
            }
        }
        self.bursts[self.next] = new;
        self.next = (self.next + 1) % KEPT;
        result
    }
}
