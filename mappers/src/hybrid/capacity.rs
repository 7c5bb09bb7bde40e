//! What must lie in which memory, and whether it fits.

use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, Graph, Model, Op, Place, Step};

use super::site::Site;
use super::weights::Weights;
use crate::pim::{Chosen, PimAttention, PimOperators, Sizes};
use crate::pim_gpt::accepts;

/// Rows of every bank that are not for keys and values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reserved {
    /// The first of them are those of the weights and activations of a GPU that uses the same memory.
    pub(super) rows: u32,
}

fn gb(bytes: u128) -> f64 {
    bytes as f64 / 1e9
}

/// What the mapping asks for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Bytes of activations of the whole batch.
    pub(super) activations: u64,
    /// Channels of a head.
    pub(super) channels: Option<u32>,
    /// Keys and values stay with the GPU.
    pub(super) on_gpu: bool,
    /// Where weights lie.
    pub(super) weights: &'a Weights,
    /// The operators of all layers that the banks have beside attention, for so many sequences.
    pub(super) operators: &'a dyn Fn(u64) -> Option<Graph>,
    /// How matrices lie in the banks.
    pub(super) chosen: &'a Chosen,
}

/// A model and how it is used, without the batch.
struct Case<'a> {
    site: &'a Site,
    model: &'a Model,
    generation: &'a Generation,
    /// Of a sequence.
    activations: u128,
    wanted: Wanted<'a>,
}

/// What lies in the banks.
pub(super) struct InBanks {
    /// Keys and values, by layers that have alike attention.
    pub(super) cached: Vec<(Cached, PimAttention)>,
    pub(super) operators: Option<PimOperators>,
    pub(super) reserved: Reserved,
}

/// What does not fit: the key to blame, and in words.
type Unfit = (&'static str, String);

/// Lays keys and values out in the banks, and checks that the rest fits the GPU.
pub(super) fn lay_out(
    site: &Site,
    model: &Model,
    generation: &Generation,
    wanted: Wanted<'_>,
    source: &Source,
) -> Result<InBanks, InputError> {
    let cache = model.types.cache;
    if cache.bits() != 16 && !wanted.on_gpu {
        let problem =
            format!("`{}` has a cache of type {}: its units multiply 16-bit numbers", model.name, cache.name());
        return Err(source.error("workload.model", problem).help("give a model with dtype = \"bf16\" or \"f16\""));
    }
    let step = model.graph(&Step::decode(1, 1), generation);
    accepts::check_operators(step.operators().map(|(node, _)| node), "hybrid", source)?;
    let placed = (wanted.operators)(1);
    if let Some(graph) = &placed {
        accepts::check(model, graph, Some(16), "hybrid", source)?;
    }
    // Of one token of one sequence, it is not for want of room.
    let smallest = kinds(model, generation, 1);
    if smallest.is_empty() && !wanted.on_gpu && placed.is_none() {
        let problem = format!("is `{}`, which has no attention: nothing is left for the PIM device", model.name);
        let help = "place products or states there (mapping.place.\"states\" = \"pim\"), or set attention_on = \"gpu\"";
        return Err(source.error("workload.model", problem).help(help));
    }
    for kind in smallest.iter().filter(|_| !wanted.on_gpu) {
        PimAttention::new(&site.pim, Sizes { layers: 1, ..kind.sizes }, 1, 0, wanted.channels).map_err(|why| {
            let problem = format!("has the PIM device {}, which cannot run attention: {why}", site.pim_name);
            source.error("machine.base", problem).help("give it one whose base is `aim`, `hbm-pim` or `attacc`")
        })?;
    }
    let activations = u128::from(wanted.activations).div_ceil(u128::from(generation.batch.max(1)));
    let case = Case { site, model, generation, activations, wanted };
    case.lay_out(generation.batch).map_err(|(key, problem)| {
        let help = match most_that_fit(generation.batch, |batch| case.lay_out(batch).is_ok()) {
            0 => "use a shorter prompt or context, or a smaller model: not one sequence fits".to_owned(),
            n => format!("use a batch of at most {n}, a shorter prompt or context, or a smaller model"),
        };
        let help = if wanted.weights.twice > 0 {
            format!(
                "keep weights once (mapping.copies = \"convert\"), of which {:.2} GB lie twice, or place fewer operators on {}; or {help}",
                gb(wanted.weights.twice.into()),
                site.pim_name
            )
        } else {
            help
        };
        source.error(key, problem).help(help)
    })
}

/// Attention that some layers have, and what it keeps in the banks.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    /// Its sizes at the longest context.
    pub(super) sizes: Sizes,
    /// The layers that have it, in order.
    pub(super) layers: Vec<u32>,
    /// Tokens that one sees; 0 for all.
    pub(super) window: u64,
    /// Values are parts of the keys, cached once (latent attention); in the banks they lie twice.
    pub(super) latent: bool,
}

