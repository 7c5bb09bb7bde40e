//! Channels at work on data: what their buffers and sums hold, and what each instruction does to it.

mod access;
mod finish;

use std::collections::{HashMap, HashSet};

use banksia_hw::pim::{DataStep, DataUnits};
use banksia_hw::program::ChannelSet;

use super::cells::{Cells, Found};
use super::numbers::Numbers;
use super::place::{Fresh, Piece, Place, Region};
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

/// A vector in the buffer.
#[derive(Debug, Clone, Default)]
struct Loaded {
    /// The instruction that loaded it.
    instruction: usize,
    columns: Vec<Option<Held>>,
}

#[derive(Debug, Clone, Default)]
struct Channel {
    /// Vectors that columns are multiplied by.
    buffer: Vec<Loaded>,
    /// Vectors that follow one another are loaded together: the run of them that these are of.
    run: u64,
    at: usize,
    /// Padding has been multiplied, by so many vectors whose sums have not been read.
    padding: usize,
    sums: Vec<Option<Sum>>,
    /// The sum that is read next.
    next: usize,
}

impl Channel {
    fn load(&mut self, run: u64, instruction: usize, columns: u32) {
        if self.run != run {
            self.buffer.clear();
        }
        (self.at, self.run) = (0, run);
        self.buffer.push(Loaded { instruction, columns: vec![None; columns as usize] });
    }

