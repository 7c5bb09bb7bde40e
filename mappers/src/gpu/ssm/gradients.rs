//! Gradients of short convolutions, of Mamba-1's selective scan and of diagonal recurrences: kernels of fla and mamba_ssm.
//!
//! Sizes of tiles and CTAs are those of the sources. Instructions are the forward kernels' counted ones, as often as the source has their loops, and what it does beside (assumed).

use banksia_hw::gpu::program::{Expr, Op, Path, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::code::{
    BATCH, CHANNELS, COLUMNS, TOKENS, Takes, code, countable, items, kernel, matrix, sizes, stream, sum, tile,
};
use super::{ConvCall, Diagonal, SelectiveScan};
use crate::gpu::copy;
use crate::gpu::fused::{Reduction, reduce_rows};
use crate::gpu::launch::{Item, Operand};
use crate::gpu::rows::in_bursts;

/// Tokens and channels of a tile of the convolution.
const TILE: u32 = 64;

/// The gradient of a causal convolution, `causal_conv1d_bwd_kernel` of fla: a tile of 64 tokens and 64 channels reads the input and the result's gradient once for each tap (all but the
/// first from L1), computes the result again where SiLU followed, and leaves sums of its tokens for the taps, which another kernel adds up. Memory: the result's gradient,
/// input, taps; gradients of input and taps.
///
/// # Errors
/// As of the convolution.
pub fn causal_conv_gradient(c: &ConvCall, spec: &GpuSpec, names: &[Operand; 5]) -> Result<Vec<Item>, String> {
    super::causal_conv(c, spec, &super::ConvNames::default())?;
    let height = TILE.min(c.tokens);
    let tall = c.tokens.div_ceil(TILE);
    let all = items([c.channels.div_ceil(TILE), tall, c.batch], |[d, at, b]| {
        let first = u64::from(b) * u64::from(c.tokens) + u64::from(at * TILE);
        let part = u64::from(b) * u64::from(tall) + u64::from(at);
        [i64::from(d), first as i64, part as i64, 0, 0, 0]
    })?;
    let width = TILE * 2;
    let columns = sum(&[(0, u64::from(width))]);
    let elements = f64::from(TILE * TILE) / 128.0;
    let taps = f64::from(c.taps);
    // Of an element: for each tap a product for the input's gradient, one for the tap's, both widened (4.5 a tap forward, of one product); and once beside as forward. With SiLU the
    // result again, and its derivative: as much as another forward pass and six more.
    let forward = 4.5 * taps + 3.6;
    let each = 2.0 * forward + if c.silu { forward + 9.0 + 6.0 } else { 0.0 };
    let sfu = if c.silu { 2.0 * f64::from(TILE * TILE) * taps } else { 0.0 };
    let row = |ahead: i64| Expr::at(ahead).plus_work(1, 1);
    let mut ops = vec![
        Op::Vector(code(80.0, 4)),
        copy(
            tile(2, Expr::default(), sum(&[(0, u64::from(TILE * c.taps * 2))]), 1, TILE * c.taps * 2),
            Path::LoadL1,
            0,
        ),
    ];
    for tap in 0..i64::from(c.taps) {
        ops.push(copy(tile(1, row(-tap), columns, height, width), Path::LoadL1, 0));
        ops.push(copy(tile(0, row(tap), columns, height, width), Path::LoadL1, 0));
    }
    let sums = tile(4, sum(&[(2, 1)]), sum(&[(0, u64::from(TILE * c.taps * 4))]), 1, TILE * c.taps * 4);
    ops.extend([
        Op::Wait(0),
        Op::Sync,
        Op::Vector(VectorWork { sfu, ..code(each * elements, 4) }),
        // Sums over tokens: lanes, then warps, for each tap.
        Op::Vector(VectorWork { shared_bytes: 512.0 * taps, latency_cycles: 178.0, ..code(24.0 * taps, 4) }),
        Op::Sync,
        Op::Store { tile: tile(3, row(0), columns, height, width), reduce: false },
        Op::Store { tile: sums, reduce: false },
    ]);
    let (rows, pitch) = (u64::from(c.batch) * u64::from(c.tokens), u64::from(c.channels) * 2);
    let activations = matrix(rows, pitch, height, width);
    let weights = stream(u64::from(c.channels) * u64::from(c.taps + 1) * 2, TILE * c.taps * 2);
    let parts = u64::from(c.batch) * u64::from(tall);
    let of_taps = u64::from(c.channels) * u64::from(c.taps);
    let left = matrix(parts, of_taps * 4, 1, TILE * c.taps * 4);
    let takes = Takes { warps: 4, registers: 168, shared_bytes: 1024 };
    let name = format!("causal convolution gradient {}x{}x{} of {}", c.batch, c.tokens, c.channels, c.taps);
    let tensors = vec![activations, activations, weights, activations, left];
    let k = in_bursts(kernel(name, takes, all, tensors, &[1 + 2 * c.taps], ops));
    let [gradient, input, weight, of_input, of_weight] = names.clone();
    let sums = Operand::shared("conv_gradient_parts");
    let mut launches = vec![Item::kernel(k, [gradient, input, weight, of_input, sums.clone()])];
    let kernels = reduce_rows(Reduction::Sum, of_taps, parts, 4, 2);
    launches.extend(kernels.into_iter().map(|k| Item::kernel(k, [sums.clone(), of_weight.clone()])));
    Ok(launches)
}

/// Instructions of a warp for a column of the state and 16 tokens a thread: the forward kernel's 384 for the states again; a scan from the last token to the first; and for each token gradients of
/// x, step size, B, C and the decay, nine products and sums and their exchange.
const COLUMN: f64 = 384.0 * 2.0 + 16.0 * 14.0;

/// The gradient of a selective scan, `selective_scan_bwd_kernel` of mamba_ssm: a CTA a channel, turns from the last to the first, in each a forward scan over the column's states and one back.
/// Gradients of B and C are added up over all channels in single precision, in L2. Memory: the result's gradient, x, step sizes, B and C, decays; gradients of x, of step sizes, of B and C,
/// of decays.
///
/// # Errors
/// A size that is nothing, or too large to be counted.
pub fn selective_scan_gradient(
    s: &SelectiveScan,
    _: &GpuSpec,
    names: &[Operand; 5],
    gradients: &[Operand; 4],
) -> Result<Vec<Item>, String> {
    sizes(&[("batch", s.batch, BATCH), ("tokens", s.tokens, TOKENS), ("channels", s.channels, CHANNELS)])?;
    sizes(&[("state", s.state, COLUMNS), ("groups", s.groups, s.channels)])?;
    countable("the input", &[s.batch, s.tokens, s.channels])?;
    // `selective_scan_bwd_cuda`: 32 threads up to 512 tokens, 64 up to 1024, else 128, of 4 to 16 tokens each.
    let (warps, each) = match s.tokens {
        ..=128 => (1, 4),
        129..=256 => (1, 8),
        257..=512 => (1, 16),
        513..=1024 => (2, 16),
        _ => (4, 16),
    };
    let turn = 32 * warps * each;
    let turns = s.tokens.div_ceil(turn);
    let ratio = s.channels.div_ceil(s.groups);
    let all = items([s.batch, s.channels], |[b, d]| {
        let row = u64::from(b) * u64::from(s.channels) + u64::from(d);
        let group = u64::from(b) * u64::from(s.groups) + u64::from(d / ratio);
        [row as i64, i64::from(d), (group * u64::from(s.state)) as i64, 0, 0, 0]
    })?;
    let there = turn.min(s.tokens);
    let last = i64::from(turns.saturating_sub(1) * turn);
    let at = |bytes: i64| Expr::at(last * bytes).plus_loop(0, -i64::from(turn) * bytes);
    let own = |tensor| tile(tensor, sum(&[(0, 1)]), at(2), 1, there * 2);
    let of_group =
        |tensor, bytes: u32| tile(tensor, sum(&[(2, 1)]).plus_loop(1, 1), at(i64::from(bytes)), 1, there * bytes);
    let n = f64::from(turn);
    let scale = f64::from(each) / 16.0;
    let column = VectorWork {
        sfu: 2.0 * n,
        shared_bytes: 2.0 * 2.0 * 2.0 * n + 2.0 * 4.0 * 2.0 * n,
        // Two scans over lanes and warps.
        latency_cycles: 2.0 * (5.0 * 30.0 + if warps > 1 { 60.0 } else { 0.0 }),
        ..code(COLUMN * scale, warps)
    };
    let per_turn = |instructions: f64| code(instructions * f64::from(each), warps);
    let ops = vec![
        Op::Vector(code(120.0, warps)),
        Op::Loop(Trips::Const(turns)),
        Op::Sync,
        copy(own(0), Path::Load, 0),
        copy(own(1), Path::Load, 0),
        copy(own(2), Path::Load, 0),
        Op::Wait(0),
        Op::Sync,
        Op::Vector(VectorWork { sfu: 2.0 * n, shared_bytes: 12.0 * n, ..per_turn(45.0) }),
        Op::Loop(Trips::Const(s.state)),
        copy(of_group(3, 2), Path::LoadL1, 1),
        copy(of_group(4, 2), Path::LoadL1, 1),
        Op::Wait(1),
        Op::Vector(column),
        Op::Store { tile: of_group(5, 4), reduce: true },
        Op::Store { tile: of_group(6, 4), reduce: true },
        Op::Sync,
        Op::End,
        Op::Vector(VectorWork { sfu: n, shared_bytes: 8.0 * n, ..per_turn(30.0) }),
        Op::Store { tile: own(7), reduce: false },
        Op::Store { tile: own(8), reduce: false },
        Op::End,
        Op::Store { tile: tile(9, Expr::default(), sum(&[(1, u64::from(s.state) * 4)]), 1, s.state * 4), reduce: true },
    ];
    let rows = u64::from(s.batch) * u64::from(s.channels);
    let activations = matrix(rows, u64::from(s.tokens) * 2, 1, there * 2);
    let of_state = u64::from(s.batch) * u64::from(s.groups) * u64::from(s.state);
    let projections = |bytes: u32| matrix(of_state, u64::from(s.tokens * bytes), 1, there * bytes);
    let tensors = vec![
        activations,
        activations,
        activations,
        projections(2),
        projections(2),
        projections(4),
        projections(4),
        activations,
        activations,
        stream(u64::from(s.channels) * u64::from(s.state) * 4, s.state * 4),
    ];
    let takes = Takes { warps, registers: 168, shared_bytes: 2 * 4 * turn + 256 * 16 + 256 };
    let name = format!("selective scan gradient {}x{}x{} of {}", s.batch, s.channels, s.tokens, s.state);
    let [y, x, dt, bc, _] = names.clone();
    let [d_x, d_dt, d_bc, d_a] = gradients.clone();
    let operands = [y, x, dt, bc.clone(), bc, d_bc.clone(), d_bc, d_x, d_dt, d_a];
    Ok(vec![Item::kernel(kernel(name, takes, all, tensors, &[3, 2], ops), operands)])
}

/// The gradient of a diagonal recurrence, as fla's `chunk_hgrn` has it: the forward kernel's two over tokens from the last to the first, of gradients, and the decays' as products of these with the
/// states before. Memory: the result's gradient, x, decays; gradients of x and of decays.
///
/// # Errors
/// As of the recurrence.
pub fn diagonal_scan_gradient(d: &Diagonal, spec: &GpuSpec, names: &[Operand; 5]) -> Result<Vec<Item>, String> {
    let [gradient, _, decay, of_x, of_decay] = names.clone();
    let back =
        super::DiagonalNames { x: gradient, decay: decay.clone(), state: Operand::shared("last_states"), y: of_x };
    let mut items = super::diagonal_scan(d, spec, &back)?;
    let elements = countable("the input", &[d.batch, d.tokens, d.channels])?;
    // A gradient, a state of the token before and a decay each.
    let product = crate::gpu::fused::Pointwise {
        elements,
        inputs: vec![4.0, 4.0, 2.0],
        out_bytes: 2,
        way: crate::gpu::fused::Way::Convert,
        cost: crate::gpu::fused::Cost { fma: 3.0, alu: 3.0, sfu: 1.0 },
    };
    let kernel = crate::gpu::fused::pointwise("decay gradients", &product);
    items.push(Item::kernel(kernel, [back.y, Operand::shared("lru.sums"), decay, of_decay]));
    Ok(items)
}
