//! How the channels of a PIM machine are driven: what its device's table says decides.

use std::sync::Arc;

use banksia_input::{InputError, Source};

use super::hbm_pim::HostKernel;
use super::isa::IsaMachine;
use super::isa_trace::IsaSet;
use crate::dram::{Device, catalog};

/// How channels are driven.
#[derive(Debug, Clone)]
pub enum Drive {
    /// By patterns of the device's commands (PIM-GPT).
    Patterns,
    /// By instructions of the device's own set (`[isa]`: AiM, AttAcc).
    Instructions(IsaMachine),
    /// By ordinary accesses of a host (`[kernel]`: HBM-PIM).
    Accesses(HostKernel),
}

impl Drive {
    /// How a device of so many channels is driven.
    ///
    /// # Errors
    /// Its table cannot be used, or it cannot refresh.
    pub fn new(source: &Source, device: &Arc<Device>, channels: u32, refresh: bool) -> Result<Self, InputError> {
        let raw = catalog::resolved_source(source)?;
        if raw.kernel.is_some() {
            if refresh && device.refresh.is_none() {
                let problem = "has no refresh to issue: give [refresh], or switch refresh off";
                return Err(InputError::new(format!("device {}", device.name), problem));
            }
            return Ok(Self::Accesses(HostKernel::of(source, device)?.with_channels(channels)));
        }
        if raw.isa.is_some() {
            let set = IsaSet::of(source, device)?.with_channels(channels);
            return Ok(Self::Instructions(IsaMachine::new(Arc::clone(device), set, refresh)?));
        }
        Ok(Self::Patterns)
    }
}
