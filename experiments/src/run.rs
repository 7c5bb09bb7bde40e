//! Runs an experiment and makes its report.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use banksia_hw::gpu::LaunchCache;
use banksia_hw::outcome::Outcome;
use banksia_hw::program::Program;
use banksia_hw::system::{RunError, RunOptions, System};
use banksia_input::InputError;
use banksia_mappers::replay::{CheckReport, check as check_program};
use banksia_reports::{ComponentReport, OperatorReport, RunReport, StepReport, TimelineSpan, WorkloadInfo};
use banksia_sim::Time;

use crate::error::Error;
use crate::experiment::Experiment;
use crate::{serving, training, training_gpu};

/// Runs an experiment. `progress` is called with the programs done so far.
///
/// # Errors
/// The run failed, or its result contradicts itself.
pub fn run(
    experiment: &Experiment,
    options: RunOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<(RunReport, Outcome), Error> {
    run_with(experiment, options, None, progress)
}

/// The same, with results of launches from a cache, which do not change the report.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    experiment: &Experiment,
    options: RunOptions,
    cache: Option<&Arc<dyn LaunchCache>>,
    progress: &mut dyn FnMut(u64),
) -> Result<(RunReport, Outcome), Error> {
    if let Some(report) = without_programs(experiment, options, cache, progress)? {
        return Ok((sound(experiment, report)?, Outcome::default()));
    }
    let mut plan = experiment.plan.boxed();
    let mut system = System::new(&experiment.machine, options);
    if let Some(cache) = cache {
        system.remember(cache);
    }
    for index in 0..plan.programs() {
        let program = plan.lower(index, &mut system)?;
        system.run(&Arc::new(program))?;
        progress(index + 1);
    }
    let outcome = system.finish();
    Ok((checked(experiment, &outcome)?, outcome))
}

/// The report of what is not a generation: a training step, a load, a published system by its own rules; none of a generation.
fn without_programs(
    experiment: &Experiment,
    options: RunOptions,
    cache: Option<&Arc<dyn LaunchCache>>,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<RunReport>, Error> {
    if let Some(step) = &experiment.training {
        if let Some(train) = &step.device {
            let report = training_gpu::run(experiment, train, options, cache)?;
            progress(1);
            return Ok(Some(report));
        }
        let (trained, events) = step.run(&experiment.model, cache)?;
        let events = if options.timeline_step.is_some() { events.as_slice() } else { &[] };
        return Ok(Some(training::report(&experiment.about(), step, &trained, events)));
    }
    if let Some(load) = &experiment.serving {
        return serving::run(experiment, load, options, cache, progress).map(Some);
    }
    match &experiment.published {
        Some(system) => Ok(Some(system.run(&experiment.about())?)),
        None => Ok(None),
    }
}

/// A report whose parts add up to the whole.
fn sound(experiment: &Experiment, report: RunReport) -> Result<RunReport, Error> {
    report.check().map_err(|reason| Error::Inconsistent { name: experiment.name.clone(), reason })?;
    Ok(report)
}

/// The program of one step of an experiment: what `banksia map --program` writes.
///
/// # Errors
/// The step cannot be lowered.
pub fn program(experiment: &Experiment, index: u64) -> Result<Program, Error> {
    let mut plan = experiment.plan.boxed();
    let mut system = System::new(&experiment.machine, RunOptions::default());
    Ok(plan.lower(index, &mut system)?)
}

/// Checks the program of one token of an experiment, or the one in a file, against what the experiment's plan claims, without running it; `None` of a plan that
/// claims nothing.
///
/// # Errors
/// The program does not do what the plan claims: as of input that is wrong.
pub fn check(experiment: &Experiment, token: u64, file: Option<&Path>) -> Result<Option<CheckReport>, Error> {
    let mut plan = experiment.plan.boxed();
    let mut system = System::new(&experiment.machine, RunOptions::default());
    let index = plan.program_of(token);
    let Some(claims) = plan.claims(index, &mut system)? else { return Ok(None) };
    let (program, name) = match file {
        Some(path) => (read_program(path)?, path.display().to_string()),
        None => (plan.lower(index, &mut system)?, experiment.name.clone()),
    };
    let report = check_program(&program, &claims, &experiment.machine).map_err(|wrong| {
        let error = InputError::new(name, wrong.to_string());
        let help = match file {
            Some(_) => "`banksia map --program` writes a program that its plan's check accepts",
            None => "this is a fault of the mapping, not of the experiment: please report it with the experiment file",
        };
        error.help(help)
    })?;
    Ok(Some(report))
}

/// Runs one program on an experiment's machine.
///
/// # Errors
/// The program, which `path` names, does not fit the machine, deadlocks, or claims work that its commands do not do.
pub fn run_program(
    experiment: &Experiment,
    path: &Path,
    program: Program,
    options: RunOptions,
) -> Result<(RunReport, Outcome), Error> {
    // What the user wrote, not what the run came to.
    let wrong = |problem: String| {
        let error = InputError::new(path.display().to_string(), problem);
        error.help("`banksia map --program` writes a program for an experiment's own machine")
    };
    let mut system = System::new(&experiment.machine, options);
    system.run(&Arc::new(program)).map_err(|e| match e {
        RunError::Program { error, .. } => wrong(error.to_string()).into(),
        other => Error::Run(other),
    })?;
    let outcome = system.finish();
    let report = report(experiment, &outcome);
    if let Err(reason) = report.check().and_then(|()| within_the_machine(&report)) {
        return Err(wrong(format!("claims more work than it does: {reason}")).into());
    }
    // A program is one step, whatever the experiment generates.
    let workload = WorkloadInfo { prompt_tokens: 0, generated_tokens: 0, ..report.workload.clone() };
    let none = RunReport { tokens: None, tokens_per_s: None, ttft_s: None, tpot_s: None, ..report };
    Ok((RunReport { workload, ..none }, outcome))
}

fn checked(experiment: &Experiment, outcome: &Outcome) -> Result<RunReport, Error> {
    let report = report(experiment, outcome);
    let report = sound(experiment, report)?;
    within_the_machine(&report).map_err(|reason| Error::Inconsistent { name: experiment.name.clone(), reason })?;
    Ok(report)
}

/// No machine does more than it can: arithmetic at its peak, shares and utilisations up to the whole.
fn within_the_machine(report: &RunReport) -> Result<(), String> {
    /// For rounding.
    const MOST: f64 = 1.0 + 1e-9;
    let peak = report.machine.peak_flops_per_s * report.latency_s;
    if peak > 0.0 && report.workload.flops > peak * MOST {
        return Err(format!("{:e} operations, and the machine does {peak:e} in this time", report.workload.flops));
    }
    let share = |name: &str| ["_utilization", "_share", "hit_rate"].iter().any(|end| name.ends_with(end));
    match report.metrics.iter().find(|(name, v)| share(name) && !(0.0..=MOST).contains(*v)) {
        Some((name, v)) => Err(format!("{name} is {v}, which is no share")),
        None => Ok(()),
    }
}

/// Reads a program file.
///
/// # Errors
/// The file cannot be read, is not a program, or contradicts itself.
pub fn read_program(path: &Path) -> Result<Program, InputError> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|e| InputError::new(&name, format!("cannot be read: {e}")))?;
    let reader = std::io::Read::take(std::io::BufReader::new(file), MOST_PROGRAM_BYTES);
    let program: Program = serde_json::from_reader(reader).map_err(|e| {
        InputError::new(&name, format!("is not a program: {e}")).help("`banksia map --program` writes one")
    })?;
    program.validate().map_err(|e| {
        InputError::new(&name, e.to_string()).help("`banksia map --program` writes a program that is sound")
    })?;
    Ok(program)
}

