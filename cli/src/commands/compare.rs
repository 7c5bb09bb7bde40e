//! `banksia compare`.

use banksia_experiments::cache::Cache;
use banksia_experiments::comparison::{CompareOptions, Comparison, Sensitivity, compare};
use banksia_input::InputError;
use banksia_reports::plot::{Style, breakdown, write_figure};
use banksia_reports::units::{number, percent, quantity};

use crate::CliError;
use crate::args::{CompareArgs, Format};
use crate::output::{json, print};

/// Operators that the table shows.
const MOST_OPERATORS: usize = 20;

pub(super) fn execute(args: &CompareArgs) -> Result<(), CliError> {
    if !(args.spread > 0.0 && args.spread < 100.0) {
        return Err(InputError::new("--spread", format!("is {}: must be above 0 and below 100", args.spread)).into());
    }
    let options = CompareOptions {
        objective: args.objective.into(),
        sensitivity: args.sensitivity,
        spread: args.spread / 100.0,
        draws: args.draws,
        seed: args.seed,
        cache: Some(match &args.cache {
            Some(path) => Cache::with_file(path)?,
            None => Cache::in_memory(),
        }),
    };
    let (comparison, reports) = compare(&args.experiments, &args.settings, &options)?;
    print(&match args.format {
        Format::Json => json("comparison", &comparison)?,
        Format::Table => shown(&comparison),
    })?;
    if let Some(path) = &args.output {
        let (_, warnings) = write_figure(&breakdown(&reports, &Style::default()), path, &[])?;
        for warning in &warnings {
            eprintln!("warning: {warning}");
        }
        eprintln!("{}", path.display());
    }
    Ok(())
}

fn shown(c: &Comparison) -> String {
    let letters = |place: usize| char::from(b'A' + u8::try_from(place % 26).unwrap_or(0));
    let mut out = String::new();
    for (place, side) in c.sides.iter().enumerate() {
        out.push_str(&format!("{}  {}  ({}, strategy {})\n", letters(place), side.name, side.file, side.strategy));
    }
    out.push_str(&format!(
        "\n   {:>11} {:>11} {:>11} {:>12} {:>10} {:>8}\n",
        "latency", "energy", "power", "tokens/s", "tokens/J", "speed"
    ));
    let base = c.sides.first().map_or(0.0, |s| s.latency_s);
    for (place, side) in c.sides.iter().enumerate() {
        out.push_str(&format!(
            "{}  {:>11} {:>11} {:>11} {:>12} {:>10} {:>8}\n",
            letters(place),
            quantity(side.latency_s, "s"),
            quantity(side.energy_j, "J"),
            quantity(side.power_w, "W"),
            number(side.tokens_per_s),
            number(side.tokens_per_j),
            format!("{} x", number(base / side.latency_s.max(f64::MIN_POSITIVE))),
        ));
    }
    out.push_str(&format!("\n{} is best, by {} x over the next.\n", letters(c.winner), number(c.lead)));
    if !c.unlike.is_empty() {
        let what = c.unlike.join("; ");
        out.push_str(&format!(
            "They do not do the same work ({what}): the lead is not of the machine and the mapping alone.\n"
        ));
    }
    if !c.energy_lacks.is_empty() {
        let sides: Vec<String> = c.energy_lacks.iter().map(|i| letters(*i).to_string()).collect();
        out.push_str(&format!(
            "The energy of {} lacks parts that no source gives: it is at least so much.\n",
            sides.join(", ")
        ));
    }
    out.push_str(&format!("\nEqual    {}\n", c.equal.join("; ")));
    out.push_str(&format!("Unequal  {}\n", c.unequal.join("\n         ")));
    out.push_str("\nWhere time and energy differ (operators by the difference in time)\n");
    let width = c.operators.iter().take(MOST_OPERATORS).map(|o| o.name.chars().count()).max().unwrap_or(8).max(8);
    let heads: String = (0..c.sides.len())
        .map(|p| format!(" {:>10} {:>10}", format!("{} time", letters(p)), format!("{} energy", letters(p))))
        .collect();
    out.push_str(&format!("  {:<width$}{heads}\n", "operator"));
    let cell = |v: Option<f64>, unit: &str| v.map_or("-".to_owned(), |v| quantity(v, unit));
    for o in c.operators.iter().take(MOST_OPERATORS) {
        let cells: String = o
            .latency_s
            .iter()
            .zip(&o.energy_j)
            .map(|(l, e)| format!(" {:>10} {:>10}", cell(*l, "s"), cell(*e, "J")))
            .collect();
        out.push_str(&format!("  {:<width$}{cells}\n", o.name));
    }
    let mut channels: Vec<&String> = c.sides.iter().flat_map(|s| s.traffic_bytes.keys()).collect();
    channels.sort_unstable();
    channels.dedup();
    out.push_str("\nBytes moved\n");
    for channel in channels {
        let cells: String = c
            .sides
            .iter()
            .map(|s| {
                format!(" {:>21}", s.traffic_bytes.get(channel).map_or("-".to_owned(), |b| quantity(*b as f64, "B")))
            })
            .collect();
        out.push_str(&format!("  {channel:<width$}{cells}\n"));
    }
    if let Some(s) = &c.sensitivity {
        out.push_str(&sensitivity(c, s, letters));
    }
    out
}

fn sensitivity(c: &Comparison, s: &Sensitivity, letters: impl Fn(usize) -> char) -> String {
    let mut out = format!(
        "\nSensitivity: {}'s lead of {} x when each constant that is assumed is {} less, and more\n",
        letters(c.winner),
        number(c.lead),
        percent(s.spread)
    );
    if s.tornado.is_empty() {
        out.push_str("  nothing of these machines is marked as assumed\n");
        return out;
    }
    let cell = |l: Option<f64>| l.map_or("not legal".to_owned(), |l| format!("{} x", number(l)));
    for t in &s.tornado {
        out.push_str(&format!(
            "  {} {:<52} {:>10} {:>10} {:>10}\n",
            letters(t.of),
            t.key,
            number(t.value),
            cell(t.lead[0]),
            cell(t.lead[1])
        ));
    }
    if let (n, Some(why)) = &s.refused {
        out.push_str(&format!("{n} draws are not legal: {}\n", why.lines().next().unwrap_or_default()));
    }
    if s.draws == 0 {
        return out;
    }
    out.push_str(&format!(
        "All at once, {} draws: the winner stays in {}; its lead is from {} to {} x, in the median {} x\n",
        s.draws,
        percent(s.stays),
        number(s.lead[0]),
        number(s.lead[2]),
        number(s.lead[1])
    ));
    out
}
