//! What a program on PIM channels did, and where its energy went.

use super::tally::PimCommand;
use crate::dram::{Cycle, Device};
use crate::program::ChannelSet;

/// What a program of instructions or accesses did.
#[derive(Debug, Clone, PartialEq)]
pub struct IsaOutcome {
    /// Cycles until everything was done.
    pub cycles: Cycle,
    /// Issues of each of the device's commands, over all channels.
    pub counts: Vec<u64>,
    /// Cycles with rows open, summed over standby nodes of all channels.
    pub active_cycles: Cycle,
    /// Standby nodes of all channels.
    pub standby_nodes: u64,
    /// Channels that did the same; every channel is in one of these.
    pub channels: Vec<ChannelsOutcome>,
}

/// What each channel of a set did.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelsOutcome {
    /// The channels.
    pub members: ChannelSet,
    /// Issues of each of the device's commands, of one of them.
    pub counts: Vec<u64>,
    /// Cycles with rows open, summed over standby nodes of one of them.
    pub active_cycles: Cycle,
    /// `touched[command * banks + bank]`: issues of each command that did something to each bank.
    pub touched: Vec<u64>,
    /// Every command, where they were kept.
    pub commands: Vec<PimCommand>,
}

/// Where energy went. The channels' energies add up to all of it; so do the banks' and what is outside them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EnergyPlaces {
    /// Joules of each channel.
    pub by_channel_j: Vec<f64>,
    /// Joules of commands at each bank, summed over channels; a command at several banks counts in equal shares.
    pub by_bank_j: Vec<f64>,
    /// Joules of registers, buffers and standing still.
    pub outside_banks_j: f64,
}

impl IsaOutcome {
    /// Puts the outcomes of channels together.
    pub(super) fn new(cycles: Cycle, standby_nodes: u64, channels: Vec<ChannelsOutcome>) -> Self {
        let commands = channels.first().map_or(0, |c| c.counts.len());
        let mut out = Self { cycles, counts: vec![0; commands], active_cycles: 0, standby_nodes: 0, channels };
        for c in &out.channels {
            let members = u64::from(c.members.len());
            for (total, n) in out.counts.iter_mut().zip(&c.counts) {
                *total += n * members;
            }
            out.active_cycles += c.active_cycles * members;
            out.standby_nodes += standby_nodes * members;
        }
        out
    }

    /// Multiply-accumulates of the device's units.
    pub fn macs(&self, device: &Device) -> u64 {
        device.commands.iter().zip(&self.counts).map(|(c, n)| u64::from(c.macs).saturating_mul(*n)).sum()
    }

    /// Where the energy of the program went.
    pub fn energy_places(&self, device: &Device) -> EnergyPlaces {
        let banks = device.banks as usize;
        let channels: u32 = self.channels.iter().map(|c| c.members.len()).sum();
        let standing = u64::from(device.levels[device.standby.0 as usize].nodes).saturating_mul(self.cycles);
        let mut out = EnergyPlaces {
            by_channel_j: vec![0.0; channels as usize],
            by_bank_j: vec![0.0; banks],
            outside_banks_j: 0.0,
        };
        for c in &self.channels {
            let precharged = standing.saturating_sub(c.active_cycles);
            let joules: f64 = device.energy.joules(&c.counts, c.active_cycles, precharged).values().sum();
            for channel in c.members.iter() {
                if let Some(of) = out.by_channel_j.get_mut(channel as usize) {
                    *of = joules;
                }
            }
            let members = f64::from(c.members.len());
            let mut at_banks = 0.0;
            for (command, (n, pj)) in c.counts.iter().zip(&device.energy.per_issue_pj).enumerate() {
                let touched = &c.touched[command * banks..(command + 1) * banks];
                let all: u64 = touched.iter().sum();
                if all == 0 {
                    continue;
                }
                let joules = pj.iter().sum::<f64>() * *n as f64 * 1e-12;
                for (bank, n) in out.by_bank_j.iter_mut().zip(touched) {
                    let share = joules * *n as f64 / all as f64;
                    *bank += share * members;
                    at_banks += share;
                }
            }
            out.outside_banks_j += (joules - at_banks) * members;
        }
        // A difference of equal sums may be a hair below nothing.
        out.outside_banks_j = out.outside_banks_j.max(0.0);
        out
    }
}
