//! A training step on one GPU, from its programs to seconds, joules and bytes: passes run on the machine, power settles where it is over the limit, and the host that launches them is put beside.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use banksia_hw::gpu::{GpuSpec, LaunchCache};
use banksia_hw::outcome::{ComponentOutcome, Outcome};
use banksia_hw::program::Program;
use banksia_hw::system::{Machine, RunError, RunOptions, System};
use banksia_mappers::Unsupported;
use banksia_mappers::gpu::training::TrainingPlan;

/// Time after which the power controller has acted: a pass that takes longer settles by itself, shorter ones by the power of the whole step.
const CONTROLLER_S: f64 = 25e-3;

/// A step cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// An operator is not known, or no kernel fits.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The machine does not run a program.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The machine judges no kernels.
    #[error("the machine has no judge of kernels")]
    NoJudge,
}

/// An operator of a pass, all of its occurrences.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Operator {
    /// Its label.
    pub name: String,
    /// How often it runs.
    pub count: u64,
    /// Seconds on the device.
    pub seconds: f64,
    /// Joules of what it does, without background.
    pub joules: f64,
    /// Operations.
    pub flops: f64,
    /// Bytes by channel of traffic.
    pub traffic_bytes: BTreeMap<String, u64>,
}

/// A pass on the device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pass {
    /// `forward`, `backward` or `update`.
    pub name: String,
    /// Seconds.
    pub seconds: f64,
    /// Joules.
    pub joules: f64,
    /// Joules by component and cause.
    pub components: Vec<Component>,
    /// Its operators.
    pub operators: Vec<Operator>,
}

/// A component of the device in a pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Seconds for which it worked.
    pub busy_s: f64,
    /// Joules by cause.
    pub joules: BTreeMap<String, f64>,
    /// Bytes by channel of traffic.
    pub traffic_bytes: BTreeMap<String, u64>,
}

/// A step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// Its passes on the device.
    pub passes: Vec<Pass>,
    /// Seconds from the first call to the last one's end.
    pub latency_s: f64,
    /// Joules, those of waiting for the host among them.
    pub energy_j: f64,
}

impl Step {
    /// Seconds for which the device works.
    pub fn device_s(&self) -> f64 {
        self.passes.iter().map(|p| p.seconds).sum()
    }
}

fn repeated(
    machine: &Machine,
    program: &Arc<Program>,
    options: RunOptions,
    cache: &Arc<dyn LaunchCache>,
    count: usize,
) -> Result<Outcome, RunError> {
    let mut system = System::new(machine, options);
    system.remember(cache);
    for _ in 0..count {
        system.run(program)?;
    }
    Ok(system.finish())
}

fn less(two: &BTreeMap<String, u64>, one: Option<&BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let before = |name: &String| one.and_then(|o| o.get(name)).copied().unwrap_or(0);
    two.iter().map(|(name, bytes)| (name.clone(), bytes.saturating_sub(before(name)))).collect()
}

fn component(two: &ComponentOutcome, one: Option<&ComponentOutcome>) -> Component {
    let before = |name: &String| one.and_then(|o| o.energy_j.get(name)).copied().unwrap_or(0.0);
    Component {
        name: two.name.clone(),
        kind: two.kind.clone(),
        busy_s: two.busy.as_secs_f64() - one.map_or(0.0, |o| o.busy.as_secs_f64()),
        joules: two.energy_j.iter().map(|(name, j)| (name.clone(), j - before(name))).collect(),
        traffic_bytes: less(&two.traffic_bytes, one.map(|o| &o.traffic_bytes)),
    }
}

/// The second of two runs of a pass: the first finds caches as a process begins with them.
fn second(
    machine: &Machine,
    program: &Arc<Program>,
    options: RunOptions,
    cache: &Arc<dyn LaunchCache>,
) -> Result<Pass, RunError> {
    let one = repeated(machine, program, options, cache, 1)?;
    let two = repeated(machine, program, options, cache, 2)?;
    let operators = two.operators.iter().map(|o| {
        let before = one.operators.iter().find(|b| b.name == o.name);
        let joules = |o: &banksia_hw::outcome::OperatorOutcome| o.energy_j.values().sum::<f64>();
        Operator {
            name: o.name.clone(),
            count: o.count.saturating_sub(before.map_or(0, |b| b.count)),
            seconds: o.latency.as_secs_f64() - before.map_or(0.0, |b| b.latency.as_secs_f64()),
            joules: joules(o) - before.map_or(0.0, joules),
            flops: o.flops - before.map_or(0.0, |b| b.flops),
            traffic_bytes: less(&o.traffic_bytes, before.map(|b| &b.traffic_bytes)),
        }
    });
    let components: Vec<Component> =
        two.components.iter().map(|c| component(c, one.components.iter().find(|b| b.name == c.name))).collect();
    Ok(Pass {
        name: program.phase.clone(),
        seconds: two.latency.as_secs_f64() - one.latency.as_secs_f64(),
        joules: components.iter().flat_map(|c| c.joules.values()).sum(),
        components,
        operators: operators.collect(),
    })
}

/// Runs a step. `of_gradients` is the device while it works on gradients, where these are special.
///
/// # Errors
/// An operator is not known, or the machine does not run a program.
pub fn run(
    plan: &mut TrainingPlan,
    spec: &Arc<GpuSpec>,
    of_gradients: Option<&Arc<GpuSpec>>,
    options: RunOptions,
    cache: &Arc<dyn LaunchCache>,
) -> Result<Step, StepError> {
    let machine = Machine::of_gpu(spec);
    let quiet = of_gradients.map(|spec| Machine::of_gpu(spec));
    let burst = RunOptions { settle: false, timeline_step: None, ..options };
    let programs: Vec<Arc<Program>> = {
        let mut system = System::new(&machine, burst);
        system.remember(cache);
        let mut judge = system.judge(0).ok_or(StepError::NoJudge)?;
        plan.programs(0, judge.as_mut())?.into_iter().map(Arc::new).collect()
    };
    let on = |program: &Program| match &quiet {
        Some(quiet) if program.phase != "forward" => quiet,
        _ => &machine,
    };
    let mut passes = Vec::with_capacity(programs.len());
    for program in &programs {
        passes.push(second(on(program), program, burst, cache)?);
    }
    let (seconds, joules) = passes.iter().fold((0.0, 0.0), |(s, j), p| (s + p.seconds, j + p.joules));
    let over = |joules: f64, seconds: f64| joules > spec.power.limit_w * seconds;
    for (program, pass) in programs.iter().zip(&mut passes) {
        let alone = pass.seconds > CONTROLLER_S;
        let throttled = if alone { over(pass.joules, pass.seconds) } else { over(joules, seconds) };
        if throttled {
            *pass = second(on(program), program, RunOptions { settle: true, ..burst }, cache)?;
        }
    }
    let once: HashMap<(&str, &str), f64> = passes
        .iter()
        .flat_map(|p| p.operators.iter().map(move |o| ((p.name.as_str(), o.name.as_str()), o)))
        .map(|(key, o)| (key, o.seconds / o.count.max(1) as f64))
        .collect();
    let latency_s = plan.from_host(|phase, label| once.get(&(phase, label)).copied().unwrap_or(0.0));
    let (busy_s, joules) = passes.iter().fold((0.0, 0.0), |(s, j), p| (s + p.seconds, j + p.joules));
    let energy_j = joules + (latency_s - busy_s).max(0.0) * spec.power.active_idle_w;
    Ok(Step { passes, latency_s, energy_j })
}
