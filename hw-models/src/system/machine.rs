//! Machine files: a lone device, or several with links between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(super) mod schema;

use banksia_input::{InputError, Source};
use banksia_sim::Time;
use schemars::JsonSchema;
use serde::Deserialize;

use super::fabric::FabricSpec;
use crate::dram;
use crate::gpu::GpuSpec;
use crate::gpu::program::Dtype;
use crate::machines;
use crate::pim::{PimFile, PimMachine, peak_bandwidth_bytes_per_s, peak_macs_per_s};

/// One device of a machine.
#[derive(Debug, Clone)]
pub enum Device {
    /// Memory that computes, and the vector unit beside it.
    Pim(Arc<PimMachine>),
    /// A GPU.
    Gpu(Arc<GpuSpec>),
}

/// What a reader of a result needs to know of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DeviceFacts {
    /// Peak arithmetic rate, multiply and add counted as two.
    pub peak_flops_per_s: f64,
    /// Peak rate at which operands reach the arithmetic units from memory.
    pub peak_bandwidth_bytes_per_s: f64,
    /// Bytes of its memory.
    pub capacity_bytes: u64,
}

impl Device {
    /// What it is at its best, with operands of a type.
    pub fn facts(&self, dtype: Dtype) -> DeviceFacts {
        match self {
            Self::Pim(machine) => DeviceFacts {
                peak_flops_per_s: 2.0 * peak_macs_per_s(machine),
                peak_bandwidth_bytes_per_s: peak_bandwidth_bytes_per_s(machine),
                capacity_bytes: machine.capacity_bytes(),
            },
            Self::Gpu(spec) => DeviceFacts {
                peak_flops_per_s: spec.tensor_peak_flops_per_s(dtype),
                peak_bandwidth_bytes_per_s: spec.dram_peak_bytes_per_s(),
                capacity_bytes: spec.dram.capacity_bytes,
            },
        }
    }

    /// The name of its file.
    pub fn name(&self) -> &str {
        match self {
            Self::Pim(machine) => &machine.file.name,
            Self::Gpu(spec) => &spec.name,
        }
    }
}

/// A link between two devices.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkSpec {
    /// Its name.
    pub name: String,
    /// Its ends: places among the machine's devices.
    pub between: [usize; 2],
    /// Of each direction.
    pub bandwidth_bytes_per_s: f64,
    /// From one end to the other.
    pub latency: Time,
    /// Of a bit moved.
    pub energy_pj_per_bit: f64,
}

/// Devices that use the same memory and not at once: processing in the memory of a GPU. While one of them works on the memory,
/// the other does not; changing over takes time.
#[derive(Debug, Clone, PartialEq)]
pub struct Exclusive {
    /// Places among the machine's devices.
    pub devices: Vec<usize>,
    /// From the end of one's use to the beginning of the other's.
    pub switch: Time,
}

/// A machine: devices and links.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// `pim`, `gpu` or `system`.
    pub kind: String,
    /// What it is.
    pub description: String,
    /// Its devices, by name.
    pub devices: Vec<(String, Device)>,
    /// The links between them.
    pub links: Vec<LinkSpec>,
    /// Who shares memory with whom, one at a time.
    pub exclusive: Option<Exclusive>,
    /// How many devices each of them stands for: those that do the same are simulated once. One each where empty.
    pub copies: Vec<u32>,
    /// What joins all of them, where they are ranks of a cluster.
    pub fabric: Option<Arc<FabricSpec>>,
    /// Devices that use the same memory at once, as places among the machine's.
    pub shared: Vec<usize>,
    /// The text of its files with all that was written over them.
    pub configuration: String,
}

/// Several devices, by name, and links between them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SystemFile {
    /// The machine's name.
    name: String,
    /// Always `system`.
    #[allow(dead_code)] // it has been read
    #[schemars(extend("const" = "system"))]
    kind: String,
    /// What it is, in a sentence.
    #[serde(default)]
    description: String,
    /// Where the numbers come from.
    #[serde(default)]
    #[allow(dead_code)] // for people
    source: String,
    /// The devices, each by a name of its own, `[devices.NAME]`.
    #[schemars(with = "BTreeMap<String, BTreeMap<String, bool>>")] // what it is stands in `schema`
    devices: BTreeMap<String, toml::Table>,
    /// The links between devices, each by a name of its own, `[links.NAME]`.
    #[serde(default)]
    links: BTreeMap<String, LinkFile>,
    /// Devices that use the same memory, and not at once.
    exclusive: Option<ExclusiveFile>,
    /// Devices that use the same memory, and at once.
    shared: Option<SharedFile>,
}

