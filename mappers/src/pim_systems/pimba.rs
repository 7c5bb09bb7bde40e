//! Pimba: a node of GPUs whose memory has units for state updates and attention of decode.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use banksia_hw::dram::{Device, catalog};
use banksia_hw::pim::queue::{Groups, OrderedChannel, QueueOutcome, run_in_order};
use banksia_hw::roofline::node::{Cost, MemoryStacks, RooflineNode};
use banksia_input::InputError;

use super::operators::{Kind, Operator};
use super::recurrent::{Category, LayerOperator, RecurrentModel, Token};
use super::state_stream::{Design, StateOp, StateShape, StateStream};

/// A system: a node, and what is in its memory.
#[derive(Debug, Clone, Copy)]
pub struct PimbaSystem<'a> {
    /// The node.
    pub node: &'a RooflineNode,
    /// The units, if any.
    pub design: Option<Design>,
    /// Bytes of a number of a state.
    pub state_bytes: u32,
    /// As the public simulator, where it is known to be wrong: refreshes take no time, a last part round is left out, and attention between two lengths is
    /// interpolated.
    pub reference: bool,
    /// Runs that are known.
    pub runs: &'a UnitRuns,
}

/// Runs of the units, each done once.
#[derive(Debug, Default)]
pub struct UnitRuns(Mutex<BTreeMap<(StateShape, u32), Arc<QueueOutcome>>>);

/// The device that the units are in.
const DEVICE: &str = "hbm2-pimba";

impl UnitRuns {
    /// What an operator of the units comes to: cycles, with that in which the last command's completion is seen, and commands.
    ///
    /// # Errors
    /// The device cannot be used, or there is nothing to do.
    pub fn operator(&self, shape: &StateShape, queue: u32) -> Result<Arc<QueueOutcome>, InputError> {
        let find = || self.0.lock().ok().and_then(|known| known.get(&(*shape, queue)).cloned());
        if let Some(known) = find() {
            return Ok(known);
        }
        let device = catalog::load(DEVICE)?;
        let stream = StateStream::new(&device, shape)?;
        let (rows, groups) = if shape.reference {
            (Arc::new(device.reference_rows()), Groups::ClearOfInterval)
        } else {
            (device, Groups::BetweenRefreshes)
        };
        let channel = OrderedChannel::new(&rows, queue as usize, groups)
            .ok_or_else(|| InputError::new(format!("device {DEVICE}"), "has no refresh to keep clear of"))?;
        let mut lanes = vec![channel; shape.channels as usize];
        let mut outcome = run_in_order(&mut lanes, stream.requests());
        outcome.cycles += 1;
        let outcome = Arc::new(outcome);
        if let Ok(mut known) = self.0.lock() {
            known.insert((*shape, queue), outcome.clone());
        }
        Ok(outcome)
    }
}

/// Energy of commands: of transfers over the pins, and of rows and units. The public simulator counts each result eight
/// times, and each end of a round once more.
///
/// # Errors
/// The device cannot be used.
pub fn energy_pj(outcome: &QueueOutcome, reference: bool) -> Result<(f64, f64), InputError> {
    let device = catalog::load(DEVICE)?;
    Ok(energy_of(&device, outcome, reference))
}

fn energy_of(device: &Device, outcome: &QueueOutcome, reference: bool) -> (f64, f64) {
    let (mut transfers, mut rows, mut units) = (0.0, 0.0, 0.0);
    for (command, issued) in device.commands.iter().zip(&outcome.commands) {
        let issued = *issued as f64;
        let number = |prefix: &str| command.name.strip_prefix(prefix).and_then(|n| n.parse::<f64>().ok());
        if let Some(writes) = number("ACT4R") {
            rows += 4.0 * issued;
            transfers += writes * issued;
        } else if let Some(results) = number("PRER") {
            transfers += issued * if reference { 8.0 * results + 1.0 } else { results };
        } else if command.name == "COMP" {
            units += issued;
        }
    }
    let pj = |name: &str| device.timing(name).unwrap_or(0.0);
    (transfers * pj("transfer_pj"), rows * pj("row_pj") + units * pj("unit_pj"))
}

/// Sums of an operator over the layers and tokens of a generation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatorSum {
    /// What it is for.
    pub category: Category,
    /// Its name.
    pub name: &'static str,
    /// Seconds of a GPU.
    pub seconds: f64,
    /// Picojoules of the node, of memory's pins.
    pub memory_pj: f64,
    /// Picojoules of the node, of all else.
    pub other_pj: f64,
}

