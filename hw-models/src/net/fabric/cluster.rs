//! Collectives of a group of ranks on a named machine: nodes of GPUs, and NICs between the nodes.

use banksia_input::{InputError, Source};

use crate::net::collective::algorithm::{self as within, Op};
use crate::net::collective::{Library, time};

use super::kernels;
use super::machine::{CATALOG, Machine, Processor};
use super::nccl::Communicator;

pub use super::group::{Algorithm, Collective, Cost, Group, Launch};
pub use crate::net::collective::protocol::Protocol;

/// A machine of nodes: the GPUs of a node over NVLink, NICs between nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    machine: Machine,
}

/// A machine of the catalog.
///
/// # Errors
/// The name is not in the catalog.
pub fn cluster(name: &str) -> Result<Cluster, InputError> {
    match CATALOG.iter().find(|(n, _)| *n == name) {
        Some((n, text)) => Cluster::from_source(&Source::from_text(format!("{n}.toml"), *text)),
        None => Err(InputError::unknown_name(name, "cluster", name, CATALOG.iter().map(|(n, _)| *n))),
    }
}

impl Cluster {
    /// A machine from a file.
    ///
    /// # Errors
    /// A key is missing or unknown, or a number cannot be.
    pub fn from_source(source: &Source) -> Result<Self, InputError> {
        Ok(Self { machine: Machine::from_source(source)? })
    }

    /// Its file, the links of one node, and NCCL's tables.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// GPUs of a node.
    pub fn gpus_per_node(&self) -> u32 {
        self.machine.file.gpus_per_node
    }

    /// The catalog's name of the GPU.
    pub fn gpu(&self) -> &str {
        &self.machine.file.gpu
    }

    /// Bytes a second that all NICs of a node reach, in one direction.
    pub fn node_bytes_per_s(&self) -> f64 {
        f64::from(self.machine.file.nic.per_node) * self.machine.nic_bytes_per_s()
    }

    /// One collective of a group, from launch to launch, while `group.concurrent` groups do the same; a process a GPU.
    ///
    /// # Errors
    /// The machine has no room for the group.
    pub fn time(&self, op: Collective, group: Group, bytes: u64) -> Result<Cost, InputError> {
        self.time_launched(op, group, bytes, Launch::ProcessPerGpu)
    }

    /// The same, launched in a given way.
    ///
    /// # Errors
    /// The machine has no room for the group.
    pub fn time_launched(&self, op: Collective, group: Group, bytes: u64, launch: Launch) -> Result<Cost, InputError> {
        let Group { ranks_per_node: ranks, nodes, concurrent } = group;
        let file = &self.machine.file;
        let room = ranks.checked_mul(concurrent).is_some_and(|all| all <= file.gpus_per_node);
        if ranks == 0 || nodes == 0 || concurrent == 0 || !room {
            let problem = format!("has no room for {concurrent} groups of {ranks} ranks a node at once");
            return Err(InputError::new(&file.name, problem).help(format!("a node has {} GPUs", file.gpus_per_node)));
        }
        if ranks.checked_mul(nodes).is_none_or(|all| all > 1 << 20) {
            return Err(InputError::new(
                &file.name,
                format!("cannot have {nodes} nodes: up to 2^20 ranks are modelled"),
            ));
        }
        Ok(if ranks == 1 && nodes == 1 {
            self.lone(bytes)
        } else if nodes > 1 {
            self.across(op, group, bytes)
        } else if self.machine.nccl.one_node && !matches!(op, Collective::AllToAll | Collective::SendRecv) {
            self.within_by_tables(op, ranks, bytes, launch)
        } else {
            self.within(op, ranks, bytes)
        })
    }

