//! The order of requests to one address.

use std::collections::HashMap;

use super::super::Cycle;
use super::super::controller::{Completion, Request};

/// Two requests to one transaction, of which one writes, were served in another order than they came in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "transaction {index}: request {later} (tick {later_at}) came after request {earlier} (tick {earlier_at}) and was served before it"
)]
pub struct Turned {
    /// The transaction.
    pub index: u64,
    /// The request that came first.
    pub earlier: u64,
    /// The tick of its column command.
    pub earlier_at: Cycle,
    /// The one that came after it.
    pub later: u64,
    /// The tick of its column command.
    pub later_at: Cycle,
}

/// Requests to one transaction, some of them under way.
#[derive(Debug, Clone, Default)]
struct Line {
    waiting: u32,
    /// Column commands whose requests are not done yet: whether it writes, and when.
    columns: Vec<(bool, Cycle)>,
    /// Those that a column command served: place in the trace, whether it writes, and when.
    served: Vec<(u64, bool, Cycle)>,
}

/// Judges whether requests to one transaction keep their order: of two that are not both reads, the column command of the one that
/// came first is the first. A read that was given what a queued write holds, and a write that was merged into a queued one, have no
/// column command of their own and nothing to be turned round.
///
/// It is told of requests before a controller has them, and of column commands and completions as they come; it keeps those that are
/// under way.
#[derive(Debug, Clone)]
pub struct Order {
    /// Ticks from a read's column command to its completion.
    read_latency: Cycle,
    lines: HashMap<u64, Line>,
    pairs: u64,
    turned: u64,
    first: Option<Turned>,
}

impl Order {
    /// A judge for a controller whose reads are done `read_latency` ticks after their column command.
    pub fn new(read_latency: Cycle) -> Self {
        Self { read_latency, lines: HashMap::new(), pairs: 0, turned: 0, first: None }
    }

    /// A request is about to be offered.
    pub fn request(&mut self, request: &Request) {
        self.lines.entry(request.index).or_default().waiting += 1;
    }

    /// A column command for a transaction.
    pub fn column(&mut self, clock: Cycle, write: bool, index: u64) {
        if let Some(line) = self.lines.get_mut(&index) {
            line.columns.push((write, clock));
        }
    }

    /// A request is done.
    pub fn completion(&mut self, done: &Completion) {
        let Some(line) = self.lines.get_mut(&done.index) else { return };
        // A write is done with its column command, a read its latency later; what is done without one was forwarded or merged.
        let at = if done.write { done.done + 1 } else { (done.done + 1).saturating_sub(self.read_latency) };
        if let Some(i) = line.columns.iter().position(|c| *c == (done.write, at)) {
            line.columns.swap_remove(i);
            let ours = (done.sequence, done.write, at);
            for theirs in line.served.iter().filter(|theirs| ours.1 || theirs.1) {
                self.pairs += 1;
                let (earlier, later) = if ours.0 < theirs.0 { (&ours, theirs) } else { (theirs, &ours) };
                if earlier.2 > later.2 {
                    self.turned += 1;
                    self.first.get_or_insert(Turned {
                        index: done.index,
                        earlier: earlier.0,
                        earlier_at: earlier.2,
                        later: later.0,
                        later_at: later.2,
                    });
                }
            }
            line.served.push(ours);
        }
        line.waiting = line.waiting.saturating_sub(1);
        if line.waiting == 0 {
            self.lines.remove(&done.index);
        }
    }

    /// Pairs of requests judged.
    pub fn pairs(&self) -> u64 {
        self.pairs
    }

    /// Pairs turned round.
    pub fn turned(&self) -> u64 {
        self.turned
    }

    /// The first of them.
    pub fn first(&self) -> Option<&Turned> {
        self.first.as_ref()
    }
}
