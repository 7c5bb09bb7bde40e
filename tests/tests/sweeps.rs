//! Sweeps: what a file says becomes points; a store keeps them whatever happens to the process; what comes out is the same on any way.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{EXPERIMENT, Folder, binary, fails, succeeds};
use banksia_experiments::sweep::Sweep;

fn small() -> String {
    EXPERIMENT.replace("generated_tokens = 2", "generated_tokens = 1")
}

/// The points of a sweep file: name, and settings by key.
fn points(name: &str, text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let folder = Folder::new(name);
    folder.write("exp.toml", small());
    let path = folder.write("s.toml", format!("experiments = [\"exp.toml\"]\n{text}"));
    let sweep = Sweep::read(std::path::Path::new(&path), &[]).unwrap_or_else(|e| panic!("{e}"));
    (0..sweep.len()).map(|i| sweep.describe(i)).collect()
}

fn wrong(name: &str, text: &str) -> String {
    let folder = Folder::new(name);
    folder.write("exp.toml", small());
    let path = folder.write("s.toml", format!("experiments = [\"exp.toml\"]\n{text}"));
    Sweep::read(std::path::Path::new(&path), &[]).unwrap_err().to_string()
}

fn values(points: &[(String, Vec<(String, String)>)], key: &str) -> Vec<String> {
    let of = |p: &(String, Vec<(String, String)>)| p.1.iter().find(|(k, _)| k == key).unwrap().1.clone();
    points.iter().map(of).collect()
}

#[test]
fn ranges_zips_and_crossings() {
    let p = points(
        "ranges",
        "[[vary]]\nkey = \"a\"\nrange = { from = 1, to = 7, step = 3 }\n[[vary]]\nkey = \"b\"\nzip = \"z\"\nlog_range = { from = 8, to = 64, factor = 2 }\n\
         [[vary]]\nkey = \"c\"\nzip = \"z\"\nvalues = [\"w\", \"x\", \"y\", \"z\"]\n[[vary]]\nkey = \"d\"\nrange = { from = 0.0, to = 1.0, points = 3 }\n",
    );
    assert_eq!(p.len(), 3 * 4 * 3);
    assert_eq!(values(&p[..4], "a"), ["1", "1", "1", "1"]);
    assert_eq!(values(&p[..4], "d"), ["0.0", "0.5", "1.0", "0.0"]);
    assert_eq!(values(&p[..12], "b").join(" "), "8 8 8 16 16 16 32 32 32 64 64 64");
    assert_eq!(values(&p[..12], "c").join(" "), "w w w x x x y y y z z z");
    assert_eq!(p[35].0, "a=7, b=64, c=z, d=1.0");
}

#[test]
fn conditions_and_derived_values() {
    let p = points(
        "conditions",
        "where = [\"a * b <= 8\", \"workload.generation.prompt_tokens = 1\"]\n[[vary]]\nkey = \"a\"\nvalues = [1, 2, 4]\n[[vary]]\nkey = \"b\"\nvalues = [2, 4]\n\
         [derive]\n\"machine.memory.channels\" = \"8 * a\"\nc = \"iif(machine.memory.channels > 8, 'many', 'few')\"\n",
    );
    assert_eq!(values(&p, "a").join(" "), "1 1 2 2 4");
    assert_eq!(values(&p, "machine.memory.channels").join(" "), "8 8 16 16 32");
    assert_eq!(values(&p, "c").join(" "), "few few many many many");
    for (text, parts) in [
        ("where = [\"a > 9\"]\n[[vary]]\nkey = \"a\"\nvalues = [1]\n", "leaves none of 1 points"),
        ("where = [\"a >\"]\n[[vary]]\nkey = \"a\"\nvalues = [1]\n", "where[0]"),
        ("where = [\"a.b > 1\"]\n[[vary]]\nkey = \"a\"\nvalues = [1]\n", "`a.b` has no value in this point"),
        ("[[vary]]\nkey = \"a\"\n", "must have one of `values`, `range` and `log_range`"),
        ("[[vary]]\nkey = \"a\"\nvalues = [1]\n[[vary]]\nkey = \"a\"\nvalues = [1]\n", "is varied above"),
        ("[[vary]]\nkey = \"a\"\nrange = { from = 2, to = 1, step = 1 }\n", "at least `from`"),
        ("[[vary]]\nkey = \"a\"\nrange = { from = 2, to = 8 }\n", "neither `step` nor `points`"),
        ("[[vary]]\nkey = \"a\"\nlog_range = { from = 0, to = 8, factor = 2 }\n", "above 0"),
        (
            "[[vary]]\nkey = \"a\"\nvalues = [1]\nzip = \"z\"\n[[vary]]\nkey = \"b\"\nvalues = [1, 2]\nzip = \"z\"\n",
            "is zipped with `a`",
        ),
        ("baseline = { b = 1 }\n[[vary]]\nkey = \"a\"\nvalues = [1]\n", "varied key known here: `b`"),
        ("[sample]\nmethod = \"random\"\npoints = 3\n", "nothing to draw from"),
        ("[[vary]]\nkey = \"a\"\nrange = { from = 1, to = 1000000000, step = 1 }\n", "more than 1000000"),
    ] {
        let error = wrong("conditions-wrong", text);
        assert!(error.contains(parts) && error.contains("s.toml"), "{text}: {error}");
    }
}

