//! `banksia sweep`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use banksia_experiments::build;
use banksia_experiments::cache::Cache;
use banksia_experiments::slurm::{self, Ended, Request};
use banksia_experiments::store::{Query, Store, network_file_system};
use banksia_experiments::sweep::{Ran, Shard, Sweep, SweepOptions};
use banksia_input::InputError;
use banksia_reports::units::{count, percent};
use banksia_reports::{
    ComparisonRow, comparison_csv, comparison_json, comparison_markdown, comparison_table, write_atomically,
};

use super::results::show;
use crate::CliError;
use crate::args::{Engine, Format, SweepArgs};
use crate::output::{color, note, print, width};
use crate::progress::Progress;

/// Of more points than these a sweep into a store says only how many there are.
const MOST_SHOWN: usize = 100;

pub(super) fn execute(args: &SweepArgs) -> Result<(), CliError> {
    let sweep = Sweep::read(&args.sweep, &args.settings)?;
    if args.dry_run {
        return dry_run(&sweep, args);
    }
    let options = SweepOptions {
        jobs: args.jobs,
        out: args.out.clone(),
        resume: args.resume,
        versus: args.versus.clone(),
        shard: shard(args.shard.as_deref())?,
        keep_reports: args.keep_reports,
        fail_fast: args.fail_fast,
        retry: args.retry,
        most_memory_bytes: memory(args.max_memory)?,
        cache: match &args.cache {
            _ if args.no_cache => None,
            Some(path) => Some(Cache::with_file(path)?),
            None => Some(Cache::in_memory()),
        },
        revision: env!("BANKSIA_REVISION").to_owned(),
        cancelled: Arc::default(),
    };
    match &args.store {
        None if args.engine == Engine::Slurm => {
            let error = InputError::new("--engine", "is `slurm`, and there is no store for its results");
            Err(error.help("add --store FILE.db").into())
        }
        Some(path) if args.engine == Engine::Slurm => on_slurm(&sweep, path, &options, args),
        Some(path) => into_store(&sweep, path, &options, args),
        None => compared(&sweep, &options, args),
    }
}

/// Which part of how many, counted from 1.
fn shard(text: Option<&str>) -> Result<Option<Shard>, InputError> {
    let Some(text) = text else { return Ok(None) };
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match parts {
        Some((i, of)) if i >= 1 && i <= of => Ok(Some(Shard { index: i - 1, of })),
        _ => {
            let error = InputError::new("--shard", format!("is `{text}`"));
            Err(error.help("write which part of how many, counted from 1: 1/4, 2/4, 3/4, 4/4"))
        }
    }
}

fn memory(gib: Option<f64>) -> Result<Option<u64>, InputError> {
    match gib {
        Some(gib) if !(gib.is_finite() && gib > 0.0) => {
            Err(InputError::new("--max-memory", format!("is {gib}: must be above 0")))
        }
        gib => Ok(gib.map(|gib| (gib * f64::from(1u32 << 30)) as u64)),
    }
}

fn dry_run(sweep: &Sweep, args: &SweepArgs) -> Result<(), CliError> {
    let shard = shard(args.shard.as_deref())?.unwrap_or(Shard { index: 0, of: 1 });
    let mut points = (shard.index..sweep.len()).step_by(shard.of).peekable();
    if args.format == Format::Json {
        let point = |i: usize| {
            let (name, settings) = sweep.describe(i);
            serde_json::json!({ "point": i + 1, "name": name, "settings": settings.into_iter().collect::<std::collections::BTreeMap<_, _>>() })
        };
        return print(&crate::output::json("points", &points.map(point).collect::<Vec<_>>())?);
    }
    // In pieces: a pipe that is closed early ends it.
    while points.peek().is_some() {
        let lines = points.by_ref().take(1000).map(|i| {
            let (name, settings) = sweep.describe(i);
            let settings: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{:>6}  {name}  [{}]\n", i + 1, settings.join(" "))
        });
        print(&lines.collect::<String>())?;
    }
    note(&format!("{} points", count(sweep.len() as u64)));
    Ok(())
}

