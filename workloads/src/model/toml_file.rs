//! Models in TOML: blocks and a pattern, or the sizes of one plain block.

use banksia_input::{InputError, Source};

use super::Model;
use crate::config::GptConfig;
use crate::known_keys::explain_key;

impl Model {
    /// Reads a model from TOML: one with `blocks` and a `pattern`, or a decoder of one plain block by its sizes.
    ///
    /// # Errors
    /// The text is not TOML, a key is unknown, missing or of the wrong type, or a value is refused by [`Self::check`].
    pub fn from_source(source: &Source) -> Result<Self, InputError> {
        let table: toml::Table = source.parse()?;
        if !table.contains_key("blocks") {
            return Ok(Self::from(&GptConfig::from_source(source)?));
        }
        let model: Self = source.parse().map_err(explain_key)?;
        model.check(source, "")?;
        Ok(model)
    }

    /// [`Self::from_source`] of text in memory; `file` is the name that errors print.
    ///
    /// # Errors
    /// As [`Self::from_source`].
    pub fn from_toml(file: &str, text: &str) -> Result<Self, InputError> {
        Self::from_source(&Source::from_text(file, text))
    }

    /// The model as TOML with every key; reads back as the same model. A decoder of one plain block is written by its sizes.
    ///
    /// # Errors
    /// A size exceeds what TOML integers hold, which no checked model does.
    pub fn to_toml(&self) -> Result<String, InputError> {
        if let Some(gpt) = self.as_gpt() {
            return gpt.to_toml();
        }
        let fail = |e: String| InputError::new(&self.name, format!("cannot be written as TOML: {e}"));
        toml::to_string(self).map_err(|e| fail(e.to_string()))
    }
}
