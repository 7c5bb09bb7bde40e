//! A bank, and what sleeps.

use super::super::Cycle;
use super::super::device::Effect;
use super::facts::{Column, Entry, Facts};
use super::law::{Law, WHOLE, sleeps};

/// What a bank goes through.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bank {
    open: bool,
    /// When its row was opened.
    opened: Cycle,
    /// Before this what was read and written of its row keeps it from being closed.
    used: Cycle,
    /// Before this it is not precharged.
    precharged: Cycle,
    /// Before this it is refreshing.
    busy: Cycle,
    /// Refreshes so far, of [`WHOLE`] each.
    pub refreshed: u64,
    /// When it was last refreshed, or the stream began; moved on by the time in self-refresh.
    since: Cycle,
    /// Time in self-refresh, and how often.
    slept: Cycle,
    sleeps: u64,
}

type Judged = Result<(), (Law, String)>;

impl Bank {
    /// Takes a command that acts on it.
    pub(super) fn take(&mut self, entry: &Entry, at: Cycle, facts: &Facts) -> Judged {
        // A rank may be powered down while it refreshes.
        let enters = !matches!(entry.effect, Effect::PowerDown | Effect::Wake);
        let mut judged = Ok(());
        if enters && at < self.busy {
            judged = Err((Law::Busy, format!("the bank is refreshed until tick {}", self.busy)));
        }
        let own = match entry.effect {
            Effect::Open => self.open(at),
            Effect::OpenFirst | Effect::SelfRefresh => self.idle(at),
            Effect::Close => self.close(at, entry.precharge, facts),
            Effect::Refresh => self.refresh(entry, at, facts),
            Effect::None | Effect::AccessAndClose => self.access(entry, at, facts),
            Effect::PowerDown | Effect::Wake => Ok(()),
        };
        judged.and(own)
    }

    /// It must be closed and precharged.
    fn idle(&self, at: Cycle) -> Judged {
        if self.open {
            return Err((Law::State, "the bank has a row open".into()));
        }
        if at < self.precharged {
            return Err((Law::Restore, format!("the bank is restored and precharged at tick {}", self.precharged)));
        }
        Ok(())
    }

    fn open(&mut self, at: Cycle) -> Judged {
        let judged = self.idle(at);
        self.open = true;
        self.opened = at;
        self.used = at;
        judged
    }

    fn close(&mut self, at: Cycle, precharge: Cycle, facts: &Facts) -> Judged {
        if !self.open {
            return Ok(());
        }
        let closable = self.used.max(self.opened + facts.restore);
        self.open = false;
        self.precharged = at.max(closable) + precharge;
        if at < closable {
            return Err((Law::Restore, format!("the row is restored at tick {closable}")));
        }
        Ok(())
    }

    fn access(&mut self, entry: &Entry, at: Cycle, facts: &Facts) -> Judged {
        let Some(column) = entry.column else { return Ok(()) };
        let mut judged = Ok(());
        if !self.open {
            judged = Err((Law::State, "the bank has no row open".into()));
        }
        let (from, until) = match column {
            Column::Read => (facts.to_read, at + facts.read_to_precharge),
            Column::Write => {
                let written = entry.burst.map_or(0, |b| b.lead + b.length);
                (facts.to_write, at + written + facts.recovery)
            }
        };
        if at < self.opened + from {
            judged = judged.and(Err((Law::State, format!("the row is open at tick {}", self.opened + from))));
        }
        self.used = self.used.max(until);
        if entry.effect == Effect::AccessAndClose {
            self.open = false;
            self.precharged = (self.used + entry.precharge).max(self.opened + facts.row_cycle);
        }
        judged
    }

    fn refresh(&mut self, entry: &Entry, at: Cycle, facts: &Facts) -> Judged {
        let mut judged = self.idle(at);
        self.busy = at + entry.refresh;
        if entry.share > 0 {
            self.refreshed += u64::from(entry.share);
            if let Some((_, interval)) = facts.interval {
                let longest = (u64::from(facts.allowance) + 2) * interval;
                if at > self.since + longest {
                    let late = format!("{} ticks since the bank's last refresh: at most {longest}", at - self.since);
                    judged = judged.and(Err((Law::Interval, late)));
                }
            }
            self.since = at;
        }
        judged
    }

    /// It spent some ticks in self-refresh.
    pub(super) fn slept(&mut self, ticks: Cycle) {
        self.slept += ticks;
        self.sleeps += 1;
        self.since += ticks;
    }

    /// Whether it has had its refreshes, `end` being the end of the time in which it was to have them (or the begin of its sleep).
    pub(super) fn refreshed_in(&self, end: Cycle, interval: Cycle, allowance: u32) -> Result<(), String> {
        let awake = end.saturating_sub(self.slept);
        let (due, slack) = (awake / interval, u64::from(allowance) + 2);
        let had = self.refreshed / u64::from(WHOLE);
        // What a sleep of its own refreshes spares is the controller's to count. Each breaks an interval off, in which a refresh may
        // have been, and the standards ask for one more at its end.
        if had > due + slack + 2 * self.sleeps || (self.slept == 0 && had + slack < due) {
            return Err(format!(
                "the bank had {} refreshes in {awake} ticks, of which {due} fall due, {slack} more or fewer",
                self.refreshed as f64 / f64::from(WHOLE)
            ));
        }
        let longest = slack * interval;
        if end > self.since + longest {
            return Err(format!("{} ticks since the bank's last refresh: at most {longest}", end - self.since));
        }
        Ok(())
    }
}

/// What sleeps together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rest {
    asleep: bool,
    pub self_refresh_since: Option<Cycle>,
    /// Before this it takes nothing.
    awake: Cycle,
    /// Before this its data and what was written are under way.
    pub quiet: Cycle,
}

impl Rest {
    /// Takes a command to it; ticks in self-refresh when that ends.
    pub(super) fn take(&mut self, entry: &Entry, at: Cycle, facts: &Facts) -> Result<Option<Cycle>, String> {
        if entry.effect == Effect::Wake {
            if !self.asleep {
                return Err("nothing sleeps there".into());
            }
            let since = self.self_refresh_since.take();
            self.asleep = false;
            self.awake = at + if since.is_some() { facts.wake_refresh } else { facts.wake };
            return Ok(since.map(|since| at - since));
        }
        if self.asleep {
            return Err("it sleeps".into());
        }
        if at < self.awake {
            return Err(format!("it is awake at tick {}", self.awake));
        }
        if sleeps(entry.effect) {
            self.asleep = true;
            self.self_refresh_since = (entry.effect == Effect::SelfRefresh).then_some(at);
            if at < self.quiet {
                return Err(format!("its data is moved and restored at tick {}", self.quiet));
            }
        }
        Ok(None)
    }
}
