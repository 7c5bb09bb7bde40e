//! A PIM machine as its TOML file writes it: channels of one DRAM device, a link, and a vector unit.

use std::sync::Arc;

use banksia_input::{InputError, Source};
use banksia_sim::{Clock, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::Drive;
use super::vector::VectorUnit;
use crate::dram::Device;

/// Channels of a machine at most: each has books of its own.
const MOST_CHANNELS: u32 = 65_536;

/// A machine file of kind `pim`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PimFile {
    /// The machine's name.
    pub name: String,
    /// Always `pim`.
    #[schemars(extend("const" = "pim"))]
    pub kind: String,
    /// What it is, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Where the numbers come from.
    #[serde(default)]
    pub source: String,
    /// The PIM channels.
    pub memory: MemoryFile,
    /// Between the channels and the vector unit.
    pub link: LinkFile,
    /// The vector unit.
    pub vector_unit: VectorUnitFile,
}

/// The PIM channels of a machine.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryFile {
    /// The DRAM device: a name in the catalog, or a TOML file's path.
    pub device: String,
    /// How many channels.
    pub channels: u32,
    /// Whether the channels refresh. A report of a run without refresh says so.
    #[serde(default = "yes")]
    pub refresh: bool,
}

fn yes() -> bool {
    true
}

/// The link between channels and vector unit. Its rate is the channels' pins'; this is what it adds.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PimLinkFile")]
pub struct LinkFile {
    /// From the last beat on the pins to the vector unit's SRAM, and back, each way, nanoseconds.
    pub latency_ns: f64,
}

/// The vector unit of a machine.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VectorUnitFile {
    /// Its clock, MHz.
    pub clock_mhz: f64,
    /// Adders, each of which begins an addition a cycle.
    pub adders: u64,
    /// Multipliers, each of which begins a multiplication a cycle.
    pub multipliers: u64,
    /// Latency of an addition, cycles.
    pub add_latency_cycles: u64,
    /// Latency of a multiplication, cycles.
    pub multiply_latency_cycles: u64,
    /// Capacity of the SRAM, bytes; an instruction that finds no room in it waits.
    pub sram_bytes: u64,
    /// Read port of the SRAM, bytes a cycle.
    pub sram_read_bytes_per_cycle: u64,
    /// Write port of the SRAM, bytes a cycle.
    pub sram_write_bytes_per_cycle: u64,
    /// Power while it works, mW.
    pub active_mw: f64,
    /// Power while it does not, mW; at most `active_mw`.
    pub idle_mw: f64,
    /// How functions are made of additions and multiplications.
    pub series: SeriesFile,
}

/// How many terms and iterations the vector unit's functions take.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeriesFile {
    /// Terms of the series of exp, one multiplication and one addition each.
    pub exp_terms: u32,
    /// Newton iterations of a reciprocal, two multiplications and one addition each.
    pub reciprocal_iterations: u32,
    /// Newton iterations of a reciprocal square root, three multiplications and one addition each.
    pub rsqrt_iterations: u32,
    /// Terms of the series of tanh, one multiplication and one addition each.
    pub tanh_terms: u32,
}

/// A PIM machine, checked.
#[derive(Debug, Clone)]
pub struct PimMachine {
    /// The file.
    pub file: PimFile,
    /// The DRAM device of every channel.
    pub device: Arc<Device>,
    /// The channels' clock.
    pub memory_clock: Clock,
    /// The vector unit's clock.
    pub vector_clock: Clock,
    /// Link latency, each way.
    pub link_latency: Time,
    /// The vector unit.
    pub vector_unit: VectorUnit,
    /// How the channels are driven.
    pub drive: Drive,
}

