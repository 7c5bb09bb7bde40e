//! Groups of replicas that take steps of their own, and whose parameters are brought together now and then: local SGD, SlowMo, CO2.

use super::compile::{Compiler, Tally};
use super::error::ParallelError;
use super::lists::Context;
use super::op::{Axis, Class, Comm, CommKind, HostWork, Item, LocalOp};
use super::settings::OuterSum;
use super::stage::Stage;
use super::update::{Local, owned};

/// The sum over groups of replicas that take steps of their own: of the copy that products use (2 bytes a parameter), each rank its own share where states are
/// shared out.
fn outer_sum(c: &Context<'_>, local: Local) -> Comm {
    Comm { kind: CommKind::AllReduce, axis: Axis::Outer, bytes: 2 * owned(c, local) }
}

/// What follows the sum: the mean's distance from where the groups began goes into a momentum, by which they begin anew (SlowMo, arXiv 1910.00643; CO2, arXiv
/// 2401.16265): mean, beginning and momentum read, momentum, beginning and both copies of the weights written.
fn outer_step(c: &Context<'_>, local: Local) -> Item {
    let own = owned(c, local);
    Item::Run(LocalOp::Stream { read: 10 * own, written: 14 * own }, Class::Optimizer, HostWork::Forward)
}

/// Bytes of a parameter that this keeps: beginning and momentum in 32 bits; where the sum is under way beside steps also its buffer, and the beginning of these.
pub(super) fn outer_bytes(c: &Context<'_>) -> f64 {
    match c.train.outer_sum {
        _ if c.parallel.outer < 2 => 0.0,
        OuterSum::Waits => 8.0,
        OuterSum::Delayed => 8.0 + 4.0 + 2.0,
    }
}

/// Seconds of a step, of groups of replicas that take steps of their own: with its share of the sum over groups every so many of them.
pub(super) fn outer(
    compiler: &mut Compiler<'_>,
    stages: &[Stage],
    step_s: f64,
    ends: &mut Tally,
) -> Result<f64, ParallelError> {
    let c = compiler.context;
    if c.parallel.outer < 2 {
        return Ok(step_s);
    }
    let steps = f64::from(c.train.local_steps);
    let mut longest = step_s;
    for stage in stages {
        let sum = Item::Comm(outer_sum(&c, stage.local), Class::DataComm);
        let (sum, update) = (compiler.part(&[sum])?, compiler.part(&[outer_step(&c, stage.local)])?);
        let (sum_s, update_s) = (sum.map.span(), update.map.span());
        let own = match c.train.outer_sum {
            OuterSum::Waits => step_s + (sum_s + update_s) / steps,
            OuterSum::Delayed => {
                // Its CTAs hold SMs that the steps beside it lack for as long.
                let sms = compiler.cost(outer_sum(&c, stage.local))?.sms;
                let held = f64::from(sms) / f64::from(compiler.gpu.sms()).max(1.0);
                let local = step_s + update_s / steps;
                (local + sum_s.min(steps * local) / steps * held.min(1.0)).max(sum_s / steps)
            }
        };
        longest = longest.max(own);
        let share = 1.0 / (steps * f64::from(c.parallel.pp));
        *ends = ends.plus(&sum.tally, share).plus(&update.tally, share);
    }
    Ok(longest)
}
