//! How many rows each expert is sent.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::Routing;

impl Routing {
    /// Rows of each of `experts` when each of `tokens` chooses `top_k` different ones: they sum up to `tokens x top_k`, and none is sent more
    /// than there are tokens. The same seed gives the same rows.
    pub fn rows(&self, experts: u64, top_k: u64, tokens: u64) -> Vec<u64> {
        let (experts, top_k) = (experts.max(1), top_k.min(experts.max(1)));
        let (shares, seed) = match self {
            Self::Balanced => return balanced(experts, tokens.saturating_mul(top_k)),
            Self::Uniform { seed } => (vec![1.0; experts as usize], *seed),
            Self::PowerLaw { alpha, seed } => {
                let mut random = stream(*seed, "shares");
                let exponent = -1.0 / (alpha.max(1.0 + 1e-6) - 1.0);
                // Heavy tails are cut where one expert alone would be sent all.
                let share = |u: f64| (1.0 - u).max(1e-9).powf(exponent).min(1e12);
                ((0..experts).map(|_| share(random.random::<f64>())).collect(), *seed)
            }
            Self::Zipf { exponent, seed } => {
                let mut shares: Vec<f64> = (1..=experts).map(|i| (i as f64).powf(-exponent)).collect();
                shuffle(&mut shares, &mut stream(*seed, "order"));
                (shares, *seed)
            }
            Self::Shares { shares, seed } => {
                let of = |i: u64| shares.get(i as usize).copied().filter(|s| s.is_finite() && *s > 0.0).unwrap_or(0.0);
                ((0..experts).map(of).collect(), *seed)
            }
        };
        drawn(&shares, top_k, tokens, &mut stream(seed, "tokens"))
    }
}

/// As even as whole rows allow.
fn balanced(experts: u64, rows: u64) -> Vec<u64> {
    (0..experts).map(|i| rows / experts + u64::from(i < rows % experts)).collect()
}

fn stream(seed: u64, name: &str) -> Pcg64Mcg {
    let salt = name.bytes().fold(0u64, |h, b| h.rotate_left(8) ^ u64::from(b));
    Pcg64Mcg::seed_from_u64(seed ^ salt)
}

fn shuffle(values: &mut [f64], random: &mut Pcg64Mcg) {
    for i in (1..values.len()).rev() {
        values.swap(i, random.random_range(0..=i));
    }
}

/// Tokens beyond so many draw as these did, in proportion.
const DRAWN: u64 = 1 << 14;

/// Each token takes `top_k` different experts, by their shares.
fn drawn(shares: &[f64], top_k: u64, tokens: u64, random: &mut Pcg64Mcg) -> Vec<u64> {
    let sampled = tokens.min(DRAWN);
    let mut rows = vec![0u64; shares.len()];
    let mut left = shares.to_vec();
    for _ in 0..sampled {
        left.copy_from_slice(shares);
        let mut total: f64 = left.iter().sum();
        for _ in 0..top_k {
            let mut at = random.random::<f64>() * total;
            // Where shares are used up, whoever has not been taken.
            let open = |i: &usize| left[*i] > 0.0;
            let picked = (0..left.len()).filter(open).find(|i| {
                at -= left[*i];
                at <= 0.0
            });
            let picked = picked.or_else(|| (0..left.len()).rfind(|i| left[*i] >= 0.0)).unwrap_or(0);
            total -= left[picked].max(0.0);
            left[picked] = -1.0;
            rows[picked] += 1;
        }
    }
    if sampled == tokens {
        return rows;
    }
    scaled(&rows, tokens.saturating_mul(top_k), tokens)
}

/// The same shares of more rows; what rounding leaves goes to the first that have room.
fn scaled(rows: &[u64], all: u64, most: u64) -> Vec<u64> {
    let sum: u128 = rows.iter().map(|r| u128::from(*r)).sum::<u128>().max(1);
    let scale = |r: &u64| ((u128::from(*r) * u128::from(all) / sum) as u64).min(most);
    let mut out: Vec<u64> = rows.iter().map(scale).collect();
    let mut missing = all.saturating_sub(out.iter().sum());
    while missing > 0 {
        let before = missing;
        for r in out.iter_mut().filter(|r| **r < most) {
            if missing == 0 {
                break;
            }
            *r += 1;
            missing -= 1;
        }
        if missing == before {
            break;
        }
    }
    out
}
