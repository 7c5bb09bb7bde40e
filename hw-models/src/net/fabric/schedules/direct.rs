//! Direct: every rank sends to every other.

use crate::net::fabric::group::Collective;
use crate::net::fabric::schedule::{Mode, Schedule};

use super::{equal, once, transfer};

/// Every rank to every other at once; an all-reduce is a reduce-scatter and an all-gather (two-shot).
///
/// # Errors
/// There are no ranks, or fewer than a send needs.
pub fn direct(collective: Collective, ranks: u32, bytes: u64) -> Result<Schedule, String> {
    let n = ranks;
    if n == 0 || n > 1 << 14 {
        return Err(format!("has {n} ranks: 1 to 16384 send directly"));
    }
    // From the next rank on, so that no two begin with the same.
    let pairs = |f: &dyn Fn(u32, u32) -> super::Transfer| {
        let all = (1..n).flat_map(|d| (0..n).map(move |s| (s, (s + d) % n)));
        once(all.map(|(s, d)| f(s, d)).collect())
    };
    let scatter = || pairs(&|s, d| transfer(s, d, d, 1, Mode::Reduce));
    let gather = || pairs(&|s, d| transfer(s, d, s, 1, Mode::Copy));
    Ok(match collective {
        Collective::AllReduce => equal(collective, n, n, bytes, vec![scatter(), gather()]),
        Collective::ReduceScatter => equal(collective, n, n, bytes, vec![scatter()]),
        Collective::AllGather => equal(collective, n, n, bytes, vec![gather()]),
        Collective::AllToAll => {
            let part = bytes as f64 / f64::from(n);
            return all_to_all(&vec![vec![part; n as usize]; n as usize]);
        }
        Collective::Broadcast => {
            let steps = vec![once((1..n).map(|d| transfer(0, d, 0, 1, Mode::Copy)).collect())];
            equal(collective, n, 1, bytes, steps)
        }
        Collective::Reduce => {
            let steps = vec![once((1..n).map(|s| transfer(s, 0, 0, 1, Mode::Reduce)).collect())];
            equal(collective, n, 1, bytes, steps)
        }
        Collective::SendRecv => return send(n, 0, n - 1, bytes),
    })
}

/// An all-to-all of any sizes: `bytes[s][d]` from rank s to rank d. What is for itself, or empty, is not sent.
///
/// # Errors
/// The sizes are not square, or one cannot be.
pub fn all_to_all(bytes: &[Vec<f64>]) -> Result<Schedule, String> {
    let n = bytes.len() as u32;
    if n == 0 || bytes.len() > 1 << 14 || bytes.iter().any(|row| row.len() != bytes.len()) {
        return Err(format!("has sizes that are no square, or of {n} ranks"));
    }
    let chunk_bytes: Vec<f64> = bytes.iter().flatten().copied().collect();
    let all = (1..n).flat_map(|d| (0..n).map(move |s| (s, (s + d) % n)));
    let transfers = all.map(|(s, d)| transfer(s, d, s * n + d, 1, Mode::Copy)).collect::<Vec<_>>();
    let steps = if transfers.is_empty() { Vec::new() } else { vec![once(transfers)] };
    let schedule =
        Schedule { collective: Collective::AllToAll, ranks: n, agents: 0, root: 0, peer: n - 1, chunk_bytes, steps };
    schedule.check()?;
    Ok(schedule)
}

/// One rank sends to another.
///
/// # Errors
/// They are no two ranks.
pub fn send(ranks: u32, from: u32, to: u32, bytes: u64) -> Result<Schedule, String> {
    if from >= ranks || to >= ranks || from == to {
        return Err(format!("sends from rank {from} to {to}, of {ranks}"));
    }
    let steps = vec![once(vec![transfer(from, to, 0, 1, Mode::Copy)])];
    let mut schedule = equal(Collective::SendRecv, ranks, 1, bytes, steps);
    (schedule.root, schedule.peer) = (from, to);
    Ok(schedule)
}
