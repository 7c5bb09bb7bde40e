//! Runs an experiment and makes its report.

use std::collections::BTreeMap;
use std::path::Path;

use banksia_hw::outcome::Outcome;
use banksia_hw::pim::{PimSystem, RunError, RunOptions};
use banksia_hw::program::Program;
use banksia_input::InputError;
use banksia_reports::{
    ComponentReport, MachineInfo, OperatorReport, RunReport, SCHEMA, StepReport, TimelineSpan, WorkloadInfo,
};
use banksia_sim::Time;
use sha2::{Digest, Sha256};

use crate::error::CliError;
use crate::experiment::Experiment;

/// Runs an experiment. `progress` is called with the tokens done so far.
///
/// # Errors
/// The run failed, or its result contradicts itself.
pub fn run(
    experiment: &Experiment,
    options: RunOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<(RunReport, Outcome), CliError> {
    let mut system = PimSystem::new(&experiment.machine, options);
    for (done, program) in experiment.mapping.programs().enumerate() {
        system.run(&program)?;
        progress(done as u64 + 1);
    }
    let outcome = system.finish();
    let report = report(experiment, &outcome);
    report.check().map_err(|reason| CliError::Inconsistent { name: experiment.name.clone(), reason })?;
    Ok((report, outcome))
}

/// Runs one program on an experiment's machine.
///
/// # Errors
/// The program, which `path` names, does not fit the machine or deadlocks, or its result contradicts itself.
pub fn run_program(
    experiment: &Experiment,
    path: &Path,
    program: &Program,
    options: RunOptions,
) -> Result<(RunReport, Outcome), CliError> {
    let mut system = PimSystem::new(&experiment.machine, options);
    system.run(program).map_err(|e| match e {
        // What the user wrote, not what the run came to.
        RunError::Program { error, .. } => InputError::new(path.display().to_string(), error.to_string())
            .help("`banksia map --program` writes a program for an experiment's own machine")
            .into(),
        other => CliError::Run(other),
    })?;
    let outcome = system.finish();
    let mut report = report(experiment, &outcome);
    report.tokens = None;
    report.tokens_per_s = None;
    report.check().map_err(|reason| CliError::Inconsistent { name: experiment.name.clone(), reason })?;
    Ok((report, outcome))
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
fn report(experiment: &Experiment, outcome: &Outcome) -> RunReport {
    let machine = &experiment.machine;
    let device = &machine.device;
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
    let tokens = experiment.generation.generated_tokens;
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
    let channels = f64::from(machine.channels());
    let mac = device.commands.iter().filter(|c| c.macs > 0).max_by_key(|c| c.macs);
    let mac_gap = mac.and_then(|m| {
        let id = device.command(&m.name)?;
        device.timing.iter().filter(|r| r.from == id && r.to == id && r.window == 1).map(|r| r.cycles).max()
    });
    let clock_s = device.clock_fs as f64 * 1e-15;
    let macs_per_s = mac.map_or(0.0, |m| f64::from(m.macs) / (mac_gap.unwrap_or(1) as f64 * clock_s)) * channels;
    let bank_rate =
        mac.map_or(0.0, |m| f64::from(m.internal_bytes) / (mac_gap.unwrap_or(1) as f64 * clock_s)) * channels;
    RunReport {
        schema: SCHEMA,
        banksia_version: env!("CARGO_PKG_VERSION").to_owned(),
        name: experiment.name.clone(),
        seed: experiment.seed,
        configuration_sha256: configuration_sha256(experiment),
        configuration: experiment.configuration.clone(),
        machine: MachineInfo {
            name: machine.file.name.clone(),
            kind: machine.file.kind.clone(),
            peak_flops_per_s: 2.0 * macs_per_s,
            peak_bandwidth_bytes_per_s: bank_rate,
            capacity_bytes: machine.capacity_bytes(),
        },
        workload: WorkloadInfo {
            model: experiment.model.name.clone(),
            parameters: experiment.model.parameters(),
            weight_bytes: experiment.model.weight_bytes(),
            prompt_tokens: experiment.generation.prompt_tokens,
            generated_tokens: tokens,
            batch: experiment.generation.batch,
            flops,
        },
        latency_s,
        energy_j,
        power_w: ratio(energy_j, latency_s),
        tokens: Some(tokens),
        tokens_per_s: Some(ratio(tokens as f64, latency_s)),
        metrics: metrics(experiment, outcome, &traffic_bytes),
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

fn metrics(experiment: &Experiment, outcome: &Outcome, traffic: &BTreeMap<String, u64>) -> BTreeMap<String, f64> {
    let machine = &experiment.machine;
    let latency_s = outcome.latency.as_secs_f64();
    let bytes = |channel: &str| traffic.get(channel).copied().unwrap_or(0) as f64;
    let pins = bytes("pins_read") + bytes("pins_write");
    let pin_peak = machine.device.pin_bandwidth() * f64::from(machine.channels());
    let useful_macs: f64 = outcome.operators.iter().map(|o| o.pim_flops / 2.0).sum();
    let refresh = machine
        .device
        .refresh
        .map_or(0, |r| outcome.commands.get(&machine.device.spec(r.command).name).copied().unwrap_or(0));
    BTreeMap::from([
        ("row_hit_rate".to_owned(), 1.0 - ratio(outcome.misses as f64, outcome.accesses as f64)),
        ("mac_utilization".to_owned(), ratio(useful_macs, outcome.mac_slots as f64)),
        ("bank_bandwidth_bytes_per_s".to_owned(), ratio(bytes("bank_internal"), latency_s)),
        ("pin_bandwidth_bytes_per_s".to_owned(), ratio(pins, latency_s)),
        ("pin_utilization".to_owned(), ratio(pins, latency_s * pin_peak)),
        ("refreshes_per_channel".to_owned(), refresh as f64 / f64::from(machine.channels())),
        ("refresh_enabled".to_owned(), f64::from(u8::from(machine.file.memory.refresh))),
    ])
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
