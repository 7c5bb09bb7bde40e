//! The engine: jumps from action to action, and explains itself when nothing can happen any more.
//!
//! It keeps one wake-up for each component. After a component has acted, it and everyone it touched are asked for
//! their next action, and a changed answer replaces the wake-up. Actions of equal time run in the order in which they
//! were scheduled, so a run is the same every time.

use std::fmt;

use crate::component::{ComponentId, Model, Wakes};
use crate::observe::{NullObserver, Observer};
use crate::queue::EventQueue;
use crate::time::Time;

/// A component, the stamp of its wake-up, and when.
type Wakeup = (Time, (ComponentId, u32));

/// Runs a [`Model`].
#[derive(Clone, Debug, Default)]
pub struct Engine {
    /// (component, stamp); an event whose stamp is not its component's was replaced.
    queue: EventQueue<(ComponentId, u32)>,
    /// What a pause found due after it, the earliest last: it goes before what the queue has at its time.
    held: Vec<Wakeup>,
    due: Vec<Due>,
    wakes: Wakes,
    now: Time,
    acts: u64,
    /// Acts since time last advanced.
    acts_at_now: u64,
    livelock_after: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    time: Option<Time>,
    stamp: u32,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No component will act again, and none has work left.
    Finished,
    /// The next action lies after the time to run until.
    Paused,
}

/// Why a run could not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Work is left, and nothing can happen.
    #[error(transparent)]
    Deadlock(#[from] Deadlock),
    /// Components act for ever without time passing.
    #[error("livelock at {at}: {acts} acts without time advancing, the last by {component}")]
    Livelock {
        /// The time that does not pass.
        at: Time,
        /// How many acts it has seen.
        acts: u64,
        /// The last to act.
        component: String,
    },
    /// A component asked to act at [`Time::MAX`]: a time overflowed.
    #[error("at {at}, {component} asked to act beyond the longest time that can be simulated, {max}", max = Time::MAX)]
    TimeOverflow {
        /// When it was asked.
        at: Time,
        /// Who.
        component: String,
    },
}

/// Nothing can happen any more, and these components have work left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// When the last component acted.
    pub at: Time,
    /// The waits that close on themselves: each waits for the next, the last for the first. Empty if there are none,
    /// as when somebody waits for a component that believes it is done.
    pub cycle: Vec<Blocked>,
    /// Every wait of every component.
    pub blocked: Vec<Blocked>,
}

/// One component's wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Who waits.
    pub component: String,
    /// For whom.
    pub waits_for: String,
    /// For what.
    pub what: String,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits for {}: {}", self.component, self.waits_for, self.what)
    }
}

impl std::error::Error for Deadlock {}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A model may have thousands of components that wait for the few in the cycle.
        const SHOWN: usize = 16;
        let list = |f: &mut fmt::Formatter<'_>, waits: &[Blocked]| {
            for wait in waits.iter().take(SHOWN) {
                write!(f, "\n  {wait}")?;
            }
            if waits.len() > SHOWN { write!(f, "\n  and {} more", waits.len() - SHOWN) } else { Ok(()) }
        };
        write!(f, "deadlock at {}: ", self.at)?;
        if self.cycle.is_empty() {
            f.write_str("nothing can happen, though no components wait for each other in a cycle:")?;
            return list(f, &self.blocked);
        }
        write!(f, "these wait for each other:")?;
        list(f, &self.cycle)?;
        let others: Vec<Blocked> = self.blocked.iter().filter(|b| !self.cycle.contains(b)).cloned().collect();
        if others.is_empty() {
            return Ok(());
        }
        f.write_str("\nand behind them:")?;
        list(f, &others)
    }
}

impl Engine {
    /// An engine at time zero.
    #[must_use]
    pub fn new() -> Engine {
        Engine::default()
    }

    /// The same engine, which reports a livelock after `acts` acts without time advancing; as a rule 2^20, and 64 for
    /// each component.
    #[must_use]
    pub fn with_livelock_after(mut self, acts: u64) -> Engine {
        self.livelock_after = Some(acts);
        self
    }

    /// The time of the last act.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// How many times components have acted.
    #[must_use]
    pub fn acts(&self) -> u64 {
        self.acts
    }

    /// Tells the engine, between runs, that a component's state was changed from outside.
    pub fn touch(&mut self, id: ComponentId) {
        self.wakes.touch(id);
    }

    /// Runs until nothing is left to happen.
    ///
    /// # Errors
    /// [`RunError::Deadlock`] if work is left then; [`RunError::Livelock`] and [`RunError::TimeOverflow`] on the way.
    pub fn run<M: Model>(&mut self, model: &mut M) -> Result<(), RunError> {
        self.run_until(model, Time::MAX, &mut NullObserver).map(|_| ())
    }