    /// The column of the buffer that comes next, or the one that an address says.
    fn advance(&mut self, says: Option<u32>) -> usize {
        self.next = 0;
        match says {
            Some(at) => at as usize,
            None => {
                let columns = self.buffer.first().map_or(0, |loaded| loaded.columns.len());
                let at = self.at;
                self.at = (at + 1) % columns.max(1);
                at
            }
        }
    }
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
    /// It wrote the banks, and did nothing else.
    pub writes_only: bool,
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
    /// The instruction that is loading vectors, and the number of their run.
    loading: Option<usize>,
    run: u64,
    /// Sums that lie in the banks and have not been read.
    kept: HashMap<(u32, u32, u64, u32), Sum>,
    /// Of each region: columns looked up; how often each is read and written of what is so as a whole.
    looked_up: Vec<u64>,
    whole: Vec<[Vec<u32>; 2]>,
    pub numbers: Option<Numbers>,
    pub traffic: BankTraffic,
    /// The most columns that a buffer was loaded with.
    pub buffer_most: u32,
    /// An access says no channel: it is for those whose data it is of.
    shared_accesses: bool,
    /// What is wrong need not be said: another channel may have what an access is for.
    silent: bool,
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
        let registers = if units.sums_by_lane { units.buffer_columns } else { units.vectors.max(1) } as usize;
        let channel = Channel { sums: vec![None; registers], ..Channel::default() };
        let regions = cells.regions.len();
        Self {
            cells,
            units,
            channels: vec![channel; channels as usize],
            written: HashSet::new(),
            loading: None,
            run: 0,
            kept: HashMap::new(),
            looked_up: vec![0; regions],
            whole: vec![<[Vec<u32>; 2]>::default(); regions],
            numbers,
            traffic: BankTraffic::default(),
            buffer_most: 0,
            shared_accesses: units.sums_by_lane,
            silent: false,
        }
    }

    /// A step of an instruction.
    /// Whether a step names what there is: a program in a file may be of another machine.
    fn fits(&self, who: Who<'_>, set: &ChannelSet, step: DataStep) -> Result<(), Wrong> {
        let sum = match step {
            DataStep::Multiply { sum, .. } | DataStep::Keep { sum, .. } => sum,
            _ => 0,
        };
        let channel = set.highest().unwrap_or(0);
        let has = [
            ("channels", u64::from(channel) + 1, self.channels.len() as u64),
            ("sums of a unit", u64::from(sum) + 1, self.channels.first().map_or(0, |c| c.sums.len() as u64)),
        ];
        match has.into_iter().find(|(_, needs, capacity)| needs > capacity) {
            None => Ok(()),
            Some((level, needs, capacity)) => Err(Wrong::Capacity {
                level: level.into(),
                what: format!("operator `{}` (instruction {})", who.operator, who.instruction),
                needs,
                capacity,
            }),
        }
    }

    pub(super) fn step(&mut self, who: Who<'_>, set: &ChannelSet, step: DataStep, did: &mut Did) -> Result<(), Wrong> {
        let bytes = u64::from(self.units.column_bytes);
        let n = u64::from(set.len());
        self.fits(who, set, step)?;
        if !matches!(step, DataStep::Access { write: false, .. }) {
            did.reads_only = false;
        }
        if !matches!(step, DataStep::Access { write: true, .. }) {
            did.writes_only = false;
        }
        if !matches!(step, DataStep::Load { .. }) {
            self.loading = None;
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
                // Where there is room for one vector, it takes the place of the one before.
                if self.units.vectors <= 1 || self.loading != Some(who.instruction) {
                    self.run += 1;
                }
                self.loading = Some(who.instruction);
                for channel in set.iter() {
                    let channel = &mut self.channels[channel as usize];
                    channel.load(self.run, who.instruction, columns);
                    if channel.buffer.len() > self.units.vectors.max(1) as usize {
                        return Err(Wrong::Capacity {
                            level: "vectors in the buffer of a channel".into(),
                            what: format!("operator `{}` (instruction {})", who.operator, who.instruction),
                            needs: channel.buffer.len() as u64,
                            capacity: self.units.vectors.into(),
                        });
                    }
                }
            }
            DataStep::Clear => {
                for channel in set.iter() {
                    if let Some(sum) = self.channels[channel as usize].sums.iter().flatten().next().copied() {
                        return Err(who.sums(
                            channel,
                            format!("sums of {} are thrown away before they are read", self.name(&sum)),
                        ));
                    }
                }
            }
            DataStep::Multiply { bank, row, column, columns, buffer, sum } => {
                self.traffic.to_units += u64::from(columns) * bytes * u64::from(self.units.units) * n;
                let mut own = false;
                let mut wrong = None;
                self.silent = self.shared_accesses;
                for channel in set.iter() {
                    for column in column..column + columns {
                        let place = (channel, bank, u64::from(row), column);
                        match self.multiply(who, place, buffer, sum, did) {
                            Ok(()) => own = true,
                            // What channels do that have nothing of it, nobody reads.
                            Err(Wrong::Address { .. }) if self.shared_accesses => wrong = wrong.or(Some(place)),
                            Err(error) => return Err(error),
                        }
                    }
                }
                self.silent = false;
                if let (false, Some(place)) = (own, wrong) {
                    return self.multiply(who, place, buffer, sum, did);
                }
            }
            DataStep::Read { .. } => {
                self.traffic.sums += n;
                for channel in set.iter() {
                    let state = &mut self.channels[channel as usize];
                    // One sum of each vector, in the order in which these were loaded.
                    let last = (self.units.vectors.max(1) - 1) as usize;
                    let number = state.next.min(last);
                    state.next += 1;
                    let padding = state.padding;
                    state.padding = padding.saturating_sub(1);
                    let Some(sum) = state.sums[number].take() else {
                        if padding > 0 {
                            continue;
                        }
                        return Err(who.sums(channel, "sums are read that nothing was added to".into()));
                    };
                    self.gives(&sum, did);
                    if let Some(numbers) = &mut self.numbers {
                        let region = &self.cells.regions[sum.region];
                        numbers.read(region, sum.position, sum.slot, (number as u32, sum.vector));
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
                        self.silent = self.shared_accesses;
                        for channel in set.iter() {
                            let place = (channel, bank, u64::from(row), column);
                            match self.access(who, write, place, did) {
                                Ok(()) => right = true,
                                Err(_) if self.shared_accesses => wrong = wrong.or(Some(place)),
                                Err(error) => return Err(error),
                            }
                        }
                        self.silent = false;
                        if let (false, Some(place)) = (right, wrong) {
                            return self.access(who, write, place, did);
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
        let at = self.channels[channel as usize].advance(buffer);
        let Some(found) = self.cells.find(channel, bank, row, column) else {
            return Err(self.wrong_address(who, "multiplies", (channel, bank, row, column), None));
        };
        let region = &self.cells.regions[found.region];
        if !region.groups.contains(&who.group) || matches!(region.place, Place::Whole { .. }) {
            return Err(self.wrong_address(who, "multiplies", (channel, bank, row, column), Some(&found)));
        }
        let own = found.piece.and_then(|piece| Some((piece, self.cells.output(&found, &piece)?)));
        let Some((piece, output)) = own else {
            let state = &mut self.channels[channel as usize];
            state.padding = state.buffer.len().max(1);
            return Ok(());
        };
        let vectors = self.channels[channel as usize].buffer.len();
        if vectors == 0 {
            return Err(who.sums(channel, "weights are multiplied before a vector is loaded".into()));
        }
        for loaded in 0..vectors {
            let place = (channel, bank, row, column);
            self.multiply_by(who, place, (&found, &piece, output), (loaded, at), sum, did)?;
        }
        Ok(())
    }

    /// Multiplies a column by a vector of the buffer, one that was `loaded` before or after others.
    fn multiply_by(
        &mut self,
        who: Who<'_>,
        (channel, bank, row, column): (u32, u32, u64, u32),
        (found, piece, output): (&Found, &Piece, u64),
        (loaded, at): (usize, usize),
        sum: u32,
        did: &mut Did,
    ) -> Result<(), Wrong> {
        let region = &self.cells.regions[found.region];
        let before = self.cells.meet(found);
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
        let state = &mut self.channels[channel as usize];
        let of_vector = &mut state.buffer[loaded];
        match of_vector.columns.get_mut(at) {
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
        let used = (needs.tensor, vector, of_vector.instruction);
        let of = Sum { region: found.region, position: found.position, slot: piece.slot, vector };
        let number = sum + loaded as u32;
        match &mut state.sums[number as usize] {
            Some(old) if *old != of => {
                let old = *old;
                let problem =
                    format!("{} is added to sums of {}, which have not been read", self.name(&of), self.name(&old));
                return Err(who.sums(channel, problem));
            }
            slot => *slot = Some(of),
        }
        if !did.used.contains(&used) {
            did.used.push(used);
        }
        let own = &self.cells.regions[found.region];
        if loaded == 0 {
            self.traffic.of_tensors += self.own_bytes(own, found.position, &of, piece.lanes);
        }
        if own.fresh != Fresh::Nothing {
            self.must_be_written(who, own, &of, (channel, bank, row, column), piece.input, piece.lanes)?;
        }
        if let Some(numbers) = &mut self.numbers {
            numbers.multiply((channel, bank, row, column), number, needs.tensor, vector, needs.input, piece.lanes);
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
}
