//! Generations that start with tokens in the cache, and models imported from Hugging Face's files, through the command line.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::common::{EXPERIMENT, Folder, ODD_MODEL, banksia, succeeds};
use serde_json::Value;

const GPU: &str = "\
[machine]
base = \"h200\"

[workload]
model = { name = \"narrow\", layers = 2, width = 256, heads = 4, vocab = 1000, max_positions = 256 }

[workload.generation]
prompt_tokens = 1
generated_tokens = 2
batch = 2
";

/// Phase, context and latency of each step, and the report.
fn steps(experiment: &str, [context, prompt, generated]: [u64; 3]) -> (Vec<(String, u64, f64)>, Value) {
    let set = |key: &str, value: u64| ["--set".to_owned(), format!("workload.generation.{key}={value}")];
    let mut args = vec!["run".to_owned(), experiment.to_owned(), "--format".into(), "json".into()];
    args.extend(set("context_tokens", context));
    args.extend(set("prompt_tokens", prompt));
    args.extend(set("generated_tokens", generated));
    let report: Value = serde_json::from_str(&succeeds(&args)).unwrap();
    let of = |step: &Value| {
        let phase = step["phase"].as_str().unwrap().to_owned();
        (phase, step["context_tokens"].as_u64().unwrap(), step["latency_s"].as_f64().unwrap())
    };
    (report["steps"].as_array().unwrap().iter().map(of).collect(), report)
}

#[test]
fn a_cache_that_is_there_already_is_not_computed_again() {
    let folder = Folder::new("started");
    // Without refreshes, which fall elsewhere in a run that begins later.
    let still = EXPERIMENT.replace("\"pim-gpt\"\n\n[w", "\"pim-gpt\"\nmemory.refresh = false\n\n[w");
    let pim = folder.write("pim.toml", still.replace("\"gpt2-small\"", ODD_MODEL));
    let gpu = folder.write("gpu.toml", GPU);
    for experiment in [&pim, &gpu] {
        let (whole, all) = steps(experiment, [0, 40, 4]);
        let (started, decode) = steps(experiment, [40, 0, 3]);
        let places = |steps: &[(String, u64, f64)]| -> Vec<(String, u64)> {
            steps.iter().map(|(phase, context, _)| (phase.clone(), *context)).collect()
        };
        assert_eq!(places(&started), places(&whole[1..]), "{experiment}");
        // A GPU's L2 is empty when a run starts, and holds what the prompt left when it has been run.
        let cold = usize::from(experiment == &gpu);
        for ((.., a), (.., b)) in started.iter().zip(&whole[1..]).skip(cold) {
            // It keeps a trace of that for a while: the share of lines that were written.
            let most = if experiment == &gpu { 0.01 } else { 0.002 };
            assert!((a / b - 1.0).abs() < most, "{experiment}: {a} {b}");
        }
        assert_eq!((decode["tokens"].as_u64(), whole.len()), (all["tokens"].as_u64().map(|n| n * 3 / 4), 4));
        let latency = decode["latency_s"].as_f64().unwrap();
        assert!(latency < all["latency_s"].as_f64().unwrap() - 0.9 * whole[0].2, "{experiment}: the prompt is not run");

        // One step, which is decode; and a prompt over a past.
        assert_eq!(places(&steps(experiment, [40, 0, 1]).0), [("decode".into(), 41)]);
        let (chunk, _) = steps(experiment, [40, 8, 2]);
        assert_eq!(places(&chunk), [("prefill".into(), 48), ("decode".into(), 49)]);
        // Longer than the same prompt without a past, shorter than with the past computed too.
        let (alone, at_once) = (steps(experiment, [0, 8, 1]).0[0].2, steps(experiment, [0, 48, 1]).0[0].2);
        assert!(alone <= 1.001 * chunk[0].2 && chunk[0].2 <= 1.1 * at_once, "{alone} {} {at_once}", chunk[0].2);

        let map = ["map", experiment, "--token", "1", "--set", "workload.generation.context_tokens=40"];
        succeeds(&[&map[..], &["--set", "workload.generation.prompt_tokens=0"]].concat());
    }
    // The program of a token is that of its context.
    let program = |[context, prompt, generated]: [u64; 3], token: &str| {
        let path = folder.path("p.json");
        let set = [
            format!("workload.generation.context_tokens={context}"),
            format!("workload.generation.prompt_tokens={prompt}"),
            format!("workload.generation.generated_tokens={generated}"),
        ];
        let mut args = vec!["map", &pim, "--token", token, "--program", &path];
        args.extend(set.iter().flat_map(|s| ["--set", s.as_str()]));
        succeeds(&args);
        folder.read("p.json")
    };
    // The longest context lays out the caches, and is 48 in both.
    assert!(program([40, 0, 8], "3") == program([0, 40, 9], "4"), "another program");
}

#[test]
fn a_generation_of_nothing_and_from_nothing_is_refused() {
    let folder = Folder::new("started-refused");
    let gpu = folder.write("gpu.toml", GPU);
    for (settings, says) in [
        (&["prompt_tokens=0"][..], "`workload.generation.prompt_tokens` is 0: must be from 1"),
        (&["context_tokens=-1"], "`workload.generation.context_tokens` is -1: must be from 0"),
        (
            &["context_tokens=256", "prompt_tokens=0"],
            "`workload.generation.context_tokens` gives a context of 258 tokens",
        ),
    ] {
        let set: Vec<String> = settings.iter().map(|s| format!("workload.generation.{s}")).collect();
        let mut args = vec!["run", &gpu];
        args.extend(set.iter().flat_map(|s| ["--set", s.as_str()]));
        let output = banksia(&args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(says), "{settings:?}: {error}");
    }
}

#[test]
fn an_import_has_a_name_and_writes_over_nothing() {
    let folder = Folder::new("import-names");
    let config = folder.write(
        "tiny.json",
        "{\"model_type\": \"gpt2\", \"n_layer\": 2, \"n_embd\": 128, \"n_head\": 4, \"vocab_size\": 500, \"n_positions\": 64}",
    );
    let model = folder.path("model.toml");
    succeeds(&["import", "hf", &config, "-o", &model]);
    assert!(folder.read("model.toml").contains("name = \"tiny\""));
    let refused = |args: &[&str], says: &str| {
        let output = banksia(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(says), "{args:?}: {error}");
    };
    refused(&["import", "hf", &config, "-o", &model], "model.toml: is there already");
    refused(&["import", "hf", &config, "-o", &folder.path("other.toml"), "--name", " "], "--name: is empty");
    assert!(!folder.0.join("other.toml").exists());
    succeeds(&["import", "hf", &config, "-o", &model, "--force", "--name", "mine"]);
    assert!(folder.read("model.toml").contains("name = \"mine\""));
}
