//! Evaluations of a search, by their keys.

use std::collections::HashMap;

use super::Store;
use crate::error::Error;

impl Store {
    /// Seconds, joules and tokens of the evaluations that a build has kept.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn evaluations(&self, build: &str) -> Result<HashMap<String, [f64; 3]>, Error> {
        let has = "SELECT count(*) FROM pragma_table_info('points') WHERE name IN ('latency_s', 'energy_j', 'evaluated_tokens')";
        let read = || -> rusqlite::Result<HashMap<String, [f64; 3]>> {
            let there: i64 = self.connection.query_row(has, [], |r| r.get(0))?;
            if there < 3 {
                return Ok(HashMap::new());
            }
            let sql = "SELECT key, latency_s, energy_j, evaluated_tokens FROM points
                 WHERE build = ?1 AND error IS NULL AND evaluated_tokens IS NOT NULL";
            let row = |r: &rusqlite::Row<'_>| Ok((r.get(0)?, [r.get(1)?, r.get(2)?, r.get(3)?]));
            self.connection.prepare(sql)?.query_map([build], row)?.collect()
        };
        read().map_err(|e| self.failed(&e))
    }
}
