//! `banksia validate`: how near the models come to other simulators' cycles and to real kernels.
//!
//! A suite is a reference file and the way it was taken (cold or warm caches, what else was launched). Its rows are
//! turned into launches, simulated, and set against what was measured; rows that cannot be expressed are counted with
//! the reason.

mod astrasim;
mod attacc;
mod cent;
mod collectives;
mod counters;
mod data_sheets;
mod deepep;
mod frameworks;
mod gpus;
mod h2llm;
mod known;
mod measured;
mod memory;
mod models;
mod multinode;
mod noc;
mod noc_sweep;
mod operators;
mod parallel;
mod pim;
mod pimba;
mod plans;
mod replay;
mod rows;
mod serving;
mod streams;
mod together;
mod training;
mod two_gpus;
mod value;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use banksia_hw::gpu::sampling::Detail;
use banksia_input::InputError;
use banksia_reports::{Pair, Subject, ValidationResult};
use rayon::prelude::*;

use banksia_experiments::Error;

use gpus::Devices;
use rows::{Row, columns, device_of, parse};
use value::Value;

/// The suites of the GPU, in the order in which they run by themselves.
pub const GPU_SUITES: [&str; 22] = [
    "known-programs",
    "h200",
    "h200-counters",
    "gemm",
    "context-attention",
    "generation-attention",
    "known-programs-again",
    "models",
    "operators",
    "experts-training",
    "moe",
    "mamba2",
    "gdn",
    "kda",
    "context-mla",
    "generation-mla",
    "mla-bmm",
    "encoder-attention",
    "ttft-tpot",
    "ttft-tpot-ranks",
    "streams",
    "two-gpus",
];

/// Every suite, in the order in which they run by themselves.
pub fn suites() -> impl Iterator<Item = &'static str> {
    [
        "memory",
        "memory-witness",
        "pim",
        noc::SUITE,
        noc_sweep::SUITE,
        "collectives",
        "multinode",
        "deepep",
        astrasim::SUITE,
    ]
    .into_iter()
    .chain(["attacc", "attacc-operators", "pimba", "pimba-layers"])
    .chain(parallel::SUITES.into_iter().filter(|s| *s != "megatron-2024"))
    .chain(together::names())
    .chain(GPU_SUITES)
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

/// What turns a row of a suite into values.
type Work = fn(&Row, &mut Devices, Detail) -> Vec<Value>;

/// Pairs of a group, and the rows it skips by reason.
type Group = (Vec<Pair>, BTreeMap<String, u64>);

/// A suite: its rows, and how they are predicted.
struct Suite {
    rows: &'static str,
    work: Work,
    /// The devices that a row is about.
    devices: fn(&Row) -> Vec<String>,
}

