//! What a device offers against RowHammer.

use super::command::CommandId;
use crate::dram::Cycle;

/// Refresh management: the controller counts a bank's activations (its rolling accumulated count, RAA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshManagement {
    /// The count at which a bank needs an RFM, and what one takes off it (RAAIMT).
    pub initial: u32,
    /// The count at which a bank takes no activation (RAAMMT).
    pub maximum: u32,
    /// What a refresh of all banks takes off the count of each.
    pub credit: u32,
    /// What a refresh of some banks takes off theirs.
    pub credit_some: u32,
}

/// Per-row activation counting: the device counts each row's activations, and asks for RFMs by an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowCounting {
    /// The count of a row that raises the alert (N_BO).
    pub threshold: u32,
    /// RFMs of all banks that an alert asks for (N_mit).
    pub rfms: u32,
    /// Ticks after an alert for which the controller may go on (tABOACT).
    pub alert: Cycle,
    /// Activations after the RFMs before the next alert.
    pub delay: u32,
}

/// What a device offers against RowHammer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHammer {
    /// Gives time to all banks of the all-bank refresh's scope.
    pub all: CommandId,
    /// Gives time to one bank, or to the same bank of every bank group.
    pub some: Option<CommandId>,
    /// Refresh management, where the device has its thresholds.
    pub management: Option<RefreshManagement>,
    /// Per-row activation counting, where the device does it.
    pub counting: Option<RowCounting>,
}
