//! What a collective's kernel is at when its ranks lie on several nodes: hops in and between nodes, bytes over NICs, NVLink and SMs.

use crate::net::collective::algorithm::{self as within, Op};
use crate::net::collective::protocol::Protocol;

use super::group::{Algorithm, Collective, Group};
use super::machine::Machine;
use super::nccl::Communicator;

/// What a kernel takes, seconds, and what it sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taken {
    /// Launch and hops.
    pub launch_s: f64,
    /// Bytes, over the slowest of NICs, NVLink and SMs.
    pub flow_s: f64,
    /// Bytes of data out of a node.
    pub out: f64,
    /// Bytes of data that a rank sends over NVLink, the mean of its node.
    pub nvlink: f64,
}

/// What one algorithm asks of hops and links.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Hops between GPUs of a node, one after another.
    near: f64,
    /// Hops between nodes, one after another.
    far: f64,
    /// Bytes out of a node, over all its NICs.
    out: f64,
    /// Bytes out of the busiest rank over NVLink.
    rank: f64,
    /// Their mean over the ranks of a node.
    nvlink: f64,
    /// Bytes that the SMs of a rank read and write, with a protocol's flags.
    moved: f64,
    /// Share of the bandwidth that its pipeline reaches.
    share: f64,
    /// Bytes that a hop between nodes takes as one before the next can begin.
    filled: f64,
}

/// A kernel of `channels` over several nodes.
pub(super) fn across_nodes(
    machine: &Machine,
    comm: &Communicator<'_>,
    (op, way, how): (Collective, Algorithm, Protocol),
    group: Group,
    channels: u32,
    bytes: u64,
) -> Taken {
    let mut load = load(machine, op, way, how, group, bytes);
    if matches!(way, Algorithm::Tree | Algorithm::NvlsTree) {
        // The proxy thread sends a chunk when all of it is there: the first one fills level after level.
        let chunk = machine.nccl.tree_chunk(comm, how, channels, bytes);
        load.filled = (chunk * f64::from(channels)).min(bytes as f64);
    }
    let latency = &machine.node.latency;
    let (near_us, far_us) = match how {
        Protocol::Ll => (latency.hop_us, machine.file.hop.ll_us + machine.file.hop.ll_jitter_us * later(channels)),
        Protocol::Ll128 => (latency.ll128_hop_us, machine.file.hop.ll128_us),
        Protocol::Simple => (latency.slice_us, machine.file.hop.simple_us),
    };
    let start_us = latency.launch_us + f64::from(channels - 1) * machine.file.launch.channel_us;
    let extra_us = if way == Algorithm::NvlsTree { latency.nvls_us } else { 0.0 };
    let rate = machine.group_bytes_per_s(group.ranks_per_node, group.concurrent) / how.expansion();
    let nics = load.out / rate;
    let multicast = if way == Algorithm::NvlsTree { machine.node.nccl.nvls_efficiency } else { 1.0 };
    let links = load.rank * how.expansion() / (machine.node.wire_bytes_per_s() * multicast);
    let sms = load.moved / within::move_rate(&machine.node, how, f64::from(channels));
    Taken {
        launch_s: (start_us + extra_us + load.near * near_us + load.far * far_us) * 1e-6,
        flow_s: nics.max(links).max(sms) / load.share + load.far * load.filled / rate,
        out: load.out,
        nvlink: load.nvlink,
    }
}

/// How much later than one the latest of so many is, in means of what each is late by: the harmonic number, less one.
fn later(channels: u32) -> f64 {
    (2..=channels).map(|i| 1.0 / f64::from(i)).sum()
}

