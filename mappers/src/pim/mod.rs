//! Decoder-only generation on PIM devices that run blocks of their own: AiM, HBM-PIM, AttAcc.
//!
//! Every matrix product runs in the banks as the device's published matrix-vector product, everything else on the vector unit (what
//! stands beside the channels: a host, a hub, a buffer die). A prompt is fed token by token, and a batch sequence by sequence: the
//! units multiply a matrix by one vector.

mod attention;
mod banks;
mod claims;
mod layout;
mod lower;
mod map;
mod operators;
mod options;
mod summary;
mod waves;

use banksia_hw::pim::{PimMachine, peak_bandwidth_bytes_per_s, peak_macs_per_s};
use banksia_hw::program::{InstructionId, ProgramBuilder};
use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Graph, Model, Op, Step};
use schemars::{JsonSchema, Schema, SchemaGenerator};

pub(crate) use attention::{OPERATORS, PimAttention, Sizes};
pub use map::Pim;
pub(crate) use operators::PimOperators;
pub(crate) use options::{Chosen, MatrixOptions};

use self::banks::Banks;
use self::layout::Layout;
use self::options::PimOptions;
use crate::pim_gpt::accepts::{self, Owners};
use crate::pim_gpt::functions::Functions;
use crate::pim_gpt::vector_ops;
use crate::plan::{Bound, Footprint, Judges, LayoutReport, Mapper, Plan, Problem, Unsupported};
use crate::replay::{Claims, InBanks};
use crate::space::Knob;

/// The strategy of this module.
#[derive(Debug, Clone, Copy)]
pub struct PimMapper;

impl Mapper for PimMapper {
    fn name(&self) -> &'static str {
        "pim"
    }

    fn description(&self) -> &'static str {
        "decoder-only generation on AiM, HBM-PIM or AttAcc: every matrix product in the banks by the device's own kernels"
    }

    fn page(&self) -> &'static str {
        include_str!("../../../docs/mapping-pim.md")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["attention_channels", "layout"]
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        PimOptions::json_schema(generator)
    }

    fn space(&self, problem: &Problem<'_>) -> Result<Vec<Knob>, InputError> {
        problem.plain_generation(self)?;
        let banks = problem.machine.lone_pim_machine().and_then(|m| Banks::new(m));
        let Some(banks) = banks else { return Ok(Vec::new()) };
        let generation = problem.generation;
        let step = Step::decode(generation.batch, generation.last_context());
        let graph = problem.model.step_graph(&step, generation);
        // What stands where nothing is said depends on how many sequences go together.
        let as_written = (generation.batch > 1).then(|| {
            let (machine, options) = (problem.machine.lone_pim_machine()?, problem.options(self).ok()?);
            Pim::with_options(problem.model.clone(), generation.clone(), machine, &options, problem.source).ok()
        });
        let wave = as_written.flatten().map_or(generation.batch, |plan| plan.wave);
        let mut knobs = options::space(&graph, &banks, wave);
        // Channels of a head say how many scores are alive at once, and so how many sequences go together: where that differs, all of the step does.
        if let Some(knob) = knobs.iter_mut().find(|k| generation.batch > 1 && k.key == "attention_channels") {
            let (machine, options) = (problem.machine.lone_pim_machine(), problem.options::<PimOptions>(self)?);
            let wave = |channels: &toml::Value| {
                let options = PimOptions { attention_channels: channels.as_integer(), ..options.clone() };
                let plan =
                    Pim::with_options(problem.model.clone(), generation.clone(), machine?, &options, problem.source);
                Some(plan.ok()?.wave)
            };
            let mut waves: Vec<u64> = knob.values.iter().filter_map(wave).collect();
            waves.dedup();
            if waves.len() > 1 {
                knob.operators.clear();
            }
        }
        Ok(knobs)
    }

    fn accepts(&self, machine: &Machine) -> bool {
        machine.lone_pim_machine().is_some_and(|m| Banks::new(m).is_some())
    }

    fn plan(&self, problem: &Problem<'_>) -> Result<Box<dyn Plan>, InputError> {
        let options: PimOptions = problem.options(self)?;
        problem.plain_generation(self)?;
        let machine = problem.machine.lone_pim_machine().ok_or_else(|| {
            problem.source.error("machine.base", "is not a PIM machine, to which alone the pim mapping maps")
        })?;
        Ok(Box::new(Pim::with_options(
            problem.model.clone(),
            problem.generation.clone(),
            machine,
            &options,
            problem.source,
        )?))
    }
}

impl Pim {
    /// Lays a model out, every matrix and head as it lies where nothing is said.
    ///
    /// # Errors
    /// The units do not multiply the model's type, an operator is not one that the machine can run, or the model does not fit.
    pub fn new(
        model: Model,
        generation: Generation,
        machine: &PimMachine,
        source: &Source,
    ) -> Result<Self, InputError> {
        Self::with_options(model, generation, machine, &PimOptions::default(), source)
    }

