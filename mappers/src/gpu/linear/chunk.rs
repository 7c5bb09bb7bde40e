//! Prompts, chunk by chunk: what each rule is launched as.

use banksia_hw::gpu::spec::GpuSpec;

use super::{LinearCall, Names, Rule, Source, gates, kda, output, recurrent, state, wy};
use crate::gpu::launch::{Item, Operand};

/// Small kernels of one CTA with which PyTorch computes retention's decays (`operators_kernels.jsonl`: seven).
const DECAY_LAUNCHES: usize = 7;

/// The launches of a prompt.
///
/// # Errors
/// What the published kernels cannot do, or what is too large to simulate.
pub fn chunk(source: Source, call: &LinearCall, spec: &GpuSpec, names: &Names) -> Result<Vec<Item>, String> {
    call.check()?;
    let mut items = Vec::new();
    match call.rule {
        Rule::Hgrn => return recurrent::scan(call, spec, names),
        Rule::Retention | Rule::SimpleGla => {
            if call.rule == Rule::Retention && source == Source::Fla {
                items.extend((0..DECAY_LAUNCHES).map(|_| gates::tiny(spec, "decays of heads")));
            }
            let gate = names.between("decay");
            if call.rule == Rule::SimpleGla {
                items.push(gates::scalar_sum(call, spec, &names.gate, &gate)?);
            }
            items.push(state::plain(call, spec, names, &gate)?);
            items.push(output::scores(source, call, spec, names, &names.v, &gate)?);
        }
        Rule::Gla => {
            let gate = names.between("decay");
            items.push(gates::vector_sum(call, spec, &names.gate, &gate)?);
            items.push(state::plain(call, spec, names, &gate)?);
            items.extend(gates::within(call, spec, names, &gate)?);
            let values = u64::from(call.heads) * u64::from(call.value_dim);
            items.push(gates::fill(call.rows().saturating_mul(values), &names.output));
            items.push(output::gated(call, spec, names, (&names.q, &names.v), &gate)?);
        }
        Rule::Delta | Rule::GatedDelta => {
            let normed = source == Source::Sglang;
            let names = &if normed {
                items.push(gates::normalise(call, spec, &names.q, &names.between("q"))?);
                items.push(gates::normalise(call, spec, &names.k, &names.between("k"))?);
                Names { q: names.between("q"), k: names.between("k"), ..names.clone() }
            } else {
                names.clone()
            };
            let gate = names.between("decay");
            if call.rule == Rule::GatedDelta {
                items.push(gates::scalar_sum(call, spec, &names.gate, &gate)?);
            }
            items.extend(wy::inverse(source, call, spec, names, &gate)?);
            items.push(wy::recompute(source, call, spec, names, &gate)?);
            items.push(state::corrected(source, call, spec, names, (&names.k, &gate))?);
            items.push(output::scores(source, call, spec, names, &names.between("new values"), &gate)?);
        }
        Rule::Kda => {
            if source != Source::Fla {
                items.push(gates::normalise(call, spec, &names.q, &names.between("q"))?);
                items.push(gates::normalise(call, spec, &names.k, &names.between("k"))?);
            }
            let names = &if source == Source::Fla {
                names.clone()
            } else {
                Names { q: names.between("q"), k: names.between("k"), ..names.clone() }
            };
            let gate = names.between("decay");
            items.push(gates::vector_sum(call, spec, &names.gate, &gate)?);
            items.extend(kda::within(call, spec, names, &gate)?);
            let keys: Operand = names.between("gated keys");
            items.push(state::corrected(source, call, spec, names, (&keys, &gate))?);
            items.push(output::gated(call, spec, names, (&names.q, &names.between("new values")), &gate)?);
        }
    }
    Ok(items)
}
