//! Experiments that train: a model on the nodes of a cluster, cut by `[parallel]`, a step of `[train]`.
//!
//! ```toml
//! [training]
//! cluster = "a100-selene"
//!
//! [parallel]
//! tp = 8
//!
//! [train]
//! micro_batch = 1
//! global_batch = 8
//! sequence = 2048
//!
//! [workload]
//! model = "gpt3-xl"
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_hw::gpu::LaunchCache;
use banksia_hw::program::Program;
use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_mappers::parallel::experiment::{Training, nodes, run};
use banksia_mappers::parallel::pipeline::Event;
use banksia_mappers::parallel::schedule::Kind;
use banksia_mappers::parallel::{Energy, Group, Parallel, Train, TrainReport};
use banksia_mappers::{Bound, Footprint, Judges, LayoutReport, Plan, Unsupported};
use banksia_reports::{
    ComponentReport, MachineInfo, OperatorReport, RunReport, StepReport, TimelineSpan, WorkloadInfo,
};
use banksia_workloads::schema::ModelKey;
use banksia_workloads::{Generation, Model};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::about::About;

/// A model that is trained on the nodes of a cluster: how it is cut, and what a step is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainingFile {
    /// What reports and sweeps call it. The file's name where absent.
    pub(crate) name: Option<String>,
    /// Of every random stream.
    #[serde(default)]
    pub(crate) seed: u64,
    /// The cluster, and the framework that runs on it.
    pub(crate) training: Training,
    /// How the model and the batch are cut over devices.
    #[serde(default)]
    pub(crate) parallel: Parallel,
    /// What a step is: batches, sequence, recomputation, number format, optimiser.
    #[serde(default)]
    pub(crate) train: Train,
    /// Sequences of different lengths in one step, and the ranks that have them; `train.sequence`, `train.micro_batch` and `train.global_batch` are
    /// left out then.
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
    /// What is trained.
    pub(crate) workload: TrainedModel,
}

/// What is trained.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainedModel {
    /// The model: a name of `banksia list models`, a file, or a table of its keys.
    #[schemars(with = "ModelKey")]
    pub(crate) model: toml::Value,
}

/// Whether an experiment's text trains.
pub(crate) fn trains(source: &Source) -> bool {
    source.parse::<toml::Table>().is_ok_and(|t| t.contains_key("training"))
}

/// The GPU of the nodes, as a machine of its own.
pub(crate) fn device(source: &Source, training: &Training) -> Result<Machine, InputError> {
    if let Some(device) = &training.device {
        if !training.cluster.is_empty() {
            let error = source.error("training.device", "is a GPU, and `training.cluster` a machine of many");
            return Err(error.help("leave one of them out"));
        }
        let spec = banksia_hw::gpu::device(device)
            .map_err(|e| InputError { help: e.help, ..source.error("training.device", e.problem) })?;
        return Ok(Machine::of_gpu(&spec));
    }
    if training.cluster.is_empty() {
        let error = source.error("training", "names neither a cluster nor a device");
        return Err(error.help("set training.cluster, as \"h100-eos\", or training.device, as \"h200\""));
    }
    let nodes = nodes(&training.cluster, source)?;
    Ok(Machine::of_gpu(&banksia_hw::gpu::device(nodes.gpu())?))
}

/// A training step as it stands in an experiment.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) source: Source,
    pub(crate) cluster: String,
    /// One GPU in place of a cluster, and what a step of it is.
    pub(crate) device: Option<Train>,
}

impl Step {
    /// Simulates it; also gives the timeline of each stage.
    ///
    /// # Errors
    /// A setting cannot be, or the step does not fit the devices' memory.
    pub(crate) fn run(
        &self,
        model: &Model,
        cache: Option<&Arc<dyn LaunchCache>>,
    ) -> Result<(TrainReport, Vec<Event>), InputError> {
        let mut events = Vec::new();
        let report = run(&self.source, model, cache, |event| events.push(event))?;
        Ok((report, events))
    }
}

