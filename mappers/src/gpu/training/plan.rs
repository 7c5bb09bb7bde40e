//! A training step on one GPU: programs of its passes, what the host adds to them, and what it keeps in memory.

use std::collections::HashMap;
use std::sync::Arc;

use banksia_hw::gpu::GpuSpec;
use banksia_hw::gpu::estimate::Judge;
use banksia_hw::gpu::program::{Dtype, Kernel};
use banksia_hw::program::{InstructionId, Program, ProgramBuilder};
use banksia_workloads::backward::{
    HIDDEN_GRADIENT, NEXT_HIDDEN_GRADIENT, NoGradient, Optimizer, Parameter, Pass, Precision, Role, Scheduled,
    TrainNode, TrainOp, TrainingSpec, TrainingStep, Value,
};
use banksia_workloads::{DataType, Model, Op};

use super::host::{HostCosts, timeline};
use super::lower::Call;
use super::memory::{TrainingFootprint, footprint, is_kept};
use super::optimizer::both;
use super::optimizers;
use crate::gpu::gemm::Gemm;
use crate::gpu::launch::{Item, Launch, Operand, launches_of_product};
use crate::gpu::select::{self, Effort};
use crate::plan::Unsupported;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainingError {
    /// An operator has no gradient.
    #[error(transparent)]
    Gradient(#[from] NoGradient),
    /// The device does not multiply the model's type.
    #[error("training runs models of 16 bits, and this one is of {0}")]
    Type(DataType),
    /// An operator cannot be lowered.
    #[error(transparent)]
    Operator(#[from] Unsupported),
}

/// What launches depend on: equal operators have equal kernels.
type Work = (TrainOp, u64, u64, Vec<u64>);
/// Kernels of a product, and whether its operands are swapped.
type Product = (Arc<[Arc<Kernel>]>, bool);

/// A training step, ready to be lowered.
#[derive(Debug, Clone)]
pub struct TrainingPlan {
    step: TrainingStep,
    spec: Arc<GpuSpec>,
    dtype: Dtype,
    host: HostCosts,
    /// Experts of a layer that has the most.
    experts: u64,
    products: HashMap<[u32; 3], Product>,
    kernels: HashMap<Work, Vec<Arc<Kernel>>>,
    /// Launches of each operator of a pass of a region.
    chosen: HashMap<Scheduling, Arc<[Launch]>>,
    /// Launches of the update, by operator; known once the step is lowered.
    updates: Vec<(&'static str, Vec<Launch>)>,
}

/// An operator of a pass: backward or not, repeated or not, its region and place there.
type Scheduling = (bool, bool, (usize, usize));

/// The phases of a step, each a program: power settles in each.
const PHASES: [&str; 3] = ["forward", "backward", "update"];

fn phase(pass: Pass) -> usize {
    match pass {
        Pass::Forward => 0,
        Pass::Backward { .. } => 1,
        Pass::Update(_) => 2,
    }
}

impl TrainingPlan {
    /// A model's training step on a device.
    ///
    /// # Errors
    /// The model is not of 16 bits, or an operator has no gradient.
    pub fn new(model: &Model, training: &TrainingSpec, spec: &Arc<GpuSpec>) -> Result<Self, TrainingError> {
        let dtype = match model.types.activations {
            DataType::Bf16 => Dtype::Bf16,
            DataType::F16 => Dtype::Fp16,
            other => return Err(TrainingError::Type(other)),
        };
        let step = model.training(training)?;
        let experts = |n: &TrainNode| match n.op {
            TrainOp::Forward { of: Op::Route { experts, .. } } => experts,
            _ => 0,
        };
        let experts = step.regions.iter().flat_map(|r| &r.forward).map(experts).max().unwrap_or(0);
        Ok(Self {
            step,
            spec: Arc::clone(spec),
            dtype,
            host: HostCosts::PYTORCH,
            experts,
            products: HashMap::new(),
            kernels: HashMap::new(),
            chosen: HashMap::new(),
            updates: Vec::new(),
        })
    }

    /// The step.
    pub fn step(&self) -> &TrainingStep {
        &self.step
    }

    /// Parameters a second that an update of so many seconds makes.
    pub fn updated_per_s(&self, update_s: f64) -> f64 {
        self.step.parameter_count() as f64 / update_s.max(f64::MIN_POSITIVE)
    }

    /// What it keeps in memory, beside `before` bytes that the process holds already.
    pub fn footprint(&self, before: u64) -> TrainingFootprint {
        footprint(&self.step, before)
    }

    /// The kernels of a product, by a judge, once for all products of its sizes.
    fn product(&mut self, g: &Gemm, found: select::Found, judge: &mut dyn Judge) -> Result<Product, Unsupported> {
        let key = [g.m, g.n, g.k];
        if let Some(known) = self.products.get(&key) {
            return Ok(known.clone());
        }
        let (plan, _) = select::gemm(judge, g, found, Effort::DEFAULT.finalists).map_err(Unsupported::Kernel)?;
        let kernels: Arc<[Arc<Kernel>]> = plan.steps.into_iter().map(|(k, _)| Arc::new(k)).collect();
        self.products.insert(key, (Arc::clone(&kernels), plan.swapped));
        Ok((kernels, plan.swapped))
    }

    fn launches(&mut self, s: &Scheduled<'_>, judge: &mut dyn Judge) -> Result<Arc<[Launch]>, Unsupported> {
        let again = s.pass == Pass::Backward { recompute: true };
        let key = (s.pass == Pass::Forward, again, s.place);
        if let Some(known) = self.chosen.get(&key) {
            return Ok(Arc::clone(known));
        }
        let work: Work = (s.node.op, s.node.batch, s.node.tokens, s.node.load.clone());
        let known = self.kernels.get(&work).cloned().unwrap_or_default();
        let spec = Arc::clone(&self.spec);
        let items = Call { node: s.node, dtype: self.dtype, spec: &spec, experts: self.experts }.items()?;
        let mut launches: Vec<Launch> = Vec::new();
        for item in items {
            match item {
                Item::Kernel(mut launch) => {
                    // Equal launches are known by their kernels.
                    if let Some(kernel) = known.get(launches.len()) {
                        launch.kernel = Arc::clone(kernel);
                    }
                    launches.push(launch);
                }
                Item::Product(g, _, found, names) => {
                    let (kernels, swapped) = self.product(&g, found, judge)?;
                    launches.extend(launches_of_product(&kernels, swapped, &names));
                }
            }
        }
        self.kernels.entry(work).or_insert_with(|| launches.iter().map(|l| Arc::clone(&l.kernel)).collect());
        let launches: Arc<[Launch]> = launches.into();
        self.chosen.insert(key, Arc::clone(&launches));
        Ok(launches)
    }

    /// The programs of the step's passes, in order: those that it has of forward, backward, update.
    ///
    /// # Errors
    /// An operator is not known, or the device runs none of a product's kernels.
    pub fn programs(&mut self, device: u32, judge: &mut dyn Judge) -> Result<Vec<Program>, Unsupported> {
        let step = self.step.clone();
        let mut builders = PHASES.map(|name| {
            let mut builder = ProgramBuilder::new(name, step.spec.sequence);
            builder.on(device);
            builder
        });
        let mut last: [Option<InstructionId>; 3] = [None; 3];
        for s in step.schedule() {
            let launches = self.launches(&s, judge)?;
            let phase = phase(s.pass);
            let builder = &mut builders[phase];
            let operator = builder.operator(&s.node.label);
            builder.occurs(operator, s.node.flops(), 0.0);
            let names = names(&step, &s);
            let name = |o: &Operand| names.get(o.name.as_str()).cloned().unwrap_or_else(|| o.name.clone());
            last[phase] = push(builder, operator, &launches, name, last[phase]);
        }
        self.updates = self.update(judge)?;
        for (label, launches) in &self.updates {
            let builder = &mut builders[2];
            let operator = builder.operator(label);
            builder.occurs(operator, 0.0, 0.0);
            last[2] = push(builder, operator, launches, |o| o.name.clone(), last[2]);
        }
        Ok(builders.into_iter().map(ProgramBuilder::finish).filter(|p| !p.instructions.is_empty()).collect())
    }

    /// The launches of the update; sums of further micro batches' gradients before them.
    fn update(&mut self, judge: &mut dyn Judge) -> Result<Vec<(&'static str, Vec<Launch>)>, Unsupported> {
        let mut all = Vec::new();
        let more = self.step.spec.accumulate.saturating_sub(1);
        if more > 0 && self.step.spec.backward {
            let bytes = if self.step.spec.precision == Precision::Mixed { 4 } else { u64::from(self.dtype.bytes()) };
            let sizes: Vec<u64> = self.step.parameters.iter().map(Parameter::elements).collect();
            let once = both("gradient sums", &sizes, bytes, bytes);
            let mut items = Vec::new();
            for _ in 0..more {
                items.extend(once.iter().enumerate().map(|(i, (kernel, _))| {
                    let own = |what: &str| Operand::shared(format!("update{i}.{what}"));
                    Item::kernel(kernel.clone(), ["more_gradients", "gradients"].map(own))
                }));
            }
            all.push(("gradient sums", items));
        }
        all.extend(optimizers::update(&self.step, self.dtype));
        let mut equal: HashMap<String, Arc<Kernel>> = HashMap::new();
        let mut resolved = Vec::with_capacity(all.len());
        for (label, items) in all {
            let mut launches: Vec<Launch> = Vec::new();
            for item in items {
                match item {
                    Item::Kernel(mut launch) => {
                        let name = launch.kernel.name.clone();
                        launch.kernel = Arc::clone(equal.entry(name).or_insert_with(|| Arc::clone(&launch.kernel)));
                        launches.push(launch);
                    }
                    Item::Product(g, _, found, names) => {
                        let (kernels, swapped) = self.product(&g, found, judge)?;
                        launches.extend(launches_of_product(&kernels, swapped, &names));
                    }
                }
            }
            resolved.push((label, launches));
        }
        Ok(resolved)
    }

    /// Seconds of a step whose operators take the device so long each (by the program's phase and the operator's label, once), launched from the host one by one.
    pub fn from_host(&self, device_s: impl Fn(&str, &str) -> f64) -> f64 {
        let us = 1e-6;
        let h = &self.host;
        let checkpoint = |s: &Scheduled<'_>| !self.step.regions[s.place.0].again.is_empty();
        let mut calls: Vec<(f64, f64)> = Vec::new();
        let mut layer = None;
        for s in self.step.schedule() {
            let again = s.pass == Pass::Backward { recompute: true };
            let launches = self.chosen.get(&(s.pass == Pass::Forward, again, s.place)).map_or(1, |l| l.len());
            let checkpointed = checkpoint(&s);
            let mut host = h.of(s.node, s.pass, launches, checkpointed);
            if checkpointed && layer != Some((s.layer, s.pass)) {
                layer = Some((s.layer, s.pass));
                host += h.checkpoint_us / 3.0;
            }
            let gaps = h.gap_us * launches as f64;
            calls.push((host * us, device_s(PHASES[phase(s.pass)], &s.node.label) + gaps * us));
        }
        if self.step.spec.optimizer != Optimizer::None {
            calls.push((self.step.parameters.len() as f64 * h.parameter_us * us, 0.0));
        }
        for (label, launches) in &self.updates {
            let each = device_s(PHASES[2], label) / launches.len().max(1) as f64;
            calls.extend(launches.iter().map(|_| (h.launch_us * us, each + h.gap_us * us)));
        }
        timeline(calls, h.reach_us * us)
    }
}

/// Adds launches to a program, each after the one before.
fn push(
    builder: &mut ProgramBuilder,
    operator: u32,
    launches: &[Launch],
    name: impl Fn(&Operand) -> String,
    mut last: Option<InstructionId>,
) -> Option<InstructionId> {
    for launch in launches {
        let tensors = launch.operands.iter().zip(&launch.kernel.tensors);
        let buffers: Vec<u32> = tensors.map(|(o, t)| builder.buffer(&name(o), t.bytes())).collect();
        let work = builder.launch_of(&launch.kernel, &buffers);
        last = Some(builder.push(operator, work, last.as_slice()));
    }
    last
}

/// The memory of each value of an operator: parameters and what is kept for gradients are a layer's own, all else lies where the layer before had it.
fn names<'a>(step: &TrainingStep, s: &Scheduled<'a>) -> HashMap<&'a str, String> {
    let of = |v: &'a Value| -> (&'a str, String) {
        let name = match (v.role, v.name.as_str()) {
            (Role::Parameter | Role::ParameterGradient, _)
            | (Role::Activation, banksia_workloads::backward::HIDDEN) => s.memory(v),
            // One layer's is read while the next one's is written.
            (Role::Gradient, HIDDEN_GRADIENT | NEXT_HIDDEN_GRADIENT) => {
                let whole = s.memory(v);
                let number: u32 = whole.trim_start_matches("d_hidden").parse().unwrap_or(0);
                format!("d_hidden{}", number % 2)
            }
            (Role::Activation, name) if is_kept(step, s.place.0, name) => s.memory(v),
            (_, name) => name.to_owned(),
        };
        (v.name.as_str(), name)
    };
    s.node.reads.iter().chain(&s.node.writes).chain(&s.node.scratch).map(of).collect()
}
