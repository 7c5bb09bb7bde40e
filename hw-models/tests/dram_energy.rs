//! Energy that can be compared: the word lines' rail, currents at another clock, what is assumed and what is not known.
#![allow(clippy::unwrap_used, clippy::panic)]

use banksia_hw::dram::{Device, catalog, shared_assumptions};
use banksia_input::Source;

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} is not {b}");
}

fn per(device: &Device, command: &str, part: &str) -> f64 {
    let p = device.energy.parts.iter().position(|p| p == part).unwrap_or_else(|| panic!("{part}"));
    device.energy.per_issue_pj[device.command(command).unwrap().0 as usize][p]
}

fn load(name: &str) -> std::sync::Arc<Device> {
    catalog::load(name).unwrap_or_else(|e| panic!("{e}"))
}

/// DDR4's VPP of 2.5 V by hand, eight chips: 3 mA always, as much in an activation, 48 in a refresh.
#[test]
fn the_word_lines_have_a_rail() {
    let d = load("ddr4-2400r");
    let unit = 2.5 * 0.833 * 8.0;
    close(per(&d, "REFab", "vpp"), 45.0 * 433.0 * unit);
    close(d.energy.vpp_pj_per_cycle, 3.0 * unit);
    // x16: 4 mA in an activation.
    close(per(&load("ddr4-2400r-x16"), "ACT", "vpp"), 55.0 * 2.5 * 0.833 * 4.0);
    let joules = d.energy.joules(&vec![0; d.commands.len()], 100, 50);
    close(joules["vpp"], 150.0 * 3.0 * unit * 1e-12);
    let mut parts = joules.clone();
    d.energy.add_asleep(&mut parts, 0, 0, 1000);
    close(parts["vpp"] - joules["vpp"], 1000.0 * 3.0 * unit * 1e-12);
    close(parts["background"] - joules["background"], 1000.0 * 30.0 * 1.2 * 0.833 * 8.0 * 1e-12);
    close(per(&load("ddr5-4800"), "REFab", "vpp"), 45.0 * 708.0 * 1.8 * 0.416667 * 4.0);
    // HBM2 has one, and nobody says what it draws.
    let hbm2 = load("hbm2-2000");
    assert!(hbm2.energy.unknown.contains(&"vpp".to_owned()));
    assert_eq!(hbm2.energy.known(&hbm2.energy.joules(&vec![1; hbm2.commands.len()], 1, 1))["vpp"], None);
}

/// A current holds at the clock that it was given for: at another a bit costs the same, and so does an activation of as many nanoseconds.
#[test]
fn a_bit_costs_the_same_at_every_clock() {
    let reads = ["ddr5-4800", "ddr5-5600", "ddr5-6400", "ddr5-8000"].map(|n| per(&load(n), "RD", "read"));
    for pj in reads {
        assert!((pj / reads[0] - 1.0).abs() < 1e-3, "{reads:?}");
    }
    let old = ["ddr5-3200an", "ddr5-4800an", "ddr5-6400an"].map(|n| per(&load(n), "RD", "read"));
    assert!(old.iter().all(|pj| (pj / reads[0] - 1.0).abs() < 5e-3), "{old:?}");
    let hbm2 = ["hbm2-1600", "hbm2-2000", "hbm2-2400", "hbm2e-3200", "hbm2e-3600"].map(|n| per(&load(n), "RD", "read"));
    assert!(hbm2.iter().all(|pj| (pj / hbm2[1] - 1.0).abs() < 5e-3), "{hbm2:?}");
    // So that an older generation with its whole current does not undercut a newer one.
    let bits = |name: &str| {
        let d = load(name);
        (per(&d, "RD", "read") + per(&d, "RD", "io")) / f64::from(d.access_bytes * 8)
    };
    assert!(bits("hbm2e-3600") > bits("hbm4-8000"), "{} and {}", bits("hbm2e-3600"), bits("hbm4-8000"));
    let marks = &load("ddr5-6400").energy.assumed;
    assert!(
        marks.iter().any(|a| a.figure == "IDD4R" && (a.value - 318.0).abs() < 1e-9 && a.of.contains("scaled")),
        "{marks:?}"
    );
    assert!(!load("ddr5-4800").energy.assumed.iter().any(|a| a.of.contains("scaled")));
}

