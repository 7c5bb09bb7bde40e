//! Some operators of a model in the banks of a PIM device that stands beside another device: their matrices and states, and nothing else.

use std::collections::BTreeMap;
use std::ops::Range;

use banksia_hw::pim::{PimMachine, peak_bandwidth_bytes_per_s, peak_macs_per_s};
use banksia_hw::program::{InstructionId, ProgramBuilder};
use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Graph, Model, OperatorNode};

use super::banks::Banks;
use super::claims;
use super::layout::Layout;
use super::lower;
use super::map::Pim;
use super::options::{Chosen, MatrixOptions, PimOptions};
use super::summary;
use crate::pim_gpt::RegionSummary;
use crate::pim_gpt::accepts::Owners;
use crate::pim_gpt::functions::Functions;
use crate::plan::Unsupported;
use crate::replay::{Claims, InBanks};

/// Operators that the PIM device runs, and where their matrices and states lie.
#[derive(Debug, Clone)]
pub(crate) struct PimOperators {
    map: Pim,
    first_row: u64,
}

impl PimOperators {
    /// Lays out the matrices and states of operators (`graph` has them alone, of all layers) from a row of every bank on; matrices of which nothing is
    /// said in the fewest rows.
    ///
    /// # Errors
    /// In words, what the device has not.
    pub(crate) fn new(
        model: &Model,
        generation: &Generation,
        machine: &PimMachine,
        graph: Graph,
        chosen: &Chosen,
        first_row: u64,
    ) -> Result<Self, String> {
        let mut banks = Banks::new(machine).ok_or_else(|| {
            format!("the channels of {} have neither instructions nor kernels of their own", machine.file.name)
        })?;
        let owners = Owners::new(model);
        let sram = machine.vector_unit.sram_bytes;
        // The vocabulary's logits pass through in parts.
        let in_layers = graph.operators().filter(|n| n.layer.is_some());
        let widest = in_layers.map(|n| n.activation_bytes_out() / n.batch.saturating_mul(n.tokens).max(1)).max();
        if let Some(widest) = widest.filter(|w| *w > sram) {
            return Err(format!("its vector unit has {sram} bytes, and a token has {} elements at once", widest / 2));
        }
        let layout = loop {
            let chosen = chosen.densest(&graph, &banks);
            let mut layout = Layout::of_weights(&banks, &graph, &owners, &chosen, first_row);
            layout.put_states(&banks, &graph);
            if layout.all_rows() <= banks.rows {
                break layout;
            }
            let Some(denser) = banks.denser() else {
                let rows = layout.all_rows();
                return Err(format!(
                    "weights and states take rows up to {rows} of the {} of a bank: about {} channels would do",
                    banks.rows,
                    (u128::from(rows) * u128::from(banks.channels)).div_ceil(u128::from(banks.rows.max(1)))
                ));
            };
            banks = denser;
        };
        let map = Pim {
            functions: Functions { series: machine.file.vector_unit.series, element_bytes: 2 },
            moves: false,
            model: model.clone(),
            generation: generation.clone(),
            banks,
            layout,
            wave: generation.batch,
            last_token: graph,
            inner_token: Graph::new(),
            activations: 0,
            peak_macs_per_s: peak_macs_per_s(machine),
            peak_bytes_per_s: peak_bandwidth_bytes_per_s(machine),
        };
        Ok(Self { map, first_row })
    }

    /// Checks how matrices are said to lie, against all operators of a model.
    ///
    /// # Errors
    /// An operator has no matrix of its own, or the channels cannot be cut so.
    pub(crate) fn check(
        layout: &BTreeMap<String, MatrixOptions>,
        graph: &Graph,
        machine: &PimMachine,
        source: &Source,
    ) -> Result<Chosen, InputError> {
        let options = PimOptions { attention_channels: None, layout: layout.clone() };
        options.check(graph, machine.channels(), source)
    }

    /// Rows of every bank that they take.
    pub(crate) fn rows(&self) -> u64 {
        self.map.layout.all_rows().saturating_sub(self.first_row)
    }

    /// The instructions of one of the operators for some sequences, after others; the last of them.
    ///
    /// # Errors
    /// The device cannot run it.
    pub(crate) fn lower(
        &self,
        builder: &mut ProgramBuilder,
        (node, sequences): (&OperatorNode, Range<u64>),
        context: u64,
        after: &[InstructionId],
    ) -> Result<Vec<InstructionId>, Unsupported> {
        // Memory that another device uses is not taken before it is needed.
        lower::one(&self.map, builder, (node, sequences), context, after, false)
    }

    /// What one of the operators claims, after other groups; its group.
    pub(crate) fn claim(
        &self,
        node: &OperatorNode,
        context: u64,
        sequences: Range<u64>,
        after: Vec<usize>,
        claims: (&mut Claims, &mut InBanks),
    ) -> usize {
        claims::one(&self.map, node, context, sequences, after, claims)
    }

    /// Bytes of states in the banks.
    pub(crate) fn state_bytes(&self) -> u64 {
        // Counted as they are read and as they are written.
        self.map.last_token.operators().map(|n| n.state_bytes() / 2).sum()
    }

    /// What lies where.
    pub(crate) fn regions(&self) -> Vec<RegionSummary> {
        summary::summary(&self.map).regions
    }
}
