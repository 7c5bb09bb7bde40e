//! Whether a routing function can deadlock, told before anything runs: the channel dependency graph (Dally and Seitz 1987).
//!
//! Its nodes are the virtual channels of all routers' inputs. A packet that lies in one and may ask for another makes an edge; without a
//! ring of edges there is no deadlock. All courses of the routing function are followed from every source to every destination: whatever
//! it may draw, and whatever it may find waiting. Adaptive routing has rings among its adaptive channels, and is free all the same if its
//! escape channels alone have none, for a packet may always ask for one of these and stays on them (Duato 1993).

use std::collections::{HashMap, HashSet};

use super::config::{NocConfig, NocError};
use super::flit::Flit;
use super::random::{Draws, Script};
use super::routing::{Routing, Surroundings};
use super::topology::{End, Topology};

/// A virtual channel of a router's input, and where the packets go that wait in it for the next one of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The router that the channel comes from; none if it is a terminal.
    pub from: Option<u32>,
    /// The router that it leads to.
    pub to: u32,
    /// The input there.
    pub input: u16,
    /// Its virtual channel.
    pub vc: u16,
    /// A destination whose packets wait here for the next of the ring.
    pub terminal: u32,
}

/// What the dependency graph says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadlockCheck {
    /// It has no ring: no deadlock.
    Free {
        /// Virtual channels that packets use.
        channels: usize,
        /// Dependencies between them.
        dependencies: usize,
    },
    /// Its escape channels have no ring: no deadlock.
    FreeByEscape {
        /// Escape channels that packets use.
        channels: usize,
        /// Dependencies between them.
        dependencies: usize,
    },
    /// A ring: each channel's packets may wait for the next, the last one's for the first.
    Ring(Vec<Held>),
    /// There are more courses than were followed.
    TooLarge {
        /// Courses that were followed.
        states: usize,
    },
}

/// States that are followed, at most.
const MOST_STATES: usize = 1 << 24;

/// Checks a configuration's routing, for packets between all terminals.
///
/// # Errors
/// The network cannot be built.
pub fn check_deadlock(config: &NocConfig) -> Result<DeadlockCheck, NocError> {
    config.check()?;
    let topology = Topology::new(&config.shape, config.unit_latency)?;
    let routing = Routing::new(config, config.all_classes(), topology.routes.clone());
    let mut graph = Graph::new(&topology, config.router.virtual_channels);
    let terminals = topology.entries.len();
    if graph.nodes >= 1 << 24 || terminals >= 1 << 17 {
        return Ok(DeadlockCheck::TooLarge { states: 0 });
    }
    for source in 0..terminals {
        for to in 0..terminals {
            if !graph.follow(&topology, &routing, source, to as u32) {
                return Ok(DeadlockCheck::TooLarge { states: graph.seen.len() });
            }
        }
    }
    Ok(graph.judge(&topology))
}

/// The graph as it is found.
struct Graph {
    vcs: usize,
    nodes: usize,
    /// Where each router's inputs begin.
    first: Vec<usize>,
    /// States that were met: node, phase, way and destination.
    seen: HashSet<u64>,
    /// Edges, each with a destination whose packets make it and whether it is to an escape channel of adaptive routing or any other of the
    /// main way.
    edges: HashMap<(u32, u32), (u32, bool)>,
    adaptive: bool,
    escapes: HashSet<u32>,
    stack: Vec<(End, u16, Flit)>,
}

impl Graph {
    fn new(topology: &Topology, vcs: usize) -> Graph {
        let mut nodes = 0;
        let ports = topology.routers.iter().map(|r| {
            nodes += r.inputs.len() * vcs;
            nodes - r.inputs.len() * vcs
        });
        let first = ports.collect();
        Graph {
            vcs,
            nodes,
            first,
            seen: HashSet::new(),
            edges: HashMap::new(),
            adaptive: false,
            escapes: HashSet::new(),
            stack: Vec::new(),
        }
    }

    fn node(&self, end: End, vc: u16) -> u32 {
        (self.first[end.to as usize] + usize::from(end.port) * self.vcs + usize::from(vc)) as u32
    }

    /// Notes a state; whether it is new.
    fn is_new(&mut self, end: End, vc: u16, flit: &Flit) -> bool {
        let node = u64::from(self.node(end, vc));
        self.seen.insert(node | u64::from(flit.phase & 7) << 24 | u64::from(flit.to) << 27 | u64::from(flit.way) << 44)
    }

    /// Follows all courses of packets from a source to a destination; whether there were not too many.
    fn follow(&mut self, topology: &Topology, routing: &Routing, source: usize, to: u32) -> bool {
        let entry = topology.entries[source];
        let mut draws = Draws::Script(Script::default());
        loop {
            let (first, last) = routing.entry_vcs(0, 0, 0, &mut draws);
            for vc in first..=last {
                let flit = Flit { to, head: true, tail: true, vc: vc as u8, ..Flit::default() };
                if self.is_new(entry, vc as u16, &flit) {
                    self.stack.push((entry, vc as u16, flit));
                }
            }
            if !advance(&mut draws) {
                break;
            }
        }
        while let Some((at, vc, flit)) = self.stack.pop() {
            if self.seen.len() > MOST_STATES {
                return false;
            }
            self.courses(topology, routing, (at, vc), flit, &mut draws);
        }
        true
    }

