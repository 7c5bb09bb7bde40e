//! Counter-measures against RowHammer: refresh management and per-row activation counting, as data, as policies and under the witness.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use banksia_hw::dram::controller::{
    Completion, Controller, ControllerConfig, ControllerOptions, Issued, Keep, MapSpec, PagePolicy, Recorder,
    RefreshPolicy, Request, RowHammerPolicy, Statistics,
};
use banksia_hw::dram::lint::lint;
use banksia_hw::dram::memory::{Generator, MemoryOptions, MemoryReport, Traffic, run};
use banksia_hw::dram::witness::trial::{self, policies, watch};
use banksia_hw::dram::witness::{Law, Witness};
use banksia_hw::dram::{Device, catalog};
use banksia_input::{InputError, Source};

fn source(base: &str, keys: &str) -> Source {
    let text = format!("name = \"made\"\nsource = \"a test of RowHammer\"\nbase = \"{base}\"\n[row_hammer]\n{keys}\n");
    Source::from_text("made.toml", text)
}

fn made(base: &str, keys: &str) -> Arc<Device> {
    catalog::load_source(&source(base, keys)).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(base: &str, keys: &str) -> InputError {
    catalog::load_source(&source(base, keys)).err().unwrap_or_else(|| panic!("{base} takes {keys}"))
}

fn config(row_hammer: RowHammerPolicy, refresh: RefreshPolicy) -> ControllerConfig {
    ControllerConfig { row_hammer, refresh, map: MapSpec::default(), ..ControllerConfig::default() }
}

/// Two rows of one bank in turn, and no two requests at a time.
fn hammer(device: &Device, requests: u64) -> Vec<Request> {
    let apart = u64::from(device.banks) * u64::from(device.columns);
    (0..requests).map(|i| Request { write: false, index: i % 2 * apart, arrival: 0, sequence: i }).collect()
}

fn drive<R: Recorder>(
    device: &Arc<Device>,
    config: &ControllerConfig,
    (outstanding, exact_stepping): (Option<usize>, bool),
    requests: &[Request],
    recorder: R,
) -> (Statistics, Controller<R>) {
    let options = ControllerOptions { config: config.clone(), channels: 1, outstanding, exact_stepping };
    let mut controller = Controller::new(device, &options, recorder).unwrap_or_else(|e| panic!("{e}"));
    controller.advance(requests, true);
    assert_eq!(controller.stalled(), None);
    (controller.statistics().clone(), controller)
}

fn issues(device: &Device, statistics: &Statistics, name: &str) -> u64 {
    statistics.commands[device.command(name).unwrap().0 as usize]
}

#[test]
fn a_bank_gets_an_rfm_for_so_many_activations() {
    for (base, some) in [("ddr5-6400", "RFMsb"), ("hbm3-6400", "RFMpb"), ("hbm4-8000", "RFMpb")] {
        for imt in [32, 64, 80] {
            let device = made(base, &format!("raaimt = {imt}"));
            let config = config(RowHammerPolicy::Rfm, RefreshPolicy::Off);
            let (done, _) = drive(&device, &config, (Some(1), false), &hammer(&device, 4011), Keep::default());
            let opened = issues(&device, &done, "ACT");
            assert!(opened > 4000, "{base}: {opened}");
            assert_eq!(issues(&device, &done, some), opened / imt, "{base} {imt}");
            assert_eq!(issues(&device, &done, "RFMab"), 0);
        }
    }
    // Where the device has one of all banks alone, that.
    let text = r#"
        name = "made"
        source = "a test of RowHammer"
        base = "ddr4-2400r"
        constraints = [
            { level = "rank", from = "PREpb PREab", to = "RFMab", cycles = "nRP" },
            { level = "rank", from = "RFMab", to = "ACT", cycles = "nRFC" },
        ]
        [row_hammer]
        rfm_all = "RFMab"
        raaimt = 50
        [[command]]
        name = "RFMab"
        scope = "rank"
        needs = "closed"
        effect = "refresh"
        latency = "nRFC"
        close_with = "PREab"
    "#;
    let device = catalog::load_source(&Source::from_text("made.toml", text)).unwrap();
    let config = config(RowHammerPolicy::Rfm, RefreshPolicy::Off);
    let (done, _) = drive(&device, &config, (Some(1), false), &hammer(&device, 511), Keep::default());
    assert_eq!(issues(&device, &done, "RFMab"), issues(&device, &done, "ACT") / 50);
}

/// A refresh takes its credit off, so that banks that are opened rarely get no RFM at all.
#[test]
fn refreshes_count_as_rfms() {
    for (refresh, kinds) in [(RefreshPolicy::AllBank, "REFab"), (RefreshPolicy::SameBank, "REFsb")] {
        let device = made("ddr5-6400", "raaimt = 40");
        let config = config(RowHammerPolicy::Rfm, refresh);
        let spaced: Vec<Request> =
            hammer(&device, 2000).into_iter().map(|r| Request { arrival: r.sequence * 12_480 / 35, ..r }).collect();
        let (done, _) = drive(&device, &config, (None, false), &spaced, Keep::default());
        assert_eq!(issues(&device, &done, "RFMsb"), 0, "{kinds}: 35 activations in tREFI");
        let (done, _) = drive(&device, &config, (Some(1), false), &hammer(&device, 4000), Keep::default());
        let (opened, rfms) = (issues(&device, &done, "ACT"), issues(&device, &done, "RFMsb"));
        assert!(rfms > 0 && rfms < opened / 40, "{kinds}: {rfms} for {opened}");
    }
}

/// The count of every row of an attack stays near the threshold, and each alert has its RFMs.
#[test]
fn row_counting_bounds_the_activations_of_a_row() {
    for (base, ranks) in [("ddr5-6400-prac", 1), ("hbm4-8000-prac", 2)] {
        for (threshold, rfms) in [(16, 1), (64, 2), (64, 4)] {
            let keys = format!("prac_threshold = {threshold}\nprac_rfms = {rfms}\nprac_delay_acts = {rfms}");
            let device = made(base, &keys);
            let config = config(RowHammerPolicy::Prac, RefreshPolicy::AllBank);
            let (done, _) = drive(&device, &config, (Some(1), false), &hammer(&device, 6000), Keep::default());
            let name = format!("{base} {threshold} {rfms}");
            assert!(done.alerts > 6000 / threshold / 2 - 8, "{name}: {} alerts", done.alerts);
            let managed = issues(&device, &done, "RFMab");
            assert!(managed.abs_diff(done.alerts * rfms) <= rfms * ranks, "{name}: {managed} for {}", done.alerts);
            // tABOACT has room for three activations of a bank, and the grace after the RFMs for as many as RFMs.
            let most = u64::from(done.most_activations);
            assert!((threshold..=threshold + 4 + rfms).contains(&most), "{name}: {most}");
        }
    }
}

#[test]
fn without_a_measure_nothing_changes() {
    for name in ["ddr5-6400", "hbm3-6400"] {
        let device = catalog::load(name).unwrap();
        let config = config(RowHammerPolicy::Off, RefreshPolicy::AllBank);
        let (done, _) = drive(&device, &config, (None, false), &hammer(&device, 3000), Keep::default());
        assert_eq!((done.alerts, done.most_activations, issues(&device, &done, "RFMab")), (0, 0, 0));
    }
}

/// Completions only: idle time is skipped.
#[derive(Debug, Default)]
struct Completions(Vec<Completion>);

impl Recorder for Completions {
    const COMMANDS: bool = false;
    const COMPLETIONS: bool = true;
    fn command(&mut self, _: Issued) {}
    fn completion(&mut self, completion: Completion) {
        self.0.push(completion);
    }
}

/// Attacks with pauses in between that hold many refreshes, which take counts off: skipped, gone through, and stepped are one.
#[test]
fn skipped_pauses_count_their_refreshes() {
    let few = "raaimt = 20\nraammt = 21\nref_credit = 3\nprac_threshold = 40\nprac_rfms = 2";
    for base in ["ddr5-6400", "ddr5-4800-2rank", "hbm3-6400", "hbm4-8000"] {
        let device = made(base, few);
        let roles = device.roles.unwrap();
        let kinds = [
            Some(RefreshPolicy::AllBank),
            roles.refresh_bank.map(|_| RefreshPolicy::PerBank),
            roles.refresh_same_bank.map(|_| RefreshPolicy::SameBank),
        ];
        for refresh in kinds.into_iter().flatten() {
            for policy in [RowHammerPolicy::Rfm, RowHammerPolicy::Prac] {
                let config = ControllerConfig { page: PagePolicy::Timeout, ..config(policy, refresh) };
                let interval = device.refresh.unwrap().interval;
                let paused = |gap: u64| -> Vec<Request> {
                    let list = hammer(&device, 120);
                    list.into_iter().map(|r| Request { arrival: r.sequence / 30 * gap, ..r }).collect()
                };
                let name = format!("{base} {refresh:?} {policy:?}");
                // Through every row once and on, where that is quickly gone through without skipping.
                let first = base == "ddr5-6400" && refresh == RefreshPolicy::AllBank;
                for intervals in if first { vec![40, 9000] } else { vec![40] } {
                    let requests = paused(intervals * interval + 777);
                    let (skipped, mut a) = drive(&device, &config, (Some(1), false), &requests, Completions::default());
                    let (gone, mut b) = drive(&device, &config, (Some(1), false), &requests, Keep::default());
                    assert_eq!(a.recorder().0, b.recorder().completions, "{name}");
                    assert_eq!(skipped, gone, "{name}");
                }
                // Stepping takes long: others are held to it without pauses, by the laws of the controller.
                if !first {
                    continue;
                }
                let requests = paused(18 * interval + 777);
                let (skipped, mut a) = drive(&device, &config, (Some(1), false), &requests, Completions::default());
                let (stepped, mut b) = drive(&device, &config, (Some(1), true), &requests, Keep::default());
                assert_eq!(a.recorder().0, b.recorder().completions, "{name}");
                assert_eq!(skipped, stepped, "{name}");
            }
        }
    }
}

/// The witness over attacks and every kind of traffic, with thresholds that are reached all the time.
#[test]
fn managed_banks_obey_physics() {
    let few = "raaimt = 4\nraammt = 6\nref_credit_some = 2\nprac_threshold = 3\nprac_rfms = 2";
    for base in ["ddr5-6400", "ddr5-6400-2rank", "ddr5-6400-prac", "hbm3-6400", "hbm4-8000-prac"] {
        let device = made(base, few);
        let mut tried = 0;
        for config in policies(&device).into_iter().filter(|c| c.row_hammer != RowHammerPolicy::Off) {
            for page in [PagePolicy::Open, PagePolicy::Closed] {
                let config = ControllerConfig { page, ..config.clone() };
                let name = format!("{base} {:?} {:?} {page:?}", config.refresh, config.row_hammer);
                let mut witness = watch(&device, &config, &mut trial::Traffic::new(&device, 1500, 5), true).unwrap();
                assert_eq!(witness.kept(), [], "{name}");
                assert_eq!(witness.order().unwrap().turned(), 0, "{name}");
                let attack = watch(&device, &config, &mut hammer(&device, 600).into_iter(), false).unwrap();
                assert_eq!(attack.kept(), [], "{name}");
                tried += 1;
            }
        }
        assert!(tried >= 8, "{base}: {tried}");
    }
}

#[test]
fn too_many_activations_are_found() {
    let device = made("ddr5-6400", "raaimt = 4\nraammt = 8");
    let judge = |between: &[(usize, &str)]| {
        let mut witness = Witness::new(&device).managed(&device);
        let mut clock = 1;
        for i in 0..16 {
            for (_, command) in between.iter().filter(|(at, _)| *at == i) {
                witness.accept(clock, device.command(command).unwrap(), 0);
                clock += 2000;
            }
            witness.accept(clock, device.command("ACT").unwrap(), 0);
            witness.accept(clock + 120, device.command("PREpb").unwrap(), 0);
            clock += 300;
        }
        witness.kept().iter().map(|b| b.law).collect::<Vec<_>>()
    };
    assert_eq!(judge(&[]), [Law::Hammer; 8]);
    assert_eq!(judge(&[(8, "RFMsb")]), [Law::Hammer; 4]);
    assert_eq!(judge(&[(8, "RFMsb"), (8, "RFMab")]), []);
    // A refresh is worth an RFM, a same-bank one half of it.
    assert_eq!(judge(&[(8, "REFab"), (8, "REFab")]), []);
    assert_eq!(judge(&[(8, "REFab"), (8, "REFsb")]), [Law::Hammer; 2]);
    // Off, nobody counts.
    let mut witness = Witness::new(&device);
    for i in 0..40 {
        witness.accept(1 + 300 * i, device.command("ACT").unwrap(), 0);
        witness.accept(121 + 300 * i, device.command("PREpb").unwrap(), 0);
    }
    assert_eq!(witness.breaches(), 0);
}

#[test]
fn mistakes_are_named() {
    let says = |error: InputError, words: &[&str]| {
        let text = format!("{} {} {}", error.key.unwrap_or_default(), error.problem, error.help.unwrap_or_default());
        assert!(words.iter().all(|w| text.contains(w)), "{text}");
    };
    says(refused("ddr5-6400", "raaimt = 0"), &["row_hammer.raaimt", "0"]);
    says(refused("ddr5-6400", "raammt = \"raaimt / 2\""), &["row_hammer.raammt", "16"]);
    says(refused("ddr5-6400", "raammt = \"6 * raimt\""), &["row_hammer.raammt", "raimt"]);
    says(refused("ddr5-6400", "ref_credit = -1"), &["row_hammer.ref_credit"]);
    says(refused("ddr5-6400", "rfm_some = \"RFMxb\""), &["row_hammer.rfm_some", "RFMxb", "RFMsb"]);
    says(refused("ddr5-6400", "rfm_all = \"PREab\""), &["row_hammer.rfm_all", "does not refresh"]);
    says(refused("ddr5-6400", "rfm_all = \"REFab\""), &["row_hammer.rfm_all", "the refresh itself"]);
    says(refused("ddr5-6400", "rfm_all = \"RFMsb\""), &["row_hammer.rfm_all", "1 banks", "32"]);
    says(refused("ddr5-6400", "rfm_some = \"RFMab\""), &["row_hammer.rfm_some", "32 banks"]);
    says(refused("ddr5-6400", "prac_rfms = 2"), &["row_hammer.prac_threshold", "prac_rfms"]);
    says(refused("ddr5-6400-prac", "prac_threshold = 100000"), &["row_hammer.prac_threshold", "32768"]);
    says(refused("ddr5-6400-prac", "prac_alert_ns = -3"), &["row_hammer.prac_alert_ns"]);
    says(refused("ddr5-6400", "raaimt = true"), &["raaimt"]);
    says(refused("ddr4-2400r", "raaimt = 32"), &["row_hammer.rfm_all", "is missing"]);
    // A number for an expression.
    let offer = made("ddr5-6400", "raaimt = 64\nraammt = 200").row_hammer.unwrap().management.unwrap();
    assert_eq!((offer.initial, offer.maximum, offer.credit, offer.credit_some), (64, 200, 64, 32));

    let controller = |text: &str| ControllerConfig::from_source(&Source::from_text("c.toml", text));
    assert_eq!(controller("row_hammer = \"prac\"").unwrap().row_hammer, RowHammerPolicy::Prac);
    assert!(format!("{:?}", controller("row_hammer = \"parc\"").unwrap_err()).contains("prac"));
    let lacks = |policy, device: &str| config(policy, RefreshPolicy::Off).check(&catalog::load(device).unwrap());
    says(
        lacks(RowHammerPolicy::Rfm, "ddr4-2400r").unwrap_err(),
        &["row_hammer", "`rfm`", "ddr4-2400r", "[row_hammer]"],
    );
    says(lacks(RowHammerPolicy::Prac, "ddr5-6400").unwrap_err(), &["row_hammer", "`prac`", "ddr5-6400-prac"]);
}

/// The timings of the standard's rows with counters, and no finding against them.
#[test]
fn counting_rows_changes_their_timings() {
    let names = ["nRP", "nRAS", "nRC", "nRTP", "nWR", "nRFMab"];
    let of = |name: &str| {
        let device = catalog::load(name).unwrap();
        assert_eq!(lint(&catalog::resolved(name).unwrap(), &device), [] as [String; 0], "{name}");
        names.map(|n| device.timing(n).unwrap() as u64)
    };
    // 16.25, 32, 48.25, 7.5, 30 and 295 ns; 36, 16, 52, 5, 10 and 350 ns, of 312.5 ps.
    assert_eq!(of("ddr5-6400"), [52, 103, 155, 24, 96, 944]);
    assert_eq!(of("ddr5-6400-prac"), [116, 52, 167, 16, 32, 1120]);
    assert_eq!(of("hbm4-8000-prac"), [72, 32, 104, 10, 20, 900]);
}

fn report(device: &Arc<Device>, row_hammer: RowHammerPolicy, traffic: Traffic) -> MemoryReport {
    let controller = ControllerConfig { row_hammer, ..ControllerConfig::default() };
    let attack = traffic == Traffic::Strided;
    let outstanding = attack.then_some(1);
    let options = MemoryOptions { channels: 1, controller, outstanding, exact_stepping: false };
    let span = device.capacity_bytes() / u64::from(device.access_bytes);
    // Half of the memory on: two rows of one bank in turn.
    let mut requests = Generator::new(traffic, 50_000, span, 1).stride(span / 2);
    run(device, &mut requests, &options).unwrap_or_else(|e| panic!("{e}"))
}

/// What it costs: the fewer activations a device bears, the more; and the report says what was done.
#[test]
fn management_costs_bandwidth_and_energy() {
    let random = |device: &Arc<Device>, policy| report(device, policy, Traffic::Random);
    let off = random(&catalog::load("ddr5-6400").unwrap(), RowHammerPolicy::Off);
    assert_eq!(off.row_hammer, None);
    let managed = [80, 32, 16].map(|imt| random(&made("ddr5-6400", &format!("raaimt = {imt}")), RowHammerPolicy::Rfm));
    let gb = |r: &MemoryReport| r.bandwidth_bytes_per_s / 1e9;
    assert!(gb(&managed[2]) < gb(&managed[1]) && gb(&managed[1]) < gb(&off), "{} {}", gb(&managed[1]), gb(&off));
    for r in &managed[1..] {
        let done = r.row_hammer.unwrap();
        assert_eq!((done.rfms, done.alerts, done.most_activations_of_a_row), (r.commands["RFMsb"], 0, None));
        assert!(r.energy_j["refresh"] > off.energy_j["refresh"]);
    }
    let counted = random(&catalog::load("ddr5-6400-prac").unwrap(), RowHammerPolicy::Prac);
    let done = counted.row_hammer.unwrap();
    assert_eq!(done.rfms, done.alerts);
    assert!(done.most_activations_of_a_row.unwrap() < 32, "random rows are opened rarely");
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/experiments/row-hammer.md");
const BEGIN: &str = "<!-- cost: generated -->\n";

/// The table of the page is what comes out; `BANKSIA_UPDATE_DOCS=1` writes it.
#[test]
fn the_page_says_what_it_costs() {
    let plain = catalog::load("ddr5-6400").unwrap();
    let managed = |imt: u32| made("ddr5-6400", &format!("raaimt = {imt}"));
    let counting = |threshold: u32| made("ddr5-6400-prac", &format!("prac_threshold = {threshold}"));
    let (off, rfm, prac) = (RowHammerPolicy::Off, RowHammerPolicy::Rfm, RowHammerPolicy::Prac);
    let cases = [
        ("`off`", plain, off),
        ("`rfm`, `raaimt` 80", managed(80), rfm),
        ("`rfm`, `raaimt` 64", managed(64), rfm),
        ("`rfm`, `raaimt` 32", managed(32), rfm),
        ("timings of `ddr5-6400-prac` alone", counting(32), off),
        ("`prac`, threshold 512", counting(512), prac),
        ("`prac`, threshold 32", counting(32), prac),
    ];
    let mut table = String::new();
    for (title, traffic) in [
        ("random reads", Traffic::Random),
        ("a stream", Traffic::Stream),
        ("two rows of one bank in turn", Traffic::Strided),
    ] {
        table += &format!("| {title} | GB/s | read latency | energy a request | RFMs | alerts | a row at most |\n");
        table += "|---|--:|--:|--:|--:|--:|--:|\n";
        for (name, device, policy) in &cases {
            let r = report(device, *policy, traffic);
            let (gb, nj) = (r.bandwidth_bytes_per_s / 1e9, r.energy_total_j * 1e9 / r.requests as f64);
            let ns = r.read_latency_avg_ns.unwrap();
            let done = r.row_hammer.map_or_else(
                || "| | |".into(),
                |done| {
                    let alerts = if *policy == prac { done.alerts.to_string() } else { String::new() };
                    let most = done.most_activations_of_a_row.map_or_else(String::new, |n| n.to_string());
                    format!("{} | {alerts} | {most} |", done.rfms)
                },
            );
            table += &format!("| {name} | {gb:.2} | {ns:.0} ns | {nj:.2} nJ | {done}\n");
        }
        table += "\n";
    }
    let page = std::fs::read_to_string(PAGE).unwrap();
    let from = page.find(BEGIN).unwrap() + BEGIN.len();
    let to = from + page[from..].find("<!-- end -->").unwrap();
    if std::env::var("BANKSIA_UPDATE_DOCS").is_ok_and(|v| v == "1") {
        std::fs::write(PAGE, format!("{}{table}{}", &page[..from], &page[to..])).unwrap();
    } else {
        assert_eq!(&page[from..to], table, "BANKSIA_UPDATE_DOCS=1 writes it anew");
    }
}
