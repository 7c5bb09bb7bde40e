//! `banksia validate collectives`: how near the model is to NCCL and TensorRT-LLM, by collective, and that no row is skipped.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use banksia_validation::{ValidateOptions, run_suite};

/// The aim of all rows, per cent.
const AIM: f64 = 7.0;
/// What is reached by collective, per cent, a tenth or more above what was measured.
const REACHED: [(&str, f64); 5] =
    [("all_gather", 7.2), ("all_reduce", 5.1), ("all_reduce trtllm", 5.2), ("alltoall", 6.5), ("reduce_scatter", 6.6)];

#[test]
fn collectives_are_within_what_is_reached() {
    let compared = run_suite("collectives", &ValidateOptions::default(), &|_, _| ()).unwrap();
    let mut by_op: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for c in &compared {
        assert!(c.skipped.is_empty(), "{:?}: {:?}", c.subject, c.skipped);
        let errors = c.pairs.iter().map(|p| (p.predicted - p.measured).abs() / p.measured);
        by_op.entry(c.subject.op.clone()).or_default().extend(errors);
    }
    let mape = |errors: &[f64]| 100.0 * errors.iter().sum::<f64>() / errors.len() as f64;
    for (op, most) in REACHED {
        let reached = mape(&by_op[op]);
        assert!(reached <= most, "{op}: {reached:.2} % over {most}");
    }
    let all: Vec<f64> = by_op.into_values().flatten().collect();
    assert_eq!(all.len(), 580);
    assert!(mape(&all) <= AIM, "{:.2} %", mape(&all));
    // Known gap: all-gathers by themselves are not below the aim (docs/collectives.md).
}

#[test]
fn what_is_not_modelled_is_counted_with_its_reason() {
    let path = std::env::temp_dir().join("banksia-collectives-rows.csv");
    let rows = "gpu,library,collective,num_gpus,dtype,bytes,latency_us\n\
        h100_sxm,nccl-2.29.2,all_reduce,8,half,1048576,25.4\n\
        h100_sxm,nccl-2.29.2,broadcast,8,half,1048576,25.4\n\
        l40s,nccl-2.29.2,all_reduce,8,half,1048576,25.4\n\
        h100_sxm,nccl-2.29.2,all_reduce,16,half,1048576,25.4\n\
        h100_sxm,nccl-2.29.2,all_reduce,8,half,0.5,25.4\n";
    std::fs::write(&path, rows).unwrap();
    let options = ValidateOptions { measured: Some(path), ..ValidateOptions::default() };
    let compared = run_suite("collectives", &options, &|_, _| ()).unwrap();
    let reasons: String = compared.iter().flat_map(|c| c.skipped.keys()).map(|r| format!("{r}\n")).collect();
    assert_eq!(compared.iter().map(|c| c.pairs.len()).sum::<usize>(), 1);
    for about in ["broadcast", "l40s", "num_gpus", "bytes"] {
        assert!(reasons.contains(about), "{reasons}");
    }
}

/// The mean absolute error of a metric of a suite, per cent; no row is skipped.
fn error_of(suite: &str, op: Option<&str>, metric: &str) -> f64 {
    let compared = run_suite(suite, &ValidateOptions::default(), &|_, _| ()).unwrap();
    let of = compared.iter().filter(|c| c.subject.metric == metric && op.is_none_or(|op| c.subject.op == op));
    let errors: Vec<f64> = of
        .inspect(|c| assert!(c.skipped.is_empty(), "{:?}", c.skipped))
        .flat_map(|c| &c.pairs)
        .map(|p| (p.predicted / p.measured - 1.0).abs())
        .collect();
    assert!(!errors.is_empty(), "{suite} {metric}");
    100.0 * errors.iter().sum::<f64>() / errors.len() as f64
}

#[test]
fn all_reduces_across_nodes() {
    let error = error_of("multinode", None, "latency_us");
    assert!(error <= 15.0, "{error:.1} %");
}

#[test]
fn experts_across_nodes() {
    for metric in ["bandwidth_gb_s", "latency_us"] {
        let error = error_of("deepep", None, metric);
        assert!(error <= 20.0, "{metric}: {error:.1} %");
    }
}

/// Two kernels at once on two streams, their waves all simulated.
#[test]
fn two_streams_of_a_gpu() {
    let error = error_of("streams", Some("both"), "both_us");
    assert!(error <= 12.0, "{error:.1} %");
}
