//! `banksia validate`: how near the models come to other simulators' cycles and to real kernels.
//!
//! A suite is a reference file and the way it was taken (cold or warm caches, what else was launched). Its rows are
//! turned into launches, simulated, and set against what was measured; rows that cannot be expressed are counted with
//! the reason.

mod counters;
mod frameworks;
mod known;
mod measured;
mod memory;
mod pim;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use banksia_hw::gpu::Gpu;
use banksia_hw::gpu::sampling::Detail;
use banksia_input::InputError;
use banksia_reports::{Pair, Subject, ValidationResult};
use rayon::prelude::*;

use banksia_experiments::Error;

/// The suites of the GPU, in the order in which they run by themselves.
pub const GPU_SUITES: [&str; 7] = [
    "known-programs",
    "h200",
    "h200-counters",
    "gemm",
    "context-attention",
    "generation-attention",
    "known-programs-again",
];

/// Every suite, in the order in which they run by themselves.
pub fn suites() -> impl Iterator<Item = &'static str> {
    ["memory", "pim"].into_iter().chain(GPU_SUITES)
}

/// Bytes of a memory request in `known-programs`: its products of few rows read pieces of 64 and 128 bytes, which coarser requests
/// gather.
const KNOWN_GRAIN: u32 = 1024;

/// What is validated, and how.
#[derive(Debug, Clone, Default)]
pub struct ValidateOptions {
    /// Only this device.
    pub device: Option<String>,
    /// A file in place of the suite's own rows.
    pub measured: Option<PathBuf>,
    /// Bytes of a memory request, in place of the suite's own: 1 KB for `known-programs`, which judge the machine, else what commands use
    /// by themselves.
    pub grain_bytes: Option<u32>,
    /// Waves of a large kernel that are simulated, in place of the usual number.
    pub waves: Option<u32>,
    /// Rows with the largest errors that are kept.
    pub worst: usize,
}

/// The compared rows of one device, operator and metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// What they are about.
    pub subject: Subject,
    /// Measured and predicted.
    pub pairs: Vec<Pair>,
    /// Rows that were not predicted, by reason.
    pub skipped: BTreeMap<String, u64>,
}

impl Compared {
    /// Its statistics.
    pub fn result(&self, worst: usize) -> ValidationResult {
        ValidationResult::of(self.subject.clone(), &self.pairs, self.skipped.clone(), worst)
    }
}

/// One value of one row.
pub(crate) struct Value {
    device: String,
    op: String,
    metric: &'static str,
    label: String,
    measured: f64,
    predicted: Result<f64, String>,
}

/// What turns a row of a suite into values.
type Work = fn(&Row, &mut Devices, Detail) -> Vec<Value>;

/// Pairs of a group, and the rows it skips by reason.
type Group = (Vec<Pair>, BTreeMap<String, u64>);

/// Rows of a CSV file, each by column name.
pub(crate) type Row = BTreeMap<String, String>;

/// Runs one suite.
///
/// # Errors
/// The suite is unknown, or a file cannot be read.
pub fn run_suite(suite: &str, options: &ValidateOptions) -> Result<Vec<Compared>, Error> {
    match suite {
        "memory" => return memory::run(options),
        "pim" => return pim::run(options),
        _ => {}
    }
    let text = |builtin: &str| match &options.measured {
        Some(path) => {
            let source = banksia_input::Source::read(path)?;
            Ok::<_, Error>((path.display().to_string(), source.text().to_owned()))
        }
        None => Ok((suite.to_owned(), builtin.to_owned())),
    };
    let (builtin, work): (&str, Work) = match suite {
        "known-programs" => (include_str!("../../tests/reference/gpu/known_programs.csv"), known::row),
        "known-programs-again" => (include_str!("../../tests/reference/gpu/device_known_programs.csv"), known::again),
        "h200" => (include_str!("../../tests/reference/gpu/latency_energy.csv"), measured::row),
        "h200-counters" => (include_str!("../../tests/reference/gpu/counters.csv"), counters::row),
        "gemm" => (include_str!("../../tests/reference/gpu/gemm.csv"), frameworks::gemm),
        "context-attention" => (include_str!("../../tests/reference/gpu/context_attention.csv"), frameworks::context),
        "generation-attention" => {
            (include_str!("../../tests/reference/gpu/generation_attention.csv"), frameworks::generation)
        }
        _ => {
            return Err(InputError::unknown_name("validate", "suite", suite, suites()).into());
        }
    };
    let (name, text) = text(builtin)?;
    let mut rows = parse(&name, &text)?;
    if suite == "h200-counters" {
        rows = counters::merged(rows);
    }
    if let Some(device) = &options.device {
        rows.retain(|r| r.get("gpu").is_none_or(|g| device_of(g) == device));
    }
    let usual = Detail::DEFAULT;
    let grain = if suite == "known-programs" { KNOWN_GRAIN } else { usual.grain_bytes };
    let detail =
        Detail { grain_bytes: options.grain_bytes.unwrap_or(grain), waves: options.waves.unwrap_or(usual.waves) };
    let values: Vec<Value> =
        rows.par_iter().map_init(Devices::default, |devices, row| work(row, devices, detail)).flatten_iter().collect();
    Ok(group(suite, values))
}

