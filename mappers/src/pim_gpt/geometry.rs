//! What the mapping needs to know of a PIM device: sizes, and the commands that play each part.

use banksia_hw::pim::PimMachine;
use banksia_input::{InputError, Source};
use banksia_workloads::DataType;

/// Sizes of a channel in elements and columns, and the names of its commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub channels: u32,
    /// Banks of a channel, each with a multiply-accumulate unit.
    pub banks: u32,
    /// Columns of a row.
    pub columns: u32,
    /// Rows of a bank.
    pub rows: u32,
    /// Elements of a column: lanes of a multiply-accumulate unit.
    pub lanes: u64,
    /// Columns that the global buffer holds.
    pub buffer_columns: u32,
    pub element_bytes: u64,
    pub column_bytes: u64,
    pub mac: String,
    pub read_result: String,
    pub write_buffer: String,
    pub open_all: String,
    pub close_all: String,
    pub read: String,
    pub write: String,
}

impl Geometry {
    /// Reads a machine's device.
    ///
    /// # Errors
    /// The device lacks a command or a parameter that the mapping uses, or the type does not fill its lanes.
    pub(crate) fn new(machine: &PimMachine, dtype: DataType, source: &Source) -> Result<Self, InputError> {
        let device = &machine.device;
        let command = |name: &str| {
            if device.command(name).is_some() {
                return Ok(name.to_owned());
            }
            let problem = format!("is `{}`, which has no command `{name}`", device.name);
            Err(source
                .error("memory.device", problem)
                .help("the pim-gpt mapping issues ACT16, MAC16, RDMAC16, WRGB, RD, WR and PREab"))
        };
        let bits = dtype.bits();
        let column_bytes = u64::from(device.access_bytes);
        if bits < 8 || (column_bytes * 8) % bits != 0 {
            let problem = format!("has {column_bytes}-byte columns, which {} elements do not fill", dtype.name());
            return Err(source.error("memory.device", problem).help("use a model of bf16 or f16"));
        }
        let macs = device.command("MAC16").map_or(0, |c| u64::from(device.spec(c).macs));
        let (lanes, units) = (column_bytes * 8 / bits, u64::from(device.banks));
        if macs != 0 && macs != lanes * units {
            let problem = format!(
                "has units of {} lanes, and a column holds {lanes} elements of {}: they do not multiply that type",
                macs / units.max(1),
                dtype.name()
            );
            let help = "use a model of the type that the units multiply (workload.dtype), or change `macs` of MAC16";
            return Err(source.error("memory.device", problem).help(help));
        }
        let buffer = device.timing("global_buffer_bytes").ok_or_else(|| {
            let problem = format!("is `{}`, which has no `global_buffer_bytes` under [parameters]", device.name);
            source.error("memory.device", problem)
        })?;
        let buffer_columns = (buffer / f64::from(device.access_bytes)).floor();
        if buffer_columns < 1.0 {
            return Err(
                source.error("memory.device", format!("has a global buffer of {buffer} bytes: less than a column"))
            );
        }
        Ok(Self {
            channels: machine.channels(),
            banks: device.banks,
            columns: device.columns,
            rows: device.rows,
            lanes: column_bytes * 8 / bits,
            buffer_columns: buffer_columns.min(f64::from(device.columns)) as u32,
            element_bytes: bits / 8,
            column_bytes,
            mac: command("MAC16")?,
            read_result: command("RDMAC16")?,
            write_buffer: command("WRGB")?,
            open_all: command("ACT16")?,
            close_all: command("PREab")?,
            read: command("RD")?,
            write: command("WR")?,
        })
    }

    /// Columns that some elements take.
    pub(crate) fn columns_of(&self, elements: u64) -> u64 {
        elements.div_ceil(self.lanes)
    }

    /// Multiply-accumulate units in all.
    pub(crate) fn units(&self) -> u64 {
        u64::from(self.channels) * u64::from(self.banks)
    }

    /// The groups of `groups` (one output for each bank) that a channel has: group `g` is the channel `g mod channels`'s.
    /// Returns the fewest that any has, and how many of the first channels have one more.
    pub(crate) fn share(&self, groups: u64) -> (u32, u32) {
        let channels = u64::from(self.channels);
        ((groups / channels) as u32, (groups % channels) as u32)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn geometry() -> Geometry {
        Geometry {
            channels: 8,
            banks: 16,
            columns: 64,
            rows: 16384,
            lanes: 16,
            buffer_columns: 64,
            element_bytes: 2,
            column_bytes: 32,
            mac: "MAC16".into(),
            read_result: "RDMAC16".into(),
            write_buffer: "WRGB".into(),
            open_all: "ACT16".into(),
            close_all: "PREab".into(),
            read: "RD".into(),
            write: "WR".into(),
        }
    }
}
