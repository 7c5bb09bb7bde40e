//! Whole generations on a GPU, from the experiment file to the report: physical bounds, what may not change the result, and
//! what is refused.

#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(clippy::float_cmp)] // what is memoised is the same to the bit

use crate::common::{Folder, ODD_MODEL, in_process, succeeds};
use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_hw::outcome::Outcome;
use banksia_hw::system::RunOptions;
use banksia_input::Source;
use banksia_reports::RunReport;
use banksia_workloads::Phase;

/// Lines are counted on by the tests of errors.
const EXPERIMENT: &str = "\
name = \"small\"

[machine]
base = \"h200\"

[workload]
model = \"gpt2-small\"

[workload.generation]
prompt_tokens = 16
generated_tokens = 4
";

fn experiment(settings: &[&str]) -> Experiment {
    let source = Source::from_text("exp.toml", EXPERIMENT).with_settings(settings).unwrap();
    Experiment::new(&source, None).unwrap_or_else(|e| panic!("{settings:?}: {e}"))
}

fn report(settings: &[&str]) -> RunReport {
    run::run(&experiment(settings), RunOptions::default(), &mut |_| {})
        .unwrap_or_else(|e| panic!("{settings:?}: {e}"))
        .0
}

fn outcome(settings: &[&str], options: RunOptions) -> Outcome {
    run::run(&experiment(settings), options, &mut |_| {}).unwrap_or_else(|e| panic!("{settings:?}: {e}")).1
}

#[test]
fn no_step_is_faster_than_its_operations_and_its_compulsory_bytes() {
    for (machine, model) in [("h200", "gpt2-xl"), ("a100", "llama2-7b"), ("h100", "pythia-1.4b")] {
        for attention in ["flash", "plain"] {
            for (prompt, batch) in [(1, 1), (512, 1), (200, 8)] {
                let settings = [
                    format!("machine.base={machine}"),
                    format!("workload.model={model}"),
                    format!("workload.generation.prompt_tokens={prompt}"),
                    format!("workload.generation.batch={batch}"),
                    "workload.generation.generated_tokens=2".into(),
                    format!("mapping.attention={attention}"),
                ];
                let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
                let (experiment, report) = (experiment(&settings), report(&settings));
                for (step, done) in experiment.generation.steps().zip(&report.steps) {
                    let graph = experiment.model.step_graph(&step, &experiment.generation);
                    let mut bytes: f64 = graph.operators().map(|o| o.weight_bytes_read() as f64).sum();
                    if step.phase == Phase::Decode {
                        bytes += graph.kv_bytes_read() as f64;
                    }
                    let bound = (graph.flops() as f64 / report.machine.peak_flops_per_s)
                        .max(bytes / report.machine.peak_bandwidth_bytes_per_s);
                    assert!(done.latency_s >= bound, "{settings:?}: {} s, at best {bound} s", done.latency_s);
                    // Nor so slow that a kernel is lost in thought: launches of 16 operators a layer take some 5 us each.
                    let launches = graph.operators().count() as f64;
                    assert!(
                        done.latency_s < 8.0 * bound + launches * 8e-6,
                        "{settings:?}: {} s, {bound} s",
                        done.latency_s
                    );
                }
                let read = report.traffic_bytes["dram_read"] as f64;
                let weights = experiment.model.weight_bytes() as f64;
                assert!(read > 0.95 * weights, "{settings:?}: {read} of {weights} bytes read");
                assert!(report.power_w > 50.0 && report.power_w < 1000.0, "{settings:?}: {} W", report.power_w);
                assert!(
                    report.metrics["tensor_utilization"] <= 1.0 && report.metrics["dram_bandwidth_peak_share"] <= 1.0
                );
            }
        }
    }
}

