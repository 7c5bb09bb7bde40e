//! The least that a training step can take, without running its pipeline.
//!
//! A step is a chain of maps of clocks ([`super::maxplus`]), which never fall when what they are made of grows. So a bound is the same chain
//! from less: operators at the device's peak where they have not been simulated yet, collectives and the host as they are, and of the pipeline
//! only what no order of its tasks can do without. A stage has all its own work to do; before its first task the first micro batch has passed
//! all stages before it, and after its last backward pass that micro batch passes them again.

use std::collections::{BTreeSet, HashMap};

use banksia_hw::gpu::GpuSpec;

use super::check::layers;
use super::compile::{Compiler, Part};
use super::error::ParallelError;
use super::fits::usable_bytes;
use super::lists::Context;
use super::maxplus::{CLOCKS, COMPUTE, Clocks, HOST};
use super::memory::memory;
use super::op::LocalOp;
use super::pipeline::Exchange;
use super::schedule::Pipeline;
use super::settings::{Schedule, Zero};
use super::simulate::{exchange, tie_cost};
use super::stage::Parts;
use super::times::{OpCost, OperatorTimes};
use super::update::{Local, gather, local, reduce, step};

/// Operators as they were simulated where they were, else at the device's peak.
pub struct Floors<'a> {
    gpu: &'a GpuSpec,
    known: &'a HashMap<LocalOp, OpCost>,
    /// What was asked for and is not known.
    pub missing: BTreeSet<LocalOp>,
}

impl<'a> Floors<'a> {
    /// Of a device, with what is known of it.
    pub fn new(gpu: &'a GpuSpec, known: &'a HashMap<LocalOp, OpCost>) -> Self {
        Self { gpu, known, missing: BTreeSet::new() }
    }
}

/// Seconds that an operator takes at least: its operations at the peak of the matrix units; of a stream the bytes beyond what L2 holds, at the
/// memory's peak.
pub fn least_seconds(gpu: &GpuSpec, op: &LocalOp) -> f64 {
    let dtype = match *op {
        LocalOp::Stream { read, written } => {
            let beyond = (read + written).saturating_sub(gpu.l2.bytes) as f64;
            return beyond / gpu.dram_peak_bytes_per_s();
        }
        LocalOp::Product { dtype, .. } | LocalOp::Attention { dtype, .. } => dtype,
    };
    let rate = gpu.tensor.fma_per_cycle.get(&dtype).copied().unwrap_or(f64::INFINITY);
    op.flops() / (2.0 * rate * f64::from(gpu.sms()) * gpu.sm_clock_mhz * 1e6)
}

impl OperatorTimes for Floors<'_> {
    fn cost(&mut self, op: &LocalOp) -> Result<OpCost, ParallelError> {
        if let Some(cost) = self.known.get(op) {
            return Ok(*cost);
        }
        self.missing.insert(*op);
        Ok(OpCost { seconds: least_seconds(self.gpu, op), ..OpCost::default() })
    }
}

/// The least of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Least {
    /// Seconds.
    pub seconds: f64,
    /// Joules of all devices, at so many seconds.
    pub joules: f64,
}

/// Clocks that work of a kind moves on by at least, and its joules.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    clocks: Clocks,
    joules: f64,
}

impl Own {
    fn of(part: &Part) -> Self {
        Self { clocks: part.map.own(), joules: part.tally.energy_j() }
    }

    fn plus(mut self, other: &Self, times: f64) -> Self {
        for (mine, theirs) in self.clocks.iter_mut().zip(other.clocks) {
            *mine += times * theirs;
        }
        self.joules += times * other.joules;
        self
    }

    fn or(self, other: &Self) -> f64 {
        self.clocks[COMPUTE].min(other.clocks[COMPUTE])
    }
}

/// What a task of a place takes at least.
struct Tasks {
    first_forward: Own,
    forward: Own,
    backward: Own,
    last_backward: Own,
    input: Own,
    weight: Own,
}

impl Tasks {
    fn of(parts: &Parts, layers: u32, chunk: u32, [embedding, head]: [bool; 2]) -> Self {
        let sum = |layer: &Part, ends: [Option<&Part>; 3]| {
            let start = Own::default().plus(&Own::of(layer), f64::from(layers));
            ends.into_iter().flatten().fold(start, |sum, end| sum.plus(&Own::of(end), 1.0))
        };
        let with = |has: bool, part| has.then_some(part);
        let ahead = |layer| {
            let ends = [with(chunk == 0, &parts.micro), with(embedding, &parts.embedding), with(head, &parts.head)];
            sum(layer, ends)
        };
        let back =
            |layer, end, table| sum(layer, [with(head, end), with(embedding && table, &parts.embedding_back), None]);
        Self {
            first_forward: ahead(&parts.first_forward),
            forward: ahead(&parts.forward),
            backward: back(&parts.backward, &parts.head_back, true),
            last_backward: back(&parts.last_backward, &parts.head_back, true),
            input: back(&parts.input, &parts.head_input, false),
            weight: back(&parts.weight, &parts.head_weight, true),
        }
    }
}

