//! CUB's radix sort of a whole array (`DeviceRadixSort`, one sweep a digit).

use banksia_hw::gpu::program::{Expr, Op, Tile, Trips, VectorWork};
use banksia_hw::gpu::spec::GpuSpec;

use super::{item, signed, turns};
use crate::gpu::fused::memset;
use crate::gpu::fused::program::{Grid, Plain, load, matrix, part, set_up, shared_part, store};
use crate::gpu::lanes;
use crate::gpu::launch::{Item, Operand};

/// An array that is sorted by some bits of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Onesweep {
    pub(super) elements: u64,
    pub(super) key_bytes: u64,
    /// Of what goes along; 0 for nothing.
    pub(super) value_bytes: u64,
    /// Bits that keys are sorted by.
    pub(super) bits: u64,
}

/// Bits of a digit; threads of a sweep, of the histogram.
const DIGIT_BITS: u64 = 8;
const SWEEP_THREADS: u64 = 384;
const COUNT_THREADS: u64 = 128;

impl Onesweep {
    /// Elements of a thread of a sweep: grids of 131072 and 24576 keys and values of eight bytes (29 and 6 CTAs), of 2^22 keys of four and values
    /// of eight (781), and of keys of eight alone (729).
    fn per_thread(self) -> u64 {
        match (self.key_bytes, self.value_bytes) {
            (5.., 1..) => 12,
            (5.., 0) => 15,
            (_, 5..) => 14,
            _ => 20,
        }
    }
}

/// Instructions of a warp for one element of each lane: counted in the CTA's histogram; ranked among the warp's lanes of the same digit (a ballot and its logic for
/// each of eight bits, and the leader's addition to a counter); keys, then values to their places in shared memory and from there to memory.
const COUNT: f64 = 20.0;
const RANK: f64 = 75.0;
const PLACE: f64 = 35.0;
/// Wavefronts of shared memory for 32 counters of 256 by chance.
const CONFLICTS: f64 = 3.4;

/// The sort's launches; keys and values in the memory of `operands`.
pub(super) fn onesweep(s: &Onesweep, operands: &[Operand; 2], spec: &GpuSpec) -> Vec<Item> {
    let passes = s.bits.div_ceil(DIGIT_BITS).clamp(1, 8);
    let counts = Operand::shared("digit_counts");
    let mut items = vec![zero(passes * 1024, "digit_counts"), zero(passes * 4, "sweep_counters")];
    items.push(item(count(s, passes, spec), [operands[0].clone(), counts.clone()]));
    items.push(item(sum_up(passes), [counts.clone()]));
    let per_cta = s.per_thread() * SWEEP_THREADS;
    let ctas = s.elements.max(1).div_ceil(per_cta);
    let sweep = item(
        sweep(s, per_cta, ctas),
        [
            operands[0].clone(),
            operands[1].clone(),
            Operand::shared("sorted_keys"),
            Operand::shared("sorted_values"),
            Operand::shared("lookback"),
        ],
    );
    for _ in 0..passes {
        items.push(zero(ctas * 1024, "lookback"));
        items.push(sweep.clone());
    }
    items
}

