//! The door between models and machines: a mapper makes a plan of a problem, and the plan lowers steps to programs.

use banksia_hw::gpu::estimate::Judge;
use banksia_hw::program::Program;
use banksia_hw::system::{Machine, System};
use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Model};
use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gpu::model::Choice;
use crate::pim_gpt::MappingSummary;
use crate::replay::Claims;
use crate::space::Knob;

/// A model, how it is used, and the machine that is to run it.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// The model.
    pub model: &'a Model,
    /// How it is used.
    pub generation: &'a Generation,
    /// The machine.
    pub machine: &'a Machine,
    /// The experiment: errors name its keys, and its table `[mapping]` has the mapper's options.
    pub source: &'a Source,
}

impl Problem<'_> {
    /// Refuses chunks of prompts, drafts and runs of different lengths, for a mapper that takes whole prompts and single tokens.
    ///
    /// # Errors
    /// The generation has one of these.
    pub fn plain_generation(&self, mapper: &dyn Mapper) -> Result<(), InputError> {
        let g = self.generation;
        if g.is_plain() {
            return Ok(());
        }
        let key = match (g.runs.is_empty(), g.draft_tokens) {
            (false, _) => "runs",
            (true, 0) => "chunk_tokens",
            (true, _) => "draft_tokens",
        };
        let problem = format!(
            "is given, but the {} mapping takes whole prompts and single tokens of equal sequences",
            mapper.name()
        );
        let path = format!("workload.generation.{key}");
        Err(self.source.error(&path, problem).help("leave it out, or map to a GPU with the gpu mapping"))
    }

    /// The options of a mapper: the table `[mapping]`, less `strategy`.
    ///
    /// # Errors
    /// A key is not the mapper's, or a value is not one of its values.
    pub fn options<T: DeserializeOwned + Default>(&self, mapper: &dyn Mapper) -> Result<T, InputError> {
        #[derive(serde::Deserialize)]
        struct Outer<T> {
            mapping: Option<T>,
        }
        let text: toml::Table = self.source.parse()?;
        let Some(table) = text.get("mapping").and_then(toml::Value::as_table) else { return Ok(T::default()) };
        if let Some(key) = table.keys().find(|k| *k != "strategy" && !mapper.keys().contains(&k.as_str())) {
            let problem = format!("is not a key of the strategy `{}`", mapper.name());
            let path = format!("mapping.{key}");
            let named = self.source.unknown_name(&path, "key", key, mapper.keys().iter().copied());
            let help = named.help.filter(|_| !mapper.keys().is_empty()).unwrap_or_else(|| "it has none".to_owned());
            return Err(self.source.error(&path, problem).help(help));
        }
        Ok(self.source.parse::<Outer<T>>()?.mapping.unwrap_or_default())
    }
}

/// A strategy that lowers models to programs for some machines.
pub trait Mapper: Sync {
    /// Its name in `mapping.strategy`.
    fn name(&self) -> &'static str;

    /// One line for people.
    fn description(&self) -> &'static str;

    /// Its page of documentation.
    fn page(&self) -> &'static str;

    /// The keys of `[mapping]` that it has beside `strategy`.
    fn keys(&self) -> &'static [&'static str];

    /// The JSON schema of these keys.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;

    /// What it can choose for a problem, each as a key of `[mapping]`; what the experiment says is among the values.
    ///
    /// # Errors
    /// The mapper does not cover the workload.
    fn space(&self, problem: &Problem<'_>) -> Result<Vec<Knob>, InputError>;

    /// Whether it maps to such a machine.
    fn accepts(&self, machine: &Machine) -> bool;

    /// Lays a model out on the machine.
    ///
    /// # Errors
    /// The options are not the mapper's, it does not cover the workload, or the model does not fit.
    fn plan(&self, problem: &Problem<'_>) -> Result<Box<dyn Plan>, InputError>;
}

/// Who judges kernels for a plan's devices.
pub trait Judges {
    /// The judge of a device of the machine, where that runs kernels.
    fn of(&mut self, device: usize) -> Option<Box<dyn Judge + '_>>;
}

impl Judges for System {
    fn of(&mut self, device: usize) -> Option<Box<dyn Judge + '_>> {
        self.judge(device)
    }
}

