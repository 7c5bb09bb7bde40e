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
//!
//! Or it puts other sweeps together, each with what it varies:
//!
//! ```toml
//! name = "all"
//! sweeps = ["prefill.toml", "decode.toml"]   # beside the sweep file
//! ```
//!
//! A point is read by the worker that runs it. One that cannot be read, does not fit or fails is a row with its error, and the
//! others go on.

mod slug;

use std::path::{Path, PathBuf};

use banksia_hw::system::RunOptions;
use banksia_input::{InputError, Source};
use banksia_reports::units::{number, quantity};
use banksia_reports::{ComparisonRow, PointRow, RunReport, compare, write_directory};
use rayon::prelude::*;
use serde::Deserialize;

use crate::error::Error;
use crate::experiment::Experiment;
use crate::kept::{self, Key};
use crate::{run, versus};

/// The most points of one sweep.
const MAX_POINTS: usize = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    name: Option<String>,
    #[serde(default)]
    sweeps: Vec<String>,
    #[serde(default)]
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

/// A sweep: its points are made when they are asked for.
#[derive(Debug)]
pub struct Sweep {
    /// Its name.
    pub name: String,
    source: Source,
    path: PathBuf,
    file: SweepFile,
    settings: Vec<String>,
    /// Combinations of all varied values.
    grid: usize,
    /// The sweeps that it puts together, in place of points of its own.
    parts: Vec<Sweep>,
    /// Whether a point must be told apart from those of other experiments.
    among_others: bool,
    slugs: Vec<String>,
}

/// One point, before it is read.
#[derive(Debug, Clone)]
struct Point {
    /// The experiment's file.
    path: PathBuf,
    /// What is set in it, in order.
    set: Vec<String>,
    /// What tells it apart from other points of the same experiment.
    variant: String,
    /// Varied keys and their values.
    settings: Vec<(String, String)>,
    /// A folder's name for its results.
    slug: String,
}

/// How to run a sweep.
#[derive(Debug, Clone, Default)]
pub struct SweepOptions {
    /// Points at once; every core where absent.
    pub jobs: Option<usize>,
    /// Where each point's files go.
    pub out: Option<PathBuf>,
    /// Take a point's report from there if it was made from the same configuration by the same build, and is all there.
    pub resume: bool,
    /// Rooflines to compare with, by name.
    pub versus: Vec<String>,
}

/// What a point came to.
#[derive(Debug, Clone)]
pub struct PointResult {
    /// Its row of the comparison.
    pub row: ComparisonRow,
    /// The point beside rooflines, as text.
    pub versus: String,
    /// The error of bad input, where that is why there is no result.
    bad_input: Option<InputError>,
}

impl Sweep {
    /// Reads a sweep file. Its points are read when they run.
    ///
    /// # Errors
    /// The file cannot be used, or names an experiment that cannot be read.
    pub fn read(path: &Path, settings: &[String]) -> Result<Self, InputError> {
        let source = Source::read(path)?;
        let file: SweepFile = source.parse().map_err(|e| {
            let is_experiment = source.parse::<toml::Table>().is_ok_and(|t| t.contains_key("workload"));
            if is_experiment { e.help("this is an experiment file: run it with `banksia run`") } else { e }
        })?;
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut this = Self {
            name: file.name.clone().unwrap_or(stem),
            source,
            path: path.to_owned(),
            settings: settings.to_vec(),
            among_others: file.experiments.len() > 1,
            file,
            grid: 0,
            parts: Vec::new(),
            slugs: Vec::new(),
        };
        if this.file.sweeps.is_empty() {
            this.read_own()?;
        } else {
            this.read_parts()?;
        }
        if this.len() > MAX_POINTS {
            let key = if this.parts.is_empty() { "experiments" } else { "sweeps" };
            return Err(this.source.error(key, format!("makes more than {MAX_POINTS} points")));
        }
        let slugs = (0..this.len()).map(|i| slug::slug(&this.unnamed(i).slug)).collect();
        this.slugs = slug::distinct(slugs);
        Ok(this)
    }

