//! `banksia report`.

use std::path::Path;

use banksia_experiments::build;
use banksia_experiments::store::{ColumnKind as Stored, Query, Store, Value};
use banksia_input::InputError;
use banksia_reports::plot::{PlotKind, PlotOptions, Table, plot_files};
use banksia_reports::{ColumnKind, PageCell, PageColumn, PageData, PageFigure, PageTimeline, report_page};
use banksia_reports::{RunReport, read_report, write_atomically};

use crate::CliError;
use crate::args::ReportArgs;
use crate::output::note;

/// Whole reports on a page: their operators and timelines.
const MOST_REPORTS: usize = 50;

pub(super) fn execute(args: &ReportArgs) -> Result<(), CliError> {
    let extension = args.output.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if !["html", "htm"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        let error = InputError::new("--output", format!("`{}` does not end in .html", args.output.display()));
        return Err(error.help("name a file like report.html").into());
    }
    let input = &args.input;
    let mut data = match (input.is_dir(), input.join("report.json").is_file()) {
        (true, true) => of_run(input)?,
        (true, false) => of_sweep(input)?,
        (false, _) => of_store(input, args)?,
    };
    if let Some(title) = &args.title {
        data.title.clone_from(title);
    }
    data.provenance
        .push(("page made by".into(), format!("banksia {} ({})", env!("CARGO_PKG_VERSION"), env!("BANKSIA_REVISION"))));
    write_atomically(&args.output, report_page(&data)?.as_bytes())?;
    note(&format!("{}: open it in a browser", args.output.display()));
    Ok(())
}

fn of_store(path: &Path, args: &ReportArgs) -> Result<PageData, CliError> {
    let store = Store::open_existing(path)?;
    let query = Query { conditions: args.conditions.clone(), ..Query::default() };
    let points = store.points(&query)?;
    let columns = points.columns.iter().map(|(name, kind)| match kind {
        Some(Stored::Setting) => PageColumn::setting(name),
        Some(_) => PageColumn::result(name),
        None => PageColumn::text(name),
    });
    let columns: Vec<PageColumn> = columns.collect();
    let error = columns.iter().position(|c| c.name == "error");
    let cell = |column: &PageColumn, value: &Value| match value {
        Value::Null | Value::Blob(_) => PageCell::Empty,
        Value::Integer(i) => PageCell::Number(*i as f64),
        Value::Real(x) => PageCell::Number(*x),
        Value::Text(_) if column.name == "error" => PageCell::Empty,
        Value::Text(text) => PageCell::Text(text.clone()),
    };
    let mut rows: Vec<Vec<PageCell>> =
        points.rows.iter().map(|row| columns.iter().zip(row).map(|(c, v)| cell(c, v)).collect()).collect();
    for (row, values) in rows.iter_mut().zip(&points.rows) {
        if let Some(Value::Text(why)) = error.map(|e| &values[e]) {
            in_place_of_results(&columns, row, why);
        }
    }
    let sweeps = store.sweeps()?;
    let mut provenance = Vec::new();
    for sweep in &sweeps {
        // A search says no number of points.
        let points =
            if sweep.points < u64::from(u32::MAX) { format!(" ({} points)", sweep.points) } else { String::new() };
        provenance.push(("sweep".to_owned(), format!("{}{points}", sweep.path)));
    }
    for b in store.builds()? {
        let current = if b.build == build() { ", this program" } else { "" };
        provenance.push((
            "build".to_owned(),
            format!("{}, commit {}{current}: {} points, last {}", b.build, b.revision, b.points, b.last),
        ));
    }
    let hosts = store.points(&Query { columns: vec!["host".into()], ..query.clone() })?;
    let mut names: Vec<String> = hosts.rows.iter().map(|r| banksia_experiments::store::text(&r[0])).collect();
    names.sort();
    names.dedup();
    provenance.push(("hosts".to_owned(), names.join(", ")));
    let title = sweeps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join("; ");
    let objectives: Vec<String> = sweeps.iter().flat_map(|s| s.objectives.clone()).collect();
    let reports = store.reports(&query, MOST_REPORTS)?;
    Ok(PageData {
        title: if title.is_empty() { path.display().to_string() } else { title },
        provenance,
        configuration: sweeps.iter().map(|s| format!("# {}\n{}", s.path, s.text)).collect::<Vec<_>>().join("\n"),
        columns,
        rows,
        figures: figures(&store, &query, &objectives)?,
        timelines: timelines(&reports),
        reports,
    })
}

/// Says why a point has no result, where the first one would stand.
fn in_place_of_results(columns: &[PageColumn], row: &mut [PageCell], why: &str) {
    if let Some(first) = columns.iter().position(|c| c.kind == ColumnKind::Result) {
        row[first] = PageCell::Error(why.to_owned());
    }
}

fn timelines(reports: &[(String, RunReport)]) -> Vec<PageTimeline> {
    let with = reports.iter().filter(|(_, r)| !r.timeline.is_empty());
    with.map(|(name, r)| PageTimeline { name: name.clone(), spans: r.timeline.clone() }).collect()
}

