//! Laws of the bound of a training step, on operators and links without a machine.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::collections::HashMap;

use banksia_hw::gpu::GpuSpec;

use super::check::check;
use super::compile::Compiler;
use super::error::ParallelError;
use super::floor::{Floors, least, least_in_flight, least_seconds};
use super::lists::Context;
use super::op::{CommKind, LocalOp};
use super::orders::orders;
use super::schedule::{Lengths, Pipeline, most_in_flight};
use super::settings::{Overlap, Parallel, Recompute, Schedule, Train, Zero};
use super::shape::Shape;
use super::simulate::{Detail, Machine, simulate};
use super::software::Software;
use super::stage::Parts;
use super::times::{CollectiveTimes, CommCost, OpCost, OperatorTimes, Placed};

fn mixed(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |h, w| (h ^ w).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29))
}

/// Operators that take their least and more, by what they are.
struct Above(GpuSpec);

impl OperatorTimes for Above {
    fn cost(&mut self, op: &LocalOp) -> Result<OpCost, ParallelError> {
        let h = mixed(&format!("{op:?}").bytes().map(u64::from).collect::<Vec<_>>());
        let seconds = least_seconds(&self.0, op) * (1.0 + (h % 7) as f64 / 10.0) + 1e-6 * (h % 40) as f64;
        Ok(OpCost { seconds, joules: 300.0 * seconds, memory_joules: 80.0 * seconds, tensor_busy: 0.5 })
    }
}

struct Links;

impl CollectiveTimes for Links {
    fn gpus_per_node(&self) -> u32 {
        4
    }

    fn cost(&self, kind: CommKind, placed: Placed, bytes: u64) -> Result<CommCost, ParallelError> {
        let h = mixed(&[kind as u64, u64::from(placed.ranks()), bytes]);
        let seconds = 1e-6 * (1 + h % 300) as f64 + bytes as f64 / 1e11;
        Ok(CommCost { seconds, sms: (h % 40) as u32, ..CommCost::default() })
    }
}

fn setting(n: u64) -> (Shape, Parallel, Train, Software) {
    let pick = |salt: u64, of: &[u32]| of[(mixed(&[n, salt]) % of.len() as u64) as usize];
    let flag = |salt: u64| mixed(&[n, salt]) % 2 == 1;
    let schedule = [
        Schedule::Gpipe,
        Schedule::OneForwardOneBackward,
        Schedule::Interleaved,
        Schedule::ZbH1,
        Schedule::ZbH2,
        Schedule::Zb1p,
        Schedule::Zb2p,
        Schedule::ZbV,
    ][(mixed(&[n, 1]) % 8) as usize];
    let pp = pick(2, &[1, 2, 3, 4, 6]);
    let virtual_stages = match schedule {
        Schedule::ZbV => 2,
        Schedule::Interleaved => pick(16, &[1, 2, 3]),
        _ => 1,
    };
    let shape = Shape::gpt(pp * virtual_stages * pick(3, &[1, 2, 3]) + pick(17, &[0, 0, 1]), 512, 8, 1000, 256);
    let zero = [Zero::None, Zero::Optimizer, Zero::Gradients, Zero::Weights][(mixed(&[n, 10]) % 4) as usize];
    let parallel = Parallel {
        tp: pick(4, &[1, 2, 4]),
        pp,
        dp: pick(5, &[1, 2, 8]),
        virtual_stages,
        schedule,
        sequence: flag(6),
        zero: if schedule.splits_backward() && zero == Zero::Weights { Zero::None } else { zero },
        vocabulary: flag(18),
        overlap: Overlap {
            pipeline: flag(11),
            gradients: flag(12),
            parameters: flag(13),
            tensor: flag(14),
            ..Overlap::default()
        },
        ..Parallel::default()
    };
    let micros = pick(7, &[1, 2, 3, 5, 8, 13]);
    let train = Train {
        micro_batch: 2,
        global_batch: 2 * micros * parallel.dp,
        sequence: 256,
        recompute: [Recompute::None, Recompute::Selective, Recompute::Full][(mixed(&[n, 8]) % 3) as usize],
        ..Train::default()
    };
    let base = if flag(15) { Software::MEGATRON_2022 } else { Software::MEGATRON_CORE };
    (shape, parallel, train, Software { synchronous_sends: flag(9), ..base })
}

/// With operators known, and at the device's peak: never above the step, in seconds or in joules.
#[test]
fn a_bound_is_never_above_the_step() {
    let gpu: GpuSpec = banksia_hw::gpu::device("a100").expect("in the catalog");
    let (mut tight, mut compared) = (0.0, 0);
    for n in 0..3000 {
        let (shape, parallel, train, software) = setting(n);
        let context = Context { shape: &shape, parallel: &parallel, train: &train, software: &software };
        let Ok(micros) = check(&context) else { continue };
        let mut above = Above(gpu.clone());
        let mut machine = Machine { gpu: &gpu, operators: &mut above, collectives: &Links, software };
        let detail = Detail { exposed: false, fits: false };
        // An interleaved order of groups that are not whole may wait for itself.
        let Ok(report) = simulate(&shape, &mut machine, &parallel, &train, detail, |_| {}) else { continue };
        let known = HashMap::new();
        let mut floors = Floors::new(&gpu, &known);
        for exact in [false, true] {
            let mut above = Above(gpu.clone());
            let operators: &mut dyn OperatorTimes = if exact { &mut above } else { &mut floors };
            let mut compiler = Compiler { context, operators, collectives: &Links, gpu: &gpu, without: None };
            let parts = Parts::of(&mut compiler).expect("known");
            let bound = least(&mut compiler, &parts, micros).expect("known");
            assert!(bound.seconds <= report.step_s, "{n}: {} above {}: {parallel:?}", bound.seconds, report.step_s);
            assert!(bound.joules <= report.energy_j, "{n}: {} J above {} J", bound.joules, report.energy_j);
            if exact {
                tight += bound.seconds / report.step_s;
                compared += 1;
            }
        }
    }
    assert!(compared > 2000, "{compared}");
    // With operators known, what is left out is small.
    assert!(tight / f64::from(compared) > 0.8, "{}", tight / f64::from(compared));
}

#[test]
fn chunks_held_are_counted_without_the_order() {
    let lengths = Lengths { forward: 1.0, input: 1.0, weight: 1.0, send: 0.1 };
    for n in 0..400 {
        let (_, parallel, train, _) = setting(n);
        let micros = train.global_batch / train.micro_batch / parallel.dp;
        let (stages, chunks) = (parallel.pp, parallel.virtual_stages);
        let p = Pipeline { stages, chunks, micros, schedule: parallel.schedule };
        for (s, tasks) in orders(&p, lengths).iter().enumerate() {
            let (most, least) = (most_in_flight(tasks), least_in_flight(&p, s as u32));
            let searched = matches!(p.schedule, Schedule::Zb1p | Schedule::Zb2p | Schedule::ZbV);
            assert!(least <= most && (searched || least == most), "{p:?}, stage {s}: {least} of {most}");
        }
    }
}
