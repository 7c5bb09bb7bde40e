//! Made traffic: streams, random and mixed accesses, pointer chases, strides.

use std::str::FromStr;

use banksia_input::InputError;
use banksia_sim::rng;
use rand::RngExt;

use super::super::controller::Request;
use super::RequestSource;

/// A pattern of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// One transaction after the other.
    Stream,
    /// Anywhere, reads only unless a write share is given.
    Random,
    /// Anywhere, a third of them writes unless another share is given.
    Mix,
    /// Anywhere, each after the one before is done.
    Chase,
    /// Every so-many-th transaction.
    Strided,
}

impl Traffic {
    /// Every pattern, by its name on the command line.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("stream", Self::Stream),
        ("random", Self::Random),
        ("mix", Self::Mix),
        ("chase", Self::Chase),
        ("strided", Self::Strided),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, t)| *t == self).map_or("", |(n, _)| n)
    }
}

impl FromStr for Traffic {
    type Err = InputError;
    fn from_str(name: &str) -> Result<Self, InputError> {
        let names = Self::NAMES.iter().map(|(n, _)| *n);
        Self::NAMES
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, t)| *t)
            .ok_or_else(|| InputError::unknown_name("--generate", "traffic", name, names))
    }
}

/// Makes requests.
#[derive(Debug)]
pub struct Generator {
    traffic: Traffic,
    left: u64,
    made: u64,
    /// Transactions of the memory.
    span: u64,
    stride: u64,
    write_share: f64,
    /// Cycles between arrivals, 0 for as fast as they are accepted.
    interval: f64,
    random: rng::Stream,
}

impl Generator {
    /// `requests` of a pattern over `span` transactions. `write_share` is the share of writes (the pattern's own where
    /// `None`), `interval` the mean cycles between arrivals (0: no arrivals), `stride` in transactions.
    pub fn new(traffic: Traffic, requests: u64, span: u64, seed: u64) -> Self {
        Self {
            traffic,
            left: requests,
            made: 0,
            span: span.max(1),
            stride: 1,
            write_share: if traffic == Traffic::Mix { 1.0 / 3.0 } else { 0.0 },
            interval: 0.0,
            random: rng::stream(seed, "memory.traffic"),
        }
    }

    /// With another share of writes.
    #[must_use]
    pub fn write_share(mut self, share: f64) -> Self {
        self.write_share = share;
        self
    }

    /// With a stride, in transactions.
    #[must_use]
    pub fn stride(mut self, stride: u64) -> Self {
        self.stride = stride;
        self
    }

    /// With arrivals so many cycles apart.
    #[must_use]
    pub fn interval(mut self, cycles: f64) -> Self {
        self.interval = cycles;
        self
    }
}

impl RequestSource for Generator {
    fn fill(&mut self, into: &mut Vec<Request>, most: usize) -> Result<bool, InputError> {
        let count = self.left.min(most as u64);
        for _ in 0..count {
            let index = match self.traffic {
                Traffic::Stream => self.made % self.span,
                Traffic::Strided => (u128::from(self.made) * u128::from(self.stride) % u128::from(self.span)) as u64,
                Traffic::Random | Traffic::Mix | Traffic::Chase => self.random.random_range(0..self.span),
            };
            let write = self.write_share > 0.0 && self.random.random::<f64>() < self.write_share;
            let arrival = (self.made as f64 * self.interval) as u64;
            into.push(Request { write, index, arrival, sequence: self.made });
            self.made += 1;
        }
        self.left -= count;
        Ok(self.left > 0)
    }

    fn timed(&self) -> bool {
        self.interval > 0.0
    }
}
