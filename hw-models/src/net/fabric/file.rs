//! Fabrics as data: parts of a node, links between them, nodes, switches between nodes (`catalog/network/topology/*.toml`).

use banksia_input::schema::of_file;
use banksia_input::{InputError, Source};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::topology::{Class, Kind, Link, Topology};

/// The file of a fabric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FabricFile")]
struct File {
    /// What the fabric is called.
    name: String,
    /// Where its numbers are from.
    source: String,
    /// Nodes, all alike.
    #[serde(default = "one")]
    nodes: u32,
    /// What every node has.
    parts: Vec<Part>,
    /// What lies between the nodes.
    #[serde(default)]
    switches: Vec<Part>,
    /// Links between parts, each in both directions.
    links: Vec<Wire>,
}

/// Vertices that are alike: of every node, or (in `switches`) between the nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FabricPart")]
struct Part {
    /// What links call it.
    name: String,
    /// What it is.
    kind: Kind,
    /// How many.
    #[serde(default = "one")]
    count: u32,
}

/// Links in both directions between two kinds of parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FabricLinks")]
struct Wire {
    /// The parts at the one end, by name.
    from: String,
    /// The parts at the other.
    to: String,
    /// Which of the one is linked with which of the other.
    connect: Connect,
    /// Of `rails`: nodes that share their switches.
    every: Option<u32>,
    /// With which links its bytes are counted.
    class: Class,
    /// Bandwidth of all links between two vertices together, one direction, GB/s (10^9 bytes).
    gb_s: f64,
    /// From the first bit in to the first bit out, with what the vertex at its end adds, ns.
    latency_ns: f64,
    /// Energy, pJ a bit.
    #[serde(default)]
    pj_per_bit: f64,
}

/// Which vertex of the one is linked with which of the other. Parts of nodes are counted through all nodes where the other lies between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Connect {
    /// Each with each.
    All,
    /// The i-th with the i-th.
    Same,
    /// In equal blocks: the first so many with the first.
    Blocks,
    /// In turn: the i-th with the i-th modulo the other's count.
    Turns,
    /// Of every so many nodes (`every`), the i-th of each node with the i-th switch of theirs.
    Rails,
    /// Each with the next of its own kind, the last with the first.
    Ring,
}

const fn one() -> u32 {
    1
}

/// The fabrics of the catalog.
pub const CATALOG: [(&str, &str); 8] = [
    ("dgx-a100", include_str!("../../../catalog/network/topology/dgx-a100.toml")),
    ("dgx-a100-32", include_str!("../../../catalog/network/topology/dgx-a100-32.toml")),
    ("dgx-a100-128", include_str!("../../../catalog/network/topology/dgx-a100-128.toml")),
    ("dgx-h100", include_str!("../../../catalog/network/topology/dgx-h100.toml")),
    ("dgx-h100-128", include_str!("../../../catalog/network/topology/dgx-h100-128.toml")),
    ("gb200-nvl72", include_str!("../../../catalog/network/topology/gb200-nvl72.toml")),
    ("pcie-tree", include_str!("../../../catalog/network/topology/pcie-tree.toml")),
    ("cxl-pool", include_str!("../../../catalog/network/topology/cxl-pool.toml")),
];

/// A fabric of the catalog.
///
/// # Errors
/// The name is not in the catalog.
pub fn topology(name: &str) -> Result<Topology, InputError> {
    match CATALOG.iter().find(|(n, _)| *n == name) {
        Some((n, text)) => Topology::from_source(&Source::from_text(format!("{n}.toml"), *text)),
        None => Err(InputError::unknown_name(name, "fabric", name, CATALOG.iter().map(|(n, _)| *n))),
    }
}

/// The schema of a fabric's file.
pub fn schema() -> Schema {
    of_file::<File>("Banksia: a fabric")
}

const MOST_VERTICES: u64 = 1 << 22;