impl PimbaSystem<'_> {
    /// What a generation comes to, operator by operator: `lout` tokens after a prompt of `lin`, of which the prompt's pass gives the first.
    ///
    /// # Errors
    /// The node has no stacks for the units, or their device cannot be used.
    pub fn generation(
        &self,
        model: &RecurrentModel,
        sequences: u32,
        (lin, lout): (u32, u32),
    ) -> Result<Vec<OperatorSum>, InputError> {
        let token = |keys| Token {
            sequences,
            gpus: self.node.gpus,
            keys,
            state_bytes: self.state_bytes,
            units: self.design.is_some(),
        };
        let mut sums: Vec<OperatorSum> = Vec::new();
        let mut add = |op: &LayerOperator, cost: Cost, tokens: f64| {
            let n = tokens * f64::from(op.layers);
            let (seconds, node) = (cost.seconds * n, n * f64::from(self.node.gpus));
            let (memory_pj, other_pj) = (cost.memory_pj * node, (cost.on_chip_pj + cost.link_pj) * node);
            match sums.iter_mut().find(|s| (s.category, s.name) == (op.category, op.operator.name)) {
                Some(sum) => {
                    sum.seconds += seconds;
                    sum.memory_pj += memory_pj;
                    sum.other_pj += other_pj;
                }
                None => {
                    let (category, name) = (op.category, op.operator.name);
                    sums.push(OperatorSum { category, name, seconds, memory_pj, other_pj });
                }
            }
        };
        // What does not see the keys is the same for every token.
        let sees = |op: &LayerOperator| op.category == Category::Gemv || op.operator.name == "attention_softmax";
        let tokens = lout.saturating_sub(1);
        for op in model.token(&token(lin + 1)).iter().filter(|op| !sees(op)) {
            add(op, self.price(op, (lin, lout))?, f64::from(tokens));
        }
        for step in 1..=tokens {
            for op in model.token(&token(lin + step)).iter().filter(|op| sees(op)) {
                add(op, self.price(op, (lin, lout))?, 1.0);
            }
        }
        Ok(sums)
    }

    fn price(&self, op: &LayerOperator, lengths: (u32, u32)) -> Result<Cost, InputError> {
        let operator = &op.operator;
        match (self.design, op.category) {
            (Some(design), Category::StateUpdate | Category::Gemv) => self.on_units(design, operator, lengths),
            _ => Ok(match operator.kind {
                Kind::Compute(work) => self.node.gpu_cost(work, &operator.sizes),
                Kind::Exchange | Kind::Transfer => self.node.all_reduce(operator.moved_bytes()),
            }),
        }
    }

    fn on_units(&self, design: Design, operator: &Operator, (lin, lout): (u32, u32)) -> Result<Cost, InputError> {
        let stacks = self.node.stacks.as_ref().ok_or_else(|| {
            InputError::new(format!("node {}", self.node.name), "has no stacks for the units")
                .help("give it a table [stacks]")
        })?;
        let s = &operator.sizes;
        let of = |op, rows: f64, columns: f64| StateShape {
            design,
            op,
            count: s.count as u32,
            rows: rows as u32,
            columns: columns as u32,
            bytes: self.state_bytes,
            channels: stacks.count * stacks.channels,
            reference: self.reference,
        };
        let shape = match operator.name {
            "state_update" => return self.run(&of(StateOp::Update, s.n, s.k), stacks),
            "attention_qk" => of(StateOp::Score, s.k, s.n),
            _ => of(StateOp::Attend, s.n, s.k),
        };
        if !self.reference || lout < 2 {
            return self.run(&shape, stacks);
        }
        let (first, last) = (lin + 1, lin + lout);
        let ends = [first, last].map(|columns| self.run(&StateShape { columns, ..shape }, stacks));
        let [a, b] = ends;
        let (a, b) = (a?, b?);
        let share = f64::from(shape.columns - first.min(shape.columns)) / f64::from(last - first);
        let between = |a: f64, b: f64| a + share * (b - a);
        Ok(Cost {
            seconds: between(a.seconds, b.seconds),
            memory_pj: between(a.memory_pj, b.memory_pj),
            on_chip_pj: between(a.on_chip_pj, b.on_chip_pj),
            ..Cost::default()
        })
    }

    fn run(&self, shape: &StateShape, stacks: &MemoryStacks) -> Result<Cost, InputError> {
        let outcome = self.runs.operator(shape, stacks.queue)?;
        let (memory_pj, on_chip_pj) = energy_pj(&outcome, self.reference)?;
        let seconds = outcome.cycles as f64 / (stacks.clock_mhz * 1e6);
        Ok(Cost { seconds, memory_pj, on_chip_pj, ..Cost::default() })
    }
}
