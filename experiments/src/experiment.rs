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
//! A machine of kind `gpu` has no `[device]`, and its own keys of `[mapping]`:
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

use std::path::Path;

use banksia_hw::dram;
use banksia_hw::gpu::GpuSpec;
use banksia_hw::machines;
use banksia_hw::pim::{PimFile, PimMachine};
use banksia_input::{InputError, Source};
use banksia_mappers::gpu::model::{AttentionKernels, GpuModel, GpuOptions, LaunchMode};
use banksia_mappers::pim_gpt::{PimGpt, PimGptOptions, Placement};
use banksia_workloads::{Generation, GenerationFile, GptConfig, GptFile, zoo};
use serde::Deserialize;

/// The file, before anything that it names has been looked up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExperimentFile {
    name: Option<String>,
    #[serde(default)]
    seed: u64,
    machine: MachineTable,
    #[serde(default)]
    #[allow(dead_code)] // written over the device's file as text
    device: toml::Table,
    workload: WorkloadTable,
    #[serde(default)]
    mapping: MappingTable,
}

#[derive(Debug, Deserialize)]
struct MachineTable {
    base: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadTable {
    model: toml::Value,
    generation: GenerationFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingTable {
    strategy: Option<Strategy>,
    lm_head: Option<Placement>,
    embedding: Option<Placement>,
    launch: Option<LaunchMode>,
    attention: Option<AttentionKernels>,
}

/// The mapping strategies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Strategy {
    PimGpt,
    Gpu,
}

impl Strategy {
    fn name(self) -> &'static str {
        match self {
            Self::PimGpt => "pim-gpt",
            Self::Gpu => "gpu",
        }
    }
}

impl MappingTable {
    /// The table, if all that it says is for this strategy, which is that of the machine's kind.
    fn of(&self, strategy: Strategy, source: &Source) -> Result<&Self, InputError> {
        if let Some(other) = self.strategy.filter(|s| *s != strategy) {
            let kind = if strategy == Strategy::Gpu { "gpu" } else { "pim" };
            let problem = format!("is `{}`, which does not map to a machine of kind `{kind}`", other.name());
            return Err(source.error("mapping.strategy", problem).help(format!("use `{}`", strategy.name())));
        }
        let keys = [
            ("lm_head", self.lm_head.is_some(), Strategy::PimGpt),
            ("embedding", self.embedding.is_some(), Strategy::PimGpt),
            ("launch", self.launch.is_some(), Strategy::Gpu),
            ("attention", self.attention.is_some(), Strategy::Gpu),
        ];
        match keys.iter().find(|(_, there, of)| *there && *of != strategy) {
            None => Ok(self),
            Some((key, ..)) => {
                let own: Vec<&str> = keys.iter().filter(|(.., of)| *of == strategy).map(|(key, ..)| *key).collect();
                let problem = format!("is not a key of the strategy `{}`", strategy.name());
                let help = format!("its keys are {}", own.join(" and "));
                Err(source.error(&format!("mapping.{key}"), problem).help(help))
            }
        }
    }
}

/// A machine and the model mapped to it.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one of them in an experiment
pub enum System {
    /// Memory that computes.
    Pim {
        /// The machine.
        machine: PimMachine,
        /// The model laid out on it.
        mapping: PimGpt,
    },
    /// A GPU, with its machine.
    Gpu(GpuModel),
}

/// An experiment whose every part has been found and checked.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its name: the file's key, or the file's name.
    pub name: String,
    /// The seed of every random stream.
    pub seed: u64,
    /// The file with every setting applied, and the machine and device files that it builds on.
    pub configuration: String,
    /// The model.
    pub model: GptConfig,
    /// How the model is used.
    pub generation: Generation,
    /// The machine, and the model mapped to it.
    pub system: System,
}

impl Experiment {
    /// Reads an experiment file, with `key=value` settings written over it.
    ///
    /// # Errors
    /// Something in it, or in a file that it names, cannot be used.
    pub fn read<S: AsRef<str>>(path: &Path, settings: &[S]) -> Result<Self, InputError> {
        Self::new(&Source::read(path)?.with_settings(settings)?, Some(path))
    }

