//! The tables of docs/gpu hold every parameter of the GPUs' files once, with the files' values and tests that exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{read, root};

const GPUS: [&str; 5] = ["h200", "h100", "a100", "v100", "t4"];

/// Keys that say what a file is.
const NOT_PARAMETERS: [&str; 4] = ["name", "kind", "description", "source"];

/// Of a key that a device does not have.
const NONE: &str = "–";

/// A row of a table: its key, a value for each GPU, and the test.
struct Row {
    page: String,
    key: String,
    values: Vec<String>,
    test: String,
}

/// The rows of the tables of parameters of a page.
fn rows(page: &str, text: &str) -> Vec<Row> {
    let mut inside = false;
    let mut all = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        inside = line.starts_with('|') && (inside || cells[0] == "key");
        if inside && cells[0].starts_with('`') {
            let quoted = |cell: &str| cell.trim_matches('`').to_owned();
            let values = cells[1..=GPUS.len()].iter().map(|c| (*c).to_owned()).collect();
            let test = quoted(cells.last().unwrap());
            all.push(Row { page: page.to_owned(), key: quoted(cells[0]), values, test });
        }
    }
    all
}

/// A value as the tables write it.
fn written(value: &toml::Value) -> String {
    match value {
        toml::Value::String(s) => s.clone(),
        toml::Value::Array(list) => list.iter().map(written).collect::<Vec<_>>().join(", "),
        toml::Value::Float(f) => f.to_string(),
        other => other.to_string(),
    }
}

fn flatten(table: &toml::Table, before: &str, out: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = format!("{before}{key}");
        match value {
            toml::Value::Table(inner) => flatten(inner, &format!("{key}."), out),
            _ if NOT_PARAMETERS.contains(&key.as_str()) => {}
            value => drop(out.insert(key, written(value))),
        }
    }
}

/// The parameters of each GPU.
fn catalog() -> Vec<BTreeMap<String, String>> {
    let of = |name: &&str| {
        let path = root().join("hw-models/catalog/gpu").join(format!("{name}.toml"));
        let mut all = BTreeMap::new();
        flatten(&read(&path).parse().unwrap(), "", &mut all);
        all
    };
    GPUS.iter().map(of).collect()
}

/// What is wrong with the tables.
fn faults(rows: &[Row], catalog: &[BTreeMap<String, String>]) -> String {
    let mut wrong = String::new();
    let keys: std::collections::BTreeSet<&String> = catalog.iter().flat_map(BTreeMap::keys).collect();
    for key in &keys {
        match rows.iter().filter(|r| r.key == **key).count() {
            1 => {}
            n => writeln!(wrong, "`{key}` stands in {n} rows of docs/gpu").unwrap(),
        }
    }
    for row in rows {
        if !keys.contains(&row.key) {
            writeln!(wrong, "{}: `{}` is a key of no GPU's file", row.page, row.key).unwrap();
            continue;
        }
        let value = |i: usize| catalog[i].get(&row.key).map_or(NONE, String::as_str);
        for (i, gpu) in GPUS.iter().enumerate() {
            // A GPU's cell is empty where its value is the first one's.
            let right = if i > 0 && value(i) == value(0) { "" } else { value(i) };
            if row.values[i] != right {
                writeln!(wrong, "{}: `{}` of {gpu} is `{}`, should be `{right}`", row.page, row.key, row.values[i])
                    .unwrap();
            }
        }
        if row.test != NONE && !exists(&row.test) {
            writeln!(wrong, "{}: `{}`: there is no test `{}`", row.page, row.key, row.test).unwrap();
        }
    }
    wrong
}

/// Whether a test `file::function` exists.
fn exists(test: &str) -> bool {
    let Some((file, function)) = test.split_once("::") else { return false };
    let places = ["mappers/tests", "hw-models/src/gpu", "hw-models/src/gpu/machine"];
    let paths = places.iter().map(|p| root().join(p).join(format!("{file}.rs"))).filter(|p| p.exists());
    paths.into_iter().any(|p| read(&p).contains(&format!("fn {function}()")))
}

fn pages() -> Vec<Row> {
    let files = std::fs::read_dir(root().join("docs/gpu")).unwrap().map(|e| e.unwrap().path());
    files.flat_map(|p| rows(&p.file_name().unwrap().to_string_lossy(), &read(&p))).collect()
}

#[test]
fn every_parameter_of_a_gpu_is_in_its_page_with_its_value() {
    let wrong = faults(&pages(), &catalog());
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_wrong_table_is_found() {
    let text = "| key | H200 | H100 | A100 | V100 | T4 | from | test |\n|---|\n| `a.b` | 1.5 | | 2 | – | | x | `tests::no_such` |\n\
        | `c` | 1 | | | | | | – |\n\n| `other` | 1 |\n";
    let of = |b: &str| BTreeMap::from([("a.b".to_owned(), b.to_owned())]);
    let right = [of("1.5"), of("1.5"), of("2"), BTreeMap::new(), of("1.5")];
    let found = faults(&rows("x.md", text), &right);
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(found.contains("no test `tests::no_such`") && found.contains("`c` is a key of no"), "{found}");
    let mut other = right.clone();
    other[1] = of("3");
    other[4].insert("d".to_owned(), "1".to_owned());
    let found = faults(&rows("x.md", text), &other);
    assert!(found.contains("`a.b` of h100 is ``, should be `3`") && found.contains("`d` stands in 0 rows"), "{found}");
}
