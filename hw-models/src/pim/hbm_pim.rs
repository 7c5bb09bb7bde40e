//! PIM units that the host drives by ordinary accesses: Samsung's HBM-PIM and its published kernels.
//!
//! A kernel is a list of reads and writes of one pseudo-channel, in groups that a barrier ends; every pseudo-channel runs the same list at the
//! same time. `host_controller.rs` says how the list is served.

use std::sync::Arc;

use banksia_input::{InputError, Source};

use super::host_controller::{ALL_BANK, ENTER_BANKS, HostController};
use super::outcome::{ChannelsOutcome, IsaOutcome};
use super::units::Units;
use crate::dram::device::Roles;
use crate::dram::{Device, catalog};
use crate::program::{ChannelSet, HostAccess};

/// A kernel being put together.
#[derive(Debug, Clone)]
pub struct HostKernel {
    pub(super) device: Arc<Device>,
    pub(super) units: Units,
    pub(super) roles: Roles,
    pub(super) accesses: Vec<HostAccess>,
    /// Reads in PIM mode multiply.
    multiplies: bool,
    keeps_commands: bool,
}

/// Accesses of the longest kernel.
const LONGEST: u64 = 1 << 24;

impl HostKernel {
    /// Channels at most.
    pub const MOST_CHANNELS: u32 = Units::MOST_CHANNELS;

    /// A kernel of no access, for a device that has such units.
    ///
    /// # Errors
    /// It has none, or not the commands to drive them.
    pub fn new(name: &str, device: &Arc<Device>) -> Result<Self, InputError> {
        Self::of(&catalog::open(name, None)?, device)
    }

    /// As [`HostKernel::new`], of a device file that has been opened.
    ///
    /// # Errors
    /// As there.
    pub fn of(source: &Source, device: &Arc<Device>) -> Result<Self, InputError> {
        let name = &device.name;
        let fail = |problem: &str| InputError::new(format!("device {name}"), problem);
        let raw = catalog::resolved_source(source)?
            .kernel
            .ok_or_else(|| fail("has no PIM units that ordinary accesses drive").key("kernel"))?;
        let roles = device.roles.ok_or_else(|| fail("has no activate, precharge, read and write"))?;
        if roles.activate_second.is_some() {
            return Err(fail("opens rows by two commands, and its PIM units are driven by one").key("kernel"));
        }
        let units = Units::of(source, &raw, device)?;
        Ok(Self { device: device.clone(), units, roles, accesses: Vec::new(), multiplies: true, keeps_commands: false })
    }

    /// Keeps every command that it will issue.
    #[must_use]
    pub fn keeping_commands(mut self) -> Self {
        self.keeps_commands = true;
        self
    }

    /// Channels of the machine.
    pub fn channels(&self) -> u32 {
        self.units.channels
    }

    /// The kernel of a machine of so many channels, or of a part of one.
    #[must_use]
    pub fn with_channels(mut self, channels: u32) -> Self {
        self.units.channels = channels;
        self
    }

    /// Multiply-accumulates of all blocks of a channel in a read in PIM mode.
    pub fn macs_of_read(&self) -> u64 {
        u64::from(self.units.blocks) * u64::from(self.units.lanes)
    }

    /// Bytes that the banks of a channel deliver to their blocks in a read in PIM mode.
    pub fn bytes_of_read(&self) -> u64 {
        u64::from(self.units.blocks) * u64::from(self.device.access_bytes)
    }

    /// The accesses so far.
    pub fn accesses(&self) -> &[HostAccess] {
        &self.accesses
    }

    /// Columns of every bank that a matrix takes, with room for the results; `None` where they cannot be counted.
    pub fn columns_of(&self, outputs: u64, inputs: u64) -> Option<u64> {
        let (output_tiles, input_tiles) = self.tiles(outputs, inputs);
        let registers = u64::from(self.units.registers);
        let weights =
            output_tiles.checked_mul(input_tiles.div_ceil(2)).and_then(|n| n.checked_mul(registers * registers))?;
        weights.checked_add(output_tiles.checked_mul(registers)?)
    }

