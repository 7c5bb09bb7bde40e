//! What a cluster is asked to run.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::sweep::Sweep;

/// What is asked of a cluster.
#[derive(Debug)]
pub struct Request<'a> {
    /// The sweep.
    pub sweep: &'a Sweep,
    /// `key=value` settings of every point, from the command line.
    pub settings: &'a [String],
    /// Where the results go.
    pub store: &'a Path,
    /// The program that tasks run.
    pub program: &'a Path,
    /// Return once the tasks are submitted.
    pub submit_only: bool,
    /// Set from outside: stop following; the tasks go on.
    pub cancelled: &'a AtomicBool,
}
