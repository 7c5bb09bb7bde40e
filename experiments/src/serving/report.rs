//! The report of a load: the machine's figures over all steps, and what became of the requests.

use std::collections::BTreeMap;

use banksia_hw::system::Device;
use banksia_reports::{ComponentReport, OperatorReport, RunReport, StepReport, TimelineSpan, WorkloadInfo};

use super::load::{Answered, Served};
use super::settings::Load;
use super::steps::{PHASES, Simulated};
use crate::experiment::Experiment;

/// Requests of a timeline, at most: their lanes are to be read.
const MOST_LANES: usize = 200;
/// What is counted where no request is there.
const IDLE: &str = "idle between requests";

/// Sums over the steps of a load.
#[derive(Default)]
struct Sums {
    operators: BTreeMap<String, OperatorReport>,
    components: BTreeMap<String, ComponentReport>,
    energy_parts_j: BTreeMap<String, f64>,
}

impl Sums {
    fn add(&mut self, report: &RunReport, weight: f64) {
        for o in &report.operators {
            let sum = self
                .operators
                .entry(o.name.clone())
                .or_insert_with(|| OperatorReport { name: o.name.clone(), ..OperatorReport::default() });
            sum.latency_s += weight * o.latency_s;
            sum.busy_s += weight * o.busy_s;
            sum.energy_j += weight * o.energy_j;
            sum.flops += weight * o.flops;
        }
        for c in &report.components {
            let sum = self.components.entry(c.name.clone()).or_insert_with(|| ComponentReport {
                busy_s: 0.0,
                utilization: 0.0,
                energy_parts_j: BTreeMap::new(),
                // Bytes of steps that lie between others are no whole numbers.
                traffic_bytes: BTreeMap::new(),
                utilization_over_time: Vec::new(),
                ..c.clone()
            });
            sum.busy_s += weight * c.busy_s;
            for (part, joules) in &c.energy_parts_j {
                *sum.energy_parts_j.entry(part.clone()).or_insert(0.0) += weight * joules;
            }
        }
        for (part, joules) in &report.energy_parts_j {
            *self.energy_parts_j.entry(part.clone()).or_insert(0.0) += weight * joules;
        }
    }
}

/// Nearest-rank quantiles of values that lie in order.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

fn figures(name: &str, mut values: Vec<f64>, metrics: &mut BTreeMap<String, f64>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    metrics.insert(format!("{name}_mean_s"), mean);
    for (label, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        metrics.insert(format!("{name}_{label}_s"), quantile(&values, share));
    }
    Some(mean)
}

/// Watts of the machine's GPUs while nothing runs.
fn idle_w(experiment: &Experiment) -> f64 {
    let machine = &experiment.machine;
    let gpus = machine.devices.iter().enumerate().map(|(i, (_, device))| match device {
        Device::Gpu(spec) => spec.power.active_idle_w * f64::from(machine.copies_of(i)),
        Device::Pim(_) => 0.0,
    });
    gpus.sum()
}

