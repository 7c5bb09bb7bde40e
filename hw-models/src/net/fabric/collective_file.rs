//! A collective on a fabric as a file: which fabric, which algorithms, which sizes.

use std::path::{Path, PathBuf};

use banksia_input::schema::of_file;
use banksia_input::{InputError, Source};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, cluster};
use super::file::{CATALOG, topology};
use super::group::Collective;
use super::machine;
use super::packet::Switching;
use super::routing::Policy;
use super::topology::Topology;

/// A collective on a fabric, as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectiveFile {
    /// What it is called; the fabric's name where there is none.
    #[serde(default)]
    pub name: Option<String>,
    /// The fabric: a name of the catalog, or a TOML file beside this one.
    pub fabric: String,
    /// GPUs that take part, the first so many; all where there is none.
    #[serde(default)]
    pub ranks: Option<u32>,
    /// Which of equal paths a transfer takes.
    #[serde(default)]
    pub routing: Route,
    /// A cluster of the catalog, or its TOML file, by which NCCL's time stands beside.
    #[serde(default)]
    pub cluster: Option<String>,
    /// What is done.
    pub collective: CollectiveTable,
    /// Packets, where they are run beside flows.
    #[serde(default)]
    pub packets: PacketTable,
}

/// Which of equal paths a transfer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// By the destination's number, in turn (D-mod-k).
    #[default]
    Shortest,
    /// By a hash of source, destination and chunk (ECMP).
    Hashed,
    /// First within the node to the GPU on the destination's rail, then over that GPU's NIC (NCCL's PXN).
    Rail,
}

impl Route {
    /// The same, as paths have it.
    pub const fn policy(self) -> Policy {
        match self {
            Self::Shortest => Policy::Shortest,
            Self::Hashed => Policy::Hashed,
            Self::Rail => Policy::Rail,
        }
    }
}

/// How data are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "CollectiveAlgorithm")]
pub enum Way {
    /// From neighbour to neighbour.
    Ring,
    /// Two binary trees.
    Tree,
    /// Exchanges at distances of powers of two.
    HalvingDoubling,
    /// Every rank with every other.
    Direct,
    /// Within nodes, and over rails between them.
    Hierarchical,
    /// Sums and copies are made in the switches that all ranks are linked with.
    InSwitch,
}

/// All of them.
pub const WAYS: [Way; 6] = [Way::Ring, Way::Tree, Way::HalvingDoubling, Way::Direct, Way::Hierarchical, Way::InSwitch];

impl Way {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Tree => "tree",
            Self::HalvingDoubling => "halving-doubling",
            Self::Direct => "direct",
            Self::Hierarchical => "hierarchical",
            Self::InSwitch => "in-switch",
        }
    }
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectiveTable {
    /// all-reduce, all-gather, reduce-scatter, all-to-all, broadcast, reduce or send-recv.
    #[serde(default)]
    pub kind: Option<Collective>,
    /// Algorithms; all that there are for the collective and its ranks where there is none.
    #[serde(default)]
    pub algorithms: Vec<Way>,
    /// A schedule's file (TOML or JSON), beside this one: it says its collective and its ranks.
    #[serde(default)]
    pub schedule: Option<String>,
    /// Sizes, bytes, as nccl-tests counts them: of the whole buffer; of an all-to-all what one rank sends in all.
    pub bytes: Vec<u64>,
    /// Rings at once; as many as a node has GPUs where there are several nodes, else one.
    #[serde(default)]
    pub rings: Option<u32>,
    /// Pieces that follow one another in trees, in switches, and along rings from or to one rank.
    #[serde(default = "pieces")]
    pub pieces: u32,
}

/// Packets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PacketTable {
    /// Largest packet, bytes.
    #[serde(default = "packet_bytes")]
    pub bytes: u64,
    /// When a switch hands a packet on.
    #[serde(default)]
    pub switching: HandOn,
    /// Packets times links up to which a size is run by packets too; 0: none.
    #[serde(default = "most_hops")]
    pub most_hops: u64,
}

/// When a switch hands a packet on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HandOn {
    /// When its head is there and the next link is free.
    #[default]
    CutThrough,
    /// When all of it is there.
    StoreAndForward,
}

