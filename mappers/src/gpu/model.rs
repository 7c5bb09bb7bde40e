//! Decoder-only generation on one GPU: every operator of a step as launches of tile programs, one after another.
//!
//! Layers are alike, so their kernels are the same; what differs are the buffers that they work on. Weights and caches are a layer's
//! own, activations are memory that every layer uses anew, as a framework's allocator hands it out. What of them lies in L2 when a
//! kernel starts is the machine's to know.

mod bound;
mod choice;
mod choices;
mod emit;
mod fuse;
mod in_place;
mod lower;
mod part;
mod parts;
mod refusal;
mod state;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::{GpuError, GpuSpec, occupancy};
use banksia_hw::program::{Program, ProgramBuilder};
use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};
use banksia_workloads::model::Mixer;
use banksia_workloads::shard::Shard;
use banksia_workloads::{DataType, Generation, Model, Op, Phase, Place, Step};
use schemars::{JsonSchema, Schema, SchemaGenerator};

pub use choice::Choice;
pub(crate) use emit::{ChosenPart, Parts, alike, delivered, resident};
pub(crate) use state::launches;
pub use state::{AttentionKernels, GpuModel, GpuOptions};

use lower::Lowering;
use part::{Launches, Part};

use super::frameworks::Framework;
use super::launch::{self, Item, Launch};
use super::select::{self, Effort};
use crate::plan::{Bound, Footprint, Judges, LayoutReport, Mapper, Plan, Problem, Unsupported};
use crate::replay::{Claims, Group, OnGpu};
use crate::space::Knob;
use banksia_hw::gpu::estimate::Judge;

/// The strategy of this module.
#[derive(Debug, Clone, Copy)]
pub struct GpuMapper;

impl Mapper for GpuMapper {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn description(&self) -> &'static str {
        "decoder-only generation on one GPU: kernels launched one after another, tiles found by search"
    }

    fn page(&self) -> &'static str {
        include_str!("../../../docs/mapping-gpu.md")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["launch", "attention", "framework"]
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        GpuOptions::json_schema(generator)
    }

    fn space(&self, _: &Problem<'_>) -> Result<Vec<Knob>, InputError> {
        Ok(state::space())
    }

    fn accepts(&self, machine: &Machine) -> bool {
        machine.lone_gpu_spec().is_some()
    }

    fn plan(&self, problem: &Problem<'_>) -> Result<Box<dyn Plan>, InputError> {
        let options: GpuOptions = problem.options(self)?;
        let spec = problem
            .machine
            .lone_gpu_spec()
            .ok_or_else(|| problem.source.error("machine.base", "is not a GPU, to which alone the gpu mapping maps"))?;
        Ok(Box::new(GpuModel::new(problem.model.clone(), problem.generation, spec, options, problem.source)?))
    }
}

/// Most elements of an operator's result: its work items are held in memory.
const MOST_ELEMENTS: u64 = 1 << 35;
/// Most queries of all heads and sequences: likewise.
const MOST_QUERIES: u64 = 1 << 26;

impl GpuModel {
    /// Lowers a model. Errors about the workload and the mapping name keys of the experiment (`source`).
    ///
    /// # Errors
    /// The device cannot multiply the model's type, or the model with its cache and activations does not fit it.
    pub fn new(
        model: Model,
        generation: &Generation,
        spec: &Arc<GpuSpec>,
        options: GpuOptions,
        source: &Source,
    ) -> Result<Self, InputError> {
        let mut this = Self::unchecked(model, generation, spec, options, source)?;
        this.activations = this.check_sizes(source)?;
        this.check_fit(source)?;
        this.check_kernels(source)?;
        Ok(this)
    }

