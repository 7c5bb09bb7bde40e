//! Local search, for spaces that are too large to go through in the order of their bounds.
//!
//! From a plan, those that differ from it in one choice are its neighbours: the ones whose bounds leave them a chance are simulated, in an order that the
//! seed gives, a few at once; as soon as one of these is better, the search goes on from the best of them. Where none is, it begins again elsewhere: first from
//! the best plan so far, then from the plan that the experiment writes, then from plans that the seed draws. It proves nothing: how far the best may be from the
//! optimum is what the bounds of what is left say.

use super::rounds::{AT_ONCE, Rounds};
use super::space::{Choice, Space};
use crate::error::Error;

/// Draws without a plan that may be better and is new, after which there are taken to be none.
const DRAWS: u64 = 256;

/// Simulates plans around `first`, around the plan that the experiment writes, and around others, until so many have been in all or the budget is spent.
pub(super) fn search(
    rounds: &mut Rounds<'_>,
    space: &Space,
    first: Option<Choice>,
    seed: u64,
    until: usize,
) -> Result<(), Error> {
    let mut draws = Draws { state: seed ^ 0x9e37_79b9_7f4a_7c15 };
    let mut starts: Vec<Choice> = vec![space.written()];
    starts.extend(first);
    while rounds.room(until) > 0 {
        let Some(start) = starts.pop().or_else(|| draw(rounds, space, &mut draws)) else { return Ok(()) };
        climb(rounds, space, start, &mut draws, until)?;
    }
    Ok(())
}

/// From a plan to better ones next to it, until there are none.
fn climb(rounds: &mut Rounds<'_>, space: &Space, start: Choice, draws: &mut Draws, until: usize) -> Result<(), Error> {
    let known = rounds.value_of(&start);
    let mut here = (start, known.unwrap_or(f64::INFINITY));
    if known.is_none() && rounds.seen.insert(here.0.clone()) {
        match rounds.run(std::slice::from_ref(&here.0))?.first() {
            Some(Some(value)) => here.1 = *value,
            _ => return Ok(()),
        }
    }
    'moved: loop {
        let mut next = neighbours(space, &here.0);
        draws.shuffle(&mut next);
        let mut next = next.into_iter();
        loop {
            let mut round: Vec<Choice> = Vec::new();
            while round.len() < AT_ONCE.min(rounds.room(until)) {
                let Some(choice) = next.next() else { break };
                if rounds.may_be_best(&choice) && rounds.seen.insert(choice.clone()) {
                    round.push(choice);
                }
            }
            if round.is_empty() {
                return Ok(());
            }
            let values = rounds.run(&round)?;
            let found = round.into_iter().zip(values).filter_map(|(choice, value)| Some((choice, value?)));
            let best = found.min_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
            if let Some(best) = best.filter(|b| b.1 < here.1) {
                here = best;
                continue 'moved;
            }
        }
    }
}

/// Plans that differ from one in one choice.
fn neighbours(space: &Space, from: &Choice) -> Vec<Choice> {
    let mut all = Vec::new();
    for (number, knob) in space.knobs.iter().enumerate() {
        for value in (0..knob.values.len()).filter(|v| from.get(number).copied().flatten() != Some(*v)) {
            let mut choice = from.clone();
            choice[number] = Some(value);
            all.push(space.complete(choice));
        }
    }
    all
}

/// A new plan that may be better than all that were simulated.
fn draw(rounds: &Rounds<'_>, space: &Space, draws: &mut Draws) -> Option<Choice> {
    (0..DRAWS).find_map(|_| {
        let of = |knob: &banksia_mappers::Knob, draws: &mut Draws| Some(draws.below(knob.values.len()));
        let choice = space.complete(space.knobs.iter().map(|knob| of(knob, draws)).collect());
        (!rounds.seen.contains(&choice) && rounds.may_be_best(&choice)).then_some(choice)
    })
}

/// Numbers that depend on the seed alone (splitmix64).
struct Draws {
    state: u64,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below another, which is at least one.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            let j = self.below(i + 1);
            list.swap(i, j);
        }
    }
}
