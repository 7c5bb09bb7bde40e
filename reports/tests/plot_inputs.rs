//! What `banksia plot` makes of tables and folders: which columns it takes, what it leaves out, and what it refuses.

// clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use banksia_reports::plot::{PlotKind, PlotOptions, Plotted, plot_files};
use banksia_reports::{PointRow, ReportError, compare, comparison_csv, write_directory};

/// A fresh directory that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("banksia-plots-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn csv(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(x: &str, y: &str) -> PlotOptions {
    let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    PlotOptions { x: some(x), y: some(y).into_iter().collect(), ..PlotOptions::default() }
}

fn plot(kind: PlotKind, path: &PathBuf, options: &PlotOptions) -> Result<Plotted, ReportError> {
    plot_files(kind, std::slice::from_ref(path), options)
}

/// The texts of a drawing, in order.
fn texts(plotted: &Plotted) -> Vec<String> {
    let svg = plotted.drawing.svg().unwrap();
    let mut lines = svg.lines();
    let mut texts = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("<text") {
            texts.push(lines.next().unwrap_or_default().to_owned());
        }
    }
    texts
}

#[track_caller]
fn says(plotted: &Plotted, wanted: &[&str], not: &[&str]) {
    let texts = texts(plotted);
    for text in wanted {
        assert!(texts.iter().any(|t| t == text), "no `{text}` in {texts:?}");
    }
    for text in not {
        assert!(!texts.iter().any(|t| t == text), "`{text}` in {texts:?}");
    }
}

const SWEEP: &str = "\
name,model,machine,base,batch,latency_s,latency_per_token_s,tokens_per_s,energy_per_token_j,error
\"base=a100, batch=4\",m,a100,a100,4,4,1e-3,1000,2,
\"base=a100, batch=16\",m,a100,a100,16,5,5e-4,2000,1,
\"base=h200, batch=4\",m,h200,h200,4,3,8e-4,1250,3,
\"base=h200, batch=64\",m,h200,h200,64,9,1e-4,9000,0.5,
\"base=h200, batch=999\",,,h200,999,,,,,no room
";

#[test]
fn a_sweep_is_drawn_by_what_it_varies() {
    let scratch = Scratch::new("varies");
    let table = scratch.csv("comparison.csv", SWEEP);
    let usual = plot(PlotKind::Sweep, &table, &PlotOptions { log_x: true, ..PlotOptions::default() }).unwrap();
    // A line per machine, over the batch; the machine's own name says no more than the key that chose it.
    says(&usual, &["Batch", "Latency per token (ms)", "a100", "h200", "4", "16", "64"], &["999", "base=a100, batch=4"]);
    assert_eq!(usual.warnings, ["1 of 5 points have an error and are left out"]);
    // The folder stands for the table, and a key is found by its path.
    for (path, x) in [(&scratch.0, ""), (&table, "batch"), (&scratch.0, "workload.generation.batch")] {
        let same = plot(PlotKind::Sweep, path, &PlotOptions { log_x: true, ..options(x, "") }).unwrap();
        assert_eq!(same, usual);
    }
    // Words make an axis of names; what they imply does not tell series apart, the batch does.
    let named = plot(PlotKind::Sweep, &table, &options("machine", "latency_s")).unwrap();
    says(&named, &["Machine", "Latency (s)", "a100", "h200", "batch 4", "batch 16", "batch 64"], &[]);
    let mixed = scratch.csv("mixed.csv", "tile,latency_s\n64,1\nauto,2\n128,3\n");
    let mixed = plot(PlotKind::Sweep, &mixed, &options("tile", "")).unwrap();
    says(&mixed, &["Tile", "64", "auto", "128"], &[]);
    assert!(mixed.warnings[0].contains("1 of 3 values of `tile` are no numbers"), "{:?}", mixed.warnings);
}

