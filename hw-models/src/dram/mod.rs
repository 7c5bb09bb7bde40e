//! DRAM as data: a standard is a table of levels, commands, states and timing rows; a device adds an organisation,
//! timings and currents. [`Device`] is the table compiled to dense integer arrays, [`Channel`] the state of one channel
//! that says when a command may issue. Nothing here knows what a request is for.
//!
//! ```text
//!   catalog/dram/*.toml --table--> RawDevice --compile--> Device --> Channel (earliest, issue, issue_run)
//!                                                           |            | log
//!                                                        energy       checker (shares no code with Channel)
//! ```

pub mod assumed;
pub mod catalog;
pub mod channel;
pub mod checker;
pub mod compare;
pub mod controller;
pub mod defaults;
pub mod device;
mod embedded;
pub mod energy;
mod expr;
pub mod lint;
pub mod memory;
mod roles;
mod row_hammer;
pub mod table;
pub mod witness;

pub use assumed::Assumed;
pub use channel::{Channel, CommandLog, LoggedCommand, NoLog};
pub use compare::{Shared, shared_assumptions};
pub use device::{Bus, Command, CommandId, DataDirection, Device, Effect, LevelId, Needs};
pub use energy::EnergyModel;

/// A count of a channel's command-clock cycles.
pub type Cycle = u64;

/// No row is open.
pub const NO_ROW: u32 = u32::MAX;

/// The first of two commands of an activation was given.
pub const OPENING: u32 = u32::MAX - 1;
