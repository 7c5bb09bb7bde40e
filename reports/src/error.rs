//! What can go wrong when a report is written or read.

use std::path::{Path, PathBuf};

use banksia_input::InputError;

/// A report, table or plot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The operating system refused a file or directory.
    #[error("{}: cannot be {action}: {source}", path.display())]
    Io {
        /// What was tried, as a participle: `written`, `created`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A record could not be expressed as JSON (a number is not finite, say).
    #[error("the {what} cannot be written as JSON: {source}")]
    Json {
        /// Which record.
        what: &'static str,
        /// The serialiser's reason.
        source: serde_json::Error,
    },
    /// A record could not be expressed as CSV.
    #[error("the {what} cannot be written as CSV: {reason}")]
    Csv {
        /// Which table.
        what: &'static str,
        /// The writer's reason.
        reason: String,
    },
    /// The report breaks one of its own laws ([`crate::RunReport::check`]): it is wrong, and is not written.
    #[error("the report is inconsistent: {0}; this is a defect in Banksia")]
    Inconsistent(String),
    /// A drawing could not be rendered.
    #[error("the plot cannot be rendered: {0}")]
    Render(String),
    /// A user's input file cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
}

impl ReportError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