pub(super) fn report(
    experiment: &Experiment,
    load: &Load,
    served: &Served,
    steps: &Simulated<'_>,
    timeline: bool,
) -> RunReport {
    let base = experiment.about().report();
    let mut sums = Sums::default();
    let mut phases: Vec<StepReport> = Vec::new();
    for (phase, weights) in PHASES.iter().zip(&steps.weights) {
        let mut step = StepReport { phase: (*phase).to_owned(), ..StepReport::default() };
        for (report, weight) in steps.reports.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
            step.latency_s += weight * report.latency_s;
            step.energy_j += weight * report.energy_j;
            sums.add(report, *weight);
        }
        phases.extend(Some(step).filter(|s| s.latency_s > 0.0));
    }
    if served.idle_s > 0.0 {
        let energy_j = served.idle_s * idle_w(experiment);
        let parts: BTreeMap<String, f64> = [("idle".to_owned(), energy_j)].into();
        phases.push(StepReport {
            phase: "idle".to_owned(),
            latency_s: served.idle_s,
            energy_j,
            ..StepReport::default()
        });
        *sums.energy_parts_j.entry("idle".to_owned()).or_insert(0.0) += energy_j;
        let name = IDLE.to_owned();
        let operator =
            OperatorReport { name: name.clone(), latency_s: served.idle_s, energy_j, ..OperatorReport::default() };
        sums.operators.insert(name.clone(), operator);
        let component = ComponentReport {
            name: name.clone(),
            kind: "idle".to_owned(),
            busy_s: 0.0,
            utilization: 0.0,
            energy_parts_j: parts,
            traffic_bytes: BTreeMap::new(),
            utilization_over_time: Vec::new(),
        };
        sums.components.insert(name, component);
    }
    let latency_s: f64 = phases.iter().map(|p| p.latency_s).sum();
    let energy_j: f64 = sums.energy_parts_j.values().sum();
    let share = |seconds: f64| if latency_s > 0.0 { seconds / latency_s } else { 0.0 };
    let mut operators: Vec<OperatorReport> = sums.operators.into_values().collect();
    for o in &mut operators {
        o.count = if o.name == IDLE { 1 } else { steps.steps.iter().sum() };
    }
    let mut components: Vec<ComponentReport> = sums.components.into_values().collect();
    for c in &mut components {
        c.utilization = share(c.busy_s).clamp(0.0, 1.0);
    }

    let requests = &served.answered;
    let mut metrics = BTreeMap::new();
    let ttft_s = figures("ttft", requests.iter().map(Answered::ttft_s).collect(), &mut metrics);
    let tpot_s = figures("tpot", requests.iter().filter_map(Answered::tpot_s).collect(), &mut metrics);
    figures("request", requests.iter().map(|a| a.end_s - a.sent_s).collect(), &mut metrics);
    let count = requests.len() as f64;
    let answers: u64 = requests.iter().map(|a| a.lengths.1).sum();
    let prompts: u64 = requests.iter().map(|a| a.lengths.0).sum();
    let within = |limit_ms: Option<f64>, seconds: f64| limit_ms.is_none_or(|limit| seconds * 1e3 <= limit);
    let well = requests
        .iter()
        .filter(|a| within(load.limits.ttft_ms, a.ttft_s()) && within(load.limits.tpot_ms, a.tpot_s().unwrap_or(0.0)));
    let well = well.count() as f64;
    let per_second = |n: f64| if served.end_s > 0.0 { n / served.end_s } else { 0.0 };
    if load.limits.ttft_ms.is_some() || load.limits.tpot_ms.is_some() {
        metrics.insert("served_well_share".into(), well / count.max(1.0));
        metrics.insert("requests_served_well_per_s".into(), per_second(well));
    }
    let all: u64 = steps.steps.iter().sum();
    let decoding = steps.steps[1] + steps.steps[2];
    let ratio = |a: u64, b: u64| if b > 0 { a as f64 / b as f64 } else { 0.0 };
    metrics.extend(
        [
            ("requests", count),
            ("requests_per_s", per_second(count)),
            ("prompt_tokens_per_s", per_second(prompts as f64)),
            ("decoding_sequences", ratio(steps.tokens[0], decoding)),
            ("put_out", served.put_out as f64),
            ("steps", all as f64),
            ("simulated_steps", steps.reports.len() as f64),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let footprint = experiment.plan.footprint();
    RunReport {
        workload: WorkloadInfo {
            prompt_tokens: prompts / (requests.len() as u64).max(1),
            generated_tokens: answers / (requests.len() as u64).max(1),
            batch: ratio(steps.tokens[0], decoding).round() as u64,
            flops: operators.iter().map(|o| o.flops).sum(),
            ..base.workload
        },
        latency_s,
        energy_j,
        power_w: if latency_s > 0.0 { energy_j / latency_s } else { 0.0 },
        tokens: Some(answers),
        tokens_per_s: Some(per_second(answers as f64)),
        ttft_s,
        tpot_s,
        footprint_bytes: [("weights".to_owned(), footprint.weights)].into(),
        energy_parts_j: sums.energy_parts_j,
        metrics,
        operators,
        components,
        steps: phases,
        timeline: if timeline { spans(requests) } else { Vec::new() },
        ..base
    }
}

/// A lane a request: waiting and entering until its first token, then one token after the other.
fn spans(requests: &[Answered]) -> Vec<TimelineSpan> {
    let mut first: Vec<&Answered> = requests.iter().filter(|a| a.request < MOST_LANES).collect();
    first.sort_by_key(|a| a.request);
    let span = |a: &Answered, name: &str, start_s: f64, end_s: f64| TimelineSpan {
        group: "requests".to_owned(),
        lane: format!("request {}", a.request),
        name: name.to_owned(),
        start_s,
        duration_s: (end_s - start_s).max(0.0),
        details: [("prompt_tokens", a.lengths.0), ("output_tokens", a.lengths.1)]
            .into_iter()
            .map(|(name, tokens)| (name.to_owned(), tokens.to_string()))
            .collect(),
    };
    first
        .into_iter()
        .flat_map(|a| [span(a, "to the first token", a.sent_s, a.first_s), span(a, "decode", a.first_s, a.end_s)])
        .collect()
}
