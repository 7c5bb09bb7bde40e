//! Models of today on PIM machines: mixtures read the experts that tokens are routed to, query heads share keys, windows and latent vectors
//! shrink what is read, states pass through the vector unit and come back.

#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(clippy::float_cmp)] // equal runs are equal to the bit

use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_hw::outcome::Outcome;
use banksia_hw::system::RunOptions;
use banksia_input::{InputError, Source};
use banksia_mappers::LayoutReport;
use banksia_mappers::pim_gpt::MappingSummary;
use banksia_reports::RunReport;
use banksia_workloads::{Op, Step};
use rayon::prelude::*;

const MACHINES: [&str; 4] = ["aim", "hbm-pim", "attacc", "pim-gpt"];

/// A mixer of every kind.
const ATTENTION: &str = r#"kind = "attention", heads = 8, kv_heads = 8, head_dim = 32, rotary_dim = 32"#;
const GROUPED: &str = r#"kind = "attention", heads = 8, kv_heads = 2, head_dim = 32, rotary_dim = 32"#;
const ONE_KEY_HEAD: &str =
    r#"kind = "attention", heads = 8, kv_heads = 1, head_dim = 32, value_dim = 64, soft_cap = true"#;
const WINDOW: &str = r#"kind = "attention", heads = 8, kv_heads = 2, head_dim = 32, rotary_dim = 32, window = 24"#;
const NORMS: &str = r#"kind = "attention", heads = 8, kv_heads = 4, head_dim = 32, output_gate = true, qk_norm = { norm = "rms_norm" }"#;
const LATENT: &str = r#"kind = "latent_attention", heads = 4, query_rank = 48, kv_rank = 64, nope_dim = 32, rope_dim = 16, value_dim = 32"#;
const DENSE: &str = r#"kind = "feed_forward", inner = 256, gated = true, bias = true"#;
const EXPERTS: &str = r#"kind = "experts", experts = 16, top_k = 2, inner = 256, activation = "silu", shared_inner = 64, shared_gate = true"#;
const MAMBA: &str = r#"kind = "mamba", inner = 256, state = 16, conv_kernel = 4, dt_rank = 8, inner_norms = true"#;
const MAMBA2: &str = r#"kind = "mamba2", heads = 8, head_dim = 64, state = 64, groups = 2, conv_kernel = 4"#;
const GATED: &str = r#"kind = "linear_attention", rule = "vector_gate", key_heads = 4, value_heads = 4, key_dim = 32, value_dim = 64, gate_rank = 16"#;
const DELTA: &str = r#"kind = "linear_attention", rule = "gated_delta", key_heads = 2, value_heads = 4, key_dim = 64, value_dim = 64, conv_kernel = 4"#;
const RWKV: &str = r#"kind = "rwkv", version = 7, inner = 128, head_dim = 32, low_rank = 16, channel_mix = 256"#;
const DIAGONAL: &str = r#"kind = "diagonal", inner = 128, blocks = 4, conv_kernel = 4, bias = true"#;
const SHORT: &str = r#"kind = "short_convolution", inner = 128, conv_kernel = 3"#;
const MIXERS: [&str; 15] = [
    ATTENTION,
    GROUPED,
    ONE_KEY_HEAD,
    WINDOW,
    NORMS,
    LATENT,
    DENSE,
    EXPERTS,
    MAMBA,
    MAMBA2,
    GATED,
    DELTA,
    RWKV,
    DIAGONAL,
    SHORT,
];

