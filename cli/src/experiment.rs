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

use std::path::Path;

use banksia_hw::dram;
use banksia_hw::machines;
use banksia_hw::pim::{PimFile, PimMachine};
use banksia_input::{InputError, Source};
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingTable {
    #[serde(default)]
    strategy: Strategy,
    #[serde(default)]
    lm_head: Placement,
    #[serde(default)]
    embedding: Placement,
}

impl Default for MappingTable {
    fn default() -> Self {
        Self { strategy: Strategy::PimGpt, lm_head: Placement::Pim, embedding: Placement::Pim }
    }
}

/// The mapping strategies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Strategy {
    #[default]
    PimGpt,
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
    /// The machine.
    pub machine: PimMachine,
    /// The model.
    pub model: GptConfig,
    /// How the model is used.
    pub generation: Generation,
    /// The model laid out on the machine.
    pub mapping: PimGpt,
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
        let machine_file: PimFile = machine_source.parse()?;
        let beside = if file.machine.base.ends_with(".toml") { Some(Path::new(base.name())) } else { path };
        let device_base = dram::catalog::open(&machine_file.memory.device, beside)
            .map_err(|e| names_unusable(&machine_source, "memory.device", &machine_file.memory.device, e))?;
        let device_source = device_base.overlaid(source, "device", &[])?;
        let device = dram::catalog::load_source(&device_source)?;
        let machine = PimMachine::new(machine_file, device, &machine_source)?;

        let model = model(&file.workload.model, source, path)?;
        let generation = file.workload.generation.resolve(source, "workload.generation", &model)?;
        let options = PimGptOptions { lm_head: file.mapping.lm_head, embedding: file.mapping.embedding };
        let mapping = match file.mapping.strategy {
            Strategy::PimGpt => PimGpt::new(model.clone(), &generation, &machine, options, source)?,
        };
        let stem = path.and_then(Path::file_stem).map_or_else(|| "experiment".into(), |s| s.to_string_lossy());
        let configuration = format!(
            "# experiment\n{}\n# machine\n{}\n# device\n{}",
            source.text(),
            machine_source.text(),
            device_source.text()
        );
        let name = file.name.unwrap_or_else(|| stem.into_owned());
        Ok(Self { name, seed: file.seed, configuration, machine, model, generation, mapping })
    }
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
