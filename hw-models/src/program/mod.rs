//! The one program between software and hardware.
//!
//! A mapper emits a [`Program`]; a machine runs it. A program is a list of instructions with dependencies on earlier ones
//! (so it cannot be cyclic), each for one device of the machine, over tables of what they do: command patterns for PIM
//! channels, blocks of a PIM device's own instructions, functions for vector units, kernels for GPUs, transfers over links.
//! It names device commands and operators, and knows neither graphs nor cycles. It can be written to JSON, read back and
//! run.

mod builder;
mod channels;
mod error;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use builder::{InstructionId, ProgramBuilder};
pub use channels::ChannelSet;
pub use error::ProgramError;

use crate::gpu::program::Kernel;
use crate::net::fabric::call::Call;

/// The version of programs that this build writes and runs.
pub const VERSION: u32 = 1;

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
    /// The first column of the row that it accesses: which data, not how long it takes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub column: u32,
    /// A command to open rows with instead of the device table's (`ACT16` before writes to every bank).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_with: Option<String>,
}

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde gives a reference
fn is_zero(n: &u32) -> bool {
    *n == 0
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

impl Pattern {
    /// The same commands at first columns: it takes as long.
    #[must_use]
    pub fn without_columns(&self) -> Self {
        let steps = self.steps.iter().map(|s| PatternStep { column: 0, ..s.clone() }).collect();
        Self { steps, rows: self.rows }
    }
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

/// A block of a PIM device's own instructions, run one after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Block {
    /// Instructions of the device's `[isa]` table, handed to its channels in order.
    Instructions(Vec<PimInstruction>),
    /// Accesses of a device that the host drives by ordinary reads and writes (`[kernel]` of its table): every channel runs the
    /// same list.
    Accesses(Vec<HostAccess>),
}

/// One instruction of a device's own set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PimInstruction {
    /// Its name in the device's table; `R MEM` and `W MEM` are ordinary accesses.
    pub name: String,
    /// The channels that it is for: index in [`Program::channel_sets`].
    pub channels: u32,
    /// How many columns.
    pub columns: u32,
    /// The bank, where it is for one.
    #[serde(default)]
    pub bank: u32,
    /// The row, where it uses one.
    #[serde(default)]
    pub row: u32,
    /// The first column of the row, where it uses one: which data, not how long it takes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub column: u32,
}

/// One access that drives a PIM unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostAccess {
    /// A write, else a read.
    pub write: bool,
    /// The bank.
    pub bank: u32,
    /// The row.
    pub row: u32,
    /// The column.
    pub column: u32,
    /// It waits for everything before it, and everything after it waits for it.
    pub barrier: bool,
}

/// What an instruction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Every PIM channel of a set runs a pattern `iterations` times, from a row on.
    Pim {
        /// The channels: index in [`Program::channel_sets`].
        channels: u32,
        /// Index in [`Program::patterns`].
        pattern: u32,
        /// The first iteration's first row.
        row: u32,
        /// How many iterations.
        iterations: u32,
    },
    /// The PIM channels run a block of the device's own instructions.
    Block {
        /// Index in [`Program::blocks`].
        block: u32,
    },
    /// The vector unit runs a function.
    Vector {
        /// Index in [`Program::functions`].
        function: u32,
    },
    /// The GPU runs a kernel.
    Kernel {
        /// Index in [`Program::kernels`].
        kernel: u32,
        /// Index in [`Program::operands`] of the buffer of its first tensor; those of the others follow.
        operands: u32,
    },
    /// A link moves bytes.
    Transfer {
        /// How many.
        bytes: u64,
        /// From the link's second end to its first, rather than the other way.
        #[serde(default)]
        back: bool,
    },
    /// Ranks of a group exchange data over the fabric.
    Collective {
        /// What is exchanged, by whom and by whose kernels.
        call: Call,
        /// The lane that it holds: collectives of a lane follow one another.
        lane: u32,
        /// Ranks that do this, of all groups: bytes and energy are of all of them.
        ranks: u32,
    },
}

/// One instruction. Its dependencies are earlier instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instruction {
    /// The operator that it belongs to: index in [`Program::operators`].
    pub operator: u32,
    /// The device that runs it: its place among the machine's devices, links after them.
    #[serde(default)]
    pub on: u32,
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

/// A piece of a GPU's memory that kernels read and write: what of it lies in L2 is carried from one kernel to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// Its name. Equal names of successive programs are the same memory.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// How kernels of a program are launched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LaunchMode {
    /// As a CUDA graph: the next kernel starts as soon as the device can.
    #[default]
    Graph,
    /// One by one from the host, which may run ahead within a step: a kernel waits for its turn of the host, and for the one before.
    Eager,
}

/// A program: one step of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// [`VERSION`].
    pub version: u32,
    /// `prefill` or `decode`.
    pub phase: String,
    /// Tokens that the step attends to.
    pub context_tokens: u64,
    /// How kernels are launched.
    #[serde(default)]
    pub launch: LaunchMode,
    /// Whether the host that launches kernels one by one runs Python: a call of an operator takes it longer than compiled code.
    #[serde(default)]
    pub python: bool,
    /// The operators, by name.
    pub operators: Vec<ProgramOperator>,
    /// Sets of channels.
    #[serde(default)]
    pub channel_sets: Vec<ChannelSet>,
    /// What PIM instructions run.
    #[serde(default)]
    pub patterns: Vec<Pattern>,
    /// Blocks of PIM devices' own instructions.
    #[serde(default)]
    pub blocks: Vec<Arc<Block>>,
    /// What vector instructions run.
    #[serde(default)]
    pub functions: Vec<VectorFunction>,
    /// What GPUs run.
    #[serde(default)]
    pub kernels: Vec<Arc<Kernel>>,
    /// Memory that kernels use.
    #[serde(default)]
    pub buffers: Vec<Buffer>,
    /// Buffers of all kernel instructions' tensors, flat.
    #[serde(default)]
    pub operands: Vec<u32>,
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

