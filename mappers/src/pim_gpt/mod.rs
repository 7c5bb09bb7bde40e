//! PIM-GPT's mapping of decoder-only generation at batch 1 (Wu, Wang, Lu; arXiv 2310.09385).
//!
//! Every matrix product runs in the banks, everything else on the vector unit. A weight matrix is split over channels and
//! banks so that all banks compute at once; the input vector is broadcast to the global buffers; rows are packed so that
//! nearly every access finds its row open. A head's keys lie row-wise (a token's in one bank), its values column-wise
//! (an element's in one bank), written back token by token. A prompt is fed token by token.

pub(crate) mod accepts;
mod attention;
mod claims;
pub(crate) mod functions;
mod geometry;
mod layout;
mod lower;
mod map;
mod packing;
mod products;
mod states;
mod summary;
pub(crate) mod vector_ops;

use banksia_hw::pim::{Drive, PimMachine, peak_bandwidth_bytes_per_s, peak_macs_per_s};
use banksia_hw::program::Program;
use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Graph, Model, Op, Step};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

pub use map::PimGpt;
pub use summary::{MappingSummary, RegionSummary};

use accepts::Owners;
use functions::Functions;
use geometry::Geometry;
use layout::Layout;

use crate::plan::{Bound, Footprint, Judges, LayoutReport, Mapper, Plan, Problem, Unsupported};
use crate::replay::Claims;
use crate::space::{Knob, of_values};

/// Where an operator at the ends of the model runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In the banks, or read from them.
    #[default]
    Pim,
    /// On a host, outside the machine: it takes no time and no energy here, and the report says so.
    Host,
}

/// The options of the mapping, as the table `[mapping]` writes them.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
pub struct PimGptOptions {
    /// Where the vocabulary projection and the choice of the token run.
    #[serde(default)]
    pub lm_head: Placement,
    /// Where the embedding tables lie.
    #[serde(default)]
    pub embedding: Placement,
    /// Columns that one filling of the global buffer takes of a product's vector; as many as it holds where absent.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub buffer_columns: Option<i64>,
    /// A tile of outputs whose sums are held at once takes at most this part of the vector unit's memory: 2 for half, 4 for a quarter.
    #[serde(default = "quarter")]
    #[schemars(range(min = 2, max = 64))]
    pub tile_part: i64,
}

fn quarter() -> i64 {
    4
}

impl Default for PimGptOptions {
    fn default() -> Self {
        let (lm_head, embedding) = (Placement::Pim, Placement::Pim);
        Self { lm_head, embedding, buffer_columns: None, tile_part: quarter() }
    }
}

/// The space of schemes around the published one: how the global buffer is filled, and how many sums are held.
fn space(geometry: &Geometry) -> Vec<Knob> {
    let whole = i64::from(geometry.buffer_columns);
    let fills = (0..4).map(|halvings| whole >> halvings).filter(|n| *n > 0);
    vec![
        Knob::whole("buffer_columns", "columns of one filling of the global buffer", of_values(fills)),
        Knob::whole(
            "tile_part",
            "the part of the vector unit's memory that a tile's sums take",
            of_values([4, 2, 8, 16]),
        ),
    ]
}

/// The strategy of this module.
#[derive(Debug, Clone, Copy)]
pub struct PimGptMapper;

impl Mapper for PimGptMapper {
    fn name(&self) -> &'static str {
        "pim-gpt"
    }

    fn description(&self) -> &'static str {
        "decoder-only generation at batch 1: every matrix product in the banks, the rest on the vector unit"
    }

    fn page(&self) -> &'static str {
        include_str!("../../../docs/mapping-pim-gpt.md")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["lm_head", "embedding", "buffer_columns", "tile_part"]
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        PimGptOptions::json_schema(generator)
    }

    fn space(&self, problem: &Problem<'_>) -> Result<Vec<Knob>, InputError> {
        let Some(machine) = problem.machine.lone_pim_machine() else { return Ok(Vec::new()) };
        Ok(space(&Geometry::new(machine, problem.model.types.activations, problem.source)?))
    }

    fn accepts(&self, machine: &Machine) -> bool {
        machine.lone_pim_machine().is_some_and(|m| matches!(m.drive, Drive::Patterns))
    }

    fn plan(&self, problem: &Problem<'_>) -> Result<Box<dyn Plan>, InputError> {
        let options: PimGptOptions = problem.options(self)?;
        let machine = problem.machine.lone_pim_machine().ok_or_else(|| {
            problem.source.error("machine.base", "is not a PIM machine, to which alone the pim-gpt mapping maps")
        })?;
        problem.plain_generation(self)?;
        Ok(Box::new(PimGpt::new(problem.model.clone(), problem.generation, machine, options, problem.source)?))
    }
}

