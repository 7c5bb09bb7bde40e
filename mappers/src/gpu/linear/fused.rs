//! The gated delta rule in one kernel for Hopper, as FlashInfer has it (`flashinfer/gdn_kernels/delta_rule_dsl/delta_rule_sm90.py`): a CTA of four
//! warpgroups takes a head of a sequence from its first chunk to its last. One warpgroup loads and stores, one multiplies queries and keys with keys
//! and inverts, two hold the state, 64 value channels each.

use banksia_hw::gpu::program::{
    Barrier, Dtype, Expr, Kernel, Op, Path, Role, Tensor, Tile, Trips, VectorWork, WORK_VARS,
};
use banksia_hw::gpu::spec::GpuSpec;

use super::{CHUNK, LinearCall, Names, Rule, countable};
use crate::gpu::copy;
use crate::gpu::launch::Item;

const K_FULL: u8 = 0;
const Q_FULL: u8 = 1;
const V_FULL: u8 = 2;
const K_FREE: u8 = 3;
const QV_FREE: u8 = 4;
const SCORES: u8 = 5;
const SCORES_FREE: u8 = 6;
const STATE: u8 = 7;

/// Buffers of keys, of queries and values, and of scores (`k_stage`, `q_stage`, `qk_stage`).
const K_STAGES: u32 = 3;
const STAGES: u32 = 2;
/// Cycles that a warp waits after an instruction of an epilogue, of a warpgroup alone on its schedulers (as FlashAttention's: `device_profiles.csv`).
const STALL: f64 = 1.65;

fn lanes(warps: u32, per_warp: f64, special: f64, chain: f64) -> Op {
    let all = per_warp * f64::from(warps);
    Op::Vector(VectorWork {
        issue: all,
        fma: 0.4 * 32.0 * all,
        alu: 0.25 * 32.0 * all,
        sfu: special,
        stall: STALL,
        latency_cycles: chain,
        ..VectorWork::default()
    })
}

fn wgmma(m: u32, n: u32, k: u32) -> [Op; 2] {
    [Op::Mma { dtype: Dtype::Bf16, m, n, k, sync: false }, Op::MmaWait(0)]
}

