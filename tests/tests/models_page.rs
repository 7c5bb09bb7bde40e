//! The tables of docs/experiments/models.md are those of the sweep's comparison, docs/experiments/models.csv:
//! `BANKSIA_UPDATE_DOCS=1` writes them, otherwise a stale one fails. What the page claims of them is asserted.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const MODELS: [&str; 6] =
    ["llama3.1-8b", "mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3-group", "mamba2-2.7b", "mamba2-hybrid-8b"];
/// The name of an experiment, its file's, and what a table calls it.
const MACHINES: [(&str, &str, &str); 6] = [
    ("H200", "h200", "H200"),
    ("H200 with AttAcc units", "h200-attacc", "H200 + AttAcc"),
    ("H200 and an AiM card", "h200-aim", "H200 + AiM"),
    ("AiM, 9 cards", "aim", "AiM"),
    ("AttAcc, 9 stacks", "attacc", "AttAcc"),
    ("HBM-PIM, 64 stacks", "hbm-pim", "HBM-PIM"),
];
const CONTEXTS: [u64; 5] = [1024, 4096, 16384, 65536, 131_072];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/experiments")
}

/// Machine (its file's name), model, context (0: a prompt), batch.
type Key = (String, String, u64, u64);

/// Seconds and joules of a point; `None` of one that does not fit.
type Points = HashMap<Key, Option<(f64, f64)>>;

/// The fields of each record, some of them in quotes, within which a line may end.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut fields, mut one, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut one)),
            '\n' if !quoted => {
                fields.push(std::mem::take(&mut one));
                all.push(std::mem::take(&mut fields));
            }
            c => one.push(c),
        }
    }
    all
}

fn points() -> Points {
    let text = std::fs::read_to_string(folder().join("models.csv")).unwrap();
    let mut records = records(&text).into_iter();
    let heads = records.next().unwrap();
    let rows = records.map(|record| {
        let row: HashMap<String, String> = heads.iter().cloned().zip(record).collect();
        let label = row["name"].split(", model=").next().unwrap();
        let machine = MACHINES.iter().find(|(name, file, _)| *name == label || *file == label);
        let machine = machine.unwrap_or_else(|| panic!("{row:?}")).1.to_owned();
        let number = |key: &str| row.get(key).and_then(|v| v.parse::<f64>().ok());
        let context = number("context_tokens").unwrap_or(0.0) as u64;
        let batch = number("batch").unwrap_or(1.0) as u64;
        let result = number("latency_s").map(|s| (s, number("energy_j").unwrap()));
        ((machine, row["workload.model"].clone(), context, batch), result)
    });
    rows.collect()
}

fn at(points: &Points, machine: &str, model: &str, context: u64, batch: u64) -> Option<(f64, f64)> {
    points.get(&(machine.to_owned(), model.to_owned(), context, batch)).copied().flatten()
}

/// Milliseconds, a dash where a point does not fit or is not in the sweep.
fn ms(point: Option<(f64, f64)>) -> String {
    point.map_or("–".to_owned(), |(s, _)| format!("{:.*}", if s < 0.01 { 2 } else { 1 }, s * 1e3))
}

fn header(first: &str, rest: &[&str], marks: usize) -> String {
    let mut out = format!("{first} {} |\n|", rest.join(" | "));
    for i in 0..marks + rest.len() {
        out.push_str(if i == 0 { "---|" } else { "--:|" });
    }
    out + "\n"
}

fn decode(points: &Points) -> String {
    let names: Vec<&str> = MACHINES.iter().map(|m| m.2).collect();
    let mut out = header("| model | context |", &names, 2);
    for model in MODELS {
        for context in CONTEXTS {
            let of = MACHINES.iter().map(|m| ms(at(points, m.1, model, context, 1))).collect::<Vec<_>>();
            // What keeps no cache takes the same at every context.
            if !model.starts_with("mamba2-2") || context == CONTEXTS[0] {
                let which = if model.starts_with("mamba2-2") { "any".into() } else { format!("{} K", context / 1024) };
                writeln!(out, "| {model} | {which} | {} |", of.join(" | ")).unwrap();
            }
        }
    }
    out
}