    /// What NCCL sees of a group.
    pub fn communicator(&self, group: Group) -> Communicator<'_> {
        let file = &self.machine.file;
        Communicator {
            gpu: &file.gpu,
            amd: file.processor == Processor::Amd,
            ranks_per_node: group.ranks_per_node,
            nodes: group.nodes,
            nics: self.machine.nics_of(group.ranks_per_node),
            nic_gb_s: file.nic.bandwidth_gbit_s / 8.0,
            multicast: self.machine.node.multicast(),
        }
    }

    /// One rank: a copy.
    fn lone(&self, bytes: u64) -> Cost {
        let launch = &self.machine.file.launch;
        let launch_s = launch.copy_us * 1e-6;
        Cost {
            seconds: launch_s + 2.0 * bytes as f64 / (launch.copy_gb_s * 1e9),
            launch_s,
            nvlink_bytes: 0.0,
            network_bytes: 0.0,
            algorithm: Algorithm::Copy,
            protocol: Protocol::Simple,
            sms: 0,
        }
    }

    /// Several nodes.
    fn across(&self, op: Collective, group: Group, bytes: u64) -> Cost {
        let machine = &self.machine;
        let comm = self.communicator(group);
        let ranks = f64::from(group.ranks_per_node) * f64::from(group.nodes);
        let sends = matches!(op, Collective::AllToAll | Collective::SendRecv);
        let (algorithm, protocol) = if sends {
            let to_peer = if op == Collective::AllToAll { bytes as f64 / ranks } else { bytes as f64 };
            let small = to_peer <= machine.node.nccl.p2p_ll_bytes;
            (Algorithm::PointToPoint, if small { Protocol::Ll } else { Protocol::Simple })
        } else {
            machine.nccl.choose(&comm, op, bytes)
        };
        let channels = match algorithm {
            Algorithm::PointToPoint => machine.nccl.most_channels(&comm).min(2 * comm.nics.max(1)),
            _ => machine.nccl.used_channels(&comm, algorithm, protocol, bytes),
        };
        let taken = if op == Collective::AllToAll {
            kernels::all_to_all(machine, protocol, group, bytes)
        } else {
            kernels::across_nodes(machine, &comm, (op, algorithm, protocol), group, channels, bytes)
        };
        Cost {
            seconds: taken.launch_s + taken.flow_s,
            launch_s: taken.launch_s,
            nvlink_bytes: taken.nvlink,
            network_bytes: taken.out / f64::from(group.ranks_per_node),
            algorithm,
            protocol,
            sms: channels,
        }
    }

    /// One node, chosen by the machine's version of NCCL.
    fn within_by_tables(&self, op: Collective, ranks: u32, bytes: u64, launch: Launch) -> Cost {
        let (node, file) = (&self.machine.node, &self.machine.file);
        let comm = self.communicator(Group { ranks_per_node: ranks, nodes: 1, concurrent: 1 });
        let (algorithm, protocol) = self.machine.nccl.choose(&comm, op, bytes);
        let (way, like) = if algorithm == Algorithm::Tree {
            (within::Algorithm::Tree, Op::AllReduce)
        } else {
            (within::Algorithm::Ring, like(op))
        };
        let channels = self.machine.nccl.used_channels(&comm, algorithm, protocol, bytes);
        // What the kernels of later versions take more in Simple is in this version what its channels do.
        let more = if protocol == Protocol::Simple { node.latency.simple_us } else { 0.0 };
        let channels_s = f64::from(channels - 1) * file.launch.channel_us * 1e-6;
        let at = |bytes| within::seconds(node, like, way, protocol, ranks, bytes) - more * 1e-6 + channels_s;
        let one_process_s = f64::from(ranks) * file.launch.gpu_us * 1e-6 + channels_s;
        let floor_s = if launch == Launch::OneProcess { one_process_s } else { 0.0 };
        Cost {
            seconds: at(bytes).max(floor_s),
            launch_s: at(bytes.min(1)).max(floor_s),
            nvlink_bytes: sent(op, ranks, bytes),
            network_bytes: 0.0,
            algorithm,
            protocol,
            sms: channels,
        }
    }

    /// One node, by the model of later versions.
    fn within(&self, op: Collective, ranks: u32, bytes: u64) -> Cost {
        let node = &self.machine.node;
        if op == Collective::SendRecv {
            let small = bytes as f64 <= node.nccl.p2p_ll_bytes;
            let protocol = if small { Protocol::Ll } else { Protocol::Simple };
            // An all-to-all of two ranks sends half of what a rank has.
            let at = |bytes: u64| {
                within::seconds(
                    node,
                    Op::AllToAll,
                    within::Algorithm::PointToPoint,
                    protocol,
                    2,
                    bytes.saturating_mul(2),
                )
            };
            return Cost {
                seconds: at(bytes),
                launch_s: at(bytes.min(1)),
                nvlink_bytes: bytes as f64,
                network_bytes: 0.0,
                algorithm: Algorithm::PointToPoint,
                protocol,
                sms: node.nccl.channels,
            };
        }
        let outcome = time(node, Library::Nccl, like(op), ranks, bytes);
        let least = time(node, Library::Nccl, like(op), ranks, bytes.min(1));
        let algorithm = match outcome.algorithm {
            within::Algorithm::Ring => Algorithm::Ring,
            within::Algorithm::Tree => Algorithm::Tree,
            within::Algorithm::Nvls => Algorithm::Nvls,
            within::Algorithm::PointToPoint => Algorithm::PointToPoint,
            within::Algorithm::OneShot | within::Algorithm::TwoShot => Algorithm::OneShot,
        };
        Cost {
            seconds: outcome.latency_s,
            launch_s: least.latency_s.min(outcome.latency_s),
            nvlink_bytes: sent(op, ranks, bytes),
            network_bytes: 0.0,
            algorithm,
            protocol: outcome.protocol,
            sms: if algorithm == Algorithm::Nvls { node.nccl.nvls_channels } else { node.nccl.channels },
        }
    }
}

/// The collective of one node whose ring does the same steps.
fn like(op: Collective) -> Op {
    match op {
        Collective::AllReduce => Op::AllReduce,
        Collective::ReduceScatter | Collective::Reduce => Op::ReduceScatter,
        Collective::AllGather | Collective::Broadcast => Op::AllGather,
        Collective::AllToAll | Collective::SendRecv => Op::AllToAll,
    }
}

/// Bytes that a rank of one node sends.
fn sent(op: Collective, ranks: u32, bytes: u64) -> f64 {
    let n = f64::from(ranks);
    let turns = if op == Collective::AllReduce { 2.0 } else { 1.0 };
    turns * bytes as f64 * (n - 1.0) / n
}
