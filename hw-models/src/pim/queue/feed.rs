//! Streams of requests into the queues of channels.

use std::sync::Arc;

use super::channel::{QueueChannel, QueueRules};
use super::entry::Entry;
use super::lane::{QueueOutcome, run_in_order, run_one};
use crate::dram::{Cycle, Device};

/// Where requests come from.
pub trait Feed {
    /// How many channels it is for.
    fn channels(&self) -> usize;
    /// Hands over all requests of some channel, or of every channel, in order.
    fn visit(&self, only: Option<usize>, take: &mut dyn FnMut(usize, Entry));
}

/// Runs a feed whose requests come in one order over all channels: see [`run_in_order`].
#[must_use]
pub fn run_together(device: &Arc<Device>, rules: QueueRules, feed: &dyn Feed) -> QueueOutcome {
    let mut requests = Vec::new();
    feed.visit(None, &mut |channel, entry| requests.push((channel, entry)));
    let mut lanes = vec![QueueChannel::new(device, rules); feed.channels()];
    run_in_order(&mut lanes, requests.into_iter())
}

/// Runs a feed whose channels have a source each, so that none holds up another; channels that are given the same are run once.
#[must_use]
pub fn run_apart(device: &Arc<Device>, rules: QueueRules, feed: &dyn Feed) -> QueueOutcome {
    let mut kinds: Vec<(Vec<Entry>, u64)> = Vec::new();
    for channel in 0..feed.channels() {
        let mut own = Vec::new();
        feed.visit(Some(channel), &mut |_, entry| own.push(entry));
        match kinds.iter_mut().find(|(known, _)| *known == own) {
            Some((_, times)) => *times += 1,
            None => kinds.push((own, 1)),
        }
    }
    let lanes: Vec<(QueueChannel, Cycle, u64)> = kinds
        .into_iter()
        .map(|(own, times)| {
            let mut lane = QueueChannel::new(device, rules);
            let cycles = run_one(&mut lane, own.into_iter());
            (lane, cycles, times)
        })
        .collect();
    let cycles = lanes.iter().map(|(_, cycles, _)| *cycles).max().unwrap_or(0);
    let mut outcome = QueueOutcome { cycles, ..QueueOutcome::default() };
    lanes.iter().for_each(|(lane, _, times)| outcome.add(lane, *times));
    outcome
}
