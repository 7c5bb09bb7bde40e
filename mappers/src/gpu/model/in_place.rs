//! Operators whose kernels write their result over what they read: whoever reads the result reads that memory.

use std::collections::HashMap;

use banksia_workloads::Op;

use super::super::frameworks::Framework;
use super::super::launch::Operand;
use super::part::{Part, Work};

/// The memory in which results lie that have none of their own, by region and by the name that they would have.
#[derive(Debug, Default)]
pub(super) struct InPlace(HashMap<(usize, String), Operand>);

impl InPlace {
    /// The result of a part lies where its first input does.
    pub(super) fn add(&mut self, part: &Part) {
        if let Some(input) = part.inputs.first() {
            let memory = self.of(part.region, input).cloned().unwrap_or_else(|| input.clone());
            self.0.insert((part.region, part.output.name.clone()), memory);
        }
    }

    fn of(&self, region: usize, operand: &Operand) -> Option<&Operand> {
        self.0.get(&(region, operand.name.clone())).filter(|_| !operand.own)
    }

    /// Gives parts the memory that they read and write.
    pub(super) fn apply(mut self, parts: &mut [Part], framework: Framework) {
        for part in parts {
            for input in &mut part.inputs {
                if let Some(memory) = self.of(part.region, input) {
                    *input = memory.clone();
                }
            }
            if writes_over_input(part, framework) {
                self.add(part);
            }
            if let Some(memory) = self.of(part.region, &part.output) {
                part.output = memory.clone();
            }
        }
    }
}

/// Rotations of frameworks that have a kernel for them, and the step of a convolution by one token.
fn writes_over_input(part: &Part, framework: Framework) -> bool {
    match part.work {
        Work::Operator { op: Op::Rotary { .. }, .. } => framework.fuses_rows(),
        // TensorRT-LLM's does so with prompts too.
        Work::Operator { op: Op::CausalConv { .. }, tokens, .. } => match framework {
            Framework::Trtllm => true,
            Framework::Vllm | Framework::Sglang => tokens == 1,
            Framework::Torch | Framework::Compiled => false,
        },
        _ => false,
    }
}
