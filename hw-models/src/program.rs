//! The one program between software and hardware.
//!
//! A mapper emits a [`Program`]; a machine runs it. A program is a list of instructions with dependencies on earlier ones
//! (so it cannot be cyclic), over tables of what the instructions do: command patterns for PIM channels, functions for
//! vector units. It names device commands and operators, and knows neither graphs nor cycles. It can be written to JSON,
//! read back and run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set of up to 128 channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelSet(pub u128);

impl ChannelSet {
    /// The most channels that a set can hold.
    pub const MAX: u32 = 128;

    /// No channel.
    pub const EMPTY: Self = Self(0);

    /// Channels 0 to `count - 1`.
    pub fn first(count: u32) -> Self {
        Self(if count >= Self::MAX { u128::MAX } else { (1 << count) - 1 })
    }

    /// One channel.
    pub fn one(channel: u32) -> Self {
        Self(1 << channel)
    }

    /// How many.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in this one and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The channels in rising order.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let channel = rest.trailing_zeros();
                rest &= rest - 1;
                channel
            })
        })
    }
}

// JSON has no 128-bit integers; hexadecimal is also what a reader wants to see of a mask.
impl Serialize for ChannelSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl<'de> Deserialize<'de> for ChannelSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        u128::from_str_radix(digits, 16)
            .map(Self)
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a hexadecimal channel mask")))
    }
}

/// A run of one command at some nodes, within a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternStep {
    /// The command, by its name in the device's table.
    pub command: String,
    /// The first node of the command's scope.
    #[serde(default)]
    pub first_node: u32,
    /// How many nodes, one after the other.
    #[serde(default = "one")]
    pub nodes: u32,
    /// How many times at each node (columns, for an access).
    pub count: u32,
    /// The row, counted from the iteration's first, for a command that accesses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// A command to open rows with instead of the device table's (`ACT16` before writes to every bank).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_with: Option<String>,
}

fn one() -> u32 {
    1
}

/// What a PIM channel does in one iteration of an instruction: steps in order, over a few consecutive rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// The steps.
    pub steps: Vec<PatternStep>,
    /// By how many rows the next iteration lies further on.
    pub rows: u32,
}

/// Elementwise and reduction work on a vector unit: phases one after the other, each limited by the busiest of its adders,
/// its multipliers and its memory, plus the depth of its dependence chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorFunction {
    /// The phases.
    pub phases: Vec<VectorPhase>,
}

/// One phase of a vector function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorPhase {
    /// Additions, subtractions and comparisons.
    #[serde(default)]
    pub adds: u64,
    /// Multiplications.
    #[serde(default)]
    pub multiplies: u64,
    /// Bytes read from the unit's memory.
    #[serde(default)]
    pub read_bytes: u64,
    /// Bytes written to it.
    #[serde(default)]
    pub write_bytes: u64,
    /// Additions in a row on the longest chain of dependence.
    #[serde(default)]
    pub add_depth: u32,
    /// Multiplications in a row on that chain.
    #[serde(default)]
    pub multiply_depth: u32,
}

/// What an instruction does, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Every channel of the set runs a pattern `iterations` times, from a row on.
    Pim {
        /// The channels.
        channels: ChannelSet,
        /// Index in [`Program::patterns`].
        pattern: u32,
        /// The first iteration's first row.
        row: u32,
        /// How many iterations.
        iterations: u32,
    },
    /// The vector unit runs a function.
    Vector {
        /// Index in [`Program::functions`].
        function: u32,
    },
}

/// One instruction. Its dependencies are earlier instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instruction {
    /// The operator that it belongs to: index in [`Program::operators`].
    pub operator: u32,
    /// What it does.
    pub work: Work,
    /// Its dependencies: `dependencies[first..first + count]`.
    pub first_dependency: u32,
    /// How many.
    pub dependencies: u32,
    /// Bytes of the vector unit's memory that must be free for it to begin, and that it then takes.
    #[serde(default)]
    pub acquire_bytes: u64,
    /// Bytes of that memory that it frees once it is done.
    #[serde(default)]
    pub release_bytes: u64,
}

/// A program: for a decoder, one step (the prompt, or one token).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// `prefill` or `decode`.
    pub phase: String,
    /// Tokens that the step attends to.
    pub context_tokens: u64,
    /// The operators, by name.
    pub operators: Vec<ProgramOperator>,
    /// What PIM instructions run.
    pub patterns: Vec<Pattern>,
    /// What vector instructions run.
    pub functions: Vec<VectorFunction>,
    /// The instructions, each after all that it depends on.
    pub instructions: Vec<Instruction>,
    /// Dependencies of all instructions, flat.
    pub dependencies: Vec<u32>,
}

