//! The engine of an experiment: how it forms steps, and the room that weights and states leave for its cache.

use banksia_input::InputError;
use banksia_workloads::Generation;

use super::file::Admission;
use super::load::Engine;
use super::settings::Load;
use crate::experiment::Experiment;

/// Bytes of the cache that a token takes, where the mapping keeps it: of all devices, or of the rank that keeps most.
fn bytes_a_token(load: &Load, experiment: &Experiment) -> f64 {
    const TOKENS: u64 = 1024;
    const SEQUENCES: u64 = 8;
    let few = Generation {
        context_tokens: TOKENS - 1,
        prompt_tokens: 0,
        batch: SEQUENCES,
        ignore_position_limit: true,
        ..Generation::default()
    };
    // Where so many do not fit, what the model says of itload.
    let kept = experiment.using(&load.source, &load.machine, few).map(|e| e.plan.footprint().kv);
    kept.map_or(experiment.model.kv_bytes_per_token() as f64, |kv| kv as f64 / (TOKENS * SEQUENCES) as f64)
}

/// The engine, with the room that weights and states leave.
///
/// # Errors
/// They leave none.
pub(super) fn engine(load: &Load, experiment: &Experiment) -> Result<Engine, InputError> {
    let e = load.engine;
    let model = &experiment.model;
    let devices = &experiment.machine.devices;
    let dtype = banksia_mappers::dtype_of(model.types.operands());
    // Of ranks, what one of them has and keeps.
    let capacity = match devices.first() {
        Some((_, device)) if experiment.machine.fabric.is_some() => device.facts(dtype),
        _ => experiment.machine.facts(dtype),
    };
    let capacity = capacity.capacity_bytes as f64;
    let weights = experiment.plan.footprint().weights as f64;
    let most = e.max_sequences.min(load.lengths.len() as u64);
    let states = model.state_bytes() as f64 * most as f64;
    let left = e.memory_share * capacity - weights - states;
    let each = bytes_a_token(load, experiment);
    let room = match (e.cache_tokens, each) {
        (Some(tokens), _) => load.source.check("serving.engine.cache_tokens", tokens, 1..=1 << 50)?,
        (None, _) if left <= 0.0 => {
            let problem = format!(
                "of {:.1} GB leaves no room for a cache: weights take {:.1} GB, states {:.1} GB",
                capacity / 1e9,
                weights / 1e9,
                states / 1e9
            );
            let error = load.source.error("serving.engine.memory_share", problem);
            return Err(error.help("take fewer max_sequences, a larger machine, or weights of fewer bits"));
        }
        // States alone, of one size for any context.
        (None, each) if each <= 0.0 => u64::MAX / 2,
        (None, each) => (left / each) as u64,
    };
    Ok(Engine {
        budget: e.token_budget,
        chunked: e.chunked,
        mixed: e.mixed,
        reserves: e.admission == Admission::Whole,
        room,
        most: e.max_sequences,
        hold: (0, 0),
    })
}
