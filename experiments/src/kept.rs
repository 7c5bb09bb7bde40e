//! Results that a sweep keeps in a folder, and when they are taken again.
//!
//! A point's folder is whole once it has `point.json`, which is written last: it says what the result was made from (every file that
//! the experiment builds on), by which build, and what each file of it holds. Anything else is not taken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use banksia_input::InputError;
use banksia_reports::{RunReport, read_report, write_atomically};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::experiment::Experiment;

const MARKER: &str = "point.json";
const SWEEP: &str = ".sweep.json";

/// All that a result depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// The point's name, which its report carries.
    name: String,
    /// SHA-256 of the configuration with every file that it builds on.
    configuration_sha256: String,
    /// The program: its version, and SHA-256 of the executable.
    build: String,
}

/// What a point's folder says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    #[serde(flatten)]
    key: Key,
    /// SHA-256 of each file.
    files: BTreeMap<String, String>,
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The program that runs: two builds of one version differ.
pub fn build() -> &'static str {
    static BUILD: OnceLock<String> = OnceLock::new();
    BUILD.get_or_init(|| {
        let own = std::env::current_exe().and_then(std::fs::read);
        let hash = own.map_or_else(|_| "unknown".to_owned(), |bytes| hex(&bytes));
        format!("{} {hash}", env!("CARGO_PKG_VERSION"))
    })
}

impl Key {
    pub(crate) fn of(experiment: &Experiment) -> Self {
        Self {
            name: experiment.name.clone(),
            configuration_sha256: hex(experiment.configuration.as_bytes()),
            build: build().to_owned(),
        }
    }
}

/// The report of a folder, if it is whole and was made from the same by the same build.
pub(crate) fn read(folder: &Path, key: &Key) -> Option<RunReport> {
    let text = std::fs::read_to_string(folder.join(MARKER)).ok()?;
    let marker: Marker = serde_json::from_str(&text).ok()?;
    let whole =
        |(name, hash): (&String, &String)| std::fs::read(folder.join(name)).is_ok_and(|bytes| hex(&bytes) == *hash);
    if marker.key != *key || !marker.files.iter().all(whole) {
        return None;
    }
    read_report(&folder.join("report.json")).ok()
}

/// What lies in a folder is no longer to be taken: it is about to be written over.
pub(crate) fn forget(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_file(folder.join(MARKER)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Failed(format!("{}: cannot be written: {e}", folder.join(MARKER).display())))
        }
        _ => {
            remove_litter(folder);
            Ok(())
        }
    }
}

/// Temporary files of a process that was killed.
fn remove_litter(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            // What cannot be removed is only litter.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The files of a folder are there: says so, last.
pub(crate) fn write(folder: &Path, key: &Key, files: &[PathBuf]) -> Result<(), Error> {
    let mut hashes = BTreeMap::new();
    for path in files {
        let bytes =
            std::fs::read(path).map_err(|e| Error::Failed(format!("{}: cannot be read: {e}", path.display())))?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        hashes.insert(name, hex(&bytes));
    }
    let marker = Marker { key: key.clone(), files: hashes };
    let text = serde_json::to_string_pretty(&marker).map_err(|e| Error::Failed(e.to_string()))?;
    write_atomically(&folder.join(MARKER), (text + "\n").as_bytes())?;
    Ok(())
}

/// Makes the folder of a sweep, which another sweep's results must not be in.
pub(crate) fn claim(folder: &Path, sweep: &Path) -> Result<(), Error> {
    #[derive(Serialize, Deserialize)]
    struct Owner {
        sweep: String,
    }
    let name = std::fs::canonicalize(sweep).unwrap_or_else(|_| sweep.to_owned()).display().to_string();
    let wrong = |problem: String| InputError::new("--out", problem);
    std::fs::create_dir_all(folder).map_err(|e| wrong(format!("{}: cannot be made: {e}", folder.display())))?;
    let path = folder.join(SWEEP);
    if let Some(owner) = std::fs::read_to_string(&path).ok().and_then(|t| serde_json::from_str::<Owner>(&t).ok())
        && owner.sweep != name
    {
        let problem = format!("{} holds the points of another sweep, {}", folder.display(), owner.sweep);
        return Err(wrong(problem).help("choose another folder: points of equal names would be written over").into());
    }
    let text = serde_json::to_string(&Owner { sweep: name }).map_err(|e| Error::Failed(e.to_string()))?;
    write_atomically(&path, text.as_bytes())?;
    Ok(())
}
