//! Generations on a GPU and a PIM device in one machine: what the parts of a step are is what the whole is, halves of a batch gain no more
//! than the busiest device lets them, and nothing is lost or done twice.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use crate::common::{Folder, in_process, succeeds};
use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_experiments::search::{SearchOptions, search};
use banksia_hw::outcome::Outcome;
use banksia_hw::program::{Program, Work};
use banksia_hw::system::{RunOptions, System};
use banksia_input::{InputError, Source};
use banksia_reports::RunReport;

/// A GPU, PIM channels of their own, and a link.
const LINKED: &str = "\
name = \"linked\"
kind = \"system\"

[devices.gpu]
base = \"h200\"

[devices.banks]
base = \"aim\"

[links.wire]
between = [\"banks\", \"gpu\"]
bandwidth_gb_per_s = 63.0
latency_ns = 1000.0
";

/// A GPU whose memory computes.
const SHARED: &str = "\
name = \"shared\"
kind = \"system\"

[devices.gpu]
base = \"h200\"

[devices.banks]
base = \"attacc\"

[exclusive]
devices = [\"gpu\", \"banks\"]
switch_ns = 100.0
";

/// Lines are counted on by the tests of errors.
const EXPERIMENT: &str = "\
name = \"both\"

[machine]
base = \"machine.toml\"

[workload]
model = \"gpt2-small\"

[workload.generation]
prompt_tokens = 32
generated_tokens = 3
batch = 8
";

fn read(folder: &Folder, machine: &str, settings: &[&str]) -> Result<Experiment, InputError> {
    folder.write("machine.toml", machine);
    let path = folder.write("exp.toml", EXPERIMENT);
    Experiment::new(&Source::from_text("exp.toml", EXPERIMENT).with_settings(settings).unwrap(), Some(Path::new(&path)))
}

fn experiment(folder: &Folder, machine: &str, settings: &[&str]) -> Experiment {
    read(folder, machine, settings).unwrap_or_else(|e| panic!("{settings:?}: {e}"))
}

fn ran(experiment: &Experiment, options: RunOptions) -> (RunReport, Outcome) {
    run::run(experiment, options, &mut |_| {}).unwrap_or_else(|e| panic!("{}: {e}", experiment.name))
}

fn report(folder: &Folder, machine: &str, settings: &[&str]) -> RunReport {
    ran(&experiment(folder, machine, settings), RunOptions::default()).0
}

/// Runs one program from nothing; the time that it takes.
fn seconds(experiment: &Experiment, program: Program) -> f64 {
    let mut system = System::new(&experiment.machine, RunOptions::default());
    system.run(&Arc::new(program)).unwrap();
    system.finish().latency.as_secs_f64()
}

/// Operators whose every instruction is one device's.
fn operators_on(program: &Program, device: u32) -> Vec<String> {
    let mut names = Vec::new();
    for (i, operator) in program.operators.iter().enumerate() {
        let mut mine = program.instructions.iter().filter(|x| x.operator as usize == i).peekable();
        if mine.peek().is_some() && mine.all(|x| x.on == device) {
            names.push(operator.name.clone());
        }
    }
    names
}

fn close(a: f64, b: f64, within: f64) -> bool {
    (a - b).abs() <= within * a.abs().max(b.abs())
}

#[test]
fn one_chain_takes_the_sum_of_what_its_devices_take() {
    let folder = Folder::new("hybrid-chain");
    // Refresh comes at its own times, whatever is run.
    let settings = ["mapping.halves=1", "machine.devices.banks.memory.refresh=false"];
    let experiment = experiment(&folder, LINKED, &settings);
    let program = run::program(&experiment, 1).unwrap();
    let link = program.instructions.iter().find(|i| matches!(i.work, Work::Transfer { .. })).unwrap().on;
    assert_eq!(link, 2, "links come after devices");
    let by_device: Vec<Vec<String>> = (0..3).map(|d| operators_on(&program, d)).collect();
    assert_eq!(by_device.iter().map(Vec::len).sum::<usize>(), program.operators.len(), "{by_device:?}");
    let alone = |device: usize| {
        let others: Vec<&str> = by_device
            .iter()
            .enumerate()
            .filter(|(d, _)| *d != device)
            .flat_map(|(_, o)| o.iter().map(String::as_str))
            .collect();
        seconds(&experiment, program.without(&others))
    };
    let sum: f64 = (0..3).map(alone).sum();
    let whole = seconds(&experiment, program.clone());
    // But for the edges of the channels' clock.
    assert!(close(whole, sum, 1e-3), "{whole} s, {sum} s");
    // In the order of the machine's file: banks, gpu, and the link from one to the other.
    let layers = u64::from(experiment.model.layers());
    let transfers = program.instructions.iter().filter(|i| i.on == link);
    let (mut there, mut back) = (0, 0);
    for transfer in transfers {
        match transfer.work {
            Work::Transfer { bytes, back: true } => there += bytes,
            Work::Transfer { bytes, back: false } => back += bytes,
            other => panic!("{other:?}"),
        }
    }
    let width = 768 * 2 * 8 * layers;
    assert_eq!((there, back), (3 * width, width), "queries, keys and values there, results back");
}

#[test]
fn halves_gain_and_no_more_than_the_busiest_device_lets_them() {
    let folder = Folder::new("hybrid-halves");
    // Without a prompt, so that decode is all there is.
    let decode = [
        "workload.generation.prompt_tokens=0",
        "workload.generation.context_tokens=900",
        "workload.generation.batch=64",
        "workload.generation.generated_tokens=1",
    ];
    for machine in [LINKED, SHARED] {
        let of = |halves: &'static str| report(&folder, machine, &[&decode[..], &[halves]].concat());
        let (one, two) = (of("mapping.halves=1"), of("mapping.halves=2"));
        for report in [&one, &two] {
            let (gain, limit) = (report.metrics["overlap_gain"], report.metrics["overlap_gain_limit"]);
            assert!((1.0..=limit * (1.0 + 1e-9)).contains(&gain), "{gain} of {limit}");
            for name in ["gpu.busy_share", "banks.busy_share"] {
                assert!((0.0..=1.0 + 1e-9).contains(&report.metrics[name]), "{name} {}", report.metrics[name]);
            }
        }
        let gain = |report: &RunReport| report.metrics["overlap_gain"];
        if machine == LINKED {
            assert!(gain(&two) > gain(&one) + 0.05, "{} of {}", gain(&two), gain(&one));
            assert!(two.latency_s < one.latency_s, "attention takes longer than reading the weights again");
        } else {
            assert!(gain(&two) < 1.05, "{}: both at work on one memory", gain(&two));
        }
    }
}

#[test]
fn halves_do_what_the_whole_does() {
    let folder = Folder::new("hybrid-flops");
    for (machine, batch) in [(LINKED, 8), (LINKED, 7), (SHARED, 2), (SHARED, 5)] {
        let batch = format!("workload.generation.batch={batch}");
        let run = |halves: &str| {
            let report = report(&folder, machine, &[&batch, halves]);
            let flops: Vec<(String, f64)> = report.operators.iter().map(|o| (o.name.clone(), o.flops)).collect();
            (report.workload.flops, flops, report.tokens)
        };
        let (one, two) = (run("mapping.halves=1"), run("mapping.halves=2"));
        assert!(close(one.0, two.0, 1e-12), "{} and {}", one.0, two.0);
        for ((name, a), (other, b)) in one.1.iter().zip(&two.1) {
            assert_eq!(name, other);
            assert!(close(*a, *b, 1e-12), "{name}: {a} and {b}");
        }
        assert_eq!(one.2, two.2);
    }
}

#[test]
fn keys_and_values_of_the_prompt_reach_the_banks_once() {
    let folder = Folder::new("hybrid-cache");
    let moved = |machine: &str, settings: &[&str]| {
        let experiment = experiment(&folder, machine, settings);
        let program = run::program(&experiment, 0).unwrap();
        let of = |name: &str| -> u64 {
            let named = |i: &&banksia_hw::program::Instruction| program.operators[i.operator as usize].name == name;
            let bytes = |w: Work| if let Work::Transfer { bytes, .. } = w { bytes } else { 0 };
            program.instructions.iter().filter(named).map(|i| bytes(i.work)).sum()
        };
        let token = experiment.model.kv_bytes_per_token() * experiment.generation.batch;
        (of("kv_to_pim") / token, of("kv_to_gpu") / token)
    };
    assert_eq!(moved(LINKED, &[]), (32, 0));
    assert_eq!(moved(LINKED, &["workload.generation.context_tokens=48"]), (32, 48));
    assert_eq!(moved(SHARED, &[]), (0, 0), "they are written where they stay");
}

#[test]
fn shared_memory_changes_hands_and_separate_memory_does_not() {
    let folder = Folder::new("hybrid-switches");
    let shared = report(&folder, SHARED, &[]);
    let separate = report(&folder, LINKED, &[]);
    assert!(!separate.metrics.contains_key("memory_mode_switches"));
    assert!(shared.metrics.contains_key("memory_mode_switches"));
    assert!(shared.traffic_bytes.get("link").is_none_or(|b| *b == 0));
    assert!(separate.traffic_bytes["link"] > 0);
}

#[test]
fn the_timeline_shows_both_devices_and_the_link() {
    let folder = Folder::new("hybrid-timeline");
    let experiment = experiment(&folder, LINKED, &[]);
    let (report, _) = ran(&experiment, RunOptions { timeline_step: Some(1), ..RunOptions::default() });
    for device in ["gpu ", "banks ", "wire "] {
        assert!(report.timeline.iter().any(|s| s.lane.starts_with(device)), "{device}");
    }
    // Halves take turns: somewhere both devices work at once.
    let of = |device: &str| -> Vec<(f64, f64)> {
        let spans = report.timeline.iter().filter(|s| s.lane.starts_with(device));
        spans.map(|s| (s.start_s, s.start_s + s.duration_s)).collect()
    };
    let (gpu, banks) = (of("gpu "), of("banks "));
    assert!(gpu.iter().any(|a| banks.iter().any(|b| a.0 < b.1 && b.0 < a.1)));
}

#[test]
fn stepping_and_repeating_agree() {
    let folder = Folder::new("hybrid-stepping");
    for machine in [LINKED, SHARED] {
        let experiment = experiment(&folder, machine, &["workload.generation.generated_tokens=2"]);
        let (fast, _) = ran(&experiment, RunOptions::default());
        let (slow, _) = ran(&experiment, RunOptions { stepping: true, ..RunOptions::default() });
        assert_eq!(fast.latency_s.to_bits(), slow.latency_s.to_bits());
    }
}

#[test]
fn the_report_says_what_was_gained() {
    let folder = Folder::new("hybrid-table");
    folder.write("machine.toml", LINKED);
    let path = folder.write("exp.toml", EXPERIMENT);
    let table = succeeds(&["run", path.as_str()]);
    for words in ["overlap gain", "overlap gain limit", "gpu.busy share", "banks.busy share"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let json: serde_json::Value = serde_json::from_str(&succeeds(&["run", path.as_str(), "--format", "json"])).unwrap();
    let text = json.to_string();
    for key in ["overlap_gain", "overlap_gain_limit", "gpu.busy_share", "banks.busy_share"] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}");
    }
    let map = succeeds(&["map", path.as_str(), "--token", "2"]);
    assert!(map.contains("gpu, for 2 x 4 sequences") && map.contains("keys and values"), "{map}");
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let folder = Folder::new("hybrid-refused");
    // Machine, settings, the key that the error names, and words of it.
    let cases: [(&str, &[&str], &str, &str); 9] = [
        (LINKED, &["machine.base=h200", "mapping.strategy=hybrid"], "mapping.strategy", "hybrid"),
        (LINKED, &["machine.base=pim-gpt", "mapping.strategy=hybrid"], "mapping.strategy", "hybrid"),
        (LINKED, &["mapping.strategy=gpu"], "mapping.strategy", "hybrid"),
        (LINKED, &["mapping.halves=3"], "mapping.halves", "from 1 to 2"),
        (LINKED, &["mapping.halves=-1"], "mapping.halves", "from 1 to 2"),
        (LINKED, &["mapping.halves=2", "workload.generation.batch=1"], "mapping.halves", "halves = 1"),
        (LINKED, &["mapping.thirds=2"], "mapping.thirds", "halves"),
        (
            LINKED,
            &["workload.model=gpt2-xl", "workload.generation.batch=4096"],
            "workload.generation.batch",
            "a batch of at most",
        ),
        (
            SHARED,
            &["workload.model=llama2-7b", "workload.generation.batch=4096"],
            "workload.generation.batch",
            "a batch of at most",
        ),
    ];
    for (machine, settings, key, words) in cases {
        let error = match read(&folder, machine, settings) {
            Ok(_) => panic!("{settings:?} was taken"),
            Err(error) => error,
        };
        assert_eq!(error.key.as_deref(), Some(key), "{settings:?}: {error}");
        assert!(error.to_string().contains(words), "{settings:?}: {error}");
    }
    // What is said to fit fits.
    for (machine, model) in [(LINKED, "workload.model=gpt2-xl"), (SHARED, "workload.model=llama2-7b")] {
        let error = read(&folder, machine, &[model, "workload.generation.batch=4096"]).unwrap_err().to_string();
        let most = error.split("a batch of at most ").nth(1).unwrap();
        let most: u64 = most.split(',').next().unwrap().parse().unwrap();
        let batch = |n: u64| read(&folder, machine, &[model, &format!("workload.generation.batch={n}")]).map(|_| ());
        batch(most).unwrap_or_else(|e| panic!("{most}: {e}"));
        assert!(batch(most + 1).is_err(), "{most} is not the most");
    }
    let alone =
        "name = \"alone\"\nkind = \"system\"\n[devices.gpu]\nbase = \"h200\"\n[devices.banks]\nbase = \"aim\"\n";
    let error = read(&folder, alone, &[]).unwrap_err();
    assert_eq!(error.key.as_deref(), Some("machine.base"), "{error}");
    assert!(error.to_string().contains("links."), "{error}");
    // The exit code of it.
    folder.write("machine.toml", LINKED);
    let path = folder.write("exp.toml", EXPERIMENT);
    let args = ["run", &path, "--set", "machine.base=h200", "--set", "mapping.strategy=hybrid"].map(str::to_owned);
    let (code, message) = in_process(&args).unwrap_err();
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("mapping.strategy"), "{message}");
}

