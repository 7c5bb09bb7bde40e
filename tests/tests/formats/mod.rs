//! Schemas of files: what comes with the program is of its schema, files with keys that do not exist are not, and the pages on the formats
//! have every key (`BANKSIA_UPDATE_DOCS=1` writes their tables, otherwise a stale page fails).

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use banksia_experiments::schema;
use serde_json::Value;

mod checker;
mod keys;

/// Tables whose keys are names of the user's own, or the data sheet's.
const OPEN: [&str; 6] = ["timing_cycles", "timing_ns", "currents_ma", "parameters", "count", "baseline"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn json(schema: schemars::Schema) -> Value {
    schema.to_value()
}

/// The TOML files below a folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let (mut folders, mut all) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "toml") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

/// Which schema a file of `configs`, or one to start from, is of.
fn format(path: &Path, table: &toml::Table) -> Format {
    let has = |key: &str| table.contains_key(key);
    match () {
        () if has("training") => Format::Training,
        () if has("published") => Format::Published,
        () if has("experiments") || has("sweeps") => Format::Sweep,
        () if has("workload") => Format::Experiment,
        () if has("collective") => Format::Collective,
        () if has("topology") => Format::Net,
        () if has("parts") => Format::Fabric,
        () if has("gpus_per_node") => Format::Cluster,
        () if has("layers") || has("blocks") => Format::Model,
        () if path.components().any(|c| c.as_os_str() == "memory") => Format::Controller,
        () => panic!("{}: of no format", path.display()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Format {
    Experiment,
    Sweep,
    Machine,
    Device,
    Controller,
    Model,
    Training,
    Net,
    Collective,
    Fabric,
    Cluster,
    Published,
}

impl Format {
    const ALL: [Self; 12] = [
        Self::Experiment,
        Self::Sweep,
        Self::Machine,
        Self::Device,
        Self::Controller,
        Self::Model,
        Self::Training,
        Self::Net,
        Self::Collective,
        Self::Fabric,
        Self::Cluster,
        Self::Published,
    ];

    fn schema(self) -> Value {
        json(match self {
            Self::Experiment => schema::experiment(),
            Self::Sweep => schema::sweep(),
            Self::Machine => schema::machine(),
            Self::Device => schema::device(),
            Self::Controller => schema::controller(),
            Self::Model => schema::model(),
            Self::Training => schema::training(),
            Self::Net => schema::net(),
            Self::Collective => schema::collective(),
            Self::Fabric => schema::fabric(),
            Self::Cluster => schema::cluster(),
            Self::Published => schema::published(),
        })
    }
}

/// Every file that comes with the program.
fn shipped() -> Vec<(PathBuf, toml::Table, Format)> {
    let read = |path: PathBuf, format: Option<Format>| {
        let table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let format = format.unwrap_or_else(|| self::format(&path, &table));
        (path, table, format)
    };
    let folders = [
        ("configs", None),
        ("cli/src/commands/init", None),
        ("hw-models/catalog/machines", Some(Format::Machine)),
        ("hw-models/catalog/gpu", Some(Format::Machine)),
        ("hw-models/catalog/dram", Some(Format::Device)),
        ("workloads/models", Some(Format::Model)),
        ("hw-models/catalog/network/topology", Some(Format::Fabric)),
    ];
    let of = |(folder, format): &(&str, Option<Format>)| -> Vec<_> {
        files(folder).into_iter().map(|path| read(path, *format)).collect()
    };
    // Tables of NCCL lie beside the clusters.
    let clusters = banksia_hw::net::fabric::machine::CATALOG
        .map(|(name, _)| read(root().join(format!("hw-models/catalog/network/{name}.toml")), Some(Format::Cluster)));
    folders.iter().flat_map(of).chain(clusters).collect()
}

#[test]
fn what_comes_with_the_program_is_of_its_schema() {
    let all = shipped();
    let mut wrong = Vec::new();
    for one in Format::ALL {
        let schema = one.schema();
        let of: Vec<_> = all.iter().filter(|(_, _, format)| *format == one).collect();
        assert!(of.len() >= 3, "{one:?}: only {} files", of.len());
        for (path, table, _) in of {
            let faults = checker::faults(&schema, &serde_json::to_value(table).unwrap());
            wrong.extend(faults.iter().map(|fault| format!("{}{fault}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The pointers of all tables within a value, itself among them, and the last key of each.
fn tables(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            out.push(at.to_owned());
            map.iter().for_each(|(key, value)| tables(value, &format!("{at}/{}", key.replace('/', "~1")), out));
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| tables(value, &format!("{at}/{i}"), out)),
        _ => {}
    }
}

#[test]
fn a_key_that_does_not_exist_is_refused_in_every_table() {
    let all = shipped();
    let mut tried = 0;
    for one in Format::ALL {
        let schema = one.schema();
        for (path, table, _) in all.iter().filter(|(_, _, format)| *format == one) {
            let right = serde_json::to_value(table).unwrap();
            let mut places = Vec::new();
            tables(&right, "", &mut places);
            // One table of each name: rows of a list are alike.
            places.sort_by_key(|p| p.split('/').filter(|k| k.parse::<usize>().is_err()).collect::<Vec<_>>().join("/"));
            places.dedup_by_key(|p| p.split('/').filter(|k| k.parse::<usize>().is_err()).collect::<Vec<_>>().join("/"));
            for place in places {
                let mut wrong = right.clone();
                wrong.pointer_mut(&place).unwrap().as_object_mut().unwrap().insert("no_such_key".into(), 1.into());
                // A sweep may vary a whole table.
                let open = OPEN.iter().any(|o| place.rsplit('/').next() == Some(o)) || place.contains("/values/");
                let refused = !checker::faults(&schema, &wrong).is_empty();
                assert_eq!(refused, !open, "{}: no_such_key at {place:?}", path.display());
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "only {tried} tables");
}

#[test]
fn what_the_program_refuses_is_refused() {
    let experiment = json(schema::experiment());
    let of = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        checker::faults(&experiment, &serde_json::to_value(table).unwrap())
    };
    let right = "[machine]\nbase = \"pim-gpt\"\nmemory.channels = 16\n[device]\norganization.pin_gbps = 8\n[workload]\n\
        model = \"gpt2-small\"\n[workload.generation]\nprompt_tokens = 1\ngenerated_tokens = 2\n[mapping]\nlm_head = \"host\"\n";
    assert_eq!(of(right), Vec::<String>::new());
    for (from, to) in [
        ("base = \"pim-gpt\"\n", ""),
        ("memory.channels", "memory.channel"),
        ("memory.channels = 16", "memory.channels = \"many\""),
        ("pin_gbps", "pins_gbps"),
        ("generated_tokens = 2\n", ""),
        ("prompt_tokens = 1", "prompt_tokens = -1"),
        ("\"host\"", "\"hosts\""),
        ("lm_head", "lmhead"),
        ("lm_head = \"host\"", "strategy = \"gpu\"\nlm_head = \"host\""),
        ("model = \"gpt2-small\"", "model = 7"),
    ] {
        assert!(right.contains(from) && !of(&right.replace(from, to)).is_empty(), "{from} as {to}");
    }
    let table = "model = { name = \"m\", layers = 1, width = 8, heads = 1, vocab = 10, max_positions = 8 }";
    assert_eq!(of(&right.replace("model = \"gpt2-small\"", table)), Vec::<String>::new());
    assert!(!of(&right.replace("model = \"gpt2-small\"", &table.replace("heads", "head"))).is_empty());
}

#[test]
fn a_strategy_has_the_keys_that_its_schema_has() {
    let schema = json(schema::experiment());
    let strategies = schema["$defs"]["Mapping"]["anyOf"].as_array().unwrap();
    assert_eq!(strategies.len(), banksia_mappers::mappers().len());
    for (schema, mapper) in strategies.iter().zip(banksia_mappers::mappers()) {
        let mut own: Vec<&str> = mapper.keys().to_vec();
        own.push("strategy");
        own.sort_unstable();
        let said: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(said, own, "{}", mapper.name());
    }
}

#[test]
fn every_key_says_what_it_is() {
    fn silent(schema: &Value, root: &Value, at: &str, out: &mut Vec<String>) {
        let Some(map) = schema.as_object() else { return };
        for (key, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let said = property.get("description").is_some() || property.get("const").is_some();
            if !said
                && property
                    .get("$ref")
                    .and_then(Value::as_str)
                    .is_none_or(|r| checker::resolved(root, r).get("description").is_none())
            {
                out.push(format!("{at}.{key}"));
            }
        }
        for (key, value) in map {
            match value {
                Value::Object(_) => silent(value, root, &format!("{at}/{key}"), out),
                Value::Array(list) => list.iter().for_each(|v| silent(v, root, &format!("{at}/{key}"), out)),
                _ => {}
            }
        }
    }
    let mut wrong = Vec::new();
    for one in Format::ALL {
        let schema = one.schema();
        silent(&schema, &schema, &format!("{one:?}"), &mut wrong);
    }
    assert!(wrong.is_empty(), "without a description:\n{}", wrong.join("\n"));
}

#[test]
fn pages_have_every_key() {
    const MODEL: &str = "a name of `banksia list models`, a file, or a table: [format-model.md](format-model.md)";
    const MACHINE: &str = "table: `base`, a name of `banksia list hardware` or a TOML file, and any key of that machine: [format-machine.md](format-machine.md)";
    const DEVICE: &str = "table: any key of the machine's DRAM device: [format-device.md](format-device.md)";
    const PART: &str = "table by name: `base`, any key of that machine, and `device`: any key of its DRAM device";
    type Elsewhere = &'static [(&'static str, &'static str)];
    let pages: [(&str, Format, Elsewhere); 6] = [
        ("experiment", Format::Experiment, &[("machine", MACHINE), ("device", DEVICE), ("workload.model", MODEL)]),
        ("machine", Format::Machine, &[("devices", PART)]),
        ("device", Format::Device, &[]),
        ("model", Format::Model, &[]),
        ("training", Format::Training, &[("workload.model", MODEL)]),
        ("cluster", Format::Cluster, &[]),
    ];
    for (name, format, elsewhere) in pages {
        let path = root().join(format!("docs/format-{name}.md"));
        let page = std::fs::read_to_string(&path).unwrap();
        let (begin, end) = ("<!-- keys: generated -->\n", "<!-- end -->");
        let from = page.find(begin).unwrap_or_else(|| panic!("{name}: no tables")) + begin.len();
        let to = from + page[from..].find(end).unwrap();
        let mut made = page.clone();
        made.replace_range(from..to, &keys::tables(&format.schema(), elsewhere));
        if std::env::var_os("BANKSIA_UPDATE_DOCS").is_some() {
            std::fs::write(&path, &made).unwrap();
        } else {
            assert_eq!(made, page, "docs/format-{name}.md is stale: BANKSIA_UPDATE_DOCS=1 writes the tables");
        }
    }
}

#[test]
fn keys_of_sweeps_and_controllers_are_in_their_pages() {
    for (page, format) in [("sweeps", Format::Sweep), ("memory-controller", Format::Controller)] {
        let text = std::fs::read_to_string(root().join(format!("docs/{page}.md"))).unwrap();
        let mut schema = format.schema();
        // What a cluster is told has a page of its own.
        schema["properties"].as_object_mut().unwrap().remove("slurm");
        let mut names = Vec::new();
        keys::names(&schema, &mut names);
        let word = |c: char| !(c.is_alphanumeric() || c == '_');
        let missing: Vec<_> = names.iter().filter(|key| !text.split(word).any(|w| w == key.as_str())).collect();
        assert!(missing.is_empty(), "docs/{page}.md does not name {missing:?}");
    }
}
