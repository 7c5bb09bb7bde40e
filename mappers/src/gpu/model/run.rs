//! Runs the launches of a generation, each kind once, and adds them up.

use std::collections::{BTreeMap, HashMap};

use banksia_hw::gpu::estimate::Simulation;
use banksia_hw::gpu::program::Kernel;
use banksia_hw::gpu::{CacheState, EnergyParts, Gpu, GpuError, KernelResult, Traffic};
use banksia_hw::outcome::{ComponentOutcome, OperatorOutcome, Outcome, Span, StepOutcome};
use banksia_sim::Time;
use banksia_workloads::{Phase, Step};
use serde::Serialize;

use super::super::select;
use super::lower::{Launches, Lowering, Part, Work};
use super::{GpuModel, LaunchMode};
use banksia_hw::gpu::sampling::{Detail, simulate, simulate_at};

/// Products are simulated with so many of the kernels of the best estimates.
const FINALISTS: usize = 2;

/// Rounds in which the clock settles at the power limit.
const SETTLING: usize = 8;

/// How a generation is run.
#[derive(Debug, Clone, Copy)]
pub struct GpuRunOptions {
    /// How finely kernels are simulated.
    pub detail: Detail,
    /// Simulates every operator of every step anew, where it would otherwise be known. The result is the same.
    pub each_time: bool,
    /// The step, from 0, whose launches are recorded.
    pub timeline_step: Option<u64>,
}

impl Default for GpuRunOptions {
    fn default() -> Self {
        Self { detail: Detail::DEFAULT, each_time: false, timeline_step: None }
    }
}

/// What a generation took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuRun {
    /// Latency, energy and bytes by operator, component and step.
    pub outcome: Outcome,
    /// Kernels launched.
    pub launches: u64,
    /// Kernels that were simulated; the others are their repetition.
    pub simulated: u64,
    /// Time between kernels.
    pub gap: Time,
    /// Time for which the matrix units multiplied, on average over SMs.
    pub tensor_busy: Time,
    /// Average SM clock, by time.
    pub clock_mhz: f64,
    /// Warps resident on SMs, of the most, by time.
    pub occupancy: f64,
}

/// A kernel as `banksia map` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The operator.
    pub operator: String,
    /// Times that the step runs it.
    pub count: u64,
    /// The kernel, with its tile.
    pub kernel: String,
    /// CTAs.
    pub grid: u32,
    /// Threads of each.
    pub threads: u32,
    /// Shared memory of each.
    pub shared_bytes: u32,
    /// CTAs of a cluster.
    pub cluster: u32,
    /// CTAs that fit one SM.
    pub ctas_per_sm: u32,
    /// Rounds of work items over the CTAs that run at once.
    pub waves: u32,
    /// What the search's estimate says, for a product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_s: Option<f64>,
    /// What simulation says, with the gap to the next kernel.
    pub latency_s: f64,
}

/// A sum of launches.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    latency: Time,
    span: Time,
    energy: EnergyParts,
    traffic: Traffic,
    tensor: Time,
    l2: Time,
    dram: Time,
    clock_mhz_s: f64,
    occupancy_s: f64,
    launches: u64,
}

fn time(seconds: f64) -> Time {
    Time::from_secs_f64(seconds).unwrap_or(Time::ZERO)
}

impl Sum {
    /// One launch; `least` is the shortest time to the next.
    fn of(r: &KernelResult, least_s: f64, idle_w: f64) -> Self {
        let latency_s = r.latency_s.max(least_s);
        let energy = EnergyParts { idle_j: r.energy.idle_j + (latency_s - r.latency_s) * idle_w, ..r.energy };
        Self {
            latency: time(latency_s),
            span: time(r.span_s),
            energy,
            traffic: r.traffic,
            tensor: time(r.tensor_busy * r.span_s),
            l2: time(r.l2_busy * r.span_s),
            dram: time(r.dram_busy * r.span_s),
            clock_mhz_s: r.clock_mhz * latency_s,
            occupancy_s: r.occupancy * r.span_s,
            launches: 1,
        }
    }

