//! A repeated step that has settled: each time of it is like the one before.
//!
//! Ranks of a ring are at most a time or two apart, as fast links wait for slow ones. After a few times all that differs from one to the next is the time.
//! When everything is where it was when a rank last went on (how far the others are ahead, what is under way, how much of it is left), the same must
//! follow again, as long as no rank reaches the end of the step.

use super::carrier::Carrier;
use super::plan::{End, Plan};
use super::schedule::Schedule;

/// What is watched.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    step: Option<u32>,
    /// The watched rank's time, and when it came to it.
    time: u32,
    since: f64,
    ends: Vec<u32>,
    before: Snapshot,
    now: Snapshot,
}

/// Where everything is, relative to the watched rank and the present.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    ends: Vec<(i64, u32)>,
    ready: Vec<u8>,
    flying: Vec<(u32, f64, f64)>,
}

/// Times that can be passed over.
pub(super) struct Jump {
    pub step: u32,
    pub times: u32,
    pub seconds: f64,
    pub ends: Vec<u32>,
}

/// Fewer times than these are not worth watching.
const LEAST_TIMES: u32 = 8;
/// Times at a step's end that are run one by one.
const LAST_TIMES: u32 = 2;

/// Equal but for rounding.
fn near(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= scale * a.abs().max(b.abs()).max(1.0)
}

impl Snapshot {
    fn is_like(&self, other: &Self) -> bool {
        self.ends == other.ends
            && self.ready == other.ready
            && self.flying.len() == other.flying.len()
            // Bytes to a billionth of one, seconds to a hundredth of a picosecond.
            && self.flying.iter().zip(&other.flying).all(|(a, b)| a.0 == b.0 && near(a.1, b.1, 1e-9) && near(a.2, b.2, 1e-14))
    }
}

impl Course {
    /// Looks whether the step that is under way repeats itself: how far can be gone at once?
    pub(super) fn look(
        &mut self,
        schedule: &Schedule,
        plan: &Plan,
        state: &[End],
        ready: &[u8],
        carrier: &impl Carrier,
    ) -> Option<Jump> {
        let step_at = |e: u32| plan.mine(e, state[e as usize].at).map(|m| m.0);
        let watched = match self.step {
            Some(s) => schedule.steps[s as usize].transfers[0].src,
            None => 0,
        };
        // Another step has begun: all of its ends have to be in it.
        if self.step.is_none_or(|s| step_at(watched) != Some(s)) {
            self.step = None;
            let s = (0..state.len() as u32).find_map(step_at)?;
            let step = &schedule.steps[s as usize];
            if step.repeat < LEAST_TIMES || step.transfers.is_empty() {
                return None;
            }
            let mut ends: Vec<u32> = step.transfers.iter().flat_map(|t| [t.src, t.dst]).collect();
            ends.sort_unstable();
            ends.dedup();
            if ends.iter().any(|e| step_at(*e) != Some(s)) {
                return None;
            }
            self.step = Some(s);
            self.ends = ends;
            self.time = u32::MAX;
        }
        let s = self.step?;
        let step = &schedule.steps[s as usize];
        let watched = state[step.transfers[0].src as usize];
        if watched.time == self.time {
            return None;
        }
        let next = self.time.checked_add(1) == Some(watched.time);
        self.time = watched.time;
        std::mem::swap(&mut self.before, &mut self.now);
        let now = &mut self.now;
        now.ends.clear();
        now.flying.clear();
        now.ready.clear();
        if !carrier.state(&mut now.flying) || self.ends.iter().any(|e| step_at(*e) != Some(s)) {
            self.step = None;
            return None;
        }
        now.ends.extend(
            self.ends
                .iter()
                .map(|e| (i64::from(state[*e as usize].time) - i64::from(watched.time), state[*e as usize].pending)),
        );
        let (first, last) = (plan.base[s as usize] as usize, plan.base[s as usize + 1] as usize);
        now.ready.extend_from_slice(&ready[first..last]);
        let lasts = carrier.now() - self.since;
        self.since = carrier.now();
        // All that is under way is of this step.
        let own = now.flying.iter().all(|f| plan.step_of[f.0 as usize] == s);
        if !next || !own || !self.now.is_like(&self.before) {
            return None;
        }
        let farthest = self.ends.iter().map(|e| state[*e as usize].time).max()?;
        let times = step.repeat.checked_sub(farthest + LAST_TIMES).filter(|t| *t > 0)?;
        self.time += times;
        self.since += lasts * f64::from(times);
        Some(Jump { step: s, times, seconds: lasts * f64::from(times), ends: self.ends.clone() })
    }
}