fn suite(name: &str) -> Result<Suite, InputError> {
    let only_h200: fn(&Row) -> Vec<String> = |_| vec!["h200".to_owned()];
    let of_gpu: fn(&Row) -> Vec<String> = |row| vec![device_of(row.get("gpu").map_or("", String::as_str)).to_owned()];
    let of = |rows, work: Work, devices| Ok(Suite { rows, work, devices });
    match name {
        "memory" => of(memory::ORACLE, |row, _, _| memory::row(row), |row| vec![memory::device(row)]),
        "memory-witness" => of(
            witness::rows(),
            |row, _, _| vec![witness::row(row)],
            |row| row.get("device").cloned().into_iter().collect(),
        ),
        "pim" => of(
            include_str!("../../tests/reference/pim/cycles.csv"),
            |row, _, _| vec![pim::row(row)],
            |row| vec![row.get("device").cloned().unwrap_or_default()],
        ),
        "collectives" => of(
            include_str!("../../tests/reference/net/collectives.csv"),
            |row, _, _| vec![collectives::row(row)],
            of_gpu,
        ),
        "attacc" => of(
            include_str!("../../tests/reference/pim/systems/attacc_steps.csv"),
            |row, _, _| attacc::row(row),
            |row| vec![attacc::device(row)],
        ),
        "attacc-operators" => of(
            include_str!("../../tests/reference/pim/systems/attacc_ops.csv"),
            |row, _, _| attacc::row(row),
            |row| vec![attacc::device(row)],
        ),
        "pimba" => of(
            include_str!("../../tests/reference/pim/systems/pimba_pim_ops.csv"),
            |row, _, _| pimba::row(row),
            |row| vec![pimba::device(row)],
        ),
        "pimba-layers" => of(
            include_str!("../../tests/reference/pim/systems/pimba_layers.csv"),
            |row, _, _| pimba::row(row),
            |row| vec![pimba::device(row)],
        ),
        "vtrain" => of(
            include_str!("../../tests/reference/parallel/vtrain_a100_single_node.csv"),
            |row, devices, detail| parallel::row("vtrain", row, devices, detail),
            |_| vec!["vtrain-a100".to_owned()],
        ),
        "vtrain-multi" => of(
            include_str!("../../tests/reference/parallel/vtrain_a100_multi_node.csv"),
            |row, devices, detail| parallel::row("vtrain-multi", row, devices, detail),
            |_| vec!["vtrain-a100".to_owned()],
        ),
        "korthikanti" => of(
            include_str!("../../tests/reference/parallel/korthikanti_table5.csv"),
            |row, devices, detail| parallel::row("korthikanti", row, devices, detail),
            |_| vec!["a100-selene".to_owned()],
        ),
        "sc21" => of(
            include_str!("../../tests/reference/parallel/megatron_sc21_table1_a100.csv"),
            |row, devices, detail| parallel::row("sc21", row, devices, detail),
            |_| vec!["a100-selene".to_owned()],
        ),
        "megatron-2024" => of(
            include_str!("../../tests/reference/parallel/megatron_2024_h100.csv"),
            |row, devices, detail| parallel::row("megatron-2024", row, devices, detail),
            |_| vec!["h100-eos".to_owned()],
        ),
        "mlperf" => of(
            include_str!("../../tests/reference/parallel/mlperf_training_llm.csv"),
            |row, devices, detail| parallel::row("mlperf", row, devices, detail),
            |_| vec!["h100-eos".to_owned()],
        ),
        "zero-bubble" => of(
            include_str!("../../tests/reference/parallel/zero_bubble_tables4_5.csv"),
            |row, devices, detail| parallel::row("zero-bubble", row, devices, detail),
            |_| vec!["a100-selene".to_owned()],
        ),
        "moe-folding" => of(
            include_str!("../../tests/reference/parallel/moe_folding_table3.csv"),
            |row, devices, detail| parallel::row("moe-folding", row, devices, detail),
            |_| vec!["h100-eos".to_owned()],
        ),
        "ladder" => of(
            include_str!("../../tests/reference/parallel/ladder_residual_h100.csv"),
            |row, devices, detail| parallel::row("ladder", row, devices, detail),
            |_| vec!["h100-eos".to_owned()],
        ),
        "multinode" => of(
            include_str!("../../tests/reference/net/echo_nccl_allreduce_multinode_a100.csv"),
            |row, _, _| vec![multinode::row(row)],
            |row| vec![multinode::device(row)],
        ),
        astrasim::SUITE => of(
            include_str!("../../tests/reference/net/astrasim_collectives.csv"),
            |row, _, _| vec![astrasim::row(row)],
            |row| vec![astrasim::device(row)],
        ),
        "deepep" => of(
            include_str!("../../tests/reference/net/deepep.csv"),
            |row, _, _| vec![deepep::row(row)],
            |row| vec![deepep::device(row)],
        ),
        "known-programs" => of(include_str!("../../tests/reference/gpu/known_programs.csv"), known::row, only_h200),
        "known-programs-again" => {
            of(include_str!("../../tests/reference/gpu/device_known_programs.csv"), known::again, |_| {
                known::OTHERS.iter().map(|(device, _)| (*device).to_owned()).collect()
            })
        }
        "h200" => of(include_str!("../../tests/reference/gpu/latency_energy.csv"), measured::row, only_h200),
        "h200-counters" => of(include_str!("../../tests/reference/gpu/counters.csv"), counters::row, only_h200),
        "gemm" => of(include_str!("../../tests/reference/gpu/gemm.csv"), frameworks::gemm, of_gpu),
        "context-attention" => {
            of(include_str!("../../tests/reference/gpu/context_attention.csv"), frameworks::context, of_gpu)
        }
        "generation-attention" => {
            of(include_str!("../../tests/reference/gpu/generation_attention.csv"), frameworks::generation, of_gpu)
        }
        "moe" => of(include_str!("../../tests/reference/gpu/moe.csv"), frameworks::moe, of_gpu),
        "mamba2" => of(include_str!("../../tests/reference/gpu/mamba2.csv"), frameworks::mamba2, of_gpu),
        "gdn" => of(include_str!("../../tests/reference/gpu/gdn.csv"), frameworks::gdn, of_gpu),
        "kda" => of(include_str!("../../tests/reference/gpu/kda.csv"), frameworks::kda, of_gpu),
        "context-mla" => of(include_str!("../../tests/reference/gpu/context_mla.csv"), frameworks::context_mla, of_gpu),
        "generation-mla" => {
            of(include_str!("../../tests/reference/gpu/generation_mla.csv"), frameworks::generation_mla, of_gpu)
        }
        "mla-bmm" => of(include_str!("../../tests/reference/gpu/mla_bmm.csv"), frameworks::mla_bmm, of_gpu),
        "encoder-attention" => {
            of(include_str!("../../tests/reference/gpu/encoder_attention.csv"), frameworks::encoder, of_gpu)
        }
        "ttft-tpot" => of(include_str!("../../tests/reference/gpu/ttft_tpot.csv"), serving::row, |row| {
            vec![device_of(row.get("system").map_or("", String::as_str)).to_owned()]
        }),
        "ttft-tpot-ranks" => of(include_str!("../../tests/reference/gpu/ttft_tpot_ranks.csv"), serving::row, |row| {
            vec![device_of(row.get("system").map_or("", String::as_str)).to_owned()]
        }),
        "models" => of(include_str!("../../tests/reference/gpu/models.csv"), models::row, only_h200),
        "operators" => of(include_str!("../../tests/reference/gpu/operators.csv"), operators::row, only_h200),
        "experts-training" => {
            of(include_str!("../../tests/reference/gpu/experts_training.csv"), operators::row, only_h200)
        }
        "streams" => of(include_str!("../../tests/reference/gpu/streams.csv"), streams::row, only_h200),
        "two-gpus" => of(include_str!("../../tests/reference/net/two_gpus.csv"), two_gpus::row, only_h200),
        _ => Err(InputError::unknown_name("validate", "suite", name, suites())),
    }
}

