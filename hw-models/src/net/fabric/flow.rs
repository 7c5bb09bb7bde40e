//! Flows that share links max-min fairly: no flow can get more without another, that has no more, getting less.
//!
//! Progressive filling finds the rates: all rates grow alike until a link is full; its flows keep what they have, the others grow on. Rates change
//! only when a flow begins or ends, so that time goes from one such event to the next, exactly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::carrier::Carrier;
use super::topology::Topology;

/// Flows under way, as dense arrays.
#[derive(Debug, Clone, Default)]
pub struct Fluid {
    capacity: Vec<f64>,
    latency: Vec<f64>,
    now: f64,
    skipped: f64,
    /// Of each flow: its links and how often it crosses each, what is left of it, its rate, and what it is called.
    first: Vec<u32>,
    link: Vec<u32>,
    weight: Vec<f64>,
    left: Vec<f64>,
    rate: Vec<f64>,
    late: Vec<f64>,
    tag: Vec<u32>,
    active: Vec<u32>,
    /// Whether flows began or ended since the rates were found.
    stale: bool,
    first_end: f64,
    /// Flows whose last byte is on its way.
    arriving: BinaryHeap<Reverse<(u64, u32)>>,
    carried: Vec<f64>,
    solver: Solver,
}

/// What progressive filling works on: kept, so that filling allocates nothing.
#[derive(Debug, Clone, Default)]
struct Solver {
    room: Vec<f64>,
    growing: Vec<f64>,
    crossings: Vec<u32>,
    begin: Vec<u32>,
    flows: Vec<u32>,
    touched: Vec<u32>,
    fixed: Vec<bool>,
    queue: BinaryHeap<Reverse<(u64, u32)>>,
}

/// Ends so near to one another that rounding tells them apart are one.
const TOGETHER: f64 = 1.0 + 1e-12;

impl Fluid {
    /// No flows, over links of so many bytes a second and so much latency.
    pub fn new(capacity: Vec<f64>, latency: Vec<f64>) -> Self {
        let links = capacity.len();
        let solver = Solver {
            room: vec![0.0; links],
            growing: vec![0.0; links],
            crossings: vec![0; links],
            begin: vec![0; links],
            ..Solver::default()
        };
        Self {
            capacity,
            latency,
            first: vec![0],
            first_end: f64::INFINITY,
            carried: vec![0.0; links],
            solver,
            ..Self::default()
        }
    }

    /// No flows, over the links of a fabric.
    pub fn over(topology: &Topology) -> Self {
        let links = topology.links();
        Self::new(links.iter().map(|l| l.bytes_per_s).collect(), links.iter().map(|l| l.latency_s).collect())
    }

    /// Begins a flow now that crosses each link so many times; it may stand for several that are alike. Its latency is `late_s`.
    pub fn begin_weighted(
        &mut self,
        crossings: impl IntoIterator<Item = (u32, f64)>,
        late_s: f64,
        bytes: f64,
        tag: u32,
    ) {
        if self.active.is_empty() {
            // What ended long ago is forgotten.
            self.first.truncate(1);
            self.link.clear();
            self.weight.clear();
            self.left.clear();
            self.rate.clear();
            self.late.clear();
            self.tag.clear();
        }
        for (link, weight) in crossings {
            if let Some(carried) = self.carried.get_mut(link as usize) {
                *carried += weight * bytes;
                self.link.push(link);
                self.weight.push(weight);
            }
        }
        self.active.push(self.left.len() as u32);
        self.first.push(self.link.len() as u32);
        self.left.push(bytes.max(0.0));
        self.rate.push(0.0);
        self.late.push(late_s);
        self.tag.push(tag);
        self.stale = true;
    }

    /// Flows under way.
    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// Waits until a time at which nothing ends before.
    pub fn wait(&mut self, until_s: f64) {
        self.refresh();
        let until_s = until_s - self.skipped;
        if until_s > self.now {
            self.drain(until_s - self.now);
            self.now = until_s;
            self.first_end = self.ends_first();
        }
    }

    fn drain(&mut self, step: f64) {
        for &f in &self.active {
            let f = f as usize;
            if self.rate[f].is_finite() {
                self.left[f] = (self.left[f] - self.rate[f] * step).max(0.0);
            }
        }
    }

    fn lasts(&self, flow: u32) -> f64 {
        let (left, rate) = (self.left[flow as usize], self.rate[flow as usize]);
        if left <= 0.0 || rate.is_infinite() { 0.0 } else { left / rate }
    }

    fn ends_first(&self) -> f64 {
        self.active.iter().map(|f| self.lasts(*f)).fold(f64::INFINITY, f64::min)
    }

    fn refresh(&mut self) {
        if self.stale {
            self.fill();
            self.stale = false;
            self.first_end = self.ends_first();
        }
    }