#[test]
fn samples_are_drawn_by_their_seed_and_fill_every_part_of_a_range() {
    let text = |method: &str, seed: u32| {
        format!(
            "[[vary]]\nkey = \"a\"\nrange = {{ from = 0.0, to = 100.0 }}\n[[vary]]\nkey = \"b\"\nlog_range = {{ from = 1, to = 1024 }}\n\
             [[vary]]\nkey = \"c\"\nvalues = [\"x\", \"y\"]\n[sample]\nmethod = \"{method}\"\npoints = 50\nseed = {seed}\n"
        )
    };
    let p = points("lhs", &text("latin-hypercube", 1));
    assert_eq!(p, points("lhs-again", &text("latin-hypercube", 1)));
    assert_ne!(p, points("lhs-other", &text("latin-hypercube", 2)));
    let mut a: Vec<f64> = values(&p, "a").iter().map(|v| v.parse().unwrap()).collect();
    a.sort_by(f64::total_cmp);
    for (i, x) in a.iter().enumerate() {
        assert!((2.0 * i as f64..2.0 * (i + 1) as f64).contains(x), "one sample in each fiftieth: {i} {x}");
    }
    assert!(values(&p, "b").iter().all(|v| (1..=1024).contains(&v.parse::<i64>().unwrap())));
    assert_eq!(values(&p, "c").iter().filter(|v| *v == "x").count(), 25);
    assert_eq!(points("random", &text("random", 1)).len(), 50);
}

#[test]
fn a_hundred_thousand_points_are_there_at_once() {
    let folder = Folder::new("hundred-thousand");
    folder.write("exp.toml", small());
    let axis = |key: &str, n: u32| format!("[[vary]]\nkey = \"{key}\"\nrange = {{ from = 1, to = {n}, step = 1 }}\n");
    let text = format!("experiments = [\"exp.toml\"]\nwhere = [\"a <> b\"]\n{}{}", axis("a", 400), axis("b", 250));
    let path = folder.write("s.toml", text);
    let sweep = Sweep::read(std::path::Path::new(&path), &[]).unwrap();
    assert_eq!(sweep.len(), 400 * 250 - 250);
    assert_eq!(sweep.describe(sweep.len() - 1).0, "a=400, b=250");
}

/// A sweep of twelve points, of which two do not fit and one cannot be read.
fn twelve(folder: &Folder) -> String {
    folder.write("exp.toml", small());
    folder.write(
        "s.toml",
        "name = \"twelve\"\nexperiments = [\"exp.toml\"]\nbaseline = { \"machine.memory.channels\" = 8 }\nobjectives = [\"latency_s\", \"energy_j\"]\n\
         [[vary]]\nkey = \"machine.memory.channels\"\nvalues = [0, 1, 4, 8, 16, 32]\n[[vary]]\nkey = \"machine.vector_unit.clock_mhz\"\nvalues = [500, 1000]\n",
    )
}

