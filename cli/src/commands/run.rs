//! `banksia run`.

use std::path::Path;
use std::time::Instant;

use banksia_experiments::cache::Cache;
use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_experiments::versus::{Versus, versus};
use banksia_hw::gpu::sampling::Detail;
use banksia_hw::outcome::WorkedOut;
use banksia_hw::system::RunOptions;
use banksia_input::InputError;
use banksia_reports::units::{count, percent, short_count};
use banksia_reports::{chrome_trace, report_json, terminal, write_atomically, write_directory};

use crate::CliError;
use crate::args::{Format, RunArgs, RunDetail};
use crate::output::{color, note, print, width};
use crate::progress::Progress;

pub(super) fn execute(args: &RunArgs) -> Result<(), CliError> {
    let experiment = Experiment::read(&args.experiment, &args.settings)?;
    for name in &args.versus {
        banksia_hw::roofline::Roofline::load(name)?;
    }
    writable(args)?;
    let options = RunOptions {
        stepping: args.exact_stepping,
        detail: match args.detail {
            RunDetail::Fast => Detail::DEFAULT,
            RunDetail::Exact => Detail::FINEST,
        },
        timeline_step: timeline_step(args, &experiment)?,
        ..RunOptions::default()
    };
    if args.verbose {
        note(&super::map::chosen(&experiment, experiment.mapped_generation().generated_tokens)?);
    }
    let begun = Instant::now();
    let (report, outcome) = match &args.program {
        Some(path) => run::run_program(&experiment, path, run::read_program(path)?, options)?,
        None => {
            let progress = Progress::new(experiment.plan.programs(), "steps");
            let cache = args.cache.as_deref().map(Cache::with_file).transpose()?;
            run::run_with(&experiment, options, cache.as_ref(), &mut |done| progress.set(done))?
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    let beside = if args.program.is_some() { Vec::new() } else { versus(&experiment, &report, &args.versus)? };
    match args.format {
        Format::Table => print(&(terminal(&report, width(), color()) + &versus_table(&beside)))?,
        Format::Json => print(&with_versus(&report_json(&report)?, &beside)?)?,
    }
    if let Some(folder) = &args.out {
        let files = write_directory(&report, folder)?;
        note(&format!("{} files in {}", files.len(), folder.display()));
    }
    if let Some(path) = &args.timeline {
        write_atomically(path, chrome_trace(&report)?.as_bytes())?;
        note(&format!("timeline in {}: open it at ui.perfetto.dev", path.display()));
    }
    for worked in &outcome.worked_out {
        note(&how(worked, seconds));
    }
    Ok(())
}

/// How a result came about: what was repeated exactly, and what was sampled.
fn how(w: &WorkedOut, seconds: f64) -> String {
    let mut text = format!(
        "simulated {} {} in {seconds:.2} s: {} a second; {} were worked out one by one, the others by exact repetition",
        count(w.total),
        w.what,
        short_count(w.total as f64 / seconds),
        count(w.simulated)
    );
    if w.sampled > 0 {
        text.push_str(&format!(
            "; of {} of these some waves were run and the rest continued at their rate, {} of the time: --detail exact runs all",
            count(w.sampled),
            percent(w.sampled_latency_share)
        ));
    }
    text
}

/// What is to be written can be, before anything is simulated.
fn writable(args: &RunArgs) -> Result<(), CliError> {
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|e| unwritable("--out", folder, &e))?;
    }
    if let Some(path) = &args.timeline {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        if path.is_dir() || !folder.is_dir() {
            let problem = format!("{}: cannot be written: its folder is not there", path.display());
            return Err(InputError::new("--timeline", problem).into());
        }
    }
    Ok(())
}

fn unwritable(option: &str, path: &Path, e: &std::io::Error) -> InputError {
    InputError::new(option, format!("{}: cannot be made: {e}", path.display()))
}

/// The program whose spans are recorded: the one that gives the token asked for.
fn timeline_step(args: &RunArgs, experiment: &Experiment) -> Result<Option<u64>, CliError> {
    let generation = experiment.mapped_generation();
    let token = args.timeline_token.unwrap_or(generation.generated_tokens);
    if token == 0 || token > generation.generated_tokens {
        let problem = format!("is {token}: must be from 1 to {}", generation.generated_tokens);
        return Err(InputError::new("--timeline-token", problem).help("tokens are counted from 1").into());
    }
    if args.timeline.is_none() && args.out.is_none() {
        return Ok(None);
    }
    if args.program.is_some() {
        return Ok(Some(0));
    }
    Ok(Some(experiment.plan.program_of(token)))
}

fn versus_table(beside: &[Versus]) -> String {
    use banksia_reports::units::{number, quantity};
    if beside.is_empty() {
        return String::new();
    }
    let mut out = String::from("\nBeside plain rooflines (data-sheet peaks; no real device reaches them)\n");
    for v in beside {
        out.push_str(&format!(
            "  {:<16} {:>10} at best, {:>10} at its power limit: {} x its speed, {} x its energy efficiency\n",
            v.device,
            quantity(v.roofline_s, "s"),
            quantity(v.roofline_j, "J"),
            number(v.speedup),
            number(v.energy_ratio)
        ));
    }
    out
}

/// The report's JSON with the comparisons beside it, under `versus`, where there are any.
fn with_versus(report: &str, beside: &[Versus]) -> Result<String, CliError> {
    if beside.is_empty() {
        return Ok(report.to_owned());
    }
    let failed = |e: serde_json::Error| CliError::Failed(format!("the report cannot be written as JSON: {e}"));
    let mut value: serde_json::Value = serde_json::from_str(report).map_err(failed)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("versus".into(), serde_json::to_value(beside).map_err(failed)?);
    }
    crate::output::json("report", &value)
}
