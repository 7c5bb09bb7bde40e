//! What a report looks like as a table, CSV, JSON, a comparison and files.

// clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use banksia_reports::plot::{PlotKind, PlotOptions, plot_files};
use banksia_reports::{
    PointRow, ReportError, RunReport, compare, comparison_csv, comparison_json, comparison_markdown, comparison_table,
    components_csv, operators_csv, read_report, report_json, steps_csv, terminal, write_directory,
};
use unicode_width::UnicodeWidthStr;

/// A fresh directory that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("banksia-reports-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_terminal_table() {
    insta::assert_snapshot!(terminal(&crate::sample::report(), None, false));
}

#[test]
fn the_table_fits_a_hundred_columns_whatever_the_names() {
    let mut report = crate::sample::report();
    let long = "模型 with a very long name ".repeat(9);
    report.name.clone_from(&long);
    report.workload.model.clone_from(&long);
    report.machine.name.clone_from(&long);
    report.machine.kind.clone_from(&long);
    report.operators[0].name.clone_from(&long);
    report.energy_parts_j.insert(long.clone(), 1e30);
    report.traffic_bytes.insert(long.clone(), u64::MAX);
    report.metrics.insert(long.clone(), f64::NEG_INFINITY);
    report.steps[0].phase.clone_from(&long);
    report.workload.prompt_tokens = u64::MAX / 2;
    report.components = (0..9u32)
        .map(|i| {
            let mut component = report.components[0].clone();
            component.name.clone_from(&long);
            component.kind.clone_from(&long);
            component.busy_s = 1e30 * f64::from(i);
            component
        })
        .collect();
    for (width, most) in [(None, 100), (Some(100), 100), (Some(80), 80), (Some(60), 60), (Some(200), 200)] {
        for line in terminal(&report, width, false).lines() {
            assert!(line.width() <= most, "{} columns: {line}", line.width());
        }
    }
}

#[test]
fn the_table_of_operators_loses_its_bars_before_letters_and_numbers() {
    let mut report = crate::sample::report();
    report.operators[1].name = "attention output projection".into();
    (report.operators[1].count, report.workload.batch) = (1_234_567, 64);
    (report.workload.prompt_tokens, report.workload.generated_tokens) = (123_456, 123_456);
    let line = |width| -> String {
        let text = terminal(&report, width, false);
        assert!(text.contains("batch 64"), "the batch is not hidden: {text}");
        text.lines().find(|l| l.contains("1,234,567")).unwrap().to_owned()
    };
    assert!(line(Some(200)).contains("attention output projection") && line(Some(200)).contains('█'));
    for width in [None, Some(80)] {
        assert!(!line(width).contains('█') && line(width).width() <= 80);
        assert!(line(width).contains("attention output projection") && line(width).ends_with("80.0 %"));
    }
}

#[test]
fn colour_adds_escapes_and_nothing_else() {
    let colored = terminal(&crate::sample::report(), None, true);
    let plain = ["\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m"].iter().fold(colored.clone(), |text, e| text.replace(e, ""));
    assert_ne!(plain, colored);
    assert_eq!(plain, terminal(&crate::sample::report(), None, false));
}

#[test]
fn csv_files_have_units_in_their_headers() {
    let report = crate::sample::report();
    let text = [operators_csv(&report), components_csv(&report), steps_csv(&report)].map(Result::unwrap).join("\n");
    insta::assert_snapshot!(text);
}

#[test]
fn json_reads_back_as_the_same_report() {
    let report = crate::sample::report();
    let read: RunReport = serde_json::from_str(&report_json(&report).unwrap()).unwrap();
    assert_eq!(read, report);
    let value: serde_json::Value = serde_json::from_str(&report_json(&report).unwrap()).unwrap();
    for field in ["latency_s", "energy_j", "tokens", "tokens_per_s"] {
        assert!(value[field].is_number(), "{field} is missing from the top level");
    }
}

#[test]
fn comparisons_have_a_row_per_report() {
    let mut other = crate::sample::report();
    other.workload.model = "prefill only".into();
    other.tokens = None;
    other.tokens_per_s = None;
    other.metrics.remove("row_hit_rate");
    let report = crate::sample::report();
    let rows = compare(&[PointRow::of(&report), PointRow::of(&other)]);
    let text = [
        comparison_table(&rows, None, false),
        comparison_markdown(&rows),
        comparison_csv(&rows).unwrap(),
        comparison_json(&rows[1..]).unwrap(),
    ];
    insta::assert_snapshot!(text.join("\n"));
    assert_eq!(comparison_table(&[], None, false).lines().count(), 1);
}

#[test]
fn a_directory_holds_every_file_whole_and_the_same_each_time() {
    let scratch = Scratch::new("directory");
    let mut report = crate::sample::report();
    let written = write_directory(&report, &scratch.0).unwrap();
    let expected = [
        "breakdown.png",
        "breakdown.svg",
        "components.csv",
        "context.png",
        "context.svg",
        "operators.csv",
        "report.json",
        "steps.csv",
        "timeline.json",
    ];
    assert_eq!(scratch.files(), expected);
    assert_eq!(written.len(), expected.len());
    assert_eq!(read_report(&scratch.0.join("report.json")).unwrap(), report);
    let read = |name: &str| std::fs::read(scratch.0.join(name)).unwrap();
    let first: Vec<Vec<u8>> = expected.iter().map(|name| read(name)).collect();
    write_directory(&report, &scratch.0).unwrap();
    assert_eq!(first, expected.iter().map(|name| read(name)).collect::<Vec<_>>());

    // A run without steps or spans leaves none of an earlier run's behind, and other people's files alone.
    std::fs::write(scratch.0.join("notes.txt"), "mine").unwrap();
    report.timeline.clear();
    report.steps.clear();
    write_directory(&report, &scratch.0).unwrap();
    let files = scratch.files();
    assert!(files.contains(&"notes.txt".to_owned()));
    assert!(!files.iter().any(|f| f.starts_with("timeline") || f.starts_with("context")), "{files:?}");
}

