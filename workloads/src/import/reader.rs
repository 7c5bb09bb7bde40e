//! A configuration's values, and a note of which were read.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use banksia_input::InputError;
use serde_json::{Map, Value};

use super::python_json::scan;
use crate::config::{GptFile, Positions};
use crate::model::Norm;
use crate::op::ActivationKind;
use crate::tensor::DataType;

/// Spellings of the longest context, for files that lack their family's own.
const POSITIONS: [&str; 7] = [
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "n_ctx",
    "seq_length",
    "max_seq_len",
    "max_seq_length",
];

/// The outermost object of a file.
pub(super) struct Reader<'a> {
    file: &'a str,
    map: Map<String, Value>,
    lines: HashMap<String, usize>,
    /// Keys that have been looked at.
    read: RefCell<BTreeSet<String>>,
    /// Pairs of a TOML key and the key of the file that it came from.
    renamed: RefCell<HashMap<&'static str, String>>,
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
        Ok(Self { file, map, lines: found.lines, read: RefCell::default(), renamed: RefCell::default() })
    }

    /// The value of a key, or of a key inside a table (`rope_parameters.rope_theta`), which counts as read.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        let mut parts = key.split('.');
        let first = self.map.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// Keys that have not been read, in the order of their names.
    pub(super) fn unread(&self) -> Vec<(&str, &Value)> {
        let read = self.read.borrow();
        self.map.iter().filter(|(key, _)| !read.contains(*key)).map(|(key, value)| (key.as_str(), value)).collect()
    }

    /// Notes the file's key for one of TOML's, for errors.
    pub(super) fn rename(&self, ours: &'static str, theirs: &str) {
        self.renamed.borrow_mut().insert(ours, theirs.to_owned());
    }

    /// An error of the checks that TOML's models pass too, in terms of this file.
    pub(super) fn in_its_terms(&self, mut error: InputError) -> InputError {
        if let Some(theirs) = error.key.as_deref().and_then(|key| self.renamed.borrow().get(key).cloned()) {
            error.line = self.line(&theirs);
            error.key = Some(theirs);
        }
        error
    }

    /// What every family has, with the defaults of GPT-2 for the rest; sizes that families spell otherwise are zero.
    pub(super) fn base(&self) -> Result<GptFile, InputError> {
        Ok(GptFile {
            name: String::new(),
            layers: 0,
            width: 0,
            heads: 0,
            kv_heads: None,
            head_dim: None,
            ffn_width: None,
            vocab: self.size("vocab", &["vocab_size"])?,
            max_positions: 0,
            position_rows: None,
            tied_embeddings: true,
            dtype: self.dtype()?,
            activation: ActivationKind::Gelu,
            gated: false,
            bias: true,
            norm: Norm::LayerNorm,
            positions: Positions::Learned,
            rotary_dim: None,
            parallel_block: false,
            source: String::new(),
        })
    }

    fn dtype(&self) -> Result<DataType, InputError> {
        let (new, old) = (self.text("dtype")?, self.text("torch_dtype")?);
        let key = if new.is_some() { "dtype" } else { "torch_dtype" };
        let name = new.or(old);
        match name.map(|name| name.strip_prefix("torch.").unwrap_or(name)) {
            None | Some("bfloat16") => Ok(DataType::Bf16),
            Some("float16") => Ok(DataType::F16),
            Some("float32") => Ok(DataType::F32),
            Some(other) => {
                let error = self.error(key, format!("is `{other}`"));
                Err(error.help("use bfloat16, float16 or float32; set another type in the TOML"))
            }
        }
    }

    /// An activation function.
    pub(super) fn activation(&self, key: &str, default: ActivationKind) -> Result<ActivationKind, InputError> {
        match self.text(key)? {
            None => Ok(default),
            // The forms of GELU differ in rounding, and are counted as one.
            Some("gelu" | "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh") => Ok(ActivationKind::Gelu),
            Some("relu") => Ok(ActivationKind::Relu),
            Some("silu" | "swish") => Ok(ActivationKind::Silu),
            Some(other) => {
                let error = self.error(key, format!("is `{other}`, an activation that is not known"));
                Err(error.help("known: gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu, swish"))
            }
        }
    }

    /// A size, under the first of several spellings that the file has; those that it has must agree.
    pub(super) fn size(&self, ours: &'static str, keys: &[&str]) -> Result<i64, InputError> {
        match self.agreed(keys)? {
            Some((key, value)) => {
                self.rename(ours, key);
                Ok(value)
            }
            None => Err(self.missing(keys.first().copied().unwrap_or(ours))),
        }
    }

    /// A size that has a default.
    pub(super) fn optional_size(&self, ours: &'static str, key: &str) -> Result<Option<i64>, InputError> {
        self.rename(ours, key);
        self.integer(key)
    }

    /// The longest context: what the family's own key says, or else any of the usual spellings, if they agree.
    pub(super) fn positions(&self, own: &str) -> Result<i64, InputError> {
        let found = match self.integer(own)? {
            Some(value) => Some((own, value)),
            None => self.agreed(&POSITIONS)?,
        };
        let (key, value) = found.ok_or_else(|| self.missing(own))?;
        self.rename("max_positions", key);
        Ok(value)
    }

    fn agreed<'k>(&self, keys: &[&'k str]) -> Result<Option<(&'k str, i64)>, InputError> {
        let mut found: Option<(&str, i64)> = None;
        for key in keys {
            let Some(value) = self.integer(key)? else { continue };
            match found {
                Some((first, other)) if other != value => {
                    let problem = format!("is {value}, but `{first}` is {other}: they are names of one size");
                    return Err(self.error(key, problem).help("take out the one that does not hold"));
                }
                Some(_) => {}
                None => found = Some((key, value)),
            }
        }
        Ok(found)
    }

    /// An integer.
    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, InputError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_i64().map(Some).ok_or_else(|| self.error(key, format!("is {value}: must be an integer")))
            }
        }
    }

    /// A share from 0 to 1.
    pub(super) fn share(&self, key: &str) -> Result<Option<f64>, InputError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|share| (0.0..=1.0).contains(share)) {
                Some(share) => Ok(Some(share)),
                None => Err(self.error(key, format!("is not a share from 0 to 1: {value}"))),
            },
        }
    }

    /// A switch.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, InputError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => Err(self.error(key, format!("is {value}: must be true or false"))),
        }
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, InputError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(value) => Err(self.error(key, format!("is {value}: must be a string"))),
        }
    }

    /// An error that a key is not there.
    pub(super) fn missing(&self, key: &str) -> InputError {
        InputError::new(self.file, "is missing").key(key).help("give a model's complete config.json")
    }

    /// An error about a key.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> InputError {
        let mut error = InputError::new(self.file, problem).key(key);
        error.line = self.line(key);
        error
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

    /// The line of a key; of a key inside a table, of the table.
    fn line(&self, key: &str) -> Option<usize> {
        self.lines.get(key.split('.').next()?).copied()
    }
}
