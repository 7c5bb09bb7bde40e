//! In the switch: sums are made and copies are multiplied where the links meet (NVLink SHARP, SHARP).

use crate::net::fabric::group::Collective;
use crate::net::fabric::schedule::{Mode, Schedule};

use super::{equal, not_for, once, transfer};

/// Switches as agents `ranks` and on, each with an equal share of the bytes: all ranks send to them, they send to all, in `pieces` pieces a switch
/// that follow one another.
///
/// # Errors
/// There is none for the collective, or no switch.
pub fn in_switch(
    collective: Collective,
    ranks: u32,
    switches: u32,
    pieces: u32,
    bytes: u64,
) -> Result<Schedule, String> {
    let n = ranks;
    if n == 0 || switches == 0 {
        return Err(format!("has {n} ranks and {switches} switches"));
    }
    // Chunk `piece` of all, or of the rank's block; pieces of a switch are every so many.
    let turns = pieces.max(1);
    let pieces = turns * switches;
    let parts = matches!(collective, Collective::AllGather | Collective::ReduceScatter);
    let chunks = if parts { pieces * n } else { pieces };
    let into = |piece: u32| -> Vec<_> {
        let switch = n + piece % switches;
        let (all, one) = (0..n, 0..1);
        match collective {
            Collective::AllReduce | Collective::Reduce => {
                all.map(|r| transfer(r, switch, piece, 1, Mode::Reduce)).collect()
            }
            Collective::ReduceScatter => all
                .flat_map(|r| (0..n).map(move |o| transfer(r, switch, o * pieces + piece, 1, Mode::Reduce)))
                .collect(),
            Collective::AllGather => all.map(|r| transfer(r, switch, r * pieces + piece, 1, Mode::Copy)).collect(),
            _ => one.map(|r| transfer(r, switch, piece, 1, Mode::Copy)).collect(),
        }
    };
    let out = |piece: u32| -> Vec<_> {
        let switch = n + piece % switches;
        let all = 0..n;
        match collective {
            Collective::ReduceScatter => all.map(|r| transfer(switch, r, r * pieces + piece, 1, Mode::Copy)).collect(),
            Collective::AllGather => {
                let others = all.flat_map(|r| (0..n).filter(move |o| *o != r).map(move |o| (r, o)));
                others.map(|(r, o)| transfer(switch, r, o * pieces + piece, 1, Mode::Copy)).collect()
            }
            Collective::Reduce => vec![transfer(switch, 0, piece, 1, Mode::Copy)],
            Collective::Broadcast => (1..n).map(|r| transfer(switch, r, piece, 1, Mode::Copy)).collect(),
            _ => all.map(|r| transfer(switch, r, piece, 1, Mode::Copy)).collect(),
        }
    };
    if matches!(collective, Collective::AllToAll | Collective::SendRecv) {
        return Err(not_for("in-switch schedule", collective));
    }
    // A piece goes out while the next comes in.
    let turn = |t: u32| t * switches..(t + 1) * switches;
    let steps = (0..=turns).map(|t| {
        let mut transfers: Vec<_> = turn(t).filter(|_| t < turns).flat_map(into).collect();
        transfers.extend(t.checked_sub(1).map(turn).into_iter().flatten().flat_map(out));
        once(transfers)
    });
    let steps = steps.collect();
    let mut schedule = equal(collective, n, chunks, bytes, steps);
    schedule.agents = switches;
    Ok(schedule)
}