    /// Its own experiments and what is varied in them.
    fn read_own(&mut self) -> Result<(), InputError> {
        let (file, source) = (&self.file, &self.source);
        if !source.parse::<toml::Table>().is_ok_and(|t| t.contains_key("experiments")) {
            let help = "list experiment files, or sweep files in `sweeps`";
            return Err(source.error("experiments", "is missing").help(help));
        }
        if file.experiments.is_empty() {
            let help = "list at least one experiment file";
            return Err(source.error("experiments", "names no experiment").help(help));
        }
        let mut grid = 1usize;
        for (i, vary) in file.vary.iter().enumerate() {
            let key = format!("vary[{i}].values");
            if vary.values.is_empty() {
                return Err(source.error(&key, "has no value to take"));
            }
            grid = grid.saturating_mul(vary.values.len());
            if grid > MAX_POINTS {
                return Err(source.error(&key, format!("makes more than {MAX_POINTS} points")));
            }
        }
        self.grid = if !file.points.is_empty() && file.vary.is_empty() { 0 } else { grid };
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        for name in &self.file.experiments {
            // What is set in every point must at least be settings.
            let set = Source::read(&folder.join(name))?.with_settings(&self.file.set);
            set.and_then(|s| s.with_settings(&self.settings)).map_err(|e| self.wrote(e))?;
        }
        Ok(())
    }

    /// The sweeps that it puts together. They have points of their own: no sweep is part of itself.
    fn read_parts(&mut self) -> Result<(), InputError> {
        let (file, source) = (&self.file, &self.source);
        let beside = [
            ("experiments", !file.experiments.is_empty()),
            ("set", !file.set.is_empty()),
            ("vary", !file.vary.is_empty()),
            ("point", !file.points.is_empty()),
        ];
        if let Some((key, _)) = beside.iter().find(|(_, written)| *written) {
            let error = source.error(key, "stands beside `sweeps`, whose files have points of their own");
            return Err(error.help(format!("write `{key}` in the files that `sweeps` lists")));
        }
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        let mut parts = Vec::with_capacity(file.sweeps.len());
        for (i, name) in file.sweeps.iter().enumerate() {
            let path = folder.join(name);
            let nested = Source::read(&path)?.parse::<toml::Table>().is_ok_and(|t| t.contains_key("sweeps"));
            if nested {
                let error =
                    source.error(&format!("sweeps[{i}]"), format!("is `{name}`, which puts sweeps together itself"));
                return Err(error.help("list the files of that one here"));
            }
            parts.push(Self { among_others: true, ..Self::read(&path, &self.settings)? });
        }
        self.parts = parts;
        Ok(())
    }

    /// Variants of each experiment.
    fn variants(&self) -> usize {
        self.file.points.len() + self.grid
    }