/// The launches of a prompt.
///
/// # Errors
/// Rules and sizes that this kernel does not have, devices without `wgmma`.
pub fn fused_prefill(c: &LinearCall, spec: &GpuSpec, names: &Names) -> Result<Vec<Item>, String> {
    c.check()?;
    if c.rule != Rule::GatedDelta || c.key_dim > 128 || c.value_dim > 128 {
        return Err(format!(
            "{:?} of {}x{}: this kernel has the gated delta rule of up to 128",
            c.rule, c.key_dim, c.value_dim
        ));
    }
    if !spec.tensor.warpgroup {
        return Err(format!("{} has no warpgroup products", spec.name));
    }
    let heads = u64::from(c.batch) * u64::from(c.heads);
    countable(heads)?;
    let mut items: Vec<[i32; WORK_VARS]> = Vec::with_capacity(heads as usize);
    for b in 0..c.batch {
        items.extend((0..c.heads).map(|h| [b * c.tokens, h / c.group(), h, b * c.heads + h, 0, 0].map(|x| x as i32)));
    }
    let (dk, dv) = (c.key_dim, c.value_dim);
    let rows = CHUNK.min(c.tokens);
    let per_token = |heads: u32, size: u32| {
        Tensor::matrix(c.rows(), u64::from(heads) * u64::from(size * 2), rows, (size * 2).next_power_of_two())
    };
    let state = Tensor::matrix(heads * u64::from(dv), u64::from(dk) * 4, dv, (dk * 4).next_power_of_two());
    let tensors = vec![
        per_token(c.key_heads, dk),
        per_token(c.key_heads, dk),
        per_token(c.heads, dv),
        state,
        per_token(c.heads, dv),
    ];
    let row = Expr::work(0, 1).plus_loop(0, i64::from(CHUNK));
    let at = |tensor: u8, head: usize, size: u32| Tile {
        tensor,
        row,
        byte: Expr::work(head, i64::from(size * 2)),
        rows,
        bytes: size * 2,
    };
    let whole = Tile { tensor: 3, row: Expr::work(3, i64::from(dv)), byte: Expr::default(), rows: dv, bytes: dk * 4 };
    let turns = Op::Loop(Trips::Const(c.chunks()));
    let load = vec![
        super::setup(spec),
        turns,
        Op::Wait(K_FREE),
        copy(at(1, 1, dk), Path::Bulk, K_FULL),
        Op::Wait(QV_FREE),
        copy(at(0, 1, dk), Path::Bulk, Q_FULL),
        copy(at(2, 2, dv), Path::Bulk, V_FULL),
        Op::End,
    ];
    // 64 x 64 scores of each kind over 128 threads, 32 a thread: gates (read from shared memory, a difference, an exponential, products), beta,
    // masks; the system goes to shared memory; then the inverse: eight rows on the lanes, each after a shuffle of those before, and three
    // doublings, each two products of fragments, a pass through shared memory and a barrier, the last with a sum of two halves besides.
    let mut aux = vec![super::setup(spec), turns, Op::Wait(K_FULL)];
    aux.extend(wgmma(CHUNK, CHUNK, dk));
    aux.push(Op::Wait(Q_FULL));
    aux.extend(wgmma(CHUNK, CHUNK, dk));
    let threads = f64::from(CHUNK * CHUNK);
    aux.extend([lanes(4, 32.0 * 17.0, threads, 150.0), Op::Wait(SCORES_FREE), lanes(4, 60.0, 0.0, 60.0), Op::Sync]);
    aux.extend([lanes(4, 160.0, 0.0, 8.0 * 60.0), Op::Sync]);
    for level in 0..3 {
        aux.extend([lanes(4, 60.0, 0.0, 3.0 * 33.0 + 2.0 * 29.0), Op::Sync]);
        if level == 2 {
            aux.extend([Op::Sync, lanes(4, 30.0, 0.0, 2.0 * 29.0), Op::Sync]);
        }
    }
    // Read back, times beta, converted, stored; scores of queries converted and stored.
    aux.extend([lanes(4, 32.0 * 6.0 + 40.0, 0.0, 60.0), Op::Arrive(SCORES), Op::End]);
    // Each thread holds 64 numbers of the state, which are converted for two products. State times queries; state times keys; values less that,
    // times the inverse; scores times these; the state decays and takes the new values. The two warpgroups take turns at every product
    // (`_math_order_wait`, `_math_order_notify`: a barrier each).
    let mut main = vec![super::setup(spec)];
    if c.carries_state {
        main.extend([copy(whole, Path::Load, STATE), Op::Wait(STATE)]);
    }
    let in_turn = |m, n, k| {
        let [product, wait] = wgmma(m, n, k);
        [Op::Sync, product, Op::Sync, wait]
    };
    main.extend([turns, Op::Wait(Q_FULL), lanes(8, 64.0, 0.0, 30.0)]);
    main.extend(in_turn(dv, CHUNK, dk));
    main.extend([lanes(8, 32.0 * 2.0, 0.0, 60.0), Op::Wait(K_FULL), lanes(8, 32.0, 0.0, 30.0)]);
    main.extend(in_turn(dv, CHUNK, dk));
    main.extend([Op::Wait(V_FULL), lanes(8, 32.0 * 5.0, 0.0, 80.0), Op::Wait(SCORES)]);
    main.extend(in_turn(dv, CHUNK, CHUNK));
    main.push(lanes(8, 32.0, 0.0, 30.0));
    main.extend(in_turn(dv, CHUNK, CHUNK));
    main.extend([
        Op::Arrive(SCORES_FREE),
        Op::Arrive(QV_FREE),
        lanes(8, 32.0 + 64.0 + 32.0 * 4.0, 32.0 * 256.0, 60.0),
        Op::Store { tile: at(4, 2, dv), reduce: false },
    ]);
    main.extend(in_turn(dv, dk, CHUNK));
    main.extend([Op::Arrive(K_FREE), Op::End]);
    if c.carries_state {
        main.push(Op::Store { tile: whole, reduce: false });
    }
    let full = Barrier { arrivals: 1, credits: 0 };
    let free = |credits: u32| Barrier { arrivals: 1, credits };
    let kernel = Kernel {
        name: format!("fused delta rule {}x{} heads, {} tokens", c.batch, c.heads, c.tokens),
        threads: 512,
        registers: 128,
        shared_bytes: (K_STAGES * CHUNK * dk * 2
            + STAGES * CHUNK * (dk + 2 * dv) * 2
            + 2 * STAGES * CHUNK * CHUNK * 2
            + 8192)
            .min(spec.sm.shared_memory_per_cta_bytes),
        cluster: 1,
        grid: items.len() as u32,
        items,
        tensors,
        barriers: vec![full, full, full, free(K_STAGES), free(STAGES), full, free(STAGES), full],
        roles: vec![Role { warps: 4, ops: load }, Role { warps: 4, ops: aux }, Role { warps: 8, ops: main }],
        pipelined: true,
    };
    // vLLM exponentiates the gates, and lengths are cast to 64 bits (`flashinfer/gdn_prefill.py`).
    let gates = c.rows().saturating_mul(u64::from(c.heads));
    let exponential = super::gates::exponential(gates, &names.gate, &names.between("decay"));
    let operands = [&names.q, &names.k, &names.v, &names.state, &names.output].map(Clone::clone);
    Ok(vec![exponential, super::gates::tiny(spec, "lengths"), Item::kernel(kernel, operands)])
}