    fn add(&mut self, o: &Self, times: u64) {
        let n = times as f64;
        let more = |a: Time, b: Time| a.saturating_add(b.saturating_mul(times));
        self.latency = more(self.latency, o.latency);
        self.span = more(self.span, o.span);
        self.tensor = more(self.tensor, o.tensor);
        self.l2 = more(self.l2, o.l2);
        self.dram = more(self.dram, o.dram);
        let (e, f) = (&mut self.energy, &o.energy);
        e.idle_j += f.idle_j * n;
        e.tensor_j += f.tensor_j * n;
        e.vector_j += f.vector_j * n;
        e.shared_j += f.shared_j * n;
        e.l2_j += f.l2_j * n;
        e.dram_j += f.dram_j * n;
        let bytes = |a: &mut u64, b: u64| *a = a.saturating_add(b.saturating_mul(times));
        let (t, u) = (&mut self.traffic, &o.traffic);
        bytes(&mut t.crossbar_read_bytes, u.crossbar_read_bytes);
        bytes(&mut t.crossbar_write_bytes, u.crossbar_write_bytes);
        bytes(&mut t.l2_read_bytes, u.l2_read_bytes);
        bytes(&mut t.l2_write_bytes, u.l2_write_bytes);
        bytes(&mut t.dram_read_bytes, u.dram_read_bytes);
        bytes(&mut t.dram_write_bytes, u.dram_write_bytes);
        bytes(&mut t.l1_hit_bytes, u.l1_hit_bytes);
        self.clock_mhz_s += o.clock_mhz_s * n;
        self.occupancy_s += o.occupancy_s * n;
        self.launches = self.launches.saturating_add(o.launches.saturating_mul(times));
    }

    fn traffic_bytes(&self) -> BTreeMap<String, u64> {
        sm_traffic(&self.traffic)
            .into_iter()
            .chain(l2_traffic(&self.traffic))
            .chain(dram_traffic(&self.traffic))
            .collect()
    }

    fn energy_j(&self) -> BTreeMap<String, f64> {
        let e = &self.energy;
        map([
            ("idle", e.idle_j),
            ("tensor", e.tensor_j),
            ("vector", e.vector_j),
            ("shared", e.shared_j),
            ("l2", e.l2_j),
            ("dram", e.dram_j),
        ])
    }
}

fn map<T, const N: usize>(pairs: [(&str, T); N]) -> BTreeMap<String, T> {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

fn sm_traffic(t: &Traffic) -> BTreeMap<String, u64> {
    map([("l1_hit", t.l1_hit_bytes)])
}

fn l2_traffic(t: &Traffic) -> BTreeMap<String, u64> {
    map([
        ("crossbar_read", t.crossbar_read_bytes),
        ("crossbar_write", t.crossbar_write_bytes),
        ("l2_read", t.l2_read_bytes),
        ("l2_write", t.l2_write_bytes),
    ])
}

fn dram_traffic(t: &Traffic) -> BTreeMap<String, u64> {
    map([("dram_read", t.dram_read_bytes), ("dram_write", t.dram_write_bytes)])
}

/// The launches of one operator in one layer.
#[derive(Debug, Clone)]
struct Done {
    launches: Vec<(String, Sum)>,
    sum: Sum,
}

fn at(phase: Phase) -> usize {
    usize::from(phase == Phase::Decode)
}

struct Runner<'a> {
    model: &'a GpuModel,
    gpu: Gpu,
    detail: Detail,
    each_time: bool,
    known: HashMap<(Phase, Work), Done>,
    /// What depends on the context: of the step in work, for its layers.
    current: HashMap<(Phase, Work), Done>,
    /// By phase: prefill, decode.
    dirty: [f64; 2],
    /// By phase: the SM clock at which power is at its limit.
    clock_limit_mhz: [f64; 2],
    simulated: u64,
}

