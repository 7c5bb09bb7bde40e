//! Latency of lines and of tiles from memory (`tests/reference/gpu/device_lines.csv`, `device_tiles.csv`): where the H200's latencies come from,
//! and copies of tiles by the machine beside those of the chip.
#![allow(clippy::unwrap_used)] // a failed set-up is a failed test

use banksia_hw::gpu::{CacheState, Gpu, LaunchOptions, device};
use banksia_mappers::gpu::probes::row_tiles;

fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().filter(|l| !l.starts_with('#')).skip(1).map(|l| l.split(',').collect()).collect()
}

/// The catalog has the medians, over SMs and chips, of the means of lines read again and first, and the peaks of those from memory.
#[test]
fn latencies_are_what_was_measured() {
    let spec = device("h200").unwrap();
    let all = rows(include_str!("../../tests/reference/gpu/device_lines.csv"));
    let median = |what: &str, column: usize| {
        let mut v: Vec<f64> = all.iter().filter(|r| r[3] == what).map(|r| r[column].parse().unwrap()).collect();
        v.sort_by(f64::total_cmp);
        f64::midpoint(v[(v.len() - 1) / 2], v[v.len() / 2]) / spec.sm_clock_mhz * 1e3
    };
    let (again, first) = (median("again", 8), median("first", 8));
    let (near, far) = (median("memory_near", 6) - again, median("memory_far", 6) - first);
    println!("again {again:.1} ns, first {first:.1} ns, memory beyond them {near:.1} and {far:.1} ns");
    assert!((spec.l2.near_latency_ns / again - 1.0).abs() < 0.01);
    assert!((spec.l2.far_latency_ns / first - 1.0).abs() < 0.01);
    // Near and far, memory takes as long.
    assert!((near / far - 1.0).abs() < 0.05);
    assert!((spec.dram.latency_ns / f64::midpoint(near, far) - 1.0).abs() < 0.02);
    // Of the lines that come at some moment, those wait that find their bank in refresh.
    let t = spec.dram.timings;
    let (longest, late) =
        (t.refresh_fs as f64 / 1e6, t.refresh_fs as f64 / (t.refresh_every_fs * u64::from(t.banks)) as f64);
    let (waits, share) = (median("refresh", 7), median("refresh", 6) * spec.sm_clock_mhz / 1e3);
    println!("{share:.1} % wait for up to {waits:.0} ns; in the catalog {:.1} % and {longest:.0} ns", late * 100.0);
    assert!((longest / waits - 1.0).abs() < 0.02 && (late * 100.0 / share - 1.0).abs() < 0.06);
}

/// A row stays open as long as the bank must wait for its next activation anyway: what a second line gains, it gains within a row cycle.
#[test]
fn rows_close_when_nothing_waits() {
    let spec = device("h200").unwrap();
    let cycles = spec.dram.timings.row_cycle_fs as f64 * spec.sm_clock_mhz * 1e-9;
    let mut n = 0;
    for f in rows(include_str!("../../tests/reference/gpu/device_lines.csv")).iter().filter(|f| f[0] == "row") {
        let (after, gain) = (f[3].rsplit(' ').next().unwrap().parse::<f64>().unwrap(), f[6].parse::<f64>().unwrap());
        println!("{} cycles: {gain:+.0} (a row cycle is {cycles:.0})", f[3]);
        // The two that are asked for at once leave in an order of their own.
        if after > 0.0 {
            assert_eq!(gain < -5.0, after < cycles, "{f:?}");
            n += 1;
        }
    }
    assert_eq!(n, 60);
}

/// A tile waits for the last of its lines: for one that is at home in the other half of L2, and for a refresh. No parameter comes from these rows.
#[test]
fn tiles_from_memory() {
    let mut gpu = Gpu::new(device("h200").unwrap());
    let (mut errors, mut bias) = (Vec::new(), 0.0);
    for f in rows(include_str!("../../tests/reference/gpu/device_tiles.csv")) {
        let [rows, stages, ctas, pitch, shared] = [0, 1, 2, 3, 4].map(|i| f[i].parse::<u32>().unwrap());
        let measured: f64 = f[5].parse().unwrap();
        let most = (pitch / 128).min(128) - stages;
        let mut time = |steps| {
            let options = LaunchOptions {
                grain_bytes: 1024,
                cache: CacheState::Foreign { dirty: 0.0 },
                ..LaunchOptions::default()
            };
            gpu.run(&row_tiles(rows, stages, ctas, pitch, shared, steps), &options).unwrap().span_s * 1e9
        };
        let got = (time(most) - time(most / 4)) / f64::from(most - most / 4);
        let error = got / measured - 1.0;
        println!("{}: {got:.0} ns a tile, measured {measured:.0} ({:+.0} %)", f[..5].join(","), error * 100.0);
        errors.push(error.abs());
        bias += error;
    }
    let n = errors.len() as f64;
    let (mean, bias) = (errors.iter().sum::<f64>() / n * 100.0, bias / n * 100.0);
    println!("{n} copies of tiles: {mean:.1} % mean, {bias:+.1} % bias");
    assert!(errors.len() > 100 && mean < 7.0 && bias.abs() < 4.0, "{mean:.1} % mean, {bias:+.1} % bias");
}
