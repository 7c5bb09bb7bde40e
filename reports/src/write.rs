//! Files that appear whole or not at all.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::ReportError;

/// Writes a file beside its place, flushes it, and moves it there: a reader sees the old file or the new one.
///
/// # Errors
/// The directory cannot be written to.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), ReportError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let result = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_data()))
        .and_then(|()| fs::rename(&temporary, path));
    result.map_err(|e| {
        // The failure to report is the first one; a temporary that cannot be removed either is only litter.
        let _ = fs::remove_file(&temporary);
        ReportError::io("written", path, e)
    })
}