/// The record of a step that every table, plot and store takes.
pub(crate) fn report(experiment: &About<'_>, step: &Step, t: &TrainReport, events: &[Event]) -> RunReport {
    let base = experiment.report();
    // Of one device.
    let device = base.machine.clone();
    let devices = f64::from(t.devices);
    let (latency_s, energy_j) = (t.step_s, t.energy_j);
    let share = |seconds: f64| if latency_s > 0.0 { seconds / latency_s } else { 0.0 };
    let idle_j: f64 = t.ranks.iter().map(|r| f64::from(r.ranks) * r.energy.idle_j).sum();
    let mut metrics: BTreeMap<String, f64> = [
        ("devices", devices),
        ("micro_batches", f64::from(t.micro_batches)),
        ("model_flops_utilization", t.mfu_pct / 100.0),
        ("hardware_flops_utilization", t.hfu_pct / 100.0),
        ("tflops_per_device", t.tflops_per_device),
        ("bubble_share", t.bubble_fraction),
        ("host_s", t.host_s),
        ("simulated_ranks", f64::from(t.simulated_ranks)),
        ("folding_exact", f64::from(u8::from(t.folding_exact))),
    ]
    .into_iter()
    .map(|(name, v)| (name.to_owned(), v))
    .collect();
    let named = |name: &str| name.replace([' ', '-'], "_");
    metrics.extend(t.classes_s.iter().map(|(name, s)| (format!("{}_s", named(name)), *s)));
    metrics.extend(t.exposed_s.iter().map(|(name, s)| (format!("exposed_{}_s", named(name)), *s)));
    metrics.extend(t.bytes_by_link.iter().map(|(name, b)| (format!("sent_{}_bytes", named(name)), *b)));
    let parts = |e: &Energy, times: f64| -> BTreeMap<String, f64> {
        [("switching", e.switching_j), ("dram", e.memory_j), ("idle", e.idle_j)]
            .into_iter()
            .map(|(name, joules)| (name.to_owned(), times * joules))
            .collect()
    };
    let mut energy_parts_j = BTreeMap::new();
    for r in &t.ranks {
        for (name, joules) in parts(&r.energy, f64::from(r.ranks)) {
            *energy_parts_j.entry(name).or_insert(0.0) += joules;
        }
    }
    let components = t.ranks.iter().map(|rank| ComponentReport {
        name: format!("stage {} ({} ranks)", rank.stage, rank.ranks),
        kind: "rank".to_owned(),
        busy_s: rank.busy_s,
        utilization: share(rank.busy_s).min(1.0),
        energy_parts_j: parts(&rank.energy, f64::from(rank.ranks)),
        // Bytes on links are a device's mean: `sent_*_bytes`.
        traffic_bytes: BTreeMap::new(),
        utilization_over_time: Vec::new(),
    });
    let steps = t.phases_s.iter().map(|(phase, seconds)| StepReport {
        phase: (*phase).to_owned(),
        latency_s: *seconds,
        energy_j: energy_j * share(*seconds),
        ..StepReport::default()
    });
    let largest = t.ranks.iter().max_by(|a, b| a.total_bytes.total_cmp(&b.total_bytes));
    if let Some(r) = largest {
        // Sweeps have no footprint of their own.
        metrics.insert("memory_bytes".to_owned(), r.total_bytes);
        metrics.insert("optimizer_bytes".to_owned(), r.memory_bytes.optimizer);
    }
    let footprint = largest.map(|r| {
        let m = &r.memory_bytes;
        [
            ("weights", m.weights),
            ("gradients", m.gradients),
            ("optimizer", m.optimizer),
            ("activations", m.activations),
            ("transient", m.transient),
        ]
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes as u64))
        .collect()
    });
    let tokens = t.tokens_per_s * latency_s;
    RunReport {
        machine: MachineInfo {
            name: format!("{} x {} ({})", t.devices, experiment.machine.name, step.cluster),
            kind: "cluster".to_owned(),
            peak_flops_per_s: device.peak_flops_per_s * devices,
            peak_bandwidth_bytes_per_s: device.peak_bandwidth_bytes_per_s * devices,
            capacity_bytes: device.capacity_bytes.saturating_mul(u64::from(t.devices)),
        },
        workload: WorkloadInfo {
            flops: t.mfu_pct / 100.0 * device.peak_flops_per_s * devices * latency_s,
            ..base.workload
        },
        latency_s,
        energy_j,
        power_w: if latency_s > 0.0 { energy_j / latency_s } else { 0.0 },
        tokens: Some(tokens.round() as u64),
        tokens_per_s: Some(t.tokens_per_s),
        footprint_bytes: footprint.unwrap_or_default(),
        energy_parts_j,
        metrics,
        operators: operators(t, idle_j),
        components: components.collect(),
        steps: steps.collect(),
        timeline: events.iter().map(span).collect(),
        ..base
    }
}

