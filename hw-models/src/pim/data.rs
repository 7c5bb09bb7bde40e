//! What instructions of a program do to data, without time: for checks of what a program computes.
//!
//! A channel has units that multiply columns of their banks by what a buffer holds, and sums. The buffer is read from its first column on, and from
//! its first again once all that was loaded has been multiplied; registers that an address names (HBM-PIM) are those.

use super::config::PimMachine;
use super::drive::Drive;
use super::hbm_pim::HostKernel;
use super::host_controller::{ALL_BANK, ENTER_BANKS};
use super::isa_trace::IsaSet;
use crate::dram::{DataDirection, Effect, Needs};
use crate::program::{Block, ChannelSet, HostAccess, Pattern, PimInstruction, Program, Work};

/// What happens to data in every channel of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataStep {
    /// So many columns of a vector take the place of what the buffer held; where it holds several vectors, of those that have been multiplied.
    Load {
        /// How many.
        columns: u32,
    },
    /// Sums begin anew.
    Clear,
    /// Every unit multiplies columns of its bank by columns of the buffer, and adds to a sum.
    Multiply {
        /// Which of a unit's banks.
        bank: u32,
        /// The row.
        row: u32,
        /// Its first column.
        column: u32,
        /// How many.
        columns: u32,
        /// The column of the buffer, where the address says it.
        buffer: Option<u32>,
        /// Which of the unit's sums.
        sum: u32,
    },
    /// Sums leave the units for the vector unit.
    Read {
        /// They begin anew with that.
        clears: bool,
    },
    /// A sum of each unit, by lanes, goes to a column of a bank, and begins anew.
    Keep {
        /// Which of a unit's banks.
        bank: u32,
        /// The row.
        row: u32,
        /// The column.
        column: u32,
        /// Which of the unit's sums.
        sum: u32,
    },
    /// Ordinary reads, or writes, of columns.
    Access {
        /// Writes.
        write: bool,
        /// The first bank.
        bank: u32,
        /// How many banks.
        banks: u32,
        /// The row.
        row: u32,
        /// Its first column.
        column: u32,
        /// How many.
        columns: u32,
    },
}

/// The units of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataUnits {
    /// How many.
    pub units: u32,
    /// Banks of each.
    pub banks_of_unit: u32,
    /// Elements of a column that a unit multiplies.
    pub lanes: u64,
    /// Columns that the buffer holds.
    pub buffer_columns: u32,
    /// Rows of a bank that data may take.
    pub rows: u64,
    /// Columns of a row.
    pub columns: u32,
    /// Bytes of a column.
    pub column_bytes: u32,
    /// Vectors that the buffer holds beside one another, and sums of a unit: each column is multiplied by all.
    pub vectors: u32,
    /// A sum has a lane of its own for each of a column's, which are added outside.
    pub sums_by_lane: bool,
}

/// A machine's view of programs.
#[derive(Debug, Clone)]
pub struct DataView<'a> {
    machine: &'a PimMachine,
    all: ChannelSet,
}

impl<'a> DataView<'a> {
    /// Of a machine.
    pub fn new(machine: &'a PimMachine) -> Self {
        Self { machine, all: ChannelSet::first(machine.channels()) }
    }

    /// The units of a channel.
    pub fn units(&self) -> DataUnits {
        let device = &self.machine.device;
        let one = DataUnits {
            units: device.banks,
            banks_of_unit: 1,
            lanes: u64::from(device.access_bytes) / 2,
            buffer_columns: device.columns,
            rows: u64::from(device.rows),
            columns: device.columns,
            column_bytes: device.access_bytes,
            vectors: 1,
            sums_by_lane: false,
        };
        match &self.machine.drive {
            Drive::Patterns => {
                let bytes = device.timing("global_buffer_bytes").unwrap_or(f64::INFINITY);
                let held = (bytes / f64::from(device.access_bytes.max(1))).floor();
                DataUnits { buffer_columns: held.min(f64::from(device.columns)) as u32, ..one }
            }
            Drive::Instructions(isa) => {
                let set = isa.set();
                let lanes = set.column_elements().max(1);
                let kept = set.instructions.iter().filter_map(|k| k.fixed_row).min();
                DataUnits {
                    lanes: u64::from(lanes),
                    buffer_columns: set.row_elements() / lanes,
                    vectors: set.vectors(),
                    rows: u64::from(kept.unwrap_or(device.rows)),
                    ..one
                }
            }
            Drive::Accesses(kernel) => DataUnits {
                units: kernel.units.blocks,
                banks_of_unit: device.banks / kernel.units.blocks.clamp(1, device.banks),
                lanes: u64::from(kernel.units.lanes),
                buffer_columns: kernel.units.registers,
                rows: kernel.capacity() / u64::from(device.columns.max(1)),
                sums_by_lane: true,
                ..one
            },
        }
    }

    /// What an instruction does, in order.
    ///
    /// # Errors
    /// It does what products, reads and writes are not made of: in words.
    pub fn steps(
        &self,
        program: &Program,
        work: Work,
        take: &mut dyn FnMut(&ChannelSet, DataStep),
    ) -> Result<(), String> {
        match work {
            Work::Pim { channels, pattern, row, iterations } => {
                let channels = &program.channel_sets[channels as usize];
                self.pattern(&program.patterns[pattern as usize], row, iterations, &mut |step| take(channels, step))
            }
            Work::Block { block } => match (&*program.blocks[block as usize], &self.machine.drive) {
                (Block::Instructions(list), Drive::Instructions(isa)) => {
                    list.iter().try_for_each(|one| instruction(isa.set(), program, one, take))
                }
                (Block::Accesses(list), Drive::Accesses(kernel)) => self.accesses(kernel, list, take),
                _ => Err("is a block that these channels are not driven by".into()),
            },
            Work::Vector { .. } | Work::Kernel { .. } | Work::Transfer { .. } | Work::Collective { .. } => Ok(()),
        }
    }

