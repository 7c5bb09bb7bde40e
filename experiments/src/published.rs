//! Experiments on a published system as its own simulator has it: AttAcc, Pimba. What `validate` compares row by row runs here by itself, so that the same
//! step can be set beside one on this project's machines (`banksia compare`).
//!
//! ```toml
//! [published]
//! system = "attacc"
//! node = "dgx-h100"             # a node of rooflines
//! stacks = "attacc-bank"        # where attention of decode runs; without, on the GPUs
//! pipelined = true
//!
//! [workload]
//! model = "GPT-175B"            # a model of that simulator
//!
//! [workload.generation]
//! prompt_tokens = 127
//! generated_tokens = 2
//! batch = 16
//! ```

pub(crate) mod file;

use std::collections::BTreeMap;

use crate::about::About;
use banksia_hw::roofline::node::{RooflineNode, Work};
use banksia_hw::roofline::nodes;
use banksia_hw::roofline::stacks::PimStacks;
use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_mappers::pim_systems::attacc::{Attention, Priced, StackRuns, Stacks, decode, prefill};
use banksia_mappers::pim_systems::operators::{Kind, Operator};
use banksia_mappers::pim_systems::pimba::{PimbaSystem, UnitRuns};
use banksia_mappers::pim_systems::recurrent::{RecurrentModel, Token, recurrent_model};
use banksia_mappers::pim_systems::state_stream::Design;
use banksia_mappers::pim_systems::transformer::{Batch, DenseModel, dense_model};
use banksia_reports::{ComponentReport, MachineInfo, OperatorReport, RunReport, StepReport, WorkloadInfo};
use banksia_workloads::{Generation, GptFile, Model};
use file::{Published, PublishedGeneration, Settings};

/// Whether an experiment's text is one.
pub(crate) fn is_published(source: &Source) -> bool {
    source.parse::<toml::Table>().is_ok_and(|t| t.contains_key("published"))
}

/// Tokens of a batch whose keys and values a step goes over, at most.
const MOST_TOKENS: u64 = 1 << 22;

/// The system, its parts found.
#[derive(Debug, Clone)]
enum Parts {
    Attacc { stacks: Option<Box<PimStacks>>, model: DenseModel },
    Pimba { design: Option<Design>, model: RecurrentModel },
}

/// A published system with what it is to compute.
#[derive(Debug, Clone)]
pub(crate) struct System {
    settings: Settings,
    generation: PublishedGeneration,
    node: RooflineNode,
    parts: Parts,
}

/// Costs of an operator, of the whole node.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: u64,
    seconds: f64,
    flops: f64,
    memory_j: f64,
    other_j: f64,
}

/// What a step came to.
#[derive(Debug, Default)]
struct Steps {
    operators: Vec<(String, Sum)>,
    steps: Vec<StepReport>,
}

impl Steps {
    fn add(&mut self, name: String, sum: Sum) {
        let at = self.operators.iter().position(|(n, _)| *n == name).unwrap_or(self.operators.len());
        if at == self.operators.len() {
            self.operators.push((name, Sum::default()));
        }
        let all = &mut self.operators[at].1;
        all.count += sum.count;
        all.seconds += sum.seconds;
        all.flops += sum.flops;
        all.memory_j += sum.memory_j;
        all.other_j += sum.other_j;
    }
}

fn keyed(source: &Source, key: &str, error: InputError) -> InputError {
    InputError { help: error.help, ..source.error(key, error.problem) }
}

fn flops_of(operator: &Operator) -> f64 {
    match operator.kind {
        Kind::Compute(work) => work.flops(&operator.sizes),
        Kind::Exchange | Kind::Transfer => 0.0,
    }
}

