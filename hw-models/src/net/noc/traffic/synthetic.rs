//! Synthetic traffic as what is sent.

use std::collections::VecDeque;

use super::super::bits;
use super::super::config::{NocConfig, NocError, Priority};
use super::super::flit::Flit;
use super::super::random::{Draws, Sequence, mix};
use super::super::sim::age;
use super::super::source::Start;
use super::super::workload::Workload;
use super::calendar::Calendar;
use super::in_step::InStep;
use super::offered::{ReadWrite, Sampling, Traffic};
use super::pattern::Destinations;
use super::process::Sources;
use super::stats::{Phase, Stats};

/// Kinds of packets, by their class of messages.
const READ: u8 = 1;
const WRITE: u8 = 2;
const READ_REPLY: u8 = 3;
const WRITE_REPLY: u8 = 4;

/// A packet on its way. Its number in flits is its place here, and above that how often the place was used, so that what is drawn for
/// packets differs.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    created: u64,
    left: u64,
    head_arrived: u64,
    from: u32,
    flits: u32,
    uses: u32,
    measured: bool,
}

/// Places of packets, as bits of their numbers.
const PLACES: u32 = 22;

/// A reply that waits for its source.
#[derive(Debug, Clone, Copy)]
struct Reply {
    to: u32,
    since: u64,
    class: u8,
    measured: bool,
}

/// Sources that make packets, and the statistics of these.
#[derive(Debug)]
pub(in crate::net::noc) struct Synthetic {
    nodes: usize,
    sources: Sources,
    destinations: Destinations,
    sizes: Vec<(u32, u32)>,
    most_size: usize,
    read_write: Option<ReadWrite>,
    by_age: bool,
    gaps: bool,
    /// The sequence that traffic draws from when sources are not asked in each cycle.
    own: Option<Box<Sequence>>,
    /// Sources that are asked in each cycle and draw nothing but whether they make a packet.
    in_step: Option<InStep>,
    /// By source: the cycle that is to be decided on, or that of the next packet.
    next: Vec<u64>,
    /// By source with gaps: the state of its random numbers.
    words: Vec<u64>,
    /// Sources that have a packet or reply whose time has come, and those whose packet comes by cycle.
    ready: Vec<u64>,
    calendar: Calendar,
    replies: Vec<VecDeque<Reply>>,
    /// Replies that came up in this cycle: from the next one on they can be sent.
    fresh: Vec<(u32, Reply)>,
    records: Vec<Record>,
    free: Vec<u32>,
    phase: Phase,
    pub(in crate::net::noc) stats: Stats,
    /// Flits that were made and have not arrived, and the sum of the cycles in which they were made.
    in_flight: u64,
    made_sum: u64,
    measured_in_flight: u64,
    drained: Vec<bool>,
    undrained: usize,
}

impl Synthetic {
    /// # Errors
    /// The traffic does not fit the network.
    pub(in crate::net::noc) fn new(traffic: &Traffic, config: &NocConfig, nodes: usize) -> Result<Synthetic, NocError> {
        traffic.check()?;
        let gaps = traffic.sampling == Sampling::Gaps;
        let weights: usize = traffic.sizes.iter().map(|s| s.1 as usize).sum();
        let sources = Sources::new(traffic.process, traffic.packet_rate, nodes)?;
        let plain = !gaps && traffic.read_write.is_none();
        let in_step = sources.probability().filter(|_| plain).map(|p| InStep::new(p, nodes));
        let mut synthetic = Synthetic {
            nodes,
            sources,
            in_step,
            destinations: Destinations::new(&traffic.pattern, nodes, traffic.digits)?,
            sizes: traffic.sizes.clone(),
            most_size: weights.max(1) - 1,
            read_write: traffic.read_write,
            by_age: config.router.priority == Priority::Age,
            gaps,
            own: Some(Box::new(Sequence::new(traffic.seed))),
            next: vec![0; nodes],
            words: (0..nodes as u64).map(|n| mix(mix(u64::from(traffic.seed)) ^ n << 32)).collect(),
            ready: vec![0; bits::words(nodes)],
            calendar: Calendar::new(nodes),
            replies: vec![VecDeque::new(); if traffic.read_write.is_some() { nodes } else { 0 }],
            fresh: Vec::new(),
            records: Vec::new(),
            free: Vec::new(),
            phase: Phase::Warming,
            stats: Stats::default(),
            in_flight: 0,
            made_sum: 0,
            measured_in_flight: 0,
            drained: vec![false; nodes],
            undrained: nodes,
        };
        synthetic.clear(0);
        if gaps {
            for source in 0..nodes {
                synthetic.draw_gap(source, 0, 0);
            }
        }
        Ok(synthetic)
    }