    /// Rates of the flows under way.
    fn fill(&mut self) {
        let s = &mut self.solver;
        s.touched.clear();
        s.queue.clear();
        s.fixed.clear();
        s.fixed.resize(self.left.len(), false);
        let mut all = 0;
        for &f in &self.active {
            let range = self.first[f as usize] as usize..self.first[f as usize + 1] as usize;
            self.rate[f as usize] = f64::INFINITY;
            all += range.len();
            for i in range {
                let l = self.link[i] as usize;
                if s.crossings[l] == 0 {
                    s.touched.push(l as u32);
                    s.room[l] = self.capacity[l];
                    s.growing[l] = 0.0;
                }
                s.crossings[l] += 1;
                s.growing[l] += self.weight[i];
            }
        }
        // Which flows cross a link: in one array, by link.
        let mut at = 0;
        for &l in &s.touched {
            s.begin[l as usize] = at;
            at += s.crossings[l as usize];
            s.crossings[l as usize] = 0;
        }
        s.flows.resize(all, 0);
        for &f in &self.active {
            for &l in &self.link[self.first[f as usize] as usize..self.first[f as usize + 1] as usize] {
                let l = l as usize;
                s.flows[(s.begin[l] + s.crossings[l]) as usize] = f;
                s.crossings[l] += 1;
            }
        }
        // Links by the rate at which they are full. Rates only rise as others are fixed; of positive numbers the bits order as the numbers do.
        for &l in &s.touched {
            let level = s.room[l as usize] / s.growing[l as usize];
            s.queue.push(Reverse((level.to_bits(), l)));
        }
        let mut floor = 0.0_f64;
        while let Some(Reverse((bits, l))) = s.queue.pop() {
            let l = l as usize;
            if s.growing[l] <= 0.0 {
                continue;
            }
            let level = (s.room[l] / s.growing[l]).max(floor);
            if level.to_bits() > bits {
                s.queue.push(Reverse((level.to_bits(), l as u32)));
                continue;
            }
            floor = level;
            for i in s.begin[l]..s.begin[l] + s.crossings[l] {
                let f = s.flows[i as usize] as usize;
                if s.fixed[f] {
                    continue;
                }
                s.fixed[f] = true;
                self.rate[f] = level;
                for i in self.first[f] as usize..self.first[f + 1] as usize {
                    let (other, w) = (self.link[i] as usize, self.weight[i]);
                    s.room[other] -= w * level;
                    s.growing[other] -= w;
                    // What rounding leaves of a sum of weights is nothing.
                    if s.growing[other] < 1e-9 {
                        s.growing[other] = 0.0;
                    }
                }
            }
            s.growing[l] = 0.0;
        }
        for &l in &s.touched {
            s.crossings[l as usize] = 0;
        }
    }
}

impl Carrier for Fluid {
    fn merges(&self) -> bool {
        true
    }

    fn begin(&mut self, path: &[u32], bytes: f64, alike: u32, tag: u32) {
        let late = path.iter().filter_map(|l| self.latency.get(*l as usize)).sum();
        self.begin_weighted(path.iter().map(|l| (*l, f64::from(alike))), late, bytes, tag);
    }

    fn wake(&mut self, after_s: f64, tag: u32) {
        self.arriving.push(Reverse(((self.now + after_s).to_bits(), tag)));
    }

    fn now(&self) -> f64 {
        self.now + self.skipped
    }

    fn skip(&mut self, seconds: f64) {
        self.skipped += seconds;
    }

    fn state(&self, state: &mut Vec<(u32, f64, f64)>) -> bool {
        state.extend(self.active.iter().map(|f| (self.tag[*f as usize], self.left[*f as usize], 0.0)));
        state.extend(self.arriving.iter().map(|Reverse((bits, tag))| (*tag, 0.0, f64::from_bits(*bits) - self.now)));
        state.sort_by_key(|s| s.0);
        true
    }

    fn next(&mut self, done: &mut Vec<u32>) -> bool {
        done.clear();
        loop {
            self.refresh();
            let ends = if self.active.is_empty() { f64::INFINITY } else { self.now + self.first_end };
            let arrives = self.arriving.peek().map_or(f64::INFINITY, |Reverse((bits, _))| f64::from_bits(*bits));
            if ends.is_infinite() && arrives.is_infinite() {
                return false;
            }
            if arrives <= ends {
                if arrives > self.now {
                    self.drain(arrives - self.now);
                    self.now = arrives;
                    self.first_end = self.ends_first();
                }
                while let Some(&Reverse((bits, tag))) = self.arriving.peek()
                    && f64::from_bits(bits) <= arrives * TOGETHER
                {
                    self.arriving.pop();
                    done.push(tag);
                }
                done.sort_unstable();
                return true;
            }
            // Flows end: their last bytes arrive later.
            let step = self.first_end;
            let mut keep = 0;
            for i in 0..self.active.len() {
                let f = self.active[i];
                if self.lasts(f) <= step * TOGETHER {
                    let arrives = ends + self.late[f as usize];
                    self.arriving.push(Reverse((arrives.to_bits(), self.tag[f as usize])));
                } else {
                    let at = f as usize;
                    self.left[at] = (self.left[at] - self.rate[at] * step).max(0.0);
                    self.active[keep] = f;
                    keep += 1;
                }
            }
            self.active.truncate(keep);
            self.now = ends;
            self.stale = true;
        }
    }

    fn carried(&self) -> &[f64] {
        &self.carried
    }
}
