//! The command line end to end: what it prints parses and has the fields that users' scripts read, what it writes is complete,
//! and every way to the same result gives the same bytes.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::common::{EXPERIMENT, Folder, ODD_MODEL, banksia, fails, succeeds};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn odd() -> String {
    EXPERIMENT.replace("\"gpt2-small\"", ODD_MODEL)
}

#[test]
fn a_run_prints_the_fields_that_scripts_read() {
    let folder = Folder::new("cli-json");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let report = json(&succeeds(&["run", &experiment, "--format", "json", "--versus", "t4", "--versus", "h200"]));
    for field in ["latency_s", "energy_j", "power_w", "tokens_per_s"] {
        assert!(report[field].as_f64().unwrap() > 0.0, "{field}");
    }
    assert_eq!(report["tokens"], 2);
    assert_eq!(report["name"], "small");
    assert_eq!(report["steps"].as_array().unwrap().len(), 2);
    for field in ["energy_parts_j", "traffic_bytes", "metrics", "commands", "machine", "workload"] {
        assert!(report[field].as_object().is_some_and(|o| !o.is_empty()), "{field}");
    }
    for field in ["operators", "components"] {
        assert!(report[field].as_array().is_some_and(|o| !o.is_empty()), "{field}");
    }
    assert_eq!(report["configuration_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(report["versus"].as_array().unwrap().len(), 2);
    let table = succeeds(&["run", &experiment]);
    assert!(table.contains("tokens/s") && !table.contains('\u{1b}'), "colour where there is no terminal: {table}");
    // A name, and a setting, end up in the record.
    let set = json(&succeeds(&["run", &experiment, "--format", "json", "--set", "machine.memory.channels=4"]));
    assert!(set["latency_s"].as_f64().unwrap() > report["latency_s"].as_f64().unwrap());
    assert_eq!(set["components"].as_array().unwrap().len(), 5);
    assert_ne!(set["configuration_sha256"], report["configuration_sha256"]);
}

#[test]
fn a_run_writes_the_files_that_the_documentation_names() {
    let folder = Folder::new("cli-out");
    let experiment = folder.write("exp.toml", odd());
    let (out, timeline) = (folder.path("out"), folder.path("t.json"));
    succeeds(&["run", &experiment, "--out", &out, "--timeline", &timeline, "--timeline-token", "1"]);
    let report = json(&folder.read("out/report.json"));
    let printed = json(&succeeds(&["run", &experiment, "--format", "json"]));
    assert_eq!(report["latency_s"], printed["latency_s"]);
    assert_eq!(report["operators"], printed["operators"]);
    for (name, list, first) in [
        ("operators.csv", "operators", "operator"),
        ("components.csv", "components", "component"),
        ("steps.csv", "steps", "step"),
    ] {
        let text = folder.read(&format!("out/{name}"));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(&reader.headers().unwrap()[0], first);
        let rows = reader.records().map(Result::unwrap).count();
        assert_eq!(rows, report[list].as_array().unwrap().len(), "{name}");
    }
    for name in ["breakdown", "context"] {
        let svg = folder.read(&format!("out/{name}.svg"));
        assert!(svg.starts_with("<svg") || svg.starts_with("<?xml"), "{name}: {}", &svg[..40]);
        assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"), "{name}");
        let png = std::fs::read(folder.0.join(format!("out/{name}.png"))).unwrap();
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n", "{name}");
    }
    let trace = json(&folder.read("out/timeline.json"));
    assert_eq!(folder.read("out/timeline.json"), folder.read("t.json"));
    let events = trace["traceEvents"].as_array().unwrap();
    let names: Vec<&str> = events.iter().filter_map(|e| e["args"]["name"].as_str()).collect();
    for lane in ["channel 0", "channel 7", "ASIC", "operators"] {
        assert!(names.contains(&lane), "{lane} is not in {names:?}");
    }
    // The timeline is of the first token alone: it lies within that token's step.
    let end = events.iter().filter_map(|e| Some(e["ts"].as_f64()? + e["dur"].as_f64()?)).fold(0.0, f64::max);
    let step = report["steps"][0]["latency_s"].as_f64().unwrap() * 1e6;
    assert!(end > 0.9 * step && end <= step * 1.01, "{end} us of {step} us");
    let left: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
    // What was written is what `plot` reads.
    for (kind, file) in
        [("breakdown", "a.svg"), ("energy", "b.png"), ("context", "c.svg"), ("roofline", "d.svg"), ("pareto", "e.svg")]
    {
        let path = folder.path(file);
        succeeds(&["plot", kind, &out, "-o", &path]);
        assert!(std::fs::metadata(&path).unwrap().len() > 500, "{kind}");
    }
    let steps = folder.path("out/steps.csv");
    succeeds(&["plot", "sweep", &steps, "--x", "context_tokens", "--y", "latency_s", "-o", &folder.path("f.svg")]);
}

#[test]
fn a_sweep_gives_the_same_bytes_on_any_number_of_jobs_and_resumes() {
    let folder = Folder::new("cli-sweep");
    folder.write("a.toml", odd());
    folder.write("b.toml", odd().replace("layers = 2", "layers = 1"));
    let sweep = folder.write(
        "s.toml",
        "name = \"both\"\nexperiments = [\"a.toml\", \"b.toml\"]\n[[vary]]\nkey = \"machine.memory.channels\"\nvalues = [3, 8]\n",
    );
    let (one, two) = (folder.path("one"), folder.path("two"));
    let first = succeeds(&["sweep", &sweep, "--format", "json", "--jobs", "1", "--out", &one]);
    let second = succeeds(&["sweep", &sweep, "--format", "json", "--jobs", "2", "--out", &two]);
    assert_eq!(first, second);
    let rows = json(&first);
    assert_eq!(rows.as_array().unwrap().len(), 4);
    let files = |root: &str| -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![folder.0.join(root)];
        while let Some(at) = folders.pop() {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder.0.join(root)).unwrap().display().to_string();
                    files.push((name, std::fs::read(&path).unwrap()));
                }
            }
        }
        files.sort();
        files
    };
    let (a, b) = (files("one"), files("two"));
    assert!(a.len() > 4 * 8, "{:?}", a.iter().map(|f| &f.0).collect::<Vec<_>>());
    assert!(a == b, "files differ between one job and two");
    // A point that is there and whole is taken from there; one that was changed, cut or is not all there is run again.
    let modified = |at: &str| std::fs::metadata(folder.0.join(at)).unwrap().modified().unwrap();
    let at = "one/a-channels-3/report.json";
    let (report, before) = (folder.read(at), modified(at));
    let resume = || succeeds(&["sweep", &sweep, "--format", "json", "--out", &one, "--resume"]);
    assert_eq!(resume(), first);
    assert_eq!(modified(at), before, "taken as it is");
    for changed in [report.replacen("\"latency_s\": ", "\"latency_s\": 1", 1), "{ cut".into()] {
        assert_ne!(changed, report);
        folder.write(at, changed);
        assert_eq!(resume(), first);
        assert_eq!(folder.read(at), report);
    }
    std::fs::remove_file(folder.0.join("one/a-channels-3/operators.csv")).unwrap();
    std::fs::write(folder.0.join("one/a-channels-3/.report.json.1.tmp"), "litter").unwrap();
    assert_eq!(resume(), first);
    assert!(folder.0.join("one/a-channels-3/operators.csv").exists());
    assert!(!folder.0.join("one/a-channels-3/.report.json.1.tmp").exists());
    // Everything with a table prints one.
    assert!(succeeds(&["sweep", &sweep, "--versus", "t4"]).starts_with("both\n"));
}

