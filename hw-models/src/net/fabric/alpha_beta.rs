//! Collectives as ASTRA-sim's analytical backends time them: its algorithms, its topologies of dimensions, its endpoints, over our fabric.
//!
//! A collective is cut into chunks; each goes through the dimensions one after the other, and every dimension works on so many chunks at once, first
//! come first served. Within a dimension ranks pass messages in steps. A message is cut down to whole nanoseconds; when it is there, a rank waits
//! the endpoint's delay and a nanosecond, and to reduce it reads both and writes the sum through local memory. Without congestion a message
//! is alone ([`Alone`]); with it, links pass whole messages on, one after the other ([`Packets`] that are stored and forwarded).

use super::alone::Alone;
use super::group::Collective;
use super::packet::{Packets, Switching};
use super::processed::Processed;
use super::routing::{Policy, Routes};
use super::run::run;
use super::schedule::{Mode, Schedule, Step, Transfer};
use super::topology::{Class, Kind, Link, Topology};

/// How the ranks of a dimension are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Block {
    /// Each with the next and the one before.
    Ring,
    /// Each with each.
    FullyConnected,
    /// Each with a switch.
    Switch,
}

/// How a dimension's ranks pass data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Passing {
    /// Around.
    Ring,
    /// Each to each at once.
    Direct,
    /// Exchanges at distances of one, two, four ...; the largest messages to the nearest.
    HalvingDoubling,
}

/// A dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dimension {
    /// Its links.
    pub block: Block,
    /// Its algorithm.
    pub passing: Passing,
    /// Its ranks.
    pub ranks: u32,
    /// Bytes a second of a link in one direction.
    pub bytes_per_s: f64,
    /// Latency of a link, seconds.
    pub latency_s: f64,
}

/// The rest of a system.
#[derive(Debug, Clone, PartialEq)]
pub struct AlphaBeta {
    /// Its dimensions, the innermost first.
    pub dimensions: Vec<Dimension>,
    /// Whether messages share links.
    pub congestion: bool,
    /// What an endpoint takes for a message, seconds.
    pub endpoint_s: f64,
    /// Local memory, bytes a second.
    pub memory_bytes_per_s: f64,
    /// Chunks of a collective.
    pub chunks: u32,
    /// Chunks that a dimension works on at once.
    pub at_once: u32,
    /// An all-reduce of several dimensions scatters over the inner ones, reduces over the last and gathers back, in place of one after another.
    pub by_levels: bool,
}

const NS: f64 = 1e-9;
/// What a chunk takes in a dimension beside its messages.
const CHUNK_S: f64 = 3.0 * NS;
/// Most messages of a phase that are made.
const MOST_MESSAGES: u64 = 1 << 22;

/// A step: who sends to whom, how many bytes, how long the receiver is busy with it, how often.
struct Turn {
    pairs: Vec<(u32, u32)>,
    bytes: f64,
    takes_s: f64,
    times: u32,
}

impl AlphaBeta {
    /// Seconds of a collective of `bytes`: of the buffer that each rank has at its beginning.
    ///
    /// # Errors
    /// An algorithm has no such collective, or too many messages.
    pub fn seconds(&self, collective: Collective, bytes: f64) -> Result<f64, String> {
        if self.dimensions.is_empty() || self.chunks == 0 || self.at_once == 0 {
            return Err("has no dimension, or no chunk at once".to_owned());
        }
        if self.congestion && self.dimensions.len() > 1 {
            return Err("has congestion over one dimension only".to_owned());
        }
        let at_once = self.at_once.min(self.chunks);
        let phases = self.phases(collective, bytes / f64::from(self.chunks));
        // Chunks that share links run together; others do not see one another.
        let copies = if self.congestion { at_once } else { 1 };
        let mut timed = Vec::with_capacity(phases.len());
        for (d, kind, size) in phases {
            timed.push((d, self.phase(&self.dimensions[d], kind, size, copies)?));
        }
        if self.congestion {
            let waves = self.chunks.div_ceil(at_once);
            return Ok(timed.iter().map(|p| p.1).sum::<f64>() * f64::from(waves));
        }
        Ok(pipelined(&timed, self.dimensions.len(), self.chunks, at_once))
    }

    /// Dimension, collective and bytes of each phase of a chunk.
    fn phases(&self, collective: Collective, chunk: f64) -> Vec<(usize, Collective, f64)> {
        let all = self.dimensions.len();
        let ranks = |d: usize| f64::from(self.dimensions[d].ranks);
        let mut phases = Vec::new();
        let mut size = chunk;
        match collective {
            Collective::AllReduce if self.by_levels => {
                for d in 0..all - 1 {
                    phases.push((d, Collective::ReduceScatter, size));
                    size /= ranks(d);
                }
                phases.push((all - 1, Collective::AllReduce, size));
                for d in (0..all - 1).rev() {
                    phases.push((d, Collective::AllGather, size));
                    size *= ranks(d);
                }
            }
            Collective::ReduceScatter => {
                for d in 0..all {
                    phases.push((d, collective, size));
                    size /= ranks(d);
                }
            }
            Collective::AllGather => {
                for d in (0..all).rev() {
                    phases.push((d, collective, size));
                    size *= ranks(d);
                }
            }
            _ => phases.extend((0..all).map(|d| (d, collective, size))),
        }
        phases
    }

