//! Fused attention, over keys and values or over latent vectors.

use std::cmp::Ordering;

use banksia_hw::gpu::program::Kernel;
use banksia_workloads::Phase;

use super::{Lowering, int};
use crate::gpu::attention::{Attention, encoder, ragged, torch_sdpa};
use crate::gpu::frameworks::{self, AttentionCall, Framework};
use crate::gpu::latent::{self, LatentCall, LatentOperands};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::model::part::{AttentionRun, AttentionWork, Keys, Part};
use crate::plan::Unsupported;

impl Lowering<'_> {
    pub(super) fn attention(&self, work: &AttentionWork, part: &Part) -> Result<Vec<Item>, Unsupported> {
        if work.cache_bits < 8 {
            let why = "attention reads keys and values of 8 bits or more: set workload.types.cache, as cache = \"fp8\"";
            return Err(Self::refused(part, why.into()));
        }
        if work.keys != Keys::Heads {
            return self.latent(work, part);
        }
        let of = |run: &AttentionRun| Attention {
            batch: int(run.batch),
            heads: int(work.heads),
            kv_heads: int(work.kv_heads),
            queries: int(run.tokens),
            keys: int(run.context),
            head_dim: int(work.head_dim),
            value_dim: if work.value_dim == work.head_dim { 0 } else { int(work.value_dim) },
            causal: work.causal,
            window: int(work.window),
            dtype: self.model.dtype,
            kv_bytes: int(work.cache_bits.div_ceil(8)),
            soft_cap: work.capped,
            sinks: work.sinks,
        };
        let runs: Vec<Attention> = work.runs.iter().map(of).collect();
        Ok(self.over_cache(&runs, part))
    }

    /// The kernels of one call: TensorRT-LLM's are others for prompts than for single tokens, of all other frameworks one kernel takes both.
    fn kernels_of(&self, runs: &[Attention]) -> Vec<Kernel> {
        let spec = &self.model.spec;
        let launches = |a: &Attention| match self.framework() {
            Framework::Compiled => torch_sdpa(a, spec),
            framework if !a.causal => encoder(framework, a, spec),
            framework => frameworks::attention(framework, &AttentionCall::new(*a, self.phase == Phase::Prefill), spec),
        };
        match runs {
            [one] => launches(one),
            _ if self.framework() == Framework::Trtllm => {
                let (prompts, tokens): (Vec<_>, Vec<_>) = runs.iter().copied().partition(|a| a.queries > 1);
                [prompts, tokens].iter().flat_map(|of_kind| ragged(of_kind, launches)).collect()
            }
            _ => ragged(runs, launches),
        }
    }

    /// The kernels of fused attention, as the framework launches them: those that prepare it, one that reads queries, keys and values, and
    /// where keys are split one that puts its parts together.
    fn over_cache(&self, runs: &[Attention], part: &Part) -> Vec<Item> {
        let kernels = self.kernels_of(runs);
        let reads = kernels.iter().position(frameworks::reads_cache).unwrap_or(0);
        let last = kernels.len().saturating_sub(1);
        let parts = || Operand::shared("attention_parts");
        let kernels = kernels.into_iter().enumerate().map(|(i, kernel)| {
            let tensors = kernel.tensors.len();
            // TensorRT-LLM has one for prompts and one for single tokens.
            let place = if frameworks::reads_cache(&kernel) { Ordering::Equal } else { i.cmp(&reads) };
            let (mut operands, out) = match place {
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

    /// Over latent vectors. In decode heads are rows of a tile over the one vector a token; of prompts each head has keys and values of its own. The
    /// products that absorb or expand are operators of their own.
    fn latent(&self, work: &AttentionWork, part: &Part) -> Result<Vec<Item>, Unsupported> {
        let [run] = work.runs[..] else { return Err(self.unknown(part, "latent attention of several runs at once")) };
        let plain = LatentCall::default();
        let (latent, rope, nope, value) = match work.keys {
            Keys::Expanded { rope, latent } => {
                (latent, rope, int(work.head_dim.saturating_sub(rope)), int(work.value_dim))
            }
            _ => (work.value_dim, work.head_dim.saturating_sub(work.value_dim), plain.nope, plain.value),
        };
        let call = LatentCall {
            batch: int(run.batch),
            heads: int(work.heads),
            queries: int(run.tokens),
            keys: int(run.context),
            latent: int(latent),
            rope: int(rope),
            nope,
            value,
            dtype: self.model.dtype,
            cache_bytes: int(work.cache_bits.div_ceil(8)),
        };
        let expanded = work.keys != Keys::Latent;
        let operands = LatentOperands {
            queries: part.input(0),
            latent: Operand::shared("kv_norm"),
            cache: if expanded { Operand::own("kv_cache") } else { part.cache() },
            out: part.output.clone(),
            ..LatentOperands::default()
        };
        let (framework, spec) = (self.framework(), &self.model.spec);
        let items = match expanded {
            true => latent::prefill(framework, &call, false, &operands, spec),
            false => latent::decode(framework, &call, &operands, spec),
        };
        let mut items = self.items(part, items)?;
        // Keys and values have been made where the product before put them.
        let made = part.input(1);
        let made = Operand { name: made.name.replace(".keys", ""), ..made };
        for item in &mut items {
            let Item::Kernel(launch) = item else { continue };
            launch.operands.iter_mut().filter(|o| !o.own && o.name == "v").for_each(|o| *o = made.clone());
        }
        if !framework.writes_cache() {
            // An operator of its own has done that.
            items.retain(|item| !matches!(item, Item::Kernel(l) if l.kernel.name.starts_with("latent cache write")));
        }
        Ok(items)
    }
}
