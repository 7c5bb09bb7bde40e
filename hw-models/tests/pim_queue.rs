//! Channels behind a controller's queue: what is skipped changes nothing, and every command is legal (the channel asserts it when it issues one).
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use banksia_hw::dram::{Device, catalog};
use banksia_hw::pim::queue::{
    Entry, Feed, Groups, Lane, OrderedChannel, OrderedEntry, QueueChannel, QueueRules, run_apart, run_in_order,
    run_together,
};
use proptest::prelude::*;

/// Requests of channels, in one order.
#[derive(Debug)]
struct Requests {
    channels: usize,
    all: Vec<(usize, Entry)>,
}

impl Feed for Requests {
    fn channels(&self) -> usize {
        self.channels
    }

    fn visit(&self, only: Option<usize>, take: &mut dyn FnMut(usize, Entry)) {
        self.all.iter().filter(|(c, _)| only.is_none_or(|o| o == *c)).for_each(|(c, entry)| take(*c, *entry));
    }
}

/// Every cycle, one after the other.
fn stepped<L: Lane>(lanes: &mut [L], requests: Vec<(usize, L::Entry)>) -> u64 {
    let mut requests = requests.into_iter().peekable();
    for now in 1.. {
        while let Some((channel, entry)) = requests.next_if(|(channel, _)| lanes[*channel].has_room()) {
            lanes[channel].push(entry);
        }
        lanes.iter_mut().for_each(|lane| lane.cycle(now));
        if requests.peek().is_none() && lanes.iter().all(Lane::is_done) {
            return now;
        }
    }
    0
}

fn device(name: &str, reference: bool) -> Arc<Device> {
    let device = catalog::load(name).unwrap();
    if reference { Arc::new(device.reference_rows()) } else { device }
}

/// Runs of MACs at one level over a few rows, movements and barriers.
fn requests(level: &'static str, channels: usize) -> impl Strategy<Value = Vec<(usize, Entry)>> {
    let device = catalog::load("hbm3-attacc-5200").unwrap();
    let id = |name: &str| device.command(name).unwrap();
    let (mac, others) = (id(level), ["WRGB", "MVSB", "MVGB", "SFM"].map(id));
    let banks: u32 = match level {
        "MACAB" => 1,
        "MACSB" => 4,
        _ => 32,
    };
    let one = (0..channels, 0..10usize, 0..banks, 0..3u32, 1..40usize, 0..32u32).prop_map(
        move |(channel, kind, bank, row, times, to)| match kind {
            0 => vec![(channel, Entry::barrier())],
            1..=3 => vec![(channel, Entry { command: others[kind - 1], bank: to, row: 0 }); times.min(8)],
            4 => vec![(channel, Entry { command: others[3], bank: 0, row: 0 })],
            _ => vec![(channel, Entry { command: mac, bank, row }); times],
        },
    );
    prop::collection::vec(one, 1..60).prop_map(|runs| {
        // No barrier after the last request: it would be waited for by nothing.
        let mut all: Vec<(usize, Entry)> = runs.into_iter().flatten().collect();
        while all.last().is_some_and(|(_, e)| *e == Entry::barrier()) {
            all.pop();
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn skipped_cycles_change_nothing(
        all in prop_oneof![requests("MACAB", 2), requests("MACSB", 2), requests("MACPB", 2)],
        reference in any::<bool>(),
        refresh in any::<bool>(),
        entries in 2..40usize,
        closes_alone in any::<bool>(),
    ) {
        let rules = QueueRules { entries, refresh, closes_alone };
        let device = device("hbm3-attacc-5200", reference);
        let mut lanes = vec![QueueChannel::new(&device, rules); 2];
        let cycles = stepped(&mut lanes, all.clone());
        let outcome = run_together(&device, rules, &Requests { channels: 2, all });
        // A queue may be left with barriers alone, which go one a cycle.
        prop_assert_eq!(outcome.cycles, cycles);
        let counts: Vec<u64> = (0..device.commands.len()).map(|c| lanes.iter().map(|l| l.counts()[c]).sum()).collect();
        prop_assert_eq!(outcome.commands, counts);
    }

    /// One channel by itself has nothing to be held up by.
    #[test]
    fn a_lone_channel_is_the_same_together_and_apart(all in requests("MACSB", 1), entries in 2..40usize) {
        let device = device("hbm3-attacc-5200", false);
        let rules = QueueRules { entries, refresh: true, closes_alone: false };
        let feed = Requests { channels: 1, all };
        prop_assert_eq!(run_together(&device, rules, &feed), run_apart(&device, rules, &feed));
    }

    /// In order by pseudo-channel, in groups: the same; and with refreshes that take time each falls due once in its interval.
    #[test]
    fn groups_skip_and_refresh(
        rounds in prop::collection::vec((0..2u32, 0..3usize, 1..80usize), 1..60),
        between in any::<bool>(),
    ) {
        let device = device("hbm2-pimba", !between);
        let groups = if between { Groups::BetweenRefreshes } else { Groups::ClearOfInterval };
        let id = |name: &str| device.command(name).unwrap();
        let open = ["ACT4R4", "ACT4R8", "ACT4R20"].map(id);
        let mut all = Vec::new();
        for (node, writes, passes) in rounds {
            let group = 1000;
            all.push((0, OrderedEntry { command: id("SYNC"), node, group }));
            all.extend(vec![(0, OrderedEntry { command: open[writes], node, group: 0 }); 4]);
            all.extend(vec![(0, OrderedEntry { command: id("COMP"), node, group: 0 }); passes]);
            all.push((0, OrderedEntry { command: id("PRER16"), node, group: 0 }));
        }
        let lane = OrderedChannel::new(&device, 33, groups).unwrap();
        let cycles = stepped(&mut [lane.clone()], all.clone());
        let outcome = run_in_order(&mut [lane], all.into_iter());
        prop_assert_eq!(outcome.cycles, cycles);
        let refreshes = outcome.commands[usize::from(id("REFab").0)];
        let interval = device.refresh.unwrap().interval;
        let most = if between { 2 * (cycles / interval + 1) } else { 0 };
        prop_assert!(refreshes <= most);
    }
}
