//! Requests of a queue with barriers.

use crate::dram::CommandId;

/// A request in a channel's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The command that it asks for; [`BARRIER`] asks for none.
    pub command: CommandId,
    /// The first bank that it is about.
    pub bank: u32,
    /// The row that has to be open.
    pub row: u32,
}

/// Column commands of what comes after it wait for all that came before it.
pub const BARRIER: CommandId = CommandId(u8::MAX);

impl Entry {
    /// A barrier.
    #[must_use]
    pub fn barrier() -> Self {
        Self { command: BARRIER, bank: 0, row: 0 }
    }
}
