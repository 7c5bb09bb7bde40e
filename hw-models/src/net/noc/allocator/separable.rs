//! Separable allocators: arbitration at one side, then at the other.

use super::requests::Requests;
use crate::net::noc::arbiter::Arbiter;
use crate::net::noc::bits;
use crate::net::noc::config::ArbiterKind;

/// An arbiter at each input and each output.
#[derive(Debug, Clone)]
pub(super) struct Separable {
    input_first: bool,
    inputs: Vec<Arbiter>,
    outputs: Vec<Arbiter>,
    /// What the first stage chose: pairs of the second stage's place and the first's.
    chosen: Vec<(u32, u32)>,
}

impl Separable {
    pub(super) fn new(inputs: usize, outputs: usize, kind: ArbiterKind, input_first: bool) -> Separable {
        Separable {
            input_first,
            inputs: vec![Arbiter::new(kind, outputs); inputs],
            outputs: vec![Arbiter::new(kind, inputs); outputs],
            chosen: Vec::new(),
        }
    }

    pub(super) fn allocate(&mut self, r: &mut Requests) {
        self.chosen.clear();
        if self.input_first {
            for input in bits::each(&r.busy_inputs) {
                let wishes = bits::each(r.row(input)).map(|o| (o, r.at(input, o).input_priority));
                if let Some(output) = self.inputs[input].winner(wishes) {
                    self.chosen.push((output as u32, input as u32));
                }
            }
        } else {
            for output in bits::each(&r.busy_outputs) {
                let wishes = bits::each(r.column(output)).map(|i| (i, r.at(i, output).output_priority));
                if let Some(input) = self.outputs[output].winner(wishes) {
                    self.chosen.push((input as u32, output as u32));
                }
            }
        }
        self.chosen.sort_unstable();
        let mut rest = &self.chosen[..];
        while let Some(&(place, _)) = rest.first() {
            let count = rest.iter().take_while(|c| c.0 == place).count();
            let (these, others) = rest.split_at(count);
            rest = others;
            let second = place as usize;
            let wishes = these.iter().map(|c| {
                let first = c.1 as usize;
                let priority = if self.input_first {
                    r.at(first, second).output_priority
                } else {
                    r.at(second, first).input_priority
                };
                (first, priority)
            });
            let stage = if self.input_first { &self.outputs } else { &self.inputs };
            let Some(first) = stage[second].winner(wishes) else { continue };
            let (input, output) = if self.input_first { (first, second) } else { (second, first) };
            r.join(input, output);
            self.inputs[input].won(output);
            self.outputs[output].won(input);
        }
    }
}
