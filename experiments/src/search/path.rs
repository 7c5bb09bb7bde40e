//! The longest chain of a program as a course in time, in which refresh falls due where it does.
//!
//! A bound that adds up operators cannot know when each begins, so that it counts only the refreshes that fall into a block of commands whenever it begins. Along
//! the chain of one plan the times are known, from below: each step begins no sooner than the one before it ends, at the earliest. A step that begins later may
//! miss a refresh, and end sooner by less than that refresh takes: so of each step the least end is taken over all times from its earliest on. Then
//! no later beginning gives an earlier end, and the course is a bound of the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::added::Added;

/// When refresh of the channels falls due, and what one costs where nothing closer is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dues {
    /// The first, from the start of the run.
    pub(super) first_s: f64,
    /// From one to the next.
    pub(super) interval_s: f64,
    /// What one adds to a block that it interrupts at least.
    pub(super) adds_s: f64,
    /// One that falls due within so much of a block's end may wait until it is over.
    pub(super) waits_s: f64,
}

impl Dues {
    /// A block, `free` of whose interruptions may cost nothing.
    pub(super) fn whole(&self, free: f64) -> Refreshed {
        Refreshed::AsWhole { free, adds_s: self.adds_s, waits_s: self.waits_s }
    }

    /// How many have fallen due until a time.
    fn until(&self, at: f64) -> f64 {
        if at < self.first_s { 0.0 } else { ((at - self.first_s) / self.interval_s).floor() + 1.0 }
    }

    /// How many fall due at least in so many seconds, whenever they begin.
    fn within(&self, seconds: f64) -> f64 {
        (seconds / self.interval_s).floor().max(0.0)
    }

    /// When a step ends at least that begins at a time until which so many have fallen due, where each but `free` adds so much.
    fn ends(&self, (from, before): (f64, f64), seconds: f64, [free, adds_s, waits_s]: [f64; 3]) -> f64 {
        let mut interrupted = 0.0;
        loop {
            let end = from + seconds + adds_s * (interrupted - free).max(0.0);
            let due = self.until(end - waits_s) - before;
            if due <= interrupted {
                return end;
            }
            interrupted = due;
        }
    }

    /// The same of one that begins at that time or later.
    fn ends_at_least(&self, from: f64, seconds: f64, costs: [f64; 3]) -> f64 {
        let before = self.until(from);
        let at_once = self.ends((from, before), seconds, costs);
        let due = self.first_s + self.interval_s * before;
        if due + seconds >= at_once { at_once } else { at_once.min(self.ends((due, before + 1.0), seconds, costs)) }
    }

    /// What refreshes add to a step at least, whenever it begins.
    pub(super) fn adds_at_least(&self, unit: &Unit) -> f64 {
        match &unit.refreshed {
            Refreshed::Never => 0.0,
            Refreshed::AsWhole { free, adds_s, waits_s } => {
                adds_s * (self.within(unit.seconds - waits_s) - free).max(0.0)
            }
            Refreshed::InCycles { added, cycle_s, .. } => added.least() as f64 * cycle_s,
        }
    }
}

/// What refresh does to a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refreshed {
    /// It goes on.
    Never,
    /// All but `free` interruptions add so much at least; one that falls due within so much of its end may wait until it is over.
    AsWhole { free: f64, adds_s: f64, waits_s: f64 },
    /// What one adds at least is known by the cycle in which it falls due; the first follows `way_s` after the step's beginning.
    InCycles { added: Arc<Added>, way_s: f64, cycle_s: f64 },
}

/// A step of a chain.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    /// Seconds without refresh.
    pub(super) seconds: f64,
    pub(super) refreshed: Refreshed,
}

impl Unit {
    /// What refresh does not interrupt.
    pub(super) const fn going_on(seconds: f64) -> Self {
        Self { seconds, refreshed: Refreshed::Never }
    }
}

/// Where a chain has come to: the time, and refreshes that are over.
#[derive(Debug, Clone, Copy)]
struct At {
    time: f64,
    over: f64,
}

impl At {
    /// After another step.
    fn after(self, unit: &Unit, dues: Option<&Dues>) -> Self {
        let Some(dues) = dues else { return Self { time: self.time + unit.seconds, ..self } };
        match &unit.refreshed {
            Refreshed::Never => Self { time: self.time + unit.seconds, ..self },
            Refreshed::AsWhole { free, adds_s, waits_s } => {
                let end = dues.ends_at_least(self.time, unit.seconds, [*free, *adds_s, *waits_s]);
                Self { time: end, over: dues.until(end) }
            }
            Refreshed::InCycles { added, way_s, cycle_s } => {
                let first = dues.first_s + dues.interval_s * self.over - (self.time + way_s);
                let cycles = |seconds: f64| seconds / cycle_s;
                let (more, count) =
                    added.over(cycles(first), cycles(dues.interval_s), cycles((unit.seconds - way_s).max(0.0)));
                Self { time: self.time + unit.seconds + more * cycle_s, over: self.over + count }
            }
        }
    }
}

