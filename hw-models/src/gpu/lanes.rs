//! The schedulers and lanes of an SM, shared evenly by the roles that have work for them.
//!
//! A scheduler takes turns among its ready warps, so roles that start together end together: while all of them compute
//! nobody loads, and the other way round. A queue served in order would hide that. The sharing is exact for equal
//! shares: in *service* time, which passes at 1/n of real time with n roles at work, each job ends at its start plus its
//! work.

/// Work of one role.
#[derive(Debug, Clone, Copy)]
struct Job {
    /// Service time at which it is done.
    finish: f64,
    /// It ends no earlier than this: its own chain of dependences, its instructions' arrival.
    floor: u64,
    agent: u32,
}

/// The lanes of one SM.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    jobs: Vec<Job>,
    service: f64,
    at: u64,
    next: u64,
}

impl Lanes {
    pub(crate) fn clear(&mut self) {
        self.jobs.clear();
        self.service = 0.0;
        self.at = 0;
        self.next = 0;
    }

    fn advance(&mut self, now: u64) {
        if self.jobs.is_empty() {
            self.service = 0.0;
        } else {
            self.service += now.saturating_sub(self.at) as f64 / self.jobs.len() as f64;
        }
        self.at = self.at.max(now);
    }

    fn schedule(&mut self) -> Option<u64> {
        let first = self.jobs.iter().map(|j| j.finish).reduce(f64::min)?;
        let wait = (first - self.service).max(0.0) * self.jobs.len() as f64;
        self.next = self.at + wait.ceil() as u64;
        Some(self.next)
    }

    /// Takes on a role's work, in femtoseconds of the whole SM; when to look next.
    pub(crate) fn add(&mut self, now: u64, work: u64, floor: u64, agent: u32) -> Option<u64> {
        self.advance(now);
        self.jobs.push(Job { finish: self.service + work as f64, floor, agent });
        self.schedule()
    }

    /// Looks at `now`: hands out the roles that are done and the times at which they go on; when to look next.
    /// Nothing happens at a time that a later start has made obsolete.
    pub(crate) fn take(&mut self, now: u64, mut done: impl FnMut(u64, u32)) -> Option<u64> {
        if now != self.next || self.jobs.is_empty() {
            return None;
        }
        self.advance(now);
        // Half a femtosecond of rounding a job.
        let until = self.service + 1.0;
        let mut i = 0;
        while i < self.jobs.len() {
            if self.jobs[i].finish <= until {
                let job = self.jobs.remove(i);
                done(job.floor.max(now), job.agent);
            } else {
                i += 1;
            }
        }
        self.schedule()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lanes: &mut Lanes, mut next: Option<u64>) -> Vec<(u64, u32)> {
        let mut out = Vec::new();
        while let Some(at) = next {
            next = lanes.take(at, |t, a| out.push((t, a)));
        }
        out
    }

    #[test]
    fn equal_work_started_together_ends_together_after_all_of_it() {
        let mut lanes = Lanes::default();
        let mut next = None;
        for agent in 0..4 {
            next = lanes.add(1000, 500, 0, agent);
        }
        assert_eq!(drain(&mut lanes, next), vec![(3000, 0), (3000, 1), (3000, 2), (3000, 3)]);
    }

    #[test]
    fn a_short_job_overtakes_a_long_one() {
        let mut lanes = Lanes::default();
        lanes.add(0, 1000, 0, 0);
        // Alone until 400, then two share: the short one takes 200, the long one's 600 end after that alone.
        let next = lanes.add(400, 100, 0, 1);
        assert_eq!(drain(&mut lanes, next), vec![(600, 1), (1100, 0)]);
    }

    #[test]
    fn a_role_goes_on_no_earlier_than_its_own_chain_lets_it() {
        let mut lanes = Lanes::default();
        let next = lanes.add(0, 10, 700, 3);
        assert_eq!(drain(&mut lanes, next), vec![(700, 3)]);
    }

    #[test]
    fn a_look_that_a_later_start_made_obsolete_does_nothing() {
        let mut lanes = Lanes::default();
        let old = lanes.add(0, 100, 0, 0);
        let new = lanes.add(50, 100, 0, 1);
        assert_eq!(lanes.take(old.unwrap_or(0), |_, _| panic!("too early")), None);
        assert_eq!(drain(&mut lanes, new), vec![(150, 0), (200, 1)]);
    }
}
