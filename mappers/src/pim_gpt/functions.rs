//! What the vector unit does for each operator, as phases of additions and multiplications.
//!
//! PIM-GPT's ASIC has adders and multipliers only: exp and tanh are series, reciprocals and reciprocal square roots Newton
//! iterations (arXiv 2310.09385, section on the ASIC). A phase's elements are independent and pipelined; its depth is the
//! chain of dependent operations of one element, or of a reduction's tree.

use banksia_hw::pim::config::SeriesFile;
use banksia_hw::program::{VectorFunction, VectorPhase};
use banksia_workloads::ActivationKind;

/// Builds vector functions for elements of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Functions {
    pub series: SeriesFile,
    pub element_bytes: u64,
}

/// Levels of a tree that reduces `n` values to one.
fn tree(n: u64) -> u32 {
    n.max(1).next_power_of_two().trailing_zeros()
}

impl Functions {
    fn bytes(&self, elements: u64) -> u64 {
        elements * self.element_bytes
    }

    /// The sum (or largest) of each of `rows` rows of `columns` read from memory.
    fn reduce(&self, rows: u64, columns: u64) -> VectorPhase {
        VectorPhase {
            adds: rows * columns,
            read_bytes: self.bytes(rows * columns),
            add_depth: tree(columns),
            ..VectorPhase::default()
        }
    }

    /// A Newton iteration for each of `rows` values: `multiplies` multiplications and an addition each, in a chain.
    fn newton(rows: u64, iterations: u32, multiplies: u32) -> VectorPhase {
        VectorPhase {
            adds: rows * u64::from(iterations),
            multiplies: rows * u64::from(iterations * multiplies),
            add_depth: iterations,
            multiply_depth: iterations * multiplies,
            ..VectorPhase::default()
        }
    }

    /// Adds two vectors: residuals, biases, partial sums.
    pub(crate) fn add(&self, n: u64) -> VectorFunction {
        VectorFunction {
            phases: vec![VectorPhase {
                adds: n,
                read_bytes: self.bytes(2 * n),
                write_bytes: self.bytes(n),
                add_depth: 1,
                ..VectorPhase::default()
            }],
        }
    }

    /// Multiplies two vectors.
    pub(crate) fn multiply(&self, n: u64) -> VectorFunction {
        VectorFunction {
            phases: vec![VectorPhase {
                multiplies: n,
                read_bytes: self.bytes(2 * n),
                write_bytes: self.bytes(n),
                multiply_depth: 1,
                ..VectorPhase::default()
            }],
        }
    }

    /// Layer norm (`centred`), or RMS norm, of one row of `n`: mean, variance, reciprocal root, scale and shift.
    pub(crate) fn norm(&self, n: u64, centred: bool) -> VectorFunction {
        self.norms(1, n, centred)
    }

    /// The norm of each of `rows` rows of `columns`, beside one another: of heads, of groups.
    pub(crate) fn norms(&self, rows: u64, columns: u64, centred: bool) -> VectorFunction {
        let n = rows * columns;
        let mut phases = Vec::new();
        if centred {
            phases.push(self.reduce(rows, columns));
            phases.push(VectorPhase { multiplies: rows, multiply_depth: 1, ..VectorPhase::default() });
        }
        let subtract = if centred { n } else { 0 };
        phases.push(VectorPhase {
            adds: n + subtract,
            multiplies: n,
            read_bytes: self.bytes(n),
            write_bytes: self.bytes(subtract),
            add_depth: tree(columns) + u32::from(centred),
            multiply_depth: 1,
        });
        phases.push(Self::newton(rows, self.series.rsqrt_iterations, 3));
        phases.push(VectorPhase {
            adds: subtract,
            multiplies: 2 * n,
            // the row, and its gain and shift
            read_bytes: self.bytes(2 * n + subtract),
            write_bytes: self.bytes(n),
            add_depth: u32::from(centred),
            multiply_depth: 2,
        });
        VectorFunction { phases }
    }

