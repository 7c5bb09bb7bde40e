//! Launches of several streams at once: their CTAs share SMs, crossbar, L2 and memory.
//!
//! The block scheduler has one queue. The CTAs of the launch at its head go wherever there is room; when all of them are placed, those of the
//! next go to what is left, and to what ends leave (*leftover* policy: Amert et al., "GPU Scheduling on the NVIDIA TX2: Hidden Details
//! Revealed", RTSS 2017; Olmedo et al., "Dissecting the CUDA scheduling hierarchy", RTAS 2020). A launch enters the queue when those
//! before it in its stream have ended, and a gap after. Nothing here is shared out by a formula: a kernel slows another down by the units
//! that it holds.

use std::collections::VecDeque;

use banksia_sim::Time;

use super::super::launch::{GpuError, LaunchOptions};
use super::super::power::{Work, energy};
use super::super::program::{Tensor, VectorWork};
use super::super::room::Room;
use super::super::together::{Ran, Submitted, Together};
use super::super::traffic::Traffic;
use super::state::OpCost;
use super::{Gpu, LaunchState, order};

/// A launch that waits, runs or has ended.
struct Entry {
    costs: Vec<Vec<OpCost>>,
    per_sm: u32,
    need: Room,
    /// Launches before it that have not ended, and those after it.
    waits: usize,
    followers: Vec<usize>,
    /// From when on it may begin, with its gap.
    due: u64,
    running: u32,
    placed: Option<u64>,
    begin: u64,
    ended: bool,
    traffic: Traffic,
}

/// The queue of the block scheduler, and what SMs have left.
struct Scheduler<'a, 'k> {
    launches: &'a [Submitted<'k>],
    entries: Vec<Entry>,
    /// The launch of each agent.
    owner: Vec<u32>,
    rooms: Vec<Room>,
    /// When the last CTA that ended on each SM was gone from it.
    free: Vec<u64>,
    queue: VecDeque<usize>,
    /// The launch in the machine's hand, and what had been moved when it was taken up.
    hand: usize,
    moved: Traffic,
}

impl Gpu {
    /// Runs launches that may overlap. `tensors` are those of all of them, each once.
    ///
    /// One launch by itself does exactly what [`Gpu::run`] does.
    ///
    /// # Errors
    /// A kernel cannot be run, a launch refers to what is not there, or the launches stop.
    pub fn run_together(
        &mut self,
        tensors: &[Tensor],
        launches: &[Submitted<'_>],
        options: &LaunchOptions,
    ) -> Result<Together, GpuError> {
        if launches.is_empty() {
            return Ok(Together::default());
        }
        check(tensors, launches)?;
        let mut scheduler = self.begin_together(tensors, launches, options)?;
        let lanes = self.agents + self.sms.len();
        while let Some((time, id)) = self.queue.pop() {
            let (id, now) = (id as usize, time.as_fs());
            if let Some(&owner) = scheduler.owner.get(id) {
                let owner = owner as usize;
                self.take_up(&mut scheduler, owner);
                let agent = id - self.launch.first_agent;
                self.advance(launches[owner].kernel, &scheduler.entries[owner].costs, agent, now);
                if !self.launch.ended.is_empty() {
                    self.ctas_ended(&mut scheduler, owner);
                }
            } else if id < lanes {
                self.lanes_done(id - self.agents, now);
            } else {
                scheduler.entries[id - lanes].begin = now;
                scheduler.queue.push_back(id - lanes);
                if scheduler.queue.len() == 1 {
                    self.place_heads(&mut scheduler, now);
                }
            }
        }
        if let Some(i) = scheduler.entries.iter().position(|e| !e.ended) {
            let waiting = scheduler.entries.iter().map(|e| e.running as usize).sum();
            return Err(GpuError::Deadlock { kernel: launches[i].kernel.name.clone(), waiting });
        }
        Ok(self.end_together(&mut scheduler))
    }

    fn begin_together<'a, 'k>(
        &mut self,
        tensors: &[Tensor],
        launches: &'a [Submitted<'k>],
        options: &LaunchOptions,
    ) -> Result<Scheduler<'a, 'k>, GpuError> {
        let mut l1 = u64::MAX;
        let mut fits = Vec::with_capacity(launches.len());
        for l in launches {
            let per_sm = self.accepts(l.kernel)?;
            self.reaches(l.kernel, options)?;
            l1 = l1.min(self.l1_bytes(l.kernel, per_sm));
            fits.push(per_sm);
        }
        let name = || launches.first().map_or_else(String::new, |l| l.kernel.name.clone());
        self.make_ready(tensors, l1, options).map_err(|problem| GpuError::TooLarge { kernel: name(), problem })?;
        self.agents = 0;
        self.aside.clear();
        let mut owner = Vec::new();
        let mut entries = Vec::with_capacity(launches.len());
        let mut sections: Vec<(usize, VectorWork)> = Vec::new();
        for (i, (l, per_sm)) in launches.iter().zip(fits).enumerate() {
            self.launch = LaunchState {
                first_agent: self.agents,
                bit: i as u32,
                tensors: l.tensors.clone(),
                shares: true,
                items_end: l.kernel.items.len(),
                grid: l.kernel.grid,
                ..LaunchState::default()
            };
            let costs = self.set_up(l.kernel, per_sm, &mut sections);
            self.agents += self.launch.roles.len();
            owner.resize(self.agents, i as u32);
            self.aside.push(std::mem::take(&mut self.launch));
            entries.push(Entry {
                costs,
                per_sm,
                need: Room::of_cta(&self.spec.sm, l.kernel),
                waits: l.after.len(),
                followers: (i + 1..launches.len()).filter(|&j| launches[j].after.contains(&i)).collect(),
                due: 0,
                running: 0,
                placed: None,
                begin: 0,
                ended: false,
                traffic: Traffic::default(),
            });
        }
        let first = self.agents + self.sms.len();
        for (i, l) in launches.iter().enumerate().filter(|(_, l)| l.after.is_empty()) {
            self.queue.push(Time::from_fs(gap_fs(l)), (first + i) as u32);
        }
        // The first is in hand; its place aside is empty.
        if let Some(state) = self.aside.first_mut() {
            std::mem::swap(&mut self.launch, state);
        }
        Ok(Scheduler {
            launches,
            entries,
            owner,
            rooms: vec![Room::of_sm(&self.spec.sm); self.sms.len()],
            free: vec![0; self.sms.len()],
            queue: VecDeque::new(),
            hand: 0,
            moved: Traffic::default(),
        })
    }

