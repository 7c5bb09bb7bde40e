//! `banksia net`: a network on a chip, its latency by load, where it saturates, and the load of its links; or collectives on a fabric.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use banksia_hw::net::fabric::collective_file::{CollectiveRun, is_collective};
use banksia_hw::net::fabric::collective_run::run_collectives;
use banksia_hw::net::noc::{NetReport, NetRun, run};
use banksia_input::Source;
use banksia_reports::units::{count, percent, quantity};
use clap::{Args, ValueEnum};

use crate::CliError;
use crate::memory::output_file::{OutputFile, check_apart};
use crate::progress::Progress;

mod collective;
mod loads;

/// How to print what a network does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum NetFormat {
    /// Tables for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
    /// The curve as CSV, a row a rate.
    Csv,
}

/// A network and what is sent over it.
#[derive(Debug, Args)]
pub struct NetArgs {
    /// A network on a chip with its traffic, or a collective on a fabric: a TOML file.
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// Write a value over one of the file's keys, as in `--set router.virtual_channels=8`.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Write the points for a plot: a row a rate, or a row an algorithm and a size.
    #[arg(long, value_name = "FILE.csv")]
    pub plot: Option<PathBuf>,
    /// Write each link's load for a heat map, a row a link: at the last stable rate, or at the last size of each algorithm.
    #[arg(long, value_name = "FILE.csv")]
    pub links: Option<PathBuf>,
    /// Draw a heat map of link loads, a cell a router of a chip or a row a kind of a fabric's links (by the first algorithm): an `.svg`, `.png`
    /// or `.pdf` file.
    #[arg(long, value_name = "FILE.svg")]
    pub heatmap: Option<PathBuf>,
    /// Print tables, JSON or CSV.
    #[arg(long, value_enum, default_value_t)]
    pub format: NetFormat,
}

/// Links that the table names.
const BUSIEST: usize = 5;

/// Runs it and gives what is to be printed.
///
/// # Errors
/// Bad input, or a network that deadlocks.
pub fn output(args: &NetArgs) -> Result<String, CliError> {
    let source = Source::read(&args.file)?.with_settings(&args.set)?;
    let folder = args.file.parent().unwrap_or(Path::new(""));
    let figure = args.heatmap.as_deref();
    let outputs = [("--plot", args.plot.as_deref()), ("--links", args.links.as_deref()), ("--heatmap", figure)];
    let outputs: Vec<(&str, &Path)> = outputs.into_iter().filter_map(|(key, path)| Some((key, path?))).collect();
    check_apart(&[("FILE.toml", args.file.as_path())], &outputs)?;
    if is_collective(&source) {
        return on_fabric(args, &source, folder);
    }
    let net = NetRun::of(&source, folder)?;
    let mut plot = args.plot.as_deref().map(|p| OutputFile::create("--plot", p)).transpose()?;
    let mut links = args.links.as_deref().map(|p| OutputFile::create("--links", p)).transpose()?;
    let progress = Progress::new(net.rates.len() as u64, "rates");
    let report = run(&net, &|done, all| progress.of(done as u64, all as u64)).map_err(|e| {
        source
            .error("topology", e.to_string())
            .help("`routing.deadlock = \"warn\"` runs it all the same where it may deadlock")
    })?;
    drop(progress);
    if let Some(file) = &mut plot {
        file.writer().write_all(curve_csv(&report).as_bytes()).map_err(|e| unwritten(&e))?;
    }
    if let Some(file) = &mut links {
        file.writer().write_all(links_csv(&report).as_bytes()).map_err(|e| unwritten(&e))?;
    }
    plot.into_iter().chain(links).try_for_each(OutputFile::finish)?;
    if let Some(path) = figure {
        loads::figure(&report, &net.config.shape, path)?;
    }
    match args.format {
        NetFormat::Json => crate::output::json("network", &report),
        NetFormat::Csv => Ok(curve_csv(&report)),
        NetFormat::Table => Ok(table(&report)),
    }
}

fn unwritten(e: &std::io::Error) -> CliError {
    CliError::Failed(format!("a file cannot be written: {e}"))
}

/// Collectives on a fabric.
fn on_fabric(args: &NetArgs, source: &Source, folder: &Path) -> Result<String, CliError> {
    let net = CollectiveRun::of(source, folder)?;
    let mut files = Vec::new();
    for (key, path) in [("--plot", &args.plot), ("--links", &args.links)] {
        files.extend(path.as_deref().map(|p| OutputFile::create(key, p)).transpose()?.map(|file| (key, file)));
    }
    let report = run_collectives(&net)?;
    for (key, mut file) in files {
        let text = if key == "--plot" { collective::rows_csv(&report) } else { collective::links_csv(&report) };
        file.writer().write_all(text.as_bytes()).map_err(|e| unwritten(&e))?;
        file.finish()?;
    }
    if let Some(path) = &args.heatmap {
        collective::figure(&report, path)?;
    }
    match args.format {
        NetFormat::Json => crate::output::json("collective", &report),
        NetFormat::Csv => Ok(collective::rows_csv(&report)),
        NetFormat::Table => Ok(collective::table(&report)),
    }
}

