//! A training step from an experiment file: its `[parallel]`, `[train]` and `[training]` tables, a model, and a machine of the catalog.
//!
//! ```toml
//! [training]
//! cluster = "a100-selene"          # a machine of nodes (catalog/network)
//! software = "megatron-2022"       # what runs on it
//!
//! [parallel]
//! tp = 8
//! pp = 8
//! virtual_stages = 3
//! sequence = true
//!
//! [train]
//! micro_batch = 1
//! global_batch = 64
//! sequence = 2048
//! recompute = "selective"
//! precision = "fp16"
//! ```

use std::path::Path;
use std::sync::Arc;

use banksia_hw::gpu::sampling;
use banksia_hw::gpu::{Gpu, GpuSpec, LaunchCache};
use banksia_hw::net::fabric::cluster::{Cluster, cluster};
use banksia_input::{InputError, Source};
use banksia_workloads::Model;
use serde::{Deserialize, Serialize};

use super::collectives::ClusterTimes;
use super::engine::Engine;
use super::error::ParallelError;
use super::groups::{Group, simulate_groups};
use super::pipeline::Event;
use super::report::TrainReport;
use super::settings::{Parallel, Train};
use super::shape::Shape;
use super::simulate::{Detail, Machine, simulate};
use super::software::{HostCosts, Software};
use super::space::Setting;
use super::times::Remembered;

/// The tables of a training experiment; others of the file are read elsewhere.
#[derive(Debug, Clone, Deserialize)]
struct Tables {
    training: Training,
    #[serde(default)]
    parallel: Parallel,
    #[serde(default)]
    train: Train,
    #[serde(default)]
    groups: Vec<Group>,
}

/// The `[training]` table: on which machine, under what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// A machine of nodes: its name in the catalog of networks, or a TOML file beside this one.
    #[serde(default)]
    pub cluster: String,
    /// In its place one GPU, by its name in the catalog, which PyTorch launches a whole step on, kernel by kernel; `[parallel]` is left out then.
    #[serde(default)]
    pub device: Option<String>,
    /// The framework.
    #[serde(default)]
    pub software: Framework,
    /// What the host takes, in place of the framework's own figures.
    #[serde(default)]
    pub host: Option<HostCosts>,
}

/// Frameworks whose kernels and overlaps are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Framework {
    /// Megatron-LM of 2021.
    #[serde(rename = "megatron-2021")]
    Megatron2021,
    /// Megatron-LM of 2022.
    #[serde(rename = "megatron-2022")]
    Megatron2022,
    /// Megatron-DeepSpeed of 2022.
    MegatronDeepspeed,
    /// Megatron-Core and Transformer Engine of 2024.
    #[default]
    MegatronCore,
    /// The same with kernels replayed from graphs.
    MegatronCoreGraphs,
}

impl Framework {
    /// What it does.
    pub const fn software(self) -> Software {
        match self {
            Self::Megatron2021 => Software::MEGATRON_2021,
            Self::Megatron2022 => Software::MEGATRON_2022,
            Self::MegatronDeepspeed => Software::MEGATRON_DEEPSPEED,
            Self::MegatronCore => Software::MEGATRON_CORE,
            Self::MegatronCoreGraphs => Software { graphs: true, ..Software::MEGATRON_CORE },
        }
    }
}

/// What a training experiment says: a model's sizes, a machine, a framework, and the setting as it is written.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The model.
    pub shape: Shape,
    /// The device.
    pub gpu: GpuSpec,
    /// The machine of nodes.
    pub cluster: Cluster,
    /// The framework.
    pub software: Software,
    /// `[parallel]` and `[train]`.
    pub written: Setting,
    /// Groups of ranks with sequences of their own lengths; none where all are `train.sequence` long.
    pub groups: Vec<Group>,
}

/// The machine of nodes that `training.cluster` names: one of the catalog, or a file.
///
/// # Errors
/// There is none, or its file is wrong.
pub fn nodes(name: &str, experiment: &Source) -> Result<Cluster, InputError> {
    let explained = |e: InputError| InputError { help: e.help, ..experiment.error("training.cluster", e.problem) };
    if Path::new(name).extension().is_none_or(|e| e != "toml") {
        return cluster(name).map_err(explained);
    }
    let folder = Path::new(experiment.name()).parent().unwrap_or_else(|| Path::new(""));
    let source = Source::read(&folder.join(name)).map_err(explained)?;
    Cluster::from_source(&source)
}

impl Setup {
    /// Reads the tables of an experiment.
    ///
    /// # Errors
    /// A key is unknown or its value cannot be, with its line; or the model is not one that the pass cuts.
    pub fn read(source: &Source, model: &Model) -> Result<Self, InputError> {
        let tables: Tables = source.parse()?;
        let mut shape = Shape::of(model).map_err(|problem| source.error("model", problem))?;
        shape.dropout |= tables.train.dropout;
        let cluster = nodes(&tables.training.cluster, source)?;
        let gpu = banksia_hw::gpu::device(cluster.gpu())?;
        let mut software = tables.training.software.software();
        if let Some(host) = tables.training.host {
            software.host = host;
        }
        let written = Setting { parallel: tables.parallel, train: tables.train };
        Ok(Self { shape, gpu, cluster, software, written, groups: tables.groups })
    }
}

/// An experiment's training step, with times of operators from a cache where there is one.
///
/// # Errors
/// A key is unknown or its value cannot be, with its line; or the model or the step does not fit the machine.
pub fn run(
    source: &Source,
    model: &Model,
    cache: Option<&Arc<dyn LaunchCache>>,
    watch: impl FnMut(Event),
) -> Result<TrainReport, InputError> {
    let setup = Setup::read(source, model)?;
    let mut gpu = Gpu::new(setup.gpu.clone());
    let mut engine = Engine::new(&mut gpu, sampling::Detail::DEFAULT);
    if let Some(cache) = cache {
        engine = engine.remembering(cache);
    }
    let mut operators = Remembered::new(engine);
    let times = ClusterTimes::new(setup.cluster);
    let mut machine =
        Machine { gpu: &setup.gpu, operators: &mut operators, collectives: &times, software: setup.software };
    let told = |e: ParallelError| {
        let error = source.error(&e.key, e.problem);
        if e.help.is_empty() { error } else { error.help(e.help) }
    };
    let Setting { parallel, train } = setup.written;
    let (shape, detail) = (&setup.shape, Detail::default());
    let report = if setup.groups.is_empty() {
        simulate(shape, &mut machine, &parallel, &train, detail, watch)
    } else {
        simulate_groups(shape, &mut machine, (&parallel, &train), &setup.groups, detail, watch)
    };
    report.map_err(told)
}
