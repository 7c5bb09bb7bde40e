//! Plans in the order of their bounds.
//!
//! Of each setting of the knobs that may change anything, the others add their seconds and joules to a base. A weighted sum of both orders their
//! combinations: the next is a successor of one that came before, one value of one knob further down its own order.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

use super::bound::Least;
use super::objective::Objective;
use super::space::{Bounded, Branch};

/// A plan with its bound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// A value of each knob, by its number.
    pub(super) choice: Vec<Option<usize>>,
    /// No plan from here on is below it, in the objective.
    pub(super) bound: f64,
}

/// A node of a branch: how far down its order each knob is.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    bound: f64,
    tie: u64,
    branch: usize,
    places: Vec<usize>,
}

impl Eq for Node {}

impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the largest first.
        let by = other.bound.total_cmp(&self.bound).then(other.tie.cmp(&self.tie));
        by.then_with(|| other.branch.cmp(&self.branch)).then_with(|| other.places.cmp(&self.places))
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A branch in order.
#[derive(Debug)]
struct Ordered<'a> {
    branch: &'a Branch,
    /// Of each inner knob its values from the smallest weight on, with the weights.
    orders: Vec<Vec<(f64, usize)>>,
    base: f64,
    /// What a weighted sum says at least of the objective.
    floor: Floor,
}

/// What remains of an objective when only a weighted sum is known.
#[derive(Debug, Clone, Copy)]
enum Floor {
    /// The sum is the objective.
    Same,
    /// The objective is a product of seconds and joules, each at least so much, and the sum is of their ratios to these.
    Product(Least),
}

impl Floor {
    fn of(self, sum: f64) -> f64 {
        match self {
            Self::Same => sum,
            // With T >= 1, E >= 1 and T + E >= sum, a product is least at an end: 1 and sum - 1.
            Self::Product(least) => least.seconds * least.joules * (sum - 1.0).max(1.0),
        }
    }
}

/// Makes candidates one after the other.
#[derive(Debug)]
pub(super) struct Lattice<'a> {
    branches: Vec<Ordered<'a>>,
    heap: BinaryHeap<Node>,
    seen: BTreeSet<(usize, Vec<usize>)>,
    seed: u64,
}

/// A number of a node that depends on the seed alone.
fn mixed(seed: u64, branch: usize, places: &[usize]) -> u64 {
    let mut x = seed ^ 0x9e37_79b9_7f4a_7c15;
    for n in std::iter::once(branch).chain(places.iter().copied()) {
        x = (x ^ n as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 29;
    }
    x
}

impl<'a> Lattice<'a> {
    pub(super) fn new(bounded: &'a Bounded, objective: Objective, seed: u64) -> Self {
        let tokens = bounded.tokens.max(1.0);
        let branches: Vec<Ordered<'a>> =
            bounded.branches.iter().map(|b| ordered(b, objective, bounded.idle_w, tokens)).collect();
        let mut this = Self { branches, heap: BinaryHeap::new(), seen: BTreeSet::new(), seed };
        for branch in 0..this.branches.len() {
            let places = vec![0; this.branches[branch].orders.len()];
            this.push(branch, places);
        }
        this
    }

    fn push(&mut self, branch: usize, places: Vec<usize>) {
        let Some(own) = self.branches.get(branch) else { return };
        let mut sum = own.base;
        for (order, place) in own.orders.iter().zip(&places) {
            let Some((weight, _)) = order.get(*place) else { return };
            sum += weight;
        }
        if self.seen.insert((branch, places.clone())) {
            let tie = if self.seed == 0 { 0 } else { mixed(self.seed, branch, &places) };
            self.heap.push(Node { bound: own.floor.of(sum), tie, branch, places });
        }
    }

    /// The next plan; `None` after the last.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        let node = self.heap.pop()?;
        for knob in 0..node.places.len() {
            let mut places = node.places.clone();
            places[knob] += 1;
            self.push(node.branch, places);
        }
        let own = self.branches.get(node.branch)?;
        let mut choice = own.branch.outer.clone();
        for ((knob, order), place) in own.branch.inner.iter().map(|i| i.knob).zip(&own.orders).zip(&node.places) {
            if let (Some(slot), Some((_, value))) = (choice.get_mut(knob), order.get(*place)) {
                *slot = Some(*value);
            }
        }
        Some(Candidate { choice, bound: node.bound })
    }
}

