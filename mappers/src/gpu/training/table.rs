//! The gradient of an embedding as PyTorch computes it: indices are sorted, rows of equal ones are summed in parts, and the parts in the table.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile};
use banksia_hw::gpu::spec::GpuSpec;

use crate::gpu::fused::program::{Grid, Plain, each, load, load_l1, matrix, part, set_up, shared_part, store};
use crate::gpu::fused::{by_chance, fill};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::routing::sort_pairs;

/// Threads of a CTA, an element of a row each.
const THREADS: u64 = 1024;
/// Rows of a part at most (`NROWS_PER_THREAD`).
const ROWS_OF_A_PART: u64 = 10;

/// Memory of the launches.
#[derive(Debug, Clone)]
pub struct TableNames {
    /// Rows' gradients.
    pub gradient: Operand,
    /// Indices.
    pub indices: Operand,
    /// The table's gradient.
    pub table: Operand,
}

/// All launches. Indices by chance are taken to differ nearly all, as they do of many tokens and a large vocabulary: a part each.
pub fn table_gradient(rows: u64, width: u64, vocab: u64, names: &TableNames, spec: &GpuSpec) -> Vec<Item> {
    let n = |name: &str| Operand::shared(name);
    let mut items = vec![
        Item::kernel(fill(vocab.saturating_mul(width), 2), [names.table.clone()]),
        Item::kernel(fill(rows, 8), [n("positions")]),
    ];
    items.extend(sort_pairs(rows, &[names.indices.clone(), n("positions")], spec));
    // Runs of equal indices: marked, counted, summed up (`unique_by_key`, three scans), then parts of runs.
    items.extend(small_steps(rows));
    let parts = rows;
    let bound = rows / ROWS_OF_A_PART + rows;
    let operands = [names.gradient.clone(), n("sorted_values"), n("parts_of_rows")];
    items.push(Item::kernel(sum_parts(rows, width, parts, bound), operands));
    let operands = [n("parts_of_rows"), n("sorted_keys"), names.table.clone()];
    items.push(Item::kernel(scatter(parts, width, vocab), operands));
    items
}

/// The chain of small launches between the sort and the sums, each a pass over so many numbers of 64 bits: indices without repetition, their parts, and places of these.
fn small_steps(rows: u64) -> Vec<Item> {
    let pass = |name: &str, threads: u64, per_thread: u64| {
        let per_cta = threads * per_thread;
        let tile = |tensor| Tile {
            row: Expr::default(),
            byte: Expr::work(0, (8 * per_cta) as i64),
            ..part(tensor, 0, 0, 8 * per_cta)
        };
        let warps = (threads / 32).max(1) as u32;
        let ops = vec![
            set_up(warps, 60.0),
            load(tile(0), 0),
            Op::Wait(0),
            each(per_cta as f64, 0.0, 20.0, 0.0, 15.0),
            Op::Sync,
            store(tile(1)),
        ];
        let kernel = Plain {
            name: format!("{name} of {rows}"),
            grid: Grid { x: rows.div_ceil(per_cta).max(1), y: 1 },
            warps,
            registers: 40,
            shared_bytes: 4096,
            tensors: vec![matrix(1, 8 * rows, 8 * per_cta), matrix(1, 8 * rows, 8 * per_cta)],
            arrivals: vec![1],
            ops,
        }
        .kernel();
        Item::kernel(kernel, [Operand::shared("sorted_keys"), Operand::shared("run_starts")])
    };
    vec![
        pass("counters", 128, 1),
        pass("runs of equal indices", 640, 7),
        pass("parts of runs", 32, 1),
        pass("counters", 128, 1),
        pass("scan", 128, 7),
        pass("places of parts", 32, 1),
        pass("number of parts", 32, 1),
    ]
}

/// `compute_grad_weight`: a thread sums one element of a part's rows; it finds the part's first row, then that row's place, then the row. As many CTAs as parts there could
/// be; those beyond end after they have read how many there are. Tensors: gradients, order, sums.
fn sum_parts(rows: u64, width: u64, parts: u64, bound: u64) -> Kernel {
    let per_row = width.div_ceil(THREADS).max(1);
    let piece = (2 * THREADS).min(2 * width);
    let index = Tile { byte: Expr::work(0, 8), ..shared_part(1, 0, 0, 16) };
    let from = Tile { row: Expr::work(2, 1), ..part(0, 0, piece, piece) };
    let to = Tile { row: Expr::work(0, 1), ..part(2, 0, 2 * piece, 2 * piece) };
    let n = THREADS.min(width) as f64;
    let ops = vec![
        set_up(32, 60.0),
        // How many parts there are; the part's first row; its place.
        load_l1(shared_part(1, 0, 0, 8), 0),
        Op::Wait(0),
        load_l1(index, 0),
        Op::Wait(0),
        load_l1(index, 0),
        Op::Wait(0),
        load(from, 0),
        Op::Wait(0),
        each(n, 1.0, 12.0, 0.0, 8.0),
        store(to),
    ];
    let picks = by_chance(rows);
    let mut kernel = Plain {
        name: format!("sums of {parts} parts of {width}"),
        grid: Grid { x: bound.min(parts + parts / ROWS_OF_A_PART).max(1), y: per_row },
        warps: 32,
        registers: 32,
        shared_bytes: 0,
        tensors: vec![matrix(rows, 2 * width, piece), matrix(1, 8 * rows, 256), matrix(parts, 4 * width, 2 * piece)],
        arrivals: vec![1],
        ops,
    }
    .kernel();
    for item in &mut kernel.items {
        item[2] = i32::try_from(picks(u64::from(item[0].unsigned_abs()))).unwrap_or(i32::MAX);
    }
    kernel
}

/// `sum_and_scatter`: a thread adds one element of a run's parts up and stores it in the table. Tensors: sums, indices, table.
fn scatter(parts: u64, width: u64, vocab: u64) -> Kernel {
    let per_row = width.div_ceil(THREADS).max(1);
    let piece = (2 * THREADS).min(2 * width);
    let index = Tile { byte: Expr::work(0, 8), ..shared_part(1, 0, 0, 16) };
    let from = Tile { row: Expr::work(0, 1), ..part(0, 0, 2 * piece, 2 * piece) };
    let to = Tile { row: Expr::work(2, 1), ..part(2, 0, piece, piece) };
    let n = THREADS.min(width) as f64;
    let ops = vec![
        set_up(32, 60.0),
        load_l1(shared_part(1, 0, 0, 8), 0),
        Op::Wait(0),
        load_l1(index, 0),
        Op::Wait(0),
        load(from, 0),
        Op::Wait(0),
        each(n, 1.0, 12.0, 0.0, 8.0),
        load_l1(index, 0),
        Op::Wait(0),
        store(to),
    ];
    let picks = by_chance(vocab);
    let mut kernel = Plain {
        name: format!("sums of {parts} rows of {width} to a table"),
        grid: Grid { x: parts.max(1), y: per_row },
        warps: 32,
        registers: 32,
        shared_bytes: 0,
        tensors: vec![matrix(parts, 4 * width, 2 * piece), matrix(1, 8 * parts, 256), matrix(vocab, 2 * width, piece)],
        arrivals: vec![1],
        ops,
    }
    .kernel();
    for item in &mut kernel.items {
        item[2] = i32::try_from(picks(u64::from(item[0].unsigned_abs()))).unwrap_or(i32::MAX);
    }
    kernel
}