/// A link between two devices.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinkFile {
    /// The names of the two devices.
    between: [String; 2],
    /// Bytes that it moves in each direction, 10^9 a second.
    bandwidth_gb_per_s: f64,
    /// From one end to the other, nanoseconds.
    latency_ns: f64,
    /// Energy of a bit moved, picojoules.
    #[serde(default)]
    energy_pj_per_bit: f64,
}

/// Devices that use the same memory, and not at once: processing in the memory of a GPU.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExclusiveFile {
    /// The names of the devices.
    devices: Vec<String>,
    /// From the end of one's use of the memory to the beginning of the other's, nanoseconds.
    switch_ns: f64,
}

/// Devices that use the same memory at once: processing in the memory of an NPU whose banks have two row buffers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SharedFile {
    /// The names of the devices.
    devices: Vec<String>,
}

/// The kind that a machine's file gives; what it says otherwise is for the kind's own reader to judge.
fn kind(source: &Source) -> Option<String> {
    let table = source.parse::<toml::Table>().ok()?;
    Some(table.get("kind")?.as_str()?.to_owned())
}

impl Machine {
    /// The machine of `machine.base` of an experiment, with the tables `machine` and `device` written over it. Files are found
    /// beside the file that names them.
    ///
    /// # Errors
    /// There is no such machine, or one of its files cannot be used.
    pub fn read(base: &str, experiment: &Source, path: Option<&Path>) -> Result<Self, InputError> {
        let file = machines::open(base, path).map_err(|e| unusable(experiment, "machine.base", base, e))?;
        let source = file.overlaid(experiment, "machine", &["base"])?;
        let beside = if base.ends_with(".toml") { Some(Path::new(file.name())) } else { path };
        match kind(&file).as_deref() {
            Some("gpu") => Self::lone_gpu(&source, experiment),
            Some("system") => Self::system(&source, experiment, beside),
            Some("pim") => Self::lone_pim(&source, experiment, beside),
            Some(other) => {
                let problem = format!("is `{other}`, which is no kind of machine");
                Err(source.error("kind", problem).help("a machine is of kind pim, gpu or system"))
            }
            None => {
                let error = source.error("kind", "is missing: it says what the machine is");
                Err(error.help(
                    "write kind = \"pim\", \"gpu\" or \"system\", or base = \"NAME\" to build on another machine",
                ))
            }
        }
    }

    /// A machine of the catalog, or a file, as it is.
    ///
    /// # Errors
    /// There is no such machine, or one of its files cannot be used.
    pub fn load(name: &str) -> Result<Self, InputError> {
        let none = Source::from_text(name, "");
        Self::read(name, &none, None)
            .map_err(|e| if e.key.as_deref() == Some("machine.base") { unnamed(name, e) } else { e })
    }

