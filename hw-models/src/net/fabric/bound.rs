//! What no algorithm can go below: the bytes that must leave a part of the fabric, over the bandwidth out of it.

use super::group::Collective;
use super::schedule::Schedule;
use super::topology::Topology;

/// What a collective must bring from where to where, whatever the algorithm; switches may reduce and multicast.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    collective: Collective,
    ranks: u32,
    root: u32,
    peer: u32,
    whole: f64,
    /// Of an all-gather or reduce-scatter: bytes that belong to each rank.
    own: Vec<f64>,
    pairs: Pairs,
}

#[derive(Debug, Clone, PartialEq)]
enum Pairs {
    Equal(f64),
    Each(Vec<f64>),
}

/// The tightest of the cuts that were looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct CutBound {
    /// Bytes over bandwidth, seconds.
    pub seconds: f64,
    /// Which cut: what lies within, and whether its bytes leave or enter.
    pub cut: String,
}

impl Demand {
    /// Of a collective in equal parts, of `bytes` as nccl-tests counts them.
    pub fn even(collective: Collective, ranks: u32, bytes: u64) -> Self {
        let part = bytes as f64 / f64::from(ranks.max(1));
        let own = vec![part; ranks as usize];
        let (root, peer, pairs) = (0, ranks.saturating_sub(1), Pairs::Equal(part));
        Self { collective, ranks, root, peer, whole: bytes as f64, own, pairs }
    }

    /// Of a schedule, whose chunks may differ.
    pub fn of(schedule: &Schedule) -> Self {
        let mut own = vec![0.0; schedule.ranks as usize];
        let parts = matches!(schedule.collective, Collective::AllGather | Collective::ReduceScatter);
        if parts {
            for (chunk, bytes) in (0..).zip(&schedule.chunk_bytes) {
                own[schedule.owner(chunk) as usize] += bytes;
            }
        }
        Self {
            collective: schedule.collective,
            ranks: schedule.ranks,
            root: schedule.root,
            peer: schedule.peer,
            whole: schedule.chunk_bytes.iter().sum(),
            own,
            pairs: Pairs::Each(if schedule.collective == Collective::AllToAll {
                schedule.chunk_bytes.clone()
            } else {
                Vec::new()
            }),
        }
    }

    fn pair(&self, from: u32, to: u32) -> f64 {
        match &self.pairs {
            Pairs::Equal(part) => *part,
            Pairs::Each(all) => all.get((from * self.ranks + to) as usize).copied().unwrap_or(0.0),
        }
    }

    /// The least bytes that the ranks of a set (`inside`, by rank) send out of it.
    pub fn out_of(&self, inside: &[bool]) -> f64 {
        let within = |r: u32| inside.get(r as usize).copied().unwrap_or(false);
        let count = (0..self.ranks).filter(|r| within(*r)).count() as u32;
        if count == 0 || count == self.ranks {
            return 0.0;
        }
        let owned = |side: bool| -> f64 {
            (0..self.ranks).zip(&self.own).filter(|(r, _)| within(*r) == side).map(|(_, bytes)| bytes).sum()
        };
        match self.collective {
            Collective::AllReduce => self.whole,
            Collective::AllGather => owned(true),
            Collective::ReduceScatter => owned(false),
            Collective::AllToAll => match self.pairs {
                Pairs::Equal(part) => part * f64::from(count) * f64::from(self.ranks - count),
                Pairs::Each(_) => {
                    let from = (0..self.ranks).filter(|r| within(*r));
                    let to = |s: u32| (0..self.ranks).filter(|d| !within(*d)).map(move |d| self.pair(s, d));
                    from.map(|s| to(s).sum::<f64>()).sum()
                }
            },
            Collective::Broadcast if within(self.root) => self.whole,
            Collective::SendRecv if within(self.root) && !within(self.peer) => self.whole,
            Collective::Reduce if !within(self.root) => self.whole,
            Collective::Broadcast | Collective::SendRecv | Collective::Reduce => 0.0,
        }
    }

    /// The tightest cut among: each rank's vertex, each node, and the first so many nodes (powers of two, and half), in both directions.
    pub fn least(&self, topology: &Topology, vertices: &[u32]) -> CutBound {
        let mut best = CutBound { seconds: 0.0, cut: "none".to_owned() };
        let mut look = |inside: &[bool], (out, into): (f64, f64), name: &dyn Fn() -> String| {
            let outside: Vec<bool> = inside.iter().map(|i| !i).collect();
            for (set, wide, way) in [(inside, out, "out of"), (&outside, into, "into")] {
                let bytes = self.out_of(set);
                if bytes > best.seconds * wide * (1.0 + 1e-12) && wide > 0.0 {
                    best = CutBound { seconds: bytes / wide, cut: format!("{way} {}", name()) };
                }
            }
        };
        let ranks = &vertices[..vertices.len().min(self.ranks as usize)];
        // Bandwidth out of and into each vertex, and each node.
        let mut vertex = vec![(0.0, 0.0); topology.vertices() as usize];
        let mut node = vec![(0.0, 0.0); topology.nodes() as usize];
        for l in topology.links() {
            vertex[l.from as usize].0 += l.bytes_per_s;
            vertex[l.to as usize].1 += l.bytes_per_s;
            let (a, b) = (topology.node_of(l.from), topology.node_of(l.to));
            if a != b {
                a.into_iter().for_each(|n| node[n as usize].0 += l.bytes_per_s);
                b.into_iter().for_each(|n| node[n as usize].1 += l.bytes_per_s);
            }
        }
        let at = |v: u32| ranks.iter().map(move |r| *r == v).collect::<Vec<bool>>();
        // Ranks whose vertices are as wide, and who send as much, are alike: one of them is enough where parts are equal.
        let mut seen: Vec<(u64, u64)> = Vec::new();
        for (rank, &v) in (0..).zip(ranks) {
            let (out, into) = vertex[v as usize];
            let special = rank == self.root || rank == self.peer || matches!(self.pairs, Pairs::Each(_));
            let key = (f64::to_bits(out), f64::to_bits(into));
            if !special && seen.contains(&key) {
                continue;
            }
            seen.push(key);
            look(&at(v), (out, into), &|| topology.label(v));
        }
        let nodes = topology.nodes();
        if nodes > 1 {
            for n in 0..nodes {
                let inside: Vec<bool> = ranks.iter().map(|v| topology.node_of(*v) == Some(n)).collect();
                look(&inside, node[n as usize], &|| format!("node {n}"));
            }
            let mut blocks: Vec<u32> = (1..32).map(|i| 1 << i).take_while(|k| *k < nodes).collect();
            blocks.push(nodes / 2);
            for k in blocks {
                let within = |v: u32| topology.node_of(v).is_some_and(|n| n < k);
                let crossing = |from: bool| {
                    let all = topology.links().iter();
                    all.filter(|l| within(l.from) == from && within(l.to) != from).map(|l| l.bytes_per_s).sum::<f64>()
                };
                let inside: Vec<bool> = ranks.iter().map(|v| within(*v)).collect();
                look(&inside, (crossing(true), crossing(false)), &|| format!("nodes 0 to {}", k - 1));
            }
        }
        best
    }
}
