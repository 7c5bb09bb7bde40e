//! The house: which crate sees which, which file imports which, and whether the pages on it and on the GPU say what is so.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

mod architecture;
mod crates;
mod gpu_tables;
mod imports;

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The folders of the workspace's crates.
fn members() -> Vec<String> {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().unwrap();
    let list = manifest["workspace"]["members"].as_array().unwrap();
    list.iter().map(|m| m.as_str().unwrap().to_owned()).collect()
}
