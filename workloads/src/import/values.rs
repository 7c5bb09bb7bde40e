//! Typed values of a configuration: sizes, shares, switches, lists.

use banksia_input::InputError;
use serde_json::Value;

use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::tensor::DataType;

/// Above every size that a model may have, and small enough that products of two fit 64 bits.
const MOST: u64 = 1 << 31;
/// As many layers as a model may have.
const MOST_LAYERS: u64 = 1 << 16;

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

impl Reader<'_> {
    /// A size from 1, under the first of several spellings that the file has; those that it has must agree.
    pub(super) fn size(&self, ours: &'static str, keys: &[&str]) -> Result<u64, InputError> {
        self.maybe_size(ours, keys)?.ok_or_else(|| self.missing(keys.first().copied().unwrap_or(ours)))
    }

    /// A size that every file of its own has; a table inside a file may leave it to the library's default.
    pub(super) fn sized(&self, ours: &'static str, keys: &[&str], default: u64) -> Result<u64, InputError> {
        if self.nested() { self.size_or(ours, keys, default) } else { self.size(ours, keys) }
    }

    /// A size that has a default.
    pub(super) fn size_or(&self, ours: &'static str, keys: &[&str], default: u64) -> Result<u64, InputError> {
        Ok(self.maybe_size(ours, keys)?.unwrap_or(default))
    }

    /// A size that may not be there.
    pub(super) fn maybe_size(&self, ours: &'static str, keys: &[&str]) -> Result<Option<u64>, InputError> {
        let most = if ours == "layers" { MOST_LAYERS } else { MOST };
        match self.agreed(keys)? {
            Some((key, value)) => {
                self.rename(ours, key);
                self.within(key, value, 1, most).map(Some)
            }
            None => {
                if let Some(key) = keys.first() {
                    self.rename(ours, key);
                }
                Ok(None)
            }
        }
    }

    /// How many layers there are.
    pub(super) fn layers(&self, keys: &[&str], default: u64) -> Result<u32, InputError> {
        let layers = self.sized("layers", keys, default)?;
        Ok(u32::try_from(layers).unwrap_or(u32::MAX))
    }

    /// A number of things from 0; `None` if absent or null.
    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, InputError> {
        let Some(value) = self.integer(key)? else { return Ok(None) };
        self.within(key, value, 0, MOST).map(Some)
    }

    fn within(&self, key: &str, value: i64, least: u64, most: u64) -> Result<u64, InputError> {
        match u64::try_from(value) {
            Ok(size) if (least..=most).contains(&size) => Ok(size),
            _ => Err(self.error(key, format!("is {value}: must be from {least} to {most}"))),
        }
    }

    /// The longest context: what the family's own key says, or else any of the usual spellings, if they agree.
    pub(super) fn positions(&self, own: &str) -> Result<u64, InputError> {
        self.maybe_positions(own)?.ok_or_else(|| self.missing(own))
    }

    /// [`Self::positions`] with a default.
    pub(super) fn positions_or(&self, own: &str, default: u64) -> Result<u64, InputError> {
        Ok(self.maybe_positions(own)?.unwrap_or(default))
    }

    fn maybe_positions(&self, own: &str) -> Result<Option<u64>, InputError> {
        let found = match self.integer(own)? {
            Some(value) => Some((own, value)),
            None => self.agreed(&POSITIONS)?,
        };
        let Some((key, value)) = found else { return Ok(None) };
        self.rename("max_positions", key);
        self.within(key, value, 1, MOST).map(Some)
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
            Some(value) => match value.as_i64().or_else(|| whole(value)) {
                Some(value) => Ok(Some(value)),
                None => Err(self.error(key, format!("is {value}: must be an integer"))),
            },
        }
    }

    /// A number, which Python may have written as `Infinity`.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, InputError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().or_else(|| value.as_str()?.parse().ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(self.error(key, format!("is {value}: must be a number"))),
            },
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

    /// A list of strings, as `layer_types`.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, InputError> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let strings: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        strings.map(Some).ok_or_else(|| self.error(key, "is a list of other things than strings"))
    }

    /// A list of numbers from 0.
    pub(super) fn counts(&self, key: &str) -> Result<Option<Vec<u64>>, InputError> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let numbers: Option<Vec<u64>> = list.iter().map(|v| v.as_u64().filter(|n| *n <= MOST)).collect();
        numbers.map(Some).ok_or_else(|| self.error(key, format!("is a list of other things than numbers up to {MOST}")))
    }

    /// A list.
    pub(super) fn list(&self, key: &str) -> Result<Option<&Vec<Value>>, InputError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.error(key, "must be a list")),
        }
    }

    /// A list must have an entry a layer.
    pub(super) fn one_a_layer(&self, key: &str, entries: usize, layers: u32) -> Result<(), InputError> {
        if u32::try_from(entries).is_ok_and(|entries| entries == layers) {
            return Ok(());
        }
        Err(self.error(key, format!("has {entries} entries, but there are {layers} layers")))
    }

    /// Elements of a head, where heads share the width.
    pub(super) fn head_dim(&self, width: u64, heads: u64) -> Result<u64, InputError> {
        if heads > 0 && width.is_multiple_of(heads) {
            return Ok(width / heads);
        }
        let key = self.theirs("heads");
        let problem = format!("is {heads}, which does not divide the width of {width}");
        Err(self.error(&key, problem).help("heads share the width evenly, unless head_dim says how wide they are"))
    }

    /// The element type.
    pub(super) fn dtype(&self) -> Result<DataType, InputError> {
        let (new, old) = (self.text("dtype")?, self.text("torch_dtype")?);
        let key = if new.is_some() { "dtype" } else { "torch_dtype" };
        let name = new.or(old);
        match name.map(|name| name.strip_prefix("torch.").unwrap_or(name)) {
            None | Some("bfloat16" | "auto") => Ok(DataType::Bf16),
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
            Some("gelu" | "gelu_new" | "gelu_fast" | "gelu_python" | "gelu_pytorch_tanh" | "gelu_10") => {
                Ok(ActivationKind::Gelu)
            }
            Some("relu") => Ok(ActivationKind::Relu),
            Some("relu2") => Ok(ActivationKind::Relu2),
            Some("silu" | "swish") => Ok(ActivationKind::Silu),
            Some(other) => {
                let error = self.error(key, format!("is `{other}`, an activation that is not known"));
                Err(error.help("known: gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, relu2, silu, swish"))
            }
        }
    }
}

/// A float that is a whole number: Python's arithmetic writes `4096.0`.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_f64()?;
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}
