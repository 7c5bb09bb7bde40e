//! The search of mappings: what it calls the optimum is one, its bounds hold, and what it prints can be fed back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{Folder, fails, succeeds};
use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_experiments::search::{Found, Objective, SearchOptions, search};
use banksia_hw::system::RunOptions;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A machine of the catalog, a small model, and some pinned keys.
fn experiment(machine: &str, channels: u32, sizes: (u32, u32, u32, u32), context: u32, pinned: &str) -> String {
    let (layers, heads, head_dim, width) = sizes;
    format!(
        "[machine]\nbase = \"{machine}\"\nmemory.channels = {channels}\n\n[workload]\nmodel = {{ name = \"m\", layers = {layers}, width = {width}, heads = {heads}, \
         head_dim = {head_dim}, vocab = 512, max_positions = 4096 }}\n\n[workload.generation]\ncontext_tokens = {context}\nprompt_tokens = 1\ngenerated_tokens = 1\n\n\
         [mapping]\nstrategy = \"pim\"\n{pinned}"
    )
}

fn found(path: &str, options: &SearchOptions) -> Found {
    search(Path::new(path), &[], options, &|_| {}).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What leaves a space small: two matrices' layouts are open, and attention's channels.
const SMALL: &str = "layout.\"qkv projection\" = { split = 1 }\nlayout.\"attention output projection\" = { split = 1 }\nlayout.\"ffn up projection\" = { split = 1 }\n";

fn pruned_is_exhaustive(cases: u32) {
    let folder = Folder::new(&format!("search-exhaustive-{cases}"));
    let strategy =
        (1u32..3, 1u32..5, 1u32..3, 1u32..5, prop_oneof![Just(2u32), Just(4)], 1u32..300, 0usize..3, 0u64..3);
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    runner
        .run(&strategy, |(layers, heads, dim, width, channels, context, which, seed)| {
            let sizes = (layers, heads, dim * 32, width * 128);
            let path = folder.write("e.toml", experiment("aim", channels, sizes, context, SMALL));
            let objective = [Objective::Latency, Objective::Energy, Objective::Edp][which];
            let options = SearchOptions { objective, seed, budget: 1 << 20, ..SearchOptions::default() };
            let pruned = found(&path, &options);
            let all = found(&path, &SearchOptions { exhaustive: true, ..options });
            prop_assert!(pruned.proved && all.proved);
            prop_assert_eq!(pruned.ranking[0].value, all.ranking[0].value);
            prop_assert!(pruned.simulated <= all.simulated);
            prop_assert_eq!(pruned.broken_bounds + all.broken_bounds, 0);
            prop_assert_eq!(all.simulated as f64, all.plans);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_pruned_is_never_the_best() {
    pruned_is_exhaustive(6);
}

/// The same on 200 spaces: `cargo test --release -p banksia-tests --test all search -- --ignored`.
#[test]
#[ignore = "up to a minute and a half; the test above does the same with fewer in every run"]
fn what_is_pruned_is_never_the_best_of_200_spaces() {
    pruned_is_exhaustive(200);
}

/// Simulates every plan of spaces until so many mappings have been: no bound is above its simulation.
fn bounds_hold(mappings: u64) {
    let folder = Folder::new(&format!("search-bounds-{mappings}"));
    let (mut done, mut case) = (0, 0u32);
    while done < mappings {
        let channels = [2, 4, 8][case as usize % 3];
        let machine = ["aim", "aim", "hbm-pim", "attacc"][case as usize % 4];
        let sizes = (1 + case % 2, 1 + case % 5, 32 * (1 + case % 3), 128 * (1 + case % 4));
        let pinned = if machine == "aim" { "" } else { SMALL };
        let mut text = experiment(machine, channels, sizes, 1 + 97 * case % 700, pinned);
        // Sequences of a batch that go together, as many as the vector unit's memory holds the values of.
        if case % 6 == 5 {
            text = text.replace("prompt_tokens = 1\n", "prompt_tokens = 1\nbatch = 3\n");
        }
        // Gates, whose vectors the vector unit takes as they come, and machines that do not refresh, whose bounds have no slack of that.
        if case % 2 == 1 {
            text = text.replace("vocab = 512", "gated = true, activation = \"silu\", vocab = 512");
        }
        if case % 5 > 2 {
            text = text.replace("[machine]\n", "[machine]\nmemory.refresh = false\n");
        }
        // Wide ones, whose blocks go on for several refreshes.
        let wide = case % 7 == 6;
        if wide {
            text = text.replace("width = ", "ffn_width = 5632, width = ");
        }
        let path = folder.write("e.toml", text);
        let options = SearchOptions {
            budget: (mappings - done).min(if wide { 60 } else { 400 }),
            seed: u64::from(case) + 1,
            exhaustive: true,
            ..SearchOptions::default()
        };
        let found = found(&path, &options);
        for plan in &found.ranking {
            assert!(plan.bound_s <= plan.latency_s, "case {case}, {machine}, {sizes:?}: {plan:?}");
            assert!(plan.bound_s > 0.0 || machine == "hbm-pim", "{machine}: {plan:?}");
        }
        done += found.simulated.max(1);
        case += 1;
    }
}

#[test]
fn bounds_are_never_above_the_simulation() {
    bounds_hold(150);
}

/// The same on 10,000 mappings.
#[test]
#[ignore = "up to a minute and a half; the test above does the same with fewer in every run"]
fn bounds_are_never_above_the_simulation_of_10_000_mappings() {
    bounds_hold(10_000);
}

/// The same of models of more layers, whose plans are bounded by the course of one layer taken as often as there are: on each machine, with refresh.
#[test]
fn bounds_of_many_layers_are_never_above_the_simulation() {
    let folder = Folder::new("search-bounds-layers");
    for (case, (machine, channels)) in [("aim", 4), ("attacc", 4), ("hbm-pim", 4), ("aim", 8)].into_iter().enumerate() {
        let case = case as u32;
        let sizes = (3 + case, 2 + case, 64, 512 + 256 * case);
        let path = folder.write("e.toml", experiment(machine, channels, sizes, 60 + 311 * case, ""));
        let options = SearchOptions { budget: 24, seed: u64::from(case), ..SearchOptions::default() };
        for found in [found(&path, &options), found(&path, &SearchOptions { exhaustive: true, ..options.clone() })] {
            assert!((found.simulated > 8 || found.proved) && found.broken_bounds == 0, "{machine}: {found:?}");
            assert!(found.bound <= found.ranking[0].value && found.bound > 0.0);
        }
    }
}

/// The best layouts of a layer of Llama-3.1-8B, with proof: what `docs/search.md` shows.
#[test]
fn a_decode_layer_is_proved() {
    for (machine, least) in [("aim", 1e5), ("hbm-pim", 1e5), ("h200-attacc", 10.0)] {
        let path = format!("{}/../configs/search/layer-{machine}.toml", env!("CARGO_MANIFEST_DIR"));
        let found = found(&path, &SearchOptions { budget: 2000, jobs: Some(1), ..SearchOptions::default() });
        assert!(found.proved && found.gap == 0.0 && found.broken_bounds == 0, "{machine}: {}", found.gap);
        assert!(found.plans > least && found.simulated < 1000, "{machine}: {} of {}", found.simulated, found.plans);
    }
}

/// Local search alone finds the optimum of small spaces from most seeds, says the same on any number of threads, and never claims a proof.
#[test]
fn local_search_finds_the_optimum_from_most_seeds() {
    let folder = Folder::new("search-local");
    let (mut met, mut all) = (0, 0);
    for (case, channels) in [4u32, 8].into_iter().enumerate() {
        let path = folder.write("e.toml", experiment("aim", channels, (2, 4, 64, 256), 150 + 400 * case as u32, SMALL));
        let whole = found(&path, &SearchOptions { exhaustive: true, budget: 1 << 20, ..SearchOptions::default() });
        assert!(whole.proved && whole.simulated > 12, "{}", whole.simulated);
        for seed in 0..4 {
            let options = SearchOptions { local: true, seed, budget: 10, jobs: Some(1), ..SearchOptions::default() };
            let one = found(&path, &options);
            assert_eq!(one, found(&path, &SearchOptions { jobs: Some(4), ..options }));
            assert!(!one.proved && one.simulated <= 11 && one.bound <= whole.ranking[0].value, "{one:?}");
            all += 1;
            met += u32::from(one.ranking[0].value == whole.ranking[0].value);
        }
    }
    assert!(4 * met >= 3 * all, "{met} of {all}");
}

#[test]
fn the_result_is_the_same_on_any_number_of_threads_and_can_be_fed_back() {
    let folder = Folder::new("search-threads");
    let path = folder.write("e.toml", experiment("aim", 4, (1, 4, 64, 256), 200, SMALL));
    let of = |jobs| found(&path, &SearchOptions { jobs: Some(jobs), ..SearchOptions::default() });
    let one = of(1);
    assert_eq!(one, of(3));
    assert!(one.proved && one.gap == 0.0 && one.ranking.len() > 1);
    let best = &one.ranking[0];
    let settings: Vec<String> = best.settings.iter().map(|(k, v)| format!("mapping.{k}={v}")).collect();
    let again = Experiment::read(Path::new(&path), &settings).unwrap();
    let (report, _) = run::run(&again, RunOptions::default(), &mut |_| {}).unwrap();
    assert_eq!((report.latency_s, report.energy_j), (best.latency_s, best.energy_j));
    // As the table that it prints.
    let written: toml::Table = one.mapping.parse().unwrap();
    let mut whole: toml::Table = folder.read("e.toml").parse().unwrap();
    let mapping = whole["mapping"].as_table_mut().unwrap();
    for (key, value) in written["mapping"].as_table().unwrap() {
        match (mapping.get_mut(key).and_then(toml::Value::as_table_mut), value.as_table()) {
            (Some(own), Some(more)) => own.extend(more.clone()),
            _ => {
                mapping.insert(key.clone(), value.clone());
            }
        }
    }
    let fed = folder.write("fed.toml", toml::to_string(&whole).unwrap());
    let report: serde_json::Value = serde_json::from_str(&succeeds(&["run", &fed, "--format", "json"])).unwrap();
    let first = report.as_array().map_or(&report, |list| &list[0]);
    assert_eq!(first["latency_s"].as_f64(), Some(best.latency_s));
}

#[test]
fn the_ranking_is_printed_and_choices_are_explained() {
    let folder = Folder::new("search-printed");
    let path = folder.write("e.toml", experiment("aim", 4, (1, 4, 64, 256), 200, SMALL));
    let text = succeeds(&["map", &path, "--search", "--why"]);
    assert!(text.contains("is the optimum of this space") && text.contains("attention_channels"), "{text}");
    assert!(text.contains("its bound excludes it") || text.contains("simulated, loses"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&succeeds(&["map", &path, "--search", "--objective", "edp", "--format", "json"])).unwrap();
    let values: Vec<f64> = json["ranking"].as_array().unwrap().iter().map(|p| p["value"].as_f64().unwrap()).collect();
    assert!(values.is_sorted() && values.len() as u64 <= json["simulated"].as_u64().unwrap());
    for key in ["latency_s", "energy_j", "bound_s", "gap", "settings", "pareto"] {
        assert!(!json["ranking"][0][key].is_null(), "{key}");
    }
}

#[test]
fn a_budget_ends_the_search_and_the_gap_says_so() {
    let folder = Folder::new("search-budget");
    let path = folder.write("e.toml", experiment("aim", 8, (1, 4, 64, 256), 200, ""));
    let found = found(&path, &SearchOptions { budget: 8, ..SearchOptions::default() });
    assert!(found.simulated <= 9 && !found.proved && found.gap > 0.0, "{found:?}");
    assert!(found.bound <= found.ranking[0].value);
}

#[test]
fn what_no_mapping_can_do_names_the_constraint() {
    let folder = Folder::new("search-none");
    let path = folder.write("e.toml", experiment("aim", 1, (2000, 8, 128, 1024), 200, ""));
    let (code, error) = fails(&["map", &path, "--search"]);
    assert_eq!(code, 2);
    assert!(error.contains("no mapping is legal") && error.contains("GiB of weights"), "{error}");
    let path =
        folder.write("e.toml", experiment("aim", 4, (1, 4, 64, 256), 200, "layout.\"ffn up\" = { split = 2 }\n"));
    let (code, error) = fails(&["run", &path]);
    assert!(code == 2 && error.contains("did you mean `ffn up projection`"), "{error}");
    let path = folder
        .write("e.toml", experiment("aim", 4, (1, 4, 64, 256), 200, "layout.\"qkv projection\" = { split = 3 }\n"));
    let (code, error) = fails(&["run", &path]);
    assert!(code == 2 && error.contains("does not divide the 4 channels") && error.contains("1, 2, 4"), "{error}");
}

/// A training step on eight devices, some keys of which a search may pin.
fn training(heads: u32, layers: u32, software: &str) -> String {
    format!(
        "[training]\ncluster = \"a100-selene\"\nsoftware = \"{software}\"\n\n[parallel]\ntp = 2\npp = 2\ndp = 2\n\n[train]\nmicro_batch = 1\nglobal_batch = 8\n\
         sequence = 512\n\n[workload]\nmodel = {{ name = \"m\", layers = {layers}, width = {}, heads = {heads}, vocab = 1024, max_positions = 512 }}\n",
        heads * 64
    )
}

fn found_with(path: &str, settings: &[&str], options: &SearchOptions) -> Found {
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    search(Path::new(path), &settings, options, &|_| {}).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Pins what would make many operators to simulate.
const FEW: [&str; 3] = ["parallel.tp=2", "train.micro_batch=1", "train.recompute=none"];

#[test]
fn settings_of_a_training_step_are_searched_with_proof() {
    let folder = Folder::new("search-training");
    for (case, software) in ["megatron-2022", "megatron-core"].into_iter().enumerate() {
        let path = folder.write("t.toml", training(8, 4 + 2 * case as u32, software));
        let options = SearchOptions { budget: 1 << 20, jobs: Some(1), ..SearchOptions::default() };
        let pruned = found_with(&path, &FEW, &options);
        let all = found_with(&path, &FEW, &SearchOptions { exhaustive: true, ..options.clone() });
        assert!(pruned.proved && all.proved && pruned.gap == 0.0);
        assert_eq!(pruned.ranking[0], all.ranking[0]);
        assert_eq!(pruned.broken_bounds + all.broken_bounds, 0);
        assert!(pruned.simulated < all.simulated && all.plans > 50.0, "{} of {}", pruned.simulated, all.simulated);
        // On any number of threads, and fed back.
        assert_eq!(pruned, found_with(&path, &FEW, &SearchOptions { jobs: Some(3), ..options.clone() }));
        let best = &pruned.ranking[0];
        let settings: Vec<String> = best.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let again = Experiment::read(Path::new(&path), &settings).unwrap();
        let (report, _) = run::run(&again, RunOptions::default(), &mut |_| {}).unwrap();
        assert_eq!((report.latency_s, report.energy_j), (best.latency_s, best.energy_j));
        let written: toml::Table = pruned.mapping.parse().unwrap();
        let mut whole: toml::Table = folder.read("t.toml").parse().unwrap();
        for (table, keys) in &written {
            whole[table].as_table_mut().unwrap().extend(keys.as_table().unwrap().clone());
        }
        let fed = folder.write("fed.toml", toml::to_string(&whole).unwrap());
        let again = Experiment::read::<&str>(Path::new(&fed), &[]).unwrap();
        let (report, _) = run::run(&again, RunOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(report.latency_s, best.latency_s);
        // Neither seconds nor joules given up: the same front, pruned and whole.
        let both = SearchOptions { objective: Objective::LatencyEnergy, ..options };
        let front = |found: &Found| {
            let mut on: Vec<(f64, f64)> =
                found.ranking.iter().filter(|p| p.pareto).map(|p| (p.latency_s, p.energy_j)).collect();
            on.sort_by(|a, b| a.0.total_cmp(&b.0));
            on.dedup();
            on
        };
        let pruned = found_with(&path, &FEW, &both);
        assert!(pruned.proved);
        assert_eq!(front(&pruned), front(&all));
    }
}

#[test]
fn settings_that_are_not_legal_say_why() {
    let folder = Folder::new("search-training-refused");
    let path = folder.write("t.toml", training(8, 4, "megatron-2022"));
    let found = found_with(&path, &["parallel.tp=8", "train.micro_batch=8"], &SearchOptions::default());
    assert!(found.ranking.iter().all(|p| p.settings["parallel.tp"] == "8" && p.settings["parallel.dp"] == "1"));
    let (code, error) = fails(&["map", &path, "--search", "--set", "parallel.dp=8", "--set", "train.micro_batch=8"]);
    assert!(code == 2 && error.contains("no mapping is legal") && error.contains("train.global_batch"), "{error}");
    let text = succeeds(&["map", &path, "--search", "--why", "--set", "parallel.tp=2", "--set", "train.micro_batch=1"]);
    assert!(text.contains("[parallel]") && text.contains("parallel.schedule") && text.contains("not legal"), "{text}");
}

/// A search that ends early and goes on later, in a store, says what one that was never stopped says.
#[test]
fn a_search_that_was_stopped_goes_on_from_its_store() {
    let folder = Folder::new("search-store");
    let step = folder.write("t.toml", training(8, 4, "megatron-2022"));
    let generation = folder.write("e.toml", experiment("aim", 8, (1, 4, 64, 256), 200, SMALL));
    for (path, settings) in [(&step, FEW.as_slice()), (&generation, &[])] {
        let store = folder.path("s.db");
        let _ = std::fs::remove_file(&store);
        let options = SearchOptions { budget: 40, ..SearchOptions::default() };
        let whole = found_with(path, settings, &options);
        let kept = SearchOptions { store: Some(store.clone().into()), ..options };
        let stopped = found_with(path, settings, &SearchOptions { budget: 9, ..kept.clone() });
        let resumed = found_with(path, settings, &kept);
        assert_eq!((stopped.taken, resumed.taken), (0, stopped.simulated), "{path}");
        assert_eq!(Found { taken: 0, ..resumed }, whole);
        // All of it is there now, and a comment in the file changes nothing of it.
        let again = found_with(path, settings, &kept);
        assert_eq!(again.taken, whole.simulated);
        let text = format!("# as before\n{}", std::fs::read_to_string(path).unwrap());
        std::fs::write(path, text).unwrap();
        assert_eq!(found_with(path, settings, &kept).taken, whole.simulated);
        let rows = succeeds(&["results", &store, "--format", "json"]);
        let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
        assert_eq!(rows.as_array().map_or(0, Vec::len) as u64, whole.simulated, "{rows}");
    }
}

/// Objectives' names are those of the command line.
#[test]
fn every_objective_can_be_asked_for() {
    let folder = Folder::new("search-objectives");
    let pinned = format!("{SMALL}layout.\"ffn down projection\" = {{ split = 1 }}\n");
    let path = folder.write("e.toml", experiment("aim", 2, (1, 2, 32, 128), 50, &pinned));
    let names: BTreeMap<&str, Objective> = Objective::ALL.into();
    for name in names.keys() {
        succeeds(&["map", &path, "--search", "--objective", name]);
    }
}

/// States that HBM-PIM's host reads and writes find their rows open: less than the same accesses take by themselves.
#[test]
fn bounds_of_states_are_never_above_the_simulation() {
    let file = "../configs/search/layer-hbm-pim.toml";
    let of_model = ["workload.model=mamba2-2.7b", "machine.memory.refresh=false"];
    let all = found_with(file, &of_model, &SearchOptions { budget: 5, ..SearchOptions::default() });
    assert_eq!(all.broken_bounds, 0);
    assert!(all.ranking.iter().all(|r| r.bound_s > 0.8 * r.latency_s || r.settings.is_empty()), "{:?}", all.ranking);
}

/// The feed-forward layer of a parallel block is ready in the banks while attention is on the GPU: its channels are not at it yet.
#[test]
fn channels_in_order_do_not_hold_a_memory_that_their_own_past_needs() {
    let file = "../configs/search/layer-h200-attacc.toml";
    let of_model = ["workload.model=pythia-1.4b", "workload.generation.batch=1", "mapping.attention_channels=1"];
    let all = found_with(file, &of_model, &SearchOptions { budget: 64, ..SearchOptions::default() });
    assert!(all.proved && all.refused.is_empty(), "{:?}", all.refused);
    let mixed = |r: &&banksia_experiments::search::Ranked| {
        let is = |key: &str, device: &str| r.settings.get(key).is_some_and(|v| v.contains(device));
        is("attention_on", "gpu") && is("place.\"products\"", "pim")
    };
    assert!(all.ranking.iter().any(|r| mixed(&r)), "{:?}", all.ranking);
}

/// With attention in the banks and no prompt the GPU has no attention; with it on the GPU nothing has channels of a head.
#[test]
fn choices_that_change_nothing_are_left_out() {
    let file = "../configs/search/layer-h200-attacc.toml";
    let all = found_with(file, &[], &SearchOptions { budget: 0, ..SearchOptions::default() });
    // Two launches and two places of products, with seven widths in the banks or two kernels on the GPU.
    assert_eq!(all.plans, 2.0 * 2.0 * (7.0 + 2.0));
    let pinned = ["mapping.attention_on=gpu"];
    let all = found_with(file, &pinned, &SearchOptions { budget: 0, ..SearchOptions::default() });
    assert_eq!(all.plans, 2.0 * 2.0 * 2.0);
    assert!(all.written.is_some(), "{:?}", all.written_breaks);
}

/// What `[parallel]` and `[serving]` say is part of what a stored result depends on.
#[test]
fn stored_results_are_of_the_same_experiment() {
    let folder = Folder::new("search-store-of-one");
    let text = "[machine]\nbase = \"h200\"\n\n[workload]\nmodel = \"gpt2-small\"\n\n[serving]\nrequests = 12\nrate_per_s = 50\nprompt_tokens = 64\noutput_tokens = 4\n\n\
                [mapping]\nframework = \"torch\"\nattention = \"flash\"\n";
    let (path, store) = (folder.write("e.toml", text), folder.path("s.db"));
    let run = |rate: &str| {
        let store = Some(std::path::PathBuf::from(&store));
        found_with(&path, &[rate], &SearchOptions { store, ..SearchOptions::default() })
    };
    let first = run("serving.rate_per_s=50");
    assert_eq!((first.taken, run("serving.rate_per_s=50").taken), (0, first.simulated));
    let other = run("serving.rate_per_s=5");
    assert_eq!(other.taken, 0);
    assert!(other.ranking[0].latency_s > 2.0 * first.ranking[0].latency_s);
}

/// Other keys are varied around the search: each combination with its own answer, and what is not legal with its reason.
#[test]
fn other_keys_are_varied_around_a_search() {
    let folder = Folder::new("search-vary");
    let path = folder.write("e.toml", experiment("aim", 2, (1, 2, 32, 128), 40, SMALL));
    let vary = ["--vary", "machine.memory.channels=2|4|3000000", "--vary", "workload.generation.context_tokens=40|80"];
    let args = [&["map", path.as_str(), "--search", "--format", "json"], &vary[..]].concat();
    let all: serde_json::Value = serde_json::from_str(&succeeds(&args)).unwrap();
    let of = all["combinations"].as_array().unwrap();
    assert_eq!((of.len(), all["proved"].as_bool()), (6, Some(true)));
    let seconds: Vec<f64> = of.iter().filter_map(|c| c["found"]["ranking"][0]["latency_s"].as_f64()).collect();
    assert!(seconds.len() == 4 && seconds.is_sorted(), "{seconds:?}");
    assert!(of[5]["breaks"].is_string() && of[5]["found"].is_null());
    // Each is what a search of its own finds.
    let settings = ["machine.memory.channels=4", "workload.generation.context_tokens=80"];
    let own = found_with(&path, &settings, &SearchOptions::default());
    let same = of.iter().find(|c| {
        c["varied"]["machine.memory.channels"] == "4" && c["varied"]["workload.generation.context_tokens"] == "80"
    });
    assert_eq!(same.unwrap()["found"]["ranking"][0]["latency_s"].as_f64(), Some(own.ranking[0].latency_s));
    let (code, said) = fails(&["map", path.as_str(), "--search", "--vary", "workload.generation.batch"]);
    assert!(code == 2 && said.contains("has no `=`"), "{said}");
}