impl<'a> Runner<'a> {
    fn new(model: &'a GpuModel, options: &GpuRunOptions) -> Self {
        Self {
            model,
            gpu: Gpu::new(model.spec.clone()),
            detail: options.detail,
            each_time: options.each_time,
            known: HashMap::new(),
            current: HashMap::new(),
            dirty: [model.dirty(Phase::Prefill), model.dirty(Phase::Decode)],
            clock_limit_mhz: [f64::INFINITY; 2],
            simulated: 0,
        }
    }

    fn lowering(&self, phase: Phase) -> Lowering<'a> {
        Lowering { model: self.model, phase, dirty: self.dirty[at(phase)] }
    }

    /// The kernels of an operator; those of a product are chosen by simulation.
    fn kernels(&mut self, phase: Phase, work: &Work) -> Result<Vec<(Kernel, CacheState)>, GpuError> {
        Ok(match self.lowering(phase).launches(work) {
            Launches::Kernels(kernels) => kernels,
            Launches::Product(g, found) => {
                let (plan, _) =
                    select::gemm(&mut Simulation { gpu: &mut self.gpu, detail: self.detail }, &g, found, FINALISTS)?;
                plan.steps
            }
        })
    }

    fn simulate(&mut self, phase: Phase, work: &Work) -> Result<Done, GpuError> {
        let spec = &self.model.spec;
        let least_s = match self.model.options.launch {
            LaunchMode::Graph => 0.0,
            LaunchMode::Eager => spec.launch.stream_gap_us * 1e-6,
        };
        let idle_w = spec.power.active_idle_w;
        let mut done = Done { launches: Vec::new(), sum: Sum::default() };
        for (kernel, cache) in self.kernels(phase, work)? {
            let clock = self.clock_limit_mhz[at(phase)];
            let result = simulate_at(&mut self.gpu, &kernel, &cache, self.detail, clock)?;
            self.simulated += 1;
            let sum = Sum::of(&result, least_s, idle_w);
            done.sum.add(&sum, 1);
            done.launches.push((kernel.name, sum));
        }
        Ok(done)
    }

    /// Finds the clock at which a phase keeps the power limit in its last step, where that needs the most.
    fn settle(&mut self, phase: Phase) -> Result<(), GpuError> {
        let generation = &self.model.generation;
        let step = match phase {
            Phase::Prefill => generation.step(0),
            Phase::Decode => generation.step(generation.generated_tokens.saturating_sub(1)),
        };
        // A generation may have no prefill, or nothing but one.
        let Some(step) = step.filter(|step| step.phase == phase) else { return Ok(()) };
        let p = &self.model.spec.power;
        for _ in 0..SETTLING {
            let mut sum = Sum::default();
            for part in self.lowering(phase).parts(&step) {
                let done = self.done(phase, &part.work)?;
                sum.add(&done.sum, part.layers);
            }
            let seconds = sum.latency.as_secs_f64();
            let power = sum.energy.total_j() / seconds;
            let clock = self.clock_limit_mhz[at(phase)].min(sum.clock_mhz_s / seconds);
            if power <= 1.005 * p.limit_w || clock <= p.min_clock_mhz {
                break;
            }
            // Power beyond idling falls with about the cube of the clock where nothing else binds.
            let share = (p.limit_w - p.active_idle_w).max(1.0) / (power - p.active_idle_w).max(1.0);
            self.clock_limit_mhz[at(phase)] = (clock * share.powf(0.4)).max(p.min_clock_mhz);
            self.known.retain(|(other, _), _| *other != phase);
            self.current.clear();
        }
        Ok(())
    }

    fn done(&mut self, phase: Phase, work: &Work) -> Result<Done, GpuError> {
        if !self.each_time {
            let known = if work.depends_on_context() { &self.current } else { &self.known };
            if let Some(done) = known.get(&(phase, *work)) {
                return Ok(done.clone());
            }
        }
        let done = self.simulate(phase, work)?;
        if work.depends_on_context() {
            self.current.insert((phase, *work), done.clone());
        } else {
            self.known.insert((phase, *work), done.clone());
        }
        Ok(done)
    }
}

