//! Bounds of training's operators, on the rows of `operators.csv` that take little time; docs/training.md has the numbers of whole steps.
#![allow(clippy::unwrap_used)]

use banksia_validation::{ValidateOptions, run_suite};

/// Errors in per cent of the latency of the rows of `operators.csv` that begin so and have this text in them.
fn errors(operator: &str, part: &str) -> Vec<f64> {
    errors_of("operators", "operators.csv", operator, part)
}

fn errors_of(suite: &str, file: &str, operator: &str, part: &str) -> Vec<f64> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/gpu").join(file);
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let rows: Vec<&str> = lines.filter(|l| l.starts_with(operator) && l.contains(part)).collect();
    assert!(!rows.is_empty(), "{operator} {part}");
    let path = std::env::temp_dir().join(format!("banksia-training-{}-{operator}.csv", std::process::id()));
    std::fs::write(&path, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    let options = ValidateOptions { measured: Some(path.clone()), ..ValidateOptions::default() };
    let all = run_suite(suite, &options, &|_, _| ()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let pairs = all.iter().flat_map(|c| &c.pairs);
    let errors: Vec<f64> = pairs.map(|p| 100.0 * (p.predicted / p.measured - 1.0)).collect();
    assert_eq!(errors.len(), rows.len());
    errors
}

fn held(operator: &str, part: &str, bound: f64) {
    for error in errors(operator, part) {
        println!("{operator} {part}: {error:+.1} %");
        assert!(error.abs() <= bound, "{operator} {part}: {error} %, held to {bound} %");
    }
}

/// Pinned memory over PCI Express 5.0.
#[test]
fn copies_between_host_and_device() {
    held("copy_h2d", "", 2.0);
    held("copy_d2h", "", 2.0);
}

/// FlashAttention-2 forward and backward, with copies and the host's start.
#[test]
fn attention_with_its_gradients() {
    held("attention", "'b': 16, 'l': 1024, 'h': 16, 'hk': 16, 'd': 128, 'causal': 1, 'bwd': 1", 15.0);
}

/// Rows of a vocabulary, read three times.
#[test]
fn cross_entropy() {
    held("cross_entropy", "", 15.0);
}

/// The fused optimiser, bound by its arithmetic in 64 bits.
#[test]
fn adamw() {
    held("adamw", "", 15.0);
}

/// Grouped products and their gradients, of many small experts. Known gap: of eight experts with 64 rows each, gradients of inputs come a quarter too soon.
#[test]
fn gradients_of_experts() {
    for operator in ["grouped_input_gradient", "grouped_weight_gradient"] {
        for error in
            errors_of("experts-training", "experts_training.csv", operator, "\"\"rows\"\":16384,\"\"n\"\":2048")
        {
            println!("{operator}: {error:+.1} %");
            assert!(error.abs() <= 25.0, "{operator}: {error} %");
        }
    }
    let few = errors_of("experts-training", "experts_training.csv", "grouped_input_gradient", "\"\"rows\"\":512,");
    let worst = few.iter().copied().fold(0.0, f64::min);
    assert!(worst > -32.0, "the gap has grown: {worst} %");
    assert!(worst < -25.0, "the gap is closed, hold it to 25 %: {worst} %");
}

/// Mamba-2's scan with its gradient, 45 launches. Known gap: it comes a third too soon; which of the launches is not worked out.
#[test]
fn state_space_duality_with_its_gradient() {
    let error = errors("ssd", "'bwd': 1")[0];
    assert!(error > -42.0, "the gap has grown: {error} %");
    assert!(error < -25.0, "the gap is closed, hold it to 25 %: {error} %");
}

/// Gated linear attention with its gradient.
#[test]
fn gated_linear_attention_with_its_gradient() {
    held("linear_attention", "'bwd': 1", 25.0);
}