impl PimMachine {
    /// Checks a machine file against a device that has been loaded from a file. Errors name the keys of `source`.
    ///
    /// # Errors
    /// A value is out of range, or the device cannot be driven.
    pub fn new(
        file: PimFile,
        device: Arc<Device>,
        source: &Source,
        device_source: &Source,
    ) -> Result<Self, InputError> {
        if file.kind != "pim" {
            return Err(source
                .error("kind", format!("is `{}`", file.kind))
                .help("this machine's keys are those of kind `pim`; for a GPU, let machine.base name one"));
        }
        source.check("memory.channels", file.memory.channels, 1..=MOST_CHANNELS)?;
        source.check("link.latency_ns", file.link.latency_ns, 0.0..=1e6)?;
        let v = &file.vector_unit;
        let key = |k: &str| format!("vector_unit.{k}");
        let counts = [
            ("adders", v.adders, 1),
            ("multipliers", v.multipliers, 1),
            ("add_latency_cycles", v.add_latency_cycles, 0),
            ("multiply_latency_cycles", v.multiply_latency_cycles, 0),
            ("sram_read_bytes_per_cycle", v.sram_read_bytes_per_cycle, 1),
            ("sram_write_bytes_per_cycle", v.sram_write_bytes_per_cycle, 1),
        ];
        for (name, value, least) in counts {
            source.check(&key(name), value, least..=1 << 32)?;
        }
        source.check(&key("sram_bytes"), v.sram_bytes, 1..=1 << 50)?;
        source.check(&key("active_mw"), v.active_mw, 0.0..=1e9)?;
        source.check(&key("idle_mw"), v.idle_mw, 0.0..=v.active_mw)?;
        source.check(&key("series.exp_terms"), v.series.exp_terms, 1..=64)?;
        source.check(&key("series.tanh_terms"), v.series.tanh_terms, 1..=64)?;
        source.check(&key("series.reciprocal_iterations"), v.series.reciprocal_iterations, 1..=64)?;
        source.check(&key("series.rsqrt_iterations"), v.series.rsqrt_iterations, 1..=64)?;
        source.check(&key("clock_mhz"), v.clock_mhz, 1e-3..=1e6)?;
        let vector_clock = Clock::from_mhz(v.clock_mhz).map_err(|e| source.error(&key("clock_mhz"), e.to_string()))?;
        let memory_clock = Clock::from_period_ps(device.clock_fs as f64 / 1000.0)
            .map_err(|e| source.error("memory.device", e.to_string()))?;
        let link_latency =
            Time::from_ns_f64(file.link.latency_ns).map_err(|e| source.error("link.latency_ns", e.to_string()))?;
        let vector_unit = VectorUnit {
            adders: v.adders,
            multipliers: v.multipliers,
            add_latency: v.add_latency_cycles,
            multiply_latency: v.multiply_latency_cycles,
            sram_read_bytes_per_cycle: v.sram_read_bytes_per_cycle,
            sram_write_bytes_per_cycle: v.sram_write_bytes_per_cycle,
            sram_bytes: v.sram_bytes,
        };
        let drive = Drive::new(device_source, &device, file.memory.channels, file.memory.refresh)?;
        Ok(Self { file, device, memory_clock, vector_clock, link_latency, vector_unit, drive })
    }

    /// Gives it another number of channels; `None`, and nothing is done, where there cannot be so many.
    pub fn set_channels(&mut self, channels: u32) -> Option<()> {
        if !(1..=MOST_CHANNELS).contains(&channels) {
            return None;
        }
        self.file.memory.channels = channels;
        self.drive = match &self.drive {
            Drive::Patterns => Drive::Patterns,
            Drive::Instructions(isa) => {
                let set = isa.set().clone().with_channels(channels);
                let machine = super::IsaMachine::new(Arc::clone(&self.device), set, self.file.memory.refresh);
                Drive::Instructions(machine.ok()?)
            }
            Drive::Accesses(kernel) => Drive::Accesses(kernel.clone().with_channels(channels)),
        };
        Some(())
    }

    /// How many channels.
    pub fn channels(&self) -> u32 {
        self.file.memory.channels
    }

    /// Bytes of all channels.
    pub fn capacity_bytes(&self) -> u64 {
        self.device.capacity_bytes() * u64::from(self.channels())
    }
}
