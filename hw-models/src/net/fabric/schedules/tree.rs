//! Two binary trees, each for half of the bytes, so that an inner rank of one is a leaf of the other.

use crate::net::fabric::group::Collective;
use crate::net::fabric::schedule::{Mode, Schedule};

use super::{equal, not_for, once, transfer};

/// A binary tree over `0..n`, as parents and depths: the root has one child, inner ranks two. It is the in-order tree whose leaves are the odd ranks.
fn binary(n: u32) -> (Vec<Option<u32>>, Vec<u32>) {
    let mut parent = vec![None; n as usize];
    for r in 1..n {
        // The lowest bit set says the height; the parent has the next bit set, or that of the one below where this lies beyond the last.
        let bit = r & r.wrapping_neg();
        let up = (r ^ bit) | (bit << 1);
        parent[r as usize] = Some(if up < n { up } else { r ^ bit });
    }
    let depth = |mut r: u32| {
        let mut depth = 0;
        while let Some(p) = parent[r as usize] {
            depth += 1;
            r = p;
        }
        depth
    };
    let depths = (0..n).map(depth).collect();
    (parent, depths)
}

/// All-reduce, broadcast or reduce over two trees, in `pieces` pieces a tree, which follow one another up and down. Broadcast and reduce, whose root is
/// rank 0, take one tree.
///
/// # Errors
/// There is no tree for the collective.
pub fn double_tree(collective: Collective, ranks: u32, pieces: u32, bytes: u64) -> Result<Schedule, String> {
    let (up, down) = match collective {
        Collective::AllReduce => (true, true),
        Collective::Broadcast => (false, true),
        Collective::Reduce => (true, false),
        _ => return Err(not_for("tree", collective)),
    };
    if ranks == 0 {
        return Err("has no ranks".to_owned());
    }
    let pieces = pieces.max(1);
    let trees = if up && down && ranks > 1 { 2 } else { 1 };
    let (parent, depth) = binary(ranks);
    let deepest = depth.iter().copied().max().unwrap_or(0);
    // The second tree is the first in the mirror of an even number of ranks, and one on where they are odd.
    let place = |tree: u32, r: u32| match tree {
        0 => r,
        _ if ranks.is_multiple_of(2) => ranks - 1 - r,
        _ => (r + 1) % ranks,
    };
    let climbs = if up { deepest } else { 0 };
    let all = pieces + climbs + if down { deepest } else { 0 };
    let mut steps = Vec::new();
    for t in 0..all {
        let mut transfers = Vec::new();
        for tree in 0..trees {
            for r in 1..ranks {
                let Some(p) = parent[r as usize] else { continue };
                let (child, above) = (place(tree, r), place(tree, p));
                let chunk = |piece: u32| piece * trees + tree;
                // A piece leaves the deepest first; on its way down it leaves the root when it is whole there.
                if up && let Some(piece) = t.checked_sub(deepest - depth[r as usize]).filter(|k| *k < pieces) {
                    transfers.push(transfer(child, above, chunk(piece), 1, Mode::Reduce));
                }
                if down && let Some(piece) = t.checked_sub(climbs + depth[p as usize]).filter(|k| *k < pieces) {
                    transfers.push(transfer(above, child, chunk(piece), 1, Mode::Copy));
                }
            }
        }
        steps.push(once(transfers));
    }
    Ok(equal(collective, ranks, pieces * trees, bytes, steps))
}
