//! Known gaps of the suites of models and their operators, each on the cheapest row that shows it: a row fails when its gap grows, and when it closes.
//! What is missing is said in docs/accuracy.md ("Whole models and their operators").
#![allow(clippy::unwrap_used)]

use banksia_validation::{ValidateOptions, run_suite};

/// Error in per cent of the latency of the one row of a suite's file that has all of these texts in it.
fn error(suite: &str, file: &str, parts: &[&str]) -> f64 {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/gpu");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let rows: Vec<&str> = lines.filter(|line| parts.iter().all(|p| line.contains(p))).collect();
    assert_eq!(rows.len(), 1, "{parts:?}: {rows:?}");
    let name = format!("banksia-gap-{}-{suite}-{}.csv", std::process::id(), parts.concat().len());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, format!("{header}\n{}\n", rows[0])).unwrap();
    let options = ValidateOptions { measured: Some(path.clone()), ..ValidateOptions::default() };
    let all = run_suite(suite, &options, &|_, _| ()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let latency = all.iter().find(|c| c.subject.metric == "latency" && !c.pairs.is_empty()).unwrap();
    let pair = &latency.pairs[0];
    100.0 * (pair.predicted / pair.measured - 1.0)
}

/// That a row still errs as known: beyond the bound, and no more than it did.
fn known(error: f64, bound: f64, most: f64) {
    println!("{error:.1} %");
    assert!(error.abs() <= most, "the gap has grown: {error} %");
    assert!(error.abs() > bound, "the gap is closed, hold it to {bound} %: {error} %");
}

/// Missing mechanism: products of a few rows a group, of which the weights come at 2.6 to 3.1 TB/s, and at 4 here. Measured with 16 rows a group and
/// with 128 (`device_grouped.csv`): the fewer the rows, the slower the weights. Bulk copies of tiles that reach beyond a group's rows are what
/// distinguishes them; what these do to L2 is not known.
#[test]
fn grouped_products_of_few_rows() {
    known(error("operators", "operators.csv", &["grouped_gemm", "'experts': 8, 'rows': 128"]), 12.0, 40.0);
}

/// The same in a model: Mixtral's experts in a step of one token.
#[test]
fn a_token_of_mixtral() {
    known(error("models", "models.csv", &["mixtral_8x7b", "decode", "'b': 1,"]), 20.0, 40.0);
}

/// A sort of 64 rows of 65536 numbers: each of its seven sweeps takes 51 us, and some 30 here. Missing mechanism: not known.
#[test]
fn a_sort_of_long_rows() {
    known(error("operators", "operators.csv", &["sort", "65536"]), 18.0, 32.0);
}

/// Scatter-add of 16384 rows comes out too slow. Missing mechanism: not known; one row.
#[test]
fn rows_added_by_index() {
    known(error("operators", "operators.csv", &["index_add", "16384"]), 18.0, 22.0);
}

/// Experts in eight bits under TensorRT-LLM: six rows of 37 take two to five times as long as here, all of a power law over ranks of experts; 19 others of
/// that kind do not. In five of the six the same row with as many or more bytes a weight took less (this one in bf16: 453 us of the same framework and
/// version, against 1272): what the framework launched there, not what the machine can do, is not known. Without them the suite errs by 12 %.
#[test]
fn experts_of_one_rank_in_eight_bits() {
    let parts = ["h200", ",fp8,768,4096,2048,8,256,2,4,power_law_1.01"];
    known(error("moe", "moe.csv", &parts), 15.0, 83.0);
}
