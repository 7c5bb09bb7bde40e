//! Running the points of a sweep: on all cores, each read by the worker that runs it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use banksia_hw::gpu::LaunchCache;
use banksia_hw::system::RunOptions;
use banksia_input::InputError;
use banksia_reports::units::{number, quantity};
use banksia_reports::{ComparisonRow, PointRow, RunReport, compare, report_json, write_directory};
use flate2::Compression;
use flate2::write::GzEncoder;
use rayon::prelude::*;

use super::identity::Inputs;
use super::slug;
use super::{Point, Sweep};
use crate::error::Error;
use crate::experiment::Experiment;
use crate::kept::{self, Key};
use crate::store::{Finished, Store, SweepInfo};
use crate::{run, versus};

/// One of several equal parts of a sweep: points whose number leaves `index` when divided by `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
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
    /// Only this part of the points.
    pub shard: Option<Shard>,
    /// Keep whole reports in the store.
    pub keep_reports: bool,
    /// Stop at the first point that fails.
    pub fail_fast: bool,
    /// Run points again of which the store has an error.
    pub retry: bool,
    /// No further point begins while the process has more memory than this and another point runs.
    pub most_memory_bytes: Option<u64>,
    /// Results of launches that are known.
    pub cache: Option<Arc<dyn LaunchCache>>,
    /// The commit that the program was built from.
    pub revision: String,
    /// Set from outside: no further point begins.
    pub cancelled: Arc<AtomicBool>,
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

/// What running a sweep into a store came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ran {
    /// Points simulated.
    pub simulated: u64,
    /// Points that were in the store already.
    pub there: u64,
    /// Points simulated that came to an error.
    pub failed: u64,
    /// The first of these errors.
    pub first_error: Option<String>,
    /// Points that were not begun, since the sweep was stopped.
    pub left: u64,
    /// Seconds of all points simulated, added up.
    pub busy_s: f64,
}

/// Counts points that run, so that no more begin than there is memory for.
#[derive(Default)]
struct Gate {
    running: Mutex<u64>,
    ended: Condvar,
}

impl Gate {
    /// Waits until a point may begin: alone, or while there is memory.
    fn enter(&self, most_bytes: Option<u64>) {
        let Ok(mut running) = self.running.lock() else { return };
        while *running > 0 && most_bytes.is_some_and(|most| resident_bytes() > most) {
            let Ok(waited) = self.ended.wait(running) else { return };
            running = waited;
        }
        *running += 1;
    }

    fn leave(&self) {
        if let Ok(mut running) = self.running.lock() {
            *running -= 1;
        }
        self.ended.notify_all();
    }
}

/// Memory that the process has; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

impl Sweep {
    fn pool(options: &SweepOptions) -> Result<rayon::ThreadPool, Error> {
        let mut pool = rayon::ThreadPoolBuilder::new();
        if let Some(jobs) = options.jobs {
            if jobs == 0 || jobs > 4096 {
                return Err(InputError::new("--jobs", format!("is {jobs}: must be from 1 to 4096")).into());
            }
            pool = pool.num_threads(jobs);
        }
        pool.build().map_err(|e| Error::Failed(format!("threads cannot be started: {e}")))
    }

    /// The numbers of the points of a shard.
    fn chosen(&self, shard: Option<Shard>) -> impl IndexedParallelIterator<Item = usize> {
        let Shard { index, of } = shard.unwrap_or(Shard { index: 0, of: 1 });
        let count = self.len().saturating_sub(index).div_ceil(of);
        // One by one: points differ too much for equal parts.
        (0..count).into_par_iter().map(move |i| index + i * of).with_max_len(1)
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
        let pool = Self::pool(options)?;
        let mut folders = Vec::new();
        if let Some(out) = &options.out {
            kept::claim(out, self.path())?;
            folders = slug::distinct((0..self.len()).map(|i| slug::slug(&self.point(i).folder)).collect());
        }
        let results: Vec<PointResult> = pool.install(|| {
            let run = |index: usize| {
                let folder = options.out.as_ref().zip(folders.get(index)).map(|(out, name)| out.join(name));
                let result = self.part(index).0.run_point(&self.point(index), folder.as_deref(), options);
                done();
                result
            };
            self.chosen(options.shard).map(run).collect()
        });
        // Where nothing can be read, the sweep itself is at fault.
        if let Some(first) = results.first().and_then(|r| r.bad_input.clone())
            && results.iter().all(|r| r.bad_input.is_some())
        {
            return Err(first.into());
        }
        Ok(results)
    }

