//! Builds programs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{
    Block, Buffer, ChannelSet, Instruction, LaunchMode, Pattern, Program, ProgramOperator, VERSION, VectorFunction,
    Work,
};
use crate::gpu::program::Kernel;

/// Builds a program, storing equal patterns, functions and sets of channels once.
#[derive(Debug, Default)]
pub struct ProgramBuilder {
    program: Program,
    pattern_ids: BTreeMap<Pattern, u32>,
    function_ids: BTreeMap<VectorFunction, u32>,
    operator_ids: BTreeMap<String, u32>,
    channel_ids: BTreeMap<ChannelSet, u32>,
    buffer_ids: HashMap<String, u32>,
    /// By address: what is shared is stored once.
    kernel_ids: HashMap<usize, u32>,
    block_ids: HashMap<usize, u32>,
    device: u32,
}

/// An instruction that has been added to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstructionId(pub u32);

impl ProgramBuilder {
    /// A program with no instructions.
    pub fn new(phase: &str, context_tokens: u64) -> Self {
        let program = Program { version: VERSION, phase: phase.to_owned(), context_tokens, ..Program::default() };
        Self { program, ..Self::default() }
    }

    /// Launches kernels so, from Python or from compiled code.
    pub fn launch(&mut self, launch: LaunchMode, python: bool) {
        self.program.launch = launch;
        self.program.python = python;
    }

    /// The instructions that follow are for this device of the machine.
    pub fn on(&mut self, device: u32) {
        self.device = device;
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

    /// The index of a set of channels.
    pub fn channels(&mut self, set: &ChannelSet) -> u32 {
        if let Some(id) = self.channel_ids.get(set) {
            return *id;
        }
        let id = self.program.channel_sets.len() as u32;
        self.program.channel_sets.push(set.clone());
        self.channel_ids.insert(set.clone(), id);
        id
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

    /// The index of a kernel; the same one, by address, is stored once.
    pub fn kernel(&mut self, kernel: &Arc<Kernel>) -> u32 {
        let kernels = &mut self.program.kernels;
        *self.kernel_ids.entry(Arc::as_ptr(kernel) as usize).or_insert_with(|| {
            kernels.push(Arc::clone(kernel));
            kernels.len() as u32 - 1
        })
    }

    /// The index of a block; the same one, by address, is stored once.
    pub fn block(&mut self, block: &Arc<Block>) -> u32 {
        let blocks = &mut self.program.blocks;
        *self.block_ids.entry(Arc::as_ptr(block) as usize).or_insert_with(|| {
            blocks.push(Arc::clone(block));
            blocks.len() as u32 - 1
        })
    }

    /// The buffer of a name, at least so large.
    pub fn buffer(&mut self, name: &str, bytes: u64) -> u32 {
        if let Some(id) = self.buffer_ids.get(name) {
            let buffer = &mut self.program.buffers[*id as usize];
            buffer.bytes = buffer.bytes.max(bytes);
            return *id;
        }
        let id = self.program.buffers.len() as u32;
        self.program.buffers.push(Buffer { name: name.to_owned(), bytes });
        self.buffer_ids.insert(name.to_owned(), id);
        id
    }

    /// The work of a kernel on buffers, one for each of its tensors.
    pub fn launch_of(&mut self, kernel: &Arc<Kernel>, buffers: &[u32]) -> Work {
        let operands = self.program.operands.len() as u32;
        self.program.operands.extend_from_slice(buffers);
        Work::Kernel { kernel: self.kernel(kernel), operands }
    }

    /// Adds an instruction after the given ones.
    pub fn push(&mut self, operator: u32, work: Work, after: &[InstructionId]) -> InstructionId {
        let program = &mut self.program;
        let first_dependency = program.dependencies.len() as u32;
        program.dependencies.extend(after.iter().map(|d| d.0));
        program.instructions.push(Instruction {
            operator,
            on: self.device,
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
