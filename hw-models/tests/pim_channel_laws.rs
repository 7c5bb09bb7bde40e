//! Laws of a PIM channel: every command is legal by an independent checker, no command could have issued a cycle earlier
//! where nothing else held it back, and skipping ahead gives exactly what stepping gives.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::dram::checker::Checker;
use banksia_hw::dram::{Channel, CommandId, CommandLog, Device, Effect, LoggedCommand, NO_ROW, Needs, catalog};
use banksia_hw::pim::courses::Courses;
use banksia_hw::pim::{CompiledPattern, PimChannel};
use banksia_hw::program::{Pattern, PatternStep};
use proptest::prelude::*;

fn device() -> Arc<Device> {
    catalog::load("gddr6-pim-gpt").unwrap()
}

/// One instruction of a random program: a pattern, where it starts, how often it runs, and how long after the one before.
#[derive(Debug, Clone)]
struct Block {
    pattern: Pattern,
    row: u32,
    iterations: u32,
    gap: u64,
}

fn step() -> impl Strategy<Value = PatternStep> {
    let named = |command: &str, first_node, nodes, count, row, open_with: Option<&str>| PatternStep {
        command: command.into(),
        first_node,
        nodes,
        count,
        row,
        column: 0,
        open_with: open_with.map(Into::into),
    };
    prop_oneof![
        3 => (1..=64u32, 0..3u32).prop_map(move |(n, r)| named("MAC16", 0, 1, n, Some(r), None)),
        2 => (1..=3u32).prop_map(move |n| named("RDMAC16", 0, 1, n, None, None)),
        1 => (1..=64u32).prop_map(move |n| named("WRGB", 0, 1, n, None, None)),
        1 => (0..16u32, 1..=64u32, 0..3u32).prop_map(move |(b, n, r)| named("WR", b, 1, n, Some(r), None)),
        1 => (0..16u32, 1..=64u32, 0..3u32).prop_map(move |(b, n, r)| named("RD", b, 1, n, Some(r), None)),
        1 => (1..=16u32, 0..3u32).prop_map(move |(n, r)| named("WR", 0, n, 1, Some(r), Some("ACT16"))),
    ]
}

fn block() -> impl Strategy<Value = Block> {
    (prop::collection::vec(step(), 1..5), 0..=3u32, 0..8000u32, 1..300u32, prop_oneof![Just(0), 0..20_000u64]).prop_map(
        |(steps, rows, row, iterations, gap)| Block { pattern: Pattern { steps, rows }, row, iterations, gap },
    )
}

/// Runs the blocks twice over, keeping what is learnt of each pattern as a machine does.
fn run<L: CommandLog>(channel: &mut PimChannel<L>, blocks: &[Block], device: &Device) -> Vec<(u64, u64)> {
    let mut free = 0;
    let mut out = Vec::new();
    let mut known: HashMap<Pattern, Courses> = HashMap::new();
    for block in blocks.iter().chain(blocks) {
        let pattern = CompiledPattern::new(0, &block.pattern, device).unwrap();
        let courses = known.entry(block.pattern.clone()).or_default();
        let timing = channel.run_knowing(courses, &pattern, block.row, block.iterations, free + block.gap);
        free = timing.free;
        out.push((timing.free, timing.done));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn skipping_ahead_equals_stepping(blocks in prop::collection::vec(block(), 1..8), refresh: bool) {
        let device = device();
        let mut fast = PimChannel::new(Arc::clone(&device), refresh, false);
        let mut stepped = PimChannel::new(Arc::clone(&device), refresh, true);
        prop_assert_eq!(run(&mut fast, &blocks, &device), run(&mut stepped, &blocks, &device));
        prop_assert_eq!(fast.dram().counts(), stepped.dram().counts());
        prop_assert_eq!((fast.accesses(), fast.misses()), (stepped.accesses(), stepped.misses()));
        let end = fast.dram().bus_ready();
        prop_assert_eq!(fast.dram().active_cycles(end), stepped.dram().active_cycles(end));
        for bank in 0..device.banks {
            prop_assert_eq!(fast.dram().open_row(bank), stepped.dram().open_row(bank));
        }
        // What was skipped left the same state behind: the same work afterwards takes the same course.
        prop_assert_eq!(run(&mut fast, &blocks[..1], &device), run(&mut stepped, &blocks[..1], &device));
    }

    #[test]
    fn every_command_is_legal(blocks in prop::collection::vec(block(), 1..6)) {
        let device = device();
        let mut logged = PimChannel::with_log(Arc::clone(&device), true, true, Vec::<LoggedCommand>::new());
        let mut blocks = blocks;
        blocks.iter_mut().for_each(|b| b.iterations = b.iterations.min(20));
        run(&mut logged, &blocks, &device);
        let mut checker = Checker::new(&device);
        if let Err(violation) = checker.accept_all(logged.dram().log()) {
            return Err(TestCaseError::fail(violation.to_string()));
        }
        // Refresh keeps its average rate: at most one interval behind.
        let end = logged.dram().bus_ready();
        let interval = device.refresh.unwrap().interval;
        prop_assert!(checker.refreshes() + 1 >= end / interval, "{} refreshes in {end} cycles", checker.refreshes());
    }

    /// The engine's earliest cycle is the checker's first legal one, for every command at every node after a random legal
    /// history: legal there, and illegal one cycle earlier.
    #[test]
    fn earliest_is_tight(choices in prop::collection::vec((any::<u16>(), any::<u16>(), 0..40u64), 1..120)) {
        let device = device();
        let mut channel = Channel::new(Arc::clone(&device));
        let mut checker = Checker::new(&device);
        let mut now = 0;
        for (which, place, wait) in choices {
            let legal: Vec<(CommandId, u32)> = (0..device.commands.len() as u8).map(CommandId).flat_map(|c| {
                let nodes = device.levels[device.spec(c).scope.0 as usize].nodes;
                (0..nodes).map(move |n| (c, n))
            }).filter(|(c, n)| state_fits(&device, &channel, *c, *n)).collect();
            for (c, n) in &legal {
                prop_assert_eq!(channel.earliest(*c, *n), checker.first_legal(*c, *n), "{} at {}", device.spec(*c).name, n);
            }
            // Choose a command first and then its place, so that bank commands do not crowd out the others.
            let c = legal[which as usize % legal.len()].0;
            let places: Vec<u32> = legal.iter().filter(|(l, _)| *l == c).map(|(_, n)| *n).collect();
            let node = places[place as usize % places.len()];
            let row = match device.spec(c).needs {
                Needs::Open => channel.open_row(device.banks_of(c, node).start),
                _ if device.spec(c).effect == Effect::Open => u32::from(place) % device.rows,
                _ => NO_ROW,
            };
            now = channel.earliest(c, node).max(now + wait / 20 * wait);
            channel.issue(c, node, row, now);
            let accepted = checker.accept(LoggedCommand { cycle: now, command: c, node, row });
            prop_assert!(accepted.is_ok(), "{:?}", accepted);
        }
    }
}

fn state_fits(device: &Device, channel: &Channel, command: CommandId, node: u32) -> bool {
    let banks = device.banks_of(command, node);
    let row = channel.open_row(banks.start);
    match device.spec(command).needs {
        Needs::Any => true,
        Needs::Open => row != NO_ROW && channel.state_allows(command, node, row),
        Needs::Closed | Needs::Opening => channel.state_allows(command, node, NO_ROW),
    }
}
