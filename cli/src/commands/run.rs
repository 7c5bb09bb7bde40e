//! `banksia run`.

use std::time::Instant;

use banksia_hw::pim::RunOptions;
use banksia_input::InputError;
use banksia_reports::{chrome_trace, report_json, terminal, write_atomically, write_directory};

use super::{color, print, width};
use crate::CliError;
use crate::args::{Format, RunArgs};
use crate::progress::Progress;
use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_experiments::versus::{Versus, versus};

pub(super) fn execute(args: &RunArgs) -> Result<(), CliError> {
    let experiment = Experiment::read(&args.experiment, &args.settings)?;
    for name in &args.versus {
        banksia_hw::roofline::Roofline::load(name)?;
    }
    if args.exact_stepping {
        experiment.pim_for("--exact-stepping", "a GPU's kernels are always run event by event: leave it out")?;
    }
    if args.program.is_some() {
        experiment.pim_for("--program", "a GPU runs the kernels that `banksia map` prints: leave it out")?;
    }
    let options = RunOptions { exact_stepping: args.exact_stepping, timeline_step: timeline_step(args, &experiment)? };
    let begun = Instant::now();
    let (report, outcome) = match &args.program {
        Some(path) => run::run_program(&experiment, path, &run::read_program(path)?, options)?,
        None => {
            let progress = Progress::new(experiment.passes(), "tokens");
            run::run(&experiment, options, &mut |done| progress.set(done))?
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
        eprintln!("{} files in {}", files.len(), folder.display());
    }
    if let Some(path) = &args.timeline {
        write_atomically(path, chrome_trace(&report)?.as_bytes())?;
        eprintln!("timeline in {}: open it at ui.perfetto.dev", path.display());
    }
    let commands: u64 = report.commands.values().sum();
    let (what, how) = match experiment.pim() {
        Some(_) => ("DRAM commands", "were worked out one by one, the others by exact repetition"),
        None => ("kernel launches", "were worked out event by event, the others by exact repetition"),
    };
    eprintln!(
        "simulated {} {what} in {seconds:.2} s: {} a second; {} {how}",
        banksia_reports::units::count(commands),
        banksia_reports::units::short_count(commands as f64 / seconds),
        banksia_reports::units::count(outcome.commands_stepped),
    );
    Ok(())
}

/// The pass through the model whose spans are recorded: the one that gives the token asked for.
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
    Ok(Some(experiment.pass_of(token)))
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
    super::json("report", &value)
}