    /// As [`GpuModel::new`], whether or not the model with its cache fits the device: where the cache lies elsewhere.
    ///
    /// # Errors
    /// The device cannot multiply the model's type, or a kernel's size is beyond it or what can be simulated.
    pub(crate) fn beside_cache(
        model: Model,
        generation: &Generation,
        spec: &Arc<GpuSpec>,
        options: GpuOptions,
        source: &Source,
    ) -> Result<Self, InputError> {
        let mut this = Self::unchecked(model, generation, spec, options, source)?;
        this.activations = this.check_sizes(source)?;
        this.check_kernels(source)?;
        Ok(this)
    }

    /// What one rank has of a model that several share, whether or not it fits the device.
    ///
    /// # Errors
    /// The device cannot multiply the model's type, or a kernel's size is beyond it or what can be simulated.
    pub(crate) fn of_shard(
        shard: Shard,
        generation: &Generation,
        spec: &Arc<GpuSpec>,
        options: GpuOptions,
        source: &Source,
    ) -> Result<Self, InputError> {
        let mut this = Self::unchecked(shard.model().clone(), generation, spec, options, source)?;
        this.shard = Some(Arc::new(shard));
        this.activations = this.check_sizes(source)?;
        this.check_kernels(source)?;
        Ok(this)
    }

