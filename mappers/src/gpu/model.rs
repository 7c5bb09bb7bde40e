//! Decoder-only generation on one GPU: every operator of a step as launches of tile programs, one after another.
//!
//! Weights and the cache of keys and values come from device memory, activations are found in L2 as far as they fit. Layers
//! are alike, so one is simulated and counted as often as there are layers; what does not depend on the context is
//! simulated once for all decode steps. Both are exact: a launch's result depends on its program and on what its L2 holds
//! at the start, which are equal.

mod lower;
mod run;

use banksia_hw::gpu::program::Dtype;
use banksia_hw::gpu::{GpuError, GpuSpec, occupancy};
use banksia_input::{InputError, Source};
use banksia_workloads::{DataType, Generation, GptConfig, Phase, Step};
use serde::{Deserialize, Serialize};

pub use run::{Choice, GpuRun, GpuRunOptions};

use lower::{Launches, Lowering};

/// How kernels are launched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LaunchMode {
    /// As a CUDA graph: the next kernel starts as soon as the device can.
    #[default]
    Graph,
    /// One by one from the host: none starts sooner after the one before than the host's interval.
    Eager,
}

/// Which kernels compute attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionKernels {
    /// One fused kernel: FlashAttention-3 in prefill where the device has `wgmma`, else -2; split-KV in decode.
    #[default]
    Flash,
    /// Batched product, softmax, batched product. Keys lie in caches of a multiple of eight tokens, so that rows are aligned.
    Plain,
}

/// The options of the mapping, as the table `[mapping]` writes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GpuOptions {
    /// Default `graph`.
    #[serde(default)]
    pub launch: LaunchMode,
    /// Default `flash`.
    #[serde(default)]
    pub attention: AttentionKernels,
}

/// A model on a GPU, ready to run.
#[derive(Debug, Clone)]
pub struct GpuModel {
    model: GptConfig,
    generation: Generation,
    spec: GpuSpec,
    options: GpuOptions,
    dtype: Dtype,
}

/// Most elements of an operator's result: its work items are held in memory.
const MOST_ELEMENTS: u64 = 1 << 32;
/// Most queries of all heads and sequences: likewise.
const MOST_QUERIES: u64 = 1 << 24;

impl GpuModel {
    /// Lowers a model. Errors about the workload and the mapping name keys of the experiment (`source`).
    ///
    /// # Errors
    /// The device cannot multiply the model's type, or the model with its cache and activations does not fit it.
    pub fn new(
        model: GptConfig,
        generation: &Generation,
        spec: GpuSpec,
        options: GpuOptions,
        source: &Source,
    ) -> Result<Self, InputError> {
        let dtype = match model.dtype {
            DataType::Bf16 => Dtype::Bf16,
            DataType::F16 => Dtype::Fp16,
            other => {
                let problem =
                    format!("`{}` is of type {}: the gpu mapping runs 16-bit models", model.name, other.name());
                let help = "give a model with dtype = \"bf16\" or \"f16\"";
                return Err(source.error("workload.model", problem).help(help));
            }
        };
        if !spec.tensor.fma_per_cycle.contains_key(&dtype) {
            let known: Vec<&str> = spec.tensor.fma_per_cycle.keys().map(|d| d.name()).collect();
            let problem = format!("`{}` is of type {dtype}, which {} does not multiply", model.name, spec.name);
            let help = format!("its matrix units know {}: give the model as a file of another dtype", known.join(", "));
            return Err(source.error("workload.model", problem).help(help));
        }
        let this = Self { model, generation: generation.clone(), spec, options, dtype };
        this.check_fit(source)?;
        this.check_kernels(source)?;
        Ok(this)
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

    /// The options.
    pub fn options(&self) -> GpuOptions {
        self.options
    }

    /// The steps between which every size lies: the prompt, and the first and last decode step.
    fn extreme_steps(&self) -> impl Iterator<Item = Step> {
        let last = self.generation.generated_tokens.saturating_sub(1);
        [0, 1, last].into_iter().filter_map(|i| self.generation.step(i))
    }

    fn check_fit(&self, source: &Source) -> Result<(), InputError> {
        let g = &self.generation;
        let kv = u128::from(self.model.kv_bytes_per_token()) * u128::from(g.last_context()) * u128::from(g.batch);
        // Rows of keys are counted in 32 bits.
        let rows =
            u128::from(g.batch) * u128::from(self.model.kv_heads) * u128::from(g.last_context().next_multiple_of(8));
        if rows > 1 << 31 {
            let problem = format!("gives {rows} rows of keys in a layer: more than can be simulated");
            let help = "use a smaller batch or a shorter context";
            return Err(source.error("workload.generation.batch", problem).help(help));
        }
        let mut activations = 0u128;
        for step in self.extreme_steps() {
            let fused = self.options.attention == AttentionKernels::Flash;
            for node in self.model.distinct_operators(&step, g) {
                let scores = matches!(node.op.kind(), "attention_scores" | "softmax" | "attention_values");
                let (i, o) = (node.activation_bytes_in(), node.activation_bytes_out());
                let queries = node.batch.saturating_mul(node.tokens).saturating_mul(self.model.heads);
                if queries > MOST_QUERIES || (o / 2 > MOST_ELEMENTS && !(scores && fused)) {
                    let problem = format!(
                        "makes `{}` of a step of {} tokens work on {queries} queries and {} elements: more than can be simulated",
                        node.label,
                        step.tokens,
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
        let weights = u128::from(self.model.weight_bytes());
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

    /// Every kernel whose shape is not searched for must fit an SM.
    fn check_kernels(&self, source: &Source) -> Result<(), InputError> {
        for step in self.extreme_steps() {
            let lowering = Lowering { model: self, phase: step.phase, dirty: 0.0 };
            for part in lowering.parts(&step) {
                let Launches::Kernels(kernels) = lowering.launches(&part.work) else { continue };
                for (kernel, _) in &kernels {
                    let problem = match (kernel.check(), occupancy(&self.spec, kernel)) {
                        (Err(e), _) => e.to_string(),
                        (_, Err(e)) => e.to_string(),
                        _ => continue,
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
        }
        Ok(())
    }

    /// The kernels that each operator of a step is launched as.
    ///
    /// # Errors
    /// The machine cannot run one of them.
    pub fn choices(&self, step: &Step) -> Result<Vec<Choice>, GpuError> {
        run::choices(self, step)
    }

    /// Runs the whole generation. `progress` is called with the steps done so far.
    ///
    /// # Errors
    /// The machine cannot run one of the kernels.
    pub fn run(&self, options: &GpuRunOptions, progress: &mut dyn FnMut(u64)) -> Result<GpuRun, GpuError> {
        run::run(self, options, progress)
    }

    /// Share of L2's lines that are dirty while a phase runs: what its first step writes of what it reads and writes.
    fn dirty(&self, phase: Phase) -> f64 {
        // The first two steps have every phase that there is.
        let Some(step) = self.generation.steps().take(2).find(|s| s.phase == phase) else { return 0.0 };
        let (mut read, mut written) = (0.0, 0.0);
        for node in self.model.distinct_operators(&step, &self.generation).iter().filter(|n| n.layer.is_some()) {
            read += node.weight_bytes_read() as f64 + node.kv_bytes_read() as f64;
            written += node.activation_bytes_out() as f64 + node.kv_bytes_written() as f64;
        }
        super::select::dirty_share(read, written)
    }
}
