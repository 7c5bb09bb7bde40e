//! A file's name and text, kept together for the errors of later checks.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{InputError, suggest};
use crate::locate::{line_at, offset_of};

/// A configuration file larger than this is a mistake (a trace given as a configuration, say).
const MAX_BYTES: u64 = 16 << 20;

/// A configuration's name and text.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// The file is missing, is not UTF-8, or is too large to be a configuration.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        let name = path.display().to_string();
        let fail = |problem: String| InputError::new(&name, problem);
        let size = std::fs::metadata(path).map_err(|e| fail(format!("cannot be read: {e}")))?.len();
        if size > MAX_BYTES {
            return Err(fail(format!("is {size} bytes; a configuration has at most {MAX_BYTES}")));
        }
        let bytes = std::fs::read(path).map_err(|e| fail(format!("cannot be read: {e}")))?;
        let text = String::from_utf8(bytes).map_err(|e| {
            fail("is not UTF-8 text".into()).at_line(line_at_bytes(e.as_bytes(), e.utf8_error().valid_up_to()))
        })?;
        Ok(Self { name, text })
    }

    /// A source from text that is already in memory: an embedded catalog entry, or a test.
    pub fn from_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
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
        let mut document: toml_edit::DocumentMut = self
            .text
            .parse()
            .map_err(|e: toml_edit::TomlError| self.syntax_error(e.message(), e.span().map(|s| s.start)))?;
        for setting in settings {
            apply_setting(&mut document, setting.as_ref())?;
        }
        Ok(Self { name: self.name.clone(), text: document.to_string() })
    }

    /// Parses the text into a typed configuration.
    ///
    /// # Errors
    /// The text is not TOML, a key is unknown or missing, or a value has the wrong type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, InputError> {
        toml::from_str(&self.text).map_err(|e| self.syntax_error(e.message(), e.span().map(|s| s.start)))
    }

    fn syntax_error(&self, message: &str, offset: Option<usize>) -> InputError {
        let mut error = InputError::new(&self.name, message.trim().replace('\n', "; "));
        error.line = offset.map(|o| line_at(&self.text, o));
        // serde's own words name the key; add the nearest known one.
        if let Some(rest) = message.strip_prefix("unknown field `")
            && let Some((name, rest)) = rest.split_once('`')
        {
            let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
            error.key = Some(name.to_owned());
            error.problem = "is not a key of this table".into();
            error.help = Some(suggest(name, &known));
        } else if let Some(rest) = message.strip_prefix("unknown variant `")
            && let Some((name, rest)) = rest.split_once('`')
        {
            let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
            error.problem = format!("`{name}` is not one of the values known here");
            error.help = Some(suggest(name, &known));
        } else if let Some(rest) = message.strip_prefix("missing field `") {
            error.key = rest.split('`').next().map(str::to_owned);
            error.problem = "is missing".into();
            error.help = Some("add it to this table; `banksia show` prints a complete example".into());
        }
        error
    }

    /// An error about the value at a dotted path (`a.b[2].c`), with its line.
    pub fn error(&self, path: &str, problem: impl Into<String>) -> InputError {
        let mut error = InputError::new(&self.name, problem).key(path);
        error.line = offset_of(&self.text, path).map(|o| line_at(&self.text, o));
        error
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
        let mut error = InputError::unknown_name(&self.name, what, name, known).key(path);
        error.line = offset_of(&self.text, path).map(|o| line_at(&self.text, o));
        error.problem = format!("names no {what} known here: `{name}`");
        error
    }
}

fn line_at_bytes(bytes: &[u8], offset: usize) -> usize {
    bytes.iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

fn apply_setting(document: &mut toml_edit::DocumentMut, setting: &str) -> Result<(), InputError> {
    let fail = |problem: &str| InputError::new(format!("--set {setting}"), problem).help("write --set table.key=value");
    let (path, value) = setting.split_once('=').ok_or_else(|| fail("has no `=`"))?;
    let keys: Vec<&str> = path.trim().split('.').map(str::trim).collect();
    if keys.iter().any(|k| k.is_empty()) {
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
