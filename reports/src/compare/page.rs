//! A comparison for people: as a table on a terminal, and in Markdown.

use std::collections::BTreeSet;

use super::ComparisonRow;
use super::columns::Columns;
use crate::grid::{Align, Grid, Keep, clean};
use crate::units::{metric, number, quantity};

/// Shares shown in the table for a person, in this order, where any report has them; files have every metric.
const SHOWN_METRICS: [(&str, &str); 4] = [
    ("row_hit_rate", "row hits"),
    ("mac_utilization", "MAC util."),
    ("bandwidth_utilization", "bandwidth"),
    ("arithmetic_utilization", "arithmetic"),
];

/// The comparison for a terminal of `width` columns: where it is too narrow, columns of numbers go, the least important first,
/// and then names are cut; the columns of what was set stay. Nothing is dropped or cut where `width` is none.
pub fn comparison_table(rows: &[ComparisonRow], width: Option<usize>, color: bool) -> String {
    let grid = grid(rows, Settings::ThatVary);
    width.map_or(grid.clone(), |width| grid.fit(width)).text(color)
}

/// The comparison as a Markdown table, with every key that a point sets, and nothing cut.
pub fn comparison_markdown(rows: &[ComparisonRow]) -> String {
    grid(rows, Settings::All).markdown()
}

/// Which keys have a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settings {
    All,
    /// Those that are not the same in every row.
    ThatVary,
}

fn grid(rows: &[ComparisonRow], which: Settings) -> Grid {
    let differ = |of: &dyn Fn(&ComparisonRow) -> Option<String>| rows.iter().any(|row| of(row) != of(&rows[0]));
    let settings: Vec<(String, String)> = Columns::of(rows)
        .settings
        .into_iter()
        .filter(|(key, _)| {
            which == Settings::All || rows.len() == 1 || differ(&|row| row.setting(key).map(str::to_owned))
        })
        .collect();
    // A column that says the same in every row says nothing; the model always stands.
    let with_machine = differ(&|row| Some(row.machine.clone())) || rows.len() == 1;
    let with_name = !told_apart(rows, &settings) && differ(&|row| Some(row.name.clone()));
    let with_tokens = rows.iter().any(|row| row.tokens_per_s.is_some());
    let metrics: Vec<(&str, &str)> =
        SHOWN_METRICS.into_iter().filter(|(key, _)| rows.iter().any(|row| row.metrics.contains_key(*key))).collect();

    let mut columns: Vec<(&str, Align, Keep)> = Vec::new();
    if with_name {
        columns.push(("experiment", Align::Left, Keep::Cut));
    }
    columns.push(("model", Align::Left, Keep::Cut));
    if with_machine {
        columns.push(("machine", Align::Left, Keep::Cut));
    }
    for (key, name) in &settings {
        let is_number = |row: &ComparisonRow| row.setting(key).is_none_or(|v| v.parse::<f64>().is_ok());
        let align = if rows.iter().all(is_number) { Align::Right } else { Align::Left };
        columns.push((name, align, Keep::Always));
    }
    columns.push(("latency", Align::Right, Keep::Drop(9)));
    if with_tokens {
        columns.extend([("tokens/s", Align::Right, Keep::Drop(8)), ("energy/token", Align::Right, Keep::Drop(7))]);
    } else {
        columns.push(("energy", Align::Right, Keep::Drop(7)));
    }
    columns.push(("power", Align::Right, Keep::Drop(6)));
    columns.extend(metrics.iter().map(|&(_, title)| (title, Align::Right, Keep::Drop(5))));

    let mut grid = Grid::of(columns);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    for row in rows {
        let mut cells = Vec::new();
        if with_name {
            cells.push(clean(&row.name));
        }
        cells.push(if row.error.is_some() && row.model.is_empty() { "–".into() } else { clean(&row.model) });
        if with_machine {
            cells.push(if row.error.is_some() && row.machine.is_empty() { "–".into() } else { clean(&row.machine) });
        }
        cells.extend(settings.iter().map(|(key, _)| or_dash(row.setting(key).map(clean))));
        if let Some(error) = &row.error {
            // One line, whatever the error's own shape.
            grid.row_with_rest(cells, clean(&error.split_whitespace().collect::<Vec<_>>().join(" ")));
            continue;
        }
        cells.push(or_dash(row.latency_s.map(|s| quantity(s, "s"))));
        if with_tokens {
            cells.push(or_dash(row.tokens_per_s.map(number)));
            cells.push(or_dash(row.energy_per_token_j.map(|j| quantity(j, "J"))));
        } else {
            cells.push(or_dash(row.energy_j.map(|j| quantity(j, "J"))));
        }
        cells.push(or_dash(row.power_w.map(|w| quantity(w, "W"))));
        cells.extend(metrics.iter().map(|&(key, _)| or_dash(row.metrics.get(key).map(|&v| metric(key, v).1))));
        grid.row(cells);
    }
    grid
}

/// Whether no two rows have the same model, machine and settings, so that their names need not be shown. A point without a
/// result has no model and no machine to tell it by.
fn told_apart(rows: &[ComparisonRow], settings: &[(String, String)]) -> bool {
    let failed = rows.iter().any(|row| row.error.is_some());
    let mut seen = BTreeSet::new();
    rows.iter().all(|row| {
        let values: Vec<Option<&str>> = settings.iter().map(|(key, _)| row.setting(key)).collect();
        let of_result = if failed { ("", "") } else { (row.model.as_str(), row.machine.as_str()) };
        seen.insert((of_result, values))
    })
}
