//! Products, writes and reads in the banks of a PIM machine, as blocks of what its channels are driven by.
//!
//! What differs between devices is the device's: banks of a unit, buffer, command set, and with them the layout of a matrix.

use std::sync::Arc;

use banksia_hw::pim::{DataUnits, DataView, Drive, HostKernel, IsaSet, PimMachine, Products};
use banksia_hw::program::{Block, ChannelSet, PimInstruction, ProgramBuilder};

use crate::replay::{Bounds, Place};

/// The banks of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Banks {
    drive: Kind,
    units: DataUnits,
    pub channels: u32,
    pub banks: u32,
    /// Elements of a column.
    pub lanes: u64,
    /// Columns of a row of a bank.
    columns: u64,
    /// Rows of a bank that data may take.
    pub rows: u64,
    rows_in_all: u32,
    row_bytes: u64,
    /// Groups of channels that each multiply a part of a vector of a matrix over all channels, where accesses drive them: a kernel's
    /// outputs are padded to all blocks of its channels, and a matrix of fewer would leave most of a large machine empty.
    split: u64,
}

#[derive(Debug, Clone)]
enum Kind {
    Instructions(IsaSet),
    Accesses(HostKernel),
}

/// A matrix-vector product of each of some sets of channels, at a place in the banks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<'a> {
    pub outputs: u64,
    pub inputs: u64,
    pub sets: &'a [ChannelSet],
    pub first_row: u64,
    /// Outputs share rows: keys.
    pub packed: bool,
    /// Groups of channels of a set that each multiply a part of the vector; 0 for as many as the banks have by themselves.
    pub split: u32,
    /// Inputs that each output has room for, where that is more than `inputs`: tokens that are still to come.
    pub room: u64,
    /// Vectors that each matrix is multiplied by at once: at most [`Banks::vectors`].
    pub vectors: u32,
}

/// Columns of a row of a bank, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub bank: u32,
    pub row: u64,
    pub column: u64,
    pub columns: u64,
}

impl Banks {
    /// The banks of a machine that blocks drive; `None` of one that patterns drive.
    pub(crate) fn new(machine: &PimMachine) -> Option<Self> {
        let device = &machine.device;
        let columns = u64::from(device.columns);
        let (drive, rows) = match &machine.drive {
            Drive::Patterns => return None,
            Drive::Instructions(isa) => {
                let set = isa.set().clone();
                if !set.has_gemv() {
                    return None;
                }
                // A row that an instruction keeps for itself ends what data may take.
                let kept = set.instructions.iter().filter_map(|k| k.fixed_row).min();
                (Kind::Instructions(set), u64::from(kept.unwrap_or(device.rows)))
            }
            Drive::Accesses(kernel) => (Kind::Accesses(kernel.clone()), kernel.capacity() / columns),
        };
        Some(Self {
            channels: machine.channels(),
            banks: device.banks,
            lanes: u64::from(device.access_bytes) / 2,
            columns,
            rows,
            rows_in_all: device.rows,
            row_bytes: device.row_bytes(),
            split: 1,
            units: DataView::new(machine).units(),
            drive,
        })
    }

    /// The next way to lay matrices out, that takes fewer rows.
    pub(crate) fn denser(&self) -> Option<Self> {
        let split = self.split * 2;
        let can = matches!(self.drive, Kind::Accesses(_)) && u64::from(self.channels).is_multiple_of(split);
        can.then(|| Self { split, ..self.clone() })
    }

    /// Groups of channels that each have a part of a product's vector.
    fn groups(&self, p: &Product<'_>) -> u32 {
        let channels = p.sets.first().map_or(1, ChannelSet::len);
        match p.split {
            0 if channels == self.channels => self.split as u32,
            0 => 1,
            split => split,
        }
    }

    /// Channels of a kernel for a product, and the part of the vector that it has.
    fn part(&self, p: &Product<'_>) -> (u32, u64) {
        let channels = p.sets.first().map_or(1, ChannelSet::len);
        let split = self.groups(p).max(1);
        (channels / split, p.inputs.div_ceil(u64::from(split)))
    }

