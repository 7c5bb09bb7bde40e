//! A load, from the table `[serving]`.

use std::path::Path;

use banksia_hw::system::Machine;
use banksia_input::{InputError, Source};

use super::draw::{Drawn, draw, read_trace};
use super::file::{EngineFile, Limits, MOST_REQUESTS, MOST_TOKENS, ServingFile};
use super::load::{Arrivals, Lengths};

/// A load, drawn.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The experiment's file: errors name its keys.
    pub(super) source: Source,
    /// The machine as the file has it, before ranks have roles.
    pub(super) machine: Machine,
    /// Lengths of each request.
    pub(super) lengths: Vec<Lengths>,
    /// When each comes; none where so many are kept in flight.
    times: Vec<f64>,
    concurrency: usize,
    pub(super) engine: EngineFile,
    pub(super) limits: Limits,
}

impl ServingFile {
    /// The load, drawn from the experiment's seed; the text of a trace is written into `configuration`.
    ///
    /// # Errors
    /// A key contradicts another, or its value cannot be; or the trace cannot be read.
    pub(crate) fn resolve(
        self,
        source: &Source,
        path: Option<&Path>,
        seed: u64,
        machine: &Machine,
        configuration: &mut String,
    ) -> Result<Load, InputError> {
        let given = [self.concurrency.is_some(), self.rate_per_s.is_some(), self.trace.is_some()];
        if given.iter().filter(|g| **g).count() != 1 {
            let error = source.error("serving", "needs one of `concurrency`, `rate_per_s` and `trace`");
            return Err(error.help("concurrency = 16 keeps so many in flight; rate_per_s = 4.0 lets them come; trace = \"requests.csv\" says when"));
        }
        if let Some(requests) = self.requests {
            source.check("serving.requests", requests, 1..=MOST_REQUESTS)?;
        }
        let e = self.engine;
        source.check("serving.engine.token_budget", e.token_budget, 1..=MOST_TOKENS)?;
        source.check("serving.engine.max_sequences", e.max_sequences, 1..=MOST_REQUESTS)?;
        source.check("serving.engine.memory_share", e.memory_share, 0.01..=1.0)?;
        for (key, value) in [("ttft_ms", self.limits.ttft_ms), ("tpot_ms", self.limits.tpot_ms)] {
            if let Some(value) = value {
                source.check(&format!("serving.limits.{key}"), value, 1e-6..=1e12)?;
            }
        }
        let Drawn { lengths, times } = match &self.trace {
            Some(name) => read_trace(&self, name, source, path, configuration)?,
            None => draw(&self, source, seed)?,
        };
        let concurrency = match self.concurrency {
            Some(n) => source.check("serving.concurrency", n, 1..=MOST_REQUESTS)?,
            None => 0,
        };
        let concurrency = usize::try_from(concurrency).unwrap_or(usize::MAX);
        let (source, machine) = (source.clone(), machine.clone());
        Ok(Load { source, machine, lengths, times, concurrency, engine: e, limits: self.limits })
    }
}

impl Load {
    /// When requests come.
    pub(super) fn arrivals(&self) -> Arrivals<'_> {
        if self.times.is_empty() { Arrivals::Kept(self.concurrency) } else { Arrivals::At(&self.times) }
    }

    /// The longest context that a request comes to.
    pub(crate) fn longest(&self) -> u64 {
        self.lengths.iter().map(|(prompt, answer)| prompt + answer).max().unwrap_or(1)
    }
}