    /// Bytes of weights.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.shard.as_ref().map_or_else(|| self.model.weight_bytes(), |s| s.weight_bytes())
    }

    fn unchecked(
        model: Model,
        generation: &Generation,
        spec: &Arc<GpuSpec>,
        options: GpuOptions,
        source: &Source,
    ) -> Result<Self, InputError> {
        let dtype = match model.types.activations {
            DataType::Bf16 => Dtype::Bf16,
            DataType::F16 => Dtype::Fp16,
            other => {
                let problem =
                    format!("`{}` is of type {}: the gpu mapping runs 16-bit models", model.name, other.name());
                let help = "give a model with dtype = \"bf16\" or \"f16\"";
                return Err(source.error("workload.model", problem).help(help));
            }
        };
        if options.attention == AttentionKernels::Plain && options.framework != Framework::Torch {
            let problem = format!("is `{}`, which has fused kernels of attention only", options.framework);
            let help = "attention = \"plain\" is PyTorch's: leave framework out, or set attention = \"flash\"";
            return Err(source.error("mapping.framework", problem).help(help));
        }
        if options.attention == AttentionKernels::Plain
            && model.types.cache != model.types.activations
            && model.kv_bytes_per_token() > 0
        {
            let problem = format!(
                "is \"plain\": products of PyTorch read keys and values of the activations' type, and the cache of `{}` is of {}",
                model.name,
                model.types.cache.name()
            );
            let help = "set attention = \"flash\", or workload.types.cache to the type of activations";
            return Err(source.error("mapping.attention", problem).help(help));
        }
        if !spec.tensor.fma_per_cycle.contains_key(&dtype) {
            let known: Vec<&str> = spec.tensor.fma_per_cycle.keys().map(|d| d.name()).collect();
            let problem = format!("`{}` is of type {dtype}, which {} does not multiply", model.name, spec.name);
            let help =
                format!("its matrix units know {}: set workload.dtype, or give the model in another", known.join(", "));
            return Err(source.error("workload.model", problem).help(help));
        }
        Ok(Self {
            model,
            generation: generation.clone(),
            spec: Arc::clone(spec),
            options,
            dtype,
            chosen: HashMap::new(),
            kernels: HashMap::new(),
            activations: 0,
            shard: None,
        })
    }

    /// How the model is used.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The device.
    pub fn spec(&self) -> &GpuSpec {
        &self.spec
    }

    /// The type that the matrix units multiply.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The steps between which every size lies: the first and last part of the prompt, and the first and last decode step.
    fn extreme_steps(&self) -> impl Iterator<Item = Step> {
        let last = self.generation.steps_in_all().saturating_sub(1);
        let first_token = self.generation.step_of(1).min(last);
        let mut steps = vec![0, first_token, first_token.saturating_add(1).min(last), last];
        steps.dedup();
        steps.into_iter().filter_map(|i| self.generation.step(i))
    }

    /// Bytes of the keys and values of the longest context, and of recurrent states.
    pub(crate) fn kv_bytes(&self) -> u128 {
        let of = |(sequences, tokens): (u64, u64)| {
            (self.model.kv_bytes(tokens) + self.model.state_bytes()) * u128::from(sequences)
        };
        self.generation.cached().into_iter().map(of).sum()
    }

    /// Experts of the model's mixtures, the most that a layer has.
    pub(super) fn experts(&self) -> u64 {
        let of = |mixer: &Mixer| match mixer {
            Mixer::Experts(e) => e.experts,
            _ => 0,
        };
        self.model.mixers().map(|(mixer, _)| of(mixer)).max().unwrap_or(0)
    }

    /// Bytes of activations at their most.
    pub(crate) fn activations(&self) -> u64 {
        self.activations
    }

    /// Bytes of activations at their most; refuses what is too large to simulate.
    fn check_sizes(&self, source: &Source) -> Result<u64, InputError> {
        let g = &self.generation;
        // Rows of keys are counted in 32 bits.
        let kv_heads = self.model.mixers().filter_map(|(mixer, _)| match mixer {
            Mixer::Attention(a) => Some(a.kv_heads),
            Mixer::LatentAttention(_) => Some(1),
            _ => None,
        });
        let kv_heads = kv_heads.max().unwrap_or(0);
        let rows = u128::from(g.batch) * u128::from(kv_heads) * u128::from(g.last_context().next_multiple_of(8));
        if rows > 1 << 31 {
            let problem = format!("gives {rows} rows of keys in a layer: more than can be simulated");
            let help = "use a smaller batch or a shorter context";
            return Err(source.error("workload.generation.batch", problem).help(help));
        }
        let mut activations = 0u128;
        for step in self.extreme_steps() {
            let fused = self.options.attention == AttentionKernels::Flash;
            let graph = self.graph(&step);
            for (node, _) in graph.operators() {
                let scores =
                    matches!(node.op.kind(), "attention_scores" | "softmax" | "score_cap" | "attention_values");
                let (i, o) = (node.activation_bytes_in(), node.activation_bytes_out());
                let heads = match node.op {
                    Op::AttentionScores { heads, .. } => heads,
                    _ => 1,
                };
                let queries = node.batch.saturating_mul(node.tokens).saturating_mul(heads);
                if queries > MOST_QUERIES || (o / 2 > MOST_ELEMENTS && !(scores && fused)) {
                    let problem = format!(
                        "makes `{}` of a step of {} tokens work on {queries} queries and {} elements: more than can be simulated",
                        node.label,
                        step.tokens(),
                        o / 2
                    );
                    let help = "use a smaller batch or a shorter prompt";
                    return Err(source.error("workload.generation.batch", problem).help(help));
                }
                if !(scores && fused) {
                    activations = activations.max(u128::from(i) + u128::from(o));
                }
            }
        }
        Ok(u64::try_from(activations).unwrap_or(u64::MAX))
    }

    /// Refuses what does not fit.
    fn check_fit(&self, source: &Source) -> Result<(), InputError> {
        let weights = u128::from(self.model.weight_bytes());
        let (kv, activations) = (self.kv_bytes(), u128::from(self.activations));
        let needs = weights + kv + activations;
        let has = u128::from(self.spec.dram.capacity_bytes);
        if needs <= has {
            return Ok(());
        }
        let gb = |bytes: u128| bytes as f64 / 1e9;
        let problem = format!(
            "`{}` takes {:.2} GB of weights, {:.2} GB of KV cache and {:.2} GB of activations; {} has {:.2} GB",
            self.model.name,
            gb(weights),
            gb(kv),
            gb(activations),
            self.spec.name,
            gb(has)
        );
        let key = if weights > has { "workload.model" } else { "workload.generation.batch" };
        Err(source.error(key, problem).help("use a smaller batch, a shorter context or a smaller model"))
    }

    /// Every kernel whose shape is not searched for must fit an SM; of the others one must.
    fn check_kernels(&self, source: &Source) -> Result<(), InputError> {
        for step in self.extreme_steps() {
            let lowering = self.lowering(step.phase);
            for part in self.parts(&step) {
                let problem = match lowering.launches(&part).map_err(|e| self.refusal(&e, &part, source))? {
                    Launches::Product(g, ..) => match select::any_fits(&self.spec, &g) {
                        true => continue,
                        false => "no kernel of the library fits an SM".to_owned(),
                    },
                    Launches::Items(items) => {
                        let unfit = items.iter().find_map(|item| match item {
                            Item::Kernel(l) => match (l.kernel.check(), occupancy(&self.spec, &l.kernel)) {
                                (Err(e), _) => Some(e.to_string()),
                                (_, Err(e)) => Some(e.to_string()),
                                _ => None,
                            },
                            Item::Product(g, ..) if !select::any_fits(&self.spec, g) => {
                                Some("no kernel of the library fits an SM".to_owned())
                            }
                            Item::Product(..) => None,
                        });
                        let Some(problem) = unfit else { continue };
                        problem
                    }
                };
                let attention = part.work.is_attention();
                let key = if attention { "mapping.attention" } else { "machine.base" };
                let help = if attention {
                    "attention = \"plain\" has no limit on the size of a head"
                } else {
                    "give the machine's SMs more room"
                };
                let problem = format!("cannot run `{}`: {problem}", part.label);
                return Err(source.error(key, problem).help(help));
            }
        }
        Ok(())
    }

    fn lowering(&self, phase: Phase) -> Lowering<'_> {
        Lowering { model: self, phase }
    }

    /// The launches of a part of a step. Kernels are chosen once for all parts and steps that have the same work: those of a product
    /// by a judge.
    fn chosen(&mut self, phase: Phase, part: &Part, judge: &mut dyn Judge) -> Result<Arc<[Launch]>, Unsupported> {
        let key = part.key(phase);
        if let Some(known) = self.chosen.get(&key) {
            return Ok(Arc::clone(known));
        }
        let work = (phase, part.work.clone());
        let known = self.kernels.get(&work).cloned();
        let launches: Vec<Launch> = match (self.lowering(phase).launches(part)?, known) {
            (Launches::Items(items), known) => {
                let mut launches = launch::resolve(items, judge).map_err(Unsupported::Kernel)?;
                // Equal work has the same kernels, so that equal launches are known by them.
                if let Some((kernels, _)) = known {
                    for (l, k) in launches.iter_mut().zip(kernels.iter()) {
                        l.kernel = Arc::clone(k);
                    }
                }
                launches
            }
            (Launches::Product(g, found, names), known) => {
                let (kernels, swapped) = match known {
                    Some(known) => known,
                    None => {
                        let (plan, _) =
                            select::gemm(judge, &g, found, Effort::DEFAULT.finalists).map_err(Unsupported::Kernel)?;
                        (plan.steps.into_iter().map(|(k, _)| Arc::new(k)).collect(), plan.swapped)
                    }
                };
                let launches = launch::launches_of_product(&kernels, swapped, &names);
                self.kernels.insert(work.clone(), (kernels, swapped));
                launches
            }
        };
        self.kernels.entry(work).or_insert_with(|| (launches.iter().map(|l| Arc::clone(&l.kernel)).collect(), false));
        let launches: Arc<[Launch]> = launches.into();
        self.chosen.insert(key, Arc::clone(&launches));
        Ok(launches)
    }

    /// The program of a step, on a device of the machine.
    ///
    /// # Errors
    /// An operator is not known, or the device runs none of a product's kernels.
    pub fn program(&mut self, step: &Step, device: u32, judge: &mut dyn Judge) -> Result<Program, Unsupported> {
        let phase = if step.phase == Phase::Prefill { "prefill" } else { "decode" };
        let mut builder = ProgramBuilder::new(phase, step.context());
        builder.launch(self.options.launch, self.options.framework.is_python());
        builder.on(device);
        let parts = self.chosen_parts(step, Parts::All, judge)?;
        let mut last = None;
        for region in parts.chunk_by(|a, b| a.layers().0 == b.layers().0) {
            let Some(first) = region.first() else { continue };
            let (_, first_layer, repeat) = first.layers();
            for layer in first_layer..first_layer.saturating_add(repeat) {
                let layer = matches!(first.place(), Place::Layers | Place::Encoder).then_some(layer);
                for part in region {
                    last = part.emit(&mut builder, layer, "", last.as_slice()).or(last);
                }
            }
        }
        Ok(builder.finish())
    }

    /// Contexts grow: what is known of those that a step does not have does not come again.
    fn forget_contexts(&mut self, phase: Phase, parts: &[Part]) {
        let here: HashSet<Option<u64>> = parts.iter().map(|p| p.work.context()).chain([None]).collect();
        self.chosen.retain(|(p, work, ..), _| *p != phase || here.contains(&work.context()));
        self.kernels.retain(|(p, work), _| *p != phase || here.contains(&work.context()));
    }

    fn step_of(&self, index: u64) -> Result<Step, Unsupported> {
        self.generation.step(index).ok_or(Unsupported::NoStep(index))
    }
}

