//! Routers and wires: what carries flits from terminal to terminal.

use super::flit::Flit;
use super::random::Draws;
use super::watch::Wait;

/// What the wires bring to terminals in a cycle.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Flits, each with the terminal that it came to.
    pub(super) flits: Vec<(u32, Flit)>,
    /// Credits, each with its terminal, a bit for each virtual channel.
    pub(super) credits: Vec<(u32, u64)>,
}

/// A network's routers and wires. A flit or credit sent in cycle `t` over a channel of latency `l` is seen at the other end in cycle
/// `t + l + 1`. A terminal takes every flit at once, and gives its slot back in the same cycle.
pub(super) trait Fabric {
    /// Whether it says itself what room terminals have to send to, rather than by credits.
    const TELLS_ROOM: bool;
    /// What the wires bring in a cycle, to routers and to terminals.
    fn deliver(&mut self, now: u64, to_terminals: &mut Deliveries);
    /// The virtual channels that a head may take into the network, first and last.
    fn entry_vcs(&self, class: u8, packet: u32, now: u64, draws: &mut Draws) -> (usize, usize);
    /// Whether a virtual channel that a terminal sends to has room, if the fabric tells that.
    fn has_room(&self, now: u64, terminal: usize, vc: usize) -> bool;
    /// A terminal sends a flit.
    fn send(&mut self, now: u64, terminal: usize, flit: Flit, draws: &mut Draws);
    /// A step of all routers that have something to do, or of all.
    fn step(&mut self, now: u64, draws: &mut Draws, all: bool);
    /// The first cycle from `now` on in which a router has something to do or the wires bring something.
    fn next(&self, now: u64) -> Option<u64>;
    /// The last cycle in which a router sent a flit.
    fn moved(&self) -> u64;
    /// Flits that each router's outputs have sent, all routers after each other.
    fn sent(&self) -> Vec<u64>;
    /// Who waits for whom, for a network in which nothing moves.
    fn waits(&self) -> Vec<Wait>;
}
