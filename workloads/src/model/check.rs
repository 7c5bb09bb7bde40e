//! What sizes a model may have, and how they must fit together.

use std::collections::BTreeSet;

use banksia_input::{InputError, Source};

use super::{
    AttentionSpec, Block, Branch, Embed, ExpertsSpec, Layers, LinearAttentionSpec, Mixer, Model, RwkvSpec, WeightFormat,
};
use crate::key::path;

const MAX_WIDTH: u64 = 1 << 20;
const MAX_HEADS: u64 = 1 << 16;
const MAX_INNER: u64 = 1 << 24;
const MAX_VOCAB: u64 = 1 << 26;
const MAX_POSITIONS: u64 = 1 << 30;
const MAX_LAYERS: u32 = 1 << 16;
const MAX_EXPERTS: u64 = 1 << 16;
/// Some 400 times the largest model published; its bits still fit 64 bits.
const MAX_PARAMETERS: u128 = 1 << 52;

/// Where in a file something is.
struct Place<'a> {
    source: &'a Source,
    key: String,
}

impl Place<'_> {
    fn error(&self, key: &str, problem: impl Into<String>) -> InputError {
        self.source.error(&path(&self.key, key), problem)
    }

    fn within(&self, key: &str, value: u64, least: u64, most: u64) -> Result<(), InputError> {
        self.source.check(&path(&self.key, key), value, least..=most).map(|_| ())
    }

    /// A size that is at least 1.
    fn size(&self, key: &str, value: u64, most: u64) -> Result<(), InputError> {
        self.within(key, value, 1, most)
    }

    fn inside(&self, key: &str) -> Self {
        Place { source: self.source, key: path(&self.key, key) }
    }
}

impl Model {
    /// Checks every size and how they fit together; errors name the keys under `table` of `source`.
    ///
    /// # Errors
    /// A size is zero or absurd, heads cannot be shared evenly, a pattern names a block that is not there, or the model has more than
    /// 2^52 parameters.
    pub fn check(&self, source: &Source, table: &str) -> Result<(), InputError> {
        let at = Place { source, key: table.to_owned() };
        if self.name.trim().is_empty() {
            return Err(at.error("name", "is empty").help("give the model a name; reports print it"));
        }
        at.size("width", self.width, MAX_WIDTH)?;
        at.size("max_positions", self.max_positions, MAX_POSITIONS)?;
        embed(&self.embed, &at.inside("embed"))?;
        at.inside("head").within("vocab", self.head.vocab, 0, MAX_VOCAB)?;
        format(&self.types.weights, &at.inside("types.weights"))?;
        stack(&self.blocks, &self.pattern, &at, self.encoder.as_ref().map(|e| e.width))?;
        if let Some(e) = &self.encoder {
            let at = at.inside("encoder");
            at.size("width", e.width, MAX_WIDTH)?;
            embed(&e.embed, &at.inside("embed"))?;
            stack(&e.blocks, &e.pattern, &at, None)?;
        }
        let parameters = self.parameters_wide();
        if parameters > MAX_PARAMETERS {
            let problem = format!("makes a model of {parameters} parameters: more than {MAX_PARAMETERS}");
            return Err(at.error("pattern", problem).help("check the number of layers and their sizes"));
        }
        Ok(())
    }
}

fn embed(e: &Embed, at: &Place<'_>) -> Result<(), InputError> {
    at.within("vocab", e.vocab, 0, MAX_VOCAB)?;
    at.within("width", e.width, 0, MAX_WIDTH)?;
    at.within("position_rows", e.position_rows, 0, MAX_POSITIONS + 1024)?;
    at.within("type_rows", e.type_rows, 0, MAX_VOCAB)
}

fn format(w: &WeightFormat, at: &Place<'_>) -> Result<(), InputError> {
    at.within("group", w.group, 0, MAX_INNER)?;
    at.within("group_rows", w.group_rows, 0, MAX_INNER)?;
    at.within("of", w.of, 0, 64)?;
    at.within("kept", w.kept, 0, w.of)?;
    if w.of > 0 && w.kept == 0 {
        return Err(at
            .error("kept", "is 0, but `of` says that elements are left out")
            .help("give both, as kept = 2, of = 4"));
    }
    at.within("outliers_per_10000", w.outliers_per_10000, 0, 10_000)?;
    at.within("adapter_rank", w.adapter_rank, 0, MAX_WIDTH)?;
    at.within("low_rank", w.low_rank, 0, MAX_WIDTH)?;
    if w.group > 0 && w.scale.is_none() {
        return Err(at.error("scale", "is missing").help("groups share a scale: give its type, as scale = \"f16\""));
    }
    Ok(())
}

