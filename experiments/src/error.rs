//! What can go wrong, and with which exit code.

use banksia_hw::dram::memory::MemoryError;
use banksia_hw::system::RunError;
use banksia_input::InputError;
use banksia_mappers::Unsupported;
use banksia_reports::ReportError;

/// An error of an experiment, a sweep or a suite.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that the user wrote cannot be used: exit code 2.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The run failed: exit code 1.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A step could not be lowered: exit code 1.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A result could not be written or read: exit code 1.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A result broke a law that every result must keep: exit code 1, and nothing is shown.
    #[error(
        "{name}: the result contradicts itself and is not shown: {reason}; please report this with the experiment file"
    )]
    Inconsistent {
        /// The experiment.
        name: String,
        /// Which law.
        reason: String,
    },
    /// Anything else that failed while running: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The process's exit code: 2 for bad input, 1 for a run that failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) | Self::Report(ReportError::Input(_)) => 2,
            Self::Run(_) | Self::Unsupported(_) | Self::Report(_) | Self::Inconsistent { .. } | Self::Failed(_) => 1,
        }
    }
}

impl From<MemoryError> for Error {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::Input(e) => Self::Input(e),
            MemoryError::Output(_) => Self::Failed(error.to_string()),
        }
    }
}
