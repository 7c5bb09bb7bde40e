//! `banksia map --search`.

use banksia_experiments::cache::Cache;
use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_experiments::search::{Found, Objective, Ranked, SearchOptions, search};
use banksia_input::InputError;
use banksia_reports::units::{count, number, percent, quantity};
use serde::Serialize;

use super::vary;
use crate::CliError;
use crate::args::{Format, MapArgs, SearchObjective};
use crate::output::{json, print};
use crate::progress::Progress;

pub(super) fn execute(args: &MapArgs) -> Result<(), CliError> {
    let options = SearchOptions {
        objective: objective(&args.objective)?,
        budget: args.budget,
        seed: args.seed,
        jobs: args.jobs,
        exhaustive: args.exhaustive,
        local: args.local,
        cache: Some(match &args.cache {
            Some(path) => Cache::with_file(path)?,
            None => Cache::in_memory(),
        }),
        store: args.store.clone(),
        revision: env!("BANKSIA_REVISION").to_owned(),
    };
    if !args.vary.is_empty() {
        return vary::execute(args, &options);
    }
    let progress = Progress::new(args.budget, "plans");
    let found = search(&args.experiment, &args.settings, &options, &|_| progress.one())?;
    drop(progress);
    let check = checked(&found, args);
    print(&match args.format {
        Format::Json => json("search", &WithCheck { found: &found, check: check.as_ref() })?,
        Format::Table => shown(&found, args) + &check.map_or(String::new(), |c| c.shown()),
    })
}

/// What a search found, and whether its best passes the check.
#[derive(Serialize)]
struct WithCheck<'a> {
    #[serde(flatten)]
    found: &'a Found,
    /// Of the last token's program of the best plan.
    check: Option<&'a Checked>,
}

/// Whether a plan passes the check of `map --check`.
#[derive(Serialize)]
struct Checked {
    passed: bool,
    /// What is wrong, where something is.
    wrong: Option<String>,
    /// Outputs of products in banks, each produced once.
    outputs: u64,
    instructions: u64,
}

impl Checked {
    fn shown(&self) -> String {
        match &self.wrong {
            Some(wrong) => format!("\nThe best does not pass the check: {wrong}\n"),
            None => format!(
                "\nIt passes the check (`map --check`): {} instructions wait for what they use, {} outputs of products in banks come once.\n",
                count(self.instructions),
                count(self.outputs)
            ),
        }
    }
}

/// Whether the best plan passes the check; settings of a training step have no program to check.
fn checked(found: &Found, args: &MapArgs) -> Option<Checked> {
    let best = found.ranking.first().filter(|_| found.mapping.starts_with("[mapping]"))?;
    let own = best.settings.iter().map(|(key, value)| format!("mapping.{key}={value}"));
    let settings: Vec<String> = args.settings.iter().cloned().chain(own).collect();
    let experiment = Experiment::read(&args.experiment, &settings).ok()?;
    let token = experiment.mapped_generation().generated_tokens;
    Some(match run::check(&experiment, token, None) {
        Ok(None) => return None,
        Ok(Some(r)) => Checked { passed: true, wrong: None, outputs: r.outputs, instructions: r.instructions },
        Err(e) => Checked { passed: false, wrong: Some(e.to_string()), outputs: 0, instructions: 0 },
    })
}

