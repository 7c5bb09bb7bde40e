//! The `[kernel]` table of a device, checked: PIM units that ordinary accesses drive.

use banksia_input::{InputError, Source};

use crate::dram::table::RawKernel;
use crate::dram::{CommandId, Device};

/// The units of a pseudo-channel, and how accesses drive them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units {
    pub(super) channels: u32,
    pub(super) blocks: u32,
    pub(super) registers: u32,
    pub(super) lanes: u32,
    pub(super) register_row: u32,
    pub(super) enter_row: u32,
    pub(super) leave_row: u32,
    pub(super) park_row: u32,
    pub(super) counted: Counted,
}

/// As which commands accesses count where they are not what they seem: these have the energy, the bytes and the
/// multiply-accumulates of what is done. On the command bus they are ordinary activations, reads and writes, and keep their timing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) activate_all: CommandId,
    pub(super) read_all: CommandId,
    pub(super) multiply_all: CommandId,
    pub(super) write_all: CommandId,
    pub(super) write_register: CommandId,
}

impl Units {
    /// Channels at most.
    pub(super) const MOST_CHANNELS: u32 = 1024;

    /// The units of a device.
    ///
    /// # Errors
    /// A key is missing or out of range, or names no command.
    pub(super) fn of(source: &Source, raw: &RawKernel, device: &Device) -> Result<Self, InputError> {
        let need = |key: &str, value: Option<u32>| {
            value.ok_or_else(|| source.error(&format!("kernel.{key}"), "is missing, here and in the base"))
        };
        let command = |key: &str, name: &Option<String>| {
            let key = format!("kernel.{key}");
            let Some(name) = name else {
                let help = "name the command of the table that has the energy of such an access";
                return Err(source.error(&key, "is missing, here and in the base").help(help));
            };
            let known = device.commands.iter().map(|c| c.name.as_str());
            device.command(name).ok_or_else(|| source.unknown_name(&key, "command", name, known))
        };
        if device.banks < 10 || !device.banks.is_multiple_of(4) {
            let problem = format!("is for ten banks or more, in fours: {} has {}", device.name, device.banks);
            return Err(source.error("kernel", problem));
        }
        let units = Self {
            channels: source.check("kernel.channels", need("channels", raw.channels)?, 1..=Self::MOST_CHANNELS)?,
            blocks: source.check("kernel.blocks", need("blocks", raw.blocks)?, 1..=device.banks)?,
            registers: source.check("kernel.registers", need("registers", raw.registers)?, 1..=1024)?,
            lanes: source.check("kernel.lanes", need("lanes", raw.lanes)?, 1..=65_536)?,
            register_row: need("register_row", raw.register_row)?,
            enter_row: need("enter_row", raw.enter_row)?,
            leave_row: need("leave_row", raw.leave_row)?,
            park_row: need("park_row", raw.park_row)?,
            counted: Counted {
                activate_all: command("activate_all", &raw.activate_all)?,
                read_all: command("read_all", &raw.read_all)?,
                multiply_all: command("multiply_all", &raw.multiply_all)?,
                write_all: command("write_all", &raw.write_all)?,
                write_register: command("write_register", &raw.write_register)?,
            },
        };
        let rows = [
            ("register_row", units.register_row),
            ("enter_row", units.enter_row),
            ("leave_row", units.leave_row),
            ("park_row", units.park_row),
        ];
        for (i, (key, row)) in rows.iter().enumerate() {
            source.check(&format!("kernel.{key}"), *row, 0..=device.rows - 1)?;
            // Opening one must not be taken for another: the banks would change their mode for nothing.
            if let Some((other, _)) = rows[..i].iter().find(|(_, r)| r == row) {
                let problem = format!("is {row}, as `kernel.{other}` is: each reserved row needs to be another");
                return Err(source.error(&format!("kernel.{key}"), problem));
            }
        }
        Ok(units)
    }

    /// Whether a row is one of registers and modes, and holds no data.
    pub(super) fn is_of_registers(&self, row: u32) -> bool {
        [self.register_row, self.enter_row, self.leave_row].contains(&row)
    }

    /// The banks on which an access of a bank acts in the all-bank modes: the same one of every block.
    pub(super) fn banks_of_all(&self, banks: u32, bank: u32) -> impl Iterator<Item = u32> {
        let share = (banks / self.blocks.max(1)).max(1);
        (0..self.blocks).map(move |block| block * share + bank % share).filter(move |b| *b < banks)
    }
}