    /// Lays a model out.
    ///
    /// # Errors
    /// The units do not multiply the model's type, an operator is not one that the machine can run, or the model does not fit: then how many channels
    /// it takes.
    fn with_options(
        model: Model,
        generation: Generation,
        machine: &PimMachine,
        options: &PimOptions,
        source: &Source,
    ) -> Result<Self, InputError> {
        let banks = Banks::new(machine).ok_or_else(|| {
            source.error("machine.base", "has a memory device without instructions or kernels of its own")
        })?;
        let step = Step::decode(generation.batch, generation.last_context());
        let last_token = model.step_graph(&step, &generation);
        let without_head = Generation { lm_head: false, ..generation.clone() };
        let inner_token = model.step_graph(&step, &without_head);
        accepts::check(&model, &last_token, Some(16), "pim", source)?;
        last_token.validate().map_err(|e| source.error("workload.model", e.to_string()))?;
        let owners = Owners::new(&model);
        let chosen = options.check(&last_token, banks.channels, source)?;
        let case =
            Case { model: &model, graph: &last_token, owners: &owners, generation: &generation, chosen: &chosen };
        let Some((banks, layout)) = case.lay_out(banks.clone(), machine) else {
            return Err(case.does_not_fit(machine, &banks, source));
        };
        let activations =
            last_token.operators().map(banksia_workloads::OperatorNode::activation_bytes_out).max().unwrap_or(0);
        let sram = machine.vector_unit.sram_bytes;
        // The vocabulary's logits pass through in parts.
        let in_layers = last_token.operators().filter(|n| n.layer.is_some());
        let widest = in_layers
            .filter(|n| !matches!(n.op.kind(), "attention_scores" | "softmax" | "score_cap" | "kv_append"))
            .map(|n| n.activation_bytes_out() / generation.batch.max(1))
            .max()
            .unwrap_or(0);
        if widest > sram {
            let problem = format!("is {sram}: a token of `{}` has {} elements at once", model.name, widest / 2);
            return Err(source.error("machine.vector_unit.sram_bytes", problem).help("give the vector unit more SRAM"));
        }
        let mut this = Self {
            functions: Functions { series: machine.file.vector_unit.series, element_bytes: 2 },
            moves: model.as_gpt().is_some(),
            wave: generation.batch,
            model,
            generation,
            banks,
            layout,
            last_token,
            inner_token,
            activations,
            peak_macs_per_s: peak_macs_per_s(machine),
            peak_bytes_per_s: peak_bandwidth_bytes_per_s(machine),
        };
        this.wave = this.together(sram);
        if this.wave < this.generation.batch {
            // Heads of one wave are at work at once: each has as many channels as they leave it.
            let laid = this.layout.with_attention_of(machine, &this.last_token, &this.generation, this.wave, &chosen);
            this.layout = laid.unwrap_or_else(|| this.layout.clone());
            this.wave = this.together(sram);
        }
        Ok(this)
    }

    /// The graph of a token of one sequence.
    pub(crate) fn graph_of_one(&self, context: u64) -> Graph {
        self.graph_of(context, 1)
    }

    /// Adds a token of one sequence, as [`Pim::graph_of_one`] has it, to a program that has more. The last of its instructions.
    ///
    /// # Errors
    /// An operator cannot be lowered.
    pub(crate) fn lower_one(
        &self,
        builder: &mut ProgramBuilder,
        graph: &Graph,
        context: u64,
        sequence: u64,
        after: &[InstructionId],
    ) -> Result<Vec<InstructionId>, Unsupported> {
        lower::part(self, builder, graph, context, sequence..sequence + 1, after)
    }

    /// Adds what a token of one sequence claims, after the group `before`; the last group.
    pub(crate) fn claim_one(
        &self,
        graph: &Graph,
        context: u64,
        sequence: u64,
        into: (&mut Claims, &mut InBanks),
        before: Option<usize>,
    ) -> Option<usize> {
        claims::add(self, graph, context, sequence..sequence + 1, into, before)
    }

    fn graph(&mut self, context: u64) -> Graph {
        let last = context >= self.generation.context_tokens + self.generation.prompt_tokens;
        if !self.moves {
            let generation = Generation { lm_head: self.generation.lm_head && last, ..self.generation.clone() };
            return self.model.step_graph(&Step::decode(generation.batch, context), &generation);
        }
        let graph = if last { &mut self.last_token } else { &mut self.inner_token };
        graph.set_context(context);
        graph.clone()
    }
}

/// What is to be laid out.
struct Case<'a> {
    model: &'a Model,
    /// Of the longest context, with all that follows the last layer.
    graph: &'a Graph,
    owners: &'a Owners,
    generation: &'a Generation,
    chosen: &'a Chosen,
}

