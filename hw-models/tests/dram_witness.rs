//! The witness over the whole catalog, and each of its laws broken on purpose.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use banksia_hw::dram::controller::{Completion, ControllerConfig, PagePolicy, RefreshPolicy, Request};
use banksia_hw::dram::lint::lint;
use banksia_hw::dram::witness::order::Order;
use banksia_hw::dram::witness::trial::{Traffic, policies, watch};
use banksia_hw::dram::witness::{Law, Witness};
use banksia_hw::dram::{Device, catalog};
use banksia_input::Source;

fn load(name: &str) -> Arc<Device> {
    catalog::load(name).unwrap_or_else(|e| panic!("{e}"))
}

/// A device over another, with changes.
fn made(base: &str, changes: &str) -> Arc<Device> {
    let text = format!("name = \"made\"\nsource = \"a test of the witness\"\nbase = \"{base}\"\n{changes}\n");
    catalog::load_source(&Source::from_text("made.toml", text)).unwrap_or_else(|e| panic!("{e}"))
}

fn words(config: &ControllerConfig) -> String {
    format!("{:?} {:?} postpone {} {:?}", config.page, config.refresh, config.postpone, config.sleep)
}

/// Every device of the catalog, under every policy that it takes.
#[test]
fn the_catalog_obeys_physics() {
    let mut wrong = Vec::new();
    for name in catalog::names() {
        let device = load(name);
        assert_eq!(Witness::new(&device).unjudged(), &[] as &[String], "{name}");
        for config in policies(&device) {
            let witness = watch(&device, &config, &mut Traffic::new(&device, 600, 7), false).unwrap();
            assert!(witness.commands() > 500, "{name}: {}", words(&config));
            if let Some(breach) = witness.kept().first() {
                let (all, law) = (witness.breaches(), breach.law);
                wrong.push(format!("{all:6} {name}: {}: {law:?} {breach}", words(&config)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

/// A stream of commands by name: when, what, where. The laws that it breaks.
fn broken(device: &Device, stream: &[(u64, &str, u32)]) -> Vec<Law> {
    let mut witness = Witness::new(device);
    for (clock, name, bank) in stream {
        witness.accept(*clock, device.command(name).unwrap_or_else(|| panic!("{name}")), *bank);
    }
    assert_eq!(witness.breaches() as usize, witness.kept().len());
    witness.kept().iter().map(|b| b.law).collect()
}

/// The last command of a stream is lawful at one tick, and breaks a law at the tick before.
fn first_lawful(name: &str, before: &[(u64, &str, u32)], last: (&str, u32), at: u64, law: Law) {
    let device = load(name);
    let with = |clock: u64| {
        let mut stream = before.to_vec();
        stream.push((clock, last.0, last.1));
        broken(&device, &stream)
    };
    assert_eq!(with(at), [], "{name}: {} at {at} after {before:?}", last.0);
    assert_eq!(with(at - 1), [law], "{name}: {} at {} after {before:?}", last.0, at - 1);
}

#[test]
fn bursts_do_not_meet_on_the_pins() {
    // CL 22, CWL 16, bursts of four clocks: the read's data in ticks 123 to 127 after its last tick, the write's a clock later.
    let two = "ddr4-3200aa-2rank";
    let open = [(1, "ACT", 0), (50, "ACT", 16), (100, "RD", 0)];
    first_lawful(two, &open, ("WR", 16), 111, Law::Pins);
    first_lawful(two, &open, ("WR", 0), 111, Law::Pins);
    // Another rank's read: a clock in between; the same rank's: none.
    first_lawful(two, &open, ("RD", 16), 105, Law::Pins);
    let same = [(1, "ACT", 0), (50, "ACT", 4), (100, "RD", 0)];
    first_lawful(two, &same, ("RD", 4), 104, Law::Pins);
    first_lawful(two, &[(1, "ACT", 0), (50, "ACT", 16), (100, "WR", 0)], ("WR", 16), 105, Law::Pins);
    // Pseudo-channels have pins of their own, stack ids share them.
    let hbm = load("hbm3-6400");
    let banks = hbm.banks / 2;
    assert_eq!(broken(&hbm, &[(1, "ACT", 0), (9, "ACT", banks), (201, "RD", 0), (203, "RD", banks)]), []);
    let stack = banks / 2;
    first_lawful("hbm3-6400", &[(1, "ACT", 0), (9, "ACT", stack), (201, "RD", 0)], ("RD", stack), 207, Law::Pins);
}

#[test]
fn nothing_enters_a_bank_that_is_refreshed() {
    for last in ["REFab", "ACT", "SRE", "PREab"] {
        first_lawful("ddr4-2400r", &[(1000, "REFab", 0)], (last, 0), 1433, Law::Busy);
    }
    // A bank's own refresh, not its neighbours'; two ticks a clock.
    let one = [(1001, "REFpb", 3)];
    first_lawful("hbm3-6400", &one, ("REFpb", 3), 1001 + 640, Law::Busy);
    first_lawful("hbm3-6400", &one, ("REFab", 0), 1001 + 640, Law::Busy);
    assert_eq!(broken(&load("hbm3-6400"), &[(1001, "REFpb", 3), (1017, "REFpb", 4), (1033, "ACT", 5)]), []);
    // The other of a pair, and the same bank of every bank group.
    let pair = load("lpddr5-6400");
    assert_eq!(broken(&pair, &[(1000, "REFpb", 1), (1080, "ACT1", 9)]), [Law::Busy]);
    assert_eq!(broken(&pair, &[(1000, "REFpb", 1), (1080, "ACT1", 8)]), []);
    let groups = load("ddr5-4800");
    assert_eq!(broken(&groups, &[(1000, "REFsb", 1), (1100, "ACT", 5)]), [Law::Busy]);
    assert_eq!(broken(&groups, &[(1000, "REFsb", 1), (1100, "ACT", 6)]), []);
}

#[test]
fn rows_are_restored_before_they_are_closed() {
    let name = "hbm3-6400";
    // Two ticks a clock: write latency 10, burst 2, tWR 33, tRP 26; an access holds its bus for two ticks, a refresh for one.
    let written = [(1, "ACT", 0), (201, "WRA", 0)];
    for last in ["REFpb", "REFab", "SRE"] {
        first_lawful(name, &written, (last, 0), 203 + 2 * 71 - 1, Law::Restore);
    }
    first_lawful(name, &written, ("ACT", 0), 203 + 2 * 71 - 3, Law::Restore);
    first_lawful(name, &[(1, "ACT", 0), (201, "WR", 0)], ("PREpb", 0), 203 + 2 * 45 - 1, Law::Restore);
    first_lawful(name, &[(1, "ACT", 0), (201, "RD", 0)], ("PREpb", 0), 203 + 2 * 9 - 1, Law::Restore);
    first_lawful(name, &[(1, "ACT", 0)], ("PREpb", 0), 4 + 2 * 45 - 1, Law::Restore);
    first_lawful(name, &[(1, "ACT", 0), (201, "PREpb", 0)], ("REFpb", 0), 202 + 2 * 26 - 1, Law::Restore);
    // A read that closes its bank early waits for tRAS.
    first_lawful("ddr4-2400r", &[(1, "ACT", 0), (18, "RDA", 0)], ("ACT", 0), 1 + 39 + 16, Law::Restore);
}

#[test]
fn banks_are_in_the_state_that_a_command_needs() {
    let device = load("ddr4-2400r");
    assert_eq!(broken(&device, &[(1, "RD", 0)]), [Law::State]);
    assert_eq!(broken(&device, &[(1, "ACT", 0), (100, "ACT", 0)]), [Law::State]);
    assert_eq!(broken(&device, &[(1, "ACT", 0), (100, "REFab", 0)]), [Law::State]);
    first_lawful("ddr4-2400r", &[(1, "ACT", 0)], ("RD", 0), 17, Law::State);
    assert_eq!(broken(&device, &[(1, "PDE", 0), (50, "ACT", 0)]), [Law::State]);
    assert_eq!(broken(&device, &[(1, "PDX", 0)]), [Law::State]);
    // tXP is eight clocks of 833 ps.
    first_lawful("ddr4-2400r", &[(1, "PDE", 0), (50, "PDX", 0)], ("ACT", 0), 58, Law::State);
    // The second of two commands opens the row.
    first_lawful("lpddr5-6400", &[(1, "ACT1", 0), (9, "ACT2", 0)], ("RD", 0), 24, Law::State);
    // A power-down waits for the data.
    let reading = [(1, "ACT", 0), (100, "RD", 0)];
    first_lawful("ddr4-2400r", &reading, ("PDE", 0), 120, Law::State);
}

#[test]
fn banks_are_refreshed_once_in_an_interval() {
    let device = load("hbm2-2000");
    let (command, interval) = (device.command("REFpb").unwrap(), device.timing("nREFI").unwrap() as u64);
    let run = |every: u64, rounds: u64| {
        let mut witness = Witness::new(&device);
        let banks = u64::from(device.banks);
        for i in 0..rounds * banks {
            witness.accept(1 + i * every / banks, command, (i % banks) as u32);
        }
        witness.finish(rounds * every, true);
        (witness.refreshes(0), witness.breaches())
    };
    assert_eq!(run(interval, 60), (60.0, 0));
    assert!(run(interval / 2, 60).1 > 0, "twice as often");
    assert!(run(interval * 2, 60).1 > 0, "half as often");
    let mut idle = Witness::new(&device);
    idle.finish(20 * interval, false);
    assert_eq!(idle.breaches(), 0);
    idle.finish(20 * interval, true);
    assert_eq!(idle.breaches(), u64::from(device.banks));
    // Of fine granularity, two are one.
    let device = load("ddr5-4800");
    let command = device.command("REFsb").unwrap();
    let mut witness = Witness::new(&device);
    for i in 0..8 {
        witness.accept(1 + i * 1000, command, (i % 4) as u32);
    }
    assert_eq!((witness.refreshes(0), witness.refreshes(31)), (1.0, 1.0));
}

/// What the table of the simulator that `reference` agrees with lacks, the witness finds there, and not under `default`.
#[test]
fn rows_that_a_simulator_lacks_are_found() {
    let requests = |list: &[(u64, bool, u64)]| -> Vec<Request> {
        let request =
            |(i, r): (usize, &(u64, bool, u64))| Request { arrival: r.0, write: r.1, index: r.2, sequence: i as u64 };
        list.iter().enumerate().map(request).collect()
    };
    let laws = |name: &str, config: ControllerConfig, list: &[Request]| {
        let witness = watch(&load(name), &config, &mut list.iter().copied(), false).unwrap();
        witness.kept().iter().map(|b| b.law).collect::<Vec<_>>()
    };
    let (reference, default) = (ControllerConfig::reference(), ControllerConfig::default());
    // A read of one rank and a write of the other.
    let ranks = requests(&[(0, false, 0), (0, true, 128)]);
    let both = |name: &str, change: &dyn Fn(ControllerConfig) -> ControllerConfig, list: &[Request], law: Law| {
        assert_eq!(laws(name, change(reference.clone()), list).first(), Some(&law), "{name}");
        let kept = ControllerConfig { map: reference.map.clone(), ..default.clone() };
        assert_eq!(laws(name, change(kept), list), [], "{name}");
    };
    both("ddr4-3200aa-2rank", &|c| c, &ranks, Law::Pins);
    // Postponed refreshes.
    let mut busy: Vec<(u64, bool, u64)> = (0..5000).map(|i| (0, false, i * 7919 % 100_000)).collect();
    busy.push((60_000, false, 1));
    let postponed = |c: ControllerConfig| ControllerConfig { postpone: 8, ..c };
    both("ddr4-2400r", &postponed, &requests(&busy), Law::Busy);
    // A refresh after a write that closes its bank.
    let mut closed: Vec<(u64, bool, u64)> = (0..4000).map(|i| (0, i % 4 != 3, i * 7919 % 1_000_000)).collect();
    closed.push((5_000_000, false, 0));
    let per_bank =
        |c: ControllerConfig| ControllerConfig { page: PagePolicy::Closed, refresh: RefreshPolicy::PerBank, ..c };
    both("hbm3-6400", &per_bank, &requests(&closed), Law::Restore);
}

/// A device that a user made wrong is found too: the table's checker would agree with it.
#[test]
fn wrong_devices_are_found() {
    let lean = made("hbm3-6400", "[timing_cycles]\nnRTW = 12");
    let witness = watch(&lean, &ControllerConfig::default(), &mut Traffic::new(&lean, 2000, 1), false).unwrap();
    assert_eq!(witness.kept().first().map(|b| b.law), Some(Law::Pins));
}

#[test]
fn refreshes_without_energy_or_effect_are_found() {
    let found = |changes: &str| {
        let text = format!("name = \"made\"\nsource = \"a test of the lint\"\nbase = \"hbm3-6400\"\n{changes}\n");
        let source = Source::from_text("made.toml", text);
        lint(&catalog::resolved_source(&source).unwrap(), &catalog::load_source(&source).unwrap()).join("\n")
    };
    assert_eq!(found(""), "");
    let extra = "[[command]]\nname = \"REFx\"\nscope = \"bank\"\nneeds = \"closed\"\neffect = \"refresh\"\nclose_with = \"PREpb\"\n";
    let free = found(&format!("{extra}latency = \"nRFCpb\""));
    assert!(free.contains("REFx refreshes, and takes no energy"), "{free}");
    assert!(free.contains("keeps ACT from its banks for 0"), "{free}");
    assert!(free.contains("keeps REFab from its banks for 0"), "{free}");
    let no_time = found(extra);
    assert!(no_time.contains("REFx refreshes, and takes no time"), "{no_time}");
    let twice = found(
        "[refresh]\ncommand = \"REFab\"\ninterval = \"nREFI\"\nbank_command = \"REFpb\"\nbank_interval = \"floor(nREFI / 64)\"\nmax_postponed = 8",
    );
    assert!(twice.contains("REFpb refreshes each bank 2.0"), "{twice}");
    assert!(twice.contains("a tREFI of REFpb takes"), "{twice}");
}

/// The order of requests to one address: each kind of pair, in order and turned round.
#[test]
fn requests_turned_round_are_found() {
    const LATENCY: u64 = 20;
    // Reads and writes to one transaction, and the tick of each one's column command (none: forwarded or merged).
    let turned = |list: &[(bool, Option<u64>)]| {
        let mut order = Order::new(LATENCY);
        for (i, (write, _)) in list.iter().enumerate() {
            order.request(&Request { write: *write, index: 5, arrival: 0, sequence: i as u64 });
        }
        let done = |(i, (write, at)): (usize, &(bool, Option<u64>))| {
            let done = match at {
                Some(at) if *write => at - 1,
                Some(at) => at + LATENCY - 1,
                None => 3,
            };
            Completion { sequence: i as u64, write: *write, index: 5, sent: 1, done }
        };
        let mut all: Vec<Completion> = list.iter().enumerate().map(done).collect();
        all.sort_by_key(|c| c.done);
        for (write, at) in list {
            if let Some(at) = at {
                order.column(*at, *write, 5);
            }
        }
        all.iter().for_each(|c| order.completion(c));
        order.turned()
    };
    assert_eq!(turned(&[(false, Some(100)), (true, Some(130))]), 0);
    assert_eq!(turned(&[(false, Some(130)), (true, Some(100))]), 1);
    assert_eq!(turned(&[(true, Some(130)), (false, Some(100))]), 1);
    assert_eq!(turned(&[(true, Some(130)), (true, Some(100))]), 1);
    assert_eq!(turned(&[(false, Some(130)), (false, Some(100))]), 0);
    assert_eq!(turned(&[(true, Some(130)), (false, None), (true, None)]), 0);
}

/// `W 7000000`, `R 5`, `W 5` and traffic of many requests to few addresses.
#[test]
fn requests_to_one_address_keep_their_order() {
    for name in ["ddr4-2400r", "ddr5-4800", "lpddr5-6400", "gddr7-28000", "hbm2-2000", "hbm3-6400", "hbm4-8000"] {
        let device = load(name);
        for config in policies(&device) {
            let mut few = Traffic::new(&device, 4000, 3).map(|r| Request { index: r.index % 40 * 7919, ..r });
            let mut witness = watch(&device, &config, &mut few, true).unwrap();
            let order = witness.order().unwrap();
            assert!(order.pairs() > 100, "{name}: {}", words(&config));
            assert_eq!(order.turned(), 0, "{name}: {}: {}", words(&config), order.first().unwrap());
        }
    }
}

/// The judge sees what the reference model does to requests of one address, which it keeps.
#[test]
fn the_reference_model_turns_requests_round() {
    let device = load("ddr4-2400r");
    let mut few = Traffic::new(&device, 4000, 3).map(|r| Request { index: r.index % 40 * 7919, ..r });
    let mut witness = watch(&device, &ControllerConfig::reference(), &mut few, true).unwrap();
    assert!(witness.order().unwrap().turned() > 0);
}