fn stack(blocks: &[Block], pattern: &[Layers], at: &Place<'_>, encoder: Option<u64>) -> Result<(), InputError> {
    if pattern.is_empty() {
        return Err(at.error("pattern", "is empty").help("list layers: pattern = [{ block = \"NAME\", layers = 1 }]"));
    }
    let mut names = BTreeSet::new();
    for (i, block) in blocks.iter().enumerate() {
        let at = at.inside(&format!("blocks.{i}"));
        if block.name.trim().is_empty() {
            return Err(at.error("name", "is empty").help("give the block a name; the pattern lists it"));
        }
        if !names.insert(block.name.as_str()) {
            return Err(at.error("name", format!("is `{}`, as another block's", block.name)));
        }
        if block.stages.is_empty() {
            return Err(at.error("stages", "is empty").help("a block has at least one stage"));
        }
        for (j, stage) in block.stages.iter().enumerate() {
            let at = at.inside(&format!("stages.{j}"));
            if stage.branches.is_empty() {
                return Err(at.error("branches", "is empty").help("a stage has at least one branch"));
            }
            for (k, branch) in stage.branches.iter().enumerate() {
                mixer(branch, &at.inside(&format!("branches.{k}.mixer")), encoder)?;
            }
        }
    }
    let mut layers = 0u32;
    for (i, run) in pattern.iter().enumerate() {
        let at = at.inside(&format!("pattern.{i}"));
        if !names.contains(run.block.as_str()) {
            let problem = format!("names `{}`, which is no block of this model", run.block);
            let known: Vec<&str> = names.iter().copied().collect();
            return Err(at.error("block", problem).help(format!("its blocks are {}", known.join(", "))));
        }
        at.within("layers", run.layers.into(), 1, MAX_LAYERS.into())?;
        layers = layers.saturating_add(run.layers);
    }
    at.within("pattern", layers.into(), 1, MAX_LAYERS.into())
}

fn mixer(branch: &Branch, at: &Place<'_>, encoder: Option<u64>) -> Result<(), InputError> {
    match &branch.mixer {
        Mixer::Attention(a) => attention(a, at, encoder),
        Mixer::LatentAttention(l) => {
            at.size("heads", l.heads, MAX_HEADS)?;
            at.within("query_rank", l.query_rank, 0, MAX_WIDTH)?;
            for (key, value) in
                [("kv_rank", l.kv_rank), ("nope_dim", l.nope_dim), ("rope_dim", l.rope_dim), ("value_dim", l.value_dim)]
            {
                at.size(key, value, MAX_WIDTH)?;
            }
            let Some(i) = l.indexer else { return Ok(()) };
            let at = at.inside("indexer");
            at.size("heads", i.heads, MAX_HEADS)?;
            at.size("head_dim", i.head_dim, MAX_WIDTH)?;
            at.size("top_k", i.top_k, MAX_POSITIONS)
        }
        Mixer::FeedForward(f) => at.size("inner", f.inner, MAX_INNER),
        Mixer::Experts(e) => experts(e, at),
        Mixer::Mamba(m) => {
            at.size("inner", m.inner, MAX_INNER)?;
            at.size("state", m.state, MAX_WIDTH)?;
            at.size("conv_kernel", m.conv_kernel, 64)?;
            at.size("dt_rank", m.dt_rank, MAX_WIDTH)
        }
        Mixer::Mamba2(m) => {
            at.size("heads", m.heads, MAX_HEADS)?;
            at.size("head_dim", m.head_dim, MAX_WIDTH)?;
            at.size("state", m.state, MAX_WIDTH)?;
            at.size("groups", m.groups, MAX_HEADS)?;
            at.size("conv_kernel", m.conv_kernel, 64)?;
            at.size("chunk", m.chunk, 1 << 16)?;
            shared_evenly(at, "groups", m.groups, m.heads)
        }
        Mixer::LinearAttention(l) => linear(l, at),
        Mixer::Rwkv(r) => rwkv(r, at),
        Mixer::Diagonal(d) => {
            at.size("inner", d.inner, MAX_INNER)?;
            at.size("blocks", d.blocks, MAX_HEADS)?;
            at.size("conv_kernel", d.conv_kernel, 64)?;
            shared_evenly(at, "blocks", d.blocks, d.inner)
        }
        Mixer::ShortConvolution(s) => {
            at.size("inner", s.inner, MAX_INNER)?;
            at.size("conv_kernel", s.conv_kernel, 64)
        }
    }
}