impl Case<'_> {
    /// Weights, then states, then keys and values.
    fn lay_out(&self, mut banks: Banks, machine: &PimMachine) -> Option<(Banks, Layout)> {
        loop {
            let layout = Layout::new(&banks, machine, self.graph, self.owners, self.generation, self.chosen);
            if let Some(layout) = layout {
                return Some((banks, layout));
            }
            banks = banks.denser()?;
        }
    }

    /// What a model takes, against what there is, and how many channels would do.
    fn does_not_fit(&self, machine: &PimMachine, banks: &Banks, source: &Source) -> InputError {
        let &Self { model, graph, owners, generation, chosen } = self;
        let has = machine.channels();
        let fits = |channels: u32| {
            let mut machine = machine.clone();
            machine.set_channels(channels)?;
            self.lay_out(Banks::new(&machine)?, &machine).map(|_| channels)
        };
        // Rows shrink as channels grow, in steps: multiples of what there is are tried.
        let channels = (2..=64).find_map(|n| fits(has.checked_mul(n)?));
        let rows = Layout::of_weights(banks, graph, owners, chosen, 0).rows;
        let gib = |bytes: u128| bytes as f64 / f64::from(1 << 30);
        let row = u128::from(banks.row_bytes_of_all());
        let kv = (model.kv_bytes(generation.last_context()) + model.state_bytes()) * u128::from(generation.batch);
        let problem = format!(
            "`{}` takes {:.2} GiB of weights, {:.2} GiB of keys and values, and in rows of banks more than that: {has} channels hold {:.2} GiB",
            model.name,
            gib(u128::from(model.weight_bytes())),
            gib(kv),
            gib(u128::from(banks.rows) * row)
        );
        let help = match channels {
            Some(n) => format!(
                "it fits {n} channels, {} machines' worth (machine.memory.channels = {n}); or {SMALLER}",
                n / has
            ),
            None => SMALLER.to_owned(),
        };
        let key = if rows > banks.rows { "workload.model" } else { "workload.generation" };
        source.error(key, problem).help(help)
    }
}

/// What makes a model fit.
const SMALLER: &str = "let outputs share rows (mapping.layout.\"OPERATOR\".packed = true; `banksia map --search` tries it), use a shorter context, a smaller \
                       batch or a smaller model";

impl Plan for Pim {
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

    fn lower(&mut self, index: u64, _: &mut dyn Judges) -> Result<banksia_hw::program::Program, Unsupported> {
        let context = self.generation.context_tokens + index + 1;
        let prompt = self.generation.context_tokens + self.generation.prompt_tokens;
        let phase = if context <= prompt { "prefill" } else { "decode" };
        if self.wave >= self.generation.batch {
            let graph = self.graph(context);
            return lower::program(self, &graph, phase, context);
        }
        let (mut builder, mut after) = (ProgramBuilder::new(phase, context), Vec::new());
        for wave in self.waves() {
            let graph = self.graph_of(context, wave.end - wave.start);
            after = lower::part(self, &mut builder, &graph, context, wave, &after)?;
        }
        Ok(builder.finish())
    }

    fn claims(&mut self, index: u64, _: &mut dyn Judges) -> Result<Option<Claims>, Unsupported> {
        let context = self.generation.context_tokens + index + 1;
        let mut claims = Claims::default();
        let mut banks = InBanks::new(0, "channels");
        let mut before = None;
        for wave in self.waves() {
            let graph = match wave.end - wave.start {
                all if all == self.generation.batch => self.graph(context),
                some => self.graph_of(context, some),
            };
            before = claims::add(self, &graph, context, wave, (&mut claims, &mut banks), before);
        }
        claims.banks.push(banks);
        Ok(Some(claims))
    }

    fn layout(&mut self, _: u64, _: &mut dyn Judges) -> Result<LayoutReport, Unsupported> {
        Ok(LayoutReport::Banks(summary::summary(self)))
    }

    fn footprint(&self) -> Footprint {
        let one = self.model.kv_bytes(self.generation.last_context()) + self.model.state_bytes();
        let kv = u64::try_from(one * u128::from(self.generation.batch)).unwrap_or(u64::MAX);
        Footprint { weights: self.model.weight_bytes(), kv, activations: self.activations }
    }

    fn bound(&self, index: u64) -> Bound {
        let context = self.generation.context_tokens + index + 1;
        let mut this = self.clone();
        let graph = this.graph(context);
        let macs: f64 = graph.operators().map(|o| vector_ops::macs(o) as f64).sum();
        let vectors = f64::from(self.banks.vectors());
        // Weights are read for as many vectors as the units take at once anew; keys and values that query heads share are counted once.
        let bytes: f64 = graph
            .operators()
            .map(|o| match o.op {
                Op::AttentionScores { .. } | Op::AttentionValues { .. } => o.kv_bytes_read() as f64,
                _ => 2.0 * vector_ops::macs(o) as f64 / vectors,
            })
            .sum();
        Bound { arithmetic_s: macs / self.peak_macs_per_s, memory_s: bytes / self.peak_bytes_per_s }
    }
}