    /// Runs all actions up to and including `until`, each an event for `observer`, on the lane of its component. A
    /// paused run can be continued.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_until<M: Model, O: Observer>(
        &mut self,
        model: &mut M,
        until: Time,
        observer: &mut O,
    ) -> Result<Outcome, RunError> {
        let known = self.due.len();
        self.due.resize(model.components(), Due { time: None, stamp: 0 });
        for id in known..self.due.len() {
            self.reschedule(model, ComponentId(id as u32))?;
        }
        self.reschedule_touched(model)?;
        let livelock_after = self.livelock_after.unwrap_or((1 << 20) + 64 * self.due.len() as u64);
        while let Some((time, (id, stamp))) = self.next() {
            if self.due[id.index()].stamp != stamp {
                continue;
            }
            if time > until {
                self.held.push((time, (id, stamp)));
                return Ok(Outcome::Paused);
            }
            if time > self.now {
                self.now = time;
                self.acts_at_now = 0;
            }
            self.acts += 1;
            self.acts_at_now += 1;
            if self.acts_at_now > livelock_after {
                let component = model.name(id);
                return Err(RunError::Livelock { at: self.now, acts: self.acts_at_now - 1, component });
            }
            self.due[id.index()].time = None;
            if O::ENABLED {
                observer.event(id.0, time, || "act".into());
            }
            model.act(id, time, &mut self.wakes);
            self.reschedule(model, id)?;
            self.reschedule_touched(model)?;
        }
        match self.deadlock(model) {
            Some(deadlock) => Err(deadlock.into()),
            None => Ok(Outcome::Finished),
        }
    }

    /// The next wake-up, in order of time and, at one time, of scheduling.
    #[inline]
    fn next(&mut self) -> Option<Wakeup> {
        let Some(&(held, _)) = self.held.last() else { return self.queue.pop() };
        if self.queue.peek_time().is_none_or(|t| held <= t) { self.held.pop() } else { self.queue.pop() }
    }

    #[inline]
    fn reschedule_touched<M: Model>(&mut self, model: &M) -> Result<(), RunError> {
        for i in 0..self.wakes.touched.len() {
            let id = self.wakes.touched[i];
            // A component that does not exist has nothing to do.
            if id.index() < self.due.len() {
                self.reschedule(model, id)?;
            }
        }
        self.wakes.touched.clear();
        Ok(())
    }

    /// Asks a component for its next action, and replaces its wake-up if the answer has changed.
    #[inline]
    fn reschedule<M: Model>(&mut self, model: &M, id: ComponentId) -> Result<(), RunError> {
        let next = model.next_action(id).map(|t| t.max(self.now));
        let due = &mut self.due[id.index()];
        if due.time == next {
            return Ok(());
        }
        due.time = next;
        due.stamp = due.stamp.wrapping_add(1);
        match next {
            Some(Time::MAX) => Err(RunError::TimeOverflow { at: self.now, component: model.name(id) }),
            Some(time) => {
                self.queue.push(time, (id, due.stamp));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Who waits for whom, if anyone does.
    fn deadlock<M: Model>(&self, model: &M) -> Option<Deadlock> {
        let waits: Vec<_> = (0..self.due.len()).map(|id| model.waits(ComponentId(id as u32))).collect();
        let describe = |id: usize, wait: usize| {
            let w = &waits[id][wait];
            let exists = w.on.index() < waits.len();
            let waits_for = if exists { model.name(w.on) } else { w.on.to_string() };
            Blocked { component: model.name(ComponentId(id as u32)), waits_for, what: w.what.clone() }
        };
        let edges: Vec<Vec<usize>> = waits.iter().map(|ws| ws.iter().map(|w| w.on.index()).collect()).collect();
        let cycle = find_cycle(&edges).into_iter().map(|(id, wait)| describe(id, wait)).collect();
        let blocked: Vec<Blocked> = (0..waits.len())
            .flat_map(|id| (0..waits[id].len()).map(move |wait| (id, wait)))
            .map(|(id, wait)| describe(id, wait))
            .collect();
        (!blocked.is_empty()).then_some(Deadlock { at: self.now, cycle, blocked })
    }
}

/// The first cycle that a depth-first search meets, as (node, which of its edges); empty if there is none.
fn find_cycle(edges: &[Vec<usize>]) -> Vec<(usize, usize)> {
    // How many of a node's edges were followed; the nodes of the present path are those in `path`.
    let mut followed = vec![0usize; edges.len()];
    let mut on_path = vec![false; edges.len()];
    for root in 0..edges.len() {
        let mut path: Vec<usize> = Vec::new();
        if followed[root] == 0 {
            path.push(root);
            on_path[root] = true;
        }
        while let Some(&node) = path.last() {
            let Some(&to) = edges[node].get(followed[node]) else {
                on_path[node] = false;
                path.pop();
                continue;
            };
            followed[node] += 1;
            if to >= edges.len() {
                continue;
            }
            if on_path[to] {
                let start = path.iter().position(|&n| n == to).unwrap_or(0);
                return path[start..].iter().map(|&n| (n, followed[n] - 1)).collect();
            }
            if followed[to] == 0 {
                on_path[to] = true;
                path.push(to);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::find_cycle;
    use proptest::prelude::*;

    #[test]
    fn a_cycle_is_found_behind_a_tail() {
        assert_eq!(find_cycle(&[vec![1], vec![2], vec![9, 1], vec![]]), [(1, 0), (2, 1)]);
        assert_eq!(find_cycle(&[vec![0]]), [(0, 0)]);
        assert!(find_cycle(&[vec![1, 2], vec![2], vec![]]).is_empty());
    }

    proptest! {
        /// A cycle is found exactly where repeatedly removing nodes without outgoing edges leaves some.
        #[test]
        fn a_cycle_is_found_where_there_is_one(
            edges in prop::collection::vec(prop::collection::vec(0usize..10, 0..3), 10),
        ) {
            let mut left: Vec<bool> = vec![true; 10];
            for _ in 0..10 {
                for n in 0..10 {
                    left[n] = edges[n].iter().any(|&to| left[to]);
                }
            }
            let cycle = find_cycle(&edges);
            prop_assert_eq!(!cycle.is_empty(), left.contains(&true));
            for (i, &(node, edge)) in cycle.iter().enumerate() {
                prop_assert_eq!(edges[node][edge], cycle[(i + 1) % cycle.len()].0);
            }
        }
    }
}