/// A step of a batch, and its sequences a second against those of an H200.
fn batch(points: &Points) -> String {
    let names = ["H200", "+ AttAcc", "+ AiM", "AiM", "AttAcc", "AiM, speed at 1", "at 8"];
    let mut out = header("| model |", &names, 1);
    for model in MODELS {
        let mut cells: Vec<String> = MACHINES[..5].iter().map(|m| ms(at(points, m.1, model, 4096, 8))).collect();
        for b in [1, 8] {
            let speed = at(points, "h200", model, 4096, b).zip(at(points, "aim", model, 4096, b));
            cells.push(speed.map_or("–".into(), |(gpu, pim)| format!("{:.2}x", gpu.0 / pim.0)));
        }
        writeln!(out, "| {model} | {} |", cells.join(" | ")).unwrap();
    }
    out
}

fn gpu_batch(points: &Points) -> String {
    let mut out = header("| model |", &["1 sequence", "8", "64"], 1);
    for model in MODELS {
        let cells = [1, 8, 64].map(|b| ms(at(points, "h200", model, 4096, b)));
        writeln!(out, "| {model} | {} |", cells.join(" | ")).unwrap();
    }
    out
}

fn prefill(points: &Points) -> String {
    let mut out = header("| model |", &["H200"], 1);
    for model in MODELS {
        writeln!(out, "| {model} | {} |", ms(at(points, "h200", model, 0, 1))).unwrap();
    }
    out
}

fn energy(points: &Points) -> String {
    let mut out = header("| model |", &["H200", "H200 + AttAcc", "AiM", "AttAcc", "HBM-PIM"], 1);
    for model in MODELS {
        let cells = ["h200", "h200-attacc", "aim", "attacc", "hbm-pim"]
            .map(|m| at(points, m, model, 1024, 1).map_or("–".into(), |(_, j)| format!("{:.2}", j)));
        writeln!(out, "| {model} | {} |", cells.join(" | ")).unwrap();
    }
    out
}

#[test]
fn the_tables_are_the_sweeps() {
    let points = points();
    let path = folder().join("models.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut made = page.clone();
    let tables = [
        ("decode", decode(&points)),
        ("batch", batch(&points)),
        ("gpu batch", gpu_batch(&points)),
        ("prefill", prefill(&points)),
        ("energy", energy(&points)),
    ];
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- {name}: generated -->\n"), "<!-- end -->");
        let from = made.find(&begin).unwrap_or_else(|| panic!("no table {name}")) + begin.len();
        let to = from + made[from..].find(end).unwrap();
        made.replace_range(from..to, &table);
    }
    if std::env::var_os("BANKSIA_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    } else {
        assert_eq!(made, page, "stale: BANKSIA_UPDATE_DOCS=1 writes the tables");
    }
}

#[test]
fn what_the_page_concludes_is_in_the_rows() {
    let p = points();
    let speed = |machine: &str, model: &str, context, batch| {
        let (gpu, pim) = (at(&p, "h200", model, context, batch)?, at(&p, machine, model, context, batch)?);
        Some(gpu.0 / pim.0)
    };
    for model in ["llama3.1-8b", "mixtral-8x7b", "mamba2-2.7b"] {
        // One sequence: banks win by far; of a batch they read the weights for each anew.
        let (one, eight) = (speed("aim", model, 4096, 1).unwrap(), speed("aim", model, 4096, 8).unwrap());
        assert!(one > 4.0 && eight < one, "{model}: {one}, {eight}");
    }
    // Llama's queries share keys by fours, which banks read once a query: the gain shrinks with context.
    let gain = |context| speed("aim", "llama3.1-8b", context, 1).unwrap();
    assert!(gain(1024) > gain(16384) && gain(16384) > gain(65536) && gain(131_072) < 1.0);
    // Absorbed latent attention is arithmetic, 128 queries a latent vector: banks lose with context.
    assert!(speed("aim", "deepseek-v3-group", 1024, 1).unwrap() > 1.0);
    assert!(speed("aim", "deepseek-v3-group", 131_072, 1).unwrap() < 0.5);
}
