//! `banksia map`.

mod check;
mod search;
mod vary;

use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_hw::system::{RunOptions, System};
use banksia_input::InputError;
use banksia_mappers::LayoutReport;
use banksia_mappers::gpu::model::Choice;
use banksia_mappers::parallel::TrainReport;
use banksia_mappers::pim_gpt::MappingSummary;
use banksia_reports::units::{count, percent, quantity};
use banksia_reports::write_atomically;
use banksia_workloads::Phase;

use crate::CliError;
use crate::args::{Format, MapArgs};
use crate::output::{json, note, print};

pub(super) fn execute(args: &MapArgs) -> Result<(), CliError> {
    if args.search {
        return search::execute(args);
    }
    let experiment = Experiment::read(&args.experiment, &args.settings)?;
    if let Some(step) = experiment.training_step() {
        let step = step?;
        return print(&match args.format {
            Format::Json => json("mapping", &step)?,
            Format::Table => ranks(&experiment, &step),
        });
    }
    let generation = experiment.mapped_generation();
    let token = args.token.unwrap_or(generation.generated_tokens);
    if token == 0 || token > generation.generated_tokens {
        let problem = format!("is {token}: must be from 1 to {}", generation.generated_tokens);
        return Err(InputError::new("--token", problem).help("tokens are counted from 1").into());
    }
    if args.check {
        return check::execute(args, &experiment, token);
    }
    if let Some(path) = &args.program {
        let program = run::program(&experiment, experiment.plan.program_of(token))?;
        let text = serde_json::to_string(&program)
            .map_err(|e| CliError::Failed(format!("the program cannot be written as JSON: {e}")))?;
        write_atomically(path, text.as_bytes())?;
        note(&format!("{} instructions in {}", count(program.instructions.len() as u64), path.display()));
    }
    let mut plan = experiment.plan.boxed();
    let mut system = System::new(&experiment.machine, RunOptions::default());
    let layout = plan.layout(token, &mut system)?;
    print(&match args.format {
        Format::Json => json("mapping", &layout)?,
        Format::Table => shown(&experiment, token, &layout),
    })
}

/// What a mapping chose for one token, and by what: its strategy, and the layout or the kernels with the estimates that they were ranked by.
pub(super) fn chosen(experiment: &Experiment, token: u64) -> Result<String, CliError> {
    let mut plan = experiment.plan.boxed();
    let mut system = System::new(&experiment.machine, RunOptions::default());
    let layout = plan.layout(token, &mut system)?;
    let mapper =
        banksia_mappers::mappers().iter().find(|m| m.name() == experiment.mapper).map_or("", |m| m.description());
    Ok(format!("mapping {}: {mapper}\n{}", experiment.mapper, shown(experiment, token, &layout)))
}

/// A layout as text.
fn shown(experiment: &Experiment, token: u64, layout: &LayoutReport) -> String {
    match layout {
        LayoutReport::Banks(summary) => table(summary),
        LayoutReport::Kernels(choices) => kernels(experiment, token, choices),
        LayoutReport::Joint(parts) => {
            let part =
                |(name, layout): &(String, LayoutReport)| format!("{name}:\n{}", shown(experiment, token, layout));
            parts.iter().map(part).collect::<Vec<_>>().join("\n")
        }
    }
}

