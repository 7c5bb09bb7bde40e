//! Cross-validation, golden and end-to-end tests of the workspace.
