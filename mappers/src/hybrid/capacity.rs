//! What must lie in which memory, and whether it fits.

use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, GptConfig};

use super::site::Site;
use crate::pim::{PimAttention, Sizes};

/// Rows of every bank that are not for keys and values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reserved {
    /// The first of them are those of the weights and activations of a GPU that uses the same memory.
    pub(super) rows: u32,
}

fn gb(bytes: u128) -> f64 {
    bytes as f64 / 1e9
}

/// A model and how it is used, without the batch.
struct Case<'a> {
    site: &'a Site,
    model: &'a GptConfig,
    generation: &'a Generation,
    /// Of a sequence.
    activations: u128,
}

/// What does not fit: the key to blame, and in words.
type Unfit = (&'static str, String);

/// Lays keys and values out in the banks, and checks that the rest fits the GPU.
pub(super) fn lay_out(
    site: &Site,
    model: &GptConfig,
    generation: &Generation,
    activations: u64,
    source: &Source,
) -> Result<(PimAttention, Reserved), InputError> {
    if model.dtype.bits() != 16 {
        let problem = format!("`{}` is of type {}: its units multiply 16-bit numbers", model.name, model.dtype.name());
        return Err(source.error("workload.model", problem).help("give a model with dtype = \"bf16\" or \"f16\""));
    }
    // Of one token of one sequence, it is not for want of room.
    PimAttention::new(&site.pim, sizes(model, 1), 1, 0).map_err(|why| {
        let problem = format!("has the PIM device {}, which cannot run attention: {why}", site.pim_name);
        source.error("machine.base", problem).help("give it one whose base is `aim`, `hbm-pim` or `attacc`")
    })?;
    let activations = u128::from(activations).div_ceil(u128::from(generation.batch.max(1)));
    let case = Case { site, model, generation, activations };
    case.lay_out(generation.batch).map_err(|(key, problem)| {
        let help = match most_that_fit(generation.batch, |batch| case.lay_out(batch).is_ok()) {
            0 => "use a shorter prompt or context, or a smaller model: not one sequence fits".to_owned(),
            n => format!("use a batch of at most {n}, a shorter prompt or context, or a smaller model"),
        };
        source.error(key, problem).help(help)
    })
}

/// The attention of all layers, at a context.
fn sizes(model: &GptConfig, context: u64) -> Sizes {
    let GptConfig { layers, heads, kv_heads, head_dim, .. } = *model;
    Sizes { layers, heads, kv_heads, key_dim: head_dim, value_dim: head_dim, context }
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
    fn lay_out(&self, batch: u64) -> Result<(PimAttention, Reserved), Unfit> {
        self.in_gpu(batch)?;
        let reserved = Reserved { rows: if self.site.shared { self.rows_of_gpu(batch)? } else { 0 } };
        let context = self.generation.last_context();
        match PimAttention::new(&self.site.pim, sizes(self.model, context), batch, reserved.rows) {
            Ok(attention) => Ok((attention, reserved)),
            Err(why) => {
                let problem = format!("is {batch}: {} cannot hold its keys and values: {why}", self.site.pim_name);
                Err(("workload.generation.batch", problem))
            }
        }
    }

    fn weights(&self) -> u128 {
        u128::from(self.model.weight_bytes())
    }

    /// Weights and activations, and of keys and values what the GPU has of them: those of the prompt until they are in the banks; where
    /// it shares the memory, all.
    fn in_gpu(&self, batch: u64) -> Result<(), Unfit> {
        let (site, generation) = (self.site, self.generation);
        let tokens = match (site.shared, generation.prompt_tokens) {
            (true, _) => generation.last_context(),
            (false, 0) => 0,
            (false, _) => generation.first_context(),
        };
        let batch = u128::from(batch);
        let kv = u128::from(self.model.kv_bytes_per_token()) * u128::from(tokens) * batch;
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

    /// Rows of every bank that weights and activations take, spread over all.
    fn rows_of_gpu(&self, batch: u64) -> Result<u32, Unfit> {
        let (site, device) = (self.site, &self.site.pim.device);
        let row = u128::from(device.row_bytes()) * u128::from(device.banks) * u128::from(site.pim.channels());
        let rows = (self.weights() + self.activations * u128::from(batch)).div_ceil(row.max(1));
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