/// The rows of a suite, or of the file in their place, and where they are from.
fn rows_of(name: &str, suite: &Suite, options: &ValidateOptions) -> Result<(String, Vec<Row>), Error> {
    let (from, text) = match &options.measured {
        Some(path) => {
            let source = banksia_input::Source::read(path)?;
            (path.display().to_string(), source.text().to_owned())
        }
        None => {
            let of_device = data_sheets::rows(name, options.device.as_deref());
            (name.to_owned(), of_device.unwrap_or(suite.rows).to_owned())
        }
    };
    let rows = parallel::prepared(name, parse(&from, &text)?);
    Ok((from, if name == "h200-counters" { counters::merged(rows) } else { rows }))
}

/// The devices that a suite has rows of.
///
/// # Errors
/// The suite is unknown, or a file cannot be read.
pub fn devices(name: &str, options: &ValidateOptions) -> Result<BTreeSet<String>, Error> {
    if let Some((name, _)) = on_chip(name) {
        return Ok([name.to_owned()].into());
    }
    if let Some(suite) = together::suite(name) {
        return Ok([suite.device.to_owned()].into());
    }
    let suite = suite(name)?;
    let (_, rows) = rows_of(name, &suite, options)?;
    Ok(rows.iter().flat_map(suite.devices).filter(|d| !d.is_empty()).collect())
}

