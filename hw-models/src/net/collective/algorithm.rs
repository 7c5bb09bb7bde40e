//! What a kernel of a collective is at: steps of a pipeline over links, and what SMs move for them.

use super::links::Fabric;
use super::protocol::Protocol;

/// A collective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// All ranks get the sum of all.
    AllReduce,
    /// All ranks get the parts of all.
    AllGather,
    /// Each rank gets a part of the sum.
    ReduceScatter,
    /// Each rank sends a part to each.
    AllToAll,
    /// All ranks get what one has.
    Broadcast,
    /// One rank gets the sum of all.
    Reduce,
    /// One rank sends all bytes to another.
    SendRecv,
    /// Two ranks send all bytes to each other.
    Exchange,
}

impl Op {
    /// Steps of a ring.
    pub const fn steps(self, ranks: u32) -> u32 {
        match self {
            Self::AllReduce => 2 * ranks.saturating_sub(1),
            Self::AllGather | Self::ReduceScatter | Self::AllToAll => ranks.saturating_sub(1),
            // A chain; NCCL counts its steps by ranks (`ncclTopoTuneModel`).
            Self::Broadcast | Self::Reduce => ranks,
            Self::SendRecv | Self::Exchange => 1,
        }
    }

    /// Whether it is sends and receives, for which NCCL has a kernel of its own.
    pub const fn is_point_to_point(self) -> bool {
        matches!(self, Self::AllToAll | Self::SendRecv | Self::Exchange)
    }
}

/// How the ranks are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// From neighbour to neighbour.
    Ring,
    /// Up a chain and down again: within a node, NCCL's trees are chains.
    Tree,
    /// Reduced and multicast by the switches (NVLink SHARP).
    Nvls,
    /// Sends and receives.
    PointToPoint,
    /// Every rank reads all others' buffers.
    OneShot,
    /// Every rank reads its part of all others' buffers, and then their sums of the other parts.
    TwoShot,
}

/// Slices of a chunk of the protocol Simple (`chunkSteps` over `sliceSteps`).
const SLICES: f64 = 2.0;
/// Largest chunk of multicast, and the least work, in chunks of all channels and ranks, for halves of it (`calcCollChunking`).
const NVLS_CHUNK: [(f64, f64); 4] = [(131_072.0, 64.0), (65_536.0, 8.0), (32_768.0, 2.0), (16_384.0, 0.0)];
/// Bytes read and written for each byte of a step of NCCL's all-reduce over eight ranks in LL, which `llMaxBws` was taken on.
const LL_MOVES: f64 = (10.0 * 8.0 - 8.0) / 14.0;

/// A third of a hop of LL falls beside bytes that other warps move: assumed, one figure for all generations.
const LL_HOPS_BESIDE: f64 = 3.0;

/// From launch to launch, seconds.
pub fn seconds(f: &Fabric, op: Op, way: Algorithm, how: Protocol, ranks: u32, bytes: u64) -> f64 {
    if ranks < 2 || bytes == 0 {
        return f.latency.launch_us * 1e-6;
    }
    match way {
        Algorithm::Ring if matches!(op, Op::Broadcast | Op::Reduce) => chain(f, op, how, ranks, bytes as f64),
        Algorithm::Ring => ring(f, op, how, ranks, bytes as f64),
        Algorithm::Tree => tree(f, how, ranks, bytes as f64),
        Algorithm::Nvls => nvls(f, op, ranks, bytes as f64),
        Algorithm::PointToPoint => point_to_point(f, op, how, ranks, bytes as f64),
        Algorithm::OneShot => one_shot_seconds(f, ranks, bytes),
        Algorithm::TwoShot => peer_all_reduce_s(f, way, ranks, bytes),
    }
}

/// Channels, each a CTA, that a collective of so many bytes gets.
pub fn channels(f: &Fabric, op: Op, bytes: u64) -> u32 {
    let twice = if op == Op::AllReduce { 2.0 } else { 1.0 };
    channels_of(f, twice * bytes as f64).ceil() as u32
}

/// The same of so many bytes on the links.
fn channels_of(f: &Fabric, traffic: f64) -> f64 {
    (traffic / f.nccl.channel_bytes).clamp(1.0, f64::from(f.nccl.channels))
}

/// Bytes read and written by a rank's SMs for each byte of a part, over all steps of a ring; and those of its last step. A store to a
/// peer and a load of what a peer stored count by the protocol's expansion.
pub(crate) fn moves(op: Op, how: Protocol, ranks: u32) -> (f64, f64) {
    let (n, x) = (f64::from(ranks), how.expansion());
    // Send; receive and pass on; the same with a sum or a copy; receive.
    let (middle, last) = (2.0 * x + 1.0, x + 1.0);
    match op {
        Op::AllReduce => (1.0 + x + 2.0 * (n - 2.0) * middle + 2.0 * x + 2.0 + last, last),
        Op::AllGather => (2.0 + x + (n - 2.0) * middle + last, last),
        Op::ReduceScatter => (1.0 + x + (n - 2.0) * middle + last + 1.0, last),
        Op::AllToAll => ((n - 1.0) * (1.0 + x + last) + 2.0, last),
        // In place; the rank that moves most: one in the middle, or one of two.
        Op::Broadcast if ranks > 2 => (middle, last),
        Op::Reduce if ranks > 2 => (middle + 1.0, last + 1.0),
        Op::Reduce => (last + 1.0, last + 1.0),
        Op::Broadcast | Op::SendRecv => (last, last),
        Op::Exchange => (1.0 + x + last, 1.0 + x + last),
    }
}