    /// Takes a launch into the machine's hand.
    fn take_up(&mut self, s: &mut Scheduler<'_, '_>, launch: usize) {
        if launch == s.hand {
            return;
        }
        self.put_down(s);
        std::mem::swap(&mut self.launch, &mut self.aside[s.hand]);
        std::mem::swap(&mut self.launch, &mut self.aside[launch]);
        s.hand = launch;
        self.memory.serve_launch(self.launch.bit, false);
    }

    /// Books what has moved since the launch in hand was taken up.
    fn put_down(&mut self, s: &mut Scheduler<'_, '_>) {
        let all = self.memory.traffic;
        let of = &mut s.entries[s.hand].traffic;
        *of = Traffic::combine([of, &all, &s.moved], |[sum, now, before]| sum + now - before);
        s.moved = all;
    }

    /// Places CTAs of the launches at the head of the queue wherever there is room.
    fn place_heads(&mut self, s: &mut Scheduler<'_, '_>, now: u64) {
        while let Some(&head) = s.queue.front() {
            self.take_up(s, head);
            let kernel = s.launches[head].kernel;
            if s.entries[head].placed.is_none() {
                self.memory.serve_launch(self.launch.bit, true);
            }
            let cluster = kernel.cluster.max(1);
            let mut sms = std::mem::take(&mut self.order);
            for _ in 0..s.entries[head].per_sm {
                order::fill(&self.spec, kernel.cluster, self.launch.grid - self.launch.next_cta, &mut sms);
                for group in sms.chunks(cluster as usize) {
                    self.place_group(s, head, group, now);
                }
            }
            self.order = sms;
            if self.launch.next_cta < self.launch.grid {
                return;
            }
            s.queue.pop_front();
        }
    }

    /// Places a cluster's CTAs on these SMs, one on each, if all have room.
    fn place_group(&mut self, s: &mut Scheduler<'_, '_>, launch: usize, sms: &[u32], now: u64) -> bool {
        let left = (self.launch.grid - self.launch.next_cta) as usize;
        let sms = &sms[..sms.len().min(left)];
        let need = s.entries[launch].need;
        if sms.is_empty() || sms.iter().any(|&sm| s.rooms[sm as usize].holds(&need) == 0) {
            return false;
        }
        let at = sms.iter().map(|&sm| s.free[sm as usize]).fold(now, u64::max);
        for &sm in sms {
            let from = (sm * s.entries[launch].per_sm) as usize;
            let slots = &self.launch.live[from..from + s.entries[launch].per_sm as usize];
            let Some(slot) = slots.iter().position(|&live| live == 0) else { return false };
            self.start_shared(s, launch, from + slot, at);
        }
        true
    }

    fn start_shared(&mut self, s: &mut Scheduler<'_, '_>, launch: usize, slot: usize, at: u64) {
        let entry = &mut s.entries[launch];
        let sm = self.launch.by_slots.quotient(slot as u64) as usize;
        s.rooms[sm].take(&entry.need);
        entry.running += 1;
        entry.placed.get_or_insert(at.max(self.launcher_free));
        self.start(s.launches[launch].kernel, slot, at);
    }

