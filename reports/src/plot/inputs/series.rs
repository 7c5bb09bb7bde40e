//! Points of tables, as series, and what cannot be drawn of them.

use std::collections::BTreeMap;
use std::path::Path;

use banksia_input::InputError;

use super::quantity::column_quantity;
use super::table::Table;
use crate::plot::{Quantity, Scaling, Series, Style};

/// Which columns a table is read by.
pub(super) struct Columns {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) by: By,
}

/// What tells a table's series apart.
pub(super) enum By {
    /// Nothing does.
    Nothing,
    /// A column's values, as they are.
    Column(usize),
    /// Several columns' values together, each with what it is where it is a number.
    Together(Vec<usize>),
}

impl By {
    pub(super) fn column(found: Option<usize>) -> Self {
        found.map_or(Self::Nothing, Self::Column)
    }
}

/// The points of tables, in base units.
pub(super) struct Points {
    pub(super) series: Vec<Series>,
    /// The names on the horizontal axis, where it is one of names: a point's abscissa is an index of them.
    pub(super) names: Option<Vec<String>>,
    /// What was left out.
    pub(super) warnings: Vec<String>,
}

/// The points of tables, as series by what tells them apart and, where there are several tables, by file. With `by_name`, the
/// column of the abscissa holds names, in the order of their first appearance.
///
/// # Errors
/// A cell is no number, or no row has both values.
pub(super) fn points(
    tables: &[Table],
    columns: &[Columns],
    by_name: bool,
    style: &Style,
) -> Result<Points, InputError> {
    let labels = labels(tables);
    let mut series: Vec<Series> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let (mut rows, mut incomplete) = (0usize, 0usize);
    for ((table, columns), label) in tables.iter().zip(columns).zip(labels) {
        let factor = |column: usize| column_quantity(&table.columns[column]).1;
        let stem = Path::new(&table.file).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        for (i, row) in table.rows.iter().enumerate() {
            rows += 1;
            let x = match by_name {
                false => table.number(i, columns.x, factor(columns.x))?,
                true if row[columns.x].is_empty() => None,
                true => {
                    let name = &row[columns.x];
                    let place = *places.entry(name.clone()).or_insert_with(|| {
                        names.push(name.clone());
                        names.len() - 1
                    });
                    Some(place as f64)
                }
            };
            let (Some(x), Some(y)) = (x, table.number(i, columns.y, factor(columns.y))?) else {
                incomplete += 1;
                continue;
            };
            let own = match &columns.by {
                By::Nothing => None,
                By::Column(by) => Some(row[*by].clone()),
                By::Together(by) => Some(table.name(i, by)),
            };
            let name = match own {
                Some(own) if tables.len() > 1 => format!("{stem}: {own}"),
                Some(own) => own,
                None => label.map_or_else(|| stem.clone(), |c| row[c].clone()),
            };
            let at = *index.entry(name.clone()).or_insert_with(|| {
                series.push(Series { name, points: Vec::new() });
                series.len() - 1
            });
            series[at].points.push((x, y));
        }
    }
    let (Some(table), Some(first)) = (tables.first(), columns.first()) else {
        return Ok(Points { series, names: by_name.then_some(names), warnings: Vec::new() });
    };
    let (x, y) = (&table.columns[first.x], &table.columns[first.y]);
    if series.is_empty() {
        return Err(InputError::new(&table.file, format!("has no row with both `{x}` and `{y}`"))
            .help("choose other columns with --x and --y"));
    }
    if by_name {
        names = in_order(&names, &mut series, style);
    }
    for one in &mut series {
        one.name = style.called(&one.name);
    }
    series.sort_by_key(|one| style.rank(&one.name));
    let mut warnings = Vec::new();
    if incomplete > 0 {
        warnings.push(format!("{incomplete} of {rows} rows have no `{x}` or no `{y}` and are left out"));
    }
    Ok(Points { series, names: by_name.then_some(names), warnings })
}

/// The names of an axis in the style's order and as it calls them; points follow their names.
fn in_order(names: &[String], series: &mut [Series], style: &Style) -> Vec<String> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&i| style.rank(&names[i]));
    for point in series.iter_mut().flat_map(|s| &mut s.points) {
        let place = order.iter().position(|&i| i == point.0 as usize);
        point.0 = place.map_or(point.0, |p| p as f64);
    }
    order.into_iter().map(|i| style.called(&names[i])).collect()
}

/// Checks that an axis can show something of its values, and says what it cannot.
///
/// # Errors
/// No value can be shown.
pub(super) fn check_axis(
    points: &mut Points,
    (table, column): (&Table, usize),
    scaling: Scaling,
    of: fn(&(f64, f64)) -> f64,
    remedy: &str,
) -> Result<(), InputError> {
    let values = || points.series.iter().flat_map(|s| s.points.iter()).map(of);
    let shown = |v: &f64| v.is_finite() && (!scaling.is_log() || *v > 0.0);
    let (all, good) = (values().count(), values().filter(shown).count());
    let (name, kind) = (&table.columns[column], if scaling.is_log() { "positive" } else { "finite" });
    if good == 0 {
        let axis = if scaling.is_log() { ", and a logarithmic axis shows no other" } else { "" };
        let error = InputError::new(&table.file, format!("has no {kind} value{axis}")).key(name);
        return Err(error.help(remedy));
    }
    if good < all {
        points.warnings.push(format!("{} of {all} points are left out: their `{name}` is not {kind}", all - good));
    }
    Ok(())
}

/// The column that names each table where files are not told apart by their own rows: the first of the usual ones that is the same all through a table
/// and differs between every two.
fn labels(tables: &[Table]) -> Vec<Option<usize>> {
    let column = |name: &str| -> Option<Vec<usize>> {
        let found: Vec<usize> =
            tables.iter().map(|t| t.columns.iter().position(|c| c == name)).collect::<Option<_>>()?;
        let values: Option<std::collections::BTreeSet<&str>> = tables
            .iter()
            .zip(&found)
            .map(|(t, &c)| t.rows.first().filter(|_| !t.varies(c)).map(|r| r[c].as_str()))
            .collect();
        values.filter(|v| v.len() == tables.len()).map(|_| found)
    };
    let found = ["name", "device", "traffic"].into_iter().find_map(column);
    found.map_or_else(|| vec![None; tables.len()], |f| f.into_iter().map(Some).collect())
}

pub(super) fn first_quantity(tables: &[Table], columns: &[Columns], of: fn(&Columns) -> usize) -> Quantity {
    match (tables.first(), columns.first()) {
        (Some(table), Some(columns)) => column_quantity(&table.columns[of(columns)]).0,
        _ => Quantity::new("", ""),
    }
}