/// The rule against what it was not made from: DDR4-2400's currents at 3200's clock, and 3200's own.
#[test]
fn scaled_currents_meet_those_of_the_other_grade() {
    let text = "name = \"made\"\nsource = \"a test of the rule\"\nbase = \"ddr4-2400r\"\nclock_ps = 625\n[organization]\npin_gbps = 3.2\n";
    let scaled = catalog::load_source(&Source::from_text("made.toml", text)).unwrap();
    let own = load("ddr4-3200aa");
    let pairs = [
        (scaled.energy.active_pj_per_cycle, own.energy.active_pj_per_cycle),
        (scaled.energy.precharged_pj_per_cycle, own.energy.precharged_pj_per_cycle),
        (scaled.energy.active_power_down_pj_per_cycle, own.energy.active_power_down_pj_per_cycle),
        (per(&scaled, "RD", "read"), per(&own, "RD", "read")),
        (per(&scaled, "WR", "write"), per(&own, "WR", "write")),
    ];
    for (a, b) in pairs {
        assert!((a / b - 1.0).abs() < 0.1, "{pairs:?}");
    }
    assert!(scaled.energy.assumed.iter().any(|a| a.figure == "IDD3N"));
    // A file that gives its own currents gives them at its own clock.
    let text = format!("{text}[currents_ma]\nIDD2N = 37.0\nIDD3N = 52.0\nIDD4R = 168.0\nIDD4W = 150.0\n");
    let given = catalog::load_source(&Source::from_text("made.toml", text)).unwrap();
    close(given.energy.active_pj_per_cycle, own.energy.active_pj_per_cycle);
    close(per(&given, "RD", "read"), per(&own, "RD", "read"));
    assert!(!given.energy.assumed.iter().any(|a| a.of.contains("scaled")));
}

/// A part that nobody gives is unknown, asleep and awake.
#[test]
fn what_is_not_known_is_said() {
    for name in ["hbm3-6400", "hbm3e-8000", "hbm4-8000", "lpddr5-6400"] {
        let e = &load(name).energy;
        assert!(e.unknown.contains(&"background".to_owned()), "{name}");
        assert_eq!(e.unknown_asleep, ["power-down", "self-refresh"], "{name}");
    }
    assert!(load("ddr4-2400r").energy.unknown_asleep.is_empty());
    let hbm3 = &load("hbm3-6400").energy;
    assert_eq!(hbm3.unknown_in(0, 0), ["background"]);
    assert_eq!(hbm3.unknown_in(0, 9), ["background", "self-refresh"]);
    assert_eq!(hbm3.unknown_in(9, 9), ["background", "power-down", "self-refresh"]);
    let text =
        "name = \"made\"\nsource = \"a test of parts\"\nbase = \"ddr4-2400r\"\n[energy]\nunknown = [\"register\"]\n";
    let made = catalog::load_source(&Source::from_text("made.toml", text)).unwrap();
    assert!(made.energy.unknown.contains(&"register".to_owned()));
}

/// What one device takes over from another is marked, and a comparison of the two is told.
#[test]
fn comparisons_know_what_they_share() {
    let [hbm3, hbm3e, hbm4] = ["hbm3-6400", "hbm3e-8000", "hbm4-8000"].map(load);
    assert!(hbm3.energy.assumed.is_empty(), "AttAcc gives HBM3's");
    for d in [&hbm3e, &hbm4] {
        let io = d.energy.assumed.iter().find(|a| a.figure == "io_pj_per_bit").unwrap();
        assert_eq!((io.part.as_str(), io.of.as_str()), ("io", "hbm3-6400"));
        close(io.value, 0.8);
    }
    let shared = shared_assumptions(&[&hbm3, &hbm4]);
    let figures: Vec<&str> = shared.iter().map(|s| s.figure.as_str()).collect();
    assert_eq!(figures, ["activate_pj_per_bit", "access_pj_per_bit", "io_pj_per_bit"]);
    assert!(shared.iter().all(|s| s.devices == ["hbm3-6400", "hbm4-8000"]));
    assert_eq!(shared_assumptions(&[&hbm3, &hbm3e, &hbm4])[0].devices.len(), 3);
    let [a, b] = ["ddr4-2400r", "gddr6-14000-1350mv"].map(load);
    assert!(shared_assumptions(&[&a, &b]).is_empty() && shared_assumptions(&[&a]).is_empty());
    assert!(shared_assumptions(&[&load("ddr5-4800"), &load("ddr5-6400")]).iter().any(|s| s.figure == "IDD4R"));
    // A file that gives the figure itself no longer assumes it.
    let text =
        "name = \"made\"\nsource = \"a test of marks\"\nbase = \"hbm4-8000\"\n[parameters]\nio_pj_per_bit = 0.6\n";
    let made = catalog::load_source(&Source::from_text("made.toml", text)).unwrap();
    assert!(!made.energy.assumed.iter().any(|a| a.figure == "io_pj_per_bit"));
    let text = "name = \"made\"\nsource = \"a test of marks\"\nbase = \"ddr4-2400r\"\n[energy]\nassumed = [{ part = \"read\", figure = \"IDD9\", of = \"x\" }]\n";
    let error = catalog::load_source(&Source::from_text("made.toml", text)).unwrap_err().to_string();
    assert!(error.contains("IDD9") && error.contains("made.toml:5"), "{error}");
}