fn shown(found: &Found, args: &MapArgs) -> String {
    let mut out = format!("{} on {}, strategy {}\n", found.experiment, found.machine, found.strategy);
    let open: Vec<String> =
        found.space.iter().map(|k| format!("  {:<44} {:>3}  {}\n", k.key, k.values.len(), k.meaning)).collect();
    out.push_str(&format!("\nOpen ({} plans)\n{}", plans(found.plans), open.concat()));
    if !found.pinned.is_empty() {
        out.push_str(&format!("  pinned by the experiment: {}\n", found.pinned.join(", ")));
    }
    let refused: u64 = found.refused.values().sum();
    out.push_str(&format!(
        "\nSimulated {} plans{}; {} were not legal; {}\n",
        count(found.simulated),
        operators(found),
        count(refused),
        if found.proved {
            match found.objective {
                Objective::LatencyEnergy => {
                    "nothing that was left out beats those marked * in both time and energy: they are the Pareto front of this space".to_owned()
                }
                _ => "nothing that was left out can be better: the first is the optimum of this space".to_owned(),
            }
        } else {
            let ended = if args.local { "local search proves nothing" } else { "the budget ended the search" };
            match found.gap.is_finite() {
                true => format!(
                    "{ended}: the gap to the bound is {} of the bound, so that the optimum takes at most {} less",
                    percent(found.gap),
                    percent(found.gap / (1.0 + found.gap))
                ),
                false => format!("{ended}, and nothing bounds {} of what is left", name(found.objective)),
            }
        }
    ));
    if found.broken_bounds > 0 {
        let n = count(found.broken_bounds);
        out.push_str(&format!(
            "  {n} took less than their bounds, which is a fault of Banksia: what was left out may be better\n"
        ));
    }
    for (reason, n) in &found.refused {
        out.push_str(&format!("  {n} not legal: {reason}\n"));
    }
    out.push_str(&format!(
        "\n{:>4} {:>11} {:>11} {:>11} {:>8} {:>12} {:>10}  settings\n",
        "rank", "latency", "at least", "energy", "gap", "tokens/s", "tokens/J"
    ));
    for plan in found.ranking.iter().take(args.top.max(1)) {
        out.push_str(&line(plan, &plan.rank.to_string()));
    }
    if let Some(broken) = &found.written_breaks {
        out.push_str(&format!("\nThe mapping as the experiment writes it is not legal: {broken}\n"));
    }
    if let Some(written) = &found.written {
        out.push_str(&line(written, "own"));
        if let Some(best) = found.ranking.first().filter(|b| b.value > 0.0) {
            out.push_str(&format!(
                "\nThe mapping as the experiment writes it takes {} times as much as the best, of {}.\n",
                number(written.value / best.value),
                name(found.objective)
            ));
        }
    }
    if args.why {
        out.push_str("\nWhy\n");
        for why in &found.why {
            let chosen = why.chosen.as_deref().unwrap_or("as written");
            out.push_str(&format!("  {} = {chosen}   ({})\n", why.key, why.meaning));
            for other in &why.others {
                let least = if other.excluded_by == "bound" { "at least " } else { "" };
                let loses = other.loses.map_or(String::new(), |l| format!(", loses {least}{}", percent(l)));
                let by = match other.excluded_by {
                    "simulated" => "simulated",
                    "bound" => "its bound excludes it",
                    "illegal" => "not legal",
                    _ => "not excluded: the budget ended",
                };
                out.push_str(&format!("      {:<32} {by}{loses}\n", other.value));
            }
        }
    }
    out.push_str(&format!("\nThe best, to write into the experiment:\n\n{}", found.mapping));
    out
}

/// What is to be best: one of the objectives, or seconds and joules side by side.
fn objective(said: &[SearchObjective]) -> Result<Objective, CliError> {
    match said {
        [one] => Ok((*one).into()),
        [SearchObjective::Latency, SearchObjective::Energy] | [SearchObjective::Energy, SearchObjective::Latency] => {
            Ok(Objective::LatencyEnergy)
        }
        _ => {
            let error = InputError::new("--objective", "names objectives that are not looked for side by side");
            Err(error.help("name one, or `latency,energy`").into())
        }
    }
}

/// What plans share, and what a store had.
fn operators(found: &Found) -> String {
    let shared = match found.operators {
        0 => String::new(),
        n => format!(" of {} operators", count(n)),
    };
    match found.taken {
        0 => shared,
        n => format!("{shared}, {} of them from the store", count(n)),
    }
}

fn name(objective: Objective) -> &'static str {
    Objective::ALL.iter().find(|(_, o)| *o == objective).map_or("", |(name, _)| name)
}

fn plans(n: f64) -> String {
    if n < 1e15 { count(n as u64) } else { format!("{n:.1e}") }
}

fn line(plan: &Ranked, place: &str) -> String {
    let settings: Vec<String> = plan.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let settings = if settings.is_empty() { "as written".to_owned() } else { settings.join("  ") };
    // Of the plans that were simulated no other is better in time and in energy.
    let place = if plan.pareto { format!("{place}*") } else { place.to_owned() };
    format!(
        "{place:>4} {:>11} {:>11} {:>11} {:>8} {:>12} {:>10}  {settings}\n",
        quantity(plan.latency_s, "s"),
        quantity(plan.bound_s, "s"),
        quantity(plan.energy_j, "J"),
        percent(plan.gap),
        number(plan.tokens_per_s),
        number(plan.tokens_per_j),
    )
}
