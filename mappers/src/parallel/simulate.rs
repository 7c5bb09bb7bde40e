//! A training step of a model on a machine: from settings to seconds, bytes and memory.

use std::collections::BTreeMap;

use banksia_hw::gpu::GpuSpec;

use super::check::{check, layers};
use super::compile::{Compiler, Part, Tally};
use super::error::ParallelError;
use super::fits::refuse;
use super::lists::Context;
use super::maxplus::{CLOCKS, COMPUTE, HOST};
use super::memory::{Memory, memory};
use super::op::{Axis, Class, Comm, CommKind};
use super::orders::orders;
use super::outer::outer;
use super::pipeline::{Event, Exchange, run};
use super::report::{ClassReport, Energy, RankReport, TrainReport};
use super::schedule::{Lengths, Pipeline, most_in_flight};
use super::settings::{Offload, Parallel, Recompute, Train, Zero};
use super::shape::Shape;
use super::software::Software;
use super::stage::{Parts, Stage, stage};
use super::times::{CollectiveTimes, OperatorTimes};
use super::update::{gather, owned, reduce, step};
use crate::offload;

/// A machine that trains, and what runs on it.
pub struct Machine<'a> {
    /// Its devices.
    pub gpu: &'a GpuSpec,
    /// Times of operators on one.
    pub operators: &'a mut dyn OperatorTimes,
    /// Times of collectives between them.
    pub collectives: &'a dyn CollectiveTimes,
    /// The framework.
    pub software: Software,
}

/// How much a report tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// Exposed communication by class: a run more for each.
    pub exposed: bool,
    /// Refuses what does not fit in memory.
    pub fits: bool,
}

impl Default for Detail {
    fn default() -> Self {
        Self { exposed: true, fits: true }
    }
}

/// A step that has been run.
pub(super) struct Ran {
    pub(super) step_s: f64,
    pub(super) backward_s: f64,
    pub(super) reduced_s: f64,
    stages: Vec<Stage>,
    in_flight: Vec<u32>,
    pub(super) ends: Tally,
}

/// Simulates a step.
///
/// # Errors
/// Settings do not fit each other, the machine cannot run them, or they do not fit in memory.
pub fn simulate(
    shape: &Shape,
    machine: &mut Machine<'_>,
    parallel: &Parallel,
    train: &Train,
    detail: Detail,
    mut watch: impl FnMut(Event),
) -> Result<TrainReport, ParallelError> {
    let software = machine.software;
    let context = Context { shape, parallel, train, software: &software };
    let micros = check(&context)?;
    let mut compiler = Compiler {
        context,
        operators: &mut *machine.operators,
        collectives: machine.collectives,
        gpu: machine.gpu,
        without: None,
    };
    let ran = ran(&mut compiler, micros, &mut watch)?;
    let mut exposed = BTreeMap::new();
    if detail.exposed {
        for class in Class::ALL.into_iter().filter(|c| c.is_communication()) {
            compiler.without = Some(class);
            let without = self::ran(&mut compiler, micros, &mut |_| {})?;
            let seconds = ran.step_s - without.step_s;
            if seconds > 0.0 {
                exposed.insert(class.name().to_owned(), seconds);
            }
        }
    }
    let ranks = ranks(&context, &ran, micros, machine.gpu);
    if detail.fits {
        refuse(&context, machine.gpu, &ranks)?;
    }
    Ok(report(&context, machine.gpu, &ran, f64::from(micros), exposed, ranks))
}

/// Seconds of one layer of a micro batch by itself, forward and backward (with what is computed again), starting idle and ending done.
///
/// # Errors
/// Settings do not fit each other, or the machine cannot run them.
pub fn layer_seconds(
    shape: &Shape,
    machine: &mut Machine<'_>,
    parallel: &Parallel,
    train: &Train,
) -> Result<[f64; 2], ParallelError> {
    let software = machine.software;
    let context = Context { shape, parallel, train, software: &software };
    check(&context)?;
    let mut compiler = Compiler {
        context,
        operators: &mut *machine.operators,
        collectives: machine.collectives,
        gpu: machine.gpu,
        without: None,
    };
    let (forward, backward) = Parts::of(&mut compiler)?.halves();
    // Many follow one another: the host is as far ahead as it gets.
    let each = |part: Part| (part.map.times(64).span() - part.map.times(32).span()) / 32.0;
    Ok([each(forward), each(backward)])
}

