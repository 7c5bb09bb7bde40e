//! A GPU as a device of a machine: runs the kernels of programs one after another on one stream.
//!
//! What one launch takes depends on its kernel, on what L2 holds at its start (in steps, see [`Ledger`]) and on the clock; equal
//! launches are simulated once, which is exact. Where a step's power would exceed the limit, the clock settles where it does not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use banksia_sim::{Elapsed, EventQueue, Time};

use super::cache::{Cached, LaunchCache};
use super::estimate::{Judge, Simulation};
use super::launch::{CacheState, KernelResult, L2Start, TensorInL2};
use super::ledger::Ledger;
use super::power::EnergyParts;
use super::program::Kernel;
use super::sampling::simulate_at;
use super::traffic::Traffic;
use super::{Gpu, GpuSpec};
use crate::outcome::{ComponentOutcome, Outcome, Span, WorkedOut};
use crate::program::{LaunchMode, Program, ProgramError, Work};
use crate::system::{Books, Executor, OperatorBooks, RunError, RunOptions, Share};

/// Rounds in which the clock settles at the power limit.
const SETTLING: usize = 8;

/// A sum of launches.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    latency: Elapsed,
    span: Elapsed,
    energy: EnergyParts,
    traffic: Traffic,
    tensor: Elapsed,
    l2: Elapsed,
    dram: Elapsed,
    clock_mhz_s: f64,
    occupancy_s: f64,
    launches: u64,
    /// Of the latency, that of launches of which a part was run.
    sampled: Elapsed,
}

/// One launch.
#[derive(Debug, Clone, Copy, Default)]
struct Launch {
    /// With the gap to the next.
    latency: Time,
    span: Time,
    energy: EnergyParts,
    traffic: Traffic,
    tensor: Time,
    l2: Time,
    dram: Time,
    clock_mhz_s: f64,
    occupancy_s: f64,
    sampled: bool,
}

fn seconds(s: f64) -> Time {
    Time::from_secs_f64(s).unwrap_or(Time::ZERO)
}

impl Launch {
    /// Of what the machine says; `idle_s` passes on top, and `written` goes to memory.
    fn of(r: &KernelResult, idle_s: f64, written: u64, spec: &GpuSpec) -> Option<Self> {
        let latency_s = r.latency_s + idle_s;
        let traffic = Traffic { dram_write_bytes: written, ..r.traffic };
        let moved = |t: &Traffic| (t.dram_read_bytes + t.dram_write_bytes) as f64 * spec.power.dram_pj_per_byte * 1e-12;
        let energy = EnergyParts {
            idle_j: r.energy.idle_j + idle_s * spec.power.active_idle_w,
            dram_j: r.energy.dram_j + moved(&traffic) - moved(&r.traffic),
            ..r.energy
        };
        Some(Self {
            latency: Time::from_secs_f64(latency_s).ok()?,
            span: seconds(r.span_s),
            energy,
            traffic,
            tensor: seconds(r.tensor_busy * r.span_s),
            l2: seconds(r.l2_busy * r.span_s),
            dram: seconds(r.dram_busy * r.span_s),
            clock_mhz_s: r.clock_mhz * latency_s,
            occupancy_s: r.occupancy * r.span_s,
            sampled: r.continued,
        })
    }
}

