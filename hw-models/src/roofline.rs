//! Devices as plain rooflines: peak arithmetic, peak bandwidth and board power from their data sheets, and nothing else.
//! They are for scale beside a simulated result, not models of those devices.

pub mod node;
pub mod nodes;
pub mod stacks;
mod tiles;

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

const EMBEDDED: &[(&str, &str)] = &[
    ("t4", include_str!("../catalog/rooflines/t4.toml")),
    ("xeon-gold-6154", include_str!("../catalog/rooflines/xeon-gold-6154.toml")),
    ("h200", include_str!("../catalog/rooflines/h200.toml")),
];

/// A device's roofline.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Roofline {
    /// Its name.
    pub name: String,
    /// Where the figures come from.
    pub source: String,
    /// Peak arithmetic rate at 16 bits where the device has it, multiply and add counted as two.
    pub peak_tflop_per_s: f64,
    /// Peak rate of its memory.
    pub bandwidth_gb_per_s: f64,
    /// Board or socket power at its limit.
    pub power_w: f64,
}

impl Roofline {
    /// The roofline of a name.
    ///
    /// # Errors
    /// There is no such device.
    pub fn load(name: &str) -> Result<Self, InputError> {
        let (name, text) = EMBEDDED
            .iter()
            .find(|(n, _)| *n == name)
            .ok_or_else(|| InputError::unknown_name("catalog", "roofline", name, names()))?;
        let source = Source::from_text(format!("catalog:{name}"), *text);
        let roofline: Self = source.parse()?;
        source.check("peak_tflop_per_s", roofline.peak_tflop_per_s, 1e-6..=1e9)?;
        source.check("bandwidth_gb_per_s", roofline.bandwidth_gb_per_s, 1e-6..=1e9)?;
        source.check("power_w", roofline.power_w, 1e-3..=1e9)?;
        Ok(roofline)
    }

    /// The least time in which the device could do some operations on some bytes.
    pub fn seconds(&self, flops: f64, bytes: f64) -> f64 {
        (flops / (self.peak_tflop_per_s * 1e12)).max(bytes / (self.bandwidth_gb_per_s * 1e9))
    }
}

/// The names of the devices.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name)
}

/// The TOML of a device.
pub fn text(name: &str) -> Option<&'static str> {
    EMBEDDED.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}
