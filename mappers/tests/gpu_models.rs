//! Every kind of layer, in every number format, as every framework launches it, on every kind of device: programs that run, or an error that says
//! what to do.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

use std::sync::Arc;

use banksia_hw::gpu::device;
use banksia_hw::outcome::Outcome;
use banksia_hw::program::{Program, Work};
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_input::{InputError, Source};
use banksia_mappers::gpu::GpuMapper;
use banksia_mappers::{Mapper, Plan, Problem};
use banksia_workloads::{Generation, Model, Run};

/// One layer of every kind of mixer.
const MIXERS: [&str; 22] = [
    r#"kind = "attention", heads = 8, kv_heads = 2, head_dim = 8, rotary_dim = 4, qkv_bias = true, window = 7"#,
    r#"kind = "attention", heads = 8, kv_heads = 1, head_dim = 8, value_dim = 16, alibi = true, out_bias = true, soft_cap = true"#,
    r#"kind = "attention", heads = 8, kv_heads = 8, head_dim = 8, output_gate = true, qk_norm = { norm = "rms_norm" }"#,
    r#"kind = "attention", heads = 8, kv_heads = 4, head_dim = 8, qk_norm = { norm = "layer_norm", whole = true }"#,
    r#"kind = "attention", heads = 8, kv_heads = 8, head_dim = 8, causal = false"#,
    r#"kind = "attention", heads = 4, kv_heads = 2, head_dim = 128, rotary_dim = 128, sinks = true"#,
    r#"kind = "latent_attention", heads = 4, query_rank = 24, kv_rank = 32, nope_dim = 16, rope_dim = 8, value_dim = 16"#,
    r#"kind = "latent_attention", heads = 4, kv_rank = 32, nope_dim = 16, rope_dim = 8, value_dim = 16, indexer = { heads = 2, head_dim = 8, top_k = 4 }"#,
    r#"kind = "feed_forward", inner = 96, gated = true, bias = true"#,
    r#"kind = "feed_forward", inner = 96, activation = "relu2""#,
    r#"kind = "experts", experts = 8, top_k = 2, inner = 96, activation = "silu", shared_inner = 32, shared_gate = true"#,
    r#"kind = "experts", experts = 4, top_k = 1, inner = 96, activation = "relu2", gated = false, bias = true, router_bias = true, latent_width = 16"#,
    r#"kind = "mamba", inner = 128, state = 16, conv_kernel = 4, dt_rank = 4, inner_norms = true"#,
    r#"kind = "mamba2", heads = 4, head_dim = 32, state = 16, groups = 2, conv_kernel = 4"#,
    r#"kind = "linear_attention", rule = "vector_gate", key_heads = 4, value_heads = 4, key_dim = 8, value_dim = 16, gate_rank = 16"#,
    r#"kind = "linear_attention", rule = "gated_delta", key_heads = 2, value_heads = 4, key_dim = 8, value_dim = 8, conv_kernel = 4"#,
    r#"kind = "linear_attention", rule = "retention", key_heads = 2, value_heads = 2, key_dim = 8, value_dim = 8, rotary = true"#,
    r#"kind = "rwkv", version = 4, inner = 64, channel_mix = 96"#,
    r#"kind = "rwkv", version = 7, inner = 64, head_dim = 16, low_rank = 16, channel_mix = 96"#,
    r#"kind = "diagonal", inner = 64, blocks = 4, conv_kernel = 4, bias = true"#,
    r#"kind = "short_convolution", inner = 64, conv_kernel = 3"#,
    r#"kind = "attention", heads = 8, kv_heads = 8, head_dim = 256"#,
];

const PLAIN: &str = r#"weights = { dtype = "bf16" }, activations = "bf16", cache = "bf16""#;
const HALF: &str = r#"weights = { dtype = "f16" }, activations = "f16", cache = "f16""#;

