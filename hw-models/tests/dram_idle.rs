//! Idle time between arrivals: skipped exactly, in no time, however long; and refreshes that leave no time for anything are refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Instant;

use banksia_hw::dram::controller::{
    Completion, Controller, ControllerConfig, ControllerOptions, Issued, Keep, PagePolicy, Recorder, RefreshPolicy,
    Request, Scheduler, Sleep, Stall, Statistics,
};
use banksia_hw::dram::{Device, catalog};
use banksia_input::{InputError, Source};
use proptest::prelude::*;

/// One device of each course of a tick, with and without ranks.
const DEVICES: [&str; 7] = [
    "ddr4-2400r-2rank",
    "ddr5-4800an",
    "lpddr5-6400-2rank",
    "gddr6-14000-1350mv",
    "hbm2-2000",
    "hbm3-6400",
    "hbm4-8000",
];

/// Completions only: idle time is gone through where commands are kept.
#[derive(Debug, Default, PartialEq)]
struct Completions(Vec<Completion>);

impl Recorder for Completions {
    const COMMANDS: bool = false;
    const COMPLETIONS: bool = true;
    fn command(&mut self, _: Issued) {}
    fn completion(&mut self, completion: Completion) {
        self.0.push(completion);
    }
}

fn controller<R: Recorder>(device: &Arc<Device>, config: &ControllerConfig, exact: bool, r: R) -> Controller<R> {
    let options = ControllerOptions { config: config.clone(), channels: 1, outstanding: None, exact_stepping: exact };
    Controller::new(device, &options, r).unwrap_or_else(|e| panic!("{e}"))
}

fn run<R: Recorder>(mut c: Controller<R>, requests: &[Request]) -> (Statistics, Controller<R>) {
    c.advance(requests, true);
    assert_eq!(c.stalled(), None);
    (c.statistics().clone(), c)
}

fn sleep(after: u64, self_refresh: bool) -> Sleep {
    if self_refresh {
        Sleep { self_refresh: Some(after), ..Sleep::NEVER }
    } else {
        Sleep { power_down: Some(after), ..Sleep::NEVER }
    }
}

fn config() -> impl Strategy<Value = ControllerConfig> {
    let page =
        prop::sample::select(&[PagePolicy::Open, PagePolicy::Closed, PagePolicy::Timeout, PagePolicy::Adaptive][..]);
    let refresh = prop::sample::select(&[RefreshPolicy::AllBank, RefreshPolicy::PerBank, RefreshPolicy::SameBank][..]);
    let sleep = prop_oneof![
        1 => Just(Sleep::NEVER),
        1 => (1..3000u64, any::<bool>()).prop_map(|(after, self_refresh)| sleep(after, self_refresh))
    ];
    let scheduler = prop::sample::select(&[Scheduler::FrFcfs, Scheduler::RowHitsFirst][..]);
    (page, refresh, sleep, scheduler, 0..3u32, 1..9000u64).prop_map(
        |(page, refresh, sleep, scheduler, postpone, page_timeout)| ControllerConfig {
            page,
            refresh,
            sleep,
            scheduler,
            page_timeout,
            postpone: if refresh == RefreshPolicy::AllBank { postpone } else { 0 },
            ..ControllerConfig::reference()
        },
    )
}