/// A judge was promised for every GPU.
pub(crate) fn no_judge() -> Unsupported {
    Unsupported::Kernel(GpuError::TooLarge { kernel: "any".into(), problem: "has no device to run on".into() })
}

impl Plan for GpuModel {
    fn boxed(&self) -> Box<dyn Plan> {
        Box::new(self.clone())
    }

    fn generation(&self) -> &Generation {
        &self.generation
    }

    fn programs(&self) -> u64 {
        self.generation.steps_in_all()
    }

    fn program_of(&self, token: u64) -> u64 {
        self.generation.step_of(token)
    }

    fn lower(&mut self, index: u64, judges: &mut dyn Judges) -> Result<Program, Unsupported> {
        let step = self.step_of(index)?;
        let mut judge = judges.of(0).ok_or_else(no_judge)?;
        self.program(&step, 0, &mut *judge)
    }

    fn claims(&mut self, index: u64, judges: &mut dyn Judges) -> Result<Option<Claims>, Unsupported> {
        let step = self.step_of(index)?;
        let mut judge = judges.of(0).ok_or_else(no_judge)?;
        let parts = self.chosen_parts(&step, Parts::All, &mut *judge)?;
        let kernels = Group { name: "kernels".into(), any_on: Some(0), required: true, ..Group::default() };
        let Footprint { weights, kv, activations } = self.footprint();
        let gpu = OnGpu {
            device: 0,
            name: self.spec.name.clone(),
            resident: resident(&parts, ""),
            delivered: Vec::new(),
            alike: alike(&parts, ""),
            footprint_bytes: weights.saturating_add(kv).saturating_add(activations),
            capacity_bytes: self.spec.dram.capacity_bytes,
        };
        Ok(Some(Claims { groups: vec![kernels], gpus: vec![gpu], ..Claims::default() }))
    }

    fn layout(&mut self, token: u64, judges: &mut dyn Judges) -> Result<LayoutReport, Unsupported> {
        let step = self.step_of(self.generation.step_of(token))?;
        let mut judge = judges.of(0).ok_or_else(no_judge)?;
        Ok(LayoutReport::Kernels(self.choices(&step, Parts::All, &mut *judge)?))
    }

    fn footprint(&self) -> Footprint {
        let kv = u64::try_from(self.kv_bytes()).unwrap_or(u64::MAX);
        Footprint { weights: self.model.weight_bytes(), kv, activations: self.activations }
    }

    fn bound(&self, index: u64) -> Bound {
        self.generation.step(index).map_or_else(Bound::default, |step| self.bound_of(&step))
    }
}
