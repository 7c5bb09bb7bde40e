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
//! `docs/sweeps.md` has every key: ranges, zipped keys, samples, conditions, derived values, a baseline, objectives.
//!
//! A point is read by the worker that runs it. One that cannot be read, does not fit or fails is a row with its error, and the
//! others go on.

mod axes;
mod expression;
mod file;
mod identity;
mod run;
pub(crate) mod schema;
mod slug;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use banksia_input::{InputError, Source};

use self::axes::Axes;
use self::expression::Expression;
use self::file::{MAX_POINTS, SweepFile};

use crate::experiment::Experiment;
use crate::shipped;

pub use run::{PointResult, Ran, Shard, SweepOptions};

/// A sweep: its points are made when they are asked for.
#[derive(Debug)]
pub struct Sweep {
    /// Its name.
    pub name: String,
    source: Source,
    path: PathBuf,
    file: SweepFile,
    settings: Vec<String>,
    /// What is varied.
    axes: Axes,
    /// Combinations of all varied values, or samples.
    grid: usize,
    /// The experiments' own tables, where conditions and derived values look keys up.
    tables: Vec<toml::Table>,
    derived: Vec<(String, Expression)>,
    /// The points that meet the conditions, by their place among all; every one where there are none.
    kept: Option<Vec<u32>>,
    /// The sweeps that it puts together, in place of points of its own.
    parts: Vec<Sweep>,
    /// Whether a point must be told apart from those of other experiments.
    among_others: bool,
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
    /// What its folder is named after.
    folder: String,
    /// Why it cannot be made.
    wrong: Option<InputError>,
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
            axes: Axes::default(),
            grid: 0,
            tables: Vec::new(),
            derived: Vec::new(),
            kept: None,
            parts: Vec::new(),
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
        self.axes = Axes::read(source, &file.vary, file.sample)?;
        self.grid = if !file.points.is_empty() && file.vary.is_empty() { 0 } else { self.axes.len() };
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        for name in &self.file.experiments {
            // What is set in every point must at least be settings.
            let set = Experiment::source(&beside(folder, name))?.with_settings(&self.file.set);
            let set = set.and_then(|s| s.with_settings(&self.settings)).map_err(|e| self.wrote(e))?;
            self.tables.push(set.parse()?);
        }
        self.read_derived()?;
        self.read_baseline()?;
        self.keep_points()
    }

    /// Derived values: each may use those above it.
    fn read_derived(&mut self) -> Result<(), InputError> {
        for (key, value) in &self.file.derive {
            let Some(text) = value.as_str() else {
                let error = self
                    .source
                    .error(&format!("derive.\"{key}\""), format!("is {value}: must be an expression in quotes"));
                return Err(error.help("as in: \"machine.vector_unit.clock_mhz\" = \"125 * machine.memory.channels\""));
            };
            let before = self.derived.clone();
            let known =
                |name: &str| self.file.vary.iter().any(|v| v.key == name) || before.iter().any(|(key, _)| key == name);
            self.derived.push((key.clone(), Expression::new(text, known)));
        }
        Ok(())
    }

    /// The baseline is of keys that are varied.
    fn read_baseline(&self) -> Result<(), InputError> {
        for key in self.file.baseline.keys() {
            let varied = self.file.vary.iter().map(|v| v.key.as_str());
            if !varied.clone().any(|k| k == key) && key != "experiment" {
                let error = self.source.unknown_name("baseline", "varied key", key, varied);
                return Err(error
                    .help("name keys of [[vary]], or `experiment`, each with the value that others are set against"));
            }
        }
        Ok(())
    }

    /// Which points meet the conditions.
    fn keep_points(&mut self) -> Result<(), InputError> {
        if self.file.conditions.is_empty() {
            return Ok(());
        }
        let known = |name: &str| {
            self.file.vary.iter().any(|v| v.key == name) || self.derived.iter().any(|(key, _)| key == name)
        };
        let conditions: Vec<Expression> = self.file.conditions.iter().map(|c| Expression::new(c, known)).collect();
        let all = self.file.experiments.len().saturating_mul(self.variants());
        if all > MAX_POINTS {
            return Err(self.source.error("where", format!("would be tried on more than {MAX_POINTS} points")));
        }
        let mut kept = Vec::new();
        for index in 0..all {
            let point = self.whole(index);
            let mut holds = true;
            for (i, condition) in conditions.iter().enumerate() {
                let value = |key: &str| self.value(&point, index, key);
                holds &= condition.holds(value).map_err(|e| self.source.error(&format!("where[{i}]"), e))?;
            }
            if holds {
                kept.push(index as u32);
            }
        }
        if kept.is_empty() {
            return Err(self.source.error("where", format!("leaves none of {all} points")));
        }
        self.kept = Some(kept);
        Ok(())
    }

    /// The value of a key in a point: as it is set there, or as the experiment's file has it.
    fn value(&self, point: &Point, index: usize, key: &str) -> Option<toml::Value> {
        let set = point.set.iter().rev().find_map(|s| {
            let (k, v) = s.split_once('=')?;
            (k.trim() == key).then_some(v.trim())
        });
        if let Some(text) = set {
            let parsed = toml::from_str::<toml::Table>(&format!("v = {text}")).ok().and_then(|mut t| t.remove("v"));
            return Some(parsed.unwrap_or_else(|| toml::Value::String(text.to_owned())));
        }
        let mut table = self.tables.get(index / self.variants().max(1))?;
        let mut parts = key.split('.').peekable();
        loop {
            let value = table.get(parts.next()?)?;
            if parts.peek().is_none() {
                return Some(value.clone());
            }
            table = value.as_table()?;
        }
    }

    /// The sweeps that it puts together. They have points of their own: no sweep is part of itself.
    fn read_parts(&mut self) -> Result<(), InputError> {
        let (file, source) = (&self.file, &self.source);
        let beside = [
            ("experiments", !file.experiments.is_empty()),
            ("set", !file.set.is_empty()),
            ("vary", !file.vary.is_empty()),
            ("point", !file.points.is_empty()),
            ("derive", !file.derive.is_empty()),
            ("where", !file.conditions.is_empty()),
            ("sample", file.sample.is_some()),
            ("baseline", !file.baseline.is_empty()),
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
        let all = self.file.experiments.len().saturating_mul(self.variants());
        let own = self.kept.as_ref().map_or(all, Vec::len);
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
        if !self.parts.is_empty() {
            let (part, index) = self.part(index);
            return part.point(index);
        }
        self.whole(self.kept.as_ref().map_or(index, |kept| kept[index] as usize))
    }

    /// The same among all points, whether they meet the conditions or not.
    fn whole(&self, index: usize) -> Point {
        let (experiment, variant) = (index / self.variants(), index % self.variants());
        let name = &self.file.experiments[experiment];
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        let stem = Path::new(name).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut point = Point {
            path: beside(folder, name),
            set: self.file.set.clone(),
            variant: String::new(),
            settings: Vec::new(),
            folder: String::new(),
            wrong: None,
        };
        if let Some(single) = self.file.points.get(variant) {
            point.variant.clone_from(&single.name);
            point.set.extend(single.set.iter().cloned());
            point.settings = single.set.iter().filter_map(|s| setting(s)).collect();
        } else {
            for (key, value) in self.axes.settings(variant - self.file.points.len()) {
                let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let short = key.rsplit('.').next().unwrap_or(key);
                let comma = if point.variant.is_empty() { "" } else { ", " };
                point.variant.push_str(&format!("{comma}{short}={plain}"));
                point.set.push(format!("{key}={value}"));
                point.settings.push((key.to_owned(), plain));
            }
        }
        for (key, expression) in &self.derived {
            match expression.value(|k| self.value(&point, index, k)) {
                Ok(value) => {
                    let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    point.set.push(format!("{key}={value}"));
                    point.settings.push((key.clone(), plain));
                }
                Err(e) => point.wrong = Some(self.source.error(&format!("derive.\"{key}\""), e)),
            }
        }
        point.set.extend(self.settings.iter().cloned());
        point.folder = format!("{stem} {}", point.variant);
        point
    }

    /// What to call a point of an experiment.
    fn label(&self, point: &Point, experiment: &str) -> String {
        match (point.variant.is_empty(), self.among_others) {
            (true, _) => experiment.to_owned(),
            (false, true) => format!("{experiment}, {}", point.variant),
            (false, false) => point.variant.clone(),
        }
    }

    /// A point's name, by its experiment's file, and what is set in it.
    pub fn describe(&self, index: usize) -> (String, Vec<(String, String)>) {
        let point = self.point(index);
        let stem = point.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        (self.part(index).0.label(&point, &stem), point.settings)
    }

    /// Every key that is set in some point, in the order of the files.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        let singles = self.file.points.iter().flat_map(|p| p.set.iter().filter_map(|s| setting(s))).map(|(key, _)| key);
        let own =
            self.file.vary.iter().map(|v| v.key.clone()).chain(singles).chain(self.derived.iter().map(|d| d.0.clone()));
        for key in own.chain(self.parts.iter().flat_map(Self::keys)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Keys and values of the points that others are set against.
    pub fn baseline(&self) -> BTreeMap<String, String> {
        let plain = |v: &toml::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        self.file.baseline.iter().map(|(key, value)| (key.clone(), plain(value))).collect()
    }

    /// Columns to look at first, `max` before those that are better when larger.
    pub fn objectives(&self) -> &[String] {
        &self.file.objectives
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its file says of a cluster.
    pub fn slurm(&self) -> (&toml::Table, &Source) {
        (&self.file.slurm, &self.source)
    }

    /// The text of its file, and of those that it puts together.
    pub fn text(&self) -> String {
        let parts = self.parts.iter().map(|part| format!("\n# {}\n{}", part.path.display(), part.text()));
        self.source.text().to_owned() + &parts.collect::<String>()
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

/// An experiment's file beside a sweep's, or the name of one that comes with the program.
fn beside(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    if !path.exists() && shipped::source(name).is_some() { PathBuf::from(name) } else { path }
}

/// Key and value of a setting, the value as plain text.
fn setting(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let value = value.trim().trim_matches('"');
    Some((key.trim().to_owned(), value.to_owned()))
}
