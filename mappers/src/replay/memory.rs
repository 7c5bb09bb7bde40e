//! Channels at work on data: what their buffers and sums hold, and what each instruction does to it.

use std::collections::{HashMap, HashSet};

use banksia_hw::pim::{DataStep, DataUnits};
use banksia_hw::program::ChannelSet;

use super::cells::{Cells, Found};
use super::numbers::{Numbers, is_fresh};
use super::place::{Fresh, Place, Region};
use super::wrong::Wrong;

/// Elements of a vector that a column of the buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    tensor: u32,
    vector: u64,
    input: u64,
}

/// What a unit's sum is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum {
    region: usize,
    position: u64,
    slot: u64,
    vector: u64,
}

#[derive(Debug, Clone, Default)]
struct Channel {
    /// The instruction that loaded the buffer.
    loaded: Option<usize>,
    buffer: Vec<Option<Held>>,
    at: usize,
    /// Padding alone has been multiplied since sums were read.
    padding: bool,
    sums: Vec<Option<Sum>>,
}

/// What an instruction did, for the order of others.
#[derive(Debug, Clone, Default)]
pub(super) struct Did {
    /// Products whose sums left the units: tensor and vector.
    pub gave: Vec<(u32, u64)>,
    /// Products that it began: tensor and vector, and the instruction that loaded the vector.
    pub used: Vec<(u32, u64, usize)>,
    /// It read the banks, and did nothing else.
    pub reads_only: bool,
}

/// Bytes by level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct BankTraffic {
    /// From cells to the units beside them.
    pub to_units: u64,
    /// Of these, elements of tensors: the rest is padding.
    pub of_tensors: u64,
    /// Vectors to the buffers of channels, each channel's copy.
    pub loads: u64,
    /// Columns read by ordinary reads.
    pub reads: u64,
    /// Columns written by ordinary writes.
    pub writes: u64,
    /// Readings of the units' sums: how many, over all channels.
    pub sums: u64,
}

/// A device.
#[derive(Debug)]
pub(super) struct Memory<'a> {
    pub cells: Cells<'a>,
    units: DataUnits,
    channels: Vec<Channel>,
    written: HashSet<(u32, u32, u64, u32)>,
    /// Sums that lie in the banks and have not been read.
    kept: HashMap<(u32, u32, u64, u32), Sum>,
    /// Of each region: columns looked up, read and written as a whole.
    looked_up: Vec<u64>,
    whole: Vec<[u64; 2]>,
    pub numbers: Option<Numbers>,
    pub traffic: BankTraffic,
    /// The most columns that a buffer was loaded with.
    pub buffer_most: u32,
    /// An access says no channel: it is for those whose data it is of.
    shared_accesses: bool,
}

/// Who does it: the instruction, its operator, and its group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'a> {
    pub instruction: usize,
    pub operator: &'a str,
    pub group: usize,
}

impl Who<'_> {
    fn sums(&self, channel: u32, problem: String) -> Wrong {
        Wrong::Sums { operator: self.operator.to_owned(), instruction: self.instruction, channel, problem }
    }
}

impl<'a> Memory<'a> {
    pub(super) fn new(cells: Cells<'a>, units: DataUnits, channels: u32, numbers: Option<Numbers>) -> Self {
        let registers = if units.sums_by_lane { units.buffer_columns as usize } else { 1 };
        let channel = Channel { sums: vec![None; registers], ..Channel::default() };
        let regions = cells.regions.len();
        Self {
            cells,
            units,
            channels: vec![channel; channels as usize],
            written: HashSet::new(),
            kept: HashMap::new(),
            looked_up: vec![0; regions],
            whole: vec![[0; 2]; regions],
            numbers,
            traffic: BankTraffic::default(),
            buffer_most: 0,
            shared_accesses: units.sums_by_lane,
        }
    }

