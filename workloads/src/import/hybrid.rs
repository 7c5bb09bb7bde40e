//! What hybrids of attention and recurrences share.

use banksia_input::InputError;

use super::reader::Reader;

/// Whether each layer attends, of names of two kinds.
pub(super) fn attends(reader: &Reader<'_>, key: &str, kinds: &[&str]) -> Result<Vec<bool>, InputError> {
    kinds
        .iter()
        .map(|kind| match *kind {
            "attention" | "full_attention" => Ok(true),
            "mamba" | "linear_attention" => Ok(false),
            other => {
                let error = reader.error(key, format!("has `{other}`, which is not known"));
                Err(error.help("known: full_attention, attention, linear_attention, mamba"))
            }
        })
        .collect()
}
