//! Tiles of products, and what they move through caches: the search that AttAcc's and Pimba's simulators share.

/// Sizes: `count` products of `m x k` and `k x n`, or `count` times `m x n` elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// Rows.
    pub m: f64,
    /// Columns; a share of a fractional feed-forward size may be fractional.
    pub n: f64,
    /// Inner size.
    pub k: f64,
    /// How many.
    pub count: f64,
    /// Bytes of an element.
    pub bytes: f64,
}

/// Tiles of a product: near the SMs, and what memory moves with the best of those in the shared cache.
pub(super) struct Tiles {
    pub(super) m: f64,
    pub(super) n: f64,
    pub(super) memory: f64,
}

/// Bytes that tiles of one size move.
pub(super) fn traffic(s: &Sizes, (m, n): (f64, f64)) -> f64 {
    ((s.n / n).ceil() * s.m * s.k + (s.m / m).ceil() * s.n * s.k + s.m * s.n) * s.bytes * s.count
}

/// The share of SMs that blocks keep busy.
pub(super) fn busy(blocks: f64, sms: f64) -> f64 {
    blocks / ((blocks / sms).ceil() * sms)
}

/// A cache hierarchy that tiles are fitted to.
pub(super) struct Caches<'a> {
    pub(super) l1: f64,
    pub(super) l2: f64,
    pub(super) cores: f64,
    pub(super) sides: &'a [f64],
}

impl Caches<'_> {
    /// The tile near an SM by traffic times the square of idle SMs, then that of the shared cache by traffic.
    pub(super) fn tiles(&self, s: &Sizes, spread: bool) -> Tiles {
        let mut best = (f64::INFINITY, (0.0, 0.0));
        for side in self.sides {
            let m = side.min(s.m);
            for side in self.sides {
                let n = side.min(s.n);
                if (m + n) * 32.0 * s.bytes + m * n * s.bytes > self.l1 {
                    continue;
                }
                let blocks = if spread { (s.m / m).ceil() * (s.n / n).ceil() * s.count } else { s.count };
                let cost = traffic(s, (m, n)) * (1.0 / busy(blocks, self.cores)).powi(2);
                if cost < best.0 {
                    best = (cost, (m, n));
                }
            }
        }
        let (m, n) = best.1;
        Tiles { m, n, memory: self.least(s, (m, n)) }
    }

    /// The least traffic of tiles that are made of whole smaller ones, or of all, and fit the shared cache.
    fn least(&self, s: &Sizes, near: (f64, f64)) -> f64 {
        let inner = s.k / 64.0;
        let fits = |m: f64, n: f64| (m + n) * inner * s.bytes + m * n * s.bytes <= self.l2;
        let mut least = traffic(s, near);
        let rows = (s.m / near.0).floor() as u64;
        for i in 1..=rows + 1 {
            let m = if i > rows { s.m } else { near.0 * i as f64 };
            // More columns never move more: the most that fit.
            let most = (self.l2 - m * inner * s.bytes) / ((inner + m) * s.bytes);
            let mut wide = (most / near.1).floor().min((s.n / near.1).floor()).max(0.0);
            while wide > 0.0 && !fits(m, wide * near.1) {
                wide -= 1.0;
            }
            let n = if fits(m, s.n) { s.n } else { wide * near.1 };
            if n > 0.0 {
                least = least.min(traffic(s, (m, n)));
            }
        }
        least
    }
}