    /// The sets of a product whose channels are in groups: each group is one, with a part of the vector.
    fn sets_of(&self, p: &Product<'_>) -> Vec<ChannelSet> {
        let groups = self.groups(p).max(1);
        if groups == 1 {
            return p.sets.to_vec();
        }
        let part = |set: &ChannelSet| {
            let width = set.len() / groups;
            let channels: Vec<u32> = set.iter().collect();
            channels
                .chunks(width.max(1) as usize)
                .map(|c| c.iter().fold(ChannelSet::EMPTY, |all, c| all.or(&ChannelSet::one(*c))))
                .collect::<Vec<_>>()
        };
        p.sets.iter().flat_map(part).collect()
    }

    /// Bytes of a row, over all banks of all channels.
    pub(crate) fn row_bytes_of_all(&self) -> u64 {
        self.row_bytes * u64::from(self.banks) * u64::from(self.channels)
    }

    /// Bytes of a column, over all banks of all channels.
    pub(crate) fn column_bytes_of_all(&self) -> u64 {
        (self.row_bytes_of_all() / self.columns.max(1)).max(1)
    }

    /// Columns of a row of a bank.
    pub(crate) fn columns(&self) -> u64 {
        self.columns.max(1)
    }

    /// Rows of a bank of the device.
    pub(crate) fn rows_of_device(&self) -> u32 {
        self.rows_in_all
    }

    /// Rows of every bank that the matrices of a product take; `None` where they cannot be counted.
    pub(crate) fn rows_of(&self, p: &Product<'_>) -> Option<u64> {
        match &self.drive {
            Kind::Instructions(set) => set.rows_of(&self.of_set(p, &self.sets_of(p))),
            Kind::Accesses(kernel) => {
                let (channels, inputs) = self.part(p);
                let columns = kernel.clone().with_channels(channels).columns_of(p.outputs, inputs.max(self.room(p)))?;
                Some(columns.div_ceil(self.columns))
            }
        }
    }

    /// Vectors' parts that a product is summed up of: what the vector unit adds.
    pub(crate) fn partial_sums(&self, p: &Product<'_>) -> u64 {
        let groups = u64::from(self.groups(p).max(1));
        match &self.drive {
            Kind::Instructions(set) => self.part(p).1.div_ceil(u64::from(set.row_elements()).max(1)) * groups,
            // Each lane of a register has a sum of its own.
            Kind::Accesses(_) => self.lanes * groups,
        }
    }

    /// Vectors that the units multiply a matrix by at once.
    pub(crate) fn vectors(&self) -> u32 {
        match &self.drive {
            Kind::Instructions(set) => set.vectors(),
            Kind::Accesses(_) => 1,
        }
    }

    /// Whether an access goes to all channels, whichever has the data: it says none.
    pub(crate) fn accesses_all(&self) -> bool {
        matches!(self.drive, Kind::Accesses(_))
    }

    /// Groups of channels of a product where nothing is said; `None` where it depends on what fits.
    pub(crate) fn split_by_itself(&self) -> Option<u64> {
        self.denser().is_none().then_some(self.split)
    }

    /// Multiply-accumulates of a product, of those spent on it the share that are its own.
    pub(crate) fn utilization(&self, p: &Product<'_>) -> f64 {
        let (u, (channels, inputs)) = (self.units, self.part(p));
        let units = u64::from(u.units).max(1);
        let columns = match u.sums_by_lane {
            true => inputs.div_ceil(u.lanes * u64::from(u.buffer_columns)) * u64::from(u.buffer_columns),
            false => inputs.div_ceil(u.lanes),
        };
        // Channels without outputs are left out where instructions say which channels they are for.
        let outputs = match u.sums_by_lane {
            true => p.outputs.next_multiple_of(u64::from(channels.max(1)) * units * u64::from(u.buffer_columns)),
            false => p.outputs.next_multiple_of(units),
        };
        let slots = outputs * columns * u.lanes * u64::from(self.groups(p).max(1));
        (p.outputs * p.inputs) as f64 / slots.max(1) as f64
    }