/// Points side by side, in memory.
fn compared(sweep: &Sweep, options: &SweepOptions, args: &SweepArgs) -> Result<(), CliError> {
    let progress = Progress::new(sweep.len() as u64, "points");
    let results = sweep.run(options, &|| progress.one())?;
    drop(progress);
    let rows: Vec<ComparisonRow> = results.iter().map(|r| r.row.clone()).collect();
    print(&match args.format {
        Format::Table => format!("{}\n{}", sweep.name, comparison_table(&rows, width(), color())),
        Format::Json => comparison_json(&rows)?,
    })?;
    if !args.versus.is_empty() && args.format == Format::Table {
        print("\nBeside plain rooflines (data-sheet peaks; no real device reaches them)\n")?;
        print(&results.iter().map(|r| r.versus.as_str()).collect::<String>())?;
    }
    if let Some(folder) = &args.out {
        write_atomically(&folder.join("comparison.csv"), comparison_csv(&rows)?.as_bytes())?;
        write_atomically(&folder.join("comparison.json"), comparison_json(&rows)?.as_bytes())?;
        write_atomically(&folder.join("comparison.md"), comparison_markdown(&rows).as_bytes())?;
        note(&format!("{} points and their comparison in {}", rows.len(), folder.display()));
    }
    let failed = rows.iter().filter(|r| r.error.is_some()).count();
    if failed == rows.len() {
        return Err(CliError::Failed(rows.first().and_then(|r| r.error.clone()).unwrap_or_default()));
    }
    if failed > 0 {
        note(&format!("{failed} of {} points have an error in place of a result", rows.len()));
    }
    Ok(())
}

fn into_store(sweep: &Sweep, path: &Path, options: &SweepOptions, args: &SweepArgs) -> Result<(), CliError> {
    let store = Store::open(path)?;
    if let Some(kind) = network_file_system(path) {
        note(&format!(
            "warning: {} is on a network file system ({kind}): let one process write it; several write one store each on a disk of \
             their own, and `banksia results STORE --merge` joins them",
            path.display()
        ));
    }
    let others = store.builds()?;
    let older: u64 = others.iter().filter(|b| b.build != build()).map(|b| b.points).sum();
    if older > 0 {
        note(&format!(
            "{} points of the store are of other builds; they stay, and points are run again for this one",
            count(older)
        ));
    }
    interruptible(&options.cancelled);
    let points = options.shard.map_or(sweep.len(), |s| sweep.len().saturating_sub(s.index).div_ceil(s.of));
    let progress = Progress::new(points as u64, "points");
    let failed = AtomicU64::new(0);
    let begun = Instant::now();
    let copies = args.copy_to.as_deref().map(|to| Copies::start(path, to, args.copy_every)).transpose()?;
    let ran = sweep.run_into(store, options, &|_, error| {
        if error {
            let n = failed.fetch_add(1, Ordering::Relaxed) + 1;
            progress.say(&format!("points, {n} failed"));
        }
        progress.one();
    })?;
    drop(progress);
    copies.map(Copies::finish).transpose()?;
    let wall_s = begun.elapsed().as_secs_f64();
    note(&summary(sweep, &ran, wall_s, options.jobs, path));
    if ran.left > 0 && options.cancelled.load(Ordering::Relaxed) {
        std::process::exit(130);
    }
    if options.fail_fast && ran.failed > 0 {
        return Err(CliError::Failed(ran.first_error.unwrap_or_default()));
    }
    if ran.simulated > 0 && ran.failed == ran.simulated && ran.there == 0 {
        return Err(CliError::Failed(ran.first_error.unwrap_or_default()));
    }
    let query = Query::default();
    let small = sweep.len() <= MOST_SHOWN && options.shard.is_none();
    match (args.format, small) {
        (Format::Json, _) | (Format::Table, true) => show(&Store::open_existing(path)?.points(&query)?, args.format),
        (Format::Table, false) => Ok(()),
    }
}

