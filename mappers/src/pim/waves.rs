//! A batch in waves: as many sequences at once as the vector unit's memory holds the values of.
//!
//! A batch goes through a step operator by operator, so that the values of all its sequences are alive at once. Where they are more than the vector
//! unit's memory holds, the batch is cut into waves that go through the step one after the other. The units multiply each vector by itself, so that
//! weights are read no more often for it.

use std::ops::Range;

use banksia_workloads::{Generation, Graph, Step};

use super::claims;
use super::map::Pim;
use crate::replay::{Claims, InBanks, most_alive};

impl Pim {
    /// The most bytes of values that are alive at once when so many sequences go through the step of a context together.
    pub(super) fn alive(&self, context: u64, sequences: u64) -> u64 {
        let graph = self.graph_of(context, sequences);
        let (mut made, mut banks) = (Claims::default(), InBanks::new(0, "channels"));
        claims::add(self, &graph, context, 0..sequences, (&mut made, &mut banks), None);
        most_alive(&made.groups, |g| made.groups[g].required).0
    }

    /// As many sequences as go together at most; one where the values of one are too many, which is for the check to refuse. States of recurrences
    /// are read and written for the whole batch.
    pub(super) fn together(&self, sram_bytes: u64) -> u64 {
        let (batch, context) = (self.generation.batch, self.generation.last_context());
        if batch <= 1 || !self.layout.states.is_empty() || self.alive(context, batch) <= sram_bytes {
            return batch;
        }
        // The most that fits lies in between: `low` fits, or is one.
        let (mut low, mut high) = (1, batch);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.alive(context, middle) <= sram_bytes {
                low = middle;
            } else {
                high = middle;
            }
        }
        // Waves of equal size, where they can be.
        batch.div_ceil(batch.div_ceil(low))
    }

    /// The sequences of each wave.
    pub(super) fn waves(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let (batch, wave) = (self.generation.batch, self.wave.max(1));
        (0..batch.div_ceil(wave)).map(move |i| i * wave..batch.min((i + 1) * wave))
    }

    /// The graph of a token of some sequences.
    pub(super) fn graph_of(&self, context: u64, sequences: u64) -> Graph {
        let last = context >= self.generation.context_tokens + self.generation.prompt_tokens;
        let lm_head = self.generation.lm_head && last;
        let generation = Generation { batch: sequences, lm_head, ..self.generation.clone() };
        self.model.step_graph(&Step::decode(sequences, context), &generation)
    }
}