impl System {
    /// Finds what a file names.
    ///
    /// # Errors
    /// There is no such node, stacks or model, or a number is out of range.
    pub(crate) fn new(file: &file::PublishedFile, source: &Source) -> Result<Self, InputError> {
        let (settings, workload) = (file.published.clone(), &file.workload);
        let mut node = nodes::node(&settings.node).map_err(|e| keyed(source, "published.node", e))?;
        if let Some(gpus) = settings.gpus {
            node.gpus = source.check("published.gpus", gpus, 1..=1024)?;
        }
        let g = workload.generation;
        let key = |k: &str| format!("workload.generation.{k}");
        source.check(&key("prompt_tokens"), g.prompt_tokens, 1..=1 << 17)?;
        source.check(&key("generated_tokens"), g.generated_tokens, 1..=1 << 14)?;
        source.check(&key("batch"), g.batch, 1..=4096)?;
        let tokens = u64::from(g.batch) * u64::from(g.prompt_tokens + g.generated_tokens);
        if tokens > MOST_TOKENS {
            let problem = format!("makes {tokens} tokens with the lengths: at most {MOST_TOKENS} are simulated");
            return Err(source.error(&key("batch"), problem));
        }
        source.check("published.state_bytes", settings.state_bytes, 1..=2)?;
        let parts = match settings.system {
            Published::Attacc => {
                let stacks = settings.stacks.as_deref().map(nodes::stacks).transpose();
                let mut stacks = stacks.map_err(|e| keyed(source, "published.stacks", e))?;
                if let Some(stacks) = &mut stacks {
                    stacks.reference = settings.reference;
                }
                let model = dense_model(&workload.model).map_err(|e| keyed(source, "workload.model", e))?;
                if model.heads < node.gpus {
                    let problem = format!("has {} heads, fewer than the {} GPUs", model.heads, node.gpus);
                    return Err(source.error("workload.model", problem).help("give published.gpus no more"));
                }
                Parts::Attacc { stacks: stacks.map(Box::new), model }
            }
            Published::Pimba => {
                let design = settings.design.as_deref().map(str::parse::<Design>).transpose();
                let design = design.map_err(|e| keyed(source, "published.design", e))?;
                let model = recurrent_model(&workload.model).map_err(|e| keyed(source, "workload.model", e))?;
                Parts::Pimba { design, model }
            }
        };
        Ok(Self { settings, generation: g, node, parts })
    }

    /// Its GPU, as a machine of this project: what stands beside it in lists.
    ///
    /// # Errors
    /// The node is of no GPU of the catalog.
    pub(crate) fn machine(&self, source: &Source) -> Result<Machine, InputError> {
        let known = banksia_hw::gpu::CATALOG.iter().map(|(name, _)| *name);
        let mut of_node = known.filter(|name| self.node.name.split('-').any(|part| part == *name));
        let name = of_node.next().ok_or_else(|| {
            source.error("published.node", format!("is `{}`, whose GPU is not in the catalog", self.node.name))
        })?;
        Ok(Machine::of_gpu(&banksia_hw::gpu::device(name)?))
    }

    /// A plain decoder of the model's widths: what stands beside it in lists. A model of states has none of its sizes but the widths.
    ///
    /// # Errors
    /// The sizes are none of a model.
    pub(crate) fn model(&self) -> Result<Model, InputError> {
        let (name, layers, width, heads) = match &self.parts {
            Parts::Attacc { model, .. } => (model.name, model.layers, model.hidden, model.heads),
            Parts::Pimba { model, .. } => (model.name, model.layers, model.hidden, model.hidden / 128),
        };
        let longest = u64::from(self.generation.prompt_tokens) + u64::from(self.generation.generated_tokens);
        let text = format!(
            "name = \"{name}\"\nlayers = {layers}\nwidth = {width}\nheads = {heads}\nvocab = 1\nmax_positions = {longest}\ndtype = \"f16\"\n"
        );
        let source = Source::from_text(name, text);
        Ok(Model::from(&source.parse::<GptFile>()?.resolve(&source, "model")?))
    }

    /// How the model is used.
    pub(crate) fn generation(&self) -> Generation {
        let g = self.generation;
        Generation {
            prompt_tokens: u64::from(g.prompt_tokens),
            generated_tokens: u64::from(g.generated_tokens),
            batch: u64::from(g.batch),
            ..Generation::default()
        }
    }

    /// What the system's simulator gives, as a report.
    ///
    /// # Errors
    /// The units' device cannot be used.
    pub(crate) fn run(&self, about: &About<'_>) -> Result<RunReport, InputError> {
        let (steps, parameters) = match &self.parts {
            Parts::Attacc { stacks, model } => (self.attacc(stacks.as_deref(), model)?, self.dense_parameters(model)),
            Parts::Pimba { design, model } => (self.pimba(*design, model)?, self.recurrent_parameters(model)),
        };
        Ok(self.report(about, steps, parameters))
    }