/// What a sweep's points are looked at by first: each plot that can be drawn of them.
fn figures(store: &Store, query: &Query, objectives: &[String]) -> Result<Vec<PageFigure>, CliError> {
    let failed = |e: std::io::Error| CliError::Failed(format!("a temporary folder cannot be made: {e}"));
    let folder = tempfile::tempdir().map_err(failed)?;
    let path = folder.path().join("points.csv");
    store.export_csv(query, &path)?;
    let plain = |objective: &String| objective.trim_start_matches("max ").trim_start_matches("min ").trim().to_owned();
    let wanted: Vec<String> = objectives.iter().map(plain).collect();
    let of = |i: usize, usual: &str| Some(wanted.get(i).cloned().unwrap_or_else(|| usual.to_owned()));
    let (x, y) = (of(0, "latency_s"), of(1, "energy_j"));
    let pareto = PlotOptions { x: x.clone(), y: y.clone().into_iter().collect(), ..PlotOptions::default() };
    let mut all = vec![(
        PlotKind::Pareto,
        format!("{} against {}", y.unwrap_or_default(), x.clone().unwrap_or_default()),
        pareto,
    )];
    let keys: Vec<String> = store.sweeps()?.into_iter().flat_map(|s| s.keys).collect();
    if let Some(key) = keys.first() {
        let options =
            PlotOptions { x: Some(key.clone()), y: x.clone().into_iter().collect(), ..PlotOptions::default() };
        all.push((PlotKind::Sweep, format!("{} by {key}", x.clone().unwrap_or_default()), options));
    }
    if let [first, second, ..] = keys.as_slice() {
        let options =
            PlotOptions { x: Some(first.clone()), y: vec![second.clone()], value: x.clone(), ..PlotOptions::default() };
        all.push((PlotKind::Heatmap, format!("{} by {first} and {second}", x.unwrap_or_default()), options));
    }
    let drawn = all.into_iter().filter_map(|(kind, name, options)| {
        // A plot that these points do not make is not on the page.
        let svg = plot_files(kind, std::slice::from_ref(&path), &options).ok()?.drawing.svg().ok()?;
        Some(PageFigure { name, svg })
    });
    Ok(drawn.collect())
}

/// The SVG files of a folder.
fn drawn_in(folder: &Path) -> Vec<PageFigure> {
    let mut files: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "svg"));
    files.sort();
    let figure = |path: &std::path::PathBuf| {
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Some(PageFigure { name, svg: std::fs::read_to_string(path).ok()? })
    };
    files.iter().filter_map(figure).collect()
}

fn of_run(folder: &Path) -> Result<PageData, CliError> {
    let report = read_report(&folder.join("report.json"))?;
    let reports = vec![(report.name.clone(), report.clone())];
    Ok(PageData {
        title: report.name.clone(),
        provenance: vec![
            ("run".into(), folder.display().to_string()),
            ("configuration".into(), format!("SHA-256 {}", report.configuration_sha256)),
        ],
        configuration: report.configuration.clone(),
        columns: Vec::new(),
        rows: Vec::new(),
        figures: drawn_in(folder),
        timelines: timelines(&reports),
        reports,
    })
}

fn of_sweep(folder: &Path) -> Result<PageData, CliError> {
    let path = folder.join("comparison.csv");
    if !path.is_file() {
        let error = InputError::new(folder.display().to_string(), "has neither a report.json nor a comparison.csv");
        return Err(error
            .help("give a store, or a folder that `banksia run --out` or `banksia sweep --out` wrote")
            .into());
    }
    let table = Table::read(&path)?;
    let first_result = table.columns.iter().position(|c| c == "latency_s").unwrap_or(table.columns.len());
    let column = |(i, name): (usize, &String)| match name.as_str() {
        "name" | "model" | "machine" | "error" => PageColumn::text(name),
        _ if i < first_result => PageColumn::setting(name),
        _ => PageColumn::result(name),
    };
    let columns: Vec<PageColumn> = table.columns.iter().enumerate().map(column).collect();
    let cell = |column: &PageColumn, text: &String| match text.parse::<f64>() {
        _ if text.is_empty() => PageCell::Empty,
        _ if column.name == "error" => PageCell::Empty,
        Ok(x) => PageCell::Number(x),
        Err(_) => PageCell::Text(text.clone()),
    };
    let mut rows: Vec<Vec<PageCell>> =
        table.rows.iter().map(|row| columns.iter().zip(row).map(|(c, v)| cell(c, v)).collect()).collect();
    let error = columns.iter().position(|c| c.name == "error");
    for (row, texts) in rows.iter_mut().zip(&table.rows) {
        if let Some(why) = error.map(|e| &texts[e]).filter(|why| !why.is_empty()) {
            in_place_of_results(&columns, row, why);
        }
    }
    let mut folders: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    folders.sort();
    let reports: Vec<(String, RunReport)> = folders
        .iter()
        .filter_map(|f| read_report(&f.join("report.json")).ok())
        .take(MOST_REPORTS)
        .map(|r| (r.name.clone(), r))
        .collect();
    Ok(PageData {
        title: folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        provenance: vec![("sweep".into(), folder.display().to_string())],
        configuration: String::new(),
        columns,
        rows,
        figures: drawn_in(folder),
        timelines: timelines(&reports),
        reports,
    })
}