/// Number formats, and whether kernels for them are known.
const FORMATS: [(&str, bool); 18] = [
    (HALF, true),
    (r#"weights = { dtype = "fp8" }, operands = "fp8", activations = "bf16", cache = "fp8""#, true),
    (
        r#"weights = { dtype = "fp8", group = 128, group_rows = 128, scale = "f32" }, operands = "fp8", activations = "bf16", cache = "bf16""#,
        true,
    ),
    (r#"weights = { dtype = "fp8" }, activations = "bf16", cache = "int8""#, true),
    (r#"weights = { dtype = "int8" }, operands = "int8", activations = "bf16", cache = "bf16""#, false),
    (r#"weights = { dtype = "int8" }, activations = "bf16", cache = "bf16""#, false),
    (
        r#"weights = { dtype = "int8", outliers_per_10000 = 50 }, operands = "int8", activations = "bf16", cache = "bf16""#,
        false,
    ),
    (
        r#"weights = { dtype = "int4", group = 32, scale = "f16", zero_points = true }, activations = "bf16", cache = "bf16""#,
        true,
    ),
    (r#"weights = { dtype = "int4" }, activations = "bf16", cache = "bf16""#, true),
    (r#"weights = { dtype = "nf4", group = 64, scale = "f32" }, activations = "bf16", cache = "bf16""#, true),
    (r#"weights = { dtype = "fp4", group = 32, scale = "e8m0" }, activations = "bf16", cache = "bf16""#, true),
    (
        r#"weights = { dtype = "fp4", group = 16, scale = "fp8" }, operands = "fp4", activations = "bf16", cache = "bf16""#,
        true,
    ),
    (r#"weights = { dtype = "bf16", kept = 2, of = 4 }, activations = "bf16", cache = "bf16""#, false),
    (r#"weights = { dtype = "bf16", kept = 1, of = 4 }, activations = "bf16", cache = "bf16""#, false),
    (r#"weights = { dtype = "bf16", adapter_rank = 16 }, activations = "bf16", cache = "bf16""#, true),
    (
        r#"weights = { dtype = "int4", group = 32, scale = "f16", adapter_rank = 16 }, activations = "bf16", cache = "bf16""#,
        true,
    ),
    (r#"weights = { dtype = "bf16", low_rank = 16 }, activations = "bf16", cache = "bf16""#, true),
    (r#"weights = { dtype = "f32" }, activations = "bf16", cache = "bf16""#, false),
];

const FRAMEWORKS: [&str; 5] = ["torch", "compiled", "vllm", "sglang", "trtllm"];

fn of_branches(types: &str, stages: &[&str]) -> Model {
    let stages: String =
        stages.iter().map(|s| format!("[[blocks.stages]]\nnorm = \"rms_norm\"\nbranches = [{s}]\n")).collect();
    let text = format!(
        r#"
name = "one"
width = 64
max_positions = 1048576
types = {{ {types} }}
embed = {{ vocab = 100 }}
head = {{ norm = "rms_norm", vocab = 100 }}
pattern = [{{ block = "b", layers = 3 }}]
[[blocks]]
name = "b"
{stages}"#
    );
    Model::from_toml("model.toml", &text).unwrap_or_else(|e| panic!("{e}"))
}

fn of_mixer(mixer: &str, types: &str) -> Model {
    of_branches(types, &[&format!("{{ mixer = {{ {mixer} }} }}")])
}

fn generations() -> Vec<Generation> {
    let of = |context_tokens, prompt_tokens, batch| Generation {
        context_tokens,
        prompt_tokens,
        batch,
        generated_tokens: 2,
        ..Generation::default()
    };
    let runs = vec![
        Run { sequences: 3, new: 1, past: 17 },
        Run { sequences: 1, new: 33, past: 5 },
        Run { sequences: 2, new: 4, past: 40 },
    ];
    vec![
        of(0, 20, 2),
        of(0, 1, 1),
        of(0, 3, 64),
        of(131_072, 0, 1),
        Generation { chunk_tokens: 16, ..of(0, 50, 1) },
        Generation { draft_tokens: 3, accepted_per_1000: 4000, generated_tokens: 5, ..of(9, 5, 2) },
        Generation { runs, prompt_tokens: 33, batch: 6, ..Generation::default() },
    ]
}

struct Case {
    machine: Machine,
    plan: Box<dyn Plan>,
}

impl Case {
    fn new(model: &Model, generation: &Generation, device_name: &str, mapping: &str) -> Result<Self, InputError> {
        let machine = Machine::of_gpu(&device(device_name).unwrap());
        let source = Source::from_text("case.toml", format!("[mapping]\n{mapping}\n"));
        let problem = Problem { model, generation, machine: &machine, source: &source };
        let plan = GpuMapper.plan(&problem)?;
        Ok(Self { machine, plan })
    }

    fn of(model: &Model, generation: &Generation, device_name: &str, framework: &str) -> Result<Self, InputError> {
        Self::new(model, generation, device_name, &format!("framework = \"{framework}\""))
    }

    /// The program of a step.
    fn program(&mut self, index: u64) -> Program {
        let mut system = System::new(&self.machine, RunOptions::default());
        self.plan.lower(index, &mut system).unwrap_or_else(|e| panic!("step {index}: {e}"))
    }

    /// Runs all steps; none may end sooner than its bound.
    fn run(&mut self, options: RunOptions) -> Outcome {
        let mut system = System::new(&self.machine, options);
        let bounds: Vec<f64> = (0..self.plan.programs()).map(|i| self.plan.bound(i).seconds()).collect();
        for index in 0..self.plan.programs() {
            let program = self.plan.lower(index, &mut system).unwrap_or_else(|e| panic!("step {index}: {e}"));
            program.validate().unwrap_or_else(|e| panic!("step {index}: {e}"));
            system.run(&Arc::new(program)).unwrap_or_else(|e| panic!("step {index}: {e}"));
        }
        let outcome = system.finish();
        for (step, bound) in outcome.steps.iter().zip(bounds) {
            let took = step.latency.as_secs_f64();
            assert!(took >= bound, "{}: {took} s is less than the bound of {bound} s", step.phase);
        }
        outcome
    }
}

/// The launches of an operator of a program: the kernel's name, and of its tensors the buffers' names and the sizes.
fn launches(program: &Program, operator: &str) -> Vec<(String, Vec<(String, u64)>)> {
    let mut out = Vec::new();
    for instruction in &program.instructions {
        let Work::Kernel { kernel, operands } = instruction.work else { continue };
        if program.operators[instruction.operator as usize].name != operator {
            continue;
        }
        let kernel = &program.kernels[kernel as usize];
        let buffers = &program.operands[operands as usize..operands as usize + kernel.tensors.len()];
        let names = buffers.iter().map(|b| program.buffers[*b as usize].name.clone());
        out.push((
            kernel.name.clone(),
            names.zip(kernel.tensors.iter().map(banksia_hw::gpu::program::Tensor::bytes)).collect(),
        ));
    }
    out
}

/// Whatever enters, each kind of layer runs, and no sooner than its arithmetic and its bytes take.
#[test]
fn every_mixer_runs_whatever_enters() {
    for (i, mixer) in MIXERS.iter().enumerate() {
        let model = of_mixer(mixer, PLAIN);
        for (j, generation) in generations().iter().enumerate() {
            let framework = FRAMEWORKS[(i + j) % FRAMEWORKS.len()];
            let mut case = Case::of(&model, generation, "h200", framework)
                .unwrap_or_else(|e| panic!("{mixer} {framework} {j}: {e}"));
            let outcome = case.run(RunOptions::default());
            assert!(outcome.latency.as_secs_f64() > 0.0, "{mixer}");
        }
    }
}

/// Every format runs, or is refused with a remedy; those of which kernels are known run.
#[test]
fn every_format_runs_or_is_refused_with_a_remedy() {
    let generation = &generations()[0];
    for (i, (types, known)) in FORMATS.iter().enumerate() {
        for (j, mixer) in [0usize, 6, 8, 10, 11, 13, 15].into_iter().enumerate() {
            let model = of_mixer(MIXERS[mixer], types);
            let framework = FRAMEWORKS[(i + j) % FRAMEWORKS.len()];
            match Case::of(&model, generation, "h200", framework) {
                Ok(mut case) => {
                    case.run(RunOptions::default());
                }
                Err(e) => {
                    assert!(!known, "{types} {framework}: {e}");
                    assert!(e.help.as_ref().is_some_and(|h| h.contains("fp8")), "{e}");
                    assert!(e.to_string().contains("cannot run the operator"), "{e}");
                }
            }
        }
    }
}

/// Kernels are written in one type of 16 bits, and run in the other on devices that multiply that alone.
#[test]
fn half_precision_runs_on_devices_without_bfloat16() {
    for (i, mixer) in MIXERS.iter().enumerate() {
        let model = of_mixer(mixer, HALF);
        for (j, name) in ["v100", "t4"].into_iter().enumerate() {
            let framework = FRAMEWORKS[(i + j) % FRAMEWORKS.len()];
            match Case::of(&model, &generations()[0], name, framework) {
                Ok(mut case) => {
                    case.run(RunOptions::default());
                }
                // Not every framework has kernels that fit every device.
                Err(e) => assert!(e.help.is_some() && !e.to_string().contains("multiply bf16"), "{mixer} {name}: {e}"),
            }
        }
    }
}

/// Other devices: the same models, or an error with a remedy.
#[test]
fn every_device_runs_the_models_or_says_why_not() {
    for (i, name) in
        ["a100", "h100", "b200", "l40s", "rtx-4090", "rtx-pro-6000", "a10g", "a6000", "a40"].into_iter().enumerate()
    {
        for (j, mixer) in [0usize, 4, 6, 8, 10, 13, 15, 18].into_iter().enumerate() {
            let types = FORMATS[1].0;
            let model = of_mixer(MIXERS[mixer], if j % 2 == 0 { PLAIN } else { types });
            let framework = FRAMEWORKS[(i + j) % FRAMEWORKS.len()];
            match Case::of(&model, &generations()[5], name, framework) {
                Ok(mut case) => {
                    case.run(RunOptions::default());
                }
                Err(e) => assert!(e.help.is_some(), "{mixer} {name}: {e}"),
            }
        }
    }
}

/// Tokens, a chunk of a prompt and drafts are one call of attention, which reads the keys of all; TensorRT-LLM's prompts are apart.
#[test]
fn runs_of_different_lengths_are_one_call() {
    let model = of_mixer(r#"kind = "attention", heads = 8, kv_heads = 2, head_dim = 128"#, PLAIN);
    for (framework, calls) in [("torch", 1), ("vllm", 1), ("sglang", 1), ("trtllm", 2), ("compiled", 3)] {
        let program = Case::of(&model, &generations()[6], "h200", framework).unwrap().program(0);
        let over_cache: Vec<_> =
            launches(&program, "attention").into_iter().filter(|(_, buffers)| buffers.len() > 3).collect();
        assert_eq!(over_cache.len(), 3 * calls, "{framework}: {over_cache:?}");
        // 3 x 18, 38 and 2 x 44 keys of two heads of 128 elements.
        let layer: u64 = over_cache.iter().take(calls).map(|(_, buffers)| buffers[1].1).sum();
        assert!(layer >= (54 + 38 + 88) * 2 * 256, "{framework}: {layer}");
    }
}

/// Two attentions of a block do the same work on weights and caches of their own.
#[test]
fn equal_operators_of_a_block_have_memory_of_their_own() {
    let one = r#"{ mixer = { kind = "attention", heads = 8, kv_heads = 8, head_dim = 8 } }"#;
    let model = of_branches(PLAIN, &[one, one]);
    let generation = Generation { context_tokens: 40, prompt_tokens: 0, ..Generation::default() };
    for framework in FRAMEWORKS {
        let program = Case::of(&model, &generation, "h200", framework).unwrap().program(0);
        for operator in ["attention", "attention output projection"] {
            let mut own: Vec<String> = launches(&program, operator)
                .into_iter()
                .flat_map(|(_, buffers)| buffers.into_iter().map(|b| b.0))
                .filter(|name| name.starts_with("layer1.") && (name.contains("cache") || name.ends_with("weight")))
                .collect();
            own.sort();
            own.dedup();
            assert_eq!(own.len(), 2, "{framework} {operator}: {own:?}");
        }
    }
}

/// A prompt of latent attention caches its latent vectors, not the keys and values that each head has of them.
#[test]
fn prompts_of_latent_attention_cache_latent_vectors() {
    let model = of_mixer(MIXERS[6], PLAIN);
    let generation = Generation { prompt_tokens: 100, ..Generation::default() };
    for framework in FRAMEWORKS {
        let program = Case::of(&model, &generation, "h200", framework).unwrap().program(0);
        let all = ["attention", "kv append"].map(|operator| launches(&program, operator)).concat();
        let cached: u64 = all
            .iter()
            .flat_map(|(_, b)| b)
            .filter(|(name, _)| name == "layer0.kv_cache")
            .map(|b| b.1)
            .max()
            .unwrap_or(0);
        // TensorRT-LLM writes the cache where it rotates, in one kernel.
        let of_cache = 100 * 40 * 2;
        assert!(cached <= of_cache * 2 && (framework == "trtllm" || cached >= of_cache), "{framework}: {cached}");
    }
}

/// New keys and values are written in the cache's type.
#[test]
fn caches_of_eight_bits_take_half_the_bytes() {
    for framework in ["torch", "compiled"] {
        let written = |types| {
            let generation = Generation { prompt_tokens: 64, ..Generation::default() };
            let mut case = Case::of(&of_mixer(MIXERS[3], types), &generation, "h200", framework).unwrap();
            let appends = launches(&case.program(0), "kv append");
            appends.iter().map(|(_, buffers)| buffers.last().unwrap().1).max().unwrap()
        };
        let (wide, narrow) =
            (written(PLAIN), written(r#"weights = { dtype = "bf16" }, activations = "bf16", cache = "fp8""#));
        assert_eq!(wide, 2 * narrow, "{framework}");
    }
}

/// What kernels would not do is refused, not priced as something else.
#[test]
fn caches_that_no_kernel_reads_are_refused() {
    let of = |cache: &str, mapping: &str| {
        let types = format!(r#"weights = {{ dtype = "bf16" }}, activations = "bf16", cache = "{cache}""#);
        let error = Case::new(&of_mixer(MIXERS[3], &types), &generations()[0], "h200", mapping).err().unwrap();
        format!("{error} {}", error.help.clone().unwrap_or_default())
    };
    let plain = of("fp8", "attention = \"plain\"");
    assert!(plain.contains("mapping.attention") && plain.contains("flash"), "{plain}");
    let four = of("int4", "framework = \"vllm\"");
    assert!(four.contains("attention") && four.contains("workload.types.cache"), "{four}");
}

/// Experts of PyTorch cost what their format does: they are converted, or multiplied in eight bits.
#[test]
fn experts_of_pytorch_are_in_their_format() {
    let kernels = |types, framework| {
        let mut case = Case::of(&of_mixer(MIXERS[10], types), &generations()[0], "h200", framework).unwrap();
        let names = launches(&case.program(0), "experts up projection").into_iter().map(|l| l.0);
        names.collect::<Vec<_>>().join(", ")
    };
    for framework in ["torch", "compiled"] {
        assert!(!kernels(PLAIN, framework).contains("conversion"));
        assert!(kernels(FORMATS[7].0, framework).contains("conversion of experts"), "{framework}");
        assert_ne!(kernels(FORMATS[1].0, framework), kernels(PLAIN, framework), "{framework}");
    }
}

/// Equal launches are repeated exactly, and nothing depends on what else runs at the time.
#[test]
fn repetition_and_threads_change_nothing() {
    let stages = [13, 0, 10].map(|i| format!("{{ mixer = {{ {} }} }}", MIXERS[i]));
    let model = of_branches(PLAIN, &[&stages[0], &stages[1], &stages[2]]);
    let run = |stepping| {
        let generation =
            Generation { chunk_tokens: 16, prompt_tokens: 40, generated_tokens: 3, ..Generation::default() };
        let mut case = Case::of(&model, &generation, "h200", "vllm").unwrap();
        let outcome = case.run(RunOptions { stepping, ..RunOptions::default() });
        format!("{:?} {:?} {:?} {:?}", outcome.latency, outcome.steps, outcome.operators, outcome.counts)
    };
    let alone = run(false);
    assert_eq!(alone, run(true));
    let beside: Vec<String> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..2).map(|_| s.spawn(|| run(false))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(beside.iter().all(|b| *b == alone));
}
