//! The suites of PIM systems: nothing is left out, PIM cycles are within the bounds, the rest is the same.
#![allow(clippy::unwrap_used)]

use banksia_validation::{ValidateOptions, run_suite};

fn errors(suite: &str) -> Vec<(String, String, f64, f64)> {
    let all = run_suite(suite, &ValidateOptions::default(), &|_, _| ()).unwrap();
    assert!(all.iter().all(|c| c.skipped.is_empty()), "{suite}");
    all.iter()
        .filter(|c| c.pairs.iter().any(|p| p.measured > 0.0))
        .map(|c| {
            let errors =
                c.pairs.iter().filter(|p| p.measured > 0.0).map(|p| ((p.predicted - p.measured) / p.measured).abs());
            let worst = errors.clone().fold(0.0, f64::max);
            (c.subject.op.clone(), c.subject.metric.clone(), errors.sum::<f64>() / c.pairs.len() as f64, worst)
        })
        .collect()
}

/// The reference rounds to a few digits: 0.5 % of its smallest numbers.
#[test]
fn attacc_is_its_simulator() {
    for suite in ["attacc", "attacc-operators"] {
        for (op, metric, mean, worst) in errors(suite) {
            let bound = if op.starts_with("comm_x2g") { 0.005 } else { 0.0015 };
            assert!(worst <= bound && mean <= bound / 2.0, "{suite} {op} {metric}: mean {mean}, worst {worst}");
        }
    }
}

#[test]
fn pimba_is_its_simulator() {
    for suite in ["pimba", "pimba-layers"] {
        for (op, metric, _, worst) in errors(suite) {
            assert!(worst <= 1e-9, "{suite} {op} {metric}: worst {worst}");
        }
    }
}
