//! Whose sums are made.

/// How times and energies of a token are put together.
///
/// CENT's artifact (Yufeng98/CENT, commit 8c79786) departs from its own description or from physics in the places that the variants tell apart. The functions of
/// this module that take an `Accounting` say at their place what each does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Accounting {
    /// As the artifact's scripts do it, for comparison with its results.
    Artifact,
    /// As the device and the links need it.
    #[default]
    Device,
}

impl Accounting {
    /// One of two values.
    pub fn either<T>(self, artifact: T, device: T) -> T {
        match self {
            Self::Artifact => artifact,
            Self::Device => device,
        }
    }
}
