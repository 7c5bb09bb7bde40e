//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use crate::format::Format;

/// Version and commit.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BANKSIA_REVISION"), ")");

/// A cycle-accurate simulator of the machines that run transformers.
#[derive(Debug, Parser)]
#[command(name = "banksia", version = VERSION, about, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const RUN_EXAMPLES: &str = "\
Examples:
  banksia run configs/pim-gpt/gpt3-xl.toml --versus t4
  banksia run configs/gpu/gpt2-xl-h200.toml --set machine.base=a100 --set workload.generation.batch=16
  banksia run configs/gpu/gpt2-xl-h200.toml --set machine.dram.channels=40 --set mapping.launch=eager --out DIR";

const SWEEP_EXAMPLES: &str = "\
Examples:
  banksia sweep configs/pim-gpt/sensitivity.toml
  banksia sweep sweep.toml --dry-run
  banksia sweep sweep.toml --store results.db          # run again, it goes on where it was stopped
  banksia sweep sweep.toml --store part2.db --shard 2/4 --jobs 8";

const RESULTS_EXAMPLES: &str = "\
Examples:
  banksia results results.db --where 'machine.memory.channels >= 16' --sort latency_s
  banksia results results.db --pivot machine.memory.channels,workload.model,latency_s
  banksia results results.db --pareto latency_s,energy_j --export front.csv
  banksia results results.db --diff older.db";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  banksia schema experiment > experiment.schema.json
  banksia schema machine > machine.schema.json

With the extension Even Better TOML (or any editor with Taplo), name the schema in the first line of a file:
  #:schema ./experiment.schema.json";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one experiment and print its report.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Run many experiments, in parallel, and compare them.
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep(SweepArgs),
    /// Show the points of a results store: filtered, sorted, as a table of two keys, or as a file.
    #[command(after_help = RESULTS_EXAMPLES)]
    Results(ResultsArgs),
    /// Draw a plot from reports or CSV files.
    Plot(PlotArgs),
    /// Print how an experiment's model lies in its machine's memory: bytes, rows and use of the units by matrix; for a GPU,
    /// the kernels that each operator of a step is launched as.
    Map(MapArgs),
    /// Set experiments side by side: where time, energy and bytes differ, what is equal, and whether the conclusion depends on what is assumed.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Run memory requests through a DRAM device's controller.
    Memory(crate::memory::MemoryArgs),
    /// Run a network on a chip (latency by load, saturation), or collectives on a fabric (time, bandwidth, bounds), with the load of links.
    Net(crate::net::NetArgs),
    /// Run instructions, or a matrix-vector product, on a PIM device.
    Pim(crate::pim::PimArgs),
    /// Compare the models with other simulators and with real kernels, and print the errors.
    Validate(ValidateArgs),
    /// List what the catalogs hold.
    List(ListArgs),
    /// Print one entry of a catalog, fully resolved.
    Show(ShowArgs),
    /// Turn another tool's file into one of Banksia's.
    Import(ImportArgs),
    /// Make one HTML page of a store, a sweep's folder or a run's: table, figures, interactive plots, timeline.
    Report(ReportArgs),
    /// Write a commented experiment, or sweep, to start from.
    Init(InitArgs),
    /// Print the JSON schema of a format of files, by which editors complete and check keys.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema(SchemaArgs),
    /// Print completions for a shell: `banksia completions bash > ~/.local/share/bash-completion/completions/banksia`.
    Completions(CompletionsArgs),
    /// Write man pages, one a command.
    Man(ManArgs),
}

/// How finely a run is simulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum RunDetail {
    /// Some waves of large kernels.
    #[default]
    Fast,
    /// Every line of every wave.
    Exact,
}

