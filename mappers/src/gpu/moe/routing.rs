//! How many rows each expert gets: the distributions that collections of mixtures of experts are taken with.
//!
//! The mechanism is that of `ai-dynamo/aiconfigurator` (`collector/helper.py`, `balanced_logits` and `_generate_power_law_distribution` with
//! `_assign_experts_from_counts`): loads of experts are drawn from a power law, scaled to the number of choices, bounded by the number of tokens, and the
//! rank with the highest load becomes the first. Its draws are not seeded; ours are.

use std::str::FromStr;

/// How tokens choose experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Every expert as often as every other, as far as whole tokens allow.
    Balanced,
    /// Loads follow a power law of this exponent.
    PowerLaw(f64),
}

impl FromStr for Distribution {
    type Err = String;

    /// `balanced`, or `power_law_` and an exponent of 0 (which is balanced) to 4.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("distribution {text}: must be balanced, or power_law_ and an exponent of 0 to 4");
        if text == "balanced" {
            return Ok(Self::Balanced);
        }
        let alpha: f64 = text.strip_prefix("power_law_").ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        match alpha {
            0.0 => Ok(Self::Balanced),
            a if a > 0.0 && a <= 4.0 => Ok(Self::PowerLaw(a)),
            _ => Err(wrong()),
        }
    }
}

/// What a draw gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// Rows of each expert, those of the first rank first.
    pub counts: Vec<u32>,
    /// Experts of a rank.
    pub local: u32,
    /// Tokens that chose any expert of the first rank.
    pub local_tokens: u32,
}

impl Routing {
    /// Rows of the experts of the first rank.
    pub fn rows(&self) -> &[u32] {
        &self.counts[..(self.local as usize).min(self.counts.len())]
    }
}

/// Uniform numbers of a seed (`splitmix64`).
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Rows of all experts, those of the rank with most of them first. `top_k` is bounded by the experts, `ep` by what divides them.
pub fn counts(distribution: Distribution, tokens: u32, top_k: u32, experts: u32, ep: u32, seed: u64) -> Vec<u32> {
    let (experts, ep) = (experts.max(1), ep.max(1));
    let top_k = top_k.clamp(1, experts);
    match distribution {
        Distribution::Balanced => balanced(tokens, top_k, experts),
        Distribution::PowerLaw(alpha) => {
            let ep = if experts.is_multiple_of(ep) { ep } else { 1 };
            power_law(alpha, tokens, top_k, experts, ep, seed)
        }
    }
}

fn balanced(tokens: u32, top_k: u32, experts: u32) -> Vec<u32> {
    let mut counts = vec![0; experts as usize];
    each_balanced(tokens, top_k, experts, |_, expert| counts[expert as usize] += 1);
    counts
}

/// Calls with every token and each expert that it chooses.
fn each_balanced(tokens: u32, top_k: u32, experts: u32, mut choose: impl FnMut(u32, u32)) {
    let stride = experts.div_ceil(top_k);
    for token in 0..tokens {
        let first =
            if tokens >= stride { u64::from(token) } else { u64::from(token) * u64::from(stride) / u64::from(tokens) };
        for k in 0..top_k {
            choose(token, ((first + u64::from(k) * u64::from(stride)) % u64::from(experts)) as u32);
        }
    }
}

fn power_law(alpha: f64, tokens: u32, top_k: u32, experts: u32, ep: u32, seed: u64) -> Vec<u32> {
    let target = u64::from(tokens) * u64::from(top_k);
    let many = target > u64::from(experts);
    let (least, most) = if many { (1.0, f64::from(tokens) * 0.8) } else { (0.01, 2.0) };
    let mut uniform = Uniform(seed);
    let loads: Vec<f64> = (0..experts).map(|_| sample(uniform.next(), alpha, least, most)).collect();
    let sum: f64 = loads.iter().sum();
    let mut counts: Vec<u32> = loads
        .iter()
        .map(|x| (x / sum * target as f64).round_ties_even().clamp(0.0, f64::from(tokens)) as u32)
        .collect();
    // Ranks take or give one row at a time in turns, at their least or most loaded expert, until the choices are as many as there are.
    let local = (experts / ep) as usize;
    let mut have: u64 = counts.iter().map(|&c| u64::from(c)).sum();
    while have != target {
        let before = have;
        for rank in counts.chunks_mut(local) {
            if have < target {
                let least = rank.iter_mut().filter(|c| **c < tokens).min();
                if let Some(c) = least {
                    *c += 1;
                    have += 1;
                }
            } else if have > target
                && let Some(c) = rank.iter_mut().max().filter(|c| **c > 0)
            {
                *c -= 1;
                have -= 1;
            }
        }
        if have == before {
            break;
        }
    }
    let load = |rank: usize| counts[rank * local..][..local].iter().map(|&c| u64::from(c)).sum::<u64>();
    let mut first = 0;
    for rank in 1..ep as usize {
        if load(rank) > load(first) {
            first = rank;
        }
    }
    if first > 0 {
        for i in 0..local {
            counts.swap(i, first * local + i);
        }
    }
    counts
}