fn group(suite: &str, values: Vec<Value>) -> Vec<Compared> {
    let mut all: BTreeMap<(String, String, &'static str), Group> = BTreeMap::new();
    for v in values {
        let entry = all.entry((v.device, v.op, v.metric)).or_default();
        match v.predicted {
            Ok(predicted) => entry.0.push(Pair { label: v.label, measured: v.measured, predicted }),
            Err(reason) => *entry.1.entry(reason).or_default() += 1,
        }
    }
    all.into_iter()
        .map(|((device, op, metric), (pairs, skipped))| Compared {
            subject: Subject { suite: suite.to_owned(), device, op, metric: metric.to_owned() },
            pairs,
            skipped,
        })
        .collect()
}

/// The rows of one device: those of a suite whose devices stand in the column `device`, under names that `catalog_name` turns into
/// the catalog's. A device of other suites has none.
///
/// # Errors
/// No suite has such a device, in words that name this one's.
fn of_device(rows: &mut Vec<Row>, options: &ValidateOptions, catalog_name: fn(&str) -> String) -> Result<(), Error> {
    let Some(device) = &options.device else { return Ok(()) };
    let known: BTreeSet<String> = rows.iter().filter_map(|r| r.get("device")).map(|d| catalog_name(d)).collect();
    if !known.is_empty() && !known.contains(device) && banksia_hw::gpu::device(device).is_err() {
        let error =
            InputError::unknown_name("--device", "device of this suite", device, known.iter().map(String::as_str));
        return Err(error.into());
    }
    rows.retain(|r| r.get("device").is_none_or(|d| catalog_name(d) == *device));
    Ok(())
}

/// Refuses a file of the user's of which no row could be used: there is nothing that a comparison could have found.
///
/// # Errors
/// No row was compared, in words that say why and which columns the suite reads.
fn check_usable(compared: &[Compared], options: &ValidateOptions, columns: &str) -> Result<(), Error> {
    let Some(path) = options.measured.as_ref().filter(|_| compared.iter().all(|c| c.pairs.is_empty())) else {
        return Ok(());
    };
    let mut reasons: Vec<(&String, &u64)> = compared.iter().flat_map(|c| &c.skipped).collect();
    reasons.sort_by_key(|(reason, n)| (std::cmp::Reverse(**n), *reason));
    let problem = match (reasons.first(), &options.device) {
        (Some((reason, _)), _) => format!("has no row that this suite can use: {reason}"),
        (None, Some(device)) => format!("has no row of {device}"),
        (None, None) => "has no row".to_owned(),
    };
    let help = format!("this suite reads the columns {columns}");
    Err(InputError::new(path.display().to_string(), problem).help(help).into())
}

/// The rows of a CSV file; lines that begin with `#` are comments.
fn parse(name: &str, text: &str) -> Result<Vec<Row>, Error> {
    let bad = |e: csv::Error| {
        let line = e.position().map(csv::Position::line);
        let error = InputError::new(name, format!("is not the CSV of this suite: {e}"));
        Error::from(line.map_or(error.clone(), |l| error.at_line(l as usize)))
    };
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    reader.deserialize().collect::<Result<Vec<Row>, csv::Error>>().map_err(bad)
}

/// A number of a row.
pub(crate) fn number(row: &Row, key: &str) -> Result<f64, String> {
    let text = row.get(key).ok_or_else(|| format!("no column {key}"))?;
    text.trim().parse().map_err(|_| format!("column {key} is not a number"))
}

/// A whole number of a row.
pub(crate) fn whole(row: &Row, key: &str) -> Result<u32, String> {
    let n = number(row, key)?;
    if (0.0..=4e9).contains(&n) { Ok(n as u32) } else { Err(format!("column {key} is out of range")) }
}

/// The catalog's name of a reference file's GPU (`h100_sxm`).
pub(crate) fn device_of(gpu: &str) -> &str {
    gpu.split('_').next().unwrap_or(gpu)
}

/// Machines, made when first asked for.
#[derive(Default)]
pub(crate) struct Devices(BTreeMap<String, Gpu>);

impl Devices {
    pub(crate) fn get(&mut self, name: &str) -> Result<&mut Gpu, String> {
        if !self.0.contains_key(name) {
            let spec = banksia_hw::gpu::device(name).map_err(|_| format!("{name} is not in the catalog"))?;
            self.0.insert(name.to_owned(), Gpu::new(spec));
        }
        self.0.get_mut(name).ok_or_else(|| format!("{name} is not in the catalog"))
    }
}
