//! Elementwise kernels, copies, gathers and reductions as PyTorch launches them.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tensor, Tile, Trips, VectorWork};

use super::super::rows::engine_copy;
use super::super::{PLAIN_REGISTERS, lanes};
use super::program::{Grid, Plain, load, load_l1, matrix, part, set_up, shared_part, store};

/// How PyTorch's `TensorIterator` runs an elementwise operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// All contiguous and of one type: vectors of 16 bytes, 1024 elements a CTA of 128 threads (`vectorized_elementwise_kernel`).
    Vector,
    /// Contiguous, with a conversion of types: 512 elements a CTA (`unrolled_elementwise_kernel`).
    Convert,
    /// Strides or broadcasts: each element's place is divided out of its number, and each of a thread's four elements is loaded and stored
    /// before the next, which it might overlap (`elementwise_kernel<128, 4>`).
    Strided,
}

/// Lane operations of an element: FMA, integer, special functions.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// FMA lanes.
    pub fma: f64,
    /// Integer and logic lanes.
    pub alu: f64,
    /// Special functions.
    pub sfu: f64,
}

impl Cost {
    /// Nothing but moving.
    pub const COPY: Self = Self { fma: 0.0, alu: 0.0, sfu: 0.0 };
    /// One product or sum of two numbers, with conversions.
    pub const BINARY: Self = Self { fma: 1.0, alu: 2.5, sfu: 0.0 };
    /// SiLU.
    pub const SILU: Self = Self { fma: 4.0, alu: 2.0, sfu: 2.0 };
    /// A whole number of 64 bits divided and rounded down: some thirty instructions each way of its sign (SASS of `div_floor`).
    pub const DIVIDE: Self = Self { fma: 20.0, alu: 40.0, sfu: 2.0 };
}

/// An elementwise operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointwise {
    /// Elements of the output.
    pub elements: u64,
    /// Of each input, bytes that an element of the output reads: less than an element's where it is broadcast.
    pub inputs: Vec<f64>,
    /// Bytes of an element of the output.
    pub out_bytes: u32,
    /// How.
    pub way: Way,
    /// Arithmetic.
    pub cost: Cost,
}

/// Instructions in which a strided kernel finds an element's places: a division by multiplication, a product and a difference for each of
/// three dimensions, and a product and a sum for each of two operands (`OffsetCalculator::get`).
const PLACES: (f64, f64) = (12.0, 15.0);

/// An elementwise kernel. Tensors: inputs, output.
pub fn pointwise(name: &str, p: &Pointwise) -> Kernel {
    let (per_cta, turns) = match p.way {
        Way::Vector => (1024, 1),
        Way::Convert => (512, 1),
        Way::Strided => (512, 4),
    };
    let per_turn = per_cta / turns;
    let tile = |tensor: usize, bytes: f64| {
        let whole = |n: u64| (n as f64 * bytes).ceil().max(1.0) as u64;
        let step = i64::try_from(whole(per_turn)).unwrap_or(i64::MAX);
        let byte = Expr::work(0, i64::try_from(whole(per_cta)).unwrap_or(i64::MAX)).plus_loop(0, step);
        Tile { tensor: tensor as u8, row: Expr::default(), byte, rows: 1, bytes: whole(per_turn) as u32 }
    };
    let n = per_turn as f64;
    let inputs = p.inputs.len().min(6);
    let mut ops = vec![set_up(4, 25.0), Op::Loop(Trips::Const(turns as u32))];
    if p.way == Way::Strided {
        let places = lanes(n, PLACES.0, PLACES.1, 0.0, 2.0);
        ops.push(Op::Vector(VectorWork { stall: 2.5, ..places }));
    }
    ops.extend(p.inputs.iter().take(inputs).enumerate().map(|(i, bytes)| load(tile(i, *bytes), 0)));
    ops.extend((inputs > 0).then_some(Op::Wait(0)));
    let Cost { fma, alu, sfu } = p.cost;
    let work = VectorWork { stall: 2.5, ..lanes(n, fma, alu, sfu, 2.0) };
    ops.extend([Op::Vector(work), store(tile(inputs, f64::from(p.out_bytes))), Op::End]);
    let tensor = |bytes: f64| Tensor {
        piece_bytes: ((per_turn as f64 * bytes) as u32).clamp(32, 1 << 16).next_power_of_two(),
        ..Tensor::stream((p.elements.max(1) as f64 * bytes).ceil() as u64)
    };
    let mut tensors: Vec<Tensor> = p.inputs.iter().take(inputs).map(|b| tensor(*b)).collect();
    tensors.push(tensor(f64::from(p.out_bytes)));
    Plain {
        name: format!("{name} of {}", p.elements),
        grid: Grid { x: p.elements.div_ceil(per_cta), y: 1 },
        warps: 4,
        registers: PLAIN_REGISTERS,
        shared_bytes: 0,
        tensors,
        arrivals: vec![inputs as u32],
        ops,
    }
    .kernel()
}

/// A copy between places of different strides, of elements of so many bytes (`copy_` into a cache, `reshape` of a transposed tensor,
/// `contiguous` of a part of rows). Tensors: source, destination.
pub fn strided_copy(elements: u64, element_bytes: u32) -> Kernel {
    let e = f64::from(element_bytes);
    let way = Way::Strided;
    pointwise("strided copy", &Pointwise { elements, inputs: vec![e], out_bytes: element_bytes, way, cost: Cost::COPY })
}

/// A conversion from one type to another. Tensors: source, destination.
pub fn convert(elements: u64, from_bytes: u32, to_bytes: u32) -> Kernel {
    let (from, out_bytes) = (f64::from(from_bytes), to_bytes);
    let cost = Cost { alu: 1.0, ..Cost::COPY };
    pointwise("conversion", &Pointwise { elements, inputs: vec![from], out_bytes, way: Way::Convert, cost })
}