/// A step of a chain, and the operator that it is of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Link {
    pub(super) operator: String,
    pub(super) unit: Unit,
}

/// Steps of one operator, one after the other; which knob decides over it.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    knob: Option<usize>,
    units: Vec<Unit>,
}

/// The chain of a plan in runs: what comes before the second layer, that layer, and what comes after it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    parts: [Vec<Run>; 3],
    /// How often the second part comes.
    times: u32,
}

impl Path {
    /// Of a program whose chain is `links`.
    pub(super) fn whole(links: &[Link], knob_of: &dyn Fn(&str) -> Option<usize>) -> Self {
        Self { parts: [runs(links, knob_of), Vec::new(), Vec::new()], times: 0 }
    }

    /// Of `layers` that are alike, from the chains of one and of two; `None` where that of two is not that of one with a layer more.
    pub(super) fn of_layers(
        one: &[Link],
        two: &[Link],
        layers: u32,
        knob_of: &dyn Fn(&str) -> Option<usize>,
    ) -> Option<Self> {
        let more = two.len().checked_sub(one.len()).filter(|n| *n > 0)?;
        let before = one.iter().zip(two).take_while(|(a, b)| a == b).count();
        let rest = one.get(before..)?;
        let layer = two.get(before..before + more)?;
        let after = two.get(before + more..)?;
        let alike = rest.len() == after.len() && rest.iter().zip(after).all(|(a, b)| a.operator == b.operator);
        let parts = [two.get(..before)?, layer, after].map(|links| runs(links, knob_of));
        alike.then_some(Self { parts, times: layers - 1 })
    }

    /// Whether another has the same operators in the same order.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let knobs = |p: &Self| p.parts.clone().map(|part| part.iter().map(|r| r.knob).collect::<Vec<_>>());
        self.times == other.times && knobs(self) == knobs(other)
    }

    /// The least seconds of a run in which each knob's operators are those of the path that `chosen` has for it.
    pub(super) fn seconds(&self, chosen: &BTreeMap<usize, &Self>, dues: Option<&Dues>) -> f64 {
        let part = |number: usize| {
            let own = self.parts.get(number).into_iter().flatten().enumerate();
            own.flat_map(move |(place, run)| {
                let other = run.knob.and_then(|knob| chosen.get(&knob)?.parts.get(number)?.get(place));
                &other.unwrap_or(run).units
            })
        };
        let mut at = part(0).fold(At { time: 0.0, over: 0.0 }, |at, unit| at.after(unit, dues));
        for _ in 0..self.times {
            at = part(1).fold(at, |at, unit| at.after(unit, dues));
        }
        part(2).fold(at, |at, unit| at.after(unit, dues)).time
    }
}

