//! Activations of banks under refresh management.

use super::super::device::{CommandId, Device, Effect, RefreshManagement};
use super::facts::Entry;

/// Counts each bank's activations as its device does.
#[derive(Debug, Clone)]
pub(super) struct Hammer {
    limits: RefreshManagement,
    managing: [Option<CommandId>; 2],
    all: Option<CommandId>,
    counts: Vec<u32>,
}

impl Hammer {
    pub(super) fn new(device: &Device) -> Option<Self> {
        let offer = device.row_hammer?;
        Some(Self {
            limits: offer.management?,
            managing: [Some(offer.all), offer.some],
            all: device.refresh.map(|r| r.command),
            counts: vec![0; device.banks as usize],
        })
    }

    /// A command at a bank.
    pub(super) fn take(&mut self, command: CommandId, entry: &Entry, bank: u32) -> Result<(), String> {
        let (limits, count) = (self.limits, &mut self.counts[bank as usize]);
        match entry.effect {
            Effect::Open | Effect::OpenFirst => {
                *count += 1;
                if *count > limits.maximum {
                    return Err(format!("activation {count} without an RFM or a refresh: at most {}", limits.maximum));
                }
            }
            Effect::Refresh => {
                let off = if self.managing.contains(&Some(command)) {
                    limits.initial
                } else if self.all == Some(command) {
                    limits.credit
                } else {
                    limits.credit_some
                };
                *count = count.saturating_sub(off);
            }
            _ => {}
        }
        Ok(())
    }
}
