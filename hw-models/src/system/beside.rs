//! Devices that use one memory at once: what the one has of the memory's pins the other waits for.
//!
//! Each device is run as if the memory were its own. A channel's pins carry one burst at a time, so that a kernel which ran beside units of
//! the banks ends no sooner than its own bytes and theirs have passed: what does not fit into the time that it took by itself is added to it. The units
//! go first. Bursts are taken to find the gaps between one another, as they do under a controller that holds requests of many banks: no more than the
//! sum is asked for, and waits of single requests are not seen.

use banksia_sim::{Elapsed, EventQueue, Time};

use super::executor::Executor;

/// The memory that devices use at once.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Devices that use it, by place.
    sharing: Vec<bool>,
    /// Instructions whose ends were put off.
    late: EventQueue<u32>,
    /// By how much, in all.
    waited: Elapsed,
}

impl Beside {
    /// Of devices by place.
    pub(super) fn new(count: usize, devices: &[usize]) -> Self {
        let mut sharing = vec![false; count];
        devices.iter().for_each(|d| sharing[*d] = true);
        Self { sharing, ..Self::default() }
    }

    /// Whether any memory is used at once.
    pub(super) fn is_used(&self) -> bool {
        self.sharing.contains(&true)
    }

    /// When an instruction of a device really ends, that would at `end` were the memory its own. It is kept until then where that is later.
    pub(super) fn put_off(
        &mut self,
        executors: &mut [Box<dyn Executor>],
        device: usize,
        instruction: u32,
        end: Time,
    ) -> bool {
        if !self.sharing.get(device).copied().unwrap_or(false) {
            return false;
        }
        let Some((length, own)) = executors[device].pins_of(instruction) else { return false };
        let begin = end.saturating_sub(length);
        let others = executors.iter_mut().enumerate().filter(|(i, _)| *i != device && self.sharing[*i]);
        let theirs = others.fold(Time::ZERO, |sum, (_, e)| sum.saturating_add(e.pins_between(begin, end)));
        let extra = own.saturating_add(theirs).saturating_sub(length);
        if theirs == Time::ZERO || extra == Time::ZERO {
            return false;
        }
        // Never more than what the others had of the pins: by itself the instruction fitted.
        let extra = extra.min(theirs);
        self.waited.add(extra);
        self.late.push(end.saturating_add(extra), instruction);
        true
    }

    /// When the next of those ends.
    pub(super) fn next(&mut self) -> Option<Time> {
        self.late.peek_time()
    }

    /// One that has ended by now.
    pub(super) fn ended(&mut self, now: Time) -> Option<(Time, u32)> {
        self.late.peek_time().filter(|t| *t <= now)?;
        self.late.pop()
    }

    /// Time that instructions waited for pins.
    pub(super) fn waited(&self) -> Elapsed {
        self.waited
    }
}
