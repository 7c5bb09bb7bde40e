//! `banksia map --search --vary`: a search for each combination of values of other keys, as number formats, ranks, devices.

use std::collections::BTreeMap;

use banksia_experiments::Error;
use banksia_experiments::search::{Found, SearchOptions, search};
use banksia_input::InputError;
use banksia_reports::units::{count, number, percent, quantity};
use serde::Serialize;

use crate::CliError;
use crate::args::{Format, MapArgs};
use crate::output::{json, print};
use crate::progress::Progress;

/// Most combinations.
const MOST: usize = 4096;

/// A combination of values, and the best mapping with it.
#[derive(Serialize)]
struct Combination {
    /// The values, by key of the experiment.
    varied: BTreeMap<String, String>,
    /// What its search found.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Found>,
    /// The constraint that every mapping with it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaks: Option<String>,
}

/// All of them, the best first, those without a legal mapping last.
#[derive(Serialize)]
struct Varied {
    combinations: Vec<Combination>,
    /// Nothing that was left out can be better.
    proved: bool,
    /// No plan of any is better than this: of the objective.
    bound: f64,
    /// How far the best may be from the optimum: a share of the bound.
    gap: f64,
}

/// `KEY=V1|V2|...` as settings, one a value.
fn settings_of(vary: &str) -> Result<Vec<(String, String)>, InputError> {
    let fail = |problem: &str| {
        let error = InputError::new(format!("--vary {vary}"), problem.to_owned());
        error.help("write KEY=V1|V2|..., as --vary 'parallel.tp=2|4|8'")
    };
    let (key, values) = vary.split_once('=').ok_or_else(|| fail("has no `=`"))?;
    let values: Vec<&str> = values.split('|').map(str::trim).collect();
    if values.iter().any(|v| v.is_empty()) {
        return Err(fail("has an empty value"));
    }
    Ok(values.into_iter().map(|v| (key.trim().to_owned(), v.to_owned())).collect())
}

/// Every combination.
fn combinations(vary: &[String]) -> Result<Vec<BTreeMap<String, String>>, InputError> {
    let mut all = vec![BTreeMap::new()];
    for one in vary {
        let values = settings_of(one)?;
        if all.len().saturating_mul(values.len()) > MOST {
            return Err(
                InputError::new("--vary", format!("makes more than {MOST} combinations")).help("vary fewer keys")
            );
        }
        let with = |combination: &BTreeMap<String, String>| {
            let of = |(key, value): &(String, String)| {
                let mut combination = combination.clone();
                combination.insert(key.clone(), value.clone());
                combination
            };
            values.iter().map(of).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    Ok(all)
}

pub(super) fn execute(args: &MapArgs, options: &SearchOptions) -> Result<(), CliError> {
    let all = combinations(&args.vary)?;
    let progress = Progress::new(all.len() as u64, "searches");
    let (mut done, mut first): (Vec<Combination>, Option<InputError>) = (Vec::new(), None);
    for varied in all {
        let own = varied.iter().map(|(key, value)| format!("{key}={value}"));
        let settings: Vec<String> = args.settings.iter().cloned().chain(own).collect();
        let (found, breaks) = match search(&args.experiment, &settings, options, &|_| ()) {
            Ok(found) => (Some(found), None),
            Err(Error::Input(error)) => {
                let breaks = error.problem.clone();
                first.get_or_insert(error);
                (None, Some(breaks))
            }
            Err(error) => return Err(error),
        };
        done.push(Combination { varied, found, breaks });
        progress.one();
    }
    drop(progress);
    let value = |c: &Combination| c.found.as_ref().and_then(|f| f.ranking.first()).map_or(f64::INFINITY, |r| r.value);
    done.sort_by(|a, b| value(a).total_cmp(&value(b)));
    let found: Vec<&Found> = done.iter().filter_map(|c| c.found.as_ref()).collect();
    let Some(best) = done.first().map(value).filter(|v| v.is_finite()) else {
        // Nothing is legal: what is wrong with the first is said.
        return Err(first.unwrap_or_else(|| InputError::new("--vary", "makes no combination".to_owned())).into());
    };
    let bound = found.iter().map(|f| f.bound).fold(best, f64::min);
    let gap = (best - bound) / bound.max(f64::MIN_POSITIVE);
    let proved = found.iter().all(|f| f.proved);
    let varied = Varied { combinations: done, proved, bound, gap };
    print(&match args.format {
        Format::Json => json("search", &varied)?,
        Format::Table => shown(&varied, args),
    })
}

fn shown(all: &Varied, args: &MapArgs) -> String {
    let written = |values: &BTreeMap<String, String>| {
        values.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("  ")
    };
    let legal = all.combinations.iter().filter(|c| c.found.is_some()).count();
    let mut out = format!(
        "{} combinations, {} of them with a legal mapping; {}\n\n{:>4} {:>11} {:>11} {:>8} {:>12} {:>10} {:>6}  varied, and the best mapping with it\n",
        count(all.combinations.len() as u64),
        count(legal as u64),
        match all.proved {
            true => "each search ended with proof: the first is the optimum of all".to_owned(),
            false => format!("the gap to the least bound is {}", percent(all.gap)),
        },
        "rank",
        "latency",
        "energy",
        "gap",
        "tokens/s",
        "tokens/J",
        "plans",
    );
    for (place, combination) in all.combinations.iter().enumerate().take(args.top.max(1)) {
        let varied = written(&combination.varied);
        let Some((found, best)) = combination.found.as_ref().and_then(|f| Some((f, f.ranking.first()?))) else {
            out.push_str(&format!("   -  {varied}: {}\n", combination.breaks.as_deref().unwrap_or_default()));
            continue;
        };
        out.push_str(&format!(
            "{:>4} {:>11} {:>11} {:>8} {:>12} {:>10} {:>6}  {varied}  with  {}\n",
            place + 1,
            quantity(best.latency_s, "s"),
            quantity(best.energy_j, "J"),
            percent(found.gap),
            number(best.tokens_per_s),
            number(best.tokens_per_j),
            count(found.simulated),
            if best.settings.is_empty() { "the mapping as written".to_owned() } else { written(&best.settings) },
        ));
    }
    if let Some((first, found)) = all.combinations.first().and_then(|c| Some((c, c.found.as_ref()?))) {
        let set: Vec<String> = first.varied.iter().map(|(key, value)| format!("--set '{key}={value}'")).collect();
        out.push_str(&format!("\nThe best: {}, with\n\n{}", set.join(" "), found.mapping));
    }
    out
}