    /// As [`Experiment::read`], from text; files that it names are found beside `path`.
    ///
    /// # Errors
    /// Something in it, or in a file that it names, cannot be used.
    pub fn new(source: &Source, path: Option<&Path>) -> Result<Self, InputError> {
        let file: ExperimentFile = source.parse()?;
        let base = machines::open(&file.machine.base, path)
            .map_err(|e| names_unusable(source, "machine.base", &file.machine.base, e))?;
        let machine_source = base.overlaid(source, "machine", &["base"])?;
        let beside = if file.machine.base.ends_with(".toml") { Some(Path::new(base.name())) } else { path };
        let mut configuration = format!("# experiment\n{}\n# machine\n{}", source.text(), machine_source.text());
        let model_of = || model(&file.workload.model, source, path);
        let generation_of = |model: &GptConfig| file.workload.generation.resolve(source, "workload.generation", model);
        let (model, generation, system) = if is_gpu(&base) {
            let spec = GpuSpec::from_source(&machine_source)?;
            if !file.device.is_empty() {
                let problem = "has no meaning for a GPU, whose memory is part of its machine";
                let help = "write machine.dram.channels, machine.dram.megatransfers_per_s, ...";
                return Err(source.error("device", problem).help(help));
            }
            let model = model_of()?;
            let generation = generation_of(&model)?;
            let table = file.mapping.of(Strategy::Gpu, source)?;
            let options =
                GpuOptions { launch: table.launch.unwrap_or_default(), attention: table.attention.unwrap_or_default() };
            let mapping = GpuModel::new(model.clone(), &generation, spec, options, source)?;
            (model, generation, System::Gpu(mapping))
        } else {
            let machine_file: PimFile = machine_source.parse()?;
            let device_base = dram::catalog::open(&machine_file.memory.device, beside)
                .map_err(|e| names_unusable(&machine_source, "memory.device", &machine_file.memory.device, e))?;
            let device_source = device_base.overlaid(source, "device", &[])?;
            let device = dram::catalog::load_source(&device_source)?;
            let machine = PimMachine::new(machine_file, device, &machine_source)?;
            let model = model_of()?;
            let generation = generation_of(&model)?;
            let table = file.mapping.of(Strategy::PimGpt, source)?;
            let options = PimGptOptions {
                lm_head: table.lm_head.unwrap_or_default(),
                embedding: table.embedding.unwrap_or_default(),
            };
            let mapping = PimGpt::new(model.clone(), &generation, &machine, options, source)?;
            configuration.push_str(&format!("\n# device\n{}", device_source.text()));
            (model, generation, System::Pim { machine, mapping })
        };
        let stem = path.and_then(Path::file_stem).map_or_else(|| "experiment".into(), |s| s.to_string_lossy());
        let name = file.name.unwrap_or_else(|| stem.into_owned());
        Ok(Self { name, seed: file.seed, configuration, model, generation, system })
    }

    /// The generation as the mapping runs it: without what it leaves to a host.
    pub fn mapped_generation(&self) -> &Generation {
        match &self.system {
            System::Pim { mapping, .. } => mapping.generation(),
            System::Gpu(model) => model.generation(),
        }
    }

    /// Passes through the model: the prompt token by token on a PIM machine, at once on a GPU, and the tokens fed back.
    pub fn passes(&self) -> u64 {
        self.pass_of(self.generation.generated_tokens).saturating_add(1)
    }

    /// The pass, from 0, that gives the generated token of a number from 1.
    pub fn pass_of(&self, token: u64) -> u64 {
        match &self.system {
            System::Pim { .. } => self.generation.prompt_tokens.saturating_sub(1).saturating_add(token - 1),
            System::Gpu(_) => token - 1,
        }
    }

    /// The PIM machine and the model laid out on it, where the experiment has one.
    pub fn pim(&self) -> Option<(&PimMachine, &PimGpt)> {
        match &self.system {
            System::Pim { machine, mapping } => Some((machine, mapping)),
            System::Gpu(_) => None,
        }
    }

    /// The same, where only that will do: an error about what was asked otherwise.
    ///
    /// # Errors
    /// The machine is a GPU.
    pub fn pim_for(&self, option: &str, help: &str) -> Result<(&PimMachine, &PimGpt), InputError> {
        self.pim().ok_or_else(|| {
            InputError::new(option, format!("does not apply to a machine of kind `gpu` (`{}`)", self.name)).help(help)
        })
    }
}

/// Whether a machine's file says that it is a GPU; what it says otherwise is for the kind's own reader to judge.
fn is_gpu(base: &Source) -> bool {
    base.parse::<toml::Table>().is_ok_and(|t| t.get("kind").and_then(toml::Value::as_str) == Some("gpu"))
}

/// An error about a name that cannot be opened, at the key that gives it; of a file, with the path that was tried.
fn names_unusable(source: &Source, key: &str, name: &str, error: InputError) -> InputError {
    let problem = if name.ends_with(".toml") {
        format!("names a file that cannot be used: {}: {}", error.file, error.problem)
    } else {
        format!("is `{name}`: {}", error.problem)
    };
    InputError { help: error.help, ..source.error(key, problem) }
}

/// The model of the key `workload.model`: a name in the zoo, a TOML file beside the experiment, or a table.
fn model(value: &toml::Value, source: &Source, path: Option<&Path>) -> Result<GptConfig, InputError> {
    let key = "workload.model";
    match value {
        toml::Value::String(name) if name.ends_with(".toml") => {
            let folder = path.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
            let file = Source::read(&folder.join(name)).map_err(|e| names_unusable(source, key, name, e))?;
            GptConfig::from_source(&file)
        }
        toml::Value::String(name) => zoo::load(name).map_err(|_| source.unknown_name(key, "model", name, zoo::names())),
        toml::Value::Table(_) => {
            // Parsed again where it stands, so that errors have its lines.
            #[derive(Deserialize)]
            struct Outer {
                workload: Inner,
            }
            #[derive(Deserialize)]
            struct Inner {
                model: GptFile,
            }
            let outer: Outer = source.parse()?;
            outer.workload.model.resolve(source, key)
        }
        _ => Err(source.error(key, "must be a model's name, a TOML file, or a table of sizes")),
    }
}
