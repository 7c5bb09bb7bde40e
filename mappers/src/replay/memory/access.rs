//! Ordinary reads and writes of the banks, and what they must be of.

use super::{Did, Memory, Sum, Who};
use crate::replay::cells::Found;
use crate::replay::numbers::is_fresh;
use crate::replay::place::{Fresh, Piece, Place, Region};
use crate::replay::wrong::Wrong;

impl Memory<'_> {
    /// Keys and values of the step's token are there before they are used.
    pub(super) fn must_be_written(
        &self,
        who: Who<'_>,
        region: &Region,
        of: &Sum,
        (channel, bank, row, column): (u32, u32, u64, u32),
        input: u64,
        lanes: u64,
    ) -> Result<(), Wrong> {
        if let Fresh::Input(at) = region.fresh
            && !(input..input + lanes).contains(&at)
        {
            return Ok(());
        }
        for unit in 0..self.units.units {
            let Some(output) = region.place.output(of.position, unit.into(), of.slot) else { continue };
            let at = if let Fresh::Input(at) = region.fresh { at } else { input };
            let fresh = is_fresh(region.fresh, output, at);
            let bank = unit * self.units.banks_of_unit + bank;
            if fresh && !self.written.contains(&(channel, bank, row, column)) {
                return Err(Wrong::Address {
                    operator: who.operator.to_owned(),
                    instruction: who.instruction,
                    does: "multiplies",
                    channel,
                    bank,
                    row,
                    column,
                    holds: format!(
                        "output {output} of `{}`, of the step's own token, which nothing has written",
                        region.name
                    ),
                    right: "it must be written before".into(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn wrong_address(
        &self,
        who: Who<'_>,
        does: &'static str,
        (channel, bank, row, column): (u32, u32, u64, u32),
        found: Option<&Found>,
    ) -> Wrong {
        if self.silent {
            let (operator, instruction, holds, right) = (String::new(), who.instruction, String::new(), String::new());
            return Wrong::Address { operator, instruction, does, channel, bank, row, column, holds, right };
        }
        let holds = found.map_or("nothing".to_owned(), |f| {
            let region = &self.cells.regions[f.region];
            format!("`{}`", region.name)
        });
        let own: Vec<String> = self
            .cells
            .regions
            .iter()
            .filter(|r| r.groups.contains(&who.group))
            .take(3)
            .map(|r| format!("`{}` in rows {} to {}", r.name, r.first_row, r.first_row + r.rows.saturating_sub(1)))
            .collect();
        let right = if own.is_empty() {
            "it has nothing in the banks".to_owned()
        } else {
            format!("it has {}", own.join(", "))
        };
        let (operator, instruction) = (who.operator.to_owned(), who.instruction);
        Wrong::Address { operator, instruction, does, channel, bank, row, column, holds, right }
    }

    pub(super) fn access(
        &mut self,
        who: Who<'_>,
        write: bool,
        (channel, bank, row, column): (u32, u32, u64, u32),
        did: &mut Did,
    ) -> Result<(), Wrong> {
        let address = (channel, bank, row, column);
        let (unit, of_unit) = (bank / self.units.banks_of_unit, bank % self.units.banks_of_unit);
        if !write && let Some(sum) = self.kept.remove(&address) {
            self.gives(&sum, did);
            did.reads_only = false;
            let region = &self.cells.regions[sum.region];
            let output = region.place.output(sum.position, unit.into(), sum.slot);
            if let Some(numbers) = &mut self.numbers {
                numbers.read_kept(address, region, output, sum.vector);
            }
            return Ok(());
        }
        let does = if write { "writes" } else { "reads" };
        let Some(found) = self.cells.find(channel, of_unit, row, column) else {
            return Err(self.wrong_address(who, does, address, None));
        };
        let region = &self.cells.regions[found.region];
        if !region.groups.contains(&who.group) {
            return Err(self.wrong_address(who, does, address, Some(&found)));
        }
        if matches!(region.place, Place::Whole { .. }) {
            if found.piece.is_none() {
                return Ok(());
            }
            // Banks of all units count together.
            let most = u64::from(self.units.units) * region.times;
            let cells = self.cells.cells_of(found.region);
            let counts = &mut self.whole[found.region][usize::from(write)];
            counts.resize(cells, 0);
            counts[found.cell] += 1;
            if u64::from(counts[found.cell]) > most {
                let (operator, instruction) = (who.operator.to_owned(), who.instruction);
                let holds = format!("a column of `{}` that has been before", region.name);
                let right = "each is read once and written once".to_owned();
                return Err(Wrong::Address { operator, instruction, does, channel, bank, row, column, holds, right });
            }
            return Ok(());
        }
        let output = found.piece.and_then(|p| region.place.output(found.position, unit.into(), p.slot));
        let (Some(piece), Some(output)) = (found.piece, output) else {
            // Padding of sums that are read from the banks (every register of a unit is).
            if self.shared_accesses && !write {
                return Ok(());
            }
            // A column that is written in every bank, also in those without an element there.
            let beside = |p: &Piece| {
                let new = matches!(region.fresh, Fresh::Input(at) if (p.input..p.input + p.lanes).contains(&at));
                new && region.place.output(found.position, 0, p.slot).is_some()
            };
            if write && found.piece.as_ref().is_some_and(beside) {
                return Ok(());
            }
            return Err(self.wrong_address(who, does, address, Some(&found)));
        };
        if write {
            if !(piece.input..piece.input + piece.lanes).any(|i| is_fresh(region.fresh, output, i)) {
                return Err(Wrong::Address {
                    operator: who.operator.to_owned(),
                    instruction: who.instruction,
                    does,
                    channel,
                    bank,
                    row,
                    column,
                    holds: format!("output {output}, inputs from {} on, of `{}`", piece.input, region.name),
                    right: new_of(region.fresh),
                });
            }
            self.written.insert(address);
            if let Some(numbers) = &mut self.numbers {
                numbers.write(region, found.position, unit, of_unit, found.row, column);
            }
            return Ok(());
        }
        match region.looked_up {
            Some((row, _)) if row == output => {
                self.looked_up[found.region] += piece.lanes;
                Ok(())
            }
            other => {
                let right =
                    other.map_or("nothing of it is looked up".to_owned(), |(row, _)| format!("it looks up row {row}"));
                let (operator, instruction) = (who.operator.to_owned(), who.instruction);
                let holds = format!("row {output} of `{}`", region.name);
                Err(Wrong::Address { operator, instruction, does, channel, bank, row, column, holds, right })
            }
        }
    }
}

fn new_of(fresh: Fresh) -> String {
    match fresh {
        Fresh::Nothing => "nothing of it is written in this step".into(),
        Fresh::Outputs { first, count: 1 } => format!("the step's token is output {first}"),
        Fresh::Outputs { first, count } => format!("the step's token is outputs {first} to {}", first + count - 1),
        Fresh::Input(at) => format!("the step's token is input {at} of every output"),
        Fresh::All => "all of it is written".into(),
    }
}
