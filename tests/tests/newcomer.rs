//! What stopped newcomers once: each case as they met it, with others of its kind.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use crate::common::{EXPERIMENT, Folder, fails, succeeds};
use serde_json::Value;

/// A swept folder: two models, two channel counts, two mappings of the vocabulary.
fn swept(name: &str) -> (Folder, String) {
    let folder = Folder::new(name);
    folder.write("exp.toml", EXPERIMENT);
    let sweep = folder.write(
        "s.toml",
        "experiments = [\"exp.toml\"]\n[[vary]]\nkey = \"workload.model\"\nvalues = [\"gpt2-small\", \"gpt2-medium\"]\n\
         [[vary]]\nkey = \"machine.memory.channels\"\nvalues = [4, 8, 16]\n[[vary]]\nkey = \"mapping.lm_head\"\nvalues = [\"pim\", \"host\"]\n",
    );
    let out = folder.path("out");
    succeeds(&["sweep", &sweep, "--out", &out]);
    (folder, out)
}

/// F1, F4, F7: plots of a sweep have axes of names, choose what was varied by themselves, and know which way is better.
#[test]
fn plots_of_a_sweep() {
    let (folder, out) = swept("newcomer-plots");
    let table = format!("{out}/comparison.csv");
    for args in [
        vec!["sweep", table.as_str(), "--x", "machine", "--y", "latency_s"],
        vec!["sweep", out.as_str()],
        vec!["sweep", table.as_str(), "--x", "machine.memory.channels", "--y", "latency_s", "--by", "workload.model"],
        vec!["pareto", table.as_str(), "--x", "tokens_per_s", "--y", "energy_per_token_j"],
        vec!["breakdown", out.as_str()],
    ] {
        let svg = folder.path("plot.svg");
        let all: Vec<&str> = ["plot"].into_iter().chain(args.iter().copied()).chain(["-o", &svg]).collect();
        succeeds(&all);
        let text = folder.read("plot.svg");
        assert!(text.contains("<svg") && !text.contains("NaN"), "{args:?}");
    }
}

/// F2, F6: `validate` makes its folder, and a device that no row has is an error rather than an empty table.
#[test]
fn validate_makes_its_folder() {
    let folder = Folder::new("newcomer-validate");
    let measured = folder
        .write("m.csv", "device,trace,outstanding,refresh,cycles,read_latency_sum\nddr4-2400r,mix1k,0,on,5000,5000\n");
    let out = folder.path("not/there/yet");
    succeeds(&["validate", "memory", "--measured", &measured, "--out", &out]);
    assert!(Path::new(&out).join("validation.json").is_file());
    let (code, error) = fails(&["validate", "memory", "--device", "nope"]);
    assert!(code == 2 && error.contains("nope") && error.contains("ddr4-2400r"), "{error}");
}

/// F3: tables, CSV and JSON say what was swept, in columns; a row's name is whole.
#[test]
fn what_was_swept_is_in_columns() {
    let (folder, _) = swept("newcomer-columns");
    let text = folder.read("out/comparison.csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let heads: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    for column in ["channels", "lm_head", "workload.model", "ttft_s", "tpot_s", "energy_activate_j"] {
        assert!(heads.iter().any(|h| h == column), "{column} of {heads:?}");
    }
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let mut told: Vec<String> = rows.iter().map(|r| r[0].to_owned()).collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 12, "every row has its own name: {told:?}");
    let table = folder.read("out/comparison.md");
    assert!(table.contains("channels") && table.contains("lm_head") && !table.contains('\u{2026}'), "{table}");
}

/// F8: a result says which build made it, and one of another build is not taken.
#[test]
fn results_know_their_build() {
    let version = succeeds(&["--version"]);
    assert!(version.contains('(') && version.starts_with("banksia "), "{version}");
    let folder = Folder::new("newcomer-build");
    folder.write("exp.toml", EXPERIMENT);
    let sweep = folder.write("s.toml", "experiments = [\"exp.toml\"]\n[[vary]]\nkey = \"seed\"\nvalues = [1, 2]\n");
    let store = folder.path("s.db");
    succeeds(&["sweep", &sweep, "--store", &store]);
    let builds: Vec<Value> =
        serde_json::from_str(&succeeds(&["results", &store, "--builds", "--format", "json"])).unwrap();
    assert_eq!(builds.len(), 1);
    assert_eq!(builds[0]["points"], 2);
    assert!(builds[0]["build"].as_str().unwrap().len() > 64);
}

/// F9: a store costs what its points cost: no plots, no timelines unless asked for.
#[test]
fn a_store_holds_figures_alone() {
    let folder = Folder::new("newcomer-cost");
    folder.write("exp.toml", EXPERIMENT);
    let sweep = folder.write(
        "s.toml",
        "experiments = [\"exp.toml\"]\n[[vary]]\nkey = \"machine.memory.channels\"\nrange = { from = 8, to = 47, step = 1 }\n",
    );
    succeeds(&["sweep", &sweep, "--store", &folder.path("s.db")]);
    let bytes = std::fs::metadata(folder.path("s.db")).unwrap().len();
    assert!(bytes < 40 * 4096, "{bytes} bytes for 40 points");
    succeeds(&["sweep", &sweep, "--store", &folder.path("whole.db"), "--keep-reports"]);
    let page = folder.path("page.html");
    succeeds(&["report", &folder.path("whole.db"), "-o", &page]);
    assert!(folder.read("page.html").contains("ffn down projection"), "operators of whole reports are on the page");
}

