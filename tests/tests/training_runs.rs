//! Experiments that train, from their file to a report, a sweep and a timeline.
#![allow(clippy::unwrap_used)]

use crate::common::{Folder, fails, succeeds};

const SMALL: &str = "\
[training]
cluster = \"a100-selene\"

[parallel]
tp = 2
pp = 2
dp = 2

[train]
micro_batch = 1
global_batch = 8
sequence = 512

[workload]
model = \"gpt2-medium\"
";

fn report(path: &str, settings: &[&str]) -> serde_json::Value {
    let set = settings.iter().flat_map(|s| ["--set", s]);
    let args: Vec<&str> = ["run", path, "--format", "json"].into_iter().chain(set).collect();
    serde_json::from_str(&succeeds(&args)).unwrap()
}

#[test]
fn a_step_is_reported_and_its_parts_add_up() {
    let folder = Folder::new("training-report");
    let path = folder.write("t.toml", SMALL);
    let r = report(&path, &[]);
    let latency = r["latency_s"].as_f64().unwrap();
    let sum: f64 = r["operators"].as_array().unwrap().iter().map(|o| o["latency_s"].as_f64().unwrap()).sum();
    assert!(latency > 0.0 && (sum / latency - 1.0).abs() < 1e-9);
    let energy = r["energy_j"].as_f64().unwrap();
    let all =
        |list: &str, key: &str| -> f64 { r[list].as_array().unwrap().iter().map(|o| o[key].as_f64().unwrap()).sum() };
    let by_cause =
        |parts: &serde_json::Value| -> f64 { parts.as_object().unwrap().values().map(|j| j.as_f64().unwrap()).sum() };
    assert!((all("operators", "energy_j") / energy - 1.0).abs() < 1e-9);
    assert!((all("steps", "latency_s") / latency - 1.0).abs() < 1e-9);
    assert!((by_cause(&r["energy_parts_j"]) / energy - 1.0).abs() < 1e-9);
    let components = r["components"].as_array().unwrap();
    assert_eq!(components.len(), 2, "a stage each");
    assert!(components.iter().all(|c| by_cause(&c["energy_parts_j"]) > 0.1 * energy));
    let names: Vec<&str> = r["operators"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
    for name in ["qkv projection", "attention", "ffn down projection", "tensor-parallel collectives", "optimiser"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(r["metrics"]["devices"], 8.0);
    let utilization = r["metrics"]["model_flops_utilization"].as_f64().unwrap();
    assert!(utilization > 0.0 && utilization < 1.0, "{utilization}");
    // 8 sequences of 512 tokens.
    assert_eq!(r["tokens"], 4096);
    for part in ["weights", "gradients", "optimizer", "activations"] {
        assert!(r["footprint_bytes"][part].as_u64().unwrap() > 0, "{part}");
    }
}

#[test]
fn settings_do_what_they_say() {
    let folder = Folder::new("training-settings");
    let path = folder.write("t.toml", SMALL);
    let plain = report(&path, &[]);
    let activations = |r: &serde_json::Value| r["footprint_bytes"]["activations"].as_u64().unwrap();
    let optimizer = |r: &serde_json::Value| r["footprint_bytes"]["optimizer"].as_u64().unwrap();
    let again = report(&path, &["train.recompute=full"]);
    assert!(activations(&again) < activations(&plain));
    assert!(again["latency_s"].as_f64().unwrap() > plain["latency_s"].as_f64().unwrap());
    let sharded = report(&path, &["parallel.zero=optimizer"]);
    assert!(optimizer(&sharded) < optimizer(&plain));
    // More micro batches fill the pipeline.
    let filled = report(&path, &["train.global_batch=64"]);
    assert!(filled["metrics"]["bubble_share"].as_f64().unwrap() < plain["metrics"]["bubble_share"].as_f64().unwrap());
}

#[test]
fn it_can_be_swept_and_drawn() {
    let folder = Folder::new("training-sweep");
    let path = folder.write("t.toml", SMALL);
    let sweep = folder.write(
        "s.toml",
        "experiments = [\"t.toml\"]\n[[vary]]\nkey = \"parallel.tp\"\nvalues = [1, 2, 4]\n[derive]\n\"parallel.dp\" = \"4 / parallel.tp\"\n",
    );
    let rows: serde_json::Value = serde_json::from_str(&succeeds(&["sweep", &sweep, "--format", "json"])).unwrap();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() == 3 && rows.iter().all(|r| r["error"].is_null()), "{rows:?}");
    let timeline = folder.path("t.json");
    succeeds(&["run", &path, "--timeline", &timeline]);
    let text = folder.read("t.json");
    assert!(text.contains("forward of micro batch 0") && text.contains("stage 1"), "no passes");
}

#[test]
fn what_cannot_be_is_refused_with_a_remedy() {
    let folder = Folder::new("training-wrong");
    let wrong = |from: &str, to: &str| {
        let path = folder.write("t.toml", SMALL.replace(from, to));
        let (code, error) = fails(&["run", &path]);
        assert_eq!(code, 2, "{error}");
        error
    };
    assert!(wrong("a100-selene", "a100-selen").contains("a100-selene"));
    assert!(wrong("tp = 2", "tq = 2").contains("tq"));
    assert!(wrong("tp = 2", "tp = 3").contains("parallel.tp"));
    assert!(wrong("global_batch = 8", "global_batch = 7").contains("global_batch"));
    // A model that no rank holds.
    let large = SMALL.replace(
        "\"gpt2-medium\"",
        "{ name = \"large\", layers = 96, width = 12288, heads = 96, vocab = 51200, max_positions = 2048 }",
    );
    let (code, error) = fails(&["run", &folder.write("l.toml", large)]);
    assert!(code == 2 && error.contains("GB") | error.contains("GiB") && error.contains("help"), "{error}");
}

/// Two layers of few experts, on one GPU.
const DEVICE: &str = "\
[training]
device = \"h200\"

[train]
micro_batch = 1
global_batch = 2
sequence = 256
precision = \"bf16-pure\"

[workload.model]
name = \"small-experts\"
width = 512
max_positions = 1024
types = { weights = { dtype = \"bf16\" }, activations = \"bf16\", cache = \"bf16\" }
embed = { vocab = 4096 }
head = { norm = \"rms_norm\", vocab = 4096 }
pattern = [{ block = \"layer\", layers = 2 }]

[[workload.model.blocks]]
name = \"layer\"
[[workload.model.blocks.stages]]
norm = \"rms_norm\"
branches = [{ mixer = { kind = \"attention\", heads = 4, kv_heads = 4, head_dim = 128, rotary_dim = 128 } }]
[[workload.model.blocks.stages]]
norm = \"rms_norm\"
branches = [{ mixer = { kind = \"experts\", experts = 8, top_k = 2, inner = 512, activation = \"silu\" } }]
";

#[test]
fn a_step_on_one_gpu_has_its_passes_and_its_memory() {
    let folder = Folder::new("training-device");
    let path = folder.write("t.toml", DEVICE);
    let r = report(&path, &[]);
    let latency = r["latency_s"].as_f64().unwrap();
    assert!(latency > 0.0);
    assert_eq!(r["tokens"], 512);
    assert_eq!(r["metrics"]["micro_batches"], 2.0);
    let phases: Vec<&str> = r["steps"].as_array().unwrap().iter().map(|s| s["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["forward", "backward", "update", "host"]);
    let operator =
        |part: &str| r["operators"].as_array().unwrap().iter().any(|o| o["name"].as_str().unwrap().contains(part));
    for part in ["experts up projection weight gradient", "expert combine gradient", "adamw", "gradient sums"] {
        assert!(operator(part), "{part}");
    }
    // Eight bits in place of two moments of sixteen, each with two scales of a block of 256.
    let optimizer = |settings: &[&str]| report(&path, settings)["footprint_bytes"]["optimizer"].as_u64().unwrap();
    let (full, eight) = (optimizer(&[]), optimizer(&["train.optimizer=adam8bit"]));
    assert!((0.5..0.55).contains(&(eight as f64 / full as f64)), "{eight} of {full}");
    let away = report(&path, &["train.offload=optimizer"]);
    assert_eq!(away["footprint_bytes"]["optimizer"], 0);
    assert!(away["metrics"]["host_processor_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_gpu_by_itself_is_not_cut() {
    let folder = Folder::new("training-device-wrong");
    let path = folder.write("t.toml", DEVICE);
    for (setting, key) in [
        ("parallel.tp=2", "parallel"),
        ("training.cluster=h100-eos", "training.device"),
        ("train.micro_batch=3", "train.global_batch"),
        ("train.precision=fp8", "train.precision"),
    ] {
        let (code, error) = fails(&["run", &path, "--set", setting]);
        assert!(code == 2 && error.contains(key) && error.contains("help"), "{setting}: {error}");
    }
}