    /// All courses of a packet at a router.
    fn courses(&mut self, topology: &Topology, routing: &Routing, (at, vc): (End, u16), flit: Flit, draws: &mut Draws) {
        let node = self.node(at, vc);
        loop {
            let mut next = flit;
            let mut around = Surroundings { draws, used: &[], first_output: &[] };
            let route = routing.next(at.to as usize, usize::from(at.port), &mut next, &mut around);
            routing.forget(&mut next);
            self.adaptive |= route.more != 0;
            for (port, vcs, more) in route.ways() {
                let end = topology.routers[at.to as usize].outputs[port];
                if end.terminal {
                    continue;
                }
                for vc in (0..self.vcs as u16).filter(|v| vcs >> v & 1 == 1) {
                    let other = self.node(end, vc);
                    self.edges.entry((node, other)).or_insert((flit.to, false)).1 |= more == 0;
                    if more == 0 {
                        self.escapes.insert(other);
                    }
                    let moved = Flit { vc: vc as u8, ..next };
                    if self.is_new(end, vc, &moved) {
                        self.stack.push((end, vc, moved));
                    }
                }
            }
            if !advance(draws) {
                return;
            }
        }
    }

    /// Looks for rings.
    fn judge(&self, topology: &Topology) -> DeadlockCheck {
        let edges: Vec<(u32, u32)> = self.edges.keys().copied().collect();
        let count = |edges: &[(u32, u32)]| {
            let nodes: HashSet<u32> = edges.iter().flat_map(|e| [e.0, e.1]).collect();
            (nodes.len(), edges.len())
        };
        let Some(ring) = find_ring(self.nodes, edges.clone()) else {
            let (channels, dependencies) = count(&edges);
            return DeadlockCheck::Free { channels, dependencies };
        };
        if !self.adaptive {
            return DeadlockCheck::Ring(self.told(topology, &ring));
        }
        let escape = |e: &&(u32, u32)| self.escapes.contains(&e.0) && self.edges[*e].1;
        let edges: Vec<(u32, u32)> = edges.iter().filter(escape).copied().collect();
        match find_ring(self.nodes, edges.clone()) {
            Some(ring) => DeadlockCheck::Ring(self.told(topology, &ring)),
            None => {
                let (channels, dependencies) = count(&edges);
                DeadlockCheck::FreeByEscape { channels, dependencies }
            }
        }
    }

    fn told(&self, topology: &Topology, ring: &[u32]) -> Vec<Held> {
        let held = |(i, node): (usize, &u32)| {
            let to = self.first.partition_point(|first| *first <= *node as usize) - 1;
            let place = *node as usize - self.first[to];
            let (input, vc) = (place / self.vcs, place % self.vcs);
            let feed = topology.routers[to].inputs[input];
            let next = ring[(i + 1) % ring.len()];
            Held {
                from: (!feed.terminal).then_some(feed.to),
                to: to as u32,
                input: input as u16,
                vc: vc as u16,
                terminal: self.edges.get(&(*node, next)).map_or(0, |e| e.0),
            }
        };
        ring.iter().enumerate().map(held).collect()
    }
}

fn advance(draws: &mut Draws) -> bool {
    match draws {
        Draws::Script(script) => script.advance(),
        Draws::Sequence(_) | Draws::Hash { .. } => false,
    }
}

/// A ring of a directed graph, if it has one.
fn find_ring(nodes: usize, mut edges: Vec<(u32, u32)>) -> Option<Vec<u32>> {
    edges.sort_unstable();
    let mut starts = vec![0; nodes + 1];
    for edge in &edges {
        starts[edge.0 as usize + 1] += 1;
    }
    for node in 0..nodes {
        starts[node + 1] += starts[node];
    }
    // 0 not met, 1 on the way, 2 done.
    let mut state = vec![0_u8; nodes];
    let mut way: Vec<(u32, usize)> = Vec::new();
    for start in 0..nodes as u32 {
        if state[start as usize] != 0 {
            continue;
        }
        state[start as usize] = 1;
        way.push((start, starts[start as usize]));
        while let Some((node, next)) = way.last_mut() {
            if *next == starts[*node as usize + 1] {
                state[*node as usize] = 2;
                way.pop();
                continue;
            }
            let to = edges[*next].1;
            *next += 1;
            match state[to as usize] {
                0 => {
                    state[to as usize] = 1;
                    way.push((to, starts[to as usize]));
                }
                1 => {
                    let from = way.iter().position(|w| w.0 == to)?;
                    return Some(way[from..].iter().map(|w| w.0).collect());
                }
                _ => {}
            }
        }
    }
    None
}

impl DeadlockCheck {
    /// Whether it says that there is no deadlock.
    pub fn is_free(&self) -> bool {
        matches!(self, DeadlockCheck::Free { .. } | DeadlockCheck::FreeByEscape { .. })
    }

    /// What it says, in lines: a ring channel by channel.
    pub fn told(&self) -> String {
        let line = |held: &Held| {
            let from = held.from.map_or("a terminal".to_owned(), |f| format!("router {f}"));
            let Held { to, input, vc, terminal, .. } = held;
            format!("{from} to router {to} (input {input}), vc {vc}, packets to terminal {terminal}")
        };
        match self {
            DeadlockCheck::Free { channels, dependencies } => {
                format!("no deadlock: {channels} virtual channels with {dependencies} dependencies, without a ring")
            }
            DeadlockCheck::FreeByEscape { channels, dependencies } => {
                format!("no deadlock: {channels} escape channels with {dependencies} dependencies, without a ring")
            }
            DeadlockCheck::Ring(ring) => {
                let lines: Vec<String> = ring.iter().map(|held| format!("  {}", line(held))).collect();
                let count = ring.len();
                format!(
                    "may deadlock: a ring of {count} channels, each of which may wait for the next:\n{}",
                    lines.join("\n")
                )
            }
            DeadlockCheck::TooLarge { states } => format!("not checked for deadlock: more than {states} states"),
        }
    }
}
