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

use banksia_hw::gpu::Gpu;
use banksia_hw::gpu::sampling;
use banksia_hw::net::fabric::cluster::cluster;
use banksia_input::{InputError, Source};
use banksia_workloads::Model;
use serde::{Deserialize, Serialize};

use super::collectives::ClusterTimes;
use super::engine::Engine;
use super::error::ParallelError;
use super::pipeline::Event;
use super::report::TrainReport;
use super::settings::{Parallel, Train};
use super::shape::Shape;
use super::simulate::{Detail, Machine, simulate};
use super::software::{HostCosts, Software};
use super::times::Remembered;

/// The tables of a training experiment; others of the file are read elsewhere.
#[derive(Debug, Clone, Deserialize)]
struct Tables {
    training: Training,
    #[serde(default)]
    parallel: Parallel,
    #[serde(default)]
    train: Train,
}

/// The `[training]` table: on which machine, under what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// A machine of nodes, by its name in the catalog of networks.
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

/// An experiment's training step.
///
/// # Errors
/// A key is unknown or its value cannot be, with its line; or the model or the step does not fit the machine.
pub fn run(source: &Source, model: &Model, watch: impl FnMut(Event)) -> Result<TrainReport, InputError> {
    let tables: Tables = source.parse()?;
    let mut shape = Shape::of(model).map_err(|problem| source.error("model", problem))?;
    shape.dropout |= tables.train.dropout;
    let machine = cluster(&tables.training.cluster).map_err(|e| source.error("training.cluster", e.problem))?;
    let spec = banksia_hw::gpu::device(machine.gpu())?;
    let mut software = tables.training.software.software();
    if let Some(host) = tables.training.host {
        software.host = host;
    }
    let mut gpu = Gpu::new(spec.clone());
    let mut operators = Remembered::new(Engine::new(&mut gpu, sampling::Detail::DEFAULT));
    let times = ClusterTimes::new(machine);
    let mut machine = Machine { gpu: &spec, operators: &mut operators, collectives: &times, software };
    let told = |e: ParallelError| {
        let error = source.error(&e.key, e.problem);
        if e.help.is_empty() { error } else { error.help(e.help) }
    };
    simulate(&shape, &mut machine, &tables.parallel, &tables.train, Detail::default(), watch).map_err(told)
}
