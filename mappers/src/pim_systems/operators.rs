//! Operators of a layer on a node of rooflines, with the names that results are compared by.

use banksia_hw::roofline::node::{Sizes, Work};

/// What an operator is, for whoever prices it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Computed, where its place says.
    Compute(Work),
    /// An exchange among the GPUs.
    Exchange,
    /// A transfer between GPUs and what computes attention.
    Transfer,
}

/// An operator of one layer, of one GPU's share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its sizes.
    pub sizes: Sizes,
}

impl Operator {
    /// A product with weights of `k x n` for `m` tokens.
    pub(super) fn weights(name: &'static str, (m, n, k): (f64, f64, f64), bytes: f64) -> Self {
        Self { name, kind: Kind::Compute(Work::Weights), sizes: Sizes { m, n, k, count: 1.0, bytes } }
    }

    /// Products of activations, `count` of them.
    pub(super) fn products(name: &'static str, (m, n, k): (f64, f64, f64), count: f64, bytes: f64) -> Self {
        Self { name, kind: Kind::Compute(Work::Products), sizes: Sizes { m, n, k, count, bytes } }
    }

    /// Element-wise work.
    pub(super) fn elements(name: &'static str, work: Work, (m, n): (f64, f64), count: f64, bytes: f64) -> Self {
        Self { name, kind: Kind::Compute(work), sizes: Sizes { m, n, k: 1.0, count, bytes } }
    }

    /// An exchange or a transfer.
    pub(super) fn moved(name: &'static str, kind: Kind, (m, n): (f64, f64), count: f64, bytes: f64) -> Self {
        Self { name, kind, sizes: Sizes { m, n, k: 1.0, count, bytes } }
    }

    /// Bytes that it moves, if that is all that it does.
    #[must_use]
    pub fn moved_bytes(&self) -> f64 {
        let s = &self.sizes;
        s.m * s.n * s.count * s.bytes
    }
}