    /// Runs every point that a store does not have of this build, and puts it there. `done` is called after each with whether it was
    /// simulated, and whether it failed.
    ///
    /// # Errors
    /// Threads cannot be made, or the store cannot be written.
    pub fn run_into(
        &self,
        store: Store,
        options: &SweepOptions,
        done: &(dyn Fn(bool, bool) + Sync),
    ) -> Result<Ran, Error> {
        let pool = Self::pool(options)?;
        let id = store.register(&self.info())?;
        let known = store.known(kept::build(), !options.retry)?;
        let writer = store.writer(id, kept::build(), &options.revision);
        let (there, left, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let ran = Mutex::new(Ran::default());
        let gate = Gate::default();
        let inputs = Inputs::default();
        let one = |index: usize| {
            let stopped = options.cancelled.load(Ordering::Relaxed)
                || (options.fail_fast && failed.load(Ordering::Relaxed))
                || writer.has_failed();
            if stopped {
                left.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let begun = Instant::now();
            let part = self.part(index).0;
            let point = self.point(index);
            let key = inputs.identity(&point);
            if known.contains(&key) {
                writer.stands(key, index as u64);
                there.fetch_add(1, Ordering::Relaxed);
                done(false, false);
                return;
            }
            gate.enter(options.most_memory_bytes);
            let finished = part.finish(&point, key, index, options, begun);
            gate.leave();
            let error = finished.row.error.clone();
            failed.fetch_or(error.is_some(), Ordering::Relaxed);
            if let Ok(mut ran) = ran.lock() {
                ran.simulated += 1;
                ran.failed += u64::from(error.is_some());
                ran.busy_s += finished.wall_s;
                if ran.first_error.is_none() {
                    ran.first_error.clone_from(&error);
                }
            }
            writer.finished(finished);
            done(true, error.is_some());
        };
        pool.install(|| self.chosen(options.shard).for_each(one));
        writer.close()?;
        let ran = ran.into_inner().unwrap_or_default();
        Ok(Ran { there: there.into_inner(), left: left.into_inner(), ..ran })
    }

    /// The points that cannot be read, and why; all are tried.
    pub fn unreadable(&self) -> Vec<(String, InputError)> {
        let read = |index: usize| {
            let (part, point) = (self.part(index).0, self.point(index));
            match part.read_point(&point) {
                Err(Error::Input(e)) => Some((part.name_of(&point), e)),
                _ => None,
            }
        };
        (0..self.len()).into_par_iter().filter_map(read).collect()
    }

    /// The sweep as a store knows it.
    pub fn info(&self) -> SweepInfo {
        let path = std::fs::canonicalize(self.path()).unwrap_or_else(|_| self.path().to_owned());
        SweepInfo {
            path: path.display().to_string(),
            name: self.name.clone(),
            text: self.text(),
            keys: self.keys(),
            baseline: self.baseline(),
            objectives: self.objectives().to_vec(),
            points: self.len() as u64,
        }
    }

    fn read_point(&self, point: &Point) -> Result<Experiment, Error> {
        if let Some(wrong) = &point.wrong {
            return Err(wrong.clone().into());
        }
        let mut experiment = Experiment::read(&point.path, &point.set).map_err(|e| self.wrote(e))?;
        experiment.name = self.label(point, &experiment.name);
        Ok(experiment)
    }

    /// The name of a point that could not be read.
    fn name_of(&self, point: &Point) -> String {
        self.label(point, point.path.file_stem().map_or("", |s| s.to_str().unwrap_or_default()))
    }

    fn finish(&self, point: &Point, key: String, index: usize, options: &SweepOptions, begun: Instant) -> Finished {
        let experiment = self.read_point(point);
        let (sha, seed) = match &experiment {
            Ok(e) => (Some(run::configuration_sha256(e)), Some(e.seed)),
            Err(_) => (None, None),
        };
        let name = experiment.as_ref().map_or_else(|_| self.name_of(point), |e| e.name.clone());
        let settings = point.settings.clone();
        let result = experiment
            .and_then(|e| Ok(run::run_with(&e, RunOptions::default(), options.cache.as_ref(), &mut |_| {})?.0));
        let (row, report) = match result {
            Ok(report) => {
                let row = compare(&[PointRow { name, settings, result: Ok(&report) }]).remove(0);
                (row, if options.keep_reports { packed(&report) } else { None })
            }
            Err(error) => (compare(&[PointRow { name, settings, result: Err(error.to_string()) }]).remove(0), None),
        };
        let wall_s = begun.elapsed().as_secs_f64();
        let experiment = point.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Finished { key, ordinal: index as u64, configuration_sha256: sha, seed, experiment, wall_s, row, report }
    }

    fn run_point(&self, point: &Point, folder: Option<&Path>, options: &SweepOptions) -> PointResult {
        match self.try_point(point, folder, options) {
            Ok(result) => result,
            Err(error) => {
                let bad_input = match &error {
                    Error::Input(e) => Some(e.clone()),
                    _ => None,
                };
                let settings = point.settings.clone();
                let row = PointRow { name: self.name_of(point), settings, result: Err(error.to_string()) };
                PointResult { row: compare(&[row]).remove(0), versus: String::new(), bad_input }
            }
        }
    }

    fn try_point(&self, point: &Point, folder: Option<&Path>, options: &SweepOptions) -> Result<PointResult, Error> {
        let experiment = self.read_point(point)?;
        let key = Key::of(&experiment);
        let known = folder.filter(|_| options.resume).and_then(|f| kept::read(f, &key));
        let report = match known {
            Some(report) => report,
            None => self.simulate(&experiment, folder, &key, options.cache.as_ref())?,
        };
        let row = PointRow { name: experiment.name.clone(), settings: point.settings.clone(), result: Ok(&report) };
        let row = compare(&[row]).remove(0);
        let versus = beside(&experiment, &report, &options.versus)?;
        Ok(PointResult { row, versus, bad_input: None })
    }

    fn simulate(
        &self,
        experiment: &Experiment,
        folder: Option<&Path>,
        key: &Key,
        cache: Option<&Arc<dyn LaunchCache>>,
    ) -> Result<RunReport, Error> {
        let last = experiment.plan.program_of(experiment.generation.generated_tokens);
        let options = RunOptions { timeline_step: folder.map(|_| last), ..RunOptions::default() };
        let (report, _) = run::run_with(experiment, options, cache, &mut |_| {})?;
        if let Some(folder) = folder {
            kept::forget(folder)?;
            let files = write_directory(&report, folder)?;
            kept::write(folder, key, &files)?;
        }
        Ok(report)
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

/// A report as the store keeps it; none where it cannot be packed.
fn packed(report: &RunReport) -> Option<Vec<u8>> {
    use std::io::Write;
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(report_json(report).ok()?.as_bytes()).ok()?;
    packer.finish().ok()
}
