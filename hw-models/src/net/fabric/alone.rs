//! Messages that do not see one another, as analytical simulators have them: latency of each link, and bytes over the narrowest, whatever else is sent.
//! Not a model of a network (many messages over a link take no longer than one), but what such a simulator is held against.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::carrier::Carrier;
use super::topology::Topology;

/// Messages under way. Times are whole picoseconds, so that equal ones are equal.
#[derive(Debug, Clone)]
pub struct Alone {
    bytes_per_s: Vec<f64>,
    latency_s: Vec<f64>,
    /// What a message's time is cut down to a multiple of, ps.
    grain_ps: u64,
    now_ps: u64,
    skipped_s: f64,
    ends: BinaryHeap<Reverse<(u64, u32)>>,
    carried: Vec<f64>,
}

impl Alone {
    /// No messages, over the links of a fabric; the time of each is cut down to whole multiples of `grain_ps`, at least one.
    pub fn over(topology: &Topology, grain_ps: u64) -> Self {
        let links = topology.links();
        Self {
            bytes_per_s: links.iter().map(|l| l.bytes_per_s).collect(),
            latency_s: links.iter().map(|l| l.latency_s).collect(),
            grain_ps: grain_ps.max(1),
            now_ps: 0,
            skipped_s: 0.0,
            ends: BinaryHeap::new(),
            carried: vec![0.0; links.len()],
        }
    }
}

impl Carrier for Alone {
    fn begin(&mut self, path: &[u32], bytes: f64, _alike: u32, tag: u32) {
        let (mut late, mut rate) = (0.0, f64::INFINITY);
        for &l in path {
            let l = l as usize;
            let (Some(wide), Some(far)) = (self.bytes_per_s.get(l), self.latency_s.get(l)) else { continue };
            self.carried[l] += bytes;
            late += far;
            rate = rate.min(*wide);
        }
        let seconds = late + if rate.is_finite() { bytes / rate } else { 0.0 };
        // A thousandth of a picosecond more, so that what is a multiple stays one.
        let ps = (seconds * 1e12 + 1e-3).floor() as u64 / self.grain_ps * self.grain_ps;
        self.ends.push(Reverse((self.now_ps + ps, tag)));
    }

    fn wake(&mut self, after_s: f64, tag: u32) {
        self.ends.push(Reverse((self.now_ps + (after_s * 1e12).round() as u64, tag)));
    }

    fn now(&self) -> f64 {
        self.now_ps as f64 * 1e-12 + self.skipped_s
    }

    fn skip(&mut self, seconds: f64) {
        self.skipped_s += seconds;
    }

    fn next(&mut self, done: &mut Vec<u32>) -> bool {
        done.clear();
        let Some(&Reverse((at, _))) = self.ends.peek() else { return false };
        self.now_ps = at;
        while let Some(&Reverse((ps, tag))) = self.ends.peek()
            && ps == at
        {
            self.ends.pop();
            done.push(tag);
        }
        done.sort_unstable();
        true
    }

    fn carried(&self) -> &[f64] {
        &self.carried
    }
}