    /// A machine that is one GPU.
    pub fn of_gpu(spec: &GpuSpec) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind.clone(),
            description: spec.description.clone(),
            devices: vec![(spec.name.clone(), Device::Gpu(Arc::new(spec.clone())))],
            links: Vec::new(),
            exclusive: None,
            copies: Vec::new(),
            fabric: None,
            shared: Vec::new(),
            configuration: String::new(),
        }
    }

    pub(super) fn lone_gpu(source: &Source, experiment: &Source) -> Result<Self, InputError> {
        let spec = GpuSpec::from_source(source)?;
        if experiment.parse::<toml::Table>()?.get("device").is_some_and(|d| d.as_table().is_none_or(|t| !t.is_empty()))
        {
            let problem = "has no meaning for a GPU, whose memory is part of its machine";
            let help = "write machine.dram.channels, machine.dram.megatransfers_per_s, ...";
            return Err(experiment.error("device", problem).help(help));
        }
        let mut configuration = format!("# machine\n{}", source.text());
        append_files(&mut configuration, &spec.dram.device, Path::new(source.written_in("dram.device")));
        Ok(Self { configuration, ..Self::of_gpu(&spec) })
    }

    fn lone_pim(source: &Source, experiment: &Source, beside: Option<&Path>) -> Result<Self, InputError> {
        let (machine, text) = pim(source, Some((experiment, "device")), beside)?;
        Ok(Self {
            name: machine.file.name.clone(),
            kind: machine.file.kind.clone(),
            description: machine.file.description.clone(),
            devices: vec![(machine.file.name.clone(), Device::Pim(Arc::new(machine)))],
            links: Vec::new(),
            exclusive: None,
            copies: Vec::new(),
            fabric: None,
            shared: Vec::new(),
            configuration: format!("# machine\n{}\n# device\n{text}", source.text()),
        })
    }

    fn system(source: &Source, experiment: &Source, beside: Option<&Path>) -> Result<Self, InputError> {
        let file: SystemFile = source.parse()?;
        if experiment.parse::<toml::Table>()?.get("device").is_some_and(|d| d.as_table().is_none_or(|t| !t.is_empty()))
        {
            let problem = "has no meaning for a machine of several devices";
            return Err(experiment
                .error("device", problem)
                .help("write machine.devices.NAME.memory..., by the device's name"));
        }
        if file.devices.is_empty() {
            return Err(source.error("devices", "names no device").help("write [devices.NAME] with base = \"...\""));
        }
        let mut configuration = format!("# machine\n{}", source.text());
        let mut devices = Vec::new();
        for (name, table) in &file.devices {
            let at = format!("devices.{name}");
            let key = format!("{at}.base");
            let Some(base) = table.get("base").and_then(toml::Value::as_str) else {
                return Err(source
                    .error(&key, "is missing")
                    .help("name a machine of the catalog, or a machine's TOML file"));
            };
            let under = machines::open(base, beside).map_err(|e| unusable(source, &key, base, e))?;
            // Over it the keys of [devices.NAME], whose [device] table is written over the memory device's file.
            let own = under.overlaid(source, &at, &["base", "device"])?;
            let near = if base.ends_with(".toml") { Some(Path::new(under.name())) } else { beside };
            let device = match kind(&under).as_deref() {
                Some("gpu") => Device::Gpu(Arc::new(GpuSpec::from_source(&own)?)),
                Some("pim") => {
                    let (machine, text) = pim(&own, Some((source, &format!("{at}.device"))), near)?;
                    configuration.push_str(&format!("\n# device of {name}\n{text}"));
                    Device::Pim(Arc::new(machine))
                }
                _ => {
                    let problem = format!("is `{base}`, which is neither of kind pim nor of kind gpu");
                    return Err(source.error(&key, problem).help("a machine is made of single devices"));
                }
            };
            configuration.push_str(&format!("\n# machine of {name}\n{}", own.text()));
            devices.push((name.clone(), device));
        }
        let place = |key: &str, name: &String| {
            let known = devices.iter().map(|(n, _)| n.as_str());
            devices.iter().position(|(n, _)| n == name).ok_or_else(|| source.unknown_name(key, "device", name, known))
        };
        let mut links = Vec::new();
        for (name, link) in &file.links {
            let key = |k: &str| format!("links.{name}.{k}");
            let between = [place(&key("between"), &link.between[0])?, place(&key("between"), &link.between[1])?];
            if between[0] == between[1] {
                return Err(source.error(&key("between"), "joins a device to itself"));
            }
            let rate = source.check(&key("bandwidth_gb_per_s"), link.bandwidth_gb_per_s, 1e-6..=1e9)?;
            let latency = source.check(&key("latency_ns"), link.latency_ns, 0.0..=1e9)?;
            source.check(&key("energy_pj_per_bit"), link.energy_pj_per_bit, 0.0..=1e6)?;
            links.push(LinkSpec {
                name: name.clone(),
                between,
                bandwidth_bytes_per_s: rate * 1e9,
                latency: Time::from_ns_f64(latency).map_err(|e| source.error(&key("latency_ns"), e.to_string()))?,
                energy_pj_per_bit: link.energy_pj_per_bit,
            });
        }
        let exclusive = match &file.exclusive {
            None => None,
            Some(e) => {
                let ns = source.check("exclusive.switch_ns", e.switch_ns, 0.0..=1e9)?;
                let switch = Time::from_ns_f64(ns).map_err(|e| source.error("exclusive.switch_ns", e.to_string()))?;
                let devices = e.devices.iter().map(|d| place("exclusive.devices", d)).collect::<Result<_, _>>()?;
                Some(Exclusive { devices, switch })
            }
        };
        let shared = match &file.shared {
            None => Vec::new(),
            Some(_) if exclusive.is_some() => {
                let error =
                    source.error("shared", "stands beside [exclusive]: a memory is used at once, or by one at a time");
                return Err(error.help("leave one of the two out"));
            }
            Some(s) => s.devices.iter().map(|d| place("shared.devices", d)).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            name: file.name,
            kind: "system".into(),
            description: file.description,
            devices,
            links,
            exclusive,
            copies: Vec::new(),
            fabric: None,
            shared,
            configuration,
        })
    }

    /// What the whole machine is at its best, with operands of a type: the sums over its devices; memory that devices share counts once.
    pub fn facts(&self, dtype: Dtype) -> DeviceFacts {
        let shared = self.exclusive.as_ref().map_or(&self.shared[..], |e| &e.devices);
        let mut sum = DeviceFacts::default();
        let mut shared_bytes = 0;
        for (i, (_, device)) in self.devices.iter().enumerate() {
            let (one, copies) = (device.facts(dtype), self.copies_of(i));
            let facts = DeviceFacts {
                peak_flops_per_s: one.peak_flops_per_s * f64::from(copies),
                peak_bandwidth_bytes_per_s: one.peak_bandwidth_bytes_per_s * f64::from(copies),
                capacity_bytes: one.capacity_bytes.saturating_mul(u64::from(copies)),
            };
            sum.peak_flops_per_s += facts.peak_flops_per_s;
            sum.peak_bandwidth_bytes_per_s += facts.peak_bandwidth_bytes_per_s;
            if shared.contains(&i) {
                shared_bytes = shared_bytes.max(facts.capacity_bytes);
            } else {
                sum.capacity_bytes = sum.capacity_bytes.saturating_add(facts.capacity_bytes);
            }
        }
        sum.capacity_bytes = sum.capacity_bytes.saturating_add(shared_bytes);
        sum
    }

    /// How many devices one of the machine's stands for.
    pub fn copies_of(&self, device: usize) -> u32 {
        self.copies.get(device).copied().unwrap_or(1)
    }

    /// The machine's PIM, where it is a PIM machine and nothing else.
    pub fn lone_pim_machine(&self) -> Option<&Arc<PimMachine>> {
        match self.devices.as_slice() {
            [(_, Device::Pim(machine))] => Some(machine),
            _ => None,
        }
    }

    /// The machine's GPU, where it is a GPU and nothing else.
    pub fn lone_gpu_spec(&self) -> Option<&Arc<GpuSpec>> {
        match self.devices.as_slice() {
            [(_, Device::Gpu(spec))] if self.fabric.is_none() => Some(spec),
            _ => None,
        }
    }

    /// The link between two devices, and whether its first end is the second of them.
    pub fn link(&self, from: usize, to: usize) -> Option<(usize, bool)> {
        self.links.iter().enumerate().find_map(|(i, l)| match l.between {
            [a, b] if (a, b) == (from, to) => Some((i, false)),
            [a, b] if (a, b) == (to, from) => Some((i, true)),
            _ => None,
        })
    }
}

