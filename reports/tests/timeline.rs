//! The Chrome trace holds every span, and no thread's events overlap in part.

// clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use banksia_reports::{RunReport, TimelineSpan, chrome_trace};
use proptest::prelude::*;
use serde_json::Value;

fn events(report: &RunReport) -> Vec<Value> {
    let trace: Value = serde_json::from_str(&chrome_trace(report).unwrap()).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

/// Start and end in nanoseconds.
fn interval(event: &Value) -> (i64, i64) {
    let ns = |key: &str| (event[key].as_f64().unwrap() * 1e3).round() as i64;
    (ns("ts"), ns("ts") + ns("dur"))
}

/// Names of processes and threads by their numbers.
fn names(events: &[Value], kind: &str) -> BTreeMap<(i64, i64), String> {
    let named = events.iter().filter(|e| e["ph"] == "M" && e["name"] == kind);
    named
        .map(|e| {
            let key = (e["pid"].as_i64().unwrap(), e["tid"].as_i64().unwrap());
            (key, e["args"]["name"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// No two events of a thread overlap unless one lies inside the other.
fn assert_nested(events: &[Value]) -> Result<(), TestCaseError> {
    let mut threads: BTreeMap<(i64, i64), Vec<(i64, i64)>> = BTreeMap::new();
    for event in events.iter().filter(|e| e["ph"] == "X") {
        let key = (event["pid"].as_i64().unwrap(), event["tid"].as_i64().unwrap());
        threads.entry(key).or_default().push(interval(event));
    }
    for spans in threads.values() {
        for (i, a) in spans.iter().enumerate() {
            for b in &spans[i + 1..] {
                let apart = a.1 <= b.0 || b.1 <= a.0;
                let inside = (a.0 <= b.0 && b.1 <= a.1) || (b.0 <= a.0 && a.1 <= b.1);
                prop_assert!(apart || inside, "{a:?} and {b:?} overlap in part");
            }
        }
    }
    Ok(())
}

#[test]
fn the_trace_of_a_small_run() {
    insta::assert_snapshot!(chrome_trace(&crate::sample::report()).unwrap());
}

#[test]
fn every_span_is_there_on_its_lane() {
    let report = crate::sample::report();
    let events = events(&report);
    let (processes, threads) = (names(&events, "process_name"), names(&events, "thread_name"));
    let complete: Vec<&Value> = events.iter().filter(|e| e["ph"] == "X").collect();
    assert_eq!(complete.len(), report.timeline.len());
    for span in &report.timeline {
        let event = complete.iter().find(|e| e["name"] == span.name).unwrap();
        let (pid, tid) = (event["pid"].as_i64().unwrap(), event["tid"].as_i64().unwrap());
        assert_eq!(processes[&(pid, 0)], span.group);
        assert!(threads[&(pid, tid)].starts_with(&span.lane));
        assert!((event["ts"].as_f64().unwrap() - span.start_s * 1e6).abs() < 1e-9);
        assert!((event["dur"].as_f64().unwrap() - span.duration_s * 1e6).abs() < 1e-9);
        for (key, value) in &span.details {
            let told = &event["args"][key];
            assert!(told.as_str().map_or_else(|| told.to_string(), str::to_owned) == *value, "{key}: {told}, {value}");
        }
    }
    assert!(threads.values().any(|name| name == "channel 0 (2)"), "an overlap in part needs a second thread");
    assert_nested(&events).unwrap();
}

#[test]
fn spans_that_touch_stay_on_one_thread_in_spite_of_rounding() {
    // A clock of 1/3 ns: starts and durations round apart.
    let mut report = crate::sample::report();
    let period = 1e-9 / 3.0;
    report.timeline = (0..3000u32)
        .map(|i| TimelineSpan {
            group: "pim".into(),
            lane: "channel 0".into(),
            name: "MAC".into(),
            start_s: f64::from(i) * 7.0 * period,
            duration_s: 7.0 * period,
            details: BTreeMap::new(),
        })
        .collect();
    let events = events(&report);
    assert_eq!(names(&events, "thread_name").len(), 1);
    assert_nested(&events).unwrap();
}

proptest! {
    #[test]
    fn no_thread_has_a_partial_overlap(spans in proptest::collection::vec((0u32..3, 0u32..60, 0u32..30), 0..60)) {
        let mut report = crate::sample::report();
        report.timeline = spans
            .iter()
            .map(|&(lane, start, length)| TimelineSpan {
                group: "g".into(),
                lane: format!("lane {lane}"),
                name: "work".into(),
                start_s: f64::from(start) * 0.7e-9,
                duration_s: f64::from(length) * 0.7e-9,
                details: BTreeMap::new(),
            })
            .collect();
        let events = events(&report);
        prop_assert_eq!(events.iter().filter(|e| e["ph"] == "X").count(), spans.len());
        assert_nested(&events)?;
    }
}
