//! Settings in the order of their bounds, each simulated as far as it must be.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use banksia_hw::gpu::LaunchCache;
use banksia_mappers::parallel::ParallelError;
use banksia_mappers::parallel::bounded::{Bounds, operator, simulated};
use banksia_mappers::parallel::collectives::ClusterTimes;
use banksia_mappers::parallel::op::LocalOp;
use banksia_mappers::parallel::times::OpCost;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::super::keep::{Evaluated, Keep, Kept, key};
use super::super::objective::Best;
use super::super::options::SearchOptions;
use super::problem::{Problem, Simulated, settings};
use crate::error::Error;

/// Settings simulated between two looks at the bounds, and operators: numbers of their own, so that the result does not depend on the number of
/// threads.
const AT_ONCE: usize = 8;

/// What a walk came to.
pub(super) struct Walked {
    pub(super) done: Vec<Simulated>,
    /// Settings that turned out not to fit when they were simulated, by what they break.
    pub(super) refused: Vec<(String, u64)>,
    /// The least bound of what may still be better; none where nothing may.
    pub(super) left: Option<f64>,
    /// The bound of each setting: seconds and joules, as far as it was raised.
    pub(super) bounds: Vec<[f64; 2]>,
    pub(super) simulated: u64,
    pub(super) taken: u64,
    pub(super) operators: u64,
}

/// A setting with its bound.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    bound: f64,
    tie: u64,
    point: usize,
}

impl Eq for Node {}