fn ordered<'a>(branch: &'a Branch, objective: Objective, idle_w: f64, tokens: f64) -> Ordered<'a> {
    let least = |b: &Branch| {
        b.inner.iter().fold(b.base, |sum, inner| {
            let min = |of: fn(&Least) -> f64| inner.values.iter().map(|(_, l)| of(l)).fold(f64::INFINITY, f64::min);
            Least { seconds: sum.seconds + min(|l| l.seconds), joules: sum.joules + min(|l| l.joules) }
        })
    };
    let all = |l: Least| l.joules + idle_w * l.seconds;
    let floor_of = least(branch);
    let floor_of = Least { seconds: floor_of.seconds, joules: all(floor_of) };
    let weight = |l: Least| match objective {
        Objective::Latency => l.seconds,
        Objective::TokensPerS => l.seconds / tokens,
        Objective::Energy => all(l),
        Objective::TokensPerJ => all(l) / tokens,
        Objective::Edp | Objective::LatencyEnergy if floor_of.seconds > 0.0 && floor_of.joules > 0.0 => {
            l.seconds / floor_of.seconds + all(l) / floor_of.joules
        }
        Objective::Edp | Objective::LatencyEnergy => 0.0,
    };
    let orders = branch.inner.iter().map(|inner| {
        let mut order: Vec<(f64, usize)> = inner.values.iter().map(|(value, l)| (weight(*l), *value)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        order
    });
    let product = matches!(objective, Objective::Edp | Objective::LatencyEnergy);
    let floor = if product { Floor::Product(floor_of) } else { Floor::Same };
    Ordered { branch, orders: orders.collect(), base: weight(branch.base), floor }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::space::Inner;
    use super::*;
    use proptest::prelude::*;

    fn least(seconds: f64, joules: f64) -> Least {
        Least { seconds, joules }
    }

    proptest! {
        /// Every plan comes once, bounds never fall, and none is above the plan's own value.
        #[test]
        fn plans_come_in_the_order_of_their_bounds(
            values in proptest::collection::vec(proptest::collection::vec((0.1f64..10.0, 0.1f64..10.0), 1..5), 1..4),
            seed in 0u64..3,
            which in 0usize..6,
        ) {
            let objective = Objective::ALL[which].1;
            let inner: Vec<Inner> = values.iter().enumerate().map(|(knob, values)| Inner {
                knob,
                values: values.iter().enumerate().map(|(i, (s, j))| (i, least(*s, *j))).collect(),
            }).collect();
            let base = least(1.0, 2.0);
            let branch = Branch { outer: vec![None; values.len()], base, inner, courses: None };
            let bounded =
                Bounded { branches: vec![branch], illegal: 0, idle_w: 0.5, tokens: 4.0, refused: BTreeMap::new(), dues: None };
            let mut lattice = Lattice::new(&bounded, objective, seed);
            let (mut last, mut all) = (0.0f64, BTreeSet::new());
            while let Some(candidate) = lattice.next() {
                prop_assert!(candidate.bound >= last - 1e-12);
                last = candidate.bound;
                let total = candidate.choice.iter().zip(&values).fold(base, |sum, (choice, values)| {
                    let (s, j) = values[choice.unwrap()];
                    least(sum.seconds + s, sum.joules + j)
                });
                let value = objective.of(total.seconds, total.joules + 0.5 * total.seconds, 4.0);
                prop_assert!(candidate.bound <= value * (1.0 + 1e-9), "{} above {value}", candidate.bound);
                prop_assert!(all.insert(candidate.choice));
            }
            prop_assert_eq!(all.len(), values.iter().map(Vec::len).product::<usize>());
        }
    }
}