#[test]
fn points_of_their_own_are_drawn_by_name() {
    let scratch = Scratch::new("named");
    // Each point sets another key: none is an axis for all of them.
    let table = scratch.csv(
        "comparison.csv",
        "name,model,machine,clock_mhz,channels,latency_s\nas configured,m,p,,,1\nslow,m,p,100,,4\nfew channels,m,p,,4,2\n",
    );
    let usual = plot(PlotKind::Sweep, &table, &PlotOptions::default()).unwrap();
    says(&usual, &["Name", "as configured", "slow", "few channels"], &[]);
    let clock = plot(PlotKind::Sweep, &table, &options("clock_mhz", "")).unwrap();
    assert_eq!(clock.warnings, ["2 of 3 rows have no `clock_mhz` or no `latency_s` and are left out"]);
    // The README's line: all on one machine.
    let machine = plot(PlotKind::Sweep, &table, &options("machine", "latency_s")).unwrap();
    says(&machine, &["Machine", "p", "as configured", "slow", "few channels"], &[]);
}

#[test]
fn columns_are_found_by_path_and_last_part_where_one_is_meant() {
    let scratch = Scratch::new("paths");
    let table = scratch
        .csv("t.csv", "name,model,machine,a.clock_mhz,b.clock_mhz,c.d,latency_s\nx,m,p,1,10,5,2\ny,m,p,2,20,6,1\n");
    says(&plot(PlotKind::Sweep, &table, &options("b.clock_mhz", "")).unwrap(), &["Clock (MHz)", "10"], &[]);
    says(&plot(PlotKind::Sweep, &table, &options("d", "")).unwrap(), &["D", "5.0"], &[]);
    // The other keys tell series apart, with their units.
    let by_c = plot(PlotKind::Pareto, &table, &options("latency_s", "a.clock_mhz")).unwrap();
    says(&by_c, &["clock 10 MHz", "clock 20 MHz"], &[]);
    let error = plot(PlotKind::Sweep, &table, &options("clock_mhz", "")).unwrap_err().to_string();
    assert!(error.contains("2 columns that end in `clock_mhz`") && error.contains("`a.clock_mhz`"), "{error}");
    let error = plot(PlotKind::Sweep, &table, &options("chanels", "")).unwrap_err().to_string();
    assert!(error.contains("no column named `chanels`"), "{error}");
}