/// Bytes a second that `used` channels read and write: what their SMs' ports pass, up to what all channels reach.
pub(crate) fn move_rate(f: &Fabric, how: Protocol, used: f64) -> f64 {
    let all = match how {
        Protocol::Ll => f.nccl.ll_max_gb_s * LL_MOVES,
        Protocol::Ll128 => f.nccl.ll128_channel_gb_s * f64::from(f.nccl.channels),
        Protocol::Simple => f.sm.move_gb_s,
    };
    let port = f.sm.port_gb_s * if how == Protocol::Ll { f.sm.ll_port_share } else { 1.0 };
    1e9 * all.min(used * port)
}

/// So many steps of nothing. A rank passes a slice on while the next comes in, so that only the last step takes them one after another.
fn hops_s(f: &Fabric, how: Protocol, steps: f64) -> f64 {
    let us = match how {
        Protocol::Ll => steps * f.latency.hop_us,
        Protocol::Ll128 => steps * f.latency.ll128_hop_us,
        Protocol::Simple => (steps + SLICES - 1.0) * f.latency.slice_us,
    };
    us * 1e-6
}

fn start_s(f: &Fabric, how: Protocol) -> f64 {
    let extra = if how == Protocol::Simple { f.latency.simple_us } else { 0.0 };
    (f.latency.launch_us + extra) * 1e-6
}

/// A ring: each step sends a part to the next rank. The steps overlap once there are more parts than the buffers of a channel hold, so that
/// the slowest of links and SMs decides; a step of what the last receives cannot.
fn ring(f: &Fabric, op: Op, how: Protocol, ranks: u32, bytes: f64) -> f64 {
    let steps = f64::from(op.steps(ranks));
    let part = bytes / f64::from(ranks);
    let traffic = if op == Op::AllReduce { 2.0 * bytes } else { bytes };
    let used = channels_of(f, traffic);
    let (all, last) = moves(op, how, ranks);
    let rate = move_rate(f, how, used);
    let wire = f.wire_bytes_per_s() / how.expansion();
    let flow = (steps * part / wire).max(all * part / rate);
    let fill = if how == Protocol::Simple { part.min(used * how.step_bytes()) * last / rate } else { 0.0 };
    let hops = hops_s(f, how, steps);
    // Warps of LL go from step to step by themselves: while some wait for a hop, others move bytes.
    let beside = if how == Protocol::Ll { hops.min(flow) / LL_HOPS_BESIDE } else { 0.0 };
    start_s(f, how) + hops + flow - beside + fill
}

/// Chunks of a broadcast or a reduction are one step of a channel's buffer, those of rings four (`BROADCAST_CHUNKSTEPS`, `ALLGATHER_CHUNKSTEPS`).
const CHAIN_CHUNK_SHARE: f64 = 0.25;

/// A chain from or to a root: all bytes pass every rank once, in chunks, and links in one direction.
fn chain(f: &Fabric, op: Op, how: Protocol, ranks: u32, bytes: f64) -> f64 {
    let used = channels_of(f, bytes);
    let (all, last) = moves(op, how, ranks);
    let rate = move_rate(f, how, used);
    let flow = (bytes * how.expansion() / f.one_way_bytes_per_s()).max(all * bytes / rate);
    let chunk = bytes.min(used * how.step_bytes() * CHAIN_CHUNK_SHARE);
    let fill = if how == Protocol::Simple { chunk * last / rate } else { 0.0 };
    // Of calls in a row, who sends is at the next one while the last hop is under way.
    let hops = hops_s(f, how, f64::from(ranks.saturating_sub(2)));
    let beside = if how == Protocol::Ll { hops.min(flow) / LL_HOPS_BESIDE } else { 0.0 };
    start_s(f, how) + hops + flow - beside + fill
}

/// A chain up and down: all bytes pass every rank twice, in chunks.
fn tree(f: &Fabric, how: Protocol, ranks: u32, bytes: f64) -> f64 {
    let steps = 2.0 * f64::from(ranks - 1);
    let used = channels_of(f, 2.0 * bytes);
    let rate = move_rate(f, how, used);
    let x = how.expansion();
    // A rank in the middle: receive, add, pass on up; receive, keep, pass on down.
    let all = 2.0 * (2.0 * x + 1.0);
    let wire = f.wire_bytes_per_s() / x;
    let flow = (2.0 * bytes / wire).max(all * bytes / rate);
    // What is in flight is cut into chunks, of which one fills the chain.
    let chunk = (bytes / used).min(how.step_bytes()) * used / 8.0;
    start_s(f, how) + hops_s(f, how, steps) + steps * chunk * (2.0 * x + 1.0) / rate + flow
}

