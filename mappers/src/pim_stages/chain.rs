//! Devices in a chain, and the links between them.

use std::sync::Arc;

use banksia_hw::pim::{Drive, PimMachine};
use banksia_hw::system::{Device, Machine};

/// A device, by the number that programs know it by.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) machine: Arc<PimMachine>,
}

/// The link to the next device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) number: u32,
    /// Its first end is the next device.
    pub(super) back: bool,
}

/// PIM devices, each linked to the next in the order of the machine.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) devices: Vec<Member>,
    pub(super) links: Vec<Next>,
}

impl Chain {
    /// Of a machine whose devices are two or more, all PIM that blocks drive.
    pub(super) fn of(machine: &Machine) -> Option<Self> {
        let devices: Vec<Member> = machine
            .devices
            .iter()
            .enumerate()
            .map(|(number, (name, device))| match device {
                Device::Pim(machine) if !matches!(machine.drive, Drive::Patterns) => {
                    Some(Member { number: number as u32, name: name.clone(), machine: Arc::clone(machine) })
                }
                Device::Pim(_) | Device::Gpu(_) => None,
            })
            .collect::<Option<_>>()?;
        if devices.len() < 2 || machine.exclusive.is_some() {
            return None;
        }
        let links = (1..devices.len())
            .map(|next| {
                // Programs number links after devices.
                let (place, back) = machine.link(next - 1, next)?;
                Some(Next { number: (devices.len() + place) as u32, back })
            })
            .collect::<Option<_>>()?;
        Some(Self { devices, links })
    }
}
