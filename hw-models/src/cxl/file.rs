//! The file of a machine of CXL devices.

use std::path::Path;

use banksia_input::{InputError, Source};
use serde::Deserialize;

use crate::dram::Device;

/// The machines embedded in the binary.
pub const CATALOG: [(&str, &str); 1] = [("cent", include_str!("../../catalog/cxl/cent.toml"))];

/// A machine of CXL devices with PIM channels.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CxlMachine {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Where its figures come from.
    #[serde(default)]
    pub source: String,
    /// The channels of a device.
    pub channels: Channels,
    /// The near-memory units of a device.
    pub units: Units,
    /// The links.
    pub link: Link,
    /// The host.
    pub host: Host,
    /// What draws how much.
    pub power: Power,
    /// What each command of the channels' DRAM does.
    #[serde(rename = "command")]
    pub commands: Vec<CommandUse>,
}

/// Channels of a device.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// The DRAM of a channel: a device with instructions of its own.
    pub device: String,
    /// The same with the timing rows of the simulator that a published result was made with, where they differ.
    pub artifact_device: Option<String>,
    /// How many.
    pub count: u32,
}

/// Near-memory units: as many adders, exponentials and reduction trees as channels, on one shared buffer, and cores.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// Their clock.
    pub clock_mhz: f64,
    /// Units of each kind.
    pub count: u32,
    /// Lanes of each.
    pub lanes: u32,
    /// An addition.
    pub add_cycles: u32,
    /// The length of an exponential's pipeline.
    pub exponential_cycles: u32,
    /// A reduction of a vector.
    pub reduction_cycles: u32,
    /// A vector out of the shared buffer.
    pub buffer_read_cycles: u32,
    /// A vector into it.
    pub buffer_write_cycles: u32,
    /// General-purpose cores.
    pub cores: u32,
    /// A core's part of a norm: a reciprocal root.
    pub norm_core_cycles: u32,
    /// A core's part of a head's softmax: a reciprocal.
    pub softmax_core_cycles: u32,
    /// A core's part of an element's rotary position.
    pub rotary_core_cycles: u32,
}

/// Links of the devices to a switch.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Lanes for all devices.
    pub lanes: u32,
    /// Rate of a lane, in one direction.
    pub gb_per_s_per_lane: f64,
    /// The share of it that is left where the switch sends to several.
    pub multicast_share: f64,
    /// Bytes of a flit.
    pub flit_bytes: u32,
    /// Messages of a flit.
    pub messages_per_flit: u32,
    /// Payload of a message.
    pub message_bytes: u32,
    /// A port, each time it is passed.
    pub port_latency_ns: f64,
    /// From port to port.
    pub wire_latency_ns: f64,
    /// The switch.
    pub switch_latency_ns: f64,
    /// Of a bit moved.
    pub energy_pj_per_bit: f64,
}

/// The host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Choosing a token.
    pub sampling_ms: f64,
}

/// Power.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Of the DRAM and its controllers.
    pub dram: DramPower,
    /// Of buffers.
    pub buffers: BufferPower,
    /// Of units.
    pub units: UnitPower,
}

/// Power of a channel of DRAM, and of what drives it, while it does one thing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the name says what the power is of
pub struct DramPower {
    pub active_standby_mw: f64,
    pub precharged_standby_mw: f64,
    pub activate_mw: f64,
    pub read_mw: f64,
    pub write_mw: f64,
    /// How long an activation draws its power.
    pub activate_ns: f64,
    /// How long a burst does.
    pub burst_ns: f64,
    /// How long an access of all banks does.
    pub internal_burst_ns: f64,
    /// An access of all banks, in reads.
    pub internal_factor: f64,
    pub pin_pj_per_bit: f64,
    /// A controller's transaction engine, a cycle for each access.
    pub transaction_mw: f64,
    /// Its physical interface, a cycle for each command.
    pub physical_mw: f64,
    /// Channels of a controller.
    pub channels_per_controller: f64,
}

/// Power of buffers while they are read or written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the name says what the power is of
pub struct BufferPower {
    pub global_static_mw: f64,
    pub global_read_mw: f64,
    pub global_write_mw: f64,
    pub shared_static_mw: f64,
    pub shared_read_mw: f64,
    pub shared_write_mw: f64,
    pub instruction_static_mw: f64,
    pub instruction_read_mw: f64,
}

