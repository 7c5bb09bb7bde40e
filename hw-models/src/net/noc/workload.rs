//! What is sent over a network, and who is told what became of it.

use super::flit::Flit;
use super::random::Draws;
use super::source::Start;

/// Packets for terminals, and an ear for their flits.
pub(super) trait Workload {
    /// The packets of cycle `now` for terminals that send nothing, which are the bits of `idle`, by ascending terminal.
    fn generate(&mut self, now: u64, idle: &[u64], draws: &mut Draws, started: &mut Vec<(u32, Start)>);
    /// The first cycle from `now` on in which there may be a packet for a terminal that sends nothing.
    fn next(&self, now: u64, idle: &[u64]) -> Option<u64>;
    /// A flit left its source.
    fn left(&mut self, now: u64, terminal: u32, flit: &Flit);
    /// A flit arrived at a terminal.
    fn arrived(&mut self, now: u64, terminal: u32, flit: &Flit);
}
