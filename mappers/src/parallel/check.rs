//! Whether settings fit each other, the model and the devices; what would, where they do not.

use super::error::ParallelError;
use super::lists::Context;
use super::settings::{Context as Way, OuterSum, Schedule, Zero};

/// Micro batches of a step.
///
/// # Errors
/// A setting does not divide what it cuts.
pub fn check(c: &Context<'_>) -> Result<u32, ParallelError> {
    let (p, t, s) = (c.parallel, c.train, c.shape);
    let counts = [
        ("parallel.tp", p.tp),
        ("parallel.pp", p.pp),
        ("parallel.virtual_stages", p.virtual_stages),
        ("parallel.dp", p.dp),
        ("parallel.outer", p.outer),
        ("parallel.ep", p.ep),
        ("parallel.cp", p.cp),
        ("parallel.overlap.expert_pieces", p.overlap.expert_pieces),
        ("train.local_steps", t.local_steps),
        ("train.micro_batch", t.micro_batch),
        ("train.global_batch", t.global_batch),
        ("train.sequence", t.sequence),
    ];
    if let Some((key, _)) = counts.iter().find(|(_, v)| *v == 0) {
        return Err(ParallelError::new(*key, "is 0: must be at least 1"));
    }
    /// Most of any count: products of them are counted in 32 bits.
    const MOST: u32 = 1 << 24;
    if let Some((key, value)) = counts.iter().find(|(_, v)| *v > MOST) {
        return Err(ParallelError::new(*key, format!("is {value}: must be at most {MOST}")));
    }
    let devices = [p.tp, p.cp, p.pp, p.dp, p.outer].into_iter().fold(1_u64, |n, v| n.saturating_mul(u64::from(v)));
    let batch = u64::from(p.dp) * u64::from(p.outer) * u64::from(t.micro_batch);
    let experts = u64::from(p.ep) * u64::from(p.expert_tensor());
    if devices.max(batch).max(experts) > u64::from(MOST) {
        let problem = format!("makes {} devices of tp x cp x pp x dp x outer: must be at most {MOST}", devices);
        return Err(ParallelError::new("parallel.dp", problem));
    }
    let divides = |key: &str, by: u32, what: &str, whole: u32| {
        if whole.is_multiple_of(by) {
            return Ok(());
        }
        let fits: Vec<String> =
            (1..=whole.min(by * 2)).filter(|d| whole.is_multiple_of(*d)).map(|d| d.to_string()).collect();
        let problem = format!("is {by}, which does not divide {what} ({whole})");
        Err(ParallelError::new(key, problem).help(format!("use one of {}", fits.join(", "))))
    };
    divides("parallel.tp", p.tp, "the model's heads", s.heads)?;
    if s.kv_heads > p.tp {
        divides("parallel.tp", p.tp, "the model's key heads", s.kv_heads)?;
    }
    divides("parallel.cp", 2 * p.cp, "the sequence in two pieces a rank", t.sequence * if p.cp == 1 { 2 } else { 1 })?;
    if p.context == Way::Hybrid {
        let by = p.ulysses.max(1);
        divides("parallel.ulysses", by, "the context-parallel ranks", p.cp)?;
        divides("parallel.ulysses", by, "the heads of a tensor-parallel rank", s.heads / p.tp)?;
    } else if p.ulysses != 1 {
        let problem = format!("is {}, and parallel.context is not \"hybrid\"", p.ulysses);
        return Err(ParallelError::new("parallel.ulysses", problem).help("use 1, or context = \"hybrid\""));
    }
    if p.sequence {
        divides("parallel.tp", p.tp, "the tokens of a sequence on a context-parallel rank", t.sequence / p.cp)?;
    }
    if p.pp * p.virtual_stages > s.layers + if p.ends_count { 2 } else { 0 } {
        let problem = format!(
            "times `parallel.virtual_stages` is {}, more than the model's {} layers",
            p.pp * p.virtual_stages,
            s.layers
        );
        return Err(ParallelError::new("parallel.pp", problem).help("use fewer stages"));
    }
    if let Some(e) = s.experts {
        divides("parallel.ep", p.ep, "the model's experts", e.count)?;
        let ranks = p.tp * p.cp * p.dp;
        divides("parallel.ep", p.ep * p.expert_tensor(), "the ranks of a stage (tp x cp x dp)", ranks)?;
    } else if p.ep > 1 {
        return Err(
            ParallelError::new("parallel.ep", format!("is {}, but the model has no experts", p.ep)).help("use 1")
        );
    }
    let per_replica = p.dp * p.outer * t.micro_batch;
    if !t.global_batch.is_multiple_of(per_replica) {
        let problem =
            format!("is {}, which is not a multiple of micro_batch x dp x outer ({per_replica})", t.global_batch);
        let help = format!("use {}", t.global_batch.next_multiple_of(per_replica));
        return Err(ParallelError::new("train.global_batch", problem).help(help));
    }
    /// Most pieces: each has launches of its own.
    const MOST_PIECES: u32 = 1024;
    if p.overlap.expert_pieces > MOST_PIECES {
        let problem = format!("is {}: must be at most {MOST_PIECES}", p.overlap.expert_pieces);
        return Err(ParallelError::new("parallel.overlap.expert_pieces", problem));
    }
    if !(1..=100).contains(&p.expert_rows_pct) {
        let problem = format!("is {}: is a share of the rows that are routed", p.expert_rows_pct);
        return Err(ParallelError::new("parallel.expert_rows_pct", problem).help("use 1 to 100"));
    }
    if p.outer == 1 && (t.local_steps > 1 || t.outer_sum != OuterSum::Waits) {
        let key = if t.local_steps > 1 { "train.local_steps" } else { "train.outer_sum" };
        let problem = "is of groups of replicas that take steps of their own, and there is one group";
        return Err(ParallelError::new(key, problem).help("set parallel.outer to how many groups there are"));
    }
    if t.layerwise && (t.global_batch > per_replica || p.pp > 1) {
        let problem = "drops gradients after a layer's backward pass, and there are several micro batches or stages";
        return Err(ParallelError::new("train.layerwise", problem).help("use one micro batch and parallel.pp = 1"));
    }
    if p.schedule == Schedule::ZbV && p.virtual_stages != 2 {
        return Err(ParallelError::new("parallel.virtual_stages", "must be 2 for the schedule zb-v").help("use 2"));
    }
    if p.schedule.splits_backward() && p.schedule != Schedule::ZbV && p.virtual_stages != 1 {
        let problem = format!("is {}; this schedule has one chunk a stage", p.virtual_stages);
        return Err(ParallelError::new("parallel.virtual_stages", problem).help("use 1, or the schedule interleaved"));
    }
    if p.schedule.splits_backward() && p.zero == Zero::Weights {
        let problem = "is weights: gradients of weights apart would gather them twice";
        return Err(ParallelError::new("parallel.zero", problem).help("use optimizer or gradients"));
    }
    Ok(t.global_batch / per_replica)
}

/// Layers of each place of the pipeline (chunk by chunk over all stages): equal shares; what is left goes to the first; with `ends_count` the
/// embedding and the head are taken for a layer each.
pub fn layers(c: &Context<'_>) -> Vec<u32> {
    let places = (c.parallel.pp * c.parallel.virtual_stages) as usize;
    let extra = if c.parallel.ends_count { 2 } else { 0 };
    let all = c.shape.layers + extra;
    let mut out: Vec<u32> =
        (0..places as u32).map(|i| all / places as u32 + u32::from(i < all % places as u32)).collect();
    if c.parallel.ends_count {
        if let Some(first) = out.first_mut() {
            *first = first.saturating_sub(1);
        }
        if let Some(last) = out.last_mut() {
            *last = last.saturating_sub(1);
        }
    }
    out
}
