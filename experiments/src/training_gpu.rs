//! Experiments that train on one GPU: `[training]` names a device, `[train]` says what a step is.
//!
//! ```toml
//! [training]
//! device = "h200"
//!
//! [train]
//! micro_batch = 2
//! global_batch = 4
//! sequence = 2048
//! optimizer = "adam8bit"
//!
//! [workload]
//! model = "mamba2-2.7b"
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_hw::gpu::{GpuSpec, LaunchCache};
use banksia_hw::system::{Device, RunOptions};
use banksia_input::InputError;
use banksia_mappers::gpu::training::{TrainingError, TrainingPlan};
use banksia_mappers::offload::{self, Offload, Rates};
use banksia_mappers::parallel::{Optimizer as Asked, Precision as Numbers, Recompute as Again, Train};
use banksia_reports::{ComponentReport, OperatorReport, RunReport, StepReport, WorkloadInfo};
use banksia_workloads::DataType;
use banksia_workloads::backward::{Optimizer, Precision, Recompute, TrainingSpec};

use crate::cache::Cache;
use crate::error::Error;
use crate::experiment::Experiment;
use crate::training_step::{self, Step, StepError};

/// Elements of a block of moments of eight bits with one scale (bitsandbytes).
const BLOCK: u64 = 256;

/// What is asked for, as a plan takes it.
fn spec_of(train: &Train, wrong: &dyn Fn(&str, String) -> InputError) -> Result<TrainingSpec, InputError> {
    let counts = [
        ("train.micro_batch", train.micro_batch),
        ("train.global_batch", train.global_batch),
        ("train.sequence", train.sequence),
    ];
    /// Most of any count.
    const MOST: u32 = 1 << 20;
    for (key, value) in counts {
        if value == 0 || value > MOST {
            return Err(wrong(key, format!("is {value}: must be 1 to {MOST}")));
        }
    }
    if !train.global_batch.is_multiple_of(train.micro_batch) {
        let problem =
            format!("is {}, which is not a multiple of micro_batch ({})", train.global_batch, train.micro_batch);
        let help = format!("use {}", train.global_batch.next_multiple_of(train.micro_batch));
        return Err(wrong("train.global_batch", problem).help(help));
    }
    let of_clusters = [("train.layerwise", train.layerwise), ("train.local_steps", train.local_steps != 1)];
    if let Some((key, _)) = of_clusters.iter().find(|(_, set)| *set) {
        let error = wrong(key, "is of steps over a cluster, and training.device is one GPU".into());
        return Err(error.help("use training.cluster"));
    }
    let (precision, moments) = match train.precision {
        Numbers::Bf16Pure => (Precision::Pure, DataType::Bf16),
        Numbers::Bf16 | Numbers::Fp16 => (Precision::Mixed, DataType::F32),
        Numbers::Fp8 => {
            let error = wrong("train.precision", "is fp8, whose products on one GPU are not modelled".into());
            return Err(error.help("use bf16 or bf16-pure"));
        }
    };
    let optimizer = match train.optimizer {
        Asked::Adam => Optimizer::AdamW { moments },
        Asked::Adam8bit => Optimizer::AdamW8 { block: BLOCK },
        Asked::Sgd => Optimizer::Sgd,
        Asked::LowRank => Optimizer::LowRank { rank: u64::from(train.rank.max(1)), moments },
        Asked::LowRank8bit => {
            let error = wrong("train.optimizer", "is low-rank-8bit, whose kernels on one GPU are not modelled".into());
            return Err(error.help("use low-rank, or training.cluster in place of training.device"));
        }
        Asked::Adafactor => Optimizer::Adafactor,
        Asked::Muon => Optimizer::Muon { moments },
        Asked::Frozen => Optimizer::None,
    };
    Ok(TrainingSpec {
        recompute: match train.recompute {
            Again::None => Recompute::None,
            Again::Selective => Recompute::Selective,
            Again::Full => Recompute::Full,
        },
        optimizer,
        precision,
        accumulate: u64::from(train.global_batch / train.micro_batch),
        ..TrainingSpec::new(u64::from(train.micro_batch), u64::from(train.sequence))
    })
}

