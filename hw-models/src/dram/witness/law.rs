//! The laws, and how breaking one is told.

use super::super::Cycle;
use super::super::device::Effect;

/// One of fine granularity.
pub(super) const HALF: u32 = 1;

/// A refresh that counts for a whole tREFI of a bank.
pub(super) const WHOLE: u32 = 2;

/// What a stream of commands breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// One burst at a time on the data pins.
    Pins,
    /// Nothing enters a bank that is being refreshed.
    Busy,
    /// Each bank is refreshed once in tREFI.
    Interval,
    /// Rows are restored before they are closed, and banks precharged before they are used.
    Restore,
    /// Under refresh management no bank is activated more often than its device allows.
    Hammer,
    /// Banks are in the state that a command needs.
    State,
}

/// A law broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tick {clock}: {command} at bank {bank}: {reason}")]
pub struct Breach {
    /// Which law.
    pub law: Law,
    /// When the command issued.
    pub clock: Cycle,
    /// Its name.
    pub command: String,
    /// The bank, or the first of those that it acts on.
    pub bank: u32,
    /// What it breaks.
    pub reason: String,
}

/// Whether a command takes banks to sleep.
pub(super) fn sleeps(effect: Effect) -> bool {
    matches!(effect, Effect::PowerDown | Effect::SelfRefresh)
}
