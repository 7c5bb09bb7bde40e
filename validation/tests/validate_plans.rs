//! Plans of a GPU as they were launched: a representative part of the suite `plans`.
#![allow(clippy::unwrap_used)]

use banksia_validation::{ValidateOptions, run_suite};

/// Steps of one and of sixteen sequences of two models: each kind of plan is near what was measured, and the plan that is predicted the fastest loses little.
#[test]
fn plans_are_near_what_was_launched_and_in_its_order() {
    let text = include_str!("../../tests/reference/gpu/device_plans.csv");
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let part = |line: &&str| {
        ["llama3.2-1b,", "llama3.1-8b,"].iter().any(|m| line.starts_with(m))
            && [",1,1,1025,", ",16,1,1025,"].iter().any(|cell| line.contains(cell))
    };
    let rows: Vec<&str> = lines.filter(part).collect();
    assert_eq!(rows.len(), 32);
    let path = std::env::temp_dir().join(format!("banksia-plans-{}.csv", std::process::id()));
    std::fs::write(&path, format!("{header}\n{}\n", rows.join("\n"))).unwrap();
    let options = ValidateOptions { measured: Some(path.clone()), ..ValidateOptions::default() };
    let all = run_suite("plans", &options, &|_, _| ()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = |op: &str, metric: &str| {
        let found = all.iter().find(|c| c.subject.op == op && c.subject.metric == metric).unwrap();
        assert!(found.skipped.is_empty(), "{:?}", found.skipped);
        found.result(0).mape_pct.unwrap()
    };
    for (op, most) in [
        ("compiled flash graph", 6.0),
        ("torch flash graph", 10.0),
        ("torch plain graph", 20.0),
        ("compiled flash eager", 45.0),
        ("torch flash eager", 45.0),
        ("torch plain eager", 30.0),
    ] {
        let found = error(op, "latency");
        println!("{op}: {found:.1} %");
        assert!(found < most, "{op}: {found} %");
    }
    assert!(error("order", "regret") < 5.0);
    assert!(error("order", "kendall_tau") < 40.0);
}
