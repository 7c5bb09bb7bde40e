//! What the standards say, which no table of the catalog may forget: DDR5's rules, the pace and the energy of every kind of refresh, minima.
#![allow(clippy::unwrap_used, clippy::panic)]

use banksia_hw::dram::controller::ControllerConfig;
use banksia_hw::dram::lint::lint;
use banksia_hw::dram::memory::{Generator, MemoryOptions, Traffic, run};
use banksia_hw::dram::{CommandId, Device, catalog};
use banksia_input::{InputError, Source};

fn cycles(device: &Device, name: &str) -> u64 {
    device.timing(name).unwrap_or_else(|| panic!("{} lacks {name}", device.name)) as u64
}

fn made(base: &str, changes: &str) -> Source {
    let text = format!("name = \"made\"\nsource = \"a test of the rules\"\nbase = \"{base}\"\n{changes}\n");
    Source::from_text("made.toml", text)
}

fn refused(base: &str, changes: &str) -> InputError {
    catalog::load_source(&made(base, changes)).err().unwrap_or_else(|| panic!("{base} takes {changes}"))
}

fn findings(base: &str, changes: &str) -> String {
    let source = made(base, changes);
    let device = catalog::load_source(&source).unwrap_or_else(|e| panic!("{e}"));
    lint(&catalog::resolved_source(&source).unwrap(), &device).join("\n")
}