/// Runs one suite. `progress` is called with the rows done and the rows there are.
///
/// # Errors
/// The suite is unknown, a file cannot be read or has no row that can be compared, or there is no row of the device.
pub fn run_suite(
    name: &str,
    options: &ValidateOptions,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<Compared>, Error> {
    if let Some((name, values)) = on_chip(name) {
        return network(name, values, options, progress);
    }
    if let Some(suite) = together::suite(name) {
        if not_of(name, suite.device, options)? {
            return Ok(Vec::new());
        }
        return Ok(group(name, suite.run(options.measured.as_deref(), progress)?));
    }
    let suite = suite(name)?;
    let (from, mut rows) = rows_of(name, &suite, options)?;
    if rows.is_empty() {
        return Err(InputError::new(from, "has no rows").help(expected(name, &suite)).into());
    }
    if let Some(device) = &options.device {
        let known: BTreeSet<String> = rows.iter().flat_map(suite.devices).collect();
        if !known.contains(device) {
            let own = ValidateOptions { device: options.device.clone(), ..ValidateOptions::default() };
            if suites().any(|other| devices(other, &own).is_ok_and(|d| d.contains(device))) {
                // Another suite's.
                return Ok(Vec::new());
            }
            let what = format!("device in suite `{name}`");
            return Err(InputError::unknown_name("--device", &what, device, known.iter().map(String::as_str)).into());
        }
        rows.retain(|r| (suite.devices)(r).contains(device));
    }
    let usual = Detail::DEFAULT;
    let grain = if name == "known-programs" { KNOWN_GRAIN } else { usual.grain_bytes };
    let detail =
        Detail { grain_bytes: options.grain_bytes.unwrap_or(grain), waves: options.waves.unwrap_or(usual.waves) };
    let (done, all) = (AtomicU64::new(0), rows.len() as u64);
    progress(0, all);
    let mut values: Vec<Value> = rows
        .par_iter()
        .map_init(Devices::default, |devices, row| {
            let values = (suite.work)(row, devices, detail);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
            values
        })
        .flatten_iter()
        .collect();
    if let Some(device) = &options.device {
        values.retain(|v| v.device == *device);
    }
    if options.measured.is_some() && !values.iter().any(Value::is_usable) {
        let reason = values.iter().find_map(|v| v.predicted.as_ref().err().cloned());
        let reason = reason.unwrap_or_else(|| "no measured value is above zero".into());
        let problem = format!("has no row that suite `{name}` can compare: {reason}");
        return Err(InputError::new(from, problem).help(expected(name, &suite)).into());
    }
    Ok(group(name, values))
}

/// The values of a suite of networks on a chip, from a file or folder in place of its own.
type OnChip = fn(Option<&Path>, &(dyn Fn(u64, u64) + Sync)) -> Result<Vec<Value>, Error>;

/// The suites of networks on a chip: cases in a folder, curves in a file.
fn on_chip(name: &str) -> Option<(&'static str, OnChip)> {
    let suites: [(&'static str, OnChip); 2] = [(noc::SUITE, noc::values), (noc_sweep::SUITE, noc_sweep::values)];
    suites.into_iter().find(|(suite, _)| *suite == name)
}

fn network(
    name: &'static str,
    values: OnChip,
    options: &ValidateOptions,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<Compared>, Error> {
    if not_of(name, name, options)? {
        return Ok(Vec::new());
    }
    Ok(group(name, values(options.measured.as_deref(), progress)?))
}

/// Whether the device that was asked for is another suite's than one with a single device.
fn not_of(suite: &str, own: &str, options: &ValidateOptions) -> Result<bool, InputError> {
    let Some(device) = options.device.as_deref().filter(|d| *d != own) else { return Ok(false) };
    let plain = ValidateOptions { device: options.device.clone(), ..ValidateOptions::default() };
    if suites().any(|other| devices(other, &plain).is_ok_and(|d| d.contains(device))) {
        return Ok(true);
    }
    Err(InputError::unknown_name("--device", &format!("device in suite `{suite}`"), device, [own]))
}

/// What a file in place of a suite's rows looks like.
fn expected(name: &str, suite: &Suite) -> String {
    let columns = columns(suite.rows);
    let gpus: Vec<&str> = banksia_hw::gpu::CATALOG.iter().map(|(name, _)| *name).collect();
    if GPU_SUITES.contains(&name) && columns.starts_with("gpu,") {
        format!("its columns are {columns}; GPUs are {}", gpus.join(", "))
    } else {
        format!("its columns are {columns}")
    }
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
