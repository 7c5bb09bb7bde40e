//! The experiments of `configs/papers`: every point of every file can be read and planned, and the two cheapest run. The numbers are in
//! `docs/papers.md`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use banksia_experiments::experiment::Experiment;
use banksia_experiments::sweep::Sweep;
use rayon::prelude::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("configs/papers")
}

/// The files of the folder itself: those that sweeps start from and models are in folders of their own.
fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    files
}

fn table(path: &Path) -> toml::Table {
    std::fs::read_to_string(path).unwrap().parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn strings(value: Option<&toml::Value>) -> Vec<String> {
    value.and_then(toml::Value::as_array).into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// The settings of every point of a sweep.
fn points(sweep: &toml::Table) -> Vec<Vec<String>> {
    let list = |key: &str| sweep.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let shared = strings(sweep.get("set"));
    let with = |more: &[String]| [shared.as_slice(), more].concat();
    let mut all: Vec<Vec<String>> = list("point").iter().map(|p| with(&strings(p.get("set")))).collect();
    let mut grid = vec![Vec::new()];
    for vary in list("vary") {
        let key = vary["key"].as_str().unwrap();
        let values = vary["values"].as_array().unwrap();
        let longer = |set: &Vec<String>| {
            let set = set.clone();
            values.iter().map(move |v| [set.clone(), vec![format!("{key}={v}")]].concat()).collect::<Vec<_>>()
        };
        grid = grid.iter().flat_map(longer).collect();
    }
    if !list("vary").is_empty() || all.is_empty() {
        all.extend(grid.iter().map(|set| with(set)));
    }
    all
}

#[test]
fn every_point_of_every_paper_can_be_planned() {
    let mut read = Vec::new();
    for path in files() {
        let table = table(&path);
        if !table.contains_key("experiments") {
            read.push((path, Vec::new()));
            continue;
        }
        let all = points(&table);
        let sweep = Sweep::read(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
        let experiments = strings(table.get("experiments"));
        assert_eq!(sweep.len(), all.len() * experiments.len(), "{}", path.display());
        for name in experiments {
            let base = path.parent().unwrap().join(name);
            read.extend(all.iter().map(|set| (base.clone(), set.clone())));
        }
    }
    let wrong: Vec<String> = read
        .par_iter()
        .filter_map(|(path, set)| Experiment::read(path, set).err().map(|e| format!("{set:?}: {e}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read.len() > 100, "{} points", read.len());
}

#[test]
fn every_paper_is_on_the_page_and_every_model_is_used() {
    let page = ["papers.md", "papers-parallel.md"]
        .map(|name| std::fs::read_to_string(folder().join("../../docs").join(name)).unwrap())
        .concat();
    let mut used = String::new();
    for path in files() {
        let name = format!("configs/papers/{}", path.file_name().unwrap().to_string_lossy());
        assert!(page.contains(&name), "docs/papers.md and docs/papers-parallel.md do not name {name}");
        used.push_str(&std::fs::read_to_string(&path).unwrap());
    }
    for entry in std::fs::read_dir(folder().join("models")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(used.contains(&name) || page.contains(&name), "nothing uses {name}");
    }
}

#[test]
fn the_cheapest_run() {
    for name in ["aggressive-decoding", "d2moe"] {
        let path = folder().join(format!("{name}.toml")).display().to_string();
        let printed = crate::common::succeeds(&["sweep", path.as_str(), "--format", "json"]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&printed).unwrap();
        assert!(rows.len() >= 3, "{name}");
        for row in rows {
            assert!(row["latency_s"].as_f64().is_some_and(|s| s > 0.0), "{name}: {row}");
        }
    }
}
