//! Where the elements of a tensor lie: what a column of a row of a bank holds.

/// What a column holds: elements of one input range of the outputs of a slot, one output a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Outputs that differ by the unit alone: what is summed in one go.
    pub slot: u64,
    /// The first element of the vector, within the region.
    pub input: u64,
    /// How many elements.
    pub lanes: u64,
}

/// Sizes that every way to lie has: channels of the region, units of a channel, elements of a column, columns of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Channels of the region.
    pub channels: u64,
    /// Units of a channel.
    pub units: u64,
    /// Elements of a column.
    pub lanes: u64,
    /// Columns of a row.
    pub columns: u64,
}

/// The part of a matrix that one filling of the buffer multiplies, packed over the rows of banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedChunk {
    /// Columns of an output.
    pub columns: u64,
    /// The first row, from the region's.
    pub row: u64,
    /// Rows in each bank.
    pub rows: u64,
}

/// A way to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An output a bank and row, or several in a row: the published product of AiM and AttAcc.
    Rows {
        /// Sizes.
        bounds: Bounds,
        /// Outputs.
        outputs: u64,
        /// Elements of the vector.
        inputs: u64,
        /// Rows of an output.
        rows: u64,
        /// Outputs that share a row.
        per_row: u64,
        /// Columns of each of those.
        width: u64,
    },
    /// Tiles of registers by registers: HBM-PIM's kernel.
    Tiles {
        /// Sizes.
        bounds: Bounds,
        /// Outputs.
        outputs: u64,
        /// Elements of the vector.
        inputs: u64,
        /// Registers of a unit.
        registers: u64,
        /// Pairs of tiles of inputs that an output has room for.
        pairs: u64,
    },
    /// Outputs one after the other over the borders of rows: PIM-GPT.
    Packed {
        /// Sizes.
        bounds: Bounds,
        /// Outputs.
        outputs: u64,
        /// Elements of the vector.
        inputs: u64,
        /// Its chunks.
        chunks: Vec<PackedChunk>,
    },
    /// Keys by token, all heads side by side (PIM-GPT). An output is a token and a head.
    Keys {
        /// Sizes.
        bounds: Bounds,
        /// Tokens.
        tokens: u64,
        /// Key heads.
        heads: u64,
        /// Elements of a key.
        dim: u64,
    },
    /// Values by element, tokens along the columns (PIM-GPT). An output is a head and an element.
    Values {
        /// Sizes.
        bounds: Bounds,
        /// Tokens.
        tokens: u64,
        /// Value heads.
        heads: u64,
        /// Elements of a value.
        dim: u64,
        /// Columns that an element has room for.
        stride: u64,
    },
    /// Bytes that are read and written as a whole: the state of a recurrence.
    Whole {
        /// Columns of every bank.
        columns: u64,
        /// Columns of a row.
        of_row: u64,
    },
}

impl Place {
    /// What lies in a column of a unit's bank; `None` where nothing does. `position` is the channel's place among the region's, `bank` the unit's
    /// own, `row` counted from the region's first.
    pub fn piece(&self, position: u64, bank: u64, row: u64, column: u64) -> Option<Piece> {
        let cut = |slot: u64, input: u64, lanes: u64, inputs: u64| {
            (input < inputs).then(|| Piece { slot, input, lanes: lanes.min(inputs - input) })
        };
        match *self {
            Self::Rows { bounds: b, inputs, rows, per_row, width, .. } => {
                let (within, column) =
                    if per_row > 1 { (column / width.max(1), column % width.max(1)) } else { (0, column) };
                let slot = row / rows.max(1) * per_row + within;
                if within >= per_row {
                    return None;
                }
                cut(slot, row % rows.max(1) * b.columns * b.lanes + column * b.lanes, b.lanes, inputs)
            }
            Self::Tiles { bounds: b, outputs, inputs, registers, pairs } => {
                let index = row * b.columns + column;
                let tile = registers * registers;
                let (at, within) = (index / tile, index % tile);
                let (of_output, pair) = (at / pairs.max(1), at % pairs.max(1));
                if of_output >= outputs.div_ceil(b.channels * b.units * registers) || bank > 1 {
                    return None;
                }
                let of_input = pair * 2 + bank;
                let input = (of_input * registers + within / registers) * b.lanes;
                cut(of_output * registers + within % registers, input, b.lanes, inputs)
            }
            Self::Packed { bounds: b, inputs, ref chunks, .. } => {
                let mut first = 0;
                for chunk in chunks {
                    if (chunk.row..chunk.row + chunk.rows).contains(&row) {
                        let index = (row - chunk.row) * b.columns + column;
                        let input = first + index % chunk.columns * b.lanes;
                        return cut(index / chunk.columns, input, b.lanes, inputs);
                    }
                    first += chunk.columns * b.lanes;
                }
                None
            }
            Self::Keys { bounds: b, heads, dim, .. } => {
                let of_head = dim.div_ceil(b.lanes);
                let index = row * b.columns + column;
                let (token, within) = (index / (of_head * heads), index % (of_head * heads));
                let _ = position;
                cut(token * heads + within / of_head, within % of_head * b.lanes, b.lanes, dim)
            }
            Self::Values { bounds: b, tokens, stride, .. } => {
                let index = row * b.columns + column;
                cut(index / stride, index % stride * b.lanes, b.lanes, tokens)
            }
            Self::Whole { columns, of_row } => {
                let index = row * of_row + column;
                (index < columns).then_some(Piece { slot: 0, input: index, lanes: 1 })
            }
        }
    }

