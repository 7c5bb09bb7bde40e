//! Decode attention in the banks: keys and values lie there, heads of sequences over sets of channels.
//!
//! A head's keys are a matrix of a row a token, its values one of a row an element; scores and values are matrix-vector products of
//! every head at once, each on its own channels. Where there are more heads than channels they come in rounds.

use std::ops::Range;

use banksia_hw::pim::PimMachine;
use banksia_hw::program::{ChannelSet, InstructionId, ProgramBuilder, Work};
use banksia_workloads::ActivationKind;

use super::banks::{Banks, Product, Spot};
use crate::pim_gpt::functions::Functions;
use crate::replay::{Fresh, InBanks, Region};

/// What attention in the banks is in reports: writes, scores, their cap, softmax, values.
pub(crate) const OPERATORS: [&str; 5] =
    ["kv append", "attention scores", "attention score cap", "attention softmax", "attention values"];

/// Keys and values of decode attention in the banks of a PIM machine.
#[derive(Debug, Clone)]
pub(crate) struct PimAttention {
    banks: Banks,
    functions: Functions,
    layers: u64,
    sizes: Sizes,
    first_row: u64,
    /// Heads of sequences at once, and the channels of each.
    sets: Vec<ChannelSet>,
    rounds: u64,
    key_rows: u64,
    value_rows: u64,
}

/// An attention that some layers have, at its longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// How many layers.
    pub layers: u32,
    /// Query heads.
    pub heads: u64,
    /// Heads of keys and values; latent vectors are those of one head.
    pub kv_heads: u64,
    /// Elements of a key.
    pub key_dim: u64,
    /// Elements of a value. Latent vectors lie twice: by token for scores, by element for values.
    pub value_dim: u64,
    /// Tokens that the cache holds at most.
    pub context: u64,
    /// Scores are capped by a tanh.
    pub capped: bool,
}

impl PimAttention {
    /// Lays out the keys and values of some layers for `sequences` sequences, from row `first_row` of every
    /// bank on; each head over so many `channels`, or else over an even share of all.
    ///
    /// # Errors
    /// In words, what does not fit and how many channels it needs.
    pub(crate) fn new(
        machine: &PimMachine,
        sizes: Sizes,
        sequences: u64,
        first_row: u32,
        channels: Option<u32>,
    ) -> Result<Self, String> {
        Self::in_waves(machine, sizes, [sequences; 2], first_row, channels)
    }

