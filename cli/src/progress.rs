//! A progress bar on a terminal; nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far long work has come.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar of some length, counted in `what`; hidden where standard error is not a terminal.
    pub(crate) fn new(length: u64, what: &str) -> Self {
        let bar = ProgressBar::new(length);
        let hidden = !std::io::stderr().is_terminal();
        bar.set_draw_target(if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) });
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}, {elapsed} elapsed, {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Self(bar)
    }

    /// What is counted.
    pub(crate) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// So much is done.
    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    /// So much is done, of so much.
    pub(crate) fn of(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// One more is done.
    pub(crate) fn one(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