/// A PIM machine, and the text of its memory device with what is written over it.
fn pim(
    source: &Source,
    over: Option<(&Source, &str)>,
    beside: Option<&Path>,
) -> Result<(PimMachine, String), InputError> {
    let file: PimFile = source.parse()?;
    let name = &file.memory.device;
    let base = dram::catalog::open(name, beside).map_err(|e| unusable(source, "memory.device", name, e))?;
    let device_source = match over {
        Some((other, table)) => base.overlaid(other, table, &[])?,
        None => base,
    };
    let device = dram::catalog::load_source(&device_source)?;
    // As for `banksia pim`: a file of one's own must not move more than its pins carry.
    if machines::as_path(name, beside).is_some() {
        dram::lint::check_pins(&device_source, &device)?;
    }
    let mut text = device_source.text().to_owned();
    if let Some(base) = base_of(&device_source) {
        append_files(&mut text, &base, Path::new(device_source.name()));
    }
    Ok((PimMachine::new(file, device, source, &device_source)?, text))
}

fn base_of(source: &Source) -> Option<String> {
    source.parse::<toml::Table>().ok()?.get("base")?.as_str().map(str::to_owned)
}

/// Adds the text of a device's file, and of those that it builds on, as far as they are files; those of the catalog belong to the build.
fn append_files(configuration: &mut String, name: &str, beside: &Path) {
    let (mut name, mut beside) = (name.to_owned(), beside.to_owned());
    // Loops were refused when the device was read.
    for _ in 0..16 {
        if !name.ends_with(".toml") {
            return;
        }
        let Ok(source) = dram::catalog::open(&name, Some(&beside)) else { return };
        configuration.push_str(&format!("\n# file {name}\n{}", source.text()));
        let Some(base) = base_of(&source) else { return };
        beside = Path::new(source.name()).to_owned();
        name = base;
    }
}

/// An error about a name that cannot be opened, at the key that gives it; of a file, with the path that was tried.
fn unusable(source: &Source, key: &str, name: &str, error: InputError) -> InputError {
    let problem = if name.ends_with(".toml") {
        // What is wrong inside of a file is said of that file.
        if error.line.is_some() || error.key.is_some() {
            return error;
        }
        format!("names a file that cannot be used: {}: {}", error.file, error.problem)
    } else {
        format!("is `{name}`: {}", error.problem)
    };
    InputError { help: error.help, ..source.error(key, problem) }
}

fn unnamed(name: &str, error: InputError) -> InputError {
    InputError { help: error.help, ..InputError::new("catalog", format!("has no machine `{name}`")) }
}