/// Runs the step.
///
/// # Errors
/// A setting cannot be, an operator is not known, or the machine does not run it.
pub(crate) fn run(
    experiment: &Experiment,
    train: &Train,
    options: RunOptions,
    cache: Option<&Arc<dyn LaunchCache>>,
) -> Result<RunReport, Error> {
    let wrong = |key: &str, problem: String| match &experiment.training {
        Some(step) => step.source.error(key, problem),
        None => InputError::new(key, problem),
    };
    let asked = spec_of(train, &wrong)?;
    let spec = gpu(experiment).ok_or_else(|| wrong("training.device", "is no GPU".into()))?;
    let mut plan = TrainingPlan::new(&experiment.model, &asked, &spec).map_err(|e| match e {
        TrainingError::Operator(e) => Error::from(e),
        other => Error::from(wrong("workload.model", format!("cannot be trained: {other}"))),
    })?;
    let footprint = plan.footprint(0);
    let (mut gradients, mut optimizer, mut peak) = (footprint.gradients, footprint.optimizer, footprint.peak);
    if train.offload != Offload::None {
        let group = 2 * offload::GROUP.min(plan.step().parameter_count());
        let each = if asked.precision == Precision::Mixed { 4 } else { 2 };
        let kept = |way: Offload| if way == Offload::Interleaved { 12 * group } else { 0 };
        let now = (gradients.min(each * group), kept(train.offload));
        peak = peak.saturating_sub(gradients - now.0).saturating_sub(optimizer).saturating_add(now.1);
        (gradients, optimizer) = now;
    }
    let capacity = spec.dram.capacity_bytes;
    if peak > capacity {
        let gib = |b: u64| b as f64 / f64::from(1 << 30);
        let problem = format!(
            "needs {:.1} GiB at its most (weights {:.1}, gradients {:.1}, optimiser {:.1}, activations {:.1}), and a {} has {:.1}",
            gib(peak),
            gib(footprint.weights),
            gib(gradients),
            gib(optimizer),
            gib(footprint.activations),
            spec.name,
            gib(capacity),
        );
        let help = "use train.recompute = \"full\", a smaller train.micro_batch, train.optimizer = \"adam8bit\", or train.offload";
        return Err(Error::from(wrong("train", problem).help(help)));
    }
    let own = Cache::in_memory();
    let step = training_step::run(&mut plan, &spec, None, options, cache.unwrap_or(&own)).map_err(|e| match e {
        StepError::Unsupported(e) => Error::from(e),
        StepError::Run(e) => Error::from(e),
        StepError::NoJudge => Error::from(wrong("training.device", e.to_string())),
    })?;
    let memory = [
        ("weights", footprint.weights),
        ("gradients", gradients),
        ("optimizer", optimizer),
        ("activations", footprint.activations),
        ("peak", peak),
    ];
    let on_host = offloaded(experiment, train, &plan, &step)?;
    Ok(report(experiment, train, &plan, &step, &memory, on_host.as_ref()))
}

/// The experiment's GPU.
fn gpu(experiment: &Experiment) -> Option<Arc<GpuSpec>> {
    experiment.machine.devices.iter().find_map(|(_, device)| match device {
        Device::Gpu(spec) => Some(Arc::clone(spec)),
        _ => None,
    })
}