/// The first interrupt asks for an end, the second ends the process; what is committed stays either way.
fn interruptible(cancelled: &Arc<AtomicBool>) {
    let cancelled = Arc::clone(cancelled);
    let set = ctrlc::set_handler(move || {
        if cancelled.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(e) = set {
        note(&format!("warning: an interrupt will end the process at once: {e}"));
    }
}

/// Copies of a store, made while it is written.
struct Copies {
    ended: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<(), CliError>>,
}

impl Copies {
    fn start(store: &Path, to: &Path, every_s: f64) -> Result<Self, InputError> {
        if !(0.1..=86_400.0).contains(&every_s) {
            return Err(InputError::new("--copy-every", format!("is {every_s}: must be from 0.1 to 86400")));
        }
        let ended = Arc::new(AtomicBool::new(false));
        let (flag, store, to) = (Arc::clone(&ended), store.to_owned(), to.to_owned());
        let thread = std::thread::spawn(move || {
            loop {
                let begun = Instant::now();
                while begun.elapsed().as_secs_f64() < every_s && !flag.load(Ordering::Relaxed) {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                let last = flag.load(Ordering::Relaxed);
                Store::open_existing(&store)?.copy_to(&to)?;
                if last {
                    return Ok(());
                }
            }
        });
        Ok(Self { ended, thread })
    }

    /// Makes the last one.
    fn finish(self) -> Result<(), CliError> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(CliError::Failed("the store's copies stopped".to_owned())))
    }
}

fn on_slurm(sweep: &Sweep, path: &Path, options: &SweepOptions, args: &SweepArgs) -> Result<(), CliError> {
    if !slurm::available() {
        let error = InputError::new("--engine", "is `slurm`, and there is no `sbatch` here");
        return Err(error.help("run it where jobs are submitted, or use --shard I/N with another scheduler").into());
    }
    // What is wrong is found here rather than on the cluster.
    let bad = sweep.unreadable();
    if let Some((name, first)) = bad.first() {
        note(&format!(
            "{} of {} points cannot be read, and will be rows with an error; the first, {name}: {first}",
            bad.len(),
            sweep.len()
        ));
        if bad.len() == sweep.len() {
            return Err(first.clone().into());
        }
    }
    let program = std::env::current_exe()
        .map_err(|e| CliError::Failed(format!("the program does not know its own file: {e}")))?;
    interruptible(&options.cancelled);
    let request = Request {
        sweep,
        settings: &args.settings,
        store: path,
        program: &program,
        submit_only: args.submit_only,
        cancelled: &options.cancelled,
    };
    let bar = Progress::new(sweep.len() as u64, "points");
    let ended = slurm::run(&request, &mut |p| {
        bar.of(p.done, p.points);
        bar.say(&format!("points, {} tasks run, {} wait, {} sent again", p.running, p.waiting, p.sent_again));
    })?;
    drop(bar);
    match ended {
        Ended::Submitted(p) => {
            note(&format!(
                "{} of {} points are done; the tasks are with Slurm: the same command follows them",
                count(p.done),
                count(p.points)
            ));
            Ok(())
        }
        Ended::Complete(p) => {
            note(&format!(
                "{}: {} points, {} shards sent again\n`banksia results {}` shows them",
                sweep.name,
                count(p.points),
                p.sent_again,
                path.display()
            ));
            Ok(())
        }
    }
}

fn summary(sweep: &Sweep, ran: &Ran, wall_s: f64, jobs: Option<usize>, path: &Path) -> String {
    let mut text = format!("{}: {} points simulated in {wall_s:.1} s", sweep.name, count(ran.simulated));
    let workers = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    if ran.simulated > 0 {
        let share = ran.busy_s / (wall_s * workers as f64);
        text.push_str(&format!(", {workers} at once ({} busy)", percent(share.min(1.0))));
    }
    if ran.there > 0 {
        text.push_str(&format!("; {} were there", count(ran.there)));
    }
    if ran.failed > 0 {
        text.push_str(&format!("; {} have an error in place of a result", count(ran.failed)));
    }
    if ran.left > 0 {
        text.push_str(&format!("; stopped, {} are left: run it again to go on", count(ran.left)));
    }
    text.push_str(&format!("\n`banksia results {}` shows them", path.display()));
    text
}