    fn pattern(
        &self,
        pattern: &Pattern,
        first_row: u32,
        iterations: u32,
        take: &mut dyn FnMut(DataStep),
    ) -> Result<(), String> {
        let device = &self.machine.device;
        for iteration in 0..iterations {
            for step in &pattern.steps {
                let id = device.command(&step.command).ok_or_else(|| format!("has no command {}", step.command))?;
                let spec = device.spec(id);
                let row = step.row.unwrap_or(0).saturating_add(first_row).saturating_add(iteration * pattern.rows);
                let (column, columns) = (step.column, step.count);
                let of_bank = device.levels[spec.scope.0 as usize].banks;
                if spec.macs > 0 {
                    take(DataStep::Multiply { bank: 0, row, column, columns, buffer: None, sum: 0 });
                } else if spec.needs == Needs::Open && spec.effect == Effect::None {
                    let write = spec.data == DataDirection::Write;
                    let (bank, banks) = (step.first_node * of_bank, step.nodes * of_bank);
                    take(DataStep::Access { write, bank, banks, row, column, columns });
                } else if spec.data == DataDirection::Write {
                    take(DataStep::Load { columns });
                } else if spec.data == DataDirection::Read {
                    take(DataStep::Read { clears: true });
                } else if !matches!(spec.effect, Effect::Open | Effect::Close) {
                    return Err(format!("has the command {}, which no product is made of", step.command));
                }
            }
        }
        Ok(())
    }

    /// Accesses in the modes of a host's kernel.
    fn accesses(
        &self,
        kernel: &HostKernel,
        list: &[HostAccess],
        take: &mut dyn FnMut(&ChannelSet, DataStep),
    ) -> Result<(), String> {
        let (units, columns) = (kernel.units, self.machine.device.columns);
        let share = (self.machine.device.banks / units.blocks.max(1)).max(1);
        let registers = units.registers.max(1);
        let (mut all_banks, mut multiplies, mut loaded) = (false, false, 0);
        let mut take = |step| take(&self.all, step);
        for (i, a) in list.iter().enumerate() {
            let index = u64::from(a.row) * u64::from(columns) + u64::from(a.column);
            let of_unit = a.bank % share;
            if a.row == units.park_row {
                continue;
            }
            if a.write && a.row == units.enter_row && ENTER_BANKS.contains(&a.bank) {
                all_banks = true;
            } else if a.write && a.row == units.leave_row && ALL_BANK.contains(&a.bank) {
                (all_banks, multiplies) = (false, false);
            } else if all_banks && a.write && a.row == units.register_row {
                if a.column == 0 {
                    multiplies = !multiplies;
                } else if multiplies && a.column >= 8 {
                    // Registers are written one after the other.
                    loaded += 1;
                    let next = list.get(i + 1);
                    if next.is_none_or(|n| !n.write || n.row != units.register_row || n.column != a.column + 1) {
                        take(DataStep::Load { columns: loaded });
                        loaded = 0;
                    }
                }
            } else if all_banks && multiplies && !units.is_of_registers(a.row) {
                let sum = (index % u64::from(registers)) as u32;
                let (row, column) = (a.row, a.column);
                if a.write {
                    take(DataStep::Keep { bank: of_unit, row, column, sum });
                } else {
                    let buffer = Some((index / u64::from(registers) % u64::from(registers)) as u32);
                    take(DataStep::Multiply { bank: of_unit, row, column, columns: 1, buffer, sum });
                }
            } else if !all_banks && !units.is_of_registers(a.row) {
                let (write, bank, row, column) = (a.write, a.bank, a.row, a.column);
                take(DataStep::Access { write, bank, banks: 1, row, column, columns: 1 });
            } else {
                let what = if a.write { "writes" } else { "reads" };
                return Err(format!("{what} bank {} row {} column {} in no mode for it", a.bank, a.row, a.column));
            }
        }
        Ok(())
    }
}

fn instruction(
    set: &IsaSet,
    program: &Program,
    one: &PimInstruction,
    take: &mut dyn FnMut(&ChannelSet, DataStep),
) -> Result<(), String> {
    let channels = &program.channel_sets[one.channels as usize];
    let kind = set.kind(&one.name);
    let place = set.gemv.and_then(|g| g.kinds.iter().position(|k| Some(*k) == kind));
    let (row, column, columns) = (one.row, one.column, one.columns);
    let step = match place {
        Some(0) => DataStep::Load { columns },
        Some(1) => DataStep::Clear,
        Some(2) => DataStep::Multiply { bank: 0, row, column, columns, buffer: None, sum: 0 },
        Some(_) => DataStep::Read { clears: false },
        None if kind.is_some() && set.host[1..].contains(&kind) => {
            let write = kind == set.host[2];
            DataStep::Access { write, bank: one.bank, banks: 1, row, column, columns }
        }
        None => return Err(format!("has the instruction `{}`, which no product is made of", one.name)),
    };
    take(channels, step);
    Ok(())
}
