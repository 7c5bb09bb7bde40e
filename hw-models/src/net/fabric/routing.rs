//! Paths through a fabric: the least time of a reference message, equal ones chosen by hash or split.
//!
//! Nodes that are alike share one table; a path between nodes is a way out of the first, over the switches, into the second. So a table has as
//! many entries as a node has parts, and as there are switches, squared, and not as there are vertices.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::topology::{Kind, Topology};

/// The message whose time a path is the least of: small enough that latency counts, large enough that a slow link is avoided.
const REFERENCE_BYTES: f64 = 65_536.0;
const UNREACHED: u64 = u64::MAX;

/// Which of equal paths a flow takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Policy {
    /// By the destination's number, in turn (D-mod-k, as subnet managers do in fat trees).
    #[default]
    Shortest,
    /// By a hash of source, destination and the flow's number, hop by hop (ECMP).
    Hashed,
    /// Between nodes by the rail of the destination: first within the node to the GPU at its place, then over that GPU's NIC (NCCL's PXN).
    Rail,
}

/// Distances within a set of vertices, each to each, as picoseconds of the reference message.
#[derive(Debug, Clone, PartialEq)]
struct Table {
    size: u32,
    distance: Vec<u64>,
}

impl Table {
    fn get(&self, from: u32, to: u32) -> u64 {
        self.distance[(from * self.size + to) as usize]
    }

    /// Distances over links whose both ends are within.
    fn new(topology: &Topology, base: u32, size: u32) -> Self {
        let mut distance = vec![UNREACHED; size as usize * size as usize];
        let mut queue = BinaryHeap::new();
        for source in 0..size {
            let row = &mut distance[(source * size) as usize..((source + 1) * size) as usize];
            row[source as usize] = 0;
            queue.push(Reverse((0u64, source)));
            while let Some(Reverse((far, v))) = queue.pop() {
                if far > row[v as usize] || (v != source && !topology.kind(base + v).passes()) {
                    continue;
                }
                for &id in topology.leaving(base + v) {
                    let link = topology.link(id);
                    let Some(to) = link.to.checked_sub(base).filter(|to| *to < size) else { continue };
                    let there = far.saturating_add(cost(topology, id));
                    if there < row[to as usize] {
                        row[to as usize] = there;
                        queue.push(Reverse((there, to)));
                    }
                }
            }
        }
        Self { size, distance }
    }
}

/// Picoseconds of the reference message over a link, at least one.
fn cost(topology: &Topology, id: u32) -> u64 {
    let link = topology.link(id);
    ((link.latency_s + REFERENCE_BYTES / link.bytes_per_s) * 1e12).round().max(1.0) as u64
}

/// A link between a node and what lies between nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Gate {
    link: u32,
    /// Part of the node.
    part: u32,
    /// Place between the nodes.
    outside: u32,
    cost: u64,
}

/// Paths of a fabric.
#[derive(Debug, Clone, PartialEq)]
pub struct Routes<'a> {
    topology: &'a Topology,
    policy: Policy,
    /// Vertices of a node and of all nodes; none where nodes are linked with one another directly.
    parts: u32,
    inside: u32,
    node: Table,
    outside: Table,
    /// Ways out of and into every node.
    exits: Vec<Vec<Gate>>,
    entries: Vec<Vec<Gate>>,
}

