//! Numbers through a layout: small whole numbers, exact in any of the units' types, so that sums are the same in any order.

use std::collections::HashMap;

use banksia_hw::pim::DataUnits;

use super::cells::Cells;
use super::place::{Fresh, Region};
use super::wrong::Wrong;

/// An element of a matrix: from -3 to 3.
fn weight(tensor: u32, output: u64, input: u64) -> f32 {
    small(u64::from(tensor).wrapping_mul(0x9e37_79b9).wrapping_add(output.wrapping_mul(0x85eb_ca6b)), input)
}

/// An element of a vector: from -3 to 3.
fn element(tensor: u32, vector: u64, input: u64) -> f32 {
    small(
        u64::from(tensor).wrapping_add(0x51).wrapping_mul(0xc2b2_ae35).wrapping_add(vector.wrapping_mul(0x27d4_eb2f)),
        input,
    )
}

fn small(a: u64, b: u64) -> f32 {
    let mut x = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x >> 33) % 7) as f32 - 3.0
}

/// Channel, bank, row, column.
type Address = (u32, u32, u64, u32);
/// Tensor, output, vector.
type Output = (u32, u64, u64);

/// The arrays of a device's banks, its units, and the results.
#[derive(Debug)]
pub(super) struct Numbers {
    units: DataUnits,
    cells: HashMap<Address, Vec<f32>>,
    /// Channel, unit, which sum.
    sums: HashMap<(u32, u32, u32), Vec<f32>>,
    results: HashMap<Output, f32>,
    kept: HashMap<Address, Vec<f32>>,
    /// Products of two numbers.
    pub products: u64,
}

impl Numbers {
    /// Puts every element of every region where it lies; what is new in the step is written later.
    ///
    /// # Errors
    /// An element lies nowhere, or in two places.
    pub(super) fn new(cells: &Cells<'_>, units: DataUnits) -> Result<Self, Wrong> {
        let mut this = Self {
            units,
            cells: HashMap::new(),
            sums: HashMap::new(),
            results: HashMap::new(),
            kept: HashMap::new(),
            products: 0,
        };
        for (index, region) in cells.regions.iter().enumerate() {
            this.store(cells, index, region)?;
        }
        Ok(this)
    }

    fn store(&mut self, cells: &Cells<'_>, index: usize, region: &Region) -> Result<(), Wrong> {
        let (outputs, inputs) = region.place.shape();
        if matches!(region.fresh, Fresh::All) {
            return Ok(());
        }
        let mut times = vec![0u8; (outputs * inputs) as usize];
        for (position, bank, row, column, _) in cells.each(index) {
            let Some(piece) = region.place.piece(position, u64::from(bank), row, u64::from(column)) else { continue };
            for unit in 0..self.units.units {
                let Some(output) = region.place.output(position, u64::from(unit), piece.slot) else { continue };
                let mut lanes = vec![0.0; self.units.lanes as usize];
                for lane in 0..piece.lanes {
                    let input = piece.input + lane;
                    times[(output * inputs + input) as usize] =
                        times[(output * inputs + input) as usize].saturating_add(1);
                    if !is_fresh(region.fresh, output, input) {
                        lanes[lane as usize] = weight(region.tensor, output, region.first_input + input);
                    }
                }
                let channel = region.channels.get(position as usize).copied().unwrap_or(0);
                let bank = unit * self.units.banks_of_unit + bank;
                self.cells.insert((channel, bank, region.first_row + row, column), lanes);
            }
        }
        if let Some(at) = times.iter().position(|n| *n != 1) {
            let (output, input) = (at as u64 / inputs, at as u64 % inputs);
            return Err(Wrong::Stored { tensor: region.name.clone(), output, input, times: u64::from(times[at]) });
        }
        Ok(())
    }

    /// What is new is written to a column.
    pub(super) fn write(&mut self, region: &Region, position: u64, unit: u32, bank: u32, row: u64, column: u32) {
        let Some(piece) = region.place.piece(position, u64::from(bank), row, u64::from(column)) else { return };
        let Some(output) = region.place.output(position, u64::from(unit), piece.slot) else { return };
        let channel = region.channels.get(position as usize).copied().unwrap_or(0);
        let address = (channel, unit * self.units.banks_of_unit + bank, region.first_row + row, column);
        let Some(lanes) = self.cells.get_mut(&address) else { return };
        for lane in 0..piece.lanes {
            let input = piece.input + lane;
            if is_fresh(region.fresh, output, input) {
                lanes[lane as usize] = weight(region.tensor, output, region.first_input + input);
            }
        }
    }

