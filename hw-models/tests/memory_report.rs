//! What a memory reports, against closed forms: times, latencies, energies, made traffic; and what it refuses.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use banksia_hw::dram::controller::{ControllerConfig, PagePolicy, RefreshPolicy, Request, Sleep};
use banksia_hw::dram::memory::{
    CsvSink, Generator, MemoryOptions, MemoryReport, RequestSource, TraceReader, Traffic, run, run_logged,
};
use banksia_hw::dram::{Device, catalog};
use banksia_input::Source;

fn options(channels: u32, controller: ControllerConfig) -> MemoryOptions {
    MemoryOptions { channels, controller, outstanding: None, exact_stepping: false }
}

/// The reference's policies, without refresh.
fn quiet() -> ControllerConfig {
    ControllerConfig { refresh: RefreshPolicy::Off, ..ControllerConfig::reference() }
}

fn reader(text: &'static str, device: &Device) -> TraceReader {
    TraceReader::new("t.txt", Box::new(text.as_bytes()), device.access_bytes)
}

fn trace(text: &'static str, device: &Arc<Device>, options: &MemoryOptions) -> MemoryReport {
    run(device, &mut reader(text, device), options).unwrap()
}

fn close(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within * b.abs(), "{a} is not {b}");
}

/// A read of a closed bank of DDR4-2400R: accepted in cycle 0, ACT at clock 1, RD nRCD 16 later, data nCL 16 and nBL 4 later; the last
/// of it comes in cycle 36, the 37th, of 833 ps each.
#[test]
fn a_lone_read_by_hand() {
    let device = catalog::load("ddr4-2400r").unwrap();
    let r = trace("R 0\n", &device, &options(1, quiet()));
    assert_eq!((r.requests, r.reads, r.writes, r.cycles), (1, 1, 0, 37));
    close(r.clock_ps, 833.0, 1e-12);
    close(r.latency_s, 37.0 * 0.833e-9, 1e-12);
    close(r.read_latency_avg_cycles.unwrap(), 36.0, 1e-12);
    close(r.read_latency_max_cycles.unwrap(), 36.0, 1e-12);
    close(r.read_queueing_avg_cycles.unwrap(), 16.0, 1e-12);
    close(r.read_device_avg_cycles.unwrap(), 20.0, 1e-12);
    close(r.read_latency_avg_ns.unwrap(), 36.0 * 0.833, 1e-12);
    close(r.bandwidth_bytes_per_s, 64.0 / (37.0 * 0.833e-9), 1e-12);
    close(r.peak_bandwidth_bytes_per_s, 64.0 * 2.4e9 / 8.0, 1e-12);
}

/// Writes alone have no latency of reads: not one of nothing.
#[test]
fn writes_alone_have_no_latency_of_reads() {
    let device = catalog::load("ddr4-2400r").unwrap();
    let r = trace("W 0\nW 1\n", &device, &options(1, quiet()));
    assert_eq!((r.reads, r.writes), (0, 2));
    let reads = [r.read_latency_avg_cycles, r.read_queueing_avg_cycles, r.read_device_avg_cycles];
    assert_eq!((reads, r.read_latency_max_cycles, r.read_latency_avg_ns), ([None; 3], None, None));
}

/// A row that stays open for 100,000 cycles of DDR4-2400R, awake and in each kind of sleep: IDD3N 43, IDD3P 37, IDD2P 25, IDD6 30 and
/// IDD2N 34 mA, at 1.2 V in eight chips, for 833 ps each.
#[test]
fn background_energy_is_that_of_the_state() {
    let device = catalog::load("ddr4-2400r").unwrap();
    let power_down = Sleep { power_down: Some(20), ..Sleep::NEVER };
    let self_refresh = Sleep { self_refresh: Some(20), ..Sleep::NEVER };
    let closed = ControllerConfig { page: PagePolicy::Closed, ..quiet() };
    for (config, ma) in [
        (quiet(), 43.0),
        (closed.clone(), 34.0),
        (ControllerConfig { sleep: power_down, ..quiet() }, 37.0),
        (ControllerConfig { sleep: power_down, ..closed }, 25.0),
        (ControllerConfig { sleep: self_refresh, ..quiet() }, 30.0),
    ] {
        let r = trace("R 0\n100000 R 1\n", &device, &options(1, config.clone()));
        close(r.energy_j["background"], ma * 1.2 * 0.833 * 8.0 * 100_000.0 * 1e-12, 0.01);
        assert!((r.energy_total_j - r.energy_j.values().sum::<f64>()).abs() < 1e-15);
    }
}

/// A clock of two ticks: an HBM3 with currents, one row open in one of its two pseudo-channels, 625 ps at 1.1 V.
#[test]
fn background_energy_of_half_clocks() {
    let text = "name = \"made\"\nsource = \"a test of the energy\"\nbase = \"hbm3-6400\"\n[energy]\nvdd_v = 1.1\n\
                active_standby_ma = \"50\"\nprecharge_standby_ma = \"40\"\n";
    let device = catalog::load_source(&Source::from_text("made.toml", text)).unwrap();
    let r = trace("R 0\n100000 R 1\n", &device, &options(1, quiet()));
    assert!((100_000..100_100).contains(&r.cycles));
    close(r.energy_j["background"], (50.0 + 40.0) * 1.1 * 0.625 * 100_000.0 * 1e-12, 0.005);
}