    /// As [`PimAttention::new`], of so many sequences of which the second number is at work at once: each head has an even share of all channels among
    /// the heads of these.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn in_waves(
        machine: &PimMachine,
        sizes: Sizes,
        [sequences, wave]: [u64; 2],
        first_row: u32,
        channels: Option<u32>,
    ) -> Result<Self, String> {
        let context = sizes.context;
        let banks = Banks::new(machine).ok_or_else(|| {
            format!("the channels of {} have neither instructions nor kernels of their own", machine.file.name)
        })?;
        let items = sequences.saturating_mul(sizes.kv_heads);
        let most = channels.map_or(banks.channels, |width| banks.channels / width.max(1)).max(1);
        let at_once = wave.min(sequences).saturating_mul(sizes.kv_heads).min(u64::from(most)).max(1);
        let even = u32::try_from(u64::from(banks.channels) / at_once).unwrap_or(1).max(1);
        let width = channels.unwrap_or(even).max(1);
        let sets: Vec<ChannelSet> = (0..at_once as u32).map(|i| ChannelSet::range(i * width, width)).collect();
        let functions = Functions { series: machine.file.vector_unit.series, element_bytes: 2 };
        let mut this = Self {
            functions,
            layers: u64::from(sizes.layers),
            sizes,
            first_row: u64::from(first_row),
            rounds: items.div_ceil(at_once),
            sets,
            key_rows: 0,
            value_rows: 0,
            banks,
        };
        let rows =
            |p: Product<'_>| this.banks.rows_of(&p).ok_or_else(|| "its keys and values cannot be counted".to_owned());
        let key_rows = rows(this.keys(context, &this.sets, 0))?;
        let value_rows = rows(this.values(context, &this.sets, 0))?;
        (this.key_rows, this.value_rows) = (key_rows, value_rows);
        let needs = this.rows().saturating_add(this.first_row);
        if needs > this.banks.rows {
            return Err(format!(
                "keys and values of {sequences} sequences of {context} tokens take rows up to {needs} of the {} of a bank: \
                 about {} channels would do",
                this.banks.rows,
                (u128::from(needs) * u128::from(this.banks.channels)).div_ceil(u128::from(this.banks.rows.max(1)))
            ));
        }
        Ok(this)
    }

    /// Rows of every bank that it takes.
    pub(crate) fn rows(&self) -> u64 {
        (self.key_rows + self.value_rows).saturating_mul(self.rounds).saturating_mul(self.layers)
    }

    /// Rows of every bank of one layer's keys, and of its values.
    pub(crate) fn rows_of_layer(&self) -> (u64, u64) {
        (self.key_rows * self.rounds, self.value_rows * self.rounds)
    }

    /// Bytes of the scores of heads that are at work at once.
    pub(super) fn score_bytes(&self, context: u64) -> u64 {
        self.sets.len() as u64 * context * 2
    }

    /// Sums of parts that the vector unit adds for so many sequences, of scores and of values.
    pub(crate) fn adds(&self, sequences: u64, context: u64) -> Vec<(String, u64)> {
        let heads = sequences * self.sizes.heads;
        let scores = self.banks.sums_of(&self.keys(context, &self.sets, 0)) - 1;
        let values = self.banks.sums_of(&self.values(context, &self.sets, 0)) - 1;
        vec![
            (OPERATORS[1].to_owned(), scores * heads * context),
            (OPERATORS[4].to_owned(), values * heads * self.sizes.value_dim),
        ]
    }

    /// What one layer's decode attention of sequences `range` at a context claims: keys and values of every head of each, and that the new token's are
    /// written.
    pub(crate) fn claim(
        &self,
        name: &str,
        layer: u32,
        range: Range<u64>,
        context: u64,
        (group, banks): (usize, &mut InBanks),
    ) {
        let Sizes { heads, kv_heads, .. } = self.sizes;
        let at_once = self.sets.len() as u64;
        for item in range.start * kv_heads..range.end * kv_heads {
            let round = item / at_once;
            let row = self.first_row + (u64::from(layer) * self.rounds + round) * (self.key_rows + self.value_rows);
            let sets = &self.sets[(item % at_once) as usize..][..1];
            let tensor = banks.new_tensor();
            let of = |what: &str| format!("{name}: {what} of sequence {}, head {}", item / kv_heads, item % kv_heads);
            let keys = (self.keys(context, sets, row), self.key_rows, "keys", OPERATORS[1]);
            let values = (self.values(context, sets, row + self.key_rows), self.value_rows, "values", OPERATORS[4]);
            let new = [Fresh::Outputs { first: context - 1, count: 1 }, Fresh::Input(context - 1)];
            for (i, (product, rows, what, operator)) in [keys, values].into_iter().enumerate() {
                for (channels, place, first_input) in self.banks.placed(&product) {
                    banks.add(Region {
                        name: of(what),
                        tensor: tensor + i as u32,
                        operator: operator.to_owned(),
                        first_row: product.first_row,
                        rows,
                        channels,
                        place,
                        first_input,
                        times: heads / kv_heads.max(1),
                        group: 1,
                        fresh: new[i],
                        looked_up: None,
                        groups: vec![group],
                    });
                }
            }
        }
    }

    fn keys<'a>(&self, context: u64, sets: &'a [ChannelSet], first_row: u64) -> Product<'a> {
        Product {
            outputs: context,
            inputs: self.sizes.key_dim,
            sets,
            first_row,
            packed: true,
            split: 0,
            room: 0,
            vectors: 1,
        }
    }

    fn values<'a>(&self, context: u64, sets: &'a [ChannelSet], first_row: u64) -> Product<'a> {
        let (outputs, room) = (self.sizes.value_dim, self.sizes.context);
        Product { outputs, inputs: context, sets, first_row, packed: false, split: 0, room, vectors: 1 }
    }

    /// One layer's decode attention of sequences `range` at a context, the new token among it: append of its keys and values
    /// (operator `kv append`), scores, softmax on the vector unit, values. Returns the last instructions.
    pub(crate) fn lower(
        &self,
        builder: &mut ProgramBuilder,
        layer: u32,
        range: Range<u64>,
        context: u64,
        after: &[InstructionId],
    ) -> Vec<InstructionId> {
        let at_once = self.sets.len() as u64;
        let (first, end) = (range.start * self.sizes.kv_heads, range.end * self.sizes.kv_heads);
        let Sizes { heads, kv_heads, key_dim, value_dim, .. } = self.sizes;
        let group = heads / kv_heads.max(1);
        let queries = (end - first) * group;
        let flops = |dim: u64| (2 * queries * dim * context) as f64;
        let [append, scores, capped, softmax, values] = OPERATORS;
        let [append, scores] = [append, scores].map(|name| builder.operator(name));
        let cap = self.sizes.capped.then(|| builder.operator(capped));
        let [softmax, values] = [softmax, values].map(|name| builder.operator(name));
        builder.occurs(append, 0.0, 0.0);
        builder.occurs(scores, flops(key_dim), flops(key_dim));
        if let Some(cap) = cap {
            builder.occurs(cap, (queries * context) as f64, 0.0);
        }
        builder.occurs(softmax, (6 * queries * context) as f64, 0.0);
        builder.occurs(values, flops(value_dim), flops(value_dim));
        let mut done = Vec::new();
        let mut item = first;
        while item < end {
            // Heads of one round work at once.
            let round = item / at_once;
            let next = end.min((round + 1) * at_once);
            let sets = &self.sets[(item % at_once) as usize..][..(next - item) as usize];
            let row = self.first_row + (u64::from(layer) * self.rounds + round) * (self.key_rows + self.value_rows);
            let written = self.append(builder, append, sets, row, context, after);
            // Query heads that share keys go over them together as far as the units have room for their vectors.
            let mut left = group;
            while left > 0 {
                let vectors = u32::try_from(left).unwrap_or(u32::MAX).min(self.banks.vectors());
                left -= u64::from(vectors);
                let keys = Product { vectors, ..self.keys(context, sets, row) };
                let mut products = self.run(builder, scores, &keys, &written);
                let rows = sets.len() as u64 * u64::from(vectors);
                let parts = self.banks.partial_sums(&keys);
                if parts > 1 {
                    let function = builder.function(self.functions.add(rows * context * (parts - 1)));
                    products = vec![builder.push(scores, Work::Vector { function }, &products)];
                }
                if let Some(cap) = cap {
                    let function = builder.function(self.functions.activation(ActivationKind::Tanh, rows * context));
                    products = vec![builder.push(cap, Work::Vector { function }, &products)];
                }
                let function = builder.function(self.functions.softmax(rows, context));
                let weights = builder.push(softmax, Work::Vector { function }, &products);
                let values_of = Product { vectors, ..self.values(context, sets, row + self.key_rows) };
                let mut out = self.run(builder, values, &values_of, &[weights]);
                let parts = self.banks.partial_sums(&values_of);
                if parts > 1 {
                    let function = builder.function(self.functions.add(rows * value_dim * (parts - 1)));
                    out = vec![builder.push(values, Work::Vector { function }, &out)];
                }
                done.append(&mut out);
            }
            item = next;
        }
        done
    }

    /// The new token's keys, an output of the matrix of keys, and its values, an input of that of values. A column that has values of other tokens too
    /// is written under a mask.
    fn append(
        &self,
        builder: &mut ProgramBuilder,
        operator: u32,
        sets: &[ChannelSet],
        row: u64,
        context: u64,
        after: &[InstructionId],
    ) -> Vec<InstructionId> {
        let token = context - 1;
        let keys = self.keys(context, sets, row);
        let mut of_keys = self.banks.places_of(&keys, token, 0..self.sizes.key_dim);
        let values = self.values(context, sets, row + self.key_rows);
        let mut of_values: Vec<(u32, Vec<Spot>)> = Vec::new();
        for element in 0..self.sizes.value_dim {
            let (channel, spot) = self.banks.place_of(&values, element, token);
            match of_values.iter_mut().find(|(c, _)| *c == channel) {
                Some((_, spots)) => spots.push(spot),
                None => of_values.push((channel, vec![spot])),
            }
        }
        let mut blocks = Vec::new();
        for places in [&mut of_keys, &mut of_values] {
            // Channels that do the same do it together.
            let mut alike: Vec<(Vec<u32>, Vec<Spot>)> = Vec::new();
            for (channel, spots) in places.drain(..) {
                match alike.iter_mut().find(|(_, s)| *s == spots) {
                    Some((channels, _)) => channels.push(channel),
                    None => alike.push((vec![channel], spots)),
                }
            }
            for (channels, spots) in alike {
                let of_set = |s: &ChannelSet| {
                    let all: Vec<u32> = s.iter().collect();
                    channels.iter().filter_map(|c| all.get(*c as usize).copied()).collect::<Vec<_>>()
                };
                let set = sets.iter().flat_map(of_set).fold(ChannelSet::EMPTY, |all, c| all.or(&ChannelSet::one(c)));
                blocks.push(self.banks.access(builder, true, &set, &spots));
            }
        }
        blocks
            .iter()
            .map(|block| {
                let work = Work::Block { block: builder.block(block) };
                builder.push(operator, work, after)
            })
            .collect()
    }

    fn run(
        &self,
        builder: &mut ProgramBuilder,
        operator: u32,
        product: &Product<'_>,
        after: &[InstructionId],
    ) -> Vec<InstructionId> {
        let (block, results) = self.banks.product(builder, product);
        let work = Work::Block { block: builder.block(&block) };
        let product = builder.push(operator, work, after);
        let Some(results) = results else { return vec![product] };
        let work = Work::Block { block: builder.block(&results) };
        vec![builder.push(operator, work, &[product])]
    }
}
