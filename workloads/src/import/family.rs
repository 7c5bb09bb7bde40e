//! What is known of a family of models.

use banksia_input::InputError;

use super::reader::Reader;
use crate::model::Model;

/// A family of models that are one graph with different sizes.
pub(super) struct Family {
    /// What the file's `model_type` may say; the first is the family's name.
    pub(super) model_types: &'static [&'static str],
    /// What its `architectures` may say. The `model_type` alone does not name a graph: variants keep their parent's.
    pub(super) architectures: &'static [&'static str],
    /// Reads the sizes; leaves the name and the source to the caller.
    pub(super) read: fn(&Reader<'_>) -> Result<Model, InputError>,
    /// What the graph is, for the table of docs/models.md.
    pub(super) graph: &'static str,
    /// What is refused, beside unknown keys; empty for nothing.
    pub(super) refuses: &'static str,
}

impl Family {
    /// The name that errors and docs use.
    pub(super) fn name(&self) -> &'static str {
        self.model_types.first().copied().unwrap_or_default()
    }
}
