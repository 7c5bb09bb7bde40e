//! The fabric between the ranks of a cluster as a device of a machine: it runs collectives.
//!
//! A collective begins when all ranks that take part have come to it (its instruction's dependencies) and the one before it in its lane is done;
//! how long it takes is the cluster's to say, by the kernels of the library that runs it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use banksia_sim::{Elapsed, EventQueue, Time};

use super::executor::{Books, Executor, OperatorBooks, RunError, Share};
use crate::net::fabric::call::{Call, Exchanged};
use crate::net::fabric::cluster::Cluster;
use crate::outcome::{ComponentOutcome, Outcome, Span};
use crate::program::{Program, ProgramError, Work};

/// What joins the ranks of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct FabricSpec {
    /// Links, NICs and libraries.
    pub cluster: Cluster,
    /// Nodes that there are; as many as the ranks need where none are said.
    pub nodes: Option<u32>,
}

/// A device of the machine: its name, and how many ranks it stands for.
pub type Role = (String, u32);

/// What was done for one operator.
#[derive(Debug, Clone, Default)]
struct Done {
    busy: Elapsed,
    nvlink: f64,
    network: f64,
}

/// A fabric at work.
#[derive(Debug)]
pub(super) struct Fabric {
    spec: Arc<FabricSpec>,
    roles: Vec<Role>,
    timeline_step: Option<u64>,
    step: u64,
    program: Arc<Program>,
    /// What calls take: programs repeat them.
    known: HashMap<Call, Exchanged>,
    /// From when on each lane is free, and how long it was at work.
    lanes: Vec<(Time, Elapsed)>,
    events: EventQueue<u32>,
    unfinished: usize,
    operators: Vec<(String, Done)>,
    by_name: BTreeMap<String, usize>,
    map: Vec<usize>,
    collectives: u64,
    spans: Vec<Span>,
}

impl Fabric {
    /// A fabric at rest.
    pub(super) fn new(spec: Arc<FabricSpec>, roles: Vec<Role>, timeline_step: Option<u64>) -> Self {
        Self {
            spec,
            roles,
            timeline_step,
            step: 0,
            program: Arc::default(),
            known: HashMap::new(),
            lanes: Vec::new(),
            events: EventQueue::new(),
            unfinished: 0,
            operators: Vec::new(),
            by_name: BTreeMap::new(),
            map: Vec::new(),
            collectives: 0,
            spans: Vec::new(),
        }
    }

    fn energy_j(&self, done: &Done) -> f64 {
        let energy = &self.spec.cluster.machine().file.energy;
        8e-12 * (done.nvlink * energy.nvlink_pj_per_bit + done.network * energy.network_pj_per_bit)
    }

    fn too_long(&self) -> RunError {
        RunError::TooLong { step: self.step, limit: Time::MAX, what: "a collective".into() }
    }

    /// The lane in words: that of a device's ranks, or between two.
    fn lane_name(&self, lane: u32) -> String {
        match self.roles.get(lane as usize) {
            Some((name, _)) => format!("collectives of {name}"),
            None => format!("sends {}", lane as usize - self.roles.len()),
        }
    }

    fn total(&self) -> Done {
        self.operators.iter().fold(Done::default(), |sum, (_, d)| Done {
            busy: sum.busy.and(d.busy),
            nvlink: sum.nvlink + d.nvlink,
            network: sum.network + d.network,
        })
    }
}

fn traffic(done: &Done) -> BTreeMap<String, u64> {
    let of = |name: &str, bytes: f64| (name.to_owned(), bytes.round() as u64);
    BTreeMap::from([of("nvlink", done.nvlink), of("network", done.network)])
}

impl Executor for Fabric {
    fn load(&mut self, program: &Arc<Program>, share: Share<'_>, start: Time) -> Result<(), RunError> {
        let all: Vec<u32>;
        let mine = match share {
            Share::Of(mine) => mine,
            Share::Alone => {
                all = (0..program.instructions.len() as u32).collect();
                &all
            }
        };
        let step = self.step;
        for &i in mine {
            let Work::Collective { call, lane, .. } = program.instructions[i as usize].work else {
                let error = ProgramError::Device {
                    instruction: i as usize,
                    device: "the fabric".into(),
                    work: "anything but collectives",
                };
                return Err(RunError::Program { step, error });
            };
            let refused = |problem: String| RunError::Program {
                step,
                error: ProgramError::Code { instruction: i as usize, problem },
            };
            // As many lanes as pairs of devices, at most.
            if lane as usize > self.roles.len().saturating_mul(2) {
                return Err(refused(format!("lane {lane} is none of the fabric's")));
            }
            if self.lanes.len() <= lane as usize {
                self.lanes.resize(lane as usize + 1, (Time::ZERO, Elapsed::ZERO));
            }
            if !self.known.contains_key(&call) {
                let taken = self.spec.cluster.call(&call).map_err(|e| refused(e.to_string()))?;
                self.known.insert(call, taken);
            }
        }
        self.program = Arc::clone(program);
        self.map.clear();
        for operator in &program.operators {
            let at = *self.by_name.entry(operator.name.clone()).or_insert_with(|| {
                self.operators.push((operator.name.clone(), Done::default()));
                self.operators.len() - 1
            });
            self.map.push(at);
        }
        self.lanes.iter_mut().for_each(|(free, _)| *free = (*free).max(start));
        self.unfinished = mine.len();
        Ok(())
    }