impl Ord for Node {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the largest first.
        other.bound.total_cmp(&self.bound).then(other.tie.cmp(&self.tie)).then(other.point.cmp(&self.point))
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A number of a setting that depends on the seed alone.
fn mixed(seed: u64, point: usize) -> u64 {
    if seed == 0 {
        return 0;
    }
    let mut x = (seed ^ 0x9e37_79b9_7f4a_7c15) ^ (point as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    x.wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// What an operator takes, from a cache of launches where that has it.
fn cached(
    cache: Option<&Arc<dyn LaunchCache>>,
    device: &str,
    op: &LocalOp,
    work: impl FnOnce() -> Result<OpCost, ParallelError>,
) -> Result<OpCost, ParallelError> {
    let Some(cache) = cache else { return work() };
    let mut hash = Sha256::new();
    hash.update(format!("operator of a training step\n{device}\n{op:?}"));
    let key: [u8; 32] = hash.finalize().into();
    let number = |at: usize, bytes: &[u8]| bytes.get(8 * at..8 * at + 8)?.try_into().ok().map(f64::from_le_bytes);
    if let Some(bytes) = cache.get(&key)
        && let (Some(seconds), Some(joules), Some(memory_joules), Some(tensor_busy)) =
            (number(0, &bytes), number(1, &bytes), number(2, &bytes), number(3, &bytes))
    {
        return Ok(OpCost { seconds, joules, memory_joules, tensor_busy });
    }
    let cost = work()?;
    let numbers = [cost.seconds, cost.joules, cost.memory_joules, cost.tensor_busy];
    cache.put(&key, numbers.into_iter().flat_map(f64::to_le_bytes).collect());
    Ok(cost)
}

fn failed(e: &ParallelError) -> Error {
    Error::Failed(format!("`{}` {}", e.key, e.problem))
}

struct Walk<'a> {
    problem: &'a Problem,
    options: &'a SearchOptions,
    bounds: Bounds<'a>,
    known: HashMap<LocalOp, OpCost>,
    /// What a bound of each setting came to.
    least: Vec<[f64; 2]>,
}

impl Walk<'_> {
    /// The bound of a setting by what is known now, and what is not.
    fn bound(&mut self, point: usize) -> Result<(f64, BTreeSet<LocalOp>), Error> {
        let Some(own) = self.problem.points.get(point) else { return Ok((f64::INFINITY, BTreeSet::new())) };
        let bounded = self.bounds.of(&own.setting, own.micros, &self.known).map_err(|e| failed(&e))?;
        let (seconds, joules) = (bounded.least.seconds, bounded.least.joules);
        if let Some(least) = self.least.get_mut(point) {
            *least = [seconds, joules];
        }
        Ok((self.problem.value(self.options.objective, seconds, joules), bounded.missing))
    }
}

pub(super) fn walk(
    problem: &Problem,
    options: &SearchOptions,
    keep: &Keep,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Walked, Error> {
    let pool = super::super::evaluate::pool(options)?;
    let mut walk = Walk {
        problem,
        options,
        bounds: Bounds::new(&problem.setup),
        known: HashMap::new(),
        least: vec![[0.0; 2]; problem.points.len()],
    };
    let mut heap = BinaryHeap::with_capacity(problem.points.len());
    for point in 0..problem.points.len() {
        let (bound, _) = walk.bound(point)?;
        heap.push(Node { bound, tie: mixed(options.seed, point), point });
    }
    let (device, whole) = problem.contents();
    let taken = AtomicU64::new(0);
    let budget = usize::try_from(options.budget).unwrap_or(usize::MAX);
    let mut done: Vec<Simulated> = Vec::new();
    let mut refused: Vec<(String, u64)> = Vec::new();
    let mut best = Best::new(options.objective);
    let (mut operators, mut simulations) = (0_u64, 0_u64);
    let mut tried: BTreeSet<usize> = BTreeSet::new();
    let mut first: Option<usize> = problem.written;
    loop {
        let mut round: Vec<Node> = Vec::new();
        let mut missing: BTreeSet<LocalOp> = BTreeSet::new();
        if let Some(point) = first.take() {
            // The setting as it is written comes first, whatever its bound: what is found is set beside it.
            let (bound, more) = walk.bound(point)?;
            if more.is_empty() {
                round.push(Node { bound, tie: 0, point });
            } else {
                first = Some(point);
            }
            missing = more;
        }
        while round.len() < AT_ONCE && missing.is_empty() && done.len() + round.len() < budget.max(1) {
            let Some(node) = heap.peek().copied() else { break };
            let least = walk.least.get(node.point).copied().unwrap_or_default();
            if !options.exhaustive && !best.may_be_beaten_by(node.bound, least) {
                if best.is_ordered() {
                    break;
                }
                heap.pop();
                continue;
            }
            heap.pop();
            if tried.contains(&node.point) || round.iter().any(|r| r.point == node.point) {
                continue;
            }
            let (bound, more) = walk.bound(node.point)?;
            if bound > node.bound {
                heap.push(Node { bound, ..node });
            } else if more.is_empty() {
                round.push(node);
            } else {
                heap.push(node);
                missing = more;
            }
        }
        if !missing.is_empty() {
            for node in round {
                // Looked at again once these are known.
                if problem.written == Some(node.point) && !tried.contains(&node.point) && done.is_empty() {
                    first = Some(node.point);
                } else {
                    heap.push(node);
                }
            }
            operators += missing.len() as u64;
            let list: Vec<LocalOp> = missing.into_iter().collect();
            let gpu = &problem.setup.gpu;
            let one = |op: &LocalOp| cached(options.cache.as_ref(), &device, op, || operator(gpu, op));
            let costs: Vec<_> = pool.install(|| list.par_iter().with_max_len(1).map(one).collect());
            for (op, cost) in list.into_iter().zip(costs) {
                walk.known.insert(op, cost.map_err(|e| failed(&e))?);
            }
            continue;
        }
        if round.is_empty() {
            break;
        }
        let (known, setup, bounds) = (&walk.known, &problem.setup, &walk.least);
        let taken = &taken;
        let one = |times: &mut ClusterTimes, node: &Node| -> Result<[f64; 2], ParallelError> {
            let Some(point) = problem.points.get(node.point) else {
                return Err(ParallelError::new("parallel", "is no setting"));
            };
            let key = keep.is_open().then(|| key(&[&whole, &format!("{:?}", point.setting)]));
            if let Some(kept) = key.as_ref().and_then(|key| keep.known(key)) {
                taken.fetch_add(1, Relaxed);
                return Ok([kept.latency_s, kept.energy_j]);
            }
            let begun = Instant::now();
            let report = simulated(setup, times, &point.setting, known)?;
            let (latency_s, energy_j) = (report.step_s, report.energy_j);
            if let Some(key) = key {
                let plain = |(k, v): (String, String)| (k, v.trim_matches('"').to_owned());
                keep.keep(
                    node.point as u64,
                    Evaluated {
                        key,
                        settings: settings(&point.setting).into_iter().map(plain).collect(),
                        model: problem.model.clone(),
                        machine: problem.machine(),
                        result: Kept { latency_s, energy_j, tokens: problem.tokens },
                        bound_s: bounds.get(node.point).map_or(0.0, |l| l[0]),
                        wall_s: begun.elapsed().as_secs_f64(),
                    },
                );
            }
            Ok([latency_s, energy_j])
        };
        let new = || ClusterTimes::new(setup.cluster.clone());
        let results: Vec<_> = pool.install(|| round.par_iter().with_max_len(1).map_init(new, one).collect());
        for (node, result) in round.iter().zip(results) {
            tried.insert(node.point);
            match result {
                Ok([latency_s, energy_j]) => {
                    simulations += 1;
                    progress(simulations);
                    let bound_s = walk.least.get(node.point).map_or(0.0, |l| l[0]);
                    let value = problem.value(options.objective, latency_s, energy_j);
                    best.take(value, [latency_s, energy_j]);
                    done.push(Simulated { point: node.point, latency_s, energy_j, bound_s, value });
                }
                Err(e) if e.key.starts_with("parallel") => {
                    let reason = match e.key.as_str() {
                        "parallel" => format!("`parallel` does not fit the memory of a {}", setup.gpu.name),
                        key => format!("`{key}` {}", e.problem),
                    };
                    match refused.iter_mut().find(|(r, _)| *r == reason) {
                        Some((_, n)) => *n += 1,
                        None => refused.push((reason, 1)),
                    }
                }
                Err(e) => return Err(failed(&e)),
            }
        }
    }
    let open = |n: &Node| {
        let least = walk.least.get(n.point).copied().unwrap_or_default();
        !tried.contains(&n.point) && best.may_be_beaten_by(n.bound, least)
    };
    let left = heap.into_iter().filter(open).map(|n| n.bound).reduce(f64::min);
    let taken = taken.into_inner();
    Ok(Walked { done, refused, left, bounds: walk.least, simulated: simulations, taken, operators })
}