/// Arrivals are in cycles of the command clock, on one channel and on several, whether a clock has one tick or two.
#[test]
fn arrivals_are_cycles_of_the_command_clock() {
    for name in ["ddr4-2400r", "hbm3-6400", "hbm4-8000"] {
        let device = catalog::load(name).unwrap();
        for channels in [1, 2, 8] {
            let r = trace("1000 R 0\n5000 R 1\n", &device, &options(channels, quiet()));
            assert!((5000..5200).contains(&r.cycles), "{name} {channels}: {}", r.cycles);
            let mut made = Generator::new(Traffic::Random, 101, 1 << 16, 1).interval(250.0);
            let r = run(&device, &mut made, &options(channels, quiet())).unwrap();
            assert!((25_000..25_200).contains(&r.cycles), "{name} {channels}: {}", r.cycles);
        }
    }
}

/// A third of `mix` writes, none of the others, and any share that is asked for.
#[test]
fn made_traffic_has_its_share_of_writes() {
    for (traffic, share, expected) in [
        (Traffic::Mix, None, 1.0 / 3.0),
        (Traffic::Random, None, 0.0),
        (Traffic::Stream, None, 0.0),
        (Traffic::Random, Some(0.25), 0.25),
        (Traffic::Mix, Some(1.0), 1.0),
    ] {
        let mut made = Generator::new(traffic, 30_000, 1 << 20, 7);
        if let Some(share) = share {
            made = made.write_share(share);
        }
        let mut requests: Vec<Request> = Vec::new();
        while made.fill(&mut requests, 1 << 12).unwrap() {}
        let writes = requests.iter().filter(|r| r.write).count() as f64 / 30_000.0;
        assert!((writes - expected).abs() < 0.01, "{traffic:?} {share:?}: {writes}");
    }
}

/// Addresses end where the memory does, in every form of a line, and grow with the channels.
#[test]
fn what_lies_beyond_the_memory_is_refused() {
    let device = catalog::load("ddr4-2400r").unwrap();
    let transactions = device.capacity_bytes() / 64;
    assert_eq!(transactions, 1 << 27);
    let read = |text: &'static str, channels: u64| {
        let mut requests = Vec::new();
        let mut reader = reader(text, &device).within(transactions * channels, 1_000_000);
        reader.fill(&mut requests, 100).map(|_| requests.len()).map_err(|e| e.to_string())
    };
    assert_eq!(read("R 134217727\nW 0x1ffffffff\n1000000 R 0\n", 1), Ok(3));
    assert_eq!(read("R 134217728\n", 2), Ok(1));
    for (text, line, what) in [
        ("R 0\nR 134217728\n", "t.txt:2", "beyond the memory's 8589934592 bytes"),
        ("R 0\n\nW 0x200000000\n", "t.txt:3", "0x200000000"),
        ("5 R 99999999999999999\n", "t.txt:1", "99999999999999999"),
        ("R 18446744073709551615", "t.txt:1", "18446744073709551615"),
        ("1000001 R 0\n", "t.txt:1", "1000001"),
    ] {
        let error = read(text, 1).unwrap_err();
        assert!(error.contains(line) && error.contains(what), "{text}: {error}");
    }
}

/// Time is counted as far as it can be: late arrivals are over at once up to there, and refused beyond, also of made requests.
#[test]
fn late_arrivals_end_at_once_or_are_refused() {
    let begun = std::time::Instant::now();
    let device = catalog::load("ddr4-3200aa").unwrap();
    let opts = options(1, ControllerConfig::default());
    let r = trace("R 0\n1000000000000000000 R 1\n", &device, &opts);
    assert_eq!(r.cycles / 1_000_000_000, 1_000_000_000);
    let refreshes = device.refresh.unwrap().interval;
    assert!(r.commands["REFab"].abs_diff(r.cycles / refreshes) <= 1);
    assert_eq!(r.requests, 2);
    for (name, channels) in [("hbm3-6400", 64), ("hbm4-8000", 1024), ("ddr4-2400r-2rank", 16)] {
        let device = catalog::load(name).unwrap();
        let opts = options(channels, ControllerConfig::default());
        let latest = opts.latest_arrival(&device, false);
        let at = |arrival| {
            let interval = arrival as f64;
            run(&device, &mut Generator::new(Traffic::Stream, 2, 1 << 20, 1).interval(interval), &opts)
        };
        assert!(latest > 1 << 48 && at(latest / 2).unwrap().energy_total_j.is_finite());
        let error = at(latest * 2).unwrap_err().to_string();
        assert!(error.contains("request 1") && error.contains(&latest.to_string()), "{error}");
    }
    // Every tick, or every command of an idle channel: as far as one would wait for.
    assert_eq!(MemoryOptions { exact_stepping: true, ..opts.clone() }.latest_arrival(&device, false), 1_000_000_000);
    assert_eq!(opts.latest_arrival(&device, true), 10_000_000_000);
    assert!(begun.elapsed().as_secs() < 20);
}

/// A log of completions alone skips what a log of commands goes through; both say the same of the requests.
#[test]
fn logs_of_idle_time() {
    let device = catalog::load("ddr4-2400r").unwrap();
    let opts = options(1, ControllerConfig::default());
    let text = "R 0\n3000000 R 1\n3000000 W 2\n6000000 R 99999\n";
    let (mut commands, mut both, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    let sink = CsvSink { commands: Some(&mut commands), completions: Some(&mut both) };
    let a = run_logged(&device, &mut reader(text, &device), &opts, sink).unwrap();
    let sink = CsvSink { commands: None, completions: Some(&mut alone) };
    let b = run_logged(&device, &mut reader(text, &device), &opts, sink).unwrap();
    assert_eq!((a.clone(), both), (b, alone));
    assert_eq!(a, trace(text, &device, &opts));
    let refreshes = String::from_utf8(commands).unwrap().lines().filter(|l| l.contains(",REFab,")).count() as u64;
    assert_eq!(refreshes, a.commands["REFab"]);
}
