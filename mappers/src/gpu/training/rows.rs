//! Elementwise gradients, sums, copies and reductions by columns as PyTorch launches them in a backward pass.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;
use banksia_workloads::ActivationKind;

use crate::gpu::fused::program::{Grid, Plain, each, load, matrix, part, set_up, store};
use crate::gpu::fused::{Cost, Pointwise, Way, pointwise};
use crate::gpu::rows::in_bursts;

/// The gradient of an activation. Tensors: gradient, input, output.
///
/// GELU's takes the error function of its forward pass and an exponential more, between selects that come in bursts as there.
pub fn activation_gradient(kind: ActivationKind, elements: u64) -> Kernel {
    let cost = match kind {
        ActivationKind::Gelu => Cost { fma: 17.0, alu: 14.0, sfu: 2.0 },
        ActivationKind::Silu => Cost { fma: 7.0, alu: 3.0, sfu: 2.0 },
        ActivationKind::Relu | ActivationKind::Relu2 => Cost { fma: 1.0, alu: 3.0, sfu: 0.0 },
        ActivationKind::Tanh | ActivationKind::Sigmoid | ActivationKind::Softplus => {
            Cost { fma: 4.0, alu: 3.0, sfu: 2.0 }
        }
    };
    let kernel = pointwise(
        "activation gradient",
        &Pointwise { elements, inputs: vec![2.0, 2.0], out_bytes: 2, way: Way::Vector, cost },
    );
    if kind == ActivationKind::Gelu { in_bursts(kernel) } else { kernel }
}

/// Lane operations of an element of a stack: its place divided out by three lengths, by divisions of 32 bits proper (some twenty instructions each).
/// 25 to 63 million elements go at one a cycle and SM in `models_kernels.jsonl`, which 64 integer lanes do at 62.
const STACK: Cost = Cost { fma: 0.0, alu: 62.0, sfu: 0.0 };

/// Tensors put side by side (`CatArrayBatchedCopy`): two CTAs of 512 threads an SM for each of them, four dimensions. Tensors: parts, output.
pub fn stack(parts: u64, elements: u64, spec: &GpuSpec) -> Kernel {
    let (parts, threads) = (parts.clamp(1, 6), 512u64);
    let own = elements.div_ceil(parts);
    let ctas = u64::from(2 * spec.sms());
    // Elements of a turn of the grid.
    let turn = threads * 8;
    let turns = own.div_ceil(ctas * turn).max(1);
    let n = turn as f64;
    let tile = |tensor: u8| Tile {
        row: Expr::default(),
        byte: Expr::work(0, (2 * turn) as i64).plus_loop(0, (2 * turn * ctas) as i64),
        ..part(tensor, 0, 0, 2 * turn)
    };
    let out = Tile { byte: tile(0).byte.plus_work(1, (2 * own) as i64), ..tile(1) };
    let ops = vec![
        set_up(16, 40.0),
        Op::Loop(Trips::Const(turns.min(1 << 24) as u32)),
        each(n, STACK.fma, STACK.alu, STACK.sfu, 2.0),
        load(Tile { row: Expr::work(1, 1), ..tile(0) }, 0),
        Op::Wait(0),
        store(out),
        Op::End,
    ];
    Plain {
        name: format!("stack of {parts} x {own}"),
        grid: Grid { x: ctas, y: parts },
        warps: 16,
        registers: 32,
        shared_bytes: 0,
        tensors: vec![matrix(parts, 2 * own, 2 * turn), matrix(1, 2 * own * parts, 2 * turn)],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}

/// How a sum over rows lies over CTAs, as PyTorch's `setReduceConfig` has it where the reduced dimension is not the innermost: 32 lanes of four
/// columns, four warps along the rows, and as many CTAs along them as the device holds and as leave each thread sixteen rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    along_columns: u64,
    along_rows: u64,
    /// Rows of a CTA.
    rows: u64,
}

