//! A configuration's values, and a note of which were read.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use banksia_input::InputError;
use serde_json::{Map, Value};

use super::python_json::scan;

/// An object of a file: the outermost, or one inside it.
pub(super) struct Reader<'a> {
    file: &'a str,
    /// The keys that lead to it, with a dot behind each; empty for the outermost.
    prefix: String,
    map: Map<String, Value>,
    /// By the keys that lead there.
    lines: Rc<HashMap<String, usize>>,
    /// Keys that have been looked at.
    read: RefCell<BTreeSet<String>>,
    /// Pairs of a TOML key and the key of the file that it came from.
    renamed: Rc<RefCell<HashMap<&'static str, String>>>,
}

impl<'a> Reader<'a> {
    /// Parses a file, in Python's JSON.
    pub(super) fn new(file: &'a str, text: &str) -> Result<Self, InputError> {
        let found = scan(text);
        let value: Value = serde_json::from_str(&found.json)
            .map_err(|e| InputError::new(file, format!("is not JSON: {e}")).at_line(e.line().max(1)))?;
        let Value::Object(map) = value else {
            return Err(InputError::new(file, "is not a JSON object").help("give a model's config.json"));
        };
        let lines = Rc::new(found.lines);
        Ok(Self { file, prefix: String::new(), map, lines, read: RefCell::default(), renamed: Rc::default() })
    }

    /// The file's name.
    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    /// Whether this is a table inside the file: what it leaves out has the library's defaults, where a file of its own would have it.
    pub(super) fn nested(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// The value of a key, or of a key inside a table (`rope_parameters.rope_theta`), which counts as read.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        let mut parts = key.split('.');
        let first = self.map.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// Whether a key has been looked at.
    pub(super) fn was_read(&self, key: &str) -> bool {
        self.read.borrow().contains(key)
    }

    /// Keys that have not been read, in the order of their names.
    pub(super) fn unread(&self) -> Vec<(&str, &Value)> {
        let read = self.read.borrow();
        self.map.iter().filter(|(key, _)| !read.contains(*key)).map(|(key, value)| (key.as_str(), value)).collect()
    }

    /// Keys that begin with something.
    pub(super) fn keys_with_prefix(&self, prefix: &str) -> Vec<String> {
        self.map.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// A table inside this one, if it is there: its unread keys are for the caller to check.
    pub(super) fn table(&self, key: &str) -> Result<Option<Self>, InputError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(self.with(format!("{}{key}.", self.prefix), map.clone()))),
            Some(value) => Err(self.error(key, format!("is {}: must be a table", kind(value)))),
        }
    }

    /// A table in a list of tables.
    pub(super) fn element(&self, key: &str, at: usize) -> Result<Self, InputError> {
        match self.get(key).and_then(|list| list.get(at)) {
            Some(Value::Object(map)) => Ok(self.with(format!("{}{key}.{at}.", self.prefix), map.clone())),
            _ => Err(self.error(&format!("{key}.{at}"), "must be a table")),
        }
    }

    /// A table inside this one, with some of the values of this one where it has none.
    pub(super) fn inside(&self, key: &str, inherited: &[&str]) -> Result<Self, InputError> {
        let mut table = self.table(key)?.ok_or_else(|| self.missing(key))?;
        for key in inherited {
            if let (false, Some(value)) = (table.map.contains_key(*key), self.map.get(*key)) {
                table.map.insert((*key).to_owned(), value.clone());
            }
        }
        Ok(table)
    }

    /// This table, some of whose keys count as read: those that begin with one of some words.
    pub(super) fn same_without(&self, words: &[&str]) -> Self {
        let same = self.with(self.prefix.clone(), self.map.clone());
        let own = ["architectures", "auto_map", "model_type"].map(str::to_owned);
        let towers = words.iter().flat_map(|word| self.keys_with_prefix(word));
        same.read.borrow_mut().extend(own.into_iter().chain(towers));
        same
    }

    fn with(&self, prefix: String, map: Map<String, Value>) -> Self {
        let (lines, renamed) = (Rc::clone(&self.lines), Rc::clone(&self.renamed));
        Self { file: self.file, prefix, map, lines, read: RefCell::default(), renamed }
    }

    /// Notes the file's key for one of TOML's, for errors.
    pub(super) fn rename(&self, ours: &'static str, theirs: &str) {
        self.renamed.borrow_mut().insert(ours, format!("{}{theirs}", self.prefix));
    }

    /// The file's key for one of TOML's.
    pub(super) fn theirs(&self, ours: &'static str) -> String {
        let key = self.renamed.borrow().get(ours).cloned().unwrap_or_else(|| ours.to_owned());
        key.strip_prefix(&self.prefix).map(str::to_owned).unwrap_or(key)
    }

    /// An error of the checks that TOML's models pass too, in terms of this file.
    pub(super) fn in_its_terms(&self, mut error: InputError) -> InputError {
        let of = |key: &str| {
            let last = if key == "pattern" { "layers" } else { key.rsplit('.').next().unwrap_or(key) };
            self.renamed.borrow().get(last).cloned()
        };
        if let Some(theirs) = error.key.as_deref().and_then(of) {
            error.line = self.line(&theirs);
            error.key = Some(theirs);
        }
        error
    }

    /// An error that a key is not there.
    pub(super) fn missing(&self, key: &str) -> InputError {
        let key = format!("{}{key}", self.prefix);
        InputError::new(self.file, "is missing").key(key).help("give a model's complete config.json")
    }

    /// An error about a key.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> InputError {
        let key = format!("{}{key}", self.prefix);
        let mut error = InputError::new(self.file, problem);
        error.line = self.line(&key);
        error.key(key)
    }

    /// An error that this setting cannot be expressed, unless `expressible`.
    pub(super) fn refuse_unless(&self, key: &str, expressible: bool, what: &str) -> Result<(), InputError> {
        if expressible {
            return Ok(());
        }
        Err(self.error(key, format!("{what}: the operator graph cannot express it")))
    }

    /// An error that this setting cannot be expressed, unless it is absent or one of some values.
    pub(super) fn only(&self, key: &str, values: &[Value], otherwise: &str) -> Result<(), InputError> {
        let expressible = self.get(key).is_none_or(|value| value.is_null() || values.contains(value));
        self.refuse_unless(key, expressible, otherwise)
    }

    /// The line of a key, or of the innermost table around it that has one.
    fn line(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = key.rsplit_once('.').map(|(outer, _)| outer)?;
        }
    }
}

/// What a value is, short enough for an error.
fn kind(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        other => other.to_string(),
    }
}
