//! What can be wrong with a mapping.

/// A program that does not do what its plan claims, by name: the operator, the place, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Two tensors lie in the same place.
    #[error("`{one}` and `{other}` both lie in row {row} of channel {channel}: each element has a place of its own")]
    Overlap {
        /// The one.
        one: String,
        /// The other.
        other: String,
        /// Where.
        channel: u32,
        /// The first row that both have.
        row: u64,
    },
    /// A level holds more than it can.
    #[error("{level}: {what} takes {needs}, and there are {capacity}")]
    Capacity {
        /// Rows of banks, the global buffer, the vector unit's memory, a GPU's memory.
        level: String,
        /// The operator or tensor.
        what: String,
        /// What it takes, with those that are there at that moment.
        needs: u64,
        /// What there is.
        capacity: u64,
    },
    /// An element of a tensor does not lie where the layout says, or twice.
    #[error("`{tensor}`: element [{output}, {input}] lies in {times} places: it must lie in one")]
    Stored {
        /// The tensor.
        tensor: String,
        /// Its row.
        output: u64,
        /// Its column.
        input: u64,
        /// In how many.
        times: u64,
    },
    /// An operator's instructions do not exist, or less than all of them.
    #[error("operator `{operator}` is never run: the program has no instruction for it{place}")]
    NotRun {
        /// The operator, with its layer.
        operator: String,
        /// Between which.
        place: String,
    },
    /// An instruction for an operator that does not come there.
    #[error("instruction {instruction} is for `{operator}`, which does not come after `{after}`")]
    Unexpected {
        /// Which.
        instruction: usize,
        /// Its operator.
        operator: String,
        /// The operator before it.
        after: String,
    },
    /// A value is used before it is there.
    #[error(
        "operator `{operator}` (instruction {instruction}) uses what `{producer}` (instruction {needs}) gives, and does not wait for it: it must come after"
    )]
    NotThere {
        /// The operator.
        operator: String,
        /// Its instruction.
        instruction: usize,
        /// Who makes the value.
        producer: String,
        /// The instruction that completes it.
        needs: usize,
    },
    /// An instruction that does nothing a product, a read or a write is made of.
    #[error("operator `{operator}` (instruction {instruction}) {problem}")]
    Strange {
        /// The operator.
        operator: String,
        /// Its instruction.
        instruction: usize,
        /// What it does, in words.
        problem: String,
    },
    /// A row that holds nothing of the operator's.
    #[error(
        "operator `{operator}` (instruction {instruction}) {does} row {row} column {column} of bank {bank} of channel {channel}, which holds {holds}: {right}"
    )]
    Address {
        /// The operator.
        operator: String,
        /// Its instruction.
        instruction: usize,
        /// `multiplies`, `reads`, `writes`.
        does: &'static str,
        /// The channel.
        channel: u32,
        /// The bank.
        bank: u32,
        /// The row.
        row: u64,
        /// The column.
        column: u32,
        /// What lies there.
        holds: String,
        /// What would be right.
        right: String,
    },
    /// Something is done too often, or not often enough.
    #[error(
        "operator `{operator}`: output {output} of `{tensor}` gets its part at row {row} column {column} of channel {channel} {times} times, and must {right}"
    )]
    Times {
        /// The operator.
        operator: String,
        /// The matrix.
        tensor: String,
        /// The first of the outputs there.
        output: u64,
        /// The channel.
        channel: u32,
        /// The row.
        row: u64,
        /// The column.
        column: u32,
        /// How often.
        times: u64,
        /// How often it must.
        right: String,
    },
    /// What the buffer holds is not what the weights want.
    #[error(
        "operator `{operator}` (instruction {instruction}): row {row} column {column} of channel {channel} wants inputs {wants} in column {buffer} of the global buffer, which holds {holds}"
    )]
    Buffer {
        /// The operator.
        operator: String,
        /// Its instruction.
        instruction: usize,
        /// The channel.
        channel: u32,
        /// The row.
        row: u64,
        /// The column.
        column: u32,
        /// The column of the buffer.
        buffer: u32,
        /// Which it wants.
        wants: String,
        /// What is there.
        holds: String,
    },
    /// Sums that are lost, or of two outputs in one.
    #[error("operator `{operator}` (instruction {instruction}): on channel {channel} {problem}")]
    Sums {
        /// The operator.
        operator: String,
        /// Its instruction.
        instruction: usize,
        /// The channel.
        channel: u32,
        /// What happens to them.
        problem: String,
    },
    /// A tensor of which not all is read or written.
    #[error("operator `{operator}`: {what} of `{tensor}` are {done}, and must be {right}")]
    Amount {
        /// The operator.
        operator: String,
        /// The tensor.
        tensor: String,
        /// What is counted.
        what: String,
        /// How many.
        done: u64,
        /// How many there must be.
        right: u64,
    },
    /// A number that is not that of the plain product.
    #[error(
        "operator `{operator}`: output {output} of `{tensor}` for vector {vector} is {found}, and the plain product gives {right}"
    )]
    Number {
        /// The operator.
        operator: String,
        /// The matrix.
        tensor: String,
        /// The output.
        output: u64,
        /// Which of the vectors.
        vector: u64,
        /// As replayed.
        found: String,
        /// As it should be.
        right: String,
    },
}