/// A number or nothing.
fn cell(value: Option<f64>) -> String {
    value.map_or(String::new(), |v| format!("{v:.4}"))
}

fn curve_csv(report: &NetReport) -> String {
    let mut text = "offered,stable,accepted,latency_cycles,latency_p50_cycles,latency_p95_cycles,latency_p99_cycles,\
                    network_latency_cycles,hops,packets,cycles,flit_hops,busiest_link\n"
        .to_owned();
    for p in &report.curve {
        let (latency, network, hops) = (cell(p.latency_cycles), cell(p.network_latency_cycles), cell(p.hops));
        let (p50, p95, p99) = (p.latency_p50_cycles, p.latency_p95_cycles, p.latency_p99_cycles);
        let _ = writeln!(
            text,
            "{},{},{:.6},{latency},{p50},{p95},{p99},{network},{hops},{},{},{},{:.6}",
            p.offered, p.stable, p.accepted, p.packets, p.cycles, p.flit_hops, p.busiest_link
        );
    }
    text
}

fn links_csv(report: &NetReport) -> String {
    let mut text = "router,output,to,to_terminal,load_flits_per_cycle\n".to_owned();
    for l in &report.links {
        let _ = writeln!(text, "{},{},{},{},{:.6}", l.router, l.output, l.to, l.to_terminal, l.load);
    }
    text
}

fn table(report: &NetReport) -> String {
    let (routers, terminals) = (count(report.routers as u64), count(report.terminals as u64));
    let mut text = format!(
        "{}: {} of {routers} routers and {terminals} terminals, routing {}\n",
        report.name, report.shape, report.routing
    );
    if let Some(deadlock) = &report.deadlock {
        let _ = writeln!(text, "{deadlock}");
    }
    if let Some(trace) = &report.trace {
        let _ = writeln!(
            text,
            "\ntrace: {} packets in {} cycles, latency {:.2} cycles on average, {} at most",
            count(trace.packets as u64),
            count(trace.cycles),
            trace.latency_cycles,
            count(trace.most_latency_cycles)
        );
    }
    if !report.curve.is_empty() {
        let _ = writeln!(
            text,
            "\n{:>8}  {:>9}  {:>8}  {:>6}  {:>6}  {:>6}  {:>8}  {:>6}  {:>8}",
            "offered", "accepted", "latency", "p50", "p95", "p99", "network", "hops", "busiest"
        );
        for p in &report.curve {
            let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
            let _ = writeln!(
                text,
                "{:>8.4}  {:>9.4}  {:>8}  {:>6}  {:>6}  {:>6}  {:>8}  {:>6}  {:>8}{}",
                p.offered,
                p.accepted,
                number(p.latency_cycles),
                p.latency_p50_cycles,
                p.latency_p95_cycles,
                p.latency_p99_cycles,
                number(p.network_latency_cycles),
                number(p.hops),
                percent(p.busiest_link),
                if p.stable { "" } else { "  unstable" }
            );
        }
        text.push_str("(flits a terminal and cycle; cycles; the part of the time that the busiest link is used)\n");
    }
    match &report.saturation {
        Some(s) => {
            let _ = writeln!(
                text,
                "\nsaturation: stable at {:.4}, unstable at {:.4}, where {:.4} arrive",
                s.stable_rate, s.unstable_rate, s.accepted
            );
        }
        None if report.trace.is_none() => text.push_str("\nsaturation: not reached\n"),
        None => {}
    }
    let mut busiest: Vec<_> = report.links.iter().filter(|l| !l.to_terminal && l.load > 0.0).collect();
    busiest.sort_by(|a, b| b.load.total_cmp(&a.load));
    if !busiest.is_empty() {
        text.push_str("\nbusiest links, flits a cycle:\n");
        for l in busiest.iter().take(BUSIEST) {
            let _ = writeln!(text, "  router {} output {} to router {}: {:.4}", l.router, l.output, l.to, l.load);
        }
    }
    if let Some(e) = &report.energy {
        let part = |energy: f64| percent(if e.total_j > 0.0 { energy / e.total_j } else { 0.0 });
        let _ = writeln!(
            text,
            "\nenergy: {} ({} pJ a flit and router, {:.3} pJ a bit delivered): buffers {}, crossbars {}, allocation {}, links {}, static {}",
            quantity(e.total_j, "J"),
            format_args!("{:.2}", e.per_flit_hop_pj),
            e.per_bit_pj,
            part(e.buffers_j),
            part(e.crossbars_j),
            part(e.allocations_j),
            part(e.links_j),
            part(e.static_j)
        );
        let _ = writeln!(text, "energies: {}", report.energy_source);
    }
    text
}