/// Programs of larger models take a few hundred megabytes.
const MOST_PROGRAM_BYTES: u64 = 4 << 30;

/// The hash of all that a result depends on.
pub fn configuration_sha256(experiment: &Experiment) -> String {
    experiment.configuration_sha256()
}

/// The report of an outcome.
fn report(experiment: &Experiment, outcome: &Outcome) -> RunReport {
    let base = experiment.about().report();
    let latency_s = outcome.latency.as_secs_f64();
    let mut energy_parts_j: BTreeMap<String, f64> = BTreeMap::new();
    let mut traffic_bytes: BTreeMap<String, u64> = BTreeMap::new();
    for component in &outcome.components {
        for (part, joules) in &component.energy_j {
            *energy_parts_j.entry(part.clone()).or_insert(0.0) += joules;
        }
        for (channel, bytes) in &component.traffic_bytes {
            *traffic_bytes.entry(channel.clone()).or_insert(0) += bytes;
        }
    }
    let energy_j: f64 = energy_parts_j.values().sum();
    let generation = &experiment.generation;
    let tokens = generation.generated_tokens.saturating_mul(generation.batch);
    let components = outcome.components.iter().map(|c| ComponentReport {
        name: c.name.clone(),
        kind: c.kind.clone(),
        busy_s: c.busy.as_secs_f64(),
        utilization: ratio(c.busy.as_secs_f64(), latency_s),
        energy_parts_j: c.energy_j.clone(),
        traffic_bytes: c.traffic_bytes.clone(),
        utilization_over_time: Vec::new(),
    });
    let flops: f64 = outcome.operators.iter().map(|o| o.flops).sum();
    let latencies = first_and_each(experiment, outcome);
    RunReport {
        workload: WorkloadInfo {
            prompt_tokens: generation.prompt_tokens,
            generated_tokens: generation.generated_tokens,
            batch: generation.batch,
            flops,
            ..base.workload
        },
        latency_s,
        energy_j,
        power_w: ratio(energy_j, latency_s),
        tokens: Some(tokens),
        tokens_per_s: Some(ratio(tokens as f64, latency_s)),
        ttft_s: latencies.map(|(first, _)| first),
        tpot_s: latencies.and_then(|(_, each)| each),
        footprint_bytes: latencies.map(|_| footprint(experiment)).unwrap_or_default(),
        metrics: outcome.metrics.clone().into_iter().chain(experiment.plan.figures()).collect(),
        operators: operators(outcome, energy_j),
        components: components.collect(),
        steps: steps(outcome),
        commands: outcome.commands.clone(),
        timeline: timeline(outcome),
        energy_parts_j,
        traffic_bytes,
        ..base
    }
}

