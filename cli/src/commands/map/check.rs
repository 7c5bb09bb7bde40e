//! `banksia map --check`.

use banksia_experiments::experiment::Experiment;
use banksia_experiments::run;
use banksia_input::InputError;
use banksia_mappers::replay::CheckReport;
use banksia_reports::units::{count, percent, quantity};

use crate::CliError;
use crate::args::{Format, MapArgs};
use crate::output::{json, print};

pub(super) fn execute(args: &MapArgs, experiment: &Experiment, token: u64) -> Result<(), CliError> {
    let Some(report) = run::check(experiment, token, args.program.as_deref())? else {
        let problem =
            format!("is mapped by `{}`, which claims nothing of this plan that could be checked", experiment.mapper);
        let help = "plans of clusters and hosts, and what `[published]` rules price, are not checked yet";
        return Err(CliError::from(InputError::new(&experiment.name, problem).help(help)));
    };
    print(&match args.format {
        Format::Json => json("check", &report)?,
        Format::Table => shown(experiment, &report),
    })
}

/// A check as text.
fn shown(experiment: &Experiment, r: &CheckReport) -> String {
    let mut out = format!(
        "{} on {}, mapping {}: a {} step at a context of {}\n\n",
        experiment.model.name,
        experiment.machine.name,
        experiment.mapper,
        r.phase,
        count(r.context_tokens)
    );
    let mut line = |what: &str, found: String| out.push_str(&format!("  {what:<12} {found}\n"));
    line("presence", {
        let mut text = format!("{} instructions of {} operators", count(r.instructions), count(r.operators));
        text.push_str(&format!(", {} waits for values", count(r.waits)));
        if r.kernels > 0 {
            text.push_str(&format!(", {} kernels", count(r.kernels)));
        }
        text + ": all is there when it is used"
    });
    if r.tensors > 0 {
        line("coverage", format!("{} outputs from {} tensors in banks, each once", count(r.outputs), count(r.tensors)));
        line(
            "numbers",
            match r.replayed {
                0 => "too large to put numbers through: covered by addresses alone".to_owned(),
                n => format!(
                    "{} outputs are the plain product's, bit for bit ({} products)",
                    count(n),
                    count(r.multiplied)
                ),
            },
        );
    }
    for note in &r.notes {
        out.push_str(&format!("  {:<12} {note}\n", "note"));
    }
    out.push_str(&format!(
        "\n  {:<16} {:<36} {:>14} {:>14} {:>8}\n",
        "device", "level", "at its fullest", "there are", "share"
    ));
    for l in &r.levels {
        let show =
            |n: u64| if l.unit == "bytes" { quantity(n as f64, "B") } else { format!("{} {}", count(n), l.unit) };
        let share = percent(l.most as f64 / l.capacity.max(1) as f64);
        out.push_str(&format!(
            "  {:<16} {:<36} {:>14} {:>14} {share:>8}\n",
            l.device,
            l.level,
            show(l.most),
            show(l.capacity)
        ));
    }
    out.push_str(&format!("\n  {:<16} {:<36} {:>14} {:>14}\n", "device", "traffic", "bytes", "the plan says"));
    for m in r.moved.iter().filter(|m| m.bytes > 0 || m.says.is_some()) {
        let says = m.says.map_or(String::new(), |n| quantity(n as f64, "B"));
        out.push_str(&format!("  {:<16} {:<36} {:>14} {says:>14}\n", m.device, m.over, quantity(m.bytes as f64, "B")));
    }
    out
}
