//! The file of an experiment, and all of it but the mapping.

use std::path::Path;

use banksia_hw::system::{ClusterTable, Machine};
use banksia_input::{InputError, Source};
use banksia_mappers::cluster::Ranks;
use banksia_mappers::schema::Mapping;
use banksia_workloads::model::{Routing, Types};
use banksia_workloads::schema::ModelKey;
use banksia_workloads::{Generation, GenerationFile, GptFile, Model, explain_key, load_model, zoo};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::serving::{Load, ServingFile};

/// Which model runs on which machine, mapped how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExperimentFile {
    /// What reports and sweeps call it. The file's name where absent.
    name: Option<String>,
    /// Of every random stream.
    #[serde(default)]
    seed: u64,
    /// The machine: a `base`, and keys written over its own.
    machine: MachineTable,
    /// Keys written over those of a PIM machine's DRAM device; a GPU has none.
    #[serde(default)]
    #[allow(dead_code)] // written over the device's file as text
    #[schemars(with = "bool")] // what it is stands in `schema`
    device: toml::Table,
    /// What is computed: a model, and how it is used.
    workload: WorkloadTable,
    /// How the model is mapped to the machine: a strategy and its keys.
    #[serde(default)]
    #[allow(dead_code)] // read by the strategy
    #[schemars(with = "Mapping")]
    mapping: toml::Table,
    /// Requests that are served, in place of a generation.
    serving: Option<ServingFile>,
    /// How the model is spread over the ranks of a cluster.
    #[allow(dead_code)] // read by the strategy
    parallel: Option<Ranks>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct MachineTable {
    base: Option<String>,
    #[serde(flatten)]
    #[schemars(skip)]
    rest: toml::Table,
}

/// The machine of an experiment: one that it builds on, or the ranks of a cluster.
fn machine(table: &MachineTable, source: &Source, path: Option<&Path>) -> Result<Machine, InputError> {
    #[derive(Deserialize)]
    struct Outer {
        machine: ClusterTable,
    }
    match (&table.base, table.rest.get("cluster")) {
        (Some(base), None) => Machine::read(base, source, path),
        (None, Some(_)) => Machine::read_cluster(&source.parse::<Outer>()?.machine, source, path),
        (Some(_), Some(_)) => Err(source
            .error("machine.base", "stands beside `cluster`, whose nodes have their own GPU")
            .help("leave one of them out")),
        (None, None) => Err(source
            .error("machine.base", "is missing")
            .help("name a machine of `banksia list hardware`, or a cluster: cluster = \"h200\"")),
    }
}

/// What is computed: a model, and how it is used.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WorkloadTable {
    /// The model: a name of `banksia list models`, a file, or a table of its keys.
    #[schemars(with = "ModelKey")]
    model: toml::Value,
    /// How it is used: prompt, tokens, batch. Required without `[serving]`, which says it for each request.
    generation: Option<GenerationFile>,
    /// Number formats in place of the model's own.
    types: Option<Types>,
    /// Which experts tokens choose, in place of the model's own.
    routing: Option<Routing>,
}

/// Model, use and machine of an experiment: what plans of one search have in common.
#[derive(Debug, Clone)]
pub(crate) struct Unmapped {
    pub(super) name: String,
    pub(super) seed: u64,
    /// Of the experiment's configuration what stands after its own text.
    pub(super) files: String,
    pub(super) model: Model,
    pub(super) generation: Generation,
    pub(super) machine: Machine,
    pub(super) serving: Option<Load>,
}

impl Unmapped {
    /// Reads all but the mapping of an experiment that generates or serves.
    ///
    /// # Errors
    /// Something in it, or in a file that it names, cannot be used.
    pub(crate) fn read(source: &Source, path: Option<&Path>) -> Result<Self, InputError> {
        let (file, model, generation, machine, mut files) = read(source, path)?;
        let resolve = |serving: ServingFile| serving.resolve(source, path, file.seed, &machine, &mut files);
        let serving = file.serving.map(resolve).transpose()?;
        if let Some(load) = &serving {
            // The longest request keeps to the model's positions.
            let longest = Generation { prompt_tokens: load.longest(), ..Generation::default() };
            longest.check(&model, source, "serving")?;
        }
        let stem = path.and_then(Path::file_stem).map_or_else(|| "experiment".into(), |s| s.to_string_lossy());
        let name = file.name.unwrap_or_else(|| stem.into_owned());
        Ok(Self { name, seed: file.seed, files, model, generation, machine, serving })
    }