    pub(in crate::net::noc) fn clear(&mut self, now: u64) {
        self.stats.clear(now, self.nodes);
    }

    pub(in crate::net::noc) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Flits in flight, and the sum of their ages.
    pub(in crate::net::noc) fn in_flight(&self, now: u64) -> (u64, u64) {
        (self.in_flight, self.in_flight * now - self.made_sum)
    }

    /// Whether a measured packet is on its way, or a source may still make one.
    pub(in crate::net::noc) fn is_outstanding(&self) -> bool {
        if self.measured_in_flight > 0 {
            return true;
        }
        match self.phase {
            Phase::Draining { from } if self.gaps => self.next.iter().any(|next| *next < from),
            Phase::Draining { from } => self.in_step.as_ref().map_or(self.undrained > 0, |s| s.is_behind(from)),
            _ => self.undrained > 0,
        }
    }

    /// The cycle of a source's next packet, from `from` on.
    fn draw_gap(&mut self, source: usize, from: u64, now: u64) {
        match self.sources.gap(source, &mut self.words[source]) {
            None => self.next[source] = u64::MAX,
            Some(gap) => {
                let at = from.saturating_add(gap);
                self.next[source] = at;
                if at <= now && at < self.calendar.from() {
                    bits::set(&mut self.ready, source);
                } else {
                    self.calendar.put(at, source as u32);
                }
            }
        }
    }

    /// Flits of a packet that is no request or reply.
    fn size(&self, draws: &mut Sequence) -> u32 {
        let last = self.sizes.len() - 1;
        if last == 0 {
            return self.sizes[0].0;
        }
        let mut left = draws.upto(self.most_size);
        for (size, weight) in &self.sizes[..last] {
            if left < *weight as usize {
                return *size;
            }
            left -= *weight as usize;
        }
        self.sizes[last].0
    }

    /// A packet of a source: a reply, a request, or any other, made in cycle `time`.
    fn make(&mut self, source: u32, class: u8, time: u64, draws: &mut Sequence, started: &mut Vec<(u32, Start)>) {
        let size = if self.read_write.is_none() { self.size(draws) } else { 0 };
        let to = self.destinations.of(source, self.nodes, draws);
        let measured = match self.phase {
            Phase::Measuring => true,
            Phase::Draining { from } => time < from,
            Phase::Warming | Phase::Emptying => false,
        };
        let flits = match (&self.read_write, class) {
            (Some(rw), READ) => rw.flits[0],
            (Some(rw), _) => rw.flits[2],
            (None, _) => {
                // BookSim2 draws which of its networks a packet takes, of which there is one.
                if !self.gaps {
                    draws.upto(0);
                }
                size
            }
        };
        self.put(source, to, flits, class, time, measured, started);
    }

    #[allow(clippy::too_many_arguments)]
    fn put(
        &mut self,
        from: u32,
        to: u32,
        flits: u32,
        class: u8,
        created: u64,
        measured: bool,
        started: &mut Vec<(u32, Start)>,
    ) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.records.push(Record::default());
            self.records.len() as u32 - 1
        });
        let record = &mut self.records[place as usize];
        let uses = record.uses.wrapping_add(1);
        *record = Record { created, from, flits, uses, measured, ..Record::default() };
        self.in_flight += u64::from(flits);
        self.made_sum += u64::from(flits) * created;
        self.measured_in_flight += if measured { u64::from(flits) } else { 0 };
        let priority = if self.by_age { age(created) } else { 0 };
        let packet = uses << PLACES | place;
        started.push((from, Start { packet, to, flits, class, priority }));
    }

    /// The reply that waits longest at a source.
    fn reply(&mut self, source: u32, draws: &mut Sequence, started: &mut Vec<(u32, Start)>) -> bool {
        let Some(queue) = self.replies.get_mut(source as usize) else { return false };
        let Some(reply) = queue.pop_front() else { return false };
        // BookSim2 draws a destination for it too.
        if !self.gaps {
            self.destinations.of(source, self.nodes, draws);
        }
        let flits = self.read_write.map_or(1, |rw| rw.flits[if reply.class == READ_REPLY { 1 } else { 3 }]);
        let measured = match self.phase {
            Phase::Measuring => true,
            Phase::Draining { from } => reply.measured || reply.since < from,
            Phase::Warming | Phase::Emptying => reply.measured,
        };
        self.put(source, reply.to, flits, reply.class, reply.since, measured, started);
        true
    }

    /// A request's class, or that of packets which are none.
    fn class(&self, draws: &mut Sequence) -> u8 {
        match &self.read_write {
            None => 0,
            Some(rw) => {
                if draws.fraction() < rw.writes {
                    WRITE
                } else {
                    READ
                }
            }
        }
    }

    /// Asks each source that sends nothing for each cycle up to now, until it has a packet.
    fn ask(&mut self, now: u64, idle: &[u64], draws: &mut Sequence, started: &mut Vec<(u32, Start)>) {
        if let Some(mut sources) = self.in_step.take() {
            sources.ask(now, idle, draws, |source, time, draws| self.make(source as u32, 0, time, draws, started));
            self.in_step = Some(sources);
            return;
        }
        for source in bits::each(idle) {
            while self.next[source] <= now {
                if self.reply(source as u32, draws, started) {
                    break;
                }
                let time = self.next[source];
                let makes = self.sources.makes(source, draws);
                self.next[source] += 1;
                if makes {
                    let class = self.class(draws);
                    self.make(source as u32, class, time, draws, started);
                    break;
                }
            }
            if let Phase::Draining { from } = self.phase
                && self.next[source] > from
                && !self.drained[source]
            {
                self.drained[source] = true;
                self.undrained -= 1;
            }
        }
    }

    /// Takes up what is ready at sources that send nothing.
    fn take(&mut self, now: u64, idle: &[u64], started: &mut Vec<(u32, Start)>) {
        let ready = &mut self.ready;
        self.calendar.take(now, |source| bits::set(ready, source as usize));
        let Some(mut draws) = self.own.take() else { return };
        for (word, idle) in idle.iter().enumerate() {
            let mut left = self.ready[word] & idle;
            while left != 0 {
                let source = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                if !self.reply(source as u32, &mut draws, started) {
                    let time = self.next[source];
                    bits::clear(&mut self.ready, source);
                    let class = self.class(&mut draws);
                    self.make(source as u32, class, time, &mut draws, started);
                    self.draw_gap(source, time + 1, now);
                }
                let more_replies = self.replies.get(source).is_some_and(|q| !q.is_empty());
                if !more_replies && self.next[source] > now {
                    bits::clear(&mut self.ready, source);
                }
            }
        }
        self.own = Some(draws);
    }
}

