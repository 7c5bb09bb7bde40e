//! Allocators that look at the whole matrix of requests: wavefront, lonely output, maximum size.

use super::requests::{NONE, Requests};
use crate::net::noc::bits;

/// The wavefront allocator: requests on one diagonal do not conflict, so diagonals are granted one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Wavefront {
    first: usize,
    priorities: Vec<(i32, i32)>,
}

impl Wavefront {
    pub(super) fn allocate(&mut self, r: &mut Requests) {
        self.priorities.clear();
        for input in bits::each(&r.busy_inputs) {
            for output in bits::each(r.row(input)) {
                let request = r.at(input, output);
                let pair = (request.output_priority, request.input_priority);
                if !self.priorities.contains(&pair) {
                    self.priorities.push(pair);
                }
            }
        }
        if self.priorities.is_empty() {
            return;
        }
        self.priorities.sort_unstable_by(|a, b| b.cmp(a));
        let square = r.inputs.max(r.outputs);
        for priority in &self.priorities {
            for diagonal in 0..square {
                for output in 0..r.outputs {
                    let input = (self.first + diagonal + square - output) % square;
                    if input >= r.inputs || r.output_of[input] != NONE || r.input_of[output] != NONE {
                        continue;
                    }
                    let Some(request) = r.get(input, output) else { continue };
                    if (request.output_priority, request.input_priority) == *priority {
                        r.join(input, output);
                    }
                }
            }
        }
        self.first = (self.first + 1) % square;
    }
}

/// The lonely output allocator.
#[derive(Debug, Clone)]
pub(super) struct LonelyOutput {
    request_turns: Vec<u32>,
    grant_turns: Vec<u32>,
    /// The output that each input asks for.
    wishes: Vec<u32>,
}

impl LonelyOutput {
    pub(super) fn new(inputs: usize, outputs: usize) -> LonelyOutput {
        LonelyOutput { request_turns: vec![0; inputs], grant_turns: vec![0; outputs], wishes: vec![NONE; inputs] }
    }

    pub(super) fn allocate(&mut self, r: &mut Requests) {
        self.wishes.fill(NONE);
        for input in bits::each(&r.busy_inputs) {
            let turn = self.request_turns[input] as usize;
            let wanted = |o: &usize| r.column(*o).iter().map(|w| w.count_ones()).sum::<u32>();
            let in_turn = |o: &usize| (o + r.outputs - turn) % r.outputs;
            let lonely = bits::each(r.row(input)).min_by_key(|o| (wanted(o), in_turn(o)));
            self.wishes[input] = lonely.map_or(NONE, |o| o as u32);
        }
        for output in 0..r.outputs {
            let turn = self.grant_turns[output] as usize;
            let winner = (0..r.inputs).map(|i| (i + turn) % r.inputs).find(|i| self.wishes[*i] == output as u32);
            let Some(input) = winner else { continue };
            r.join(input, output);
            self.request_turns[input] = ((self.request_turns[input] as usize + 1) % r.outputs) as u32;
            self.grant_turns[output] = ((turn + 1) % r.inputs) as u32;
        }
    }
}

/// Maximum-size matching: shortest augmenting paths from the inputs that have no partner, beginning with another one each time.
#[derive(Debug, Clone)]
pub(super) struct MaximumSize {
    first: usize,
    /// How the search came to each output.
    from: Vec<u32>,
    stack: Vec<u32>,
    next: Vec<u32>,
}

impl MaximumSize {
    pub(super) fn new(outputs: usize) -> MaximumSize {
        MaximumSize { first: 0, from: vec![NONE; outputs], stack: Vec::new(), next: Vec::new() }
    }

    pub(super) fn allocate(&mut self, r: &mut Requests) {
        while let Some(end) = self.path(r) {
            self.augment(r, end);
        }
        self.first = (self.first + 1) % r.inputs;
    }

    /// The free output at the end of a shortest augmenting path.
    fn path(&mut self, r: &Requests) -> Option<usize> {
        self.from.fill(NONE);
        self.stack.clear();
        let inputs = (0..r.inputs).map(|i| (i + self.first) % r.inputs);
        self.stack.extend(inputs.filter(|i| r.output_of[*i] == NONE).map(|i| i as u32));
        while !self.stack.is_empty() {
            self.next.clear();
            for input in &self.stack {
                let at = *input as usize;
                for output in bits::each(r.row(at)) {
                    if r.output_of[at] == output as u32 || self.from[output] != NONE {
                        continue;
                    }
                    self.from[output] = *input;
                    if r.input_of[output] == NONE {
                        return Some(output);
                    }
                    self.next.push(r.input_of[output]);
                }
            }
            std::mem::swap(&mut self.stack, &mut self.next);
        }
        None
    }

    /// Turns the edges of the path: those outside the matching come in, those inside go out.
    fn augment(&self, r: &mut Requests, end: usize) {
        let mut output = end;
        loop {
            let input = self.from[output] as usize;
            let before = r.output_of[input];
            r.join(input, output);
            if before == NONE {
                return;
            }
            output = before as usize;
        }
    }
}
