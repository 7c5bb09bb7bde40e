//! Sizes of a model divided over ranks.

use super::sharding::Sharding;
use crate::model::{ExpertsSpec, Mixer, Model};

/// A size that so many ranks cannot share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// It is not a multiple.
    #[error("{what} ({size}) cannot be divided over {ranks} ranks")]
    Uneven {
        /// What is divided.
        what: &'static str,
        /// How many of it there are.
        size: u64,
        /// Ranks.
        ranks: u32,
    },
    /// An operator whose parts depend on one another.
    #[error("{mixer} cannot be divided over {ranks} ranks")]
    Mixer {
        /// The mixer's name.
        mixer: &'static str,
        /// Ranks.
        ranks: u32,
    },
    /// Encoders are not divided.
    #[error("a model with an encoder cannot be divided over {ranks} ranks")]
    Encoder {
        /// Ranks.
        ranks: u32,
    },
}

fn share(what: &'static str, size: u64, ranks: u32) -> Result<u64, ShardError> {
    if size.is_multiple_of(u64::from(ranks.max(1))) {
        Ok(size / u64::from(ranks.max(1)))
    } else {
        Err(ShardError::Uneven { what, size, ranks })
    }
}

/// Heads of keys: divided, or where there are fewer than ranks each one on several (arXiv 2211.05102).
fn key_heads(what: &'static str, heads: u64, ranks: u32) -> Result<u64, ShardError> {
    if heads > 0 && heads < u64::from(ranks) && u64::from(ranks).is_multiple_of(heads) {
        return Ok(1);
    }
    share(what, heads, ranks)
}

/// A model with the sizes that one rank has. Experts are all there: who has which is not a size.
pub(super) fn model(whole: &Model, sharding: &Sharding) -> Result<Model, ShardError> {
    let mut own = whole.clone();
    if sharding.is_whole() {
        return Ok(own);
    }
    let tp = sharding.tp;
    if whole.encoder.is_some() {
        return Err(ShardError::Encoder { ranks: tp.max(sharding.ep) });
    }
    // Tables are padded to a multiple.
    own.embed.vocab = own.embed.vocab.div_ceil(u64::from(tp));
    own.head.vocab = own.head.vocab.div_ceil(u64::from(tp));
    let used = |name: &str| whole.pattern.iter().any(|run| run.block == name);
    for block in own.blocks.iter_mut().filter(|b| used(&b.name)) {
        for branch in block.stages.iter_mut().flat_map(|s| &mut s.branches) {
            mixer(&mut branch.mixer, sharding)?;
        }
    }
    Ok(own)
}

fn mixer(mixer: &mut Mixer, sharding: &Sharding) -> Result<(), ShardError> {
    let tp = sharding.tp;
    let name = mixer.name();
    match mixer {
        Mixer::Attention(a) => {
            a.heads = share("query heads", a.heads, tp)?;
            a.kv_heads = key_heads("key heads", a.kv_heads, tp)?;
        }
        Mixer::LatentAttention(l) => l.heads = share("heads", l.heads, tp)?,
        Mixer::FeedForward(f) => f.inner = share("columns of the feed-forward layer", f.inner, tp)?,
        Mixer::Experts(e) => experts(e, sharding)?,
        Mixer::Mamba(m) => m.inner = share("channels", m.inner, tp)?,
        Mixer::Mamba2(m) => {
            m.heads = share("heads of states", m.heads, tp)?;
            m.groups = key_heads("groups of heads", m.groups, tp)?;
        }
        Mixer::LinearAttention(l) => {
            l.key_heads = share("key heads", l.key_heads, tp)?;
            l.value_heads = share("value heads", l.value_heads, tp)?;
        }
        Mixer::Diagonal(d) => {
            d.inner = share("channels", d.inner, tp)?;
            d.blocks = share("blocks of gates", d.blocks, tp)?;
        }
        Mixer::ShortConvolution(s) => s.inner = share("channels", s.inner, tp)?,
        Mixer::Rwkv(_) if tp > 1 => return Err(ShardError::Mixer { mixer: name, ranks: tp }),
        Mixer::Rwkv(_) => {}
    }
    Ok(())
}

fn experts(e: &mut ExpertsSpec, sharding: &Sharding) -> Result<(), ShardError> {
    share("experts", e.experts, sharding.ep)?;
    e.inner = share("columns of an expert", e.inner, sharding.expert_tp)?;
    e.shared_inner = share("columns of the shared expert", e.shared_inner, sharding.tp)?;
    Ok(())
}
