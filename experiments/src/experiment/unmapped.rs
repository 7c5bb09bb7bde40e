//! An experiment but for its mapping.

use std::path::Path;

use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_mappers::{Mapper, Problem, choose};
use banksia_workloads::{Generation, Model};

use super::Experiment;
use crate::serving::{Load, ServingFile};

/// Model, use and machine of an experiment: what plans of one search have in common.
#[derive(Debug, Clone)]
pub(crate) struct Unmapped {
    name: String,
    seed: u64,
    /// Of the experiment's configuration what stands after its own text.
    files: String,
    model: Model,
    generation: Generation,
    machine: Machine,
    serving: Option<Load>,
}

impl Unmapped {
    /// Reads all but the mapping of an experiment that generates or serves.
    ///
    /// # Errors
    /// Something in it, or in a file that it names, cannot be used.
    pub(crate) fn read(source: &Source, path: Option<&Path>) -> Result<Self, InputError> {
        let (file, model, generation, machine, mut files) = Experiment::read_parts(source, path)?;
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

    /// Mapped as `[mapping]` of `source` says.
    ///
    /// # Errors
    /// The mapping cannot be.
    pub(crate) fn mapped(self, source: &Source) -> Result<Experiment, InputError> {
        let Self { name, seed, files, model, generation, machine, serving } = self;
        let configuration = format!("# experiment\n{}{files}", source.text());
        let problem = Problem { model: &model, generation: &generation, machine: &machine, source };
        let mapper: &dyn Mapper = choose(&problem)?;
        let plan = mapper.plan(&problem)?;
        let machine = plan.machine().unwrap_or(machine);
        let (mapper, training, published) = (mapper.name(), None, None);
        Ok(Experiment {
            name,
            seed,
            configuration,
            model,
            generation,
            machine,
            mapper,
            plan,
            training,
            serving,
            published,
        })
    }
}
