//! In which order a pipeline stage runs its tasks.

use super::settings::Schedule;

/// What a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A forward pass.
    Forward,
    /// A backward pass: gradients of inputs and of weights together.
    Backward,
    /// Gradients of inputs alone.
    Input,
    /// Gradients of weights alone.
    Weight,
}

/// A pass of a micro batch over a chunk of a stage's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Task {
    /// What.
    pub kind: Kind,
    /// Whose, from 0.
    pub micro: u32,
    /// Over which chunk, from 0.
    pub chunk: u32,
}

/// A pipeline: how many stages, chunks and micro batches, and the order of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pipeline {
    /// Stages.
    pub stages: u32,
    /// Chunks of a stage.
    pub chunks: u32,
    /// Micro batches of a step.
    pub micros: u32,
    /// The order.
    pub schedule: Schedule,
}

/// Nominal lengths of tasks, by which a greedy search orders them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lengths {
    /// Forward.
    pub forward: f64,
    /// Gradients of inputs.
    pub input: f64,
    /// Gradients of weights.
    pub weight: f64,
    /// A send between stages.
    pub send: f64,
}

impl Pipeline {
    /// Place of a stage's chunk in the model, from 0: chunks follow one another over all stages, or go down and up again.
    pub fn place(&self, stage: u32, chunk: u32) -> u32 {
        if self.schedule == Schedule::ZbV && chunk % 2 == 1 {
            (chunk + 1) * self.stages - 1 - stage
        } else {
            chunk * self.stages + stage
        }
    }

    /// Whether a stage has the model's first layers, and its last.
    pub fn ends(&self, stage: u32) -> [bool; 2] {
        let last = self.chunks.saturating_sub(1);
        [self.place(stage, 0) == 0, self.place(stage, last) + 1 == self.stages * self.chunks]
    }

    /// Stage and chunk of a place.
    pub fn at(&self, place: u32) -> (u32, u32) {
        let (chunk, within) = (place / self.stages, place % self.stages);
        let stage = if self.schedule == Schedule::ZbV && chunk % 2 == 1 { self.stages - 1 - within } else { within };
        (stage, chunk)
    }

    /// All forward passes, then all backward passes.
    pub(super) fn gpipe(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for chunk in 0..self.chunks {
            tasks.extend((0..self.micros).map(|micro| Task { kind: Kind::Forward, micro, chunk }));
        }
        for chunk in (0..self.chunks).rev() {
            tasks.extend((0..self.micros).map(|micro| Task { kind: Kind::Backward, micro, chunk }));
        }
        tasks
    }

    /// A warm-up, then one of each in turn.
    pub(super) fn one_forward_one_backward(&self, stage: u32) -> Vec<Task> {
        let warm = (self.stages - stage - 1).min(self.micros);
        let task = |kind, micro| Task { kind, micro, chunk: 0 };
        let mut tasks: Vec<Task> = (0..warm).map(|m| task(Kind::Forward, m)).collect();
        for m in warm..self.micros {
            tasks.extend([task(Kind::Forward, m), task(Kind::Backward, m - warm)]);
        }
        tasks.extend((self.micros - warm..self.micros).map(|m| task(Kind::Backward, m)));
        tasks
    }

    /// The n-th task of an interleaved stage: micro batches go through each chunk in groups of as many as there are stages.
    fn nth(&self, n: u32, kind: Kind) -> Task {
        let group = self.stages * self.chunks;
        let (round, within) = (n / group, n % group);
        // The last group may be smaller.
        let size = self.stages.min(self.micros - round * self.stages);
        let chunk = (within / size).min(self.chunks - 1);
        let micro = round * self.stages + within - chunk * size;
        let chunk = if kind == Kind::Forward { chunk } else { self.chunks - 1 - chunk };
        Task { kind, micro, chunk }
    }

    /// The same over chunks (Megatron-LM `schedules.py`).
    pub(super) fn interleaved(&self, stage: u32) -> Vec<Task> {
        let all = self.micros * self.chunks;
        let warm = if self.micros <= self.stages {
            all
        } else {
            ((self.stages - stage - 1) * 2 + (self.chunks - 1) * self.stages).min(all)
        };
        let mut tasks: Vec<Task> = (0..warm).map(|n| self.nth(n, Kind::Forward)).collect();
        for n in warm..all {
            tasks.extend([self.nth(n, Kind::Forward), self.nth(n - warm, Kind::Backward)]);
        }
        tasks.extend((all - warm..all).map(|n| self.nth(n, Kind::Backward)));
        tasks
    }

    /// The orders drawn in arXiv 2401.10241, figures 2 and 3: after `warm` forward passes one of each in turn; gradients of weights stay `behind`
    /// by so many micro batches, which fills the end.
    pub(super) fn handcrafted(&self, warm: u32, behind: u32) -> Vec<Task> {
        let warm = warm.min(self.micros);
        let task = |kind, micro| Task { kind, micro, chunk: 0 };
        let mut tasks: Vec<Task> = (0..warm).map(|m| task(Kind::Forward, m)).collect();
        for m in 0..self.micros {
            tasks.push(task(Kind::Input, m));
            if m >= behind {
                tasks.push(task(Kind::Weight, m - behind));
            }
            if warm + m < self.micros {
                tasks.push(task(Kind::Forward, warm + m));
            }
        }
        tasks.extend((self.micros.saturating_sub(behind)..self.micros).map(|m| task(Kind::Weight, m)));
        tasks
    }
}

/// Most micro batches (by chunks) whose activations a stage holds at once.
pub fn most_in_flight(tasks: &[Task]) -> u32 {
    let (mut now, mut most) = (0_u32, 0);
    let split = tasks.iter().any(|t| t.kind == Kind::Weight);
    for task in tasks {
        match task.kind {
            Kind::Forward => {
                now += 1;
                most = most.max(now);
            }
            Kind::Weight => now = now.saturating_sub(1),
            Kind::Backward if !split => now = now.saturating_sub(1),
            Kind::Backward | Kind::Input => {}
        }
    }
    most
}