/// Numbers that are set, or counted up. Tensors: destination.
pub fn fill(elements: u64, element_bytes: u32) -> Kernel {
    let (inputs, out_bytes) = (Vec::new(), element_bytes);
    pointwise("fill", &Pointwise { elements, inputs, out_bytes, way: Way::Vector, cost: Cost::COPY })
}

/// A memory set of so many bytes, as a node of a graph. Tensors: destination.
pub fn memset(bytes: u64) -> Kernel {
    fill(bytes.div_ceil(4).max(1), 4)
}

/// A memory copy of so many bytes, as a node of a graph. Tensors: source, destination.
pub fn memcpy(bytes: u64) -> Kernel {
    if bytes >= super::super::layers::ENGINES_FROM {
        return engine_copy(bytes);
    }
    let (elements, way, cost) = (bytes.div_ceil(4).max(1), Way::Vector, Cost::COPY);
    pointwise("memory copy", &Pointwise { elements, inputs: vec![4.0], out_bytes: 4, way, cost })
}

/// Up to so many rows `index_select` takes one after another, all CTAs along the row (`num_indices <= 16`).
const FEW_INDICES: u64 = 16;
/// Bytes of a vector, and threads of a CTA, of the gather over whole rows.
const GATHER: (u64, u64) = (16, 256);

/// Rows of a table, picked by indices of 64 bits: an embedding, or tokens in the order of their experts. `picks` says which rows in a table of `table_rows`.
/// Tensors: table `[table_rows, row_bytes]`, indices, output `[rows, row_bytes]`.
///
/// `vectorized_gather_kernel`: 256 threads move 16 bytes each, so many CTAs a row as that takes. `embedding` of at most 16 tokens is
/// `index_select`'s kernel for few indices instead (`few`).
pub fn gather_rows(rows: u64, row_bytes: u64, table_rows: u64, picks: &dyn Fn(u64) -> u64, few: bool) -> Kernel {
    let row_bytes = row_bytes.max(1);
    let table_rows = table_rows.max(1);
    let last = table_rows - 1;
    if few && rows <= FEW_INDICES {
        return gather_few(rows, row_bytes, table_rows, &|i| picks(i).min(last));
    }
    let piece = (GATHER.0 * GATHER.1).min(row_bytes);
    let columns = row_bytes.div_ceil(piece);
    let from = Tile { row: Expr::work(2, 1), ..part(0, 0, piece, piece) };
    let index = Tile { byte: Expr::work(0, 8), ..shared_part(1, 0, 0, 8) };
    let ops = vec![
        set_up(8, 25.0),
        load_l1(index, 0),
        Op::Wait(0),
        load(from, 0),
        Op::Wait(0),
        store(part(2, 0, piece, piece)),
    ];
    let mut kernel = Plain {
        name: format!("gather of {rows} rows of {row_bytes} bytes"),
        grid: Grid { x: rows, y: columns },
        warps: (GATHER.1 / 32) as u32,
        registers: PLAIN_REGISTERS,
        shared_bytes: 0,
        tensors: vec![
            matrix(table_rows, row_bytes, piece),
            matrix(1, rows.saturating_mul(8), 256),
            matrix(rows, row_bytes, piece),
        ],
        arrivals: vec![1],
        ops,
    }
    .kernel();
    for item in &mut kernel.items {
        item[2] = i32::try_from(picks(u64::from(item[0].unsigned_abs())).min(last)).unwrap_or(i32::MAX);
    }
    kernel
}

/// 128 threads a CTA, an element each; an index after the other.
fn gather_few(rows: u64, row_bytes: u64, table_rows: u64, picks: &dyn Fn(u64) -> u64) -> Kernel {
    let piece = 256.min(row_bytes);
    // Rows lie apart by as much as the first two do: places in the table are by chance anyway.
    let (first, second) = (picks(0), picks(1.min(rows.saturating_sub(1))));
    let apart = i64::try_from(second.abs_diff(first).max(1))
        .unwrap_or(1)
        .min(i64::try_from((table_rows - 1).checked_div(rows.saturating_sub(1)).unwrap_or(0)).unwrap_or(1).max(1));
    let from = Tile { row: Expr::default().plus_loop(0, apart), ..part(0, 0, piece, piece) };
    let from = Tile { byte: Expr::work(0, i64::try_from(piece).unwrap_or(256)), ..from };
    let to = Tile { tensor: 2, row: Expr::default().plus_loop(0, 1), ..from };
    let index = Tile { byte: Expr::default().plus_loop(0, 8), ..shared_part(1, 0, 0, 8) };
    let ops = vec![
        set_up(4, 40.0),
        Op::Loop(Trips::Const(rows.clamp(1, FEW_INDICES) as u32)),
        load_l1(index, 0),
        Op::Wait(0),
        set_up(4, 20.0),
        load(from, 0),
        Op::Wait(0),
        store(to),
        Op::End,
    ];
    Plain {
        name: format!("selection of {rows} rows of {row_bytes} bytes"),
        grid: Grid { x: row_bytes.div_ceil(piece), y: 1 },
        warps: 4,
        registers: PLAIN_REGISTERS,
        shared_bytes: 0,
        tensors: vec![
            matrix(table_rows, row_bytes, piece),
            matrix(1, rows.saturating_mul(8), 128),
            matrix(rows, row_bytes, piece),
        ],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}

/// Rows in an order by chance, always the same.
pub fn by_chance(table_rows: u64) -> impl Fn(u64) -> u64 {
    move |i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % table_rows.max(1)
}
