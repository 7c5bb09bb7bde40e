//! What must lie in which memory, and whether it fits.

use banksia_input::{InputError, Source};
use banksia_workloads::{Generation, GptConfig};

use super::site::Site;
use crate::pim::PimAttention;

/// Rows of every bank that are not for keys and values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reserved {
    /// The first of them are those of the weights and activations of a GPU that uses the same memory.
    pub(super) rows: u32,
}

fn gb(bytes: u128) -> f64 {
    bytes as f64 / 1e9
}

/// Lays keys and values out in the banks, and checks that the rest fits the GPU.
pub(super) fn lay_out(
    site: &Site,
    model: &GptConfig,
    generation: &Generation,
    activations: u64,
    source: &Source,
) -> Result<(PimAttention, Reserved), InputError> {
    // Of one token of one sequence, it is not for want of room.
    PimAttention::new(&site.pim, model, 1, 1, 0).map_err(|why| {
        let problem = format!("has the PIM device {}, which cannot run attention: {why}", site.pim_name);
        source.error("machine.base", problem).help("give it one whose base is `aim`, `hbm-pim` or `attacc`")
    })?;
    in_gpu(site, model, generation, activations, source)?;
    let reserved = Reserved { rows: if site.shared { rows_of_gpu(site, model, activations, source)? } else { 0 } };
    let fit = |batch: u64| PimAttention::new(&site.pim, model, batch, generation.last_context(), reserved.rows);
    match fit(generation.batch) {
        Ok(attention) => Ok((attention, reserved)),
        Err(why) => {
            let problem = format!("is {}: {} cannot hold its keys and values: {why}", generation.batch, site.pim_name);
            let most = most_that_fit(generation.batch, |batch| fit(batch).is_ok());
            Err(source.error("workload.generation.batch", problem).help(remedy(most, "shorter context")))
        }
    }
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

fn remedy(batch: u64, shorter: &str) -> String {
    match batch {
        0 => format!("use a {shorter} or a smaller model: not one sequence fits"),
        n => format!("use a batch of at most {n}, a {shorter} or a smaller model"),
    }
}

/// Weights and activations, and of keys and values what the GPU has of them: those of the prompt until they are in the banks; where
/// it shares the memory, all.
fn in_gpu(
    site: &Site,
    model: &GptConfig,
    generation: &Generation,
    activations: u64,
    source: &Source,
) -> Result<(), InputError> {
    let tokens = match (site.shared, generation.prompt_tokens) {
        (true, _) => generation.last_context(),
        (false, 0) => 0,
        (false, _) => generation.first_context(),
    };
    let of_sequence = u128::from(model.kv_bytes_per_token()) * u128::from(tokens);
    let (weights, batch) = (u128::from(model.weight_bytes()), u128::from(generation.batch));
    let (kv, activations) = (of_sequence * batch, u128::from(activations));
    let has = u128::from(site.spec.dram.capacity_bytes);
    if weights + kv + activations <= has {
        return Ok(());
    }
    let whose = if site.shared { "KV cache" } else { "the prompt's KV cache" };
    let problem = format!(
        "`{}` takes {:.2} GB of weights, {:.2} GB of {whose} and {:.2} GB of activations; {} has {:.2} GB",
        model.name,
        gb(weights),
        gb(kv),
        gb(activations),
        site.gpu_name,
        gb(has)
    );
    let Some(room) = has.checked_sub(weights) else {
        return Err(source.error("workload.model", problem).help(format!("use a model of at most {:.0} GB", gb(has))));
    };
    let each = of_sequence + activations.div_ceil(batch.max(1));
    let most = u64::try_from(room / each.max(1)).unwrap_or(u64::MAX);
    Err(source.error("workload.generation.batch", problem).help(remedy(most, "shorter prompt")))
}

/// Rows of every bank that weights and activations take, spread over all.
fn rows_of_gpu(site: &Site, model: &GptConfig, activations: u64, source: &Source) -> Result<u32, InputError> {
    let device = &site.pim.device;
    let row = u128::from(device.row_bytes()) * u128::from(device.banks) * u128::from(site.pim.channels());
    let rows = (u128::from(model.weight_bytes()) + u128::from(activations)).div_ceil(row.max(1));
    match u32::try_from(rows) {
        Ok(rows) if rows < device.rows => Ok(rows),
        _ => {
            let problem = format!(
                "`{}` takes {rows} rows of every bank of {}, which has {}: none are left for keys and values",
                model.name, site.pim_name, device.rows
            );
            Err(source.error("workload.model", problem).help("use a smaller model, or a machine of more channels"))
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
