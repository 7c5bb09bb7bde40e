//! Operators that a framework computes in one kernel.

use banksia_workloads::{Communication, Op, Place};

use super::super::frameworks::Framework;
use super::super::launch::Operand;
use super::part::{ExpertsWork, Part, Work};

fn op(part: &Part) -> Option<Op> {
    match part.work {
        Work::Operator { op, .. } => Some(op),
        _ => None,
    }
}

fn row_count(part: &Part) -> u64 {
    match &part.work {
        Work::Operator { batch, tokens, .. } => batch.saturating_mul(*tokens),
        _ => 0,
    }
}

/// Products of one input as one, activations with their gates, sums with the norms behind them, and, where the framework has kernels for
/// it, a mixture of experts as a whole.
pub(super) fn rows(parts: Vec<Part>, framework: Framework) -> Vec<Part> {
    let mut parts = gates(parts);
    if framework != Framework::Compiled {
        parts = experts(parts);
    }
    sums(&parts)
}

/// The gate and up projections of one input as one product, and the activated gate's product with the other as one kernel.
fn gates(parts: Vec<Part>) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::with_capacity(parts.len());
    let mut rest = parts.into_iter().peekable();
    while let Some(part) = rest.next() {
        // A product of the same input as the one before it.
        if let (Some(Op::Linear { in_features, out_features, bias }), Some(before)) = (op(&part), out.last_mut())
            && let Work::Operator { op: Op::Linear { in_features: k, out_features: n, bias: b }, types, .. } =
                &mut before.work
            && (*k, *b) == (in_features, bias)
            && before.inputs == part.inputs
            && before.region == part.region
            && matches!(&part.work, Work::Operator { types: own, .. } if own == types)
            && part.label.ends_with("up projection")
            && before.label.ends_with("gate projection")
        {
            *n = n.saturating_add(out_features);
            before.flops = before.flops.saturating_add(part.flops);
            before.label = before.label.replace("gate projection", "gate and up projection");
            continue;
        }
        // An activation whose result is multiplied with the other half.
        if let (Some(Op::Activation { kind, width }), Some(next)) = (op(&part), rest.peek())
            && matches!(op(next), Some(Op::GatedMul { .. }))
            && next.inputs.first() == Some(&part.output)
            && out.last().is_some_and(|p| {
                p.label.ends_with("gate and up projection") || matches!(op(p), Some(Op::ExpertLinear { .. }))
            })
        {
            let (count, flops) = (row_count(&part), part.flops);
            let Some(next) = rest.next() else { break };
            let input = out.last().map_or_else(|| part.input(0), |p| p.output.clone());
            out.push(Part {
                label: next.label.clone(),
                work: Work::GatedActivation { kind, width, rows: count },
                flops: flops.saturating_add(next.flops),
                inputs: vec![input],
                ..next
            });
            continue;
        }
        out.push(part);
    }
    out
}

