//! `banksia sweep`.

use banksia_experiments::sweep::{Sweep, SweepOptions};
use banksia_reports::{
    ComparisonRow, comparison_csv, comparison_json, comparison_markdown, comparison_table, write_atomically,
};

use crate::CliError;
use crate::args::{Format, SweepArgs};
use crate::output::{color, note, print, width};
use crate::progress::Progress;

pub(super) fn execute(args: &SweepArgs) -> Result<(), CliError> {
    let sweep = Sweep::read(&args.sweep, &args.settings)?;
    let options =
        SweepOptions { jobs: args.jobs, out: args.out.clone(), resume: args.resume, versus: args.versus.clone() };
    let progress = Progress::new(sweep.len() as u64, "points");
    let results = sweep.run(&options, &|| progress.one())?;
    drop(progress);
    let rows: Vec<ComparisonRow> = results.iter().map(|r| r.row.clone()).collect();
    print(&match args.format {
        Format::Table => format!("{}\n{}", sweep.name, comparison_table(&rows, width(), color())),
        Format::Json => comparison_json(&rows)?,
    })?;
    if !args.versus.is_empty() && args.format == Format::Table {
        print("\nBeside plain rooflines (data-sheet peaks; no real device reaches them)\n")?;
        print(&results.iter().map(|r| r.versus.as_str()).collect::<String>())?;
    }
    if let Some(folder) = &args.out {
        write_atomically(&folder.join("comparison.csv"), comparison_csv(&rows)?.as_bytes())?;
        write_atomically(&folder.join("comparison.json"), comparison_json(&rows)?.as_bytes())?;
        write_atomically(&folder.join("comparison.md"), comparison_markdown(&rows).as_bytes())?;
        note(&format!("{} points and their comparison in {}", rows.len(), folder.display()));
    }
    let failed = rows.iter().filter(|r| r.error.is_some()).count();
    if failed == rows.len() {
        return Err(CliError::Failed(rows.first().and_then(|r| r.error.clone()).unwrap_or_default()));
    }
    if failed > 0 {
        note(&format!("{failed} of {} points have an error in place of a result", rows.len()));
    }
    Ok(())
}
