//! Where operators run while tokens are generated. Prompts are read on the NPU; what an operator reads lies where it runs when it generates.

use banksia_hw::nmp::{Job, NmpMachine, Product, Site};

use super::layer::Operator;

/// Where an operator runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Where {
    /// On the NPU: its operand lies over all channels.
    Npu,
    /// Beside the banks: it lies in the near-memory channels.
    NearMemory,
    /// Divided: over all channels.
    Both,
}

/// A mapping by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Choice {
    /// Its name.
    pub name: &'static str,
    /// Attention's products.
    pub attention: Where,
    /// The projections.
    pub projections: Where,
    /// The feed-forward layer.
    pub feed_forward: Where,
    /// NPUs in place of one: a rival machine without processors beside its banks.
    pub npus: u32,
}

impl Choice {
    /// The mappings of H2-LLM's comparison (ISCA 2025).
    pub const ALL: [Self; 5] = [
        Self { name: "npu_only", attention: Where::Npu, projections: Where::Npu, feed_forward: Where::Npu, npus: 1 },
        Self { name: "2x_npu_only", attention: Where::Npu, projections: Where::Npu, feed_forward: Where::Npu, npus: 2 },
        Self {
            name: "fc_offloading",
            attention: Where::Npu,
            projections: Where::NearMemory,
            feed_forward: Where::NearMemory,
            npus: 1,
        },
        Self {
            name: "attention_offloading",
            attention: Where::NearMemory,
            projections: Where::Npu,
            feed_forward: Where::Npu,
            npus: 1,
        },
        Self {
            name: "attention_offloading_with_ffn_splitting",
            attention: Where::NearMemory,
            projections: Where::Npu,
            feed_forward: Where::Both,
            npus: 1,
        },
    ];

    /// That of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name == name)
    }

    fn of(&self, operator: Operator) -> Where {
        match operator {
            Operator::Attention => self.attention,
            Operator::Projection => self.projections,
            Operator::FeedForward => self.feed_forward,
        }
    }

    /// The machine that it runs on: with as many NPUs as it says.
    #[must_use]
    pub fn machine(&self, machine: &NmpMachine) -> NmpMachine {
        let mut machine = machine.clone();
        machine.npu.tmac_per_s *= f64::from(self.npus);
        machine
    }

    /// An operator of a prompt, or of a generated token, on a machine.
    pub fn place(&self, machine: &NmpMachine, operator: Operator, product: Product, prompt: bool) -> Job {
        let channels = &machine.channels;
        let site = match (self.of(operator), prompt) {
            (Where::NearMemory, true) => Site::Npu { channels: channels.near_memory },
            (Where::NearMemory, false) => Site::NearMemory,
            (Where::Both, false) => Site::Both,
            (Where::Npu, _) | (Where::Both, true) => Site::Npu { channels: channels.count },
        };
        Job { product, site }
    }
}