#[test]
fn what_cannot_be_written_or_read_is_named() {
    let scratch = Scratch::new("errors");
    std::fs::create_dir_all(&scratch.0).unwrap();
    let file = scratch.0.join("report.json");
    std::fs::write(&file, "{\n  \"schema\": \"one\"\n}").unwrap();
    let error = write_directory(&crate::sample::report(), &file).unwrap_err();
    assert!(matches!(&error, ReportError::Io { path, .. } if *path == file), "{error}");
    let error = read_report(&file).unwrap_err().to_string();
    assert!(error.contains("report.json:2") && error.contains("not a run report"), "{error}");

    let mut report = crate::sample::report();
    report.energy_j = 3.0;
    let error = write_directory(&report, &scratch.0.join("new")).unwrap_err();
    assert!(matches!(error, ReportError::Inconsistent(_)));
    assert!(!scratch.0.join("new").exists(), "a wrong report leaves nothing behind");
    report = crate::sample::report();
    report.schema += 1;
    std::fs::write(&file, report_json(&report).unwrap()).unwrap();
    assert!(read_report(&file).unwrap_err().to_string().contains("later version"));
}

#[test]
fn plots_come_from_files_and_say_what_is_missing() {
    let scratch = Scratch::new("plots");
    write_directory(&crate::sample::report(), &scratch.0).unwrap();
    let csv = |name: &str, text: &str| {
        let path = scratch.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let table = csv(
        "t.csv",
        "channels,device,latency_us,energy_j,bandwidth_gb_per_s,measured_us,predicted_us\n\
         1,a,10,1,5,9,10\n2,a,5,1.5,9,,5\n1,b,8,2,6,8,8\n2,b,4,3,11,4,4.5\n",
    );
    for kind in PlotKind::ALL.into_iter().filter(|kind| *kind != PlotKind::Panels) {
        let options = PlotOptions {
            x: (kind == PlotKind::Pareto).then(|| "latency_us".into()),
            y: (kind == PlotKind::Bandwidth).then(|| "latency_us".into()).into_iter().collect(),
            ..PlotOptions::default()
        };
        use PlotKind::{Breakdown, Context, Energy, Gantt, Roofline};
        let from_reports = matches!(kind, Breakdown | Context | Roofline | Energy | Gantt);
        let input = if from_reports { scratch.0.clone() } else { table.clone() };
        let drawing = plot_files(kind, &[input], &options).unwrap().drawing;
        let (svg, png) = (scratch.0.join("p.svg"), scratch.0.join("p.png"));
        drawing.write(&svg).unwrap();
        drawing.write(&png).unwrap();
        assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg width=\"3.5000in\""));
        assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
        let pdf = scratch.0.join("p.pdf");
        drawing.write(&pdf).unwrap();
        assert!(std::fs::read(pdf).unwrap().starts_with(b"%PDF-"));
        let wrong = drawing.write(&scratch.0.join("p.eps")).unwrap_err().to_string();
        assert!(wrong.contains("`.svg`, `.png` or `.pdf`"), "{wrong}");
    }
    let plot = |kind, path: &PathBuf, y: &str| {
        let options = PlotOptions { y: vec![y.into()], ..PlotOptions::default() };
        plot_files(kind, std::slice::from_ref(path), &options).unwrap_err().to_string()
    };
    assert!(plot(PlotKind::Sweep, &table, "latency").contains("latency_us"));
    let bad = csv("bad.csv", "x,latency_s\n1,2\n2,fast\n");
    let error = plot(PlotKind::Sweep, &bad, "latency_s");
    assert!(error.contains("row 2") && error.contains("`fast`"), "{error}");
    let ragged = csv("ragged.csv", "x,y\n1,2\n1,2,3\n");
    assert!(plot(PlotKind::Sweep, &ragged, "y").contains("ragged.csv:3"));
    assert!(plot_files(PlotKind::Sweep, &[], &PlotOptions::default()).is_err());
}

#[test]
fn kinds_of_plot_are_found_by_name() {
    for kind in PlotKind::ALL {
        assert_eq!(kind.name().parse::<PlotKind>().unwrap(), kind);
    }
    assert!(
        "rooflin".parse::<PlotKind>().unwrap_err().to_string().contains("roofline") || {
            let error = "rooflin".parse::<PlotKind>().unwrap_err();
            error.help.is_some_and(|help| help.contains("roofline"))
        }
    );
}

/// A file that never ends, and one that is no text, are refused at once.
#[test]
#[cfg(unix)]
fn what_is_read_is_bounded() {
    let zero = PathBuf::from("/dev/zero");
    let error = read_report(&zero).unwrap_err().to_string();
    assert!(error.contains("/dev/zero: is not text"), "{error}");
    for kind in PlotKind::ALL.into_iter().filter(|kind| *kind != PlotKind::Panels) {
        let error = plot_files(kind, std::slice::from_ref(&zero), &PlotOptions::default()).unwrap_err();
        assert!(matches!(&error, ReportError::Input(_)) && error.to_string().contains("/dev/zero"), "{error}");
    }
}