    /// How many points it has.
    pub fn len(&self) -> usize {
        let own = self.file.experiments.len().saturating_mul(self.variants());
        self.parts.iter().fold(own, |sum, part| sum.saturating_add(part.len()))
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sweep that a point is of, and its number there.
    fn part(&self, mut index: usize) -> (&Self, usize) {
        for part in &self.parts {
            if index < part.len() {
                return (part, index);
            }
            index -= part.len();
        }
        (self, index)
    }

    /// The point of a number, in the order of experiments, then of single points, then of the grid, whose last key varies fastest.
    fn point(&self, index: usize) -> Point {
        Point { slug: self.slugs[index].clone(), ..self.unnamed(index) }
    }

    /// The same with a slug that others may have as well.
    fn unnamed(&self, index: usize) -> Point {
        if !self.parts.is_empty() {
            let (part, index) = self.part(index);
            return part.unnamed(index);
        }
        let (experiment, variant) = (index / self.variants(), index % self.variants());
        let name = &self.file.experiments[experiment];
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        let stem = Path::new(name).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut point = Point {
            path: folder.join(name),
            set: self.file.set.clone(),
            variant: String::new(),
            settings: Vec::new(),
            slug: String::new(),
        };
        if let Some(single) = self.file.points.get(variant) {
            point.variant.clone_from(&single.name);
            point.set.extend(single.set.iter().cloned());
            point.settings = single.set.iter().filter_map(|s| setting(s)).collect();
        } else {
            let mut rest = variant - self.file.points.len();
            let mut below = self.grid;
            for vary in &self.file.vary {
                below /= vary.values.len();
                let value = &vary.values[rest / below];
                rest %= below;
                let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let short = vary.key.rsplit('.').next().unwrap_or(&vary.key);
                let comma = if point.variant.is_empty() { "" } else { ", " };
                point.variant.push_str(&format!("{comma}{short}={plain}"));
                point.set.push(format!("{}={value}", vary.key));
                point.settings.push((vary.key.clone(), plain));
            }
        }
        point.set.extend(self.settings.iter().cloned());
        point.slug = format!("{stem} {}", point.variant);
        point
    }

    /// Runs every point, in parallel; the results are in the order of the points, whatever the number of threads. `done` is
    /// called after each.
    ///
    /// # Errors
    /// Threads or the folder cannot be made, a roofline is unknown, or no point at all could be read: the error of the first.
    pub fn run(&self, options: &SweepOptions, done: &(dyn Fn() + Sync)) -> Result<Vec<PointResult>, Error> {
        for name in &options.versus {
            banksia_hw::roofline::Roofline::load(name)?;
        }
        let mut pool = rayon::ThreadPoolBuilder::new();
        if let Some(jobs) = options.jobs {
            if jobs == 0 || jobs > 4096 {
                return Err(InputError::new("--jobs", format!("is {jobs}: must be from 1 to 4096")).into());
            }
            pool = pool.num_threads(jobs);
        }
        let pool = pool.build().map_err(|e| Error::Failed(format!("threads cannot be started: {e}")))?;
        if let Some(out) = &options.out {
            kept::claim(out, &self.path)?;
        }
        let results: Vec<PointResult> = pool.install(|| {
            (0..self.len())
                .into_par_iter()
                .map(|index| {
                    let result = self.part(index).0.run_point(&self.point(index), options);
                    done();
                    result
                })
                .collect()
        });
        // Where nothing can be read, the sweep itself is at fault.
        if let Some(first) = results.first().and_then(|r| r.bad_input.clone())
            && results.iter().all(|r| r.bad_input.is_some())
        {
            return Err(first.into());
        }
        Ok(results)
    }

    fn run_point(&self, point: &Point, options: &SweepOptions) -> PointResult {
        match self.try_point(point, options) {
            Ok(result) => result,
            Err(error) => {
                let name = self.label(point, point.path.file_stem().map_or("", |s| s.to_str().unwrap_or_default()));
                let bad_input = match &error {
                    Error::Input(e) => Some(e.clone()),
                    _ => None,
                };
                let settings = point.settings.clone();
                let row = PointRow { name, settings, result: Err(error.to_string()) };
                PointResult { row: compare(&[row]).remove(0), versus: String::new(), bad_input }
            }
        }
    }

    /// What to call a point of an experiment.
    fn label(&self, point: &Point, experiment: &str) -> String {
        match (point.variant.is_empty(), self.among_others) {
            (true, _) => experiment.to_owned(),
            (false, true) => format!("{experiment}, {}", point.variant),
            (false, false) => point.variant.clone(),
        }
    }

    fn try_point(&self, point: &Point, options: &SweepOptions) -> Result<PointResult, Error> {
        let mut experiment = Experiment::read(&point.path, &point.set).map_err(|e| self.wrote(e))?;
        experiment.name = self.label(point, &experiment.name);
        let folder = options.out.as_ref().map(|out| out.join(&point.slug));
        let key = Key::of(&experiment);
        let known = folder.as_ref().filter(|_| options.resume).and_then(|f| kept::read(f, &key));
        let report = match known {
            Some(report) => report,
            None => self.simulate(&experiment, folder.as_deref(), &key)?,
        };
        let row = PointRow { name: experiment.name.clone(), settings: point.settings.clone(), result: Ok(&report) };
        let row = compare(&[row]).remove(0);
        let versus = beside(&experiment, &report, &options.versus)?;
        Ok(PointResult { row, versus, bad_input: None })
    }

    fn simulate(&self, experiment: &Experiment, folder: Option<&Path>, key: &Key) -> Result<RunReport, Error> {
        let last = experiment.plan.program_of(experiment.generation.generated_tokens);
        let options = RunOptions { timeline_step: folder.map(|_| last), ..RunOptions::default() };
        let (report, _) = run::run(experiment, options, &mut |_| {})?;
        if let Some(folder) = folder {
            kept::forget(folder)?;
            let files = write_directory(&report, folder)?;
            kept::write(folder, key, &files)?;
        }
        Ok(report)
    }

    /// An error about a setting that the sweep file wrote, as one about the sweep file.
    fn wrote(&self, error: InputError) -> InputError {
        let Some(setting) = error.file.strip_prefix("--set ") else { return error };
        if self.settings.iter().any(|s| s == setting) {
            return error;
        }
        let in_set = |list: &str, set: &[String]| Some(format!("{list}[{}]", set.iter().position(|s| s == setting)?));
        let file = &self.file;
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
        InputError { help: error.help, ..self.source.error(&key, problem) }
    }
}

/// A point beside the rooflines of some devices, as text.
fn beside(experiment: &Experiment, report: &RunReport, names: &[String]) -> Result<String, InputError> {
    let mut out = String::new();
    for v in versus::versus(experiment, report, names)? {
        out.push_str(&format!(
            "  {:<32} {:<16} {:>10}: {:>6} x its speed, {:>6} x its energy efficiency\n",
            report.name,
            v.device,
            quantity(v.roofline_s, "s"),
            number(v.speedup),
            number(v.energy_ratio)
        ));
    }
    Ok(out)
}

/// Key and value of a setting, the value as plain text.
fn setting(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let value = value.trim().trim_matches('"');
    Some((key.trim().to_owned(), value.to_owned()))
}
