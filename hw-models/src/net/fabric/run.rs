//! Runs a schedule over a fabric: who is ready begins, who is done goes on.

use super::carrier::Carrier;
use super::routing::Routes;
use super::schedule::Schedule;
use super::topology::CLASSES;

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

/// Where an end of transfers is: at which of its steps, in which time of it, and how many of its transfers there are not done.
#[derive(Debug, Clone, Copy)]
struct End {
    /// Index among its own steps.
    at: u32,
    time: u32,
    pending: u32,
}

/// Transfers of a step by end, and steps by end, as dense arrays.
struct Plan {
    /// The number of a step's first transfer, over all steps.
    base: Vec<u32>,
    step_of: Vec<u32>,
    /// By end: its steps; by each of those, its transfers.
    steps_first: Vec<u32>,
    steps: Vec<u32>,
    mine_first: Vec<u32>,
    mine: Vec<u32>,
}

impl Plan {
    fn new(schedule: &Schedule) -> Self {
        let ends = (schedule.ranks + schedule.agents) as usize;
        let mut base = Vec::with_capacity(schedule.steps.len() + 1);
        let mut step_of = Vec::new();
        let mut by_end: Vec<Vec<(u32, u32)>> = vec![Vec::new(); ends];
        for (s, step) in schedule.steps.iter().enumerate() {
            base.push(step_of.len() as u32);
            for t in step.transfers.iter().filter(|_| step.repeat > 0) {
                let id = step_of.len() as u32;
                step_of.push(s as u32);
                by_end[t.src as usize].push((s as u32, id));
                by_end[t.dst as usize].push((s as u32, id));
            }
            if step.repeat == 0 {
                step_of.extend(step.transfers.iter().map(|_| s as u32));
            }
        }
        base.push(step_of.len() as u32);
        let mut plan =
            Self { base, step_of, steps_first: vec![0], steps: Vec::new(), mine_first: vec![0], mine: Vec::new() };
        for list in by_end {
            let mut last = u32::MAX;
            for (s, id) in list {
                if s != last {
                    if last != u32::MAX {
                        plan.mine_first.push(plan.mine.len() as u32);
                    }
                    plan.steps.push(s);
                    last = s;
                }
                plan.mine.push(id);
            }
            if last != u32::MAX {
                plan.mine_first.push(plan.mine.len() as u32);
            }
            plan.steps_first.push(plan.steps.len() as u32);
        }
        plan
    }

    /// An end's transfers in its n-th step.
    fn mine(&self, end: u32, at: u32) -> Option<(u32, &[u32])> {
        let i = self.steps_first[end as usize] + at;
        (i < self.steps_first[end as usize + 1]).then(|| {
            let i = i as usize;
            (self.steps[i], &self.mine[self.mine_first[i] as usize..self.mine_first[i + 1] as usize])
        })
    }
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
    let plan = Plan::new(schedule);
    let (path_first, path) = paths(schedule, routes, vertices)?;
    let path_of = |id: u32| &path[path_first[id as usize] as usize..path_first[id as usize + 1] as usize];
    let even = schedule.even();
    let mut state = vec![End { at: 0, time: 0, pending: 0 }; ends as usize];
    let mut ready = vec![0u8; plan.step_of.len()];
    let mut extra = vec![0.0; topology.links().len()];
    let (mut begun, mut done, mut go) = (Vec::new(), Vec::new(), (0..ends).collect::<Vec<u32>>());
    let (mut flying, mut carried) = (0u32, 0u64);
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
            together = true;
        } else if !begun.is_empty() {
            together = false;
        }
        for &id in &begun {
            let s = plan.step_of[id as usize] as usize;
            let step = &schedule.steps[s];
            let t = &step.transfers[(id - plan.base[s]) as usize];
            let bytes = schedule.bytes(step, t, state[t.src as usize].time);
            carrier.begin(path_of(id), bytes, id);
            flying += 1;
            carried += 1;
        }
        if flying == 0 {
            break;
        }
        if !carrier.next(&mut done) {
            return Err("waits for transfers that never end".to_owned());
        }
        // All that began together ended together, and it was one step: its further times take the same.
        let all = done.len() as u32 == flying && together;
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
                }
            }
        }
        go.sort_unstable();
    }
    if (0..ends).any(|e| plan.mine(e, state[e as usize].at).is_some()) {
        return Err("has transfers whose ends never meet".to_owned());
    }
    let link_bytes: Vec<f64> = carrier.carried().iter().zip(&extra).map(|(a, b)| a + b).collect();
    let mut class_bytes = [0.0; CLASSES.len()];
    let mut energy_j = 0.0;
    for (link, bytes) in topology.links().iter().zip(&link_bytes) {
        class_bytes[link.class.index()] += bytes;
        energy_j += bytes * 8.0 * link.pj_per_bit * 1e-12;
    }
    let transfers_in_all = schedule.steps.iter().map(|s| s.transfers.len() as u64 * u64::from(s.repeat)).sum();
    Ok(Ran { seconds: carrier.now(), link_bytes, class_bytes, energy_j, transfers: carried, transfers_in_all })
}

/// The path of every transfer: links, and where each begins.
fn paths(schedule: &Schedule, routes: &Routes<'_>, vertices: &[u32]) -> Result<(Vec<u32>, Vec<u32>), String> {
    let (mut first, mut links) = (vec![0u32], Vec::new());
    for step in &schedule.steps {
        for t in &step.transfers {
            let (from, to) = (vertices[t.src as usize], vertices[t.dst as usize]);
            if from != to && !routes.path(from, to, t.first, &mut links) {
                return Err(format!("sends from {} to {}, between which there is no path", t.src, t.dst));
            }
            first.push(links.len() as u32);
        }
    }
    Ok((first, links))
}