/// Rules that place nothing where it would not be: steps are lowered operator by operator, and are what they were.
#[test]
fn operators_placed_where_they_were_take_what_they_took() {
    let folder = Folder::new("hybrid-placed-alike");
    let cases: [(&str, &[&str]); 5] = [
        (LINKED, &["mapping.halves=1"]),
        (LINKED, &["mapping.halves=2"]),
        (LINKED, &["mapping.halves=1", "mapping.attention_on=gpu"]),
        (SHARED, &[]),
        (SHARED, &["mapping.attention_on=gpu"]),
    ];
    for (machine, settings) in cases {
        let before = report(&folder, machine, settings);
        // The model has no experts: nothing is on the PIM device that was not, but the other way to lower a step is taken.
        let placed = [settings, &["mapping.place.experts=pim"]].concat();
        let after = report(&folder, machine, &placed);
        assert_eq!(before.latency_s.to_bits(), after.latency_s.to_bits(), "{settings:?}");
        assert_eq!(before.energy_j.to_bits(), after.energy_j.to_bits(), "{settings:?}");
        // What goes over the link has another name.
        let all = |r: &RunReport| r.operators.iter().map(|o| o.flops).sum::<f64>().to_bits();
        assert_eq!((before.operators.len(), all(&before)), (after.operators.len(), all(&after)), "{settings:?}");
    }
}