/// What every run can be told.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The experiment file, or the name of one of `banksia list experiments`.
    pub experiment: PathBuf,
    /// Write a value over one of the file's keys, as in `--set machine.memory.channels=16`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Also write report.json, CSV files, plots and the timeline into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write the timeline of one token as a Chrome trace (open it in Perfetto).
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// The token of the timeline, from 1 [default: the last].
    #[arg(long, value_name = "N")]
    pub timeline_token: Option<u64>,
    /// Keep results of GPU launches in this file for other runs; they never change a report.
    #[arg(long, value_name = "FILE", conflicts_with = "exact_stepping")]
    pub cache: Option<PathBuf>,
    /// Work out every command and every launch one by one, where an equal one is otherwise repeated. The result is the same.
    #[arg(long)]
    pub exact_stepping: bool,
    /// How finely kernels of GPUs are run: `fast` runs some waves of large ones, and says how much of the time that is; `exact` runs
    /// every line of every wave.
    #[arg(long, value_enum, default_value_t)]
    pub detail: RunDetail,
    /// Also say, on standard error, what the mapping chose: its strategy, and the kernels, tiles or rows of each operator.
    #[arg(short, long)]
    pub verbose: bool,
    /// Run this program file (see `banksia map --program`) on the experiment's machine, instead of the mapped model.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Compare with the roofline of a device from `banksia list rooflines`; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub versus: Vec<String>,
}

/// Where the points of a sweep run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// On this machine.
    #[default]
    Local,
    /// On a cluster.
    Slurm,
}

/// A sweep.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The sweep file.
    pub sweep: PathBuf,
    /// Write a value over a key of every experiment.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Put every point into this results store, and run only those that it does not have of this build.
    #[arg(long, value_name = "FILE.db", conflicts_with_all = ["out", "resume", "versus"])]
    pub store: Option<PathBuf>,
    /// Write every point's files and the comparison into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How many points to run at once [default: the number of cores].
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Only print the points.
    #[arg(long, conflicts_with_all = ["store", "out"])]
    pub dry_run: bool,
    /// Run one of several equal parts, as in 2/4: for schedulers that start processes of their own.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// Where points run: on this machine, or as an array of tasks that Slurm schedules, as the sweep file's `[slurm]` says. The same command
    /// finds tasks that were submitted before.
    #[arg(long, value_enum, default_value_t)]
    pub engine: Engine,
    /// Return once the tasks are with Slurm.
    #[arg(long, requires = "store")]
    pub submit_only: bool,
    /// Keep results of GPU launches in this file for other runs; they never change a report. Without it they are kept for the points of this
    /// sweep.
    #[arg(long, value_name = "FILE")]
    pub cache: Option<PathBuf>,
    /// Simulate every launch, also those that other points had.
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
    /// Copy the store there every so often, and at the end.
    #[arg(long, requires = "store", value_name = "FILE", hide = true)]
    pub copy_to: Option<PathBuf>,
    /// Seconds between copies.
    #[arg(long, requires = "copy_to", value_name = "S", default_value_t = 30.0, hide = true)]
    pub copy_every: f64,
    /// Keep whole reports, with operators and steps, in the store.
    #[arg(long, requires = "store")]
    pub keep_reports: bool,
    /// Stop at the first point that fails. Without it a point that fails is a row with its error.
    #[arg(long, requires = "store")]
    pub fail_fast: bool,
    /// Run points again of which the store has an error.
    #[arg(long, requires = "store")]
    pub retry: bool,
    /// Begin no further point while the process has more memory than this, in GiB, and another point runs.
    #[arg(long, requires = "store", value_name = "GIB")]
    pub max_memory: Option<f64>,
    /// Skip points whose report in the output folder was made from the same configuration by the same version.
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Compare with the roofline of a device; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub versus: Vec<String>,
}

/// The points of a store.
#[derive(Debug, Args)]
pub struct ResultsArgs {
    /// The store.
    pub store: PathBuf,
    /// Only points that meet an SQL condition; keys are written as they are. May be given more than once.
    #[arg(long = "where", value_name = "SQL")]
    pub conditions: Vec<String>,
    /// Sort by a column; `-` before it from the largest down [default: the order of the sweep].
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// Only these columns.
    #[arg(long, value_name = "A,B,..", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Only points that no other beats in all of some columns [default: the sweep's objectives].
    #[arg(long, value_name = "A,B,..", value_delimiter = ',', num_args = 0..=1, require_equals = false, default_missing_value = "")]
    pub pareto: Option<Vec<String>>,
    /// A table of two keys and a value.
    #[arg(long, value_name = "ROWS,COLUMNS,VALUE", value_delimiter = ',')]
    pub pivot: Vec<String>,
    /// Also the hash of the configuration, build, commit, seed, host, time and duration of each point.
    #[arg(long)]
    pub provenance: bool,
    /// The points of this build: the beginning of its commit or of its hash [default: the last that wrote].
    #[arg(long, value_name = "COMMIT")]
    pub build: Option<String>,
    /// List the builds that wrote.
    #[arg(long)]
    pub builds: bool,
    /// Show the figures that differ from those of another store, or of another build of this one (`--diff COMMIT`).
    #[arg(long, value_name = "STORE|COMMIT")]
    pub diff: Option<String>,
    /// Write the points to a file: .csv, or .parquet where the program was built with it.
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Merge other stores into this one: those of shards.
    #[arg(long, value_name = "STORE", num_args = 1..)]
    pub merge: Vec<PathBuf>,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// A language of scripts that draw a figure again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmitLanguage {
    /// Python, which reads the figure's CSV.
    Matplotlib,
    /// LaTeX, with the numbers in it.
    Pgfplots,
}