#[test]
fn a_batch_gives_more_tokens_a_second_until_it_gives_no_more() {
    for attention in ["flash", "plain"] {
        let rate = |batch: u32| {
            let batch = format!("workload.generation.batch={batch}");
            report(&[&batch, "workload.model=gpt2-xl", &format!("mapping.attention={attention}")]).tokens_per_s.unwrap()
        };
        let rates: Vec<f64> = [1, 2, 4, 16, 64, 256].map(rate).to_vec();
        for pair in rates.windows(2) {
            // Saturated, another choice of tiles may cost a little.
            assert!(pair[1] > 0.98 * pair[0], "{attention}: {rates:?}");
        }
        assert!(rates[3] > 8.0 * rates[0], "weights are shared: {rates:?}");
    }
}

#[test]
fn what_is_repeated_is_what_would_be_simulated_again() {
    for attention in ["flash", "plain"] {
        let model = format!("workload.model={ODD_MODEL}");
        let attention = format!("mapping.attention={attention}");
        let settings = [model.as_str(), &attention, "workload.generation.generated_tokens=12"];
        let once = outcome(&settings, RunOptions::default());
        let mut each = outcome(&settings, RunOptions { stepping: true, ..RunOptions::default() });
        let simulated = |o: &Outcome| o.worked_out[0].simulated;
        assert!(2 * simulated(&each) > 3 * simulated(&once), "{} and {}", simulated(&each), simulated(&once));
        each.worked_out.clone_from(&once.worked_out);
        assert_eq!(each, once);
    }
}

#[test]
fn power_stays_at_its_limit_and_less_of_it_is_slower() {
    let prompt = ["workload.model=gpt2-xl", "workload.generation.prompt_tokens=1000", "workload.generation.batch=16"];
    let limited = |watts: f64| {
        let limit = format!("machine.power.limit_w={watts}");
        report(&[prompt[0], prompt[1], prompt[2], "workload.generation.generated_tokens=1", &limit])
    };
    let reports = [2000.0, 700.0, 500.0].map(limited);
    assert!(reports[0].power_w > 700.0, "{} W: the limit would not be felt", reports[0].power_w);
    for (report, limit) in reports[1..].iter().zip([700.0, 500.0]) {
        assert!(report.power_w < 1.02 * limit && report.power_w > 0.85 * limit, "{} W of {limit}", report.power_w);
    }
    assert!(reports[0].latency_s < reports[1].latency_s && reports[1].latency_s < reports[2].latency_s);
}

#[test]
fn the_host_is_waited_for_only_where_it_is_slower() {
    let (graph, eager) = (report(&[]), report(&["mapping.launch=eager"]));
    let launches = graph.metrics["kernel_launches"];
    assert_eq!(launches, eager.metrics["kernel_launches"]);
    assert!(eager.latency_s >= launches * 14.6e-6 && eager.latency_s > graph.latency_s);
    assert!(eager.metrics["launch_gap_share"] > graph.metrics["launch_gap_share"]);
    // The device does the same, and idles for the rest.
    assert_eq!(eager.traffic_bytes, graph.traffic_bytes);
    let idle = eager.energy_parts_j["idle"] - graph.energy_parts_j["idle"];
    let rest = eager.energy_j - graph.energy_j;
    assert!((idle - rest).abs() < 1e-9 * eager.energy_j && idle > 0.0);
    assert!((idle / (eager.latency_s - graph.latency_s) - 122.0).abs() < 1e-3, "idle power of the H200's file");
    // With a host that is never late they are one.
    let (no_host, no_gap) = ("machine.launch.python_us=0", "machine.launch.dispatch_gap_us=0");
    let fast = report(&["mapping.launch=eager", no_host, no_gap]);
    assert_eq!(fast.latency_s, graph.latency_s);
    // A host that is ahead costs the device its gaps; compiled code is ahead sooner than Python.
    let ahead = report(&["mapping.launch=eager", no_host]);
    assert!((ahead.latency_s - graph.latency_s - launches * 1.7e-6).abs() < 1e-9 * graph.latency_s.max(1.0));
    let engine = |launch| report(&["mapping.framework=trtllm", launch]);
    let (graph, eager) = (engine("mapping.launch=graph"), engine("mapping.launch=eager"));
    let launches = eager.metrics["kernel_launches"];
    assert!(eager.latency_s >= launches * 4.43e-6 && eager.latency_s < graph.latency_s + launches * 6.13e-6);
}

