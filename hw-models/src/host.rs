//! The host of a node as data: its processors' memory, and the links between it and the devices (`catalog/hosts/*.toml`).

use banksia_input::{InputError, Source};
use serde::{Deserialize, Serialize};

/// The host of a node. The files say where each number comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// The catalog's name.
    pub name: String,
    /// Where the numbers come from.
    pub source: String,
    /// GPUs of the node, which share the processors' memory where all are at work.
    pub gpus: u32,
    /// Cores of all processors.
    pub cores: u32,
    /// Bandwidth of all channels of memory, GB/s.
    pub memory_gb_s: f64,
    /// Share of it that streams reach.
    pub memory_efficiency: f64,
    /// Memory, GiB.
    pub memory_gib: u64,
    /// The way between pinned memory and a device.
    pub link: HostLinkSpec,
}

/// The way between pinned memory of a host and a device's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLinkSpec {
    /// GB/s, one way, after the line code.
    pub raw_gb_s: f64,
    /// Bytes of a packet's payload.
    pub payload_bytes: f64,
    /// Bytes of a packet beside it: framing, sequence number, header, checksum, its share of acknowledgements and credits.
    pub overhead_bytes: f64,
    /// From a copy's launch to its first byte, and from its last to its end, us.
    pub start_us: f64,
    /// GPUs that share it.
    pub gpus: u32,
}

impl HostLinkSpec {
    /// Bytes a second of payload, one way, while so many GPUs of those that share it copy.
    pub fn bytes_per_s(&self, sharing: u32) -> f64 {
        let payload = self.payload_bytes / (self.payload_bytes + self.overhead_bytes);
        self.raw_gb_s * 1e9 * payload / f64::from(sharing.clamp(1, self.gpus.max(1)))
    }

    /// Seconds of a copy of so many bytes by itself.
    pub fn seconds(&self, bytes: u64) -> f64 {
        self.start_us * 1e-6 + bytes as f64 / self.bytes_per_s(1)
    }
}

impl HostSpec {
    /// Bytes a second of memory that each of so many GPUs' processes reaches.
    pub fn memory_bytes_per_s(&self, processes: u32) -> f64 {
        self.memory_gb_s * 1e9 * self.memory_efficiency / f64::from(processes.clamp(1, self.gpus.max(1)))
    }
}

const CATALOG: [(&str, &str); 3] = [
    ("dgx-a100", include_str!("../catalog/hosts/dgx-a100.toml")),
    ("dgx-h100", include_str!("../catalog/hosts/dgx-h100.toml")),
    ("dgx-h200", include_str!("../catalog/hosts/dgx-h200.toml")),
];

/// Names of the catalog.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOG.iter().map(|(name, _)| *name)
}

/// A host of the catalog.
///
/// # Errors
/// The name is not in the catalog, or a number cannot be.
pub fn host(name: &str) -> Result<HostSpec, InputError> {
    let Some((n, text)) = CATALOG.iter().find(|(n, _)| *n == name) else {
        return Err(InputError::unknown_name(name, "host", name, names()));
    };
    let source = Source::from_text(format!("{n}.toml"), *text);
    let spec: HostSpec = source.parse()?;
    let numbers = [
        ("memory_gb_s", spec.memory_gb_s),
        ("memory_efficiency", spec.memory_efficiency),
        ("link.raw_gb_s", spec.link.raw_gb_s),
        ("link.payload_bytes", spec.link.payload_bytes),
    ];
    match numbers.iter().find(|(_, v)| !v.is_finite() || *v <= 0.0) {
        Some((key, v)) => Err(source.error(key, format!("is {v}: must be more than nothing"))),
        None => Ok(spec),
    }
}

/// The host of NVIDIA's own machine of a GPU, by the catalog's name of the GPU; that of the H100's where there is none.
///
/// # Errors
/// Its file cannot be read.
pub fn of_gpu(gpu: &str) -> Result<HostSpec, InputError> {
    let name = match gpu {
        g if g.starts_with("a100") => "dgx-a100",
        g if g.starts_with("h200") => "dgx-h200",
        _ => "dgx-h100",
    };
    host(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_of_the_catalog_reads_and_shares_what_it_has() {
        for name in names() {
            let spec = host(name);
            assert!(spec.is_ok(), "{spec:?}");
            let Ok(spec) = spec else { continue };
            assert!((spec.memory_bytes_per_s(8) * 8.0 / spec.memory_bytes_per_s(1) - 1.0).abs() < 1e-12);
            assert!(spec.link.bytes_per_s(1) < spec.link.raw_gb_s * 1e9);
        }
        assert!(host("dgx-a10").is_err());
    }

    #[test]
    fn copies_take_what_they_take_on_an_h200() {
        // `copy_h2d` in operators.csv: 64 KiB 4.1 us, 1 MiB 21.8 us, 256 MiB 4.85 ms.
        let Ok(spec) = host("dgx-h200") else { return };
        for (bytes, us) in [(64u64 << 10, 4.1), (1 << 20, 21.8), (256 << 20, 4850.0)] {
            let error = spec.link.seconds(bytes) * 1e6 / us - 1.0;
            assert!(error.abs() < 0.02, "{bytes}: {error}");
        }
    }
}