/// Seconds to the first token, and for each that follows; of a generation that has a prompt or a cache to begin with.
fn first_and_each(experiment: &Experiment, outcome: &Outcome) -> Option<(f64, Option<f64>)> {
    let g = &experiment.generation;
    let applies = g.runs.is_empty() && (g.prompt_tokens != 1 || g.context_tokens > 0);
    let first = usize::try_from(experiment.plan.program_of(1)).ok()?;
    let steps: Vec<f64> = steps(outcome).iter().map(|s| s.latency_s).collect();
    // One program alone has no generation around it.
    let whole = steps.len() as u64 == experiment.plan.programs();
    if !(applies && whole) || first >= steps.len() {
        return None;
    }
    let to_first: f64 = steps[..=first].iter().sum();
    let after: f64 = steps[first + 1..].iter().sum();
    let more = g.generated_tokens.saturating_sub(1);
    Some((to_first, (more > 0).then(|| after / more as f64)))
}

fn footprint(experiment: &Experiment) -> BTreeMap<String, u64> {
    let f = experiment.plan.footprint();
    [("weights", f.weights), ("kv", f.kv), ("activations", f.activations)]
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// Operators with their share of what belongs to none: background, refresh and idle power go by latency.
fn operators(outcome: &Outcome, energy_j: f64) -> Vec<OperatorReport> {
    let own: Vec<f64> = outcome.operators.iter().map(|o| o.energy_j.values().sum()).collect();
    let shared = energy_j - own.iter().sum::<f64>();
    let latency = outcome.latency.as_secs_f64();
    let reports = outcome.operators.iter().zip(own).map(|(o, own)| OperatorReport {
        name: o.name.clone(),
        count: o.count,
        latency_s: o.latency.as_secs_f64(),
        busy_s: o.busy.as_secs_f64(),
        energy_j: own + shared * ratio(o.latency.as_secs_f64(), latency),
        flops: o.flops,
        traffic_bytes: o.traffic_bytes.clone(),
    });
    reports.collect()
}

/// One entry for each generated token; the passes of a prompt are one.
fn steps(outcome: &Outcome) -> Vec<StepReport> {
    let mut steps: Vec<StepReport> = Vec::new();
    for step in &outcome.steps {
        if let Some(last) = steps.last_mut()
            && last.phase == "prefill"
            && step.phase == "prefill"
        {
            last.context_tokens = step.context_tokens;
            last.latency_s += step.latency.as_secs_f64();
            last.energy_j += step.energy_j;
            continue;
        }
        steps.push(StepReport {
            phase: step.phase.clone(),
            context_tokens: step.context_tokens,
            start_s: step.start.as_secs_f64(),
            latency_s: step.latency.as_secs_f64(),
            energy_j: step.energy_j,
        });
    }
    steps
}

fn timeline(outcome: &Outcome) -> Vec<TimelineSpan> {
    let span = |group: &str, lane: &str, name: &str, start: Time, end: Time, details: &[(&'static str, String)]| {
        TimelineSpan {
            group: group.to_owned(),
            lane: lane.to_owned(),
            name: name.to_owned(),
            start_s: start.as_secs_f64(),
            duration_s: end.saturating_sub(start).as_secs_f64(),
            details: details.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        }
    };
    let mut spans: Vec<TimelineSpan> =
        outcome.spans.iter().map(|s| span(s.group, &s.lane, &s.operator, s.start, s.end, &s.details)).collect();
    // The operators' own lane: whose turn it was, from one advance of the frontier to the next.
    let mut frontier = outcome.spans.iter().map(|s| s.start).min().unwrap_or(Time::ZERO);
    let mut ends: Vec<(Time, &str)> = outcome.spans.iter().map(|s| (s.end, s.operator.as_str())).collect();
    ends.sort_unstable();
    let mut turns: Vec<(Time, Time, &str)> = Vec::new();
    for (end, operator) in ends.into_iter().filter(|(end, _)| *end > Time::ZERO) {
        if end <= frontier {
            continue;
        }
        match turns.last_mut() {
            Some(last) if last.2 == operator && last.1 == frontier => last.1 = end,
            _ => turns.push((frontier, end, operator)),
        }
        frontier = end;
    }
    spans.extend(
        turns.into_iter().map(|(start, end, operator)| span("operators", "operators", operator, start, end, &[])),
    );
    spans
}
