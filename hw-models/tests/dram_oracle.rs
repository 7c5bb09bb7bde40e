//! The reference controller against every oracle of `tests/reference/dram`: cycles, latencies, each request's acceptance and
//! completion, and every command, tick for tick.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use banksia_hw::dram::catalog;
use banksia_hw::dram::controller::{Controller, ControllerConfig, ControllerOptions, Keep, RefreshPolicy, Request};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/dram")
}

/// The catalog's name of a device of the oracle.
fn device_name(name: &str) -> String {
    match name {
        "GDDR6_14000_1350mV_double" => "gddr6-14000-1350mv".into(),
        "HBM1_2Gbps" => "hbm1-2000".into(),
        other => other.to_lowercase().replace('_', "-"),
    }
}

fn trace(name: &str, ticks_per_clock: u64) -> Vec<Request> {
    let text = fs::read_to_string(folder().join("traces").join(format!("{name}.txt"))).unwrap();
    let request = |(i, line): (usize, &str)| {
        let words: Vec<&str> = line.split(' ').collect();
        let (arrival, words) =
            if words.len() == 3 { (words[0].parse().unwrap(), &words[1..]) } else { (0, &words[..]) };
        Request {
            write: words[0] == "W",
            index: words[1].parse().unwrap(),
            arrival: arrival * ticks_per_clock,
            sequence: i as u64,
        }
    };
    text.lines().enumerate().map(request).collect()
}

fn fnv(hash: &mut u64, bytes: &[u8]) {
    for b in bytes {
        *hash = (*hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3);
    }
}

struct Row {
    device: String,
    trace: String,
    outstanding: Option<usize>,
    refresh: bool,
    expected: [String; 5],
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(folder().join("oracle.csv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let f: Vec<&str> = line.split(',').collect();
            Row {
                device: device_name(f[0]),
                trace: f[1].into(),
                outstanding: Some(f[2].parse::<usize>().unwrap()).filter(|n| *n > 0),
                refresh: f[3] == "on",
                expected: [f[6], f[5], f[7], f[8], f[9]].map(String::from),
            }
        })
        .collect()
}

/// Cycles, reads, latency sum, and the hashes of completions and commands.
fn run(row: &Row, exact_stepping: bool) -> [String; 5] {
    let device = catalog::load(&row.device).unwrap();
    let mut config = ControllerConfig::reference();
    if !row.refresh {
        config.refresh = RefreshPolicy::Off;
    }
    let options = ControllerOptions { config, channels: 1, outstanding: row.outstanding, exact_stepping };
    let requests = trace(&row.trace, u64::from(device.ticks_per_clock));
    let mut controller = Controller::new(&device, &options, Keep::default()).unwrap();
    controller.advance(&requests, true);
    let stats = controller.statistics().clone();
    let keep = std::mem::take(controller.recorder());
    let mut done = keep.completions;
    done.sort_by_key(|c| c.sequence);
    let (mut completions, mut commands) = (0xcbf2_9ce4_8422_2325, 0xcbf2_9ce4_8422_2325);
    for c in &done {
        fnv(&mut completions, &c.sent.to_le_bytes());
        fnv(&mut completions, &c.done.to_le_bytes());
    }
    for c in &keep.commands {
        fnv(&mut commands, format!("{},{}\n", c.clock, device.spec(c.command).name).as_bytes());
    }
    [
        stats.ticks.to_string(),
        stats.reads.to_string(),
        stats.read_latency.to_string(),
        format!("{completions:016x}"),
        format!("{commands:016x}"),
    ]
}

#[test]
fn every_oracle_is_met_exactly() {
    let mut wrong = Vec::new();
    for row in rows() {
        let got = run(&row, false);
        if got != row.expected {
            wrong.push(format!(
                "{} {} {:?} {}: {got:?} not {:?}",
                row.device, row.trace, row.outstanding, row.refresh, row.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn stepping_meets_the_oracles_too() {
    for row in rows().iter().filter(|r| r.trace.ends_with("1k") || r.trace == "sparse2k") {
        assert_eq!(run(row, true), row.expected, "{} {}", row.device, row.trace);
    }
}

/// The CSV files are those of the reference, line for line: completions whole, commands with their addresses.
#[test]
fn csv_files_are_the_references() {
    use banksia_hw::dram::memory::{CsvSink, MemoryOptions, TraceReader, run_logged};
    for (name, label) in [
        ("ddr4-2400r-2rank", "DDR4_2400R_2rank"),
        ("ddr5-4800an", "DDR5_4800AN"),
        ("lpddr5-6400", "LPDDR5_6400"),
        ("gddr6-14000-1350mv", "GDDR6_14000_1350mV_double"),
        ("hbm2-2000", "HBM2_2000"),
    ] {
        let device = catalog::load(name).unwrap();
        let options = MemoryOptions {
            channels: 1,
            controller: ControllerConfig::reference(),
            outstanding: None,
            exact_stepping: false,
        };
        let mut trace = TraceReader::open(&folder().join("traces/mix1k.txt"), device.access_bytes).unwrap();
        let (mut commands, mut completions) = (Vec::new(), Vec::new());
        let sink = CsvSink { commands: Some(&mut commands), completions: Some(&mut completions) };
        run_logged(&device, &mut trace, &options, sink).unwrap();
        let expected = |kind: &str| fs::read_to_string(folder().join(format!("{kind}_{label}.mix1k.csv"))).unwrap();
        assert!(String::from_utf8(completions).unwrap() == expected("completions"), "{name}: completions");
        assert!(String::from_utf8(commands).unwrap() == expected("commands"), "{name}: commands");
    }
}
