//! Counter-measures against RowHammer: rows that are opened often disturb their neighbours, which must be refreshed before they lose
//! what they hold.
//!
//! It hears of activations, refreshes and RFM commands, and says which banks may have no activation and which RFMs are due. Both
//! controllers give it the same; it issues nothing. What it counts changes by activations and refreshes alone, so that a controller
//! may skip time.

mod prac;
mod rfm;

use super::super::Cycle;
use super::config::RowHammerPolicy;
use super::role::{self, Role};
use super::shape::Shape;
use super::timing::NEVER;
use prac::Prac;
use rfm::Rfm;

#[derive(Debug, Clone)]
enum Measure {
    Rfm(Rfm),
    Prac(Prac),
}

/// The counter-measures of one channel.
#[derive(Debug, Clone)]
pub(super) struct RowHammer {
    measure: Measure,
    rank_banks: usize,
    /// The command of an RFM that a bank needs, and what it acts on: how many banks, how far apart.
    command: Role,
    set: (usize, usize),
    /// Refreshes are of all banks of a rank.
    all: bool,
}

impl RowHammer {
    /// Those of a configuration, if it has any; [`super::ControllerConfig::check`] has seen to it that the device has what they need.
    pub(super) fn new(shape: &Shape) -> Option<Box<Self>> {
        let offer = shape.device.row_hammer?;
        let measure = match shape.config.row_hammer {
            RowHammerPolicy::Off => return None,
            RowHammerPolicy::Rfm => Measure::Rfm(Rfm::new(offer.management?, shape.banks)),
            RowHammerPolicy::Prac => {
                // A same-bank refresh is one of fine granularity: half of the rows.
                let halves = shape.refresh.is_some_and(|(_, command)| command == role::REF_SAME);
                let (rows, banks) = (shape.device.rows, shape.banks);
                Measure::Prac(Prac::new(offer.counting?, rows, banks, shape.rank_banks, halves))
            }
        };
        let command = if offer.some.is_some() { role::RFM_SOME } else { role::RFM_ALL };
        let all = shape.refresh.is_none_or(|(_, command)| command == role::REF);
        let set = shape.refresh_banks(command);
        Some(Box::new(Self { measure, rank_banks: shape.rank_banks, command, set, all }))
    }

    /// A row of a bank is opened. The RFM that is due with that, and is to wait behind what waits already.
    #[inline]
    pub(super) fn activated(&mut self, bank: usize, row: u32, clock: Cycle) -> Option<(Role, usize)> {
        match &mut self.measure {
            Measure::Rfm(rfm) => {
                if !rfm.activated(bank) {
                    return None;
                }
                self.request(bank)
            }
            Measure::Prac(prac) => {
                prac.activated(bank, row, clock);
                None
            }
        }
    }

    /// The RFM of a bank's set, unless it waits already.
    fn request(&mut self, bank: usize) -> Option<(Role, usize)> {
        let (first, command) = (self.first(bank), self.command);
        let Measure::Rfm(rfm) = &mut self.measure else { return None };
        (!std::mem::replace(rfm.pending(first), true)).then_some((command, first))
    }

    /// The first bank of the set that an RFM of a bank acts on.
    fn first(&self, bank: usize) -> usize {
        let base = bank / self.rank_banks * self.rank_banks;
        let (count, apart) = self.set;
        if count == self.rank_banks {
            return base;
        }
        let span = count * apart;
        let within = bank - base;
        base + within / span * span + within % apart
    }

    /// Whether a bank may have no activation now.
    #[inline]
    pub(super) fn blocks(&self, bank: usize) -> bool {
        match &self.measure {
            Measure::Rfm(rfm) => rfm.blocks(bank),
            Measure::Prac(prac) => prac.blocks(bank),
        }
    }

    /// When the time of an alert is over, at which RFMs are due ([`Self::take_due`]).
    #[inline]
    pub(super) fn due(&self) -> Cycle {
        match &self.measure {
            Measure::Rfm(_) => NEVER,
            Measure::Prac(prac) => prac.due,
        }
    }

    /// The next rank whose alert's time is over, and how many RFMs of all its banks it must have before anything that waits.
    pub(super) fn take_due(&mut self, clock: Cycle) -> Option<(usize, u32)> {
        match &mut self.measure {
            Measure::Prac(prac) if prac.due <= clock => prac.take_due(clock),
            _ => None,
        }
    }

    /// A refresh or an RFM issued, at banks from the first: how many, how far apart. The RFM that its banks still need.
    pub(super) fn issued(
        &mut self,
        command: Role,
        first: usize,
        (count, apart): (usize, usize),
        clock: Cycle,
    ) -> Option<(Role, usize)> {
        let managed = matches!(command, role::RFM_ALL | role::RFM_SOME);
        let all = self.all;
        let mut banks = (0..count).map(|i| first + i * apart);
        match &mut self.measure {
            Measure::Rfm(rfm) if managed => {
                *rfm.pending(first) = false;
                banks.clone().for_each(|bank| rfm.managed(bank));
                let again = banks.find(|bank| rfm.needs(*bank))?;
                self.request(again)
            }
            Measure::Rfm(rfm) => {
                banks.for_each(|bank| rfm.refreshed(bank, all, 1));
                None
            }
            Measure::Prac(prac) if managed => {
                prac.managed(first / self.rank_banks, clock);
                None
            }
            Measure::Prac(prac) => {
                banks.for_each(|bank| prac.refreshed(bank, 1));
                None
            }
        }
    }

    /// Whether a waiting RFM is still needed: a refresh may have done its work. One that is not is to be dropped.
    pub(super) fn still_needs(&mut self, command: Role, first: usize) -> bool {
        let (count, apart) = self.set;
        match &mut self.measure {
            Measure::Rfm(rfm) if command == self.command => {
                let needed = (0..count).any(|i| rfm.needs(first + i * apart));
                *rfm.pending(first) = needed;
                needed
            }
            _ => true,
        }
    }

    /// So many refreshes of a bank while the channel is idle.
    pub(super) fn refreshed_idle(&mut self, bank: usize, times: u64) {
        match &mut self.measure {
            Measure::Rfm(rfm) => rfm.refreshed(bank, self.all, times),
            Measure::Prac(prac) => prac.refreshed(bank, times),
        }
    }

    /// What changes of it in an idle channel but by refreshes, relative to a clock.
    pub(super) fn remaining(&self, clock: Cycle) -> Cycle {
        match &self.measure {
            Measure::Rfm(_) => 0,
            Measure::Prac(prac) => prac.remaining(clock),
        }
    }

    /// Alerts raised so far, and the most activations of a row between two refreshes of its neighbours, where rows are counted.
    pub(super) fn counts(&self) -> (u64, u32) {
        match &self.measure {
            Measure::Rfm(_) => (0, 0),
            Measure::Prac(prac) => (prac.raised, prac.most),
        }
    }
}
