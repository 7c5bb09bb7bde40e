//! Which rank has which experts, by the rows that these are sent.

use super::ranks::Placement;

/// Experts by rank, and how many ranks have each. `extra` copies beside one of each go to the experts with most rows a copy, one after the other.
pub(super) fn placed(
    experts: u32,
    ranks: u32,
    placement: Placement,
    rows: &[u64],
    extra: u32,
) -> (Vec<Vec<u32>>, Vec<u32>) {
    let ranks = ranks.max(1);
    let sent = |e: u32| rows.get(e as usize).copied().unwrap_or(0);
    let mut copies = vec![1u32; experts as usize];
    let share = |copies: &[u32], e: u32| sent(e) as f64 / f64::from(copies.get(e as usize).copied().unwrap_or(1));
    for _ in 0..extra {
        let open = (0..experts).filter(|e| copies.get(*e as usize).is_some_and(|c| *c < ranks));
        // Of equal ones the first.
        let hottest = open.max_by(|a, b| share(&copies, *a).total_cmp(&share(&copies, *b)).then(b.cmp(a)));
        if let Some(c) = hottest.and_then(|e| copies.get_mut(e as usize)) {
            *c += 1;
        }
    }
    let room = ((experts + extra) / ranks).max(1) as usize;
    let mut of: Vec<Vec<u32>> = vec![Vec::new(); ranks as usize];
    let mut sums = vec![0.0f64; ranks as usize];
    let mut left = Vec::new();
    let each = (experts / ranks).max(1);
    if placement == Placement::Balanced {
        left.extend((0..experts).flat_map(|e| vec![e; copies.get(e as usize).copied().unwrap_or(1) as usize]));
    } else {
        for e in 0..experts {
            let r = if placement == Placement::Contiguous { (e / each).min(ranks - 1) } else { e % ranks } as usize;
            of[r].push(e);
            sums[r] += share(&copies, e);
            left.extend(vec![e; copies.get(e as usize).copied().unwrap_or(1) as usize - 1]);
        }
    }
    // What is left: the one with most rows to the rank that has fewest so far, has room, and has no copy of it.
    left.sort_by(|a, b| share(&copies, *b).total_cmp(&share(&copies, *a)).then(a.cmp(b)));
    for e in left {
        let fresh = (0..ranks as usize).filter(|r| of[*r].len() < room && !of[*r].contains(&e));
        let least = fresh.min_by(|a, b| sums[*a].total_cmp(&sums[*b]));
        match least {
            Some(r) => {
                sums[r] += share(&copies, e);
                of[r].push(e);
            }
            // No rank that has not got it has room: the hottest that fits goes in its place.
            None => {
                copies[e as usize] -= 1;
                let Some(r) = (0..ranks as usize).find(|r| of[*r].len() < room) else { continue };
                let fits = (0..experts).filter(|x| !of[r].contains(x));
                let hottest = fits.max_by(|a, b| share(&copies, *a).total_cmp(&share(&copies, *b)).then(b.cmp(a)));
                if let Some(x) = hottest {
                    copies[x as usize] += 1;
                    of[r].push(x);
                }
            }
        }
    }
    (of, copies)
}

/// Rows of the rank that gets most, over the mean of all ranks; 1 where nothing is sent.
pub(super) fn uneven(of_ranks: &[Vec<u32>], rows: &[u64], copies: &[u32]) -> f64 {
    let of = |e: &u32| {
        let rows = rows.get(*e as usize).copied().unwrap_or(0) as f64;
        rows / f64::from(copies.get(*e as usize).copied().unwrap_or(1).max(1))
    };
    let sums = of_ranks.iter().map(|mine| mine.iter().map(of).sum::<f64>());
    let (most, all) = sums.fold((0.0f64, 0.0), |(most, all), s| (most.max(s), all + s));
    if all > 0.0 { most * of_ranks.len() as f64 / all } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expert_has_a_place_and_a_balancer_evens_rows_out() {
        let rows: Vec<u64> = (0..64).map(|e| 1000 / (e + 1)).collect();
        let hottest = |placement| {
            let (of, copies) = placed(64, 8, placement, &rows, 0);
            let mut all: Vec<u32> = of.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..64).collect::<Vec<_>>());
            assert!(copies.iter().all(|c| *c == 1));
            uneven(&of, &rows, &copies)
        };
        assert!(hottest(Placement::RoundRobin) < hottest(Placement::Contiguous));
        assert!(hottest(Placement::Balanced) <= hottest(Placement::RoundRobin));
    }

    #[test]
    fn copies_share_the_rows_of_hot_experts() {
        let rows: Vec<u64> = (0..32).map(|e| 4096 / (e + 1)).collect();
        for placement in [Placement::Contiguous, Placement::RoundRobin, Placement::Balanced] {
            let mut before = f64::INFINITY;
            for extra in [0, 8, 16] {
                let (of, copies) = placed(32, 8, placement, &rows, extra);
                assert_eq!(of.iter().map(Vec::len).sum::<usize>(), 32 + extra as usize, "{placement:?} {extra}");
                assert!(of.iter().all(|mine| mine.len() == 4 + extra as usize / 8), "{placement:?} {extra}: {of:?}");
                for (e, c) in copies.iter().enumerate() {
                    let having = of.iter().filter(|mine| mine.contains(&(e as u32))).count();
                    assert_eq!(having, *c as usize, "{placement:?}: expert {e} of {of:?}");
                }
                let now = uneven(&of, &rows, &copies);
                assert!(now <= before + 1e-9, "{placement:?} {extra}: {before} {now}");
                before = now;
            }
            assert!(before < 2.0, "{placement:?}: {before}");
        }
        // One expert gets all: as many ranks as there are copies share it.
        let mut one = vec![0; 8];
        one[3] = 100;
        let (of, copies) = placed(8, 4, Placement::Balanced, &one, 4);
        assert!(copies[3] > 1);
        assert!((uneven(&of, &one, &copies) - 4.0 / f64::from(copies[3])).abs() < 1e-9);
    }

    #[test]
    fn balanced_rows_are_even() {
        let rows = vec![16u64; 16];
        let (of, copies) = placed(16, 4, Placement::Contiguous, &rows, 0);
        assert!((uneven(&of, &rows, &copies) - 1.0).abs() < 1e-12);
    }
}
