//! The catalog's numbers, against the tables that its files cite, written down a second time.
#![allow(clippy::unwrap_used, clippy::panic)]

use banksia_hw::dram::controller::{ControllerConfig, PagePolicy, RefreshPolicy, Scheduler, Sleep};
use banksia_hw::dram::{Device, catalog};
use banksia_input::Source;

/// A preset of the reference: organisation, timing, clock, counts of levels, cycles.
struct Preset<'a> {
    names: [&'a str; 2],
    clock_ps: u64,
    levels: Vec<(&'a str, u32)>,
    timings: Vec<(&'a str, u64)>,
}

fn presets() -> Vec<Preset<'static>> {
    fn pairs<T: std::str::FromStr>(text: &'static str) -> Vec<(&'static str, T)> {
        let pair = |word: &'static str| word.split_once('=').and_then(|(n, v)| Some((n, v.parse().ok()?)));
        text.split(' ').map(|word| pair(word).unwrap_or_else(|| panic!("{word}"))).collect()
    }
    let text = include_str!("../../tests/reference/dram/timing_presets.csv");
    text.lines()
        .skip(1)
        .map(|line| {
            let f: Vec<&str> = line.split(',').collect();
            Preset { names: [f[0], f[1]], clock_ps: f[2].parse().unwrap(), levels: pairs(f[3]), timings: pairs(f[4]) }
        })
        .collect()
}

/// Whether a text names a preset, as a word of its own.
fn names(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

fn cycles(device: &Device, name: &str) -> Option<u64> {
    device.timing(name).map(|v| v as u64)
}

/// What a faster interface changes: the burst, and what follows from it.
const INTERFACE: [&str; 5] = ["nBL", "nCCDS", "nCCDL", "nPPD", "nCCDR"];

/// Every device that cites presets has their numbers; a faster one of an older core has its nanoseconds.
#[test]
fn devices_have_the_numbers_of_the_presets_they_cite() {
    let presets = presets();
    let (mut devices, mut numbers, mut faster) = (0, 0, 0);
    for name in catalog::names() {
        let device = catalog::load(name).unwrap();
        let Some(p) = presets.iter().find(|p| p.names.iter().all(|n| names(&device.source, n))) else { continue };
        devices += 1;
        let clock_ps = device.clock_fs * u64::from(device.ticks_per_clock) / 1000;
        faster += u32::from(clock_ps != p.clock_ps);
        for (timing, reference) in &p.timings {
            let Some(got) = cycles(&device, timing) else { continue };
            let expected = match *timing {
                // The preset's is shorter than nRRDS, which no DDR5 can have.
                "nRRDL" if name == "ddr5-3200an-ramulator" => 8,
                t if clock_ps != p.clock_ps && INTERFACE.contains(&t) => continue,
                _ => (reference * p.clock_ps).div_ceil(clock_ps),
            };
            assert_eq!(got, expected, "{name} {timing}");
            numbers += 1;
        }
        for (level, count) in &p.levels {
            let found = device.levels.iter().find(|l| l.name == *level && *level != "row").map(|l| l.per_parent);
            let got = if *level == "row" { Some(device.rows) } else { found };
            // AttAcc's file describes one pseudo-channel.
            if got.is_some() && (name, *level) != ("hbm3-attacc", "pseudochannel") {
                assert_eq!(got, Some(*count), "{name} {level}");
            }
        }
    }
    assert!(devices >= 55 && numbers >= 1100 && faster >= 3, "{devices} devices, {numbers} numbers, {faster} faster");
}

/// PIM-GPT's configuration table: every number that the paper gives, in nanoseconds at 1 GHz, and its currents and powers.
#[test]
fn pim_gpt_has_the_numbers_of_its_paper() {
    let d = catalog::load("gddr6-pim-gpt").unwrap();
    for (timing, ns) in
        [("nRCDRD", 12), ("nRCDWR", 12), ("nRP", 12), ("nWR", 12), ("nRFCab", 455), ("nREFI", 6825), ("nCCDM", 1)]
    {
        assert_eq!(cycles(&d, timing), Some(ns), "{timing}");
    }
    // Those that it does not give: GDDR6-14000's nanoseconds, cycles of 570 ps rounded up to 1 ns.
    let preset = presets().into_iter().find(|p| p.names == ["GDDR6_8Gb_x16", "GDDR6_14000_1350mV_double"]).unwrap();
    for timing in ["nCL", "nCWL", "nRAS", "nRTP", "nRRDS", "nRRDL", "nFAW", "nWTRS", "nWTRL", "nRREFD"] {
        let reference = preset.timings.iter().find(|(n, _)| *n == timing).unwrap().1;
        assert_eq!(cycles(&d, timing), Some((reference * preset.clock_ps).div_ceil(1000)), "{timing}");
    }
    assert_eq!((d.clock_fs, d.banks, d.rows, d.columns, d.access_bytes), (1_000_000, 16, 16_384, 64, 32));
    let raw = catalog::resolved("gddr6-pim-gpt").unwrap();
    for (name, ma) in
        [("IDD0", 122.0), ("IDD2N", 92.0), ("IDD3N", 142.0), ("IDD4R", 530.0), ("IDD4W", 470.0), ("IDD5B", 277.0)]
    {
        assert!((raw.currents_ma[name] - ma).abs() < 1e-9, "{name}");
    }
    for (name, value) in [("mac_units_mw", 149.29), ("global_buffer_bytes", 2048.0), ("bank_share", 0.164)] {
        assert!((raw.parameters[name] - value).abs() < 1e-9, "{name}");
    }
}

/// What a controller does that is given no policies of its own.
#[test]
fn the_controllers_named_on_the_command_line_are_these() {
    let default = ControllerConfig::load("default").unwrap();
    assert_eq!(default, ControllerConfig::default());
    assert_eq!((default.scheduler, default.row_hit_cap), (Scheduler::RowHitsFirst, Some(16)));
    let reference = ControllerConfig::load("reference").unwrap();
    assert_eq!((reference.scheduler, reference.row_hit_cap), (Scheduler::FrFcfs, None));
    let empty = ControllerConfig::from_source(&Source::from_text("c.toml", "")).unwrap();
    assert_eq!(empty, default);
    let queues = |c: &ControllerConfig| (c.refresh, c.read_queue, c.write_queue);
    assert_eq!(queues(&reference), (RefreshPolicy::AllBank, 32, 32));
    assert_eq!(queues(&default), (RefreshPolicy::Device, 0, 0));
    for c in [default, reference] {
        assert_eq!((c.page, c.page_timeout), (PagePolicy::Open, 200));
        assert_eq!((c.postpone, c.sleep), (0, Sleep::NEVER));
        assert!((c.drain_high - 0.8).abs() < 1e-6 && (c.drain_low - 0.2).abs() < 1e-6);
    }
}

/// Every device of the catalog keeps to its pins, and files that do not are told where.
#[test]
fn accesses_keep_to_the_pins() {
    use banksia_hw::dram::lint::check_pins;
    for name in catalog::names() {
        let source = catalog::open(name, None).unwrap();
        check_pins(&source, &catalog::load(name).unwrap()).unwrap_or_else(|e| panic!("{e}"));
    }
    for (base, changes, expected) in [
        ("ddr4-2400r", "[timing_cycles]\nnBL = 1", "made.toml:5: `timing_cycles.nBL` lasts"),
        ("ddr4-2400r", "[organization]\ndata_pins = 8", "nBL"),
        ("ddr4-2400r", "[organization]\naccess_bytes = 4096", "nBL"),
        ("hbm3-6400", "[organization]\npin_gbps = 0.5", "nBL"),
    ] {
        let text = format!("name = \"made\"\nsource = \"a test of the pins\"\nbase = \"{base}\"\n{changes}\n");
        let source = Source::from_text("made.toml", text);
        let error = check_pins(&source, &catalog::load_source(&source).unwrap()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("pins need"), "{base} {changes}: {error}");
    }
    // Bursts as long as they must be, and accesses that do not wait for them.
    let text = include_str!("../catalog/dram/hbm2-pim.toml").replace("nCCDS = 2", "nCCDS = 1");
    let source = Source::from_text("made.toml", text);
    let error = check_pins(&source, &catalog::load_source(&source).unwrap()).unwrap_err().to_string();
    assert!(error.contains("let `RD` follow `RD` after 1000 ps, and the pins need 2000 ps"), "{error}");
}