    /// The blocks of products: the product, and where results lie in the banks, their way to the vector unit.
    pub(crate) fn product(&self, builder: &mut ProgramBuilder, p: &Product<'_>) -> (Arc<Block>, Option<Arc<Block>>) {
        match &self.drive {
            Kind::Instructions(set) => {
                let mut list = Vec::new();
                set.products(&self.of_set(p, &self.sets_of(p)), &mut |i| {
                    list.push(PimInstruction {
                        name: set.instructions[i.kind].name.clone(),
                        channels: builder.channels(&i.channels),
                        columns: i.columns,
                        bank: i.bank,
                        row: i.row,
                        column: i.column,
                    });
                });
                (Arc::new(Block::Instructions(list)), None)
            }
            Kind::Accesses(kernel) => {
                let (channels, inputs) = self.part(p);
                let mut product = kernel.clone().with_channels(channels);
                let first = p.first_row * self.columns;
                product.product(p.outputs, inputs, self.room(p), first);
                let mut results = kernel.clone().with_channels(channels);
                results.results(p.outputs, inputs, self.room(p), first);
                let block = |kernel: HostKernel| Arc::new(Block::Accesses(kernel.accesses().to_vec()));
                (block(product), Some(block(results)))
            }
        }
    }

    /// Inputs that a part of the vector has room for.
    fn room(&self, p: &Product<'_>) -> u64 {
        p.room.div_ceil(u64::from(self.groups(p).max(1)))
    }

    /// Where a weight lies: the channel, counted in its set, and the column.
    pub(crate) fn place_of(&self, p: &Product<'_>, output: u64, input: u64) -> (u32, Spot) {
        let (channels, inputs) = self.part(p);
        let (channels, inputs) = (channels.max(1), inputs.max(1));
        let (group, input) = (input / inputs, input % inputs);
        let columns = self.columns();
        let (channel, bank, row, column) = match &self.drive {
            Kind::Instructions(set) => {
                let row_elements = u64::from(set.row_elements()).max(1);
                let lanes = u64::from(set.column_elements()).max(1);
                let rows = inputs.max(self.room(p)).div_ceil(row_elements);
                let (unit, bank) = (output / u64::from(self.banks.max(1)), output % u64::from(self.banks.max(1)));
                let (local, channel) = (unit / u64::from(channels), unit % u64::from(channels));
                let width = inputs.div_ceil(lanes).max(1);
                let a_row = if p.packed { (row_elements / lanes / width).max(1) } else { 1 };
                let row = p.first_row + local / a_row * rows + input / row_elements;
                (channel as u32, bank as u32, row, local % a_row * width + input % row_elements / lanes)
            }
            Kind::Accesses(kernel) => {
                let kernel = kernel.clone().with_channels(channels);
                let at = (output, input);
                let (channel, bank, column) = kernel.place_of(at, inputs.max(self.room(p)), p.first_row * columns);
                (channel, bank, column / columns, column % columns)
            }
        };
        (group as u32 * channels + channel, Spot { bank, row, column, columns: 1 })
    }

    /// Where some inputs of an output lie: the channels, counted in their set, and the columns in each, those that follow one another together.
    pub(crate) fn places_of(
        &self,
        p: &Product<'_>,
        output: u64,
        inputs: std::ops::Range<u64>,
    ) -> Vec<(u32, Vec<Spot>)> {
        let mut all: Vec<(u32, Vec<Spot>)> = Vec::new();
        let mut input = inputs.start;
        while input < inputs.end {
            let (channel, spot) = self.place_of(p, output, input);
            if all.last().is_none_or(|(last, _)| *last != channel) {
                all.push((channel, Vec::new()));
            }
            if let Some((_, spots)) = all.last_mut() {
                match spots.last_mut() {
                    Some(s) if (s.bank, s.row, s.column + s.columns) == (spot.bank, spot.row, spot.column) => {
                        s.columns += 1;
                    }
                    _ => spots.push(spot),
                }
            }
            // The next column begins at a multiple of its elements, counted in the part of the vector.
            let part = self.part(p).1.max(1);
            let within = input % part;
            input = input - within + part.min((within / self.lanes + 1) * self.lanes);
        }
        all
    }

