//! What is known of a family of models.

use banksia_input::InputError;

use super::reader::Reader;
use crate::config::GptFile;

/// A family of models that are one graph with different sizes.
pub(super) struct Family {
    /// What the file's `model_type` says.
    pub(super) model_type: &'static str,
    /// What its `architectures` may say. The `model_type` alone does not name a graph: variants keep their parent's.
    pub(super) architectures: &'static [&'static str],
    /// Reads the sizes; leaves the name and the source to the caller.
    pub(super) read: fn(&Reader<'_>) -> Result<GptFile, InputError>,
}