impl From<EmitLanguage> for banksia_reports::plot::Emit {
    fn from(language: EmitLanguage) -> Self {
        match language {
            EmitLanguage::Matplotlib => Self::Matplotlib,
            EmitLanguage::Pgfplots => Self::Pgfplots,
        }
    }
}

/// A plot.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// What to draw: bars, box, breakdown, context, energy, roofline, sweep, heatmap, crossover, cdf, pareto, validation, bandwidth, gantt or
    /// panels; may stand in the figure's file instead.
    #[arg(required_unless_present = "figure")]
    pub kind: Option<String>,
    /// Reports (report.json, or the folder of a run), CSV files, or the folder of a sweep; for panels, a figure's file.
    #[arg(required_unless_present = "figure")]
    pub inputs: Vec<PathBuf>,
    /// The plot, .svg, .png or .pdf. Its numbers go beside it as .csv.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The figure's file: title, labels, size, font, order, names, annotations and panels (see docs/reports.md).
    #[arg(long, value_name = "FILE.toml")]
    pub figure: Option<PathBuf>,
    /// Also write a script beside the plot that draws it again.
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub emit: Vec<EmitLanguage>,
    /// The column on the horizontal axis; of a sweep, also by the whole path of a key. Words make an axis of names [default: of
    /// a sweep, the first key that it varies].
    #[arg(long)]
    pub x: Option<String>,
    /// The column on the vertical axis; for stacked bars, one for each part.
    #[arg(long)]
    pub y: Vec<String>,
    /// The column that tells series apart [default: of a sweep, the other keys that it varies].
    #[arg(long)]
    pub by: Option<String>,
    /// The column of a heat map's values.
    #[arg(long, alias = "value")]
    pub z: Option<String>,
    /// Logarithmic horizontal axis.
    #[arg(long)]
    pub log_x: bool,
    /// Logarithmic vertical axis; of a heat map, shades by the logarithm.
    #[arg(long)]
    pub log_y: bool,
    /// Logarithmic horizontal axis with ticks at powers of two.
    #[arg(long)]
    pub log2_x: bool,
    /// Logarithmic vertical axis with ticks at powers of two.
    #[arg(long)]
    pub log2_y: bool,
    /// Divide bars by those of this value of --by (without --by: of --x), by the `first`, or each by its `total`.
    #[arg(long, value_name = "VALUE")]
    pub normalize: Option<String>,
    /// Divide the baseline by each bar instead, where less is better: how much better a bar is.
    #[arg(long)]
    pub speedup: bool,
    /// Add a last group of bars with the geometric means of the others.
    #[arg(long)]
    pub geomean: bool,
    /// Stack several --y as parts of one bar.
    #[arg(long)]
    pub stack: bool,
    /// The column of half the length of bars' errors [default: the least and the most of several rows].
    #[arg(long, value_name = "COLUMN")]
    pub errors: Option<String>,
    /// A title above the plot.
    #[arg(long)]
    pub title: Option<String>,
    /// The horizontal axis's title.
    #[arg(long, value_name = "TEXT")]
    pub x_label: Option<String>,
    /// The vertical axis's title.
    #[arg(long, value_name = "TEXT")]
    pub y_label: Option<String>,
}