#[test]
fn a_sweep_of_sweeps_gives_the_rows_of_each_in_turn() {
    let folder = Folder::new("cli-sweeps");
    folder.write("exp.toml", odd());
    folder.write(
        "channels.toml",
        "experiments = [\"exp.toml\"]\n[[vary]]\nkey = \"machine.memory.channels\"\nvalues = [3, 8]\n",
    );
    folder.write("tokens.toml", "experiments = [\"exp.toml\"]\nset = [\"workload.generation.generated_tokens=1\"]\n");
    let all = folder.write("all.toml", "name = \"all\"\nsweeps = [\"channels.toml\", \"tokens.toml\"]\n");
    let rows = |sweep: &str| json(&succeeds(&["sweep", sweep, "--format", "json"])).as_array().unwrap().clone();
    let latencies =
        |rows: &[serde_json::Value]| -> Vec<f64> { rows.iter().map(|r| r["latency_s"].as_f64().unwrap()).collect() };
    let both = rows(&all);
    let mut apart = latencies(&rows(&folder.path("channels.toml")));
    apart.extend(latencies(&rows(&folder.path("tokens.toml"))));
    assert_eq!(latencies(&both), apart);
    // Points are called by their experiment too, and each has a folder.
    assert!(both[0]["name"].as_str().unwrap().ends_with(", channels=3"), "{}", both[0]["name"]);
    succeeds(&["sweep", &all, "--out", &folder.path("out")]);
    for point in ["exp-channels-3", "exp-channels-8", "exp"] {
        assert!(folder.0.join("out").join(point).join("report.json").exists(), "{point}");
    }
}