impl Program {
    /// Checks what does not depend on a machine: the version, indices, the order of dependencies, and that operators' counts
    /// are counts.
    ///
    /// # Errors
    /// An index is out of range, a dependency does not come first, or a count is negative or not finite.
    pub fn validate(&self) -> Result<(), ProgramError> {
        if self.version != VERSION {
            return Err(ProgramError::Version { found: self.version, known: VERSION });
        }
        for operator in &self.operators {
            let sound = |f: f64| f.is_finite() && f >= 0.0;
            if !sound(operator.flops) || !sound(operator.pim_flops) || operator.pim_flops > operator.flops {
                let (flops, pim_flops) = (operator.flops, operator.pim_flops);
                return Err(ProgramError::Flops { operator: operator.name.clone(), flops, pim_flops });
            }
        }
        for (i, instruction) in self.instructions.iter().enumerate() {
            let index = |what, index: u64, len: usize| {
                if index < len as u64 { Ok(()) } else { Err(ProgramError::Index { instruction: i, what, index, len }) }
            };
            index("operator", u64::from(instruction.operator), self.operators.len())?;
            match instruction.work {
                Work::Pim { channels, pattern, .. } => {
                    index("pattern", u64::from(pattern), self.patterns.len())?;
                    index("channel set", u64::from(channels), self.channel_sets.len())?;
                }
                Work::Block { block } => {
                    index("block", u64::from(block), self.blocks.len())?;
                    if let Block::Instructions(list) = &*self.blocks[block as usize] {
                        for one in list {
                            index("channel set", u64::from(one.channels), self.channel_sets.len())?;
                        }
                    }
                }
                Work::Vector { function } => index("function", u64::from(function), self.functions.len())?,
                Work::Kernel { kernel, operands } => {
                    index("kernel", u64::from(kernel), self.kernels.len())?;
                    let tensors = self.kernels[kernel as usize].tensors.len() as u64;
                    let end = u64::from(operands) + tensors;
                    if end > self.operands.len() as u64 {
                        index("operand", end, self.operands.len())?;
                    }
                    for buffer in self.operands_of(kernel, operands) {
                        index("buffer", u64::from(*buffer), self.buffers.len())?;
                    }
                }
                Work::Transfer { .. } | Work::Collective { .. } => {}
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

    /// The program without the instructions of some operators; what waited for one of those waits for what that waited for.
    #[must_use]
    pub fn without(&self, operators: &[&str]) -> Self {
        let goes: Vec<bool> = self.operators.iter().map(|o| operators.contains(&o.name.as_str())).collect();
        let mut out = Self { instructions: Vec::new(), dependencies: Vec::new(), ..self.clone() };
        // What stands for each instruction among the dependencies of others.
        let mut stands: Vec<Vec<u32>> = Vec::with_capacity(self.instructions.len());
        for (i, instruction) in self.instructions.iter().enumerate() {
            let mut after: Vec<u32> =
                self.dependencies_of(i).iter().flat_map(|d| stands[*d as usize].iter().copied()).collect();
            after.sort_unstable();
            after.dedup();
            if goes[instruction.operator as usize] {
                stands.push(after);
                continue;
            }
            stands.push(vec![out.instructions.len() as u32]);
            let first_dependency = out.dependencies.len() as u32;
            out.instructions.push(Instruction { first_dependency, dependencies: after.len() as u32, ..*instruction });
            out.dependencies.append(&mut after);
        }
        for (operator, goes) in out.operators.iter_mut().zip(goes) {
            if goes {
                *operator = ProgramOperator { name: operator.name.clone(), ..ProgramOperator::default() };
            }
        }
        out
    }

    /// The instructions that an instruction waits for.
    pub fn dependencies_of(&self, instruction: usize) -> &[u32] {
        let i = &self.instructions[instruction];
        &self.dependencies[i.first_dependency as usize..][..i.dependencies as usize]
    }

    /// The channels that an instruction of a PIM device is for, all of them where the inner value is `None`; none of what is not for banks.
    pub fn channels_of(&self, instruction: usize) -> Option<Option<ChannelSet>> {
        let set = |number: u32| self.channel_sets.get(number as usize);
        match self.instructions.get(instruction)?.work {
            Work::Pim { channels, .. } => Some(Some(set(channels)?.clone())),
            Work::Block { block } => match &**self.blocks.get(block as usize)? {
                Block::Instructions(list) => {
                    let sets = list.iter().filter_map(|i| set(i.channels));
                    Some(Some(sets.fold(ChannelSet::EMPTY, |all, set| all.or(set))))
                }
                Block::Accesses(_) => Some(None),
            },
            Work::Vector { .. } | Work::Kernel { .. } | Work::Transfer { .. } | Work::Collective { .. } => None,
        }
    }

    /// The buffers of a kernel's tensors, in their order.
    pub fn operands_of(&self, kernel: u32, operands: u32) -> &[u32] {
        &self.operands[operands as usize..][..self.kernels[kernel as usize].tensors.len()]
    }
}
