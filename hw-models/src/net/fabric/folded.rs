//! A schedule at flow level without its million flows: where transfers do not get into one another's way, when each ends is a sum.
//!
//! Transfers between the same two ends in one time of a step begin together, and share their links alike: a *group*. A link is *quiet* where all
//! groups that can cross it at once have room, each at the rate that it has alone; an end is in one step at a time, so that of each source only its
//! fullest step counts. Max-min rates of groups all of whose links are quiet are the rates that they have alone, whatever else is under way. A step of
//! such groups takes each end from the later of two beginnings to the end of its last transfer: a linear recurrence in (max, +), without events. Once
//! all ends advance by the same time from one time of a repeated step to the next, they do so to its end.
//!
//! Steps that cross other links are run as flows, from where the quiet steps before them left each end; parts of a schedule that could meet on such
//! links must not overlap in time, else all of it is run as flows.

use super::flow::Fluid;
use super::routing::Routes;
use super::run::{Part, Paths, Ran, check, from_starts, paths, run};
use super::schedule::{Schedule, Step};

/// Transfers that begin and end together.
#[derive(Debug, Clone, Copy)]
struct Bundle {
    src: u32,
    dst: u32,
    path: (u32, u32),
    /// Bytes of one transfer; how many there are.
    bytes: f64,
    alike: u32,
    /// Bytes a second of all of them, alone.
    rate: f64,
    /// From their beginning to their end, seconds.
    takes: f64,
}

/// What rounding may add to a sum of rates.
const SLACK: f64 = 1.0 + 1e-9;
/// Advances that differ by less are the same: rounding of times up to seconds, far below a picosecond.
const SAME_S: f64 = 1e-14;

/// Runs a schedule at flow level: the same result as [`run`] with [`Fluid`], and faster where it can be.
///
/// # Errors
/// As [`run`].
pub fn run_folded(schedule: &Schedule, routes: &Routes<'_>, vertices: &[u32]) -> Result<Ran, String> {
    check(schedule, routes, vertices)?;
    let as_flows = || run(schedule, routes, vertices, &mut Fluid::over(routes.topology()));
    // Chunks of different sizes take another time each time.
    if !schedule.even() && schedule.steps.iter().any(|s| s.repeat > 1) {
        return as_flows();
    }
    let (ranges, links) = paths(schedule, routes, vertices)?;
    let steps = bundles(schedule, routes, &(ranges, links.clone()));
    let quiet = quiet_steps(&steps, &links, routes);
    if !quiet.iter().any(|q| *q) {
        return as_flows();
    }
    let mut link_bytes = vec![0.0; routes.topology().links().len()];
    let mut at = vec![0.0_f64; vertices.len()];
    let mut carried = 0;
    // Until when flows of earlier parts may be under way.
    let mut flows_until = 0.0_f64;
    let mut s = 0;
    while s < steps.len() {
        if quiet[s] {
            let times = recur(&schedule.steps[s], &steps[s], &mut at);
            carried += u64::from(times) * schedule.steps[s].transfers.len() as u64;
            for b in &steps[s] {
                let bytes = b.bytes * f64::from(b.alike) * f64::from(schedule.steps[s].repeat);
                links[b.path.0 as usize..b.path.1 as usize].iter().for_each(|l| link_bytes[*l as usize] += bytes);
            }
            s += 1;
            continue;
        }
        let end = (s..steps.len()).find(|e| quiet[*e]).unwrap_or(steps.len());
        let begins = steps[s..end].iter().flatten().flat_map(|b| [b.src, b.dst]);
        let first = begins.map(|e| at[e as usize]).fold(f64::INFINITY, f64::min);
        if first < flows_until {
            return as_flows();
        }
        if first.is_finite() {
            let part = Schedule { steps: schedule.steps[s..end].to_vec(), ..schedule.clone() };
            let starts: Vec<f64> = at.iter().map(|t| (t - first).max(0.0)).collect();
            let Part { finish, link_bytes: bytes, transfers } =
                from_starts(&part, routes, vertices, &starts, &mut Fluid::over(routes.topology()))?;
            carried += transfers;
            link_bytes.iter_mut().zip(bytes).for_each(|(all, own)| *all += own);
            for ((at, finish), start) in at.iter_mut().zip(finish).zip(starts) {
                // Ends that take no part stay where they are.
                if finish > start {
                    *at = first + finish;
                    flows_until = flows_until.max(*at);
                }
            }
        }
        s = end;
    }
    let seconds = at.iter().copied().fold(0.0, f64::max);
    Ok(Ran::new(routes.topology(), seconds, link_bytes, (carried, schedule.transfers())))
}