/// A GPU alone and all of a step on the GPU of two devices.
#[test]
fn all_on_the_gpu_is_the_gpu() {
    let folder = Folder::new("hybrid-all-gpu");
    let alone = report(&folder, LINKED, &["machine.base=h200", "mapping.strategy=gpu"]);
    for machine in [LINKED, SHARED] {
        let placed = ["mapping.place.attention=gpu", "mapping.place.products=gpu"];
        let all = report(&folder, machine, &placed);
        assert_eq!(alone.latency_s.to_bits(), all.latency_s.to_bits(), "{machine}");
    }
}

/// All of decode in the banks, beside a GPU that has nothing to do, is what the banks do alone.
#[test]
fn all_in_the_banks_is_near_the_banks_alone() {
    let folder = Folder::new("hybrid-all-pim");
    let settings = ["workload.generation.prompt_tokens=0", "workload.generation.context_tokens=200"];
    for (machine, alone) in [(LINKED, "machine.base=aim"), (SHARED, "machine.base=attacc")] {
        let alone = report(&folder, machine, &[&settings[..], &[alone, "mapping.strategy=pim"]].concat());
        let rules = ["attention", "products", "elementwise"].map(|class| format!("mapping.place.{class}=pim"));
        // As the other strategy has it where nothing is said: each vector as a whole to all channels.
        let matrices = ["qkv projection", "attention output projection", "ffn up projection", "ffn down projection"];
        let whole = matrices.map(|name| format!("mapping.layout.\"{name}\"={{ split = 1 }}"));
        let all = rules.iter().chain(&whole).map(String::as_str);
        let rules: Vec<&str> = all.chain(["mapping.halves=1"]).collect();
        let beside = report(&folder, machine, &[&settings[..], &rules].concat());
        assert!(close(alone.latency_s, beside.latency_s, 0.03), "{} s, {} s", alone.latency_s, beside.latency_s);
        let flops = |r: &RunReport| r.operators.iter().map(|o| o.flops).sum::<f64>();
        assert!(close(flops(&alone), flops(&beside), 1e-9), "{} {}", flops(&alone), flops(&beside));
    }
}