    /// Gives the places of CTAs that have ended to the launch at the head of the queue.
    fn ctas_ended(&mut self, s: &mut Scheduler<'_, '_>, owner: usize) {
        while let Some((slot, at)) = self.launch.ended.pop() {
            let sm = self.launch.by_slots.quotient(u64::from(slot)) as usize;
            let need = s.entries[owner].need;
            s.rooms[sm].give(&need);
            s.free[sm] = s.free[sm].max(at);
            s.entries[owner].running -= 1;
            if s.queue.front() == Some(&owner) {
                // A launch's own CTAs follow one another in its slots, as when it is alone.
                self.start_shared(s, owner, slot as usize, at);
                if self.launch.next_cta == self.launch.grid {
                    s.queue.pop_front();
                    self.place_heads(s, at);
                    self.take_up(s, owner);
                }
            } else if let Some(&head) = s.queue.front() {
                self.place_beside(s, head, sm as u32, at);
                self.take_up(s, owner);
            }
            if s.entries[owner].running == 0 && self.launch.next_cta == self.launch.grid {
                self.launch_ended(s, owner);
            }
        }
    }

    /// Places CTAs of the launch at the head on an SM that has got room, and on those that take its clusters together with it.
    fn place_beside(&mut self, s: &mut Scheduler<'_, '_>, head: usize, sm: u32, now: u64) {
        self.take_up(s, head);
        let cluster = s.launches[head].kernel.cluster;
        if cluster > 1 {
            let mut sms = std::mem::take(&mut self.order);
            order::fill(&self.spec, cluster, u32::MAX, &mut sms);
            if let Some(group) = sms.chunks(cluster as usize).find(|g| g.contains(&sm)) {
                while self.place_group(s, head, group, now) {}
            }
            self.order = sms;
        } else {
            while self.place_group(s, head, &[sm], now) {}
        }
        if self.launch.next_cta == self.launch.grid {
            s.queue.pop_front();
            self.place_heads(s, now);
        }
    }

    fn launch_ended(&mut self, s: &mut Scheduler<'_, '_>, launch: usize) {
        let end = self.launch.end;
        let first = self.agents + self.sms.len();
        s.entries[launch].ended = true;
        for follower in std::mem::take(&mut s.entries[launch].followers) {
            let entry = &mut s.entries[follower];
            entry.waits -= 1;
            entry.due = entry.due.max(end + gap_fs(&s.launches[follower]));
            if entry.waits == 0 {
                self.queue.push(Time::from_fs(entry.due), (first + follower) as u32);
            }
        }
    }

    fn end_together(&mut self, s: &mut Scheduler<'_, '_>) -> Together {
        self.put_down(s);
        std::mem::swap(&mut self.launch, &mut self.aside[s.hand]);
        let states = std::mem::take(&mut self.aside);
        let end = states.iter().map(|l| l.end).fold(self.memory.dram_drained().max(1), u64::max);
        let clock_mhz = self.average_clock_mhz(end);
        let front_end = self.spec.launch.front_end_l2_bytes;
        let launches: Vec<Ran> = s
            .entries
            .iter()
            .zip(&states)
            .map(|(e, l)| Ran {
                begin_s: e.begin as f64 * 1e-15,
                placed_s: e.placed.unwrap_or(e.begin) as f64 * 1e-15,
                end_s: l.end as f64 * 1e-15,
                traffic: Traffic { l2_read_bytes: e.traffic.l2_read_bytes + front_end, ..e.traffic },
                work: l.work,
                steps: l.steps,
            })
            .collect();
        let traffic =
            launches.iter().fold(Traffic::default(), |t, l| Traffic::combine([&t, &l.traffic], |[a, b]| a + b));
        let work = launches.iter().fold(Work::default(), |w, l| Work::combine([&w, &l.work], |[a, b]| a + b));
        let span_s = end as f64 * 1e-15;
        Together {
            span_s,
            energy: energy(&self.spec, &work, &traffic, span_s, clock_mhz),
            launches,
            traffic,
            clock_mhz,
        }
    }
}

fn gap_fs(launch: &Submitted<'_>) -> u64 {
    (launch.gap_s.max(0.0) * 1e15) as u64
}

/// Checks that launches refer to what is there.
fn check(tensors: &[Tensor], launches: &[Submitted<'_>]) -> Result<(), GpuError> {
    for (i, l) in launches.iter().enumerate() {
        let fail = |problem: String| Err(GpuError::Submitted { kernel: l.kernel.name.clone(), problem });
        if l.tensors.len() != l.kernel.tensors.len() {
            return fail(format!("names {} of its {} tensors", l.tensors.len(), l.kernel.tensors.len()));
        }
        for (own, &at) in l.kernel.tensors.iter().zip(&l.tensors) {
            if tensors.get(usize::from(at)) != Some(own) {
                return fail(format!("takes tensor {at} for one of its own that has another shape"));
            }
        }
        if let Some(j) = l.after.iter().find(|&&j| j >= i) {
            return fail(format!("is launch {i} and waits for launch {j}, which is not before it"));
        }
    }
    Ok(())
}