    fn attacc(&self, stacks: Option<&PimStacks>, model: &DenseModel) -> Result<Steps, InputError> {
        let (g, runs) = (self.generation, StackRuns::default());
        let at = match stacks {
            None => Attention::Gpu,
            Some(stacks) => Attention::Stacks(Stacks {
                stacks,
                limited: self.settings.power_limit,
                pipelined: self.settings.pipelined,
                feed_forward: self.settings.feed_forward,
                runs: &runs,
            }),
        };
        let mut steps = Steps::default();
        let batch = |new, keys| Batch { sequences: g.batch, new, keys, bytes: 2 };
        let prompt = prefill(&self.node, model, &batch(g.prompt_tokens, g.prompt_tokens), stacks.is_some());
        // There the transfer of the prompt's keys and values takes no time of the step.
        let prompt: Vec<Priced> = prompt.into_iter().filter(|p| p.operator.name != "comm_x2g").collect();
        self.layers(&mut steps, "prefill", g.prompt_tokens, model.layers, &prompt);
        for token in 1..g.generated_tokens {
            let keys = g.prompt_tokens + token;
            let layer = decode(&self.node, model, &batch(1, keys), &at)?;
            self.layers(&mut steps, "decode", keys, model.layers, &layer);
        }
        Ok(steps)
    }

    fn layers(&self, steps: &mut Steps, phase: &str, context: u32, layers: u32, layer: &[Priced]) {
        let n = f64::from(layers);
        let mut step = StepReport { phase: phase.into(), context_tokens: u64::from(context), ..StepReport::default() };
        step.start_s = steps.steps.iter().map(|s| s.latency_s).sum();
        for priced in layer {
            let cost = priced.cost;
            let sum = Sum {
                count: u64::from(layers),
                seconds: cost.seconds * n,
                flops: flops_of(&priced.operator) * n * f64::from(self.node.gpus),
                memory_j: cost.memory_pj * n * 1e-12,
                other_j: (cost.on_chip_pj + cost.link_pj) * n * 1e-12,
            };
            step.latency_s += sum.seconds;
            step.energy_j += sum.memory_j + sum.other_j;
            let place = if priced.place == "GPU" { String::new() } else { format!(" ({})", priced.place) };
            steps.add(format!("{}{place}", priced.operator.name), sum);
        }
        steps.steps.push(step);
    }

    fn pimba(&self, design: Option<Design>, model: &RecurrentModel) -> Result<Steps, InputError> {
        let (g, runs) = (self.generation, UnitRuns::default());
        let (settings, reference) = (&self.settings, self.settings.reference);
        let system =
            PimbaSystem { node: &self.node, design, state_bytes: settings.state_bytes, reference, runs: &runs };
        let sums = system.generation(model, g.batch, (g.prompt_tokens, g.generated_tokens))?;
        // Operations of one token, the middle one: keys grow by one a token.
        let middle = model.token(&self.token(g.prompt_tokens + g.generated_tokens / 2, design.is_some()));
        let tokens = f64::from(g.generated_tokens - 1);
        let mut steps = Steps::default();
        let context_tokens = u64::from(g.prompt_tokens + g.generated_tokens - 1);
        let mut step = StepReport { phase: "decode".into(), context_tokens, ..StepReport::default() };
        for sum in sums {
            let own = middle.iter().filter(|o| (o.category, o.operator.name) == (sum.category, sum.name));
            let flops: f64 = own.map(|o| flops_of(&o.operator) * f64::from(o.layers)).sum();
            let sum_of = Sum {
                count: u64::from(g.generated_tokens - 1),
                seconds: sum.seconds,
                flops: flops * tokens * f64::from(self.node.gpus),
                memory_j: sum.memory_pj * 1e-12,
                other_j: sum.other_pj * 1e-12,
            };
            step.latency_s += sum_of.seconds;
            step.energy_j += sum_of.memory_j + sum_of.other_j;
            steps.add(sum.name.to_owned(), sum_of);
        }
        steps.steps.push(step);
        Ok(steps)
    }

    fn token(&self, keys: u32, units: bool) -> Token {
        let state_bytes = self.settings.state_bytes;
        Token { sequences: self.generation.batch, gpus: self.node.gpus, keys, state_bytes, units }
    }