impl Sum {
    fn add(&mut self, l: &Launch) {
        self.latency.add(l.latency);
        self.span.add(l.span);
        self.tensor.add(l.tensor);
        self.l2.add(l.l2);
        self.dram.add(l.dram);
        let (e, f) = (&mut self.energy, &l.energy);
        e.idle_j += f.idle_j;
        e.tensor_j += f.tensor_j;
        e.vector_j += f.vector_j;
        e.shared_j += f.shared_j;
        e.l2_j += f.l2_j;
        e.dram_j += f.dram_j;
        let bytes = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        let (t, u) = (&mut self.traffic, &l.traffic);
        bytes(&mut t.crossbar_read_bytes, u.crossbar_read_bytes);
        bytes(&mut t.crossbar_write_bytes, u.crossbar_write_bytes);
        bytes(&mut t.l2_read_bytes, u.l2_read_bytes);
        bytes(&mut t.l2_write_bytes, u.l2_write_bytes);
        bytes(&mut t.dram_read_bytes, u.dram_read_bytes);
        bytes(&mut t.dram_write_bytes, u.dram_write_bytes);
        bytes(&mut t.l1_hit_bytes, u.l1_hit_bytes);
        self.clock_mhz_s += l.clock_mhz_s;
        self.occupancy_s += l.occupancy_s;
        self.launches += 1;
        if l.sampled {
            self.sampled.add(l.latency);
        }
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

/// All that a launch's result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Case {
    /// The kernel, by address: it is kept while the case is known.
    kernel: usize,
    start: L2Start,
    clock: u64,
}

/// A launch that has been simulated.
#[derive(Debug, Clone)]
struct Known {
    _kernel: Arc<Kernel>,
    result: KernelResult,
    left: Vec<TensorInL2>,
    in_l2: u64,
    /// The step in which it was last of use.
    used: u64,
}

/// A GPU at work.
pub struct GpuExecutor {
    spec: Arc<GpuSpec>,
    gpu: Gpu,
    options: RunOptions,
    step: u64,
    program: Arc<Program>,
    /// The step's launches by instruction.
    launches: HashMap<u32, Launch>,
    /// From when on the stream is free.
    free: Time,
    events: EventQueue<u32>,
    unfinished: usize,
    known: HashMap<Case, Known>,
    /// What is known from other runs.
    cached: Cached,
    ledger: Ledger,
    /// Buffers of the run, by name.
    buffers: HashMap<String, u32>,
    /// By phase: the SM clock at which power is at its limit.
    clock_limit_mhz: BTreeMap<String, f64>,
    simulated: u64,
    sampled: u64,
    operators: Vec<(String, Sum)>,
    by_name: HashMap<String, usize>,
    map: Vec<usize>,
    total: Sum,
    /// Energy of the idle chip between launches.
    waiting_j: f64,
    step_start: Time,
    step_busy: Elapsed,
    spans: Vec<Span>,
}

impl GpuExecutor {
    /// A GPU at time zero, with nothing in its L2.
    pub fn new(spec: &Arc<GpuSpec>, options: RunOptions) -> Self {
        Self {
            gpu: Gpu::new((**spec).clone()),
            ledger: Ledger::new(spec.l2.bytes),
            spec: Arc::clone(spec),
            options,
            step: 0,
            program: Arc::default(),
            launches: HashMap::new(),
            free: Time::ZERO,
            events: EventQueue::new(),
            unfinished: 0,
            known: HashMap::new(),
            cached: Cached::default(),
            buffers: HashMap::new(),
            clock_limit_mhz: BTreeMap::new(),
            simulated: 0,
            sampled: 0,
            operators: Vec::new(),
            by_name: HashMap::new(),
            map: Vec::new(),
            total: Sum::default(),
            waiting_j: 0.0,
            step_start: Time::ZERO,
            step_busy: Elapsed::ZERO,
            spans: Vec::new(),
        }
    }

    /// Simulates the launches of a step in order, from what L2 holds; how long and at what power they run.
    fn simulate(&mut self, program: &Program, mine: &[u32], clock: f64) -> Result<Sum, RunError> {
        let spec = &self.spec.launch;
        let (host_us, gap_us) = match (program.launch, program.python) {
            (LaunchMode::Graph, _) => (0.0, 0.0),
            (LaunchMode::Eager, false) => (spec.stream_gap_us, spec.dispatch_gap_us),
            (LaunchMode::Eager, true) => (spec.python_us, spec.dispatch_gap_us),
        };
        // When the host has launched what comes next, and when the stream is free: both begin with the step, whose input the host has waited for.
        let (mut host_s, mut stream_s) = (0.0, 0.0);
        // Names of the step's buffers, once.
        let buffers: Vec<u32> = program
            .buffers
            .iter()
            .map(|b| match self.buffers.get(&b.name) {
                Some(id) => *id,
                None => {
                    let id = self.buffers.len() as u32;
                    self.buffers.insert(b.name.clone(), id);
                    id
                }
            })
            .collect();
        let mut sum = Sum::default();
        let mut operands: Vec<(u32, u64)> = Vec::new();
        for &i in mine {
            let Work::Kernel { kernel: k, operands: first } = program.instructions[i as usize].work else { continue };
            let kernel = &program.kernels[k as usize];
            operands.clear();
            let names = program.operands_of(k, first);
            operands.extend(names.iter().zip(&kernel.tensors).map(|(b, t)| (buffers[*b as usize], t.bytes())));
            let start = self.ledger.start(&operands);
            let (result, written) = self.launch(kernel, start, clock, &operands)?;
            host_s += host_us * 1e-6;
            let idle_s = f64::max(host_s - stream_s, 0.0) + gap_us * 1e-6;
            stream_s += idle_s + result.latency_s;
            let launch = Launch::of(&result, idle_s, written, &self.spec).ok_or_else(|| RunError::TooLong {
                step: self.step,
                limit: Time::MAX,
                what: format!("kernel {}", kernel.name),
            })?;
            sum.add(&launch);
            self.launches.insert(i, launch);
        }
        Ok(sum)
    }

