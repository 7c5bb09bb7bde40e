//! The requests of one cycle, and the matching that an allocator makes of them.

use crate::net::noc::bits;

/// One request of an input for an output.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::net::noc) struct Request {
    /// What the input wants it for: its virtual channel.
    pub(in crate::net::noc) label: u32,
    /// Priority among the requests of the input.
    pub(in crate::net::noc) input_priority: i32,
    /// Priority among the requests for the output.
    pub(in crate::net::noc) output_priority: i32,
}

/// No partner.
pub(super) const NONE: u32 = u32::MAX;

/// A matrix of requests with its rows and columns as bits, and who is matched with whom.
#[derive(Debug, Clone)]
pub(in crate::net::noc) struct Requests {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    matrix: Vec<Request>,
    rows: Vec<u64>,
    columns: Vec<u64>,
    row_words: usize,
    column_words: usize,
    /// Inputs and outputs that have requests.
    pub(super) busy_inputs: Vec<u64>,
    pub(super) busy_outputs: Vec<u64>,
    /// The output of each input, and the input of each output.
    pub(super) output_of: Vec<u32>,
    pub(super) input_of: Vec<u32>,
}

impl Requests {
    pub(super) fn new(inputs: usize, outputs: usize) -> Requests {
        let (row_words, column_words) = (bits::words(outputs), bits::words(inputs));
        Requests {
            inputs,
            outputs,
            matrix: vec![Request::default(); inputs * outputs],
            rows: vec![0; inputs * row_words],
            columns: vec![0; outputs * column_words],
            row_words,
            column_words,
            busy_inputs: vec![0; column_words],
            busy_outputs: vec![0; row_words],
            output_of: vec![NONE; inputs],
            input_of: vec![NONE; outputs],
        }
    }

    pub(super) fn clear(&mut self) {
        clear_side(&mut self.busy_inputs, &mut self.rows, self.row_words, &mut self.output_of);
        clear_side(&mut self.busy_outputs, &mut self.columns, self.column_words, &mut self.input_of);
    }

    /// Puts a request, in place of an earlier one of the same input for the same output.
    pub(in crate::net::noc) fn add(&mut self, input: usize, output: usize, request: Request) {
        self.matrix[input * self.outputs + output] = request;
        bits::set(&mut self.rows[input * self.row_words..], output);
        bits::set(&mut self.columns[output * self.column_words..], input);
        bits::set(&mut self.busy_inputs, input);
        bits::set(&mut self.busy_outputs, output);
    }

    /// Puts requests of an input for outputs, which are the bits of a word, where nothing but who asks for what counts.
    pub(super) fn add_plain(&mut self, input: usize, outputs: u64) {
        self.rows[input] |= outputs;
        self.busy_inputs[0] |= 1 << input;
        self.busy_outputs[0] |= outputs;
        let mut left = outputs;
        while left != 0 {
            self.columns[left.trailing_zeros() as usize] |= 1 << input;
            left &= left - 1;
        }
    }

    /// The request of an input for an output, if there is one.
    pub(in crate::net::noc) fn get(&self, input: usize, output: usize) -> Option<Request> {
        bits::get(&self.rows[input * self.row_words..], output).then(|| self.matrix[input * self.outputs + output])
    }

    /// The output that the input got.
    pub(in crate::net::noc) fn granted(&self, input: usize) -> Option<usize> {
        let output = self.output_of[input];
        (output != NONE).then_some(output as usize)
    }

    /// The request in the matrix, which must be there.
    pub(super) fn at(&self, input: usize, output: usize) -> Request {
        self.matrix[input * self.outputs + output]
    }

    /// The outputs that an input asks for.
    pub(super) fn row(&self, input: usize) -> &[u64] {
        &self.rows[input * self.row_words..(input + 1) * self.row_words]
    }

    /// The inputs that ask for an output.
    pub(super) fn column(&self, output: usize) -> &[u64] {
        &self.columns[output * self.column_words..(output + 1) * self.column_words]
    }

    pub(super) fn join(&mut self, input: usize, output: usize) {
        self.output_of[input] = output as u32;
        self.input_of[output] = input as u32;
    }
}

/// Clears the rows of one side that are busy, and their partners.
fn clear_side(busy: &mut [u64], rows: &mut [u64], row_words: usize, partner_of: &mut [u32]) {
    for (index, word) in busy.iter_mut().enumerate() {
        let mut left = std::mem::take(word);
        while left != 0 {
            let place = index * 64 + left.trailing_zeros() as usize;
            left &= left - 1;
            if row_words == 1 {
                rows[place] = 0;
            } else {
                rows[place * row_words..(place + 1) * row_words].fill(0);
            }
            partner_of[place] = NONE;
        }
    }
}