#[test]
fn a_program_file_gives_its_tokens_latency() {
    let folder = Folder::new("cli-program");
    // The first token: nothing before it, so that refresh falls alike; later tokens see it fall due at another time.
    for (name, text) in [("gpt2", EXPERIMENT.to_owned()), ("odd", odd())] {
        let experiment = folder.write("exp.toml", text);
        let full = json(&succeeds(&["run", &experiment, "--format", "json"]));
        let program = folder.path("p.json");
        succeeds(&["map", &experiment, "--program", &program, "--token", "1"]);
        let alone = json(&succeeds(&["run", &experiment, "--program", &program, "--format", "json"]));
        assert_eq!(alone["latency_s"], full["steps"][0]["latency_s"], "{name}");
        let (a, b) = (alone["energy_j"].as_f64().unwrap(), full["steps"][0]["energy_j"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-12 * b, "{name}: {a} J alone, {b} J in the run"); // parts are summed in another order
        assert!(alone.get("tokens").is_none());
        // Without refresh every token's time is its own, but for the state that the one before left the banks in: close.
        let settings = ["--set", "machine.memory.refresh=false"];
        let full = json(&succeeds(&[&["run", &experiment, "--format", "json"][..], &settings].concat()));
        succeeds(&[&["map", &experiment, "--program", &program, "--token", "2"][..], &settings].concat());
        let run = ["run", &experiment, "--program", &program, "--format", "json"];
        let alone = json(&succeeds(&[&run[..], &settings].concat()));
        let (a, b) = (alone["latency_s"].as_f64().unwrap(), full["steps"][1]["latency_s"].as_f64().unwrap());
        assert!((a - b).abs() < 0.01 * b, "{name}: {a} alone, {b} in the run");
    }
}

#[test]
fn every_catalog_entry_is_listed_and_shown() {
    for catalog in ["models", "hardware", "mappings", "rooflines"] {
        let table = succeeds(&["list", catalog]);
        let entries = json(&succeeds(&["list", catalog, "--format", "json"]));
        let entries = entries.as_array().unwrap();
        assert!(!entries.is_empty(), "{catalog}");
        for entry in entries {
            let name = entry["name"].as_str().unwrap();
            assert!(table.contains(name), "{name}");
            let shown = succeeds(&["show", catalog, name]);
            assert!(shown.len() > 60, "{name}: {shown}");
            if catalog != "mappings" {
                let parsed: Result<toml::Table, _> = shown.parse();
                assert!(parsed.is_ok(), "{name} is not TOML: {parsed:?}");
            }
        }
    }
    // What is shown can be used in place of the name.
    let folder = Folder::new("cli-show");
    folder.write("device.toml", succeeds(&["show", "hardware", "gddr6-pim-gpt"]));
    folder.write("machine.toml", succeeds(&["show", "hardware", "pim-gpt"]));
    folder.write("model.toml", succeeds(&["show", "models", "gpt2-small"]));
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let by_file = EXPERIMENT
        .replace("\"pim-gpt\"\n\n[workload]", "\"machine.toml\"\nmemory.device = \"device.toml\"\n\n[workload]")
        .replace("\"gpt2-small\"", "\"model.toml\"");
    assert!(by_file.contains("machine.toml") && by_file.contains("model.toml"));
    let copied = folder.write("copied.toml", by_file);
    let original = json(&succeeds(&["run", &experiment, "--format", "json"]));
    let copy = json(&succeeds(&["run", &copied, "--format", "json"]));
    for field in ["latency_s", "energy_j", "commands", "traffic_bytes"] {
        assert_eq!(original[field], copy[field], "{field}");
    }
}

#[test]
fn exact_stepping_gives_the_same_bytes() {
    let folder = Folder::new("cli-exact");
    let odd = folder.write("odd.toml", odd());
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let cases: &[(&str, &[&str])] = &[
        (&odd, &[]),
        (&odd, &["machine.memory.channels=3"]),
        (&odd, &["machine.memory.channels=1", "workload.generation.prompt_tokens=20"]),
        (&odd, &["machine.memory.refresh=false", "workload.generation.generated_tokens=5"]),
        (&odd, &["device.organization.pin_gbps=2.0", "machine.memory.channels=5"]),
        (&odd, &["device.timing_ns.tREFI=600.0"]),
        (&odd, &["machine.vector_unit.clock_mhz=333.3", "machine.vector_unit.sram_bytes=24576"]),
        (&odd, &["device.organization.count.bank=1", "mapping.lm_head=host"]),
        (&odd, &["device.clock_ps=833.0", "machine.link.latency_ns=0.7"]),
        (&odd, &["workload.model.kv_heads=5", "workload.model.gated=true", "workload.model.positions=rotary"]),
        (&experiment, &["machine.memory.channels=3", "workload.generation.generated_tokens=1"]),
        (&experiment, &["workload.model=gpt2-medium", "workload.generation.prompt_tokens=3"]),
        (&experiment, &["workload.model=pythia-1.4b", "workload.generation.generated_tokens=1"]),
        (&experiment, &["workload.model=gpt2-xl", "workload.generation.generated_tokens=1"]),
    ];
    for (path, settings) in cases {
        let mut args = vec!["run".to_owned(), (*path).to_owned(), "--format=json".to_owned()];
        args.extend(settings.iter().map(|s| format!("--set={s}")));
        let fast = succeeds(&args);
        args.push("--exact-stepping".into());
        assert!(fast == succeeds(&args), "{settings:?}");
    }
}

#[test]
fn each_subcommands_help_mentions_its_options() {
    let helps: &[(&[&str], &[&str])] = &[
        (&[], &["run", "sweep", "plot", "map", "list", "show", "import"]),
        (
            &["run"],
            &[
                "--set",
                "--format",
                "--out",
                "--timeline",
                "--timeline-token",
                "--exact-stepping",
                "--program",
                "--versus",
            ],
        ),
        (&["sweep"], &["--set", "--format", "--out", "--jobs", "--resume", "--versus"]),
        (&["plot"], &["--output", "--x", "--y", "--by", "--log-x", "--log-y", "breakdown", "bandwidth"]),
        (&["map"], &["--set", "--format", "--program", "--token"]),
        (&["list"], &["models", "hardware", "mappings", "rooflines", "--format"]),
        (&["show"], &["models", "hardware", "mappings", "rooflines"]),
        (&["import"], &["hf"]),
        (&["import", "hf"], &["--output"]),
    ];
    for (command, options) in helps {
        let help = succeeds(&[*command, &["--help"]].concat());
        for option in *options {
            assert!(help.contains(option), "{command:?} --help does not mention {option}:\n{help}");
        }
    }
    assert!(succeeds(&["--version"]).starts_with("banksia "));
}

/// A reader that goes away is no error (`| head`).
#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_banksia-under-test"))
        .args(["show", "mappings", "pim-gpt"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_imported_model_runs() {
    let folder = Folder::new("cli-import");
    let config = folder.write(
        "config.json",
        "{\"model_type\": \"gpt2\", \"n_layer\": 2, \"n_embd\": 128, \"n_head\": 4, \"vocab_size\": 500, \"n_positions\": 64}",
    );
    let model = folder.path("model.toml");
    let output = banksia(&["import", "hf", &config, "-o", &model]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let experiment = folder.write("exp.toml", EXPERIMENT.replace("gpt2-small", "model.toml"));
    assert!(json(&succeeds(&["run", &experiment, "--format", "json"]))["latency_s"].as_f64().unwrap() > 0.0);
}

/// 16384 banks a channel once ended in a deadlock: a request for SRAM that fitted waited behind a later, larger one.
#[test]
fn a_request_for_sram_that_fits_is_served() {
    let folder = Folder::new("cli-sram");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let settings = ["--set", "device.organization.count.bank=4096", "--set", "workload.generation.generated_tokens=1"];
    succeeds(&[&["run", &experiment][..], &settings].concat());
}

#[test]
fn a_program_is_checked_against_its_plan_and_refused_by_name() {
    let folder = Folder::new("cli-check");
    let experiment = folder.write("exp.toml", odd());
    let report = json(&succeeds(&["map", &experiment, "--check", "--format", "json"]));
    assert!(report["outputs"].as_u64().unwrap() > 0 && !report["levels"].as_array().unwrap().is_empty());
    let text = succeeds(&["map", &experiment, "--check"]);
    assert!(text.contains("all is there when it is used"), "{text}");
    let program = folder.path("p.json");
    succeeds(&["map", &experiment, "--program", &program]);
    succeeds(&["map", &experiment, "--check", "--program", &program]);
    // The products of an operator a row further on.
    let mut spoilt = json(&folder.read("p.json"));
    let down = spoilt["operators"].as_array().unwrap().iter().position(|o| o["name"] == "ffn down projection").unwrap();
    let patterns = spoilt["patterns"].clone();
    let multiplies = |i: &Value| {
        i["operator"].as_u64() == Some(down as u64)
            && i["work"]["pim"]["pattern"]
                .as_u64()
                .is_some_and(|p| patterns[p as usize]["steps"][0]["command"] == "MAC16")
    };
    let one = spoilt["instructions"].as_array_mut().unwrap().iter_mut().find(|i| multiplies(i)).unwrap();
    one["work"]["pim"]["row"] = (one["work"]["pim"]["row"].as_u64().unwrap() + 1).into();
    let path = folder.write("spoilt.json", spoilt.to_string());
    let (code, error) = fails(&["map", &experiment, "--check", "--program", &path]);
    assert!(code == 2 && error.contains("`ffn down projection`") && error.contains("spoilt.json"), "{code}: {error}");
}
