//! Whether requests get on: a controller that serves none for longer than any of its waits could explain gives up.

use super::super::Cycle;
use super::super::device::Effect;
use super::shape::Shape;

/// Why a controller has given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stall {
    /// Requests wait, and refreshes leave none of them its turn.
    #[error("no request has got on from clock {since} to clock {until}: refreshes leave none of them its turn")]
    Starved {
        /// The clock of the last request that was served.
        since: Cycle,
        /// The clock at which that was found.
        until: Cycle,
    },
    /// Refreshes fall due faster than they can be issued.
    #[error("{waiting} refreshes wait at clock {until}: they fall due faster than they can be issued")]
    Refreshes {
        /// How many wait.
        waiting: usize,
        /// The clock at which that was found.
        until: Cycle,
    },
    /// Requests wait, and nothing that is to come lets any of them issue.
    #[error("requests wait, and nothing that is to come lets any of them issue")]
    Nothing,
}

/// Looks at every refresh that falls due whether something was served since the ones before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    served: u64,
    since: Cycle,
    /// Ticks without a request served after which there is no hope of one.
    patience: Cycle,
    /// Refreshes that may wait.
    backlog: usize,
    pub stalled: Option<Stall>,
}

impl Watch {
    pub(super) fn new(shape: &Shape) -> Self {
        // A request may hold up a refresh for as long as its bank takes to open, to serve it and to close. A refresh that leaves a
        // single free tick in its interval makes up for that in as many intervals; one that has not in several times as many never will.
        let device = &shape.device;
        let refreshes = |id: super::super::device::CommandId| device.spec(id).effect == Effect::Refresh;
        let longest = device.timing.iter().filter(|r| !refreshes(r.from)).map(|r| r.cycles).max().unwrap_or(0);
        let rounds = 1024 + 8 * longest;
        let interval = shape.refresh.map_or(1, |(interval, _)| interval);
        let ranks = (shape.banks / shape.rank_banks).max(1);
        Self {
            served: 0,
            since: 0,
            patience: interval.saturating_mul(rounds),
            backlog: usize::try_from(rounds).unwrap_or(usize::MAX).saturating_mul(ranks),
            stalled: None,
        }
    }

    /// A refresh falls due at `clock`: how many requests have been served, whether any waits, and how many refreshes wait.
    #[inline]
    pub(super) fn refresh_due(&mut self, clock: Cycle, served: u64, waits: bool, waiting: usize) {
        if served != self.served || !waits {
            (self.served, self.since) = (served, clock);
        } else if clock - self.since > self.patience {
            self.stalled = Some(Stall::Starved { since: self.since, until: clock });
        }
        if waiting > self.backlog {
            self.stalled = Some(Stall::Refreshes { waiting, until: clock });
        }
    }
}