    /// Every unit of a channel multiplies a column by elements of a vector: those of `input` on.
    pub(super) fn multiply(
        &mut self,
        (channel, bank, row, column): Address,
        sum: u32,
        tensor: u32,
        vector: u64,
        input: u64,
        n: u64,
    ) {
        for unit in 0..self.units.units {
            let address = (channel, unit * self.units.banks_of_unit + bank, row, column);
            let Some(cell) = self.cells.get(&address) else { continue };
            let lanes = self.units.lanes as usize;
            let sums = self.sums.entry((channel, unit, sum)).or_insert_with(|| vec![0.0; lanes]);
            for lane in 0..n {
                sums[lane as usize] += cell[lane as usize] * element(tensor, vector, input + lane);
                self.products += 1;
            }
        }
    }

    /// Sums leave the units, and the vector unit adds them to those of their outputs.
    pub(super) fn read(&mut self, region: &Region, position: u64, slot: u64, (sum, vector): (u32, u64)) {
        let channel = region.channels.get(position as usize).copied().unwrap_or(0);
        for unit in 0..self.units.units {
            let Some(sums) = self.sums.remove(&(channel, unit, sum)) else { continue };
            if let Some(output) = region.place.output(position, u64::from(unit), slot) {
                *self.results.entry((region.tensor, output, vector)).or_insert(0.0) +=
                    sums.iter().fold(0.0, |a, b| a + b);
            }
        }
    }

    /// Sums go to a column of the banks.
    pub(super) fn keep(&mut self, (channel, bank, row, column): Address, sum: u32) {
        for unit in 0..self.units.units {
            if let Some(sums) = self.sums.remove(&(channel, unit, sum)) {
                self.kept.insert((channel, unit * self.units.banks_of_unit + bank, row, column), sums);
            }
        }
    }

    /// A column of sums of a unit is read from its bank.
    pub(super) fn read_kept(&mut self, address: Address, region: &Region, output: Option<u64>, vector: u64) {
        if let (Some(sums), Some(output)) = (self.kept.remove(&address), output) {
            *self.results.entry((region.tensor, output, vector)).or_insert(0.0) += sums.iter().fold(0.0, |a, b| a + b);
        }
    }

    /// Compares every output of every matrix with the plain product, bit for bit. How many there are.
    ///
    /// # Errors
    /// One is another number, or is not there.
    pub(super) fn compare(&self, regions: &[Region]) -> Result<u64, Wrong> {
        let mut all = 0;
        let mut done: Vec<u32> = Vec::new();
        for region in regions.iter().filter(|r| r.times > 0 && r.fresh != Fresh::All) {
            if done.contains(&region.tensor) {
                continue;
            }
            done.push(region.tensor);
            // Parts of the vector lie apart.
            let parts = regions.iter().filter(|r| r.tensor == region.tensor);
            let inputs: u64 = parts.map(|r| r.place.shape().1).sum();
            for output in 0..region.place.shape().0 {
                for vector in region.place.vectors_of(output, region.times, region.group) {
                    let plain = |sum, i| sum + weight(region.tensor, output, i) * element(region.tensor, vector, i);
                    let right: f32 = (0..inputs).fold(0.0, plain);
                    let found = self.results.get(&(region.tensor, output, vector));
                    if found.is_none_or(|f| f.to_bits() != right.to_bits()) {
                        return Err(Wrong::Number {
                            operator: region.operator.clone(),
                            tensor: region.name.clone(),
                            output,
                            vector,
                            found: found.map_or("never produced".to_owned(), ToString::to_string),
                            right: right.to_string(),
                        });
                    }
                    all += 1;
                }
            }
        }
        Ok(all)
    }
}

/// Whether an element is new in the step.
pub(super) fn is_fresh(fresh: Fresh, output: u64, input: u64) -> bool {
    match fresh {
        Fresh::Nothing => false,
        Fresh::Outputs { first, count } => (first..first + count).contains(&output),
        Fresh::Input(at) => at == input,
        Fresh::All => true,
    }
}
