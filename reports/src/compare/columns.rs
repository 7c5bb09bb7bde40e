//! Which columns a comparison has, and what the settings' columns are called.

use std::collections::{BTreeMap, BTreeSet};

use super::ComparisonRow;

/// Columns before the settings.
pub(super) const BEFORE: [&str; 3] = ["name", "model", "machine"];
/// Columns of numbers after the settings.
pub(super) const NUMBERS: [&str; 8] = [
    "latency_s",
    "latency_per_token_s",
    "tokens_per_s",
    "ttft_s",
    "tpot_s",
    "energy_j",
    "energy_per_token_j",
    "power_w",
];
/// The column of what went wrong, and the objects of the JSON: no setting takes their names.
const OTHERS: [&str; 4] = ["error", "settings", "metrics", "energy_parts_j"];

impl ComparisonRow {
    pub(super) fn numbers(&self) -> [Option<f64>; 8] {
        [
            self.latency_s,
            self.latency_per_token_s,
            self.tokens_per_s,
            self.ttft_s,
            self.tpot_s,
            self.energy_j,
            self.energy_per_token_j,
            self.power_w,
        ]
    }

    /// The value of a key; of one that is set twice, the last.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().rfind(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// A comparison's columns beside the fixed ones.
pub(super) struct Columns {
    /// Each key that a point sets, in the order of first appearance: its whole path, and the name of its column.
    pub(super) settings: Vec<(String, String)>,
    /// Each cause of energy, and the name of its column.
    pub(super) parts: Vec<(String, String)>,
    /// Metrics that have a column of their own.
    pub(super) metrics: Vec<String>,
}

impl Columns {
    pub(super) fn of(rows: &[ComparisonRow]) -> Self {
        let fixed: BTreeSet<&str> = BEFORE.into_iter().chain(NUMBERS).chain(OTHERS).collect();
        let parts: BTreeSet<&String> = rows.iter().flat_map(|row| row.energy_parts_j.keys()).collect();
        let parts: Vec<(String, String)> =
            parts.into_iter().map(|part| (part.clone(), format!("energy_{part}_j"))).collect();
        let is_part = |name: &str| parts.iter().any(|(_, column)| column == name);
        let parts: Vec<(String, String)> =
            parts.iter().filter(|(_, column)| !fixed.contains(column.as_str())).cloned().collect();
        let metrics: BTreeSet<&String> = rows.iter().flat_map(|row| row.metrics.keys()).collect();
        let metrics: Vec<String> =
            metrics.into_iter().filter(|m| !fixed.contains(m.as_str()) && !is_part(m)).cloned().collect();
        let mut keys: Vec<&str> = Vec::new();
        let mut seen = BTreeSet::new();
        for (key, _) in rows.iter().flat_map(|row| &row.settings) {
            if seen.insert(key) {
                keys.push(key);
            }
        }
        let taken: BTreeSet<&str> = fixed
            .into_iter()
            .chain(metrics.iter().map(String::as_str))
            .chain(parts.iter().map(|p| p.1.as_str()))
            .collect();
        let settings = names(&keys, &taken);
        Self { settings, parts, metrics }
    }
}

/// Each key's whole path and the name of its column: the last part where no other column has that name, else the whole path,
/// with `set.` before it where even that is another column's name (a key `name`, say).
fn names(keys: &[&str], taken: &BTreeSet<&str>) -> Vec<(String, String)> {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for key in keys {
        let last = last_part(key);
        // A key of one part is its own last part, and would be counted twice.
        for name in BTreeSet::from([last, key]) {
            *uses.entry(name).or_default() += 1;
        }
    }
    let free = |name: &str| !name.is_empty() && !taken.contains(name);
    let mut given: BTreeSet<String> = BTreeSet::new();
    let mut columns = Vec::new();
    for &key in keys {
        let last = last_part(key);
        let mut name = match free(last) && uses.get(last) == Some(&1) {
            true => last.to_owned(),
            false => key.to_owned(),
        };
        while !free(&name) || !given.insert(name.clone()) {
            name = format!("set.{name}");
        }
        columns.push((key.to_owned(), name));
    }
    columns
}

/// The last part of a dotted path; a part in quotes may hold dots.
pub(crate) fn last_part(key: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = key.strip_suffix(quote)
            && let Some(open) = inner.rfind(quote)
        {
            return &inner[open + 1..];
        }
    }
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(keys: &[&str]) -> Vec<String> {
        let taken: BTreeSet<&str> = BEFORE.into_iter().chain(NUMBERS).chain(OTHERS).collect();
        names(keys, &taken).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn a_short_name_is_given_where_it_is_free() {
        assert_eq!(columns(&["machine.memory.channels", "workload.generation.batch"]), ["channels", "batch"]);
        // Two keys, or a key and a fixed column, would have it.
        assert_eq!(columns(&["a.clock_mhz", "b.clock_mhz", "c"]), ["a.clock_mhz", "b.clock_mhz", "c"]);
        assert_eq!(columns(&["workload.model", "machine.name"]), ["workload.model", "machine.name"]);
        assert_eq!(columns(&["a.error", "x.latency_s"]), ["a.error", "x.latency_s"]);
        // One key's path is another's last part.
        assert_eq!(columns(&["seed", "a.seed"]), ["seed", "a.seed"]);
        assert_eq!(columns(&["name", "model"]), ["set.name", "set.model"]);
        assert_eq!(columns(&["a.\"b.c\"", "a.", ""]), ["b.c", "a.", "set."]);
    }

    proptest::proptest! {
        /// No two columns have the same name, whatever the keys.
        #[test]
        fn names_are_distinct(keys in proptest::collection::btree_set("(set|name|a|b)?([.](name|a|b|set)){0,2}", 0..9)) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let names = columns(&keys);
            let distinct: BTreeSet<&String> = names.iter().collect();
            proptest::prop_assert_eq!(distinct.len(), keys.len());
        }
    }
}