    /// Where a weight lies of a matrix that begins at a column counted over the rows of its banks: the channel, the bank, and the column counted so.
    ///
    /// A unit's sums are in the register that the column's address says, its inputs in that of every eighth column (address-aligned mode: Samsung's
    /// public simulator, `PIMRank.cpp`).
    pub fn place_of(&self, (output, input): (u64, u64), inputs: u64, first_column: u64) -> (u32, u32, u64) {
        let (u, registers) = (self.units, u64::from(self.units.registers));
        let pairs = self.tiles(1, inputs).1.div_ceil(2);
        let (unit, register) = (output / registers, output % registers);
        let at_once = u64::from(u.channels.max(1)) * u64::from(u.blocks.max(1));
        let (tile, unit) = (unit / at_once, unit % at_once);
        let (channel, block) = (unit / u64::from(u.blocks.max(1)), unit % u64::from(u.blocks.max(1)));
        let lanes = u64::from(u.lanes.max(1));
        let (of_inputs, group) = (input / (lanes * registers), input / lanes % registers);
        let share = self.device.banks / u.blocks.clamp(1, self.device.banks);
        let bank = block as u32 * share + (of_inputs % 2) as u32;
        let column =
            first_column + registers * registers * (tile * pairs + of_inputs / 2) + group * registers + register;
        (channel as u32, bank, column)
    }

    /// Tiles of outputs and of inputs.
    fn tiles(&self, outputs: u64, inputs: u64) -> (u64, u64) {
        let u = self.units;
        let (blocks, registers) = (u64::from(u.channels) * u64::from(u.blocks), u64::from(u.registers));
        (outputs.div_ceil(blocks * registers), inputs.div_ceil(u64::from(u.lanes) * registers))
    }

    /// A matrix-vector product: tiles of `registers` outputs a block; for every `registers` x `lanes` inputs these are written to the
    /// registers and multiplied by as many columns, the even inputs' weights from the even bank, then the odd ones'.
    ///
    /// # Errors
    /// A side is nothing, or the weights do not fit.
    pub fn gemv(&mut self, outputs: u64, inputs: u64) -> Result<(), InputError> {
        let fail = |problem: &str| InputError::new("--gemv", problem);
        if outputs == 0 || inputs == 0 {
            return Err(fail("has a side of 0"));
        }
        let whole = self.columns_of(outputs, inputs);
        if whole.is_none_or(|w| w > self.capacity()) {
            return Err(fail("does not fit in the rows below the reserved ones"));
        }
        // Beside every column of weights, a column of inputs is written.
        Self::check_length("--gemv", whole.and_then(|w| w.checked_mul(2)))?;
        self.product(outputs, inputs, 0, 0);
        Ok(())
    }

    /// A product that fits, of a matrix that begins at a column counted over the rows of its banks, and whose outputs have room for `room` inputs where
    /// that is more than it has.
    pub fn product(&mut self, outputs: u64, inputs: u64, room: u64, first_column: u64) {
        let (u, registers) = (self.units, u64::from(self.units.registers));
        let (output_tiles, input_tiles) = self.tiles(outputs, inputs);
        let pairs = self.tiles(outputs, inputs.max(room)).1.div_ceil(2);
        let tile = registers * registers;
        let result = first_column + output_tiles * pairs * tile;
        self.enter(1);
        for output in 0..output_tiles {
            self.set_mode();
            for odd in 0..2u32 {
                for input in (u64::from(odd)..input_tiles).step_by(2) {
                    self.run(true, 1, u64::from(u.register_row) * u64::from(self.device.columns) + 8, registers);
                    let start = first_column + tile * (output * pairs + input / 2);
                    for group in 0..registers {
                        self.run(false, odd, start + group * registers, registers);
                    }
                }
            }
            self.run(true, 1, result + output * registers, registers);
            self.set_mode();
        }
        self.leave();
    }

    /// Ordinary accesses of columns of a bank in every channel, counted over its rows.
    pub fn access(&mut self, write: bool, bank: u32, first_column: u64, columns: u64) {
        self.run(write, bank, first_column, columns);
    }

    /// The host reads what a product left in the odd bank of every block: a column of lanes' sums for each of its outputs.
    pub fn results(&mut self, outputs: u64, inputs: u64, room: u64, first_column: u64) {
        let registers = u64::from(self.units.registers);
        let (output_tiles, input_tiles) = self.tiles(outputs, inputs.max(room));
        let result = first_column + output_tiles * input_tiles.div_ceil(2) * registers * registers;
        let share = self.device.banks / self.units.blocks.clamp(1, self.device.banks);
        for block in 0..self.units.blocks.min(self.device.banks) {
            let odd = (block * share + 1).min(self.device.banks - 1);
            self.run(false, odd, result, output_tiles * registers);
        }
    }

