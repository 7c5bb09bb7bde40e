//! What is sent over a network: who sends to whom, when, and how much.

use super::super::booksim::Keys;
use super::super::config::{CLASSES, NocConfig, NocError};
use super::pattern::{Digits, Pattern};
use super::process::Process;

/// What is sent over a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Who sends to whom.
    pub pattern: Pattern,
    /// The digits that some patterns turn.
    pub digits: Digits,
    /// When a source makes a packet.
    pub process: Process,
    /// Packets that a source makes a cycle, on average.
    pub packet_rate: f64,
    /// Sizes of packets in flits, each with a weight.
    pub sizes: Vec<(u32, u32)>,
    /// Requests with replies instead of packets of these sizes.
    pub read_write: Option<ReadWrite>,
    /// The seed.
    pub seed: u32,
    /// How what is random is drawn.
    pub sampling: Sampling,
}

/// How what is random is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// From one sequence, for each terminal in each cycle, in BookSim2's order: the same seed gives the same packets as there.
    Sequence,
    /// The gaps between packets, by source, and by packet what routing draws: nothing is asked for in idle cycles. The same distributions.
    Gaps,
}

/// Requests to read and to write, each of which is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadWrite {
    /// Flits of a request to read, of its reply, of a request to write, and of its reply.
    pub flits: [u32; 4],
    /// First and last virtual channel of each of these.
    pub vcs: [(usize, usize); 4],
    /// The part of requests that write.
    pub writes: f64,
}

impl Traffic {
    /// Flits of a packet on average; with requests and replies, of a request with its reply.
    pub fn mean_flits(&self) -> f64 {
        if let Some(rw) = &self.read_write {
            return f64::from(rw.flits.iter().sum::<u32>() / 2);
        }
        let weights: u64 = self.sizes.iter().map(|s| u64::from(s.1)).sum();
        let flits: u64 = self.sizes.iter().map(|s| u64::from(s.0) * u64::from(s.1)).sum();
        flits as f64 / weights as f64
    }

    /// The same traffic with another rate, in flits a terminal and cycle.
    #[must_use]
    pub fn at(&self, flit_rate: f64) -> Traffic {
        Traffic { packet_rate: flit_rate / self.mean_flits(), ..self.clone() }
    }

    /// The virtual channels of each class of messages.
    pub(in crate::net::noc) fn classes(&self, config: &NocConfig) -> Result<[(usize, usize); CLASSES], NocError> {
        let mut classes = config.all_classes();
        if let Some(rw) = &self.read_write {
            // In the order of classes: read request, write request, read reply, write reply.
            classes[1..].copy_from_slice(&[rw.vcs[0], rw.vcs[2], rw.vcs[1], rw.vcs[3]]);
        }
        let (vcs, least) = (config.router.virtual_channels, config.routing.least_vcs(&config.shape));
        match classes.iter().find(|(first, last)| last >= &vcs || first > last || last - first + 1 < least) {
            None => Ok(classes),
            Some((first, last)) => Err(NocError(format!(
                "virtual channels {first} to {last} of a class of messages: there are {vcs}, and the routing needs {least}"
            ))),
        }
    }

    /// Refuses sizes that are none.
    pub(in crate::net::noc) fn check(&self) -> Result<(), NocError> {
        let total: u64 = self.sizes.iter().map(|s| u64::from(s.1)).sum();
        let flits = self.read_write.map_or_else(|| self.sizes.iter().map(|s| s.0).collect(), |rw| rw.flits.to_vec());
        if flits.is_empty() || flits.iter().any(|f| !(1..=1 << 16).contains(f)) || !(1..1 << 29).contains(&total) {
            return Err(NocError("packets have 1 to 65536 flits, with weights".to_owned()));
        }
        Ok(())
    }

    /// Traffic in BookSim2's words.
    ///
    /// # Errors
    /// A key's value cannot be read, or there is no such traffic.
    pub fn from_booksim_keys(keys: &Keys<'_>) -> Result<Traffic, NocError> {
        // A list is one of classes, of which there is one here: `{{1,5}}` are two sizes, of `{1,5}` the first counts.
        let list = |key: &str, other: u32| -> Result<Vec<u32>, NocError> {
            let text = keys.word(key, "");
            if text.is_empty() {
                return Ok(vec![other]);
            }
            let class = text.strip_prefix('{').unwrap_or(text);
            let text = match class.strip_prefix('{') {
                Some(sizes) => sizes.split('}').next().unwrap_or(sizes),
                None => class.split([',', '}']).next().unwrap_or(class),
            };
            let number =
                |n: &str| n.trim().parse().map_err(|_| NocError(format!("{key} is `{text}`, not whole numbers")));
            text.split(',').map(number).collect()
        };
        let (sizes, weights) = (list("packet_size", 1)?, list("packet_size_rate", 1)?);
        let last = weights.last().copied().unwrap_or(1);
        let weight = |i: usize| weights.get(i).copied().unwrap_or(last);
        let process = match keys.word("injection_process", "bernoulli") {
            "bernoulli" => Process::Bernoulli,
            "on_off" => Process::OnOff { on: keys.number("burst_alpha", 0.5)?, off: keys.number("burst_beta", 0.5)? },
            other => return Err(NocError(format!("no injection process `{other}`"))),
        };
        let read_write =
            if keys.number("use_read_write", 0_i64)? > 0 { Some(ReadWrite::from_booksim(keys)?) } else { None };
        let sizes: Vec<(u32, u32)> = sizes.into_iter().enumerate().map(|(i, size)| (size, weight(i))).collect();
        let radix = keys.number("k", 8_usize)?.saturating_mul(keys.number("xr", 1)?);
        let mut traffic = Traffic {
            pattern: Pattern::from_booksim(keys.word("traffic", "uniform"), keys.number("perm_seed", 0)?)?,
            digits: Digits { radix, dimensions: keys.number("n", 2)? },
            process,
            packet_rate: keys.number("injection_rate", 0.1)?,
            sizes,
            read_write,
            seed: keys.number("seed", 0)?,
            sampling: Sampling::Sequence,
        };
        traffic.check()?;
        if keys.number("injection_rate_uses_flits", 0_i64)? > 0 {
            traffic = traffic.at(traffic.packet_rate);
        }
        Ok(traffic)
    }
}

impl ReadWrite {
    fn from_booksim(keys: &Keys<'_>) -> Result<ReadWrite, NocError> {
        let kinds = ["read_request", "read_reply", "write_request", "write_reply"];
        // BookSim2's own ranges, for 16 virtual channels.
        let ranges = [(0, 5), (8, 13), (2, 7), (10, 15)];
        let mut rw = ReadWrite { flits: [1; 4], vcs: ranges, writes: keys.number("write_fraction", 0.5)? };
        for (i, kind) in kinds.iter().enumerate() {
            rw.flits[i] = keys.number(&format!("{kind}_size"), 1)?;
            let (first, last) = ranges[i];
            rw.vcs[i] =
                (keys.number(&format!("{kind}_begin_vc"), first)?, keys.number(&format!("{kind}_end_vc"), last)?);
        }
        Ok(rw)
    }
}