    /// Softmax of `rows` rows of `columns` scores, scaled first: largest, exp of the difference, sum, reciprocal, product.
    pub(crate) fn softmax(&self, rows: u64, columns: u64) -> VectorFunction {
        let n = rows * columns;
        let terms = u64::from(self.series.exp_terms);
        VectorFunction {
            phases: vec![
                self.reduce(rows, columns),
                VectorPhase {
                    // subtract the largest and add the terms; scale by 1/sqrt(head size) and multiply the terms
                    adds: n * (1 + terms),
                    multiplies: n * (1 + terms),
                    read_bytes: self.bytes(n),
                    write_bytes: self.bytes(n),
                    add_depth: 1 + self.series.exp_terms,
                    multiply_depth: 1 + self.series.exp_terms,
                },
                self.reduce(rows, columns),
                Self::newton(rows, self.series.reciprocal_iterations, 2),
                VectorPhase {
                    multiplies: n,
                    read_bytes: self.bytes(n),
                    write_bytes: self.bytes(n),
                    multiply_depth: 1,
                    ..VectorPhase::default()
                },
            ],
        }
    }

    /// An element-wise non-linearity of `n` elements.
    pub(crate) fn activation(&self, kind: ActivationKind, n: u64) -> VectorFunction {
        let io = VectorPhase { read_bytes: self.bytes(n), write_bytes: self.bytes(n), ..VectorPhase::default() };
        let phases = match kind {
            ActivationKind::Relu => vec![VectorPhase { adds: n, add_depth: 1, ..io }],
            // x/2 (1 + tanh(c (x + k x^3))): three multiplications and an addition to the argument, one to scale it; the
            // series; one addition and two multiplications after it.
            ActivationKind::Gelu => {
                let terms = self.series.tanh_terms;
                vec![VectorPhase {
                    adds: n * u64::from(2 + terms),
                    multiplies: n * u64::from(6 + terms),
                    add_depth: 2 + terms,
                    multiply_depth: 6 + terms,
                    ..io
                }]
            }
            ActivationKind::Relu2 => {
                vec![VectorPhase { adds: n, multiplies: n, add_depth: 1, multiply_depth: 1, ..io }]
            }
            ActivationKind::Tanh => {
                let terms = self.series.tanh_terms;
                let (adds, multiplies) = (n * u64::from(terms), n * u64::from(1 + terms));
                vec![VectorPhase { adds, multiplies, add_depth: terms, multiply_depth: 1 + terms, ..io }]
            }
            // x / (1 + exp(-x)): the series, one addition, a reciprocal, one product. A sigmoid has no product, the logarithm of a
            // soft plus is a series as long as the exponential's in place of the reciprocal: no more.
            ActivationKind::Silu | ActivationKind::Sigmoid | ActivationKind::Softplus => {
                let (terms, iterations) = (self.series.exp_terms, self.series.reciprocal_iterations);
                vec![VectorPhase {
                    adds: n * u64::from(1 + terms + iterations),
                    multiplies: n * u64::from(1 + terms + 2 * iterations),
                    add_depth: 1 + terms + iterations,
                    multiply_depth: 1 + terms + 2 * iterations,
                    ..io
                }]
            }
        };
        VectorFunction { phases }
    }

    /// A product and a sum for each of `n` elements.
    pub(crate) fn multiply_add(&self, n: u64) -> VectorFunction {
        VectorFunction {
            phases: vec![VectorPhase {
                adds: n,
                multiplies: n,
                read_bytes: self.bytes(2 * n),
                write_bytes: self.bytes(n),
                add_depth: 1,
                multiply_depth: 1,
            }],
        }
    }

    /// Rotates `n` elements by pairs: four products and two sums a pair.
    pub(crate) fn rotary(&self, n: u64) -> VectorFunction {
        VectorFunction {
            phases: vec![VectorPhase {
                adds: n,
                multiplies: 2 * n,
                read_bytes: self.bytes(3 * n),
                write_bytes: self.bytes(n),
                add_depth: 1,
                multiply_depth: 1,
            }],
        }
    }

    /// The largest of `n` values and its index.
    pub(crate) fn largest(&self, n: u64) -> VectorFunction {
        self.largest_of_rows(1, n)
    }

    /// The largest of each of `rows` rows, and its index.
    pub(crate) fn largest_of_rows(&self, rows: u64, columns: u64) -> VectorFunction {
        VectorFunction { phases: vec![self.reduce(rows, columns)] }
    }
}
