//! A fabric as a graph: devices and switches, and links between them, each in one direction.
//!
//! Most fabrics are nodes that are alike, and switches between them. A [`Topology`] keeps that: vertex `n * parts + p` is part `p` of node `n`,
//! switches between the nodes follow. What is found out about one node then holds for all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a vertex is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "FabricKind")]
pub enum Kind {
    /// A GPU: the ranks of a collective, in order. Passes nothing on by itself.
    Gpu,
    /// A network adapter.
    Nic,
    /// A switch: NVSwitch, PCIe, InfiniBand, Ethernet, CXL.
    Switch,
    /// A processor with its root ports.
    Host,
    /// Memory by itself (CXL). Passes nothing on.
    Memory,
}

impl Kind {
    /// Whether others' data pass through.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Nic | Self::Switch | Self::Host)
    }
}

/// Whose bytes are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LinkClass")]
pub enum Class {
    /// NVLink.
    Nvlink,
    /// PCI Express.
    Pcie,
    /// InfiniBand or Ethernet.
    Network,
    /// CXL.
    Cxl,
}

/// All of them, in the order of [`Class::index`].
pub const CLASSES: [Class; 4] = [Class::Nvlink, Class::Pcie, Class::Network, Class::Cxl];

impl Class {
    /// Its place in tables.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A link in one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Where it begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// Bytes a second.
    pub bytes_per_s: f64,
    /// From the first bit in to the first bit out, with what the vertex at its end adds, seconds.
    pub latency_s: f64,
    /// Energy, pJ a bit.
    pub pj_per_bit: f64,
    /// Whose bytes are counted together.
    pub class: Class,
}

/// Most vertices of a node, or between nodes.
const MOST_ROUTED: u64 = 4096;

/// A fabric.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// Its name.
    pub name: String,
    kinds: Vec<Kind>,
    links: Vec<Link>,
    first: Vec<u32>,
    out: Vec<u32>,
    gpus: Vec<u32>,
    nodes: u32,
    parts: u32,
    /// Names of parts, and the first vertex that each has within a node, or among what lies between nodes.
    names: Vec<(String, u32)>,
    between: Vec<(String, u32)>,
}

impl Topology {
    /// A fabric of vertices and links. The first `nodes * parts` vertices are nodes that are alike.
    ///
    /// # Errors
    /// A link's ends are no vertices, its bandwidth or latency cannot be, or the nodes are more than the vertices.
    pub fn new(name: &str, kinds: Vec<Kind>, links: Vec<Link>, nodes: u32, parts: u32) -> Result<Self, String> {
        let count = kinds.len() as u64;
        if count > u64::from(u32::MAX) / 2 || links.len() as u64 > u64::from(u32::MAX) / 2 {
            return Err(format!("has {count} vertices and {} links: too many", links.len()));
        }
        if u64::from(nodes) * u64::from(parts) > count {
            return Err(format!("has {nodes} nodes of {parts} parts, but {count} vertices"));
        }
        // Distances are kept each to each: within a node, between the nodes, and of all where nodes are linked directly.
        let node_of = |v: u32| (v < nodes * parts).then(|| v / parts);
        let direct = links.iter().any(|l| node_of(l.from).zip(node_of(l.to)).is_some_and(|(a, b)| a != b));
        let between = count - u64::from(nodes) * u64::from(parts);
        let largest = if direct { count } else { between.max(u64::from(parts)) };
        if largest > MOST_ROUTED {
            return Err(format!("has {largest} vertices in one piece: paths are found among up to {MOST_ROUTED}"));
        }
        for (i, l) in links.iter().enumerate() {
            if u64::from(l.from) >= count || u64::from(l.to) >= count || l.from == l.to {
                return Err(format!("link {i} goes from vertex {} to {}, of {count}", l.from, l.to));
            }
            let (fast, late, joule) = (l.bytes_per_s, l.latency_s, l.pj_per_bit);
            if !(fast.is_finite() && fast > 0.0 && late.is_finite() && late >= 0.0 && joule.is_finite() && joule >= 0.0)
            {
                return Err(format!("link {i} has {fast} bytes a second, a latency of {late} s and {joule} pJ a bit"));
            }
        }
        let mut first = vec![0u32; kinds.len() + 1];
        for l in &links {
            first[l.from as usize + 1] += 1;
        }
        for v in 0..kinds.len() {
            first[v + 1] += first[v];
        }
        let (mut next, mut out) = (first.clone(), vec![0u32; links.len()]);
        for (i, l) in links.iter().enumerate() {
            let at = &mut next[l.from as usize];
            out[*at as usize] = i as u32;
            *at += 1;
        }
        let gpus = (0..kinds.len() as u32).filter(|v| kinds[*v as usize] == Kind::Gpu).collect();
        Ok(Self {
            name: name.to_owned(),
            kinds,
            links,
            first,
            out,
            gpus,
            nodes,
            parts,
            names: Vec::new(),
            between: Vec::new(),
        })
    }

    /// The same fabric, whose parts have names: of each, its first vertex within a node, or among what lies between nodes.
    #[must_use]
    pub fn named(mut self, parts: Vec<(String, u32)>, between: Vec<(String, u32)>) -> Self {
        (self.names, self.between) = (parts, between);
        self
    }

    /// The name of a vertex's part, and which of its kind it is (within its node, or between nodes).
    pub fn part(&self, vertex: u32) -> (&str, u32) {
        let inside = self.nodes * self.parts;
        let (list, at) =
            if vertex < inside { (&self.names, vertex % self.parts) } else { (&self.between, vertex - inside) };
        match list.iter().rev().find(|(_, first)| *first <= at) {
            Some((name, first)) => (name, at - first),
            None => ("vertex", at),
        }
    }

    /// What a vertex is called: `node 3 gpu 5`, `leaf 2`.
    pub fn label(&self, vertex: u32) -> String {
        let (name, i) = self.part(vertex);
        match self.node_of(vertex) {
            Some(node) if self.nodes > 1 => format!("node {node} {name} {i}"),
            _ => format!("{name} {i}"),
        }
    }

    /// Vertices.
    pub fn vertices(&self) -> u32 {
        self.kinds.len() as u32
    }

    /// What a vertex is.
    pub fn kind(&self, vertex: u32) -> Kind {
        self.kinds[vertex as usize]
    }

    /// All links.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// A link.
    pub fn link(&self, id: u32) -> &Link {
        &self.links[id as usize]
    }

    /// Links that leave a vertex.
    pub fn leaving(&self, vertex: u32) -> &[u32] {
        let v = vertex as usize;
        &self.out[self.first[v] as usize..self.first[v + 1] as usize]
    }

    /// GPUs, in the order of ranks.
    pub fn gpus(&self) -> &[u32] {
        &self.gpus
    }

    /// Nodes that are alike.
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// Parts of a node.
    pub fn parts(&self) -> u32 {
        self.parts
    }

    /// The node of a vertex; none for what lies between nodes.
    pub fn node_of(&self, vertex: u32) -> Option<u32> {
        (vertex < self.nodes * self.parts).then(|| vertex / self.parts)
    }

    /// Bytes a second from the vertices of a set to the others.
    pub fn cut_bytes_per_s(&self, inside: &[bool]) -> f64 {
        let within = |v: u32| inside.get(v as usize).copied().unwrap_or(false);
        self.links.iter().filter(|l| within(l.from) && !within(l.to)).map(|l| l.bytes_per_s).sum()
    }
}
