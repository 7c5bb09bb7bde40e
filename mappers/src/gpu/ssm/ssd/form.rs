//! Sizes of a scan, its memory, and where its arrays lie.

use banksia_hw::gpu::program::{Expr, Tensor, Tile};

use super::super::code::{matrix, sum, tile};
use crate::gpu::launch::Operand;

/// One scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ssd {
    /// Sequences.
    pub batch: u32,
    /// Tokens of each.
    pub tokens: u32,
    /// Heads.
    pub heads: u32,
    /// Width of a head: 1 to 64, or a multiple of 64.
    pub head_dim: u32,
    /// Columns of a head's state.
    pub state: u32,
    /// Groups of heads that share B and C.
    pub groups: u32,
    /// Tokens of a chunk, a power of two.
    pub chunk: u32,
    /// Bytes of an element of x, B, C and the output: 2.
    pub element_bytes: u32,
    /// x, B and C are columns of one matrix `[tokens, heads * head_dim + 2 * groups * state]`, as the convolution leaves them; otherwise each is its own.
    pub packed: bool,
    /// Elements from one token's step sizes to the next one's: the heads, or the width of the projection that they are columns of.
    pub step_pitch: u32,
    /// Step sizes get a bias and a softplus.
    pub softplus: bool,
    /// Each token's x is added with a weight (D).
    pub skip: bool,
    /// The output is multiplied by SiLU of a gate.
    pub gate: bool,
    /// Each sequence begins with a state.
    pub initial: bool,
}

impl Ssd {
    /// Chunks of a sequence.
    pub fn chunks(&self) -> u32 {
        self.tokens.div_ceil(self.chunk.max(1))
    }

    /// Multiply-adds of the products, causal ones whole where their tiles are.
    pub fn fma(&self) -> f64 {
        let (b, l, h, p) =
            (f64::from(self.batch), f64::from(self.tokens), f64::from(self.heads), f64::from(self.head_dim));
        let (n, g, c) = (f64::from(self.state), f64::from(self.groups), f64::from(self.chunk.min(self.tokens)));
        // States in and out, products of the chunk by half, C B^T whole.
        b * l * (2.0 * h * p * n + h * p * c / 2.0 + g * n * c)
    }
}

/// Memory of a scan.
#[derive(Debug, Clone)]
pub struct SsdNames {
    /// x; B and C too where they are packed.
    pub x: Operand,
    /// B.
    pub b: Operand,
    /// C.
    pub c: Operand,
    /// Step sizes.
    pub dt: Operand,
    /// Decays, step biases, skips.
    pub parameters: Operand,
    /// The gate.
    pub z: Operand,
    /// States at the begin and the end.
    pub state: Operand,
    /// The output.
    pub y: Operand,
}

impl Default for SsdNames {
    fn default() -> Self {
        let shared = |name: &str| Operand::shared(format!("ssd.{name}"));
        Self {
            x: shared("x"),
            b: shared("b"),
            c: shared("c"),
            dt: shared("dt"),
            parameters: Operand::own("ssd.parameters"),
            z: shared("z"),
            state: Operand::own("ssd.state"),
            y: shared("y"),
        }
    }
}

/// The scan's arrays.
pub(super) struct Form {
    pub(super) s: Ssd,
    pub(super) chunks: u32,
    /// Blocks of 64 columns of all heads, and of one; columns of a block that are there.
    pub(super) blocks: u32,
    pub(super) blocks_per_head: u32,
    pub(super) width: u32,
    /// Tokens of a chunk that are there.
    pub(super) rows: u32,
}

/// Columns of a head in a tile: of the autotuned configurations the middle ones, which are those that were launched.
pub(super) const WIDTH: u32 = 64;

impl Form {
    pub(super) fn of(s: &Ssd) -> Self {
        let blocks_per_head = s.head_dim.div_ceil(WIDTH);
        Self {
            s: *s,
            chunks: s.chunks(),
            blocks: s.heads * blocks_per_head,
            blocks_per_head,
            width: s.head_dim.min(WIDTH),
            rows: s.chunk.min(s.tokens),
        }
    }

    pub(super) fn tokens(&self) -> u64 {
        u64::from(self.s.batch) * u64::from(self.s.tokens)
    }

    /// Bytes of a token in the matrix of x, and where B and C of a group begin; whether it holds them too.
    pub(super) fn pitch(&self) -> u64 {
        let x = u64::from(self.s.heads * self.s.head_dim);
        let bc = if self.s.packed { 2 * u64::from(self.s.groups * self.s.state) } else { 0 };
        (x + bc) * u64::from(self.s.element_bytes)
    }

    pub(super) fn group_pitch(&self) -> u64 {
        u64::from(self.s.groups * self.s.state) * u64::from(self.s.element_bytes)
    }

    /// The matrix of x.
    pub(super) fn x(&self, piece_rows: u32) -> Tensor {
        matrix(self.tokens(), self.pitch(), piece_rows, WIDTH * self.s.element_bytes)
    }

    /// That of B or C, in columns after x where they are packed.
    pub(super) fn bc(&self, piece_rows: u32) -> Tensor {
        let pitch = if self.s.packed { self.pitch() } else { self.group_pitch() };
        matrix(self.tokens(), pitch, piece_rows, self.s.state * self.s.element_bytes)
    }

    /// First byte of B (0) or C (1) in its matrix.
    pub(super) fn bc_at(&self, which: u64) -> Expr {
        let x = u64::from(self.s.heads * self.s.head_dim) * u64::from(self.s.element_bytes);
        Expr::at(if self.s.packed { (x + which * self.group_pitch()) as i64 } else { 0 })
    }

    /// Step sizes or summed decays in single precision, a row for each chunk: the heads' chunks one after the other.
    pub(super) fn summed(&self) -> Tensor {
        let row = u64::from(self.s.heads) * u64::from(self.s.chunk) * 4;
        matrix(u64::from(self.s.batch) * u64::from(self.chunks), row, 1, self.s.chunk * 4)
    }

    /// Those of a chunk's head, from a token on: the chunk's number and the head's among the item's.
    pub(super) fn summed_of(&self, tensor: u8, chunk: usize, head: usize, tokens: u32) -> Tile {
        let head = sum(&[(head, u64::from(self.s.chunk) * 4 / u64::from(self.blocks_per_head))]);
        tile(tensor, sum(&[(chunk, 1)]), head, 1, tokens * 4)
    }

    /// States of all chunks: a row for each of a head's.
    pub(super) fn states(&self, bytes: u32) -> Tensor {
        let rows = u64::from(self.s.batch) * u64::from(self.chunks) * u64::from(self.s.heads * self.s.head_dim);
        matrix(rows, u64::from(self.s.state * bytes), self.width, self.s.state * bytes)
    }

    /// C B^T of all chunks.
    pub(super) fn products(&self, rows: u32, columns: u32) -> Tensor {
        let all = u64::from(self.s.batch) * u64::from(self.chunks) * u64::from(self.s.groups) * u64::from(self.s.chunk);
        matrix(all, u64::from(self.s.chunk) * 4, rows, columns * 4)
    }

    /// What the kernels hand each other.
    pub(super) fn between(name: &str) -> Operand {
        Operand::shared(format!("ssd.{name}"))
    }
}
