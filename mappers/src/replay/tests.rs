//! Mappings of small models of every kind on every PIM device pass, and programs and layouts that have been spoilt are refused by name.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed set-up is a failed test

mod passed;
mod refused;

use std::sync::Arc;

use super::{CheckReport, Claims, Wrong, check};
use crate::plan::{LayoutReport, Problem};
use banksia_hw::program::{Block, Program, Work};
use banksia_hw::system::{Machine, RunOptions, System};
use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Model};

/// A model of two layers, of attention and a feed-forward network each.
fn model(heads: u64, kv_heads: u64, head_dim: u64, width: u64, inner: u64) -> Model {
    mixed(
        width,
        &[
            &format!(r#"kind = "attention", heads = {heads}, kv_heads = {kv_heads}, head_dim = {head_dim}"#),
            &format!(r#"kind = "feed_forward", inner = {inner}, gated = true, bias = true"#),
        ],
    )
}

fn mixed(width: u64, mixers: &[&str]) -> Model {
    let stages: String = mixers
        .iter()
        .map(|m| format!("[[blocks.stages]]\nnorm = \"rms_norm\"\nbranches = [{{ mixer = {{ {m} }} }}]\n"))
        .collect();
    let text = format!(
        r#"
name = "small"
width = {width}
max_positions = 4096
types = {{ weights = {{ dtype = "bf16" }}, activations = "bf16", cache = "bf16" }}
embed = {{ vocab = 100 }}
head = {{ norm = "rms_norm", vocab = 100 }}
pattern = [{{ block = "b", layers = 2 }}]
[[blocks]]
name = "b"
{stages}"#
    );
    Model::from_toml("model.toml", &text).unwrap_or_else(|e| panic!("{e}"))
}

struct Case {
    program: Program,
    claims: Claims,
    machine: Machine,
}

impl Case {
    /// The last step of a generation.
    fn new(model: &Model, context: u64, batch: u64, base: &str, keys: &str) -> Result<Self, InputError> {
        Ok(Self::with_layout(model, context, batch, base, keys)?.0)
    }

    /// The same, and what the plan says of its layout.
    fn with_layout(
        model: &Model,
        context: u64,
        batch: u64,
        base: &str,
        keys: &str,
    ) -> Result<(Self, LayoutReport), InputError> {
        let generation = Generation { context_tokens: context, prompt_tokens: 0, batch, ..Generation::default() };
        let source = Source::from_text("case.toml", format!("[machine]\nbase = \"{base}\"\n{keys}\n"));
        let machine = Machine::read(base, &source, None)?;
        let problem = Problem { model, generation: &generation, machine: &machine, source: &source };
        let mut plan = crate::choose(&problem)?.plan(&problem)?;
        let mut system = System::new(&machine, RunOptions::default());
        let index = plan.program_of(1);
        let program = plan.lower(index, &mut system).unwrap();
        let claims = plan.claims(index, &mut system).unwrap().unwrap();
        let layout = plan.layout(1, &mut system).unwrap();
        Ok((Self { program, claims, machine }, layout))
    }

    fn check(&self) -> Result<CheckReport, Wrong> {
        check(&self.program, &self.claims, &self.machine)
    }

    fn passes(&self) -> CheckReport {
        self.check().unwrap_or_else(|e| panic!("{e}"))
    }

    fn refused(&self) -> Wrong {
        self.check().err().unwrap_or_else(|| panic!("a spoilt program passes"))
    }

    fn operator(&self, instruction: usize) -> &str {
        &self.program.operators[self.program.instructions[instruction].operator as usize].name
    }

    /// The first instruction of an operator that a test picks.
    fn first(&self, operator: &str, is: impl Fn(&Program, Work) -> bool) -> usize {
        (0..self.program.instructions.len())
            .find(|i| self.operator(*i) == operator && is(&self.program, self.program.instructions[*i].work))
            .unwrap_or_else(|| panic!("no {operator}"))
    }

    /// Changes a block of an instruction by itself.
    fn block(&mut self, instruction: usize, change: impl FnOnce(&mut Block)) {
        let Work::Block { block } = self.program.instructions[instruction].work else { panic!("no block") };
        let mut own = (*self.program.blocks[block as usize]).clone();
        change(&mut own);
        self.program.blocks.push(Arc::new(own));
        self.program.instructions[instruction].work = Work::Block { block: self.program.blocks.len() as u32 - 1 };
    }

    /// Takes an instruction away; what waited for it waits for what it waited for.
    fn drop_instruction(&mut self, instruction: usize) {
        let operators = self.program.operators.len() as u32;
        let name = "taken away".to_owned();
        self.program.operators.push(banksia_hw::program::ProgramOperator { name, ..Default::default() });
        self.program.instructions[instruction].operator = operators;
        self.program = self.program.without(&["taken away"]);
    }

    /// Takes all of an instruction's dependencies away.
    fn forget_dependencies(&mut self, instruction: usize) {
        self.program.instructions[instruction].dependencies = 0;
    }
}

const DEVICES: [&str; 6] = ["aim", "attacc", "attacc-bank-group", "attacc-buffer", "hbm-pim", "pim-gpt"];

fn small(base: &str, channels: u32) -> String {
    let sram = if base == "pim-gpt" { "" } else { "vector_unit.sram_bytes = 67108864\n" };
    format!("memory.channels = {channels}\n{sram}")
}
