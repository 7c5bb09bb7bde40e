//! Hierarchical: a part of the work within every node, the rest between ranks at the same place of their nodes (rails).

use crate::net::fabric::group::Collective;
use crate::net::fabric::schedule::{Mode, Schedule, Step, Transfer};

use super::{equal, not_for, once, transfer};

/// Ranks in nodes of `local`, in order. All-reduce: directly scattered within the node, rings over each rail, gathered within the node; all-gather: rings over
/// rails, then within the node; reduce-scatter the other way. All-to-all: within the node to the rail of the destination, then over it.
///
/// # Errors
/// The ranks are not so many nodes, or there is none for the collective.
pub fn hierarchical(collective: Collective, ranks: u32, local: u32, bytes: u64) -> Result<Schedule, String> {
    if collective == Collective::AllToAll && ranks > 1 << 14 {
        return Err(format!("has {ranks} ranks: an all-to-all of up to 16384 is made"));
    }
    if ranks == 0 || local == 0 || !ranks.is_multiple_of(local) {
        return Err(format!("has {ranks} ranks, which are no nodes of {local}"));
    }
    let (n, r, m) = (ranks, local, ranks / local);
    let rank = |node: u32, place: u32| node * r + place;
    // Pairs within nodes, of different places.
    let within = |f: &dyn Fn(u32, u32, u32) -> Vec<Transfer>| {
        let mut transfers = Vec::new();
        for node in 0..m {
            for d in 1..r {
                for i in 0..r {
                    transfers.extend(f(node, i, (i + d) % r));
                }
            }
        }
        once(transfers)
    };
    // Rings over rails: at time t, node k sends the chunk of node (k - t), which is `back` of the one before within `window` chunks.
    let rails = |f: &dyn Fn(u32, u32, u32) -> Transfer, lag: u32, (back, window): (u32, u32)| {
        let all = (0..m).flat_map(|k| (0..r).map(move |i| (k, i)));
        let transfers = all.map(|(k, i)| f(k, i, (k + 2 * m - lag) % m)).collect();
        Step { transfers, repeat: m - 1, rotate: window - back, window }
    };
    // Of ranks' chunks node by node, and of the chunks of a place side by side.
    let (by_rank, by_place) = ((r, n), (1, m));
    // Chunk of node k and place i: its rank.
    let pass =
        |mode: Mode| move |k: u32, i: u32, of: u32| transfer(rank(k, i), rank((k + 1) % m, i), rank(of, i), 1, mode);
    let scatter = || {
        within(&|node, i, j| {
            (0..m).map(|k| transfer(rank(node, i), rank(node, j), rank(k, j), 1, Mode::Reduce)).collect()
        })
    };
    let gather = || {
        within(&|node, i, j| {
            (0..m).map(|k| transfer(rank(node, i), rank(node, j), rank(k, i), 1, Mode::Copy)).collect()
        })
    };
    let steps = match collective {
        Collective::AllReduce => {
            // Nobody owns a chunk: those of a place lie side by side, and go within a node as one.
            let block = |mode: Mode, of_peer: bool| {
                within(&|node, i, j| {
                    let place = if of_peer { j } else { i };
                    vec![transfer(rank(node, i), rank(node, j), place * m, m, mode)]
                })
            };
            let pass = |mode: Mode| {
                move |k: u32, i: u32, of: u32| transfer(rank(k, i), rank((k + 1) % m, i), i * m + of, 1, mode)
            };
            let mut steps = vec![block(Mode::Reduce, true)];
            // Sums end one node ahead of where they began.
            steps.push(rails(&pass(Mode::Reduce), 0, by_place));
            steps.push(rails(&pass(Mode::Copy), m - 1, by_place));
            steps.push(block(Mode::Copy, false));
            steps
        }
        Collective::ReduceScatter => {
            vec![scatter(), rails(&pass(Mode::Reduce), 1, by_rank)]
        }
        Collective::AllGather => {
            vec![rails(&pass(Mode::Copy), 0, by_rank), gather()]
        }
        Collective::AllToAll => {
            // What goes from (k, i) to (l, j) is chunk (k, i), (l, j): to (k, j), then to (l, j).
            let first = within(&|k, i, j| {
                (0..m).map(|l| transfer(rank(k, i), rank(k, j), rank(k, i) * n + rank(l, j), 1, Mode::Copy)).collect()
            });
            let mut second = Vec::new();
            for d in 1..m {
                for k in 0..m {
                    for j in 0..r {
                        let l = (k + d) % m;
                        second.extend(
                            (0..r)
                                .map(|i| transfer(rank(k, j), rank(l, j), rank(k, i) * n + rank(l, j), 1, Mode::Copy)),
                        );
                    }
                }
            }
            let mut schedule =
                equal(collective, n, n * n, bytes.saturating_mul(u64::from(n)), vec![first, once(second)]);
            schedule.chunk_bytes.fill(bytes as f64 / f64::from(n));
            return Ok(schedule);
        }
        _ => return Err(not_for("hierarchical schedule", collective)),
    };
    Ok(equal(collective, n, n, bytes, steps))
}