    /// Seconds of one phase, `copies` chunks of it at once.
    fn phase(&self, d: &Dimension, collective: Collective, bytes: f64, copies: u32) -> Result<f64, String> {
        if d.ranks < 2 {
            return Ok(0.0);
        }
        let turns = self.turns(d, collective, bytes)?;
        let messages: u64 = turns.iter().map(|t| t.pairs.len() as u64).sum::<u64>() * u64::from(copies);
        if messages > MOST_MESSAGES {
            return Err(format!("{messages} messages: up to {MOST_MESSAGES} are made"));
        }
        let topology = topology(d)?;
        let routes = Routes::new(&topology, Policy::Shortest);
        let vertices: Vec<u32> = (0..copies).flat_map(|_| 0..d.ranks).collect();
        // The n-th turn sends the n-th chunk, whose bytes are its own.
        let mut takes = Vec::new();
        let mut steps = Vec::with_capacity(turns.len());
        for (i, turn) in turns.iter().enumerate() {
            let of = |c: u32| {
                let send = move |&(src, dst): &(u32, u32)| Transfer {
                    src: c * d.ranks + src,
                    dst: c * d.ranks + dst,
                    first: i as u32,
                    count: 1,
                    mode: Mode::Copy,
                };
                turn.pairs.iter().map(send)
            };
            let transfers: Vec<Transfer> = (0..copies).flat_map(of).collect();
            takes.extend(transfers.iter().map(|_| turn.takes_s));
            steps.push(Step { transfers, repeat: turn.times, rotate: 0, window: 0 });
        }
        let schedule = Schedule {
            collective: Collective::Broadcast,
            ranks: vertices.len() as u32,
            agents: 0,
            root: 0,
            peer: 0,
            chunk_bytes: turns.iter().map(|t| t.bytes).collect(),
            steps,
        };
        let ran = if self.congestion {
            // A message is one packet.
            let largest = turns.iter().map(|t| t.bytes).fold(1.0, f64::max);
            let packets = Packets::over(&topology, largest, Switching::StoreAndForward);
            run(&schedule, &routes, &vertices, &mut Processed::new(packets, &takes))
        } else {
            run(&schedule, &routes, &vertices, &mut Processed::new(Alone::over(&topology, 1000), &takes))
        }?;
        Ok(ran.seconds + CHUNK_S)
    }

    /// The steps of a dimension's algorithm.
    fn turns(&self, d: &Dimension, collective: Collective, bytes: f64) -> Result<Vec<Turn>, String> {
        let n = d.ranks;
        let copy = self.endpoint_s + NS;
        // Two reads and a write, each in whole nanoseconds.
        let reduce = |bytes: f64| copy + 3.0 * (bytes / self.memory_bytes_per_s / NS).floor() * NS;
        let part = bytes / f64::from(n);
        let turn = |pairs: Vec<(u32, u32)>, bytes: f64, takes_s: f64, times: u32| Turn { pairs, bytes, takes_s, times };
        let around = || (0..n).map(|r| (r, (r + 1) % n)).collect::<Vec<_>>();
        let each = || (1..n).flat_map(|k| (0..n).map(move |r| (r, (r + k) % n))).collect::<Vec<_>>();
        Ok(match (d.passing, collective) {
            (Passing::Ring, Collective::AllReduce) => {
                vec![turn(around(), part, reduce(part), n - 1), turn(around(), part, copy, n - 1)]
            }
            (Passing::Ring, Collective::ReduceScatter) => vec![turn(around(), part, reduce(part), n - 1)],
            (Passing::Ring, Collective::AllGather) => vec![turn(around(), bytes, copy, n - 1)],
            // What is for the k-th next goes on k times, one after the other.
            (Passing::Ring, Collective::AllToAll) => vec![turn(around(), part, copy, n * (n - 1) / 2)],
            (Passing::Direct, Collective::AllReduce) => {
                vec![turn(each(), part, reduce(part), 1), turn(each(), part, copy, 1)]
            }
            (Passing::Direct, Collective::ReduceScatter) => vec![turn(each(), part, reduce(part), 1)],
            (Passing::Direct, Collective::AllGather) => vec![turn(each(), bytes, copy, 1)],
            (Passing::Direct, Collective::AllToAll) => vec![turn(each(), part, copy, 1)],
            (Passing::HalvingDoubling, _) if !n.is_power_of_two() => {
                return Err(format!("halving and doubling of {n} ranks"));
            }
            (Passing::HalvingDoubling, Collective::AllReduce | Collective::ReduceScatter | Collective::AllGather) => {
                let levels = n.trailing_zeros();
                let exchange = |k: u32| (0..n).map(|r| (r, r ^ (1 << k))).collect::<Vec<_>>();
                let size = |k: u32| bytes / f64::from(1u32 << (k + 1));
                let mut turns = Vec::new();
                if collective != Collective::AllGather {
                    // It reduces by the size of the next message, and the last not at all.
                    turns.extend((0..levels).map(|k| {
                        let takes = if k + 1 < levels { reduce(size(k + 1)) } else { copy };
                        turn(exchange(k), size(k), takes, 1)
                    }));
                }
                if collective != Collective::ReduceScatter {
                    let whole = if collective == Collective::AllGather { f64::from(n) } else { 1.0 };
                    turns.extend((0..levels).rev().map(|k| turn(exchange(k), size(k) * whole, copy, 1)));
                }
                turns
            }
            (passing, other) => return Err(format!("{passing:?} has no {other:?}")),
        })
    }
}