impl Workload for Synthetic {
    fn generate(&mut self, now: u64, idle: &[u64], draws: &mut Draws, started: &mut Vec<(u32, Start)>) {
        if self.phase == Phase::Emptying {
            return;
        }
        match draws {
            Draws::Sequence(sequence) if !self.gaps => self.ask(now, idle, sequence, started),
            _ => self.take(now, idle, started),
        }
        // Replies that came up in this cycle wait for the next.
        for (source, reply) in std::mem::take(&mut self.fresh) {
            self.replies[source as usize].push_back(reply);
            bits::set(&mut self.ready, source as usize);
        }
    }

    fn next(&self, now: u64, idle: &[u64]) -> Option<u64> {
        if self.phase == Phase::Emptying {
            return None;
        }
        if let Some(sources) = &self.in_step {
            let counted = matches!(self.phase, Phase::Draining { from } if sources.is_behind(from));
            return Some(if counted { now } else { sources.busy(now) });
        }
        if !self.gaps || !self.fresh.is_empty() || self.ready.iter().zip(idle).any(|(r, i)| r & i != 0) {
            return Some(now);
        }
        self.calendar.next().map(|t| t.max(now))
    }

    fn left(&mut self, now: u64, _: u32, flit: &Flit) {
        let counts = matches!(self.phase, Phase::Warming | Phase::Measuring);
        self.stats.sent_flits += u64::from(counts);
        if flit.head {
            self.stats.sent_packets += u64::from(counts);
            self.records[(flit.packet & ((1 << PLACES) - 1)) as usize].left = now;
        }
    }

    fn arrived(&mut self, now: u64, terminal: u32, flit: &Flit) {
        let place = flit.packet & ((1 << PLACES) - 1);
        let record = &mut self.records[place as usize];
        if flit.head {
            record.head_arrived = now;
        }
        self.in_flight -= 1;
        self.made_sum -= record.created;
        self.measured_in_flight -= u64::from(record.measured);
        if matches!(self.phase, Phase::Warming | Phase::Measuring) {
            self.stats.accepted_flits += 1;
            self.stats.accepted_packets += u64::from(flit.tail);
            self.stats.arrived_at[terminal as usize] += 1;
        }
        if !flit.tail {
            return;
        }
        let record = *record;
        if record.measured || self.phase == Phase::Warming {
            self.stats.latency(now - record.created);
            self.stats.network.add(now - record.left);
            self.stats.fragmentation.add(now - record.head_arrived - u64::from(record.flits - 1));
            self.stats.hops.add(u64::from(flit.hops));
        }
        if flit.class == READ || flit.class == WRITE {
            let class = if flit.class == READ { READ_REPLY } else { WRITE_REPLY };
            let reply = Reply { to: record.from, since: now, class, measured: record.measured };
            self.fresh.push((terminal, reply));
        }
        self.free.push(place);
    }
}
