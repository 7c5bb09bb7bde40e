//! Orders of zero-bubble pipelines by a greedy search (arXiv 2401.10241, section 3.1): gradients of inputs first, forward passes while memory
//! lasts, gradients of weights where nothing else can run.

use super::schedule::{Kind, Lengths, Pipeline, Task};

/// A stage's state in the search.
struct Stage {
    now: f64,
    held: u32,
    tasks: Vec<Task>,
    forward: Vec<u32>,
    input: Vec<u32>,
    weight: Vec<u32>,
}

/// Orders in which no stage holds more than `limit` chunks of activations.
pub(super) fn orders(p: &Pipeline, lengths: Lengths, limit: u32) -> Vec<Vec<Task>> {
    let chunks = p.chunks as usize;
    let (places, micros) = ((p.stages * p.chunks) as usize, p.micros as usize);
    // When what a task needs is there: by place and micro batch.
    let mut forward_at = vec![f64::INFINITY; places * micros];
    let mut input_at = vec![f64::INFINITY; places * micros];
    forward_at[..micros].fill(0.0);
    let mut stages: Vec<Stage> = (0..p.stages)
        .map(|_| Stage {
            now: 0.0,
            held: 0,
            tasks: Vec::new(),
            forward: vec![0; chunks],
            input: vec![0; chunks],
            weight: vec![0; chunks],
        })
        .collect();
    let total = 3 * places * micros;
    for _ in 0..total {
        // The stage that can start something first goes on.
        let mut best: Option<(f64, usize, Task)> = None;
        for (s, stage) in stages.iter().enumerate() {
            if let Some((at, task)) = next(p, stage, s as u32, limit, &forward_at, &input_at)
                && best.is_none_or(|(b, _, _)| at < b)
            {
                best = Some((at, s, task));
            }
        }
        let Some((at, s, task)) = best else { break };
        let place = p.place(s as u32, task.chunk) as usize;
        let index = |place: usize| place * micros + task.micro as usize;
        let stage = &mut stages[s];
        let chunk = task.chunk as usize;
        match task.kind {
            Kind::Forward => {
                stage.now = at + lengths.forward;
                stage.held += 1;
                stage.forward[chunk] += 1;
                if place + 1 < places {
                    forward_at[index(place + 1)] = stage.now + lengths.send;
                } else {
                    input_at[index(place)] = stage.now;
                }
            }
            Kind::Input | Kind::Backward => {
                stage.now = at + lengths.input;
                stage.input[chunk] += 1;
                if place > 0 {
                    input_at[index(place - 1)] = stage.now + lengths.send;
                }
            }
            Kind::Weight => {
                stage.now = at + lengths.weight;
                stage.weight[chunk] += 1;
                stage.held -= 1;
            }
        }
        stage.tasks.push(task);
    }
    stages.into_iter().map(|s| s.tasks).collect()
}

/// What a stage does next, and when it can.
fn next(p: &Pipeline, stage: &Stage, s: u32, limit: u32, forward_at: &[f64], input_at: &[f64]) -> Option<(f64, Task)> {
    let mut best: Option<(f64, u32, Task)> = None;
    let mut offer = |at: f64, rank: u32, task: Task| {
        let at = at.max(stage.now);
        // What is ready by now goes by rank; else what is ready first.
        if at.is_finite() && best.is_none_or(|(b, r, _)| at < b || (at <= b && rank < r)) {
            best = Some((at, rank, task));
        }
    };
    let full = stage.held >= limit;
    // A stage is at most as many forward passes ahead of its gradients as there are stages from it to the last, so that these, when they come,
    // do not wait for one more (as in 1F1B; twice as many where memory is twice).
    let ahead = if p.chunks == 1 { limit / p.stages * (p.stages - s) } else { u32::MAX };
    for chunk in (0..p.chunks).rev() {
        let c = chunk as usize;
        let place = p.place(s, chunk) as usize;
        let at = |ready: &[f64], micro: u32| ready[place * p.micros as usize + micro as usize];
        let input = stage.input[c];
        if input < p.micros && input < stage.forward[c] {
            offer(at(input_at, input), 0, Task { kind: Kind::Input, micro: input, chunk });
        }
        let forward = stage.forward[c];
        // The first chunk leaves room for the others, which give it back.
        let room = stage.held + if chunk == 0 && p.chunks > 1 { p.chunks - 1 } else { 0 } < limit;
        let far = forward - input >= ahead;
        if forward < p.micros && room && !full && !far {
            offer(at(forward_at, forward), 1, Task { kind: Kind::Forward, micro: forward, chunk });
        }
        let weight = stage.weight[c];
        if weight < stage.input[c] {
            offer(stage.now, 2, Task { kind: Kind::Weight, micro: weight, chunk });
        }
    }
    best.map(|(at, _, task)| (at, task))
}
