//! `banksia validate`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use banksia_input::InputError;
use banksia_reports::plot::validation_by_metric;
use banksia_reports::{
    Pair, Subject, ValidationResult, validation_json, validation_markdown, validation_table, write_atomically,
};

use crate::CliError;
use crate::args::{Format, ValidateArgs};
use crate::output::{color, print, width};
use crate::progress::Progress;
use banksia_validation::{Compared, ValidateOptions, devices, run_suite, suites};

pub(super) fn execute(args: &ValidateArgs) -> Result<(), CliError> {
    let known: Vec<&str> = suites().collect();
    let mut chosen: Vec<&str> = args.suites.iter().map(String::as_str).collect();
    if let Some(unknown) = chosen.iter().find(|s| !known.contains(s)) {
        return Err(InputError::unknown_name("validate", "suite", unknown, known.iter().copied()).into());
    }
    if chosen.is_empty() {
        chosen.clone_from(&known);
    }
    if args.counters && !chosen.contains(&"h200-counters") {
        chosen.push("h200-counters");
    }
    if args.measured.len() > chosen.len() || (!args.measured.is_empty() && args.suites.is_empty()) {
        let problem = format!("is given {} times for {} named suites", args.measured.len(), args.suites.len());
        return Err(InputError::new("--measured", problem).help("name one suite before each measured file").into());
    }
    let options = |i: usize| ValidateOptions {
        device: args.device.clone(),
        measured: args.measured.get(i).cloned(),
        worst: args.worst,
        grain_bytes: args.grain,
        ..ValidateOptions::default()
    };
    let chosen = with_device(&chosen, args.device.as_deref(), &options)?;
    if let Some(folder) = &args.out {
        // Found out now rather than when all suites have run.
        make_folder(folder)?;
    }
    let mut all: Vec<Compared> = Vec::new();
    for &(i, suite) in &chosen {
        let begun = Instant::now();
        let bar = Progress::new(0, suite);
        all.extend(run_suite(suite, &options(i), &|done, rows| bar.of(done, rows))?);
        drop(bar);
        eprintln!("{suite}: {:.1} s", begun.elapsed().as_secs_f64());
    }
    let results: Vec<ValidationResult> = all.iter().map(|c| c.result(args.worst)).collect();
    if args.rows {
        print(&rows(&all))?;
    }
    print(&match args.format {
        Format::Table => validation_table(&results, width(), color()),
        Format::Json => validation_json(&results)?,
    })?;
    if let Some(folder) = &args.out {
        write_atomically(&folder.join("validation.json"), validation_json(&results)?.as_bytes())?;
        write_atomically(&folder.join("accuracy.md"), validation_markdown(&results).as_bytes())?;
        for (_, suite) in &chosen {
            let groups: Vec<(&Subject, &[Pair])> =
                all.iter().filter(|c| c.subject.suite == **suite).map(|c| (&c.subject, c.pairs.as_slice())).collect();
            // One quantity a plot; a suite with a single metric has its own name.
            let drawings = validation_by_metric(&groups);
            for (metric, drawing) in &drawings {
                let name = if drawings.len() == 1 { (*suite).to_owned() } else { format!("{suite}-{metric}") };
                drawing.write(&folder.join(format!("{name}.svg")))?;
                drawing.write(&folder.join(format!("{name}.png")))?;
            }
        }
        eprintln!("tables and plots in {}", folder.display());
    }
    Ok(())
}

/// The suites, by number, that have rows of a device.
fn with_device<'a>(
    suites: &[&'a str],
    device: Option<&str>,
    options: &dyn Fn(usize) -> ValidateOptions,
) -> Result<Vec<(usize, &'a str)>, CliError> {
    let mut known = BTreeSet::new();
    let mut chosen = Vec::new();
    for (i, &suite) in suites.iter().enumerate() {
        let Some(device) = device else {
            chosen.push((i, suite));
            continue;
        };
        let has = devices(suite, &options(i))?;
        if has.contains(device) {
            chosen.push((i, suite));
        }
        known.extend(has);
    }
    match device {
        Some(device) if chosen.is_empty() => {
            let what = if let [suite] = suites { format!("device in suite `{suite}`") } else { "device".to_owned() };
            Err(InputError::unknown_name("--device", &what, device, known.iter().map(String::as_str)).into())
        }
        _ => Ok(chosen),
    }
}

/// Makes the folder of the results, which must be one that can be written to.
fn make_folder(folder: &Path) -> Result<(), CliError> {
    let bad = |e: std::io::Error| {
        let name = folder.display().to_string();
        let error = InputError::new(name, format!("cannot be a folder for the results: {e}"));
        CliError::from(error.key("--out").help("name a folder that can be made or written to"))
    };
    std::fs::create_dir_all(folder).map_err(bad)?;
    let probe = folder.join(format!(".banksia.{}", std::process::id()));
    std::fs::write(&probe, []).map_err(bad)?;
    std::fs::remove_file(&probe).map_err(bad)
}

/// Every compared row, below its group's name.
fn rows(all: &[Compared]) -> String {
    let mut out = String::new();
    for c in all.iter().filter(|c| !c.pairs.is_empty()) {
        let s = &c.subject;
        let _ = writeln!(out, "{} {} {} {}: measured, predicted, error", s.suite, s.device, s.op, s.metric);
        for p in &c.pairs {
            let error = if p.measured > 0.0 {
                format!("{:+.2} %", (p.predicted / p.measured - 1.0) * 100.0)
            } else {
                "-".into()
            };
            let _ = writeln!(out, "  {:<44} {:>14} {:>14} {error:>9}", p.label, shown(p.measured), shown(p.predicted));
        }
        out.push('\n');
    }
    out
}

/// A whole number as it is; another to six places that count.
fn shown(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:.6e}") }
}