/// Wherever operators run, the parts of a report add up, all work is done, and no bound is above what is simulated.
#[test]
fn placements_add_up_and_bounds_hold() {
    let folder = Folder::new("hybrid-places");
    let experts = "workload.model=deepseek-moe-16b";
    let small = [
        "workload.model=mamba2-hybrid-8b",
        "workload.generation.prompt_tokens=0",
        "workload.generation.context_tokens=64",
        "workload.generation.generated_tokens=1",
    ];
    let cases: [(&str, Vec<&str>); 6] = [
        (LINKED, vec!["mapping.place.products=pim", "mapping.copies=two"]),
        (LINKED, vec!["mapping.place.products=pim", "mapping.copies=convert"]),
        (SHARED, vec!["mapping.place.products=pim", "mapping.copies=convert", "mapping.attention_on=gpu"]),
        (SHARED, vec!["mapping.place.\"ffn up projection\"=pim", "mapping.copies=direct"]),
        (SHARED, [&small[..], &["mapping.place.states=pim"]].concat()),
        (
            SHARED,
            vec![
                experts,
                "workload.generation.prompt_tokens=0",
                "workload.generation.context_tokens=64",
                "workload.generation.generated_tokens=1",
                "mapping.place.experts={ pim_below_tokens = 2 }",
                "mapping.copies=direct",
            ],
        ),
    ];
    for (machine, settings) in cases {
        let placed = experiment(&folder, machine, &settings);
        let bound: f64 = (0..placed.plan.programs()).map(|i| placed.plan.bound(i).seconds()).sum();
        let (report, _) = ran(&placed, RunOptions::default());
        let sum: f64 = report.operators.iter().map(|o| o.latency_s).sum();
        assert!(close(sum, report.latency_s, 1e-9), "{settings:?}: {sum} s of {} s", report.latency_s);
        let energy: f64 = report.operators.iter().map(|o| o.energy_j).sum();
        assert!(close(energy, report.energy_j, 1e-6), "{settings:?}: {energy} J of {} J", report.energy_j);
        assert!(bound > 0.0 && bound <= report.latency_s, "{settings:?}: {bound} s, {} s", report.latency_s);
        let plain: Vec<&str> = settings.iter().copied().filter(|s| !s.starts_with("mapping.place")).collect();
        let flops = |r: &RunReport| r.operators.iter().map(|o| o.flops).sum::<f64>();
        let before = self::report(&folder, machine, &plain);
        assert!(close(flops(&before), flops(&report), 1e-6), "{settings:?}: {} {}", flops(&before), flops(&report));
    }
}