impl Cached {
    /// Tokens in the banks at a context.
    pub(super) fn held(&self, context: u64) -> u64 {
        if self.window == 0 { context } else { context.min(self.window) }
    }

    /// Elements of queries, new keys and new values of a token: what goes to the banks.
    pub(super) fn sent(&self) -> u64 {
        self.sizes.heads.saturating_mul(self.sizes.key_dim).saturating_add(self.of_a_token())
    }

    /// Elements that come back for a token.
    pub(super) fn returned(&self) -> u64 {
        self.sizes.heads.saturating_mul(self.sizes.value_dim)
    }

    /// Elements of a layer that a token adds to the cache.
    pub(super) fn of_a_token(&self) -> u64 {
        let values = if self.latent { 0 } else { self.sizes.value_dim };
        self.sizes.kv_heads.saturating_mul(self.sizes.key_dim.saturating_add(values))
    }
}

/// The attentions of a model at a context, by kind.
pub(super) fn kinds(model: &Model, generation: &Generation, context: u64) -> Vec<Cached> {
    let graph = model.graph(&Step::decode(1, context), generation);
    let mut kinds: Vec<Cached> = Vec::new();
    for region in graph.regions.iter().filter(|r| r.place == Place::Layers) {
        let value = region.body.operators().find_map(|n| match n.op {
            Op::AttentionValues { head_dim, .. } => Some(head_dim),
            _ => None,
        });
        let latent = region.body.operators().any(|n| matches!(n.op, Op::KvAppend { value_dim: 0, .. }));
        for node in region.body.operators() {
            let Op::AttentionScores { heads, kv_heads, head_dim, context, window, .. } = node.op else { continue };
            let value_dim = value.unwrap_or(head_dim);
            let capped = region.body.operators().any(|n| matches!(n.op, Op::ScoreCap { .. }));
            let sizes = Sizes { layers: 0, heads, kv_heads, key_dim: head_dim, value_dim, context, capped };
            let layers = region.first_layer..region.first_layer.saturating_add(region.repeat);
            match kinds
                .iter_mut()
                .find(|k| Sizes { layers: 0, ..k.sizes } == sizes && (k.window, k.latent) == (window, latent))
            {
                Some(kind) => kind.layers.extend(layers),
                None => kinds.push(Cached { sizes, layers: layers.collect(), window, latent }),
            }
        }
    }
    for kind in &mut kinds {
        kind.sizes.layers = kind.layers.len() as u32;
    }
    kinds
}

/// The most sequences, below a number that is too many.
fn most_that_fit(too_many: u64, fits: impl Fn(u64) -> bool) -> u64 {
    let (mut most, mut too_many) = (0, too_many);
    while most + 1 < too_many {
        let middle = most + (too_many - most) / 2;
        if fits(middle) {
            most = middle;
        } else {
            too_many = middle;
        }
    }
    most
}