    /// Whether it serves requests: each is then mapped as the source it was read from says.
    pub(crate) fn serves(&self) -> bool {
        self.serving.is_some()
    }
}

fn read(
    source: &Source,
    path: Option<&Path>,
) -> Result<(ExperimentFile, Model, Generation, Machine, String), InputError> {
    let file: ExperimentFile = source.parse().map_err(|e| explain(source, e))?;
    let machine = machine(&file.machine, source, path)?;
    if file.parallel.is_some() && machine.fabric.is_none() {
        let error = source.error("parallel", format!("has no meaning for `{}`, which is one machine", machine.name));
        return Err(error.help("name a cluster in place of machine.base: machine.cluster = \"h200\""));
    }
    let mut configuration = format!("\n{}", machine.configuration);
    let mut model = model(&file.workload.model, source, path, &mut configuration)?;
    if let Some(types) = &file.workload.types {
        model.types = types.clone();
    }
    if let Some(routing) = &file.workload.routing {
        model.routing = routing.clone();
    }
    model.check(source, "workload")?;
    let generation = match (&file.workload.generation, &file.serving) {
        (Some(_), Some(_)) => {
            let error = source.error("workload.generation", "stands beside [serving], which says it for each request");
            return Err(error.help("leave one of them out"));
        }
        (Some(generation), None) => generation.resolve(source, "workload.generation", &model)?,
        (None, Some(_)) => Generation::default(),
        (None, None) => {
            let error = source.error("workload.generation", "is missing");
            return Err(
                error.help("say how the model is used: prompt_tokens and generated_tokens; or give a table [serving]")
            );
        }
    };
    Ok((file, model, generation, machine, configuration))
}

/// Keys that other tools have, or that are not modelled, are explained; a sweep's are named as such.
pub(super) fn explain(source: &Source, error: InputError) -> InputError {
    let error = explain_key(error);
    let is_sweep = source.parse::<toml::Table>().is_ok_and(|t| t.contains_key("experiments"));
    if is_sweep { error.help("this is a sweep file: run it with `banksia sweep`") } else { error }
}

/// The model of the key `workload.model`: a name in the zoo, a TOML file or a Hugging Face configuration beside the experiment, or a
/// table. The text of a file belongs to the configuration.
pub(super) fn model(
    value: &toml::Value,
    source: &Source,
    path: Option<&Path>,
    configuration: &mut String,
) -> Result<Model, InputError> {
    let key = "workload.model";
    match value {
        toml::Value::String(name) if name.ends_with(".toml") || name.ends_with(".json") => {
            let folder = path.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
            let file = Source::read(&folder.join(name)).map_err(|e| {
                let problem = format!("names a file that cannot be used: {}: {}", e.file, e.problem);
                InputError { help: e.help, ..source.error(key, problem) }
            })?;
            configuration.push_str(&format!("\n# model\n{}", file.text()));
            load_model(&folder.join(name))
        }
        toml::Value::String(name) => zoo::load(name).map_err(|_| source.unknown_name(key, "model", name, zoo::names())),
        toml::Value::Table(table) => {
            // Parsed again where it stands, so that errors have its lines.
            #[derive(Deserialize)]
            struct Outer {
                workload: Inner,
            }
            #[derive(Deserialize)]
            struct Inner {
                model: GptFile,
            }
            #[derive(Deserialize)]
            struct OuterBlocks {
                workload: InnerBlocks,
            }
            #[derive(Deserialize)]
            struct InnerBlocks {
                model: Model,
            }
            if table.contains_key("blocks") {
                let outer: OuterBlocks = source.parse().map_err(|e| explain(source, e))?;
                outer.workload.model.check(source, key)?;
                return Ok(outer.workload.model);
            }
            let outer: Outer = source.parse().map_err(|e| explain(source, e))?;
            Ok(Model::from(&outer.workload.model.resolve(source, key)?))
        }
        _ => Err(source.error(key, "must be a model's name, a file (.toml, or a config.json), or a table of sizes")),
    }
}
