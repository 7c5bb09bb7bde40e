//! What can be wrong with a parallel experiment.

/// A setting that cannot be, and what would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct ParallelError {
    /// The key at fault, as the file writes it.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub help: String,
}

impl ParallelError {
    /// An error about a key.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), help: String::new() }
    }

    /// With a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}
