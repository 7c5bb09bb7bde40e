//! What a mapper can choose: keys of `[mapping]` with their legal values.

/// One choice that a mapper has.
#[derive(Debug, Clone, PartialEq)]
pub struct Knob {
    /// The key, below `[mapping]`, as a setting writes it.
    pub key: String,
    /// What it decides, in words.
    pub meaning: &'static str,
    /// Its legal values, the mapper's own first where it has one.
    pub values: Vec<toml::Value>,
    /// The value that stands where the experiment says nothing.
    pub default: Option<usize>,
    /// It changes nothing where all of the keys of one of these lists have these values. A key that the space lacks and the experiment does not
    /// write is one that the model has no use for, and counts as fulfilled.
    pub inert: Vec<Vec<(&'static str, toml::Value)>>,
    /// The operators that alone it changes, by their names in reports; what it changes else is where the others lie. Empty: it may change any.
    pub operators: Vec<String>,
}

impl Knob {
    /// A choice that may change anything, whose first value stands where nothing is said.
    pub(crate) fn whole(key: &str, meaning: &'static str, values: Vec<toml::Value>) -> Self {
        Self { key: key.into(), meaning, values, default: Some(0), inert: Vec::new(), operators: Vec::new() }
    }
}

/// Values of one type.
pub(crate) fn of_values<T: Into<toml::Value>>(values: impl IntoIterator<Item = T>) -> Vec<toml::Value> {
    values.into_iter().map(Into::into).collect()
}