/// An operator of a program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramOperator {
    /// Its name, without a layer number.
    pub name: String,
    /// How many times it occurs in the program (once a layer).
    pub count: u64,
    /// Floating-point operations of all its occurrences, multiply and add counted as two.
    pub flops: f64,
    /// Those among them that multiply-accumulate units in the memory do.
    #[serde(default)]
    pub pim_flops: f64,
}

/// A program that no machine could run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
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

impl Program {
    /// Checks what does not depend on a machine: indices, and the order of dependencies.
    ///
    /// # Errors
    /// An index is out of range, or a dependency does not come first.
    pub fn validate(&self) -> Result<(), ProgramError> {
        for (i, instruction) in self.instructions.iter().enumerate() {
            let index = |what, index: u64, len: usize| {
                if index < len as u64 { Ok(()) } else { Err(ProgramError::Index { instruction: i, what, index, len }) }
            };
            index("operator", u64::from(instruction.operator), self.operators.len())?;
            match instruction.work {
                Work::Pim { pattern, .. } => index("pattern", u64::from(pattern), self.patterns.len())?,
                Work::Vector { function } => index("function", u64::from(function), self.functions.len())?,
            }
            let end = u64::from(instruction.first_dependency) + u64::from(instruction.dependencies);
            if end > self.dependencies.len() as u64 {
                index("dependency", end, self.dependencies.len())?;
            }
            for dependency in self.dependencies_of(i) {
                if *dependency as usize >= i {
                    return Err(ProgramError::Order { instruction: i, dependency: *dependency });
                }
            }
        }
        Ok(())
    }

    /// The instructions that an instruction waits for.
    pub fn dependencies_of(&self, instruction: usize) -> &[u32] {
        let i = &self.instructions[instruction];
        &self.dependencies[i.first_dependency as usize..][..i.dependencies as usize]
    }
}

/// Builds a program, storing equal patterns and functions once.
#[derive(Debug, Default)]
pub struct ProgramBuilder {
    program: Program,
    pattern_ids: BTreeMap<Pattern, u32>,
    function_ids: BTreeMap<VectorFunction, u32>,
    operator_ids: BTreeMap<String, u32>,
}

/// An instruction that has been added to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstructionId(pub u32);

impl ProgramBuilder {
    /// A program with no instructions.
    pub fn new(phase: &str, context_tokens: u64) -> Self {
        let program = Program { phase: phase.to_owned(), context_tokens, ..Program::default() };
        Self { program, ..Self::default() }
    }

    /// The operator of a name; a first mention adds it.
    pub fn operator(&mut self, name: &str) -> u32 {
        if let Some(id) = self.operator_ids.get(name) {
            return *id;
        }
        let id = self.program.operators.len() as u32;
        self.program.operators.push(ProgramOperator { name: name.to_owned(), ..ProgramOperator::default() });
        self.operator_ids.insert(name.to_owned(), id);
        id
    }

    /// Counts one occurrence of an operator.
    pub fn occurs(&mut self, operator: u32, flops: f64, pim_flops: f64) {
        let entry = &mut self.program.operators[operator as usize];
        entry.count += 1;
        entry.flops += flops;
        entry.pim_flops += pim_flops;
    }

    /// The index of a pattern.
    pub fn pattern(&mut self, pattern: Pattern) -> u32 {
        if let Some(id) = self.pattern_ids.get(&pattern) {
            return *id;
        }
        let id = self.program.patterns.len() as u32;
        self.program.patterns.push(pattern.clone());
        self.pattern_ids.insert(pattern, id);
        id
    }

    /// The index of a function.
    pub fn function(&mut self, function: VectorFunction) -> u32 {
        if let Some(id) = self.function_ids.get(&function) {
            return *id;
        }
        let id = self.program.functions.len() as u32;
        self.program.functions.push(function.clone());
        self.function_ids.insert(function, id);
        id
    }

    /// Adds an instruction after the given ones.
    pub fn push(&mut self, operator: u32, work: Work, after: &[InstructionId]) -> InstructionId {
        let program = &mut self.program;
        let first_dependency = program.dependencies.len() as u32;
        program.dependencies.extend(after.iter().map(|d| d.0));
        program.instructions.push(Instruction {
            operator,
            work,
            first_dependency,
            dependencies: after.len() as u32,
            acquire_bytes: 0,
            release_bytes: 0,
        });
        InstructionId(program.instructions.len() as u32 - 1)
    }

    /// Makes an instruction take memory of the vector unit before it begins.
    pub fn acquire(&mut self, instruction: InstructionId, bytes: u64) {
        self.program.instructions[instruction.0 as usize].acquire_bytes += bytes;
    }

    /// Makes an instruction free memory of the vector unit once it is done.
    pub fn release(&mut self, instruction: InstructionId, bytes: u64) {
        self.program.instructions[instruction.0 as usize].release_bytes += bytes;
    }

    /// The program.
    pub fn finish(self) -> Program {
        self.program
    }
}