/// What operators came to, in the order of their first execution.
#[derive(Default)]
struct Operators {
    index: HashMap<String, usize>,
    list: Vec<(String, u64, u64, Sum)>,
}

impl Operators {
    fn add(&mut self, part: &Part, done: &Done) {
        let at = *self.index.entry(part.label.clone()).or_insert_with(|| {
            self.list.push((part.label.clone(), 0, 0, Sum::default()));
            self.list.len() - 1
        });
        let (_, count, flops, sum) = &mut self.list[at];
        *count = count.saturating_add(part.layers);
        *flops = flops.saturating_add(part.flops.saturating_mul(part.layers));
        sum.add(&done.sum, part.layers);
    }
}

pub(super) fn run(
    model: &GpuModel,
    options: &GpuRunOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<GpuRun, GpuError> {
    let mut runner = Runner::new(model, options);
    runner.settle(Phase::Prefill)?;
    runner.settle(Phase::Decode)?;
    let mut operators = Operators::default();
    let mut steps = Vec::new();
    let mut spans = Vec::new();
    let mut total = Sum::default();
    for (index, step) in model.generation.steps().enumerate() {
        let parts = runner.lowering(step.phase).parts(&step);
        if parts.iter().any(|p| p.work.depends_on_context() && !runner.current.contains_key(&(step.phase, p.work))) {
            runner.current.clear();
        }
        let mut sum = Sum::default();
        let mut launches = Vec::new();
        for part in &parts {
            let done = runner.done(step.phase, &part.work)?;
            sum.add(&done.sum, part.layers);
            operators.add(part, &done);
            if options.timeline_step == Some(index as u64) {
                launches.push((part, done));
            }
        }
        timeline(&launches, total.latency, &mut spans);
        steps.push(StepOutcome {
            phase: if step.phase == Phase::Prefill { "prefill" } else { "decode" }.into(),
            context_tokens: step.context,
            start: total.latency,
            latency: sum.latency,
            energy_j: sum.energy.total_j(),
        });
        total.add(&sum, 1);
        progress(index as u64 + 1);
    }
    let latency_s = total.latency.as_secs_f64();
    let outcome = Outcome {
        latency: total.latency,
        operators: operators.list.into_iter().map(operator).collect(),
        components: components(model, &total),
        steps,
        commands: map([("kernel_launch", total.launches)]),
        commands_stepped: runner.simulated,
        spans,
        ..Outcome::default()
    };
    Ok(GpuRun {
        outcome,
        launches: total.launches,
        simulated: runner.simulated,
        gap: total.latency.saturating_sub(total.span),
        tensor_busy: total.tensor,
        clock_mhz: total.clock_mhz_s / latency_s.max(f64::MIN_POSITIVE),
        occupancy: total.occupancy_s / latency_s.max(f64::MIN_POSITIVE),
    })
}

fn operator((name, count, flops, sum): (String, u64, u64, Sum)) -> OperatorOutcome {
    OperatorOutcome {
        name,
        count,
        latency: sum.latency,
        busy: sum.span,
        energy_j: sum.energy_j(),
        flops: flops as f64,
        pim_flops: 0.0,
        traffic_bytes: sum.traffic_bytes(),
    }
}

fn components(model: &GpuModel, total: &Sum) -> Vec<ComponentOutcome> {
    let spec = &model.spec;
    let component = |name: &str, kind: String, busy: Time, energy_j, traffic_bytes| ComponentOutcome {
        name: name.into(),
        kind,
        busy,
        energy_j,
        traffic_bytes,
    };
    let e = &total.energy;
    let none = BTreeMap::new;
    vec![
        component("chip", "leakage and clocks".into(), total.latency, map([("idle", e.idle_j)]), none()),
        component(
            "SMs",
            format!("{} SMs", spec.sms()),
            total.span,
            map([("vector", e.vector_j), ("shared", e.shared_j)]),
            sm_traffic(&total.traffic),
        ),
        component("matrix units", "matrix units".into(), total.tensor, map([("tensor", e.tensor_j)]), none()),
        component("L2", "L2 and crossbar".into(), total.l2, map([("l2", e.l2_j)]), l2_traffic(&total.traffic)),
        component(
            "device memory",
            spec.dram.standard.clone(),
            total.dram,
            map([("dram", e.dram_j)]),
            dram_traffic(&total.traffic),
        ),
    ]
}

/// The launches of a step, one after another: what comes before the layers, every layer, and what comes after.
fn timeline(parts: &[(&Part, Done)], start: Time, spans: &mut Vec<Span>) {
    let Some(layers) = parts.iter().map(|(p, _)| p.layers).max() else { return };
    let first = parts.iter().position(|(p, _)| p.layers == layers).unwrap_or(0);
    let last = parts.iter().rposition(|(p, _)| p.layers == layers).unwrap_or(0);
    let mut now = start;
    let mut all = |parts: &[(&Part, Done)], layer: Option<u64>| {
        for (part, done) in parts {
            for (kernel, sum) in &done.launches {
                let mut details = vec![("kernel", kernel.clone())];
                details.extend(layer.map(|l| ("layer", l.to_string())));
                details.push(("dram_bytes", (sum.traffic.dram_read_bytes + sum.traffic.dram_write_bytes).to_string()));
                spans.push(Span {
                    group: "gpu",
                    lane: "kernels".into(),
                    operator: part.label.clone(),
                    start: now,
                    end: now.saturating_add(sum.span),
                    details,
                });
                now = now.saturating_add(sum.latency);
            }
        }
    };
    all(&parts[..first], None);
    (0..layers).for_each(|l| all(&parts[first..=last], Some(l)));
    all(&parts[last + 1..], None);
}

pub(super) fn choices(model: &GpuModel, step: &Step) -> Result<Vec<Choice>, GpuError> {
    let mut runner = Runner::new(model, &GpuRunOptions::default());
    let mut out = Vec::new();
    for part in runner.lowering(step.phase).parts(step) {
        let estimates: Vec<_> = match runner.lowering(step.phase).launches(&part.work) {
            Launches::Product(g, found) => {
                // A candidate that cannot run has no place among the estimates; the choice goes on without it.
                select::ranking(&mut Simulation { gpu: &mut runner.gpu, detail: runner.detail }, &g, found, FINALISTS)
                    .unwrap_or_default()
            }
            Launches::Kernels(_) => Vec::new(),
        };
        for (kernel, cache) in runner.kernels(step.phase, &part.work)? {
            let result = simulate(&mut runner.gpu, &kernel, &cache, runner.detail)?;
            let estimate =
                estimates.iter().find(|(_, plan, _)| plan.steps.iter().any(|(k, _)| *k == kernel)).map(|(e, ..)| *e);
            let product = kernel.name.starts_with("gemm");
            let lanes = (result.ctas_per_sm * model.spec.sms()).min(kernel.grid).max(1);
            out.push(Choice {
                operator: part.label.clone(),
                count: part.layers,
                grid: kernel.grid,
                threads: kernel.threads,
                shared_bytes: kernel.shared_bytes,
                cluster: kernel.cluster,
                ctas_per_sm: result.ctas_per_sm,
                waves: (kernel.items.len() as u32).div_ceil(lanes),
                estimate_s: estimate.filter(|_| product),
                latency_s: result.latency_s,
                kernel: kernel.name,
            });
        }
    }
    Ok(out)
}
