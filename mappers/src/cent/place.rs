//! Where a block lies: channels of a device, banks of a channel, and the devices that share its matrices.

use banksia_hw::pim::IsaSet;

use super::shape::Shape;

/// What the mapping does as CENT's artifact does it, and what as the device needs it.
///
/// The artifact (Yufeng98/CENT, commit 8c79786) departs from what it describes in a few places; each is a switch, so that its cycles can be had
/// and what the difference costs can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conventions {
    /// Channel 0 is the highest bit of an instruction's mask, while accesses count channels from the lowest.
    pub masks_from_last: bool,
    /// Products of rotary positions take all columns of the vector in one row of every bank group, as if its other channels had none of it.
    pub rotary_in_one_row: bool,
    /// What rotary positions leave in the banks is written again instead of read.
    pub rotary_written_back: bool,
    /// Values are appended to the cache of a device's first block only, and a row later than they are read from.
    pub values_of_first_block: bool,
    /// Keys lie over the banks of all devices that share a block, whose scores are there at once, while values and softmax are on one.
    pub keys_over_devices: bool,
    /// The embedding is the product of a one-hot vector with the whole table, instead of the reading of a row.
    pub one_hot_embedding: bool,
}

impl Conventions {
    /// As in the artifact.
    pub const ARTIFACT: Self = Self {
        masks_from_last: true,
        rotary_in_one_row: true,
        rotary_written_back: true,
        values_of_first_block: true,
        keys_over_devices: true,
        one_hot_embedding: true,
    };
    /// As the device needs it.
    pub const DEVICE: Self = Self {
        masks_from_last: false,
        rotary_in_one_row: false,
        rotary_written_back: false,
        values_of_first_block: false,
        keys_over_devices: false,
        one_hot_embedding: false,
    };
}

/// Channels and banks of a block's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Channels of a device.
    pub channels: u64,
    /// Banks of a channel.
    pub banks: u64,
    /// Elements of a row of a bank.
    pub row_elements: u64,
    /// Elements of a column access.
    pub column_elements: u64,
    /// Channels of one block.
    pub block_channels: u64,
    /// Devices over which a block's matrices are spread: tensor parallelism.
    pub devices: u64,
    /// Accumulators of a bank: products of as many rows stay in it while the global buffer keeps its part of the input.
    pub accumulators: u64,
    /// Tokens for which the caches have room.
    pub context: u64,
    /// See [`Conventions`].
    pub conventions: Conventions,
}

impl Place {
    /// On a device of an instruction set's channels.
    pub fn new(set: &IsaSet, banks: u64, block_channels: u64, devices: u64, context: u64) -> Self {
        Self {
            channels: u64::from(set.channels),
            banks,
            row_elements: u64::from(set.row_elements()),
            column_elements: u64::from(set.column_elements()),
            block_channels,
            devices,
            accumulators: 32,
            context,
            conventions: Conventions::DEVICE,
        }
    }

    /// Banks of one block on one device.
    pub fn block_banks(&self) -> u64 {
        self.block_channels * self.banks
    }

    /// Banks over which a block's matrices are spread.
    pub fn matrix_banks(&self) -> u64 {
        self.block_banks() * self.devices
    }

    /// Banks over which a block's keys are spread.
    pub fn key_banks(&self) -> u64 {
        if self.conventions.keys_over_devices { self.matrix_banks() } else { self.block_banks() }
    }

    /// Blocks that lie side by side on a device.
    pub fn blocks(&self) -> u64 {
        (self.channels / self.block_channels.max(1)).max(1)
    }

    /// Columns of so many elements.
    pub fn columns(&self, elements: u64) -> u32 {
        elements.div_ceil(self.column_elements) as u32
    }
}

/// The first row of every operand, the same in every bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// The input, in neighbouring banks.
    pub input: u64,
    /// The input, in banks of a group.
    pub input_copy: u64,
    /// The weights of the norm before attention.
    pub attention_norm: u64,
    /// The matrices of queries, keys and values.
    pub qkv: [u64; 3],
    /// Queries, then keys.
    pub queries: u64,
    /// See `queries`.
    pub keys: u64,
    /// Cached keys.
    pub key_cache: u64,
    /// Scores.
    pub scores: u64,
    /// Cached values.
    pub value_cache: u64,
    /// The matrix after attention.
    pub output: u64,
    /// What it gives, in banks of a group.
    pub attended: u64,
    /// The weights of the norm before the feed-forward layer.
    pub ffn_norm: u64,
    /// The two matrices into the feed-forward layer.
    pub up: [u64; 2],
    /// Their products, and where those that do not fit in a row go on.
    pub inner: [u64; 2],
    /// The matrix out of the feed-forward layer.
    pub down: u64,
    /// Rows that one block takes in every bank.
    pub end: u64,
}

impl Rows {
    /// Operands one after another.
    pub fn of(shape: &Shape, place: &Place) -> Self {
        let row = place.row_elements;
        let matrix = |outputs: u64, inputs: u64| outputs.div_ceil(place.matrix_banks()) * inputs.div_ceil(row);
        let vector = |elements: u64, banks: u64| (elements / banks).div_ceil(row).max(1);
        let mut next = 0;
        let mut take = |rows: u64| {
            let first = next;
            next += rows;
            first
        };
        let head = shape.head_dim;
        let (queries, keys) = (shape.heads * head, shape.kv_heads * head);
        let input_rows = vector(shape.width, place.banks);
        let [input, input_copy, attention_norm] = [take(input_rows), take(input_rows), take(input_rows)];
        let wide = [queries, keys, keys].map(|outputs| take(matrix(outputs, shape.width)));
        let (query, key) = (take(1), take(1));
        let key_cache = take(place.context.div_ceil(place.key_banks()) * keys.div_ceil(row));
        let scores = take(place.context.div_ceil(row) * shape.heads.div_ceil(place.block_channels * 4));
        let heads_a_channel = shape.kv_heads.div_ceil(place.block_channels);
        let value_cache = take(place.context.div_ceil(row) * heads_a_channel * head.div_ceil(place.banks));
        take(vector(queries, place.block_banks()));
        let output = take(matrix(shape.width, queries));
        let attended_rows = vector(queries, place.block_banks());
        take(attended_rows);
        let [attended, ffn_norm] = [take(attended_rows), take(attended_rows)];
        let up = [take(matrix(shape.ffn_width, shape.width)), take(matrix(shape.ffn_width, shape.width))];
        let inner_rows = vector(shape.ffn_width, place.block_banks());
        let first = take(inner_rows);
        take(inner_rows);
        let inner = [first, take(inner_rows)];
        take(shape.ffn_width.div_ceil(row * place.banks));
        let down = take(matrix(shape.width, shape.ffn_width));
        take(vector(shape.width, place.block_banks()));
        Self {
            input,
            input_copy,
            attention_norm,
            qkv: wide,
            queries: query,
            keys: key,
            key_cache,
            scores,
            value_cache,
            output,
            attended,
            ffn_norm,
            up,
            inner,
            down,
            end: next,
        }
    }
}
