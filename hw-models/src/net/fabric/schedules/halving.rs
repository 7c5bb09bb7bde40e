//! Halving and doubling: exchanges with ranks at distances of powers of two.

use crate::net::fabric::group::Collective;
use crate::net::fabric::schedule::{Mode, Schedule};

use super::{equal, not_for, once, transfer};

/// All-reduce, reduce-scatter or all-gather by recursive halving and doubling. Of ranks that are no power of two (all-reduce only), those beyond the
/// largest one give what they have to a partner first, and get it back last.
///
/// # Errors
/// There is none for the collective or its number of ranks.
pub fn halving_doubling(collective: Collective, ranks: u32, bytes: u64) -> Result<Schedule, String> {
    if ranks == 0 {
        return Err("has no ranks".to_owned());
    }
    let (halve, double) = match collective {
        Collective::AllReduce => (true, true),
        Collective::ReduceScatter => (true, false),
        Collective::AllGather => (false, true),
        _ => return Err(not_for("halving and doubling", collective)),
    };
    let most = 1 << ranks.ilog2();
    let beyond = ranks - most;
    if beyond > 0 && !(halve && double) {
        return Err(format!("has no halving and doubling of {ranks} ranks: a power of two, or an all-reduce"));
    }
    let chunks = most;
    let mut steps = Vec::new();
    steps.push(once((0..beyond).map(|r| transfer(most + r, r, 0, chunks, Mode::Reduce)).collect()));
    let mut distances: Vec<u32> = Vec::new();
    let mut d = most / 2;
    while d > 0 {
        distances.push(d);
        d /= 2;
    }
    if halve {
        // At distance d, ranks keep the half of 2d chunks in which they lie, and send the other's.
        for &d in &distances {
            steps.push(once((0..most).map(|r| transfer(r, r ^ d, (r ^ d) / d * d, d, Mode::Reduce)).collect()));
        }
    }
    if double {
        for &d in distances.iter().rev() {
            steps.push(once((0..most).map(|r| transfer(r, r ^ d, r / d * d, d, Mode::Copy)).collect()));
        }
    }
    steps.push(once((0..beyond).map(|r| transfer(r, most + r, 0, chunks, Mode::Copy)).collect()));
    Ok(equal(collective, ranks, chunks, bytes, steps))
}