/// What the update takes where its states are in the host's memory: seconds beyond the backward pass, and figures for the report.
struct OnHost {
    seconds: f64,
    figures: [(&'static str, f64); 5],
}

fn offloaded(
    experiment: &Experiment,
    train: &Train,
    plan: &TrainingPlan,
    step: &Step,
) -> Result<Option<OnHost>, Error> {
    if train.offload == Offload::None {
        return Ok(None);
    }
    let pass = |name: &str| step.passes.iter().find(|p| p.name == name).map_or(0.0, |p| p.seconds);
    let host = banksia_hw::host::of_gpu(&experiment.machine.name.to_lowercase())?;
    let rates = Rates::of(&host, 1, plan.updated_per_s(pass("update")));
    let parameters = plan.step().parameter_count();
    let bytes = if plan.step().spec.precision == Precision::Mixed { 4 } else { 2 };
    // The last micro batch's gradients go as they are made.
    let backward = pass("backward") / plan.step().spec.accumulate.max(1) as f64;
    let late = offload::exposed_gradients_s(parameters * bytes, backward, &rates);
    let u = offload::update(parameters, train.offload, &rates);
    Ok(Some(OnHost {
        seconds: late + u.seconds,
        figures: [
            ("host_update_s", u.seconds),
            ("host_processor_s", u.processor_s),
            ("host_link_up_bytes", u.up_bytes),
            ("host_link_down_bytes", u.down_bytes + (parameters * bytes) as f64),
            ("device_updates_one_of", f64::from(u.stride)),
        ],
    }))
}

fn report(
    experiment: &Experiment,
    train: &Train,
    plan: &TrainingPlan,
    step: &Step,
    memory: &[(&str, u64)],
    on_host: Option<&OnHost>,
) -> RunReport {
    let base = experiment.about().report();
    let kept = |name: &str| on_host.is_none() || name != "update";
    let passes: Vec<_> = step.passes.iter().filter(|p| kept(&p.name)).collect();
    let device_s: f64 = passes.iter().map(|p| p.seconds).sum();
    let dropped = step.device_s() - device_s;
    let before_host = (step.latency_s - dropped).max(device_s);
    let latency_s = before_host + on_host.map_or(0.0, |h| h.seconds);
    let device_j: f64 = passes.iter().map(|p| p.joules).sum();
    // While the device waits it draws what an idle one with clocks running does.
    let waits = (latency_s - device_s).max(0.0);
    let idle_w = gpu(experiment).map_or(0.0, |g| g.power.active_idle_w);
    let idle_j = waits * idle_w;
    let energy_j = device_j + idle_j;
    let mut operators: Vec<OperatorReport> = Vec::new();
    for pass in &passes {
        let own: f64 = pass.operators.iter().map(|o| o.joules).sum();
        let spread = pass.joules - own;
        let seconds: f64 = pass.operators.iter().map(|o| o.seconds).sum();
        // What no operator's latency covers is the launches' own: it goes by latency.
        let stretch = if seconds > 0.0 { pass.seconds / seconds } else { 1.0 };
        operators.extend(pass.operators.iter().map(|o| OperatorReport {
            name: format!("{}: {}", pass.name, o.name),
            count: o.count,
            latency_s: o.seconds * stretch,
            busy_s: o.seconds,
            energy_j: o.joules + if seconds > 0.0 { spread * o.seconds / seconds } else { 0.0 },
            flops: o.flops,
            traffic_bytes: o.traffic_bytes.clone(),
        }));
    }
    operators.push(OperatorReport {
        name: "waiting for the host".to_owned(),
        count: 1,
        latency_s: waits,
        energy_j: idle_j,
        ..OperatorReport::default()
    });
    let mut components: BTreeMap<(String, String), ComponentReport> = BTreeMap::new();
    for c in passes.iter().flat_map(|p| &p.components) {
        let entry = components.entry((c.kind.clone(), c.name.clone())).or_insert_with(|| ComponentReport {
            name: c.name.clone(),
            kind: c.kind.clone(),
            ..ComponentReport::default()
        });
        entry.busy_s += c.busy_s;
        for (part, joules) in &c.joules {
            *entry.energy_parts_j.entry(part.clone()).or_insert(0.0) += joules;
        }
        for (channel, bytes) in &c.traffic_bytes {
            *entry.traffic_bytes.entry(channel.clone()).or_insert(0) += bytes;
        }
    }
    let mut components: Vec<ComponentReport> = components.into_values().collect();
    if let Some(first) = components.first_mut() {
        *first.energy_parts_j.entry("idle".to_owned()).or_insert(0.0) += idle_j;
    }
    let mut energy_parts_j: BTreeMap<String, f64> = BTreeMap::new();
    let mut traffic_bytes: BTreeMap<String, u64> = BTreeMap::new();
    for c in &mut components {
        c.utilization = if latency_s > 0.0 { (c.busy_s / latency_s).min(1.0) } else { 0.0 };
        for (part, joules) in &c.energy_parts_j {
            *energy_parts_j.entry(part.clone()).or_insert(0.0) += joules;
        }
        for (channel, bytes) in &c.traffic_bytes {
            *traffic_bytes.entry(channel.clone()).or_insert(0) += bytes;
        }
    }
    let flops: f64 = passes.iter().flat_map(|p| &p.operators).map(|o| o.flops).sum();
    let tokens = u64::from(train.global_batch) * u64::from(train.sequence);
    let share = |x: f64| if latency_s > 0.0 { x / latency_s } else { 0.0 };
    let mut metrics: BTreeMap<String, f64> = [
        ("micro_batches".to_owned(), plan.step().spec.accumulate as f64),
        ("device_busy_share".to_owned(), share(device_s).min(1.0)),
        ("hardware_flops_utilization".to_owned(), share(flops / base.machine.peak_flops_per_s)),
    ]
    .into();
    if let Some(host) = on_host {
        metrics.extend(host.figures.iter().map(|(name, v)| ((*name).to_owned(), *v)));
    }
    let mut start_s = 0.0;
    let mut steps: Vec<StepReport> = Vec::new();
    let waiting = StepReport { phase: "host".to_owned(), latency_s: waits, energy_j: idle_j, ..StepReport::default() };
    for s in passes
        .iter()
        .map(|p| StepReport {
            phase: p.name.clone(),
            latency_s: p.seconds,
            energy_j: p.joules,
            ..StepReport::default()
        })
        .chain([waiting])
    {
        let length = s.latency_s;
        steps.push(StepReport { start_s, ..s });
        start_s += length;
    }
    RunReport {
        workload: WorkloadInfo { batch: u64::from(train.global_batch), flops, ..base.workload },
        latency_s,
        energy_j,
        power_w: share(energy_j),
        tokens: Some(tokens),
        tokens_per_s: Some(share(tokens as f64)),
        footprint_bytes: memory.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect(),
        energy_parts_j,
        traffic_bytes,
        metrics,
        operators,
        components,
        steps,
        ..base
    }
}