impl Plan for PimGpt {
    fn boxed(&self) -> Box<dyn Plan> {
        Box::new(self.clone())
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    /// One for each token that passes through the model.
    fn programs(&self) -> u64 {
        self.generation.token_passes()
    }

    fn program_of(&self, token: u64) -> u64 {
        self.generation.pass_of_token(token)
    }

    fn lower(&mut self, index: u64, _: &mut dyn Judges) -> Result<Program, Unsupported> {
        Ok(self.program(self.generation.context_tokens + index + 1))
    }

    fn claims(&mut self, index: u64, _: &mut dyn Judges) -> Result<Option<Claims>, Unsupported> {
        let context = self.generation.context_tokens + index + 1;
        Ok(Some(claims::claims(self, &self.graph(context), context)))
    }

    fn layout(&mut self, _: u64, _: &mut dyn Judges) -> Result<LayoutReport, Unsupported> {
        Ok(LayoutReport::Banks(self.summary()))
    }

    fn footprint(&self) -> Footprint {
        let kv = self.model.kv_bytes(self.generation.last_context()).saturating_add(self.model.state_bytes());
        let kv = u64::try_from(kv).unwrap_or(u64::MAX);
        Footprint { weights: self.model.weight_bytes(), kv, activations: self.sram_bytes }
    }

    fn bound(&self, index: u64) -> Bound {
        let graph = self.graph(self.generation.context_tokens + index + 1);
        let macs: f64 = graph.operators().map(|o| vector_ops::macs(o) as f64).sum();
        let bytes: f64 = graph
            .operators()
            .map(|o| match o.op {
                Op::ExpertLinear { .. } => 2.0 * vector_ops::macs(o) as f64,
                _ if vector_ops::macs(o) > 0 => (o.weight_bytes_read() + o.kv_bytes_read()) as f64,
                _ => 0.0,
            })
            .sum();
        Bound { arithmetic_s: macs / self.peak_macs_per_s, memory_s: bytes / self.peak_bytes_per_s }
    }
}

impl PimGpt {
    /// Lays a model out. Errors about the workload name keys of the experiment (`source`), those about the machine keys of
    /// the machine file.
    ///
    /// # Errors
    /// The mapping does not cover the workload, or the model does not fit the machine.
    pub fn new(
        model: Model,
        generation: &Generation,
        machine: &PimMachine,
        options: PimGptOptions,
        source: &Source,
    ) -> Result<Self, InputError> {
        if generation.batch != 1 {
            return Err(source
                .error(
                    "workload.generation.batch",
                    format!("is {}: the pim-gpt mapping runs one sequence", generation.batch),
                )
                .help("set batch = 1"));
        }
        let mut geometry = Geometry::new(machine, model.types.activations, source)?;
        if let Some(columns) = options.buffer_columns {
            let most = i64::from(geometry.buffer_columns);
            let columns = source.check("mapping.buffer_columns", columns, 1..=most)?;
            geometry.buffer_columns = u32::try_from(columns).unwrap_or(geometry.buffer_columns);
        }
        let tile_part = source.check("mapping.tile_part", options.tile_part, 2..=64)?.unsigned_abs();
        let generation = Generation {
            lm_head: generation.lm_head && options.lm_head == Placement::Pim,
            embedding: generation.embedding && options.embedding == Placement::Pim,
            ..generation.clone()
        };
        let step = Step::decode(generation.batch, generation.last_context());
        let last_token = model.step_graph(&step, &generation);
        let without_head = Generation { lm_head: false, ..generation.clone() };
        let inner_token = model.step_graph(&step, &without_head);
        accepts::check(&model, &last_token, None, "pim-gpt", source)?;
        check_heads(&last_token, &geometry, source)?;
        last_token.validate().map_err(|e| source.error("workload.model", e.to_string()))?;
        let owners = Owners::new(&model);
        let layout = Layout::new(&geometry, &last_token, &owners);
        check_fit(&model, &layout, &geometry, machine, source)?;
        let functions = Functions { series: machine.file.vector_unit.series, element_bytes: geometry.element_bytes };
        let this = Self {
            moves: model.as_gpt().is_some(),
            model,
            owners,
            generation,
            geometry,
            layout,
            functions,
            sram_bytes: machine.vector_unit.sram_bytes,
            tile_part,
            last_token,
            inner_token,
            peak_macs_per_s: peak_macs_per_s(machine),
            peak_bytes_per_s: peak_bandwidth_bytes_per_s(machine),
        };
        this.check_sram(source)?;
        Ok(this)
    }

