//! A step of a pipeline, event by event: stages run their tasks in order, each waits for what another sends.
//!
//! A task is a map of a stage's clocks (`maxplus`), so an event costs nine additions whatever the layers hold. Stages stand for all ranks
//! that do the same: `unfolded` runs every rank and every kernel by itself, and a property test holds the two equal.

use super::error::ParallelError;
use super::maxplus::{CLOCKS, COMPUTE, Clocks, HOST, Segment};
use super::schedule::{Kind, Pipeline, Task};

/// An exchange between neighbouring stages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exchange {
    /// Seconds on the wire.
    pub seconds: f64,
    /// Seconds of the host for a send or a receive.
    pub host_s: f64,
    /// The stream waits until what it sent is gone.
    pub waits: bool,
    /// The host waits for the device after each.
    pub synchronous: bool,
}

/// Maps of a stage's tasks: by chunk and kind, and those of the first and last micro batch where they differ.
#[derive(Debug, Clone)]
pub struct StageMaps {
    /// Forward of each chunk.
    pub forward: Vec<Segment>,
    /// Forward of the first micro batch.
    pub first_forward: Vec<Segment>,
    /// Backward.
    pub backward: Vec<Segment>,
    /// Backward of the last micro batch.
    pub last_backward: Vec<Segment>,
    /// Gradients of inputs.
    pub input: Vec<Segment>,
    /// Gradients of weights.
    pub weight: Vec<Segment>,
}

/// When a stage began and ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageSpan {
    /// Start of its first task.
    pub begin: f64,
    /// Its clocks after the last.
    pub end: Clocks,
}

/// A task of the timeline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// Stage.
    pub stage: u32,
    /// What ran.
    pub task: Task,
    /// Start on the device, seconds.
    pub begin: f64,
    /// End on the device, seconds.
    pub end: f64,
}

/// Runs a step.
///
/// # Errors
/// The order of tasks waits for itself.
pub fn run(
    p: &Pipeline,
    orders: &[Vec<Task>],
    maps: &[StageMaps],
    exchange: Exchange,
    mut watch: impl FnMut(Event),
) -> Result<Vec<StageSpan>, ParallelError> {
    let (stages, micros) = (p.stages as usize, p.micros as usize);
    let places = stages * p.chunks as usize;
    let mut forward_at = vec![f64::NAN; places * micros];
    let mut input_at = vec![f64::NAN; places * micros];
    let mut clocks: Vec<Clocks> = vec![[0.0; CLOCKS]; stages];
    let mut begins = vec![f64::NAN; stages];
    let mut next = vec![0_usize; stages];
    // Stages that may be able to go on.
    let mut waiting: Vec<usize> = (0..stages).rev().collect();
    while let Some(s) = waiting.pop() {
        while let Some(&task) = orders[s].get(next[s]) {
            let place = p.place(s as u32, task.chunk) as usize;
            let at = place * micros + task.micro as usize;
            let needs = match task.kind {
                Kind::Forward if place > 0 => Some(forward_at[at]),
                Kind::Backward | Kind::Input if place + 1 < places => Some(input_at[at]),
                _ => None,
            };
            if needs.is_some_and(f64::is_nan) {
                break;
            }
            next[s] += 1;
            let clock = &mut clocks[s];
            if let Some(arrival) = needs {
                clock[HOST] += exchange.host_s;
                clock[COMPUTE] = clock[COMPUTE].max(arrival);
                if exchange.synchronous {
                    clock[HOST] = clock[HOST].max(clock[COMPUTE]);
                }
            }
            let begin = clock[COMPUTE].max(clock[HOST]);
            if begins[s].is_nan() {
                begins[s] = begin;
            }
            let m = &maps[s];
            let chunk = task.chunk as usize;
            let map = match task.kind {
                Kind::Forward if task.micro == 0 => &m.first_forward[chunk],
                Kind::Forward => &m.forward[chunk],
                Kind::Backward if task.micro + 1 == p.micros => &m.last_backward[chunk],
                Kind::Backward => &m.backward[chunk],
                Kind::Input => &m.input[chunk],
                Kind::Weight => &m.weight[chunk],
            };
            *clock = map.apply(clock);
            watch(Event { stage: s as u32, task, begin, end: clock[COMPUTE] });
            let to = match task.kind {
                Kind::Forward if place + 1 < places => Some((place + 1, true)),
                Kind::Backward | Kind::Input if place > 0 => Some((place - 1, false)),
                _ => None,
            };
            if let Some((to, forward)) = to {
                clock[HOST] += exchange.host_s;
                let arrival = clock[COMPUTE].max(clock[HOST]) + exchange.seconds;
                if exchange.waits {
                    clock[COMPUTE] = arrival;
                }
                if exchange.synchronous {
                    clock[HOST] = clock[HOST].max(clock[COMPUTE]);
                }
                let list = if forward { &mut forward_at } else { &mut input_at };
                list[to * micros + task.micro as usize] = arrival;
                let (other, _) = p.at(to as u32);
                if other as usize != s {
                    waiting.push(other as usize);
                }
            } else if task.kind == Kind::Forward {
                input_at[at] = clock[COMPUTE];
            }
        }
    }
    if let Some(s) = (0..stages).find(|&s| next[s] < orders[s].len()) {
        let problem = format!("leaves stage {s} waiting at task {} of {}", next[s], orders[s].len());
        return Err(ParallelError::new("parallel.schedule", problem));
    }
    Ok(begins.into_iter().zip(clocks).map(|(begin, end)| StageSpan { begin, end }).collect())
}
