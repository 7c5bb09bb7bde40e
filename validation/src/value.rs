//! What is set side by side.

/// One value of one row.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) device: String,
    pub(crate) op: String,
    pub(crate) metric: &'static str,
    pub(crate) label: String,
    pub(crate) measured: f64,
    pub(crate) predicted: Result<f64, String>,
}

impl Value {
    /// Whether there is something to compare.
    pub(crate) fn is_usable(&self) -> bool {
        self.predicted.is_ok() && self.measured > 0.0
    }
}
