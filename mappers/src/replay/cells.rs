//! The regions of a device, and how often each of their columns has been met.

use super::claims::InBanks;
use super::place::{Piece, Region};
use super::wrong::Wrong;
use banksia_hw::pim::DataUnits;

/// A column of a region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub region: usize,
    /// The channel among the region's.
    pub position: u64,
    /// The row from the region's first.
    pub row: u64,
    /// Which of the counts of the region it is.
    pub cell: usize,
    pub piece: Option<Piece>,
}

/// Where regions lie, by channel.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    pub regions: &'a [Region],
    units: DataUnits,
    /// Of each channel, by first row: first row, row after the last, region, position.
    by_channel: Vec<Vec<(u64, u64, u32, u32)>>,
    /// How often each column of each region has been multiplied: by position, bank of the unit, row, column.
    pub met: Vec<Vec<u32>>,
}

impl<'a> Cells<'a> {
    /// # Errors
    /// Two regions overlap, or one reaches beyond the rows of a bank.
    pub(super) fn new(banks: &'a InBanks, units: DataUnits, channels: u32) -> Result<Self, Wrong> {
        let mut by_channel: Vec<Vec<(u64, u64, u32, u32)>> = vec![Vec::new(); channels as usize];
        for (index, region) in banks.regions.iter().enumerate() {
            let end = region.first_row.saturating_add(region.rows);
            if end > units.rows {
                let level = format!("rows of a bank of {}", banks.name);
                return Err(Wrong::Capacity {
                    level,
                    what: format!("`{}`", region.name),
                    needs: end,
                    capacity: units.rows,
                });
            }
            for (position, channel) in region.channels.iter().enumerate() {
                match by_channel.get_mut(*channel as usize) {
                    Some(list) => list.push((region.first_row, end, index as u32, position as u32)),
                    None => {
                        let (level, what) = (format!("channels of {}", banks.name), format!("`{}`", region.name));
                        let (needs, capacity) = (u64::from(*channel) + 1, u64::from(channels));
                        return Err(Wrong::Capacity { level, what, needs, capacity });
                    }
                }
            }
        }
        for (channel, list) in by_channel.iter_mut().enumerate() {
            list.sort_unstable();
            for pair in list.windows(2) {
                if let [(_, end, one, _), (row, _, other, _)] = pair
                    && row < end
                {
                    let name = |r: &u32| banks.regions[*r as usize].name.clone();
                    return Err(Wrong::Overlap {
                        one: name(one),
                        other: name(other),
                        channel: channel as u32,
                        row: *row,
                    });
                }
            }
        }
        Ok(Self { regions: &banks.regions, units, by_channel, met: vec![Vec::new(); banks.regions.len()] })
    }

    /// Rows that the fullest channel's banks have in use, and their highest.
    pub(super) fn rows_used(&self) -> (u64, u64) {
        let used = self.by_channel.iter().map(|list| list.iter().map(|(from, to, ..)| to - from).sum());
        let highest = self.by_channel.iter().flatten().map(|(_, to, ..)| *to);
        (used.max().unwrap_or(0), highest.max().unwrap_or(0))
    }

    /// What lies in a column of a bank of a channel's units.
    pub(super) fn find(&self, channel: u32, bank: u32, row: u64, column: u32) -> Option<Found> {
        let list = self.by_channel.get(channel as usize)?;
        // A program of another machine may name banks and columns that this one lacks.
        if bank >= self.units.banks_of_unit || column >= self.units.columns {
            return None;
        }
        let at = list.partition_point(|(from, ..)| *from <= row).checked_sub(1)?;
        let (from, to, region, position) = list[at];
        if row >= to {
            return None;
        }
        let (region, position, row) = (region as usize, u64::from(position), row - from);
        let piece = self.regions[region].place.piece(position, u64::from(bank), row, u64::from(column));
        Some(Found { region, position, row, cell: self.cell(region, position, bank, row, column), piece })
    }

    fn cell(&self, region: usize, position: u64, bank: u32, row: u64, column: u32) -> usize {
        let u = &self.units;
        let banks = u64::from(u.banks_of_unit);
        let rows = self.regions[region].rows;
        (((position * banks + u64::from(bank)) * rows + row) * u64::from(u.columns) + u64::from(column)) as usize
    }

    /// Columns of a region, those of all units together.
    pub(super) fn cells_of(&self, region: usize) -> usize {
        let (u, region) = (&self.units, &self.regions[region]);
        let all = region.channels.len() as u64 * u64::from(u.banks_of_unit) * region.rows * u64::from(u.columns);
        all as usize
    }

    /// Counts a multiplication of a column; how often it had been before.
    pub(super) fn meet(&mut self, found: &Found) -> u64 {
        if self.met[found.region].is_empty() {
            let all = self.cells_of(found.region);
            self.met[found.region].resize(all, 0);
        }
        let met = &mut self.met[found.region];
        let before = met[found.cell];
        met[found.cell] = before.saturating_add(1);
        u64::from(before)
    }

    /// Every column of a region: position, bank of the unit, row, column, how often it was met.
    pub(super) fn each(&self, region: usize) -> impl Iterator<Item = (u64, u32, u64, u32, u64)> + '_ {
        let (u, r) = (self.units, &self.regions[region]);
        let met = &self.met[region];
        let positions = 0..r.channels.len() as u64;
        positions.flat_map(move |p| {
            (0..u.banks_of_unit).flat_map(move |bank| {
                (0..r.rows).flat_map(move |row| {
                    (0..u.columns).map(move |column| {
                        let n = met.get(self.cell(region, p, bank, row, column)).copied().unwrap_or(0);
                        (p, bank, row, column, u64::from(n))
                    })
                })
            })
        })
    }

    /// The first output of a piece that is one; `None` where the slot is padding in all units.
    pub(super) fn output(&self, found: &Found, piece: &Piece) -> Option<u64> {
        self.regions[found.region].place.output(found.position, 0, piece.slot)
    }
}