/// Route, dispatch, products, gate and sum of a mixture as one part.
fn experts(parts: Vec<Part>) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::with_capacity(parts.len());
    let mut open: Option<(Part, ExpertsWork)> = None;
    // Results on their way back to the ranks of their tokens.
    let mut back: Option<Part> = None;
    for part in parts {
        match (op(&part), &mut open) {
            (Some(Op::Route { experts, top_k, .. }), None) => {
                let Work::Operator { types, batch, tokens, .. } = &part.work else { continue };
                let work = ExpertsWork {
                    tokens: batch.saturating_mul(*tokens),
                    width: 0,
                    inner: 0,
                    experts,
                    top_k,
                    load: std::sync::Arc::default(),
                    gated: false,
                    types: *types,
                };
                open = Some((part, work));
            }
            // Projections between the two belong to no fused kernel.
            (Some(Op::Collective { what: Communication::Return, .. }), Some(_)) => back = Some(part),
            (Some(Op::Linear { .. } | Op::Collective { .. }), Some(_)) | (_, None) => out.push(part),
            (_, Some((whole, work))) => {
                whole.flops = whole.flops.saturating_add(part.flops);
                match &part.work {
                    Work::Operator { op: Op::Dispatch { width, .. }, .. } => {
                        work.width = *width;
                        whole.inputs.insert(0, part.input(0));
                    }
                    Work::Operator { op: Op::ExpertLinear { in_features, .. }, types, load, .. } => {
                        (work.inner, work.types) = (*in_features, *types);
                        work.load = std::sync::Arc::clone(load);
                        whole.weights.push(part.weight(0));
                    }
                    Work::GatedActivation { .. } => work.gated = true,
                    Work::Operator { op: Op::Combine { .. }, .. } => {
                        whole.label = "experts".into();
                        whole.output = part.output.clone();
                        if let Some((whole, work)) = open.take() {
                            out.push(Part { work: Work::Experts(Box::new(work)), ..whole });
                            out.extend(back.take());
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    out.extend(open.map(|(part, _)| part));
    out
}

fn is_norm(part: &Part) -> bool {
    matches!(op(part), Some(Op::RmsNorm { .. } | Op::LayerNorm { .. } | Op::PlainNorm { .. }))
}

/// The residual stream's memory, which fused kernels read and write.
const STREAM: &str = "hidden";

/// Whether memory has a sum of the stream: not so that of a shared expert and the routed ones.
fn is_of_stream(operand: &Operand) -> bool {
    !operand.own && operand.name.ends_with("_residual") && operand.name != "shared_residual"
}

/// A sum with the norm that reads it: within a layer the next part, at a layer's end what the next layer, or what comes after, begins with.
fn sums(parts: &[Part]) -> Vec<Part> {
    let regions = parts.last().map_or(0, |p| p.region + 1);
    let begins_with_norm = |region: usize| {
        let first = parts.iter().find(|p| p.region == region);
        first.is_some_and(|p| is_norm(p) && p.inputs.first() == Some(&Operand::shared(STREAM)))
    };
    // A layer's last sum is left to what follows where all of that begins with a norm of the stream.
    let leaves: Vec<bool> = (0..regions)
        .map(|r| {
            let last = parts.iter().rfind(|p| p.region == r);
            last.is_some_and(|p| {
                p.place == Place::Layers
                    && matches!(op(p), Some(Op::Residual { .. }))
                    && (p.repeat == 1 || begins_with_norm(r))
                    && begins_with_norm(r + 1)
            })
        })
        .collect();
    let takes = |region: usize, repeat: u32| {
        // The first of all layers has no sum before it: one launch of a model's, taken for one like the others.
        (repeat > 1 && leaves.get(region).copied().unwrap_or(false))
            || region.checked_sub(1).is_some_and(|before| leaves.get(before).copied().unwrap_or(false))
    };
    let mut out: Vec<Part> = Vec::with_capacity(parts.len());
    let mut rest = parts.iter().cloned().enumerate().peekable();
    // What the sum that has been left out would have added.
    let mut pending: Option<Part> = None;
    let mut left: Vec<Option<Operand>> = vec![None; regions];
    let last_of = |region: usize| parts.iter().rposition(|p| p.region == region);
    let first_of = |region: usize| parts.iter().position(|p| p.region == region);
    for r in 0..regions {
        if leaves[r]
            && let Some(last) = last_of(r)
        {
            left[r] = Some(parts[last].input(1));
        }
    }
    while let Some((at, part)) = rest.next() {
        let residual = matches!(op(&part), Some(Op::Residual { .. }));
        if residual && leaves[part.region] && Some(at) == last_of(part.region) {
            continue;
        }
        let next_reads = rest
            .peek()
            .is_some_and(|(_, n)| is_norm(n) && n.region == part.region && n.inputs.first() == Some(&part.output));
        if residual && next_reads && (is_of_stream(&part.output) || part.output.name == STREAM) {
            pending = Some(part);
            continue;
        }
        if let (true, Some(sum), Some(norm)) = (is_norm(&part), pending.take(), op(&part)) {
            let count = row_count(&part);
            out.push(added(part, norm, count, sum.input(1), sum.flops));
            continue;
        }
        if is_norm(&part)
            && Some(at) == first_of(part.region)
            && takes(part.region, part.repeat)
            && let Some(norm) = op(&part)
        {
            let before = part.region.checked_sub(1).and_then(|b| left[b].clone());
            let operand = left[part.region].clone().or(before).unwrap_or_else(|| Operand::shared("sum"));
            let (count, width) = (row_count(&part), width_of(norm));
            // The first of all layers has been given a sum that it has not: the last norm's is that one.
            let begin = (0..part.region).rev().take_while(|r| leaves[*r]).last();
            let given = begin.and_then(first_of).is_some_and(|first| parts[first].repeat > 1);
            let flops = if given && !leaves[part.region] { 0 } else { count.saturating_mul(width) };
            out.push(added(part, norm, count, operand, flops));
            continue;
        }
        out.push(part);
    }
    stream_in_place(out)
}

fn width_of(norm: Op) -> u64 {
    match norm {
        Op::RmsNorm { width } | Op::LayerNorm { width } | Op::PlainNorm { width, .. } => width,
        _ => 0,
    }
}

fn added(part: Part, op: Op, rows: u64, operand: Operand, flops: u64) -> Part {
    Part {
        work: Work::AddNorm { op, rows },
        flops: part.flops.saturating_add(flops),
        inputs: vec![operand, Operand::shared(STREAM)],
        ..part
    }
}

/// Sums are written back to the stream: whoever read a sum reads that.
fn stream_in_place(mut parts: Vec<Part>) -> Vec<Part> {
    for part in &mut parts {
        for input in &mut part.inputs {
            if is_of_stream(input) {
                input.name = STREAM.into();
            }
        }
        if is_of_stream(&part.output) {
            part.output.name = STREAM.into();
        }
    }
    parts
}
