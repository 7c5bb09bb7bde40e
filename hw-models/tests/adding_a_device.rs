//! The devices of `docs/adding-a-device.md`, as they stand there.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use banksia_hw::dram::checker::Checker;
use banksia_hw::dram::controller::ControllerConfig;
use banksia_hw::dram::lint::lint;
use banksia_hw::dram::memory::{Generator, MemoryOptions, Traffic, run};
use banksia_hw::dram::table::RawDevice;
use banksia_hw::dram::{Channel, LoggedCommand, NO_ROW, catalog};
use banksia_hw::pim::{IsaMachine, IsaSet, PimCommand};
use banksia_input::Source;

/// The TOML blocks of the page.
fn blocks() -> Vec<Source> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/adding-a-device.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text.split("```toml\n").skip(1).map(|b| b.split("```").next().unwrap());
    blocks.enumerate().map(|(i, b)| Source::from_text(format!("block-{i}.toml"), b)).collect()
}

#[test]
fn the_speed_grade_runs_and_nothing_is_wrong_with_it() {
    let source = &blocks()[0];
    let device = catalog::load_source(source).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((device.timing("nCL"), device.timing("nRC")), (Some(17.0), Some(56.0)));
    let raw: RawDevice = source.parse().unwrap();
    assert_eq!(lint(&raw, &device), Vec::<String>::new());
    let options = MemoryOptions {
        channels: 1,
        controller: ControllerConfig::default(),
        outstanding: None,
        exact_stepping: false,
    };
    let span = device.capacity_bytes() / 64;
    let report = run(&device, &mut Generator::new(Traffic::Random, 2000, span, 1), &options).unwrap();
    assert_eq!(report.requests, 2000);
    // Random reads are bound by four activations in tFAW, whatever else is going on.
    assert!(report.cycles as f64 >= 2000.0 * device.timing("nFAW").unwrap() / 4.0 - 100.0);
    assert!(report.energy_total_j > 0.0);
}

#[test]
fn the_pim_command_is_a_command_like_any_other() {
    let device = catalog::load_source(&blocks()[1]).unwrap_or_else(|e| panic!("{e}"));
    let mut channel = Channel::with_log(device.clone(), Vec::<LoggedCommand>::new());
    let id = |name: &str| device.command(name).unwrap();
    let (open, add, close) = (id("ACTALL"), id("ADDROW"), id("PREab"));
    channel.issue(open, 0, 7, 10);
    let (first, last) = channel.issue_run(add, 0, 7, 0, 5);
    assert_eq!((first, last), (10 + 16, 10 + 16 + 4 * 8));
    let closed = channel.earliest(close, 0);
    assert_eq!(closed, last + 8 + 9);
    channel.issue(close, 0, NO_ROW, closed);
    Checker::new(&device).accept_all(channel.log()).unwrap();
    let joules = device.energy.joules(channel.counts(), 0, 0);
    assert!((joules["bank_read"] - 16.0 * 600e-12).abs() < 1e-15, "five additions in sixteen banks");
}

/// The same device by its instructions, between a host's accesses and over refreshes: every command is legal.
#[test]
fn its_instructions_run() {
    let source = &blocks()[1];
    let device = catalog::load_source(source).unwrap();
    assert_eq!(lint(&catalog::resolved_source(source).unwrap(), &device), Vec::<String>::new());
    let set = IsaSet::of(source, &device).unwrap();
    let mut machine = IsaMachine::new(device.clone(), set.clone(), true).unwrap().keeping_commands();
    let lines = "W MEM 0 3 7\nSUM ADD 16 0x3 7\nR MEM 1 9 8\nSUM ADD 16 0x3 8\nSUM READ 2 0x3\n".repeat(60);
    set.read_source(&Source::from_text("t", lines + "SUM END\n"), |i| machine.run(i)).unwrap();
    let outcome = machine.finish();
    let count = |name: &str| outcome.counts[device.command(name).unwrap().0 as usize];
    assert_eq!((count("ADDROW"), count("RDSUM"), count("WR"), count("RD")), (2 * 60 * 32, 2 * 60 * 2, 60, 60));
    assert!(count("REFab") > 0, "it is long enough for refreshes");
    for channel in &outcome.channels {
        let node = |c: &PimCommand| c.bank / device.levels[device.spec(c.on_bus).scope.0 as usize].banks;
        let logged = channel.commands.iter().map(|c| LoggedCommand {
            cycle: c.cycle,
            command: c.on_bus,
            node: node(c),
            row: c.row,
        });
        Checker::new(&device).accept_all(&logged.collect::<Vec<_>>()).unwrap();
    }
    // No product of its own: that is said.
    let error = set.gemv(8, 8, |_| {}).unwrap_err().to_string();
    assert!(error.contains("isa.gemv"), "{error}");
}