/// A mapping to print.
#[derive(Debug, Args)]
pub struct MapArgs {
    /// The experiment file.
    pub experiment: PathBuf,
    /// Write a value over one of the file's keys.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Write the program of one token to this file, for `banksia run --program`.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// The token of the program, or of the kernels of a GPU, from 1 [default: the last].
    #[arg(long, value_name = "N")]
    pub token: Option<u64>,
    /// Check the token's program without running it: every operand is there when it is used, every level holds what it must, every output is produced
    /// once. With `--program`, checks the program in that file.
    #[arg(long, conflicts_with = "search")]
    pub check: bool,
    /// Search the mapper's space for the best plan, with a bound that says how far from the optimum it may be.
    #[arg(long)]
    pub search: bool,
    /// Search for each of these values of another key, and with several for each combination: ranks, number formats, devices. Values are TOML's, or
    /// names, with `|` between them.
    #[arg(long, value_name = "KEY=V1|V2", requires = "search")]
    pub vary: Vec<String>,
    /// What is to be best; `latency,energy` gives every plan that no other beats in both.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "latency", requires = "search")]
    pub objective: Vec<SearchObjective>,
    /// Most plans that are simulated.
    #[arg(long, value_name = "N", default_value_t = 512, requires = "search")]
    pub budget: u64,
    /// Orders plans whose bounds are equal, and draws those of local search.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "search")]
    pub seed: u64,
    /// Plans at once [default: the number of cores]; the result is the same with any number.
    #[arg(long, value_name = "N", requires = "search")]
    pub jobs: Option<usize>,
    /// Simulate every plan, whatever the bounds say.
    #[arg(long, requires = "search")]
    pub exhaustive: bool,
    /// Local search alone, by changing one choice at a time: no proof. Large spaces are searched so first without it too.
    #[arg(long, requires = "search", conflicts_with = "exhaustive")]
    pub local: bool,
    /// For each choice: what was chosen, what excluded each alternative, and what it loses.
    #[arg(long, requires = "search")]
    pub why: bool,
    /// Plans that the table shows.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "search")]
    pub top: usize,
    /// Keep results of launches in this file, and take them from it: a search that was stopped goes on where it was.
    #[arg(long, value_name = "FILE", requires = "search")]
    pub cache: Option<PathBuf>,
    /// Keep evaluations in this results store, and take those that it has: `banksia results` and `banksia plot` show them.
    #[arg(long, value_name = "FILE", requires = "search")]
    pub store: Option<PathBuf>,
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  banksia compare attacc.toml h200.toml                       operator by operator
  banksia compare a.toml b.toml -o breakdown.svg              with the figure
  banksia compare a.toml b.toml --sensitivity --draws 50      does the winner stay when what is assumed is varied?";

/// What to compare.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Experiment files, two or more: the same workload on different machines, or mapped differently.
    #[arg(required = true, num_args = 2..)]
    pub experiments: Vec<PathBuf>,
    /// Write a value over a key of all of them.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// By what one is better.
    #[arg(long, value_enum, default_value_t)]
    pub objective: SearchObjective,
    /// Vary every constant that a machine's files mark as assumed, one by one and all at once.
    #[arg(long)]
    pub sensitivity: bool,
    /// By how many percent constants are varied.
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0, requires = "sensitivity")]
    pub spread: f64,
    /// Draws of all constants at once.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "sensitivity")]
    pub draws: u32,
    /// Of the draws.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sensitivity")]
    pub seed: u64,
    /// Draw time and energy by operator, side by side, to this file (.svg, .png or .pdf).
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Keep results of launches in this file, and take them from it.
    #[arg(long, value_name = "FILE")]
    pub cache: Option<PathBuf>,
}

/// What a search looks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum SearchObjective {
    /// The least seconds of the run.
    #[default]
    Latency,
    /// The least joules of the run.
    Energy,
    /// The least product of both.
    Edp,
    /// The most tokens a joule.
    TokensPerJ,
    /// The most tokens a second.
    TokensPerS,
}

impl From<SearchObjective> for banksia_experiments::search::Objective {
    fn from(objective: SearchObjective) -> Self {
        match objective {
            SearchObjective::Latency => Self::Latency,
            SearchObjective::Energy => Self::Energy,
            SearchObjective::Edp => Self::Edp,
            SearchObjective::TokensPerJ => Self::TokensPerJ,
            SearchObjective::TokensPerS => Self::TokensPerS,
        }
    }
}

