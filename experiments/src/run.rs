//! Runs an experiment and makes its report.

mod gpu;
mod pim;

use std::collections::BTreeMap;
use std::path::Path;

use banksia_hw::outcome::Outcome;
use banksia_hw::pim::{PimSystem, RunError, RunOptions};
use banksia_hw::program::Program;
use banksia_input::InputError;
use banksia_mappers::gpu::model::GpuRunOptions;
use banksia_reports::{
    ComponentReport, MachineInfo, OperatorReport, RunReport, SCHEMA, StepReport, TimelineSpan, WorkloadInfo,
};
use banksia_sim::Time;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::experiment::{Experiment, System};

/// Runs an experiment. `progress` is called with the tokens done so far.
///
/// # Errors
/// The run failed, or its result contradicts itself.
pub fn run(
    experiment: &Experiment,
    options: RunOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<(RunReport, Outcome), Error> {
    match &experiment.system {
        System::Pim { machine, mapping } => {
            let mut system = PimSystem::new(machine, options);
            for (done, program) in mapping.programs().enumerate() {
                system.run(&program)?;
                progress(done as u64 + 1);
            }
            let outcome = system.finish();
            Ok((checked(experiment, &outcome, pim::facts(machine, &outcome))?, outcome))
        }
        System::Gpu(model) => {
            let options = GpuRunOptions { timeline_step: options.timeline_step, ..GpuRunOptions::default() };
            let run = model.run(&options, progress)?;
            Ok((checked(experiment, &run.outcome, gpu::facts(model, &run))?, run.outcome))
        }
    }
}

/// Runs one program on an experiment's machine.
///
/// # Errors
/// The machine runs no such programs; the program, which `path` names, does not fit the machine or deadlocks; or its result
/// contradicts itself.
pub fn run_program(
    experiment: &Experiment,
    path: &Path,
    program: &Program,
    options: RunOptions,
) -> Result<(RunReport, Outcome), Error> {
    let (machine, _) = experiment.pim_for("--program", "programs are for machines of kind `pim`")?;
    let mut system = PimSystem::new(machine, options);
    system.run(program).map_err(|e| match e {
        // What the user wrote, not what the run came to.
        RunError::Program { error, .. } => InputError::new(path.display().to_string(), error.to_string())
            .help("`banksia map --program` writes a program for an experiment's own machine")
            .into(),
        other => Error::Run(other),
    })?;
    let outcome = system.finish();
    let mut report = checked(experiment, &outcome, pim::facts(machine, &outcome))?;
    report.tokens = None;
    report.tokens_per_s = None;
    Ok((report, outcome))
}

/// What a report says of the machine beyond the outcome.
struct Facts {
    machine: MachineInfo,
    metrics: BTreeMap<String, f64>,
}

fn checked(experiment: &Experiment, outcome: &Outcome, facts: Facts) -> Result<RunReport, Error> {
    let report = report(experiment, outcome, facts);
    report.check().map_err(|reason| Error::Inconsistent { name: experiment.name.clone(), reason })?;
    Ok(report)
}

/// Reads a program file.
///
/// # Errors
/// The file cannot be read, is not a program, or contradicts itself.
pub fn read_program(path: &Path) -> Result<Program, InputError> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|e| InputError::new(&name, format!("cannot be read: {e}")))?;
    let program: Program = serde_json::from_reader(std::io::BufReader::new(file)).map_err(|e| {
        InputError::new(&name, format!("is not a program: {e}")).help("`banksia map --program` writes one")
    })?;
    program.validate().map_err(|e| {
        InputError::new(&name, e.to_string()).help("`banksia map --program` writes a program that is sound")
    })?;
    Ok(program)
}

/// The hash of all that a result depends on.
pub fn configuration_sha256(experiment: &Experiment) -> String {
    hex(&Sha256::digest(experiment.configuration.as_bytes()))
}

/// The report of an outcome.
fn report(experiment: &Experiment, outcome: &Outcome, facts: Facts) -> RunReport {
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
    RunReport {
        schema: SCHEMA,
        banksia_version: env!("CARGO_PKG_VERSION").to_owned(),
        name: experiment.name.clone(),
        seed: experiment.seed,
        configuration_sha256: configuration_sha256(experiment),
        configuration: experiment.configuration.clone(),
        machine: facts.machine,
        workload: WorkloadInfo {
            model: experiment.model.name.clone(),
            parameters: experiment.model.parameters(),
            weight_bytes: experiment.model.weight_bytes(),
            prompt_tokens: generation.prompt_tokens,
            generated_tokens: generation.generated_tokens,
            batch: generation.batch,
            flops,
        },
        latency_s,
        energy_j,
        power_w: ratio(energy_j, latency_s),
        tokens: Some(tokens),
        tokens_per_s: Some(ratio(tokens as f64, latency_s)),
        metrics: facts.metrics,
        operators: operators(outcome, energy_j),
        components: components.collect(),
        steps: steps(outcome),
        commands: outcome.commands.clone(),
        timeline: timeline(outcome),
        energy_parts_j,
        traffic_bytes,
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
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
