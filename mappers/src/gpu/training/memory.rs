//! What a training step holds: each value from the operator that writes it to the last that reads it, in the blocks of the framework's allocator.

use std::collections::HashMap;

use banksia_workloads::backward::{Optimizer, Pass, Role, TrainingStep};

use super::allocator::{Allocator, Held};

/// Bytes at a step's most, by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct TrainingFootprint {
    /// Parameters.
    pub weights: u64,
    /// Gradients of all parameters.
    pub gradients: u64,
    /// Moments and copies of the optimiser.
    pub optimizer: u64,
    /// What the forward pass keeps for the backward pass.
    pub activations: u64,
    /// All that is held at once at most, in the framework's blocks.
    pub peak: u64,
}

/// A stretch from the write of a value to its last read.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    bytes: u64,
    first: usize,
    last: usize,
}

/// Values' stretches, and the scratch of each operator.
fn stretches(step: &TrainingStep) -> (Vec<Stretch>, usize) {
    let schedule = step.schedule();
    let end = schedule.len();
    let mut all: Vec<Stretch> = Vec::new();
    let mut open: HashMap<String, usize> = HashMap::new();
    for (at, s) in schedule.iter().enumerate() {
        let reads: Vec<String> = s.node.reads.iter().map(|v| s.memory(v)).collect();
        for name in &reads {
            if let Some(stretch) = open.get(name) {
                all[*stretch].last = all[*stretch].last.max(at);
            }
        }
        for value in &s.node.writes {
            let name = s.memory(value);
            // What an operator reads and writes it changes in place; gradients of parameters are added to.
            if reads.contains(&name) || value.role == Role::ParameterGradient && open.contains_key(&name) {
                continue;
            }
            open.insert(name, all.len());
            let stays = value.role == Role::ParameterGradient
                // Without a backward pass what it would need stays until the loss is forgotten.
                || (!step.spec.backward && s.pass == Pass::Forward && is_kept(step, s.place.0, &value.name));
            let last = if stays { end } else { at };
            all.push(Stretch { bytes: value.bytes(), first: at, last });
        }
        all.extend(s.node.scratch.iter().map(|v| Stretch { bytes: v.bytes(), first: at, last: at }));
    }
    (all, end)
}

/// Whether the backward pass of a region needs a value of its forward pass, and does not make it again.
pub(super) fn is_kept(step: &TrainingStep, region: usize, name: &str) -> bool {
    let Some(region) = step.regions.get(region) else { return false };
    let reads = region.backward.iter().chain(&region.again).any(|n| n.reads.iter().any(|v| v.name == name));
    let again = region.again.iter().any(|n| n.writes.iter().any(|v| v.name == name));
    (reads && !again) || name == banksia_workloads::backward::NEXT_HIDDEN
}

/// Holds a step's values in an allocator that already holds `before` bytes of others; two steps, since the optimiser's moments are there from the second on.
pub fn footprint(step: &TrainingStep, before: u64) -> TrainingFootprint {
    let mut a = Allocator::default();
    let _ = a.allocate(before);
    let bits = step.dtype;
    for p in &step.parameters {
        let _ = a.allocate(bits.bytes(p.elements()));
    }
    let (all, end) = stretches(step);
    let mut begin: Vec<Vec<usize>> = vec![Vec::new(); end + 1];
    let mut finish: Vec<Vec<usize>> = vec![Vec::new(); end + 1];
    for (i, s) in all.iter().enumerate() {
        begin[s.first].push(i);
        finish[s.last].push(i);
    }
    let updates = step.spec.optimizer != Optimizer::None;
    for call in 0..2 {
        let mut held: HashMap<usize, Held> = HashMap::new();
        for at in 0..=end {
            for i in begin.get(at).into_iter().flatten() {
                held.extend(a.allocate(all[*i].bytes).map(|h| (*i, h)));
            }
            if at == end && updates && call == 0 {
                let tensors = step.parameters.len().max(1) as u64;
                let each = step.optimizer_bytes().div_ceil(tensors);
                // Moments are tensors of their own; sizes differ, their sum does not.
                for p in &step.parameters {
                    let share = each.saturating_mul(tensors) as f64 * p.elements() as f64;
                    let bytes = (share / step.parameter_count().max(1) as f64) as u64;
                    let _ = a.allocate(bytes / 2);
                    let _ = a.allocate(bytes.div_ceil(2));
                    let _ = a.allocate(4);
                }
            }
            for i in finish.get(at).into_iter().flatten() {
                if let Some(h) = held.remove(i) {
                    a.free(h);
                }
            }
        }
        held.into_values().for_each(|h| a.free(h));
    }
    let gradients = all.iter().filter(|s| s.last == end && step.spec.backward).map(|s| s.bytes).sum();
    TrainingFootprint {
        weights: bits.bytes(step.parameter_count()),
        gradients,
        optimizer: step.optimizer_bytes(),
        activations: step.saved_bytes(),
        peak: a.peak(),
    }
}