/// Requests in bursts, with gaps of up to a hundred intervals of refresh in between.
fn requests() -> impl Strategy<Value = Vec<Request>> {
    let burst = prop::collection::vec((0..1u64 << 22, any::<bool>()), 1..6);
    prop::collection::vec((burst, 0..400_000u64), 2..4).prop_map(|bursts| {
        let (mut out, mut arrival) = (Vec::new(), 0);
        for (burst, gap) in bursts {
            for (index, write) in burst {
                out.push(Request { write, index, arrival, sequence: out.len() as u64 });
            }
            arrival += gap;
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The same requests with every command kept, where nothing is skipped, and without: the same accounts, the same completions,
    /// and after the gap the same course of the requests.
    #[test]
    fn idle_time_is_skipped_exactly(
        name in prop::sample::select(&DEVICES[..]), config in config(), plain in any::<bool>(), requests in requests()
    ) {
        let device = catalog::load(name).unwrap();
        let roles = device.roles.unwrap();
        let mut config = if plain { ControllerConfig::reference() } else { config };
        match config.refresh {
            RefreshPolicy::PerBank if roles.refresh_bank.is_none() => config.refresh = RefreshPolicy::AllBank,
            RefreshPolicy::SameBank if roles.refresh_same_bank.is_none() => config.refresh = RefreshPolicy::AllBank,
            _ => {}
        }
        config.postpone = config.postpone.min(roles.max_postponed);
        if roles.power_down.is_none() || roles.self_refresh.is_none() {
            config.sleep = Sleep::NEVER;
        }
        if roles.auto_precharge.is_none() && config.page == PagePolicy::Closed {
            config.page = PagePolicy::Open;
        }
        let (skipped, mut a) = run(controller(&device, &config, false, Completions::default()), &requests);
        let (gone_through, mut b) = run(controller(&device, &config, false, Keep::default()), &requests);
        prop_assert_eq!(&a.recorder().0, &b.recorder().completions);
        prop_assert_eq!(skipped, gone_through);
    }
}

/// Against stepping itself, over gaps that hold dozens of refreshes, for each course of a tick and each way to sleep.
#[test]
fn skipped_is_stepped() {
    for name in DEVICES {
        let device = catalog::load(name).unwrap();
        let roles = device.roles.unwrap();
        let sleeps = roles.power_down.is_some() && roles.self_refresh.is_some();
        let gap = 40 * device.refresh.unwrap().interval + 777;
        let requests: Vec<Request> = (0..6u64)
            .map(|i| Request { write: i % 3 == 2, index: i * 7919, arrival: i / 3 * gap, sequence: i })
            .collect();
        for self_refresh in [None, Some(false), Some(true)] {
            let sleep = self_refresh.filter(|_| sleeps).map_or(Sleep::NEVER, |deep| sleep(60, deep));
            let config = ControllerConfig { sleep, ..ControllerConfig::reference() };
            let (fast, mut a) = run(controller(&device, &config, false, Completions::default()), &requests);
            let (slow, mut b) = run(controller(&device, &config, true, Completions::default()), &requests);
            assert_eq!(a.recorder(), b.recorder(), "{name} {sleep:?}");
            assert_eq!(fast, slow, "{name} {sleep:?}");
        }
    }
}

/// A gap of 10^18 cycles is over at once, with every one of its refreshes counted.
#[test]
fn a_gap_of_any_length_ends_at_once() {
    for (name, config) in [
        ("ddr4-3200aa", ControllerConfig::default()),
        ("ddr4-2400r-2rank", ControllerConfig::reference()),
        ("ddr5-4800an", ControllerConfig { refresh: RefreshPolicy::SameBank, ..ControllerConfig::reference() }),
        ("hbm3-6400", ControllerConfig { refresh: RefreshPolicy::PerBank, ..ControllerConfig::default() }),
        ("ddr4-2400r", ControllerConfig { sleep: sleep(90, true), ..ControllerConfig::default() }),
    ] {
        let device = catalog::load(name).unwrap();
        let late = 1_000_000_000_000_000_000;
        let request = |sequence: u64| Request { write: false, index: sequence, arrival: sequence * late, sequence };
        let begun = Instant::now();
        let (stats, _) = run(controller(&device, &config, false, Completions::default()), &[request(0), request(1)]);
        assert!(begun.elapsed().as_secs() < 5, "{name}");
        assert!((late..late + 100_000).contains(&stats.ticks), "{name}: {}", stats.ticks);
        let refresh = device.refresh.unwrap();
        if !config.sleep.is_some() && config.refresh == RefreshPolicy::AllBank {
            let ranks = u64::from(device.levels[device.spec(refresh.command).scope.0 as usize].nodes);
            let due = (stats.ticks - 1) / refresh.interval * ranks;
            assert!(due - stats.commands[refresh.command.0 as usize] <= 1, "{name}");
        }
    }
}

fn tried(base: &str, changes: &str) -> Result<Arc<Device>, InputError> {
    let text = format!("name = \"made\"\nsource = \"a test of what cannot run\"\nbase = \"{base}\"\n{changes}\n");
    catalog::load_source(&Source::from_text("made.toml", text))
}

fn made(base: &str, changes: &str) -> Arc<Device> {
    tried(base, changes).unwrap()
}

fn refusal(device: &Arc<Device>, config: ControllerConfig) -> Option<String> {
    let options = ControllerOptions { config, channels: 1, outstanding: None, exact_stepping: false };
    Controller::new(device, &options, Keep::default()).err().map(|e| e.to_string())
}

/// A refresh that is over no sooner than the next is due lets nothing run; one cycle less, and requests get on.
#[test]
fn refreshes_that_leave_no_time_are_refused() {
    let per_bank = ControllerConfig { refresh: RefreshPolicy::PerBank, ..ControllerConfig::default() };
    let same_bank = ControllerConfig { refresh: RefreshPolicy::SameBank, ..ControllerConfig::default() };
    let off = ControllerConfig { refresh: RefreshPolicy::Off, ..ControllerConfig::default() };
    for (base, changes, config, key) in [
        ("ddr4-3200aa", "[timing_cycles]\nnREFI = 576", ControllerConfig::default(), "refresh.interval"),
        ("ddr4-3200aa", "[timing_cycles]\nnREFI = 2", ControllerConfig::reference(), "refresh.interval"),
        ("ddr5-4800an", "[timing_cycles]\nnRFC = 20000", ControllerConfig::default(), "refresh.interval"),
        ("hbm3-6400", "[timing_cycles]\nnREFI = 559", ControllerConfig::default(), "refresh.interval"),
        ("hbm3-6400", "[timing_cycles]\nnRREFD = 1000", per_bank.clone(), "refresh.bank_interval"),
        ("hbm3-6400", "[timing_cycles]\nnRFCpb = 100000", per_bank, "refresh.bank_interval"),
        ("ddr5-4800an", "[timing_cycles]\nnRFCsb = 100000", same_bank, "refresh.same_bank_interval"),
    ] {
        // A device whose own refresh leaves no time is refused itself, whatever the controller.
        let device = tried(base, changes);
        let error = match &device {
            Ok(device) => refusal(device, config).unwrap_or_else(|| panic!("{base} {changes}: not refused")),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(key) && error.contains("nothing else could ever run"), "{base} {changes}: {error}");
        if let Ok(device) = device {
            assert_eq!(refusal(&device, off.clone()), None, "{base} {changes}: without refresh it runs");
        }
    }
    let device = made("ddr4-3200aa", "[timing_cycles]\nnREFI = 577");
    let requests: Vec<Request> =
        (0..200).map(|i| Request { write: false, index: i * 7919, arrival: 0, sequence: i }).collect();
    let (stats, _) = run(controller(&device, &ControllerConfig::default(), false, Keep::default()), &requests);
    assert_eq!(stats.requests, 200);
    assert!(tried("hbm3-6400", "[timing_cycles]\nnREFI = 560").is_err());
    let device = made("hbm3-6400", "[timing_cycles]\nnREFI = 561");
    let all_bank = ControllerConfig { refresh: RefreshPolicy::AllBank, ..ControllerConfig::default() };
    let (stats, _) = run(controller(&device, &all_bank, false, Keep::default()), &requests);
    assert_eq!(stats.requests, 200);
}

/// What the rows do not show, the controllers find: both give up, and say why.
#[test]
fn a_controller_that_cannot_get_on_gives_up() {
    // Per bank: while a bank of the group is refreshed, none of its others may be opened, and there is always one.
    let changes = "[timing_cycles]\nnRREFD = 8\n[refresh]\ncommand = \"REFab\"\ninterval = \"nREFI\"\nbank_command = \"REFpb\"\nbank_interval = \"20\"\n";
    let text = format!(
        "name = \"made\"\nsource = \"a test of what cannot run\"\nbase = \"hbm3-6400\"\nconstraints = [{{ level = \"bankgroup\", from = \"REFpb\", to = \"ACT\", cycles = \"4000\" }}]\n{changes}"
    );
    let device = catalog::load_source(&Source::from_text("made.toml", text)).unwrap();
    let config = ControllerConfig { refresh: RefreshPolicy::PerBank, ..ControllerConfig::reference() };
    for exact in [false, true] {
        let mut c = controller(&device, &config, exact, Completions::default());
        let request = |sequence| Request { write: false, index: sequence * 64, arrival: 100_000, sequence };
        c.advance(&[request(0), request(1)], true);
        assert!(
            matches!(c.stalled(), Some(Stall::Starved { .. } | Stall::Refreshes { .. })),
            "{exact}: {:?}",
            c.stalled()
        );
    }
}