/// An experiment of layers of some mixers, one a layer, each as a block of its own, and of so many tokens.
fn of(machine: &str, mixers: &[&str], settings: &[&str]) -> Result<Experiment, InputError> {
    let block = |(i, m): (usize, &&str)| {
        format!(r#"{{ name = "b{i}", stages = [{{ norm = "rms_norm", branches = [{{ mixer = {{ {m} }} }}] }}] }}"#)
    };
    let blocks: Vec<String> = mixers.iter().enumerate().map(block).collect();
    let pattern: Vec<String> = (0..mixers.len()).map(|i| format!(r#"{{ block = "b{i}", layers = 1 }}"#)).collect();
    with_blocks(machine, &blocks.join(", "), &pattern.join(", "), settings)
}

fn with_blocks(machine: &str, blocks: &str, pattern: &str, settings: &[&str]) -> Result<Experiment, InputError> {
    let text = format!(
        r#"
name = "x"
[machine]
base = "{machine}"
[workload.generation]
prompt_tokens = 1
generated_tokens = 2
[workload.model]
name = "small"
width = 128
max_positions = 100000
types = {{ weights = {{ dtype = "bf16" }}, activations = "bf16", cache = "bf16" }}
embed = {{ vocab = 300 }}
head = {{ norm = "rms_norm", vocab = 300 }}
pattern = [{pattern}]
blocks = [{blocks}]
"#
    );
    let settings: Vec<&str> = ["machine.memory.refresh=false"].iter().chain(settings).copied().collect();
    Experiment::new(&Source::from_text("x.toml", text).with_settings(&settings)?, None)
}

/// The pass through the model at one context.
fn step(e: &Experiment, index: u64) -> (RunReport, Outcome) {
    let program = run::program(e, index).unwrap_or_else(|e| panic!("{e}"));
    run::run_program(e, std::path::Path::new("x"), program, RunOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn last(machine: &str, mixers: &[&str], settings: &[&str]) -> RunReport {
    step(&of(machine, mixers, settings).unwrap_or_else(|e| panic!("{machine} {mixers:?}: {e}")), 1).0
}

fn layout(e: &mut Experiment) -> MappingSummary {
    struct None;
    impl banksia_mappers::Judges for None {
        fn of(&mut self, _: usize) -> Option<Box<dyn banksia_hw::gpu::estimate::Judge + '_>> {
            Option::None
        }
    }
    match e.plan.layout(1, &mut None) {
        Ok(LayoutReport::Banks(summary)) => summary,
        _ => panic!("a layout of banks"),
    }
}

/// Every mixer on every machine: what it takes is no less than the bound, its products are the graph's, and it is the same every time.
#[test]
fn every_mixer_keeps_the_laws() {
    let all: Vec<(&str, &str)> = MACHINES.iter().flat_map(|m| MIXERS.iter().map(move |x| (*m, *x))).collect();
    all.par_iter().for_each(|(machine, mixer)| {
        let e = of(machine, &[mixer, DENSE], &["workload.generation.context_tokens=70"])
            .unwrap_or_else(|e| panic!("{machine} {mixer}: {e}"));
        for index in 0..e.plan.programs() {
            let (report, outcome) = step(&e, index);
            let bound = e.plan.bound(index);
            let least = bound.arithmetic_s.max(bound.memory_s);
            assert!(least > 0.0 && report.latency_s >= least, "{machine} {mixer}: {} < {least}", report.latency_s);
            let (again, _) = step(&e, index);
            assert_eq!((report.latency_s, &report.energy_j), (again.latency_s, &again.energy_j), "{machine} {mixer}");
            // Slots of the units: no fewer than the products of the graph.
            let graph = e.model.step_graph(&Step::decode(1, 71 + index), &e.generation);
            let macs: u64 = graph.operators().map(products).sum();
            assert!(outcome.count("mac_slots") >= macs, "{machine} {mixer}: {macs}");
            // Every operator of the graph is there.
            for node in graph.operators().filter(|n| n.flops() > 0) {
                let found = report.operators.iter().any(|o| o.name == node.label);
                assert!(found, "{machine} {mixer}: no `{}`", node.label);
            }
            let in_memory: f64 = report.operators.iter().map(|o| o.flops).sum();
            let graph_flops: u64 = graph.operators().map(banksia_workloads::OperatorNode::flops).sum();
            assert!(
                (in_memory / graph_flops as f64 - 1.0).abs() < 1e-9,
                "{machine} {mixer}: {in_memory} {graph_flops}"
            );
        }
    });
}

/// Multiply-accumulates of an operator that is a product.
fn products(node: &banksia_workloads::OperatorNode) -> u64 {
    match node.op {
        Op::Linear { in_features, out_features, .. } => in_features * out_features,
        Op::HeadLinear { .. } | Op::AttentionScores { .. } | Op::AttentionValues { .. } => node.flops() / 2,
        Op::ExpertLinear { in_features, out_features, .. } => {
            in_features * out_features * node.load.iter().sum::<u64>()
        }
        _ => 0,
    }
}

fn traffic(report: &RunReport, operator: &str, kinds: &[&str]) -> u64 {
    let of = report.operators.iter().find(|o| o.name == operator).unwrap_or_else(|| panic!("no {operator}"));
    kinds.iter().filter_map(|k| of.traffic_bytes.get(*k)).sum()
}

/// Only the experts that a token is routed to are read: time and reads follow `top_k`, not how many experts there are.
#[test]
fn a_mixture_reads_the_experts_that_are_chosen() {
    MACHINES.par_iter().for_each(|machine| {
        let run = |experts: u64, top_k: u64| {
            let mixer = EXPERTS
                .replace("experts = 16", &format!("experts = {experts}"))
                .replace("top_k = 2", &format!("top_k = {top_k}"));
            last(machine, &[&mixer], &[])
        };
        let read = |r: &RunReport| {
            ["experts up projection", "experts down projection"].map(|o| traffic(r, o, &["bank_internal"]))
        };
        let one = run(16, 1);
        let mut before = one.latency_s;
        for top_k in [2, 4, 8] {
            let more = run(16, top_k);
            assert_eq!(read(&more), read(&one).map(|bytes| bytes * top_k), "{machine} {top_k}");
            assert!(more.latency_s > before, "{machine}: {top_k} experts take {} s", more.latency_s);
            before = more.latency_s;
        }
        assert_eq!(read(&run(64, 4)), read(&run(16, 4)), "{machine}");
        let mut few = of(machine, &[EXPERTS], &[]).unwrap();
        let region = layout(&mut few).regions.into_iter().find(|r| r.name == "experts_up").unwrap();
        assert_eq!((region.count, region.bytes), (16, 16 * 512 * 128 * 2), "{machine}");
    });
}

/// Time stops growing where a window is full; without one it does not. Latent vectors and fewer key heads lie in fewer rows.
#[test]
fn caches_are_what_the_attention_keeps() {
    MACHINES.par_iter().for_each(|machine| {
        let at = |mixer: &str, context: u64| {
            last(machine, &[mixer], &[&format!("workload.generation.context_tokens={context}")])
        };
        let scores = |r: &RunReport| traffic(r, "attention scores", &["bank_internal"]);
        // The same row of the token table each time: the contexts differ by a multiple of the vocabulary.
        let [short, full, long] = [5, 100, 3700].map(|context| at(WINDOW, context));
        assert_eq!((full.latency_s, scores(&full)), (long.latency_s, scores(&long)), "{machine}");
        assert!(short.latency_s <= full.latency_s, "{machine}");
        let all = at(GROUPED, 3700);
        assert!(all.latency_s > 1.1 * long.latency_s && scores(&all) > scores(&long), "{machine}");
        let cache = |mixer: &str, context: u64| {
            let settings = [format!("workload.generation.context_tokens={context}")];
            let mut e = of(machine, &[mixer], &settings.each_ref().map(String::as_str)).unwrap();
            let of = |name: &str, regions: &[banksia_mappers::pim_gpt::RegionSummary]| {
                regions.iter().find(|r| r.name == name).map(|r| (r.shape, r.bytes, r.rows)).unwrap()
            };
            let regions = layout(&mut e).regions;
            (of("key cache", &regions), of("value cache", &regions))
        };
        assert_eq!(cache(WINDOW, 100), cache(WINDOW, 4000), "{machine}");
        let [all, grouped] = [ATTENTION, GROUPED].map(|m| cache(m, 4000).0);
        assert_eq!(all.1, 4 * grouped.1, "{machine}");
        // Latent vectors lie by token for scores, and by element for values.
        let (keys, values) = cache(LATENT, 100);
        assert_eq!((keys.0, values.0), ([102, 80], [102, 64]), "{machine}");
        let graph = of(machine, &[LATENT], &[]).unwrap();
        assert_eq!(graph.plan.footprint().kv, 2 * 80 * 2, "the model caches a latent vector once");
    });
}

/// A token reads its state and writes it, whatever the context.
#[test]
fn a_state_comes_and_goes_whole() {
    let all: Vec<(&str, &str, &str, u64)> = MACHINES
        .iter()
        .flat_map(|m| {
            [
                (*m, MAMBA2, "state space", 4 * 8 * 64 * 64),
                (*m, MAMBA, "selective scan", 4 * 256 * 16),
                (*m, GATED, "linear attention", 4 * 4 * 32 * 64),
                (*m, DELTA, "linear attention", 4 * 4 * 64 * 64),
                (*m, RWKV, "wkv", 4 * 128 * 32),
            ]
        })
        .collect();
    all.par_iter().for_each(|(machine, mixer, label, bytes)| {
        let mut e = of(machine, &[mixer], &["machine.memory.channels=2"]).unwrap();
        let region = layout(&mut e).regions.into_iter().find(|r| r.name.ends_with(" state") && r.bytes == *bytes);
        let region = region.unwrap_or_else(|| panic!("{machine}: no state of {bytes} bytes for {mixer}"));
        assert!(region.row_bytes >= *bytes && region.mac_utilization == 0.0);
        let run = step(&e, 1).0;
        let [read, written] = ["read", "write"].map(|way| traffic(&run, label, &[&format!("pins_{way}"), way]));
        assert_eq!((read, written), (*bytes, *bytes), "{machine} {mixer}: {:?}", run.operators);
        let later = last(machine, &[mixer], &["machine.memory.channels=2", "workload.generation.context_tokens=4800"]);
        assert_eq!(later.latency_s, run.latency_s, "{machine} {mixer}");
    });
}

/// Layers of different kinds together: a hybrid takes about what its layers take, and grows with the attention in it alone.
#[test]
fn a_hybrid_is_its_layers() {
    MACHINES.par_iter().for_each(|machine| {
        let settings = ["workload.generation.context_tokens=300"];
        let whole = last(machine, &[MAMBA2, MAMBA2, GROUPED, EXPERTS], &settings).latency_s;
        let parts: f64 = [&[MAMBA2][..], &[MAMBA2], &[GROUPED], &[EXPERTS]]
            .iter()
            .map(|m| last(machine, m, &settings).latency_s)
            .sum();
        // Each of the four by itself has an embedding and a vocabulary.
        assert!(whole < parts && whole > parts / 4.0, "{machine}: {whole} {parts}");
        let batched = last(machine, &[MAMBA2, GROUPED, EXPERTS], &settings).latency_s;
        if *machine != "pim-gpt" {
            let more = [settings[0], "workload.generation.batch=3"];
            let three = last(machine, &[MAMBA2, GROUPED, EXPERTS], &more).latency_s;
            assert!(three > 1.5 * batched && three < 4.0 * batched, "{machine}: {three} {batched}");
        }
    });
}

/// Logits are capped, and the largest found, without being held all at once.
#[test]
fn capped_logits_need_no_room_of_their_own() {
    MACHINES.par_iter().for_each(|machine| {
        let head = |capped: bool| {
            let head = format!("workload.model.head={{ norm = \"rms_norm\", vocab = 200000, soft_cap = {capped} }}");
            last(machine, &[DENSE], &["workload.model.embed={ vocab = 200000 }", &head])
        };
        let (plain, capped) = (head(false), head(true));
        assert!(capped.latency_s > plain.latency_s, "{machine}: {} {}", capped.latency_s, plain.latency_s);
        assert!(capped.operators.iter().any(|o| o.name == "logit cap" && o.busy_s > 0.0), "{machine}");
    });
}

/// Weights that layers share lie once, and are read by each; what a layer keeps of the past is its own.
#[test]
fn shared_layers_have_their_weights_once() {
    MACHINES.par_iter().for_each(|machine| {
        let block = |name: &str, mixer: &str, shared: bool| {
            format!(
                r#"{{ name = "{name}", shared = {shared}, stages = [{{ norm = "rms_norm", branches = [{{ mixer = {{ {mixer} }} }}] }}] }}"#
            )
        };
        let build = |shared: bool, times: usize| {
            let blocks = [block("a", GROUPED, shared), block("m", MAMBA2, false)].join(", ");
            let pattern: Vec<&str> = vec![r#"{ block = "a", layers = 1 }, { block = "m", layers = 1 }"#; times];
            let mut e = with_blocks(machine, &blocks, &pattern.join(", "), &[]).unwrap_or_else(|e| panic!("{e}"));
            let count = |name: &str, e: &MappingSummary| {
                e.regions.iter().filter(|r| r.name == name).map(|r| r.count).sum::<u64>()
            };
            let summary = layout(&mut e);
            (["qkv", "in_proj", "key cache", "ssd state"].map(|n| count(n, &summary)), step(&e, 1).0.latency_s)
        };
        let (shared, time) = build(true, 3);
        assert_eq!(shared, [1, 3, 3, 3], "{machine}");
        let (apart, time_apart) = build(false, 3);
        assert_eq!(apart, [3, 3, 3, 3], "{machine}");
        assert!((time / time_apart - 1.0).abs() < 0.02, "{machine}: {time} {time_apart}");
    });
}

/// What the banks cannot do is an error that says what, under the key that would change it.
#[test]
fn what_the_banks_cannot_do_is_refused() {
    let indexed = LATENT.replace("value_dim = 32", "value_dim = 32, indexer = { heads = 2, head_dim = 32, top_k = 8 }");
    let elsewhere = ATTENTION.replace("kv_heads = 8", "kv_heads = 8, shares_cache = true");
    let types = "workload.types={ weights = { dtype = \"int4\", group = 32, scale = \"f16\" }, activations = \"bf16\", cache = \"bf16\" }";
    let scaled =
        "workload.types={ weights = { dtype = \"bf16\", scale = \"f16\" }, activations = \"bf16\", cache = \"bf16\" }";
    let cache = "workload.types={ weights = { dtype = \"bf16\" }, activations = \"bf16\", cache = \"fp8\" }";
    let huge = DENSE.replace("inner = 256", "inner = 16000000");
    let wide = ATTENTION.replace("head_dim = 32, rotary_dim = 32", "head_dim = 4096");
    for machine in MACHINES {
        let cases: [(&str, &[&str], &[&str]); 6] = [
            (&indexed, &[], &["workload.model", "key index", "gpu mapping"]),
            (&elsewhere, &[], &["workload.model", "another layer"]),
            (DENSE, &[types], &["int4", "16-bit numbers"]),
            (DENSE, &[scaled], &["scales"]),
            (ATTENTION, &[cache], &["fp8", "16-bit numbers"]),
            (&huge, &["machine.memory.channels=1"], &["workload.model", "GiB"]),
        ];
        for (mixer, settings, parts) in cases {
            let Err(error) = of(machine, &[mixer], settings) else { panic!("{machine} takes {mixer} {settings:?}") };
            let text = error.to_string();
            assert!(parts.iter().all(|p| text.contains(p)), "{machine} {mixer}: {text}");
        }
        let text = format!(
            "[machine]\nbase = \"{machine}\"\n[workload]\nmodel = \"t5-large\"\n[workload.generation]\nprompt_tokens = 2\ngenerated_tokens = 2\n"
        );
        let Err(error) = Experiment::new(&Source::from_text("x.toml", text), None) else {
            panic!("{machine} takes t5")
        };
        assert!(error.to_string().contains("encoder"), "{machine}: {error}");
    }
    let error = of("pim-gpt", &[&wide], &[]).err().unwrap().to_string();
    assert!(error.contains("global buffer"), "{error}");
    let error = of("pim-gpt", &[MAMBA2], &["workload.generation.batch=2"]).err().unwrap().to_string();
    assert!(error.contains("workload.generation.batch"), "{error}");
}
