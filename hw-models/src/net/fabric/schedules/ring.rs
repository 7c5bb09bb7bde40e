//! Rings: each rank sends to the next what it has received from the one before.

use crate::net::fabric::group::Collective;
use crate::net::fabric::schedule::{Mode, Schedule, Step};

use super::{equal, not_for, once, transfer};

/// Orders of `rings` rings over ranks in nodes of `local`. Ring c goes through the first node from place c on, through the next the other way round, and so
/// on: it leaves every node at the place at which it enters the next, so that it stays on a rail. In one node every other ring goes the other way.
pub fn ring_orders(ranks: u32, local: u32, rings: u32) -> Vec<Vec<u32>> {
    let (local, nodes) = (local.max(1), ranks / local.max(1));
    let order = |c: u32| {
        let place = move |k: u32, i: u32| {
            let back = if nodes > 1 { k % 2 == 1 } else { c % 2 == 1 };
            k * local + (c % local + if back { local - 1 - i } else { i }) % local
        };
        (0..nodes).flat_map(move |k| (0..local).map(move |i| place(k, i))).collect()
    };
    (0..rings).map(order).collect()
}

/// One ring for each order of the ranks; each takes an equal share of the bytes. Broadcast and reduce go along the ring in `pieces` pieces a ring.
///
/// # Errors
/// An order is not one of all ranks, or there is no ring for the collective.
pub fn ring(
    collective: Collective,
    ranks: u32,
    orders: &[Vec<u32>],
    pieces: u32,
    bytes: u64,
) -> Result<Schedule, String> {
    let rings = orders.len() as u32;
    let n = ranks;
    for order in orders {
        let mut seen = vec![false; n as usize];
        for r in order {
            match seen.get_mut(*r as usize) {
                Some(s) if !*s => *s = true,
                _ => return Err(format!("has a ring that is not one of all {n} ranks")),
            }
        }
        if order.len() != n as usize {
            return Err(format!("has a ring of {} of {n} ranks", order.len()));
        }
    }
    if rings == 0 || n == 0 {
        return Err("has no ring".to_owned());
    }
    let next = |order: &[u32], place: u32| order[((place + 1) % n) as usize];
    // Chunk `offset * rings + ring`; a rotation by all but one offset is one back.
    let back = (n - 1) * rings;
    match collective {
        Collective::AllReduce => {
            let step = |offset: u32, mode: Mode| {
                let mut transfers = Vec::with_capacity((n * rings) as usize);
                for (c, order) in orders.iter().enumerate() {
                    for place in 0..n {
                        let chunk = (place + offset) % n * rings + c as u32;
                        transfers.push(transfer(order[place as usize], next(order, place), chunk, 1, mode));
                    }
                }
                Step { transfers, repeat: n - 1, rotate: back, window: 0 }
            };
            // After the sums, place p has all of the chunk one ahead of it.
            Ok(equal(collective, n, n * rings, bytes, vec![step(0, Mode::Reduce), step(1, Mode::Copy)]))
        }
        Collective::AllGather | Collective::ReduceScatter => {
            // What belongs to a rank lies at its place in the order, which differs from ring to ring: no rotation holds for all.
            let gather = collective == Collective::AllGather;
            let steps = (0..n - 1).map(|t| {
                let mut transfers = Vec::with_capacity((n * rings) as usize);
                for (c, order) in orders.iter().enumerate() {
                    for place in 0..n {
                        let from = if gather { place + n - t } else { place + 2 * n - t - 1 } % n;
                        let chunk = order[from as usize] * rings + c as u32;
                        let mode = if gather { Mode::Copy } else { Mode::Reduce };
                        transfers.push(transfer(order[place as usize], next(order, place), chunk, 1, mode));
                    }
                }
                once(transfers)
            });
            Ok(equal(collective, n, n * rings, bytes, steps.collect()))
        }
        Collective::Broadcast | Collective::Reduce => {
            // From rank 0 on around, or around to rank 0, a piece a step.
            let (pieces, broadcast) = (pieces.max(1), collective == Collective::Broadcast);
            let mut steps = Vec::new();
            for t in 0..pieces + n.saturating_sub(2) {
                let mut transfers = Vec::new();
                for (c, order) in orders.iter().enumerate() {
                    let root = order.iter().position(|r| *r == 0).unwrap_or(0) as u32;
                    let at = |hop: u32| order[((root + hop) % n) as usize];
                    for hop in 0..n - 1 {
                        let Some(piece) = t.checked_sub(hop).filter(|p| *p < pieces) else { continue };
                        let chunk = piece * rings + c as u32;
                        transfers.push(if broadcast {
                            transfer(at(hop), at(hop + 1), chunk, 1, Mode::Copy)
                        } else {
                            transfer(at(hop + 1), at((hop + 2) % n), chunk, 1, Mode::Reduce)
                        });
                    }
                }
                steps.push(once(transfers));
            }
            Ok(equal(collective, n, pieces * rings, bytes, steps))
        }
        Collective::AllToAll | Collective::SendRecv => Err(not_for("ring", collective)),
    }
}
