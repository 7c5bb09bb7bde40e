//! What a check has shown.

use serde::Serialize;

use super::memory::BankTraffic;

/// How full a level was at its fullest moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Level {
    /// The device.
    pub device: String,
    /// The level: rows of banks, global buffer, memory of the vector unit, memory of a GPU.
    pub level: String,
    /// In what it is counted.
    pub unit: &'static str,
    /// The most.
    pub most: u64,
    /// What there is.
    pub capacity: u64,
}

/// Bytes that a step moves over a level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The device.
    pub device: String,
    /// From where to where.
    pub over: String,
    /// As counted from the program.
    pub bytes: u64,
    /// As the mapping says, where it does.
    pub says: Option<u64>,
}

/// What was checked of the program of a step, and found right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// `prefill` or `decode`.
    pub phase: String,
    /// Tokens that the step attends to.
    pub context_tokens: u64,
    /// Instructions.
    pub instructions: u64,
    /// Operators, layer by layer.
    pub operators: u64,
    /// Values whose users wait for them: instructions that complete a value, for each that uses it.
    pub waits: u64,
    /// Tensors in banks.
    pub tensors: u64,
    /// Outputs of products in banks, each for each of its vectors: every one is produced once.
    pub outputs: u64,
    /// Of these, those that numbers were put through and compared with the plain product, bit for bit.
    pub replayed: u64,
    /// Products of two numbers in that.
    pub multiplied: u64,
    /// Kernels whose tensors were there.
    pub kernels: u64,
    /// What the mapping takes for something that it is not quite, and says so.
    pub notes: Vec<String>,
    /// Levels at their fullest.
    pub levels: Vec<Level>,
    /// Traffic by level.
    pub moved: Vec<Moved>,
    /// By device with units in its banks.
    pub banks: Vec<BankTraffic>,
}
