//! Matrix-vector products as instructions of a PIM device's own set.

use banksia_input::InputError;

use super::isa_gemv::IsaGemv;
use super::isa_trace::{Instruction, IsaSet};
use crate::program::ChannelSet;

/// Matrix-vector products of one shape, that sets of channels compute in step: of one set for a matrix over all channels, of many
/// for heads of attention.
#[derive(Debug, Clone, Copy)]
pub struct Products<'a> {
    /// Rows of each matrix.
    pub outputs: u64,
    /// Elements of each vector.
    pub inputs: u64,
    /// The channels of each product; as many in each set.
    pub sets: &'a [ChannelSet],
    /// The first row of the banks that the matrices take.
    pub first_row: u32,
    /// Outputs whose inputs are fewer than a row holds share a row, as keys of a head do; otherwise each begins a row.
    pub packed: bool,
    /// Inputs that each output has room for, where that is more than it has: values of tokens that are still to come.
    pub room: u64,
    /// Vectors that each matrix is multiplied by at once: at most what the device can ([`IsaSet::vectors`]).
    pub vectors: u32,
}

impl IsaSet {
    /// Whether the device has a matrix-vector product of its own (`isa.gemv`).
    pub fn has_gemv(&self) -> bool {
        self.gemv.is_some()
    }

    /// Elements of a row of one bank in a matrix-vector product; 0 where the device has none.
    pub fn row_elements(&self) -> u32 {
        self.gemv.map_or(0, |g| g.row_elements)
    }

    /// Vectors that the device's units multiply a matrix by at once.
    pub fn vectors(&self) -> u32 {
        self.gemv.map_or(1, |g| g.vectors)
    }

    /// Elements of a column access in a matrix-vector product; 0 where the device has none.
    pub fn column_elements(&self) -> u32 {
        self.gemv.map_or(0, |g| g.column_elements)
    }

    /// The published mapping of a matrix-vector product: the outputs lie over channels and banks, a row of weights each; for
    /// each row's worth of input, it is loaded once, and every output of a bank gets its bias, is multiplied and read.
    ///
    /// # Errors
    /// The device has no such product, or the matrix does not fit.
    pub fn gemv(&self, outputs: u64, inputs: u64, mut take: impl FnMut(&Instruction)) -> Result<(), InputError> {
        let fail = |problem: String| InputError::new("--gemv", problem);
        if outputs == 0 || inputs == 0 {
            return Err(fail("has a side of 0".into()));
        }
        if self.gemv.is_none() {
            let problem = "is for a device with a matrix-vector product: this one's table has no `isa.gemv`";
            return Err(fail(problem.into()).help("give --trace a file of its instructions, or the table `isa.gemv`"));
        }
        let all = [self.all_channels()];
        let products = Products { outputs, inputs, sets: &all, first_row: 0, packed: false, room: 0, vectors: 1 };
        if self.rows_of(&products).is_none_or(|rows| rows > u64::from(self.rows)) {
            return Err(fail(format!("needs more than the {} rows of a bank", self.rows)));
        }
        self.products(&products, &mut take);
        if let Some(kind) = self.instructions.iter().position(|k| k.ends) {
            take(&Instruction { kind, columns: 1, channels: self.all_channels(), bank: 0, row: 0, column: 0 });
        }
        Ok(())
    }

    /// Rows of every bank that matrices take; `None` where they cannot be counted.
    pub fn rows_of(&self, products: &Products<'_>) -> Option<u64> {
        let (per_bank, chunks) = self.shares(products);
        let outputs_a_row = self.outputs_a_row(products);
        per_bank.div_ceil(outputs_a_row).checked_mul(chunks)
    }

    /// Outputs of each bank, and rows that each has.
    fn shares(&self, products: &Products<'_>) -> (u64, u64) {
        let channels = products.sets.first().map_or(1, |s| u64::from(s.len()).max(1));
        let per_bank = products.outputs.div_ceil(channels * u64::from(self.banks));
        (per_bank, products.inputs.max(products.room).div_ceil(u64::from(self.row_elements()).max(1)))
    }

    fn outputs_a_row(&self, products: &Products<'_>) -> u64 {
        let column_elements = self.column_elements().max(1);
        let columns = products.inputs.div_ceil(u64::from(column_elements)).max(1);
        let row = u64::from(self.row_elements() / column_elements);
        if products.packed { (row / columns).max(1) } else { 1 }
    }

    /// The instructions of products that fit; none where the device has no such product.
    pub fn products(&self, products: &Products<'_>, take: &mut impl FnMut(&Instruction)) {
        let Some(IsaGemv { row_elements, column_elements, kinds, .. }) = self.gemv else { return };
        let (per_bank, rows) = self.shares(products);
        let outputs_a_row = self.outputs_a_row(products);
        let channels = products.sets.first().map_or(1, |s| u64::from(s.len()).max(1));
        let at_once = channels * u64::from(self.banks);
        // The first `used` channels of every set.
        let used = |used: u64| {
            let mut all = ChannelSet::EMPTY;
            for set in products.sets {
                let some = set.iter().take(used as usize).fold(ChannelSet::EMPTY, |s, c| s.or(&ChannelSet::one(c)));
                all = all.or(&some);
            }
            all
        };
        let whole = used(channels);
        let [load, bias, multiply, read] = kinds;
        let (row_elements, column_elements) = (u64::from(row_elements), u64::from(column_elements));
        for chunk in 0..products.inputs.div_ceil(row_elements) {
            let elements = (products.inputs - chunk * row_elements).min(row_elements);
            let columns = elements.div_ceil(column_elements) as u32;
            // Each set has vectors of its own.
            for _ in 0..products.vectors {
                for set in products.sets {
                    take(&Instruction { kind: load, columns, channels: set.clone(), bank: 0, row: 0, column: 0 });
                }
            }
            for output in 0..per_bank {
                let left = products.outputs - output * at_once;
                let n = left.div_ceil(u64::from(self.banks)).min(channels);
                let channels = if n == channels { whole.clone() } else { used(n) };
                let row = products.first_row + (output / outputs_a_row * rows + chunk) as u32;
                // Outputs that share a row lie one after the other in it.
                let column = (output % outputs_a_row) as u32 * columns;
                let one = |kind, columns, row, column| {
                    let channels = channels.clone();
                    Instruction { kind, columns, channels, bank: 0, row, column }
                };
                (0..products.vectors).for_each(|_| take(&one(bias, 1, 0, 0)));
                take(&one(multiply, columns, row, column));
                (0..products.vectors).for_each(|_| take(&one(read, 1, 0, 0)));
            }
        }
    }
}
