//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use crate::format::Format;

/// A cycle-accurate simulator of the machines that run transformers.
#[derive(Debug, Parser)]
#[command(name = "banksia", version, about, max_term_width = 100, propagate_version = true)]
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

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one experiment and print its report.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Run many experiments, in parallel, and compare them.
    Sweep(SweepArgs),
    /// Draw a plot from reports or CSV files.
    Plot(PlotArgs),
    /// Print how an experiment's model lies in its machine's memory: bytes, rows and use of the units by matrix; for a GPU,
    /// the kernels that each operator of a step is launched as.
    Map(MapArgs),
    /// Run memory requests through a DRAM device's controller.
    Memory(crate::memory::MemoryArgs),
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
    /// The experiment file.
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
    /// Work out every command and every launch one by one, where an equal one is otherwise repeated. The result is the same.
    #[arg(long)]
    pub exact_stepping: bool,
    /// How finely kernels of GPUs are run: `fast` runs some waves of large ones, and says how much of the time that is; `exact` runs
    /// every line of every wave.
    #[arg(long, value_enum, default_value_t)]
    pub detail: RunDetail,
    /// Run this program file (see `banksia map --program`) on the experiment's machine, instead of the mapped model.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Compare with the roofline of a device from `banksia list rooflines`; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub versus: Vec<String>,
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
    /// Write every point's files and the comparison into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How many points to run at once [default: the number of cores].
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Skip points whose report in the output folder was made from the same configuration by the same version.
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Compare with the roofline of a device; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub versus: Vec<String>,
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
    /// What to draw: bars, box, breakdown, context, energy, roofline, sweep, heatmap, cdf, pareto, validation, bandwidth, gantt or
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
}

/// What to validate.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The suites [default: all]: memory, memory-witness, pim, known-programs, h200, h200-counters, gemm,
    /// context-attention, generation-attention, known-programs-again (no model: other H200 against the reference of known-programs).
    pub suites: Vec<String>,
    /// Only the rows of this device.
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// A file with the columns of the suite's own rows, in their place; one for each suite, in order.
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