/// A stage: its work, the way through it, and what it keeps.
struct StageFloor {
    work: Own,
    /// Seconds of the first chunk's forward and backward pass: on the way of every micro batch to later stages, and back.
    way: [f64; 2],
    local: Local,
    ends: [bool; 2],
}

/// Chunks of a stage whose activations are held at once, at least; exactly, but for orders that a search finds.
pub fn least_in_flight(p: &Pipeline, stage: u32) -> u32 {
    let all = p.micros.saturating_mul(p.chunks);
    let behind = p.stages - stage.min(p.stages);
    match p.schedule {
        Schedule::Gpipe => all,
        Schedule::OneForwardOneBackward | Schedule::Interleaved if p.chunks == 1 => behind.min(all),
        Schedule::OneForwardOneBackward | Schedule::Interleaved if p.micros <= p.stages => all,
        Schedule::OneForwardOneBackward | Schedule::Interleaved => {
            (behind.saturating_sub(1) * 2 + (p.chunks - 1) * p.stages + 1).min(all)
        }
        Schedule::ZbH1 => p.stages.min(all),
        Schedule::ZbH2 => (2 * p.stages - 1).min(all),
        Schedule::Zb1p | Schedule::Zb2p | Schedule::ZbV => 1,
    }
}

/// The stages of a setting.
fn stages(c: &Context<'_>, parts: &Parts, pipeline: &Pipeline, send: Exchange) -> Vec<StageFloor> {
    let p = c.parallel;
    let per_place = layers(c);
    let split = p.schedule.splits_backward();
    let everywhere = p.vocabulary && p.pp > 1;
    let micros = f64::from(pipeline.micros);
    let mut out = Vec::with_capacity(p.pp as usize);
    for s in 0..p.pp {
        let [first, last] = pipeline.ends(s);
        let ends = [first || everywhere, last || everywhere];
        let (mut work, mut way, mut own_layers) = (Own::default(), [0.0; 2], 0);
        for chunk in 0..p.virtual_stages {
            let place = pipeline.place(s, chunk);
            let layers = per_place.get(place as usize).copied().unwrap_or(0);
            own_layers += layers;
            let ends = [chunk == 0 && ends[0], chunk + 1 == p.virtual_stages && ends[1]];
            let t = Tasks::of(parts, layers, chunk, ends);
            if chunk == 0 {
                way = [t.first_forward.or(&t.forward), t.backward.or(&t.last_backward)];
            }
            work = work.plus(&t.first_forward, 1.0).plus(&t.forward, micros - 1.0);
            work = if split {
                work.plus(&t.input, micros).plus(&t.weight, micros)
            } else {
                work.plus(&t.backward, micros - 1.0).plus(&t.last_backward, 1.0)
            };
            let after = place + 1 < p.pp * p.virtual_stages;
            let exchanges = micros * (f64::from(u8::from(after)) + f64::from(u8::from(place > 0)));
            if send.waits {
                work.clocks[COMPUTE] += exchanges * send.seconds;
            }
            // Each is sent by one and received by the other.
            work.clocks[HOST] += 2.0 * exchanges * send.host_s;
        }
        out.push(StageFloor { work, way, local: local(c, own_layers, ends[0], ends[1]), ends });
    }
    out
}

/// Lists after the last backward pass, by what they depend on within a setting.
struct Ends {
    local: Local,
    tables: Local,
    reduced: Part,
    updated: Part,
}

impl Ends {
    fn of(compiler: &mut Compiler<'_>, stage: &StageFloor) -> Result<Self, ParallelError> {
        let c = compiler.context;
        let p = c.parallel;
        let replicas = p.dp * p.cp > 1;
        let covered = p.overlap.gradients || p.zero == Zero::Weights;
        let tables = Local { dense: local(&c, 0, stage.ends[0], stage.ends[1]).dense, routed: 0 };
        let reduced = if replicas {
            compiler.part(&reduce(&c, if covered { tables } else { stage.local }, false))?
        } else {
            Part::default()
        };
        let mut list = step(&c, stage.local);
        if replicas && p.zero != Zero::None && !p.overlap.parameters && p.zero != Zero::Weights {
            list.extend(gather(&c, stage.local, false));
        }
        Ok(Self { local: stage.local, tables, reduced, updated: compiler.part(&list)? })
    }
}