/// The rules in clocks and nanoseconds, worked out by hand for each grade.
#[test]
fn ddr5_keeps_the_rules_of_its_data_sheet() {
    type Row = (&'static str, [u64; 11]);
    // nFAW, nRRDS, nRRDL, nCCDL, nCCDL_WR, nWTRS, nWTRL, nRTP, nWR, nRFC, nREFI
    let rows: [Row; 9] = [
        ("ddr5-4800", [32, 8, 12, 12, 24, 6, 24, 18, 72, 708, 9360]),
        ("ddr5-5600", [32, 8, 14, 14, 28, 7, 28, 21, 84, 826, 10920]),
        ("ddr5-6400", [32, 8, 16, 16, 32, 8, 32, 24, 96, 944, 12480]),
        ("ddr5-8000", [40, 8, 20, 20, 40, 10, 40, 30, 120, 1180, 15600]),
        ("ddr5-4800-x4", [32, 8, 12, 12, 48, 6, 24, 18, 72, 708, 9360]),
        ("ddr5-6400-x4", [32, 8, 16, 16, 64, 8, 32, 24, 96, 944, 12480]),
        ("ddr5-4800-x16", [40, 8, 12, 12, 24, 6, 24, 18, 72, 708, 9360]),
        ("ddr5-6400-x16", [40, 8, 16, 16, 32, 8, 32, 24, 96, 944, 12480]),
        ("ddr5-6400-32gb", [32, 8, 16, 16, 32, 8, 32, 24, 96, 1312, 12480]),
    ];
    let names = ["nFAW", "nRRDS", "nRRDL", "nCCDL", "nCCDL_WR", "nWTRS", "nWTRL", "nRTP", "nWR", "nRFC", "nREFI"];
    for (name, expected) in rows {
        let device = catalog::load(name).unwrap();
        for (timing, expected) in names.iter().zip(expected) {
            assert_eq!(cycles(&device, timing), expected, "{name} {timing}");
        }
        let bits =
            device.capacity_bytes() * 8 / u64::from(catalog::resolved(name).unwrap().organization.devices.unwrap());
        let gigabits = if name.contains("32gb") { 32 } else { 16 };
        assert_eq!(bits >> 30, gigabits, "{name}");
    }
}

fn random_gb_per_s(name: &str) -> f64 {
    let device = catalog::load(name).unwrap();
    let options = MemoryOptions {
        channels: 1,
        controller: ControllerConfig::default(),
        outstanding: None,
        exact_stepping: false,
    };
    let span = device.capacity_bytes() / u64::from(device.access_bytes);
    let report = run(&device, &mut Generator::new(Traffic::Random, 20_000, span, 1), &options).unwrap();
    report.bandwidth_bytes_per_s / 1e9
}

/// Random reads of a grade are bound by four activations in tFAW of 32 clocks: they go with the clock, as its data bus does.
#[test]
fn random_reads_of_ddr5_go_with_its_grade() {
    let got = [4800, 5600, 6400].map(|grade| random_gb_per_s(&format!("ddr5-{grade}")));
    for (got, expected) in got.iter().zip([17.6, 20.4, 23.0]) {
        assert!((got / expected - 1.0).abs() < 0.05, "{got} for {expected}");
    }
    // Of the simulator's presets, with 20 ns of tFAW at every grade, all are the same.
    let presets = ["ddr5-4800an-ramulator", "ddr5-6400an-ramulator"].map(random_gb_per_s);
    assert!(presets.iter().all(|gb| (gb / 11.7 - 1.0).abs() < 0.05), "{presets:?}");
}

/// The names that devices had go on, and the list has the new ones.
#[test]
fn renamed_devices_are_still_found() {
    let listed = catalog::names();
    for old in ["ddr5-3200an", "ddr5-4800an", "ddr5-4800an-x4", "ddr5-4800an-2rank", "ddr5-6400an-32gb", "ddr5-4800c"] {
        let new = format!("{old}-ramulator");
        assert!(!listed.contains(&old) && listed.contains(&new.as_str()), "{old}");
        assert_eq!(catalog::load(old).unwrap().name, new);
        let raw = catalog::resolved(old).unwrap();
        assert_eq!(raw.preset_of.as_deref(), Some("Ramulator 2.1"));
        assert!(
            raw.description.contains("as Ramulator 2.1 lists it")
                && raw.source.contains("to agree with that simulator")
        );
    }
    assert!(catalog::load("ddr5-4800an").unwrap().source.contains("tFAW (48 clocks, not 32)"));
    assert!(catalog::resolved("ddr5-4800").unwrap().preset_of.is_none());
}

/// One issue's energy in all parts but the standing.
fn pj(device: &Device, command: CommandId) -> f64 {
    device.energy.per_issue_pj[command.0 as usize].iter().sum()
}

/// Whatever the kind of refresh, a bank is refreshed once in tREFI, and all banks' refreshes of a tREFI take what an all-bank refresh takes.
/// In fine granularity (DDR5's same-bank refresh) two commands are one refresh.
#[test]
fn every_kind_of_refresh_has_one_pace_and_one_energy() {
    let mut kinds = 0;
    for name in catalog::names() {
        let device = catalog::load(name).unwrap();
        let (Some(all), Some(roles)) = (device.refresh, device.roles) else { continue };
        let scope = &device.levels[device.spec(all.command).scope.0 as usize];
        for (kind, halves) in [(roles.refresh_bank, 1), (roles.refresh_same_bank, 2)] {
            let Some((command, interval)) = kind else { continue };
            let turns = u64::from(scope.banks / device.spread(command).0) * halves;
            let round = interval * turns;
            // A clock of rounding for each turn.
            let rounding = turns * u64::from(device.ticks_per_clock);
            assert!(round.abs_diff(all.interval) <= rounding, "{name}: {round} cycles, and tREFI has {}", all.interval);
            let (each, whole) = (pj(&device, command) * turns as f64, pj(&device, all.command));
            assert!(whole > 0.0 && (each / whole - 1.0).abs() < 1e-6, "{name}: {each} pJ, and at once {whole}");
            kinds += 1;
        }
    }
    assert!(kinds > 40, "{kinds}");
}

#[test]
fn paces_of_refresh_by_hand() {
    let pace = |name: &str| catalog::load(name).unwrap().roles.unwrap().refresh_bank.unwrap().1;
    // 3125 / 8 pairs; 3900 / 16 banks of a pseudo-channel; 2 ticks x 6240 / 32.
    assert_eq!((pace("lpddr5-6400"), pace("hbm2-2000")), (390, 243));
    let same = |name: &str| catalog::load(name).unwrap().roles.unwrap().refresh_same_bank.unwrap().1;
    assert_eq!((same("ddr5-4800an"), same("ddr5-4800")), (9375 / 8, 9360 / 8));
    let lpddr5 = catalog::load("lpddr5-6400").unwrap();
    let (count, apart) = lpddr5.spread(lpddr5.command("REFpb").unwrap());
    assert_eq!((count, apart), (2, 8), "bank and bank + 8");
}

/// The refresh that fits one H200 is in that GPU's device, and nowhere else.
#[test]
fn the_h200_has_its_own_refresh() {
    let [general, faster, own] = ["hbm3e-8000", "hbm3e-9200", "hbm3e-h200"].map(|n| catalog::load(n).unwrap());
    let ns = |d: &Device, t: &str| d.timing(t).unwrap() * d.clock_fs as f64 * f64::from(d.ticks_per_clock) * 1e-6;
    for timing in ["nRFCpb", "nREFI", "nRFC", "nRP", "nRAS"] {
        assert!((ns(&general, timing) - ns(&faster, timing)).abs() < 0.6, "{timing}");
    }
    assert_eq!((ns(&general, "nRFCpb") as u64, ns(&own, "nRFCpb") as u64), (200, 275));
    assert_eq!((ns(&general, "nREFI") as u64, ns(&own, "nREFI") as u64), (3900, 1950));
    assert!(include_str!("../catalog/gpu/h200.toml").contains("device = \"hbm3e-h200\""));
}

/// Below a standard's minimum, in clocks or in nanoseconds, by density and by width.
#[test]
fn minima_of_every_standard_are_held() {
    for (base, changes, expected) in [
        ("ddr4-2400r", "[timing_cycles]\nnRFC = 330", "nRFC is 330, and JESD79-4 has no less than 350 ns"),
        ("ddr4-2400r-16gb", "[timing_cycles]\nnRFC = 433", "no less than 550 ns"),
        ("ddr4-3200aa", "[timing_cycles]\nnRTP = 10", "the larger of 4 clocks and 7.5 ns"),
        ("ddr4-2400r-x16", "[timing_cycles]\nnFAW = 26", "the larger of 28 clocks and 30 ns"),
        (
            "ddr5-6400",
            "[timing_cycles]\nnWTRS = 5",
            "nWTRS is 5, and JESD79-5 has no less than the larger of 4 clocks and 2.5 ns: 8",
        ),
        ("ddr5-5600", "[timing_cycles]\nnCCDL = 12", "the larger of 8 clocks and 5 ns"),
        ("ddr5-4800", "[timing_cycles]\nnFAW = 31", "the larger of 32 clocks and 10 ns"),
        ("ddr5-4800-x4", "[timing_cycles]\nnCCDL_WR = 24", "the larger of 32 clocks and 20 ns"),
        ("ddr5-6400-32gb", "[timing_ns]\ntRFC = 295.0", "no less than 410 ns"),
        ("lpddr5-6400", "[timing_cycles]\nnFAW = 12", "no less than 20 ns"),
        ("lpddr5-6400", "[timing_cycles]\nnRFCpb = 100", "no less than 140 ns"),
        ("hbm2-2000", "[timing_cycles]\nnREFI = 7800", "no more than 3900 ns"),
        ("hbm3-6400", "[timing_cycles]\nnRFC = 160", "no less than 260 ns"),
        ("hbm4-8000", "[timing_cycles]\nnCCDL = 3", "no less than 4 clocks"),
        ("gddr6-14000-1350mv", "[timing_cycles]\nnREFI = 6666", "no more than 1900 ns"),
        ("gddr7-28000", "[timing_cycles]\nnCCD = 1", "no less than 2 clocks"),
    ] {
        let found = findings(base, changes);
        assert!(found.contains(expected), "{base} {changes}: {found}");
    }
    // A preset is held to its simulator.
    assert_eq!(findings("ddr5-6400an", ""), "");
}

/// A name that nothing knows is refused, with the name that was meant.
#[test]
fn numbers_that_nothing_uses_are_refused() {
    for (base, changes, line, near) in [
        ("ddr4-2400r", "[timing_cycles]\nnRASS = 100", "made.toml:5", "`nRAS`"),
        ("ddr4-2400r", "[currents_ma]\nIDD44R = 100.0", "made.toml:5", "`IDD4R`"),
        ("ddr4-2400r", "[timing_ns]\ntRCDD = 20.0", "made.toml:5", "`tRCD`"),
        ("ddr5-6400", "[timing_expressions]\nnFAWS = \"32\"", "made.toml:5", "`nFAW`"),
        ("hbm3-6400", "[timing_cycles]\nnRCDRDX = 20", "made.toml:5", "`nRCDRD`"),
        ("hbm3-6400", "[timing_cycles]\nnREFIpb = 100", "made.toml:5", "`nREFI`"),
        ("lpddr5-6400", "[timing_cycles]\nnRPabb = 20", "made.toml:5", "`nRPab`"),
    ] {
        let error = refused(base, changes).to_string();
        assert!(error.contains(line) && error.contains(near) && error.contains("no row"), "{base} {changes}: {error}");
    }
    // What the file itself says is not used may stand.
    let source = made("ddr4-2400r", "unused = [\"nRASS\"]\n[timing_cycles]\nnRASS = 100");
    assert!(catalog::load_source(&source).is_ok());
    assert!(
        findings("ddr4-2400r", "[parameters]\ncore_pj = 1.0").contains("`parameters.core_pj` is used by no expression")
    );
}

/// A faster clock shortens what a base counts in cycles.
#[test]
fn a_new_clock_names_what_it_shortens() {
    let found = findings("ddr4-2400r", "clock_ps = 625\n[organization]\npin_gbps = 3.2");
    assert!(
        found.contains("a clock of 625 ps over `ddr4-2400r`, which gives its timings in cycles of 833 ps"),
        "{found}"
    );
    assert!(
        found.contains("nRFC 360.69 ns to 270.62") && !found.contains("nCCDS") && !found.contains("nBL"),
        "{found}"
    );
    let found = findings("ddr4-2400r", "clock_ps = 625\n[organization]\npin_gbps = 3.2\n[timing_ns]\ntRFC = 350.0");
    assert!(found.contains("nREFI") && !found.contains("nRFC"), "{found}");
    // A base in nanoseconds keeps them, and a slower clock shortens nothing.
    assert!(!findings("ddr5-6400", "clock_ps = 300").contains("nRFC"));
    assert!(!findings("ddr4-3200aa", "clock_ps = 833\n[organization]\npin_gbps = 2.4").contains("shortens"));
}

/// Bits of an error-correcting code are capacity, not bandwidth.
#[test]
fn ecc_pins_add_no_bandwidth() {
    let device = catalog::load_source(&made("ddr4-2400r", "[organization]\necc_pins = 8\ndevices = 9")).unwrap();
    let plain = catalog::load("ddr4-2400r").unwrap();
    assert!((device.pin_bandwidth() - plain.pin_bandwidth()).abs() < 1.0);
    assert_eq!(
        (device.ecc_pins, device.ecc_bytes() * 8, device.capacity_bytes()),
        (8, plain.capacity_bytes(), plain.capacity_bytes())
    );
    for (base, pins, help) in [
        ("ddr4-2400r", 72, "data_pins = 64 and ecc_pins = 8"),
        ("ddr5-6400", 40, "data_pins = 32 and ecc_pins = 8"),
        ("ddr5-4800-x4", 36, "data_pins = 32 and ecc_pins = 4"),
        ("hbm3-6400", 72, "data_pins = 64 and ecc_pins = 8"),
    ] {
        let error = refused(base, &format!("[organization]\ndata_pins = {pins}")).to_string();
        assert!(error.contains(help) && error.contains("capacity, not bandwidth"), "{base}: {error}");
    }
}

/// Twelve dies are three stacks of four: half as many banks again as in eight, at the same pace of refresh for each.
#[test]
fn twelve_high_stacks_are_three_of_four() {
    for (name, eight, gigabytes, channels) in [
        ("hbm3-6400-24gb-12hi", "hbm3-6400", 24, 16),
        ("hbm3e-9200-36gb-12hi", "hbm3e-9200", 36, 16),
        ("hbm4-8000-12hi", "hbm4-8000", 48, 32),
    ] {
        let [device, base] = [name, eight].map(|n| catalog::load(n).unwrap());
        assert_eq!((device.banks, base.banks), (96, 64), "{name}");
        assert_eq!(device.capacity_bytes() * channels, gigabytes << 30, "{name}");
    }
}
