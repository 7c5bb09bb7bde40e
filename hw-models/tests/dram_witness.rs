//! The witness over the whole catalog, and each of its laws broken on purpose.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_hw::dram::controller::{
    Controller, ControllerConfig, ControllerOptions, PagePolicy, RefreshPolicy, Request, Scheduler, Sleep,
};
use banksia_hw::dram::witness::Witness;
use banksia_hw::dram::{Device, catalog};

/// Numbers without a pattern (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Traffic of several kinds one after another: random over the channel, a mix over few rows, streams, bursts with pauses in between.
fn traffic(device: &Device, requests: usize, seed: u64) -> Vec<Request> {
    let mut random = Random(seed);
    let transactions = device.capacity_bytes() / u64::from(device.access_bytes);
    let interval = device.refresh.map_or(10_000, |r| r.interval);
    let mut arrival = 0;
    let mut stream = 0;
    (0..requests)
        .map(|i| {
            let kind = i * 4 / requests;
            let r = random.next();
            let index = match kind {
                0 => r % transactions,
                1 => (r % 4 << 20 | (r >> 8) % 4096) % transactions,
                2 => {
                    stream += 1;
                    stream % transactions
                }
                _ => (r >> 4) % (1 << 14),
            };
            if kind == 3 && i % 24 == 0 {
                arrival += random.next() % (interval * 3 / 2);
            }
            let write = random.next() % 100 < [50, 40, 33, 50][kind];
            Request { write, index, arrival, sequence: i as u64 }
        })
        .collect()
}

/// Every combination of policies that a device takes.
fn policies(device: &Device) -> Vec<ControllerConfig> {
    let roles = device.roles.unwrap();
    let mut refreshes = vec![(RefreshPolicy::AllBank, 0)];
    if roles.max_postponed > 0 {
        refreshes.push((RefreshPolicy::AllBank, roles.max_postponed));
    }
    if roles.refresh_bank.is_some() {
        refreshes.push((RefreshPolicy::PerBank, 0));
    }
    if roles.refresh_same_bank.is_some() {
        refreshes.push((RefreshPolicy::SameBank, 0));
    }
    let mut sleeps = vec![None];
    if roles.power_down.is_some() {
        sleeps.push(Some(Sleep { after: 90, self_refresh: false }));
    }
    if roles.self_refresh.is_some() {
        sleeps.push(Some(Sleep { after: 400, self_refresh: true }));
    }
    let mut pages = vec![PagePolicy::Open, PagePolicy::Timeout, PagePolicy::Adaptive];
    if roles.auto_precharge.is_some() {
        pages.push(PagePolicy::Closed);
    }
    let mut out = Vec::new();
    for (refresh, postpone) in refreshes {
        for sleep in &sleeps {
            for page in &pages {
                // Who sleeps owes no refresh to idle time.
                if postpone > 0 && sleep.is_some_and(|s| s.self_refresh) {
                    continue;
                }
                out.push(ControllerConfig {
                    refresh,
                    postpone,
                    sleep: *sleep,
                    page: *page,
                    scheduler: if *page == PagePolicy::Timeout { Scheduler::FrFcfs } else { Scheduler::RowHitsFirst },
                    ..ControllerConfig::default()
                });
            }
        }
    }
    out
}

fn watch(device: &Arc<Device>, config: &ControllerConfig, requests: &[Request]) -> Witness {
    let options = ControllerOptions { config: config.clone(), channels: 1, outstanding: None, exact_stepping: false };
    let mut controller = Controller::new(device, &options, Witness::new(device)).unwrap_or_else(|e| panic!("{e}"));
    controller.advance(requests, true);
    assert_eq!(controller.stalled(), None);
    let end = controller.statistics().ticks;
    let mut witness = controller.recorder().clone();
    witness.finish(end.max(witness.last()), config.refresh != RefreshPolicy::Off);
    witness
}

fn words(config: &ControllerConfig) -> String {
    format!("{:?} {:?} postpone {} {:?}", config.page, config.refresh, config.postpone, config.sleep)
}

/// Every device of the catalog, under every policy that it takes.
#[test]
fn the_catalog_obeys_physics() {
    let mut wrong: BTreeMap<String, u64> = BTreeMap::new();
    for name in catalog::names() {
        let device = catalog::load(name).unwrap();
        assert_eq!(Witness::new(&device).unjudged(), &[] as &[String], "{name}");
        let requests = traffic(&device, 600, 7);
        for config in policies(&device) {
            let witness = watch(&device, &config, &requests);
            for breach in witness.kept().iter().take(1) {
                *wrong.entry(format!("{name}: {}: {:?} {breach}", words(&config), breach.law)).or_default() += witness.breaches();
            }
        }
    }
    let lines: Vec<String> = wrong.iter().map(|(line, n)| format!("{n:6} {line}")).collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), lines.join("\n"));
}