/// A power law between two bounds, by its inverse.
fn sample(u: f64, alpha: f64, least: f64, most: f64) -> f64 {
    let most = most.max(least);
    if (alpha - 1.0).abs() < 1e-9 {
        return least * (most / least).powf(u);
    }
    let e = 1.0 - alpha;
    ((most.powf(e) - least.powf(e)) * u + least.powf(e)).powf(1.0 / e)
}

/// One draw, with the tokens that the first rank sees.
pub fn draw(distribution: Distribution, tokens: u32, top_k: u32, experts: u32, ep: u32, seed: u64) -> Routing {
    let (experts, ep) = (experts.max(1), ep.max(1));
    let top_k = top_k.clamp(1, experts);
    let counts = counts(distribution, tokens, top_k, experts, ep, seed);
    let local = (experts / ep).max(1);
    let mut seen = vec![false; tokens as usize];
    match distribution {
        Distribution::Balanced => each_balanced(tokens, top_k, experts, |token, expert| {
            if expert < local {
                seen[token as usize] = true;
            }
        }),
        Distribution::PowerLaw(_) => {
            // Experts by falling load, each as often as it is chosen, fill the tokens' first choices, then their second.
            let mut order: Vec<u32> = (0..experts).collect();
            order.sort_by_key(|&e| std::cmp::Reverse(counts[e as usize]));
            let mut at = 0u64;
            for e in order {
                let n = u64::from(counts[e as usize]);
                if e < local && tokens > 0 {
                    for i in 0..n {
                        seen[((at + i) % u64::from(tokens)) as usize] = true;
                    }
                }
                at += n;
            }
        }
    }
    Routing { counts, local, local_tokens: seen.into_iter().filter(|&s| s).count() as u32 }
}

/// Draws that the typical one is chosen among.
const DRAWS: u64 = 32;

/// A draw whose experts with rows, rows and fullest expert on the first rank are nearest to the means of many draws: what is measured is a mean
/// of several.
pub fn typical(distribution: Distribution, tokens: u32, top_k: u32, experts: u32, ep: u32) -> Routing {
    let of = |seed| draw(distribution, tokens, top_k, experts, ep, seed);
    if distribution == Distribution::Balanced {
        return of(0);
    }
    let figures = |r: &Routing| {
        let rows = r.rows();
        let used = rows.iter().filter(|&&c| c > 0).count() as f64;
        let all: f64 = rows.iter().map(|&c| f64::from(c)).sum();
        [used, all, f64::from(rows.iter().copied().max().unwrap_or(0))]
    };
    let mut sums = [0.0; 3];
    let all: Vec<[f64; 3]> = (0..DRAWS)
        .map(|seed| {
            let counts = counts(distribution, tokens, top_k, experts, ep, seed);
            let f = figures(&Routing { counts, local: (experts / ep.max(1)).max(1), local_tokens: 0 });
            for (s, x) in sums.iter_mut().zip(f) {
                *s += x / DRAWS as f64;
            }
            f
        })
        .collect();
    let far = |f: &[f64; 3]| -> f64 { f.iter().zip(sums).map(|(x, s)| ((x - s) / s.max(1.0)).abs()).sum() };
    let nearest = (0..DRAWS).min_by(|&a, &b| far(&all[a as usize]).total_cmp(&far(&all[b as usize])));
    of(nearest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All choices are made, no expert is chosen twice by a token, and the first rank has most.
    #[test]
    fn every_choice_is_counted() {
        for distribution in [Distribution::Balanced, Distribution::PowerLaw(1.01), Distribution::PowerLaw(1.2)] {
            for (tokens, top_k, experts, ep) in
                [(1, 8, 256, 1), (7, 2, 8, 4), (100, 8, 128, 16), (4096, 22, 512, 4), (3, 1, 5, 1)]
            {
                let r = draw(distribution, tokens, top_k, experts, ep, 3);
                assert_eq!(r.counts.len(), experts as usize);
                assert_eq!(r.counts.iter().sum::<u32>(), tokens * top_k, "{distribution:?} {tokens} {experts}");
                assert!(r.counts.iter().all(|&c| c <= tokens));
                assert!(r.local_tokens <= tokens);
                if let Distribution::PowerLaw(_) = distribution {
                    let loads = r.counts.chunks(r.local as usize).map(|c| c.iter().sum::<u32>());
                    assert_eq!(loads.max(), Some(r.rows().iter().sum()));
                }
            }
        }
    }

    #[test]
    fn a_seed_repeats_itself_and_odd_sizes_do_no_harm() {
        let of = |seed| counts(Distribution::PowerLaw(1.2), 64, 8, 128, 4, seed);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
        assert_eq!(counts(Distribution::PowerLaw(1.2), 0, 0, 0, 0, 1), vec![0]);
        assert_eq!(counts(Distribution::PowerLaw(1.0), 4, 9, 3, 7, 1), vec![4, 4, 4]);
        assert!("power_law_x".parse::<Distribution>().is_err());
        assert_eq!("power_law_0".parse(), Ok(Distribution::Balanced));
    }
}
