//! Vectors in banks: written and read by accesses, multiplied element by element in bank groups.

use banksia_hw::pim::Instruction;

use super::place::Place;
use super::writer::Writer;

/// Elements of a vector over banks of a block: each takes an equal run.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Banks that hold a part.
    pub banks: u64,
    /// Elements of each part.
    pub each: u64,
    /// A bank of so many holds a part.
    stride: u64,
}

impl Spread {
    /// A vector over one bank of every two: what is multiplied with its neighbour.
    pub fn pairs(place: &Place, elements: u64) -> Self {
        Self::over(place, elements, 2)
    }

    /// A vector over one bank of every group of four: what is multiplied element by element.
    pub fn groups(place: &Place, elements: u64) -> Self {
        Self::over(place, elements, 4)
    }

    fn over(place: &Place, elements: u64, stride: u64) -> Self {
        let each = elements.div_ceil((place.block_banks() / stride).max(1));
        Self { banks: elements.div_ceil(each), each, stride }
    }

    /// The same banks with other lengths.
    #[must_use]
    pub fn of_each(self, each: u64) -> Self {
        Self { each, ..self }
    }

    /// Columns of each part.
    pub fn columns(&self, place: &Place) -> u32 {
        place.columns(self.each)
    }
}

/// Writes or reads a vector, column after column over the banks, of every block: `position` is the bank within the group.
pub fn access<F: FnMut(&Instruction)>(
    w: &mut Writer<'_, F>,
    place: &Place,
    write: bool,
    position: u64,
    row: u64,
    spread: Spread,
) {
    for _ in 0..spread.columns(place) {
        for part in 0..spread.banks {
            let bank = part * spread.stride + position;
            for block in 0..place.blocks() {
                w.access(write, bank / place.banks + block * place.block_channels, bank % place.banks, row);
            }
        }
    }
}

/// RMS norm of a vector: the sum of squares by neighbouring banks, then twice element by element: by the root, and by the weights.
///
/// `rows` are those of the vector in pairs, of its copy in groups, and of the weights.
pub fn norm<F: FnMut(&Instruction)>(
    w: &mut Writer<'_, F>,
    place: &Place,
    width: u64,
    rows: [u64; 3],
    root_first: bool,
) {
    let [pairs_row, row, weights] = rows;
    let pairs = Spread::pairs(place, width);
    for position in [0, 1] {
        access(w, place, true, position, pairs_row, pairs);
    }
    let all = w.all_blocks(place.block_channels);
    squares(w, place, width, pairs_row);
    // The accelerator adds what was read and returns the root, which is written beside the vector.
    let groups = Spread::groups(place, width);
    for position in if root_first { [1, 0] } else { [0, 1] } {
        access(w, place, true, position, row, groups);
    }
    scale(w, place, &all, groups, [row, weights]);
}

/// The sum of squares of a vector in neighbouring banks.
pub fn squares<F: FnMut(&Instruction)>(w: &mut Writer<'_, F>, place: &Place, width: u64, row: u64) {
    let all = w.all_blocks(place.block_channels);
    w.bias(&all);
    w.multiply(&all, Spread::pairs(place, width).columns(place), row);
    w.read(&all);
}

/// Products by a scalar and by the norm's weights, and the result read.
pub fn scale<F: FnMut(&Instruction)>(
    w: &mut Writer<'_, F>,
    place: &Place,
    all: &banksia_hw::program::ChannelSet,
    groups: Spread,
    [row, weights]: [u64; 2],
) {
    let columns = groups.columns(place);
    w.elementwise(all, columns, row);
    w.move_results(all, &[(row, weights, columns)]);
    w.elementwise(all, columns, weights);
    access(w, place, false, 2, weights, groups);
    w.wait();
}
