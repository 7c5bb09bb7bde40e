//! What can be wrong with a program.

/// A program that no machine could run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProgramError {
    /// A program of another version.
    #[error("is of version {found}, and this build runs version {known}: write it anew with `banksia map --program`")]
    Version {
        /// What the file says.
        found: u32,
        /// What is known here.
        known: u32,
    },
    /// Counts of operations that are none.
    #[error(
        "operator `{operator}` has {flops} operations, {pim_flops} of them in memory: both must be finite and not negative, and the second no more than the first"
    )]
    Flops {
        /// The operator.
        operator: String,
        /// Its operations.
        flops: f64,
        /// Those in memory.
        pim_flops: f64,
    },
    /// A kind of work that the device which it is for does not do.
    #[error("instruction {instruction}: {device} does not run {work}")]
    Device {
        /// Which instruction.
        instruction: usize,
        /// The device.
        device: String,
        /// What it asks for.
        work: &'static str,
    },
    /// A kernel or a block that its device cannot run.
    #[error("instruction {instruction}: {problem}")]
    Code {
        /// Which instruction.
        instruction: usize,
        /// Why.
        problem: String,
    },
    /// An index points outside its table.
    #[error("instruction {instruction}: {what} {index} does not exist ({len} do)")]
    Index {
        /// Which instruction.
        instruction: usize,
        /// Which table.
        what: &'static str,
        /// The index.
        index: u64,
        /// The table's length.
        len: usize,
    },
    /// A dependency on the instruction itself or a later one: a cycle, or a list out of order.
    #[error(
        "instruction {instruction} depends on {dependency}, which does not come before it: the dependencies are cyclic or out of order"
    )]
    Order {
        /// Which instruction.
        instruction: usize,
        /// What it depends on.
        dependency: u32,
    },
    /// A command that the machine's device does not have.
    #[error("pattern {pattern}: the device `{device}` has no command `{command}`")]
    Command {
        /// Which pattern.
        pattern: usize,
        /// The command.
        command: String,
        /// The device.
        device: String,
    },
    /// A PIM instruction for no channel, which would never be done.
    #[error("instruction {instruction} is for no channel: its mask is zero")]
    NoChannel {
        /// Which instruction.
        instruction: usize,
    },
    /// A row, node, column or channel that the machine does not have.
    #[error("{place}: {what} {value} is beyond the machine's {limit}")]
    Range {
        /// Which pattern or instruction.
        place: String,
        /// What is out of range.
        what: &'static str,
        /// The value.
        value: u64,
        /// How many there are.
        limit: u64,
    },
    /// An instruction needs more of the vector unit's memory than there is.
    #[error(
        "operator `{operator}` needs {needs} bytes of SRAM at once, and there are {capacity}: split it, or give the ASIC more SRAM"
    )]
    Capacity {
        /// The operator.
        operator: String,
        /// What one instruction acquires.
        needs: u64,
        /// What there is.
        capacity: u64,
    },
}