/// Runs the pipeline and what comes after it.
pub(super) fn ran(
    compiler: &mut Compiler<'_>,
    micros: u32,
    watch: &mut dyn FnMut(Event),
) -> Result<Ran, ParallelError> {
    let c = compiler.context;
    let p = c.parallel;
    let parts = Parts::of(compiler)?;
    let per_place = layers(&c);
    let pipeline = Pipeline { stages: p.pp, chunks: p.virtual_stages, micros, schedule: p.schedule };
    let mut stages: Vec<Stage> = Vec::with_capacity(p.pp as usize);
    for s in 0..p.pp {
        let chunks: Vec<u32> =
            (0..p.virtual_stages).map(|k| per_place.get(pipeline.place(s, k) as usize).copied().unwrap_or(0)).collect();
        stages.push(stage(&c, &parts, &chunks, pipeline.ends(s)));
    }
    let exchange = exchange(compiler)?;
    let [forward, input, weight] = parts.lengths(f64::from(c.shape.layers) / f64::from(p.pp * p.virtual_stages));
    let orders = orders(&pipeline, Lengths { forward, input, weight, send: exchange.seconds });
    let maps: Vec<_> = stages.iter().map(|s| s.maps.clone()).collect();
    let spans = run(&pipeline, &orders, &maps, exchange, watch)?;
    let in_flight = orders.iter().map(|tasks| most_in_flight(tasks)).collect();
    let latest = |clocks: &[f64; CLOCKS]| clocks.iter().copied().fold(0.0, f64::max);
    let backward_s = spans.iter().map(|s| latest(&s.end)).fold(0.0, f64::max);

    // Gradients, then the update. All stages agree on the gradients' norm before it, unless the schedule lets them go on and checks later.
    let replicas = p.dp * p.cp > 1;
    let agree = !p.schedule.splits_backward();
    let mut at: Vec<f64> = Vec::with_capacity(stages.len());
    let mut ends = Tally::default();
    let mut reduced_s = 0.0_f64;
    for (s, span) in stages.iter().zip(&spans) {
        let mut clocks = span.end;
        clocks[HOST] += c.software.host.step_us * 1e-6;
        let mut part = Part::default();
        let covered = p.overlap.gradients || p.zero == Zero::Weights;
        if replicas {
            // What was reduced beside the backward pass is all but the ends' tables.
            let layers_only = if covered { super::update::Local { dense: tables(&c, s), routed: 0 } } else { s.local };
            let list = reduce(&c, layers_only, false);
            let reduced = compiler.part(&list)?;
            part.then(&reduced, 1);
        }
        let mut clocks = part.map.apply(&clocks);
        clocks[COMPUTE] = latest(&clocks);
        ends = ends.plus(&part.tally, 1.0 / f64::from(p.pp));
        at.push(clocks[COMPUTE]);
        reduced_s = reduced_s.max(clocks[COMPUTE]);
    }
    let tie = tie_cost(compiler)?;
    if let (true, [first, .., last]) = (tie > 0.0, at.as_mut_slice()) {
        let end = first.max(*last) + tie;
        (*first, *last) = (end, end);
    }
    let together = at.iter().copied().fold(0.0, f64::max);
    let mut step_s = 0.0_f64;
    for ((s, span), at) in stages.iter().zip(&spans).zip(&at) {
        let mut list = step(&c, s.local);
        let late = p.overlap.parameters || p.zero == Zero::Weights;
        if replicas && p.zero != Zero::None && !late {
            list.extend(gather(&c, s.local, false));
        }
        let part = compiler.part(&list)?;
        let start = if agree { together } else { *at };
        let end = match c.train.offload {
            Offload::None => latest(&part.map.apply(&[start; CLOCKS])),
            way => {
                let own = owned(&c, s.local);
                // What an update on the device takes is what it takes a group.
                let device = own as f64 / part.map.span().max(f64::MIN_POSITIVE);
                let host = banksia_hw::host::of_gpu(&compiler.gpu.name.to_lowercase())
                    .map_err(|e| ParallelError::new("train.offload", e.problem))?;
                let processes = compiler.collectives.gpus_per_node().min(p.ranks());
                let rates = offload::Rates::of(&host, processes, device);
                // Gradients of the last micro batch go as they are made.
                let backward = 2.0 / 3.0 * span_s(span.end, span.begin) / f64::from(micros.max(1));
                let late = offload::exposed_gradients_s(own * u64::from(c.software.gradient_bytes), backward, &rates);
                start + late + offload::update(own, way, &rates).seconds
            }
        };
        ends = ends.plus(&part.tally, 1.0 / f64::from(p.pp));
        step_s = step_s.max(end - if agree { 0.0 } else { span.begin });
    }
    let outer_s = outer(compiler, &stages, step_s, &mut ends)?;
    Ok(Ran { step_s: outer_s, backward_s, reduced_s: together.max(reduced_s), stages, in_flight, ends })
}

