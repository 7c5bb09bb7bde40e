//! An experiment file: which model, on which machine, mapped how.
//!
//! ```toml
//! name = "GPT-3 XL on PIM-GPT"
//!
//! [machine]
//! base = "pim-gpt"              # a machine of the catalog, or a TOML file; other keys are written over its own
//! memory.channels = 16
//!
//! [device]                      # keys written over those of the machine's DRAM device
//! organization.pin_gbps = 2.0
//!
//! [workload]
//! model = "gpt3-xl"             # a model of the zoo, or a TOML file; or a table [workload.model]
//!
//! [workload.generation]
//! prompt_tokens = 1
//! generated_tokens = 1024
//!
//! [mapping]
//! strategy = "pim-gpt"
//! ```
//!
//! `[workload.types]` and `[workload.routing]` stand in place of the model's number formats and of which experts its tokens choose:
//!
//! ```toml
//! [workload.types]
//! weights = { dtype = "int4", group = 128, scale = "f16" }
//! activations = "bf16"
//! cache = "fp8"
//!
//! [workload.routing]
//! distribution = "zipf"
//! exponent = 1.0
//! ```
//!
//! `[mapping]` has the keys of its strategy (`banksia show mappings NAME`); a machine of kind `gpu` has no `[device]`:
//!
//! ```toml
//! [machine]
//! base = "h200"
//! dram.channels = 40
//!
//! [mapping]
//! strategy = "gpu"              # what a GPU has where nothing is said
//! launch = "graph"              # or "eager"
//! attention = "flash"           # or "plain"
//! ```

pub(crate) mod schema;
mod unmapped;

use std::path::Path;

use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_mappers::parallel::TrainReport;
use banksia_mappers::{Plan, Problem, choose};
use banksia_workloads::{Generation, Model};
use sha2::{Digest, Sha256};

use crate::about::About;
use crate::published;
use crate::serving::Load;
use crate::shipped;
use crate::training::{self, TrainingFile};
use banksia_mappers::parallel::Parallel;
pub(crate) use unmapped::Unmapped;
use unmapped::{explain, model};

/// An experiment whose every part has been found and checked.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its name: the file's key, or the file's name.
    pub name: String,
    /// The seed of every random stream.
    pub seed: u64,
    /// The file with every setting applied, and every file that it builds on; what the catalog has belongs to the build.
    pub configuration: String,
    /// The model.
    pub model: Model,
    /// How the model is used.
    pub generation: Generation,
    /// The machine.
    pub machine: Machine,
    /// The strategy.
    pub mapper: &'static str,
    /// The model mapped to the machine.
    pub plan: Box<dyn Plan>,
    /// A training step, in place of a generation.
    pub(crate) training: Option<training::Step>,
    /// Requests that are served, in place of one generation.
    pub(crate) serving: Option<Load>,
    /// A published system by its own simulator's rules, in place of a machine.
    pub(crate) published: Option<Box<published::System>>,
}

impl Experiment {
    /// Reads an experiment file, or one that comes with the program by its name, with `key=value` settings written over it.
    ///
    /// # Errors
    /// Something in it, or in a file that it names, cannot be used.
    pub fn read<S: AsRef<str>>(path: &Path, settings: &[S]) -> Result<Self, InputError> {
        let source = Self::source(path)?.with_settings(settings)?;
        Self::new(&source, path.exists().then_some(path))
    }

    /// The text of an experiment file, or of one that comes with the program by its name; a file comes first.
    ///
    /// # Errors
    /// There is neither.
    pub fn source(path: &Path) -> Result<Source, InputError> {
        if !path.exists()
            && let Some(source) = path.to_str().and_then(shipped::source)
        {
            return Ok(source);
        }
        Source::read(path).map_err(|e| {
            let is_file = path.exists() || path.extension().is_some();
            if is_file { e } else { e.help("name a file, or one of `banksia list experiments`") }
        })
    }

    /// As [`Experiment::read`], from text; files that it names are found beside `path`.
    ///
    /// # Errors
    /// Something in it, or in a file that it names, cannot be used.
    pub fn new(source: &Source, path: Option<&Path>) -> Result<Self, InputError> {
        if training::trains(source) {
            return Self::training(source, path);
        }
        if published::is_published(source) {
            return Self::published(source, path);
        }
        Self::of(Unmapped::read(source, path)?, source)
    }

    /// An experiment with the mapping that `[mapping]` of `source` says.
    ///
    /// # Errors
    /// The mapping cannot be.
    pub(crate) fn of(unmapped: Unmapped, source: &Source) -> Result<Self, InputError> {
        let Unmapped { name, seed, files, model, generation, machine, serving } = unmapped;
        let configuration = format!("# experiment\n{}{files}", source.text());
        let problem = Problem { model: &model, generation: &generation, machine: &machine, source };
        let mapper = choose(&problem)?;
        let plan = mapper.plan(&problem)?;
        let machine = plan.machine().unwrap_or(machine);
        let (mapper, training, published) = (mapper.name(), None, None);
        Ok(Self { name, seed, configuration, model, generation, machine, mapper, plan, training, serving, published })
    }

