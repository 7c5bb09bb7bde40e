//! Who takes part in which transfers, as dense arrays, and where each end is.

use super::schedule::Schedule;

/// Where an end of transfers is: at which of its steps, in which time of it, and how many of its transfers there are not done.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Index among its own steps.
    pub at: u32,
    pub time: u32,
    pub pending: u32,
}

/// Transfers of a step by end, and steps by end, as dense arrays.
pub(super) struct Plan {
    /// The number of a step's first transfer, over all steps.
    pub base: Vec<u32>,
    /// The step of each transfer.
    pub step_of: Vec<u32>,
    /// By end: its steps; by each of those, its transfers.
    steps_first: Vec<u32>,
    steps: Vec<u32>,
    mine_first: Vec<u32>,
    mine: Vec<u32>,
}

impl Plan {
    pub(super) fn new(schedule: &Schedule) -> Self {
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
    pub(super) fn mine(&self, end: u32, at: u32) -> Option<(u32, &[u32])> {
        let i = self.steps_first[end as usize] + at;
        (i < self.steps_first[end as usize + 1]).then(|| {
            let i = i as usize;
            (self.steps[i], &self.mine[self.mine_first[i] as usize..self.mine_first[i + 1] as usize])
        })
    }
}