    /// The output of a slot in a unit of a channel; `None` where that is padding.
    pub fn output(&self, position: u64, unit: u64, slot: u64) -> Option<u64> {
        match *self {
            Self::Rows { bounds: b, outputs, .. } | Self::Packed { bounds: b, outputs, .. } => {
                Some((slot * b.channels + position) * b.units + unit).filter(|o| *o < outputs)
            }
            Self::Tiles { bounds: b, outputs, registers, .. } => {
                let (tile, register) = (slot / registers, slot % registers);
                Some(((tile * b.channels + position) * b.units + unit) * registers + register).filter(|o| *o < outputs)
            }
            Self::Keys { bounds: b, tokens, heads, .. } => {
                let token = (slot / heads * b.channels + position) * b.units + unit;
                (token < tokens).then_some(token * heads + slot % heads)
            }
            Self::Values { bounds: b, heads, dim, .. } => {
                let (head, part) = value_item(b, heads, dim, position, slot)?;
                let element = part * b.units + unit;
                (element < dim).then_some(head * dim + element)
            }
            Self::Whole { .. } => None,
        }
    }

    /// Which of the vectors a slot is multiplied with when its place is met for the `time`-th time, from 0; `group` query heads share a head.
    pub fn vector(&self, position: u64, slot: u64, time: u64, group: u64) -> u64 {
        match *self {
            Self::Keys { heads, .. } => slot % heads * group + time,
            Self::Values { bounds, heads, dim, .. } => {
                value_item(bounds, heads, dim, position, slot).map_or(0, |(head, _)| head * group) + time
            }
            _ => time,
        }
    }

    /// Outputs, and elements that each has.
    pub fn shape(&self) -> (u64, u64) {
        match *self {
            Self::Rows { outputs, inputs, .. }
            | Self::Tiles { outputs, inputs, .. }
            | Self::Packed { outputs, inputs, .. } => (outputs, inputs),
            Self::Keys { tokens, heads, dim, .. } => (tokens * heads, dim),
            Self::Values { tokens, heads, dim, .. } => (heads * dim, tokens),
            Self::Whole { columns, .. } => (1, columns),
        }
    }

    /// Vectors that each output is multiplied with when every place is met `times` times.
    pub fn vectors_of(&self, output: u64, times: u64, group: u64) -> std::ops::Range<u64> {
        let head = match *self {
            Self::Keys { heads, .. } => output % heads,
            Self::Values { dim, .. } => output / dim.max(1),
            _ => return 0..times,
        };
        head * group..head * group + times
    }
}

/// The head and the part of it that an item of a channel is: whole rounds of one head for each channel, then the heads that are left item by item.
fn value_item(b: Bounds, heads: u64, dim: u64, position: u64, item: u64) -> Option<(u64, u64)> {
    let per_head = dim.div_ceil(b.units).max(1);
    let rounds = heads / b.channels;
    if item < rounds * per_head {
        return Some((item / per_head * b.channels + position, item % per_head));
    }
    let rest = heads % b.channels * per_head;
    let (least, more) = (rest / b.channels, rest % b.channels);
    let mine = least + u64::from(position < more);
    let first = position * least + position.min(more);
    let at = item - rounds * per_head;
    (at < mine).then(|| (rounds * b.channels + (first + at) / per_head, (first + at) % per_head))
}

/// What is new in a step: it must be written before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// Nothing: all of it was there.
    Nothing,
    /// Outputs: keys of a token, of all heads.
    Outputs {
        /// The first.
        first: u64,
        /// How many.
        count: u64,
    },
    /// An element of every output: values of a token.
    Input(u64),
    /// All of it is read, and written anew.
    All,
}

/// A tensor, or a part of one, in rows of some channels' banks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its name, with the layer.
    pub name: String,
    /// Parts of one matrix have one number.
    pub tensor: u32,
    /// The operator that uses it, as reports have it.
    pub operator: String,
    /// The first row of every bank.
    pub first_row: u64,
    /// How many.
    pub rows: u64,
    /// The channels, in the order in which it lies over them.
    pub channels: Vec<u32>,
    /// How it lies.
    pub place: Place,
    /// The element of the whole vector that its first is.
    pub first_input: u64,
    /// How often each of its elements is multiplied in the step.
    pub times: u64,
    /// Query heads that share a head.
    pub group: u64,
    /// What is new in it.
    pub fresh: Fresh,
    /// An output that is looked up, and how often.
    pub looked_up: Option<(u64, u64)>,
    /// Operators that use it, by their place in [`Claims::groups`](super::Claims).
    pub groups: Vec<usize>,
}
