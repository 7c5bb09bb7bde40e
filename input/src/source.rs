//! A file's name and text, kept together for the errors of later checks.

use std::fmt::Display;
use std::io::Read;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::error::{InputError, suggest};
use crate::locate::{exact_offset_of, line_at, offset_of, path_at, table_at};

/// A configuration file larger than this is a mistake (a trace given as a configuration, say).
const MAX_BYTES: u64 = 16 << 20;

/// A configuration's name and text.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    /// The sources and tables that were written over this one, the last on top: errors about their keys name them.
    overlays: Vec<Arc<(Source, String)>>,
    /// The settings that were written over this one: errors about their keys name them, and lines are those of the file.
    settings: Option<Arc<Settings>>,
}

/// What `--set` has written over a file.
#[derive(Debug)]
struct Settings {
    /// The text as the file has it.
    original: String,
    /// Each setting's path and its whole text.
    list: Vec<(String, String)>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// The file is missing, is not UTF-8, or is too large to be a configuration.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        let name = path.display().to_string();
        let fail = |problem: String| InputError::new(&name, problem);
        let unreadable = |e: std::io::Error| fail(format!("cannot be read: {e}"));
        let file = std::fs::File::open(path).map_err(unreadable)?;
        // A device or a pipe says that it has no bytes, and may never end: what is read decides.
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            let error = fail(format!("is too large: a configuration has at most {MAX_BYTES} bytes"));
            return Err(error.help("check that this is the file that was meant"));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            fail("is not UTF-8 text".into()).at_line(line_at_bytes(e.as_bytes(), e.utf8_error().valid_up_to()))
        })?;
        Ok(Self { name, text, overlays: Vec::new(), settings: None })
    }

    /// A source from text that is already in memory: an embedded catalog entry, or a test.
    pub fn from_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), overlays: Vec::new(), settings: None }
    }

    /// The file's name, as errors print it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same source with `path=value` settings written over it, as `--set` gives them. A value is TOML; a bare word is
    /// taken as a string.
    ///
    /// # Errors
    /// A setting has no `=`, an empty path, or goes through a key that is not a table.
    pub fn with_settings<S: AsRef<str>>(&self, settings: &[S]) -> Result<Self, InputError> {
        if settings.is_empty() {
            return Ok(self.clone());
        }
        let mut document: toml_edit::DocumentMut =
            self.text.parse().map_err(|e: toml_edit::TomlError| self.syntax_error(e.message(), e.span()))?;
        for setting in settings {
            apply_setting(&mut document, setting.as_ref())?;
        }
        let (original, mut list) = match self.settings.as_deref() {
            Some(before) => (before.original.clone(), before.list.clone()),
            None => (self.text.clone(), Vec::new()),
        };
        list.extend(settings.iter().map(|s| (setting_path(s.as_ref()), s.as_ref().to_owned())));
        let settings = Some(Arc::new(Settings { original, list }));
        Ok(Self { text: document.to_string(), settings, ..self.clone() })
    }

    /// The file that writes the value at a path: the overlay's where that does. What a setting writes counts as the file's own.
    pub fn written_in(&self, path: &str) -> &str {
        match self.writer(path) {
            Some((overlay, full)) => overlay.written_in(&full),
            None => &self.name,
        }
    }

    /// This source with the table at `table` of another written over it (`""` for the whole other), key by key; the keys of `except`
    /// are left out.
    /// Errors about a key that the other writes name the other's file and line.
    ///
    /// # Errors
    /// One of the two is not TOML.
    pub fn overlaid(&self, other: &Self, table: &str, except: &[&str]) -> Result<Self, InputError> {
        let parse = |s: &Self| -> Result<toml_edit::DocumentMut, InputError> {
            s.text.parse().map_err(|e: toml_edit::TomlError| s.syntax_error(e.message(), e.span()))
        };
        let (mut document, patch) = (parse(self)?, parse(other)?);
        let mut item = Some(patch.as_item());
        for part in table.split('.').filter(|part| !part.is_empty()) {
            item = item.and_then(|i| i.as_table_like()).and_then(|t| t.get(part));
        }
        if let Some(patch) = item.and_then(toml_edit::Item::as_table_like) {
            merge(document.as_table_mut(), patch, except);
        }
        let mut overlays = self.overlays.clone();
        overlays.push(Arc::new((other.clone(), table.to_owned())));
        Ok(Self { name: self.name.clone(), text: document.to_string(), overlays, settings: self.settings.clone() })
    }

    /// The topmost overlay that writes the value at a path, and its path there.
    fn writer(&self, path: &str) -> Option<(&Self, String)> {
        self.overlays.iter().rev().find_map(|written| {
            let (overlay, table) = &**written;
            let full = if table.is_empty() { path.to_owned() } else { format!("{table}.{path}") };
            exact_offset_of(&overlay.text, &full).is_some().then_some((overlay, full))
        })
    }

    /// Parses the text into a typed configuration.
    ///
    /// # Errors
    /// The text is not TOML, a key is unknown or missing, or a value has the wrong type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        toml::from_str(&self.text).map_err(|e| self.syntax_error(e.message(), e.span()))
    }

    fn syntax_error(&self, message: &str, span: Option<Range<usize>>) -> InputError {
        let offset = span.as_ref().map(|s| s.start);
        let mut error = InputError::new(&self.name, message.trim().replace('\n', "; "));
        error.line = offset.map(|o| line_at(&self.text, o));
        // Only text that parses has keys at its offsets; of text that does not, the line is all that is known.
        let Some(at) = offset.and_then(|o| path_at(&self.text, o)).or_else(|| self.is_toml().then(String::new)) else {
            return error;
        };
        let mut key = Some(at.clone()).filter(|at| !at.is_empty());
        // serde's own words name the key; add the nearest known one.
        if let Some((name, known)) = quoted(message, "unknown field `") {
            error.problem = "is not a key of this table".into();
            error.help = Some(suggest(name, &known));
            key = key.or_else(|| Some(name.to_owned()));
        } else if let Some((name, known)) = quoted(message, "unknown variant `") {
            error.problem = format!("is `{name}`, which is not one of the values known here");
            error.help = Some(suggest(name, &known));
        } else if let Some((name, _)) = quoted(message, "missing field `") {
            // What misses it is a table: the one whose span this is, which for the file itself begins with its first key.
            let at = match span {
                Some(span) if table_at(&self.text, &at, &span) => at.as_str(),
                _ => at.rsplit_once('.').map_or("", |(outer, _)| outer),
            };
            key = Some(if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") });
            error.problem = "is missing".into();
            error.help = Some("add it to this table; `banksia show` prints a complete example".into());
        } else if message.starts_with("invalid ") {
            error.problem = format!("has an {}", error.problem);
        } else {
            key = None;
        }
        // Where an overlay or a setting wrote the key at fault, that is what its author has to mend.
        let (file, line, path) = self.place(key.as_deref().unwrap_or(&at));
        if key.is_some() {
            // A key that is missing has no line; its table has, in a text as the user wrote it.
            let table_line = error.line.filter(|_| file == self.name && self.settings.is_none());
            error.file = file;
            error.line = line.or(table_line);
            error.key = Some(path);
        } else if self.settings.is_some() {
            error.line = line;
        }
        error
    }

    fn is_toml(&self) -> bool {
        self.text.parse::<toml_edit::DocumentMut>().is_ok()
    }

    /// The file, line and full path of a key: an overlay's or a setting's where that writes it.
    fn place(&self, path: &str) -> (String, Option<usize>, String) {
        if let Some((overlay, full)) = self.writer(path) {
            return overlay.place(&full);
        }
        let mut text = &self.text;
        if let Some(settings) = self.settings.as_deref() {
            // The last of several settings is the one that holds; an earlier, longer one may have been written over.
            let wrote = |set: &str| {
                path.strip_prefix(set).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                    || (set.starts_with(path) && exact_offset_of(&settings.original, path).is_none())
            };
            if let Some((_, setting)) = settings.list.iter().rev().find(|(set, _)| wrote(set)) {
                return (format!("--set {setting}"), None, path.to_owned());
            }
            text = &settings.original;
        }
        (self.name.clone(), offset_of(text, path).map(|o| line_at(text, o)), path.to_owned())
    }

    /// An error about the value at a dotted path (`a.b[2].c`), with its line.
    pub fn error(&self, path: &str, problem: impl Into<String>) -> InputError {
        let (file, line, key) = self.place(path);
        InputError { file, line, key: Some(key), problem: problem.into(), help: None }
    }

    /// The value, if it lies in the range; otherwise an error that says what the range is. Not-a-number lies in no range.
    ///
    /// # Errors
    /// The value is outside the range.
    pub fn check<T: PartialOrd + Display + Copy>(
        &self,
        path: &str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Result<T, InputError> {
        if range.contains(&value) {
            Ok(value)
        } else {
            Err(self.error(path, format!("is {value}: must be from {} to {}", range.start(), range.end())))
        }
    }

    /// An error for a name at `path` that is not in a list; suggests the nearest.
    pub fn unknown_name<'a>(
        &self,
        path: &str,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> InputError {
        let help = InputError::unknown_name(&self.name, what, name, known).help;
        InputError { help, ..self.error(path, format!("names no {what} known here: `{name}`")) }
    }
}

fn line_at_bytes(bytes: &[u8], offset: usize) -> usize {
    bytes.iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

/// Writes `patch` over `table`, key by key; the keys of `except` at the top are left out.
fn merge(table: &mut dyn toml_edit::TableLike, patch: &dyn toml_edit::TableLike, except: &[&str]) {
    for (key, value) in patch.iter().filter(|(key, _)| !except.contains(key)) {
        match (table.get_mut(key).and_then(toml_edit::Item::as_table_like_mut), value.as_table_like()) {
            (Some(inner), Some(patch)) => merge(inner, patch, &[]),
            _ => {
                // What is placed anew must not keep the place that it had in the other file.
                let mut value = value.clone();
                if let Some(table) = value.as_table_mut() {
                    table.set_position(None);
                }
                table.insert(key, value);
            }
        }
    }
}

/// The name that follows an opening, and the names that the message lists after it.
fn quoted<'a>(message: &'a str, opening: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (name, rest) = message.strip_prefix(opening)?.split_once('`')?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
}

/// The path of a setting, `a.b` of `a . b = 1`.
fn setting_path(setting: &str) -> String {
    let path = setting.split_once('=').map_or(setting, |(path, _)| path);
    setting_keys(path).join(".")
}

/// The keys of a path. One with a dot or a space in it may stand in quotes, as in TOML.
fn setting_keys(path: &str) -> Vec<String> {
    match toml_edit::Key::parse(path.trim()) {
        Ok(keys) => keys.iter().map(|k| k.get().to_owned()).collect(),
        Err(_) => path.trim().split('.').map(|k| k.trim().to_owned()).collect(),
    }
}

fn apply_setting(document: &mut toml_edit::DocumentMut, setting: &str) -> Result<(), InputError> {
    let fail = |problem: &str| InputError::new(format!("--set {setting}"), problem).help("write --set table.key=value");
    let (path, value) = setting.split_once('=').ok_or_else(|| fail("has no `=`"))?;
    let keys = setting_keys(path);
    if keys.iter().any(String::is_empty) {
        return Err(fail("has an empty key"));
    }
    let value: toml_edit::Value = value.trim().parse().unwrap_or_else(|_| value.trim().into());
    let mut item = document.as_item_mut();
    for (depth, key) in keys.iter().enumerate() {
        let table = item
            .as_table_like_mut()
            .ok_or_else(|| fail(&format!("goes through `{}`, which is not a table", keys[..depth].join("."))))?;
        if !table.contains_key(key) {
            let empty = if depth + 1 == keys.len() { toml_edit::value(false) } else { toml_edit::table() };
            table.insert(key, empty);
        }
        item = table.get_mut(key).ok_or_else(|| fail("cannot be set"))?;
    }
    *item = toml_edit::Item::Value(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Machine {
        channels: u32,
        clock_mhz: f64,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct File {
        machine: Machine,
        rows: Vec<Machine>,
    }

    const TEXT: &str = "[machine]\nchannels = 8\nclock_mhz = 1.0\n[[rows]]\nchannels = 1\nclock_mhz = 2\n[[rows]]\nchannels = 0\nclock_mhz = 2\n";

    #[test]
    fn a_check_names_file_line_key_and_range() {
        let source = Source::from_text("x.toml", TEXT);
        let file: File = source.parse().unwrap();
        let error = source.check("rows[1].channels", file.rows[1].channels, 1..=8).unwrap_err();
        assert_eq!(error.to_string(), "x.toml:8: `rows[1].channels` is 0: must be from 1 to 8");
        assert!(source.check("machine.clock_mhz", f64::NAN, 0.0..=1.0).is_err());
    }

    #[test]
    fn an_unknown_key_gets_a_suggestion() {
        let source = Source::from_text("x.toml", TEXT.replace("clock_mhz = 1.0", "clock_ghz = 1.0"));
        let error = source.parse::<File>().unwrap_err();
        assert_eq!(error.line, Some(3));
        assert!(error.to_string().contains("did you mean `clock_mhz`"), "{error}");
    }

    #[test]
    fn an_overlay_is_merged_and_named_in_errors() {
        let base = Source::from_text("base.toml", TEXT);
        let over = Source::from_text("exp.toml", "[m]\nbase = \"x\"\n\n[m.machine]\nchannels = 99\n");
        let merged = base.overlaid(&over, "m", &["base"]).unwrap();
        let file: File = merged.parse().unwrap();
        assert_eq!((file.machine.channels, file.rows.len()), (99, 2));
        let error = merged.check("machine.channels", file.machine.channels, 1..=8).unwrap_err();
        assert_eq!(error.to_string(), "exp.toml:5: `m.machine.channels` is 99: must be from 1 to 8");
        let error = merged.error("machine.clock_mhz", "is wrong");
        assert_eq!((error.file.as_str(), error.line), ("base.toml", Some(3)));
        let over = Source::from_text("exp.toml", "[m.machine]\nchanels = 99\n");
        let error = base.overlaid(&over, "m", &[]).unwrap().parse::<File>().unwrap_err();
        assert_eq!(
            (error.file.as_str(), error.line, error.key.as_deref()),
            ("exp.toml", Some(2), Some("m.machine.chanels"))
        );
        let over = Source::from_text("exp.toml", "[m.machine]\nchannels = \"many\"\n");
        let error = base.overlaid(&over, "m", &[]).unwrap().parse::<File>().unwrap_err();
        assert_eq!((error.file.as_str(), error.line), ("exp.toml", Some(2)), "{error}");
    }

    #[test]
    fn settings_override_and_create() {
        let source = Source::from_text("x.toml", TEXT);
        let set = source.with_settings(&["machine.channels=16", "machine.clock_mhz = 3.5"]).unwrap();
        let file: File = set.parse().unwrap();
        assert_eq!(file.machine.channels, 16);
        assert!(source.with_settings(&["machine.channels"]).is_err());
        assert!(source.with_settings(&["machine.channels.x=1"]).is_err());
        assert!(source.with_settings(&["a.b.c=word"]).unwrap().text().contains("\"word\""));
    }
}