/// Transfers of each step by what begins and ends together.
fn bundles(schedule: &Schedule, routes: &Routes<'_>, (ranges, links): &Paths) -> Vec<Vec<Bundle>> {
    let topology = routes.topology();
    let mut base = 0;
    let mut steps = Vec::with_capacity(schedule.steps.len());
    for step in &schedule.steps {
        let own = &ranges[base..base + step.transfers.len()];
        base += step.transfers.len();
        let mut all: Vec<Bundle> = Vec::with_capacity(own.len());
        for (t, path) in step.transfers.iter().zip(own) {
            let bytes = schedule.bytes(step, t, 0);
            all.push(Bundle { src: t.src, dst: t.dst, path: *path, bytes, alike: 1, rate: 0.0, takes: 0.0 });
        }
        all.sort_unstable_by_key(|b| (b.src, b.dst, b.path.0, b.bytes.to_bits()));
        all.dedup_by(|b, kept| {
            let same =
                (b.src, b.dst, b.path, b.bytes.to_bits()) == (kept.src, kept.dst, kept.path, kept.bytes.to_bits());
            if same {
                kept.alike += 1;
            }
            same
        });
        for b in &mut all {
            let path = &links[b.path.0 as usize..b.path.1 as usize];
            let late: f64 = path.iter().map(|l| topology.link(*l).latency_s).sum();
            b.rate = path.iter().map(|l| topology.link(*l).bytes_per_s).fold(f64::INFINITY, f64::min);
            let flows = if b.bytes > 0.0 && b.rate.is_finite() { b.bytes / (b.rate / f64::from(b.alike)) } else { 0.0 };
            b.takes = flows + late;
        }
        steps.push(all);
    }
    steps
}

/// Whether all that a step's groups cross has room for all that can cross it at once.
fn quiet_steps(steps: &[Vec<Bundle>], links: &[u32], routes: &Routes<'_>) -> Vec<bool> {
    let all = routes.topology().links();
    // By source, then by step.
    let mut order: Vec<(u32, u32, u32)> = Vec::new();
    for (s, step) in steps.iter().enumerate() {
        order.extend(step.iter().enumerate().map(|(i, b)| (b.src, s as u32, i as u32)));
    }
    order.sort_unstable();
    let (mut load, mut fullest, mut now) = (vec![0.0; all.len()], vec![0.0_f64; all.len()], vec![0.0; all.len()]);
    let (mut of_source, mut of_step): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    for source in order.chunk_by(|a, b| a.0 == b.0) {
        for step in source.chunk_by(|a, b| a.1 == b.1) {
            for &(_, s, i) in step {
                let b = &steps[s as usize][i as usize];
                for &l in &links[b.path.0 as usize..b.path.1 as usize] {
                    if now[l as usize] == 0.0 {
                        of_step.push(l);
                    }
                    now[l as usize] += b.rate;
                }
            }
            for l in of_step.drain(..) {
                let l = l as usize;
                if fullest[l] == 0.0 {
                    of_source.push(l as u32);
                }
                fullest[l] = fullest[l].max(now[l]);
                now[l] = 0.0;
            }
        }
        for l in of_source.drain(..) {
            load[l as usize] += fullest[l as usize];
            fullest[l as usize] = 0.0;
        }
    }
    let quiet = |b: &Bundle| {
        let mut path = links[b.path.0 as usize..b.path.1 as usize].iter();
        path.all(|l| load[*l as usize] <= all[*l as usize].bytes_per_s * SLACK)
    };
    steps.iter().map(|step| step.iter().all(quiet)).collect()
}

/// Brings each end from before a step to after all of its times; how many of these were gone through.
fn recur(step: &Step, bundles: &[Bundle], at: &mut [f64]) -> u32 {
    let mut ends: Vec<u32> = bundles.iter().flat_map(|b| [b.src, b.dst]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut next = at.to_vec();
    for time in 0..step.repeat {
        for b in bundles {
            let (src, dst) = (b.src as usize, b.dst as usize);
            let done = at[src].max(at[dst]) + b.takes;
            next[src] = next[src].max(done);
            next[dst] = next[dst].max(done);
        }
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for &e in &ends {
            let advance = next[e as usize] - at[e as usize];
            (least, most) = (least.min(advance), most.max(advance));
            at[e as usize] = next[e as usize];
        }
        let left = step.repeat - time - 1;
        if left > 0 && most - least <= SAME_S {
            ends.iter().for_each(|e| at[*e as usize] += most * f64::from(left));
            return time + 1;
        }
    }
    step.repeat
}
