//! Multi-head latent attention: a cache of one vector a token, that all heads share, from which keys and values come by products with weights.
//!
//! Of prompts, keys and values of each head are made and attended to ([`prefill`]); for single tokens the products move to the queries and the
//! results ([`absorb`]), so that heads are rows of one tile over the cache itself ([`decode`]). The programs follow the public sources of
//! FlashMLA (`flash_fwd_mla_kernel.h`), FlashAttention-3 (`hopper/`, head sizes of 64 and 512) and the launches of vLLM, SGLang and
//! TensorRT-LLM around them.

mod absorb;
mod decode;
mod flash3;
mod flashmla;
mod launches;
mod prefill;

pub use absorb::{absorb, expand};
pub use decode::{decode, decode_items, decode_kernels};
pub use flash3::latent3;
pub use flashmla::{Units, flashmla};
pub use prefill::{absorbed_prefill, prefill};

use banksia_hw::gpu::program::{Dtype, Kernel, Tensor};

use super::attention::Attention;
use super::attention::index::V;
use super::launch::Operand;

/// One latent attention over a batch, on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatentCall {
    /// Sequences.
    pub batch: u32,
    /// Query heads of this device.
    pub heads: u32,
    /// New tokens of a sequence: 1 in decode, more in verification of drafts and in prefill.
    pub queries: u32,
    /// Tokens of a sequence, the new ones among them.
    pub keys: u32,
    /// Size of the latent vector, which is also what values come from.
    pub latent: u32,
    /// Elements of a token's key that are rotated, and shared by all heads.
    pub rope: u32,
    /// Elements of a head's key that come from the latent vector.
    pub nope: u32,
    /// Elements of a head's values.
    pub value: u32,
    /// Type of activations: 16 bits.
    pub dtype: Dtype,
    /// Bytes of an element of the cache.
    pub cache_bytes: u32,
}

impl Default for LatentCall {
    /// One token of DeepSeek-V3's sizes and all of its heads.
    fn default() -> Self {
        Self {
            batch: 1,
            heads: 128,
            queries: 1,
            keys: 1,
            latent: 512,
            rope: 64,
            nope: 128,
            value: 128,
            dtype: Dtype::Bf16,
            cache_bytes: 2,
        }
    }
}

impl LatentCall {
    /// New tokens of all sequences.
    pub fn tokens(&self) -> u32 {
        self.batch.saturating_mul(self.queries)
    }

    /// Elements of a token in the cache.
    pub fn width(&self) -> u32 {
        self.latent.saturating_add(self.rope)
    }

    /// Elements of a token's vectors of all heads, of which each has so many.
    fn of_heads(&self, elements: u32) -> u64 {
        u64::from(self.tokens()) * u64::from(self.heads) * u64::from(elements)
    }

    /// What sizes have to be for a kernel to be written at all.
    ///
    /// # Errors
    /// Which size is not possible, and what would be.
    pub fn check(&self) -> Result<(), String> {
        for (name, n) in [
            ("batch", self.batch),
            ("heads", self.heads),
            ("queries", self.queries),
            ("latent", self.latent),
            ("nope", self.nope),
            ("value", self.value),
        ] {
            if n == 0 {
                return Err(format!("latent attention: {name} is 0: must be at least 1"));
            }
        }
        if self.keys < self.queries {
            return Err(format!(
                "latent attention: {} keys for {} queries: the new tokens are among them",
                self.keys, self.queries
            ));
        }
        for (name, n) in [("latent", self.latent), ("rope", self.rope), ("nope", self.nope), ("value", self.value)] {
            if n > 1024 || n % 8 != 0 {
                return Err(format!("latent attention: {name} is {n}: must be a multiple of 8 up to 1024"));
            }
        }
        let rows = u64::from(self.batch) * u64::from(self.heads) * u64::from(self.queries);
        let keys = u64::from(self.batch) * u64::from(self.keys);
        if rows > 1 << 26 || keys > 1 << 30 {
            return Err(format!("latent attention: {rows} rows of queries over {keys} tokens: at most 2^26 and 2^30"));
        }
        Ok(())
    }

    /// Over the cache itself: all heads share its one vector a token.
    fn absorbed(&self) -> Attention {
        Attention {
            batch: self.batch,
            heads: self.heads,
            kv_heads: 1,
            queries: self.queries,
            keys: self.keys,
            head_dim: self.width(),
            value_dim: self.latent,
            causal: self.queries > 1,
            window: 0,
            dtype: self.dtype,
            kv_bytes: self.cache_bytes,
            ..Attention::default()
        }
    }

    /// With keys and values of each head.
    fn expanded(&self) -> Attention {
        Attention {
            kv_heads: self.heads,
            head_dim: self.nope.saturating_add(self.rope),
            value_dim: self.value,
            causal: true,
            kv_bytes: 2,
            ..self.absorbed()
        }
    }
}

/// Memory of a latent attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatentOperands {
    /// Queries of all heads.
    pub queries: Operand,
    /// Latent vectors and rotated keys of the new tokens.
    pub latent: Operand,
    /// The cache of a layer.
    pub cache: Operand,
    /// Weights that make keys and values from latent vectors, or are absorbed.
    pub weights: Operand,
    /// Results of all heads.
    pub out: Operand,
}

impl Default for LatentOperands {
    fn default() -> Self {
        Self {
            queries: Operand::shared("q"),
            latent: Operand::shared("latent"),
            cache: Operand::own("latent_cache"),
            weights: Operand::own("kv_b"),
            out: Operand::shared("attention_out"),
        }
    }
}

/// Values lie where the keys are: what a program has as the tensor of values is nothing of its own.
fn values_are_keys(tensors: &mut [Tensor]) {
    if let Some(v) = tensors.get_mut(usize::from(V)) {
        *v = Tensor::matrix(1, 32, 1, 32);
    }
}

/// Kernels of a latent attention in their memory: the one over the cache, and those beside it.
pub fn items(kernels: Vec<Kernel>, operands: &LatentOperands) -> Vec<super::launch::Item> {
    use super::launch::Item;
    let reads = |k: &Kernel| k.tensors.len() > 3;
    let splits = kernels.iter().rposition(reads).is_some_and(|at| at + 1 < kernels.len());
    let parts = || Operand::shared("latent_parts");
    kernels
        .into_iter()
        .map(|k| {
            if reads(&k) {
                let result = if splits { parts() } else { operands.out.clone() };
                let values = Operand::shared("values_are_keys");
                Item::kernel(k, [operands.queries.clone(), operands.cache.clone(), values, result])
            } else if k.name.starts_with("join") {
                let mut names = vec![parts(); k.tensors.len().saturating_sub(1)];
                names.push(operands.out.clone());
                Item::kernel(k, names)
            } else if k.name.starts_with("latent cache write") {
                Item::kernel(k, [operands.latent.clone(), operands.cache.clone()])
            } else if k.name.starts_with("convert cache") {
                Item::kernel(k, [operands.cache.clone(), Operand::shared("cache_of_16_bits")])
            } else {
                Item::kernel(k, [operands.queries.clone(), operands.queries.clone()])
            }
        })
        .collect()
}
