//! What a device is to the machine that it stands in: something that takes instructions and says when they are done.

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_sim::{Elapsed, Time};

use crate::gpu::GpuError;
use crate::gpu::LaunchCache;
use crate::gpu::estimate::Judge;
use crate::gpu::sampling::Detail;
use crate::outcome::{ComponentOutcome, Outcome, Span, WorkedOut};
use crate::program::{Program, ProgramError};

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunOptions {
    /// Works out every command of every channel and every launch of a kernel one by one, where an equal one is otherwise repeated. The
    /// result is the same, bit for bit.
    pub stepping: bool,
    /// How finely kernels are run; [`Detail::DEFAULT`] samples the waves of large ones.
    pub detail: Detail,
    /// The step, from 0, whose spans are recorded.
    pub timeline_step: Option<u64>,
    /// Clocks settle where a step keeps the power limit, as they do in runs that last. Without, a step is a burst that ends before the
    /// power controller acts.
    pub settle: bool,
    /// The epoch moves, at the next border between steps, once time since the last has passed this.
    pub epoch_after: Time,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            stepping: false,
            detail: Detail::DEFAULT,
            timeline_step: None,
            settle: true,
            // A quarter of countable time: what is left is more than any step takes.
            epoch_after: Time::from_fs(u64::MAX / 4),
        }
    }
}

/// A run that could not be finished.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// A program that this machine cannot run.
    #[error("step {step}: {error}")]
    Program {
        /// Which step.
        step: u64,
        /// What is wrong with it.
        error: ProgramError,
    },
    /// Simulated time of one step would exceed what 64-bit femtoseconds hold.
    #[error("step {step}: simulated time passes {limit}, the most that one step can take: {what}")]
    TooLong {
        /// Which step.
        step: u64,
        /// The limit.
        limit: Time,
        /// What takes so long, or what to do about it.
        what: String,
    },
    /// Instructions wait for one another and none can proceed.
    #[error("step {step}: deadlock at {time}: {}", waits.join("; "))]
    Deadlock {
        /// Which step.
        step: u64,
        /// When.
        time: Time,
        /// Who waits for what.
        waits: Vec<String>,
    },
    /// A GPU cannot run a kernel.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Which of a program's instructions a device runs.
#[derive(Debug, Clone, Copy)]
pub enum Share<'a> {
    /// All of them; the device itself sees to it that each waits for those that it depends on.
    Alone,
    /// These. Each waits for [`Executor::release`], whatever it depends on.
    Of(&'a [u32]),
}

/// What a device has done, by operator and component.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Books {
    /// By operator.
    pub operators: Vec<OperatorBooks>,
    /// By component.
    pub components: Vec<ComponentOutcome>,
    /// Commands issued, kernels launched.
    pub commands: BTreeMap<String, u64>,
    /// What else was counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// How much the simulator worked out.
    pub worked_out: Option<WorkedOut>,
    /// What was recorded of the timeline, by step and then in the order of recording.
    pub spans: Vec<Span>,
}

impl Books {
    /// Those of so many devices that do the same: energy, bytes and counts of all, times and what was worked out of one.
    #[must_use]
    pub fn times(mut self, copies: u32) -> Self {
        if copies == 1 {
            return self;
        }
        let whole = |energy: &mut BTreeMap<String, f64>, bytes: &mut BTreeMap<String, u64>| {
            energy.values_mut().for_each(|joules| *joules *= f64::from(copies));
            bytes.values_mut().for_each(|b| *b = b.saturating_mul(copies.into()));
        };
        self.operators.iter_mut().for_each(|o| whole(&mut o.energy_j, &mut o.traffic_bytes));
        self.components.iter_mut().for_each(|c| whole(&mut c.energy_j, &mut c.traffic_bytes));
        self.commands.values_mut().for_each(|n| *n = n.saturating_mul(copies.into()));
        self.counts.values_mut().for_each(|n| *n = n.saturating_mul(copies.into()));
        self
    }
}

/// What a device did for one operator.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperatorBooks {
    /// Its name.
    pub name: String,
    /// Time for which units worked on it, summed over units.
    pub busy: Elapsed,
    /// Energy of what it did, by cause, without background.
    pub energy_j: BTreeMap<String, f64>,
    /// Bytes by channel of traffic.
    pub traffic_bytes: BTreeMap<String, u64>,
}

/// A device at work. Time is counted from the machine's epoch, which moves at borders between steps only.
pub trait Executor {
    /// Takes up a step: the device is idle at `start`, and runs its share of the program from then on.
    ///
    /// # Errors
    /// The program asks for what the device does not have or cannot do.
    fn load(&mut self, program: &Arc<Program>, share: Share<'_>, start: Time) -> Result<(), RunError>;

    /// What an instruction waited for is there.
    ///
    /// # Errors
    /// Time cannot be counted any further.
    fn release(&mut self, instruction: u32, at: Time) -> Result<(), RunError>;

    /// When the device can next act, if it can before something is released to it.
    fn next(&mut self) -> Option<Time>;

    /// Acts up to and with `until`; instructions that are complete go to `done`, in the order of their completion.
    ///
    /// # Errors
    /// Time cannot be counted any further, or a kernel cannot be run.
    fn advance(&mut self, until: Time, done: &mut Vec<(Time, u32)>) -> Result<(), RunError>;

    /// Instructions of the step that are not complete.
    fn unfinished(&self) -> usize;

    /// What those wait for, in words.
    fn waits(&self) -> Vec<String>;

    /// The step has ended on the whole machine; energy of the device until now, from the beginning of the run.
    fn end_step(&mut self, end: Time) -> f64;

    /// Epochs may lie at multiples of this.
    fn granule(&self) -> Option<Time>;

    /// The epoch moves on by a multiple of the granule.
    fn move_epoch(&mut self, by: Time);

    /// What the device has done until `end`.
    fn books(&mut self, end: Time) -> Books;

    /// The device's own rates and shares, of what the whole machine has done.
    fn metrics(&self, outcome: &Outcome) -> BTreeMap<String, f64>;

    /// Of a complete instruction that goes after others at the pins of a memory that devices use at once: how long it took, and for how
    /// long its bytes hold the pins. `None` of what goes first.
    fn pins_of(&self, _instruction: u32) -> Option<(Time, Time)> {
        None
    }

    /// For how long what the device does between two times holds the pins of its memory, each channel's alike.
    fn pins_between(&mut self, _from: Time, _until: Time) -> Time {
        Time::ZERO
    }

    /// Results of launches are taken from there, and put there; a device that launches none has no use for it.
    fn remember(&mut self, _cache: &Arc<dyn LaunchCache>) {}

    /// Who judges kernels for this device, where it runs any.
    fn judge(&mut self) -> Option<Box<dyn Judge + '_>> {
        None
    }
}
