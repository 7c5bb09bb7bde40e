//! Results of launches from a cache change no report: whatever the experiment, cold or warm, from memory or a file.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use crate::common::Folder;
use banksia_experiments::cache::Cache;
use banksia_experiments::{Experiment, run};
use banksia_hw::gpu::LaunchCache;
use banksia_hw::system::RunOptions;
use banksia_input::Source;
use banksia_reports::report_json;
use proptest::prelude::*;

const EXPERIMENT: &str = "name = \"cached\"\n[machine]\nbase = \"h200\"\n[workload]\nmodel = \"gpt2-small\"\n[workload.generation]\nprompt_tokens = 16\n\
                          generated_tokens = 2\n[mapping]\nstrategy = \"gpu\"\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn a_hit_gives_what_simulating_gives(
        machine in prop::sample::select(vec!["h200", "a100", "l40s"]),
        framework in prop::sample::select(vec!["torch", "compiled", "vllm"]),
        attention in prop::sample::select(vec!["flash", "plain"]),
        launch in prop::sample::select(vec!["graph", "eager"]),
        batch in 1u32..5,
        prompt in 1u32..40,
        channels in prop::sample::select(vec![None, Some(20u32)]),
    ) {
        let attention = if framework == "torch" { attention } else { "flash" };
        let mut set = vec![
            format!("machine.base={machine}"),
            format!("mapping.framework={framework}"),
            format!("mapping.attention={attention}"),
            format!("mapping.launch={launch}"),
            format!("workload.generation.batch={batch}"),
            format!("workload.generation.prompt_tokens={prompt}"),
        ];
        set.extend(channels.map(|c| format!("machine.dram.channels={c}")));
        let source = Source::from_text("cached.toml", EXPERIMENT).with_settings(&set).unwrap();
        let experiment = Experiment::new(&source, None).unwrap();
        let report = |cache: Option<&Arc<dyn LaunchCache>>| {
            let (report, _) = run::run_with(&experiment, RunOptions::default(), cache, &mut |_| {}).unwrap();
            report_json(&report).unwrap()
        };
        let without = report(None);
        let memory = Cache::in_memory();
        prop_assert_eq!(&without, &report(Some(&memory)), "cold");
        prop_assert_eq!(&without, &report(Some(&memory)), "warm");
        let folder = Folder::new("launch-cache");
        let path = folder.0.join("launches.db");
        for when in ["a new file", "a file of another run"] {
            let file = Cache::with_file(&path).unwrap();
            prop_assert_eq!(&without, &report(Some(&file)), "{}", when);
        }
    }
}

/// Points of one sweep share launches, and a file of something else is refused.
#[test]
fn a_sweep_is_the_same_with_and_without() {
    let folder = Folder::new("launch-cache-sweep");
    folder.write("exp.toml", EXPERIMENT);
    let sweep = folder.write(
        "s.toml",
        "experiments = [\"exp.toml\"]\n[[vary]]\nkey = \"workload.generation.batch\"\nvalues = [1, 2]\n",
    );
    let with = crate::common::succeeds(&["sweep", &sweep, "--format", "json"]);
    assert_eq!(with, crate::common::succeeds(&["sweep", &sweep, "--format", "json", "--no-cache"]));
    let file = folder.path("c.db");
    for _ in 0..2 {
        assert_eq!(with, crate::common::succeeds(&["sweep", &sweep, "--format", "json", "--cache", &file]));
    }
    let (code, error) = crate::common::fails(&["sweep", &sweep, "--cache", &sweep]);
    assert!(code == 2 && error.contains("--cache"), "{error}");
}