#[test]
fn keys_of_the_machine_are_written_over_its_own() {
    let model = "workload.model=gpt2-xl";
    let own = report(&[model]);
    let fewer = report(&[model, "machine.dram.channels=24"]);
    assert!(fewer.latency_s > 1.2 * own.latency_s, "{} and {}", fewer.latency_s, own.latency_s);
    assert!(
        (fewer.machine.peak_bandwidth_bytes_per_s / own.machine.peak_bandwidth_bytes_per_s * 188.0 - 24.0).abs() < 1e-9
    );
    let folder = Folder::new("gpu-file");
    let text = banksia_hw::gpu::catalog("h200").unwrap().text().replace("name = \"h200\"", "name = \"mine\"");
    folder.write("mine.toml", text);
    let path = folder.write("exp.toml", EXPERIMENT.replace("\"h200\"", "\"mine.toml\"\ndram.channels = 24"));
    let printed = succeeds(&["run", &path, "--set", model, "--format", "json"]);
    let file: RunReport = serde_json::from_str(&printed).unwrap();
    assert_eq!((file.latency_s, file.machine.name.as_str()), (fewer.latency_s, "mine"));
}

#[test]
fn the_command_line_runs_maps_sweeps_and_plots_gpus() {
    let folder = Folder::new("gpu-cli");
    let path = folder.write("exp.toml", EXPERIMENT);
    let (out, timeline) = (folder.path("out"), folder.path("t.json"));
    let table =
        succeeds(&["run", &path, "--versus", "h200", "--out", &out, "--timeline", &timeline, "--timeline-token", "2"]);
    for text in
        ["gpt2-small on h200", "ffn up projection", "device memory", "tensor utilization", "Beside plain rooflines"]
    {
        assert!(table.contains(text), "{text}: {table}");
    }
    let trace: serde_json::Value = serde_json::from_str(&folder.read("t.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    // Twelve layers of 10 operators and more.
    assert!(events.iter().filter(|e| e["ph"] == "X").count() > 120, "{}", events.len());
    let report: RunReport = serde_json::from_str(&folder.read("out/report.json")).unwrap();
    assert_eq!((report.tokens, report.steps.len()), (Some(4), 4));
    for kind in ["breakdown", "energy", "roofline", "context"] {
        let svg = folder.path(&format!("{kind}.svg"));
        succeeds(&["plot", kind, &out, "-o", &svg]);
    }
    let map = succeeds(&["map", &path, "--token", "1"]);
    assert!(map.contains("prefill step of 1 x 16 tokens") && map.contains("flash") && map.contains("gemm"), "{map}");
    let kernels: serde_json::Value = serde_json::from_str(&succeeds(&["map", &path, "--format", "json"])).unwrap();
    let product = kernels.as_array().unwrap().iter().find(|k| k["operator"] == "qkv projection").unwrap();
    assert!(product["estimate_s"].as_f64().unwrap() > 0.0 && product["count"] == 12);
    assert!(succeeds(&["list", "mappings"]).contains("gpu"));
    assert!(succeeds(&["show", "mappings", "gpu"]).contains("attention"));
    assert!(succeeds(&["list", "hardware"]).contains("h200"));
    let sweep = folder.write(
        "sweep.toml",
        "experiments = [\"exp.toml\"]\n[[vary]]\nkey = \"machine.base\"\nvalues = [\"a100\", \"h200\"]\n[[vary]]\nkey = \"workload.generation.batch\"\nvalues = [1, 8]\n",
    );
    let one = succeeds(&["sweep", &sweep, "--jobs", "1", "--format", "json"]);
    let four = succeeds(&["sweep", &sweep, "--jobs", "4", "--format", "json", "--out", &folder.path("points")]);
    assert_eq!(one, four, "whatever the number of threads");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&one).unwrap().as_array().unwrap().len(), 4);
}