/// All digits' histograms at once: as many CTAs as fit, an addition in shared memory for each key and digit.
fn count(s: &Onesweep, passes: u64, spec: &GpuSpec) -> banksia_hw::gpu::program::Kernel {
    let per_sm = if s.key_bytes > 4 { 7 } else { 16 };
    let ctas = u64::from(spec.sms()) * per_sm;
    // 16 keys a thread and turn.
    let chunk = (COUNT_THREADS * 16).min(s.elements.max(1));
    let rounds = turns(s.elements.div_ceil(chunk.saturating_mul(ctas)));
    let bytes = chunk * s.key_bytes;
    let tile = Tile {
        row: Expr::default(),
        byte: Expr::work(0, signed(bytes)).plus_loop(0, signed(bytes.saturating_mul(ctas))),
        ..part(0, 0, 0, bytes)
    };
    let n = chunk as f64;
    // The first digit of numbers by chance has few values: lanes that add to the same counter take turns.
    let additions = n * passes as f64;
    let work = VectorWork {
        stall: 2.5,
        shared_bytes: additions * 4.0 * CONFLICTS * 2.0,
        ..lanes(additions, 0.0, 5.0, 0.0, 5.0)
    };
    let ops = vec![
        set_up(4, 60.0),
        Op::Sync,
        Op::Loop(Trips::Const(rounds)),
        load(tile, 0),
        Op::Wait(0),
        Op::Vector(work),
        Op::End,
        Op::Sync,
        Op::Store { tile: shared_part(1, 0, 0, passes * 1024), reduce: true },
    ];
    Plain {
        name: format!("digit counts of {}", s.elements),
        // CTAs without keys end at once.
        grid: Grid { x: ctas.min(s.elements.div_ceil(chunk)), y: 1 },
        warps: (COUNT_THREADS / 32) as u32,
        registers: if s.key_bytes > 4 { 72 } else { 32 },
        shared_bytes: (passes * 1024) as u32,
        tensors: vec![matrix(1, s.elements.max(1) * s.key_bytes, bytes), matrix(1, passes * 1024, 1024)],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}

/// The sums of each digit's counts.
fn sum_up(passes: u64) -> banksia_hw::gpu::program::Kernel {
    let tile = part(0, 0, 0, 1024);
    let scan = VectorWork { issue: 8.0 * 60.0, latency_cycles: 500.0, ..VectorWork::default() };
    let ops = vec![set_up(8, 30.0), load(tile, 0), Op::Wait(0), Op::Vector(scan), Op::Sync, Op::Sync, store(tile)];
    Plain {
        name: "sums of digit counts".into(),
        grid: Grid { x: passes, y: 1 },
        warps: 8,
        registers: 32,
        shared_bytes: 2336,
        tensors: vec![matrix(passes, 1024, 1024)],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}

/// One digit: keys are loaded and ranked, a CTA learns from those before where its digits begin, and keys, then values go where they belong.
fn sweep(s: &Onesweep, per_cta: u64, ctas: u64) -> banksia_hw::gpu::program::Kernel {
    let n = per_cta as f64;
    let warps = SWEEP_THREADS as f64 / 32.0;
    let items = n / 32.0 / warps;
    let along = |tensor, e: u64| Tile {
        row: Expr::default(),
        byte: Expr::work(0, signed(per_cta * e)),
        ..part(tensor, 0, 0, per_cta * e)
    };
    let state = Tile { row: Expr::default(), byte: Expr::work(0, 1024), ..part(4, 0, 0, 1024) };
    let work = |instructions: f64, chain: f64, bytes: f64| {
        Op::Vector(VectorWork {
            issue: n / 32.0 * instructions,
            alu: n * instructions * 0.5,
            shared_bytes: n * bytes,
            latency_cycles: items * chain,
            stall: 2.0,
            ..VectorWork::default()
        })
    };
    let (key, value) = (s.key_bytes as f64, s.value_bytes as f64);
    let mut ops = vec![
        set_up(12, 100.0),
        load(along(0, s.key_bytes), 0),
        Op::Wait(0),
        work(COUNT, 30.0, 4.0 * CONFLICTS),
        Op::Sync,
        Op::Sync,
        // A CTA's counts are seen by the next ones, which add them up: there and back through L2.
        store(state),
        Op::StoreWait,
        // Each of a warp's elements waits for the counter that the one before has changed.
        work(RANK, 150.0, 4.0 * 2.0 * CONFLICTS),
        Op::Sync,
        load(state, 0),
        Op::Wait(0),
        Op::Sync,
        work(PLACE, 30.0, key * (1.0 + CONFLICTS)),
        Op::Sync,
        store(along(2, s.key_bytes)),
    ];
    if s.value_bytes > 0 {
        ops.extend([
            load(along(1, s.value_bytes), 0),
            Op::Wait(0),
            work(PLACE, 30.0, value * (1.0 + CONFLICTS)),
            Op::Sync,
            store(along(3, s.value_bytes)),
        ]);
    }
    let array = |e: u64| matrix(1, s.elements.max(1) * e.max(1), 1 << 12);
    Plain {
        name: format!("sweep of {}", s.elements),
        grid: Grid { x: ctas, y: 1 },
        warps: warps as u32,
        registers: 80,
        shared_bytes: (per_cta * s.key_bytes.max(s.value_bytes) + 2048) as u32,
        tensors: vec![
            array(s.key_bytes),
            array(s.value_bytes),
            array(s.key_bytes),
            array(s.value_bytes),
            matrix(1, ctas * 1024, 1024),
        ],
        arrivals: vec![1],
        ops,
    }
    .kernel()
}

/// A memory set before a pass.
fn zero(bytes: u64, name: &str) -> Item {
    item(memset(bytes), [Operand::shared(name)])
}