/// A step that a plan cannot lower.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unsupported {
    /// An operator that the mapper does not know.
    #[error("the mapping {mapper} cannot run the operator `{operator}` ({kind})")]
    Operator {
        /// The mapper.
        mapper: &'static str,
        /// The operator's label.
        operator: String,
        /// What it computes.
        kind: &'static str,
    },
    /// Sizes of an operator that its kernels do not have.
    #[error("the mapping {mapper} cannot run the operator `{operator}`: {why}")]
    Sizes {
        /// The mapper.
        mapper: &'static str,
        /// The operator's label.
        operator: String,
        /// What is wrong, in words.
        why: String,
    },
    /// A kernel that the device cannot run.
    #[error(transparent)]
    Kernel(#[from] banksia_hw::gpu::GpuError),
    /// There is no such step.
    #[error("there is no step {0}")]
    NoStep(u64),
}

/// Bytes that a plan keeps in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Weights.
    pub weights: u64,
    /// Keys and values of the longest context, of all sequences.
    pub kv: u64,
    /// Activations, at their most.
    pub activations: u64,
}

/// The least that a step can take, whatever the order of its work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bound {
    /// By arithmetic at the machine's peak.
    pub arithmetic_s: f64,
    /// By the bytes that must come from memory at its peak.
    pub memory_s: f64,
}

impl Bound {
    /// The larger of the two.
    pub fn seconds(&self) -> f64 {
        self.arithmetic_s.max(self.memory_s)
    }
}

/// What a plan looks like.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum LayoutReport {
    /// Matrices in the rows of banks.
    Banks(MappingSummary),
    /// Kernels of a step.
    Kernels(Vec<Choice>),
    /// Of several devices, by name.
    Joint(Vec<(String, LayoutReport)>),
}

/// A model laid out on a machine, ready to be lowered step by step.
pub trait Plan: Send + Sync + std::fmt::Debug {
    /// A copy of it.
    fn boxed(&self) -> Box<dyn Plan>;

    /// The generation as the machine runs it: without what is left to a host.
    fn generation(&self) -> &Generation;

    /// Programs of the whole generation.
    fn programs(&self) -> u64;

    /// The program, from 0, that gives the generated token of a number from 1.
    fn program_of(&self, token: u64) -> u64;

    /// The program of a number from 0.
    ///
    /// # Errors
    /// The step cannot be lowered.
    fn lower(&mut self, index: u64, judges: &mut dyn Judges) -> Result<Program, Unsupported>;

    /// What the plan looks like, in the step that gives a token.
    ///
    /// # Errors
    /// The step cannot be lowered.
    fn layout(&mut self, token: u64, judges: &mut dyn Judges) -> Result<LayoutReport, Unsupported>;

    /// What it claims that the program of a number does, by which it can be checked without running it; `None` of a plan without programs.
    ///
    /// # Errors
    /// The step cannot be lowered.
    fn claims(&mut self, _index: u64, _judges: &mut dyn Judges) -> Result<Option<Claims>, Unsupported> {
        Ok(None)
    }

    /// What it keeps in memory.
    fn footprint(&self) -> Footprint;

    /// The least that a program can take.
    fn bound(&self, index: u64) -> Bound;

    /// The machine as its programs see it, where that is not the problem's: ranks that do the same are one of its devices.
    fn machine(&self) -> Option<Machine> {
        None
    }

    /// What else a report says of it, with the unit in the name: footprints by rank, whether what is simulated once is alike.
    fn figures(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

impl Clone for Box<dyn Plan> {
    fn clone(&self) -> Self {
        self.boxed()
    }
}