    /// A step of an instruction.
    pub(super) fn step(&mut self, who: Who<'_>, set: &ChannelSet, step: DataStep, did: &mut Did) -> Result<(), Wrong> {
        let bytes = u64::from(self.units.column_bytes);
        let n = u64::from(set.len());
        if !matches!(step, DataStep::Access { write: false, .. }) {
            did.reads_only = false;
        }
        match step {
            DataStep::Load { columns } => {
                if columns > self.units.buffer_columns {
                    return Err(Wrong::Capacity {
                        level: "global buffer of a channel, columns".into(),
                        what: format!("operator `{}` (instruction {})", who.operator, who.instruction),
                        needs: columns.into(),
                        capacity: self.units.buffer_columns.into(),
                    });
                }
                self.buffer_most = self.buffer_most.max(columns);
                self.traffic.loads += u64::from(columns) * bytes * n;
                for channel in set.iter() {
                    let channel = &mut self.channels[channel as usize];
                    (channel.loaded, channel.at) = (Some(who.instruction), 0);
                    channel.buffer.clear();
                    channel.buffer.resize(columns as usize, None);
                }
            }
            DataStep::Clear => {
                for channel in set.iter() {
                    if let Some(sum) = self.channels[channel as usize].sums[0] {
                        return Err(who.sums(
                            channel,
                            format!("sums of {} are thrown away before they are read", self.name(&sum)),
                        ));
                    }
                }
            }
            DataStep::Multiply { bank, row, column, columns, buffer, sum } => {
                self.traffic.to_units += u64::from(columns) * bytes * u64::from(self.units.units) * n;
                for channel in set.iter() {
                    for column in column..column + columns {
                        self.multiply(who, (channel, bank, u64::from(row), column), buffer, sum, did)?;
                    }
                }
            }
            DataStep::Read { .. } => {
                self.traffic.sums += n;
                for channel in set.iter() {
                    let state = &mut self.channels[channel as usize];
                    let padding = std::mem::take(&mut state.padding);
                    let Some(sum) = state.sums[0].take() else {
                        if padding {
                            continue;
                        }
                        return Err(who.sums(channel, "sums are read that nothing was added to".into()));
                    };
                    self.gives(&sum, did);
                    if let Some(numbers) = &mut self.numbers {
                        numbers.read(&self.cells.regions[sum.region], sum.position, sum.slot, sum.vector);
                    }
                }
            }
            DataStep::Keep { bank, row, column, sum } => {
                self.traffic.writes += bytes * u64::from(self.units.units) * n;
                for channel in set.iter() {
                    // What is padding has no sums.
                    let Some(of) = self.channels[channel as usize].sums[sum as usize].take() else { continue };
                    for unit in 0..self.units.units {
                        let address = (channel, unit * self.units.banks_of_unit + bank, u64::from(row), column);
                        if let Some(old) = self.kept.insert(address, of) {
                            return Err(who.sums(
                                channel,
                                format!("sums of {} are written over before they are read", self.name(&old)),
                            ));
                        }
                    }
                    if let Some(numbers) = &mut self.numbers {
                        numbers.keep((channel, bank, u64::from(row), column), sum);
                    }
                }
            }
            DataStep::Access { write, bank, banks, row, column, columns } => {
                let all = u64::from(banks) * u64::from(columns) * bytes * n;
                if write {
                    self.traffic.writes += all;
                } else {
                    self.traffic.reads += all;
                }
                for bank in bank..bank + banks {
                    for column in column..column + columns {
                        let mut right = false;
                        let mut wrong = None;
                        for channel in set.iter() {
                            match self.access(who, write, (channel, bank, u64::from(row), column), did) {
                                Ok(()) => right = true,
                                Err(error) if self.shared_accesses => wrong = wrong.or(Some(error)),
                                Err(error) => return Err(error),
                            }
                        }
                        if let (false, Some(error)) = (right, wrong) {
                            return Err(error);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn name(&self, sum: &Sum) -> String {
        let region = &self.cells.regions[sum.region];
        let output = region.place.output(sum.position, 0, sum.slot);
        format!("`{}`, output {}", region.name, output.map_or("of padding".to_owned(), |o| o.to_string()))
    }

    fn gives(&self, sum: &Sum, did: &mut Did) {
        let key = (self.cells.regions[sum.region].tensor, sum.vector);
        if !did.gave.contains(&key) {
            did.gave.push(key);
        }
    }

    fn multiply(
        &mut self,
        who: Who<'_>,
        (channel, bank, row, column): (u32, u32, u64, u32),
        buffer: Option<u32>,
        sum: u32,
        did: &mut Did,
    ) -> Result<(), Wrong> {
        let state = &mut self.channels[channel as usize];
        let at = match buffer {
            Some(at) => at as usize,
            None => {
                let at = state.at;
                state.at = (at + 1) % state.buffer.len().max(1);
                at
            }
        };
        let Some(found) = self.cells.find(channel, bank, row, column) else {
            return Err(self.wrong_address(who, "multiplies", (channel, bank, row, column), None));
        };
        let region = &self.cells.regions[found.region];
        if !region.groups.contains(&who.group) || matches!(region.place, Place::Whole { .. }) {
            return Err(self.wrong_address(who, "multiplies", (channel, bank, row, column), Some(&found)));
        }
        let own = found.piece.and_then(|piece| Some((piece, self.cells.output(&found, &piece)?)));
        let Some((piece, output)) = own else {
            self.channels[channel as usize].padding = true;
            return Ok(());
        };
        let state = &mut self.channels[channel as usize];
        let Some(loaded) = state.loaded else {
            return Err(who.sums(channel, "weights are multiplied before a vector is loaded".into()));
        };
        let before = self.cells.meet(&found);
        if before >= region.times {
            return Err(Wrong::Times {
                operator: who.operator.to_owned(),
                tensor: region.name.clone(),
                output,
                channel,
                row,
                column,
                times: before + 1,
                right: format!("get it {} times", region.times),
            });
        }
        let vector = region.place.vector(found.position, piece.slot, before, region.group);
        let needs = Held { tensor: region.tensor, vector, input: region.first_input + piece.input };
        match state.buffer.get_mut(at) {
            Some(slot) if slot.is_none_or(|held| held == needs) => *slot = Some(needs),
            slot => {
                let held = slot.and_then(|s| *s);
                let says = |h: &Held| format!("from {} on of vector {}", h.input, h.vector);
                return Err(Wrong::Buffer {
                    operator: who.operator.to_owned(),
                    instruction: who.instruction,
                    channel,
                    row,
                    column,
                    buffer: at as u32,
                    wants: format!("{} of `{}`", says(&needs), region.name),
                    holds: held.map_or("nothing: less was loaded".into(), |h| format!("those {}", says(&h))),
                });
            }
        }
        let of = Sum { region: found.region, position: found.position, slot: piece.slot, vector };
        let (region, position) = (found.region, found.position);
        match &mut state.sums[sum as usize] {
            Some(old) if *old != of => {
                let old = *old;
                let problem =
                    format!("{} is added to sums of {}, which have not been read", self.name(&of), self.name(&old));
                return Err(who.sums(channel, problem));
            }
            slot => *slot = Some(of),
        }
        let used = (needs.tensor, vector, loaded);
        if !did.used.contains(&used) {
            did.used.push(used);
        }
        let own = &self.cells.regions[region];
        self.traffic.of_tensors += self.own_bytes(own, position, &of, piece.lanes);
        if own.fresh != Fresh::Nothing {
            self.must_be_written(who, own, &of, (channel, bank, row, column), piece.input, piece.lanes)?;
        }
        if let Some(numbers) = &mut self.numbers {
            numbers.multiply((channel, bank, row, column), sum, needs.tensor, vector, needs.input, piece.lanes);
        }
        Ok(())
    }

    /// Bytes of a column of all units that are elements: padded outputs are none.
    fn own_bytes(&self, region: &Region, position: u64, of: &Sum, lanes: u64) -> u64 {
        let last = self.units.units - 1;
        let units = match region.place.output(position, last.into(), of.slot) {
            Some(_) => u64::from(self.units.units),
            None => (0..self.units.units)
                .filter(|u| region.place.output(position, (*u).into(), of.slot).is_some())
                .count() as u64,
        };
        units * lanes * u64::from(self.units.column_bytes) / self.units.lanes.max(1)
    }

    /// Keys and values of the step's token are there before they are used.
    fn must_be_written(
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

    fn wrong_address(
        &self,
        who: Who<'_>,
        does: &'static str,
        (channel, bank, row, column): (u32, u32, u64, u32),
        found: Option<&Found>,
    ) -> Wrong {
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

    fn access(
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
            if found.piece.is_some() {
                self.whole[found.region][usize::from(write)] += 1;
            }
            return Ok(());
        }
        let output = found.piece.and_then(|p| region.place.output(found.position, unit.into(), p.slot));
        let (Some(piece), Some(output)) = (found.piece, output) else {
            // Padding of sums that are read from the banks (every register of a unit is).
            if self.shared_accesses && !write {
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

    /// Everything has been done: no more, no less.
    pub(super) fn finish(&self) -> Result<(), Wrong> {
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
            amount("columns read", self.whole[index][0], all * region.times)?;
            return amount("columns written", self.whole[index][1], all * region.times);
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

fn new_of(fresh: Fresh) -> String {
    match fresh {
        Fresh::Nothing => "nothing of it is written in this step".into(),
        Fresh::Outputs { first, count } if count == 1 => format!("the step's token is output {first}"),
        Fresh::Outputs { first, count } => format!("the step's token is outputs {first} to {}", first + count - 1),
        Fresh::Input(at) => format!("the step's token is input {at} of every output"),
        Fresh::All => "all of it is written".into(),
    }
}
