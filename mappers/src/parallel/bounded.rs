//! Bounds and times of many settings of one experiment: what settings have in common is made once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use banksia_hw::gpu::sampling::Detail as Sampling;
use banksia_hw::gpu::{Gpu, GpuSpec};

use super::collectives::ClusterTimes;
use super::compile::Compiler;
use super::engine::Engine;
use super::error::ParallelError;
use super::experiment::Setup;
use super::floor::{Floors, Least, least};
use super::lists::Context;
use super::op::LocalOp;
use super::report::TrainReport;
use super::settings::{Recompute, Zero};
use super::simulate::{Detail, Machine, simulate};
use super::space::Setting;
use super::stage::Parts;
use super::times::{OpCost, OperatorTimes};

/// What the parts of a layer depend on, of what a search changes: the order of the pipeline is not among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Common {
    cuts: [u32; 5],
    sequence: bool,
    context: super::settings::Context,
    recompute: Recompute,
    micro_batch: u32,
    /// Replicas, stages and what replicas share, where a layer's lists have to do with them.
    replicas: Option<(u32, Zero)>,
    stages: Option<u32>,
}

impl Common {
    fn of(setting: &Setting) -> Self {
        let p = &setting.parallel;
        let with_layers = p.zero == Zero::Weights || p.overlap.gradients || p.overlap.parameters;
        let experts = p.ep > 1 || p.expert_tensor() > 1;
        Self {
            cuts: [p.tp, p.cp, p.ep, p.expert_tp, u32::from(p.dp * p.cp > 1)],
            sequence: p.sequence,
            context: p.context,
            recompute: setting.train.recompute,
            micro_batch: setting.train.micro_batch,
            replicas: (with_layers || experts).then_some((p.dp, p.zero)),
            stages: p.vocabulary.then_some(p.pp),
        }
    }
}

/// Parts of layers, and what of them is not simulated yet.
#[derive(Debug, Clone)]
struct Made {
    parts: Arc<Parts>,
    missing: BTreeSet<LocalOp>,
}

/// A bound of a setting.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounded {
    /// The least.
    pub least: Least,
    /// Operators that are at the device's peak in it, since they have not been simulated.
    pub missing: BTreeSet<LocalOp>,
}

/// Bounds settings of an experiment.
#[derive(Debug)]
pub struct Bounds<'a> {
    setup: &'a Setup,
    times: ClusterTimes,
    parts: HashMap<Common, Made>,
}

impl<'a> Bounds<'a> {
    /// Of an experiment.
    pub fn new(setup: &'a Setup) -> Self {
        Self { setup, times: ClusterTimes::new(setup.cluster.clone()), parts: HashMap::new() }
    }

    /// The bound of a legal setting of so many micro batches, with the operators that are known.
    ///
    /// # Errors
    /// The machine has no such group.
    pub fn of(
        &mut self,
        setting: &Setting,
        micros: u32,
        known: &HashMap<LocalOp, OpCost>,
    ) -> Result<Bounded, ParallelError> {
        let Setup { shape, gpu, software, .. } = self.setup;
        let context = Context { shape, parallel: &setting.parallel, train: &setting.train, software };
        let mut floors = Floors::new(gpu, known);
        let mut compiler = Compiler { context, operators: &mut floors, collectives: &self.times, gpu, without: None };
        let common = Common::of(setting);
        let stale = |made: &Made| made.missing.iter().any(|op| known.contains_key(op));
        let made = match self.parts.get(&common).filter(|made| !stale(made)) {
            Some(made) => made.clone(),
            None => {
                let mut own = Floors::new(gpu, known);
                let mut one = Compiler { operators: &mut own, ..compiler };
                let parts = Arc::new(Parts::of(&mut one)?);
                let made = Made { parts, missing: own.missing };
                self.parts.insert(common, made.clone());
                made
            }
        };
        let least = least(&mut compiler, &made.parts, micros)?;
        let mut missing = made.missing;
        missing.append(&mut floors.missing);
        Ok(Bounded { least, missing })
    }
}

/// What an operator takes on a device.
///
/// # Errors
/// The device cannot run it.
pub fn operator(gpu: &GpuSpec, op: &LocalOp) -> Result<OpCost, ParallelError> {
    Engine::new(&mut Gpu::new(gpu.clone()), Sampling::DEFAULT).cost(op)
}

/// A setting, simulated with operators that are all known.
///
/// # Errors
/// It does not fit in memory, the machine cannot run it, or an operator is not known.
pub fn simulated(
    setup: &Setup,
    times: &ClusterTimes,
    setting: &Setting,
    known: &HashMap<LocalOp, OpCost>,
) -> Result<TrainReport, ParallelError> {
    let mut floors = Floors::new(&setup.gpu, known);
    let report = {
        let mut machine =
            Machine { gpu: &setup.gpu, operators: &mut floors, collectives: times, software: setup.software };
        let detail = Detail { exposed: false, fits: true };
        simulate(&setup.shape, &mut machine, &setting.parallel, &setting.train, detail, |_| {})?
    };
    match floors.missing.first() {
        None => Ok(report),
        Some(op) => Err(ParallelError::new("train", format!("has an operator that was not simulated: {op:?}"))),
    }
}