impl HandOn {
    /// The same, as packets have it.
    pub const fn switching(self) -> Switching {
        match self {
            Self::CutThrough => Switching::CutThrough,
            Self::StoreAndForward => Switching::StoreAndForward,
        }
    }
}

impl Default for PacketTable {
    fn default() -> Self {
        Self { bytes: packet_bytes(), switching: HandOn::default(), most_hops: most_hops() }
    }
}

const fn pieces() -> u32 {
    8
}

const fn packet_bytes() -> u64 {
    4096
}

const fn most_hops() -> u64 {
    1_000_000
}

/// The schema of such a file.
pub fn schema() -> Schema {
    of_file::<CollectiveFile>("Banksia: a collective on a fabric")
}

/// A file that was read, with what it names.
#[derive(Debug, Clone)]
pub struct CollectiveRun {
    /// What it is called.
    pub name: String,
    /// The fabric.
    pub topology: Topology,
    /// GPUs that take part.
    pub ranks: u32,
    /// The file.
    pub file: CollectiveFile,
    /// By which NCCL's time stands beside.
    pub cluster: Option<Cluster>,
    /// A schedule's file.
    pub schedule: Option<Source>,
}

/// A name of a catalog, or a file beside another.
fn beside(folder: &Path, name: &str) -> Option<PathBuf> {
    let file = Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"));
    file.then(|| folder.join(name))
}

impl CollectiveRun {
    /// Reads a collective on a fabric; what it names lies beside it.
    ///
    /// # Errors
    /// It is no such file, or what it says does not hold together.
    pub fn of(source: &Source, folder: &Path) -> Result<Self, InputError> {
        let file: CollectiveFile = source.parse()?;
        let topology = match beside(folder, &file.fabric) {
            Some(path) => Topology::from_source(&Source::read(&path)?)?,
            None => topology(&file.fabric)
                .map_err(|_| source.unknown_name("fabric", "fabric", &file.fabric, CATALOG.iter().map(|(n, _)| *n)))?,
        };
        let gpus = topology.gpus().len() as u32;
        let ranks = file.ranks.unwrap_or(gpus);
        source.check("ranks", ranks, 2..=gpus.max(2))?;
        if gpus < 2 {
            return Err(source.error("fabric", format!("`{}` has {gpus} GPUs: two or more do something", file.fabric)));
        }
        let cluster = match &file.cluster {
            None => None,
            Some(name) => Some(match beside(folder, name) {
                Some(path) => Cluster::from_source(&Source::read(&path)?)?,
                None => cluster(name).map_err(|_| {
                    source.unknown_name("cluster", "cluster", name, machine::CATALOG.iter().map(|(n, _)| *n))
                })?,
            }),
        };
        let c = &file.collective;
        if c.kind.is_none() && c.schedule.is_none() {
            return Err(source.error("collective", "says neither `kind` nor `schedule`"));
        }
        if c.kind.is_none() && !c.algorithms.is_empty() {
            return Err(source.error("collective.algorithms", "are of no collective: `kind` is missing"));
        }
        if c.bytes.is_empty() {
            return Err(source.error("collective.bytes", "are none").help("a list of sizes, as in `[1048576]`"));
        }
        for (i, bytes) in c.bytes.iter().enumerate() {
            source.check(&format!("collective.bytes[{i}]"), *bytes, 1..=1 << 50)?;
        }
        source.check("collective.pieces", c.pieces, 1..=1 << 12)?;
        if let Some(rings) = c.rings {
            source.check("collective.rings", rings, 1..=64)?;
        }
        source.check("packets.bytes", file.packets.bytes, 64..=1 << 30)?;
        let schedule = c.schedule.as_ref().map(|name| Source::read(&folder.join(name))).transpose()?;
        let name = file.name.clone().unwrap_or_else(|| topology.name.clone());
        Ok(Self { name, topology, ranks, file, cluster, schedule })
    }
}

/// Whether a file is of a collective on a fabric (and not of a network on a chip).
pub fn is_collective(source: &Source) -> bool {
    source.parse::<toml::Table>().is_ok_and(|table| table.contains_key("collective") || table.contains_key("fabric"))
}