    /// The sum of two vectors: a register file's worth of one is read in every bank, added to the other's, and written.
    ///
    /// # Errors
    /// There is nothing to add, or it does not fit.
    pub fn add(&mut self, elements: u64) -> Result<(), InputError> {
        let u = self.units;
        let registers = u64::from(u.registers);
        let at_once = u64::from(u.channels) * u64::from(self.device.banks) * registers * u64::from(u.lanes);
        let tiles = elements.div_ceil(at_once);
        let columns = u64::from(self.device.columns);
        let operand = tiles.checked_mul(registers).and_then(|n| n.div_ceil(columns).checked_mul(columns));
        let operand = operand.filter(|o| o.checked_mul(3).is_some_and(|n| n <= self.capacity()));
        let Some(operand) = operand.filter(|_| elements > 0) else {
            return Err(InputError::new("--add", "is nothing, or does not fit in the rows below the reserved ones"));
        };
        Self::check_length("--add", operand.checked_mul(6))?;
        self.multiplies = false;
        self.enter(1);
        self.set_mode();
        for tile in 0..tiles {
            for bank in 0..2 {
                self.run(false, bank, tile * registers, registers);
                self.run(false, bank, operand + tile * registers, registers);
                self.run(true, bank, 2 * operand + tile * registers, registers);
            }
        }
        self.set_mode();
        self.leave();
        Ok(())
    }

    /// Columns of a bank in the rows below the reserved ones.
    pub fn capacity(&self) -> u64 {
        let u = self.units;
        let rows = u.register_row.min(u.enter_row).min(u.leave_row).min(u.park_row);
        u64::from(rows) * u64::from(self.device.columns)
    }

    /// A kernel's accesses are kept, each of them.
    fn check_length(key: &str, accesses: Option<u64>) -> Result<(), InputError> {
        match accesses {
            Some(n) if n <= LONGEST => Ok(()),
            _ => Err(InputError::new(key, format!("takes more than the {LONGEST} accesses that a kernel may have"))
                .help("run it in parts")),
        }
    }

    /// Accesses of one bank from a column counted over its rows, and a barrier.
    fn run(&mut self, write: bool, bank: u32, start: u64, count: u64) {
        let columns = u64::from(self.device.columns);
        for at in start..start + count {
            self.push(write, bank, (at / columns) as u32, (at % columns) as u32);
        }
        self.barrier();
    }

    fn push(&mut self, write: bool, bank: u32, row: u32, column: u32) {
        self.accesses.push(HostAccess { write, bank, row, column, barrier: false });
    }

    fn barrier(&mut self) {
        if let Some(last) = self.accesses.last_mut() {
            last.barrier = true;
        }
    }

    /// Every bank opens a row of memory.
    fn park(&mut self) {
        let groups = self.device.banks / 4;
        for bank in 0..4 {
            for group in 0..groups {
                self.push(false, group * 4 + bank, self.units.park_row, 0);
            }
        }
        self.barrier();
    }

    /// From single-bank to all-bank mode, and the program of the units.
    fn enter(&mut self, instructions: u32) {
        self.park();
        let last = self.device.columns - 1;
        for bank in ENTER_BANKS {
            self.push(true, bank, self.units.enter_row, last);
        }
        self.barrier();
        for i in 0..instructions {
            self.push(true, 1, self.units.register_row, 4 + i);
        }
        self.barrier();
    }

    /// To PIM mode or back.
    fn set_mode(&mut self) {
        self.push(true, 0, self.units.register_row, 0);
        self.barrier();
    }

    /// Back to single-bank mode.
    fn leave(&mut self) {
        let last = self.device.columns - 1;
        for bank in ALL_BANK {
            self.push(true, bank, self.units.leave_row, last);
        }
        self.barrier();
        self.park();
    }

    /// Runs the kernel.
    ///
    /// # Errors
    /// Refresh is asked for, and the device has none; or an access can never be served.
    pub fn execute(&self, refresh: bool) -> Result<IsaOutcome, InputError> {
        let device = &*self.device;
        let refresh = match (refresh, device.refresh) {
            (true, None) => {
                let problem = "has no refresh to issue: give [refresh], or switch refresh off";
                return Err(InputError::new(format!("device {}", device.name), problem));
            }
            (true, some) => some,
            (false, _) => None,
        };
        let mut controller = HostController::new(&self.device, self.units, self.roles, refresh);
        controller.set_multiplies(self.multiplies);
        if self.keeps_commands {
            controller.keep_commands();
        }
        let cycles = controller.serve(&self.accesses, 0).map_err(|problem| {
            let help = "compare the reserved rows, and the time of a group of accesses with that between two refreshes";
            InputError::new(format!("device {}", device.name), problem).key("kernel").help(help)
        })?;
        let channel = controller.channel();
        let (active_cycles, standby_nodes) = (channel.active_cycles(cycles), channel.standby_nodes());
        let tally = controller.tally().clone();
        let one = ChannelsOutcome {
            members: ChannelSet::first(self.units.channels),
            counts: tally.counts().to_vec(),
            active_cycles,
            touched: tally.touched().to_vec(),
            commands: tally.into_commands(),
        };
        Ok(IsaOutcome::new(cycles, standby_nodes, vec![one]))
    }
}
