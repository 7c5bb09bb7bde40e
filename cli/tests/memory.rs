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

/// Every command with its clock, on the channels that are asked for; and where the energy went.
#[test]
fn pim_writes_commands_and_says_where_energy_went() {
    let file = std::env::temp_dir().join(format!("banksia-pim-commands-{}.csv", std::process::id()));
    for (device, channels) in [("gddr6-aim", 3), ("hbm2-pim", 5), ("hbm3-attacc", 2)] {
        let words = format!(
            "banksia pim --device {device} --gemv 300x700 --channels {channels} --commands {} --format json",
            file.display()
        );
        let report = output(&words).unwrap();
        assert_eq!(report["channels"], channels, "{device}");
        let csv = std::fs::read_to_string(&file).unwrap();
        let mut lines = csv.lines();
        let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!((columns[0], columns[1], columns[2]), ("clock", "command", "Channel"), "{device}");
        assert_eq!(columns[columns.len() - 2..], ["Row", "Column"], "{device}");
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        let mut last = (0, 0.0);
        for line in lines {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields.len(), columns.len(), "{line}");
            *counts.entry(fields[1].to_owned()).or_default() += 1;
            let at = (fields[2].parse::<u32>().unwrap(), fields[0].parse::<f64>().unwrap());
            assert!(at.0 < channels && at > last || last == (0, 0.0), "{device}: {line} after {last:?}");
            last = at;
        }
        let said: std::collections::BTreeMap<String, u64> = serde_json::from_value(report["commands"].clone()).unwrap();
        assert_eq!(counts, said, "{device}");
        let sum = |key: &str| report[key].as_array().unwrap().iter().filter_map(serde_json::Value::as_f64).sum::<f64>();
        let total = report["energy_total_j"].as_f64().unwrap();
        assert_eq!(report["energy_by_channel_j"].as_array().unwrap().len() as u64, u64::from(channels));
        assert!((sum("energy_by_channel_j") / total - 1.0).abs() < 1e-9, "{device}");
        let outside = report["energy_outside_banks_j"].as_f64().unwrap();
        assert!(((sum("energy_by_bank_j") + outside) / total - 1.0).abs() < 1e-9, "{device}");
        assert!(report["energy_unknown"].as_array().unwrap().contains(&"background".into()), "{device}");
        // Keeping the commands changes nothing.
        let plain = output(&words.replace(&format!("--commands {} ", file.display()), "")).unwrap();
        assert_eq!(plain, report, "{device}");
    }
    std::fs::remove_file(&file).unwrap();
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
        ("banksia pim --device hbm2-pim --gemv 8x8 --channels 0", "must be from 1 to 1024"),
        ("banksia pim --device gddr6-aim --gemv 8x8 --channels 65537", "must be from 1 to 65536"),
        ("banksia pim --device gddr6-aim --gemv 8x8 --commands /no/such/folder/file.csv", "--commands"),
    ] {
        let error = output(words).unwrap_err();
        assert!(error.contains(expected), "{words}: {error}");
    }
}