fn shared_evenly(at: &Place<'_>, key: &str, few: u64, many: u64) -> Result<(), InputError> {
    if few > 0 && many.is_multiple_of(few) {
        return Ok(());
    }
    Err(at.error(key, format!("is {few}, which does not divide {many}")).help("each serves the same number"))
}

fn attention(a: &AttentionSpec, at: &Place<'_>, encoder: Option<u64>) -> Result<(), InputError> {
    at.size("heads", a.heads, MAX_HEADS)?;
    at.size("kv_heads", a.kv_heads, MAX_HEADS)?;
    at.size("head_dim", a.head_dim, MAX_WIDTH)?;
    at.within("value_dim", a.value_dim, 0, MAX_WIDTH)?;
    at.within("input_width", a.input_width, 0, MAX_WIDTH)?;
    at.within("window", a.window, 0, MAX_POSITIONS)?;
    if !a.heads.is_multiple_of(a.kv_heads) {
        let problem = format!("is {}, which does not divide the {} heads", a.kv_heads, a.heads);
        return Err(at.error("kv_heads", problem).help("every key head serves the same number of query heads"));
    }
    if a.rotary_dim > a.head_dim || !a.rotary_dim.is_multiple_of(2) {
        let problem = format!("is {}, of heads of {}", a.rotary_dim, a.head_dim);
        return Err(at.error("rotary_dim", problem).help("rotation works on pairs: an even number, at most head_dim"));
    }
    if a.chunked && a.window == 0 {
        return Err(at
            .error("chunked", "is true, but there is no window")
            .help("say how long a chunk is, as window = 8192"));
    }
    if a.values_are_keys && a.values() != a.head_dim {
        let problem = format!("is true, but values are {} wide and keys {}", a.values(), a.head_dim);
        return Err(at.error("values_are_keys", problem).help("leave value_dim out"));
    }
    if a.cross && encoder.is_none() {
        return Err(at
            .error("cross", "is true, but the model has no encoder")
            .help("add [encoder], or leave cross out"));
    }
    Ok(())
}

fn experts(e: &ExpertsSpec, at: &Place<'_>) -> Result<(), InputError> {
    at.size("experts", e.experts, MAX_EXPERTS)?;
    at.within("top_k", e.top_k, 1, e.experts)?;
    at.size("inner", e.inner, MAX_INNER)?;
    at.within("shared_inner", e.shared_inner, 0, MAX_INNER)?;
    at.within("latent_width", e.latent_width, 0, MAX_WIDTH)?;
    at.within("capacity_percent", e.capacity_percent, 0, 1_000_000)
}

fn linear(l: &LinearAttentionSpec, at: &Place<'_>) -> Result<(), InputError> {
    at.size("key_heads", l.key_heads, MAX_HEADS)?;
    at.size("value_heads", l.value_heads, MAX_HEADS)?;
    at.size("key_dim", l.key_dim, MAX_WIDTH)?;
    at.size("value_dim", l.value_dim, MAX_WIDTH)?;
    at.within("conv_kernel", l.conv_kernel, 0, 64)?;
    at.within("gate_rank", l.gate_rank, 0, MAX_WIDTH)?;
    shared_evenly(at, "key_heads", l.key_heads, l.value_heads)
}

fn rwkv(r: &RwkvSpec, at: &Place<'_>) -> Result<(), InputError> {
    at.within("version", r.version.into(), 4, 7)?;
    at.size("inner", r.inner, MAX_WIDTH)?;
    at.within("low_rank", r.low_rank, 0, MAX_WIDTH)?;
    at.within("channel_mix", r.channel_mix, 0, MAX_INNER)?;
    if r.version < 5 {
        return Ok(());
    }
    at.size("head_dim", r.head_dim, MAX_WIDTH)?;
    shared_evenly(at, "head_dim", r.head_dim, r.inner)
}