/// What both devices use lies twice, or is converted; each has its price.
#[test]
fn second_copies_and_conversions_have_a_price() {
    let folder = Folder::new("hybrid-copies");
    let of = |machine: &str, copies: &str| {
        let copies = format!("mapping.copies={copies}");
        let settings = ["mapping.place.products=pim", copies.as_str()];
        let placed = experiment(&folder, machine, &settings);
        (placed.plan.footprint(), ran(&placed, RunOptions::default()).0)
    };
    for machine in [LINKED, SHARED] {
        let (twice, kept) = of(machine, "two");
        let (once, converted) = of(machine, "convert");
        let (both, direct) = of(machine, "direct");
        // Layers' products: 12 of 768 by 768 elements in each of 12 layers, of two bytes; the table of the vocabulary is the head's and the GPU's.
        let layers = 12 * 12 * 768 * 768 * 2;
        let table = 50257 * 768 * 2;
        let of_plain = experiment(&folder, machine, &[]).plan.footprint().weights;
        let within = |more: u64| (layers..=layers + table + (1 << 20)).contains(&more);
        assert!(within(twice.weights - of_plain), "{} {of_plain}", twice.weights);
        assert!(once.weights <= of_plain + table + (1 << 20), "{} {of_plain}", once.weights);
        assert!(both.weights == once.weights && once.activations > twice.activations);
        let prompt = |r: &RunReport| r.steps.first().map_or(0.0, |s| s.latency_s);
        assert!(prompt(&converted) > prompt(&kept), "{} {}", prompt(&converted), prompt(&kept));
        assert!(prompt(&direct) <= prompt(&converted) && prompt(&direct) >= prompt(&kept));
        assert!(converted.operators.iter().any(|o| o.name == "weight conversion" && o.energy_j > 0.0));
        assert!(kept.operators.iter().all(|o| o.name != "weight conversion" && o.name != "weights_to_gpu"));
    }
}

