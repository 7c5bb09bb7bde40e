//! When a source makes packets.

use super::super::config::NocError;
use super::super::random::{Sequence, mix};

/// When a source makes a packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Process {
    /// In each cycle alike.
    Bernoulli,
    /// In bursts: a source is turned on with one probability a cycle and off with another, and makes packets while it is on.
    OnOff {
        /// Probability a cycle of being turned on.
        on: f64,
        /// Probability a cycle of being turned off.
        off: f64,
    },
}

/// The processes of all sources of a network, cycle by cycle or as gaps between packets.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    process: Process,
    /// Packets a cycle, or a cycle in which the source is on.
    rate: f64,
    /// Natural logarithm of the probability of no packet in a cycle.
    log_none: f64,
    on: Vec<bool>,
}

impl Sources {
    /// # Errors
    /// A probability is none.
    pub(super) fn new(process: Process, rate: f64, nodes: usize) -> Result<Sources, NocError> {
        if !(0.0..=1.0).contains(&rate) {
            return Err(NocError(format!("a source makes 0 to 1 packets a cycle, not {rate}")));
        }
        let (mut on, mut of_on) = (Vec::new(), rate);
        if let Process::OnOff { on: up, off: down } = process {
            if !((0.0..=1.0).contains(&up) && (0.0..=1.0).contains(&down) && up > 0.0) {
                return Err(NocError(
                    "a source is turned on and off with probabilities from 0 to 1, on above 0".to_owned(),
                ));
            }
            of_on = rate * (up + down) / up;
            if of_on > 1.0 {
                let most = up / (up + down);
                return Err(NocError(format!("with these bursts a source makes at most {most} packets a cycle")));
            }
            // BookSim2 draws the states at the beginning before the seed is set: from the generator's own seed.
            let mut draws = Sequence::new(314_159);
            on = (0..nodes).map(|_| draws.upto(1) == 1).collect();
        }
        Ok(Sources { process, rate: of_on, log_none: (-of_on).ln_1p(), on })
    }

    /// The probability of a packet, where it is the same in each cycle.
    pub(super) fn probability(&self) -> Option<f64> {
        (self.process == Process::Bernoulli).then_some(self.rate)
    }

    /// Whether a source makes a packet in its next cycle.
    pub(super) fn makes(&mut self, source: usize, draws: &mut Sequence) -> bool {
        if let Process::OnOff { on: up, off: down } = self.process {
            let state = &mut self.on[source];
            *state = if *state { draws.fraction() >= down } else { draws.fraction() < up };
            return *state && draws.fraction() < self.rate;
        }
        draws.fraction() < self.rate
    }

    /// Cycles without a packet before the next one; `None` for never. `word` is the source's own random state.
    pub(super) fn gap(&mut self, source: usize, word: &mut u64) -> Option<u64> {
        let mut fraction = || {
            *word = word.wrapping_add(1);
            (mix(*word) >> 11) as f64 / (1_u64 << 53) as f64
        };
        if self.rate <= 0.0 {
            return None;
        }
        let Process::OnOff { on: up, off: down } = self.process else {
            // The first success of trials that fail with the same probability: by the inverse of the distribution.
            let gap = (1.0 - fraction()).ln() / self.log_none;
            return Some(if gap < 1e15 { gap as u64 } else { 1 << 49 });
        };
        let mut gap = 0;
        loop {
            let state = &mut self.on[source];
            *state = if *state { fraction() >= down } else { fraction() < up };
            if *state && fraction() < self.rate {
                return Some(gap);
            }
            gap += 1;
        }
    }
}