/// The suites, by name.
fn suites_help() -> String {
    let names: Vec<&str> = banksia_validation::suites().collect();
    format!("The suites [default: all]: {}; and megatron-2024, of a file alone", names.join(", "))
}

/// What to validate.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The suites, by name.
    #[arg(help = suites_help())]
    pub suites: Vec<String>,
    /// Only the rows of this device.
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// A file with the columns of the suite's own rows, in their place (for noc a folder of cases); one for each suite, in order.
    #[arg(long, value_name = "FILE")]
    pub measured: Vec<PathBuf>,
    /// Bytes of a memory request on GPUs: 128 follows every line [default: 1024 for known-programs, else 16384].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(32..=1_048_576))]
    pub grain: Option<u32>,
    /// Also compare hardware counters.
    #[arg(long)]
    pub counters: bool,
    /// Print every row: what was measured, what is predicted, and the error.
    #[arg(long, conflicts_with = "format")]
    pub rows: bool,
    /// How many of the rows that err most to list.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub worst: usize,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Also write validation.json, accuracy.md and a plot for each suite into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// A catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Catalog {
    /// Models of the zoo.
    Models,
    /// Machines and memory devices.
    Hardware,
    /// Mapping strategies.
    Mappings,
    /// Devices to compare with, as plain rooflines.
    Rooflines,
    /// Experiments that come with the program: `banksia run NAME`.
    Experiments,
}

/// A catalog to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which catalog.
    #[arg(value_enum)]
    pub catalog: Catalog,
    /// Print a table or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// An entry to print.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which catalog.
    #[arg(value_enum)]
    pub catalog: Catalog,
    /// The entry's name, or a TOML file.
    pub name: String,
}

/// What to import.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Where the file comes from.
    #[command(subcommand)]
    pub from: ImportFrom,
}

/// Where a file comes from.
#[derive(Debug, Subcommand)]
pub enum ImportFrom {
    /// A Hugging Face config.json.
    Hf {
        /// The config.json. Files beside it that say that the weights are quantised are read too.
        config: PathBuf,
        /// The model file to write.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// The model's name [default: the file's `_name_or_path`, or else its own name, or its folder's].
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Write over a file that is there already.
        #[arg(long)]
        force: bool,
        /// Of a model with towers for pictures or sound, import the language model alone.
        #[arg(long)]
        text_only: bool,
    },
}

/// A report page.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A results store, or the folder of a run or a sweep.
    pub input: PathBuf,
    /// The page.
    #[arg(short, long, value_name = "FILE.html")]
    pub output: PathBuf,
    /// Only points that meet an SQL condition, of a store.
    #[arg(long = "where", value_name = "SQL")]
    pub conditions: Vec<String>,
    /// A title [default: the sweep's name].
    #[arg(long)]
    pub title: Option<String>,
}

/// What to write to start from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// An experiment on a GPU.
    #[default]
    Gpu,
    /// An experiment on DRAM with processing in memory.
    Pim,
    /// An experiment on both.
    Hybrid,
    /// A sweep.
    Sweep,
}

/// A file to start from.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The file to write.
    pub output: PathBuf,
    /// What it is of.
    #[arg(long, value_enum, default_value_t)]
    pub kind: Start,
    /// Write over a file that is there already.
    #[arg(long)]
    pub force: bool,
}

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// An experiment: which model runs on which machine.
    Experiment,
    /// A sweep of experiments.
    Sweep,
    /// A machine: PIM, a GPU, or several devices.
    Machine,
    /// A DRAM device.
    Device,
    /// A memory controller.
    Controller,
    /// A model.
    Model,
    /// An experiment that trains.
    Training,
    /// A network on a chip and its traffic.
    Net,
    /// A collective on a fabric.
    Collective,
    /// A fabric: devices, switches, links.
    Fabric,
    /// A cluster: GPUs of a node, NICs, what hops and launches cost.
    Cluster,
    /// An experiment on a published system by its own simulator's rules.
    Published,
}

/// A schema to print.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of which files.
    #[arg(value_enum)]
    pub of: FileFormat,
}

/// Completions.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// Man pages.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder to write them into.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}