    /// The program of the pass at one context.
    pub fn program(&self, context: u64) -> Program {
        let prompt = self.generation.context_tokens + self.generation.prompt_tokens;
        let phase = if context <= prompt { "prefill" } else { "decode" };
        let graph = self.graph(context);
        lower::Lowering::new(self, phase, context).program(&graph)
    }

    /// The step of a token: with what follows the last layer from the prompt's last token on.
    fn graph(&self, context: u64) -> Graph {
        let last = context >= self.generation.context_tokens + self.generation.prompt_tokens;
        if !self.moves {
            let generation = Generation { lm_head: self.generation.lm_head && last, ..self.generation.clone() };
            return self.model.step_graph(&Step::decode(1, context), &generation);
        }
        let mut graph = if last { self.last_token.clone() } else { self.inner_token.clone() };
        graph.set_context(context);
        graph
    }

    /// The generation as this mapping runs it: the vocabulary projection and the embedding switched off where a host has
    /// them.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The longest step must fit the vector unit's memory.
    fn check_sram(&self, source: &Source) -> Result<(), InputError> {
        let context = self.generation.last_context();
        let program = lower::Lowering::new(self, "decode", context).program(&self.last_token);
        let (mut held, mut worst) = (0u64, (0u64, 0u32));
        for instruction in &program.instructions {
            held += instruction.acquire_bytes;
            worst = worst.max((held, instruction.operator));
            held = held.saturating_sub(instruction.release_bytes);
        }
        if worst.0 > self.sram_bytes {
            let operator = &program.operators[worst.1 as usize].name;
            let problem = format!(
                "is {}: at a context of {context} tokens, `{operator}` and what is still needed then take {} bytes",
                self.sram_bytes, worst.0
            );
            return Err(source
                .error("machine.vector_unit.sram_bytes", problem)
                .help("give the vector unit more SRAM, or run a shorter context or a smaller model"));
        }
        Ok(())
    }
}

/// What the global buffer and counts of items rely on.
fn check_heads(graph: &Graph, geometry: &Geometry, source: &Source) -> Result<(), InputError> {
    const MOST_HEADS: u64 = 1 << 16;
    for (_, sizes) in layout::attentions(graph) {
        if geometry.columns_of(sizes.key_dim) > u64::from(geometry.buffer_columns) {
            let problem = format!("has heads of {} elements, more than the global buffer holds", sizes.key_dim);
            let most = u64::from(geometry.buffer_columns) * geometry.lanes;
            return Err(source.error("workload.model", problem).help(format!("use heads of at most {most} elements")));
        }
        if sizes.heads > MOST_HEADS || sizes.value_dim > MOST_HEADS {
            let problem = format!("has {} heads of {} elements", sizes.heads, sizes.value_dim);
            return Err(source.error("workload.model", problem).help(format!("use at most {MOST_HEADS} of either")));
        }
    }
    Ok(())
}

fn check_fit(
    model: &Model,
    layout: &Layout,
    geometry: &Geometry,
    machine: &PimMachine,
    source: &Source,
) -> Result<(), InputError> {
    if layout.rows <= u64::from(geometry.rows) {
        return Ok(());
    }
    let row_bytes = u128::from(machine.device.row_bytes()) * u128::from(geometry.units());
    let (needs, has) = (u128::from(layout.rows) * row_bytes, u128::from(machine.capacity_bytes()));
    let channels = (u128::from(layout.rows) * u128::from(geometry.channels)).div_ceil(u128::from(geometry.rows));
    let gib = |bytes: u128| bytes as f64 / f64::from(1 << 30);
    Err(source
        .error(
            "workload.model",
            format!(
                "`{}` takes {:.2} GiB with its KV cache as this mapping lays it out, {:.2} GiB more than the {:.2} GiB of {} channels",
                model.name,
                gib(needs),
                gib(needs - has),
                gib(has),
                geometry.channels
            ),
        )
        .help(format!("use about {channels} channels (machine.memory.channels), a shorter context or a smaller model")))
}
