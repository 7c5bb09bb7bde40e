//! Traces: every form of a line, gzip, blocks, channels, and mistakes that name their line.
#![allow(clippy::unwrap_used)]

use std::io::{BufReader, Write};

use banksia_hw::dram::catalog;
use banksia_hw::dram::controller::{ControllerConfig, Request};
use banksia_hw::dram::memory::{Generator, MemoryOptions, MemoryReport, RequestSource, TraceReader, Traffic, run};

fn read(text: &str) -> Result<Vec<Request>, String> {
    let input = BufReader::with_capacity(7, std::io::Cursor::new(text.as_bytes().to_vec()));
    let mut reader = TraceReader::new("t.txt", Box::new(input), 64);
    let mut out = Vec::new();
    while reader.fill(&mut out, 3).map_err(|e| e.to_string())? {}
    Ok(out)
}

fn options(channels: u32) -> MemoryOptions {
    MemoryOptions { channels, controller: ControllerConfig::reference(), outstanding: None, exact_stepping: false }
}

#[test]
fn every_form_of_a_line_is_read() {
    let got = read("R 5\n# a comment\n\n  W 0x100 # bytes\n12 R 7\r\n13 W 0X40\nR 18446744073709551615").unwrap();
    let plain: Vec<(bool, u64, u64, u64)> = got.iter().map(|r| (r.write, r.index, r.arrival, r.sequence)).collect();
    assert_eq!(
        plain,
        [(false, 5, 0, 0), (true, 4, 0, 1), (false, 7, 12, 2), (true, 1, 13, 3), (false, u64::MAX, 13, 4)]
    );
}

#[test]
fn mistakes_name_their_line() {
    for (text, expected) in [
        ("R 1\nX 2\n", "t.txt:2: has `X`"),
        ("R\n", "t.txt:1: ends where"),
        ("R 1\nR 1\nR 0xfg\n", "t.txt:3: has the address `0xfg`"),
        ("5\n", "t.txt:1: ends after the cycle"),
        ("R 18446744073709551616\n", "t.txt:1: has the address"),
        ("R 1 2\n", "t.txt:1: goes on with `2`"),
        ("5x R 1\n", "t.txt:1: has the cycle"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn gzip_is_read_as_what_it_holds() {
    let text: String =
        (0..5000u64).map(|i| format!("{} {}\n", if i % 3 == 0 { "W" } else { "R" }, i * 7919 % 65_536)).collect();
    let folder = std::env::temp_dir();
    let plain = folder.join(format!("banksia-trace-{}.txt", std::process::id()));
    let packed = folder.join(format!("banksia-trace-{}.txt.gz", std::process::id()));
    std::fs::write(&plain, &text).unwrap();
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let device = catalog::load("ddr4-2400r").unwrap();
    let result = |path: &std::path::Path| -> MemoryReport {
        run(&device, &mut TraceReader::open(path, device.access_bytes).unwrap(), &options(1)).unwrap()
    };
    let (a, b) = (result(&plain), result(&packed));
    std::fs::remove_file(&plain).unwrap();
    std::fs::remove_file(&packed).unwrap();
    assert_eq!(a, b);
    assert_eq!((a.requests, a.writes), (5000, 1667));
}

/// Sixteen channels carry sixteen times the requests in the same time, and every part adds up over them.
#[test]
fn channels_share_nothing() {
    let device = catalog::load("hbm3-6400").unwrap();
    let of = |channels: u32| {
        let span = device.capacity_bytes() / 32 * u64::from(channels);
        run(&device, &mut Generator::new(Traffic::Random, 4000 * u64::from(channels), span, 1), &options(channels))
            .unwrap()
    };
    let (one, sixteen) = (of(1), of(16));
    assert_eq!(sixteen.requests, 64_000);
    assert_eq!(sixteen.row_hits + sixteen.row_misses + sixteen.row_conflicts + sixteen.forwarded_reads, 64_000);
    assert!((sixteen.bandwidth_bytes_per_s / one.bandwidth_bytes_per_s - 16.0).abs() < 1.0);
    let peaks = sixteen.peak_bandwidth_bytes_per_s / one.peak_bandwidth_bytes_per_s;
    assert!((peaks - 16.0).abs() < 1e-9, "{peaks}");
}

/// Random reads without refresh are bound by four activations in tFAW; a chase by one access after the other.
#[test]
fn closed_forms_hold() {
    let device = catalog::load("ddr4-2400r").unwrap();
    let mut quiet = options(1);
    quiet.controller.refresh = banksia_hw::dram::controller::RefreshPolicy::Off;
    let span = device.capacity_bytes() / 64;
    let random = run(&device, &mut Generator::new(Traffic::Random, 200_000, span, 3), &quiet).unwrap();
    assert!((random.cycles as f64 / 200_000.0 - 6.5).abs() < 0.005, "{}", random.cycles);
    // Every access to another row of one bank: precharge, activate, read, burst, and the cycle of the offer.
    let rows = 1u64 << 11;
    quiet.outstanding = Some(1);
    let chase = run(&device, &mut Generator::new(Traffic::Strided, 1000, span, 1).stride(rows), &quiet).unwrap();
    let per = (chase.cycles as f64 / 1000.0).round() as u64;
    let t = |name: &str| device.timing(name).unwrap() as u64;
    assert_eq!(per, (t("nRP") + t("nRCD") + t("nCL") + t("nBL") + 1).max(t("nRC")));
}