fn export(folder: &Folder, store: &str) -> String {
    let out = format!("{store}.csv");
    succeeds(&["results", &folder.path(store), "--export", &folder.path(&out)]);
    folder.read(&out)
}

#[test]
fn a_store_has_a_row_a_point_with_its_settings_figures_or_error() {
    let folder = Folder::new("store-rows");
    let sweep = twelve(&folder);
    succeeds(&["sweep", &sweep, "--store", &folder.path("a.db")]);
    let text = export(&folder, "a.db");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let heads: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let at = |name: &str| heads.iter().position(|h| h == name).unwrap_or_else(|| panic!("{name} of {heads:?}"));
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 12);
    let cells = |name: &str| rows.iter().map(|r| r[at(name)].to_owned()).collect::<Vec<_>>();
    assert_eq!(cells("machine.memory.channels").join(" "), "0 0 1 1 4 4 8 8 16 16 32 32");
    assert_eq!(cells("machine.vector_unit.clock_mhz")[..3].join(" "), "500 1000 500");
    for (i, row) in rows.iter().enumerate() {
        let failed = !row[at("error")].is_empty();
        assert_eq!(failed, i < 2 || row[at("latency_s")].is_empty(), "{row:?}");
        assert_eq!(failed, row[at("energy_j")].is_empty(), "{row:?}");
    }
    // A point of the baseline is equal to itself; others are set against the one with the same clock.
    let number = |i: usize, name: &str| rows[i][at(name)].parse::<f64>().unwrap();
    assert_eq!((number(6, "speedup"), number(7, "speedup")), (1.0, 1.0));
    let ratio = number(7, "latency_s") / number(9, "latency_s");
    assert!((number(9, "speedup") - ratio).abs() < 1e-12 && ratio > 1.0, "{ratio}");
    // The same points in memory give the same figures.
    let table = succeeds(&["sweep", &sweep, "--format", "json"]);
    let all: Vec<serde_json::Value> = serde_json::from_str(&table).unwrap();
    assert_eq!(all[8]["latency_s"].as_f64().map(f64::to_bits), Some(number(8, "latency_s").to_bits()));
    // What SQL asks.
    let asked =
        succeeds(&["results", &folder.path("a.db"), "--where", "channels >= 8 and latency_s > 0", "--format", "json"]);
    let asked: Vec<serde_json::Value> = serde_json::from_str(&asked).unwrap();
    assert_eq!(asked.len(), 6);
    let sorted = succeeds(&[
        "results",
        &folder.path("a.db"),
        "--sort",
        "-latency_s",
        "--columns",
        "machine.memory.channels,latency_s",
        "--format",
        "json",
    ]);
    let sorted: Vec<serde_json::Value> = serde_json::from_str(&sorted).unwrap();
    let first: Vec<f64> = sorted.iter().filter_map(|r| r["latency_s"].as_f64()).collect();
    assert!(first.len() > 5 && first.is_sorted_by(|a, b| a >= b), "{first:?}");
    let pivot =
        succeeds(&["results", &folder.path("a.db"), "--pivot", "channels,clock_mhz,latency_s", "--format", "json"]);
    let pivot: Vec<serde_json::Value> = serde_json::from_str(&pivot).unwrap();
    assert_eq!(pivot[4]["1000"].as_f64().map(f64::to_bits), Some(number(9, "latency_s").to_bits()));
    let front = succeeds(&["results", &folder.path("a.db"), "--pareto", "--format", "json"]);
    assert!(serde_json::from_str::<Vec<serde_json::Value>>(&front).unwrap().len() < 8);
    for (args, part) in [
        (vec!["--where", "nosuch > 1"], "nosuch"),
        (vec!["--where", "1; DROP TABLE points"], "--where"),
        (vec!["--sort", "nosuch"], "nosuch"),
        (vec!["--pivot", "channels,latency_s"], "--pivot"),
        (vec!["--pivot", "model,machine,latency_s"], "two points"),
        (vec!["--export", "x.txt"], ".csv"),
        (vec!["--diff", "abc"], "abc"),
    ] {
        let store = folder.path("a.db");
        let all: Vec<&str> = ["results", store.as_str()].into_iter().chain(args).collect();
        let (code, error) = fails(&all);
        assert!(code == 2 && error.contains(part), "{all:?}: {error}");
    }
    let (code, error) = fails(&["results", &sweep]);
    assert!(code == 2 && error.contains("s.toml"), "{error}");
    let (code, error) = fails(&["sweep", &sweep, "--store", &sweep]);
    assert!(code == 2 && error.contains("not a results store"), "{error}");
}