/// Seconds of a stage's passes.
fn span_s(end: [f64; CLOCKS], begin: f64) -> f64 {
    (end.iter().copied().fold(0.0, f64::max) - begin).max(0.0)
}

/// Elements of the tables of a stage's ends.
fn tables(c: &Context<'_>, s: &Stage) -> u64 {
    let layers = super::update::local(c, 0, s.ends[0], s.ends[1]);
    layers.dense
}

/// Seconds in which the first and last stage sum the gradients of a table that both have.
pub(super) fn tie_cost(compiler: &Compiler<'_>) -> Result<f64, ParallelError> {
    let c = compiler.context;
    if !c.shape.tied || c.parallel.pp < 2 || c.parallel.vocabulary {
        return Ok(0.0);
    }
    let bytes = super::ends::local_vocab(&c) * u64::from(c.shape.hidden) * u64::from(c.software.gradient_bytes);
    Ok(compiler.cost(Comm { kind: CommKind::AllReduce, axis: Axis::Pipeline, bytes })?.seconds)
}

/// What a send between stages takes.
pub(super) fn exchange(compiler: &Compiler<'_>) -> Result<Exchange, ParallelError> {
    let c = compiler.context;
    let p = c.parallel;
    let whole = 2 * c.tokens() * u64::from(c.shape.hidden);
    let tp = u64::from(p.tp.max(1));
    let mut seconds = 0.0;
    if p.pp > 1 && compiler.without != Some(Class::PipelineComm) {
        let cut = p.sequence || c.software.scatter_gather;
        let bytes = if cut { whole / tp } else { whole };
        seconds = compiler.cost(Comm { kind: CommKind::Send, axis: Axis::Pipeline, bytes })?.seconds;
        if c.software.scatter_gather && !p.sequence {
            seconds += compiler.cost(Comm { kind: CommKind::AllGather, axis: Axis::Tensor, bytes: whole })?.seconds;
        }
    }
    let graphs = c.software.graphs;
    Ok(Exchange {
        seconds,
        host_s: if p.pp > 1 && !graphs { c.software.host.exchange_us * 1e-6 } else { 0.0 },
        waits: !p.overlap.pipeline,
        synchronous: c.software.synchronous_sends,
    })
}

pub(super) fn ranks(c: &Context<'_>, ran: &Ran, micros: u32, gpu: &GpuSpec) -> Vec<RankReport> {
    let stages = ran.stages.len();
    let mut out: Vec<RankReport> = Vec::new();
    for (i, (s, in_flight)) in ran.stages.iter().zip(&ran.in_flight).enumerate() {
        let role = match i {
            0 => "first",
            _ if i + 1 == stages => "last",
            _ => "middle",
        };
        let per_chunk = f64::from(c.shape.layers) / f64::from(c.parallel.pp * c.parallel.virtual_stages);
        let memory: Memory = memory(c, s.local, f64::from(*in_flight) * per_chunk, s.ends);
        let all = Tally::default().plus(&s.tally, f64::from(micros)).plus(&ran.ends, 1.0);
        out.push(RankReport {
            role: role.into(),
            stage: i as u32,
            ranks: c.parallel.ranks() / c.parallel.pp,
            parameters: s.local.dense + s.local.routed,
            memory_bytes: memory,
            total_bytes: memory.total(),
            in_flight: *in_flight,
            busy_s: s.tally.compute_s() * f64::from(micros),
            energy: Energy {
                switching_j: all.joules.iter().sum(),
                memory_j: all.memory_joules.iter().sum(),
                idle_j: gpu.power.active_idle_w * ran.step_s,
            },
            sent_bytes: [all.node_bytes, all.network_bytes],
        });
    }
    out
}