    /// One launch, and the bytes that it sends to memory.
    fn launch(
        &mut self,
        kernel: &Arc<Kernel>,
        start: L2Start,
        clock: f64,
        operands: &[(u32, u64)],
    ) -> Result<(KernelResult, u64), RunError> {
        let case = Case { kernel: Arc::as_ptr(kernel) as usize, start, clock: clock.to_bits() };
        let step = self.step;
        if let Some(known) = self.known.get_mut(&case).filter(|_| !self.options.stepping) {
            known.used = step;
            let written = self.ledger.finish(operands, &known.left, known.in_l2, &known.result.traffic);
            return Ok((known.result, written));
        }
        let (gpu, detail, start) = (&mut self.gpu, self.options.detail, &case.start);
        let simulated = &mut self.simulated;
        let mut simulate = || -> Result<(KernelResult, Vec<TensorInL2>, u64), RunError> {
            *simulated += 1;
            let result = simulate_at(gpu, kernel, &CacheState::Held(start.clone()), detail, clock)?;
            let (left, in_l2) = gpu.in_l2();
            Ok((result, left, in_l2))
        };
        let (result, left, in_l2) = match self.options.stepping {
            true => simulate()?,
            false => self.cached.or("launch", &(&**kernel, start, clock.to_bits(), detail), simulate)?,
        };
        self.sampled += u64::from(result.continued);
        let written = self.ledger.finish(operands, &left, in_l2, &result.traffic);
        if !self.options.stepping {
            self.known.insert(case, Known { _kernel: Arc::clone(kernel), result, left, in_l2, used: step });
        }
        Ok((result, written))
    }

    /// Runs the launches of a step at the clock at which it keeps the power limit.
    fn settle(&mut self, program: &Program, mine: &[u32]) -> Result<(), RunError> {
        let before = self.ledger.clone();
        let spec = Arc::clone(&self.spec);
        let p = &spec.power;
        for round in 0..=SETTLING {
            let limit = self.clock_limit_mhz.get(&program.phase).copied().unwrap_or(f64::INFINITY);
            if round > 0 {
                self.ledger = before.clone();
            }
            let sum = self.simulate(program, mine, limit)?;
            let seconds = sum.latency.as_secs_f64();
            let power = sum.energy.total_j() / seconds.max(f64::MIN_POSITIVE);
            let clock = limit.min(sum.clock_mhz_s / seconds.max(f64::MIN_POSITIVE));
            if !self.options.settle
                || sum.launches == 0
                || power <= 1.005 * p.limit_w
                || clock <= p.min_clock_mhz
                || round == SETTLING
            {
                break;
            }
            // Power beyond idling falls with about the cube of the clock where nothing else binds.
            let share = (p.limit_w - p.active_idle_w).max(1.0) / (power - p.active_idle_w).max(1.0);
            self.clock_limit_mhz.insert(program.phase.clone(), (clock * share.powf(0.4)).max(p.min_clock_mhz));
        }
        Ok(())
    }

    fn idle_j(&self, time: Elapsed) -> f64 {
        time.as_secs_f64() * self.spec.power.active_idle_w
    }

