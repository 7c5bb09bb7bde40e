//! Laws of the memory controller, over random devices, policies and traces: skipping gives exactly what stepping gives, every
//! command is legal by the independent checker, requests are conserved, and cutting a trace in pieces changes nothing.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use banksia_hw::dram::checker::Checker;
use banksia_hw::dram::controller::{
    AddressMap, Completion, Controller, ControllerConfig, ControllerOptions, Issued, Keep, MapSpec, PagePolicy,
    Recorder, RefreshPolicy, Request, RowHammerPolicy, Scheduler, Sleep, Statistics, XorSpec,
};
use banksia_hw::dram::{Device, Effect, LoggedCommand, NO_ROW, Needs, catalog};
use banksia_input::Source;
use proptest::prelude::*;

/// One device of each course of a tick, with and without ranks.
const DEVICES: [&str; 11] = [
    "ddr4-2400r",
    "ddr4-2400r-2rank",
    "ddr5-4800an",
    "ddr5-4800an-2rank",
    "lpddr5-6400",
    "lpddr5-6400-2rank",
    "gddr6-14000-1350mv",
    "gddr7-28000",
    "hbm2-2000",
    "hbm3-6400",
    "hbm4-8000",
];

/// Keeps everything, and gives up on a controller that gives commands for ever.
#[derive(Debug, Default)]
struct Bounded(Keep);

impl Recorder for Bounded {
    const COMMANDS: bool = true;
    const COMPLETIONS: bool = true;
    fn command(&mut self, issued: Issued) {
        assert!(self.0.commands.len() < 200_000, "no end in sight");
        self.0.command(issued);
    }
    fn completion(&mut self, completion: Completion) {
        self.0.completion(completion);
    }
}

/// A device whose counter-measures against RowHammer are needed often; the catalog's own without any.
fn load(name: &str, policy: RowHammerPolicy) -> Arc<Device> {
    if policy == RowHammerPolicy::Off {
        return catalog::load(name).unwrap();
    }
    let few = "raaimt = 4\nraammt = 6\nprac_threshold = 3\nprac_rfms = 2\nprac_alert_ns = 100";
    let text = format!("name = \"few\"\nsource = \"a test of the laws\"\nbase = \"{name}\"\n[row_hammer]\n{few}\n");
    catalog::load_source(&Source::from_text("few.toml", text)).unwrap()
}

fn row_hammer() -> impl Strategy<Value = RowHammerPolicy> {
    prop_oneof![2 => Just(RowHammerPolicy::Off), 1 => Just(RowHammerPolicy::Rfm), 1 => Just(RowHammerPolicy::Prac)]
}

#[derive(Debug, Clone)]
struct Case {
    device: &'static str,
    options: ControllerOptions,
    requests: Vec<Request>,
}

fn config() -> impl Strategy<Value = ControllerConfig> {
    let scheduler = prop_oneof![Just(Scheduler::Fcfs), Just(Scheduler::FrFcfs), Just(Scheduler::RowHitsFirst)];
    let page = prop_oneof![
        Just(PagePolicy::Open),
        Just(PagePolicy::Closed),
        Just(PagePolicy::Timeout),
        Just(PagePolicy::Adaptive)
    ];
    let refresh = prop_oneof![
        1 => Just(RefreshPolicy::Off),
        2 => Just(RefreshPolicy::AllBank),
        1 => Just(RefreshPolicy::PerBank),
        1 => Just(RefreshPolicy::SameBank)
    ];
    let sleep = prop_oneof![
        2 => Just(Sleep::NEVER),
        1 => (1..400u64, any::<bool>()).prop_map(|(after, self_refresh)| if self_refresh { Sleep { self_refresh: Some(after), ..Sleep::NEVER } } else { Sleep { power_down: Some(after), ..Sleep::NEVER } })
    ];
    let queues = (1..=64u32, 1..=64u32, 0.01..0.5f32, 0.5..1.0f32);
    let cap = prop_oneof![2 => Just(None), 1 => (1..6u32).prop_map(Some)];
    let xor = prop::collection::vec(prop::collection::vec(10..30u32, 1..3), 0..2);
    let last = (any::<bool>(), row_hammer());
    (scheduler, cap, page, 1..500u64, refresh, 0..5u32, sleep, queues, xor, last).prop_map(
        |(
            scheduler,
            row_hit_cap,
            page,
            page_timeout,
            refresh,
            postpone,
            sleep,
            (read_queue, write_queue, low, high),
            xor,
            (reference_model, row_hammer),
        )| {
            let xor = xor.into_iter().map(|with| XorSpec { field: "bank".into(), bit: 0, with }).collect();
            ControllerConfig {
                scheduler,
                row_hit_cap,
                page,
                page_timeout,
                refresh,
                postpone: if refresh == RefreshPolicy::AllBank { postpone.saturating_sub(2) } else { 0 },
                read_queue,
                write_queue,
                drain_high: high,
                drain_low: low,
                sleep,
                row_hammer,
                map: MapSpec { xor, ..MapSpec::default() },
                reference_model,
            }
        },
    )
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    // Few rows and banks make hits and conflicts, a small span forwarding, gaps sleep and idle rows.
    let index = prop_oneof![
        0..4096u64,
        0..24u64,
        any::<u64>().prop_map(|i| i & 0xfff_ffff),
        (0..4u64, 0..8u64).prop_map(|(r, b)| r << 20 | b << 7)
    ];
    let gap = prop_oneof![6 => Just(0u64), 2 => 1..30u64, 1 => 200..3000u64];
    prop::collection::vec((index, prop::bool::weighted(0.4), gap), 1..220).prop_map(|raw| {
        let mut arrival = 0;
        raw.into_iter()
            .enumerate()
            .map(|(i, (index, write, gap))| {
                arrival += gap;
                Request { write, index, arrival, sequence: i as u64 }
            })
            .collect()
    })
}