/// What was taken where nothing was said.
fn notes(c: &Context<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if c.software.flash_attention {
        notes.push(
            "on Hopper and later attention's backward kernel takes 2.5 times the operations of its forward kernel at 0.8 of its rate"
                .into(),
        );
    }
    if c.shape.experts.is_some() {
        notes.push("experts get equal shares of the tokens".into());
    }
    if !c.software.graphs {
        notes.push("the host is taken to be an EPYC 7742 under PyTorch".into());
    }
    notes
}

pub(super) fn report(
    c: &Context<'_>,
    gpu: &GpuSpec,
    ran: &Ran,
    micros: f64,
    exposed_s: BTreeMap<String, f64>,
    ranks: Vec<RankReport>,
) -> TrainReport {
    let devices = c.parallel.ranks();
    let tokens = f64::from(c.train.global_batch) * f64::from(c.train.sequence);
    let dtype = c.layer_dtype();
    let rate = gpu.tensor.fma_per_cycle.get(&dtype).copied().unwrap_or(1.0);
    let peak = 2.0 * rate * f64::from(gpu.sms()) * gpu.sm_clock_mhz * 1e6;
    // Rows that go as one for a bucket are computed once.
    let hashed = 1.0 - f64::from(c.parallel.expert_rows_pct) / 100.0;
    let per_token = c.shape.model_flops_per_token(c.train.sequence, false) - hashed * c.shape.routed_flops_per_token();
    let all = f64::from(devices);
    let stages = ran.stages.len().max(1) as f64;
    let mut whole = Tally::default();
    for s in &ran.stages {
        whole = whole.plus(&s.tally, micros / stages);
    }
    whole = whole.plus(&ran.ends, 1.0);
    let busiest = ran.stages.iter().max_by(|a, b| a.tally.compute_s().total_cmp(&b.tally.compute_s()));
    let mut classes_s = BTreeMap::new();
    if let Some(s) = busiest {
        let total = Tally::default().plus(&s.tally, micros).plus(&ran.ends, 1.0);
        for (class, seconds) in Class::ALL.iter().zip(total.seconds).filter(|(_, s)| *s > 0.0) {
            classes_s.insert(class.name().to_owned(), seconds);
        }
    }
    let busy: f64 = ran.stages.iter().map(|s| s.tally.seconds.iter().sum::<f64>() * micros).sum::<f64>() / stages;
    let flops_with_recompute = per_token * if c.train.recompute == Recompute::Full { 4.0 / 3.0 } else { 1.0 };
    let energy_j = ranks.iter().map(|r| f64::from(r.ranks) * r.energy.total_j()).sum();
    let class = |class: Class| {
        let at = class as usize;
        ClassReport {
            name: class.name(),
            communication: class.is_communication(),
            times: whole.times[at],
            busy_s: whole.seconds[at],
            energy: Energy { switching_j: whole.joules[at], memory_j: whole.memory_joules[at], idle_j: 0.0 },
        }
    };
    TrainReport {
        step_s: ran.step_s,
        devices,
        micro_batches: micros as u32,
        tokens_per_s: tokens / ran.step_s,
        mfu_pct: 100.0 * per_token * tokens / (ran.step_s * all * peak),
        hfu_pct: 100.0 * whole.flops / (ran.step_s * peak),
        tflops_per_device: flops_with_recompute * tokens / (ran.step_s * all) / 1e12,
        phases_s: [
            ("forward and backward", ran.backward_s),
            ("gradients", ran.reduced_s - ran.backward_s),
            ("update", ran.step_s - ran.reduced_s),
        ],
        classes_s,
        classes: Class::ALL.into_iter().map(class).filter(|c| c.times > 0.0).collect(),
        exposed_s,
        bubble_fraction: (1.0 - busy / ran.backward_s.max(f64::MIN_POSITIVE)).max(0.0),
        host_s: busiest.map_or(0.0, |s| s.tally.host_s * micros),
        energy_j,
        bytes_by_link: BTreeMap::from([
            ("node".to_owned(), whole.node_bytes),
            ("network".to_owned(), whole.network_bytes),
        ]),
        ranks,
        simulated_ranks: c.parallel.pp,
        folding_exact: c.shape.experts.is_none(),
        notes: notes(c),
    }
}