/// The least of a step of so many micro batches.
///
/// # Errors
/// The machine has no such group.
pub fn least(compiler: &mut Compiler<'_>, parts: &Parts, micros: u32) -> Result<Least, ParallelError> {
    let c = compiler.context;
    let p = c.parallel;
    let pipeline = Pipeline { stages: p.pp, chunks: p.virtual_stages, micros, schedule: p.schedule };
    let send = exchange(compiler)?;
    let stages = stages(&c, parts, &pipeline, send);
    let agree = !p.schedule.splits_backward();
    let tie = tie_cost(compiler)?;
    let mut known: Vec<Ends> = Vec::new();
    let mut places = Vec::with_capacity(stages.len());
    for stage in &stages {
        let tables = Local { dense: local(&c, 0, stage.ends[0], stage.ends[1]).dense, routed: 0 };
        let found = known.iter().position(|e| e.local == stage.local && e.tables == tables);
        if found.is_none() {
            known.push(Ends::of(compiler, stage)?);
        }
        places.push(found.unwrap_or(known.len() - 1));
    }
    // The way to each stage and back: [there, back].
    let mut way = [0.0; 2];
    let mut clocks: Vec<Clocks> = Vec::with_capacity(stages.len());
    let mut returned = 0.0_f64;
    for (s, stage) in stages.iter().enumerate() {
        let mut own = stage.work.clocks;
        if agree {
            own[COMPUTE] += way[0];
            // Where the stream waits for its sends, that of the last is among its work.
            let twice = if send.waits && s > 0 { send.seconds } else { 0.0 };
            returned = returned.max(own[COMPUTE] + way[1] - twice);
        } else if s > 0 {
            // Its time counts from its own first task, for which its host may still be waiting.
            own = [0.0, (own[COMPUTE] - send.host_s).max(0.0), 0.0, 0.0];
        }
        clocks.push(own);
        for (sum, more) in way.iter_mut().zip(stage.way) {
            *sum += more + send.seconds;
        }
    }
    if let (true, Some(first)) = (agree, clocks.first_mut()) {
        first[COMPUTE] = first[COMPUTE].max(returned);
    }
    let latest = |clocks: Clocks| clocks.into_iter().fold(0.0, f64::max);
    let last = stages.len().saturating_sub(1);
    let (mut together, mut seconds, mut joules) = (0.0_f64, 0.0_f64, 0.0);
    let mut spans = Vec::with_capacity(stages.len());
    for (s, ((stage, own), place)) in stages.iter().zip(&mut clocks).zip(&places).enumerate() {
        let Some(ends) = known.get(*place) else { continue };
        if agree || s == 0 {
            own[HOST] += c.software.host.step_us * 1e-6;
        }
        let reduced = ends.reduced.map.apply(own);
        let at = latest(reduced) + if s == 0 || s == last { tie } else { 0.0 };
        together = together.max(at);
        let update = latest(ends.updated.map.apply(&[0.0; CLOCKS]));
        spans.push(update);
        seconds = seconds.max(at + update);
        let after = Own::of(&ends.reduced).joules + Own::of(&ends.updated).joules;
        joules += (stage.work.joules + after) / f64::from(p.pp);
    }
    if agree {
        seconds = spans.iter().fold(seconds, |most, span| most.max(together + span));
    }
    // Sums in another order differ in their last digits.
    let seconds = seconds * (1.0 - 1e-9);
    let all = f64::from(p.ranks());
    let joules = all * (compiler.gpu.power.active_idle_w * seconds + joules) * (1.0 - 1e-9);
    Ok(Least { seconds, joules })
}

/// What a rank keeps beyond what its device has to use, whatever the order of its tasks: of which part most.
pub fn does_not_fit(c: &Context<'_>, gpu: &GpuSpec, micros: u32) -> Option<&'static str> {
    let p = c.parallel;
    let pipeline = Pipeline { stages: p.pp, chunks: p.virtual_stages, micros, schedule: p.schedule };
    let per_place = layers(c);
    let everywhere = p.vocabulary && p.pp > 1;
    let per_chunk = f64::from(c.shape.layers) / f64::from(p.pp * p.virtual_stages);
    let usable = usable_bytes(gpu);
    // Stages between the first and the last keep no more than these.
    let last = p.pp.saturating_sub(1);
    for s in if last == 0 { vec![0] } else { vec![0, last] } {
        let [first, last] = pipeline.ends(s);
        let ends = [first || everywhere, last || everywhere];
        let own = (0..p.virtual_stages).filter_map(|k| per_place.get(pipeline.place(s, k) as usize)).sum();
        let held = f64::from(least_in_flight(&pipeline, s)) * per_chunk;
        let m = memory(c, local(c, own, ends[0], ends[1]), held, ends);
        if m.total() > usable {
            let states = m.weights + m.gradients + m.optimizer;
            let most = [("activations", m.activations), ("states", states), ("passing", m.transient)];
            let most = most.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("states", |m| m.0);
            return Some(match most {
                "activations" => "activations of its micro batches",
                "passing" => "what a layer or the loss holds for a while",
                _ => "weights, gradients and states of the optimiser",
            });
        }
    }
    None
}
