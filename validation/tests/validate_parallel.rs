//! Published training steps: within their bounds on a part of each suite's rows; what misses its bound is a known gap that says so when it closes.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use banksia_reports::Pair;
use banksia_validation::{ValidateOptions, run_suite};

/// Pairs of a metric of a suite, of every n-th row of its reference file.
fn pairs(suite: &str, file: &str, every: usize, metric: &str) -> Vec<Pair> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/parallel").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let some: Vec<&str> = std::iter::once(header).chain(lines.step_by(every)).collect();
    let part = std::env::temp_dir().join(format!("banksia-{suite}-{}.csv", std::process::id()));
    std::fs::write(&part, some.join("\n") + "\n").unwrap();
    let options = ValidateOptions { measured: Some(part), ..ValidateOptions::default() };
    let all = run_suite(suite, &options, &|_, _| ()).unwrap();
    all.into_iter().filter(|c| c.subject.metric == metric).flat_map(|c| c.pairs).collect()
}

fn mape(pairs: &[Pair]) -> f64 {
    assert!(!pairs.is_empty());
    100.0 * pairs.iter().map(|p| (p.predicted / p.measured - 1.0).abs()).sum::<f64>() / pairs.len() as f64
}

#[test]
fn a_single_node_of_vtrain() {
    let error = mape(&pairs("vtrain", "vtrain_a100_single_node.csv", 25, "step_s"));
    assert!(error <= 10.0, "{error:.1} %");
}

#[test]
fn tables_of_korthikanti_and_sc21() {
    let error = mape(&pairs("korthikanti", "korthikanti_table5.csv", 1, "step_s"));
    assert!(error <= 6.0, "{error:.1} %");
    let error = mape(&pairs("sc21", "megatron_sc21_table1_a100.csv", 2, "step_s"));
    assert!(error <= 8.0, "{error:.1} %");
}

/// Speed-ups of residuals whose sums are hidden, in points of a hundred.
#[test]
fn residuals_that_hide_their_sums() {
    let all = pairs("ladder", "ladder_residual_h100.csv", 1, "speed_up");
    let points = all.iter().map(|p| 100.0 * (p.predicted - p.measured).abs()).sum::<f64>() / all.len() as f64;
    assert!(points <= 6.0, "{points:.1} points");
}

/// Schedules come in the order that was measured, within a model and its micro batches. Known gap: the lead of ZB-2p over ZB-1p of the 1.5B model is missing, since
/// its last stage's head takes longer than a stage of layers with the vocabulary that is taken (docs/parallel.md).
#[test]
fn schedules_come_in_their_order() {
    let all = pairs("zero-bubble", "zero_bubble_tables4_5.csv", 1, "samples_per_gpu_s");
    let error = mape(&all);
    assert!(error <= 11.0, "{error:.1} %");
    let group = |p: &Pair| p.label.rsplit_once(' ').map_or(String::new(), |(group, _)| group.to_owned());
    let mut compared = 0;
    for (i, a) in all.iter().enumerate() {
        for b in all.iter().skip(i + 1).filter(|b| group(a) == group(b)) {
            compared += 1;
            let turned = (a.measured - b.measured) * (a.predicted - b.predicted) < 0.0;
            assert!(!turned, "{} and {}", a.label, b.label);
        }
    }
    assert!(compared > 10, "{compared}");
    let of = |schedule: &str| all.iter().find(|p| p.label == format!("1.5B pp8 m32 {schedule}")).cloned().unwrap();
    let (one, two) = (of("ZB-1p"), of("ZB-2p"));
    assert!(two.measured / one.measured > 1.08);
    assert!(two.predicted / one.predicted < 1.02, "the gap has closed: ask for the lead");
}

/// Llama 3.1 405B on Hopper and on racks of GB200. Known gap: on nodes of B200 it errs by more than the 10 % asked for. They take 13 % longer a sequence than GB200 does, and the same is
/// predicted (docs/parallel.md).
#[test]
fn four_hundred_billion_parameters() {
    let all = pairs("mlperf", "mlperf_training_llm.csv", 1, "step_s");
    let of = |device: &[&str]| -> Vec<Pair> {
        let large = all.iter().filter(|p| p.label.contains("405b"));
        large.filter(|p| device.iter().any(|d| p.label.contains(d))).cloned().collect()
    };
    let (hopper, racks, blackwell) = (of(&["xh100", "xh200"]), of(&["xgb200"]), of(&["xb200"]));
    assert!(mape(&hopper) <= 10.0, "{:.1} %", mape(&hopper));
    assert!(mape(&racks) <= 10.0, "{:.1} %", mape(&racks));
    assert!(mape(&blackwell) > 10.0, "the gap has closed: ask for 10 %");
}

/// Kendall's tau over pairs of settings of one model on as many devices with one batch.
fn tau_within(pairs: &[Pair], group: impl Fn(&Pair) -> String) -> f64 {
    let (mut agree, mut all) = (0_i32, 0_i32);
    for (i, a) in pairs.iter().enumerate() {
        for b in pairs.iter().skip(i + 1).filter(|b| group(a) == group(b)) {
            let order = (a.measured - b.measured) * (a.predicted - b.predicted);
            all += 1;
            agree += if order > 0.0 { 1 } else { -1 };
        }
    }
    assert!(all > 20, "{all} pairs");
    f64::from(agree) / f64::from(all)
}

/// Settings of a model come in their order. Known gap: Kendall's tau within a model is below the 0.85 asked for. A quarter of the pairs that are turned differ by less than 2 % as
/// measured, less than the suite's error; of the others five in six have one of seven rows that took a sixth to two fifths longer than is simulated, while their neighbours in
/// stages, replicas and tensor ranks are met to a few per cent: no mechanism is known that slows these alone (docs/search.md).
#[test]
#[ignore = "minutes: every row of the suite"]
fn settings_of_a_model_come_in_their_order() {
    let all = pairs("vtrain-multi", "vtrain_a100_multi_node.csv", 1, "step_s");
    let model = |p: &Pair| p.label.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let tau = tau_within(&all, model);
    assert!(tau > 0.4, "{tau:.2}");
    assert!(tau < 0.85, "the gap has closed: ask for 0.85");
}