#[test]
fn placements_that_cannot_be_are_refused_with_what_would() {
    let folder = Folder::new("hybrid-places-refused");
    let mixtral = ["workload.model=mixtral-8x7b", "workload.generation.context_tokens=32"];
    let cases: [(&str, &[&str], &str, &str); 8] = [
        (LINKED, &["mapping.place.\"ffn pu projection\"=pim"], "mapping.place", "ffn up projection"),
        (LINKED, &["mapping.place.products={ }"], "mapping.place.\"products\"", "no condition"),
        (LINKED, &["mapping.place.products={ pim_below_tokens = 4 }"], "mapping.place.\"products\"", "pim_below_batch"),
        (
            LINKED,
            &["mapping.place.products={ pim_below_batch = 0 }"],
            "mapping.place.\"products\".pim_below_batch",
            "from 1",
        ),
        (LINKED, &["mapping.place.\"attention scores\"=gpu"], "mapping.place.\"attention scores\"", "place all of it"),
        (LINKED, &["mapping.place_prefill.attention=pim"], "mapping.place_prefill.\"attention\"", "leave it out"),
        (
            LINKED,
            &["mapping.place.attention=gpu", "mapping.attention_on=pim"],
            "mapping.place.\"attention\"",
            "leave one of them out",
        ),
        (
            SHARED,
            &[mixtral[0], mixtral[1], "mapping.place.experts={ pim_below_tokens = 3 }"],
            "workload.model",
            "mapping.copies = \"convert\"",
        ),
    ];
    for (machine, settings, key, words) in cases {
        let error = match read(&folder, machine, settings) {
            Ok(_) => panic!("{settings:?} was taken"),
            Err(error) => error,
        };
        assert_eq!(error.key.as_deref(), Some(key), "{settings:?}: {error}");
        assert!(error.to_string().contains(words), "{settings:?}: {error}");
    }
}

