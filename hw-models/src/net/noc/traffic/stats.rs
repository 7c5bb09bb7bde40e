//! What is counted of synthetic traffic.

/// Where a measurement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net::noc) enum Phase {
    /// The network fills; packets are counted to see whether it has settled.
    Warming,
    /// Packets made now are measured.
    Measuring,
    /// Sources go on, and packets made before this cycle are waited for.
    Draining {
        /// The first cycle whose packets are not measured.
        from: u64,
    },
    /// Sources have stopped.
    Emptying,
}

/// Samples of a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in crate::net::noc) struct Samples {
    pub(in crate::net::noc) count: u64,
    pub(in crate::net::noc) sum: u64,
    pub(in crate::net::noc) least: u64,
    pub(in crate::net::noc) most: u64,
}

impl Samples {
    pub(super) fn add(&mut self, value: u64) {
        self.least = if self.count == 0 { value } else { self.least.min(value) };
        self.most = self.most.max(value);
        self.count += 1;
        self.sum += value;
    }

    /// Their mean; not a number without samples.
    pub(in crate::net::noc) fn mean(&self) -> f64 {
        self.sum as f64 / self.count as f64
    }
}

/// Counts since the last time they were cleared.
#[derive(Debug, Clone, Default)]
pub(in crate::net::noc) struct Stats {
    /// From when a packet is made to its last flit's arrival, and from when its first flit leaves.
    pub(in crate::net::noc) packet: Samples,
    pub(in crate::net::noc) network: Samples,
    /// Cycles that a packet's flits came in beyond one a cycle.
    pub(in crate::net::noc) fragmentation: Samples,
    /// Routers on the way.
    pub(in crate::net::noc) hops: Samples,
    /// Flits and packets that left sources, and that arrived, while warming up or measuring.
    pub(in crate::net::noc) sent_flits: u64,
    pub(in crate::net::noc) sent_packets: u64,
    pub(in crate::net::noc) accepted_flits: u64,
    pub(in crate::net::noc) accepted_packets: u64,
    /// Measured packets by latency in cycles; what is above is in the last place.
    pub(in crate::net::noc) histogram: Vec<u64>,
    /// Flits that arrived at each terminal.
    pub(in crate::net::noc) arrived_at: Vec<u64>,
    /// The first cycle that counts.
    pub(in crate::net::noc) since: u64,
}

/// Latencies that the histogram tells apart.
const HISTOGRAM: usize = 4096;

impl Stats {
    pub(super) fn clear(&mut self, now: u64, terminals: usize) {
        *self = Stats { histogram: vec![0; HISTOGRAM], arrived_at: vec![0; terminals], since: now, ..Stats::default() };
    }

    pub(super) fn latency(&mut self, cycles: u64) {
        self.packet.add(cycles);
        self.histogram[(cycles as usize).min(HISTOGRAM - 1)] += 1;
    }

    /// The latency that a part of the packets do not exceed.
    pub(in crate::net::noc) fn quantile(&self, part: f64) -> u64 {
        let goal = (self.packet.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        let at = self.histogram.iter().position(|n| {
            seen += n;
            seen >= goal
        });
        at.map_or(self.packet.most, |at| if at + 1 == HISTOGRAM { self.packet.most } else { at as u64 })
    }
}
