//! iSLIP, and the same with priorities.

use super::requests::{NONE, Requests};
use crate::net::noc::bits;

/// Turns of the outputs' grants and of the inputs' acceptances.
#[derive(Debug, Clone)]
pub(super) struct Islip {
    iterations: u32,
    /// Whether the highest priority goes before the turn.
    by_priority: bool,
    grant_turns: Vec<u32>,
    accept_turns: Vec<u32>,
    /// The input each output grants.
    grants: Vec<u32>,
    /// The outputs that grant each input, where a word holds them all.
    granted: Vec<u64>,
}

impl Islip {
    pub(super) fn new(inputs: usize, outputs: usize, iterations: u32, by_priority: bool) -> Islip {
        Islip {
            iterations,
            by_priority,
            grant_turns: vec![0; outputs],
            accept_turns: vec![0; inputs],
            grants: vec![NONE; outputs],
            granted: vec![0; inputs],
        }
    }

    /// Whether no priority counts.
    pub(super) fn is_plain(&self) -> bool {
        !self.by_priority
    }

    pub(super) fn allocate(&mut self, r: &mut Requests) {
        if !self.by_priority && r.inputs <= 64 && r.outputs <= 64 {
            self.allocate_in_words(r);
        } else {
            self.allocate_at_large(r);
        }
    }

    /// The usual case: inputs and outputs are bits of a word, and no priority counts.
    fn allocate_in_words(&mut self, r: &mut Requests) {
        let (mut free_inputs, mut free_outputs) = (r.busy_inputs[0], r.busy_outputs[0]);
        for iteration in 0..self.iterations {
            let mut granted_inputs = 0_u64;
            let mut outputs = free_outputs;
            while outputs != 0 {
                let output = outputs.trailing_zeros() as usize;
                outputs &= outputs - 1;
                let candidates = r.column(output)[0] & free_inputs;
                if candidates != 0 {
                    let input = in_turn(candidates, self.grant_turns[output]);
                    self.granted[input] |= 1 << output;
                    granted_inputs |= 1 << input;
                }
            }
            if granted_inputs == 0 {
                return;
            }
            while granted_inputs != 0 {
                let input = granted_inputs.trailing_zeros() as usize;
                granted_inputs &= granted_inputs - 1;
                let output = in_turn(std::mem::take(&mut self.granted[input]), self.accept_turns[input]);
                r.join(input, output);
                free_inputs &= !(1 << input);
                free_outputs &= !(1 << output);
                if iteration == 0 {
                    self.turn(r, input, output);
                }
            }
        }
    }

    fn allocate_at_large(&mut self, r: &mut Requests) {
        for iteration in 0..self.iterations {
            for output in bits::each(&r.busy_outputs) {
                // With priorities a grant that was not accepted stands on in later iterations.
                if !self.by_priority || iteration == 0 {
                    self.grants[output] = NONE;
                }
                if r.input_of[output] != NONE {
                    continue;
                }
                let turn = self.grant_turns[output] as usize;
                let free = |i: usize| r.output_of[i] == NONE;
                let choice = pick(r.column(output), turn, self.by_priority, free, |i| r.at(i, output).output_priority);
                if let Some(input) = choice {
                    self.grants[output] = input as u32;
                }
            }
            for word in 0..r.busy_inputs.len() {
                let mut left = r.busy_inputs[word];
                while left != 0 {
                    let input = word * 64 + left.trailing_zeros() as usize;
                    left &= left - 1;
                    let turn = self.accept_turns[input] as usize;
                    let granted = |o: usize| self.grants[o] == input as u32;
                    let choice = pick(r.row(input), turn, self.by_priority, granted, |o| r.at(input, o).input_priority);
                    let Some(output) = choice else { continue };
                    r.join(input, output);
                    if iteration == 0 {
                        self.turn(r, input, output);
                    }
                }
            }
        }
    }

    /// The turns pass on, for what was accepted on the first iteration only: that keeps every request from starving.
    fn turn(&mut self, r: &Requests, input: usize, output: usize) {
        self.grant_turns[output] = if input + 1 == r.inputs { 0 } else { input as u32 + 1 };
        self.accept_turns[input] = if output + 1 == r.outputs { 0 } else { output as u32 + 1 };
    }
}

/// The first bit of a word that is not zero, from `turn` on and around.
fn in_turn(word: u64, turn: u32) -> usize {
    let from = word & (u64::MAX << turn);
    (if from == 0 { word } else { from }).trailing_zeros() as usize
}

/// The first in turn of the set that may be picked; or that of the highest priority, the first in turn among equals.
fn pick(
    set: &[u64],
    turn: usize,
    by_priority: bool,
    may: impl Fn(usize) -> bool,
    priority: impl Fn(usize) -> i32,
) -> Option<usize> {
    let mut best: Option<(usize, i32)> = None;
    for (from, to) in [(turn, usize::MAX), (0, turn)] {
        let mut at = from;
        while let Some(i) = bits::next(set, at).filter(|i| *i < to) {
            at = i + 1;
            if !may(i) {
                continue;
            }
            if !by_priority {
                return Some(i);
            }
            if best.is_none_or(|b| priority(i) > b.1) {
                best = Some((i, priority(i)));
            }
        }
    }
    best.map(|b| b.0)
}
