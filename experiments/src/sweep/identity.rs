//! What tells a point of a store apart: its experiment with every file that it may read, what is set in it, and what it is called.
//!
//! It is found without making the experiment, so that a hundred thousand points that are there are passed in a moment. Files are those that a text
//! names: anything in quotes that ends as a file of ours, in the experiment, in its settings, and in these files again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use super::Point;

/// Endings of files that configurations name.
const ENDINGS: [&str; 3] = [".toml", ".json", ".csv"];

/// How far files name files.
const DEEPEST: u32 = 8;

/// Contents of files by their paths, as hashes: each is read once.
#[derive(Debug, Default)]
pub(super) struct Inputs(Mutex<HashMap<PathBuf, String>>);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Inputs {
    /// The identity of a point.
    pub(super) fn identity(&self, point: &Point) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        match point.path.exists() {
            true => add(&self.of_file(&point.path, 0)),
            // One that comes with the program is of the build.
            false => add(&point.path.display().to_string()),
        }
        let folder = point.path.parent().unwrap_or_else(|| Path::new(""));
        for set in &point.set {
            add(set);
            for file in named(set).into_iter().chain(bare(set)) {
                add(&self.of_file(&folder.join(file), 1));
            }
        }
        add(&point.variant);
        add(&point.folder);
        for (key, value) in &point.settings {
            add(key);
            add(value);
        }
        hex(&hash.finalize())
    }

    /// The hash of a file and of those that it names; of one that cannot be read, of nothing.
    fn of_file(&self, path: &Path, depth: u32) -> String {
        if let Some(known) = self.0.lock().ok().and_then(|all| all.get(path).cloned()) {
            return known;
        }
        let text = std::fs::read(path).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(&text);
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        if depth < DEEPEST {
            for file in named(&String::from_utf8_lossy(&text)) {
                hash.update(self.of_file(&folder.join(file), depth + 1));
            }
            // Beside a model's configuration of another tool lie files that say how its weights are stored.
            if depth == 1 && path.extension().is_some_and(|e| e == "json") {
                let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
                let mut beside: Vec<PathBuf> =
                    entries.filter(|p| p != path && p.extension().is_some_and(|e| e == "json")).collect();
                beside.sort();
                for file in beside {
                    hash.update(std::fs::read(file).unwrap_or_default());
                }
            }
        }
        let hash = hex(&hash.finalize());
        if let Ok(mut all) = self.0.lock() {
            all.insert(path.to_owned(), hash.clone());
        }
        hash
    }
}

/// Names of files in quotes.
fn named(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(open) = rest.find(['"', '\'']) {
            let quote = &rest[open..=open];
            let Some(length) = rest[open + 1..].find(quote) else { break };
            let inner = &rest[open + 1..open + 1 + length];
            if ENDINGS.iter().any(|end| inner.ends_with(end)) {
                all.push(inner);
            }
            rest = &rest[open + 2 + length..];
        }
    }
    all
}

/// The value of a setting that is a file's name without quotes.
fn bare(setting: &str) -> Option<&str> {
    let value = setting.split_once('=')?.1.trim();
    let plain = !value.contains(['"', '\'']) && ENDINGS.iter().any(|end| value.ends_with(end));
    plain.then_some(value)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_files_are_found() {
        let text = "base = \"h200\"\nmodel = 'a/config.json' # \"b.toml\"\nx = [\"c.csv\", \"d\"]\n";
        assert_eq!(super::named(text), ["a/config.json", "b.toml", "c.csv"]);
        assert_eq!(super::bare("machine.base = mine.toml"), Some("mine.toml"));
        assert_eq!(super::bare("machine.base=\"mine.toml\""), None);
    }
}
