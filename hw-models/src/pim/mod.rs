//! Processing in memory: channels that run command patterns, and the vector unit (ASIC) beside them.

mod account;
mod blocks;
pub mod channel;
pub mod config;
pub mod courses;
mod data;
pub mod drive;
mod group;
pub mod hbm_pim;
mod host_controller;
pub mod isa;
mod isa_access;
mod isa_gemv;
mod isa_lane;
mod isa_merge;
mod isa_products;
mod isa_reader;
pub mod isa_trace;
mod isa_unroll;
mod metrics;
pub mod outcome;
pub mod pattern;
pub mod queue;
pub mod system;
pub mod tally;
mod units;
pub mod vector;

use banksia_input::InputError;

pub use blocks::{BlockAlone, Ran};
pub use channel::{BlockTiming, PimChannel};
pub use config::{PimFile, PimMachine};
pub use data::{DataStep, DataUnits, DataView};
pub use drive::Drive;
pub use hbm_pim::HostKernel;
pub use isa::IsaMachine;
pub use isa_products::Products;
pub use isa_trace::{Instruction, IsaSet};
pub use metrics::{peak_bandwidth_bytes_per_s, peak_macs_per_s};
pub use outcome::{ChannelsOutcome, EnergyPlaces, IsaOutcome};
pub use pattern::CompiledPattern;
pub use system::PimSystem;
pub use tally::PimCommand;
pub use vector::VectorUnit;

/// The sides of `OUTxIN`.
///
/// # Errors
/// A side is not a whole number from 1 to 2^32.
pub fn parse_shape(text: &str) -> Result<(u64, u64), InputError> {
    let side = |t: &str| t.parse::<u64>().ok().filter(|n| (1..=1 << 32).contains(n));
    text.split_once(['x', 'X']).and_then(|(o, i)| side(o).zip(side(i))).ok_or_else(|| {
        InputError::new("command line", format!("is `{text}`: must be outputs x inputs"))
            .key("--gemv")
            .help("for example `--gemv 4096x4096`")
    })
}