/// Conditions of a rule hold or not for a generation.
#[test]
fn rules_choose_by_batch_and_context() {
    let folder = Folder::new("hybrid-rules");
    let runs = |rule: &str| {
        let rule = format!("mapping.place.products={rule}");
        let placed = experiment(&folder, LINKED, &["mapping.halves=1", &rule]);
        let program = run::program(&placed, 1).unwrap();
        let index = program.operators.iter().position(|o| o.name == "ffn up projection").unwrap();
        let on = program.instructions.iter().find(|i| i.operator as usize == index).unwrap().on;
        ["pim", "gpu"][on as usize]
    };
    // Eight sequences, the longest of 34 tokens.
    assert_eq!(runs("{ pim_below_batch = 9 }"), "pim");
    assert_eq!(runs("{ pim_below_batch = 8 }"), "gpu");
    assert_eq!(runs("{ pim_from_context = 20 }"), "pim");
    assert_eq!(runs("{ pim_from_context = 2000 }"), "gpu");
    assert_eq!(runs("{ pim_from_context = 20, pim_below_batch = 8 }"), "gpu");
}

/// The best of a search is at least as good as either device alone, and its bounds hold.
#[test]
fn a_search_places_at_least_as_well_as_either_device_alone() {
    let folder = Folder::new("hybrid-search");
    folder.write("machine.toml", SHARED);
    let pinned = "\n[mapping]\nlaunch = \"graph\"\nattention = \"flash\"\nhalves = 1\nattention_channels = 16\n";
    let small = EXPERIMENT.replace("prompt_tokens = 32", "context_tokens = 500\nprompt_tokens = 0");
    let path =
        folder.write("exp.toml", format!("{}{pinned}", small.replace("generated_tokens = 3", "generated_tokens = 1")));
    let found = search(Path::new(&path), &[], &SearchOptions::default(), &|_| {}).unwrap();
    let best = found.ranking.first().unwrap();
    assert!(found.proved && found.broken_bounds == 0, "{found:?}");
    for (attention, products) in [("gpu", "gpu"), ("pim", "gpu"), ("gpu", "pim"), ("pim", "pim")] {
        let rules = [format!("mapping.attention_on={attention}"), format!("mapping.place.products={products}")];
        let pure = run::run(&Experiment::read(Path::new(&path), &rules).unwrap(), RunOptions::default(), &mut |_| {});
        assert!(best.latency_s <= pure.unwrap().0.latency_s, "{attention}, {products}");
    }
    let why = found.why.iter().find(|w| w.key.contains("products")).unwrap();
    assert!(why.chosen.is_some() && why.others.iter().any(|o| o.loses.is_some()), "{why:?}");
}
