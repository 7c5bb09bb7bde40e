//! `banksia sweep`.

use banksia_reports::{
    PointRow, compare, comparison_csv, comparison_json, comparison_markdown, comparison_table, write_atomically,
};

use super::{color, print, width};
use crate::CliError;
use crate::args::{Format, SweepArgs};
use crate::progress::Progress;
use banksia_experiments::sweep::{Sweep, SweepOptions};

pub(super) fn execute(args: &SweepArgs) -> Result<(), CliError> {
    let sweep = Sweep::read(&args.sweep, &args.settings)?;
    for name in &args.versus {
        banksia_hw::roofline::Roofline::load(name)?;
    }
    let options = SweepOptions { jobs: args.jobs, out: args.out.clone(), resume: args.resume };
    let progress = Progress::new(sweep.len() as u64, "points");
    let reports = sweep.run(&options, &|| progress.one())?;
    drop(progress);
    let point = |(settings, report)| PointRow { settings, ..PointRow::of(report) };
    let points: Vec<PointRow<'_>> = sweep.settings().map(<[_]>::to_vec).zip(&reports).map(point).collect();
    let rows = compare(&points);
    print(&match args.format {
        Format::Table => format!("{}\n{}", sweep.name, comparison_table(&rows, width(), color())),
        Format::Json => comparison_json(&rows)?,
    })?;
    if !args.versus.is_empty() && args.format == Format::Table {
        print(&sweep.versus(&reports, &args.versus)?)?;
    }
    if let Some(folder) = &args.out {
        write_atomically(&folder.join("comparison.csv"), comparison_csv(&rows)?.as_bytes())?;
        write_atomically(&folder.join("comparison.json"), comparison_json(&rows)?.as_bytes())?;
        write_atomically(&folder.join("comparison.md"), comparison_markdown(&rows).as_bytes())?;
        eprintln!("{} points and their comparison in {}", reports.len(), folder.display());
    }
    Ok(())
}