fn runs(links: &[Link], knob_of: &dyn Fn(&str) -> Option<usize>) -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    for link in links {
        let knob = knob_of(&link.operator);
        match all.last_mut().filter(|last| last.knob == knob) {
            Some(last) => last.units.push(link.unit.clone()),
            None => all.push(Run { knob, units: vec![link.unit.clone()] }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The end of blocks and of what lies between them, where refresh interrupts each block as often as it falls due in it.
    fn simulated(units: &[Unit], dues: &Dues, delays: &[f64]) -> f64 {
        let mut at = 0.0;
        for (unit, delay) in units.iter().zip(delays.iter().cycle()) {
            at += delay;
            let Refreshed::AsWhole { free, adds_s, waits_s } = unit.refreshed else {
                at += unit.seconds;
                continue;
            };
            let (mut left, mut spared) = (unit.seconds, free);
            loop {
                let due = dues.first_s + dues.interval_s * dues.until(at);
                if at + left <= due + waits_s {
                    at += left;
                    break;
                }
                left -= due - at;
                at = due + if spared >= 1.0 { 0.0 } else { adds_s };
                spared -= 1.0;
            }
        }
        at
    }

    proptest! {
        /// Whatever else delays the steps, none ends before the course says.
        #[test]
        fn a_course_is_never_later_than_a_run(
            steps in proptest::collection::vec((0.0f64..3.0, 0u8..3, 0.0f64..0.4, 0.0f64..0.3), 1..40),
            delays in proptest::collection::vec(prop_oneof![Just(0.0f64), 0.0f64..0.4], 1..7),
            first in 0.1f64..1.0,
        ) {
            let dues = Dues { first_s: first, interval_s: 1.0, adds_s: 0.0, waits_s: 0.0 };
            let units: Vec<Unit> = steps
                .iter()
                .map(|(seconds, kind, adds_s, waits_s)| {
                    let whole = |free| Refreshed::AsWhole { free, adds_s: *adds_s, waits_s: *waits_s };
                    let refreshed = kind.checked_sub(1).map_or(Refreshed::Never, |free| whole(f64::from(free)));
                    Unit { seconds: *seconds, refreshed }
                })
                .collect();
            let links: Vec<Link> =
                units.iter().map(|unit| Link { operator: "a".into(), unit: unit.clone() }).collect();
            let path = Path::whole(&links, &|_| None);
            let least = path.seconds(&BTreeMap::new(), Some(&dues));
            let run = simulated(&units, &dues, &delays);
            prop_assert!(least <= run + 1e-9, "{least} above {run}");
            let without: f64 = units.iter().map(|u| u.seconds).sum();
            prop_assert!(least >= without - 1e-9);
        }
    }

    /// The end of blocks in cycles, each begun some cycles after the one before it, where a refresh that falls due in one adds what it adds there.
    fn simulated_in_cycles(blocks: &[(Vec<u32>, u64)], first: u64, interval: u64) -> u64 {
        let (mut at, mut due) = (0, first);
        for (costs, delay) in blocks {
            let start = at + delay;
            // What falls due between blocks goes out there.
            while due < start {
                due += interval;
            }
            let mut added = 0;
            while let Some(cost) = costs.get((due - start - added) as usize) {
                added += u64::from(*cost);
                due += interval;
            }
            at = start + costs.len() as u64 + added;
        }
        at
    }

    proptest! {
        /// The same of blocks of which is known what a refresh adds in each cycle.
        #[test]
        fn a_course_in_cycles_is_never_later_than_a_run(
            blocks in proptest::collection::vec((proptest::collection::vec(0u32..30, 1..150), 0u64..40), 1..12),
            first in 1u64..100,
        ) {
            // A refresh takes less than from one to the next.
            let interval = 100;
            let of = |(costs, _): &(Vec<u32>, u64)| {
                let added = Arc::new(Added::new(0, costs, interval));
                let refreshed = Refreshed::InCycles { added, way_s: 0.0, cycle_s: 1.0 };
                Link { operator: "a".into(), unit: Unit { seconds: costs.len() as f64, refreshed } }
            };
            let links: Vec<Link> = blocks.iter().map(of).collect();
            let dues = Dues { first_s: first as f64, interval_s: interval as f64, adds_s: 0.0, waits_s: 0.0 };
            let least = Path::whole(&links, &|_| None).seconds(&BTreeMap::new(), Some(&dues));
            let run = simulated_in_cycles(&blocks, first, interval) as f64;
            prop_assert!(least <= run, "{least} above {run}");
        }
    }

    #[test]
    fn layers_that_are_alike_are_taken_as_often_as_there_are() {
        let link = |operator: &str, seconds: f64| Link { operator: operator.into(), unit: Unit::going_on(seconds) };
        let (pre, layer, post) = (vec![link("e", 1.0)], vec![link("q", 2.0), link("n", 0.5)], vec![link("h", 3.0)]);
        let one: Vec<Link> = [&pre[..], &layer, &post].concat();
        let two: Vec<Link> = [&pre[..], &layer, &layer, &post].concat();
        let knob_of = |operator: &str| (operator == "q").then_some(0);
        let path = Path::of_layers(&one, &two, 5, &knob_of).unwrap_or_else(|| unreachable!("layers are alike"));
        let other: Vec<Link> = two.iter().map(|l| link(&l.operator, 10.0 * l.unit.seconds)).collect();
        let other_one: Vec<Link> = one.iter().map(|l| link(&l.operator, 10.0 * l.unit.seconds)).collect();
        let other =
            Path::of_layers(&other_one, &other, 5, &knob_of).unwrap_or_else(|| unreachable!("layers are alike"));
        assert!(path.is_like(&other));
        assert!((path.seconds(&BTreeMap::new(), None) - (1.0 + 5.0 * 2.5 + 3.0)).abs() < 1e-12);
        assert!((path.seconds(&[(0, &other)].into(), None) - (1.0 + 5.0 * 20.5 + 3.0)).abs() < 1e-12);
        assert!(Path::of_layers(&two, &one, 5, &knob_of).is_none());
    }
}
