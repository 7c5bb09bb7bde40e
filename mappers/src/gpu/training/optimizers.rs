//! Launches of updates: which kernels each optimiser makes of a step's parameters.
//!
//! | optimiser | launches |
//! |---|---|
//! | AdamW, plain descent | fused, over chunks of many tensors |
//! | AdamW in 8 bits (bitsandbytes) | a kernel a tensor: blocks with a scale each, moments looked up in a table and found in it again |
//! | low rank (GaLore) | a matrix's gradient to `rank` rows, AdamW there, back, added; a singular value decomposition every so many steps, of which a step has its share |
//! | Adafactor | sums of squares of rows and of columns, the update by both |
//! | Muon | momentum, five Newton-Schulz steps of three products, added; vectors by AdamW |

use banksia_hw::gpu::program::{Dtype, Expr, Op, Tile, Trips, VectorWork};
use banksia_workloads::DataType;
use banksia_workloads::backward::{Optimizer, Parameter, Precision, TrainingStep};

use super::experts::ended;
use super::optimizer::{adamw, both, sgd, step_numbers};
use crate::gpu::fused::program::{Grid, Plain, load, matrix, part, set_up, store};
use crate::gpu::fused::{Cost, Pointwise, Reduction, Way, pointwise, reduce_rows};
use crate::gpu::gemm::Gemm;
use crate::gpu::launch::{Item, Operand};
use crate::gpu::{lanes, reduction};

