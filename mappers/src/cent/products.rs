//! Matrix-vector products of weights: outputs over banks, a row's worth of input at a time in the global buffers.

use banksia_hw::pim::Instruction;

use super::place::Place;
use super::writer::Writer;

/// A matrix of weights.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    /// Its first row in every bank.
    pub row: u64,
    /// Its outputs.
    pub outputs: u64,
    /// Its inputs.
    pub inputs: u64,
    /// Outputs go through the activation function; half of the accumulators hold its values.
    pub activated: bool,
}

/// A product of one token.
///
/// The global buffers keep a part of the input while every output that a bank has accumulators for gets its products with it.
pub fn product<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, matrix: &Matrix) {
    let outputs_a_bank = matrix.outputs.div_ceil(place.matrix_banks());
    let chunks = matrix.inputs.div_ceil(place.row_elements);
    let used_banks = matrix.outputs.div_ceil(outputs_a_bank);
    let channels = w.all_blocks(used_banks.div_ceil(place.banks));
    let accumulators = if matrix.activated { place.accumulators / 2 } else { place.accumulators }.max(1);
    let groups = outputs_a_bank.div_ceil(accumulators);
    let group = outputs_a_bank.div_ceil(groups);
    for chunk in 0..chunks {
        let last = chunk + 1 == chunks;
        let columns = place.columns(place.row_elements.min(matrix.inputs - chunk * place.row_elements));
        w.load(&channels, columns);
        for first in (0..outputs_a_bank).step_by(group as usize) {
            let here = first..outputs_a_bank.min(first + group);
            here.clone().for_each(|_| w.bias(&channels));
            for output in here.clone() {
                w.multiply(&channels, columns, matrix.row + output * chunks + chunk);
            }
            if matrix.activated && last {
                here.clone().for_each(|_| w.activate(&channels));
            }
            here.for_each(|_| w.read(&channels));
        }
    }
}
