//! Runs a schedule over a fabric: who is ready begins, who is done goes on.

use super::carrier::Carrier;
use super::course::Course;
use super::plan::{End, Plan};
use super::routing::Routes;
use super::schedule::Schedule;
use super::topology::{CLASSES, Topology};

/// What a collective took on a fabric.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// From the first transfer to the end of the last, seconds.
    pub seconds: f64,
    /// Bytes over each link.
    pub link_bytes: Vec<f64>,
    /// Bytes over the links of each class ([`CLASSES`]).
    pub class_bytes: [f64; 4],
    /// Energy of all links, J.
    pub energy_j: f64,
    /// Transfers that were carried; those of a repeated step that takes the same each time are carried once.
    pub transfers: u64,
    /// Transfers in all.
    pub transfers_in_all: u64,
}

/// Runs a schedule. `vertices` says where each rank and agent lies; a transfer goes by the path that [`Routes`] gives it.
///
/// # Errors
/// The schedule cannot be, has more ends than there are vertices, or two of them have no path.
pub fn run(
    schedule: &Schedule,
    routes: &Routes<'_>,
    vertices: &[u32],
    carrier: &mut impl Carrier,
) -> Result<Ran, String> {
    check(schedule, routes, vertices)?;
    let starts = vec![0.0; vertices.len()];
    let ran = from_starts(schedule, routes, vertices, &starts, carrier)?;
    Ok(Ran::new(routes.topology(), carrier.now(), ran.link_bytes, (ran.transfers, schedule.transfers())))
}

impl Ran {
    /// What is known of all: its links' bytes, summed by class and energy.
    pub(super) fn new(topology: &Topology, seconds: f64, link_bytes: Vec<f64>, transfers: (u64, u64)) -> Self {
        let mut class_bytes = [0.0; CLASSES.len()];
        let mut energy_j = 0.0;
        for (link, bytes) in topology.links().iter().zip(&link_bytes) {
            class_bytes[link.class.index()] += bytes;
            energy_j += bytes * 8.0 * link.pj_per_bit * 1e-12;
        }
        Self { seconds, link_bytes, class_bytes, energy_j, transfers: transfers.0, transfers_in_all: transfers.1 }
    }
}

/// Whether a schedule can be run between so many vertices.
pub(super) fn check(schedule: &Schedule, routes: &Routes<'_>, vertices: &[u32]) -> Result<(), String> {
    schedule.check()?;
    let ends = schedule.ranks + schedule.agents;
    let topology = routes.topology();
    if vertices.len() != ends as usize || vertices.iter().any(|v| *v >= topology.vertices()) {
        return Err(format!(
            "has {ends} ranks and agents, but {} vertices of {} are given",
            vertices.len(),
            topology.vertices()
        ));
    }
    Ok(())
}

/// What a part of a schedule took.
pub(super) struct Part {
    /// When each end was done with all of it, seconds.
    pub finish: Vec<f64>,
    /// Bytes over each link.
    pub link_bytes: Vec<f64>,
    /// Transfers that were carried.
    pub transfers: u64,
}

