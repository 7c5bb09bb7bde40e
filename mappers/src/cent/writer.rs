//! Instructions of GDDR6-AiM and accesses, as the mapping gives them one after another.

use banksia_hw::pim::{Instruction, IsaSet};
use banksia_hw::program::ChannelSet;
use banksia_input::InputError;

use super::place::Place;

/// Places of the instructions that the mapping uses in a device's set.
#[derive(Debug, Clone, Copy)]
pub struct Kinds {
    load: usize,
    bias: usize,
    multiply: usize,
    read: usize,
    activate: usize,
    read_activated: usize,
    elementwise: usize,
    add: usize,
    to_buffer: usize,
    from_buffer: usize,
    write_banks: usize,
    wait: usize,
    end: usize,
    access: [usize; 2],
}

impl Kinds {
    /// Those of a device.
    ///
    /// # Errors
    /// The device lacks one.
    pub fn of(set: &IsaSet) -> Result<Self, InputError> {
        let kind = |name: &str| {
            set.kind(name).ok_or_else(|| {
                InputError::new("device", format!("has no instruction `{name}`, which the mapping `cent` needs"))
                    .key("instruction")
                    .help("use a device with GDDR6-AiM's set: `gddr6-aim`, or a file with it as base")
            })
        };
        Ok(Self {
            load: kind("WR_GB")?,
            bias: kind("WR_BIAS")?,
            multiply: kind("MAC_ABK")?,
            read: kind("RD_MAC")?,
            activate: kind("AF")?,
            read_activated: kind("RD_AF")?,
            elementwise: kind("EWMUL")?,
            add: kind("EWADD")?,
            to_buffer: kind("COPY_BKGB")?,
            from_buffer: kind("COPY_GBBK")?,
            write_banks: kind("WR_ABK")?,
            wait: kind("SYNC")?,
            end: kind("EOC")?,
            access: [kind("R MEM")?, kind("W MEM")?],
        })
    }
}

/// Gives instructions to whoever runs or keeps them.
pub struct Writer<'a, F> {
    kinds: Kinds,
    place: Place,
    /// The row of the activation function's table.
    table_row: u32,
    take: &'a mut F,
}

impl<F> std::fmt::Debug for Writer<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<'a, F: FnMut(&Instruction)> Writer<'a, F> {
    /// For a device's set.
    ///
    /// # Errors
    /// The set lacks an instruction.
    pub fn new(set: &IsaSet, place: Place, take: &'a mut F) -> Result<Self, InputError> {
        let kinds = Kinds::of(set)?;
        let table_row = set.instructions.get(kinds.activate).and_then(|k| k.fixed_row).unwrap_or(0);
        Ok(Self { kinds, place, table_row, take })
    }

    /// The first so many channels, as a mask.
    pub fn mask(&self, count: u64) -> ChannelSet {
        let count = count.min(self.place.channels);
        let first = if self.place.conventions.masks_from_last { self.place.channels - count } else { 0 };
        ChannelSet::range(first as u32, count as u32)
    }

    /// The channels of all blocks that use so many channels each.
    pub fn all_blocks(&self, each: u64) -> ChannelSet {
        let channels = self.place.channels;
        self.mask(if each > channels { channels } else { channels / each.max(1) * each })
    }

    fn give(&mut self, kind: usize, columns: u32, channels: &ChannelSet, bank: u64, row: u64) {
        let instruction =
            Instruction { kind, columns, channels: channels.clone(), bank: bank as u32, row: row as u32, column: 0 };
        (self.take)(&instruction);
    }

    /// Columns of the input into the global buffers.
    pub fn load(&mut self, channels: &ChannelSet, columns: u32) {
        self.give(self.kinds.load, columns, channels, 0, 0);
    }

    /// Accumulators are set.
    pub fn bias(&mut self, channels: &ChannelSet) {
        self.give(self.kinds.bias, 1, channels, 0, 0);
    }

    /// Columns of a row of every bank times the global buffer, or times the neighbouring bank.
    pub fn multiply(&mut self, channels: &ChannelSet, columns: u32, row: u64) {
        self.give(self.kinds.multiply, columns, channels, 0, row);
    }

    /// Accumulators are read.
    pub fn read(&mut self, channels: &ChannelSet) {
        self.give(self.kinds.read, 1, channels, 0, 0);
    }

    /// The activation function of an accumulator, and its value read.
    pub fn activate(&mut self, channels: &ChannelSet) {
        self.give(self.kinds.activate, 1, channels, 0, u64::from(self.table_row));
        self.give(self.kinds.read_activated, 1, channels, 0, 0);
    }

    /// Two banks of every group multiplied element by element into the third.
    pub fn elementwise(&mut self, channels: &ChannelSet, columns: u32, row: u64) {
        self.give(self.kinds.elementwise, columns, channels, 0, row);
    }

    /// Vectors of the device's registers are added.
    pub fn add(&mut self, elements: u64) {
        let all = self.mask(self.place.channels);
        self.give(self.kinds.add, self.place.columns(elements), &all, 0, 0);
    }

    /// In every bank group, columns go from the third bank to the second by the global buffer: from row to row.
    pub fn move_results(&mut self, channels: &ChannelSet, parts: &[(u64, u64, u32)]) {
        for bank in (0..self.place.banks).filter(|bank| bank % 4 == 2) {
            for &(from, _, columns) in parts {
                self.give(self.kinds.to_buffer, columns, channels, bank, from);
            }
            for &(_, to, columns) in parts {
                self.give(self.kinds.from_buffer, columns, channels, bank - 1, to);
            }
        }
    }

    /// One column into a row of every bank of a channel, counted as masks are.
    pub fn write_banks(&mut self, channel: u64, row: u64) {
        let channel = if self.place.conventions.masks_from_last { self.place.channels - 1 - channel } else { channel };
        self.give(self.kinds.write_banks, 1, &ChannelSet::one(channel as u32), 0, row);
    }

    /// An access to one column.
    pub fn access(&mut self, write: bool, channel: u64, bank: u64, row: u64) {
        let kind = self.kinds.access[usize::from(write)];
        self.give(kind, 1, &ChannelSet::one((channel % self.place.channels) as u32), bank, row);
    }

    /// Everything before is done.
    pub fn wait(&mut self) {
        let all = self.mask(self.place.channels);
        self.give(self.kinds.wait, 1, &all, 0, 0);
    }

    /// The block's work is done.
    pub fn end(&mut self) {
        let all = self.mask(self.place.channels);
        self.give(self.kinds.end, 1, &all, 0, 0);
    }
}
