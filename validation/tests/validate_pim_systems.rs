//! CENT and H2-LLM, held to what their own simulators say.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banksia_validation::{Compared, ValidateOptions, run_suite};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/reference/pim").join(name)
}

/// Every so many rows of a reference file, as a file of its own.
fn some_rows(name: &str, every: usize, use_as: &str) -> PathBuf {
    let text = std::fs::read_to_string(reference(name)).unwrap();
    let (head, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().step_by(every).collect();
    let path = std::env::temp_dir().join(format!("banksia-{use_as}-{}.csv", std::process::id()));
    std::fs::write(&path, format!("{head}\n{}\n", rows.join("\n"))).unwrap();
    path
}

fn validated(suite: &str, measured: Option<PathBuf>) -> Vec<Compared> {
    run_suite(suite, &ValidateOptions { measured, ..ValidateOptions::default() }, &|_, _| ()).unwrap()
}

/// Largest absolute percentage error, and mean signed one, by operator and metric.
fn errors(all: &[Compared]) -> BTreeMap<(String, String), (f64, f64)> {
    all.iter()
        .map(|c| {
            assert!(c.skipped.is_empty(), "{:?}: {:?}", c.subject, c.skipped);
            let result = c.result(1);
            let key = (c.subject.op.clone(), c.subject.metric.clone());
            (key, (result.worst.first().map_or(0.0, |w| w.error_pct.abs()), result.bias_pct.unwrap()))
        })
        .collect()
}

#[test]
fn tokens_of_cent_are_the_artifacts() {
    let file = some_rows("cent_token.csv", 25, "cent-token");
    let errors = errors(&validated("cent", Some(file.clone())));
    std::fs::remove_file(file).unwrap();
    assert_eq!(errors.len(), 9);
    for ((op, metric), (worst, _)) in &errors {
        // Links and units are sums of the artifact's own constants; channels are simulated.
        let most = if matches!(op.as_str(), "cxl" | "units") { 1e-9 } else { 0.3 };
        assert!(*worst <= most, "{op} {metric}: {worst} %");
    }
}

#[test]
fn phases_of_cent_are_the_artifacts() {
    let file = some_rows("cent_processed.csv", 9, "cent-phase");
    let errors = errors(&validated("cent", Some(file.clone())));
    std::fs::remove_file(file).unwrap();
    assert!(errors.len() >= 4);
    for ((op, metric), (worst, _)) in &errors {
        assert!(*worst <= 0.3, "{op} {metric}: {worst} %");
    }
}

/// What the device needs and the artifact leaves out goes one way.
#[test]
fn what_changes_on_the_device() {
    let file = some_rows("cent_token.csv", 60, "cent-device");
    let errors = errors(&validated("cent-device", Some(file.clone())));
    std::fs::remove_file(file).unwrap();
    let bias = |op: &str, metric: &str| errors[&(op.to_owned(), metric.to_owned())].1;
    // Standby of all channels instead of one.
    assert!(bias("token", "energy_mj") > 20.0);
    // A row is read in place of a product with the whole table.
    assert!(bias("embedding", "latency_ms") < -20.0);
    assert!(bias("units", "latency_ms") > -1e-6);
}

#[test]
fn mappings_of_h2_llm_are_its_evaluators() {
    let errors = errors(&validated("h2llm", None));
    assert_eq!(errors.keys().filter(|(op, _)| op != "order").count(), 12);
    for ((op, metric), (worst, _)) in &errors {
        assert!(*worst <= 1e-9, "{op} {metric}: {worst} %");
    }
    assert!(errors.contains_key(&("order".to_owned(), "kendall_tau".to_owned())));
}

#[test]
fn what_is_no_row_is_refused_with_the_columns() {
    let path = std::env::temp_dir().join(format!("banksia-none-{}.csv", std::process::id()));
    std::fs::write(&path, "a,b\n1,2\n").unwrap();
    for (suite, column) in [("cent", "Sequence length"), ("cent", "Phase"), ("h2llm", "nmp_channels")] {
        let options = ValidateOptions { measured: Some(path.clone()), ..ValidateOptions::default() };
        let error = run_suite(suite, &options, &|_, _| ()).unwrap_err().to_string();
        assert!(error.contains(column), "{error}");
    }
    std::fs::remove_file(path).unwrap();
}