    /// The same model and mapping on its machine as the file has it, used in another way.
    ///
    /// # Errors
    /// The mapping does not cover that use, or it does not fit.
    pub(crate) fn using(&self, source: &Source, machine: &Machine, generation: Generation) -> Result<Self, InputError> {
        let problem = Problem { model: &self.model, generation: &generation, machine, source };
        let plan = choose(&problem)?.plan(&problem)?;
        let machine = plan.machine().unwrap_or_else(|| machine.clone());
        let (name, configuration, model) = (self.name.clone(), self.configuration.clone(), self.model.clone());
        let (seed, mapper, training, serving, published) = (self.seed, self.mapper, None, None, None);
        Ok(Self { name, seed, configuration, model, generation, machine, mapper, plan, training, serving, published })
    }

    /// An experiment with a table `[published]`.
    fn published(source: &Source, path: Option<&Path>) -> Result<Self, InputError> {
        let file: published::file::PublishedFile = source.parse().map_err(|e| explain(source, e))?;
        let system = published::System::new(&file, source)?;
        let machine = system.machine(source)?;
        let generation = system.generation();
        let stem = path.and_then(Path::file_stem).map_or_else(|| "experiment".into(), |s| s.to_string_lossy());
        Ok(Self {
            name: file.name.unwrap_or_else(|| stem.into_owned()),
            seed: file.seed,
            configuration: format!("# experiment\n{}", source.text()),
            mapper: "published",
            plan: Box::new(training::NoPrograms(generation.clone())),
            model: system.model()?,
            generation,
            machine,
            training: None,
            serving: None,
            published: Some(Box::new(system)),
        })
    }

    /// An experiment with a table `[training]`.
    fn training(source: &Source, path: Option<&Path>) -> Result<Self, InputError> {
        let file: TrainingFile = source.parse().map_err(|e| explain(source, e))?;
        let mut configuration = format!("# experiment\n{}", source.text());
        let model = model(&file.workload.model, source, path, &mut configuration)?;
        model.check(source, "workload")?;
        let machine = training::device(source, &file.training)?;
        let device = file.training.device.is_some().then_some(file.train);
        if device.is_some() && !file.groups.is_empty() {
            let error = source.error("groups", "are of ranks, and `training.device` is one");
            return Err(error.help("leave groups out, or set training.cluster"));
        }
        if device.is_some() && file.parallel != Parallel::default() {
            let error = source.error("parallel", "cuts a model over devices, and `training.device` is one");
            return Err(error.help("leave [parallel] out, or set training.cluster"));
        }
        configuration.push_str(&machine.configuration);
        let generation = Generation { generated_tokens: 1, ..Generation::default() };
        let stem = path.and_then(Path::file_stem).map_or_else(|| "experiment".into(), |s| s.to_string_lossy());
        Ok(Self {
            name: file.name.unwrap_or_else(|| stem.into_owned()),
            seed: file.seed,
            configuration,
            mapper: "parallel",
            plan: Box::new(training::NoPrograms(generation.clone())),
            model,
            generation,
            machine,
            training: Some(training::Step { source: source.clone(), cluster: file.training.cluster, device }),
            serving: None,
            published: None,
        })
    }

    /// The step of an experiment that trains, simulated: its ranks, and what each keeps in memory. `None` for one that generates.
    ///
    /// # Errors
    /// A setting cannot be, or the step does not fit the devices' memory.
    pub fn training_step(&self) -> Option<Result<TrainReport, InputError>> {
        Some(self.training.as_ref()?.run(&self.model, None).map(|(report, _)| report))
    }

    /// Model, use and machine of an experiment, whether or not its mapping can be made.
    ///
    /// # Errors
    /// Something in it, or in a file that it names, cannot be used.
    pub(crate) fn parts(source: &Source, path: Option<&Path>) -> Result<(Model, Generation, Machine), InputError> {
        let Unmapped { model, generation, machine, .. } = Unmapped::read(source, path)?;
        Ok((model, generation, machine))
    }

    /// What reports say of it.
    pub(crate) fn about(&self) -> About<'_> {
        About {
            name: &self.name,
            seed: self.seed,
            configuration: &self.configuration,
            sha256: self.configuration_sha256(),
            model: &self.model,
            machine: &self.machine,
        }
    }

    /// The hash of all that a result depends on, in hexadecimal digits.
    pub fn configuration_sha256(&self) -> String {
        Sha256::digest(self.configuration.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The generation as the mapping runs it: without what it leaves to a host.
    pub fn mapped_generation(&self) -> &Generation {
        self.plan.generation()
    }
}
