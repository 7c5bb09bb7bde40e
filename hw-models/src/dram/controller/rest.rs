//! An idle channel between two arrivals: only refreshes come, and they come in a course that soon repeats itself. Once one course
//! has been gone through, those until the next arrival are counted and not gone through; what is left is exactly what going
//! through them leaves.

use super::super::{Cycle, NO_ROW};
use super::config::PagePolicy;
use super::course::{Point, Rest};
use super::fast::{Fast, HALF, Standby};
use super::record::{Recorder, Request};
use super::role::Asleep;

/// Intervals of refresh below which a gap is gone through as it is.
const WORTH: Cycle = 16;

impl<const K: u8, const P: bool, R: Recorder> Fast<K, P, R> {
    /// Called in the cycle before a refresh falls due, while the next request has not arrived: skips whole courses of refreshes
    /// if the channel is idle and one is known.
    #[cold]
    pub(super) fn rest(&mut self, request: &Request) {
        let Some((interval, _)) = self.shape.refresh else { return };
        let idle = self.is_empty() && self.tasks.is_empty() && self.finished.is_empty() && self.synchronised.is_none();
        let gap = request.arrival - self.cycle;
        if gap / interval < WORTH || !idle || self.recorder.keeps_commands() {
            return;
        }
        let now = self.point();
        let known = self.rest.take().filter(|r| r.sequence == request.sequence);
        let Some(mut rest) = known else {
            self.rest = Some(Box::new(Rest { sequence: request.sequence, point: now, looked: 0, power: 1 }));
            return;
        };
        if rest.point.state == now.state {
            self.skip(&rest.point, &now, request.arrival);
            return;
        }
        rest.looked += 1;
        if rest.looked == rest.power {
            (rest.point, rest.looked, rest.power) = (now, 0, rest.power * 2);
        }
        self.rest = Some(rest);
    }

    /// How the channel stands.
    fn point(&mut self) -> Point {
        let cycle = self.cycle;
        for node in 0..self.standby.len() {
            let asleep = self.ranks[node * self.shape.standby_banks / self.shape.rank_banks].asleep;
            self.settle(node, cycle, asleep);
        }
        let clock = cycle + 1;
        let left = |at: Cycle| at.saturating_sub(clock);
        let flags = |list: &[bool]| list.iter().fold(0, |f, b| f << 1 | Cycle::from(*b));
        let shape = &self.shape;
        let idle_rows = matches!(shape.config.page, PagePolicy::Timeout | PagePolicy::Adaptive);
        let turns = match shape.refresh {
            Some((_, command)) => (shape.rank_banks / shape.refresh_banks(command).0) as u64,
            None => 1,
        };
        let mut state = vec![self.refresh_turn % turns, Cycle::from(self.owed), left(self.data_clock_until)];
        state.extend([left(self.last_done), flags(&[self.draining, self.stale_mode, self.freed, self.blocked])]);
        if K == HALF {
            state.push(clock & 1);
            if self.paired_edge >= clock {
                state.extend([self.paired_edge - clock + 1, Cycle::from(self.paired_all), self.paired_bank as Cycle]);
            }
        }
        for b in &self.banks {
            let timeout = if shape.config.page == PagePolicy::Adaptive { b.timeout } else { shape.page_timeout };
            let closes = if idle_rows && b.row != NO_ROW { left(b.touched + timeout) } else { 0 };
            state.extend([Cycle::from(b.row), flags(&[b.active, b.held]), Cycle::from(b.accesses), closes]);
            state.extend([b.timeout, Cycle::from(b.timed_out)]);
        }
        for r in &self.ranks {
            let down =
                if shape.config.sleep.power_down.is_some() { left(r.idle_since + shape.power_down_after) } else { 0 };
            let rests = shape.config.sleep.self_refresh.is_some() && r.asleep != Asleep::SelfRefresh;
            let rests = if rests { left(r.rested_since + shape.self_refresh_after) } else { 0 };
            state.extend([Cycle::from(r.waiting), r.asleep as Cycle, down, rests]);
        }
        state.push(self.hammer.as_ref().map_or(0, |h| h.remaining(clock)));
        self.timing.remaining(clock, &mut state);
        let s = &self.stats;
        Point {
            cycle,
            turn: self.refresh_turn,
            issued: self.issued,
            standing: [s.active_ticks, s.active_sleep_ticks, s.precharged_sleep_ticks, s.self_refresh_ticks],
            state,
        }
    }

    /// Tells of so many refreshes of each rank, in whole turns, to whom it concerns.
    fn refresh_idle(&mut self, refreshes: u64) {
        let (Some(hammer), Some((_, command))) = (&mut self.hammer, self.shape.refresh) else { return };
        let turns = (self.shape.rank_banks / self.shape.refresh_banks(command).0).max(1) as u64;
        for (bank, b) in self.banks.iter().enumerate() {
            // A rank that refreshes itself has no refresh commands.
            if self.ranks[b.rank as usize].asleep != Asleep::SelfRefresh {
                hammer.refreshed_idle(bank, refreshes / turns);
            }
        }
    }

    /// From one point to its like is a course: counts as many as end by the arrival, and moves everything on by their time.
    fn skip(&mut self, before: &Point, now: &Point, arrival: Cycle) {
        let course = now.cycle - before.cycle;
        let times = (arrival - now.cycle) / course;
        let by = course * times;
        let clock = now.cycle + 1;
        let later = |at: Cycle| if at >= clock { at + by } else { at };
        self.timing.move_on(clock, by);
        self.cycle += by;
        self.next_refresh += by;
        self.refresh_turn = self.refresh_turn.wrapping_add((now.turn - before.turn).wrapping_mul(times));
        self.refresh_idle((now.turn - before.turn).saturating_mul(times));
        self.data_clock_until = later(self.data_clock_until);
        self.last_done = later(self.last_done);
        self.paired_edge = later(self.paired_edge);
        self.banks.iter_mut().for_each(|b| b.touched += by);
        self.ranks.iter_mut().for_each(|r| r.idle_since += by);
        self.standby.iter_mut().for_each(|s: &mut Standby| s.since += by);
        for (count, (then, now)) in self.issued.iter_mut().zip(before.issued.iter().zip(now.issued)) {
            *count += (now - then) * times;
        }
        let s = &mut self.stats;
        let accounts =
            [&mut s.active_ticks, &mut s.active_sleep_ticks, &mut s.precharged_sleep_ticks, &mut s.self_refresh_ticks];
        for (account, (then, now)) in accounts.into_iter().zip(before.standing.iter().zip(now.standing)) {
            *account = account.saturating_add((now - then).saturating_mul(times));
        }
        self.forget();
    }
}