#[test]
fn what_a_gpu_cannot_be_told_is_refused() {
    let folder = Folder::new("gpu-bad");
    let path = folder.write("exp.toml", EXPERIMENT);
    let pim = folder.write("pim.toml", crate::common::EXPERIMENT);
    let settings: &[(&str, &[&str])] = &[
        ("machine.base=h20", &["`machine.base`", "no machine named `h20`", "h200"]),
        ("machine.dram.chanels=40", &["`machine.dram.chanels` is not a key", "did you mean `channels`"]),
        ("machine.dram.channels=0", &["`machine.dram.channels` is 0: must be from 1"]),
        ("machine.dram.channels=many", &["`machine.dram.channels` has an invalid type"]),
        ("machine.sm_clock_mhz=nan", &["`machine.sm_clock_mhz` is NaN"]),
        ("machine.sms_per_gpc=[]", &["`machine.sms_per_gpc`", "at least one GPC"]),
        ("machine.power.dram_pj_per_byte=nan", &["`machine.power.dram_pj_per_byte` is NaN"]),
        ("machine.l1.latency_cycles=1e30", &["`machine.l1.latency_cycles`", "must be from 0 to"]),
        ("machine.kind=pim", &["`machine.kind` is `pim`", "help:"]),
        ("device.organization.rows=64", &["`device` has no meaning for a GPU", "machine.dram"]),
        ("mapping.strategy=pim-gpt", &["`mapping.strategy` is `pim-gpt`", "use `gpu`"]),
        ("mapping.strategy=gpus", &["`mapping.strategy` names no strategy known here: `gpus`", "gpu"]),
        (
            "mapping.lm_head=pim",
            &["`mapping.lm_head` is not a key of the strategy `gpu`", "attention, framework, launch"],
        ),
        ("mapping.launch=graphs", &["`mapping.launch` is `graphs`", "did you mean `graph`"]),
        ("mapping.attention=flash9", &["`mapping.attention` is `flash9`", "flash"]),
        ("mapping.lunch=graph", &["`mapping.lunch` is not a key", "did you mean `launch`"]),
        ("machine.base=t4", &["`workload.model` `gpt2-small` is of type bf16, which t4 does not multiply", "fp16"]),
        ("machine.dram.capacity_bytes=100000000", &["`workload.model`", "GB of weights", "has 0.10 GB", "help:"]),
        ("workload.generation.batch=1000000", &["`workload.generation.batch`", "smaller batch"]),
        ("machine.sm.registers=1024", &["cannot run", "does not fit one SM", "help:"]),
        ("machine.sm.shared_memory_per_cta_bytes=1000", &["cannot run", "does not fit one SM", "help:"]),
    ];
    let mut failures = Vec::new();
    let mut refuses = |name: &str, args: &[&str], fragments: &[&str]| {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        match in_process(&args) {
            Ok(()) => failures.push(format!("{name}: accepted")),
            Err((code, message)) => {
                if code != 2 {
                    failures.push(format!("{name}: exit code {code}: {message}"));
                }
                for f in fragments.iter().filter(|f| !message.contains(**f)) {
                    failures.push(format!("{name}: `{f}` is not in: {message}"));
                }
            }
        }
    };
    for (setting, fragments) in settings {
        refuses(setting, &["run", &path, "--set", setting], fragments);
    }
    refuses(
        "launch of PIM",
        &["run", &pim, "--set", "mapping.launch=graph"],
        &["`mapping.launch` is not a key", "lm_head"],
    );
    refuses(
        "gpu on PIM",
        &["run", &pim, "--set", "mapping.strategy=gpu"],
        &["`mapping.strategy` is `gpu`", "use `pim-gpt`"],
    );
    refuses("program", &["run", &path, "--program", "x.json"], &["x.json", "cannot be read"]);
    refuses("token", &["map", &path, "--token", "9"], &["--token", "must be from 1 to 4"]);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What SMs store is written to memory once at most: less what is stored over while it lies in L2, and less what still lies there. A larger
/// L2 writes no larger share of it.
#[test]
fn bytes_are_conserved_over_a_run() {
    let of = |l2: &str, more: &[&str]| {
        let l2 = format!("machine.l2.bytes={l2}");
        let mut settings = vec![l2.as_str(), "workload.generation.generated_tokens=1"];
        settings.extend(more);
        report(&settings)
    };
    let large = ["workload.model=gpt2-xl", "workload.generation.prompt_tokens=512", "workload.generation.batch=16"];
    let small = ["workload.model=gpt2-small", "workload.generation.prompt_tokens=64"];
    let other = ["workload.model=llama2-7b", "workload.generation.prompt_tokens=300", "machine.base=a100"];
    for more in [&large[..], &small[..], &other[..]] {
        let written: Vec<f64> = ["10000000", "30000000", "60000000", "120000000"]
            .iter()
            .map(|l2| {
                let r = of(l2, more);
                let (stored, written) = (r.traffic_bytes["crossbar_write"], r.traffic_bytes["dram_write"]);
                // L2 held nothing of the run's when it began.
                assert!(written <= stored, "{more:?} at {l2}: {written} bytes written of {stored} stored");
                // Another L2 may make other kernels the best, which store sums of parts of a product too.
                written as f64 / stored as f64
            })
            .collect();
        for pair in written.windows(2) {
            // Shares of tensors in L2 are counted in steps, and waves are sampled.
            assert!(pair[1] <= 1.003 * pair[0], "{more:?}: {written:?}");
        }
    }
}

/// Running all waves of every kernel takes what the sampled ones say, within what sampling may miss.
#[test]
fn what_is_sampled_is_near_what_is_run_in_full() {
    let settings = [
        "workload.model=gpt2-small",
        "workload.generation.prompt_tokens=1000",
        "workload.generation.generated_tokens=1",
        "workload.generation.batch=16",
    ];
    let fast = outcome(&settings, RunOptions::default());
    let detail = banksia_hw::gpu::sampling::Detail { waves: u32::MAX, ..banksia_hw::gpu::sampling::Detail::DEFAULT };
    let full = outcome(&settings, RunOptions { detail, ..RunOptions::default() });
    let (some, all) = (&fast.worked_out[0], &full.worked_out[0]);
    assert!(some.sampled > 0 && some.sampled_latency_share > 0.0, "{some:?}");
    assert_eq!((all.sampled, all.sampled_latency_share), (0, 0.0));
    let ratio = fast.latency.as_secs_f64() / full.latency.as_secs_f64();
    assert!((0.97..1.03).contains(&ratio), "{ratio}");
}

/// Frameworks differ in the launches of attention alone, and do the same work.
#[test]
fn a_framework_is_whose_attention_is_launched() {
    let of = |framework: &str| report(&[&format!("mapping.framework={framework}"), "workload.model=pythia-1.4b"]);
    let torch = of("torch");
    let labels = |r: &RunReport| -> Vec<String> { r.operators.iter().map(|o| o.name.clone()).collect() };
    assert!(labels(&torch).iter().any(|l| l == "kv append") && labels(&torch).iter().any(|l| l == "rotary embedding"));
    for framework in ["vllm", "sglang", "trtllm"] {
        let r = of(framework);
        assert_eq!(r.workload.flops, torch.workload.flops, "{framework}");
        assert!(!labels(&r).iter().any(|l| l == "kv append"), "{framework} writes the cache in its attention");
        assert_eq!(labels(&r).iter().any(|l| l == "rotary embedding"), framework != "trtllm");
        let product = |r: &RunReport| r.operators.iter().find(|o| o.name == "ffn up projection").unwrap().latency_s;
        assert!((product(&r) / product(&torch) - 1.0).abs() < 0.05, "{framework}: products are cuBLAS's with all");
    }
    let source = Source::from_text("exp.toml", EXPERIMENT)
        .with_settings(&["mapping.framework=vllm", "mapping.attention=plain"])
        .unwrap();
    let error = Experiment::new(&source, None).unwrap_err();
    assert!(error.to_string().contains("mapping.framework"), "{error}");
}

/// The same on ranks of a cluster.
const RANKS: &str = "\
name = \"ranks\"

[machine]
cluster = \"h200-node\"

[workload]
model = \"gpt2-small\"

[workload.generation]
prompt_tokens = 16
generated_tokens = 4
batch = 4
";

/// Two layers with eight experts.
const MIXTURE: &str = "\
name = \"mixture\"

[machine]
cluster = \"h200-node\"

[workload.generation]
prompt_tokens = 16
generated_tokens = 3
batch = 8

[workload.model]
name = \"small-mixture\"
width = 256
max_positions = 1024
types = { weights = { dtype = \"bf16\" }, activations = \"bf16\", cache = \"bf16\" }
embed = { vocab = 1024 }
head = { norm = \"rms_norm\", vocab = 1024 }
pattern = [{ block = \"layer\", layers = 2 }]

[[workload.model.blocks]]
name = \"layer\"
[[workload.model.blocks.stages]]
norm = \"rms_norm\"
branches = [{ mixer = { kind = \"attention\", heads = 4, kv_heads = 4, head_dim = 64, rotary_dim = 64 } }]
[[workload.model.blocks.stages]]
norm = \"rms_norm\"
branches = [{ mixer = { kind = \"experts\", experts = 8, top_k = 2, inner = 256, activation = \"silu\" } }]
";

fn ranks_of(text: &str, settings: &[&str]) -> RunReport {
    let source = Source::from_text("ranks.toml", text).with_settings(settings).unwrap();
    let experiment = Experiment::new(&source, None).unwrap_or_else(|e| panic!("{settings:?}: {e}"));
    run::run(&experiment, RunOptions::default(), &mut |_| {}).unwrap_or_else(|e| panic!("{settings:?}: {e}")).0
}

fn refused(text: &str, settings: &[&str]) -> String {
    let source = Source::from_text("ranks.toml", text).with_settings(settings).unwrap();
    Experiment::new(&source, None).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn one_rank_is_the_gpu_bit_for_bit() {
    let one = ranks_of(RANKS, &["parallel.tp=1"]);
    let gpu = report(&["workload.generation.batch=4"]);
    assert_eq!(one.operators, gpu.operators);
    assert_eq!(one.components, gpu.components);
    assert_eq!(one.steps, gpu.steps);
    assert_eq!(one.metrics, gpu.metrics);
    assert_eq!(one.machine, gpu.machine);
    assert_eq!((one.latency_s, one.energy_j, one.ttft_s), (gpu.latency_s, gpu.energy_j, gpu.ttft_s));
    assert_eq!(one.footprint_bytes, gpu.footprint_bytes);
}

#[test]
fn ranks_that_do_the_same_are_simulated_once_and_the_result_is_the_same() {
    let dense = [
        vec!["parallel.tp=2"],
        vec!["parallel.tp=4", "parallel.sequence=true"],
        vec!["parallel.dp=2"],
        vec!["parallel.pp=2", "parallel.tp=2"],
    ];
    let mixed = [
        vec!["parallel.tp=2", "parallel.ep=2"],
        vec!["parallel.dp=2", "parallel.ep=2"],
        vec!["parallel.dp=2", "parallel.ep=2", "mapping.framework=vllm", "parallel.exchange=nccl"],
    ];
    let cases = dense.iter().map(|s| (RANKS, s)).chain(mixed.iter().map(|s| (MIXTURE, s)));
    for (text, settings) in cases {
        let folded = ranks_of(text, settings);
        let mut unfolded = settings.clone();
        unfolded.push("parallel.unfolded=true");
        let unfolded = ranks_of(text, &unfolded);
        assert_eq!(folded.metrics["folding_exact"], 1.0, "{settings:?}");
        assert!(folded.metrics["simulated_ranks"] < unfolded.metrics["simulated_ranks"], "{settings:?}");
        assert_eq!(folded.metrics["ranks"], unfolded.metrics["simulated_ranks"], "{settings:?}");
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
        let times = |r: &RunReport| r.steps.iter().map(|s| s.latency_s).collect::<Vec<_>>();
        assert_eq!(times(&folded), times(&unfolded), "{settings:?}");
        assert!(near(folded.energy_j, unfolded.energy_j), "{settings:?}: {} {}", folded.energy_j, unfolded.energy_j);
        assert!(near(folded.workload.flops, unfolded.workload.flops), "{settings:?}");
        // Replicas that are not divided exchange nothing.
        for link in ["nvlink", "network", "dram_read"] {
            assert_eq!(folded.traffic_bytes.get(link), unfolded.traffic_bytes.get(link), "{settings:?} {link}");
        }
    }
}

#[test]
fn what_ranks_exchange_is_in_the_report() {
    let two = ranks_of(RANKS, &["parallel.tp=2", "workload.generation.prompt_tokens=64"]);
    let sums: Vec<&str> = two.operators.iter().map(|o| o.name.as_str()).filter(|n| n.ends_with("all-reduce")).collect();
    assert_eq!(
        sums,
        ["token embedding all-reduce", "attention output projection all-reduce", "ffn down projection all-reduce"]
    );
    let layers: u64 =
        two.operators.iter().filter(|o| o.name == "ffn down projection all-reduce").map(|o| o.count).sum();
    assert_eq!(layers, 12 * 4);
    // Two ranks send half of each buffer twice: 64 x 4, then 1 x 4 tokens of 768 elements, 25 sums a step; and half of the logits.
    let hidden = 2 * 768 * 4;
    let tokens = 64 + 3;
    let sums = 25 * hidden * tokens * 2;
    let logits = 4 * 4 * 50257_u64.div_ceil(2) * 2 * 2;
    let sent = two.traffic_bytes["nvlink"];
    assert!(sent.abs_diff(sums + logits) < sent / 50, "{sent} {}", sums + logits);
    assert_eq!(two.traffic_bytes["network"], 0);
    let exposed = two.metrics["fabric.exposed_communication_share"];
    assert!(exposed > 0.0 && exposed < 1.0, "{exposed}");
    assert!(two.energy_parts_j["links"] > 0.0);
    assert!(two.footprint_bytes["weights"] < two.workload.weight_bytes * 6 / 10);
}

#[test]
fn a_pipeline_is_filled_by_parts_of_the_batch() {
    let long = ["parallel.pp=2", "workload.generation.generated_tokens=12", "workload.generation.batch=8"];
    let of = |more: &str| ranks_of(RANKS, &[&long[..], &[more]].concat());
    let (one, two) = (of("parallel.micro_batches=1"), of("parallel.micro_batches=2"));
    let bubble = |r: &RunReport| r.metrics["fabric.bubble_share"];
    assert!(bubble(&one) > 0.35, "{}", bubble(&one));
    assert!(bubble(&two) < bubble(&one) / 2.0, "{} {}", bubble(&two), bubble(&one));
    // A token of a part passes both stages one after the other either way.
    let whole = ranks_of(RANKS, &["workload.generation.generated_tokens=12", "workload.generation.batch=8"]);
    assert!(one.latency_s > 0.95 * whole.latency_s, "{} {}", one.latency_s, whole.latency_s);
    assert!(two.operators.iter().any(|o| o.name == "stage send"));
}

#[test]
fn hot_experts_are_waited_for() {
    let of = |routing: &str, placement: &str| {
        let text = format!("{MIXTURE}\n[workload.routing]\n{routing}\n");
        let placement = format!("parallel.placement={placement}");
        ranks_of(&text, &["parallel.dp=4", "parallel.ep=4", "workload.generation.batch=256", &placement])
    };
    let shares = "distribution = \"shares\"\nshares = [8.0, 8.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]";
    let (even, hot) = (of("distribution = \"balanced\"", "contiguous"), of(shares, "contiguous"));
    assert_eq!(even.metrics["simulated_ranks"], 1.0);
    assert!(hot.metrics["simulated_ranks"] > 1.0);
    let prompt = |r: &RunReport| r.steps[0].latency_s;
    assert!(prompt(&hot) > prompt(&even), "{} {}", prompt(&hot), prompt(&even));
    let balanced = of(shares, "balanced");
    assert!(prompt(&balanced) <= prompt(&hot), "{} {}", prompt(&balanced), prompt(&hot));
}

#[test]
fn what_ranks_cannot_be_says_what_could() {
    for (settings, key, words) in [
        (vec!["parallel.tp=5"], "parallel.tp", "1, 2, 4, 8"),
        (vec!["parallel.tp=8"], "parallel.tp", "it can be 1, 2, 4"),
        (vec!["parallel.ep=2"], "parallel.ep", "no experts"),
        (vec!["parallel.dp=3"], "parallel.dp", "multiple of 3"),
        (vec!["parallel.pp=13"], "parallel", "there are 8 GPUs"),
        (vec!["parallel.tp=8", "parallel.dp=4"], "parallel", "there are 8 GPUs"),
        (vec!["parallel.pp=2", "parallel.micro_batches=3"], "parallel.micro_batches", "divisor"),
        (vec!["machine.cluster=h300"], "machine.cluster", "h200"),
        (vec!["workload.generation.batch=65536", "workload.generation.prompt_tokens=900"], "batch", "smaller batch"),
    ] {
        let error = refused(RANKS, &settings);
        assert!(error.contains(key) && error.contains(words), "{settings:?}: {error}");
    }
    let lone = EXPERIMENT.replace("[workload]\n", "[parallel]\ntp = 2\n\n[workload]\n");
    assert!(refused(&lone, &[]).contains("machine.cluster"), "{}", refused(&lone, &[]));
    // What does not fit says how many ranks would do.
    let large = ["machine.cluster=h100-eos", "workload.model=llama3.1-70b", "parallel.dp=2"];
    let error = refused(RANKS, &large);
    assert!(error.contains("parallel.tp = 2"), "{error}");
}

#[test]
fn copies_of_hot_experts_share_their_rows() {
    let of = |extra: u32| {
        let text = format!(
            "{MIXTURE}\n[workload.routing]\ndistribution = \"shares\"\nshares = [8.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]\n"
        );
        let copies = format!("parallel.redundant_experts={extra}");
        let settings =
            ["parallel.dp=4", "parallel.ep=4", "workload.generation.batch=256", "parallel.placement=balanced"];
        ranks_of(&text, &[&settings[..], &[&copies]].concat())
    };
    let (one, shared) = (of(0), of(4));
    let prompt = |r: &RunReport| r.steps[0].latency_s;
    assert!(prompt(&shared) < prompt(&one), "{} {}", prompt(&shared), prompt(&one));
    // Copies are in memory: three experts a rank for two.
    assert!(shared.footprint_bytes["weights"] > one.footprint_bytes["weights"]);
    let error = refused(MIXTURE, &["parallel.dp=4", "parallel.ep=4", "parallel.redundant_experts=3"]);
    assert!(error.contains("parallel.redundant_experts") && error.contains("multiple of parallel.ep"), "{error}");
}

#[test]
fn sums_of_a_ladder_run_beside_the_next_part() {
    let of = |residual: &str| ranks_of(RANKS, &["parallel.tp=4", &format!("parallel.residual={residual}")]);
    let (standard, ladder) = (of("standard"), of("ladder"));
    assert!(ladder.latency_s < standard.latency_s, "{} {}", ladder.latency_s, standard.latency_s);
    let exposed = |r: &RunReport| r.metrics["fabric.exposed_communication_s"];
    assert!(exposed(&ladder) < exposed(&standard));
    // As many sums, of as many bytes; what is hidden is communication alone.
    assert_eq!(ladder.traffic_bytes["nvlink"], standard.traffic_bytes["nvlink"]);
    assert!(standard.latency_s - ladder.latency_s <= standard.metrics["fabric.communication_s"]);
}
