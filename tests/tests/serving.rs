//! Experiments that serve requests: from their file to a report.
#![allow(clippy::unwrap_used, clippy::float_cmp)] // counts are whole, and equal loads are equal to the bit

use crate::common::{Folder, ODD_MODEL, fails, succeeds};

/// A small model on a GPU, and a load.
fn experiment(load: &str) -> String {
    let model = ODD_MODEL;
    format!("seed = 7\n[machine]\nbase = \"a100\"\n[workload]\nmodel = {model}\n[serving]\n{load}\n")
}

fn report(path: &str, settings: &[&str]) -> serde_json::Value {
    let set = settings.iter().flat_map(|s| ["--set", s]);
    let args: Vec<&str> = ["run", path, "--format", "json"].into_iter().chain(set).collect();
    serde_json::from_str(&succeeds(&args)).unwrap()
}

const LOAD: &str = "requests = 12\nrate_per_s = 2000.0\nprompt_tokens = 24\noutput_tokens = 12\nspread = 0.5";

#[test]
fn a_load_is_served_and_its_parts_add_up() {
    let folder = Folder::new("serving-report");
    let path = folder.write("s.toml", experiment(LOAD));
    let r = report(&path, &[]);
    let number = |key: &str| r[key].as_f64().unwrap();
    let sum =
        |list: &str, key: &str| -> f64 { r[list].as_array().unwrap().iter().map(|o| o[key].as_f64().unwrap()).sum() };
    for key in ["latency_s", "energy_j"] {
        for list in ["operators", "steps"] {
            assert!((sum(list, key) / number(key) - 1.0).abs() < 1e-9, "{list} {key}");
        }
    }
    let metric = |key: &str| r["metrics"][key].as_f64().unwrap();
    assert_eq!(metric("requests"), 12.0);
    assert!(metric("ttft_p50_s") <= metric("ttft_p99_s") && metric("tpot_p50_s") <= metric("tpot_p99_s"));
    assert!((metric("ttft_mean_s") - number("ttft_s")).abs() < 1e-15);
    assert!(metric("simulated_steps") < metric("steps"), "steps lie between those that were run");
    // The same seed, the same load; another, another.
    assert_eq!(r["metrics"], report(&path, &[])["metrics"]);
    assert_ne!(r["metrics"], report(&path, &["seed=8"])["metrics"]);
}

#[test]
fn one_request_takes_what_its_generation_takes() {
    let folder = Folder::new("serving-one");
    // A prompt and contexts that lie on the grid: 16 tokens, and contexts below 128 count as that.
    let load = "requests = 1\nconcurrency = 1\nprompt_tokens = 16\noutput_tokens = 3";
    let path = folder.write("s.toml", experiment(load));
    let served = report(&path, &[]);
    let generation = experiment("").replace("[serving]", "[workload.generation]");
    let prompt = folder.write(
        "p.toml",
        format!("{generation}prompt_tokens = 16\ngenerated_tokens = 1\nignore_position_limit = true\n"),
    );
    let token = folder.write(
        "t.toml",
        format!(
            "{generation}context_tokens = 127\nprompt_tokens = 0\ngenerated_tokens = 1\nignore_position_limit = true\n"
        ),
    );
    let latency = |r: &serde_json::Value| r["latency_s"].as_f64().unwrap();
    let (prompt, token) = (latency(&report(&prompt, &[])), latency(&report(&token, &[])));
    assert!((latency(&served) / (prompt + 2.0 * token) - 1.0).abs() < 1e-9);
    assert!((served["ttft_s"].as_f64().unwrap() / prompt - 1.0).abs() < 1e-9);
    assert!((served["tpot_s"].as_f64().unwrap() / token - 1.0).abs() < 1e-9);
}

#[test]
fn who_comes_faster_waits_longer() {
    let folder = Folder::new("serving-rates");
    let path = folder.write("s.toml", experiment(LOAD));
    let slow = report(&path, &["serving.rate_per_s=1.0", "serving.engine.max_sequences=1"]);
    let fast = report(&path, &["serving.rate_per_s=1e6", "serving.engine.max_sequences=1"]);
    let ttft = |r: &serde_json::Value| r["ttft_s"].as_f64().unwrap();
    assert!(ttft(&fast) > 3.0 * ttft(&slow), "{} {}", ttft(&fast), ttft(&slow));
    assert!(slow["steps"].as_array().unwrap().iter().any(|s| s["phase"] == "idle"));
    assert!(fast["steps"].as_array().unwrap().iter().all(|s| s["phase"] != "idle"));
}

#[test]
fn a_trace_says_when_and_how_long() {
    let folder = Folder::new("serving-trace");
    folder.write("t.csv", "arrival_s,prompt_tokens,output_tokens\n0.0,16,4\n5.0,24,2\n");
    let path = folder.write("s.toml", experiment("trace = \"t.csv\""));
    let r = report(&path, &[]);
    assert_eq!(r["tokens"], 6);
    assert!(r["latency_s"].as_f64().unwrap() > 5.0);
    folder.write("t.csv", "arrival_s,prompt_tokens,output_tokens\n0.0,16,none\n");
    let (code, error) = fails(&["run", &path]);
    assert!(code == 2 && error.contains("t.csv:2") && error.contains("`none` tokens"), "{error}");
}

#[test]
fn wrong_loads_are_refused_by_name() {
    let folder = Folder::new("serving-wrong");
    for (load, said) in [
        ("requests = 3\nprompt_tokens = 4\noutput_tokens = 4", "needs one of `concurrency`"),
        ("rate_per_s = 1.0\nconcurrency = 2\nprompt_tokens = 4\noutput_tokens = 4", "needs one of `concurrency`"),
        ("rate_per_s = 1.0\nprompt_tokens = 4", "serving.output_tokens"),
        ("rate_per_s = -1.0\nprompt_tokens = 4\noutput_tokens = 4", "serving.rate_per_s"),
        ("rate_per_s = 1.0\nprompt_tokens = 1000000\noutput_tokens = 4", "serving.prompt_tokens"),
        ("concurrency = 1\nprompt_tokens = 20\noutput_tokens = 9\nengine = { cache_tokens = 16 }", "cannot be served"),
    ] {
        let path = folder.write("s.toml", experiment(load));
        let (code, error) = fails(&["run", &path]);
        assert!(code == 2 && error.contains(said), "{load}: {error}");
    }
}