/// Runs a schedule whose ends begin at different times, seconds from the carrier's present.
pub(super) fn from_starts(
    schedule: &Schedule,
    routes: &Routes<'_>,
    vertices: &[u32],
    starts: &[f64],
    carrier: &mut impl Carrier,
) -> Result<Part, String> {
    let ends = schedule.ranks + schedule.agents;
    let topology = routes.topology();
    let plan = Plan::new(schedule);
    let (ranges, links) = paths(schedule, routes, vertices)?;
    let path_of = |id: u32| &links[ranges[id as usize].0 as usize..ranges[id as usize].1 as usize];
    let even = schedule.even();
    let mut state = vec![End { at: 0, time: 0, pending: 0 }; ends as usize];
    let mut ready = vec![0u8; plan.step_of.len()];
    let mut extra = vec![0.0; topology.links().len()];
    let (mut begun, mut done, mut go) = (Vec::new(), Vec::new(), Vec::new());
    let mut finish = starts.to_vec();
    // Tags beyond the transfers' say that an end begins.
    let all_transfers = plan.step_of.len() as u32;
    let mut late = 0u32;
    for (e, start) in (0..ends).zip(starts) {
        if *start > 0.0 {
            carrier.wake(*start, all_transfers + e);
            late += 1;
        } else {
            go.push(e);
        }
    }
    let mut chain = vec![u32::MAX; plan.step_of.len()];
    let (mut flying, mut carried) = (0u32, 0u64);
    let mut course = Course::default();
    // The transfers that are under way together since one time, for the shortcut below.
    let (mut together_since, mut together) = (0.0, true);
    loop {
        begun.clear();
        for &e in &go {
            let Some((_, mine)) = plan.mine(e, state[e as usize].at) else { continue };
            state[e as usize].pending = mine.len() as u32;
            for &id in mine {
                ready[id as usize] += 1;
                if ready[id as usize] == 2 {
                    ready[id as usize] = 0;
                    begun.push(id);
                }
            }
        }
        go.clear();
        begun.sort_unstable();
        if flying == 0 {
            together_since = carrier.now();
            together = late == 0;
        } else if !begun.is_empty() {
            together = false;
        }
        // Those that are the same begin as one: sorted, so that they are side by side, and chained to the first.
        let bytes_of = |id: u32| {
            let s = plan.step_of[id as usize] as usize;
            let t = &schedule.steps[s].transfers[(id - plan.base[s]) as usize];
            schedule.bytes(&schedule.steps[s], t, state[t.src as usize].time)
        };
        if carrier.merges() {
            begun.sort_unstable_by_key(|id| (ranges[*id as usize], *id));
        }
        let mut i = 0;
        while i < begun.len() {
            let (id, bytes) = (begun[i], bytes_of(begun[i]));
            let mut k = i + 1;
            while carrier.merges()
                && k < begun.len()
                && path_of(begun[k]) == path_of(id)
                && bytes_of(begun[k]).total_cmp(&bytes).is_eq()
            {
                k += 1;
            }
            for w in i..k {
                chain[begun[w] as usize] = if w + 1 < k { begun[w + 1] } else { u32::MAX };
            }
            carrier.begin(path_of(id), bytes, (k - i) as u32, id);
            flying += (k - i) as u32;
            carried += (k - i) as u64;
            i = k;
        }
        if flying == 0 && late == 0 {
            break;
        }
        // A step that is where it was one time before, but for the time, goes on so.
        if even
            && late == 0
            && let Some(jump) = course.look(schedule, &plan, &state, &ready, carrier)
        {
            carrier.skip(jump.seconds);
            for e in jump.ends {
                state[e as usize].time += jump.times;
            }
            let s = jump.step as usize;
            for (i, t) in schedule.steps[s].transfers.iter().enumerate() {
                let bytes = schedule.bytes(&schedule.steps[s], t, 0) * f64::from(jump.times);
                path_of(plan.base[s] + i as u32).iter().for_each(|l| extra[*l as usize] += bytes);
            }
            // What began together began so long before.
            together = false;
        }
        if !carrier.next(&mut done) {
            return Err("waits for transfers that never end".to_owned());
        }
        if late > 0 {
            done.retain(|tag| {
                let begins = *tag >= all_transfers;
                if begins {
                    go.push(tag - all_transfers);
                    late -= 1;
                }
                !begins
            });
        }
        for i in 0..done.len() {
            let mut next = chain[done[i] as usize];
            while next != u32::MAX {
                done.push(next);
                next = chain[next as usize];
            }
        }
        done.sort_unstable();
        // All that began together ended together, and it was one step: its further times take the same.
        let all = !done.is_empty() && done.len() as u32 == flying && together;
        let s = done.first().map_or(0, |id| plan.step_of[*id as usize]);
        let step = &schedule.steps[s as usize];
        let whole =
            all && even && done.len() == step.transfers.len() && done.iter().all(|id| plan.step_of[*id as usize] == s);
        let mut jump = 0;
        if whole && let Some(t) = step.transfers.first() {
            let time = state[t.src as usize].time;
            jump = step.repeat - 1 - time;
            if jump > 0 {
                carrier.skip((carrier.now() - together_since) * f64::from(jump));
                for (id, t) in done.iter().zip(&step.transfers) {
                    let bytes = schedule.bytes(step, t, time) * f64::from(jump);
                    path_of(*id).iter().for_each(|l| extra[*l as usize] += bytes);
                }
            }
        }
        flying -= done.len() as u32;
        for &id in &done {
            let s = plan.step_of[id as usize] as usize;
            let t = &schedule.steps[s].transfers[(id - plan.base[s]) as usize];
            for e in [t.src, t.dst] {
                let end = &mut state[e as usize];
                end.pending -= 1;
                if end.pending == 0 {
                    end.time += 1 + jump;
                    if end.time >= schedule.steps[s].repeat {
                        end.time = 0;
                        end.at += 1;
                    }
                    go.push(e);
                    finish[e as usize] = carrier.now();
                }
            }
        }
        go.sort_unstable();
    }
    if (0..ends).any(|e| plan.mine(e, state[e as usize].at).is_some()) {
        return Err("has transfers whose ends never meet".to_owned());
    }
    let link_bytes: Vec<f64> = carrier.carried().iter().zip(&extra).map(|(a, b)| a + b).collect();
    Ok(Part { finish, link_bytes, transfers: carried })
}

/// Of each transfer, where its path begins and ends among all links; the links.
pub(super) type Paths = (Vec<(u32, u32)>, Vec<u32>);

/// The path of every transfer: where it begins and ends among the links. Transfers between two ends have one path where it does not depend on more.
pub(super) fn paths(schedule: &Schedule, routes: &Routes<'_>, vertices: &[u32]) -> Result<Paths, String> {
    let (mut ranges, mut links) = (Vec::new(), Vec::new());
    let mut known: Vec<Vec<(u32, (u32, u32))>> = vec![Vec::new(); vertices.len()];
    for t in schedule.steps.iter().flat_map(|s| &s.transfers) {
        let list = &mut known[t.src as usize];
        if !routes.tells_flows_apart()
            && let Some((_, range)) = list.iter().rev().find(|k| k.0 == t.dst)
        {
            ranges.push(*range);
            continue;
        }
        let (from, to) = (vertices[t.src as usize], vertices[t.dst as usize]);
        let first = links.len() as u32;
        if from != to && !routes.path(from, to, t.first, &mut links) {
            return Err(format!("sends from {} to {}, between which there is no path", t.src, t.dst));
        }
        let range = (first, links.len() as u32);
        // Few are searched: a rank that sends to very many does so once each.
        if list.len() < 64 {
            list.push((t.dst, range));
        }
        ranges.push(range);
    }
    Ok((ranges, links))
}