    fn dense_parameters(&self, model: &DenseModel) -> f64 {
        let layer = model.layer(&Batch { sequences: 1, new: 1, keys: 1, bytes: 2 }, self.node.gpus, false);
        let weights = layer.iter().filter(|o| o.kind == Kind::Compute(Work::Weights));
        weights.map(|o| o.sizes.n * o.sizes.k).sum::<f64>() * f64::from(model.layers) * f64::from(self.node.gpus)
    }

    fn recurrent_parameters(&self, model: &RecurrentModel) -> f64 {
        let token = model.token(&Token { sequences: 1, ..self.token(1, false) });
        let weights = token.iter().filter(|o| o.operator.kind == Kind::Compute(Work::Weights));
        let of = |o: &banksia_mappers::pim_systems::recurrent::LayerOperator| {
            o.operator.sizes.n * o.operator.sizes.k * f64::from(o.layers)
        };
        weights.map(of).sum::<f64>() * f64::from(self.node.gpus)
    }

    fn report(&self, about: &About<'_>, of: Steps, parameters: f64) -> RunReport {
        let g = self.generation;
        let latency_s: f64 = of.operators.iter().map(|(_, s)| s.seconds).sum();
        let memory_j: f64 = of.operators.iter().map(|(_, s)| s.memory_j).sum();
        let other_j: f64 = of.operators.iter().map(|(_, s)| s.other_j).sum();
        let energy_j = memory_j + other_j;
        let parts: BTreeMap<String, f64> = [("memory".to_owned(), memory_j), ("all else".to_owned(), other_j)].into();
        let prefill: f64 = of.steps.iter().filter(|s| s.phase == "prefill").map(|s| s.latency_s).sum();
        let more = g.generated_tokens.saturating_sub(1);
        let tokens = u64::from(g.batch) * u64::from(if prefill > 0.0 { g.generated_tokens } else { more });
        let share = |s: f64| if latency_s > 0.0 { s / latency_s } else { 0.0 };
        let gpus = f64::from(self.node.gpus);
        let gpu = &self.node.gpu;
        let stacks = match &self.parts {
            Parts::Attacc { stacks: Some(s), .. } => f64::from(s.devices * s.stacks) * s.stack_gib,
            _ => 0.0,
        };
        RunReport {
            machine: MachineInfo {
                name: format!("{} x {}, by its own simulator", self.node.gpus, self.node.name),
                kind: "published".to_owned(),
                peak_flops_per_s: gpu.peak_tflop_per_s * 1e12 * gpus,
                peak_bandwidth_bytes_per_s: gpu.bandwidth_gb_per_s * 1e9 * gpus,
                capacity_bytes: ((gpu.memory_gib * gpus + stacks) * (1u64 << 30) as f64) as u64,
            },
            workload: WorkloadInfo {
                model: about.model.name.clone(),
                parameters: parameters as u64,
                weight_bytes: (parameters * 2.0) as u64,
                prompt_tokens: u64::from(g.prompt_tokens),
                generated_tokens: u64::from(g.generated_tokens),
                batch: u64::from(g.batch),
                flops: of.operators.iter().map(|(_, s)| s.flops).sum(),
            },
            latency_s,
            energy_j,
            power_w: if latency_s > 0.0 { energy_j / latency_s } else { 0.0 },
            tokens: Some(tokens),
            tokens_per_s: Some(if latency_s > 0.0 { tokens as f64 / latency_s } else { 0.0 }),
            ttft_s: (prefill > 0.0).then_some(prefill),
            tpot_s: (more > 0).then(|| (latency_s - prefill) / f64::from(more)),
            components: vec![ComponentReport {
                name: "node".into(),
                kind: "node".into(),
                busy_s: latency_s,
                utilization: share(latency_s),
                energy_parts_j: parts.clone(),
                ..ComponentReport::default()
            }],
            energy_parts_j: parts,
            operators: of.operators.iter().map(operator).collect(),
            steps: of.steps,
            ..about.report()
        }
    }
}

fn operator((name, sum): &(String, Sum)) -> OperatorReport {
    OperatorReport {
        name: name.clone(),
        count: sum.count,
        latency_s: sum.seconds,
        busy_s: sum.seconds,
        energy_j: sum.memory_j + sum.other_j,
        flops: sum.flops,
        ..OperatorReport::default()
    }
}
