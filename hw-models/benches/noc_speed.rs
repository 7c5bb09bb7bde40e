//! Flits times routers a second of processor time, and beside it BookSim2's on the same packets, where `BOOKSIM` names its program:
//!
//! `BOOKSIM=../booksim2/src/booksim cargo bench -p banksia-hw --bench noc_speed [-- WORDS]`; words choose cases by their names.
//!
//! Sequences of random numbers are BookSim2's (`sequence`): both simulate the same packets, which is checked by the mean latency and the
//! hops. `gaps` is the other way to draw, that `banksia net` takes by itself: the same distributions, and no draws in idle cycles.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fs;
use std::process::Command;

use banksia_hw::net::noc::{Keys, Measurement, NocConfig, NocError, Protocol, Sampling, Traffic, measure};

/// Networks in BookSim2's words, and the rates at which they are measured: up to a tenth, and just below where they saturate.
const NETWORKS: [(&str, &str, &[f64]); 9] = [
    (
        "mesh-8x8",
        "topology=mesh;k=8;n=2;routing_function=dim_order;num_vcs=4;vc_buf_size=8",
        &[0.001, 0.005, 0.01, 0.02, 0.04, 0.05, 0.1, 0.2, 0.4, 0.43],
    ),
    (
        "mesh-8x8-packets-of-5",
        "topology=mesh;k=8;n=2;routing_function=dim_order;num_vcs=4;vc_buf_size=8;packet_size=5;injection_rate_uses_flits=1",
        &[0.01, 0.04, 0.2, 0.38],
    ),
    (
        "mesh-16x16",
        "topology=mesh;k=16;n=2;routing_function=dim_order;num_vcs=8;vc_buf_size=4;routing_delay=0;credit_delay=2",
        &[0.01, 0.04, 0.2],
    ),
    (
        "torus-8x8",
        "topology=torus;k=8;n=2;routing_function=dim_order;num_vcs=4;vc_buf_size=8",
        &[0.01, 0.04, 0.3, 0.55],
    ),
    (
        "flattened-butterfly-64",
        "topology=flatfly;k=4;n=2;c=4;xr=2;yr=2;x=4;y=4;routing_function=ran_min;num_vcs=4;vc_buf_size=8",
        &[0.01, 0.04, 0.4, 0.7],
    ),
    ("fat-tree-64", "topology=fattree;k=4;n=3;routing_function=nca;num_vcs=4;vc_buf_size=8", &[0.01, 0.04, 0.3, 0.6]),
    ("butterfly-64", "topology=fly;k=4;n=3;routing_function=dest_tag;num_vcs=4;vc_buf_size=8", &[0.01, 0.04, 0.3, 0.6]),
    ("dragonfly-72", "topology=dragonflynew;k=2;n=1;routing_function=min;num_vcs=3;vc_buf_size=16", &[0.01, 0.04, 0.3]),
    (
        "mesh-8x8-speculative",
        "topology=mesh;k=8;n=2;routing_function=dim_order;num_vcs=4;vc_buf_size=8;speculative=1",
        &[0.01, 0.04, 0.2, 0.4],
    ),
];

/// Flits that are sent, about; with `BOOKSIM`, which is slow, fewer.
const FLITS: f64 = 400_000.0;
const FEWER: f64 = 30_000.0;

/// The configuration of a case, and how it is measured: one sample that is not counted and three that are.
fn config(network: &str, rate: f64, cycles: u64) -> String {
    format!(
        "{network};traffic=uniform;injection_rate={rate};seed=1;sim_type=latency;warmup_periods=1;sample_period={cycles};max_samples=4;\
         latency_thres=1e9;stopping_thres=0.0"
    )
}

fn run(text: &str, sampling: Sampling) -> Result<Measurement, NocError> {
    let keys = Keys::parse(text)?;
    let config = NocConfig::from_booksim_keys(&keys, |name| Err(NocError(format!("no network `{name}`"))))?;
    let traffic = Traffic { sampling, ..Traffic::from_booksim_keys(&keys)? };
    measure(&config, &traffic, &Protocol::from_booksim_keys(&keys)?)
}

/// Seconds that this thread was on a processor.
fn own_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Seconds of processor time of programs that were waited for.
fn children_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let after = text.rsplit(')').next().unwrap();
    let ticks = |n: usize| after.split_whitespace().nth(n).unwrap().parse::<f64>().unwrap();
    (ticks(13) + ticks(14)) / 100.0
}

/// BookSim2's processor time, mean latency and hops.
fn booksim(program: &str, text: &str) -> (f64, f64, f64) {
    let file = std::env::temp_dir().join(format!("banksia-noc-speed-{}.cfg", std::process::id()));
    fs::write(&file, text.replace(';', ";\n") + ";\n").unwrap();
    let before = children_seconds();
    let output = Command::new(program).arg(&file).output().unwrap();
    let seconds = children_seconds() - before;
    fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let number = |what: &str| -> f64 {
        let line =
            said.lines().rev().find(|l| l.trim().starts_with(what)).unwrap_or_else(|| panic!("no {what}: {said}"));
        line.split('=').nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    (seconds, number("Packet latency average"), number("Hops average"))
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let program = std::env::var("BOOKSIM").ok();
    println!("{:<24} {:>6} {:>9}  {:>9} {:>9} {:>9}", "", "rate", "flit hops", "gaps", "sequence", "BookSim2");
    println!("{:<24} {:>6} {:>9}  {:>9} {:>9} {:>9}", "", "", "", "M/s", "M/s", "M/s");
    for (name, network, rates) in NETWORKS {
        for rate in rates {
            if !words.iter().all(|word| format!("{name} {rate}").contains(word.as_str())) {
                continue;
            }
            let all = if program.is_some() { FEWER } else { FLITS };
            let text = config(network, *rate, (all / 256.0 / rate) as u64);
            let [gaps, sequence] = [Sampling::Gaps, Sampling::Sequence].map(|sampling| {
                let before = own_seconds();
                let measurement = run(&text, sampling).unwrap_or_else(|e| panic!("{name} at {rate}: {e}"));
                (measurement.flit_hops as f64 / (own_seconds() - before) / 1e6, measurement)
            });
            let hops = sequence.1.flit_hops;
            print!("{name:<24} {rate:>6} {hops:>9}  {:>9.2} {:>9.2}", gaps.0, sequence.0);
            if let Some(program) = &program {
                let (seconds, latency, routers) = booksim(program, &text);
                let (own, speed) = (&sequence.1, hops as f64 / seconds / 1e6);
                let equal = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b;
                assert!(equal(own.latency[0], latency) && equal(own.hops, routers), "{latency} {routers}: {own:?}");
                print!(" {speed:>9.4} {:>5.0}x {:>5.0}x", gaps.0 / speed, sequence.0 / speed);
            }
            println!();
        }
    }
}