#[test]
fn any_number_of_threads_shards_and_a_second_run_give_the_same_table() {
    let folder = Folder::new("store-shards");
    let sweep = twelve(&folder);
    succeeds(&["sweep", &sweep, "--store", &folder.path("one.db"), "--jobs", "1"]);
    succeeds(&["sweep", &sweep, "--store", &folder.path("two.db"), "--jobs", "3"]);
    let table = export(&folder, "one.db");
    assert_eq!(table, export(&folder, "two.db"));
    succeeds(&["sweep", &sweep, "--store", &folder.path("two.db")]);
    assert_eq!(table, export(&folder, "two.db"));
    let mut parts = Vec::new();
    for i in 1..=4 {
        parts.push(folder.path(&format!("part{i}.db")));
        let run = banksia_args(&["sweep", &sweep, "--store", &parts[i - 1], "--shard", &format!("{i}/4")]);
        assert!(run.status.success() || i == 1, "{}", String::from_utf8_lossy(&run.stderr));
    }
    let all = folder.path("all.db");
    let mut args = vec!["results", all.as_str(), "--merge"];
    args.extend(parts.iter().map(String::as_str));
    succeeds(&args);
    assert_eq!(table, export(&folder, "all.db"));
    // Nothing differs between stores of one build.
    assert!(succeeds(&["results", &all, "--diff", &folder.path("one.db")]).contains("no figure differs"));
}

fn banksia_args(args: &[&str]) -> std::process::Output {
    Command::new(binary()).args(args).output().unwrap()
}

/// Points that are finished stay, whenever the process is killed, and the table is the same in the end.
#[test]
fn a_sweep_that_is_killed_again_and_again_loses_nothing() {
    let folder = Folder::new("store-killed");
    folder.write("exp.toml", EXPERIMENT.replace("generated_tokens = 2", "generated_tokens = 8"));
    let sweep = folder.write(
        "s.toml",
        "experiments = [\"exp.toml\"]\n[[vary]]\nkey = \"machine.memory.channels\"\nrange = { from = 8, to = 37, step = 1 }\n\
         [[vary]]\nkey = \"machine.vector_unit.clock_mhz\"\nvalues = [250, 500, 750, 1000]\n",
    );
    let (whole, killed) = (folder.path("whole.db"), folder.path("killed.db"));
    succeeds(&["sweep", &sweep, "--store", &whole]);
    let rows = |store: &str| {
        let text = banksia_args(&["results", store, "--format", "json", "--columns", "name,latency_s"]);
        match text.status.success() {
            true => serde_json::from_slice::<Vec<serde_json::Value>>(&text.stdout).unwrap().len(),
            false => 0,
        }
    };
    let mut before = 0;
    for kill in 0..20u64 {
        let mut child = Command::new(binary())
            .args(["sweep", &sweep, "--store", &killed])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Times without a pattern, from the first moments on.
        std::thread::sleep(Duration::from_millis(20 + kill * 37 % 180));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = rows(&killed);
        assert!(now >= before, "kill {kill}: {now} points, {before} before");
        before = now;
    }
    succeeds(&["sweep", &sweep, "--store", &killed]);
    assert_eq!(export(&folder, "whole.db"), export(&folder, "killed.db"));
}

#[test]
fn two_processes_share_a_store() {
    let folder = Folder::new("store-shared");
    let sweep = twelve(&folder);
    let store = folder.path("s.db");
    let run = |shard: &str| {
        Command::new(binary())
            .args(["sweep", &sweep, "--store", &store, "--shard", shard])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let both = [run("1/2"), run("2/2"), run("1/2")];
    for mut child in both {
        assert!(child.wait().unwrap().success());
    }
    succeeds(&["sweep", &sweep, "--store", &folder.path("alone.db")]);
    assert_eq!(export(&folder, "alone.db"), export(&folder, "s.db"));
}
