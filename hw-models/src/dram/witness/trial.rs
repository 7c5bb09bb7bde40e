//! Trials before the witness: every policy that a device takes, under traffic of several kinds.

use std::sync::Arc;

use banksia_input::InputError;
use banksia_sim::rng;
use rand::RngExt;

use super::super::Cycle;
use super::super::controller::{
    Controller, ControllerConfig, ControllerOptions, PagePolicy, RefreshPolicy, Request, RowHammerPolicy, Scheduler,
    Sleep,
};
use super::super::device::Device;
use super::Witness;

/// Requests that are handed over at a time.
const PIECE: u64 = 1 << 12;

/// Every combination of page policy, refresh (all-bank, as many postponed as the standard lets, per-bank, same-bank) and sleep that a
/// device takes; and with each refresh each counter-measure against RowHammer that it has.
pub fn policies(device: &Device) -> Vec<ControllerConfig> {
    let Some(roles) = device.roles else { return Vec::new() };
    let mut refreshes = Vec::new();
    if device.refresh.is_some() {
        refreshes.push((RefreshPolicy::AllBank, 0));
        if roles.max_postponed > 0 {
            refreshes.push((RefreshPolicy::AllBank, roles.max_postponed));
        }
    }
    if roles.refresh_bank.is_some() {
        refreshes.push((RefreshPolicy::PerBank, 0));
    }
    if roles.refresh_same_bank.is_some() {
        refreshes.push((RefreshPolicy::SameBank, 0));
    }
    if refreshes.is_empty() {
        refreshes.push((RefreshPolicy::Off, 0));
    }
    let mut sleeps = vec![Sleep::NEVER];
    if roles.power_down.is_some() {
        sleeps.push(Sleep { power_down: Some(90), self_refresh: None });
    }
    if roles.self_refresh.is_some() {
        sleeps.push(Sleep { power_down: None, self_refresh: Some(400) });
    }
    if roles.power_down.is_some() && roles.self_refresh.is_some() {
        sleeps.push(Sleep { power_down: Some(60), self_refresh: Some(900) });
    }
    let mut pages = vec![PagePolicy::Open, PagePolicy::Timeout, PagePolicy::Adaptive];
    if roles.auto_precharge.is_some() {
        pages.push(PagePolicy::Closed);
    }
    let mut out = Vec::new();
    let offer = device.row_hammer;
    let measures = [
        (RowHammerPolicy::Rfm, offer.is_some_and(|o| o.management.is_some())),
        (RowHammerPolicy::Prac, offer.is_some_and(|o| o.counting.is_some())),
    ];
    for (refresh, postpone) in refreshes {
        for (row_hammer, _) in measures.iter().filter(|(_, has)| *has) {
            // The last: power-down and then self-refresh, where there are both.
            let sleep = sleeps.last().copied().unwrap_or_default();
            let config = ControllerConfig::default();
            out.push(ControllerConfig { refresh, postpone, sleep, row_hammer: *row_hammer, ..config });
        }
        for sleep in &sleeps {
            for page in &pages {
                let scheduler = if *page == PagePolicy::Timeout { Scheduler::FrFcfs } else { Scheduler::RowHitsFirst };
                let config = ControllerConfig::default();
                out.push(ControllerConfig { refresh, postpone, sleep: *sleep, page: *page, scheduler, ..config });
            }
        }
    }
    out
}

/// Requests of several kinds in turn: anywhere in the channel; a mix over few rows, with many to one address; a stream; bursts with
/// pauses in between, some of them long enough for every refresh that may be postponed.
#[derive(Debug)]
pub struct Traffic {
    made: u64,
    left: u64,
    turn: u64,
    span: u64,
    interval: Cycle,
    arrival: Cycle,
    streamed: u64,
    random: rng::Stream,
}

impl Traffic {
    /// So many requests for a channel of a device.
    pub fn new(device: &Device, requests: u64, seed: u64) -> Self {
        Self {
            made: 0,
            left: requests,
            turn: (requests / 4).clamp(1, 1000),
            span: (device.capacity_bytes() / u64::from(device.access_bytes)).max(1),
            interval: device.refresh.map_or(10_000, |r| r.interval),
            arrival: 0,
            streamed: 0,
            random: rng::stream(seed, "memory.witness"),
        }
    }
}

impl Iterator for Traffic {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.left = self.left.checked_sub(1)?;
        let kind = self.made / self.turn % 4;
        let any = self.random.random_range(0..self.span);
        let (index, writes) = match kind {
            0 => (any, 50),
            1 => ((((any % 4) << 20) | ((any >> 8) % 512)) % self.span, 40),
            2 => {
                self.streamed += 1;
                (self.streamed % self.span, 33)
            }
            _ => (any % (1 << 14).min(self.span), 50),
        };
        if kind == 3 && self.made.is_multiple_of(24) {
            let most = if self.random.random_range(0..8u32) == 0 { 12 * self.interval } else { self.interval };
            self.arrival += self.random.random_range(0..most.max(1));
        }
        let write = self.random.random_range(0..100u32) < writes;
        let request = Request { write, index, arrival: self.arrival, sequence: self.made };
        self.made += 1;
        Some(request)
    }
}

/// Runs a controller of a device over traffic, and judges each of its commands as it comes. With `order` the order of requests to
/// one address is judged too.
///
/// # Errors
/// The device lacks what the policies need.
pub fn watch(
    device: &Arc<Device>,
    config: &ControllerConfig,
    requests: &mut dyn Iterator<Item = Request>,
    order: bool,
) -> Result<Witness, InputError> {
    let options = ControllerOptions { config: config.clone(), channels: 1, outstanding: None, exact_stepping: false };
    let judge = Witness::new(device);
    let judge = if order { judge.keeping_order(device) } else { judge };
    let judge = if config.row_hammer == RowHammerPolicy::Rfm { judge.managed(device) } else { judge };
    let mut controller = Controller::new(device, &options, judge)?;
    let mut requests = requests.peekable();
    let mut piece = Vec::with_capacity(PIECE as usize);
    while requests.peek().is_some() {
        piece.clear();
        piece.extend(requests.by_ref().take(PIECE as usize));
        if let Some(order) = controller.recorder().order() {
            piece.iter().for_each(|request| order.request(request));
        }
        controller.advance(&piece, false);
    }
    controller.advance(&[], true);
    if let Some(stall) = controller.stalled() {
        return Err(InputError::new(format!("device {}", device.name), stall.to_string()));
    }
    let end = controller.statistics().ticks;
    let mut witness = controller.recorder().clone();
    witness.finish(end.max(witness.last()), config.refresh != RefreshPolicy::Off);
    Ok(witness)
}