    fn release(&mut self, instruction: u32, at: Time) -> Result<(), RunError> {
        let entry = &self.program.instructions[instruction as usize];
        let Work::Collective { call, lane, ranks } = entry.work else { return Ok(()) };
        let taken = self.known.get(&call).copied().unwrap_or_default();
        let (free, _) = self.lanes[lane as usize];
        let begin = free.max(at);
        let length = Time::from_secs_f64(taken.seconds).map_err(|_| self.too_long())?;
        let end = begin.checked_add(length).ok_or_else(|| self.too_long())?;
        let place = &mut self.lanes[lane as usize];
        place.0 = end;
        place.1.add(length);
        self.collectives += 1;
        let done = &mut self.operators[self.map[entry.operator as usize]].1;
        done.busy.add(length);
        done.nvlink += taken.nvlink_bytes * f64::from(ranks);
        done.network += taken.network_bytes * f64::from(ranks);
        if self.timeline_step == Some(self.step) {
            self.spans.push(Span {
                group: "fabric",
                lane: self.lane_name(lane),
                operator: self.program.operators[entry.operator as usize].name.clone(),
                start: begin,
                end,
                details: vec![("bytes", call.bytes.to_string()), ("ranks", ranks.to_string())],
            });
        }
        self.events.push(end, instruction);
        Ok(())
    }

    fn next(&mut self) -> Option<Time> {
        self.events.peek_time()
    }

    fn advance(&mut self, until: Time, done: &mut Vec<(Time, u32)>) -> Result<(), RunError> {
        while self.events.peek_time().is_some_and(|t| t <= until) {
            let Some(event) = self.events.pop() else { break };
            self.unfinished -= 1;
            done.push(event);
        }
        Ok(())
    }

    fn unfinished(&self) -> usize {
        self.unfinished
    }

    fn waits(&self) -> Vec<String> {
        // What has been released is under way.
        Vec::new()
    }

    fn end_step(&mut self, _: Time) -> f64 {
        self.step += 1;
        self.operators.iter().map(|(_, d)| self.energy_j(d)).sum()
    }

    fn granule(&self) -> Option<Time> {
        Some(Time::from_fs(1))
    }

    fn move_epoch(&mut self, by: Time) {
        self.lanes.iter_mut().for_each(|(free, _)| *free = free.saturating_sub(by));
    }

    fn books(&mut self, _: Time) -> Books {
        let mut books = Books::default();
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (name, done) in self.operators.iter().filter(|(_, d)| d.busy > Elapsed::ZERO) {
            let traffic_bytes = traffic(done);
            for (link, bytes) in &traffic_bytes {
                *sums.entry(link.clone()).or_insert(0) += bytes;
            }
            books.operators.push(OperatorBooks {
                name: name.clone(),
                busy: done.busy,
                energy_j: BTreeMap::from([("links".to_owned(), self.energy_j(done))]),
                traffic_bytes,
            });
        }
        let energy: f64 = self.operators.iter().map(|(_, d)| self.energy_j(d)).sum();
        // The lane that is at work for longest says for how long the fabric is.
        let busy = self.lanes.iter().map(|(_, busy)| *busy).max().unwrap_or(Elapsed::ZERO);
        books.components.push(ComponentOutcome {
            name: "fabric".into(),
            kind: format!("links of {}", self.spec.cluster.machine().file.name),
            busy,
            energy_j: BTreeMap::from([("links".to_owned(), energy)]),
            traffic_bytes: sums,
        });
        if self.collectives > 0 {
            books.commands.insert("collective".into(), self.collectives);
        }
        books.spans = std::mem::take(&mut self.spans);
        books
    }

    /// What the ranks exchanged, how much of it they waited for, and for how long they had nothing to do.
    fn metrics(&self, outcome: &Outcome) -> BTreeMap<String, f64> {
        let latency_s = outcome.latency.as_secs_f64();
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let own = |name: &str| self.operators.iter().any(|(n, d)| n == name && d.busy > Elapsed::ZERO);
        let exposed: f64 = outcome.operators.iter().filter(|o| own(&o.name)).map(|o| o.latency.as_secs_f64()).sum();
        let total = self.total();
        let (mut idle, mut ranks, mut exchanging) = (0.0, 0.0, 0.0);
        for (lane, (name, copies)) in self.roles.iter().enumerate() {
            let chip = outcome.components.iter().find(|c| c.name.strip_prefix(name.as_str()) == Some(" chip"));
            let busy = chip.map_or(0.0, |c| c.busy.as_secs_f64());
            // Roles of a stage share the lane of its first.
            let own = self.lanes.get(lane).map_or(0.0, |(_, busy)| busy.as_secs_f64());
            exchanging = if own > 0.0 { own } else { exchanging };
            idle += f64::from(*copies) * (latency_s - busy - exchanging).max(0.0);
            ranks += f64::from(*copies);
        }
        BTreeMap::from([
            ("exposed_communication_s".to_owned(), exposed),
            ("exposed_communication_share".to_owned(), ratio(exposed, latency_s)),
            ("communication_s".to_owned(), total.busy.as_secs_f64()),
            ("bubble_share".to_owned(), ratio(idle, ranks * latency_s)),
            ("sent_nvlink_bytes".to_owned(), total.nvlink),
            ("sent_network_bytes".to_owned(), total.network),
        ])
    }
}