/// F10: a machine file builds on another by `base`, and errors in it name it.
#[test]
fn machine_files_have_a_base() {
    let folder = Folder::new("newcomer-base");
    folder.write("gpu.toml", "name = \"more\"\nbase = \"h200\"\n[dram]\nchannels = 60\n");
    folder.write("wrong.toml", "name = \"more\"\nbase = \"h200\"\n[dram]\nchannel = 60\n");
    let gpu = EXPERIMENT
        .replace("pim-gpt\"\n\n[workload]", "gpu.toml\"\n\n[workload]")
        .replace("[mapping]\nstrategy = \"pim-gpt\"\n", "");
    let experiment = folder.write("exp.toml", &gpu);
    assert!(succeeds(&["run", &experiment]).contains("gpt2-small on more"));
    let experiment = folder.write("exp.toml", gpu.replace("gpu.toml", "wrong.toml"));
    let (code, error) = fails(&["run", &experiment]);
    assert!(code == 2 && error.contains("wrong.toml:4") && error.contains("channel"), "{error}");
}

/// F11: a commented file to start from runs as it is, of every kind; shipped experiments run by name.
#[test]
fn a_start_is_written_and_runs() {
    let folder = Folder::new("newcomer-init");
    let path = folder.path("pim.toml");
    succeeds(&["init", &path, "--kind", "pim"]);
    assert!(succeeds(&["run", &path, "-v", "--set", "workload.generation.generated_tokens=2"]).contains("latency"));
    let (code, error) = fails(&["init", &path]);
    assert!(code == 2 && error.contains("--force"), "{error}");
    for kind in ["gpu", "hybrid"] {
        let path = folder.path(&format!("{kind}.toml"));
        succeeds(&["init", &path, "--kind", kind]);
        succeeds(&[
            "sweep",
            &folder.write(&format!("s-{kind}.toml"), format!("experiments = [\"{kind}.toml\"]\n")),
            "--dry-run",
        ]);
    }
    let sweep = folder.path("sweep.toml");
    succeeds(&["init", &sweep, "--kind", "sweep"]);
    succeeds(&["sweep", &sweep, "--set", "workload.generation.generated_tokens=1", "--store", &folder.path("s.db")]);
    let listed = succeeds(&["list", "experiments"]);
    assert!(listed.contains("pim-gpt/gpt2-small"), "{listed}");
    succeeds(&["run", "pim-gpt/gpt2-small", "--set", "workload.generation.generated_tokens=1"]);
    let (code, error) = fails(&["run", "pim-gpt/gpt2-smal"]);
    assert!(code == 2 && error.contains("list experiments"), "{error}");
    for (file, part) in [(&sweep, "banksia sweep"), (&path, "banksia run")] {
        let (code, error) = fails(&[if part.ends_with("run") { "sweep" } else { "run" }, file]);
        assert!(code == 2 && error.contains(part), "{error}");
    }
}

/// F12: completions and man pages.
#[test]
fn completions_and_man_pages() {
    let folder = Folder::new("newcomer-man");
    for shell in ["bash", "zsh", "fish"] {
        assert!(succeeds(&["completions", shell]).contains("banksia"), "{shell}");
    }
    succeeds(&["man", "--output", &folder.path("man")]);
    for page in ["banksia", "banksia-run", "banksia-sweep", "banksia-results", "banksia-report"] {
        let text = folder.read(&format!("man/{page}.1"));
        assert!(text.contains(".TH"), "{page}: {text}");
    }
    // Names are not cut where there is no terminal.
    let text = succeeds(&["run", "pim-gpt/gpt2-small", "--set", "workload.generation.generated_tokens=1"]);
    assert!(text.contains("attention output projection"), "{text}");
}

/// F13: numbers of a timeline are numbers, and it says what it is of; an infeasible point does not stop the others.
#[test]
fn timelines_and_infeasible_points() {
    let folder = Folder::new("newcomer-timeline");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    succeeds(&["run", &experiment, "--timeline", &folder.path("t.json")]);
    let trace: Value = serde_json::from_str(&folder.read("t.json")).unwrap();
    assert_eq!(trace["otherData"]["configuration_sha256"].as_str().unwrap().len(), 64);
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(events.iter().any(|e| e["args"]["iterations"].is_u64()), "{:?}", &events[..9]);
    let sweep = folder.write(
        "s.toml",
        "experiments = [\"exp.toml\"]\n[[vary]]\nkey = \"machine.memory.channels\"\nvalues = [4, 0, 8]\n",
    );
    let rows: Vec<Value> = serde_json::from_str(&succeeds(&["sweep", &sweep, "--format", "json"])).unwrap();
    assert!(rows[1]["error"].is_string() && rows[2]["latency_s"].is_f64(), "{rows:?}");
    let (code, error) = fails(&["sweep", &sweep, "--store", &folder.path("s.db"), "--fail-fast", "--jobs", "1"]);
    assert!(code == 1 && error.contains("channels"), "{error}");
}