/// Power of near-memory units.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the name says what the power is of
pub struct UnitPower {
    pub reduction_static_mw: f64,
    pub reduction_dynamic_mw: f64,
    pub exponential_static_mw: f64,
    pub exponential_dynamic_mw: f64,
    pub adder_static_mw: f64,
    pub adder_dynamic_mw: f64,
    pub control_static_mw: f64,
    pub control_dynamic_mw: f64,
    /// The share of time in which the control switches.
    pub control_activity: f64,
    pub core_mw: f64,
}

/// What an issue of some commands does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct CommandUse {
    /// The commands.
    pub names: String,
    /// Rows opened.
    pub activates: f64,
    /// Column accesses read, at the power of a read.
    pub reads: f64,
    /// Column accesses written, at that of a write.
    pub writes: f64,
    /// Accesses of all banks inside the device.
    pub internal: f64,
    /// Bursts over the pins.
    pub pins: f64,
    /// Reads of the global buffer.
    pub buffer_reads: f64,
    /// Writes of it.
    pub buffer_writes: f64,
}

impl CxlMachine {
    /// The machine of a name in the catalog, or a file that ends in `.toml`.
    ///
    /// # Errors
    /// There is none, or the file is no such machine.
    pub fn load(name: &str) -> Result<Self, InputError> {
        if Path::new(name).extension().is_some_and(|e| e == "toml") {
            return Self::read(&Source::read(Path::new(name))?);
        }
        let known = CATALOG.iter().map(|(n, _)| *n);
        let text = CATALOG.iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
        let text = text.ok_or_else(|| InputError::unknown_name("catalog", "machine of CXL devices", name, known))?;
        Self::read(&Source::from_text(format!("catalog:{name}"), text))
    }

    /// The machine of a file.
    ///
    /// # Errors
    /// It is not such a file, or a figure of it cannot be.
    pub fn read(source: &Source) -> Result<Self, InputError> {
        let machine: Self = source.parse()?;
        source.check("channels.count", machine.channels.count, 1..=1024)?;
        source.check("units.clock_mhz", machine.units.clock_mhz, 1e-3..=1e6)?;
        source.check("units.count", machine.units.count, 1..=1 << 16)?;
        source.check("units.lanes", machine.units.lanes, 1..=1 << 16)?;
        source.check("units.cores", machine.units.cores, 1..=1 << 16)?;
        source.check("link.lanes", machine.link.lanes, 1..=1 << 16)?;
        source.check("link.gb_per_s_per_lane", machine.link.gb_per_s_per_lane, 1e-6..=1e6)?;
        source.check("link.multicast_share", machine.link.multicast_share, 1e-6..=1.0)?;
        source.check("link.flit_bytes", machine.link.flit_bytes, 1..=1 << 20)?;
        source.check("link.messages_per_flit", machine.link.messages_per_flit, 1..=1 << 10)?;
        source.check("link.message_bytes", machine.link.message_bytes, 1..=1 << 20)?;
        source.check("host.sampling_ms", machine.host.sampling_ms, 0.0..=1e6)?;
        source.check("power.dram.channels_per_controller", machine.power.dram.channels_per_controller, 1e-3..=1e6)?;
        Ok(machine)
    }

    /// What each of a device's commands does, by its place.
    ///
    /// # Errors
    /// A name is no command of the device.
    pub fn uses(&self, device: &Device) -> Result<Vec<CommandUse>, InputError> {
        let mut uses = vec![CommandUse::default(); device.commands.len()];
        for (i, entry) in self.commands.iter().enumerate() {
            for name in entry.names.split_whitespace() {
                let command = device.command(name).ok_or_else(|| {
                    let problem = format!("names `{name}`, which is no command of {}", device.name);
                    InputError::new(format!("machine {}", self.name), problem).key(format!("command[{i}].names"))
                })?;
                if let Some(place) = uses.get_mut(command.0 as usize) {
                    place.clone_from(entry);
                }
            }
        }
        Ok(uses)
    }
}
