//! Whether everything has been done when a program ends: no more, and no less.

use super::{Memory, Who};
use crate::replay::place::{Place, Region};
use crate::replay::wrong::Wrong;

impl Memory<'_> {
    /// Everything has been done: no more, no less.
    pub(in crate::replay) fn finish(&self) -> Result<(), Wrong> {
        let nobody = Who { instruction: 0, operator: "", group: 0 };
        for (channel, state) in self.channels.iter().enumerate() {
            if let Some(sum) = state.sums.iter().flatten().next() {
                let operator = self.cells.regions[sum.region].operator.clone();
                let problem = format!("sums of {} are never read", self.name(sum));
                return Err(Who { operator: &operator, ..nobody }.sums(channel as u32, problem));
            }
        }
        if let Some(((channel, ..), sum)) = self.kept.iter().min_by_key(|(address, _)| **address) {
            let region = &self.cells.regions[sum.region];
            let problem = format!("sums of {} lie in the banks and are never read", self.name(sum));
            return Err(Who { operator: &region.operator, ..nobody }.sums(*channel, problem));
        }
        for (index, region) in self.cells.regions.iter().enumerate() {
            self.finish_region(index, region)?;
        }
        Ok(())
    }

    fn finish_region(&self, index: usize, region: &Region) -> Result<(), Wrong> {
        let amount = |what: &str, done: u64, right: u64| {
            if done == right {
                return Ok(());
            }
            let (operator, tensor, what) = (region.operator.clone(), region.name.clone(), what.to_owned());
            Err(Wrong::Amount { operator, tensor, what, done, right })
        };
        if let Place::Whole { columns, .. } = region.place {
            let all = columns * region.channels.len() as u64 * u64::from(self.units.units * self.units.banks_of_unit);
            let [read, written] = &self.whole[index];
            let sum = |counts: &[u32]| counts.iter().map(|n| u64::from(*n)).sum::<u64>();
            amount("columns read", sum(read), all * region.times)?;
            return amount("columns written", sum(written), all * region.times);
        }
        if let Some((_, times)) = region.looked_up {
            amount("elements looked up", self.looked_up[index], region.place.shape().1 * times)?;
        }
        if region.times == 0 {
            return Ok(());
        }
        for (position, bank, row, column, met) in self.cells.each(index) {
            let Some(piece) = region.place.piece(position, bank.into(), row, column.into()) else { continue };
            let Some(output) = region.place.output(position, 0, piece.slot) else { continue };
            if met != region.times {
                return Err(Wrong::Times {
                    operator: region.operator.clone(),
                    tensor: region.name.clone(),
                    output,
                    channel: region.channels.get(position as usize).copied().unwrap_or(0),
                    row: region.first_row + row,
                    column,
                    times: met,
                    right: format!("get it {} times", region.times),
                });
            }
        }
        Ok(())
    }
}
