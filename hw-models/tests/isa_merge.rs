//! Channels that are put together again do what they do one by one: cycles, counts and standing of every channel.
#![allow(clippy::unwrap_used)]

use banksia_hw::dram::catalog;
use banksia_hw::pim::{Instruction, IsaMachine, IsaOutcome, IsaSet};
use banksia_hw::program::ChannelSet;
use proptest::prelude::*;

/// One thing that a host asks of four channels.
#[derive(Debug, Clone)]
enum Ask {
    Product { columns: u32, row: u32, outputs: u32 },
    Elementwise { row: u32 },
    Access { write: bool, channel: u32, bank: u32, row: u32 },
    Copy { bank: u32, row: u32 },
    Some { channels: u32, row: u32 },
    Wait,
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        3 => (1..8u32, 0..4u32, 1..6u32).prop_map(|(columns, row, outputs)| Ask::Product { columns, row, outputs }),
        1 => (0..4u32).prop_map(|row| Ask::Elementwise { row }),
        8 => (any::<bool>(), 0..4u32, 0..16u32, 0..4u32)
            .prop_map(|(write, channel, bank, row)| Ask::Access { write, channel, bank, row }),
        1 => (0..16u32, 0..4u32).prop_map(|(bank, row)| Ask::Copy { bank, row }),
        1 => (1..4u32, 0..4u32).prop_map(|(channels, row)| Ask::Some { channels, row }),
        1 => Just(Ask::Wait),
    ]
}

fn run(mut machine: IsaMachine, set: &IsaSet, asks: &[Ask]) -> IsaOutcome {
    let all = ChannelSet::first(4);
    let kind = |name: &str| set.kind(name).unwrap();
    let mut one = |name: &str, columns: u32, channels: &ChannelSet, bank: u32, row: u32| {
        machine.run(&Instruction { kind: kind(name), columns, channels: channels.clone(), bank, row, column: 0 });
    };
    for ask in asks {
        match *ask {
            Ask::Product { columns, row, outputs } => {
                one("WR_GB", columns, &all, 0, 0);
                for output in 0..outputs {
                    one("WR_BIAS", 1, &all, 0, 0);
                    one("MAC_ABK", columns, &all, 0, row + output);
                    one("RD_MAC", 1, &all, 0, 0);
                }
            }
            Ask::Elementwise { row } => one("EWMUL", 4, &all, 0, row),
            Ask::Access { write, channel, bank, row } => {
                one(if write { "W MEM" } else { "R MEM" }, 1, &ChannelSet::one(channel), bank, row);
            }
            Ask::Copy { bank, row } => one("COPY_BKGB", 4, &all, bank, row),
            Ask::Some { channels, row } => one("MAC_ABK", 2, &ChannelSet::first(channels), 0, row),
            Ask::Wait => one("SYNC", 1, &all, 0, 0),
        }
    }
    one("EOC", 1, &all, 0, 0);
    machine.finish()
}

/// Counts, touched banks and open cycles of every channel.
fn by_channel(outcome: &IsaOutcome) -> Vec<(Vec<u64>, Vec<u64>, u64)> {
    let of = |channel| outcome.channels.iter().find(|c| c.members.contains(channel)).unwrap();
    (0..4).map(|c| (of(c).counts.clone(), of(c).touched.clone(), of(c).active_cycles)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn together_or_one_by_one(asks in prop::collection::vec(ask(), 1..80), refresh in any::<bool>()) {
        let device = catalog::load("gddr6-aim-cent").unwrap();
        let set = IsaSet::load("gddr6-aim-cent", &device).unwrap().with_channels(4);
        let machine = IsaMachine::new(device, set.clone(), refresh).unwrap();
        let plain = run(machine.clone().stepping(), &set, &asks);
        let merged = run(machine.merging(), &set, &asks);
        prop_assert_eq!(plain.cycles, merged.cycles);
        prop_assert_eq!(&plain.counts, &merged.counts);
        prop_assert_eq!(plain.active_cycles, merged.active_cycles);
        prop_assert_eq!(by_channel(&plain), by_channel(&merged));
    }
}

/// A channel that waits long for its turn has refreshed meanwhile: it does not make up for all of it when its turn comes.
#[test]
fn channels_that_wait_for_their_turn_refresh_in_time() {
    let device = catalog::load("hbm3-duplex").unwrap();
    let set = IsaSet::load("hbm3-duplex", &device).unwrap().with_channels(160);
    let interval = device.refresh.unwrap().interval;
    let cycles = |refresh| {
        let mut machine = IsaMachine::new(device.clone(), set.clone(), refresh).unwrap();
        let mut one = |name: &str, columns: u32, channels: ChannelSet, row: u32| {
            machine.run(&Instruction { kind: set.kind(name).unwrap(), columns, channels, bank: 0, row, column: 0 });
        };
        for row in 0..4 {
            (0..160).for_each(|channel| one("LOAD", 256, ChannelSet::one(channel), 0));
            one("MAC", 256, ChannelSet::first(160), row);
            one("READ", 1, ChannelSet::first(160), 0);
        }
        machine.finish().cycles
    };
    let (with, without) = (cycles(true), cycles(false));
    assert!(without > 4 * interval, "{without} cycles are not long");
    // A refresh takes less than a tenth of the interval.
    assert!(with as f64 <= 1.1 * without as f64 + interval as f64, "{with} cycles, {without} without refresh");
}
