//! What was set in a point is a column: in the table, the Markdown, the CSV and the JSON.

// clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use banksia_reports::{
    ComparisonRow, PointRow, RunReport, compare, comparison_csv, comparison_json, comparison_markdown, comparison_table,
};
use unicode_width::UnicodeWidthStr;

/// A point of a grid of two keys, the first of which is long.
fn point<'a>(report: &'a RunReport, base: &str, batch: u32) -> PointRow<'a> {
    let name = format!("base={base}, batch={batch}");
    let settings =
        vec![("machine.base".to_owned(), base.to_owned()), ("workload.generation.batch".to_owned(), batch.to_string())];
    PointRow { name, settings, result: Ok(report) }
}

fn rows(report: &RunReport) -> Vec<ComparisonRow> {
    let mut points: Vec<PointRow<'_>> =
        ["a100", "h200"].iter().flat_map(|base| [1, 4, 64].map(|batch| point(report, base, batch))).collect();
    points[4].result =
        Err("e.toml: `workload.generation.batch` is 4, and\n  the KV cache needs 99 GB of 80 GB".to_owned());
    compare(&points)
}

#[test]
fn points_of_a_grid() {
    let report = crate::sample::report();
    let rows = rows(&report);
    let text = [
        comparison_table(&rows, None, false),
        comparison_table(&rows, Some(60), false),
        comparison_markdown(&rows),
        comparison_csv(&rows).unwrap(),
        comparison_json(&rows[3..5]).unwrap(),
    ];
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_terminal_of_any_width_shows_what_was_set() {
    let report = crate::sample::report();
    let rows = rows(&report);
    for width in 20..120 {
        let text = comparison_table(&rows, Some(width), false);
        for (line, row) in text.lines().skip(1).zip(&rows) {
            let set = row.settings.iter().all(|(_, value)| line.split_whitespace().any(|word| word == value));
            assert!(set, "{width}: {line}");
        }
        assert!(text.starts_with("  model") && text.contains("base") && text.contains("batch"), "{text}");
        assert!(width < 44 || text.lines().all(|line| line.width() <= width), "{width}: {text}");
    }
    // A name that is needed is whole where there is room.
    let name =
        |n: u32| PointRow { name: format!("attention=flash, launch=graph, number {n}"), ..PointRow::of(&report) };
    let named = compare(&[name(1), name(2)]);
    assert!(comparison_table(&named, Some(100), false).contains("attention=flash, launch=graph, number 2"));
    assert!(comparison_table(&named, None, false).contains("attention=flash, launch=graph, number 2"));
}

#[test]
fn points_may_set_different_keys_and_take_any_name() {
    let report = crate::sample::report();
    let set = |settings: &[(&str, &str)]| PointRow {
        settings: settings.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..PointRow::of(&report)
    };
    let rows = compare(&[
        set(&[]),
        set(&[("machine.asic.clock_mhz", "100"), ("machine.memory.clock_mhz", "900")]),
        set(&[
            ("workload.model", "#tiny"),
            ("x.row_hit_rate", "1"),
            ("x.energy_mac_j", "2"),
            ("seed", "1"),
            ("seed", "2"),
        ]),
    ]);
    let csv = comparison_csv(&rows).unwrap();
    let header = csv.lines().next().unwrap();
    assert!(
        header.starts_with(
            "name,model,machine,machine.asic.clock_mhz,machine.memory.clock_mhz,workload.model,x.row_hit_rate,\
             x.energy_mac_j,seed,latency_s,"
        ),
        "{header}"
    );
    assert!(header.contains(",energy_mac_j,") && !header.contains(",error"), "{header}");
    assert!(csv.lines().nth(3).unwrap().contains(",\"#tiny\",1,2,2,"), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&comparison_json(&rows).unwrap()).unwrap();
    assert_eq!(json[0]["settings"], serde_json::json!({}));
    assert_eq!(json[1]["settings"]["machine.asic.clock_mhz"], 100);
    assert_eq!(json[2]["settings"]["workload.model"], "#tiny");
}

#[test]
fn the_first_token_and_the_others_have_times_of_their_own() {
    let mut report = crate::sample::report();
    let of = |report: &RunReport| {
        let row = compare(&[PointRow::of(report)]).remove(0);
        (row.ttft_s, row.tpot_s)
    };
    assert_eq!(of(&report), (Some(4e-6), Some(2e-6)));
    report.steps.truncate(1);
    assert_eq!(of(&report), (Some(4e-6), None));
    report.steps.clear();
    assert_eq!(of(&report), (None, None));
    report = crate::sample::report();
    report.tokens = None;
    assert_eq!(of(&report), (None, None));
}