fn load(machine: &Machine, op: Collective, way: Algorithm, how: Protocol, group: Group, bytes: u64) -> Load {
    let (r, m, s) = (f64::from(group.ranks_per_node), f64::from(group.nodes), bytes as f64);
    let (n, x) = (r * m, how.expansion());
    let levels = f64::from(group.nodes.next_power_of_two().ilog2());
    match way {
        // Chains up and down, trees between nodes. Each of the two trees takes half; a node of one with two children is a leaf of the other.
        Algorithm::Tree | Algorithm::NvlsTree => {
            let out = if group.nodes == 2 { s } else { 2.0 * s };
            let nvls = way == Algorithm::NvlsTree;
            // In the middle of a chain: receive, add, pass on up; receive, keep, pass on down. Multicast: its part for all, all for the others' parts.
            let (near, rank) = if nvls { (0.0, s * (1.0 + 1.0 / r)) } else { (2.0 * (r - 1.0), 2.0 * s) };
            let rank = if group.ranks_per_node > 1 { rank } else { 0.0 };
            let nvlink = if nvls { rank } else { 2.0 * s * (r - 1.0) / r };
            let moved = if nvls { 0.0 } else { 2.0 * (2.0 * x + 1.0) * s };
            Load {
                near,
                far: 2.0 * levels,
                out,
                rank,
                nvlink,
                moved,
                share: machine.nccl.tree_correction(how, bytes),
                filled: 0.0,
            }
        }
        Algorithm::PointToPoint | Algorithm::OneShot | Algorithm::Copy => {
            // One sends to one.
            Load { near: 0.0, far: 1.0, out: s, rank: 0.0, nvlink: 0.0, moved: (1.0 + x) * s, share: 1.0, filled: 0.0 }
        }
        Algorithm::Ring | Algorithm::Nvls => {
            // A ring around all ranks; one that only passes on what one rank has, or adds to it, sends all of it over each link.
            let one = matches!(op, Collective::Broadcast | Collective::Reduce);
            let turns = if op == Collective::AllReduce { 2.0 } else { 1.0 };
            let (steps, far) = (turns * (n - 1.0), turns * (m - 1.0));
            let link = if one { s } else { steps / n * s };
            let like = match op {
                Collective::AllReduce => Op::AllReduce,
                Collective::ReduceScatter => Op::ReduceScatter,
                _ => Op::AllGather,
            };
            let ranks = group.ranks_per_node.saturating_mul(group.nodes);
            let moved = if one { (2.0 * x + 1.0) * s } else { within::moves(like, how, ranks).0 * s / n };
            let rank = if group.ranks_per_node > 1 { link } else { 0.0 };
            Load {
                near: steps - far,
                far,
                out: link,
                rank,
                nvlink: link * (r - 1.0) / r,
                moved,
                share: 1.0,
                filled: 0.0,
            }
        }
    }
}

/// All pairs at once, each by a send and a receive: the NICs, the node's links, or the posts of a rank's proxy thread.
pub(super) fn all_to_all(machine: &Machine, how: Protocol, group: Group, bytes: u64) -> Taken {
    let (r, m, s) = (f64::from(group.ranks_per_node), f64::from(group.nodes), bytes as f64);
    let n = r * m;
    let part = s / n;
    let (x, latency) = (how.expansion(), &machine.node.latency);
    let (out, nvlink) = (r * (n - r) * part, (r - 1.0) * part);
    let (hop_us, least_us) = match how {
        Protocol::Ll => (machine.file.hop.ll_us, 0.0),
        Protocol::Ll128 => (machine.file.hop.ll128_us, 0.0),
        Protocol::Simple => (machine.file.hop.simple_us, latency.p2p_simple_us),
    };
    let wire = machine.node.wire_bytes_per_s() * machine.node.link.all_to_all_share;
    let nics = out * x / machine.group_bytes_per_s(group.ranks_per_node, group.concurrent);
    // A send is cut into as many posts as steps of a buffer; each rank's thread posts its own.
    let posts = (n - r) * (part / how.step_bytes()).ceil().max(1.0) * machine.file.nic.post_us * 1e-6;
    let moved = within::moves(Op::AllToAll, how, group.ranks_per_node.saturating_mul(group.nodes)).0 * part;
    let sms = moved / (machine.node.sm.p2p_move_gb_s * 1e9);
    let start_us = latency.p2p_launch_us + (n - 2.0) * latency.p2p_peer_us;
    Taken {
        launch_s: (start_us + hop_us.max(least_us)) * 1e-6,
        flow_s: nics.max(nvlink * x / wire).max(posts).max(sms),
        out,
        nvlink,
    }
}