    /// Accesses of columns, by place; the same in a channel of every set.
    pub(crate) fn access(
        &self,
        builder: &mut ProgramBuilder,
        write: bool,
        channels: &ChannelSet,
        places: &[Spot],
    ) -> Arc<Block> {
        match &self.drive {
            Kind::Instructions(_) => {
                let channels = builder.channels(channels);
                let name = if write { "W MEM" } else { "R MEM" };
                let mut list = Vec::new();
                for spot in places {
                    for column in spot.column..spot.column + spot.columns {
                        let row = (spot.row + column / self.columns) as u32;
                        let column = (column % self.columns) as u32;
                        list.push(PimInstruction {
                            name: name.into(),
                            channels,
                            columns: 1,
                            bank: spot.bank,
                            row,
                            column,
                        });
                    }
                }
                Arc::new(Block::Instructions(list))
            }
            Kind::Accesses(kernel) => {
                let mut kernel = kernel.clone();
                for spot in places {
                    kernel.access(write, spot.bank, spot.row * self.columns + spot.column, spot.columns);
                }
                Arc::new(Block::Accesses(kernel.accesses().to_vec()))
            }
        }
    }

    /// How a product's matrices lie, as pages say it: for each set and each part of the vector the channels, the place, and the part's first element.
    pub(crate) fn placed(&self, p: &Product<'_>) -> Vec<(Vec<u32>, Place, u64)> {
        let u = self.units;
        let (channels, part) = self.part(p);
        let room = part.max(self.room(p));
        let columns = if u.sums_by_lane { u.columns } else { u.buffer_columns };
        let of_channels = u64::from(channels.max(1));
        let bounds = Bounds { channels: of_channels, units: u.units.into(), lanes: u.lanes, columns: columns.into() };
        let place = |inputs: u64| {
            if u.sums_by_lane {
                let registers = u64::from(u.buffer_columns);
                let pairs = room.div_ceil(u.lanes * registers).div_ceil(2);
                return Place::Tiles { bounds, outputs: p.outputs, inputs, registers, pairs };
            }
            let width = part.div_ceil(u.lanes).max(1);
            let per_row = if p.packed { (bounds.columns / width).max(1) } else { 1 };
            let rows = room.div_ceil(bounds.columns * u.lanes).max(1);
            Place::Rows { bounds, outputs: p.outputs, inputs, rows, per_row, width }
        };
        let mut all = Vec::new();
        for set in p.sets {
            let list: Vec<u32> = set.iter().collect();
            for (group, channels) in list.chunks(channels.max(1) as usize).enumerate() {
                let first = group as u64 * part;
                all.push((channels.to_vec(), place(part.min(p.inputs.saturating_sub(first))), first));
            }
        }
        all
    }

    /// Sums of an output that leave the units for one product.
    pub(crate) fn sums_of(&self, p: &Product<'_>) -> u64 {
        let (u, part) = (self.units, self.part(p).1);
        let of_group = match u.sums_by_lane {
            true => u.lanes,
            false => part.div_ceil(u64::from(u.buffer_columns) * u.lanes).max(1),
        };
        of_group * u64::from(self.groups(p).max(1))
    }

    fn of_set<'a>(&self, p: &Product<'_>, sets: &'a [ChannelSet]) -> Products<'a> {
        let first_row = u32::try_from(p.first_row).unwrap_or(u32::MAX);
        Products {
            outputs: p.outputs,
            inputs: self.part(p).1,
            sets,
            first_row,
            packed: p.packed,
            room: self.room(p),
            vectors: p.vectors,
        }
    }
}
