//! `banksia memory` and `banksia pim` as a user calls them: the JSON interface, and mistakes.
#![allow(clippy::unwrap_used, clippy::panic)]

use banksia::args::{Cli, Command};
use clap::Parser;

fn output(words: &str) -> Result<serde_json::Value, String> {
    let cli = Cli::try_parse_from(words.split(' ')).map_err(|e| e.to_string())?;
    let text = match &cli.command {
        Command::Memory(args) => banksia::memory::output(args),
        Command::Pim(args) => banksia::pim::output(args),
        other => panic!("{other:?}"),
    };
    text.map(|t| serde_json::from_str(&t).unwrap()).map_err(|e| e.to_string())
}

#[test]
fn memory_json_has_its_names_and_adds_up() {
    let report = output("banksia memory --device ddr4-2400r --generate mix --requests 3000 --format json").unwrap();
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key} is missing"));
    for key in ["cycles", "clock_ps", "read_latency_avg_cycles", "bandwidth_bytes_per_s", "peak_bandwidth_bytes_per_s"]
    {
        assert!(number(key) > 0.0, "{key}");
    }
    assert_eq!(report["device"], "ddr4-2400r");
    assert!((number("reads") + number("writes") - 3000.0).abs() < 0.5);
    let found = number("row_hits") + number("row_misses") + number("row_conflicts");
    assert!((found + number("forwarded_reads") + number("absorbed_writes") - 3000.0).abs() < 0.5);
    assert!(report["commands"]["ACT"].as_u64().unwrap() > 0);
    let parts: f64 = report["energy_j"].as_object().unwrap().values().filter_map(serde_json::Value::as_f64).sum();
    assert!((parts - number("energy_total_j")).abs() < 1e-12);
}

/// No standby current is given for LPDDR5: its background energy is unknown, not nothing. Writes that were not issued cost nothing.
#[test]
fn energy_that_is_not_known_is_said_to_be_so() {
    let work = "--generate random --requests 500";
    let report = output(&format!("banksia memory --device lpddr5-6400 {work} --format json")).unwrap();
    assert!(report["energy_j"]["background"].is_null(), "{}", report["energy_j"]);
    assert_eq!(report["energy_j"]["write"].as_f64(), Some(0.0));
    let report = output(&format!("banksia memory --device ddr4-2400r {work} --format json")).unwrap();
    assert!(report["energy_j"]["background"].as_f64().unwrap() > 0.0);
    let report = output("banksia pim --device gddr6-aim --gemv 512x1024 --format json").unwrap();
    assert!(report["energy_j"]["background"].is_null() && report["energy_j"]["io"].as_f64().unwrap() > 0.0);
}

#[test]
fn pim_json_has_its_names() {
    let report = output("banksia pim --device gddr6-aim --gemv 512x1024 --refresh off --format json").unwrap();
    assert_eq!((&report["device"], &report["cycles"]), (&"gddr6-aim".into(), &414.into()));
    assert!((report["clock_ps"].as_f64().unwrap() - 500.0).abs() < 1e-9);
    assert_eq!(report["commands"]["MAC16"], 64 * 32);
    let report = output("banksia pim --device hbm2-pim --gemv 1024x1024 --format json").unwrap();
    assert!((report["cycles"].as_f64().unwrap() / 3662.0 - 1.0).abs() < 0.02);
}

#[test]
fn mistakes_say_what_would_be_right() {
    for (words, expected) in [
        ("banksia memory --device ddr4-2400 --generate random", "ddr4-2400"),
        ("banksia memory --device ddr4-2400r --generate randm", "random"),
        ("banksia memory --device ddr4-2400r --generate random --controller fast", "reference"),
        ("banksia memory --device ddr4-2400r --generate random --channels 1025", "from 1 to 1024"),
        ("banksia memory --device ddr4-2400r --trace /no/such/file", "cannot be read"),
        ("banksia memory --device ddr4-2400r", "--trace"),
        ("banksia pim --device ddr4-2400r --gemv 8x8", "instruction set"),
        ("banksia pim --device gddr6-aim --gemv 8by8", "outputs x inputs"),
        ("banksia pim --device hbm2-pim --trace x", "--gemv"),
    ] {
        let error = output(words).unwrap_err();
        assert!(error.contains(expected), "{words}: {error}");
    }
}
