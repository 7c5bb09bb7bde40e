//! A link between two devices: a latency, a bandwidth, and one server in each direction.

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_sim::{Elapsed, EventQueue, Time};

use super::executor::{Books, Executor, OperatorBooks, RunError, Share};
use super::machine::LinkSpec;
use crate::outcome::{ComponentOutcome, Outcome, Span};
use crate::program::{Program, ProgramError, Work};

/// What a link has moved for one operator.
#[derive(Debug, Clone, Default)]
struct Moved {
    busy: Elapsed,
    bytes: u64,
}

/// A link at work. Transfers of one direction follow one another in the order in which they are released; each holds its
/// direction for its bytes over the bandwidth, and is there one latency later.
#[derive(Debug)]
pub struct Link {
    spec: LinkSpec,
    timeline_step: Option<u64>,
    step: u64,
    program: Arc<Program>,
    /// From when on each direction is free.
    free: [Time; 2],
    events: EventQueue<u32>,
    unfinished: usize,
    operators: Vec<(String, Moved)>,
    by_name: BTreeMap<String, usize>,
    map: Vec<usize>,
    transfers: u64,
    spans: Vec<Span>,
}

impl Link {
    /// A link at rest.
    pub fn new(spec: LinkSpec, timeline_step: Option<u64>) -> Self {
        Self {
            spec,
            timeline_step,
            step: 0,
            program: Arc::default(),
            free: [Time::ZERO; 2],
            events: EventQueue::new(),
            unfinished: 0,
            operators: Vec::new(),
            by_name: BTreeMap::new(),
            map: Vec::new(),
            transfers: 0,
            spans: Vec::new(),
        }
    }

    fn energy_j(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 * self.spec.energy_pj_per_bit * 1e-12
    }

    fn too_long(&self) -> RunError {
        RunError::TooLong { step: self.step, limit: Time::MAX, what: format!("a transfer over {}", self.spec.name) }
    }
}

impl Executor for Link {
    fn load(&mut self, program: &Arc<Program>, share: Share<'_>, start: Time) -> Result<(), RunError> {
        let all: Vec<u32>;
        let mine = match share {
            Share::Of(mine) => mine,
            Share::Alone => {
                all = (0..program.instructions.len() as u32).collect();
                &all
            }
        };
        for &i in mine {
            if !matches!(program.instructions[i as usize].work, Work::Transfer { .. }) {
                let error = ProgramError::Device {
                    instruction: i as usize,
                    device: format!("the link {}", self.spec.name),
                    work: "anything but transfers",
                };
                return Err(RunError::Program { step: self.step, error });
            }
        }
        self.program = Arc::clone(program);
        self.map.clear();
        for operator in &program.operators {
            let at = *self.by_name.entry(operator.name.clone()).or_insert_with(|| {
                self.operators.push((operator.name.clone(), Moved::default()));
                self.operators.len() - 1
            });
            self.map.push(at);
        }
        self.free = self.free.map(|f| f.max(start));
        self.unfinished = mine.len();
        Ok(())
    }

    fn release(&mut self, instruction: u32, at: Time) -> Result<(), RunError> {
        let entry = &self.program.instructions[instruction as usize];
        let Work::Transfer { bytes, back } = entry.work else { return Ok(()) };
        let side = usize::from(back);
        let begin = self.free[side].max(at);
        let seconds = bytes as f64 / self.spec.bandwidth_bytes_per_s;
        let length = Time::from_secs_f64(seconds).map_err(|_| self.too_long())?;
        let end = begin.checked_add(length).ok_or_else(|| self.too_long())?;
        let there = end.checked_add(self.spec.latency).ok_or_else(|| self.too_long())?;
        self.free[side] = end;
        self.transfers += 1;
        let moved = &mut self.operators[self.map[entry.operator as usize]].1;
        moved.busy.add(length);
        moved.bytes = moved.bytes.saturating_add(bytes);
        if self.timeline_step == Some(self.step) {
            self.spans.push(Span {
                group: "links",
                lane: format!("{}{}", self.spec.name, if back { " (back)" } else { "" }),
                operator: self.program.operators[entry.operator as usize].name.clone(),
                start: begin,
                end,
                details: vec![("bytes", bytes.to_string())],
            });
        }
        self.events.push(there, instruction);
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
        self.operators.iter().map(|(_, m)| self.energy_j(m.bytes)).sum()
    }

    fn granule(&self) -> Option<Time> {
        Some(Time::from_fs(1))
    }

    fn move_epoch(&mut self, by: Time) {
        self.free = self.free.map(|f| f.saturating_sub(by));
    }

    fn books(&mut self, _: Time) -> Books {
        let mut books = Books::default();
        let mut all = Moved::default();
        let traffic = |bytes: u64| BTreeMap::from([("link".to_owned(), bytes)]);
        for (name, moved) in &self.operators {
            all.busy = all.busy.and(moved.busy);
            all.bytes = all.bytes.saturating_add(moved.bytes);
            books.operators.push(OperatorBooks {
                name: name.clone(),
                busy: moved.busy,
                energy_j: BTreeMap::from([("link".to_owned(), self.energy_j(moved.bytes))]),
                traffic_bytes: traffic(moved.bytes),
            });
        }
        books.components.push(ComponentOutcome {
            name: self.spec.name.clone(),
            kind: "link".into(),
            busy: all.busy,
            energy_j: BTreeMap::from([(
                "link".to_owned(),
                self.operators.iter().map(|(_, m)| self.energy_j(m.bytes)).sum(),
            )]),
            traffic_bytes: traffic(all.bytes),
        });
        if self.transfers > 0 {
            books.commands.insert("transfer".into(), self.transfers);
        }
        books.spans = std::mem::take(&mut self.spans);
        books
    }

    fn metrics(&self, outcome: &Outcome) -> BTreeMap<String, f64> {
        let bytes: u64 = self.operators.iter().map(|(_, m)| m.bytes).sum();
        let seconds = outcome.latency.as_secs_f64();
        let rate = if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 };
        BTreeMap::from([("bandwidth_bytes_per_s".to_owned(), rate)])
    }
}
