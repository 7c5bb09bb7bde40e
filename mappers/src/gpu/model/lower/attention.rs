//! Fused attention, over keys and values or over latent vectors.

use std::cmp::Ordering;

use banksia_workloads::Phase;

use super::{Lowering, int};
use crate::gpu::attention::{Attention, encoder, torch_sdpa};
use crate::gpu::frameworks::{self, AttentionCall, Framework};
use crate::gpu::latent::{self, LatentCall, LatentOperands};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::model::part::{AttentionWork, Part};
use crate::plan::Unsupported;

impl Lowering<'_> {
    pub(super) fn attention(&self, work: &AttentionWork, part: &Part) -> Result<Vec<Item>, Unsupported> {
        if work.latent {
            return self.latent(work, part);
        }
        let a = Attention {
            batch: int(work.batch),
            heads: int(work.heads),
            kv_heads: int(work.kv_heads),
            queries: int(work.tokens),
            keys: int(work.context),
            head_dim: int(work.head_dim),
            value_dim: if work.value_dim == work.head_dim { 0 } else { int(work.value_dim) },
            causal: work.causal,
            window: int(work.window),
            dtype: self.model.dtype,
            kv_bytes: int(work.cache_bits.div_ceil(8)),
            soft_cap: work.capped,
            ..Attention::default()
        };
        Ok(self.over_cache(&a, part))
    }

    /// The kernels of fused attention, as the framework launches them: those that prepare it, one that reads queries, keys and values, and
    /// where keys are split one that puts its parts together.
    fn over_cache(&self, a: &Attention, part: &Part) -> Vec<Item> {
        let spec = &self.model.spec;
        let kernels = match self.framework() {
            Framework::Compiled => torch_sdpa(a, spec),
            framework if !a.causal => encoder(framework, a, spec),
            framework => {
                let call = AttentionCall::new(*a, self.phase == Phase::Prefill);
                frameworks::attention(framework, &call, spec)
            }
        };
        let reads = kernels.iter().position(frameworks::reads_cache).unwrap_or(0);
        let last = kernels.len().saturating_sub(1);
        let parts = || Operand::shared("attention_parts");
        let kernels = kernels.into_iter().enumerate().map(|(i, kernel)| {
            let tensors = kernel.tensors.len();
            let (mut operands, out) = match i.cmp(&reads) {
                // New keys and values go into the cache; lengths and the like are scratch of the framework's.
                Ordering::Less if tensors < 2 => (Vec::new(), Operand::shared("scratch")),
                Ordering::Less => (vec![part.input(0); tensors - 1], part.cache()),
                Ordering::Equal => (
                    vec![part.input(0), part.cache(), part.cache()],
                    if i == last { part.output.clone() } else { parts() },
                ),
                Ordering::Greater => {
                    (vec![parts(); tensors.saturating_sub(1)], if i == last { part.output.clone() } else { parts() })
                }
            };
            operands.truncate(tensors);
            operands.resize(tensors, out);
            Item::kernel(kernel, operands)
        });
        kernels.collect()
    }

    /// Decode in the latent space: heads are rows of a tile over the one vector a token; the absorbed products are operators of their own.
    fn latent(&self, work: &AttentionWork, part: &Part) -> Result<Vec<Item>, Unsupported> {
        let call = LatentCall {
            batch: int(work.batch),
            heads: int(work.heads),
            queries: int(work.tokens),
            keys: int(work.context),
            latent: int(work.value_dim),
            rope: int(work.head_dim.saturating_sub(work.value_dim)),
            dtype: self.model.dtype,
            cache_bytes: int(work.cache_bits.div_ceil(8)),
            ..LatentCall::default()
        };
        let operands = LatentOperands {
            queries: part.input(0),
            latent: Operand::shared("kv_norm"),
            cache: part.cache(),
            out: part.output.clone(),
            ..LatentOperands::default()
        };
        self.items(part, latent::decode(self.framework(), &call, &operands, &self.model.spec))
    }
}