impl Topology {
    /// A fabric from a file.
    ///
    /// # Errors
    /// A key is missing or unknown, a name is not a part's, or a number cannot be.
    pub fn from_source(source: &Source) -> Result<Self, InputError> {
        let file: File = source.parse()?;
        source.check("nodes", file.nodes, 1..=1 << 20)?;
        let mut places = Vec::with_capacity(file.parts.len() + file.switches.len());
        let (mut per_node, mut between) = (0u64, 0u64);
        for (table, list, at) in [("parts", &file.parts, &mut per_node), ("switches", &file.switches, &mut between)] {
            for (i, part) in list.iter().enumerate() {
                source.check(&format!("{table}[{i}].count"), part.count, 1..=1 << 20)?;
                if places.iter().any(|p: &Place<'_>| p.part.name == part.name) {
                    return Err(source.error(&format!("{table}[{i}].name"), "is a second part of this name"));
                }
                places.push(Place { part, of_node: table == "parts", first: *at });
                *at += u64::from(part.count);
            }
        }
        let all = u64::from(file.nodes) * per_node + between;
        if all > MOST_VERTICES {
            return Err(source.error("nodes", format!("makes {all} vertices: up to {MOST_VERTICES} are modelled")));
        }
        let mut kinds = Vec::with_capacity(all as usize);
        for _ in 0..file.nodes {
            kinds.extend(file.parts.iter().flat_map(|p| std::iter::repeat_n(p.kind, p.count as usize)));
        }
        kinds.extend(file.switches.iter().flat_map(|p| std::iter::repeat_n(p.kind, p.count as usize)));
        let layout = Layout { nodes: file.nodes, per_node: per_node as u32 };
        let mut links = Vec::new();
        for (i, wire) in file.links.iter().enumerate() {
            let key = |name: &str| format!("links[{i}].{name}");
            source.check(&key("gb_s"), wire.gb_s, 1e-6..=1e9)?;
            source.check(&key("latency_ns"), wire.latency_ns, 0.0..=1e12)?;
            source.check(&key("pj_per_bit"), wire.pj_per_bit, 0.0..=1e6)?;
            let find = |end: &str, name: &str| {
                places.iter().find(|p| p.part.name == name).ok_or_else(|| {
                    source.unknown_name(&key(end), "part", name, places.iter().map(|p| p.part.name.as_str()))
                })
            };
            let (from, to) = (find("from", &wire.from)?, find("to", &wire.to)?);
            layout.wire(wire, from, to, &mut links).map_err(|problem| source.error(&key("connect"), problem))?;
            if links.len() as u64 > 8 * MOST_VERTICES {
                return Err(source.error(&key("connect"), "makes more links than are modelled"));
            }
        }
        let names = |of_node: bool| {
            let own = places.iter().filter(|p| p.of_node == of_node);
            own.map(|p| (p.part.name.clone(), p.first as u32)).collect()
        };
        Self::new(&file.name, kinds, links, file.nodes, per_node as u32)
            .map(|t| t.named(names(true), names(false)))
            .map_err(|problem| InputError::new(source.name(), problem))
    }
}

/// Where the vertices of a part lie.
struct Place<'a> {
    part: &'a Part,
    of_node: bool,
    /// Its first among the parts of a node, or among what lies between nodes.
    first: u64,
}

struct Layout {
    nodes: u32,
    per_node: u32,
}

impl Layout {
    /// The i-th vertex of a part, counted in one node or, of all nodes, through them.
    fn vertex(&self, place: &Place<'_>, node: u32, i: u32) -> u32 {
        if place.of_node {
            (node + i / place.part.count) * self.per_node + place.first as u32 + i % place.part.count
        } else {
            self.nodes * self.per_node + place.first as u32 + i
        }
    }

    fn wire(&self, wire: &Wire, from: &Place<'_>, to: &Place<'_>, links: &mut Vec<Link>) -> Result<(), String> {
        let mut both = |a: u32, b: u32| {
            for (from, to) in [(a, b), (b, a)] {
                links.push(Link {
                    from,
                    to,
                    bytes_per_s: wire.gb_s * 1e9,
                    latency_s: wire.latency_ns * 1e-9,
                    pj_per_bit: wire.pj_per_bit,
                    class: wire.class,
                });
            }
        };
        // Within each node where both are parts of nodes, else once.
        let times = if from.of_node && to.of_node && wire.connect != Connect::Ring { self.nodes } else { 1 };
        let count = |p: &Place<'_>| p.part.count * if p.of_node && times == 1 { self.nodes } else { 1 };
        let (f, t) = (count(from), count(to));
        if u64::from(f) * u64::from(t) > 1 << 26 && wire.connect == Connect::All {
            return Err(format!("each of {f} with each of {t} are more links than are modelled"));
        }
        for node in 0..times {
            let at = |p: &Place<'_>, i: u32| self.vertex(p, if p.of_node { node } else { 0 }, i);
            match wire.connect {
                Connect::All => {
                    for a in 0..f {
                        for b in 0..t {
                            // A kind with itself: each pair once.
                            if wire.from != wire.to || a < b {
                                both(at(from, a), at(to, b));
                            }
                        }
                    }
                }
                Connect::Same if f == t && wire.from != wire.to => (0..f).for_each(|i| both(at(from, i), at(to, i))),
                Connect::Same => {
                    return Err(format!("is `same`, but `{}` are {f} and `{}` are {t}", wire.from, wire.to));
                }
                Connect::Blocks if f % t == 0 && wire.from != wire.to => {
                    (0..f).for_each(|i| both(at(from, i), at(to, i / (f / t))));
                }
                Connect::Blocks => {
                    return Err(format!(
                        "is `blocks`, but {f} `{}` are not a multiple of {t} `{}`",
                        wire.from, wire.to
                    ));
                }
                Connect::Turns if wire.from != wire.to => (0..f).for_each(|i| both(at(from, i), at(to, i % t))),
                Connect::Turns => return Err(format!("is `turns` of `{}` with itself", wire.from)),
                Connect::Rails => {
                    let (each, every) = (from.part.count, wire.every.unwrap_or(self.nodes).max(1));
                    if !from.of_node || to.of_node || t < self.nodes.div_ceil(every) * each {
                        return Err(format!(
                            "is `rails` of {each} `{}` a node with {t} `{}`: needs {} between the nodes",
                            wire.from,
                            wire.to,
                            self.nodes.div_ceil(every) * each
                        ));
                    }
                    (0..f).for_each(|i| both(at(from, i), at(to, i / each / every * each + i % each)));
                }
                Connect::Ring if wire.from == wire.to && f > 2 => {
                    (0..f).for_each(|i| both(at(from, i), at(to, (i + 1) % f)));
                }
                Connect::Ring => return Err("is `ring`: of three or more of one kind, with itself".to_owned()),
            }
        }
        Ok(())
    }
}
