//! `banksia validate pim`: AiM to the cycle, HBM-PIM within one per cent, and no row skipped.
#![allow(clippy::unwrap_used)]

use banksia_validation::{ValidateOptions, run_suite};

#[test]
fn aim_is_exact_and_hbm_pim_within_one_per_cent() {
    let compared = run_suite("pim", &ValidateOptions::default(), &|_, _| ()).unwrap();
    let mut rows = 0;
    for c in &compared {
        assert!(c.skipped.is_empty(), "{:?}: {:?}", c.subject, c.skipped);
        let most = if c.subject.device == "gddr6-aim" { 0.0 } else { 0.01 };
        for p in &c.pairs {
            let error = (p.predicted - p.measured).abs() / p.measured;
            assert!(
                error <= most,
                "{} {}: {} where {} is measured",
                c.subject.device,
                p.label,
                p.predicted,
                p.measured
            );
            rows += 1;
        }
    }
    assert!(compared.len() == 5 && rows > 100, "{} groups of {rows} rows", compared.len());
}