    /// Puts a launch on the stream.
    fn start(&mut self, instruction: u32, ready: Time) -> Result<(), RunError> {
        let Some(launch) = self.launches.get(&instruction).copied() else { return Ok(()) };
        let begin = self.free.max(ready);
        let too_long = || RunError::TooLong { step: self.step, limit: Time::MAX, what: "kernels".into() };
        let end = begin.checked_add(launch.latency).ok_or_else(too_long)?;
        let entry = &self.program.instructions[instruction as usize];
        self.operators[self.map[entry.operator as usize]].1.add(&launch);
        self.total.add(&launch);
        self.step_busy.add(launch.latency);
        if self.options.timeline_step == Some(self.step) {
            self.record(instruction, begin, &launch);
        }
        self.free = end;
        self.events.push(end, instruction);
        Ok(())
    }

    fn record(&mut self, instruction: u32, start: Time, launch: &Launch) {
        let program = &self.program;
        let entry = &program.instructions[instruction as usize];
        let Work::Kernel { kernel, operands } = entry.work else { return };
        let mut details = vec![("kernel", program.kernels[kernel as usize].name.clone())];
        // A layer's weights or cache say which layer it is.
        let layer = program.operands_of(kernel, operands).iter().find_map(|b| {
            let name = program.buffers[*b as usize].name.strip_prefix("layer")?;
            Some(name.split('.').next()?.to_owned())
        });
        details.extend(layer.map(|l| ("layer", l)));
        let bytes = launch.traffic.dram_read_bytes + launch.traffic.dram_write_bytes;
        details.push(("dram_bytes", bytes.to_string()));
        self.spans.push(Span {
            group: "gpu",
            lane: "kernels".into(),
            operator: program.operators[entry.operator as usize].name.clone(),
            start,
            end: start.saturating_add(launch.span),
            details,
        });
    }
}

impl Executor for GpuExecutor {
    fn load(&mut self, program: &Arc<Program>, share: Share<'_>, start: Time) -> Result<(), RunError> {
        let all: Vec<u32>;
        let mine = match share {
            Share::Of(mine) => mine,
            Share::Alone => {
                all = (0..program.instructions.len() as u32).collect();
                &all
            }
        };
        let step = self.step;
        let refuse = |error| Err(RunError::Program { step, error });
        for &i in mine {
            let Work::Kernel { kernel, .. } = program.instructions[i as usize].work else {
                let (device, work) = (self.spec.name.clone(), "anything but kernels");
                return refuse(ProgramError::Device { instruction: i as usize, device, work });
            };
            let kernel = &program.kernels[kernel as usize];
            if let Err(e) = self.gpu.accepts(kernel) {
                return refuse(ProgramError::Code { instruction: i as usize, problem: e.to_string() });
            }
        }
        self.program = Arc::clone(program);
        self.map.clear();
        for operator in &program.operators {
            let at = *self.by_name.entry(operator.name.clone()).or_insert_with(|| {
                self.operators.push((operator.name.clone(), Sum::default()));
                self.operators.len() - 1
            });
            self.map.push(at);
        }
        self.launches.clear();
        self.settle(program, mine)?;
        // What two steps have not used does not come again: contexts grow.
        self.known.retain(|_, k| k.used + 2 > step);
        self.free = self.free.max(start);
        self.step_start = start;
        self.step_busy = Elapsed::ZERO;
        self.unfinished = mine.len();
        if let Share::Alone = share {
            // One stream in program order: what an instruction depends on is before it.
            for &i in mine {
                self.start(i, start)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, instruction: u32, at: Time) -> Result<(), RunError> {
        self.start(instruction, at)
    }

    fn next(&mut self) -> Option<Time> {
        self.events.peek_time()
    }

    fn advance(&mut self, until: Time, done: &mut Vec<(Time, u32)>) -> Result<(), RunError> {
        while self.events.peek_time().is_some_and(|t| t <= until) {
            let Some(event) = self.events.pop() else { break };
            self.unfinished -= 1;
            done.push(event);
        }
        Ok(())
    }

    fn unfinished(&self) -> usize {
        self.unfinished
    }

    fn waits(&self) -> Vec<String> {
        if self.unfinished == 0 {
            Vec::new()
        } else {
            vec![format!("{} kernels wait on {}", self.unfinished, self.spec.name)]
        }
    }

    fn end_step(&mut self, end: Time) -> f64 {
        let length = Elapsed::from(end.saturating_sub(self.step_start));
        self.waiting_j += self.idle_j(length.saturating_sub(self.step_busy));
        self.step += 1;
        self.total.energy.total_j() + self.waiting_j
    }

    fn granule(&self) -> Option<Time> {
        Some(Time::from_fs(1))
    }

    fn move_epoch(&mut self, by: Time) {
        self.free = self.free.saturating_sub(by);
        self.step_start = self.step_start.saturating_sub(by);
    }

    fn books(&mut self, _: Time) -> Books {
        let operators = self.operators.iter().map(|(name, sum)| OperatorBooks {
            name: name.clone(),
            busy: sum.span,
            energy_j: sum.energy_j(),
            traffic_bytes: sum.traffic_bytes(),
        });
        let total = &self.total;
        let share = total.sampled.as_secs_f64() / total.latency.as_secs_f64().max(f64::MIN_POSITIVE);
        Books {
            operators: operators.collect(),
            components: components(&self.spec, total, self.waiting_j),
            commands: map([("kernel_launch", total.launches)]),
            counts: BTreeMap::new(),
            worked_out: Some(WorkedOut {
                what: "kernel launches",
                total: total.launches,
                simulated: self.simulated,
                sampled: self.sampled,
                sampled_latency_share: share,
            }),
            spans: std::mem::take(&mut self.spans),
        }
    }

    fn metrics(&self, outcome: &Outcome) -> BTreeMap<String, f64> {
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let latency_s = outcome.latency.as_secs_f64();
        let flops: f64 = outcome.operators.iter().map(|o| o.flops - o.pim_flops).sum();
        let t = &self.total;
        let dram = ratio((t.traffic.dram_read_bytes + t.traffic.dram_write_bytes) as f64, latency_s);
        let gap = t.latency.saturating_sub(t.span);
        let own_s = t.latency.as_secs_f64();
        map([
            ("achieved_arithmetic_flops_per_s", ratio(flops, latency_s)),
            ("dram_bandwidth_bytes_per_s", dram),
            ("dram_bandwidth_peak_share", ratio(dram, self.spec.dram_peak_bytes_per_s())),
            ("tensor_utilization", ratio(t.tensor.as_secs_f64(), latency_s)),
            ("average_sm_clock_hz", ratio(t.clock_mhz_s, own_s) * 1e6),
            ("average_occupancy", ratio(t.occupancy_s, own_s)),
            ("kernel_launches", t.launches as f64),
            ("launch_gap_share", ratio(gap.as_secs_f64(), latency_s)),
            ("sampled_latency_share", ratio(t.sampled.as_secs_f64(), own_s)),
        ])
    }

    fn pins_of(&self, instruction: u32) -> Option<(Time, Time)> {
        let launch = self.launches.get(&instruction)?;
        let bytes = launch.traffic.dram_read_bytes + launch.traffic.dram_write_bytes;
        Some((launch.latency, seconds(bytes as f64 / self.spec.dram_peak_bytes_per_s())))
    }

    fn judge(&mut self) -> Option<Box<dyn Judge + '_>> {
        let cached = if self.options.stepping { Cached::default() } else { self.cached.clone() };
        Some(Box::new(Simulation { gpu: &mut self.gpu, detail: self.options.detail, cached }))
    }

    fn remember(&mut self, cache: &Arc<dyn LaunchCache>) {
        self.cached = Cached::new(cache, &self.spec);
    }
}

fn components(spec: &GpuSpec, total: &Sum, waiting_j: f64) -> Vec<ComponentOutcome> {
    let component = |name: &str, kind: String, busy: Elapsed, energy_j, traffic_bytes| ComponentOutcome {
        name: name.into(),
        kind,
        busy,
        energy_j,
        traffic_bytes,
    };
    let e = &total.energy;
    let none = BTreeMap::new;
    let idle = map([("idle", e.idle_j + waiting_j)]);
    vec![
        component("chip", "leakage and clocks".into(), total.latency, idle, none()),
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
