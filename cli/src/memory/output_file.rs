//! A file that a run writes as it goes: whole under its name when the run is done, and not there at all when it fails.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use banksia_input::InputError;

use crate::CliError;

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct OutputFile {
    /// As the user wrote it.
    name: String,
    /// Where the file goes at the end, and what it is called until then; nothing for a pipe or a device, which is written to at once.
    move_to: Option<(PathBuf, PathBuf)>,
    file: BufWriter<File>,
}

impl OutputFile {
    /// Begins to write the file of an option, before anything is simulated.
    ///
    /// # Errors
    /// Nothing can be written there, in words that name the option.
    pub(crate) fn create(key: &str, path: &Path) -> Result<Self, CliError> {
        let name = path.display().to_string();
        let fail = |e: &dyn std::fmt::Display| {
            CliError::from(
                InputError::new("command line", format!("names {name}, which cannot be written: {e}")).key(key),
            )
        };
        // A name that leads elsewhere keeps doing so; but what `/dev/stdout` stands for is open already, and not to be replaced.
        let special = ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
        let path = fs::canonicalize(path).ok().filter(|_| !special).unwrap_or_else(|| path.to_owned());
        let kind = fs::metadata(&path).ok();
        if kind.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(fail(&"it is a folder"));
        }
        if special || kind.as_ref().is_some_and(|m| !m.is_file()) {
            let file = fs::OpenOptions::new().write(true).open(&path).map_err(|e| fail(&e))?;
            return Ok(Self { name, move_to: None, file: BufWriter::with_capacity(1 << 16, file) });
        }
        let Some(last) = path.file_name() else { return Err(fail(&"it names no file")) };
        if kind.is_some_and(|m| m.permissions().readonly()) {
            return Err(fail(&"it is read-only"));
        }
        let mut hidden = OsString::from(".");
        hidden.push(last);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let until_then = path.with_file_name(hidden);
        let file = File::create(&until_then).map_err(|e| fail(&e))?;
        Ok(Self { name, move_to: Some((until_then, path)), file: BufWriter::with_capacity(1 << 16, file) })
    }

    /// What to write to.
    pub(crate) fn writer(&mut self) -> &mut dyn Write {
        &mut self.file
    }

    /// The file is whole: it gets its name.
    ///
    /// # Errors
    /// The rest of it cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        let moved = self.file.flush().and_then(|()| match &self.move_to {
            Some((from, to)) => fs::rename(from, to),
            None => Ok(()),
        });
        moved.map_err(|e| CliError::Failed(format!("{} cannot be written: {e}", self.name)))?;
        self.move_to = None;
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some((until_then, _)) = &self.move_to {
            // What failed is said already; a part of a file that cannot be removed is only litter.
            let _ = fs::remove_file(until_then);
        }
    }
}

/// Refuses outputs that are one file, or one of the files that are read: each an option and its path.
///
/// # Errors
/// Two of them are the same, in words that name both options.
pub(crate) fn check_apart(inputs: &[(&str, &Path)], outputs: &[(&str, &Path)]) -> Result<(), InputError> {
    for (i, (key, path)) in outputs.iter().enumerate() {
        let Some(place) = place(path) else { continue };
        let same = |(_, other): &&(&str, &Path)| self::place(other).is_some_and(|p| p == place);
        let (found, what) = match inputs.iter().find(same) {
            Some(input) => (Some(input), "which is read for"),
            None => (outputs[..i].iter().find(same), "which is written for"),
        };
        if let Some((other, _)) = found {
            let problem = format!("names {}, {what} `{other}`", path.display());
            return Err(InputError::new("command line", problem).key(*key).help("give it another name"));
        }
    }
    Ok(())
}

/// Where a path leads: nowhere that matters for a pipe or a device.
fn place(path: &Path) -> Option<PathBuf> {
    if ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder)) {
        return None;
    }
    if let Ok(whole) = fs::canonicalize(path) {
        return fs::metadata(&whole).is_ok_and(|m| m.is_file()).then_some(whole);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
}
