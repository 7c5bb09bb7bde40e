//! The file of an NPU with near-memory channels.

use std::path::Path;

use banksia_input::{InputError, Source};
use serde::Deserialize;

/// The machines embedded in the binary.
pub const CATALOG: [(&str, &str); 1] = [("h2-llm", include_str!("../../catalog/nmp/h2-llm.toml"))];

/// An NPU and its memory.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NmpMachine {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Where its figures come from.
    #[serde(default)]
    pub source: String,
    /// The NPU.
    pub npu: Npu,
    /// The channels of its memory.
    pub channels: Channels,
    /// The processor beside each bank of a near-memory channel.
    pub processor: Processor,
}

/// An NPU.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Npu {
    /// Multiply-accumulates at its peak.
    pub tmac_per_s: f64,
    /// The share of the peak that it reaches.
    pub compute_share: f64,
    /// The share of the memory's rate that it reaches.
    pub bandwidth_share: f64,
}

/// Channels.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// All.
    pub count: u32,
    /// Those with processors.
    pub near_memory: u32,
    /// Rate of one over its pins.
    pub bandwidth_gb_per_s: f64,
}

/// A processor beside a bank.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// Banks of a channel: as many processors.
    pub banks: u32,
    /// Arithmetic units of a processor.
    pub units: u32,
    /// Multiply-accumulates of a unit in a cycle.
    pub lanes: u32,
    /// Their clock.
    pub clock_mhz: f64,
    /// Rate at which a bank feeds its processor.
    pub bandwidth_gb_per_s: f64,
}

impl NmpMachine {
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
        let text = text.ok_or_else(|| InputError::unknown_name("catalog", "near-memory machine", name, known))?;
        Self::read(&Source::from_text(format!("catalog:{name}"), text))
    }

    /// The machine of a file.
    ///
    /// # Errors
    /// It is not such a file, or a figure of it cannot be.
    pub fn read(source: &Source) -> Result<Self, InputError> {
        let machine: Self = source.parse()?;
        machine.check(source)?;
        Ok(machine)
    }

    /// Whether its figures can be.
    ///
    /// # Errors
    /// One cannot.
    pub fn check(&self, source: &Source) -> Result<(), InputError> {
        source.check("npu.tmac_per_s", self.npu.tmac_per_s, 1e-6..=1e9)?;
        source.check("npu.compute_share", self.npu.compute_share, 1e-6..=1.0)?;
        source.check("npu.bandwidth_share", self.npu.bandwidth_share, 1e-6..=1.0)?;
        source.check("channels.count", self.channels.count, 1..=1 << 16)?;
        source.check("channels.near_memory", self.channels.near_memory, 0..=self.channels.count)?;
        source.check("channels.bandwidth_gb_per_s", self.channels.bandwidth_gb_per_s, 1e-6..=1e9)?;
        source.check("processor.banks", self.processor.banks, 1..=1 << 16)?;
        source.check("processor.units", self.processor.units, 1..=1 << 16)?;
        source.check("processor.lanes", self.processor.lanes, 1..=1 << 16)?;
        source.check("processor.clock_mhz", self.processor.clock_mhz, 1e-3..=1e9)?;
        source.check("processor.bandwidth_gb_per_s", self.processor.bandwidth_gb_per_s, 1e-6..=1e9).map(|_| ())
    }
}