impl Columns {
    fn of(rows: u64, columns: u64, spec: &GpuSpec) -> Self {
        let along_columns = columns.div_ceil(128).max(1);
        let each = rows.div_ceil(4);
        let held = u64::from(spec.sms()) * 16;
        let along_rows = match each {
            256.. => held.div_ceil(along_columns).min(each.div_ceil(16)).max(each.div_ceil(256)).max(1),
            _ => 1,
        };
        Self { along_columns, along_rows, rows: rows.div_ceil(along_rows).max(1) }
    }
}

/// Cycles of a load from L2 and of the loop around it: from the far half of it 471 (`latency_cg` of the H200), and 80 of instructions that wait for one another.
const TRIP_CYCLES: f64 = 551.0;

/// A sum over rows: the gradient of a bias. Tensors: matrix, vector, and where CTAs share a column their partial sums and counters.
///
/// A thread has the loads of four rows under way. CTAs that share columns leave partial sums in memory; the last to count itself reads them all.
pub fn sum_of_rows(rows: u64, columns: u64, element_bytes: u64, spec: &GpuSpec) -> Vec<Kernel> {
    let c = Columns::of(rows, columns, spec);
    let (own, e) = (128.min(columns.max(1)), element_bytes);
    let turn = 16.min(c.rows);
    let turns = c.rows.div_ceil(turn).max(1);
    let from = Tile {
        tensor: 0,
        row: Expr::work(1, c.rows as i64).plus_loop(0, turn as i64),
        byte: Expr::work(0, (own * e) as i64),
        rows: turn as u32,
        bytes: (own * e) as u32,
    };
    let n = (turn * own) as f64;
    let join = Op::Vector(VectorWork { issue: 4.0 * 40.0, latency_cycles: 120.0, ..VectorWork::default() });
    let mut ops = vec![
        set_up(4, 150.0),
        Op::Loop(Trips::Const(turns.min(1 << 24) as u32)),
        load(from, 0),
        Op::Wait(0),
        each(n, 1.0, 1.5, 0.0, 1.0),
        Op::End,
        join,
        Op::Sync,
    ];
    let row_of = |tensor: u8, bytes: u64| Tile {
        tensor,
        row: Expr::default(),
        byte: Expr::work(0, bytes as i64),
        rows: 1,
        bytes: bytes as u32,
    };
    let mut tensors = vec![matrix(rows, columns * e, own * e), matrix(1, columns * e, own * e)];
    let mut kernels = Vec::new();
    if c.along_rows > 1 {
        let partial = Tile { row: Expr::work(1, 1), ..row_of(2, own * 4) };
        ops.extend([store(partial), Op::StoreWait, Op::Store { tile: row_of(3, 4), reduce: true }, Op::StoreWait]);
        // The last CTA of a column reads the partial sums, four at a time, each turn a trip to L2. All CTAs are taken to wait for as long; one of them reads.
        let turn = VectorWork { issue: 4.0 * 12.0, latency_cycles: TRIP_CYCLES, ..VectorWork::default() };
        let turns = c.along_rows.div_ceil(4).min(1 << 16) as u32;
        ops.extend([Op::Sync, Op::Loop(Trips::Const(turns)), Op::Vector(turn), Op::End, join, Op::Sync]);
        tensors.extend([matrix(c.along_rows, columns * 4, own * 4), matrix(1, c.along_columns * 4, 32)]);
        kernels.push(crate::gpu::fused::memset(c.along_columns * 4));
    }
    ops.push(store(row_of(1, own * e)));
    kernels.push(
        Plain {
            name: format!("sum of {rows} rows of {columns}"),
            grid: Grid { x: c.along_columns, y: c.along_rows },
            warps: 4,
            registers: 54,
            shared_bytes: 2048,
            tensors,
            arrivals: vec![1],
            ops,
        }
        .kernel(),
    );
    kernels
}

/// Pairs of heads that share keys summed: gradients of keys and values by query heads to those by key heads. Tensors: input, output.
pub fn sum_of_groups(elements: u64, group: u64) -> Kernel {
    let inputs = vec![2.0 * group as f64];
    pointwise(
        "sum of groups",
        &Pointwise {
            elements,
            inputs,
            out_bytes: 2,
            way: Way::Convert,
            cost: Cost { fma: group as f64, alu: 2.0 * group as f64, sfu: 0.0 },
        },
    )
}
