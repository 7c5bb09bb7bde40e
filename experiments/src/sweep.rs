//! A sweep file: experiments, and what is varied in them.
//!
//! ```toml
//! name = "channels and pins"
//! experiments = ["gpt3-xl.toml", "gpt2-xl.toml"]   # beside the sweep file
//! set = ["workload.generation.generated_tokens=128"]   # in every point
//!
//! [[vary]]                      # every combination of the values of all of these
//! key = "machine.memory.channels"
//! values = [8, 16]
//!
//! [[point]]                     # or single points by name
//! name = "slow ASIC"
//! set = ["machine.vector_unit.clock_mhz=100"]
//! ```

use std::path::{Path, PathBuf};

use banksia_hw::pim::RunOptions;
use banksia_input::{InputError, Source};
use banksia_reports::units::{number, quantity};
use banksia_reports::{RunReport, read_report, write_directory};
use rayon::prelude::*;
use serde::Deserialize;

use crate::error::Error;
use crate::experiment::Experiment;
use crate::{run, versus};

/// The most points of one sweep.
const MAX_POINTS: usize = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    name: Option<String>,
    experiments: Vec<String>,
    #[serde(default)]
    set: Vec<String>,
    #[serde(default)]
    vary: Vec<Vary>,
    #[serde(default, rename = "point")]
    points: Vec<PointFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vary {
    key: String,
    values: Vec<toml::Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PointFile {
    name: String,
    #[serde(default)]
    set: Vec<String>,
}

impl PointFile {
    /// What it sets: each key's whole path, and its value as plain text.
    fn settings(&self) -> Vec<(String, String)> {
        let plain = |text: &str| {
            let value = text.parse::<toml::Value>().ok();
            value.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_else(|| text.to_owned())
        };
        let split = |setting: &String| setting.split_once('=').map(|(k, v)| (k.trim().to_owned(), plain(v.trim())));
        self.set.iter().filter_map(split).collect()
    }
}

/// A sweep whose every point has been read and checked.
#[derive(Debug)]
pub struct Sweep {
    /// Its name.
    pub name: String,
    points: Vec<Point>,
}

#[derive(Debug)]
struct Point {
    /// A file name for its results.
    slug: String,
    /// What is set in it, and not in every point: whole keys, and values as plain text.
    settings: Vec<(String, String)>,
    experiment: Experiment,
}

/// How to run a sweep.
#[derive(Debug, Clone, Default)]
pub struct SweepOptions {
    /// Points at once; every core where absent.
    pub jobs: Option<usize>,
    /// Where each point's files go.
    pub out: Option<PathBuf>,
    /// Take a point's report from there if it was made from the same configuration by the same version.
    pub resume: bool,
}

impl Sweep {
    /// Reads a sweep file and every experiment that it names.
    ///
    /// # Errors
    /// The file, or any point's experiment, cannot be used; no point has run then.
    pub fn read(path: &Path, settings: &[String]) -> Result<Self, InputError> {
        let source = Source::read(path)?;
        let file: SweepFile = source.parse()?;
        if file.experiments.is_empty() {
            return Err(source.error("experiments", "names no experiment").help("list at least one experiment file"));
        }
        let mut variants = vec![PointFile { name: String::new(), set: Vec::new() }];
        for (i, vary) in file.vary.iter().enumerate() {
            let key = format!("vary[{i}].values");
            if vary.values.is_empty() {
                return Err(source.error(&key, "has no value to take"));
            }
            if variants.len().saturating_mul(vary.values.len()) > MAX_POINTS {
                return Err(source.error(&key, format!("makes more than {MAX_POINTS} points")));
            }
            let short = vary.key.rsplit('.').next().unwrap_or(&vary.key);
            variants = variants
                .iter()
                .flat_map(|v| vary.values.iter().map(move |value| (v, value)))
                .map(|(v, value)| {
                    let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let mut set = v.set.clone();
                    set.push(format!("{}={value}", vary.key));
                    let comma = if v.name.is_empty() { "" } else { ", " };
                    PointFile { name: format!("{}{comma}{short}={plain}", v.name), set }
                })
                .collect();
        }
        if !file.points.is_empty() {
            let grid = if file.vary.is_empty() { Vec::new() } else { variants };
            variants = file.points.iter().cloned().chain(grid).collect();
        }
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let mut points = Vec::new();
        for name in &file.experiments {
            for variant in &variants {
                let all: Vec<&String> = file.set.iter().chain(&variant.set).chain(settings).collect();
                let mut experiment = Experiment::read(&folder.join(name), &all).map_err(|e| {
                    if settings.iter().any(|s| e.file == format!("--set {s}")) { e } else { wrote(&source, &file, e) }
                })?;
                let several = file.experiments.len() > 1;
                experiment.name = match (variant.name.is_empty(), several) {
                    (true, _) => experiment.name,
                    (false, true) => format!("{}, {}", experiment.name, variant.name),
                    (false, false) => variant.name.clone(),
                };
                let stem = Path::new(name).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
                let slug = slug(&format!("{stem} {}", variant.name));
                points.push(Point { slug, settings: variant.settings(), experiment });
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for point in &mut points {
            let base = point.slug.clone();
            let mut n = 2;
            while !seen.insert(point.slug.clone()) {
                point.slug = format!("{base}-{n}");
                n += 1;
            }
        }
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name: file.name.unwrap_or(stem), points })
    }

    /// What is set in each point, and not in every one: whole keys, and values as plain text.
    pub fn settings(&self) -> impl Iterator<Item = &[(String, String)]> {
        self.points.iter().map(|point| point.settings.as_slice())
    }

    /// How many points it has.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Runs every point, in parallel; the reports are in the order of the points, whatever the number of threads. `done` is
    /// called after each.
    ///
    /// # Errors
    /// A point failed: its name is in the error, and the files of those that were done remain.
    pub fn run(&self, options: &SweepOptions, done: &(dyn Fn() + Sync)) -> Result<Vec<RunReport>, Error> {
        let mut pool = rayon::ThreadPoolBuilder::new();
        if let Some(jobs) = options.jobs {
            if jobs == 0 || jobs > 4096 {
                return Err(InputError::new("--jobs", format!("is {jobs}: must be from 1 to 4096")).into());
            }
            pool = pool.num_threads(jobs);
        }
        let pool = pool.build().map_err(|e| Error::Failed(format!("threads cannot be started: {e}")))?;
        pool.install(|| {
            self.points
                .par_iter()
                .map(|point| {
                    let report = point.run(options)?;
                    done();
                    Ok(report)
                })
                .collect()
        })
    }

    /// The sweep beside the rooflines of some devices, as text.
    ///
    /// # Errors
    /// There is no such device.
    pub fn versus(&self, reports: &[RunReport], names: &[String]) -> Result<String, InputError> {
        let mut out = String::from("\nBeside plain rooflines (data-sheet peaks; no real device reaches them)\n");
        for (point, report) in self.points.iter().zip(reports) {
            for v in versus::versus(&point.experiment, report, names)? {
                out.push_str(&format!(
                    "  {:<32} {:<16} {:>10}: {:>6} x its speed, {:>6} x its energy efficiency\n",
                    report.name,
                    v.device,
                    quantity(v.roofline_s, "s"),
                    number(v.speedup),
                    number(v.energy_ratio)
                ));
            }
        }
        Ok(out)
    }
}

impl Point {
    fn run(&self, options: &SweepOptions) -> Result<RunReport, Error> {
        let folder = options.out.as_ref().map(|out| out.join(&self.slug));
        if let Some(folder) = folder.as_ref().filter(|_| options.resume)
            && let Ok(report) = read_report(&folder.join("report.json"))
            && report.configuration_sha256 == run::configuration_sha256(&self.experiment)
            && report.banksia_version == env!("CARGO_PKG_VERSION")
        {
            return Ok(report);
        }
        let last = self.experiment.pass_of(self.experiment.generation.generated_tokens);
        let timeline_step = folder.as_ref().map(|_| last);
        let options = RunOptions { exact_stepping: false, timeline_step };
        let (report, _) = run::run(&self.experiment, options, &mut |_| {}).map_err(|e| match e {
            Error::Input(e) => Error::Input(e),
            e => Error::Failed(format!("{}: {e}", self.experiment.name)),
        })?;
        if let Some(folder) = folder {
            write_directory(&report, &folder)?;
        }
        Ok(report)
    }
}

/// An error about a setting that the sweep file wrote, as one about the sweep file.
fn wrote(source: &Source, file: &SweepFile, error: InputError) -> InputError {
    let Some(setting) = error.file.strip_prefix("--set ") else { return error };
    let in_set = |list: &str, set: &[String]| Some(format!("{list}[{}]", set.iter().position(|s| s == setting)?));
    let in_points = || file.points.iter().enumerate().find_map(|(i, p)| in_set(&format!("point[{i}].set"), &p.set));
    let in_vary = || {
        let key = setting.split('=').next()?;
        Some(format!("vary[{}]", file.vary.iter().position(|v| v.key == key)?))
    };
    let Some(key) = in_set("set", &file.set).or_else(in_points).or_else(in_vary) else { return error };
    let problem = match &error.key {
        Some(inner) => format!("sets `{setting}`: `{inner}` {}", error.problem),
        None => format!("sets `{setting}`, which {}", error.problem),
    };
    InputError { help: error.help, ..source.error(&key, problem) }
}

/// Letters, digits, dots and dashes of a name.
fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '.' {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}
