//! Packets with queues at links, for what flows hide: packets' borders, queues that others' packets wait in, bursts.
//!
//! A transfer is cut into packets; a source's transfers take turns on its link. Every link sends one packet after another, in the order in which
//! they came; queues have no limit. Cut-through hands a packet on when its head is there, store-and-forward when all of it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::carrier::Carrier;
use super::topology::Topology;

/// When a switch hands a packet on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Switching {
    /// When its head is there and the next link is free.
    CutThrough,
    /// When all of it is there.
    StoreAndForward,
}

/// Packets under way. Times are whole picoseconds, so that equal ones are equal.
#[derive(Debug, Clone)]
pub struct Packets {
    ps_per_byte: Vec<f64>,
    latency_ps: Vec<u64>,
    free_ps: Vec<u64>,
    packet_bytes: f64,
    switching: Switching,
    now_ps: u64,
    /// What was skipped while nothing was under way, seconds.
    skipped_s: f64,
    transfers: Vec<Transfer>,
    path: Vec<u32>,
    alive: usize,
    /// Packets to come: when, in which order, of which transfer, at which place of its path, its bytes, and how long all of it is behind its head.
    events: BinaryHeap<Reverse<Event>>,
    sequence: u64,
    carried: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Transfer {
    tag: u32,
    first: u32,
    len: u32,
    /// Bytes that are not yet cut into packets, and packets that have not arrived.
    left: f64,
    flying: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at_ps: u64,
    sequence: u64,
    transfer: u32,
    place: u32,
    bits: u64,
    behind_ps: u64,
}

impl Packets {
    /// No packets, over the links of a fabric. A packet has at most so many bytes.
    pub fn over(topology: &Topology, packet_bytes: f64, switching: Switching) -> Self {
        let links = topology.links();
        Self {
            ps_per_byte: links.iter().map(|l| 1e12 / l.bytes_per_s).collect(),
            latency_ps: links.iter().map(|l| (l.latency_s * 1e12).round() as u64).collect(),
            free_ps: vec![0; links.len()],
            packet_bytes: packet_bytes.max(1.0),
            switching,
            now_ps: 0,
            skipped_s: 0.0,
            transfers: Vec::new(),
            path: Vec::new(),
            alive: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            carried: vec![0.0; links.len()],
        }
    }

    fn push(&mut self, at_ps: u64, transfer: u32, place: u32, bytes: f64, behind_ps: u64) {
        self.sequence += 1;
        self.events.push(Reverse(Event {
            at_ps,
            sequence: self.sequence,
            transfer,
            place,
            bits: bytes.to_bits(),
            behind_ps,
        }));
    }

    /// Cuts the next packet of a transfer and has it ready at its source.
    fn cut(&mut self, transfer: u32, at_ps: u64) {
        let t = &mut self.transfers[transfer as usize];
        let bytes = t.left.min(self.packet_bytes);
        t.left -= bytes;
        t.flying += 1;
        self.push(at_ps, transfer, 0, bytes, 0);
    }
}

impl Carrier for Packets {
    fn begin(&mut self, path: &[u32], bytes: f64, _alike: u32, tag: u32) {
        if self.alive == 0 {
            self.transfers.clear();
            self.path.clear();
        }
        for &l in path {
            if let Some(carried) = self.carried.get_mut(l as usize) {
                *carried += bytes;
            }
        }
        let first = self.path.len() as u32;
        self.path.extend(path.iter().filter(|l| (**l as usize) < self.free_ps.len()));
        let len = self.path.len() as u32 - first;
        let id = self.transfers.len() as u32;
        // What goes nowhere is there at once.
        let left = if len == 0 { 0.0 } else { bytes.max(0.0) };
        self.transfers.push(Transfer { tag, first, len, left, flying: 0 });
        self.alive += 1;
        self.cut(id, self.now_ps);
    }

    fn wake(&mut self, after_s: f64, tag: u32) {
        let id = self.transfers.len() as u32;
        self.transfers.push(Transfer { tag, first: self.path.len() as u32, len: 0, left: 0.0, flying: 1 });
        self.alive += 1;
        self.push(self.now_ps + (after_s * 1e12).round() as u64, id, 0, 0.0, 0);
    }

    fn now(&self) -> f64 {
        self.now_ps as f64 * 1e-12 + self.skipped_s
    }

    fn skip(&mut self, seconds: f64) {
        self.skipped_s += seconds;
    }

    fn next(&mut self, done: &mut Vec<u32>) -> bool {
        done.clear();
        while let Some(&Reverse(e)) = self.events.peek() {
            if !done.is_empty() && e.at_ps > self.now_ps {
                break;
            }
            self.events.pop();
            self.now_ps = e.at_ps;
            let t = self.transfers[e.transfer as usize];
            let bytes = f64::from_bits(e.bits);
            if e.place == t.len {
                let t = &mut self.transfers[e.transfer as usize];
                t.flying -= 1;
                if t.flying == 0 && t.left <= 0.0 {
                    done.push(t.tag);
                    self.alive -= 1;
                }
                continue;
            }
            let l = self.path[(t.first + e.place) as usize] as usize;
            // Up, so that no sum of packets is below bytes over bandwidth.
            let takes = (bytes * self.ps_per_byte[l]).ceil() as u64;
            let mut starts = e.at_ps.max(self.free_ps[l]);
            if self.switching == Switching::CutThrough {
                // It cannot leave faster than it comes: its last byte is still `behind` its head.
                starts = starts.max((e.at_ps + e.behind_ps).saturating_sub(takes));
            }
            self.free_ps[l] = starts + takes;
            let head = starts + self.latency_ps[l];
            let (at, behind) = match self.switching {
                Switching::CutThrough if e.place + 1 < t.len => (head, takes),
                _ => (head + takes, 0),
            };
            self.push(at, e.transfer, e.place + 1, bytes, behind);
            if e.place == 0 && t.left > 0.0 {
                // The next packet is cut when this one has left, so that a source's transfers take turns.
                self.cut(e.transfer, starts + takes);
            }
        }
        done.sort_unstable();
        !done.is_empty()
    }

    fn carried(&self) -> &[f64] {
        &self.carried
    }
}