/// The links of a dimension. Ranks pass others' messages on; of two ways around a ring that are as short, the way up is taken.
fn topology(d: &Dimension) -> Result<Topology, String> {
    let n = d.ranks;
    let link = |from: u32, to: u32, more_s: f64| Link {
        from,
        to,
        bytes_per_s: d.bytes_per_s,
        latency_s: d.latency_s + more_s,
        pj_per_bit: 0.0,
        class: Class::Network,
    };
    let mut kinds = vec![Kind::Host; n as usize];
    let mut links = Vec::new();
    match d.block {
        Block::Ring => {
            links.extend((0..n).map(|r| link(r, (r + 1) % n, 0.0)));
            if n > 2 {
                // A picosecond a link, far below what is measured.
                links.extend((0..n).map(|r| link((r + 1) % n, r, 1e-12)));
            }
        }
        Block::FullyConnected => {
            links.extend(
                (0..n).flat_map(|a| (0..n).filter(move |b| *b != a).map(move |b| (a, b))).map(|(a, b)| link(a, b, 0.0)),
            );
        }
        Block::Switch => {
            kinds.push(Kind::Switch);
            links.extend((0..n).flat_map(|r| [link(r, n, 0.0), link(n, r, 0.0)]));
        }
    }
    Topology::new("dimension", kinds, links, 0, 0)
}

/// Chunks through phases: every dimension works on so many at once, first come first served.
fn pipelined(phases: &[(usize, f64)], dimensions: usize, chunks: u32, at_once: u32) -> f64 {
    use std::cmp::Reverse;
    use std::collections::{BinaryHeap, VecDeque};
    let mut waiting: Vec<VecDeque<usize>> = vec![VecDeque::new(); dimensions];
    let mut busy = vec![0u32; dimensions];
    // By end (positive numbers order as their bits do), then in the order in which they began.
    let mut ends: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
    let (mut now, mut sequence) = (0.0_f64, 0u64);
    let Some(first) = phases.first() else { return 0.0 };
    waiting[first.0].extend((0..chunks).map(|_| 0));
    loop {
        for (d, queue) in waiting.iter_mut().enumerate() {
            while busy[d] < at_once
                && let Some(phase) = queue.pop_front()
            {
                busy[d] += 1;
                sequence += 1;
                ends.push(Reverse(((now + phases[phase].1).to_bits(), sequence, phase)));
            }
        }
        let Some(Reverse((bits, _, phase))) = ends.pop() else { return now };
        now = f64::from_bits(bits);
        busy[phases[phase].0] -= 1;
        if let Some(next) = phases.get(phase + 1) {
            waiting[next.0].push_back(phase + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AlphaBeta, Block, Collective, Dimension, Passing, pipelined};

    #[test]
    fn a_ring_takes_what_it_does_by_hand() {
        // 1 MiB in four chunks around eight ranks: 262,144 bytes over 400 * 2^30 B/s and 936.25 ns are 1,546 whole nanoseconds; with 11 of the endpoint, seven
        // times, and 3 a chunk.
        let dimension = Dimension {
            block: Block::Ring,
            passing: Passing::Ring,
            ranks: 8,
            bytes_per_s: 400.0 * f64::from(1 << 30),
            latency_s: 936.25e-9,
        };
        let system = AlphaBeta {
            dimensions: vec![dimension],
            congestion: false,
            endpoint_s: 10e-9,
            memory_bytes_per_s: 3350e9,
            chunks: 4,
            at_once: 1,
            by_levels: true,
        };
        let seconds = system.seconds(Collective::AllGather, f64::from(1 << 20)).unwrap_or_default();
        assert!((seconds * 1e9 - 4.0 * (7.0 * 1557.0 + 3.0)).abs() < 1e-3, "{seconds}");
        // What congestion adds to a ring is the rounding of its links.
        let shared = AlphaBeta { congestion: true, ..system };
        let shared = shared.seconds(Collective::AllGather, f64::from(1 << 20)).unwrap_or_default();
        assert!(shared >= seconds && shared < seconds * 1.001, "{shared} and {seconds}");
    }

    #[test]
    fn chunks_are_pipelined_over_dimensions() {
        assert!((pipelined(&[(0, 1.0), (1, 1.0)], 2, 4, 1) - 5.0).abs() < 1e-12);
        assert!((pipelined(&[(0, 1.0), (1, 3.0)], 2, 4, 1) - 13.0).abs() < 1e-12);
        assert!((pipelined(&[(0, 1.0)], 1, 4, 2) - 2.0).abs() < 1e-12);
    }
}