impl<'a> Routes<'a> {
    /// Paths of a fabric.
    pub fn new(topology: &'a Topology, policy: Policy) -> Self {
        let direct = topology.links().iter().any(|l| match (topology.node_of(l.from), topology.node_of(l.to)) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        });
        let (nodes, parts) = if direct { (0, 0) } else { (topology.nodes(), topology.parts()) };
        let inside = nodes * parts;
        let size = topology.vertices() - inside;
        let (mut exits, mut entries) = (vec![Vec::new(); nodes as usize], vec![Vec::new(); nodes as usize]);
        for (id, link) in topology.links().iter().enumerate() {
            let link_id = id as u32;
            let gate = |part: u32, outside: u32| Gate { link: link_id, part, outside, cost: cost(topology, link_id) };
            match (link.from < inside, link.to < inside) {
                (true, false) => exits[(link.from / parts) as usize].push(gate(link.from % parts, link.to - inside)),
                (false, true) => entries[(link.to / parts) as usize].push(gate(link.to % parts, link.from - inside)),
                _ => {}
            }
        }
        let node = Table::new(topology, 0, parts);
        let outside = Table::new(topology, inside, size);
        Self { topology, policy, parts, inside, node, outside, exits, entries }
    }

    /// The fabric.
    pub fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// Whether flows between the same two vertices may take different paths.
    pub fn tells_flows_apart(&self) -> bool {
        self.policy == Policy::Hashed
    }

    /// Appends the links from one vertex to another; false where none leads there. `flow` is what the hash tells flows of one pair apart by.
    pub fn path(&self, from: u32, to: u32, flow: u32, path: &mut Vec<u32>) -> bool {
        if from.max(to) >= self.topology.vertices() {
            return false;
        }
        let mut hash = match self.policy {
            Policy::Hashed => mix((u64::from(from) << 32 | u64::from(to)) ^ (u64::from(flow) << 17)),
            Policy::Shortest | Policy::Rail => u64::from(to),
        };
        let start = path.len();
        let found = match self.mate(from, to) {
            Some(mate) => self.walk(from, mate, &mut hash, path) && self.walk(mate, to, &mut hash, path),
            None => self.walk(from, to, &mut hash, path),
        };
        if !found {
            path.truncate(start);
        }
        found
    }

    /// Links from one vertex to another with the share of a message that crosses each, where every choice among equals is divided alike (packets
    /// sprayed, or routed adaptively); none where no path leads there.
    pub fn spread(&self, from: u32, to: u32) -> Option<Vec<(u32, f64)>> {
        if from.max(to) >= self.topology.vertices() {
            return None;
        }
        let (parts, inside) = (self.parts, self.inside);
        let node = |v: u32| (v < inside).then(|| v / parts);
        let (a, b) = (node(from), node(to));
        let mut shares = Vec::new();
        if let (Some(a), Some(b)) = (a, b)
            && a == b
            && self.node.get(from % parts, to % parts) != UNREACHED
        {
            self.share(&self.node, a * parts, (from % parts, to % parts), 1.0, &mut shares);
            return Some(shares);
        }
        let own = |v: u32| [Gate { link: u32::MAX, part: 0, outside: v.wrapping_sub(inside), cost: 0 }];
        let (own_from, own_to) = (own(from), own(to));
        let exits = a.map_or(&own_from[..], |n| &self.exits[n as usize]);
        let entries = b.map_or(&own_to[..], |n| &self.entries[n as usize]);
        let (mut least, mut equal) = (UNREACHED, Vec::new());
        for out in exits {
            for into in entries {
                let near = if a.is_some() { self.reach(from % parts, out.part, out.part == from % parts) } else { 0 };
                let far = if b.is_some() { self.reach(into.part, to % parts, into.part == to % parts) } else { 0 };
                let across = self.outside.get(out.outside, into.outside);
                let sum = [near, out.cost, across, into.cost].iter().fold(far, |sum, x| sum.saturating_add(*x));
                if sum < least {
                    least = sum;
                    equal.clear();
                }
                if sum == least && sum != UNREACHED {
                    equal.push((out, into));
                }
            }
        }
        let share = 1.0 / equal.len() as f64;
        for (out, into) in &equal {
            if let Some(n) = a {
                self.share(&self.node, n * parts, (from % parts, out.part), share, &mut shares);
                shares.push((out.link, share));
            }
            self.share(&self.outside, inside, (out.outside, into.outside), share, &mut shares);
            if let Some(n) = b {
                shares.push((into.link, share));
                self.share(&self.node, n * parts, (into.part, to % parts), share, &mut shares);
            }
        }
        (!equal.is_empty()).then_some(shares)
    }

    /// Shares along a table's distances: from the farthest vertex on, each with all that comes to it.
    fn share(&self, table: &Table, base: u32, (from, to): (u32, u32), share: f64, shares: &mut Vec<(u32, f64)>) {
        let mut front = vec![(table.get(from, to), from, share)];
        while let Some((left, at, whole)) = front.iter().copied().max_by_key(|f| (f.0, f.1)) {
            front.retain(|f| f.1 != at);
            if at == to {
                continue;
            }
            let leads = |id: &&u32| {
                let next = self.topology.link(**id).to.wrapping_sub(base);
                let passes = next == to || (next < table.size && self.topology.kind(base + next).passes());
                passes && table.get(next, to).checked_add(cost(self.topology, **id)) == Some(left)
            };
            let all = self.topology.leaving(base + at).iter().filter(leads);
            let each = whole / all.clone().count() as f64;
            for &id in all {
                shares.push((id, each));
                let next = self.topology.link(id).to - base;
                match front.iter_mut().find(|f| f.1 == next) {
                    Some(f) => f.2 += each,
                    None => front.push((table.get(next, to), next, each)),
                }
            }
        }
    }

    /// Ways out of a node and into it: link, part of the node, what lies outside.
    pub(super) fn gates(&self, node: u32) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        let of = |list: &'_ Vec<Gate>| list.iter().map(|g| (g.link, g.part, g.outside)).collect::<Vec<_>>();
        let node = node as usize;
        let both = [self.exits.get(node), self.entries.get(node)];
        both.into_iter().flatten().flat_map(of)
    }

    /// The GPU that has the destination's place in the source's node, where a path goes over it.
    fn mate(&self, from: u32, to: u32) -> Option<u32> {
        if self.policy != Policy::Rail || from.max(to) >= self.inside || from / self.parts == to / self.parts {
            return None;
        }
        let mate = from / self.parts * self.parts + to % self.parts;
        let gpus = [from, to].iter().all(|v| self.topology.kind(*v) == Kind::Gpu);
        (gpus && mate != from && self.node.get(from % self.parts, to % self.parts) != UNREACHED).then_some(mate)
    }

    fn walk(&self, from: u32, to: u32, hash: &mut u64, path: &mut Vec<u32>) -> bool {
        let (parts, inside) = (self.parts, self.inside);
        let node = |v: u32| (v < inside).then(|| v / parts);
        let (a, b) = (node(from), node(to));
        if let (Some(a), Some(b)) = (a, b)
            && a == b
            && self.node.get(from % parts, to % parts) != UNREACHED
        {
            return self.follow(&self.node, a * parts, from % parts, to % parts, hash, path);
        }
        // Ways out and in; a vertex between the nodes is its own.
        let own = |v: u32| [Gate { link: u32::MAX, part: 0, outside: v.wrapping_sub(inside), cost: 0 }];
        let (own_from, own_to) = (own(from), own(to));
        let exits = a.map_or(&own_from[..], |n| &self.exits[n as usize]);
        let entries = b.map_or(&own_to[..], |n| &self.entries[n as usize]);
        let mut best = (UNREACHED, 0usize, 0usize);
        let mut equal = 0u64;
        // Of equal ways those that leave and enter nodes by the same part stay on a rail, and are taken; a hash takes any.
        let mut strays = true;
        let choice = mix(*hash);
        for (i, out) in exits.iter().enumerate() {
            let near = if a.is_some() { self.reach(from % parts, out.part, out.part == from % parts) } else { 0 };
            if near == UNREACHED {
                continue;
            }
            for (k, into) in entries.iter().enumerate() {
                let far = if b.is_some() { self.reach(into.part, to % parts, into.part == to % parts) } else { 0 };
                let across = self.outside.get(out.outside, into.outside);
                let (Some(sum), false) = (across.checked_add(near + out.cost + into.cost), far == UNREACHED) else {
                    continue;
                };
                let sum = sum.saturating_add(far);
                let stray = self.policy != Policy::Hashed && a.is_some() && b.is_some() && out.part != into.part;
                if (sum, stray) < (best.0, strays) {
                    best = (sum, i, k);
                    strays = stray;
                    equal = 1;
                } else if sum == best.0 && stray == strays && sum != UNREACHED {
                    // The n-th of equals replaces the choice once in n: by hash, or by the destination's number (D-mod-k), in turn.
                    equal += 1;
                    let by = if self.policy == Policy::Hashed { mix(choice ^ equal) } else { u64::from(to) };
                    if by.is_multiple_of(equal) {
                        best = (sum, i, k);
                    }
                }
            }
        }
        if best.0 == UNREACHED {
            return false;
        }
        let (Some(out), Some(into)) = (exits.get(best.1), entries.get(best.2)) else { return false };
        if let Some(n) = a {
            if !self.follow(&self.node, n * parts, from % parts, out.part, hash, path) {
                return false;
            }
            path.push(out.link);
        }
        if !self.follow(&self.outside, inside, out.outside, into.outside, hash, path) {
            return false;
        }
        match b {
            Some(n) => {
                path.push(into.link);
                self.follow(&self.node, n * parts, into.part, to % parts, hash, path)
            }
            None => true,
        }
    }

    /// A distance within a node to or from a gate, which passes on unless it is the end itself.
    fn reach(&self, from: u32, to: u32, end: bool) -> u64 {
        let far = self.node.get(from, to);
        let passes = |v: u32| self.topology.kind(v).passes();
        if end || (far != UNREACHED && (passes(from) || passes(to))) { far } else { UNREACHED }
    }

    /// Along a table's distances.
    fn follow(&self, table: &Table, base: u32, from: u32, to: u32, hash: &mut u64, path: &mut Vec<u32>) -> bool {
        let mut at = from;
        while at != to {
            let left = table.get(at, to);
            let leads = |id: &&u32| {
                let next = self.topology.link(**id).to.wrapping_sub(base);
                let passes = next == to || (next < table.size && self.topology.kind(base + next).passes());
                passes && table.get(next, to).checked_add(cost(self.topology, **id)) == Some(left)
            };
            let all = self.topology.leaving(base + at).iter();
            let pick = match self.policy {
                Policy::Shortest | Policy::Rail => *hash % (all.clone().filter(leads).count().max(1) as u64),
                Policy::Hashed => {
                    *hash = mix(*hash);
                    *hash % (all.clone().filter(leads).count().max(1) as u64)
                }
            };
            let Some(&id) = all.filter(leads).nth(pick as usize) else { return false };
            path.push(id);
            at = self.topology.link(id).to - base;
        }
        true
    }
}

/// One step of a 64-bit mixing function (SplitMix64).
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