impl Case<'_> {
    fn lay_out(&self, batch: u64) -> Result<InBanks, Unfit> {
        let Wanted { channels, on_gpu, .. } = self.wanted;
        let graph = (self.wanted.operators)(batch);
        self.in_gpu(batch, graph.as_ref())?;
        if on_gpu && graph.is_none() {
            return Ok(InBanks { cached: Vec::new(), operators: None, reserved: Reserved::default() });
        }
        let reserved = Reserved { rows: if self.site.shared { self.rows_of_gpu(batch, graph.as_ref())? } else { 0 } };
        let context = self.generation.last_context();
        let (mut row, mut cached) = (reserved.rows, Vec::new());
        let mut operators = None;
        if let Some(graph) = graph {
            let generation = Generation { batch, ..self.generation.clone() };
            let placed =
                PimOperators::new(self.model, &generation, &self.site.pim, graph, self.wanted.chosen, u64::from(row));
            let placed = placed.map_err(|why| {
                let problem = format!("places operators on {}, which cannot have them: {why}", self.site.pim_name);
                ("mapping.place", problem)
            })?;
            row = u32::try_from(u64::from(row).saturating_add(placed.rows())).unwrap_or(u32::MAX);
            operators = Some(placed);
        }
        if on_gpu {
            return Ok(InBanks { cached, operators, reserved });
        }
        for kind in kinds(self.model, self.generation, context) {
            let attention = PimAttention::new(&self.site.pim, kind.sizes, batch, row, channels).map_err(|why| {
                let problem = format!("is {batch}: {} cannot hold its keys and values: {why}", self.site.pim_name);
                ("workload.generation.batch", problem)
            })?;
            row = u32::try_from(u64::from(row).saturating_add(attention.rows())).unwrap_or(u32::MAX);
            cached.push((kind, attention));
        }
        Ok(InBanks { cached, operators, reserved })
    }

    /// What the GPU keeps of weights, and the room to convert others into.
    fn weights(&self) -> u128 {
        u128::from(self.wanted.weights.of_gpu) + u128::from(self.wanted.weights.scratch)
    }

    /// States of recurrences that stay with the GPU, of a sequence.
    fn states(&self, batch: u64, in_banks: Option<&Graph>) -> u128 {
        // Counted as they are read and as they are written.
        let there =
            in_banks.map_or(0, |graph| graph.operators().map(|n| u128::from(n.state_bytes()) / 2).sum::<u128>());
        self.model.state_bytes().saturating_sub(there / u128::from(batch.max(1)))
    }

    /// Weights and activations, and of keys and values what the GPU has of them: those of the prompt until they are in the banks; where
    /// it shares the memory, all.
    fn in_gpu(&self, batch: u64, in_banks: Option<&Graph>) -> Result<(), Unfit> {
        let (site, generation) = (self.site, self.generation);
        let tokens = match (site.shared || self.wanted.on_gpu, generation.prompt_tokens) {
            (true, _) => generation.last_context(),
            (false, 0) => 0,
            (false, _) => generation.first_context(),
        };
        let states = self.states(batch, in_banks);
        let batch = u128::from(batch);
        let kv = (self.model.kv_bytes(tokens) + states) * batch;
        let (weights, activations) = (self.weights(), self.activations * batch);
        let has = u128::from(site.spec.dram.capacity_bytes);
        if weights + kv + activations <= has {
            return Ok(());
        }
        let whose = if site.shared { "KV cache" } else { "the prompt's KV cache" };
        let problem = format!(
            "`{}` takes {:.2} GB of weights, {:.2} GB of {whose} and {:.2} GB of activations; {} has {:.2} GB",
            self.model.name,
            gb(weights),
            gb(kv),
            gb(activations),
            site.gpu_name,
            gb(has)
        );
        Err((if weights > has { "workload.model" } else { "workload.generation.batch" }, problem))
    }

    /// Rows of every bank that weights, activations and states of the GPU take, spread over all, and its keys and values where it has them.
    fn rows_of_gpu(&self, batch: u64, in_banks: Option<&Graph>) -> Result<u32, Unfit> {
        let (site, device) = (self.site, &self.site.pim.device);
        let row = u128::from(device.row_bytes()) * u128::from(device.banks) * u128::from(site.pim.channels());
        let kv = if self.wanted.on_gpu { self.model.kv_bytes(self.generation.last_context()) } else { 0 };
        let states = if in_banks.is_some() { self.states(batch, in_banks) } else { 0 };
        let rows = (self.weights() + (self.activations + kv + states) * u128::from(batch)).div_ceil(row.max(1));
        match u32::try_from(rows) {
            Ok(rows) if rows < device.rows => Ok(rows),
            _ => {
                let problem = format!(
                    "`{}` takes {rows} rows of every bank of {}, which has {}: none are left for keys and values",
                    self.model.name, site.pim_name, device.rows
                );
                Err(("workload.model", problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::most_that_fit;

    #[test]
    fn the_most_that_fit_are_found() {
        for limit in 0..20 {
            for too_many in limit + 1..25 {
                assert_eq!(most_that_fit(too_many, |n| n <= limit), limit);
            }
        }
    }
}