#[test]
fn what_no_axis_can_show_is_refused_and_what_it_leaves_out_is_said() {
    let scratch = Scratch::new("log");
    let table = scratch.csv("t.csv", "x,latency_s,energy_j,none\n1,0,1,\n2,-1,1,\n4,0,0,\n");
    for kind in [PlotKind::Sweep, PlotKind::Pareto] {
        let log = PlotOptions { log_y: true, ..options("x", "latency_s") };
        let error = plot(kind, &table, &log).unwrap_err();
        assert!(matches!(&error, ReportError::Input(e) if e.key.as_deref() == Some("latency_s")), "{error}");
        assert!(error.to_string().contains("no positive value") && error.to_string().contains("--log-y"), "{error}");
        let some = plot(kind, &table, &PlotOptions { log_y: true, ..options("x", "energy_j") }).unwrap();
        assert_eq!(some.warnings, ["1 of 3 points are left out: their `energy_j` is not positive"]);
        let error = plot(kind, &table, &options("x", "none")).unwrap_err().to_string();
        assert!(error.contains("no row with both `x` and `none`"), "{error}");
    }
    let failed = scratch.csv("f.csv", "name,model,machine,b,latency_s,error\na,,,1,,no room\n");
    let error = plot(PlotKind::Sweep, &failed, &PlotOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no point with a result"), "{error}");
    // Another table's `error` is a number as any.
    let other = scratch.csv("o.csv", "n,error\n1,0.5\n2,0.7\n");
    says(&plot(PlotKind::Sweep, &other, &options("n", "error")).unwrap(), &["Error"], &[]);
}

#[test]
fn a_pareto_plot_knows_that_throughput_is_a_gain() {
    let scratch = Scratch::new("gain");
    let table = scratch.csv("comparison.csv", SWEEP);
    let best = plot(PlotKind::Pareto, &table, &options("tokens_per_s", "energy_per_token_j")).unwrap();
    // The point with the highest rate has the least energy: it alone is the front.
    says(
        &best,
        &["Throughput (tokens/s)", "Pareto front (best: high x, low y)", "Dominated", "h200, batch 64"],
        &["a100, batch 4", "a100, batch 16", "h200, batch 4"],
    );
    says(&plot(PlotKind::Pareto, &scratch.0, &PlotOptions::default()).unwrap(), &["Latency per token (ms)"], &[]);
}

#[test]
fn a_sweeps_folder_stands_for_its_points_in_their_order() {
    let scratch = Scratch::new("folder");
    let mut reports = Vec::new();
    for (name, model) in [("batch=4", "four"), ("batch=16", "sixteen"), ("batch=64", "sixty-four")] {
        let mut report = crate::sample::report();
        (report.name, report.workload.model) = (name.to_owned(), model.to_owned());
        write_directory(&report, &scratch.0.join(name)).unwrap();
        reports.push(report);
    }
    let rows = compare(&reports.iter().map(PointRow::of).collect::<Vec<_>>());
    scratch.csv("comparison.csv", &comparison_csv(&rows).unwrap());
    // An earlier sweep's point is none of this one's.
    let mut old = crate::sample::report();
    (old.name, old.workload.model) = ("batch=1".into(), "one".into());
    write_directory(&old, &scratch.0.join("batch=1")).unwrap();
    for kind in [PlotKind::Breakdown, PlotKind::Energy, PlotKind::Context] {
        let texts = texts(&plot(kind, &scratch.0, &PlotOptions::default()).unwrap());
        let order: Vec<&String> =
            texts.iter().filter(|t| ["one", "four", "sixteen", "sixty-four"].contains(&t.as_str())).collect();
        assert_eq!(order, ["four", "sixteen", "sixty-four"], "{kind:?}");
    }
    let empty = Scratch::new("empty");
    let error = plot(PlotKind::Sweep, &empty.0, &PlotOptions::default()).unwrap_err().to_string();
    assert!(error.contains("folder without a `comparison.csv`"), "{error}");
}

#[test]
fn two_keys_make_a_heat_map_and_one_a_distribution() {
    let scratch = Scratch::new("heat");
    let table = scratch.csv("comparison.csv", SWEEP);
    let map = plot(PlotKind::Heatmap, &table, &PlotOptions::default()).unwrap();
    // Numbers ascend; a pair without a point is a dash.
    says(&map, &["Batch", "Base", "4", "16", "64", "a100", "h200", "1.000 ms", "100.0 µs", "–"], &["999"]);
    assert_eq!(map.warnings, ["1 of 5 points have an error and are left out"]);
    let energy = PlotOptions { value: Some("energy_per_token_j".into()), ..options("base", "batch") };
    says(&plot(PlotKind::Heatmap, &scratch.0, &energy).unwrap(), &["Energy per token", "3.000 J"], &[]);
    let more = scratch.csv("more.csv", "a,b,c,latency_s\n1,1,1,1\n1,1,2,2\n2,1,1,\n2,2,1,4\n");
    let twice = plot(PlotKind::Heatmap, &more, &PlotOptions { log_y: true, ..options("a", "b") }).unwrap();
    assert_eq!(twice.warnings.len(), 2, "{:?}", twice.warnings);
    let error = plot(PlotKind::Heatmap, &table, &options("x", "")).unwrap_err().to_string();
    assert!(error.contains("no column named `x`"), "{error}");
    let line = scratch.csv("line.csv", "a,latency_s\n1,1\n2,3\n");
    let error = plot(PlotKind::Heatmap, &line, &PlotOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no two columns that vary") && error.contains("--y"), "{error}");
    let many: String = (0..100).map(|i| format!("{i},{},1\n", i % 7)).collect();
    let many = scratch.csv("many.csv", &format!("a,b,latency_s\n{many}"));
    let error = plot(PlotKind::Heatmap, &many, &options("a", "b")).unwrap_err().to_string();
    assert!(error.contains("`a` has 100 values") && error.contains("--x"), "{error}");

    let by = PlotOptions { by: Some("machine".into()), ..options("latency_s", "") };
    says(&plot(PlotKind::Cdf, &table, &by).unwrap(), &["Latency (s)", "Share of rows (%)", "a100", "h200"], &[]);
    let log = PlotOptions { log_x: true, ..options("a", "") };
    let zeros = scratch.csv("zeros.csv", "a\n0\n-1\n");
    assert!(plot(PlotKind::Cdf, &zeros, &log).unwrap_err().to_string().contains("no positive value"));
}