/// Classes of operators, by the mean device: what it computes one after the other, what it waits for others, and the rest of the step, in which it has
/// nothing to run. These add up to the step; of what runs beside computation only the exposed part counts.
fn operators(t: &TrainReport, idle_j: f64) -> Vec<OperatorReport> {
    let devices = f64::from(t.devices);
    let computed: f64 = t.classes.iter().filter(|c| !c.communication).map(|c| c.busy_s).sum();
    let exposed: f64 = t.exposed_s.values().sum();
    // Classes may hide behind one another, so that what each exposes by itself may be more than all do together.
    let room = (t.step_s - computed).max(0.0);
    let kept = if exposed > room { room / exposed } else { 1.0 };
    let row = |name: &str, times: f64, latency_s: f64, busy_s: f64, own_j: f64| OperatorReport {
        name: name.to_owned(),
        count: times.round() as u64,
        latency_s,
        busy_s,
        energy_j: own_j + idle_j * if t.step_s > 0.0 { latency_s / t.step_s } else { 0.0 },
        ..OperatorReport::default()
    };
    let mut rows: Vec<OperatorReport> = t
        .classes
        .iter()
        .map(|c| {
            let latency_s =
                if c.communication { kept * t.exposed_s.get(c.name).copied().unwrap_or(0.0) } else { c.busy_s };
            row(c.name, c.times, latency_s, c.busy_s, devices * c.energy.total_j())
        })
        .collect();
    let rest = t.step_s - rows.iter().map(|r| r.latency_s).sum::<f64>();
    rows.push(row("bubbles, and waiting for hosts", 1.0, rest, 0.0, 0.0));
    rows
}

fn span(event: &Event) -> TimelineSpan {
    TimelineSpan {
        group: "stages".to_owned(),
        lane: format!("stage {}", event.stage),
        name: format!("{} of micro batch {}", pass(event.task.kind), event.task.micro),
        start_s: event.begin,
        duration_s: (event.end - event.begin).max(0.0),
        details: BTreeMap::new(),
    }
}

/// A pass in words.
fn pass(kind: Kind) -> &'static str {
    match kind {
        Kind::Forward => "forward",
        Kind::Backward => "backward",
        Kind::Input => "gradients of inputs",
        Kind::Weight => "gradients of weights",
    }
}

/// What stands for a plan: a training step is simulated whole, and has no programs.
#[derive(Debug, Clone)]
pub(crate) struct NoPrograms(pub(crate) Generation);

impl Plan for NoPrograms {
    fn boxed(&self) -> Box<dyn Plan> {
        Box::new(self.clone())
    }

    fn generation(&self) -> &Generation {
        &self.0
    }

    fn programs(&self) -> u64 {
        0
    }

    fn program_of(&self, _: u64) -> u64 {
        0
    }

    fn lower(&mut self, index: u64, _: &mut dyn Judges) -> Result<Program, Unsupported> {
        Err(Unsupported::NoStep(index))
    }

    fn layout(&mut self, token: u64, _: &mut dyn Judges) -> Result<LayoutReport, Unsupported> {
        Err(Unsupported::NoStep(token))
    }

    fn footprint(&self) -> Footprint {
        Footprint::default()
    }

    fn bound(&self, _: u64) -> Bound {
        Bound::default()
    }
}