/// The ranks of a training step: which layers' parameters each has, and what it keeps.
fn ranks(experiment: &Experiment, step: &TrainReport) -> String {
    let mut out = format!(
        "{} on {} x {}: {} micro batches of a replica\n\n  {:<7} {:>5} {:>6} {:>12} {:>9} {:>10} {:>10} {:>11} {:>11} {:>10} {:>10}\n",
        experiment.model.name,
        step.devices,
        experiment.machine.name,
        count(u64::from(step.micro_batches)),
        "role",
        "stage",
        "ranks",
        "parameters",
        "in flight",
        "weights",
        "gradients",
        "optimiser",
        "activations",
        "for a while",
        "all"
    );
    for rank in &step.ranks {
        let m = &rank.memory_bytes;
        out.push_str(&format!(
            "  {:<7} {:>5} {:>6} {:>12} {:>9} {:>10} {:>10} {:>11} {:>11} {:>10} {:>10}\n",
            rank.role,
            rank.stage,
            rank.ranks,
            count(rank.parameters),
            rank.in_flight,
            quantity(m.weights, "B"),
            quantity(m.gradients, "B"),
            quantity(m.optimizer, "B"),
            quantity(m.activations, "B"),
            quantity(m.transient, "B"),
            quantity(rank.total_bytes, "B"),
        ));
    }
    out.push_str(
        "\n  in flight: micro batches, by chunks, whose activations are held at once; bytes are those of one rank\n",
    );
    out
}

fn kernels(experiment: &Experiment, token: u64, choices: &[Choice]) -> String {
    let generation = experiment.mapped_generation();
    let mut out = String::new();
    if let Some(step) = generation.step(token - 1) {
        let phase = if step.phase == Phase::Prefill { "prefill" } else { "decode" };
        out.push_str(&format!(
            "{phase} step of {} x {} tokens at a context of {} on {}\n\n",
            generation.batch,
            step.tokens(),
            step.context(),
            experiment.machine.name
        ));
    }
    let name = choices.iter().map(|c| c.kernel.len()).max().unwrap_or(0);
    out.push_str(&format!(
        "  {:<27} {:>5} {:<name$} {:>7} {:>7} {:>9} {:>6} {:>5} {:>10} {:>10}\n",
        "operator", "times", "kernel", "CTAs", "threads", "shared", "CTA/SM", "waves", "estimate", "simulated"
    ));
    let mut last = "";
    for c in choices {
        let operator = if c.operator == last { "" } else { &c.operator };
        last = &c.operator;
        out.push_str(&format!(
            "  {:<27} {:>5} {:<name$} {:>7} {:>7} {:>9} {:>6} {:>5} {:>10} {:>10}\n",
            operator,
            c.count,
            c.kernel,
            c.grid,
            c.threads,
            quantity(f64::from(c.shared_bytes), "B"),
            c.ctas_per_sm,
            c.waves,
            c.estimate_s.map_or(String::new(), |s| quantity(s, "s")),
            quantity(c.latency_s, "s"),
        ));
    }
    out.push_str(
        "\n  estimate: what the search over tiles ranked by; simulated: the kernel by itself, with the gap to the next of a graph\n",
    );
    out
}

fn table(s: &MappingSummary) -> String {
    let mut out = format!(
        "{} on {} channels of {} banks: {} of {} rows in each bank ({}), {} in all\n\n",
        s.model,
        s.channels,
        s.banks_per_channel,
        count(s.rows_used),
        count(u64::from(s.rows_per_bank)),
        percent(s.rows_used as f64 / f64::from(s.rows_per_bank)),
        quantity(s.capacity_bytes as f64, "B"),
    );
    out.push_str(&format!(
        "  {:<20} {:>6} {:>16} {:>11} {:>11} {:>6} {:>7} {:>7} {:>8}\n",
        "region", "number", "shape", "contents", "in rows", "rows", "first", "chunks", "MAC use"
    ));
    for r in &s.regions {
        out.push_str(&format!(
            "  {:<20} {:>6} {:>16} {:>11} {:>11} {:>6} {:>7} {:>7} {:>8}\n",
            r.name,
            r.count,
            format!("{} x {}", r.shape[0], r.shape[1]),
            quantity(r.bytes as f64, "B"),
            quantity(r.row_bytes as f64, "B"),
            r.rows,
            r.first_row,
            r.chunks,
            percent(r.mac_utilization),
        ));
    }
    out.push_str("\n  rows, first: of one, in each bank; chunks: fillings of the global buffer for one product; MAC use: share of\n");
    out.push_str("  the multiply-accumulates spent on it that are its own, the rest being padding (caches: at the longest context)\n");
    out
}
