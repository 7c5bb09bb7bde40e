//! The fused AdamW of PyTorch: `multi_tensor_apply` over chunks of 65536 elements, 320 CTAs a launch at most.

use banksia_hw::gpu::program::{Expr, Kernel, Op, Tile, Trips, VectorWork};

use crate::gpu::fused::program::{Grid, Plain, load, matrix, part, set_up, store};
use crate::gpu::lanes;

/// Elements of a chunk, CTAs of a launch, threads of a CTA, elements that a thread has under way (`MultiTensorApply.cuh`).
const CHUNK: u64 = 65536;
const MOST_CTAS: u64 = 320;
const THREADS: u64 = 512;
const AT_ONCE: u64 = 4;
/// Tensors of a launch at most, with four lists (`depth_to_max_tensors`).
const MOST_TENSORS: usize = 36;

/// Lane operations of an element on the special-function lanes. Learning rate and decays are doubles, so that sums and products with them are of 64 bits: conversions
/// there and back (16 lanes an SM), two divisions and a root. Assumed; found on launches of 128 and of 320 CTAs
/// (`adamw` in `operators.csv`: 66 and 169 us, so that two CTAs of an SM hinder each other), of 32-bit and of 16-bit parameters alike.
const SLOW: f64 = 15.0;

/// Chunks of a launch: of how many elements each is.
fn launches(tensors: &[u64]) -> Vec<Vec<u64>> {
    let mut all = Vec::new();
    let (mut chunks, mut held): (Vec<u64>, usize) = (Vec::new(), 0);
    for n in tensors {
        held += 1;
        let mut left = *n;
        while left > 0 {
            chunks.push(left.min(CHUNK));
            left -= left.min(CHUNK);
            if chunks.len() as u64 == MOST_CTAS {
                all.push(std::mem::take(&mut chunks));
                held = usize::from(left > 0);
            }
        }
        if held == MOST_TENSORS {
            if !chunks.is_empty() {
                all.push(std::mem::take(&mut chunks));
            }
            held = 0;
        }
    }
    if !chunks.is_empty() {
        all.push(chunks);
    }
    all
}

/// What a fused update of many tensors does to an element of each list: bytes of the lists, which are written, lane work.
struct Update<'a> {
    name: &'a str,
    bytes: &'a [u64],
    written: &'a [usize],
    work: [f64; 4],
}

/// Launches over chunks of tensors of so many elements each, with the number of elements of each launch.
fn over_chunks(tensors: &[u64], u: &Update<'_>) -> Vec<(Kernel, u64)> {
    let of = |chunks: Vec<u64>| {
        let elements: u64 = chunks.iter().sum();
        let widest = chunks.iter().copied().max().unwrap_or(1);
        let turn = (THREADS * AT_ONCE).min(widest);
        let turns = elements.div_ceil(chunks.len() as u64 * turn).clamp(1, 1 << 24) as u32;
        let each = u64::from(turns) * turn;
        let tile = |i: usize| Tile {
            row: Expr::default(),
            byte: Expr::work(0, (each * u.bytes[i]) as i64).plus_loop(0, (turn * u.bytes[i]) as i64),
            ..part(i as u8, 0, 0, turn * u.bytes[i])
        };
        let n = turn as f64;
        let [fma, alu, sfu, other] = u.work;
        let work = VectorWork { stall: 2.5, latency_cycles: 200.0, ..lanes(n, fma, alu, sfu, other) };
        let mut ops = vec![set_up(16, 200.0), Op::Loop(Trips::Const(turns))];
        ops.extend((0..u.bytes.len()).map(|i| load(tile(i), 0)));
        ops.extend([Op::Wait(0), Op::Vector(work)]);
        ops.extend(u.written.iter().map(|i| store(tile(*i))));
        ops.push(Op::End);
        let kernel = Plain {
            name: format!("{} of {elements}", u.name),
            grid: Grid { x: chunks.len() as u64, y: 1 },
            warps: (THREADS / 32) as u32,
            registers: 60,
            shared_bytes: 0,
            tensors: u.bytes.iter().map(|b| matrix(1, elements * b, turn * b)).collect(),
            arrivals: vec![u.bytes.len() as u32],
            ops,
        }
        .kernel();
        (kernel, elements)
    };
    launches(tensors).into_iter().map(of).collect()
}

/// The launches of an update of tensors of so many elements each; elements of parameters and gradients, and of moments, have so many bytes. A launch's
/// tensors: parameters, gradients, two moments, of which the first and both last are written. Returned with the number of elements.
pub fn adamw(tensors: &[u64], parameter_bytes: u64, moment_bytes: u64) -> Vec<(Kernel, u64)> {
    let bytes = [parameter_bytes, parameter_bytes, moment_bytes, moment_bytes];
    over_chunks(tensors, &Update { name: "adamw", bytes: &bytes, written: &[0, 2, 3], work: [10.0, 8.0, SLOW, 6.0] })
}

/// Fused descent with momentum (`_fused_sgd_`). Tensors: parameters, gradients, momentum, of which first and last are written.
pub fn sgd(tensors: &[u64], parameter_bytes: u64) -> Vec<(Kernel, u64)> {
    let bytes = [parameter_bytes; 3];
    // Factors are doubles here too: two products of 64 bits.
    over_chunks(tensors, &Update { name: "sgd", bytes: &bytes, written: &[0, 2], work: [4.0, 6.0, 4.0, 6.0] })
}

/// Two lists of which the second is written from the first: copies in another type (`_foreach_copy_`), sums with a factor (`_foreach_add_`).
pub fn both(name: &str, tensors: &[u64], from_bytes: u64, to_bytes: u64) -> Vec<(Kernel, u64)> {
    let bytes = [from_bytes, to_bytes];
    over_chunks(tensors, &Update { name, bytes: &bytes, written: &[1], work: [1.0, 4.0, 0.0, 4.0] })
}

/// Counting up a step number a tensor (`_foreach_add_` over scalars): 110 tensors a launch. Tensors: the numbers.
pub fn step_numbers(tensors: u64) -> Vec<Kernel> {
    let of = |n: u64| {
        let own = part(0, 0, 4, 4);
        let tile = Tile { row: Expr::default(), byte: Expr::work(0, 512), ..own };
        let ops = vec![set_up(16, 60.0), load(tile, 0), Op::Wait(0), set_up(1, 10.0), store(tile)];
        Plain {
            name: format!("step numbers of {n}"),
            grid: Grid { x: n, y: 1 },
            warps: 16,
            registers: 32,
            shared_bytes: 0,
            tensors: vec![matrix(1, 512 * n, 32)],
            arrivals: vec![1],
            ops,
        }
        .kernel()
    };
    let whole = tensors / 110;
    let mut all: Vec<Kernel> = (0..whole).map(|_| of(110)).collect();
    if !tensors.is_multiple_of(110) {
        all.push(of(tensors % 110));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::launches;

    #[test]
    fn chunks_are_those_of_the_profile() {
        // 2^27 elements: six launches of 320 CTAs and one of 128 (`operators_kernels.jsonl`).
        let ctas: Vec<usize> = launches(&[1 << 27]).iter().map(Vec::len).collect();
        assert_eq!(ctas, [320, 320, 320, 320, 320, 320, 128]);
        // The small tensors of many layers end a launch by their number.
        let many = vec![1024; 100];
        assert_eq!(launches(&many).iter().map(Vec::len).collect::<Vec<_>>(), [36, 36, 28]);
    }
}
