//! Devices of PIM channels and near-memory units, on CXL links behind a switch: what of them is not DRAM.
//!
//! The channels run instructions on the device's own engine ([`crate::pim::IsaMachine`]); here are the units beside them, the links, and the energy of both.

pub mod accounting;
pub mod energy;
pub mod file;
pub mod link;
pub mod token;
pub mod units;

pub use accounting::Accounting;
pub use energy::{EnergyBreakdown, PimRun};
pub use file::{CATALOG, CxlMachine};
pub use link::Traffic;
pub use token::{BlockRun, TokenCost, TokenWork};
pub use units::UnitsWork;