fn case() -> impl Strategy<Value = Case> {
    let outstanding = prop_oneof![2 => Just(None), 1 => Just(Some(1)), 1 => (2..6usize).prop_map(Some)];
    let config =
        prop_oneof![2 => config(), 1 => Just(ControllerConfig::reference()), 1 => Just(ControllerConfig::default())];
    (prop::sample::select(&DEVICES[..]), config, outstanding, requests()).prop_map(
        |(name, mut config, outstanding, requests)| {
            let device = catalog::load(name).unwrap();
            // What the device lacks is left out.
            let roles = device.roles.unwrap();
            match config.refresh {
                RefreshPolicy::PerBank if roles.refresh_bank.is_none() => config.refresh = RefreshPolicy::AllBank,
                RefreshPolicy::SameBank if roles.refresh_same_bank.is_none() => config.refresh = RefreshPolicy::AllBank,
                _ => {}
            }
            if device.row_hammer.is_none() {
                config.row_hammer = RowHammerPolicy::Off;
            }
            if roles.power_down.is_none() || roles.self_refresh.is_none() {
                config.sleep = Sleep::NEVER;
            }
            // XORs that lose information on this device, or take bits that it has not.
            if AddressMap::new(&config.map, &device, 1).is_err() {
                config.map.xor.clear();
            }
            let options = ControllerOptions { config, channels: 1, outstanding, exact_stepping: false };
            Case { device: name, options, requests }
        },
    )
}

fn run(device: &Arc<Device>, case: &Case, exact_stepping: bool, cut: usize) -> (Statistics, Keep) {
    let options = ControllerOptions { exact_stepping, ..case.options.clone() };
    let mut controller = Controller::new(device, &options, Bounded::default()).unwrap();
    for piece in case.requests.chunks(cut) {
        controller.advance(piece, false);
    }
    controller.advance(&[], true);
    let keep = std::mem::take(&mut controller.recorder().0);
    (controller.statistics().clone(), keep)
}

/// A controller's command as the checker takes it: the row is that of the transaction it serves.
fn logged(device: &Device, map: &AddressMap, c: &Issued) -> LoggedCommand {
    let spec = device.spec(c.command);
    let wants_row = spec.needs == Needs::Open || matches!(spec.effect, Effect::Open | Effect::OpenFirst);
    let row = c.index.filter(|_| wants_row).map_or(NO_ROW, |i| map.place(i).row);
    let node = c.bank / device.levels[spec.scope.0 as usize].banks;
    LoggedCommand { cycle: c.clock, command: c.command, node, row }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn skipping_is_stepping_and_legal(case in case()) {
        let device = load(case.device, case.options.config.row_hammer);
        let (fast, kept) = run(&device, &case, false, usize::MAX);
        let (slow, stepped) = run(&device, &case, true, usize::MAX);
        for (f, s) in kept.commands.iter().zip(&stepped.commands) {
            prop_assert_eq!(f, s, "{} or {}", &device.spec(f.command).name, &device.spec(s.command).name);
        }
        prop_assert_eq!(&kept.completions, &stepped.completions);
        prop_assert_eq!(&kept.commands, &stepped.commands);
        prop_assert_eq!(&fast, &slow);

        // Every request is done once.
        let mut sequences: Vec<u64> = kept.completions.iter().map(|c| c.sequence).collect();
        sequences.sort_unstable();
        prop_assert!(sequences.iter().copied().eq(0..case.requests.len() as u64));
        prop_assert_eq!(fast.row_hits + fast.row_misses + fast.row_conflicts + fast.forwarded + fast.absorbed, fast.requests);

        // Every command is legal.
        let map = AddressMap::new(&case.options.config.map, &device, 1).unwrap();
        let log: Vec<LoggedCommand> = kept.commands.iter().map(|c| logged(&device, &map, c)).collect();
        let kept = if case.options.config.reference_model { Arc::new(device.reference_rows()) } else { device.clone() };
        if let Err(violation) = Checker::new(&kept).accept_all(&log) {
            prop_assert!(false, "{}: {}", device.name, violation);
        }
    }

    #[test]
    fn cutting_a_trace_changes_nothing(case in case(), cut in 1..50usize, exact in any::<bool>()) {
        let device = load(case.device, case.options.config.row_hammer);
        prop_assert_eq!(run(&device, &case, exact, usize::MAX), run(&device, &case, exact, cut));
    }
}
