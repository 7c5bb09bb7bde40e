//! Products, writes and reads in the banks of a PIM machine, as blocks of what its channels are driven by.
//!
//! What differs between devices is the device's: banks of a unit, buffer, command set, and with them the layout of a matrix.

use std::sync::Arc;

use banksia_hw::pim::{Drive, HostKernel, IsaSet, PimMachine, Products};
use banksia_hw::program::{Block, ChannelSet, PimInstruction, ProgramBuilder};

/// The banks of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Banks {
    drive: Kind,
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
    /// Vectors that each matrix is multiplied by at once: at most [`Banks::vectors`].
    pub vectors: u32,
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
                let columns = kernel.clone().with_channels(channels).columns_of(p.outputs, inputs)?;
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

    /// Groups of channels of a product where nothing is said; `None` where it depends on what fits.
    pub(crate) fn split_by_itself(&self) -> Option<u64> {
        self.denser().is_none().then_some(self.split)
    }

    /// Multiply-accumulates of a product, of those spent on it the share that are its own.
    pub(crate) fn utilization(&self, p: &Product<'_>) -> f64 {
        let rows = self.rows_of(p).unwrap_or(0).max(1);
        let channels = p.sets.first().map_or(1, |s| u64::from(s.len()));
        let slots = rows * self.columns * self.lanes * u64::from(self.banks) * channels;
        (p.outputs * p.inputs) as f64 / slots as f64
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
                    });
                });
                (Arc::new(Block::Instructions(list)), None)
            }
            Kind::Accesses(kernel) => {
                let (channels, inputs) = self.part(p);
                let mut product = kernel.clone().with_channels(channels);
                let first = p.first_row * self.columns;
                product.product(p.outputs, inputs, first);
                let mut results = kernel.clone().with_channels(channels);
                results.results(p.outputs, inputs, first);
                let block = |kernel: HostKernel| Arc::new(Block::Accesses(kernel.accesses().to_vec()));
                (block(product), Some(block(results)))
            }
        }
    }

    /// Writes of columns, by place: bank, row, number of columns; the same in a channel of every set.
    pub(crate) fn access(
        &self,
        builder: &mut ProgramBuilder,
        write: bool,
        channels: &ChannelSet,
        places: &[(u32, u64, u64)],
    ) -> Arc<Block> {
        match &self.drive {
            Kind::Instructions(_) => {
                let channels = builder.channels(channels);
                let name = if write { "W MEM" } else { "R MEM" };
                let mut list = Vec::new();
                for (bank, row, columns) in places {
                    for column in 0..*columns {
                        let row = (row + column / self.columns) as u32;
                        list.push(PimInstruction { name: name.into(), channels, columns: 1, bank: *bank, row });
                    }
                }
                Arc::new(Block::Instructions(list))
            }
            Kind::Accesses(kernel) => {
                let mut kernel = kernel.clone();
                for (bank, row, columns) in places {
                    kernel.access(write, *bank, row * self.columns, *columns);
                }
                Arc::new(Block::Accesses(kernel.accesses().to_vec()))
            }
        }
    }

    fn of_set<'a>(&self, p: &Product<'_>, sets: &'a [ChannelSet]) -> Products<'a> {
        let first_row = u32::try_from(p.first_row).unwrap_or(u32::MAX);
        Products { outputs: p.outputs, inputs: self.part(p).1, sets, first_row, packed: p.packed, vectors: p.vectors }
    }

    /// Outputs that share a row where they are packed.
    pub(crate) fn outputs_a_row(&self, inputs: u64) -> u64 {
        (self.columns / inputs.div_ceil(self.lanes).max(1)).max(1)
    }
}
