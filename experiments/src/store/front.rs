//! The points that no other beats in all of some columns.

use banksia_input::InputError;
use rusqlite::types::Value;

use super::read::Points;

/// A column to look at, and whether more of it is better.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Objective {
    column: usize,
    larger: bool,
}

impl Points {
    /// Keeps the points that no other beats in all objectives: columns by name, `max` or `min` before them where the name does not say
    /// which is better (rates, utilisations and ratios are better when larger).
    ///
    /// # Errors
    /// There is no such column, or none at all is named.
    pub fn keep_front(&mut self, objectives: &[String]) -> Result<(), InputError> {
        if objectives.is_empty() {
            let error = InputError::new("--pareto", "has no objective");
            return Err(
                error.help("name columns, as in `--pareto latency_s,energy_j`, or `objectives` in the sweep file")
            );
        }
        let objectives: Vec<Objective> = objectives.iter().map(|o| self.objective(o)).collect::<Result<_, _>>()?;
        let costs = |row: &Vec<Value>| -> Option<Vec<f64>> {
            objectives.iter().map(|o| Some(number(&row[o.column])? * if o.larger { -1.0 } else { 1.0 })).collect()
        };
        let mut order: Vec<(Vec<f64>, usize)> =
            self.rows.iter().enumerate().filter_map(|(i, row)| Some((costs(row)?, i))).collect();
        // Sorted by the first cost and then the others, a point can only be beaten by one before it.
        order.sort_by(|a, b| {
            a.0.iter().zip(&b.0).map(|(x, y)| x.total_cmp(y)).find(|o| o.is_ne()).unwrap_or(a.1.cmp(&b.1))
        });
        let mut front: Vec<(Vec<f64>, usize)> = Vec::new();
        for (cost, i) in order {
            let beaten =
                |(other, _): &(Vec<f64>, usize)| other.iter().zip(&cost).all(|(o, c)| o <= c) && *other != cost;
            if !front.iter().any(beaten) {
                front.push((cost, i));
            }
        }
        let mut kept = vec![false; self.rows.len()];
        for (_, i) in front {
            kept[i] = true;
        }
        let mut flags = kept.into_iter();
        self.rows.retain(|_| flags.next().unwrap_or(false));
        Ok(())
    }

    fn objective(&self, text: &str) -> Result<Objective, InputError> {
        let (larger, name) = match text.trim().split_once(char::is_whitespace) {
            Some(("max", name)) => (Some(true), name.trim()),
            Some(("min", name)) => (Some(false), name.trim()),
            _ => (None, text.trim()),
        };
        let names = || self.columns.iter().map(|(n, _)| n.as_str());
        let found = names().position(|n| n == name);
        let column = found.ok_or_else(|| InputError::unknown_name("--pareto", "column", name, names()))?;
        Ok(Objective { column, larger: larger.unwrap_or_else(|| better_when_larger(name)) })
    }
}

/// Whether more of a column is better, by what its name says.
fn better_when_larger(name: &str) -> bool {
    let rate = ["_per_s", "_per_j", "_utilization", "_hit_rate", "speedup", "energy_gain", "_gain"];
    rate.iter().any(|end| name.ends_with(end)) || name.contains("bandwidth")
}

/// A value as a number.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Real(x) if x.is_finite() => Some(*x),
        Value::Integer(i) => Some(*i as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rows: &[(f64, f64)]) -> Points {
        let columns = vec![("latency_s".to_owned(), None), ("tokens_per_s".to_owned(), None)];
        Points { columns, rows: rows.iter().map(|(a, b)| vec![Value::Real(*a), Value::Real(*b)]).collect() }
    }

    #[test]
    fn a_rate_is_better_when_larger() {
        let mut p = points(&[(1.0, 5.0), (2.0, 4.0), (3.0, 9.0), (1.0, 5.0), (4.0, 1.0)]);
        p.keep_front(&["latency_s".into(), "tokens_per_s".into()]).unwrap_or_default();
        assert_eq!(p.rows.len(), 3, "equal points stay together: {:?}", p.rows);
        let mut p = points(&[(1.0, 5.0), (2.0, 4.0)]);
        p.keep_front(&["min tokens_per_s".into()]).unwrap_or_default();
        assert_eq!(p.rows[0][1], Value::Real(4.0));
        assert!(p.keep_front(&["nosuch".into()]).is_err() && p.keep_front(&[]).is_err());
    }
}