/// Loads that the switches sum and stores that they multicast, in loops over chunks of all channels and ranks, of which three are at work: copied in,
/// reduced and sent to all, copied out.
fn nvls(f: &Fabric, op: Op, ranks: u32, bytes: f64) -> f64 {
    let n = f64::from(ranks);
    let at_once = f64::from(f.nccl.nvls_channels) * n;
    // Halved as long as the work is too little for the present size.
    let mut chunk = NVLS_CHUNK[0].0;
    for ((whole, least), (half, _)) in NVLS_CHUNK.iter().zip(&NVLS_CHUNK[1..]) {
        if bytes >= least * at_once * whole {
            break;
        }
        chunk = *half;
    }
    let turn = (at_once * chunk).min(bytes);
    let turns = bytes / turn;
    // All of it leaves a rank for the reduction of the others' parts, and its own part for all: and the same comes in.
    let crossing = if op == Op::AllReduce { 1.0 + 1.0 / n } else { 1.0 };
    let wire = f.wire_bytes_per_s() * f.nccl.nvls_efficiency;
    (f.latency.launch_us + f.latency.nvls_us) * 1e-6 + (turns + 2.0) * turn * crossing / wire
}

/// Sends to all peers and receives from all; in an all-to-all a rank's own part is copied by the same kernel.
fn point_to_point(f: &Fabric, op: Op, how: Protocol, ranks: u32, bytes: f64) -> f64 {
    let n = f64::from(ranks);
    let (peers, part) = if op == Op::AllToAll { (n - 1.0, bytes / n) } else { (1.0, bytes) };
    let (all, last) = moves(op, how, ranks);
    // Flows of all pairs that nobody orders meet in the switches.
    let share = if op == Op::AllToAll && ranks > 2 { f.link.all_to_all_share } else { 1.0 };
    let link = if op == Op::SendRecv { f.one_way_bytes_per_s() } else { f.wire_bytes_per_s() };
    let wire = link * share / how.expansion();
    // A channel's warps are shared out to what is sent, received and copied; LL has a channel for each peer.
    let rate = match how {
        Protocol::Simple => f.sm.p2p_move_gb_s * 1e9,
        _ => 1e9 * (f.nccl.ll_max_gb_s * LL_MOVES).min(peers * f.sm.port_gb_s / 3.0),
    };
    let flow = (peers * part / wire).max(all * part / rate);
    let start = (f.latency.p2p_launch_us + (peers - 1.0) * f.latency.p2p_peer_us) * 1e-6;
    // In one direction who sends is at the next call while the last hop is under way, and waits for nobody.
    let one_way = op == Op::SendRecv;
    if how != Protocol::Simple {
        return start + if one_way { 0.0 } else { f.latency.hop_us * 1e-6 } + flow;
    }
    let held = (peers * part).min(f64::from(f.nccl.channels) * how.step_bytes());
    let slices = if one_way { SLICES - 1.0 } else { SLICES };
    let bytes_s = slices * f.latency.slice_us * 1e-6 + flow + held * last / rate;
    start + if one_way { bytes_s } else { bytes_s.max(f.latency.p2p_simple_us * 1e-6) }
}

/// PyTorch's all-reduces over symmetric memory without multicast (`CUDASymmetricMemoryOps.cu`): loads of 16 bytes by the threads of few CTAs, each of
/// which waits for a round trip before it adds and stores. One shot: all bytes of all peers; two shots: a part of each, then the others' sums,
/// stored to all in between; a barrier of flags before, after, and between the shots.
pub fn peer_all_reduce_s(f: &Fabric, way: Algorithm, ranks: u32, bytes: u64) -> f64 {
    let (n, bytes) = (f64::from(ranks.max(1)), bytes as f64);
    let s = &f.symmetric;
    // Bytes of one load of all threads, as many as there are bytes for; and whole turns of that.
    let part = if way == Algorithm::TwoShot { bytes / n } else { bytes };
    let thread = 16.0;
    let turn = f64::from(s.max_ctas) * f64::from(s.threads) * thread;
    let turns = (part / turn).ceil().max(1.0);
    // A turn is a round trip, or what the links take for its bytes.
    let trip = s.load_us.max(part.min(turn) * (n - 1.0) / f.wire_bytes_per_s() * 1e6);
    let barriers = 2.0 * s.barrier_us;
    let stored = if way == Algorithm::TwoShot { (n - 1.0) * part / f.wire_bytes_per_s() * 1e6 } else { 0.0 };
    (s.launch_us + barriers + turns * trip + stored) * 1e-6
}

/// TensorRT-LLM's one-shot kernel: flags to all peers, then loads of all their buffers.
pub fn one_shot_seconds(f: &Fabric, ranks: u32, bytes: u64) -> f64 {
    let peers = f64::from(ranks.saturating_sub(1));
    (f.custom.launch_us + peers * f.custom.peer_us) * 1e-6
        + peers * bytes as f64 / (f.custom.load_gb_s * 1e9).min(f.wire_bytes_per_s())
}
