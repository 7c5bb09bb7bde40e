//! Points set against the baseline of their sweep.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Row;

use super::Store;
use crate::error::Error;

/// Columns that are worked out: the baseline's latency, and energy, divided by the point's. Above 1 the point is better.
pub(super) const RATIOS: [&str; 2] = ["speedup", "energy_gain"];

/// Of each sweep with a baseline, what its points are set against.
pub(super) struct Baselines {
    /// Of each sweep, by its number in the store.
    keys: HashMap<i64, BTreeMap<String, String>>,
    /// Latency and energy of the baseline of a sweep and of values of the other keys.
    of: HashMap<(i64, String), (f64, f64)>,
}

impl Baselines {
    /// The columns that it needs, after all others.
    pub(super) const COLUMNS: &str = "sweep, experiment, settings, latency_s, energy_j";

    pub(super) fn of(store: &Store, build: &str) -> Result<Self, Error> {
        let mut this = Self { keys: HashMap::new(), of: HashMap::new() };
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = store.connection.prepare("SELECT id, baseline FROM sweeps")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let keys: BTreeMap<String, String> =
                    serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or_default();
                if !keys.is_empty() {
                    this.keys.insert(row.get(0)?, keys);
                }
            }
            if this.keys.is_empty() {
                return Ok(());
            }
            let sql = format!(
                "SELECT {} FROM points WHERE build = ?1 AND error IS NULL
                 AND ordinal < (SELECT points FROM sweeps WHERE id = sweep) ORDER BY ordinal DESC",
                Self::COLUMNS
            );
            let mut statement = store.connection.prepare(&sql)?;
            let mut rows = statement.query([build])?;
            while let Some(row) = rows.next()? {
                let Some((place, true)) = this.place(row, 0)? else { continue };
                if let (Some(latency), Some(energy)) = (row.get(3)?, row.get(4)?) {
                    this.of.insert(place, (latency, energy));
                }
            }
            Ok(())
        };
        // A store without a point has no such columns yet.
        match read() {
            Ok(()) | Err(rusqlite::Error::SqlInputError { .. }) => Ok(this),
            Err(e) => Err(store.failed(&e)),
        }
    }

    /// A point's sweep and the values of its other keys, and whether it is itself what others are set against.
    fn place(&self, row: &Row<'_>, from: usize) -> rusqlite::Result<Option<((i64, String), bool)>> {
        let sweep: i64 = row.get(from)?;
        let Some(keys) = self.keys.get(&sweep) else { return Ok(None) };
        let experiment: String = row.get(from + 1)?;
        let settings: String = row.get(from + 2)?;
        let settings: Vec<(String, String)> = serde_json::from_str(&settings).unwrap_or_default();
        let (mut others, mut is_baseline) = (String::new(), true);
        for (key, value) in
            std::iter::once((&"experiment".to_owned(), &experiment)).chain(settings.iter().map(|(k, v)| (k, v)))
        {
            match keys.get(key) {
                Some(wanted) => is_baseline &= wanted == value,
                None => others.push_str(&format!("{key}={value}\n")),
            }
        }
        Ok(Some(((sweep, others), is_baseline)))
    }

    /// The ratios of a row, of which the columns that are needed stand from a place on.
    pub(super) fn ratios(&self, row: &Row<'_>, from: usize) -> rusqlite::Result<Option<[f64; 2]>> {
        let Some((place, _)) = self.place(row, from)? else { return Ok(None) };
        let own: (Option<f64>, Option<f64>) = (row.get(from + 3)?, row.get(from + 4)?);
        Ok(match (self.of.get(&place), own) {
            (Some((latency, energy)), (Some(l), Some(e))) if l > 0.0 && e > 0.0 => Some([latency / l, energy / e]),
            _ => None,
        })
    }
}