/// Launches of an operator of the update.
pub(super) type Labelled = (&'static str, Vec<Item>);

/// Steps from one decomposition of GaLore to the next (`update_proj_gap` of the paper's runs, arXiv 2403.03507, appendix C).
const DECOMPOSED_EVERY: u64 = 200;
/// Newton-Schulz steps of Muon.
const MUON_STEPS: u32 = 5;

fn shared(name: impl Into<String>) -> Operand {
    Operand::shared(name)
}

/// Types of an update.
struct Bytes {
    /// Of what is updated.
    parameter: u64,
    /// Of moments.
    moment: u64,
}

fn bytes(d: DataType) -> u64 {
    d.bits().div_ceil(8)
}

/// The launches of a step's update.
pub(super) fn update(step: &TrainingStep, dtype: Dtype) -> Vec<Labelled> {
    let mixed = step.spec.precision == Precision::Mixed;
    let shards = step.spec.shards.max(1);
    let sizes: Vec<u64> = step.parameters.iter().map(|p| p.elements().div_ceil(shards)).collect();
    let parameter = if mixed { 4 } else { bytes(step.dtype) };
    let moments = match step.spec.optimizer {
        Optimizer::AdamW { moments } | Optimizer::LowRank { moments, .. } | Optimizer::Muon { moments } => moments,
        _ => step.dtype,
    };
    let b = Bytes { parameter, moment: bytes(moments) };
    let (matrices, vectors): (Vec<&Parameter>, Vec<&Parameter>) =
        step.parameters.iter().partition(|p| p.rows > 1 && p.columns > 1);
    let of = |list: &[&Parameter]| list.iter().map(|p| p.elements().div_ceil(shards)).collect::<Vec<u64>>();
    let mut all = match step.spec.optimizer {
        Optimizer::None => return Vec::new(),
        Optimizer::AdamW { .. } => by_adamw(&sizes, &b),
        Optimizer::Sgd => {
            let names = ["parameters", "gradients", "momentum"];
            vec![("sgd", listed(sgd(&sizes, b.parameter), &names, ""))]
        }
        Optimizer::AdamW8 { block } => {
            let items = sizes.iter().enumerate().map(|(i, n)| {
                let own = |what: &str| shared(format!("update{i}.{what}"));
                Item::kernel(adamw8(*n, b.parameter, block), ["parameters", "gradients", "first", "second"].map(own))
            });
            vec![("adamw in 8 bits", items.collect())]
        }
        Optimizer::LowRank { rank, .. } => {
            let mut all = by_adamw(&of(&vectors), &b);
            all.extend(low_rank(&matrices, rank, &b, dtype));
            all
        }
        Optimizer::Adafactor => adafactor(&matrices, &of(&vectors), &b),
        Optimizer::Muon { .. } => {
            let mut all = by_adamw(&of(&vectors), &b);
            all.extend(muon(&matrices, &b, dtype));
            all
        }
    };
    if mixed {
        all.push((
            "copies of parameters",
            listed(both("copies", &sizes, 4, bytes(step.dtype)), &["parameters", "copies"], ""),
        ));
    }
    all.retain(|(_, items)| !items.is_empty());
    all
}

fn listed(kernels: Vec<(banksia_hw::gpu::program::Kernel, u64)>, names: &[&str], group: &str) -> Vec<Item> {
    let of = |(i, (kernel, _))| Item::kernel(kernel, names.iter().map(|n| shared(format!("update{group}{i}.{n}"))));
    kernels.into_iter().enumerate().map(of).collect()
}

fn by_adamw(sizes: &[u64], b: &Bytes) -> Vec<Labelled> {
    if sizes.is_empty() {
        return Vec::new();
    }
    let numbers = step_numbers(sizes.len() as u64);
    let numbers = numbers.into_iter().map(|k| Item::kernel(k, [shared("step_numbers")])).collect();
    let names = ["parameters", "gradients", "first", "second"];
    vec![("step numbers", numbers), ("adamw", listed(adamw(sizes, b.parameter, b.moment), &names, ""))]
}

/// Lane operations of an element beside AdamW's own: two moments looked up in tables of 256 numbers, and found in them again by eight halvings each, a load from shared memory, a comparison and a
/// choice a halving (`kOptimizerStatic8bit2StateBlockwise` of bitsandbytes, from its source; assumed).
const TABLES: f64 = 2.0 * 8.0 * 5.0;

/// AdamW with moments of eight bits: a CTA a block. Tensors: parameters, gradients, two moments.
fn adamw8(elements: u64, parameter_bytes: u64, block: u64) -> banksia_hw::gpu::program::Kernel {
    let block = block.clamp(32, 4096).min(elements.max(1));
    let warps = (block / 32).clamp(1, 8) as u32;
    let tile = |i: u8, b: u64| Tile {
        row: Expr::default(),
        byte: Expr::work(0, (block * b) as i64),
        ..part(i, 0, 0, block * b)
    };
    let sides = [parameter_bytes, parameter_bytes, 1, 1];
    let n = block as f64;
    let mut ops = vec![set_up(warps, 80.0)];
    ops.extend((0..4u8).map(|i| load(tile(i, sides[usize::from(i)]), 0)));
    ops.extend([
        Op::Wait(0),
        Op::Vector(VectorWork { stall: 2.5, latency_cycles: 60.0, ..lanes(n, 18.0, 8.0, 4.0, 6.0) }),
        // The largest of each moment sets its block's scale.
        Op::Vector(reduction(warps)),
        Op::Sync,
        Op::Vector(reduction(warps)),
        Op::Sync,
        Op::Vector(VectorWork {
            stall: 2.5,
            shared_bytes: 2.0 * 10.0 * 4.0 * n,
            latency_cycles: 8.0 * 40.0,
            ..lanes(n, 4.0, TABLES * 0.6, 0.0, TABLES * 0.4)
        }),
    ]);
    ops.extend([0u8, 2, 3].map(|i| store(tile(i, sides[usize::from(i)]))));
    Plain {
        name: format!("adamw in 8 bits of {elements}"),
        grid: Grid { x: elements.div_ceil(block), y: 1 },
        warps,
        registers: 48,
        shared_bytes: 4096,
        tensors: sides.map(|b| matrix(1, elements * b, block * b)).to_vec(),
        arrivals: vec![4],
        ops,
    }
    .kernel()
}

fn product(m: u64, n: u64, k: u64, dtype: Dtype, [a, b, c]: [&str; 3]) -> Item {
    let int = |n: u64| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
    Item::product(Gemm::new(int(m), int(n), int(k), dtype), shared(a), shared(b), shared(c))
}

fn elementwise(name: &str, elements: u64, inputs: Vec<f64>, out_bytes: u64, fma: f64) -> Item {
    let operands: Vec<Operand> = (0..=inputs.len()).map(|i| shared(format!("{name}{i}"))).collect();
    let out_bytes = u32::try_from(out_bytes).unwrap_or(4);
    let cost = Cost { fma, alu: 2.0, sfu: 0.5 };
    Item::kernel(pointwise(name, &Pointwise { elements, inputs, out_bytes, way: Way::Vector, cost }), operands)
}

/// GaLore, matrix by matrix.
fn low_rank(matrices: &[&Parameter], rank: u64, b: &Bytes, dtype: Dtype) -> Vec<Labelled> {
    let (mut to, mut back, mut added, mut decomposed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut low = Vec::new();
    for p in matrices {
        let (short, long) = (p.rows.min(p.columns), p.rows.max(p.columns));
        let rank = rank.min(short).max(1);
        to.push(product(rank, long, short, dtype, ["projection", "gradient", "projected"]));
        back.push(product(short, long, rank, dtype, ["projection", "update", "whole_update"]));
        let n = p.elements();
        added.push(elementwise("whole update", n, vec![2.0, b.parameter as f64], b.parameter, 2.0));
        low.push(rank * long);
        decomposed.push(decomposition(short, long));
    }
    let names = ["low", "low_gradients", "low_first", "low_second"];
    vec![
        ("projections", to),
        ("adamw of low rank", listed(adamw(&low, b.parameter, b.moment), &names, "low")),
        ("projections back", back),
        ("updates added", added),
        ("decompositions", decomposed),
    ]
}

/// A step's share of a decomposition of `[short, long]` in 32 bits (LAPACK's `gesvd` by cuSOLVER): to two diagonals, which reads what is left of the matrix twice a column; then some two sweeps a
/// singular value of rotations, each of which reads and writes two columns of either factor. Both are streams.
fn decomposition(short: u64, long: u64) -> Item {
    let (m, n) = (u128::from(long), u128::from(short));
    let reduced = 2 * 4 * (m * n * n / 2 - n * n * n / 6);
    let rotated = 2 * n * n * 2 * (m + n) * 2 * 4 / 2;
    let bytes = u64::try_from((reduced + rotated) / u128::from(DECOMPOSED_EVERY)).unwrap_or(u64::MAX).max(1 << 10);
    // What is streamed is the matrix and its factors, again and again.
    let whole = (4 * (short * long + short * short)).max(1 << 10);
    let turns = bytes.div_ceil(2 * whole).max(1);
    let (ctas, chunk) = (1024u64, 8192u64);
    let per_cta = (bytes / 2).div_ceil(ctas * chunk).max(1);
    let tile = |i: u8| Tile {
        row: Expr::default(),
        byte: Expr::work(0, (whole / ctas).max(32) as i64).plus_loop(0, (chunk.min(whole / ctas)) as i64),
        ..part(i, 0, 0, chunk.min((whole / ctas).max(32)))
    };
    let ops = vec![
        set_up(8, 60.0),
        Op::Loop(Trips::Const(u32::try_from(per_cta.min(1 << 24)).unwrap_or(1))),
        load(tile(0), 0),
        Op::Wait(0),
        Op::Vector(lanes(chunk as f64 / 4.0, 2.0, 1.0, 0.0, 1.0)),
        store(tile(1)),
        Op::End,
    ];
    let kernel = Plain {
        name: format!("share of a decomposition of {short}x{long}, {turns} passes"),
        grid: Grid { x: ctas, y: 1 },
        warps: 8,
        registers: 40,
        shared_bytes: 0,
        tensors: vec![matrix(1, whole + per_cta * chunk, chunk), matrix(1, whole + per_cta * chunk, chunk)],
        arrivals: vec![1],
        ops,
    }
    .kernel();
    Item::kernel(kernel, [shared("decomposed"), shared("factors")])
}

/// Adafactor, matrix by matrix: squares summed by rows and by columns, the root of their product, the update and its mean square (clipping), the sum.
fn adafactor(matrices: &[&Parameter], vectors: &[u64], b: &Bytes) -> Vec<Labelled> {
    let (mut sums, mut updates) = (Vec::new(), Vec::new());
    let p = b.parameter as f64;
    for m in matrices {
        let n = m.elements();
        sums.push(elementwise("squares", n, vec![p], 4, 1.0));
        for (rows, columns) in [(m.rows, m.columns), (m.columns, m.rows)] {
            let kernels = reduce_rows(Reduction::Sum, rows, columns, 4, 4);
            sums.extend(ended(kernels, &shared("squares1"), &shared("sums_of_squares")));
        }
        updates.push(elementwise("scaled gradient", n, vec![p, 4.0 / m.columns.max(1) as f64], 4, 3.0));
        let kernels = reduce_rows(Reduction::Sum, 1, n, 4, 4);
        updates.extend(ended(kernels, &shared("scaled gradient2"), &shared("mean_square")));
        updates.push(elementwise("parameters", n, vec![4.0, p], b.parameter, 2.0));
    }
    let mut all = by_adamw(vectors, b);
    all.extend([("sums of squares", sums), ("updates", updates)]);
    all
}

/// Muon, matrix by matrix: momentum, the orthogonal factor of it, the sum.
fn muon(matrices: &[&Parameter], b: &Bytes, dtype: Dtype) -> Vec<Labelled> {
    let sizes: Vec<u64> = matrices.iter().map(|p| p.elements()).collect();
    let (mut steps, mut added) = (Vec::new(), Vec::new());
    for p in matrices {
        let (short, long) = (p.rows.min(p.columns), p.rows.max(p.columns));
        let whole = p.elements();
        for _ in 0..MUON_STEPS {
            steps.push(product(short, short, long, dtype, ["factor", "factor", "gram"]));
            steps.push(product(short, short, short, dtype, ["gram", "gram", "gram_square"]));
            steps.push(elementwise("polynomial", short * short, vec![2.0, 2.0], 2, 2.0));
            steps.push(product(short, long, short, dtype, ["polynomial2", "factor", "next_factor"]));
            steps.push(elementwise("factors", whole, vec![2.0, 2.0], 2, 2.0));
        }
        added.push(elementwise("factor added", whole, vec![2.0, b.parameter as f64], b.parameter, 2.0));
    }
    vec![
        ("momentum", listed(both("momentum", &sizes, b.parameter, b.moment), &["gradients", "momentum"], "muon")),
        ("orthogonal factors", steps),
        ("updates added", added),
    ]
}
